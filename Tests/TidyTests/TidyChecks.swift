// The rules, each a pure function from source text to findings, so that every one of them can be seen to
// fail.

/// A breach of a rule of the house.
struct Finding: Equatable, CustomStringConvertible {
  let file: String
  /// 1-based; 0 when the whole file is meant.
  let line: Int
  let message: String

  var description: String { line == 0 ? "\(file): \(message)" : "\(file):\(line): \(message)" }
}

enum TidyChecks {
  static let mostLines = 800
  static let mostLinesOfACommand = 199

  /// Imports of `text`, a file of `rule`'s module, that the table does not permit.
  static func forbiddenImports(in text: SourceText, file: String, rule: ModuleRule) -> [Finding] {
    imports(in: text).filter { !rule.permits($0.module) }.map { found in
      Finding(file: file, line: found.line, message: "\(rule.name) may not import \(found.module)")
    }
  }

  /// Every imported module with its line, whatever attributes and access level the import has.
  static func imports(in text: SourceText) -> [(line: Int, module: String)] {
    let modifiers = /(?:@\w+(?:\([^)]*\))?\s+|(?:public|package|internal|fileprivate|private)\s+)*/
    let kinds = /(?:(?:typealias|struct|class|enum|protocol|let|var|func)\s+)?/
    var found: [(line: Int, module: String)] = []
    for (index, line) in text.codeLines.enumerated() where line.contains("import") {
      for statement in line.split(separator: ";") {
        let code = statement.drop(while: \.isWhitespace)
        guard let start = code.prefixMatch(of: modifiers)?.range.upperBound else { continue }
        let rest = code[start...]
        guard rest.prefixMatch(of: /import\s/) != nil else { continue }
        let path = rest.dropFirst("import".count).drop(while: \.isWhitespace)
        let name = path[(path.prefixMatch(of: kinds)?.range.upperBound ?? path.startIndex)...]
        found.append((index + 1, String(name.prefix { $0.isLetter || $0.isNumber || $0 == "_" })))
      }
    }
    return found
  }

  /// What has no place in the pure core, by the word that brings it in.
  static func impurities(in text: SourceText, file: String) -> [Finding] {
    var findings: [Finding] = []
    for (index, line) in text.codeLines.enumerated() {
      for impurity in impurityPatterns where line.contains(impurity.pattern) {
        let message = "the pure core has no \(impurity.name)"
        findings.append(Finding(file: file, line: index + 1, message: message))
      }
    }
    return findings
  }

  private static var impurityPatterns: [(pattern: Regex<Substring>, name: String)] {
    [
      // `async` is also the word for a durability; as a keyword it stands behind a parenthesis or before these.
      (/\)\s*async\b|\basync\s+(?:let|throws)\b/, "concurrency"),
      (/\b(?:await|Task|TaskGroup|actor|DispatchQueue|Thread|pthread_\w+)\b/, "concurrency"),
      (/\b(?:ContinuousClock|SuspendingClock|DispatchTime|NIODeadline|Date)\b/, "clock"),
      (/\b(?:clock_gettime|gettimeofday)\b/, "clock"),
      (/\b(?:SystemRandomNumberGenerator|arc4random\w*|getrandom|drand48)\b/, "chance of its own"),
      (/\brandomElement\(\)/, "chance of its own"),
      (/\.random\(in:[^,]*\)|\.random\(\)|\.shuffled?\(\)/, "chance of its own"),
      (/\bany\s+[A-Z(]/, "existential"),
      (/\bimport\s+(?:\w+\s+)?Foundation\w*/, "Foundation"),
      (/\b(?:print|debugPrint|NSLog)\(/, "output"),
    ]
  }

  /// Declarations that give a type the name of the module it is in.
  static func typesNamedAsModule(in text: SourceText, file: String, module: String) -> [Finding] {
    var findings: [Finding] = []
    let declaration = /\b(?:struct|class|enum|actor|protocol|typealias)\s+`?(\w+)/
    for (index, line) in text.codeLines.enumerated() {
      for match in line.matches(of: declaration) where match.1 == module {
        findings.append(Finding(file: file, line: index + 1, message: "a type bears its module's name"))
      }
    }
    return findings
  }

  /// Whether the file is longer than `limit` lines.
  static func excessLength(of text: SourceText, file: String, limit: Int) -> [Finding] {
    guard text.lineCount > limit else { return [] }
    return [Finding(file: file, line: 0, message: "\(text.lineCount) lines, at most \(limit) are allowed")]
  }

  /// Rows that name a module of the house which does not stand above them in the table.
  static func rowsOutOfOrder(in table: [ModuleRule]) -> [String] {
    var above: Set<String> = []
    var wrong: [String] = []
    for rule in table {
      for name in rule.house where !above.contains(name) { wrong.append("\(rule.name) names \(name)") }
      if !above.insert(rule.name).inserted { wrong.append("\(rule.name) has two rows") }
    }
    return wrong
  }
}
