// DER of an ECDSA signature on a 256-bit curve: SEQUENCE { INTEGER r, INTEGER s }, as Java writes and reads it.
// Only the one shortest encoding is accepted, so that a signature has one form on the wire.

/// Conversion between DER and the 64 bytes r ‖ s; nothing allocates.
enum ECDSASignatureEncoding {
  /// Two integers of at most 33 bytes with their headers, and the header of the sequence.
  static let maximumByteCount = 72
  static let rawByteCount = 64

  /// Writes the DER form of `raw` (r ‖ s, 32 big-endian bytes each) and returns its length.
  /// Precondition: `output` holds `maximumByteCount` bytes.
  static func encode(raw: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Int {
    precondition(raw.count == rawByteCount && output.count >= maximumByteCount)
    var end = 2
    for half in 0..<2 {
      end += encodeInteger(
        UnsafeRawBufferPointer(rebasing: raw[(32 * half)..<(32 * half + 32)]),
        into: UnsafeMutableRawBufferPointer(rebasing: output[end...]))
    }
    output[0] = 0x30
    output[1] = UInt8(end - 2)
    return end
  }

  /// Reads a DER form into r ‖ s; false if it is not the shortest encoding of two integers of 1...32 bytes.
  static func decode(_ der: UnsafeRawBufferPointer, into raw: UnsafeMutableRawBufferPointer) -> Bool {
    precondition(raw.count == rawByteCount)
    guard der.count >= 8, der.count <= maximumByteCount, der[0] == 0x30, Int(der[1]) == der.count - 2 else {
      return false
    }
    let first = decodeInteger(UnsafeRawBufferPointer(rebasing: der[2...]), into: raw, at: 0)
    guard first > 0 else { return false }
    let second = decodeInteger(UnsafeRawBufferPointer(rebasing: der[(2 + first)...]), into: raw, at: 32)
    return second > 0 && 2 + first + second == der.count
  }

  private static func encodeInteger(
    _ value: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
  ) -> Int {
    var zeros = 0
    while zeros < 31 && value[zeros] == 0 { zeros += 1 }
    // A leading zero keeps the integer positive.
    let pad = value[zeros] >= 0x80 ? 1 : 0
    let count = 32 - zeros + pad
    output[0] = 0x02
    output[1] = UInt8(count)
    if pad == 1 { output[2] = 0 }
    for index in zeros..<32 { output[2 + pad + index - zeros] = value[index] }
    return 2 + count
  }

  /// Bytes of the integer at the start of `bytes`, copied right-aligned to 32 bytes of `raw`; 0 if it is not one.
  private static func decodeInteger(
    _ bytes: UnsafeRawBufferPointer, into raw: UnsafeMutableRawBufferPointer, at offset: Int
  ) -> Int {
    guard bytes.count >= 3, bytes[0] == 0x02 else { return 0 }
    let count = Int(bytes[1])
    guard count >= 1, count <= 33, bytes.count >= 2 + count else { return 0 }
    let padded = bytes[2] == 0 && count > 1
    if padded && bytes[3] < 0x80 { return 0 }
    if bytes[2] >= 0x80 || (count == 33 && !padded) { return 0 }
    let start = padded ? 3 : 2
    let significant = count - (padded ? 1 : 0)
    for index in 0..<(32 - significant) { raw[offset + index] = 0 }
    for index in 0..<significant { raw[offset + 32 - significant + index] = bytes[start + index] }
    return 2 + count
  }
}
