// What a row of points.csv says, put the way table, chart and tooltip all put it. The sign "≥" stands before
// every percentile that is only a bound.

import Results

extension PointRow {
  /// Whether the figure at `quantile` (in 0...1, 1 the maximum) is only a lower bound.
  func isBound(_ quantile: Double) -> Bool {
    latencyBoundFromQuantile.map { quantile >= $0 } ?? false
  }

  /// `≥` where the figure at `quantile` is only a bound, else nothing.
  func boundSign(_ quantile: Double) -> String { isBound(quantile) ? "≥" : "" }

  /// The latency quantiles that the row holds: (quantile, nanoseconds).
  var latencyQuantiles: [(quantile: Double, nanoseconds: Int)] {
    let all: [(Double, Int?)] = [
      (0.5, latencyP50Nanoseconds), (0.9, latencyP90Nanoseconds), (0.95, latencyP95Nanoseconds),
      (0.99, latencyP99Nanoseconds), (0.999, latencyP999Nanoseconds), (0.9999, latencyP9999Nanoseconds),
    ]
    return all.compactMap { quantile, value in value.map { (quantile, $0) } }
  }

  /// The rate as the scenario stated it: `45 %` of a probe, or operations per second.
  var rateText: String {
    let target = Figure.rate(targetOperationsPerSecond) + " ops/s"
    return rateShare.map { "\(Figure.percent($0)) of capacity (\(target))" } ?? target
  }

  /// Why the point is void, in words; nothing for a valid one.
  var voidText: String {
    voidReasons.ordered.map(\.explanation).joined(separator: "; ")
  }

  /// Everything a reader may ask of one point, over several lines.
  func tooltip(_ heading: String) -> String {
    var lines = [heading, "offered \(rateText)"]
    if let throughput = throughputOperationsPerSecond {
      lines.append("throughput \(Figure.rate(throughput)) ops/s")
    }
    let quantiles = latencyQuantiles.map { quantile, value in
      "p\(Figure.trimmed(quantile * 100)) \(boundSign(quantile))\(Figure.latency(value))"
    }
    if !quantiles.isEmpty { lines.append(quantiles.joined(separator: "  ")) }
    if let lag = lagP99Nanoseconds { lines.append("schedule lag p99 \(Figure.latency(lag))") }
    lines.append(status == .valid ? "valid, audit \(audit.rawValue)" : "void: \(voidText)")
    return lines.joined(separator: "\n")
  }
}
