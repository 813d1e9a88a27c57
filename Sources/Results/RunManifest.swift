// run.json: everything needed to say what a result is and to make it again.

import Foundation

/// How the binary that measured was built.
public struct BuildIdentity: Codable, Equatable, Sendable {
  /// `release` or `debug`.
  public var mode: String
  public var gitRevision: String?
  /// Whether the sources differed from that revision.
  public var gitDirty: Bool?
  public var compiler: String?

  public init(mode: String, gitRevision: String? = nil, gitDirty: Bool? = nil, compiler: String? = nil) {
    self.mode = mode
    self.gitRevision = gitRevision
    self.gitDirty = gitDirty
    self.compiler = compiler
  }
}

/// The generator's ceiling against a null target.
public struct CalibrationEntry: Codable, Equatable, Sendable {
  public var transport: String
  /// Per replica.
  public var connections: Int
  public var signatureMode: String
  /// The highest rate at which the generator kept its schedule.
  public var ceilingOperationsPerSecond: Double

  public init(transport: String, connections: Int, signatureMode: String, ceilingOperationsPerSecond: Double)
  {
    self.transport = transport
    self.connections = connections
    self.signatureMode = signatureMode
    self.ceilingOperationsPerSecond = ceilingOperationsPerSecond
  }
}

/// The capacity that relative rates of one configuration refer to.
public struct CapacityProbe: Codable, Equatable, Sendable {
  /// Names the configuration probed; equal text, equal configuration.
  public var configuration: String
  public var operationsPerSecond: Double

  public init(configuration: String, operationsPerSecond: Double) {
    self.configuration = configuration
    self.operationsPerSecond = operationsPerSecond
  }
}

/// The content of run.json.
public struct RunManifest: Codable, Equatable, Sendable {
  public var schemaVersion: Int
  public var sweepId: String
  public var started: Date
  public var finished: Date?
  /// The command line, program name first.
  public var command: [String]
  /// The scenario as it was read.
  public var scenario: String
  public var seed: UInt64
  public var build: BuildIdentity
  public var environment: HostEnvironment
  public var allocator: String
  /// Version by library name.
  public var libraries: [String: String]
  public var calibration: [CalibrationEntry]
  public var probes: [CapacityProbe]

  public init(
    sweepId: String, started: Date, command: [String], scenario: String, seed: UInt64, build: BuildIdentity,
    environment: HostEnvironment, allocator: String, libraries: [String: String] = [:],
    calibration: [CalibrationEntry] = [], probes: [CapacityProbe] = []
  ) {
    schemaVersion = PointRow.currentSchemaVersion
    self.sweepId = sweepId
    self.started = started
    self.command = command
    self.scenario = scenario
    self.seed = seed
    self.build = build
    self.environment = environment
    self.allocator = allocator
    self.libraries = libraries
    self.calibration = calibration
    self.probes = probes
  }

  /// Reads the manifest at `path`.
  public init(reading path: String) throws(ResultFileError) {
    let bytes = try readBytes(at: path)
    do {
      self = try ResultJSON.decoder().decode(RunManifest.self, from: Data(bytes))
    } catch {
      throw .malformed(path: path, line: 1, reason: ResultJSON.reason(error))
    }
  }

  /// Writes the manifest, whole or not at all.
  public func write(to path: String) throws(ResultFileError) {
    try replaceFile(at: path, with: ResultJSON.encode(self, pretty: true) + [UInt8(ascii: "\n")])
  }
}

/// How JSON files of a result are written: snake case, sorted keys, UTC with milliseconds.
enum ResultJSON {
  static func encode(_ value: some Encodable, pretty: Bool) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    if pretty { encoder.outputFormatting.insert(.prettyPrinted) }
    encoder.dateEncodingStrategy = .custom { date, encoder in
      var container = encoder.singleValueContainer()
      try container.encode(date.cellText)
    }
    // A rate that is not a number is our own mistake, and the only thing that could fail.
    guard let data = try? encoder.encode(value) else { preconditionFailure("a value that JSON cannot hold") }
    return [UInt8](data)
  }

  static func decoder() -> JSONDecoder {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    decoder.dateDecodingStrategy = .custom { decoder in
      let container = try decoder.singleValueContainer()
      guard let date = Date(cellText: try container.decode(String.self)) else {
        throw DecodingError.dataCorruptedError(in: container, debugDescription: "expected " + Date.cellKind)
      }
      return date
    }
    return decoder
  }

  /// What a decoder complains about, in one line.
  static func reason(_ error: any Error) -> String {
    guard let error = error as? DecodingError else { return "\(error)" }
    switch error {
    case .keyNotFound(let key, _): return "\"\(key.stringValue)\" is missing"
    case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
      let path = context.codingPath.map(\.stringValue).joined(separator: ".")
      return path.isEmpty ? "not valid JSON" : "\"\(path)\": \(context.debugDescription)"
    @unknown default: return "not valid JSON"
    }
  }
}
