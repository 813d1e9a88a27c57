// Fabric's config.yaml and its environment variables, read into `FabricConfiguration`. Kept true: a value that cannot be
// read names its file and line or its variable, the key, and what was expected; what has no effect is said.

import Channels
import Foundation
import Yams

/// Where Fabric's settings are read from.
public enum FabricSources {
  /// The file beside `system.config`.
  public static let fileName = "config.yaml"

  /// What one source states and what people should know about it.
  public struct Reading: Sendable {
    public var configuration = FabricConfiguration()
    public var warnings: [String] = []

    public init() {}
  }

  /// Reads `config.yaml` of a configuration folder; nothing stated when there is none.
  /// - Throws: `CommandFailure` with code 64 for a bad value, 66 for a file that cannot be read.
  public static func file(in directory: String) throws(CommandFailure) -> Reading {
    let path = directory + "/" + fileName
    guard FileManager.default.fileExists(atPath: path) else { return Reading() }
    guard let data = FileManager.default.contents(atPath: path) else {
      throw CommandFailure(.missingInput, "\(path): cannot be read")
    }
    return try yaml(String(decoding: data, as: UTF8.self), path: path)
  }

  /// Reads the text of a file that messages call `path`.
  public static func yaml(_ text: String, path: String) throws(CommandFailure) -> Reading {
    var reader = FabricFileReader(path: path)
    try reader.read(text)
    return reader.reading
  }

  /// Reads the variables `CORE_PBFT_…` of an environment.
  public static func environment(_ variables: [String: String]) throws(CommandFailure) -> Reading {
    var reading = Reading()
    let names = Dictionary(uniqueKeysWithValues: FabricKey.allCases.map { ($0.environmentName, $0) })
    for name in variables.keys.sorted() where name.hasPrefix(FabricConfiguration.environmentPrefix) {
      guard let text = variables[name] else { continue }
      guard let key = names[name] else {
        reading.warnings.append("\(name): unknown variable")
        continue
      }
      do {
        try reading.configuration.state(key, text, place: name)
      } catch {
        throw .usage("\(name): expected \(key.expected), found '\(text)'")
      }
      if !key.hasEffect { reading.warnings.append("\(name): has no effect here") }
    }
    return reading
  }
}

/// Walks the nested mappings of one file; used once.
private struct FabricFileReader {
  let path: String
  var reading = FabricSources.Reading()

  init(path: String) { self.path = path }

  mutating func read(_ text: String) throws(CommandFailure) {
    let root: Node?
    do {
      root = try Yams.compose(yaml: text)
    } catch {
      let place = (error as? YamlError).flatMap { ScenarioReader.position(of: $0) }
      throw .usage("\(path)\(place.map { ":\($0.line)" } ?? ""): expected YAML with the key general")
    }
    // A file of comments only states nothing.
    guard let root else { return }
    guard case .mapping(let mapping) = root else {
      throw .usage("\(path):\(line(root)): expected a mapping with the key general")
    }
    try walk(mapping, prefix: "")
  }

  private mutating func walk(_ mapping: Node.Mapping, prefix: String) throws(CommandFailure) {
    for (keyNode, value) in mapping {
      guard let word = keyNode.scalar?.string else {
        throw .usage("\(path):\(line(keyNode)): expected a key such as general.batchsize")
      }
      let name = prefix + word
      if let key = FabricKey.named(name) {
        try state(key, value)
      } else if case .mapping(let inner) = value, Self.isGroup(name) {
        try walk(inner, prefix: name + ".")
      } else {
        reading.warnings.append("\(path):\(line(keyNode)): unknown key '\(name)'")
      }
    }
  }

  private mutating func state(_ key: FabricKey, _ node: Node) throws(CommandFailure) {
    let place = "\(path):\(line(node))"
    guard let scalar = node.scalar else {
      throw .usage("\(place): expected \(key.expected) for \(key.rawValue), found more than one value")
    }
    do {
      try reading.configuration.state(key, scalar.string, place: place)
    } catch {
      throw .usage("\(place): expected \(key.expected) for \(key.rawValue), found '\(scalar.string)'")
    }
    if !key.hasEffect { reading.warnings.append("\(place): \(key.rawValue) has no effect here") }
  }

  private static func isGroup(_ name: String) -> Bool {
    let beginning = name.lowercased() + "."
    return FabricKey.allCases.contains { $0.rawValue.lowercased().hasPrefix(beginning) }
  }

  private func line(_ node: Node) -> Int { node.mark?.line ?? 1 }
}
