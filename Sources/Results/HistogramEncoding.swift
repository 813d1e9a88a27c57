// HdrHistogram's V2 encodings. Layout (all integers big-endian): cookie, payload length, normalizing offset,
// significant digits, lowest and highest value, conversion ratio; then counts from slot 0 to that of the
// largest value as ZigZag LEB128 of at most 9 bytes, a run of more than one zero as its negated length. The
// compressed form wraps this in a cookie, a length and zlib. Source: org.HdrHistogram.AbstractHistogram
// (encodeIntoCompressedByteBuffer).

import CZlib
import Foundation
import Histogram

/// Why bytes are not an encoded histogram.
public enum HistogramEncodingError: Error, Equatable, Sendable, CustomStringConvertible {
  case notBase64
  case truncated
  case cookie(UInt32)
  case parameters
  case inflate(Int32)
  case counts

  public var description: String {
    switch self {
    case .notBase64: "the histogram is not base64"
    case .truncated: "the histogram is cut short"
    case .cookie(let cookie): "the histogram has cookie 0x\(String(cookie, radix: 16)), expected encoding V2"
    case .parameters: "the histogram's parameters are out of range"
    case .inflate(let code): "the histogram does not decompress (zlib \(code))"
    case .counts: "the histogram's counts do not fit its range"
    }
  }
}

/// Encodes and decodes histograms as HdrHistogram does.
public enum HistogramEncoding {
  private static let cookie: UInt32 = 0x1c84_9303 | 0x10
  private static let compressedCookie: UInt32 = 0x1c84_9304 | 0x10
  private static let headerByteCount = 40
  /// Counts of up to 5 digits over 64 bits need at most 8.5 million words; nothing of ours comes near.
  private static let maximumByteCount = 16 << 20

  /// The V2 encoding, not compressed.
  public static func encode(_ histogram: LatencyHistogram) -> [UInt8] {
    let layout = HistogramLayout(histogram)
    var counts: [UInt8] = []
    var nextSlot = 0
    histogram.forEachRecordedSlot(layout) { slot, count in
      appendZeros(slot - nextSlot, to: &counts)
      appendWord(Int64(clamping: count), to: &counts)
      nextSlot = slot + 1
    }
    if nextSlot == 0 { appendZeros(1, to: &counts) }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(headerByteCount + counts.count)
    append(cookie, to: &bytes)
    append(UInt32(counts.count), to: &bytes)
    append(UInt32(0), to: &bytes)
    append(UInt32(histogram.numberOfSignificantValueDigits.rawValue), to: &bytes)
    append(histogram.lowestDiscernibleValue, to: &bytes)
    append(histogram.highestTrackableValue, to: &bytes)
    append((1.0).bitPattern, to: &bytes)
    bytes += counts
    return bytes
  }

  /// The V2 compressed encoding, as a log holds it in base64.
  public static func encodeCompressed(_ histogram: LatencyHistogram) -> [UInt8] {
    let plain = encode(histogram)
    var length = compressBound(uLong(plain.count))
    var compressed = [UInt8](repeating: 0, count: Int(length))
    let code = compress2(&compressed, &length, plain, uLong(plain.count), Z_DEFAULT_COMPRESSION)
    precondition(code == Z_OK, "zlib cannot fail with a buffer of compressBound bytes")
    var bytes: [UInt8] = []
    append(compressedCookie, to: &bytes)
    append(UInt32(length), to: &bytes)
    bytes += compressed[..<Int(length)]
    return bytes
  }

  /// A histogram from its V2 encoding, not compressed. The largest value becomes that of its slot's range.
  public static func decode(_ bytes: [UInt8]) throws(HistogramEncodingError) -> LatencyHistogram {
    guard bytes.count >= headerByteCount else { throw .truncated }
    let found = load(UInt32.self, bytes, at: 0)
    guard found == cookie else { throw .cookie(found) }
    let payloadByteCount = Int(load(UInt32.self, bytes, at: 4))
    let digits = Int(load(UInt32.self, bytes, at: 12))
    let lowest = load(UInt64.self, bytes, at: 16)
    let highest = load(UInt64.self, bytes, at: 24)
    // The package takes the logarithm of the lowest value as a Double, which rounds large values up to the next magnitude.
    guard load(UInt32.self, bytes, at: 8) == 0, lowest <= 1 << 32,
      let layout = HistogramLayout(
        lowestDiscernible: lowest, highestTrackable: highest, significantDigits: digits),
      let significantDigits = SignificantDigits(rawValue: Int8(digits))
    else { throw .parameters }
    guard bytes.count >= headerByteCount + payloadByteCount else { throw .truncated }
    var histogram = LatencyHistogram(
      lowestDiscernibleValue: lowest, highestTrackableValue: highest,
      numberOfSignificantValueDigits: significantDigits)
    var words = bytes[headerByteCount..<(headerByteCount + payloadByteCount)]
    var slot = 0
    var total: UInt64 = 0
    while !words.isEmpty {
      let word = try takeWord(&words)
      if word <= 0 {
        guard word > Int64.min, -word <= Int64(layout.slotCount - slot) else { throw .counts }
        slot += word == 0 ? 1 : Int(-word)
      } else {
        let (sum, overflow) = total.addingReportingOverflow(UInt64(word))
        guard slot < layout.slotCount, !overflow, sum <= UInt64(Int64.max) else { throw .counts }
        total = sum
        guard histogram.record(layout.highestValue(ofSlot: slot), count: UInt64(word)) else { throw .counts }
        slot += 1
      }
    }
    return histogram
  }

  /// A histogram from its V2 compressed encoding.
  public static func decodeCompressed(_ bytes: [UInt8]) throws(HistogramEncodingError) -> LatencyHistogram {
    guard bytes.count >= 8 else { throw .truncated }
    let found = load(UInt32.self, bytes, at: 0)
    guard found == compressedCookie else { throw .cookie(found) }
    let length = Int(load(UInt32.self, bytes, at: 4))
    guard bytes.count - 8 >= length else { throw .truncated }
    let compressed = Array(bytes[8..<(8 + length)])
    var capacity = 1 << 16
    while true {
      var plain = [UInt8](repeating: 0, count: capacity)
      var count = uLong(capacity)
      let code = uncompress(&plain, &count, compressed, uLong(compressed.count))
      if code == Z_OK { return try decode(Array(plain[..<Int(count)])) }
      guard code == Z_BUF_ERROR, capacity < maximumByteCount else { throw .inflate(code) }
      capacity *= 4
    }
  }

  private static func appendZeros(_ count: Int, to bytes: inout [UInt8]) {
    if count == 1 {
      appendWord(0, to: &bytes)
    } else if count > 1 {
      appendWord(-Int64(count), to: &bytes)
    }
  }

  private static func appendWord(_ value: Int64, to bytes: inout [UInt8]) {
    var rest = UInt64(bitPattern: (value << 1) ^ (value >> 63))
    // Eight groups of 7 bits; a ninth byte carries the 8 bits that are left.
    for _ in 0..<8 {
      if rest < 0x80 {
        bytes.append(UInt8(rest))
        return
      }
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(truncatingIfNeeded: rest))
  }

  private static func takeWord(_ bytes: inout ArraySlice<UInt8>) throws(HistogramEncodingError) -> Int64 {
    var word: UInt64 = 0
    for group in 0..<9 {
      guard let byte = bytes.popFirst() else { throw .truncated }
      if group == 8 {
        word |= UInt64(byte) << 56
        break
      }
      word |= UInt64(byte & 0x7f) << UInt64(7 * group)
      if byte < 0x80 { break }
    }
    return Int64(bitPattern: word >> 1) ^ -Int64(bitPattern: word & 1)
  }

  private static func append<Integer: FixedWidthInteger>(_ value: Integer, to bytes: inout [UInt8]) {
    withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
  }

  private static func load<Integer: FixedWidthInteger>(
    _ type: Integer.Type, _ bytes: [UInt8], at offset: Int
  ) -> Integer {
    bytes.withUnsafeBytes { Integer(bigEndian: $0.loadUnaligned(fromByteOffset: offset, as: type)) }
  }
}
