// Whether a measurement looks the same from its beginning to its end. Judged, never used to remove anything.

import Results

/// Judges 50 equal bins of a measurement.
public enum StationarityTest {
  /// Smallest change over the measurement, as a share of the level, that counts as drift when it is significant.
  static let smallestLatencyChange = 0.5
  static let smallestThroughputChange = 0.1

  /// Mann-Kendall's test for a trend over the bins (two-sided, α = 0.001), together with the size of the trend by Sen's
  /// slope: a trend that is significant but small is the noise of a shared machine, not a backlog.
  public static func judge(
    _ bins: [(answered: Int, latencySum: Double)], seconds: Double, hasFaults: Bool = false
  ) -> (verdict: Stationarity, drift: String?) {
    guard seconds >= 5, !hasFaults, bins.count >= 10 else { return (.notJudged, nil) }
    let counts = bins.map { Double($0.answered) }
    let means = bins.map { $0.answered > 0 ? $0.latencySum / Double($0.answered) : 0 }
    if let change = trend(means), change > smallestLatencyChange {
      return (.notStationary, "mean latency changes by \(Int(change * 100)) % over the measurement")
    }
    if let change = trend(counts), change > smallestThroughputChange {
      return (.notStationary, "answers per bin change by \(Int(change * 100)) % over the measurement")
    }
    return (.stationary, nil)
  }

  /// The size of a significant trend over all of `values`, relative to their median; nil without one.
  static func trend(_ values: [Double]) -> Double? {
    let n = values.count
    var signs = 0
    var slopes: [Double] = []
    slopes.reserveCapacity(n * (n - 1) / 2)
    for later in 1..<n {
      for earlier in 0..<later {
        let difference = values[later] - values[earlier]
        signs += difference > 0 ? 1 : (difference < 0 ? -1 : 0)
        slopes.append(difference / Double(later - earlier))
      }
    }
    let variance = Double(n * (n - 1) * (2 * n + 5)) / 18
    let z = (Double(abs(signs)) - 1) / variance.squareRoot()
    guard z > 3.29 else { return nil }
    slopes.sort()
    let slope = slopes[slopes.count / 2]
    let level = values.sorted()[n / 2]
    guard level > 0 else { return slope == 0 ? nil : .infinity }
    return abs(slope) * Double(n - 1) / level
  }
}
