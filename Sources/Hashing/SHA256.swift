// The one place that decides how SHA-256 is computed. Contexts live on the stack, so a hash allocates nothing.

import CLibcrypto
import PBFT

/// An incremental SHA-256 computation; a value: copying it copies the state absorbed so far.
public struct SHA256Hasher {
  @usableFromInline var context = SHA256_CTX()

  @inlinable
  public init() { SHA256_Init(&context) }

  /// Absorbs `bytes`.
  @inlinable
  public mutating func update(_ bytes: UnsafeRawBufferPointer) {
    guard let start = bytes.baseAddress, !bytes.isEmpty else { return }
    SHA256_Update(&context, start, bytes.count)
  }

  @inlinable
  public mutating func update(_ digest: Digest) {
    digest.withUnsafeBytes { update($0) }
  }

  /// Absorbs an integer as big-endian bytes.
  @inlinable
  public mutating func update<Integer: FixedWidthInteger>(bigEndian value: Integer) {
    withUnsafeBytes(of: value.bigEndian) { update($0) }
  }

  /// Ends the computation. The hasher must not be used afterwards.
  @inlinable
  public mutating func finalize() -> Digest {
    var digest = Digest()
    withUnsafeMutableBytes(of: &digest.words) { output in
      _ = SHA256_Final(output.baseAddress!.assumingMemoryBound(to: UInt8.self), &context)
    }
    return digest
  }
}

extension Digest {
  /// SHA-256 of `bytes`.
  @inlinable
  public static func sha256(_ bytes: UnsafeRawBufferPointer) -> Digest {
    var hasher = SHA256Hasher()
    hasher.update(bytes)
    return hasher.finalize()
  }
}
