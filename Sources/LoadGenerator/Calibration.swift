// The generator's own ceiling: the highest rate against the null target at which its lag rule holds.

/// The rule a point must keep for its numbers to be the target's and not the generator's.
public enum GeneratorRule {
  /// Lag below this is never the generator's fault: it is what timers of an idle machine have.
  public static let lagFloorNanoseconds: Int64 = 250_000
  /// Share of its core above which the generator's loop has no reserve.
  public static let busiest = 0.9

  /// Why the generator limited a run, nil when it did not.
  public static func violation(
    _ outcome: LoadOutcome, latencyP50Nanoseconds: Int?, lagNanoseconds: Int?, quantile: String,
    ceiling: Double?,
    rate: Double?
  ) -> String? {
    let allowed = max(lagFloorNanoseconds, Int64(latencyP50Nanoseconds ?? 0) / 4)
    if let lag = lagNanoseconds, Int64(lag) > allowed {
      return "generator lag \(quantile) \(lag / 1000) µs is above \(allowed / 1000) µs"
    }
    if outcome.generatorBusy > busiest {
      return "the generator's loop was busy \(Int(outcome.generatorBusy * 100)) % of the time"
    }
    if let ceiling, let rate, rate > ceiling {
      return "the rate is above the calibrated ceiling of \(Int(ceiling)) requests/s"
    }
    return nil
  }
}

/// Searches the ceiling by short trials.
public enum CeilingSearch {
  /// Tries at one rate before it counts as too high: other work on a shared machine delays a trial now and then, and
  /// delays none of five at a rate that the generator really keeps.
  static let triesPerRate = 5
  /// Rates in a row that must be too high before the search goes no further up.
  static let failuresInARow = 2

  /// Doubles the rate from `start` until two in a row are too high, then halves the interval above the highest that was
  /// not (by ratio) `refinements` times.
  ///
  /// - Parameter keepsRule: runs a trial at a rate.
  /// - Returns: the highest rate that kept the rule; nil when none did: the machine is too busy to say.
  public static func ceiling(
    start: Double, refinements: Int = 1, highest: Double = 8_000_000, keepsRule: (Double) async throws -> Bool
  ) async throws -> Double? {
    func holds(_ rate: Double) async throws -> Bool {
      for _ in 0..<triesPerRate where try await keepsRule(rate) { return true }
      return false
    }
    var found: Double?
    var rate = start
    var failures = 0
    while rate <= highest, failures < failuresInARow {
      if try await holds(rate) {
        found = rate
        failures = 0
      } else {
        failures += 1
      }
      rate *= 2
    }
    guard var low = found else { return nil }
    var high = low * 2
    for _ in 0..<refinements {
      let middle = (low * high).squareRoot()
      if try await holds(middle) { low = middle } else { high = middle }
    }
    return low
  }
}
