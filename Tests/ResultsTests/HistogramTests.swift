// Histograms leave as HdrHistogram's own format and come back; the figures in the CSV are those its own
// readers compute. Golden bytes and figures were made by the Python implementation (hdrhistogram 0.10.8).

import Foundation
import Histogram
import Testing

@testable import Results

@Suite("HdrHistogram files and figures")
struct HistogramTests {
  private let folder = TemporaryFolder()

  /// What the golden bytes hold.
  private static let golden: [(value: UInt64, count: UInt64)] = [
    (0, 1), (1, 1), (2, 2), (5, 3), (2047, 1), (2048, 1), (2049, 1), (4096, 300), (1_000_000, 70_000),
    (5_000_000_000, 2),
  ]
  private static let goldenHex =
    "1c84931300000016000000000000000300000000000000010000034630b8a0003ff0000000000000"
    + "0202040306f11f0204fd0fd804bf7ee0c5088bc40104"
  private static let goldenBase64 =
    "HISTFAAAADh4nJNpmSzMwMAgxgABzFCaEch0M9ixgMH+A0SAiYmFme2jPBPLX/4bLPvrHhzl6D7CyAIA9f8Lrg=="

  private static func histogram(_ values: [(value: UInt64, count: UInt64)]) -> LatencyHistogram {
    var histogram = LatencyHistogram.nanoseconds()
    for (value, count) in values { histogram.record(value, count: count) }
    return histogram
  }

  /// Values over many magnitudes from a fixed generator.
  private static func spread(_ count: Int) -> LatencyHistogram {
    var histogram = LatencyHistogram.nanoseconds()
    var state: UInt64 = 88_172_645_463_325_252
    for _ in 0..<count {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      histogram.record((state >> 23) >> (state & 31))
    }
    return histogram
  }

  // MARK: Encoding

  @Test("the V2 encoding is that of the reference, byte for byte")
  func encodesGolden() {
    let bytes = HistogramEncoding.encode(Self.histogram(Self.golden))
    #expect(bytes.map { String(format: "%02x", $0) }.joined() == Self.goldenHex)
  }

  @Test("the compressed encoding of the reference is read")
  func decodesGolden() throws {
    let bytes = [UInt8](try #require(Data(base64Encoded: Self.goldenBase64)))
    let histogram = try HistogramEncoding.decodeCompressed(bytes)
    #expect(HistogramEncoding.encode(histogram) == HistogramEncoding.encode(Self.histogram(Self.golden)))
    #expect(histogram.totalCount == 70_312)
  }

  @Test("encoding and decoding keep every count", arguments: [0, 1, 2, 1000, 50_000])
  func roundTrip(count: Int) throws {
    let histogram = Self.spread(count)
    let back = try HistogramEncoding.decodeCompressed(HistogramEncoding.encodeCompressed(histogram))
    #expect(HistogramSummary(back) == HistogramSummary(histogram))
    #expect(HistogramEncoding.encode(back) == HistogramEncoding.encode(histogram))
  }

  @Test("counts of every length of word survive", arguments: (0..<62).map { UInt64(1) << UInt64($0) })
  func largeCounts(count: UInt64) throws {
    let histogram = Self.histogram([(17, count)])
    let back = try HistogramEncoding.decode(HistogramEncoding.encode(histogram))
    #expect(back.countForValue(17) == count)
  }

  @Test("bytes that are no histogram are refused, whichever byte is wrong or missing")
  func refusesDamage() throws {
    let bytes = HistogramEncoding.encode(Self.histogram(Self.golden))
    for length in 0..<bytes.count {
      #expect(throws: HistogramEncodingError.truncated) {
        try HistogramEncoding.decode(Array(bytes[..<length]))
      }
    }
    // Whatever a damaged byte means, it is an error or a histogram, never a trap.
    for index in bytes.indices {
      for value: UInt8 in [0, 1, 0x7f, 0x80, 0xff] {
        var damaged = bytes
        damaged[index] = value
        _ = try? HistogramEncoding.decode(damaged)
      }
    }
    // One below a power of two that a Double cannot tell from it.
    let lowest = withUnsafeBytes(of: ((UInt64(1) << 55) - 1).bigEndian) { Array($0) }
    let highest = withUnsafeBytes(of: (UInt64(1) << 62).bigEndian) { Array($0) }
    #expect(throws: HistogramEncodingError.parameters) {
      try HistogramEncoding.decode(Array(bytes[..<16]) + lowest + highest + Array(bytes[32...]))
    }
    var other = bytes
    other[3] = 0x01
    #expect(throws: HistogramEncodingError.cookie(0x1c84_9301)) { try HistogramEncoding.decode(other) }
    let compressed = HistogramEncoding.encodeCompressed(Self.histogram(Self.golden))
    #expect(throws: HistogramEncodingError.truncated) {
      try HistogramEncoding.decodeCompressed(Array(compressed.dropLast()))
    }
    #expect(throws: HistogramEncodingError.self) {
      try HistogramEncoding.decodeCompressed(compressed.prefix(12) + compressed.dropFirst(12).reversed())
    }
  }

  @Test(
    "slots are those of the package, whatever the parameters",
    arguments: [
      (UInt64(1), UInt64(3_600_000_000_000), 3), (1, 100_000, 0), (1000, 1_000_000_000, 2), (7, 90_000, 5),
    ])
  func layout(lowest: UInt64, highest: UInt64, digits: Int) throws {
    let layout = try #require(
      HistogramLayout(lowestDiscernible: lowest, highestTrackable: highest, significantDigits: digits))
    let histogram = LatencyHistogram(
      lowestDiscernibleValue: lowest, highestTrackableValue: highest,
      numberOfSignificantValueDigits: try #require(SignificantDigits(rawValue: Int8(digits))))
    var value: UInt64 = 0
    while value < highest {
      let slot = layout.slot(of: value)
      #expect(slot < layout.slotCount)
      #expect(layout.lowestValue(ofSlot: slot) == histogram.lowestEquivalentForValue(value))
      #expect(
        layout.lowestValue(ofSlot: slot) + layout.width(ofSlot: slot)
          == histogram.nextNonEquivalentForValue(value))
      value = value * 17 / 16 + 1
    }
  }

  // MARK: Log

  @Test("a log has the format's header and one line per interval")
  func logText() {
    let log = HistogramLog(
      startTime: Date(timeIntervalSince1970: 1_700_000_000.25),
      intervals: [
        .init(tag: "latency", startSeconds: 0, lengthSeconds: 3, histogram: Self.histogram([(1500, 2)])),
        .init(tag: nil, startSeconds: 0.5, lengthSeconds: 1, histogram: Self.histogram([])),
      ])
    let lines = log.text.split(separator: "\n", omittingEmptySubsequences: false)
    #expect(lines[0] == "#[Histogram log format version 1.3]")
    #expect(lines[1].contains("unit ratio 1.0"))
    #expect(lines[2] == "#[StartTime: 1700000000.250 (seconds since epoch), 2023-11-14T22:13:20.250Z]")
    #expect(
      lines[3] == "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"")
    #expect(lines[4].hasPrefix("Tag=latency,0.000,3.000,1500.000,HISTFAAAA"))
    #expect(lines[5].hasPrefix("0.500,1.000,0.000,HISTFAAAA"))
    #expect(lines[6] == "")
  }

  @Test("a log reads back, and intervals of one tag add up by count")
  func logRoundTrip() throws {
    let start = Date(timeIntervalSince1970: 1_790_000_000.5)
    let first = Self.histogram([(1000, 5)])
    let second = Self.histogram([(9_000_000, 2), (1000, 1)])
    let log = HistogramLog(
      startTime: start,
      intervals: [
        .init(tag: "latency", startSeconds: 0, lengthSeconds: 1, histogram: first),
        .init(tag: "lag", startSeconds: 0, lengthSeconds: 1, histogram: second),
        .init(tag: "latency", startSeconds: 1, lengthSeconds: 1, histogram: second),
      ])
    let path = folder.file("x.hlog")
    try log.write(to: path)
    let back = try HistogramLog(reading: path)
    #expect(back.startTime == start)
    #expect(back.intervals.map(\.tag) == ["latency", "lag", "latency"])
    #expect(back.merged("latency")?.totalCount == 8)
    #expect(back.merged("latency")?.countForValue(1000) == 6)
    #expect(back.merged("service") == nil)
  }

  @Test("a log of the Python implementation is read, a damaged line refused by number")
  func foreignLog() throws {
    let text = """
      #[Histogram log format version 1.2]
      #[StartTime: 1438867590.285000 (seconds since epoch), Thu Aug 06 06:26:30 2015]
      "StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"
      0.127000,1.007000,5003.804000,\(Self.goldenBase64)

      """
    let log = try HistogramLog(text: text, path: "x.hlog")
    #expect(log.merged("latency") == nil)
    #expect(log.intervals.first?.histogram.totalCount == 70_312)
    #expect(throws: ResultFileError.malformed(path: "x.hlog", line: 5, reason: "the histogram is not base64"))
    {
      try HistogramLog(text: text + "0.1,1.0,2.0,H!", path: "x.hlog")
    }
  }

  // MARK: Figures

  @Test("figures are those of HdrHistogram's readers")
  func goldenFigures() {
    let summary = HistogramSummary(Self.histogram(Self.golden))
    #expect(summary.count == 70_312)
    #expect(summary.p50Nanoseconds == 1_000_447)
    #expect(summary.p99Nanoseconds == 1_000_447)
    #expect(summary.p9999Nanoseconds == 1_000_447)
    #expect(summary.maxNanoseconds == 5_003_804_671)
    #expect(summary.meanNanoseconds == 1_138_043)
  }

  @Test("a rank is rounded to the nearest, as HdrHistogram's readers do")
  func ranks() {
    // 160 values: p99 is the 158th (158.4), p99.9 the 160th (159.84); 0.5 goes up.
    let histogram = Self.histogram((0..<160).map { (UInt64(1000 + $0 * 1000), 1) })
    #expect(histogram.values(atPercentiles: [50, 99, 99.9]) == [80_063, 158_079, 160_127])
    #expect(HistogramSummary.rank(ofPercentile: 99, count: 50) == 50)
    #expect(HistogramSummary.rank(ofPercentile: 0, count: 50) == 1)
    #expect(HistogramSummary.rank(ofPercentile: 100, count: 50) == 50)
  }

  @Test("one pass gives what the package gives percentile by percentile where ranks agree")
  func againstPackage() {
    let histogram = Self.spread(10_000)
    for percentile in HistogramSummary.percentiles {
      let value = histogram.values(atPercentiles: [percentile])[0]
      let package = histogram.valueAtPercentile(percentile)
      #expect(UInt64(value) == histogram.highestEquivalentForValue(package))
    }
    #expect(HistogramSummary(histogram).meanNanoseconds == Int(histogram.mean.rounded()))
  }

  @Test("without values there are no figures")
  func empty() {
    let summary = HistogramSummary(.nanoseconds())
    #expect(summary.count == 0)
    #expect(summary.p50Nanoseconds == nil)
    #expect(summary.maxNanoseconds == nil)
    #expect(LatencyHistogram.nanoseconds().values(atPercentiles: [50]).isEmpty)
  }

  @Test(
    "the lowest quantile that is only a bound follows from how many requests have no answer",
    arguments: [
      (0, nil), (1, 1.0), (2, 0.9999), (10, 0.9999), (11, 0.999), (101, 0.99), (501, 0.95), (1001, 0.9),
      (5001, 0.5), (10_000, 0.5),
    ] as [(Int, Double?)])
  func bounds(censored: Int, quantile: Double?) {
    #expect(HistogramSummary.boundFromQuantile(count: 10_000, censored: censored) == quantile)
  }
}
