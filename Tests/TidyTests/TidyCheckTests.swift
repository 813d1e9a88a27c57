// Each check on small samples: what it must find, and what must not fool it.

import Testing

@Suite("Tidy checks")
struct TidyCheckTests {
  private let rule = ModuleRule("Middle", house: ["Ground"], packages: ["NIO*", "Crypto"])

  private func forbidden(_ source: String) -> [String] {
    TidyChecks.forbiddenImports(in: SourceText(source), file: "M.swift", rule: rule).map(\.description)
  }

  private func impure(_ source: String) -> Int {
    TidyChecks.impurities(in: SourceText(source), file: "M.swift").count
  }

  @Test("permitted imports pass, by name and by prefix")
  func permittedImports() {
    #expect(forbidden("import Ground\nimport NIOCore\nimport NIO\nimport Crypto\n") == [])
  }

  @Test("an edge upwards is found with file and line")
  func forbiddenEdge() {
    #expect(forbidden("// M\n\nimport Ground\nimport Roof\n") == ["M.swift:4: Middle may not import Roof"])
  }

  @Test(
    "attributes, access levels, kinds and submodules hide no import",
    arguments: [
      "@testable import Roof", "@preconcurrency public import Roof", "@_spi(Inner) import Roof",
      "import struct Roof.Tile", "import Roof.Gable", "  import   Roof // fine?",
      "import Ground; import Roof",
      "#if os(Linux)\nimport Roof\n#endif", "internal import Roof",
    ])
  func disguisedImports(source: String) {
    #expect(forbidden(source).count == 1)
  }

  @Test("a name that only begins like a permitted one is another module")
  func prefixIsNotEnough() {
    #expect(forbidden("import Cryptography\nimport GroundFloor\n").count == 2)
  }

  @Test(
    "what only looks like an import passes",
    arguments: [
      "// import Roof", "/* import Roof\nimport Roof */", "let a = \"\"\"\n  import Roof\n  \"\"\"",
      "let importRoof = 1",
      "/* /* */ import Roof */", "let b = #\"\"\"\nimport Roof\n\"\"\"#",
      "let c = \"\\(f(\"\"\"\nimport Roof\n\"\"\"))\"", "important Roof",
    ])
  func pretendedImports(source: String) {
    #expect(forbidden(source) == [])
  }

  @Test("code after a string or a comment is still code")
  func codeGoesOn() {
    let source = "let a = \"\\\"//\" /* x */\nlet b = #\"\\\"#\nlet c = \"\\(f(\")\"))\"\nimport Roof\n"
    #expect(forbidden(source) == ["M.swift:4: Middle may not import Roof"])
  }

  @Test(
    "what the pure core must not have is found",
    arguments: [
      "func a() async {}", "Task { }", "let t = ContinuousClock().now", "clock_gettime(0, &t)",
      "let d = Date()",
      "var g = SystemRandomNumberGenerator()", "Int.random(in: 0..<5)", "Bool.random()", "list.shuffled()",
      "let s: any Sink", "import Foundation", "import struct Foundation.Data", "import FoundationEssentials",
      "print(1)", "actor A {}",
    ])
  func impurities(source: String) {
    #expect(impure(source) == 1)
  }

  @Test(
    "what only sounds impure passes",
    arguments: [
      "// any Sink, async, Date()", "let updated = 1", "func asynchronous() {}",
      "Int.random(in: 0..<5, using: &g)",
      "let text = \"any Sink\"", "case any", "let blueprint = print", "list.shuffled(using: &g)", "some Sink",
    ])
  func innocents(source: String) {
    #expect(impure(source) == 0)
  }

  @Test("a type with its module's name is found, one that contains it is not")
  func typeNames() {
    let text = SourceText("struct Middle {}\nenum MiddleEarth {}\nprotocol Middle {}\nextension Middle {}\n")
    let findings = TidyChecks.typesNamedAsModule(in: text, file: "M.swift", module: "Middle")
    #expect(findings.map(\.line) == [1, 3])
  }

  @Test("a file of exactly the limit passes, one line more does not")
  func length() {
    let text = SourceText(String(repeating: "\n", count: 5))
    #expect(TidyChecks.excessLength(of: text, file: "M.swift", limit: 5) == [])
    #expect(TidyChecks.excessLength(of: text, file: "M.swift", limit: 4).count == 1)
    #expect(SourceText("a\nb").lineCount == 2)
  }

  @Test("a row that names a module below it, and a second row, are found")
  func order() {
    let table = [ModuleRule("A", house: ["B"]), ModuleRule("B"), ModuleRule("B", house: ["A"])]
    #expect(TidyChecks.rowsOutOfOrder(in: table) == ["A names B", "B has two rows"])
  }
}
