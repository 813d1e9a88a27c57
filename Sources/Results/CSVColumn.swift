// Columns as data: a row type lists its columns once, in file order, each tied to a property by a key path,
// and that one list serves header, writer and reader. Text follows RFC 4180, with "\n" at the end of a
// record.

import Foundation

/// A value that can stand in a cell. An empty cell is nil and nothing else.
public protocol CSVCell: SendableMetatype {
  /// What the reader says it expected, such as "an integer".
  static var cellKind: String { get }
  /// The cell before quoting.
  var cellText: String { get }
  init?(cellText: String)
}

extension String: CSVCell {
  public static var cellKind: String { "text" }
  public var cellText: String { self }
  public init?(cellText: String) { self = cellText }
}

extension Int: CSVCell {
  public static var cellKind: String { "an integer" }
  public var cellText: String { String(self) }
  public init?(cellText: String) { self.init(cellText) }
}

extension UInt64: CSVCell {
  public static var cellKind: String { "an integer of at least 0" }
  public var cellText: String { String(self) }
  public init?(cellText: String) { self.init(cellText) }
}

extension Double: CSVCell {
  public static var cellKind: String { "a number" }
  /// The shortest decimal that reads back as the same value; a value that is not finite is not available.
  public var cellText: String { isFinite ? description : "" }
  public init?(cellText: String) {
    guard let value = Double(cellText), value.isFinite else { return nil }
    self = value
  }
}

extension Bool: CSVCell {
  public static var cellKind: String { "true or false" }
  public var cellText: String { self ? "true" : "false" }
  public init?(cellText: String) {
    switch cellText {
    case "true": self = true
    case "false": self = false
    default: return nil
    }
  }
}

extension Date: CSVCell {
  public static var cellKind: String { "a UTC time such as 2026-01-31T12:00:00.000Z" }
  /// UTC, ISO 8601, to the nearest millisecond. A tenth of one is added because the formatter cuts.
  public var cellText: String {
    Date(timeIntervalSince1970: (timeIntervalSince1970 * 1000).rounded() / 1000 + 0.0001).formatted(
      Date.cellStyle)
  }
  public init?(cellText: String) {
    guard let value = try? Date.cellStyle.parse(cellText) else { return nil }
    self.init(timeIntervalSince1970: (value.timeIntervalSince1970 * 1000).rounded() / 1000)
  }
  private static let cellStyle = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
}

extension Optional: CSVCell where Wrapped: CSVCell {
  public static var cellKind: String { Wrapped.cellKind + " or nothing" }
  public var cellText: String { self?.cellText ?? "" }
  public init?(cellText: String) {
    if cellText.isEmpty {
      self = .none
    } else if let value = Wrapped(cellText: cellText) {
      self = .some(value)
    } else {
      return nil
    }
  }
}

extension CSVCell where Self: RawRepresentable, RawValue == String {
  public var cellText: String { rawValue }
  public init?(cellText: String) { self.init(rawValue: cellText) }
}

/// One column: its name and the way between a property of `Row` and a cell.
public struct CSVColumn<Row>: Sendable {
  public let name: String
  let kind: String
  let text: @Sendable (Row) -> String
  /// Sets the property; false when the text is not understood.
  let set: @Sendable (inout Row, String) -> Bool

  init<Value: CSVCell>(_ name: String, _ path: WritableKeyPath<Row, Value> & Sendable) {
    self.name = name
    kind = Value.cellKind
    text = { $0[keyPath: path].cellText }
    set = { row, text in
      guard let value = Value(cellText: text) else { return false }
      row[keyPath: path] = value
      return true
    }
  }
}

/// A type whose values are the rows of one CSV file. Columns are only ever appended.
public protocol CSVRow: Sendable {
  /// Every column, in file order. The only place that knows it.
  static var columns: [CSVColumn<Self>] { get }
  /// A row to read into; what a file of an earlier schema does not have keeps these values.
  init()
}

extension CSVRow {
  /// The header record without its line end.
  public static var header: String { columns.map { quoted($0.name) }.joined(separator: ",") }

  /// This row as a record without its line end.
  public var record: String {
    var record = ""
    for (index, column) in Self.columns.enumerated() {
      if index > 0 { record += "," }
      record += quoted(column.text(self))
    }
    return record
  }

  /// The cell of column `name` as written, or nil when there is no such column.
  public func cell(_ name: String) -> String? {
    Self.columns.first { $0.name == name }.map { $0.text(self) }
  }
}

/// A row that belongs to one repeat of one point.
public protocol PointKeyed {
  var pointID: String { get }
  var repeatIndex: Int { get }
}

extension PointKeyed {
  public var key: PointKey { PointKey(pointID: pointID, repeatIndex: repeatIndex) }
}

/// One repeat of one point: the unit that is run, journalled and resumed.
public struct PointKey: Hashable, Codable, Sendable, CustomStringConvertible {
  /// 12 hex digits.
  public var pointID: String
  /// Counted from 0.
  public var repeatIndex: Int

  public init(pointID: String, repeatIndex: Int) {
    self.pointID = pointID
    self.repeatIndex = repeatIndex
  }

  public var description: String { "\(pointID)-\(repeatIndex)" }
}

private func quoted(_ text: String) -> String {
  let needsQuotes = text.utf8.contains { byte in
    byte == UInt8(ascii: ",") || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\n")
      || byte == UInt8(ascii: "\r")
  }
  guard needsQuotes else { return text }
  return "\"" + text.replacingOccurrences(of: "\"", with: "\"\"") + "\""
}
