// How numbers are written for people. As many digits as the measurement carries: three for latencies, whose
// histograms have three, four for rates; a unit always stands beside the number or in the column's header.

import Foundation

enum Figure {
  /// `value` to `digits` significant digits, thousands separated by commas, no exponent.
  static func significant(_ value: Double, digits: Int = 3) -> String {
    guard value.isFinite else { return "–" }
    guard value != 0 else { return "0" }
    let magnitude = Int(log10(abs(value)).rounded(.down))
    let decimals = digits - 1 - magnitude
    let scale = pow(10.0, Double(abs(decimals)))
    let rounded = decimals >= 0 ? (value * scale).rounded() / scale : (value / scale).rounded() * scale
    // Rounding may carry into one more digit before the point (9.996 to 10.0).
    let carried = abs(rounded) >= pow(10.0, Double(magnitude + 1))
    return grouped(String(format: "%.\(max(0, carried ? decimals - 1 : decimals))f", rounded))
  }

  /// Nanoseconds in a unit that suits them: `312 µs`.
  static func latency(_ nanoseconds: Double) -> String {
    switch nanoseconds {
    case ..<999.5: significant(nanoseconds) + " ns"
    case ..<999_500: significant(nanoseconds / 1e3) + " µs"
    case ..<999_500_000: significant(nanoseconds / 1e6) + " ms"
    default: significant(nanoseconds / 1e9) + " s"
    }
  }

  static func latency(_ nanoseconds: Int) -> String { latency(Double(nanoseconds)) }

  /// Nanoseconds as milliseconds without the unit.
  static func milliseconds(_ nanoseconds: Int) -> String { significant(Double(nanoseconds) / 1e6) }

  /// Operations per second without the unit.
  static func rate(_ operationsPerSecond: Double) -> String {
    operationsPerSecond < 1000
      ? trimmed(operationsPerSecond, decimals: 1) : significant(operationsPerSecond, digits: 4)
  }

  /// A round number of an axis: `50k`, `1.5M`.
  static func short(_ value: Double) -> String {
    switch abs(value) {
    case 1e6...: trimmed(value / 1e6) + "M"
    case 1e3...: trimmed(value / 1e3) + "k"
    default: trimmed(value)
    }
  }

  /// A round latency of an axis: `500 µs`.
  static func shortLatency(_ nanoseconds: Double) -> String {
    switch nanoseconds {
    case ..<1e3: trimmed(nanoseconds) + " ns"
    case ..<1e6: trimmed(nanoseconds / 1e3) + " µs"
    case ..<1e9: trimmed(nanoseconds / 1e6) + " ms"
    default: trimmed(nanoseconds / 1e9) + " s"
    }
  }

  /// A share in 0...1: `45 %`.
  static func percent(_ share: Double) -> String { trimmed((share * 1000).rounded() / 10) + " %" }

  /// A whole number with thousands separated.
  static func count(_ value: Int) -> String { grouped(String(value)) }

  /// Bytes in binary units.
  static func bytes(_ value: Int) -> String {
    switch Double(value) {
    case ..<1024: "\(value) B"
    case ..<1_048_576: significant(Double(value) / 1024) + " KiB"
    case ..<1_073_741_824: significant(Double(value) / 1_048_576) + " MiB"
    default: significant(Double(value) / 1_073_741_824) + " GiB"
    }
  }

  /// `1 point`, `2 points`.
  static func counted(_ count: Int, _ noun: String) -> String {
    "\(Figure.count(count)) \(noun)\(count == 1 ? "" : "s")"
  }

  /// Without a fraction that is zero.
  static func trimmed(_ value: Double, decimals: Int = 4) -> String {
    let text = String(format: "%.\(max(1, decimals))f", value)
    var end = text.endIndex
    while text[text.index(before: end)] == "0" { end = text.index(before: end) }
    if text[text.index(before: end)] == "." { end = text.index(before: end) }
    return grouped(String(text[..<end]))
  }

  private static func grouped(_ text: String) -> String {
    let point = text.firstIndex(of: ".") ?? text.endIndex
    var whole = ""
    for (index, digit) in text[..<point].reversed().enumerated() {
      if index > 0, index % 3 == 0, digit != "-" { whole.append(",") }
      whole.append(digit)
    }
    return String(whole.reversed()) + text[point...]
  }
}
