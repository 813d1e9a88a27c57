// What hosts.config and system.config have in common: lines with numbers, comments, and errors that say which file,
// which line, and what was expected there.

import Foundation

/// Why a configuration file cannot be used.
public enum ConfigurationError: Error, Hashable, Sendable {
  /// There is no such file.
  case missing(path: String)
  case unreadable(path: String, reason: String)
  /// A line (1-based) is not what the file must have there.
  case malformed(path: String, line: Int, expected: String, found: String)
}

extension ConfigurationError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .missing(let path): "\(path): no such file"
    case .unreadable(let path, let reason): "\(path): cannot be read: \(reason)"
    case .malformed(let path, let line, let expected, let found):
      "\(path):\(line): expected \(expected), found \(found)"
    }
  }
}

/// Something in a configuration file that has no effect and perhaps was meant to have one.
public struct ConfigurationWarning: Hashable, Sendable, CustomStringConvertible {
  public let path: String
  /// From 1.
  public let line: Int
  public let message: String

  public var description: String { "\(path):\(line): \(message)" }
}

/// A configuration file's lines, without comments and blank ones.
struct ConfigurationFile {
  struct Line {
    /// From 1.
    let number: Int
    /// Without comment and white space at its ends; never empty.
    let text: Substring
  }

  let path: String
  let lines: [Line]
  /// The last line's number, for what is missing.
  let lineCount: Int

  /// Reads a file of UTF-8 text.
  init(path: String) throws(ConfigurationError) {
    guard FileManager.default.fileExists(atPath: path) else { throw .missing(path: path) }
    let bytes: Data
    do {
      bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    } catch {
      throw .unreadable(path: path, reason: error.localizedDescription)
    }
    self.init(text: String(decoding: bytes, as: UTF8.self), path: path)
  }

  /// - Parameter path: what errors call the file.
  init(text: String, path: String) {
    self.path = path
    var lines: [Line] = []
    var number = 0
    for line in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) {
      number += 1
      let content = Self.trimmed(Self.withoutComment(line))
      if !content.isEmpty { lines.append(Line(number: number, text: content)) }
    }
    self.lines = lines
    lineCount = max(number, 1)
  }

  func malformed(_ line: Line, _ expected: String, found: some StringProtocol) -> ConfigurationError {
    .malformed(path: path, line: line.number, expected: expected, found: "'\(found)'")
  }

  /// A comment begins at a `#` that begins the line or follows white space: a `#` inside a word is part of it.
  private static func withoutComment(_ line: Substring) -> Substring {
    var previous: Character = " "
    for index in line.indices {
      if line[index] == "#" && previous.isWhitespace { return line[..<index] }
      previous = line[index]
    }
    return line
  }

  static func trimmed(_ text: Substring) -> Substring {
    var text = text.drop(while: \.isWhitespace)
    while let last = text.last, last.isWhitespace { text.removeLast() }
    return text
  }
}
