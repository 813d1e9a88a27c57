// HMAC-SHA256 (RFC 2104) from precomputed states: a key is absorbed once, a tag costs two compressions.

import CLibcrypto
import PBFT

/// A key whose two padded blocks are already absorbed. A value of about 224 bytes without references.
public struct HMACKey {
  @usableFromInline var inner: SHA256_CTX
  @usableFromInline var outer: SHA256_CTX

  /// Length in bytes of the truncated tags used on the wire.
  public static let tagByteCount = 16

  /// Precondition: at most 64 bytes of key (longer keys would have to be hashed first; ours are 32).
  public init(_ key: UnsafeRawBufferPointer) {
    precondition(key.count <= 64)
    var inner = SHA256_CTX()
    var outer = SHA256_CTX()
    SHA256_Init(&inner)
    SHA256_Init(&outer)
    withUnsafeTemporaryAllocation(byteCount: 64, alignment: 16) { block in
      for index in 0..<64 { block[index] = (index < key.count ? key[index] : 0) ^ 0x36 }
      SHA256_Update(&inner, block.baseAddress!, 64)
      for index in 0..<64 { block[index] = (index < key.count ? key[index] : 0) ^ 0x5c }
      SHA256_Update(&outer, block.baseAddress!, 64)
    }
    self.inner = inner
    self.outer = outer
  }

  public init(_ key: Digest) {
    self = key.withUnsafeBytes { HMACKey($0) }
  }

  /// The full 32-byte tag of what `absorb` puts into the hasher.
  @inlinable
  public func tag(_ absorb: (inout SHA256Hasher) -> Void) -> Digest {
    var hasher = SHA256Hasher(resuming: inner)
    absorb(&hasher)
    let digest = hasher.finalize()
    var last = SHA256Hasher(resuming: outer)
    last.update(digest)
    return last.finalize()
  }

  /// The full 32-byte tag of `bytes`.
  @inlinable
  public func tag(of bytes: UnsafeRawBufferPointer) -> Digest {
    tag { $0.update(bytes) }
  }
}

extension SHA256Hasher {
  @inlinable
  init(resuming context: SHA256_CTX) { self.context = context }
}

extension Digest {
  /// Whether the first 16 bytes equal the 16 bytes at `bytes`, in time independent of where they differ.
  @inlinable
  public func matchesTag(_ bytes: UnsafeRawPointer) -> Bool {
    let other = bytes.loadUnaligned(as: (UInt64, UInt64).self)
    return (other.0 ^ words.0) | (other.1 ^ words.1) == 0
  }
}
