// system.config: BFT-SMaRt's settings, all of them known by name and type, so that a file written for it can be given
// as it is; an unknown key is a warning, a bad value an error. Which value wins over flags and defaults is decided by
// whoever reads this.

import PBFT
import Wire

/// What becomes of one line of a `system.config`.
public struct SystemConfigurationUse: Hashable, Sendable, CustomStringConvertible {
  public let key: String
  /// As the file has it.
  public let value: String
  /// From 1.
  public let line: Int
  /// Whether it decides anything here.
  public let hasEffect: Bool
  /// What it decides, or why it decides nothing.
  public let text: String

  /// `key = value: text`, or with "no effect: " before the text.
  public var description: String { "\(key) = \(value): \(hasEffect ? "" : "no effect: ")\(text)" }
}

/// The values that a `system.config` gives; nil where it gives none.
public struct SystemConfiguration: Sendable {
  // Group.
  /// `system.servers.num`, n.
  public var servers: Int?
  /// `system.servers.f`, f.
  public var faults: Int?
  /// `system.bft`; false asks for quorums that tolerate crashes only.
  public var isByzantine: Bool?
  /// `system.initial.view`, the ids of the first membership.
  public var initialView: [ReplicaID]?
  /// `system.ttp.id`, who may reconfigure; -1 is nobody.
  public var trustedPartyID: Int?

  // Ordering.
  /// `system.totalordermulticast.timeout`: the replicas' request timer; 0 is off.
  public var requestTimeoutMilliseconds: Int?
  /// `…batchtimeout`: how long to wait for a full batch; 0 or less proposes at once.
  public var batchTimeoutMilliseconds: Int?
  /// `…maxbatchsize`, requests.
  public var maximumBatchSize: Int?
  /// `…maxBatchSizeInBytes`.
  public var maximumBatchBytes: Int?
  public var isFairBatch: Bool?
  public var nonces: Int?
  public var verifiesTimestamps: Bool?
  public var period: Int?
  public var replayVerificationTime: Int?
  public var highMark: Int?
  public var revivalHighMark: Int?
  public var timeoutHighMark: Int?
  public var hasSameBatchSize: Bool?

  // State transfer, log and checkpoints.
  public var hasStateTransfer: Bool?
  public var log: Bool?
  public var logParallel: Bool?
  public var logToDisk: Bool?
  public var syncLog: Bool?
  /// `…checkpoint_period`, batches.
  public var checkpointPeriod: Int?
  public var globalCheckpointPeriod: Int?
  public var checkpointToDisk: Bool?
  public var syncCheckpoint: Bool?

  // Communication.
  /// `system.communication.useSignatures`: 0, 1 or 2.
  public var useSignatures: Int?
  /// `…defaultkeys`: one built-in set of keys for everybody instead of key files.
  public var usesDefaultKeys: Bool?
  /// `…defaultKeyLoader`: ECDSA, RSA or SunEC.
  public var keyLoader: String?
  public var signatureAlgorithm: String?
  public var signatureAlgorithmProvider: String?
  public var secretKeyAlgorithm: String?
  public var secretKeyAlgorithmProvider: String?
  public var hashAlgorithm: String?
  public var hashAlgorithmProvider: String?
  /// `…useMACs`, of v1.2.
  public var usesMACs: Bool?
  public var hmacAlgorithm: String?
  public var hmacAlgorithmProvider: String?
  public var usesSenderThread: Bool?
  public var nioThreads: Int?
  public var nettyWorkers: Int?
  /// `…useControlFlow`: pending requests per client; 0 is off.
  public var controlFlow: Int?
  /// `…maxRequestSize`: the longest frame from a client, without its first four bytes.
  public var maximumRequestSize: Int?
  public var inQueueSize: Int?
  public var outQueueSize: Int?
  /// `…bindaddress`; nil for everything that is no IPv4 address, as in BFT-SMaRt.
  public var bindAddress: String?
  public var repliers: Int?
  public var hasShutdownHook: Bool?

  // Clients, replica links and view storage.
  /// `system.client.invokeOrderedTimeout`; in seconds, other than all others.
  public var invokeOrderedTimeoutSeconds: Int?
  /// `system.optimizations.readonly_requests`: must be the same for clients and replicas.
  public var hasReadOnlyRequests: Bool?
  public var tlsProtocolVersion: String?
  public var tlsKeyStoreFile: String?
  public var tlsEnabledCiphers: String?
  public var usesTLS: Bool?
  public var viewStorageHandler: String?

  /// Unknown keys, repeated keys and lines without a value, each with its line.
  public private(set) var warnings: [ConfigurationWarning] = []
  /// What becomes of each key that the file gives, in its order.
  public private(set) var uses: [SystemConfigurationUse] = []
  /// Keys that the file gives and that decide nothing here, in its order.
  public var keysWithoutEffect: [String] { uses.filter { !$0.hasEffect }.map(\.key) }

  /// No value at all.
  public init() {}

  /// Reads `system.config`.
  public init(path: String) throws(ConfigurationError) {
    try self.init(ConfigurationFile(path: path))
  }

  /// Reads the text of a file that errors call `path`.
  public init(text: String, path: String = "system.config") throws(ConfigurationError) {
    try self.init(ConfigurationFile(text: text, path: path))
  }

  private init(_ file: ConfigurationFile) throws(ConfigurationError) {
    var lines: [String: ConfigurationFile.Line] = [:]
    for line in file.lines {
      func warn(_ message: String) {
        warnings.append(ConfigurationWarning(path: file.path, line: line.number, message: message))
      }
      guard let equals = line.text.firstIndex(of: "="), let last = line.text.lastIndex(of: "=") else {
        throw file.malformed(line, "'key = value'", found: line.text)
      }
      let name = String(ConfigurationFile.trimmed(line.text[..<equals]))
      // BFT-SMaRt takes what stands behind the last sign.
      let value = ConfigurationFile.trimmed(line.text[line.text.index(after: last)...])
      guard let key = SystemConfigurationKey.named(name) else {
        warn("unknown key '\(name)'")
        continue
      }
      if let earlier = lines.updateValue(line, forKey: name) {
        warn("'\(name)' replaces the value of line \(earlier.number)")
      }
      if value.isEmpty && !key.allowsEmptyValue {
        warn("'\(name)' has no value: ignored")
        continue
      }
      guard key.set(&self, value) else {
        throw file.malformed(line, "\(key.expected) for \(name)", found: value)
      }
      note(key, String(value), line.number)
    }
    if let address = bindAddress, case .v4? = InternetAddress(address) {
      bindAddress = InternetAddress.canonical(address)
    } else if let address = bindAddress {
      bindAddress = nil
      if !["", "auto"].contains(address), let line = lines["system.communication.bindaddress"] {
        warnings.append(
          ConfigurationWarning(
            path: file.path, line: line.number,
            message: "'\(address)' is no IPv4 address: counts as auto, as in BFT-SMaRt"))
      }
    }
    try checkGroup(file, lines)
  }

  /// Remembers what becomes of a key; the last line of a repeated one counts.
  private mutating func note(_ key: SystemConfigurationKey, _ value: String, _ line: Int) {
    uses.removeAll { $0.key == key.name }
    switch key.effect {
    case .decides(let text):
      uses.append(
        SystemConfigurationUse(key: key.name, value: value, line: line, hasEffect: true, text: text))
    case .nothing(let text):
      uses.append(
        SystemConfigurationUse(key: key.name, value: value, line: line, hasEffect: false, text: text))
    }
  }

  /// The same with BFT-SMaRt's code defaults where the file gave nothing: what it would do with this very file. The
  /// defaults of f and the first membership follow from n; without n they stay nil.
  public func withCodeDefaults() -> SystemConfiguration {
    var defaults = SystemConfiguration()
    for key in SystemConfigurationKey.all {
      if let value = key.codeDefault { _ = key.set(&defaults, Substring(value)) }
    }
    defaults.servers = servers
    if let servers {
      defaults.faults = (servers - 1) / 3
      defaults.initialView = (0..<Int32(servers)).map { ReplicaID(rawValue: $0) }
      defaults.period = 5 * servers
    }
    var result = self
    for key in SystemConfigurationKey.all { key.fill(&result, defaults) }
    return result
  }

  /// What no single line can say: the ids of the first membership are as many as the servers, and f fits n.
  private func checkGroup(
    _ file: ConfigurationFile, _ lines: [String: ConfigurationFile.Line]
  ) throws(ConfigurationError) {
    guard let servers else { return }
    if let initialView, initialView.count != servers, let line = lines["system.initial.view"] {
      throw file.malformed(line, "\(servers) ids, as many as system.servers.num", found: line.text)
    }
    if let faults, faults >= servers, let line = lines["system.servers.f"] {
      throw file.malformed(line, "fewer faults than system.servers.num = \(servers)", found: line.text)
    }
  }
}
