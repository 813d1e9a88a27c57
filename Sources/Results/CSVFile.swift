// CSV files on disk. The writer keeps one thing true: after any failure and any restart the file is a header
// and whole rows. The reader refuses what it does not understand with file and line, ignores a torn last row,
// and reads files of earlier and later schemas, since columns are only ever appended.

import Foundation

/// Appends rows to one CSV file; confined to one thread of control.
public final class CSVWriter<Row: CSVRow> {
  private let file: AppendFile
  public var path: String { file.path }

  /// Makes the file and writes its header. Throws `occupied` when the path is taken.
  public init(creating path: String) throws(ResultFileError) {
    file = try AppendFile(creating: path)
    file.append((Row.header + "\n").utf8)
    try file.flush()
  }

  /// Opens a file to append to it. A torn last row is cut; a file cut within its header gets a new one;
  /// another header is an error, since rows of two schemas in one file help nobody.
  public init(reopening path: String) throws(ResultFileError) {
    let header = Row.header + "\n"
    file = try AppendFile(reopening: path) { bytes throws(ResultFileError) in
      if bytes.count < header.utf8.count, header.utf8.starts(with: bytes) { return 0 }
      guard bytes.starts(with: header.utf8) else {
        throw .malformed(path: path, line: 1, reason: "the header is not that of this version")
      }
      return wholeRecordsByteCount(bytes)
    }
    if file.committedByteCount == 0 {
      file.append(header.utf8)
      try file.flush()
    }
  }

  /// Adds a row to what the next flush writes.
  public func append(_ row: Row) {
    file.append((row.record + "\n").utf8)
  }

  /// Hands the rows to the system. On an error the file still ends with a whole row.
  public func flush() throws(ResultFileError) { try file.flush() }

  /// Flushes and waits for the disk.
  public func synchronize() throws(ResultFileError) { try file.synchronize() }

  /// Flushes and closes. Closing twice does nothing.
  public func close() throws(ResultFileError) { try file.close() }
}

/// What a CSV file holds.
public struct CSVContents<Row: CSVRow>: Sendable {
  public var rows: [Row]
  /// Whether the file ends inside a row, as after a kill; that row is not among `rows`.
  public var hasTornTail: Bool
}

/// Reads a CSV file of `Row`s.
public enum CSVReader<Row: CSVRow> {
  /// All whole rows of the file at `path`.
  public static func rows(at path: String) throws(ResultFileError) -> [Row] {
    try contents(at: path).rows
  }

  /// All whole rows of the file at `path`, and whether a torn one follows.
  public static func contents(at path: String) throws(ResultFileError) -> CSVContents<Row> {
    try contents(of: readBytes(at: path), path: path)
  }

  /// Reads `bytes` as the file `path`, which only errors name.
  public static func contents(
    of bytes: [UInt8], path: String
  ) throws(ResultFileError) -> CSVContents<Row> {
    var scanner = CSVScanner(bytes: bytes, path: path)
    guard let header = try scanner.next(), header.isTerminated else {
      throw .malformed(path: path, line: 1, reason: "the header is missing")
    }
    let columns = Row.columns
    for (index, (name, column)) in zip(header.fields, columns).enumerated() where name != column.name {
      throw .malformed(
        path: path, line: 1,
        reason: "column \(index + 1) is \"\(name)\", expected \"\(column.name)\"")
    }
    var rows: [Row] = []
    while let record = try scanner.next() {
      guard record.isTerminated else { return CSVContents(rows: rows, hasTornTail: true) }
      guard record.fields.count == header.fields.count else {
        throw .malformed(
          path: path, line: record.line,
          reason: "\(record.fields.count) cells, expected \(header.fields.count)")
      }
      var row = Row()
      for (field, column) in zip(record.fields, columns) where !column.set(&row, field) {
        throw .malformed(
          path: path, line: record.line,
          reason: "\(column.name) is \"\(field)\", expected \(column.kind)")
      }
      rows.append(row)
    }
    return CSVContents(rows: rows, hasTornTail: false)
  }
}

/// Cuts bytes into records and fields.
private struct CSVScanner {
  struct Record {
    var fields: [String] = []
    /// Where the record begins, from 1.
    var line: Int
    /// Whether a line end follows: false only for a torn last record.
    var isTerminated = false
  }

  let bytes: [UInt8]
  let path: String
  private var offset = 0
  private var line = 1

  init(bytes: [UInt8], path: String) {
    self.bytes = bytes
    self.path = path
    // A byte order mark, as spreadsheets leave it.
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { offset = 3 }
  }

  mutating func next() throws(ResultFileError) -> Record? {
    guard offset < bytes.count else { return nil }
    var record = Record(line: line)
    while true {
      guard let field = try nextField() else { return record }
      record.fields.append(String(decoding: field, as: UTF8.self))
      guard offset < bytes.count else { return record }
      let separator = bytes[offset]
      offset += 1
      if separator == UInt8(ascii: ",") { continue }
      if separator == UInt8(ascii: "\r") {
        guard offset < bytes.count else { return record }
        guard bytes[offset] == UInt8(ascii: "\n") else {
          throw problem("a carriage return without a line end")
        }
        offset += 1
      }
      line += 1
      record.isTerminated = true
      return record
    }
  }

  /// The next field, its separator not consumed; nil when the bytes end inside quotes.
  private mutating func nextField() throws(ResultFileError) -> [UInt8]? {
    guard offset < bytes.count, bytes[offset] == UInt8(ascii: "\"") else { return try nextPlainField() }
    offset += 1
    var field: [UInt8] = []
    while offset < bytes.count {
      let byte = bytes[offset]
      offset += 1
      if byte == UInt8(ascii: "\n") { line += 1 }
      guard byte == UInt8(ascii: "\"") else {
        field.append(byte)
        continue
      }
      guard offset < bytes.count, bytes[offset] == byte else {
        guard offset == bytes.count || isSeparator(bytes[offset]) else {
          throw problem("text after a closing quote")
        }
        return field
      }
      field.append(byte)
      offset += 1
    }
    return nil
  }

  private mutating func nextPlainField() throws(ResultFileError) -> [UInt8] {
    let start = offset
    while offset < bytes.count, !isSeparator(bytes[offset]) {
      if bytes[offset] == UInt8(ascii: "\"") { throw problem("a quote inside an unquoted cell") }
      offset += 1
    }
    return Array(bytes[start..<offset])
  }

  private func isSeparator(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: ",") || byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r")
  }

  private func problem(_ reason: String) -> ResultFileError {
    .malformed(path: path, line: line, reason: reason)
  }
}

/// The bytes up to and including the last line end outside quotes. Doubled quotes toggle twice and cancel
/// out.
func wholeRecordsByteCount(_ bytes: [UInt8]) -> Int {
  var count = 0
  var isQuoted = false
  for (index, byte) in bytes.enumerated() {
    if byte == UInt8(ascii: "\"") {
      isQuoted.toggle()
    } else if byte == UInt8(ascii: "\n"), !isQuoted {
      count = index + 1
    }
  }
  return count
}
