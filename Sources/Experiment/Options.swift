// What the commands that start one party are told, as typed values. Kept true: an option that was not stated
// is nil, so that `system.config` can decide it and a conflict can be seen.

import ReplicaHost
import Replication
import Wire

/// What `muster replica` is told; `ResolvedReplicaSettings` says what holds in the end.
public struct ReplicaOptions: Equatable, Sendable {
  /// The id of this replica in `hosts.config`.
  public var id: Int
  /// Folder of `hosts.config`, `system.config` and `keys/`.
  public var configDirectory: String
  public var service: ReplicatedService?
  public var orderingProtocol: OrderingProtocol?
  public var signatureMode: String?
  public var replicaAuthentication: ReplicaAuthentication?
  public var batchSize: Int?
  public var batchTimeoutNanoseconds: Int64?
  public var requestTimeoutNanoseconds: Int64?
  public var checkpointPeriod: Int?
  public var logMultiplier: Int?
  /// Bytes of a reply beyond its record.
  public var replyBytes: Int?
  public var viewChangeTimeoutNanoseconds: Int64?
  public var viewChangeResendNanoseconds: Int64?
  public var nullRequestNanoseconds: Int64?
  /// Checkpoint periods per view; 0 is without end.
  public var viewChangePeriod: Int?
  public var durability: Durability?
  /// Set for a replica that is to misbehave.
  public var byzantine: AdversarialBehaviour?
  /// The client frames that are spoken; nil lets hosts.config decide.
  public var dialect: ClientDialect?

  public init(id: Int, configDirectory: String) {
    self.id = id
    self.configDirectory = configDirectory
  }

  /// What only replicas are told, by the same words as in `--print-config`.
  public enum OwnKey: String, CaseIterable, Sendable {
    case viewChangeResend = "view_change_resend"
    case nullRequest = "null_request"
    case viewChangePeriod = "view_change_period"
    case byzantine
    case dialect

    var flag: String { "--" + rawValue.split(separator: "_").joined(separator: "-") }
  }

  /// Options whose values are read and checked as those of `muster run` are.
  ///
  /// - Parameters:
  ///   - texts: of what points have as well.
  ///   - own: of what only replicas have.
  /// - Throws: `ParameterErrors` with everything of `texts` that cannot be read, `CommandFailure` for `own`.
  public init(
    id: Int, configDirectory: String, stating texts: [ParameterKey: String], own: [OwnKey: String] = [:]
  ) throws {
    self.init(id: id, configDirectory: configDirectory)
    let parameters = try PointParameters(stating: texts)
    func stated<Value>(_ key: ParameterKey, _ value: Value) -> Value? {
      parameters.stated.contains(key) ? value : nil
    }
    service = stated(.service, parameters.service)
    orderingProtocol = stated(.protocol, parameters.orderingProtocol)
    signatureMode = stated(.signatures, parameters.signatureMode)
    replicaAuthentication = stated(.replicaAuth, parameters.replicaAuthentication)
    batchSize = stated(.batchSize, parameters.batchSize)
    batchTimeoutNanoseconds = stated(.batchTimeout, parameters.batchTimeoutNanoseconds)
    requestTimeoutNanoseconds = stated(.requestTimeout, parameters.requestTimeoutNanoseconds)
    checkpointPeriod = stated(.checkpointPeriod, parameters.checkpointPeriod)
    logMultiplier = stated(.logMultiplier, parameters.logMultiplier)
    replyBytes = stated(.reply, parameters.replyBytes)
    viewChangeTimeoutNanoseconds = stated(.viewChangeTimeout, parameters.viewChangeTimeoutNanoseconds)
    durability = stated(.durability, parameters.durability)
    if let service, !service.isOurs {
      throw ParameterErrors([ParameterError(.service, service.rawValue, "one of log, counter, null")])
    }
    if let orderingProtocol, orderingProtocol.isForeign {
      throw ParameterErrors([ParameterError(.protocol, orderingProtocol.rawValue, "one of pbft, noops")])
    }
    for key in OwnKey.allCases {
      if let text = own[key] { try set(key, text) }
    }
  }

  private mutating func set(_ key: OwnKey, _ text: String) throws(CommandFailure) {
    func duration() throws(CommandFailure) -> Int64 {
      guard let value = DurationText.nanoseconds(text), value <= 86_400_000_000_000 else {
        throw .usage("\(key.flag) \(text): expected \(DurationText.expectation)")
      }
      return value
    }
    switch key {
    case .viewChangeResend: viewChangeResendNanoseconds = try duration()
    case .nullRequest: nullRequestNanoseconds = try duration()
    case .viewChangePeriod:
      guard let value = Int(text), (0...1_000_000).contains(value) else {
        throw .usage("\(key.flag) \(text): expected a whole number from 0 to 1000000")
      }
      viewChangePeriod = value
    case .byzantine:
      guard let value = AdversarialBehaviour(text) else {
        throw .usage("\(key.flag) \(text): expected \(AdversarialBehaviour.expected)")
      }
      byzantine = value
    case .dialect:
      guard let value = ClientDialect(rawValue: text) else {
        throw .usage("\(key.flag) \(text): expected \(ClientDialect.expected)")
      }
      dialect = value
    }
  }
}

extension ClientDialect {
  /// What a flag that names a dialect must say.
  static let expected = "master or 1.2"
}

/// What `muster keys` is told.
public struct KeyOptions: Equatable, Sendable {
  /// Which files are made.
  public enum Layout: String, CaseIterable, Sendable {
    /// `keys/`, with everything that Muster's replicas and clients need.
    case muster
    /// `keysECDSA/`, `keysRSA/` or `keysSunEC/`: a pair of files for each replica, for the trusted party and for each client.
    case bftsmart
  }

  /// Folder of `hosts.config`; the keys go into it.
  public var configDirectory: String
  /// The client ids that get keys.
  public var clients: ClosedRange<Int32>
  public var layout = Layout.muster
  /// For BFT-SMaRt's layout; nil takes the one of `system.config`.
  public var loader: KeyLoader?
  /// For BFT-SMaRt's layout; nil takes P-256, or RSA with 2048 bits for its loader.
  public var kind: KeyKind?

  public init(configDirectory: String, clients: ClosedRange<Int32>) {
    self.configDirectory = configDirectory
    self.clients = clients
  }

  /// The kinds of keys that BFT-SMaRt's files may hold, by the names of signature modes.
  static let kinds: [(name: String, kind: KeyKind)] = [
    ("ecdsa-p256", .ecdsaP256), ("ecdsa-secp256k1", .ecdsaSecp256k1), ("rsa-1024", .rsa(bits: 1024)),
    ("rsa-2048", .rsa(bits: 2048)),
  ]

  /// Reads what flags say; nil is not stated.
  /// - Throws: `CommandFailure` with code 64 for a word that is not known, or that the layout has no use for.
  public init(
    configDirectory: String, clients: String, layout: String?, loader: String?, algorithm: String?
  ) throws(CommandFailure) {
    self.init(configDirectory: configDirectory, clients: try Self.clients(clients))
    if let layout {
      guard let value = Layout(rawValue: layout) else {
        throw .usage("--layout \(layout): expected muster or bftsmart")
      }
      self.layout = value
    }
    if let loader {
      guard let value = KeyLoader(rawValue: loader) else {
        throw .usage("--loader \(loader): expected ECDSA, RSA or SunEC")
      }
      self.loader = value
    }
    if let algorithm {
      guard let value = Self.kinds.first(where: { $0.name == algorithm })?.kind else {
        throw .usage("--algorithm \(algorithm): expected \(Self.kinds.map(\.name).joined(separator: ", "))")
      }
      kind = value
    }
    if self.layout == .muster,
      let flag = loader.map({ "--loader \($0)" }) ?? algorithm.map({ "--algorithm \($0)" })
    {
      throw .usage("\(flag): expected --layout bftsmart with it; keys/ holds keys of every algorithm")
    }
  }

  /// Reads `A..B`, both included.
  /// - Throws: `CommandFailure` with code 64 when the text is not such a range.
  public static func clients(_ text: String) throws(CommandFailure) -> ClosedRange<Int32> {
    guard let clients = KeyFiles.clients(parsing: text) else {
      throw .usage(
        "--clients \(text): expected a range of client ids such as 10000..10999, first <= last, both included"
      )
    }
    return clients
  }
}
