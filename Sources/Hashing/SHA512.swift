// SHA-512 and HMAC-SHA512 with contexts on the stack, for BFT-SMaRt v1.2: its client MACs and the hashes of its hashed
// replies. Nothing of Muster's own uses them.

import CLibcrypto

/// An incremental SHA-512 computation; a value: copying it copies the state absorbed so far.
public struct SHA512Hasher {
  /// Bytes of a hash.
  public static let byteCount = 64

  private var context = SHA512_CTX()

  public init() { SHA512_Init(&context) }

  /// Absorbs `bytes`.
  public mutating func update(_ bytes: UnsafeRawBufferPointer) {
    guard let start = bytes.baseAddress, !bytes.isEmpty else { return }
    SHA512_Update(&context, start, bytes.count)
  }

  /// Ends the computation and writes 64 bytes. The hasher must not be used afterwards.
  public mutating func finalize(into output: UnsafeMutableRawPointer) {
    SHA512_Final(output.assumingMemoryBound(to: UInt8.self), &context)
  }

  /// Writes the 64 bytes of SHA-512 of `bytes`.
  public static func hash(_ bytes: UnsafeRawBufferPointer, into output: UnsafeMutableRawPointer) {
    var hasher = SHA512Hasher()
    hasher.update(bytes)
    hasher.finalize(into: output)
  }
}

/// A key of HMAC-SHA512 (RFC 2104) whose two padded blocks are already absorbed; a value without references.
public struct HMACSHA512Key {
  /// Bytes of a tag.
  public static let tagByteCount = 64
  private static let blockByteCount = 128

  private var inner = SHA512Hasher()
  private var outer = SHA512Hasher()

  /// Precondition: at most 128 bytes of key (longer ones would have to be hashed first).
  public init(_ key: UnsafeRawBufferPointer) {
    precondition(key.count <= Self.blockByteCount, "a key is at most one block")
    withUnsafeTemporaryAllocation(byteCount: Self.blockByteCount, alignment: 16) { block in
      for index in block.indices { block[index] = (index < key.count ? key[index] : 0) ^ 0x36 }
      inner.update(UnsafeRawBufferPointer(block))
      for index in block.indices { block[index] = (index < key.count ? key[index] : 0) ^ 0x5c }
      outer.update(UnsafeRawBufferPointer(block))
    }
  }

  /// Writes the 64 bytes of the tag of `bytes`.
  public func tag(of bytes: UnsafeRawBufferPointer, into output: UnsafeMutableRawPointer) {
    var hasher = inner
    hasher.update(bytes)
    hasher.finalize(into: output)
    var last = outer
    last.update(UnsafeRawBufferPointer(start: output, count: Self.tagByteCount))
    last.finalize(into: output)
  }
}

/// The key derivation of Java's `PBKDF2WithHmacSHA1` (RFC 8018).
public enum PBKDF2 {
  /// Writes `output.count` bytes; costs four compressions of SHA-1 per iteration and 20 bytes.
  public static func hmacSHA1(
    password: UnsafeRawBufferPointer, salt: UnsafeRawBufferPointer, iterations: Int,
    into output: UnsafeMutableRawBufferPointer
  ) {
    let done = PKCS5_PBKDF2_HMAC_SHA1(
      password.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(password.count),
      salt.baseAddress?.assumingMemoryBound(to: UInt8.self), Int32(salt.count), Int32(iterations),
      Int32(output.count), output.baseAddress?.assumingMemoryBound(to: UInt8.self))
    precondition(done == 1, "libcrypto has no memory for a key")
  }
}
