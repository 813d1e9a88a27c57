// Durations as people write them. Kept true: a number without a unit is refused, so that nobody mistakes
// milliseconds for seconds (BFT-SMaRt's own files use both), and nothing is rounded silently.

/// Reads and writes durations with their unit; the value is in nanoseconds.
public enum DurationText {
  /// What to write, for error messages and help.
  public static let expectation = "a duration with its unit, such as 500ms or 2s (units: ns, us, ms, s, min)"

  private static let units: [(name: String, nanoseconds: Int64)] = [
    ("min", 60_000_000_000), ("ms", 1_000_000), ("us", 1000), ("ns", 1), ("s", 1_000_000_000),
  ]

  /// The nanoseconds that `text` names, or nil when it is not a duration: digits, at most one point with
  /// digits on both sides, a unit, and a result that is a whole number of nanoseconds below 2^63.
  public static func nanoseconds(_ text: String) -> Int64? {
    let text = text.filter { $0 != " " }
    guard let unit = units.first(where: { text.hasSuffix($0.name) }) else { return nil }
    let number = text.dropLast(unit.name.count)
    let parts = number.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
    guard let whole = digits(parts[0]) else { return nil }
    let (scaled, overflow) = whole.multipliedReportingOverflow(by: unit.nanoseconds)
    guard !overflow else { return nil }
    guard parts.count == 2 else { return scaled }
    guard let fraction = fractionOf(unit.nanoseconds, digits: parts[1]) else { return nil }
    let (sum, sumOverflow) = scaled.addingReportingOverflow(fraction)
    return sumOverflow ? nil : sum
  }

  /// The shortest text that reads back as `nanoseconds`, in the largest unit that divides it.
  public static func text(_ nanoseconds: Int64) -> String {
    if nanoseconds == 0 { return "0s" }
    for (name, size) in [("s", Int64(1_000_000_000)), ("ms", 1_000_000), ("us", 1000)]
    where nanoseconds % size == 0 {
      return "\(nanoseconds / size)\(name)"
    }
    return "\(nanoseconds)ns"
  }

  private static func digits(_ text: Substring) -> Int64? {
    guard !text.isEmpty, text.allSatisfy({ $0.isASCII && $0.isNumber }) else { return nil }
    return Int64(text)
  }

  private static func fractionOf(_ unit: Int64, digits text: Substring) -> Int64? {
    guard text.count <= 9, let numerator = digits(text) else { return nil }
    var denominator: Int64 = 1
    for _ in 0..<text.count { denominator *= 10 }
    let (product, overflow) = numerator.multipliedReportingOverflow(by: unit)
    guard !overflow, product % denominator == 0 else { return nil }
    return product / denominator
  }
}
