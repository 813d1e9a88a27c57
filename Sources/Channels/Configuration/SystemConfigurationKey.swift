// The table of system.config's keys: name, type, range, BFT-SMaRt's default in code (master, 2.0), and whether the key
// has an effect here so far.

import PBFT

/// One key of `system.config`.
struct SystemConfigurationKey: Sendable {
  let name: String
  /// What a value must be, as errors say it.
  let expected: String
  /// BFT-SMaRt's value where the file has none; nil where it follows from others or is required.
  let codeDefault: String?
  let hasEffect: Bool
  let allowsEmptyValue: Bool
  /// Parses a value and stores it; false if it is not what is expected.
  let set: @Sendable (inout SystemConfiguration, Substring) -> Bool
  /// Takes the value of `defaults` where there is none.
  let fill: @Sendable (inout SystemConfiguration, _ defaults: SystemConfiguration) -> Void

  static func named(_ name: String) -> SystemConfigurationKey? { byName[name] }

  private static let byName = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })

  private typealias Property<Value> = WritableKeyPath<SystemConfiguration, Value?> & Sendable

  private static func key<Value>(
    _ name: String, _ property: Property<Value>, _ codeDefault: String?, hasEffect: Bool, expected: String,
    allowsEmptyValue: Bool = false, parse: @escaping @Sendable (Substring) -> Value?
  ) -> SystemConfigurationKey {
    SystemConfigurationKey(
      name: name, expected: expected, codeDefault: codeDefault, hasEffect: hasEffect,
      allowsEmptyValue: allowsEmptyValue,
      set: { configuration, text in
        guard let value = parse(text) else { return false }
        configuration[keyPath: property] = value
        return true
      },
      fill: { configuration, defaults in
        if configuration[keyPath: property] == nil {
          configuration[keyPath: property] = defaults[keyPath: property]
        }
      })
  }

  private static func integer(
    _ name: String, _ property: Property<Int>, _ range: ClosedRange<Int>, _ codeDefault: Int? = nil,
    effect: Bool = false
  ) -> SystemConfigurationKey {
    key(
      name, property, codeDefault.map { String($0) }, hasEffect: effect,
      expected: "a number in \(range.lowerBound)...\(range.upperBound)"
    ) { text in
      guard let value = Int(text), range.contains(value) else { return nil }
      return value
    }
  }

  private static func boolean(
    _ name: String, _ property: Property<Bool>, _ codeDefault: Bool, effect: Bool = false
  ) -> SystemConfigurationKey {
    key(name, property, String(codeDefault), hasEffect: effect, expected: "true or false") { text in
      switch text.lowercased() {
      case "true": true
      case "false": false
      default: nil
      }
    }
  }

  private static func text(
    _ name: String, _ property: Property<String>, _ codeDefault: String? = nil
  ) -> SystemConfigurationKey {
    key(name, property, codeDefault, hasEffect: false, expected: "text") { String($0) }
  }

  private static let anyInteger = Int(Int32.min)...Int(Int32.max)
  private static let natural = 0...Int(Int32.max)
  private static let positive = 1...Int(Int32.max)

  private static let order = "system.totalordermulticast."
  private static let communication = "system.communication."

  static let all: [SystemConfigurationKey] = group + ordering + state + channels + others

  private static let group: [SystemConfigurationKey] = [
    // 64 replicas are what a set of them holds.
    integer("system.servers.num", \.servers, 1...64, effect: true),
    integer("system.servers.f", \.faults, 0...63, effect: true),
    boolean("system.bft", \.isByzantine, true, effect: true),
    key(
      "system.initial.view", \.initialView, nil, hasEffect: true,
      expected: "replica ids, each once, separated by commas"
    ) { text in
      var ids: [ReplicaID] = []
      for part in text.split(separator: ",", omittingEmptySubsequences: false) {
        guard let id = Int32(ConfigurationFile.trimmed(part)), id >= 0,
          !ids.contains(ReplicaID(rawValue: id))
        else { return nil }
        ids.append(ReplicaID(rawValue: id))
      }
      return ids
    },
    integer("system.ttp.id", \.trustedPartyID, anyInteger, -1),
  ]

  private static let ordering: [SystemConfigurationKey] = [
    integer(order + "timeout", \.requestTimeoutMilliseconds, natural, 10_000, effect: true),
    integer(order + "batchtimeout", \.batchTimeoutMilliseconds, anyInteger, -1, effect: true),
    integer(order + "maxbatchsize", \.maximumBatchSize, positive, 100, effect: true),
    integer(order + "maxBatchSizeInBytes", \.maximumBatchBytes, positive, Int(Int32.max)),
    boolean(order + "fairbatch", \.isFairBatch, false),
    integer(order + "nonces", \.nonces, natural, 0),
    boolean(order + "verifyTimestamps", \.verifiesTimestamps, false),
    integer(order + "period", \.period, natural),
    integer(order + "replayVerificationTime", \.replayVerificationTime, natural, 0),
    integer(order + "highMark", \.highMark, natural, 10_000),
    integer(order + "revival_highMark", \.revivalHighMark, natural, 10),
    integer(order + "timeout_highMark", \.timeoutHighMark, natural, 100),
    boolean("system.samebatchsize", \.hasSameBatchSize, false),
  ]

  private static let state: [SystemConfigurationKey] = [
    boolean(order + "state_transfer", \.hasStateTransfer, false),
    boolean(order + "log", \.log, false),
    boolean(order + "log_parallel", \.logParallel, false),
    boolean(order + "log_to_disk", \.logToDisk, false),
    boolean(order + "sync_log", \.syncLog, false),
    integer(order + "checkpoint_period", \.checkpointPeriod, positive, 1, effect: true),
    integer(order + "global_checkpoint_period", \.globalCheckpointPeriod, positive, 1),
    boolean(order + "checkpoint_to_disk", \.checkpointToDisk, false),
    boolean(order + "sync_ckp", \.syncCheckpoint, false),
  ]

  private static let channels: [SystemConfigurationKey] = [
    integer(communication + "useSignatures", \.useSignatures, 0...2, 0, effect: true),
    boolean(communication + "defaultkeys", \.usesDefaultKeys, false, effect: true),
    key(
      communication + "defaultKeyLoader", \.keyLoader, "ECDSA", hasEffect: true,
      expected: "ECDSA, RSA or SunEC"
    ) { text in
      ["ECDSA", "RSA", "SunEC"].contains(text) ? String(text) : nil
    },
    text(communication + "signatureAlgorithm", \.signatureAlgorithm, "SHA256withECDSA"),
    text(communication + "signatureAlgorithmProvider", \.signatureAlgorithmProvider, "BC"),
    text(communication + "secretKeyAlgorithm", \.secretKeyAlgorithm, "PBKDF2WithHmacSHA1"),
    text(communication + "secretKeyAlgorithmProvider", \.secretKeyAlgorithmProvider, "SunJCE"),
    text(communication + "hashAlgorithm", \.hashAlgorithm, "SHA-256"),
    text(communication + "hashAlgorithmProvider", \.hashAlgorithmProvider, "SUN"),
    boolean(communication + "useSenderThread", \.usesSenderThread, false),
    integer(communication + "numNIOThreads", \.nioThreads, natural, 2),
    integer("system.numnettyworkers", \.nettyWorkers, natural, 0),
    integer(communication + "useControlFlow", \.controlFlow, natural, 0),
    integer(communication + "maxRequestSize", \.maximumRequestSize, positive, Int(Int32.max), effect: true),
    integer(communication + "inQueueSize", \.inQueueSize, positive, 1000),
    integer(communication + "outQueueSize", \.outQueueSize, positive, 1000),
    key(
      communication + "bindaddress", \.bindAddress, nil, hasEffect: true,
      expected: "an IPv4 address or auto", allowsEmptyValue: true
    ) { text in
      // An empty text is turned into no value by the reader.
      if text.isEmpty || text == "auto" { return "" }
      return isDottedQuad(text) ? String(text) : nil
    },
    integer("system.numrepliers", \.repliers, natural, 0),
  ]

  private static let others: [SystemConfigurationKey] = [
    boolean("system.shutdownhook", \.hasShutdownHook, false),
    integer(
      "system.client.invokeOrderedTimeout", \.invokeOrderedTimeoutSeconds, 1...86_400, 40, effect: true),
    boolean("system.optimizations.readonly_requests", \.hasReadOnlyRequests, true, effect: true),
    text("system.ssltls.protocol_version", \.tlsProtocolVersion, "TLSv1.2"),
    text("system.ssltls.key_store_file", \.tlsKeyStoreFile, "EC_KeyPair_256.pkcs12"),
    text("system.ssltls.enabled_ciphers", \.tlsEnabledCiphers),
    text("view.storage.handler", \.viewStorageHandler, "DefaultViewStorage"),
  ]

  private static func isDottedQuad(_ text: Substring) -> Bool {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 4 && parts.allSatisfy { part in part.count <= 3 && UInt8(part) != nil }
  }
}
