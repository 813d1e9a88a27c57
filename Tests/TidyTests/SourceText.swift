// Just enough of Swift's lexical rules to look at code without being fooled by comments and strings.

/// The text of one source file, with its code separated from what only looks like code.
struct SourceText {
  /// Lines of the file as written.
  let lines: [Substring]
  /// The same lines with comments and the contents of string literals blanked out.
  let codeLines: [Substring]

  init(_ text: String) {
    var blanker = Blanker(text)
    lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    codeLines = blanker.code().split(separator: "\n", omittingEmptySubsequences: false)
  }

  /// How many lines the file has; a closing newline begins no further one.
  var lineCount: Int { lines.last == "" ? lines.count - 1 : lines.count }
}

/// Copies a text, replacing everything inside comments and string literals but line ends by spaces. Code
/// inside a string's interpolation counts as string. Works on bytes: all that matters here is ASCII.
private struct Blanker {
  private let input: [UInt8]
  private var output: [UInt8] = []
  private var position = 0

  private static let newline = UInt8(ascii: "\n")
  private static let quote = UInt8(ascii: "\"")
  private static let hash = UInt8(ascii: "#")

  init(_ text: String) {
    input = Array(text.utf8)
    output.reserveCapacity(input.count)
  }

  mutating func code() -> String {
    while position < input.count {
      if starts("//") {
        while position < input.count, input[position] != Self.newline { blank(1) }
      } else if starts("/*") {
        skipBlockComment()
      } else if input[position] == Self.quote || input[position] == Self.hash && opensRawString {
        skipString()
      } else {
        output.append(input[position])
        position += 1
      }
    }
    return String(decoding: output, as: UTF8.self)
  }

  private func starts(_ text: String) -> Bool {
    input[position...].starts(with: text.utf8)
  }

  private var opensRawString: Bool {
    input[position...].drop { $0 == Self.hash }.first == Self.quote
  }

  private mutating func blank(_ count: Int) {
    for _ in 0..<count where position < input.count {
      output.append(input[position] == Self.newline ? Self.newline : UInt8(ascii: " "))
      position += 1
    }
  }

  private mutating func skipBlockComment() {
    var depth = 0
    repeat {
      if starts("/*") {
        depth += 1
        blank(2)
      } else if starts("*/") {
        depth -= 1
        blank(2)
      } else {
        blank(1)
      }
    } while depth > 0 && position < input.count
  }

  private mutating func skipString() {
    let hashes = String(repeating: "#", count: input[position...].prefix { $0 == Self.hash }.count)
    blank(hashes.count)
    let isMultiline = starts("\"\"\"")
    let quotes = isMultiline ? "\"\"\"" : "\""
    blank(quotes.count)
    let end = quotes + hashes
    let escape = "\\" + hashes
    while position < input.count, !starts(end) {
      if !isMultiline, input[position] == Self.newline { return }
      if starts(escape + "(") {
        blank(escape.count)
        skipInterpolation()
      } else {
        blank(starts(escape) ? escape.count + 1 : 1)
      }
    }
    blank(end.count)
  }

  private mutating func skipInterpolation() {
    var depth = 0
    repeat {
      if input[position] == Self.quote {
        skipString()
        continue
      }
      if input[position] == UInt8(ascii: "(") { depth += 1 }
      if input[position] == UInt8(ascii: ")") { depth -= 1 }
      blank(1)
    } while depth > 0 && position < input.count
  }
}
