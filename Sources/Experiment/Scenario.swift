// A scenario: what is to be measured, as one YAML file states it. Kept true: whatever is wrong in the file is
// reported with file, line, column and what was expected; an unknown key is an error; the text is kept as it
// was read, so that a result folder holds exactly what was run.

import Foundation
import Yams

/// An error in the text of a scenario, shown as `file:line:column: message`.
public struct ScenarioError: Error, Equatable, Sendable, CustomStringConvertible {
  public var fileName: String
  public var position: TextPosition?
  public var message: String

  public init(fileName: String, position: TextPosition?, message: String) {
    self.fileName = fileName
    self.position = position
    self.message = message
  }

  public var description: String {
    if let position { "\(fileName):\(position): \(message)" } else { "\(fileName): \(message)" }
  }
}

/// The points to measure, before repeats and order.
public struct Scenario: Sendable {
  /// One point and where the file states each of its parameters.
  public struct Point: Sendable {
    public var parameters: PointParameters
    public var position: TextPosition
  }

  /// Used in the names of result folders.
  public var name: String
  public var seed: UInt64
  public var repeats: Int
  /// In the order of the file; crossed axes with the last one varying fastest.
  public var points: [Point]
  /// The text this was read from.
  public var text: String
  public var fileName: String

  /// The most points of one scenario, against a slip in an axis.
  public static let maximumPoints = 10_000

  /// Reads and validates the text of a scenario.
  ///
  /// - Parameters:
  ///   - yaml: the text.
  ///   - fileName: how errors name it.
  /// - Throws: `ScenarioError` for the first thing that is wrong.
  public init(yaml: String, fileName: String) throws {
    var reader = ScenarioReader(fileName: fileName)
    self = try reader.read(yaml)
  }

  /// Reads the scenario file at `path`.
  /// - Throws: `CommandFailure` with code 66 when it cannot be read and 64 when its text is wrong.
  public init(path: String) throws {
    let data: Data
    do {
      data = try Data(contentsOf: URL(fileURLWithPath: path))
    } catch {
      throw CommandFailure(.missingInput, "\(path): cannot be read: expected a scenario file in YAML")
    }
    let text = String(decoding: data, as: UTF8.self)
    do {
      try self.init(yaml: text, fileName: path)
    } catch let error as ScenarioError {
      throw CommandFailure(.usage, error.description)
    }
  }

  init(name: String, seed: UInt64, repeats: Int, points: [Point], text: String, fileName: String) {
    self.name = name
    self.seed = seed
    self.repeats = repeats
    self.points = points
    self.text = text
    self.fileName = fileName
  }
}
