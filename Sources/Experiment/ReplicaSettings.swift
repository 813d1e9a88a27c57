// What one replica runs with, from all places that may say so: flag, environment, Fabric's config.yaml, system.config,
// Muster's default, in this order. Kept true: each value knows where it comes from; whatever loses against a stronger
// place and differs from it is said in one line; Fabric's own corrections are applied, and told.

import Channels
import Foundation
import PBFT
import ReplicaHost
import Replication
import Wire

/// Where a value comes from, the strongest first.
public enum SettingSource: Int, Comparable, Sendable {
  case flag
  case environment
  case yaml
  case systemConfig
  case standard

  public static func < (left: SettingSource, right: SettingSource) -> Bool { left.rawValue < right.rawValue }
}

/// One resolved value.
public struct ReplicaSetting<Value: Equatable & Sendable>: Sendable {
  /// As scenarios and `--print-config` call it.
  public let name: String
  public fileprivate(set) var value: Value
  public fileprivate(set) var text: String
  public let source: SettingSource
  /// Where the value stands, for people: a flag, a variable, a file with its line and key.
  public fileprivate(set) var place: String
}

/// The resolved configuration of one replica.
public struct ResolvedReplicaSettings: Sendable {
  public let id: Int
  public let directory: String
  /// n and f where something states them; else they follow from hosts.config.
  public let replicas: ReplicaSetting<Int?>
  public let faults: ReplicaSetting<Int?>
  public let orderingProtocol: ReplicaSetting<OrderingProtocol>
  public let service: ReplicaSetting<ReplicatedService>
  public let replyBytes: ReplicaSetting<Int>
  public let signatureMode: ReplicaSetting<SignatureMode>
  public let replicaAuthentication: ReplicaSetting<ReplicaAuthentication>
  public let batchSize: ReplicaSetting<Int>
  public let batchTimeoutNanoseconds: ReplicaSetting<Int64>
  public private(set) var requestTimeoutNanoseconds: ReplicaSetting<Int64>
  public let viewChangeTimeoutNanoseconds: ReplicaSetting<Int64>
  public let viewChangeResendNanoseconds: ReplicaSetting<Int64>
  public private(set) var nullRequestNanoseconds: ReplicaSetting<Int64>
  public let viewChangePeriod: ReplicaSetting<Int>
  public let checkpointPeriod: ReplicaSetting<Int>
  public let logMultiplier: ReplicaSetting<Int>
  public let durability: ReplicaSetting<Durability>
  public let readOnlyRequests: ReplicaSetting<Bool>
  public let maximumRequestFrameBytes: ReplicaSetting<Int>
  /// The frames that clients and replicas exchange.
  public let dialect: ReplicaSetting<ClientDialect>
  /// Whether the frames of v1.2's clients carry MACs.
  public let usesMACs: ReplicaSetting<Bool>
  /// What replicas that answer with a hash hash with.
  public let replyHash: ReplicaSetting<ReplyHash>
  /// `system.bft`.
  public let faultModel: ReplicaSetting<FaultModel>
  /// Requests of one client that may wait; 0 leaves it at a client's window.
  public let controlFlow: ReplicaSetting<Int>
  /// Whose RECONFIG requests are executed; nil is nobody.
  public let trustedPartyID: ReplicaSetting<Int32?>
  public private(set) var maximumBatchBytes: ReplicaSetting<Int>
  /// The address to listen on.
  public let bindHost: ReplicaSetting<String>
  /// What becomes of each line of system.config.
  public let systemUses: [SystemConfigurationUse]
  /// Nil for an honest replica.
  public let byzantine: ReplicaSetting<AdversarialBehaviour?>
  /// One line for every conflict and every correction.
  public private(set) var notices: [String]
  /// Lines of files and variables that have no effect.
  public let warnings: [String]

  /// Resolves every value.
  ///
  /// - Parameters:
  ///   - flags: what the command line states.
  ///   - environment: of `FabricSources.environment`.
  ///   - yaml: of `FabricSources.file`.
  ///   - systemConfig: of `flags.configDirectory`.
  ///   - folder: what the other files of that folder say.
  /// - Throws: `CommandFailure` with code 64 when the values cannot go together.
  public static func resolve(
    flags: ReplicaOptions, environment: FabricSources.Reading, yaml: FabricSources.Reading,
    systemConfig: SystemConfiguration, folder: FolderFacts = FolderFacts()
  ) throws(CommandFailure) -> ResolvedReplicaSettings {
    var settings = try ResolvedReplicaSettings(flags, environment, yaml, systemConfig, folder)
    settings.applyFabricCorrections()
    settings.fitBatchBytes()
    let problems = settings.replicaConfiguration.validate()
    guard problems.isEmpty else { throw .usage(problems.joined(separator: "; ")) }
    return settings
  }

  /// Resolves with the environment of this process and the files of `flags.configDirectory`.
  public static func resolve(
    flags: ReplicaOptions, systemConfig: SystemConfiguration, folder: FolderFacts = FolderFacts()
  ) throws(CommandFailure) -> ResolvedReplicaSettings {
    try resolve(
      flags: flags, environment: FabricSources.environment(ProcessInfo.processInfo.environment),
      yaml: FabricSources.file(in: flags.configDirectory), systemConfig: systemConfig, folder: folder)
  }

  private init(
    _ flags: ReplicaOptions, _ environment: FabricSources.Reading, _ yaml: FabricSources.Reading,
    _ system: SystemConfiguration, _ folder: FolderFacts
  ) throws(CommandFailure) {
    var places = SettingPlaces(
      environment: environment.configuration, yaml: yaml.configuration,
      systemPath: flags.configDirectory + "/system.config")
    let standard = PointParameters()
    let core = ReplicaConfiguration()
    let order = "system.totalordermulticast."
    id = flags.id
    directory = flags.configDirectory
    replicas = places.optional("replicas", .replicas, ("system.servers.num", system.servers))
    faults = places.optional("faults", .faults, ("system.servers.f", system.faults))
    orderingProtocol = places.settle(
      "protocol", flag: flags.orderingProtocol, .mode, { $0.statements[.mode] == nil ? nil : .pbft },
      standard: .pbft, text: \.rawValue)
    service = places.settle("service", flag: flags.service, standard: .log, text: \.rawValue)
    replyBytes = places.settle("reply", flag: flags.replyBytes, standard: 0)
    signatureMode = places.settle(
      "signatures", flag: try Self.mode(flags),
      system: ("system.communication.useSignatures", try Self.mode(system, folder, flags.configDirectory)),
      standard: .none, text: \.description)
    replicaAuthentication = places.settle(
      "replica_auth", flag: flags.replicaAuthentication, standard: .hmac, text: \.rawValue)
    batchSize = places.whole(
      "batch_size", flags.batchSize, .batchSize, (order + "maxbatchsize", system.maximumBatchSize),
      standard.batchSize)
    batchTimeoutNanoseconds = places.duration(
      "batch_timeout", flags.batchTimeoutNanoseconds, .batchTimeout,
      (order + "batchtimeout", system.batchTimeoutMilliseconds.map { Int64(max(0, $0)) * 1_000_000 }),
      standard.batchTimeoutNanoseconds)
    requestTimeoutNanoseconds = places.duration(
      "request_timeout", flags.requestTimeoutNanoseconds, .requestTimeout,
      (order + "timeout", system.requestTimeoutMilliseconds.map { Int64($0) * 1_000_000 }),
      standard.requestTimeoutNanoseconds)
    viewChangeTimeoutNanoseconds = places.duration(
      "view_change_timeout", flags.viewChangeTimeoutNanoseconds, .viewChangeTimeout, nil,
      standard.viewChangeTimeoutNanoseconds)
    viewChangeResendNanoseconds = places.duration(
      "view_change_resend", flags.viewChangeResendNanoseconds, .viewChangeResend, nil,
      core.viewChangeResendNanoseconds)
    nullRequestNanoseconds = places.duration(
      "null_request", flags.nullRequestNanoseconds, .nullRequest, nil, core.nullRequestNanoseconds)
    viewChangePeriod = places.whole(
      "view_change_period", flags.viewChangePeriod, .viewChangePeriod, nil, core.viewChangePeriod)
    checkpointPeriod = places.whole(
      "checkpoint_period", flags.checkpointPeriod, .checkpointPeriod,
      (order + "checkpoint_period", system.checkpointPeriod), standard.checkpointPeriod)
    logMultiplier = places.whole(
      "log_multiplier", flags.logMultiplier, .logMultiplier, nil, standard.logMultiplier)
    durability = places.settle(
      "durability", flag: flags.durability,
      system: (order + (system.logToDisk == true ? "sync_log" : "log_to_disk"), system.durability),
      standard: .sync, text: \.rawValue)
    readOnlyRequests = places.settle(
      "readonly_requests",
      system: ("system.optimizations.readonly_requests", system.hasReadOnlyRequests),
      standard: folder.dialect == .v12)
    maximumRequestFrameBytes = places.settle(
      "max_request_bytes", system: ("system.communication.maxRequestSize", system.maximumRequestSize),
      standard: 64 << 20)
    dialect = folder.dialectSetting(flags.dialect)
    usesMACs = places.settle(
      "macs", system: ("system.communication.useMACs", folder.dialect == .v12 ? system.usesMACs : nil),
      standard: folder.dialect == .v12)
    replyHash = places.settle(
      "reply_hash",
      system: ("system.communication.hashAlgorithm", try Self.replyHash(system, flags.configDirectory)),
      standard: folder.dialect.replyHash, text: \.rawValue)
    faultModel = places.settle(
      "fault_model", system: ("system.bft", system.isByzantine.map { $0 ? .byzantine : .crash }),
      standard: .byzantine, text: \.name)
    controlFlow = places.settle(
      "control_flow", system: ("system.communication.useControlFlow", system.controlFlow), standard: 0)
    trustedPartyID = places.settle(
      "ttp",
      system: (
        "system.ttp.id", system.trustedPartyID.map { id -> Int32? in id >= 0 ? Int32(exactly: id) : nil }
      ),
      standard: nil, text: { $0.map { "\($0)" } ?? "nobody" })
    maximumBatchBytes = places.settle(
      "max_batch_bytes", system: (order + "maxBatchSizeInBytes", system.maximumBatchBytes),
      standard: core.maximumBatchBytes)
    bindHost = folder.bindSetting(system, places.systemPath)
    systemUses = system.uses
    byzantine = places.settle(
      "byzantine", flag: flags.byzantine.map { .some($0) }, .byzantine,
      { $0.boolean(.byzantine).map { $0 ? .some(.omit) : .none } }, standard: nil,
      text: { $0?.description ?? "off" })
    notices = places.conflicts
    warnings = yaml.warnings + environment.warnings
  }

  private static func mode(_ flags: ReplicaOptions) throws(CommandFailure) -> SignatureMode? {
    guard let name = flags.signatureMode else { return nil }
    do {
      return try SignatureMode(name: name)
    } catch {
      throw .usage("--signatures \(name): \(error)")
    }
  }

  private static func mode(
    _ system: SystemConfiguration, _ folder: FolderFacts, _ directory: String
  ) throws(CommandFailure) -> SignatureMode? {
    guard let use = system.useSignatures else { return nil }
    do {
      return try SignatureMode(useSignatures: use, algorithm: folder.keyAlgorithm)
    } catch {
      throw .usage("\(directory)/system.config: system.communication.useSignatures = \(use): \(error)")
    }
  }

  private static func replyHash(
    _ system: SystemConfiguration, _ directory: String
  ) throws(CommandFailure) -> ReplyHash? {
    guard let name = system.hashAlgorithm else { return nil }
    guard let hash = ReplyHash(rawValue: name.uppercased()) else {
      throw .usage(
        "\(directory)/system.config: system.communication.hashAlgorithm = \(name): expected "
          + ReplyHash.allCases.map(\.rawValue).joined(separator: " or "))
    }
    return hash
  }

  // MARK: Corrections

  /// What Fabric's constructors do (`newObcBatch`, `newPbftCore`): a request timeout that is not above the batch timeout,
  /// and a null request that is not above the request timeout, become half as long again. 0 is off for a flag and
  /// for system.config, where Fabric has no such value.
  private mutating func applyFabricCorrections() {
    let batch = batchTimeoutNanoseconds
    let request = requestTimeoutNanoseconds
    let isOff = request.value == 0 && request.source != .environment && request.source != .yaml
    if !isOff, batch.value > 0, batch.value >= request.value {
      requestTimeoutNanoseconds.raise(above: batch, by: &notices)
    }
    let timeout = requestTimeoutNanoseconds
    if nullRequestNanoseconds.value != 0, nullRequestNanoseconds.value <= timeout.value {
      nullRequestNanoseconds.raise(above: timeout, by: &notices)
    }
  }

  /// A batch has room for one request of the largest size, and fits into what a replica can hold.
  private mutating func fitBatchBytes() {
    let least = maximumRequestBytes
    let most = ReplicaConfiguration().maximumHeldBytes / 4
    let fitting = min(max(maximumBatchBytes.value, least), most)
    guard fitting != maximumBatchBytes.value else { return }
    // What BFT-SMaRt calls no limit is none here either.
    if maximumBatchBytes.value < least {
      notices.append(
        "max_batch_bytes: \(maximumBatchBytes.text) (\(maximumBatchBytes.place)) has no room for a request of "
          + "\(least) bytes: raised")
    }
    maximumBatchBytes.value = fitting
    maximumBatchBytes.text = "\(fitting)"
  }

  /// Data and authenticator of one request: never more than a frame may have.
  private var maximumRequestBytes: Int {
    min(ReplicaConfiguration().maximumRequestBytes, max(64, maximumRequestFrameBytes.value))
  }

  // MARK: Text

  /// The whole configuration, one `name: value  # place` line each: what `--print-config` prints.
  public var text: String {
    let lines: [(String, String, String)] = [
      ("id", "\(id)", "--id"), ("config", directory, "--config"), replicas.line, faults.line,
      orderingProtocol.line, service.line, replyBytes.line, signatureMode.line, replicaAuthentication.line,
      batchSize.line, batchTimeoutNanoseconds.line, requestTimeoutNanoseconds.line,
      viewChangeTimeoutNanoseconds.line, viewChangeResendNanoseconds.line, nullRequestNanoseconds.line,
      viewChangePeriod.line, checkpointPeriod.line, logMultiplier.line, durability.line,
      readOnlyRequests.line,
      maximumRequestFrameBytes.line, maximumBatchBytes.line, dialect.line, usesMACs.line, replyHash.line,
      faultModel.line, controlFlow.line, trustedPartyID.line, bindHost.line, byzantine.line,
    ]
    let width = lines.map { $0.0.count + $0.1.count + 2 }.max() ?? 0
    return lines.map { name, value, place in
      let setting = "\(name): \(value)"
      return setting + String(repeating: " ", count: width - setting.count) + "  # \(place)\n"
    }.joined() + systemUses.map { "# system.config:\($0.line): \($0)\n" }.joined()
  }
}

extension ReplicaSetting {
  fileprivate var line: (String, String, String) { (name, text, place) }

  /// A value whose place is decided elsewhere.
  init(name: String, value: Value, text: String, source: SettingSource, at place: String) {
    self.init(name: name, value: value, text: text, source: source, place: place)
  }
}

extension ReplicaSetting<Int64> {
  /// Half as long again as `other`, and says so.
  fileprivate mutating func raise(above other: ReplicaSetting<Int64>, by notices: inout [String]) {
    let raised = other.value * 3 / 2
    let was = "\(text) (\(place))"
    value = raised
    text = DurationText.text(raised)
    notices.append(
      "\(name): \(was) is not above \(other.name) \(other.text): raised to \(text), as Fabric does")
    place = "raised from \(was), because it has to be above \(other.name)"
  }
}

/// Picks the strongest place of each value and remembers what it won over.
private struct SettingPlaces {
  let environment: FabricConfiguration
  let yaml: FabricConfiguration
  let systemPath: String
  var conflicts: [String] = []

  private struct Candidate<Value> {
    var value: Value
    var source: SettingSource
    var place: String
  }

  init(environment: FabricConfiguration, yaml: FabricConfiguration, systemPath: String) {
    self.environment = environment
    self.yaml = yaml
    self.systemPath = systemPath
  }

  mutating func settle<Value: Equatable & Sendable>(
    _ name: String, flag: Value? = nil, _ key: FabricKey? = nil,
    _ read: (FabricConfiguration) -> Value? = { _ in nil }, system: (key: String, value: Value?)? = nil,
    standard: Value, text: (Value) -> String = { "\($0)" }
  ) -> ReplicaSetting<Value> {
    var candidates: [Candidate<Value>] = []
    if let flag {
      let word = "--" + name.split(separator: "_").joined(separator: "-")
      candidates.append(Candidate(value: flag, source: .flag, place: word))
    }
    if let key, let statement = environment.statements[key], let value = read(environment) {
      candidates.append(Candidate(value: value, source: .environment, place: statement.place))
    }
    if let key, let statement = yaml.statements[key], let value = read(yaml) {
      candidates.append(
        Candidate(value: value, source: .yaml, place: "\(statement.place) \(key.rawValue)"))
    }
    if let system, let value = system.value {
      candidates.append(
        Candidate(value: value, source: .systemConfig, place: "\(systemPath) \(system.key)"))
    }
    guard let winner = candidates.first else {
      return ReplicaSetting(
        name: name, value: standard, text: text(standard), source: .standard, place: "default")
    }
    for loser in candidates.dropFirst() where loser.value != winner.value {
      conflicts.append(
        "\(name): \(text(winner.value)) (\(winner.place)) wins over \(text(loser.value)) (\(loser.place))")
    }
    return ReplicaSetting(
      name: name, value: winner.value, text: text(winner.value), source: winner.source, place: winner.place)
  }

  mutating func whole(
    _ name: String, _ flag: Int?, _ key: FabricKey, _ system: (String, Int?)?, _ standard: Int
  ) -> ReplicaSetting<Int> {
    settle(
      name, flag: flag, key, { $0.whole(key) }, system: system.map { (key: $0.0, value: $0.1) },
      standard: standard)
  }

  mutating func duration(
    _ name: String, _ flag: Int64?, _ key: FabricKey, _ system: (String, Int64?)?, _ standard: Int64
  ) -> ReplicaSetting<Int64> {
    settle(
      name, flag: flag, key, { $0.nanoseconds(key) }, system: system.map { (key: $0.0, value: $0.1) },
      standard: standard, text: DurationText.text)
  }

  /// A value that may stay open.
  mutating func optional(
    _ name: String, _ key: FabricKey, _ system: (String, Int?)
  ) -> ReplicaSetting<Int?> {
    settle(
      name, key, { $0.whole(key).map { .some($0) } },
      system: (key: system.0, value: system.1.map { .some($0) }), standard: nil,
      text: { $0.map { "\($0)" } ?? "as hosts.config" })
  }
}

extension ResolvedReplicaSettings {
  /// What the pure replica is told.
  public var replicaConfiguration: ReplicaConfiguration {
    var configuration = ReplicaConfiguration()
    configuration.consenter = orderingProtocol.value == .pbft ? .pbft : .noops
    configuration.batchSize = batchSize.value
    configuration.maximumBatchRequests = max(configuration.maximumBatchRequests, batchSize.value)
    configuration.batchTimeoutNanoseconds = batchTimeoutNanoseconds.value
    configuration.requestTimeoutNanoseconds = requestTimeoutNanoseconds.value
    configuration.viewChangeTimeoutNanoseconds = viewChangeTimeoutNanoseconds.value
    configuration.viewChangeResendNanoseconds = viewChangeResendNanoseconds.value
    configuration.nullRequestNanoseconds = nullRequestNanoseconds.value
    configuration.viewChangePeriod = viewChangePeriod.value
    configuration.checkpointPeriod = checkpointPeriod.value
    configuration.logMultiplier = logMultiplier.value
    configuration.durability = durability.value
    configuration.readOnlyRequests = readOnlyRequests.value
    configuration.maximumRequestBytes = maximumRequestBytes
    configuration.maximumBatchBytes = maximumBatchBytes.value
    if controlFlow.value > 0 {
      configuration.maximumOutstandingPerClient = min(
        controlFlow.value, configuration.maximumOutstandingPerClient)
    }
    configuration.administrator = configuration.consenter == .pbft ? trustedPartyID.value : nil
    return configuration
  }
}
