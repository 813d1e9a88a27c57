// Histograms as logs hold them.

@testable import Results

/// With one or two significant digits: a histogram of five is tens of megabytes, and made for every input.
func readHistogram(_ bytes: UnsafeRawBufferPointer) {
  guard let first = bytes.first else { return }
  var rest = Array(bytes.dropFirst())
  if first & 1 == 0, rest.count >= 16 {
    rest.replaceSubrange(12..<16, with: [0, 0, 0, rest[15] % 3])
    _ = try? HistogramEncoding.decode(rest)
  } else {
    _ = try? HistogramEncoding.decodeCompressed(rest)
  }
}

var histograms: [[UInt8]] {
  var histogram = LatencyHistogram(
    lowestDiscernibleValue: 1, highestTrackableValue: 1_000_000, numberOfSignificantValueDigits: .two)
  for value in [3, 70, 900, 900, 65_000] as [UInt64] { histogram.record(value) }
  return [[0] + HistogramEncoding.encode(histogram), [1] + HistogramEncoding.encodeCompressed(histogram)]
}
