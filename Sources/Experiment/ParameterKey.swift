// The names of the parameters, one per flag of `muster run` and per key of a scenario, and how each is read.
// Kept true: a flag and its key are the same word (`--batch-size`, `batch_size`) and are read by the same
// code.

import Foundation
import PBFT
import Replication
import ServiceClient
import Wire
import Workload

/// One parameter as the command line and scenarios name it.
public enum ParameterKey: String, CaseIterable, Hashable, Sendable {
  case `protocol`
  case service
  case transport
  case hosts
  case targetCommand = "target_command"
  case readyTimeout = "ready_timeout"
  case replicas
  case faults
  case faultModel = "fault_model"
  case loops
  case signatures
  case signing
  case replicaAuth = "replica_auth"
  case batchSize = "batch_size"
  case batchTimeout = "batch_timeout"
  case requestTimeout = "request_timeout"
  case viewChangeTimeout = "view_change_timeout"
  case resend
  case checkpointPeriod = "checkpoint_period"
  case logMultiplier = "log_multiplier"
  case durability
  case faultsScript = "faults_script"
  case sessions
  case connections
  case outstanding
  case kind
  case sendTo = "send_to"
  case arrival
  case rate
  case rateShare = "rate_share"
  case payload
  case reply
  case firstClientID = "first_client_id"
  case audit
  case warmup
  case duration
  case drain

  /// Where a scenario may state it; axes accept the keys of target and workload.
  public enum Section: Sendable { case target, workload, phases }

  public var section: Section {
    switch self {
    case .protocol, .service, .transport, .hosts, .targetCommand, .readyTimeout, .replicas, .faults,
      .faultModel,
      .loops, .signatures, .replicaAuth,
      .batchSize, .batchTimeout, .requestTimeout, .viewChangeTimeout, .checkpointPeriod, .logMultiplier,
      .durability, .faultsScript:
      .target
    case .signing, .resend, .sessions, .connections, .outstanding, .kind, .sendTo, .arrival, .rate,
      .rateShare,
      .payload, .reply, .firstClientID, .audit:
      .workload
    case .warmup, .duration, .drain: .phases
    }
  }

  /// The flag of `muster run`.
  public var flag: String { "--" + rawValue.split(separator: "_").joined(separator: "-") }

  /// What a value must look like, for error messages and help.
  public var expectation: String {
    switch self {
    case .protocol: Self.choices(OrderingProtocol.self)
    case .service: Self.choices(ReplicatedService.self)
    case .transport: Self.choices(Transport.self)
    case .hosts: "the folder that holds hosts.config, with transport remote"
    case .targetCommand: "a shell command that starts foreign replicas"
    case .replicas: "a whole number from 1 to \(PointParameters.maximumReplicas)"
    case .faults: "a whole number f with 3f + 1 <= replicas, or 2f + 1 with fault_model crash"
    case .faultModel: "one of " + FaultModel.allCases.map(\.name).joined(separator: ", ")
    case .loops: "a whole number from 1 to 1024"
    case .signatures: SignatureMode.listing
    case .signing: Self.choices(Signing.self)
    case .replicaAuth: Self.choices(ReplicaAuthentication.self)
    case .batchSize: "a whole number from 1 to 65536"
    case .readyTimeout, .batchTimeout, .requestTimeout, .viewChangeTimeout, .resend, .warmup, .duration,
      .drain:
      DurationText.expectation
    case .checkpointPeriod: "a whole number from 1 to 1000000"
    case .logMultiplier: "a whole number from 2 to 1024"
    case .durability: Self.choices(Durability.self)
    case .faultsScript: FaultScript.expectation
    case .sessions: "a whole number from 1 to 1000000"
    case .connections: "a whole number from 1 to the number of sessions"
    case .outstanding: "a whole number from 1 to \(PointParameters.maximumOutstanding)"
    case .kind: "one of " + PointParameters.kinds.map(\.rawValue).joined(separator: ", ")
    case .sendTo: Self.choices(FirstTargets.self)
    case .arrival: "one of " + ArrivalProcess.grammar
    case .rate: "more than 0 requests per second"
    case .rateShare: "a share of the probed capacity, more than 0 and at most 10, such as 0.45"
    case .payload, .reply: "a whole number of bytes from 0 to \(PointParameters.maximumAddedBytes)"
    case .firstClientID: "a whole number from 0 such that the last client id is below 2147483648"
    case .audit: "on or off"
    }
  }

  private static func choices<Choice: CaseIterable & RawRepresentable>(_: Choice.Type) -> String
  where Choice.RawValue == String {
    "one of " + Choice.allCases.map(\.rawValue).joined(separator: ", ")
  }
}

/// One parameter that cannot be what it was said to be.
public struct ParameterError: Error, Equatable, Sendable, CustomStringConvertible {
  public var key: ParameterKey
  /// The value as it was written.
  public var value: String
  /// What was expected in its place.
  public var expected: String

  public init(_ key: ParameterKey, _ value: String, _ expected: String? = nil) {
    self.key = key
    self.value = value
    self.expected = expected ?? key.expectation
  }

  /// The error as a scenario names it: `batch_size: 0: expected …`.
  public var description: String { "\(key.rawValue): \(value): expected \(expected)" }

  /// The error as the command line names it: `--batch-size 0: expected …`.
  public var asFlag: String { "\(key.flag) \(value): expected \(expected)" }
}

/// All that is wrong with one set of parameters; never empty.
public struct ParameterErrors: Error, Equatable, Sendable, CustomStringConvertible {
  public var errors: [ParameterError]

  public init(_ errors: [ParameterError]) {
    precondition(!errors.isEmpty)
    self.errors = errors
  }

  public var description: String { errors.map(\.description).joined(separator: "; ") }
}

extension PointParameters {
  /// Sets one parameter from its text, checking its form and its own range, and marks it as stated.
  public mutating func set(_ key: ParameterKey, to text: String) throws(ParameterError) {
    switch key {
    case .protocol: orderingProtocol = try Self.choice(key, text)
    case .service: service = try Self.choice(key, text)
    case .transport: transport = try Self.choice(key, text)
    case .hosts:
      guard !text.isEmpty else { throw ParameterError(key, "''") }
      hostsDirectory = text
    case .targetCommand:
      guard !text.isEmpty else { throw ParameterError(key, "''") }
      targetCommand = text
    case .readyTimeout: readyTimeoutNanoseconds = try Self.duration(key, text)
    case .replicas: replicas = try Self.whole(key, text, 1...Self.maximumReplicas)
    case .faults: faults = try Self.whole(key, text, 0...Self.maximumReplicas)
    case .faultModel:
      guard let model = FaultModel(name: text) else { throw ParameterError(key, text) }
      faultModel = model
    case .loops: loops = try Self.whole(key, text, 1...1024)
    case .signatures:
      guard SignatureModes.accepts(text) else { throw ParameterError(key, text) }
      signatureMode = text
    case .signing: signing = try Self.choice(key, text)
    case .replicaAuth: replicaAuthentication = try Self.choice(key, text)
    case .batchSize: batchSize = try Self.whole(key, text, 1...65_536)
    case .batchTimeout: batchTimeoutNanoseconds = try Self.duration(key, text)
    case .requestTimeout: requestTimeoutNanoseconds = try Self.duration(key, text)
    case .viewChangeTimeout: viewChangeTimeoutNanoseconds = try Self.duration(key, text)
    case .resend: statedResendNanoseconds = try Self.duration(key, text)
    case .checkpointPeriod: checkpointPeriod = try Self.whole(key, text, 1...1_000_000)
    case .logMultiplier: logMultiplier = try Self.whole(key, text, 2...1024)
    case .durability: durability = try Self.choice(key, text)
    case .faultsScript:
      do {
        faultScript = try FaultScript(text)
      } catch {
        throw ParameterError(key, error.found, error.expected)
      }
    case .sessions: sessions = try Self.whole(key, text, 1...1_000_000)
    case .connections: connections = try Self.whole(key, text, 1...1_000_000)
    case .outstanding: outstanding = try Self.whole(key, text, 1...Self.maximumOutstanding)
    case .kind:
      guard let kind = Self.kinds.first(where: { $0.rawValue == text }) else {
        throw ParameterError(key, text)
      }
      self.kind = kind
    case .sendTo: sendTo = try Self.choice(key, text)
    case .arrival:
      switch ArrivalProcess.parse(text, readTrace: { try? String(contentsOfFile: $0, encoding: .utf8) }) {
      case .success(let process): arrival = process
      case .failure(let error): throw ParameterError(key, text, "\(error)")
      }
    case .rate: rate = .absolute(try Self.number(key, text, atMost: 1e9))
    case .rateShare: rate = .share(try Self.number(key, text, atMost: 10))
    case .payload: payloadBytes = try Self.whole(key, text, 0...Self.maximumAddedBytes)
    case .reply: replyBytes = try Self.whole(key, text, 0...Self.maximumAddedBytes)
    case .firstClientID: firstClientID = try Self.whole(key, text, 0...Int(Int32.max))
    case .audit:
      guard text == "on" || text == "off" else { throw ParameterError(key, text) }
      audit = text == "on"
    case .warmup: warmupNanoseconds = try Self.duration(key, text)
    case .duration: measureNanoseconds = try Self.duration(key, text)
    case .drain: drainNanoseconds = try Self.duration(key, text)
    }
    stated.insert(key)
  }

  private static func choice<Choice: RawRepresentable>(
    _ key: ParameterKey, _ text: String
  ) throws(ParameterError) -> Choice where Choice.RawValue == String {
    guard let choice = Choice(rawValue: text) else { throw ParameterError(key, text) }
    return choice
  }

  private static func whole(
    _ key: ParameterKey, _ text: String, _ range: ClosedRange<Int>
  ) throws(ParameterError) -> Int {
    guard let value = Int(text.filter { $0 != "_" }), range.contains(value) else {
      throw ParameterError(key, text)
    }
    return value
  }

  private static func number(
    _ key: ParameterKey, _ text: String, atMost limit: Double
  ) throws(ParameterError) -> Double {
    guard let value = Double(text.filter { $0 != "_" }), value.isFinite, value > 0, value <= limit else {
      throw ParameterError(key, text)
    }
    return value
  }

  private static func duration(_ key: ParameterKey, _ text: String) throws(ParameterError) -> Int64 {
    guard let value = DurationText.nanoseconds(text), value <= 86_400_000_000_000 else {
      throw ParameterError(key, text)
    }
    return value
  }
}
