// The figures of a histogram in one pass: the package's own percentile query walks the whole array once per
// percentile. They are those that HdrHistogram's own readers compute from the log: a percentile is the
// highest value equivalent to that of rank ⌊p·n/100 + ½⌋ (HdrHistogram's C and Python), the maximum is the
// highest value equivalent to the largest recorded, and the mean is over the middles of equivalent ranges. So
// a cell can be recomputed from the file.

import Histogram

/// The figures that a row of points.csv states about a histogram; nil without values.
public struct HistogramSummary: Equatable, Sendable {
  /// The percentiles of points.csv, ascending, in 0...100.
  public static let percentiles: [Double] = [50, 90, 95, 99, 99.9, 99.99]

  public var count: Int
  public var meanNanoseconds: Int?
  public var p50Nanoseconds: Int?
  public var p90Nanoseconds: Int?
  public var p95Nanoseconds: Int?
  public var p99Nanoseconds: Int?
  public var p999Nanoseconds: Int?
  public var p9999Nanoseconds: Int?
  public var maxNanoseconds: Int?

  /// O(slots of the histogram).
  public init(_ histogram: LatencyHistogram) {
    count = Int(histogram.totalCount)
    guard count > 0 else { return }
    let pass = histogram.pass(percentiles: Self.percentiles)
    meanNanoseconds = Int(pass.mean.rounded())
    p50Nanoseconds = pass.values[0]
    p90Nanoseconds = pass.values[1]
    p95Nanoseconds = pass.values[2]
    p99Nanoseconds = pass.values[3]
    p999Nanoseconds = pass.values[4]
    p9999Nanoseconds = pass.values[5]
    maxNanoseconds = Int(histogram.max)
  }

  /// The rank, from 1, of the value that is the percentile of `count` values; `percentile` in 0...100.
  public static func rank(ofPercentile percentile: Double, count: Int) -> Int {
    max(1, Int(min(percentile, 100) * Double(count) / 100 + 0.5))
  }

  /// The lowest quantile, in 0...1, that is only a bound when `censored` of `count` values have none above
  /// them: one of `percentiles`, or 1 when only the maximum is; nil without censored values.
  public static func boundFromQuantile(
    count: Int, censored: Int, percentiles: [Double] = Self.percentiles
  ) -> Double? {
    guard censored > 0 else { return nil }
    for percentile in percentiles where rank(ofPercentile: percentile, count: count) > count - censored {
      return quantile(ofPercentile: percentile)
    }
    return 1
  }

  /// A percentile as a fraction, as it is written: 99.9 gives 0.999 and not 0.9990000000000001.
  public static func quantile(ofPercentile percentile: Double) -> Double {
    (percentile * 1e9).rounded() / 1e11
  }
}

extension Histogram where Count == UInt64 {
  /// The values at `percentiles` (in 0...100, ascending), all in one pass; empty without values.
  /// O(slots of the histogram).
  public func values(atPercentiles percentiles: [Double]) -> [Int] {
    totalCount == 0 ? [] : pass(percentiles: percentiles).values
  }

  fileprivate func pass(percentiles: [Double]) -> (values: [Int], mean: Double) {
    let ranks = percentiles.map { HistogramSummary.rank(ofPercentile: $0, count: Int(totalCount)) }
    precondition(zip(ranks, ranks.dropFirst()).allSatisfy { $0 <= $1 }, "percentiles must ascend")
    let layout = HistogramLayout(self)
    var values: [Int] = []
    values.reserveCapacity(ranks.count)
    var countSoFar = 0
    var sum = 0.0
    forEachRecordedSlot(layout) { slot, count in
      countSoFar += Int(count)
      while values.count < ranks.count, countSoFar >= ranks[values.count] {
        values.append(Int(layout.highestValue(ofSlot: slot)))
      }
      sum += Double(layout.lowestValue(ofSlot: slot) + layout.width(ofSlot: slot) >> 1) * Double(count)
    }
    return (values, sum / Double(totalCount))
  }
}
