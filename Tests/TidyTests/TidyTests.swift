// The rules of the house against the house itself. A finding names file and line.

import Foundation
import Testing

/// The project's own source files.
private enum House {
  static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  /// Modules that have a folder with Swift files under Sources.
  static func modules() throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: root.appendingPathComponent("Sources").path)
      .filter { !files(under: "Sources/\($0)").isEmpty }.sorted()
  }

  /// Every Swift file of the project by its path from the root, each read once.
  static let texts: [String: SourceText] = {
    var texts: [String: SourceText] = [:]
    for path in ["Sources", "Tests", "Benchmarks"].flatMap(swiftFiles(under:)) {
      // A file that cannot be read is a file nobody has checked: better to stop here.
      texts[path] = SourceText(try! String(contentsOf: root.appendingPathComponent(path), encoding: .utf8))
    }
    return texts
  }()

  /// The files below a folder, in order of their paths.
  static func files(under folder: String) -> [(path: String, text: SourceText)] {
    texts.filter { $0.key.hasPrefix(folder + "/") }.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }

  private static func swiftFiles(under folder: String) -> [String] {
    let path = root.appendingPathComponent(folder).path
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    return entries.flatMap { entry -> [String] in
      if entry.hasPrefix(".") { return [] }
      let path = "\(folder)/\(entry)"
      return entry.hasSuffix(".swift") ? [path] : swiftFiles(under: path)
    }
  }
}

@Suite("The house")
struct TidyTests {
  @Test("every module has one row in the import table, and every row a module")
  func rowsAndModulesMatch() throws {
    #expect(try House.modules() == importTable.map(\.name).sorted())
  }

  @Test("a row names only modules above it, so the house has no cycle")
  func tableIsOrdered() {
    #expect(TidyChecks.rowsOutOfOrder(in: importTable) == [])
  }

  @Test("a module imports only what its row permits", arguments: importTable.map(\.name))
  func importsArePermitted(module: String) throws {
    let rule = try #require(importTable.first { $0.name == module })
    for (file, text) in House.files(under: "Sources/\(module)") {
      let findings = TidyChecks.forbiddenImports(in: text, file: file, rule: rule)
      #expect(findings == [])
    }
  }

  @Test(
    "the pure core has no clock, chance, concurrency, existential or Foundation",
    arguments: importTable.filter(\.isPure).map(\.name))
  func coreIsPure(module: String) throws {
    for (file, text) in House.files(under: "Sources/\(module)") {
      #expect(TidyChecks.impurities(in: text, file: file) == [])
    }
  }

  @Test("no type bears its module's name", arguments: importTable.map(\.name))
  func typesDifferFromModules(module: String) throws {
    for (file, text) in House.files(under: "Sources/\(module)") {
      let findings = TidyChecks.typesNamedAsModule(in: text, file: file, module: module)
      #expect(findings == [])
    }
  }

  @Test("files stay short, those of the command line shorter")
  func filesAreShort() throws {
    for (file, text) in House.texts {
      let isCommand = file.hasPrefix("Sources/muster/")
      let limit = isCommand ? TidyChecks.mostLinesOfACommand : TidyChecks.mostLines
      #expect(TidyChecks.excessLength(of: text, file: file, limit: limit) == [])
    }
  }
}
