// What the commands that start one party are told, as typed values. Kept true: an option that was not stated
// is nil, so that `system.config` can decide it and a conflict can be seen.

import Wire

/// What `muster replica` is told. Precedence: flag, then `system.config`, then Muster's default.
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

  public init(id: Int, configDirectory: String) {
    self.id = id
    self.configDirectory = configDirectory
  }

  /// Options whose values are read and checked as those of `muster run` are.
  /// - Throws: `ParameterErrors` with everything that cannot be read.
  public init(id: Int, configDirectory: String, stating texts: [ParameterKey: String]) throws(ParameterErrors)
  {
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
  }
}

/// What `muster counter` is told, as BFT-SMaRt's CounterClient is.
public struct CounterOptions: Equatable, Sendable {
  /// The client id.
  public var id: Int
  /// What each operation adds; 0 reads unordered.
  public var increment: Int32
  public var operations: Int
  /// Folder of `hosts.config`, `system.config` and `keys/`.
  public var configDirectory: String
  public var signatureMode: String?

  public init(
    id: Int, increment: Int32, operations: Int = 1000, configDirectory: String, signatureMode: String? = nil
  ) {
    self.id = id
    self.increment = increment
    self.operations = operations
    self.configDirectory = configDirectory
    self.signatureMode = signatureMode
  }
}

/// What `muster keys` is told.
public struct KeyOptions: Equatable, Sendable {
  /// Folder of `hosts.config`; the keys go to `keys/` in it.
  public var configDirectory: String
  /// The client ids whose public keys are written.
  public var clients: ClosedRange<Int32>

  public init(configDirectory: String, clients: ClosedRange<Int32>) {
    self.configDirectory = configDirectory
    self.clients = clients
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
