// HMAC-SHA256 keys at 64 bytes each, for the hundreds of thousands of (client, replica) pairs of a load generator:
// only the two chaining values after the padded key blocks are kept. A tag of a 32-byte digest is two compressions.

import CLibcrypto
import PBFT

/// A key of HMAC-SHA256 as its two midstates; a value of 64 bytes without references. It makes the same tags as
/// `HMACKey`, but only over digests.
public struct HMACMidstate: Sendable {
  /// Chaining values as eight native words each, kept in the memory of a digest.
  private var inner: Digest
  private var outer: Digest

  /// Absorbs a 32-byte key.
  public init(_ key: Digest) {
    var words = key.words
    inner = Self.absorb(&words, pad: 0x3636_3636_3636_3636)
    outer = Self.absorb(&words, pad: 0x5c5c_5c5c_5c5c_5c5c)
  }

  /// HMAC-SHA256 of the 32 bytes of `digest`; 32 bytes, of which the first 16 are sent.
  public func tag(of digest: Digest) -> Digest {
    Self.finish(from: outer, Self.finish(from: inner, digest))
  }

  /// The chaining value after the block key ⊕ pad.
  private static func absorb(_ key: inout (UInt64, UInt64, UInt64, UInt64), pad: UInt64) -> Digest {
    let block = (
      key.0 ^ pad, key.1 ^ pad, key.2 ^ pad, key.3 ^ pad, pad, pad, pad, pad
    )
    var context = SHA256_CTX()
    SHA256_Init(&context)
    withUnsafeBytes(of: block) { compress(&context, $0) }
    return withUnsafeBytes(of: context.h) { Digest(bytes: $0) }
  }

  /// SHA-256 of a 64-byte block that left `state`, followed by `digest`: one more block, with the padding for 96 bytes.
  private static func finish(from state: Digest, _ digest: Digest) -> Digest {
    var context = SHA256_CTX()
    withUnsafeMutableBytes(of: &context.h) { words in state.withUnsafeBytes { words.copyMemory(from: $0) } }
    let words = digest.words
    let block = (
      words.0, words.1, words.2, words.3, (UInt64(0x80) << 56).bigEndian, UInt64(0), UInt64(0),
      UInt64(96 * 8).bigEndian
    )
    withUnsafeBytes(of: block) { compress(&context, $0) }
    var h = context.h
    return withUnsafeMutableBytes(of: &h) { bytes in
      let words = bytes.assumingMemoryBound(to: UInt32.self)
      for index in 0..<8 { words[index] = words[index].bigEndian }
      return Digest(bytes: UnsafeRawBufferPointer(bytes))
    }
  }

  private static func compress(_ context: inout SHA256_CTX, _ block: UnsafeRawBufferPointer) {
    SHA256_Transform(&context, block.baseAddress!.assumingMemoryBound(to: UInt8.self))
  }
}
