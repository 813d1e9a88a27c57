// Text that becomes HTML or SVG. Everything that comes from a file passes `escaped` exactly once, where it
// enters markup.

import Foundation

extension String {
  /// Safe as text and inside a quoted attribute.
  var escaped: String {
    var result = ""
    result.reserveCapacity(utf8.count)
    for character in unicodeScalars {
      switch character {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "'": result += "&#39;"
      default: result.unicodeScalars.append(character)
      }
    }
    return result
  }
}

/// The shape of a mark; tells series apart where colour already says the signature mode.
enum MarkShape: Int, CaseIterable {
  case circle
  case square
  case triangle
  case diamond

  /// The outline around (0, 0).
  var path: String {
    switch self {
    case .circle: "M-4.1 0a4.1 4.1 0 1 0 8.2 0a4.1 4.1 0 1 0-8.2 0z"
    case .square: "M-3.9-3.9h7.8v7.8h-7.8z"
    case .triangle: "M0-4.9L4.8 3.6H-4.8z"
    case .diamond: "M0-5.4L4.9 0L0 5.4L-4.9 0z"
    }
  }
}

/// How a series looks: a colour of the palette and a shape.
struct SeriesStyle {
  var color: Int
  var shape: MarkShape

  /// The class that sets the colour for what is inside.
  var colorClass: String { "k\(color % 6)" }

  /// A small picture for legends and tables.
  func swatch(hollow: Bool = false) -> String {
    "<svg class=\"swatch \(colorClass)\" viewBox=\"-6 -6 12 12\" aria-hidden=\"true\">"
      + "<path class=\"\(hollow ? "hollow" : "solid")\" d=\"\(shape.path)\"/></svg>"
  }
}

/// SVG under construction: elements in drawing order.
struct Drawing {
  let width: Double
  let height: Double
  private var elements: [String] = []

  init(width: Double, height: Double) {
    self.width = width
    self.height = height
  }

  mutating func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ style: String) {
    elements.append(
      "<line class=\"\(style)\" x1=\"\(n(x1))\" y1=\"\(n(y1))\" x2=\"\(n(x2))\" y2=\"\(n(y2))\"/>")
  }

  mutating func polyline(_ points: [(x: Double, y: Double)], _ style: String) {
    guard points.count > 1 else { return }
    let path = points.map { "\(n($0.x)) \(n($0.y))" }.joined(separator: "L")
    elements.append("<path class=\"\(style)\" d=\"M\(path)\"/>")
  }

  mutating func text(_ x: Double, _ y: Double, _ text: String, _ style: String) {
    elements.append("<text class=\"\(style)\" x=\"\(n(x))\" y=\"\(n(y))\">\(text.escaped)</text>")
  }

  /// A mark with a tooltip and a generous area that shows it. `upward` adds an arrow: the value is only a
  /// bound.
  mutating func mark(
    _ x: Double, _ y: Double, _ style: SeriesStyle, hollow: Bool, faint: Bool = false, upward: Bool = false,
    tooltip: String
  ) {
    let kind = (hollow ? "hollow" : "solid") + (faint ? " faint" : "")
    let arrow = upward ? "<path class=\"bound\" d=\"M0-6V-16M-3-13L0-16L3-13\"/>" : ""
    elements.append(
      "<g class=\"\(style.colorClass)\" transform=\"translate(\(n(x)) \(n(y)))\"><title>\(tooltip.escaped)</title>"
        + "<circle class=\"hit\" r=\"9\"/>\(arrow)<path class=\"\(kind)\" d=\"\(style.shape.path)\"/></g>")
  }

  mutating func group(_ style: String, _ draw: (inout Drawing) -> Void) {
    elements.append("<g class=\"\(style)\">")
    draw(&self)
    elements.append("</g>")
  }

  /// The element. `label` is what a screen reader says.
  func svg(_ label: String, _ style: String = "chart") -> String {
    "<svg class=\"\(style)\" viewBox=\"0 0 \(n(width)) \(n(height))\" role=\"img\" aria-label=\"\(label.escaped)\">"
      + elements.joined(separator: "\n") + "</svg>"
  }

  /// A coordinate with at most one decimal.
  private func n(_ value: Double) -> String {
    let text = String(format: "%.1f", value)
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
  }
}
