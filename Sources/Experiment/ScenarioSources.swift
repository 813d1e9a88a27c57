// Where scenarios come from besides a file: the flags of one point, and the folder of a sweep to be resumed.
// Kept true: every scenario has a text that reads back as the same points, so `run.json` always says how to
// run it again.

import Foundation
import Results

extension Scenario {
  /// The scenario of `muster run`: one point from its flags.
  ///
  /// - Parameters:
  ///   - stated: values by parameter, as the flags give them.
  ///   - seed: as its flag gives it; nil for 1.
  /// - Throws: `ParameterErrors` with everything that is wrong, `CommandFailure` for the seed.
  public init(point stated: [ParameterKey: String], seed: String?) throws {
    let parameters = try PointParameters(stating: stated)
    let errors = parameters.validate()
    guard errors.isEmpty else { throw ParameterErrors(errors) }
    let seedText = seed ?? "1"
    guard let number = UInt64(seedText) else {
      throw CommandFailure.usage(
        "--seed \(seedText): expected a whole number from 0 to 18446744073709551615")
    }
    self.init(
      name: "run", seed: number, repeats: 1,
      points: [Point(parameters: parameters, position: TextPosition(line: 1, column: 1))],
      text: Self.text(stated, seed: number), fileName: "run")
  }

  /// The scenario that `muster sweep` runs: a file's, a resumed folder's own, or the embedded default.
  ///
  /// - Parameters:
  ///   - path: the file, if one is named.
  ///   - resuming: the folder to be resumed, if any.
  public static func load(path: String?, resuming folder: String?) throws -> Scenario {
    if let path { return try Scenario(path: path) }
    guard let folder else { return try embedded() }
    let manifest: RunManifest
    do {
      manifest = try RunManifest(reading: ResultFolder.open(folder).manifest)
    } catch {
      throw CommandFailure.forResultFiles(error)
    }
    do {
      return try Scenario(yaml: manifest.scenario, fileName: folder + "/run.json")
    } catch let error as ScenarioError {
      throw CommandFailure.usage(error.description)
    }
  }

  private static func text(_ stated: [ParameterKey: String], seed: UInt64) -> String {
    var text = "name: run\nseed: \(seed)\n"
    func lines(_ section: ParameterKey.Section, indentation: String) -> String {
      ParameterKey.allCases.filter { $0.section == section && stated[$0] != nil }
        .map { "\(indentation)\($0.rawValue): \(quoted(stated[$0] ?? ""))\n" }.joined()
    }
    text += lines(.phases, indentation: "")
    let target = lines(.target, indentation: "  ")
    if !target.isEmpty { text += "target:\n" + target }
    let workload = lines(.workload, indentation: "  ")
    if !workload.isEmpty { text += "workload:\n" + workload }
    return text
  }

  /// A YAML scalar that reads back as `text`.
  private static func quoted(_ text: String) -> String {
    let plain = text.unicodeScalars.allSatisfy { character in
      switch character {
      case "a"..."z", "A"..."Z", "0"..."9", "-", "_", ".", "/": true
      default: false
      }
    }
    return plain && !text.hasPrefix("-") ? text : "'" + text.replacing("'", with: "''") + "'"
  }
}
