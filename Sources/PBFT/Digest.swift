// A 32-byte digest held inline: the core compares and stores digests, and never computes one.

/// A SHA-256 value as four words in memory order; a value without references, cheap to copy and compare.
public struct Digest: Hashable, Sendable, BitwiseCopyable {
  public var words: (UInt64, UInt64, UInt64, UInt64)

  /// The digest of nothing yet: 32 zero bytes, start of every digest chain.
  @inlinable
  public static var zero: Digest { Digest() }

  public static let byteCount = 32

  @inlinable
  public init() { words = (0, 0, 0, 0) }

  /// Reads 32 bytes from `bytes`. Precondition: at least 32 are there.
  @inlinable
  public init(bytes: UnsafeRawBufferPointer) {
    precondition(bytes.count >= Digest.byteCount)
    words = bytes.loadUnaligned(as: (UInt64, UInt64, UInt64, UInt64).self)
  }

  @inlinable
  public func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    try Swift.withUnsafeBytes(of: words, body)
  }

  @inlinable
  public static func == (left: Digest, right: Digest) -> Bool {
    left.words.0 == right.words.0 && left.words.1 == right.words.1 && left.words.2 == right.words.2
      && left.words.3 == right.words.3
  }

  @inlinable
  public func hash(into hasher: inout Hasher) {
    hasher.combine(words.0)
    hasher.combine(words.1)
  }
}

extension Digest: CustomStringConvertible {
  /// The first eight bytes as hexadecimal digits, enough for a trace line.
  public var description: String {
    String(hexadecimal.prefix(16))
  }

  /// All 32 bytes as 64 hexadecimal digits.
  public var hexadecimal: String {
    withUnsafeBytes { bytes in
      var text = ""
      for byte in bytes {
        text.append(String(byte >> 4, radix: 16))
        text.append(String(byte & 15, radix: 16))
      }
      return text
    }
  }
}
