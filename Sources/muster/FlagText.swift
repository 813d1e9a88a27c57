// Flags that are no parameters of a point, read with the same kind of message.

import Experiment

enum FlagText {
  /// The whole number that `text` states, within `range`.
  static func whole(_ flag: String, _ text: String, _ range: ClosedRange<Int>) throws(CommandFailure) -> Int {
    guard let value = Int(text), range.contains(value) else {
      throw .usage(
        "\(flag) \(text): expected a whole number from \(range.lowerBound) to \(range.upperBound)")
    }
    return value
  }
}
