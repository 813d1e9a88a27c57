// hosts.config and system.config: what BFT-SMaRt ships is read, and every bad line is named.

import Channels
import Foundation
import PBFT
import Testing

@Suite("hosts.config")
struct HostsConfigurationTests {
  static let shipped = """
    # This file defines the replicas ids, IPs and ports.

    #server id, address, portClient and portReplicaReplica
    0 192.168.3.31 11000 11001
    1\t192.168.3.32\t11010 11011  # rack 2
      2 replica-2.example 11020 11021\r
    3 ::1 11030 11031
    7002 127.0.0.1 11100

    """

  static func read(_ text: String) throws -> HostsConfiguration { try HostsConfiguration(text: text) }

  @Test("four columns are a replica, comments and blank lines are nothing")
  func hosts() throws {
    let configuration = try Self.read(Self.shipped)
    #expect(configuration.hosts.map(\.replica.rawValue) == [0, 1, 2, 3])
    #expect(configuration.hosts.map(\.host) == ["192.168.3.31", "192.168.3.32", "replica-2.example", "::1"])
    #expect(configuration.hosts.map(\.clientPort) == [11_000, 11_010, 11_020, 11_030])
    #expect(configuration.hosts.map(\.replicaPort) == [11_001, 11_011, 11_021, 11_031])
    #expect(configuration[ReplicaID(rawValue: 1)]?.host == "192.168.3.32")
    #expect(configuration[ReplicaID(rawValue: 7002)] == nil)
  }

  @Test("the line of BFT-SMaRt's trusted party is a warning with its number")
  func trustedParty() throws {
    #expect(
      try Self.read(Self.shipped).warnings.map(\.description)
        == ["hosts.config:8: process 7002 has no replica port: ignored, as BFT-SMaRt does"])
  }

  /// What BFT-SMaRt v1.2 has.
  static let earlier = """
    #server id, address and port
    0 127.0.0.1 11000
    1 127.0.0.1 11010
    2 127.0.0.1 11020
    3 127.0.0.1 11030

    7001 127.0.0.1 11100
    """

  @Test("a file of three columns is v1.2's: the next port is the replicas'")
  func threeColumns() throws {
    let configuration = try Self.read(Self.earlier)
    #expect(configuration.dialect == .v12 && configuration.warnings.isEmpty)
    #expect(configuration.hosts.map(\.replica.rawValue) == [0, 1, 2, 3, 7001])
    #expect(configuration.hosts.map(\.replicaPort) == [11_001, 11_011, 11_021, 11_031, 11_101])
    #expect(try Self.read(Self.shipped).dialect == .master)
    #expect(try Self.read("").dialect == .master)
  }

  @Test("a stated dialect decides: v1.2 takes four columns as they stand, master no three")
  func statedDialect() throws {
    let both = try HostsConfiguration(text: "0 a 1 9\n1 a 5\n", dialect: .v12)
    #expect(both.dialect == .v12 && both.hosts.map(\.replicaPort) == [9, 6])
    let none = try HostsConfiguration(text: Self.earlier, dialect: .master)
    #expect(none.hosts.isEmpty && none.warnings.count == 5 && none.dialect == .master)
    #expect(
      throws: ConfigurationError.malformed(
        path: "hosts.config", line: 1, expected: "a port in 1...65534", found: "'65535'")
    ) { try Self.read("0 a 65535") }
    #expect(
      throws: ConfigurationError.malformed(
        path: "hosts.config", line: 2, expected: "an address other than line 1's", found: "'a:6'")
    ) { try Self.read("0 a 5\n1 a 6") }
    #expect(
      throws: ConfigurationError.malformed(
        path: "hosts.config", line: 1, expected: "'id host clientPort'", found: "'0 a'")
    ) { try HostsConfiguration(text: "0 a", dialect: .v12) }
  }

  @Test("an IPv6 address may stand in brackets, and is one address however it is spelled")
  func inet6() throws {
    let configuration = try Self.read("0 [2001:DB8::0:1] 11000 11001\n1 fe80::1%2 11000 11001\n")
    #expect(configuration.hosts.map(\.host) == ["2001:db8::1", "fe80::1%2"])
    #expect(
      throws: ConfigurationError.malformed(
        path: "hosts.config", line: 2, expected: "an address other than line 1's",
        found: "'[2001:db8::1]:11000'")
    ) { try Self.read("0 2001:db8::1 11000 11001\n1 [2001:db8:0::1] 11000 11011\n") }
  }

  @Test("lines may come in any order")
  func order() throws {
    let configuration = try Self.read("2 a 1 2\n0 b 3 4\n1 c 5 6")
    #expect(configuration.hosts.map(\.replica.rawValue) == [0, 1, 2])
    let replicas = [2, 0].map { ReplicaID(rawValue: $0) }
    #expect(try configuration.hosts(of: replicas).map(\.host) == ["a", "b"])
  }

  @Test("a replica without a line is asked for behind the last line")
  func missingReplica() throws {
    let configuration = try Self.read("0 a 1 2\n\n")
    #expect(
      throws: ConfigurationError.malformed(
        path: "hosts.config", line: 3, expected: "a line for replica 5", found: "the end of the file")
    ) { try configuration.hosts(of: [ReplicaID(rawValue: 5)]) }
  }

  @Test(
    "a bad line is named with what was expected",
    arguments: [
      ("0 a", "'id host clientPort replicaPort'"), ("0 a 1 2 3", "'id host clientPort replicaPort'"),
      ("x a 1 2", "a replica id in 0...2147483647"), ("-1 a 1 2", "a replica id in 0...2147483647"),
      ("2147483648 a 1 2", "a replica id in 0...2147483647"), ("9 a 1 2", "each replica id once"),
      ("0 a 0 2", "a port in 1...65535"), ("0 a 1 65536", "a port in 1...65535"),
      ("0 a 1 http", "a port in 1...65535"), ("0 a 70000", "'id host clientPort replicaPort'"),
      ("0 a 5 5", "an address other than line 3's"), ("0 host 1 8", "an address other than line 1's"),
    ])
  func badLine(line: String, expected: String) {
    #expect {
      try Self.read("9 host 8 9\n# comment\n\(line)\n")
    } throws: { error in
      guard case .malformed("hosts.config", 3, expected, _) = error as? ConfigurationError else {
        return false
      }
      return "\(error)".hasPrefix("hosts.config:3: expected \(expected), found '")
    }
  }

  @Test("a file that is not there is said to be missing")
  func missingFile() {
    let path = NSTemporaryDirectory() + "muster-no-such-\(UUID())/hosts.config"
    #expect(throws: ConfigurationError.missing(path: path)) { try HostsConfiguration(path: path) }
    #expect(throws: ConfigurationError.missing(path: path)) { try SystemConfiguration(path: path) }
    #expect(ConfigurationError.missing(path: path).description == "\(path): no such file")
  }

  @Test("a folder in place of a file cannot be read")
  func folder() {
    #expect {
      try HostsConfiguration(path: NSTemporaryDirectory())
    } throws: { error in
      if case .unreadable = error as? ConfigurationError { true } else { false }
    }
  }
}

@Suite("system.config")
struct SystemConfigurationTests {
  /// All keys of the file that BFT-SMaRt's master ships, with its values.
  static let shipped = """
    ############################################
    ####### Communication Configurations #######
    system.communication.secretKeyAlgorithm = PBKDF2WithHmacSHA1
    system.communication.secretKeyAlgorithmProvider = SunJCE
    system.communication.hashAlgorithm = SHA-256
    system.communication.hashAlgorithmProvider = SUN
    system.communication.signatureAlgorithm = SHA256withECDSA
    system.communication.signatureAlgorithmProvider = BC
    system.communication.defaultKeyLoader = ECDSA
    system.communication.useSenderThread = true
    system.communication.defaultkeys = true
    system.communication.bindaddress = auto
    system.servers.num = 4
    system.servers.f = 1
    system.totalordermulticast.timeout = 2000
    system.totalordermulticast.batchtimeout = -1
    system.totalordermulticast.maxbatchsize = 1024
    system.totalordermulticast.maxBatchSizeInBytes = 1000000
    system.communication.useControlFlow = 1000
    system.communication.maxRequestSize = 100000
    system.totalordermulticast.fairbatch = false
    system.totalordermulticast.nonces = 10
    system.totalordermulticast.verifyTimestamps = false
    system.communication.inQueueSize = 500000
    system.communication.outQueueSize = 500000
    system.communication.useSignatures = 0
    system.shutdownhook = true
    system.samebatchsize = false
    system.numrepliers = 16
    system.totalordermulticast.state_transfer = true
    system.totalordermulticast.highMark = 10000
    system.totalordermulticast.revival_highMark = 10
    system.totalordermulticast.timeout_highMark = 200
    system.totalordermulticast.log = true
    system.totalordermulticast.log_parallel = false
    system.totalordermulticast.log_to_disk = false
    system.totalordermulticast.sync_log = false
    system.totalordermulticast.checkpoint_period = 1024
    system.totalordermulticast.global_checkpoint_period = 120000
    system.totalordermulticast.checkpoint_to_disk = false
    system.totalordermulticast.sync_ckp = false
    system.initial.view = 0,1,2,3
    system.ttp.id = 7002
    system.bft = true
    system.optimizations.readonly_requests = false
    system.client.invokeOrderedTimeout = 40
    system.ssltls.protocol_version = TLSv1.2
    system.ssltls.key_store_file = EC_KeyPair_256.pkcs12
    system.ssltls.enabled_ciphers = TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    """

  static func read(_ text: String) throws -> SystemConfiguration { try SystemConfiguration(text: text) }

  @Test("the shipped file is read without a warning")
  func shippedFile() throws {
    let configuration = try Self.read(Self.shipped)
    #expect(configuration.warnings.isEmpty)
    #expect(configuration.servers == 4 && configuration.faults == 1 && configuration.isByzantine == true)
    #expect(configuration.initialView?.map(\.rawValue) == [0, 1, 2, 3])
    #expect(configuration.trustedPartyID == 7002)
    #expect(configuration.requestTimeoutMilliseconds == 2000 && configuration.batchTimeoutMilliseconds == -1)
    #expect(configuration.maximumBatchSize == 1024 && configuration.maximumBatchBytes == 1_000_000)
    #expect(configuration.checkpointPeriod == 1024 && configuration.maximumRequestSize == 100_000)
    #expect(configuration.useSignatures == 0 && configuration.usesDefaultKeys == true)
    #expect(configuration.keyLoader == "ECDSA" && configuration.bindAddress == nil)
    #expect(configuration.hasReadOnlyRequests == false && configuration.invokeOrderedTimeoutSeconds == 40)
    #expect(configuration.controlFlow == 1000 && configuration.repliers == 16 && configuration.log == true)
    #expect(configuration.tlsEnabledCiphers == "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,")
    #expect(configuration.keysWithoutEffect.contains("system.numrepliers"))
    #expect(!configuration.keysWithoutEffect.contains("system.servers.num"))
  }

  @Test("the keys that have an effect are these")
  func effectiveKeys() throws {
    let configuration = try Self.read(Self.shipped)
    let all = Self.shipped.split(separator: "\n").filter { !$0.hasPrefix("#") }
      .map { String($0.prefix { $0 != " " }) }
    let effective = Set(all).subtracting(configuration.keysWithoutEffect)
    #expect(
      effective.map { $0.split(separator: ".").last! }.sorted() == [
        "batchtimeout", "bft", "bindaddress", "checkpoint_period", "defaultKeyLoader", "defaultkeys",
        "enabled_ciphers", "f", "hashAlgorithm", "id", "invokeOrderedTimeout", "log_to_disk",
        "maxBatchSizeInBytes",
        "maxRequestSize", "maxbatchsize", "num", "protocol_version", "readonly_requests",
        "signatureAlgorithm",
        "sync_log", "timeout", "useControlFlow", "useSignatures", "view",
      ])
  }

  @Test("every key of the file says what becomes of it, in one line")
  func uses() throws {
    let configuration = try Self.read(Self.shipped + "\nsystem.servers.f = 0")
    #expect(
      configuration.uses.count == Self.shipped.split(separator: "\n").filter { !$0.hasPrefix("#") }.count)
    #expect(
      configuration.uses.allSatisfy { !$0.text.isEmpty && !$0.text.contains("\n") && $0.text.count < 100 })
    #expect(configuration.uses.first?.line == 3 && configuration.uses.last?.value == "0")
    #expect(
      configuration.uses.contains {
        $0.description
          == "system.numrepliers = 16: no effect: one event loop serves all connections of a replica"
      })
    #expect(
      configuration.uses.contains {
        $0.description == "system.totalordermulticast.maxbatchsize = 1024: batch_size"
      })
  }

  @Test("what only v1.2 has is known as well")
  func keysOf12() throws {
    let configuration = try Self.read(
      """
      system.communication.useMACs = 1
      system.communication.hmacAlgorithm = HmacSHA512
      system.communication.hmacAlgorithmProvider = SunJCE
      system.ssltls = true
      """)
    #expect(configuration.warnings.isEmpty && configuration.usesMACs == true && configuration.usesTLS == true)
    #expect(try Self.read("system.communication.useMACs = false").usesMACs == false)
  }

  @Test("an address to bind to that is no IPv4 address counts as auto, and is told")
  func bindAddress() throws {
    let configuration = try Self.read("system.communication.bindaddress = 10.0.0")
    #expect(configuration.bindAddress == nil)
    #expect(
      configuration.warnings.map(\.description)
        == ["system.config:1: '10.0.0' is no IPv4 address: counts as auto, as in BFT-SMaRt"])
    #expect(try Self.read("system.communication.bindaddress = auto").warnings.isEmpty)
  }

  @Test("an absent key is nil, and BFT-SMaRt's default on demand")
  func codeDefaults() throws {
    let configuration = try Self.read("system.servers.num = 7\nsystem.totalordermulticast.timeout=0")
    #expect(configuration.faults == nil && configuration.maximumBatchSize == nil)
    let defaults = configuration.withCodeDefaults()
    #expect(defaults.servers == 7 && defaults.faults == 2)
    #expect(defaults.initialView?.map(\.rawValue) == [0, 1, 2, 3, 4, 5, 6])
    #expect(defaults.requestTimeoutMilliseconds == 0 && defaults.batchTimeoutMilliseconds == -1)
    #expect(defaults.maximumBatchSize == 100 && defaults.checkpointPeriod == 1 && defaults.period == 35)
    #expect(defaults.isByzantine == true && defaults.hasReadOnlyRequests == true)
    #expect(defaults.useSignatures == 0 && defaults.usesDefaultKeys == false && defaults.keyLoader == "ECDSA")
    #expect(defaults.maximumRequestSize == Int(Int32.max) && defaults.invokeOrderedTimeoutSeconds == 40)
    #expect(defaults.trustedPartyID == -1 && defaults.bindAddress == nil)
    let nothing = try Self.read("").withCodeDefaults()
    #expect(nothing.servers == nil && nothing.faults == nil && nothing.initialView == nil)
  }

  @Test("an unknown key is a warning with its line, and nothing else")
  func unknownKey() throws {
    let configuration = try Self.read(
      "\n# a\nsystem.totalordermulticast.maxbatchsiz = 4\nsystem.bft = false\n")
    #expect(
      configuration.warnings.map(\.description)
        == ["system.config:3: unknown key 'system.totalordermulticast.maxbatchsiz'"])
    #expect(configuration.isByzantine == false)
  }

  @Test("the last value of a repeated key counts, and the repetition is a warning")
  func repeatedKey() throws {
    let configuration = try Self.read("system.servers.num = 4\nsystem.servers.num = 7 # not 4\n")
    #expect(configuration.servers == 7)
    #expect(
      configuration.warnings.map(\.description)
        == ["system.config:2: 'system.servers.num' replaces the value of line 1"])
  }

  @Test("a key without a value is a warning, but for the address to bind to")
  func emptyValue() throws {
    let configuration = try Self.read("system.servers.num =\nsystem.communication.bindaddress =\n")
    #expect(configuration.servers == nil && configuration.bindAddress == nil)
    #expect(configuration.warnings.map(\.line) == [1])
    #expect(
      try Self.read("system.communication.bindaddress = 10.0.0.1").bindAddress == "10.0.0.1")
  }

  @Test(
    "a bad value is named with what was expected",
    arguments: [
      ("system.servers.num = four", "a number in 1...64 for system.servers.num"),
      ("system.servers.num = 0", "a number in 1...64 for system.servers.num"),
      ("system.servers.num = 65", "a number in 1...64 for system.servers.num"),
      ("system.bft = yes", "true or false for system.bft"),
      ("system.communication.useSignatures = 3", "a number in 0...2 for system.communication.useSignatures"),
      (
        "system.communication.defaultKeyLoader = DSA",
        "ECDSA, RSA or SunEC for system.communication.defaultKeyLoader"
      ),
      ("system.communication.useMACs = 2", "0, 1, true or false for system.communication.useMACs"),
      (
        "system.initial.view = 0,1,1", "replica ids, each once, separated by commas for system.initial.view"
      ),
      ("system.initial.view = 0,,1", "replica ids, each once, separated by commas for system.initial.view"),
      ("system.initial.view = 0,1", "3 ids, as many as system.servers.num"),
      ("system.servers.f = 3", "fewer faults than system.servers.num = 3"),
      (
        "system.totalordermulticast.timeout = -1",
        "a number in 0...2147483647 for system.totalordermulticast.timeout"
      ),
      (
        "system.totalordermulticast.maxbatchsize = 99999999999999999999",
        "a number in 1...2147483647 for system.totalordermulticast.maxbatchsize"
      ),
      ("just words", "'key = value'"),
    ])
  func badValue(line: String, expected: String) {
    #expect {
      try Self.read("system.servers.num = 3\n\n\(line)")
    } throws: { error in
      guard case .malformed("system.config", 3, expected, _) = error as? ConfigurationError else {
        return false
      }
      return "\(error)".hasPrefix("system.config:3: expected \(expected), found '")
    }
  }
}
