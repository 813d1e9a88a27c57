// From YAML nodes with their marks to a scenario. Kept true: values are taken as the text that was written
// and read by the same code as flags; the mark of whatever stated a parameter travels with it until its point
// is validated.

import Yams

/// Reads one scenario; used once.
struct ScenarioReader {
  let fileName: String

  /// A value as it was written and where.
  private struct Statement {
    var text: String
    var position: TextPosition
  }

  private typealias Statements = [ParameterKey: Statement]

  private static let topLevelKeys =
    ["name", "seed", "repeats", "warmup", "duration", "drain", "target", "workload", "axes"]

  init(fileName: String) {
    self.fileName = fileName
  }

  mutating func read(_ yaml: String) throws -> Scenario {
    let root = try mapping(compose(yaml), "the scenario", keys: Self.topLevelKeys)
    var name = "sweep"
    var seed: UInt64 = 1
    var repeats = 1
    var common = Statements()
    var axes: Node?
    for (keyNode, value) in root {
      let key = try scalar(keyNode, "a key").text
      switch key {
      case "name": name = try folderName(value)
      case "seed":
        let statement = try scalar(value, key)
        guard let number = UInt64(statement.text) else {
          throw error(
            at: value, "seed: \(statement.text): expected a whole number from 0 to 18446744073709551615")
        }
        seed = number
      case "repeats":
        let statement = try scalar(value, key)
        guard let number = Int(statement.text), (1...1000).contains(number) else {
          throw error(at: value, "repeats: \(statement.text): expected a whole number from 1 to 1000")
        }
        repeats = number
      case "target": try state(value, section: .target, name: key, into: &common)
      case "workload": try state(value, section: .workload, name: key, into: &common)
      case "axes": axes = value
      default:
        guard let parameter = ParameterKey(rawValue: key) else { continue }
        common[parameter] = try scalar(value, key)
      }
    }
    let points = try expand(axes, common: common, root: root)
    return Scenario(name: name, seed: seed, repeats: repeats, points: points, text: yaml, fileName: fileName)
  }

  // MARK: Points

  private func expand(_ axes: Node?, common: Statements, root: Node.Mapping) throws -> [Scenario.Point] {
    let start = Self.position(root.mark)
    guard let axes else { return [try point(common, at: start)] }
    let groups: [Node]
    switch axes {
    case .mapping: groups = [axes]
    case .sequence(let sequence): groups = Array(sequence)
    case .scalar, .alias:
      throw error(at: axes, "axes: expected a mapping of keys to lists of values, or a list of such mappings")
    }
    if groups.isEmpty { throw error(at: axes, "axes: expected at least one entry") }

    var points: [Scenario.Point] = []
    var seen: [String: TextPosition] = [:]
    for group in groups {
      for statements in try cross(group, common: common, already: points.count) {
        let point = try point(statements, at: Self.position(group.mark))
        if let first = seen.updateValue(point.position, forKey: point.parameters.pointID) {
          throw ScenarioError(
            fileName: fileName, position: point.position,
            message: "axes: the point \(point.parameters.summary) is listed twice, first at \(first)")
        }
        points.append(point)
      }
    }
    return points
  }

  /// The statements of every combination of the group's values over `common`, the last axis varying fastest.
  private func cross(_ group: Node, common: Statements, already: Int) throws -> [Statements] {
    let accepted = ParameterKey.allCases.filter { $0.section != .phases && $0 != .hosts }
    let group = try mapping(group, "an entry of axes", keys: accepted.map(\.rawValue))
    var combinations = [common]
    var stated: Set<ParameterKey> = []
    for (keyNode, value) in group {
      let name = try scalar(keyNode, "a key").text
      guard let key = ParameterKey(rawValue: name) else { continue }
      stated.insert(key)
      if stated.contains(.rate), stated.contains(.rateShare) {
        throw error(at: keyNode, "\(name): expected either rate or rate_share, not both")
      }
      var values: [Statement] = []
      if case .sequence(let sequence) = value {
        values = try sequence.map { try scalar($0, name) }
        if values.isEmpty { throw error(at: value, "\(name): expected at least one value") }
      } else {
        values = [try scalar(value, name)]
      }
      guard already + combinations.count * values.count <= Scenario.maximumPoints else {
        throw error(at: value, "axes: expected at most \(Scenario.maximumPoints) points")
      }
      combinations = combinations.flatMap { combination in
        values.map { value in
          var combination = combination
          if key == .rate { combination[.rateShare] = nil }
          if key == .rateShare { combination[.rate] = nil }
          combination[key] = value
          return combination
        }
      }
    }
    return combinations
  }

  private func point(_ statements: Statements, at position: TextPosition) throws -> Scenario.Point {
    let parameters: PointParameters
    do {
      parameters = try PointParameters(stating: statements.mapValues(\.text))
    } catch {
      throw located(error.errors[0], statements, default: position)
    }
    if let first = parameters.validate().first { throw located(first, statements, default: position) }
    return Scenario.Point(parameters: parameters, position: position)
  }

  private func located(
    _ error: ParameterError, _ statements: Statements, default position: TextPosition
  ) -> ScenarioError {
    // A rule between two parameters may be broken by the one that was stated, not by the one it names.
    let related: [ParameterKey: [ParameterKey]] = [
      .replicas: [.faults, .protocol], .faults: [.protocol, .replicas], .connections: [.sessions],
      .firstClientID: [.sessions], .signing: [.signatures], .hosts: [.transport],
      .resend: [.drain, .requestTimeout], .faultsScript: [.replicas, .transport, .warmup, .duration],
    ]
    let place = ([error.key] + (related[error.key] ?? [])).lazy.compactMap { statements[$0]?.position }.first
    return ScenarioError(fileName: fileName, position: place ?? position, message: error.description)
  }

  // MARK: Nodes

  private func compose(_ yaml: String) throws -> Node {
    do {
      if let node = try Yams.compose(yaml: yaml) { return node }
    } catch let error as YamlError {
      throw ScenarioError(
        fileName: fileName, position: Self.position(of: error), message: Self.message(of: error))
    }
    throw ScenarioError(
      fileName: fileName, position: TextPosition(line: 1, column: 1),
      message: "expected a mapping with the keys \(Self.topLevelKeys.joined(separator: ", "))")
  }

  private func state(
    _ node: Node, section: ParameterKey.Section, name: String, into statements: inout Statements
  ) throws {
    let accepted = ParameterKey.allCases.filter { $0.section == section }
    let mapping = try mapping(node, name, keys: accepted.map(\.rawValue))
    for (keyNode, value) in mapping {
      let key = try scalar(keyNode, "a key").text
      guard let parameter = ParameterKey(rawValue: key) else { continue }
      statements[parameter] = try scalar(value, key)
    }
    if statements[.rate] != nil, let share = statements[.rateShare] {
      throw ScenarioError(
        fileName: fileName, position: share.position,
        message: "rate_share: expected either rate or rate_share, not both")
    }
  }

  /// The mapping of `node`, all of whose keys are among `keys` and stated once.
  private func mapping(_ node: Node, _ name: String, keys: [String]) throws -> Node.Mapping {
    guard case .mapping(let mapping) = node else {
      throw error(at: node, "\(name): expected a mapping with the keys \(keys.joined(separator: ", "))")
    }
    for (key, _) in mapping {
      let statement = try scalar(key, "a key")
      guard keys.contains(statement.text) else {
        throw error(
          at: key, "\(name): unknown key '\(statement.text)': expected one of \(keys.joined(separator: ", "))"
        )
      }
    }
    return mapping
  }

  private func scalar(_ node: Node, _ name: String) throws -> Statement {
    guard case .scalar(let scalar) = node else {
      throw error(at: node, "\(name): expected a single value")
    }
    guard !scalar.string.isEmpty else { throw error(at: node, "\(name): expected a value") }
    return Statement(text: scalar.string, position: Self.position(node.mark))
  }

  private func folderName(_ node: Node) throws -> String {
    let statement = try scalar(node, "name")
    let allowed = statement.text.unicodeScalars.allSatisfy { character in
      switch character {
      case "a"..."z", "A"..."Z", "0"..."9", "-", "_", ".": true
      default: false
      }
    }
    guard allowed, statement.text.count <= 64, !statement.text.hasPrefix(".") else {
      throw error(
        at: node,
        "name: \(statement.text): expected at most 64 letters, digits, '-', '_' and '.', not '.' first")
    }
    return statement.text
  }

  private func error(at node: Node, _ message: String) -> ScenarioError {
    ScenarioError(fileName: fileName, position: Self.position(node.mark), message: message)
  }

  private static func position(_ mark: Mark?) -> TextPosition {
    TextPosition(line: mark?.line ?? 1, column: mark?.column ?? 1)
  }

  static func position(of error: YamlError) -> TextPosition? {
    switch error {
    case .scanner(_, _, let mark, _), .parser(_, _, let mark, _), .composer(_, _, let mark, _): position(mark)
    case .duplicatedKeysInMapping(_, let context): position(context.mark)
    case .reader(_, let offset?, _, let yaml): position(of: offset, in: yaml)
    default: nil
    }
  }

  private static func position(of offset: Int, in text: String) -> TextPosition {
    let before = text.prefix(offset)
    let line = before.reduce(1) { $1 == "\n" ? $0 + 1 : $0 }
    let column = before.reversed().prefix { $0 != "\n" }.count + 1
    return TextPosition(line: line, column: column)
  }

  private static func message(of error: YamlError) -> String {
    switch error {
    case .scanner(let context, let problem, _, _), .parser(let context, let problem, _, _),
      .composer(let context, let problem, _, _):
      "expected YAML: \(context.map { $0.text + ": " } ?? "")\(problem)"
    case .duplicatedKeysInMapping(let duplicates, _):
      "expected each key once, found twice: \(duplicates.sorted().joined(separator: ", "))"
    case .reader(let problem, _, _, _): "expected YAML in UTF-8: \(problem)"
    default: "expected YAML"
    }
  }
}
