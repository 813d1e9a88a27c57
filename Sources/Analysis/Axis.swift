// Scales and their ticks. Ticks stand at 1, 2 and 5 times powers of ten and the ends of an axis at a tick, so
// that a reader can take values off by eye; the axis of nines gives every further nine the same room.

import Foundation

/// One axis of a chart.
struct Axis {
  struct Tick {
    var value: Double
    /// Nil for a hairline without a label.
    var label: String?
  }

  enum Scale {
    case linear
    case logarithmic
    /// Quantiles in 0..<1, placed at the number of their nines.
    case nines
  }

  let scale: Scale
  let lower: Double
  let upper: Double
  let ticks: [Tick]

  /// Where `value` lies between `start` (lower end) and `end` (upper end); beyond them for values outside.
  func position(_ value: Double, from start: Double, to end: Double) -> Double {
    let place = coordinate(value)
    let first = coordinate(lower)
    let share = (place - first) / (coordinate(upper) - first)
    return start + share * (end - start)
  }

  /// From 0 to a tick at or above `maximum`, with about `count` labels.
  static func linear(upTo maximum: Double, count: Int, label: (Double) -> String) -> Axis {
    let maximum = maximum > 0 && maximum.isFinite ? maximum : 1
    let step = niceStep(maximum / Double(count))
    let steps = Int((maximum / step - 1e-9).rounded(.up))
    let ticks = (0...steps).map { Tick(value: Double($0) * step, label: label(Double($0) * step)) }
    return Axis(scale: .linear, lower: 0, upper: Double(steps) * step, ticks: ticks)
  }

  /// Around positive `values`, ends at 1, 2 or 5 times a power of ten. With more than `labelled` decades only
  /// the powers of ten are labelled.
  static func logarithmic(covering values: [Double], labelled: Double = 1.7, label: (Double) -> String)
    -> Axis
  {
    let positive = values.filter { $0 > 0 && $0.isFinite }
    let lowest = positive.min() ?? 1
    let highest = positive.max() ?? 10
    var lower = stepBelow(lowest)
    var upper = stepAbove(highest)
    // A single value still gets a decade to stand in.
    if upper / lower < 9 {
      lower = stepBelow((lower * upper).squareRoot() / 3.2)
      upper = stepAbove(max(highest, lower * 9))
    }
    let decades = log10(upper / lower)
    var ticks: [Tick] = []
    var power = pow(10, log10(lower).rounded(.down))
    while power <= upper * 1.0001 {
      for factor in [1.0, 2.0, 5.0] {
        let value = power * factor
        guard value >= lower * 0.9999, value <= upper * 1.0001 else { continue }
        let isLabelled = factor == 1 || decades <= labelled
        ticks.append(Tick(value: value, label: isLabelled ? label(value) : nil))
      }
      power *= 10
    }
    return Axis(scale: .logarithmic, lower: lower, upper: upper, ticks: ticks)
  }

  /// From the median to `highest` (in 0..<1).
  static func nines(upTo highest: Double) -> Axis {
    let marks: [(Double, String)] = [
      (0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %"),
      (0.99999, "99.999 %"),
      (0.999999, "99.9999 %"),
    ]
    let upper = max(0.99, min(highest, 0.999_999))
    let ticks = marks.filter { $0.0 <= upper * 1.000_000_01 }.map { Tick(value: $0.0, label: $0.1) }
    return Axis(scale: .nines, lower: 0.5, upper: upper, ticks: ticks)
  }

  private func coordinate(_ value: Double) -> Double {
    switch scale {
    case .linear: value
    case .logarithmic: log10(max(value, lower / 10))
    case .nines: -log10(1 - min(value, 0.999_999_9))
    }
  }

  private static func niceStep(_ atLeast: Double) -> Double {
    let power = pow(10, log10(atLeast).rounded(.down))
    for factor in [1.0, 2.0, 2.5, 5.0] where factor * power >= atLeast * 0.999 { return factor * power }
    return 10 * power
  }

  private static func stepBelow(_ value: Double) -> Double {
    let power = pow(10, log10(value).rounded(.down))
    return power * ([5.0, 2.0, 1.0].first { $0 * power <= value * 1.0001 } ?? 1)
  }

  private static func stepAbove(_ value: Double) -> Double {
    let power = pow(10, log10(value).rounded(.down))
    return power * ([1.0, 2.0, 5.0, 10.0].first { $0 * power >= value * 0.9999 } ?? 10)
  }
}

/// The frame of a chart: where its plot area is, and the grid.
struct Plot {
  var drawing: Drawing
  let x: Axis
  let y: Axis
  let left: Double
  let right: Double
  let top: Double
  let bottom: Double

  /// Draws grid, ticks and axis titles. The vertical axis' title stands above its labels, where it can be
  /// read.
  init(width: Double, height: Double, x: Axis, y: Axis, xTitle: String, yTitle: String) {
    drawing = Drawing(width: width, height: height)
    self.x = x
    self.y = y
    left = 48
    right = width - 14
    top = 26
    bottom = height - 40
    for tick in y.ticks {
      let height = y.position(tick.value, from: bottom, to: top)
      drawing.line(left, height, right, height, tick.label == nil ? "grid minor" : "grid")
      if let label = tick.label { drawing.text(left - 7, height + 4, label, "tick end") }
    }
    for tick in x.ticks {
      let place = x.position(tick.value, from: left, to: right)
      if x.scale != .linear {
        drawing.line(place, top, place, bottom, tick.label == nil ? "grid minor" : "grid")
      }
      drawing.line(place, bottom, place, bottom + 4, "axis")
      if let label = tick.label { drawing.text(place, bottom + 17, label, "tick middle") }
    }
    drawing.line(left, bottom, right, bottom, "axis")
    drawing.text(4, 12, yTitle, "title")
    drawing.text(right, height - 6, xTitle, "title end")
  }

  /// The place of a pair of values.
  func place(_ xValue: Double, _ yValue: Double) -> (x: Double, y: Double) {
    (x.position(xValue, from: left, to: right), y.position(yValue, from: bottom, to: top))
  }
}
