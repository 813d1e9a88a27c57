// The table of system.config's keys: name, type, range, BFT-SMaRt's default in code (master, 2.0, and what v1.2 had besides), and
// in one line what becomes of the key here: what it decides, or why it decides nothing.

import PBFT

/// One key of `system.config`.
struct SystemConfigurationKey: Sendable {
  /// What becomes of a key, for people.
  enum Effect: Sendable {
    /// It decides something; the text says what.
    case decides(String)
    /// It decides nothing here; the text says why.
    case nothing(String)
  }

  let name: String
  /// What a value must be, as errors say it.
  let expected: String
  /// BFT-SMaRt's value where the file has none; nil where it follows from others or is required.
  let codeDefault: String?
  let effect: Effect
  let allowsEmptyValue: Bool
  /// Parses a value and stores it; false if it is not what is expected.
  let set: @Sendable (inout SystemConfiguration, Substring) -> Bool
  /// Takes the value of `defaults` where there is none.
  let fill: @Sendable (inout SystemConfiguration, _ defaults: SystemConfiguration) -> Void

  static func named(_ name: String) -> SystemConfigurationKey? { byName[name] }

  private static let byName = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })

  private typealias Property<Value> = WritableKeyPath<SystemConfiguration, Value?> & Sendable

  private static func key<Value>(
    _ name: String, _ property: Property<Value>, _ codeDefault: String?, _ effect: Effect, expected: String,
    allowsEmptyValue: Bool = false, parse: @escaping @Sendable (Substring) -> Value?
  ) -> SystemConfigurationKey {
    SystemConfigurationKey(
      name: name, expected: expected, codeDefault: codeDefault, effect: effect,
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
    _ effect: Effect
  ) -> SystemConfigurationKey {
    key(
      name, property, codeDefault.map { String($0) }, effect,
      expected: "a number in \(range.lowerBound)...\(range.upperBound)"
    ) { text in
      guard let value = Int(text), range.contains(value) else { return nil }
      return value
    }
  }

  private static func boolean(
    _ name: String, _ property: Property<Bool>, _ codeDefault: Bool, _ effect: Effect
  ) -> SystemConfigurationKey {
    key(name, property, String(codeDefault), effect, expected: "true or false") { boolean($0) }
  }

  private static func boolean(_ text: Substring) -> Bool? {
    switch text.lowercased() {
    case "true": true
    case "false": false
    default: nil
    }
  }

  private static func text(
    _ name: String, _ property: Property<String>, _ codeDefault: String? = nil, _ effect: Effect
  ) -> SystemConfigurationKey {
    key(name, property, codeDefault, effect, expected: "text") { String($0) }
  }

  private static let anyInteger = Int(Int32.min)...Int(Int32.max)
  private static let natural = 0...Int(Int32.max)
  private static let positive = 1...Int(Int32.max)

  private static let order = "system.totalordermulticast."
  private static let communication = "system.communication."
  private static let unusedThere: Effect = .nothing("BFT-SMaRt reads it and does not use it")
  private static let provider: Effect = .nothing(
    "a Java provider; the library here is fixed for each algorithm")
  private static let oneLoop: Effect = .nothing("one event loop serves all connections of a replica")
  private static let window: Effect = .nothing(
    "the log window decides (log_multiplier × checkpoint_period), not a distance")

  static let all: [SystemConfigurationKey] = group + ordering + state + channels + others

  private static let group: [SystemConfigurationKey] = [
    // 64 replicas are what a set of them holds.
    integer("system.servers.num", \.servers, 1...64, nil, .decides("n, as long as no membership is stored")),
    integer("system.servers.f", \.faults, 0...63, nil, .decides("f, as long as no membership is stored")),
    boolean(
      "system.bft", \.isByzantine, true,
      .decides("the quorums; if false they tolerate crashes only, n >= 2f + 1")),
    key(
      "system.initial.view", \.initialView, nil, .decides("ids of the first membership"),
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
    integer("system.ttp.id", \.trustedPartyID, anyInteger, -1, .decides("who may reconfigure; -1 is nobody")),
  ]

  private static let ordering: [SystemConfigurationKey] = [
    integer(
      order + "timeout", \.requestTimeoutMilliseconds, natural, 10_000,
      .decides("request_timeout: forwarded at half of it, suspected at all of it")),
    integer(
      order + "batchtimeout", \.batchTimeoutMilliseconds, anyInteger, -1,
      .decides("batch_timeout; 0 or less proposes at once")),
    integer(order + "maxbatchsize", \.maximumBatchSize, positive, 100, .decides("batch_size")),
    integer(
      order + "maxBatchSizeInBytes", \.maximumBatchBytes, positive, Int(Int32.max),
      .decides("max_batch_bytes; at least one request of the largest size fits, and at most 1 GiB")),
    boolean(
      order + "fairbatch", \.isFairBatch, false,
      .nothing("batches are always fair: every client has a lane of its own, served in turn")),
    integer(order + "nonces", \.nonces, natural, 0, .nothing("services here are given no random numbers")),
    boolean(
      order + "verifyTimestamps", \.verifiesTimestamps, false,
      .nothing("batches carry no time; BFT-SMaRt does not read it any more either")),
    integer(order + "period", \.period, natural, nil, unusedThere),
    integer(order + "replayVerificationTime", \.replayVerificationTime, natural, 0, unusedThere),
    integer(order + "highMark", \.highMark, natural, 10_000, window),
    integer(order + "revival_highMark", \.revivalHighMark, natural, 10, window),
    integer(order + "timeout_highMark", \.timeoutHighMark, natural, 100, window),
    boolean(
      "system.samebatchsize", \.hasSameBatchSize, false,
      .nothing("a batch leaves when it is full or batch_timeout has passed")),
  ]

  private static let state: [SystemConfigurationKey] = [
    boolean(order + "state_transfer", \.hasStateTransfer, false, .nothing("state transfer is always on")),
    boolean(order + "log", \.log, false, .nothing("the log of the window is always kept in memory")),
    boolean(order + "log_parallel", \.logParallel, false, .nothing("the log is one file, written in order")),
    boolean(
      order + "log_to_disk", \.logToDisk, false,
      .decides("durability; if false none, else async, or sync with sync_log")),
    boolean(order + "sync_log", \.syncLog, false, .decides("durability: sync, with log_to_disk")),
    integer(order + "checkpoint_period", \.checkpointPeriod, positive, 1, .decides("checkpoint_period, K")),
    integer(
      order + "global_checkpoint_period", \.globalCheckpointPeriod, positive, 1,
      .nothing("all replicas take checkpoints at the same numbers")),
    boolean(
      order + "checkpoint_to_disk", \.checkpointToDisk, false,
      .nothing("checkpoints are on disk if the log is (durability)")),
    boolean(
      order + "sync_ckp", \.syncCheckpoint, false,
      .nothing("checkpoints are synced if the log is (durability)")),
  ]

  private static let channels: [SystemConfigurationKey] = [
    integer(
      communication + "useSignatures", \.useSignatures, 0...2, 0,
      .decides("signatures: 0 none, 1 sign, 2 verify-only, with the algorithm of the keys")),
    boolean(
      communication + "defaultkeys", \.usesDefaultKeys, false,
      .decides("if true, clients have built-in keys that everybody knows; without keys/ replicas, too")),
    key(
      communication + "defaultKeyLoader", \.keyLoader, "ECDSA",
      .decides("whose keys sign: keysECDSA/, keysRSA/ or keysSunEC/, or that loader's built-in pair"),
      expected: "ECDSA, RSA or SunEC"
    ) { text in
      ["ECDSA", "RSA", "SunEC"].contains(text) ? String(text) : nil
    },
    text(
      communication + "signatureAlgorithm", \.signatureAlgorithm, "SHA256withECDSA",
      .decides("the hash of signatures: SHA256withECDSA, SHA256withRSA or SHA512withRSA")),
    text(communication + "signatureAlgorithmProvider", \.signatureAlgorithmProvider, "BC", provider),
    text(
      communication + "secretKeyAlgorithm", \.secretKeyAlgorithm, "PBKDF2WithHmacSHA1",
      .nothing("v1.2's MAC keys are PBKDF2WithHmacSHA1, and master derives keys and throws them away")),
    text(communication + "secretKeyAlgorithmProvider", \.secretKeyAlgorithmProvider, "SunJCE", provider),
    text(
      communication + "hashAlgorithm", \.hashAlgorithm, "SHA-256",
      .decides("the hash in hashed replies: SHA-256 or SHA-512")),
    text(communication + "hashAlgorithmProvider", \.hashAlgorithmProvider, "SUN", provider),
    key(
      communication + "useMACs", \.usesMACs, "false",
      .decides("v1.2: whether client frames carry an HmacSHA512"),
      expected: "0, 1, true or false"
    ) { text in text == "1" ? true : text == "0" ? false : boolean(text) },
    text(
      communication + "hmacAlgorithm", \.hmacAlgorithm, "HmacSHA512",
      .nothing("v1.2's MACs are HmacSHA512, as it ships")),
    text(communication + "hmacAlgorithmProvider", \.hmacAlgorithmProvider, "SunJCE", provider),
    boolean(communication + "useSenderThread", \.usesSenderThread, false, oneLoop),
    integer(communication + "numNIOThreads", \.nioThreads, natural, 2, oneLoop),
    integer("system.numnettyworkers", \.nettyWorkers, natural, 0, oneLoop),
    integer(
      communication + "useControlFlow", \.controlFlow, natural, 0,
      .decides(
        "control_flow: pending requests of one client; what is beyond a window of 32 waits at the host")),
    integer(
      communication + "maxRequestSize", \.maximumRequestSize, positive, Int(Int32.max),
      .decides("max_request_bytes: longer frames are skipped and counted; at most 64 MiB")),
    integer(
      communication + "inQueueSize", \.inQueueSize, positive, 1000,
      .nothing("queues are bounded in bytes, by the window of messages")),
    integer(
      communication + "outQueueSize", \.outQueueSize, positive, 1000,
      .nothing("queues are bounded in bytes, by the window of messages")),
    key(
      communication + "bindaddress", \.bindAddress, nil,
      .decides(
        "where the replica listens; else on loopback if hosts.config says so, or on the host's address"),
      expected: "an IPv4 address or auto", allowsEmptyValue: true
    ) { String($0) },
    integer("system.numrepliers", \.repliers, natural, 0, oneLoop),
  ]

  private static let others: [SystemConfigurationKey] = [
    boolean(
      "system.shutdownhook", \.hasShutdownHook, false,
      .nothing("SIGTERM stops cleanly; a replica's state is in its answer to ASK_STATUS")),
    integer(
      "system.client.invokeOrderedTimeout", \.invokeOrderedTimeoutSeconds, 1...86_400, 40,
      .decides("how long clients wait for a quorum, in seconds")),
    boolean(
      "system.optimizations.readonly_requests", \.hasReadOnlyRequests, true,
      .decides("readonly_requests: whether unordered requests are served, and larger reply quorums")),
    text(
      "system.ssltls.protocol_version", \.tlsProtocolVersion, "TLSv1.2",
      .decides("with replica_auth tls: TLSv1.2 or TLSv1.3 only; both without it")),
    text(
      "system.ssltls.key_store_file", \.tlsKeyStoreFile, "EC_KeyPair_256.pkcs12",
      .nothing("each replica has a certificate of its own in keys/, not one key store for all")),
    text(
      "system.ssltls.enabled_ciphers", \.tlsEnabledCiphers, nil,
      .decides("with replica_auth tls: the cipher suites of TLS 1.2")),
    boolean(
      "system.ssltls", \.usesTLS, true, .nothing("replica_auth decides: hmac (default), tls or none")),
    text(
      "view.storage.handler", \.viewStorageHandler, "DefaultViewStorage",
      .nothing("the membership is stored in the file currentView, as DefaultViewStorage does")),
  ]
}
