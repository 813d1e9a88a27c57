// A key file as lines of fields: bytes all the way, since the table of clients may have 10⁵ of them.

import Foundation
import Hashing
import PBFT

/// The lines of a key file that are neither empty nor only a comment.
struct KeyFile {
  /// A line with its number, from 1.
  struct Line {
    let number: Int
    let fields: [ArraySlice<UInt8>]

    func text(_ index: Int) -> String { String(decoding: fields[index], as: UTF8.self) }
  }

  let path: String
  private(set) var lines: [Line] = []
  /// Lines of the file, those not kept included.
  private var lineCount = 0

  /// Reads and splits a file; a secret one must be readable by its owner only.
  init(path: String, isSecret: Bool) throws(KeyFileError) {
    var status = stat()
    guard stat(path, &status) == 0 else {
      throw errno == ENOENT ? .missing(path: path) : .unreadable(path: path, reason: systemMessage())
    }
    let mode = UInt32(status.st_mode) & 0o777
    if isSecret && mode & 0o077 != 0 { throw .exposed(path: path, mode: mode) }
    let bytes: [UInt8]
    do {
      bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    } catch {
      throw .unreadable(path: path, reason: error.localizedDescription)
    }
    self.init(bytes: bytes, path: path)
  }

  /// Splits what a file holds; errors call it `path`.
  init(bytes: [UInt8], path: String) {
    self.path = path
    for line in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
      lineCount += 1
      let content = line.prefix { $0 != UInt8(ascii: "#") }
      let fields = content.split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") || $0 == 13 }
      if !fields.isEmpty { lines.append(Line(number: lineCount, fields: fields)) }
    }
  }

  /// The same, and the first line must name `cluster`; `lines` are those after it.
  init(path: String, isSecret: Bool, cluster: ClusterID) throws(KeyFileError) {
    try self.init(path: path, isSecret: isSecret)
    guard let first = lines.first, first.fields.count == 2, first.text(0) == "cluster",
      first.text(1) == cluster.description
    else { throw malformed(lines.first, "'cluster \(cluster)', as cluster.id has it") }
    lines.removeFirst()
  }

  /// The error that `line` is not `expected`; without a line, that the file ended before it.
  func malformed(_ line: Line?, _ expected: String) -> KeyFileError {
    .malformed(path: path, line: line?.number ?? max(lineCount, 1), expected: expected)
  }

  /// A cursor over lines `name value`.
  var values: Values { Values(file: self) }

  struct Values {
    let file: KeyFile
    private var index = 0

    init(file: KeyFile) { self.file = file }

    /// The next line must be `name` with 64 hexadecimal digits.
    mutating func next(_ name: String) throws(KeyFileError) -> Secret {
      let line = try take(name, "64 hexadecimal digits")
      guard let bytes = Hexadecimal.bytes(of: line.fields[1], count: 32) else {
        throw file.malformed(line, "'\(name)' and 64 hexadecimal digits")
      }
      return Secret(bytes: bytes.withUnsafeBytes { Digest(bytes: $0) })
    }

    /// The next line must be `name` with base64.
    mutating func nextBase64(_ name: String) throws(KeyFileError) -> [UInt8] {
      let line = try take(name, "base64")
      guard let bytes = Data(base64Encoded: Data(line.fields[1])), !bytes.isEmpty else {
        throw file.malformed(line, "'\(name)' and base64")
      }
      return [UInt8](bytes)
    }

    /// The error that what the line before says is not `expected`.
    func wrong(_ expected: String) -> KeyFileError { file.malformed(file.lines[index - 1], expected) }

    /// The next line must be `name value`.
    mutating func next(_ name: String, is value: String) throws(KeyFileError) {
      let line = try take(name, value)
      guard line.text(1) == value else { throw file.malformed(line, "'\(name) \(value)'") }
    }

    /// No line may be left.
    func end() throws(KeyFileError) {
      if index < file.lines.count { throw file.malformed(file.lines[index], "the end of the file") }
    }

    private mutating func take(_ name: String, _ value: String) throws(KeyFileError) -> Line {
      let expected = "'\(name)' and \(value)"
      guard index < file.lines.count else { throw file.malformed(nil, expected) }
      let line = file.lines[index]
      guard line.fields.count == 2, line.text(0) == name else { throw file.malformed(line, expected) }
      index += 1
      return line
    }
  }
}
