// One resolved configuration of a replica: which place wins, what is said about it, and Fabric's own corrections.

import Channels
import Experiment
import Foundation
import PBFT
import ReplicaHost
import Replication
import Testing
import Wire

@Suite("Fabric's files and variables")
struct FabricSourcesTests {
  private func failure(_ body: () throws -> Void) -> String {
    do {
      try body()
      return "read"
    } catch let failure as CommandFailure {
      return "\(failure.code.rawValue) \(failure.message)"
    } catch {
      return "\(error)"
    }
  }

  static let shipped = """
    ---
    # the values of Fabric v0.6
    general:
        mode: batch
        N: 4
        f: 1
        K: 10
        logmultiplier: 4
        batchsize: 500
        byzantine: false
        viewchangeperiod: 0
        timeout:
            batch: 1s
            request: 2s
            viewchange: 2s
            resendviewchange: 2s
            nullrequest: 0s
            broadcast: 1s
    executor:
        queuesize: 30
    """

  @Test("the file that Fabric ships is read, each value with its line")
  func shippedFile() throws {
    let reading = try FabricSources.yaml(Self.shipped, path: "c/config.yaml")
    #expect(reading.configuration.keys.count == 15)
    #expect(reading.configuration.whole(.checkpointPeriod) == 10)
    #expect(reading.configuration.statements[.requestTimeout]?.place == "c/config.yaml:14")
    #expect(
      reading.warnings == [
        "c/config.yaml:18: general.timeout.broadcast has no effect here",
        "c/config.yaml:20: executor.queuesize has no effect here",
      ])
  }

  @Test("unknown keys are warnings, an empty file states nothing")
  func unknownKeys() throws {
    let reading = try FabricSources.yaml(
      "general:\n  batchSize: 7\n  batch: 8\n  timeout:\n    reqest: 1s\npeer: {id: 1}\n", path: "c.yaml")
    #expect(reading.configuration.whole(.batchSize) == 7)
    #expect(
      reading.warnings == [
        "c.yaml:3: unknown key 'general.batch'", "c.yaml:5: unknown key 'general.timeout.reqest'",
        "c.yaml:6: unknown key 'peer'",
      ])
    #expect(try FabricSources.yaml("# nothing\n", path: "c.yaml").configuration.keys.isEmpty)
    #expect(try FabricSources.file(in: "no/such/folder").configuration.keys.isEmpty)
  }

  @Test("a value that cannot be read names file, line, key and what was expected")
  func badFile() {
    #expect(
      failure { _ = try FabricSources.yaml("general:\n  N: four\n", path: "c.yaml") }
        == "64 c.yaml:2: expected a whole number in 1...64 for general.N, found 'four'")
    #expect(
      failure { _ = try FabricSources.yaml("general:\n  timeout: {batch: 5}\n", path: "c.yaml") }
        == "64 c.yaml:2: expected a duration such as 2s, 500ms or 1m30s for general.timeout.batch, found '5'")
    #expect(
      failure { _ = try FabricSources.yaml("general:\n  N: [4]\n", path: "c.yaml") }
        == "64 c.yaml:2: expected a whole number in 1...64 for general.N, found more than one value")
    #expect(failure { _ = try FabricSources.yaml("- 1", path: "c.yaml") }.hasPrefix("64 c.yaml:1: expected"))
    #expect(
      failure { _ = try FabricSources.yaml("a: b: c", path: "c.yaml") }.hasPrefix(
        "64 c.yaml:1: expected YAML"))
  }

  @Test("variables are read by Fabric's names; others of its prefix are warnings")
  func variables() throws {
    let reading = try FabricSources.environment([
      "CORE_PBFT_GENERAL_TIMEOUT_REQUEST": "5s", "CORE_PBFT_GENERAL_TIMEOUT": "1s", "HOME": "/",
    ])
    #expect(reading.configuration.nanoseconds(.requestTimeout) == 5_000_000_000)
    #expect(reading.warnings == ["CORE_PBFT_GENERAL_TIMEOUT: unknown variable"])
    #expect(
      failure { _ = try FabricSources.environment(["CORE_PBFT_GENERAL_F": "x"]) }
        == "64 CORE_PBFT_GENERAL_F: expected a whole number in 0...63, found 'x'")
  }
}

@Suite("Resolved settings of a replica")
struct ReplicaSettingsTests {
  private func resolve(
    flags: [ParameterKey: String] = [:], own: [ReplicaOptions.OwnKey: String] = [:],
    environment: [String: String] = [:], yaml: String = "", system: String = "",
    folder: FolderFacts = FolderFacts()
  ) throws -> ResolvedReplicaSettings {
    try ResolvedReplicaSettings.resolve(
      flags: ReplicaOptions(id: 1, configDirectory: "c", stating: flags, own: own),
      environment: FabricSources.environment(environment),
      yaml: FabricSources.yaml(yaml, path: "c/config.yaml"),
      systemConfig: SystemConfiguration(text: system), folder: folder)
  }

  @Test("without any statement Muster's defaults hold")
  func defaults() throws {
    let settings = try resolve()
    #expect(settings.batchSize.value == 256 && settings.batchSize.source == .standard)
    #expect(settings.requestTimeoutNanoseconds.text == "2s" && settings.durability.value == .sync)
    #expect(settings.replicas.value == nil && settings.byzantine.value == nil)
    #expect(settings.notices.isEmpty && settings.warnings.isEmpty)
  }

  @Test("flag wins over environment, over config.yaml, over system.config, over the default")
  func precedence() throws {
    let key = "system.totalordermulticast.maxbatchsize"
    let yaml = "general:\n  batchsize: 3\n"
    let environment = ["CORE_PBFT_GENERAL_BATCHSIZE": "2"]
    let system = "\(key) = 4"
    let all = try resolve(flags: [.batchSize: "1"], environment: environment, yaml: yaml, system: system)
    #expect(all.batchSize.value == 1 && all.batchSize.source == .flag)
    #expect(
      all.notices == [
        "batch_size: 1 (--batch-size) wins over 2 (CORE_PBFT_GENERAL_BATCHSIZE)",
        "batch_size: 1 (--batch-size) wins over 3 (c/config.yaml:2 general.batchsize)",
        "batch_size: 1 (--batch-size) wins over 4 (c/system.config \(key))",
      ])
    let second = try resolve(environment: environment, yaml: yaml, system: system)
    #expect(second.batchSize.value == 2 && second.batchSize.source == .environment)
    let third = try resolve(yaml: yaml, system: system)
    #expect(third.batchSize.value == 3 && third.batchSize.source == .yaml && third.notices.count == 1)
    let fourth = try resolve(system: system)
    #expect(fourth.batchSize.value == 4 && fourth.batchSize.source == .systemConfig)
    #expect(fourth.notices.isEmpty)
  }

  @Test("two places that agree are no conflict")
  func agreement() throws {
    let settings = try resolve(
      flags: [.requestTimeout: "2s"], yaml: "general: {timeout: {request: 2000ms}}",
      system: "system.totalordermulticast.timeout = 2000")
    #expect(settings.notices.isEmpty && settings.requestTimeoutNanoseconds.source == .flag)
  }

  @Test("Fabric's file is taken over whole")
  func fabricFile() throws {
    let settings = try resolve(yaml: FabricSourcesTests.shipped)
    #expect(settings.replicas.value == 4 && settings.faults.value == 1)
    #expect(settings.checkpointPeriod.value == 10 && settings.batchSize.value == 500)
    #expect(settings.batchTimeoutNanoseconds.value == 1_000_000_000)
    #expect(settings.viewChangeResendNanoseconds.text == "2s" && settings.viewChangePeriod.value == 0)
    #expect(settings.orderingProtocol.source == .yaml && settings.byzantine.text == "off")
    #expect(settings.warnings.count == 2 && settings.notices.isEmpty)
    let configuration = settings.replicaConfiguration
    #expect(configuration.checkpointPeriod == 10 && configuration.batchSize == 500)
  }

  @Test(
    "a request timeout that is not above the batch timeout is raised, then the null request, and both are told"
  )
  func corrections() throws {
    let settings = try resolve(
      flags: [.batchTimeout: "2s"], yaml: "general:\n  timeout:\n    request: 2s\n    nullrequest: 2s\n")
    #expect(settings.requestTimeoutNanoseconds.value == 3_000_000_000)
    #expect(settings.nullRequestNanoseconds.value == 4_500_000_000)
    #expect(
      settings.notices == [
        "request_timeout: 2s (c/config.yaml:3 general.timeout.request) is not above batch_timeout 2s: "
          + "raised to 3s, as Fabric does",
        "null_request: 2s (c/config.yaml:4 general.timeout.nullrequest) is not above request_timeout 3s: "
          + "raised to 4500ms, as Fabric does",
      ])
    #expect(
      settings.text.contains(
        "# raised from 2s (c/config.yaml:3 general.timeout.request), because it has to be above batch_timeout\n"
      ))
  }

  @Test("a request timer that a flag turns off stays off; Fabric's file has no such value")
  func offStaysOff() throws {
    #expect(try resolve(flags: [.requestTimeout: "0s"]).requestTimeoutNanoseconds.value == 0)
    #expect(
      try resolve(yaml: "general: {timeout: {request: 0s}}").requestTimeoutNanoseconds.value == 3_000_000)
    #expect(try resolve(yaml: "general: {timeout: {nullrequest: 0s}}").nullRequestNanoseconds.value == 0)
  }

  @Test("byzantine of Fabric's file is Fabric's misbehaviour; a flag chooses another one")
  func byzantine() throws {
    let yaml = "general: {byzantine: true}"
    #expect(try resolve(yaml: yaml).byzantine.value == .omit)
    #expect(try resolve(own: [.byzantine: "censor:10000"]).byzantine.value == .censor(client: 10_000))
    let both = try resolve(own: [.byzantine: "silent"], yaml: yaml)
    #expect(both.byzantine.value == .silent)
    #expect(
      both.notices == ["byzantine: silent (--byzantine) wins over omit (c/config.yaml:1 general.byzantine)"])
    let off = try resolve(environment: ["CORE_PBFT_GENERAL_BYZANTINE": "false"], yaml: yaml)
    #expect(off.byzantine.value == nil && off.notices.count == 1)
  }

  @Test(
    "a replica's own flags are refused in words that name them",
    arguments: [
      (.nullRequest, "5", "--null-request 5: expected a duration with its unit"),
      (.viewChangePeriod, "-1", "--view-change-period -1: expected a whole number from 0 to 1000000"),
      (.byzantine, "evil", "--byzantine evil: expected omit, silent, equivocate, censor:<client>"),
      (.byzantine, "delay:0", "--byzantine delay:0: expected omit"),
    ] as [(ReplicaOptions.OwnKey, String, String)])
  func badOwnFlags(key: ReplicaOptions.OwnKey, text: String, message: String) {
    let failure = #expect(throws: CommandFailure.self) { try resolve(own: [key: text]) }
    #expect(failure?.code == .usage && failure?.message.hasPrefix(message) == true)
  }

  @Test("the printed configuration names every value with its place")
  func printed() throws {
    let text = try resolve(
      flags: [.durability: "async"], own: [.nullRequest: "10s"],
      system: "system.servers.num = 7\nsystem.communication.useSignatures = 1"
    ).text
    let all = text.split(separator: "\n").map {
      $0.split(separator: "#").map { $0.trimmingCharacters(in: .whitespaces) }
    }
    // Each line of system.config stands below with what becomes of it.
    #expect(
      text.hasSuffix(
        """
        # system.config:1: system.servers.num = 7: n, as long as no membership is stored
        # system.config:2: system.communication.useSignatures = 1: signatures: 0 none, 1 sign, 2 verify-only, with the \
        algorithm of the keys

        """))
    let lines = all.dropLast(2)
    #expect(lines.count == 30 && lines.allSatisfy { $0.count == 2 })
    #expect(lines[0] == ["id: 1", "--id"])
    for expected in [
      ["replicas: 7", "c/system.config system.servers.num"], ["faults: as hosts.config", "default"],
      ["signatures: sign:ecdsa-p256", "c/system.config system.communication.useSignatures"],
      ["durability: async", "--durability"], ["null_request: 10s", "--null-request"],
      ["batch_timeout: 2ms", "default"], ["byzantine: off", "default"],
    ] {
      #expect(lines.contains(expected), "\(expected[0])")
    }
    // Reads as YAML, too: a name, a value, a comment.
    #expect(Set(lines.map { $0[0].prefix { $0 != ":" } }).count == lines.count)
  }

  @Test("the file that BFT-SMaRt ships decides what it can")
  func shippedSystemConfig() throws {
    let settings = try resolve(
      system: """
        system.bft = true
        system.ttp.id = 7002
        system.totalordermulticast.maxBatchSizeInBytes = 1000000
        system.totalordermulticast.maxbatchsize = 1024
        system.totalordermulticast.checkpoint_period = 1024
        system.totalordermulticast.log_to_disk = false
        system.totalordermulticast.sync_log = false
        system.communication.maxRequestSize = 100000
        system.communication.useControlFlow = 1000
        system.communication.hashAlgorithm = SHA-256
        system.communication.useSignatures = 1
        """, folder: FolderFacts(keyAlgorithm: .ecdsaSecp256k1))
    #expect(settings.faultModel.value == .byzantine && settings.trustedPartyID.value == 7002)
    #expect(settings.durability.value == .none && settings.durability.source == .systemConfig)
    #expect(settings.maximumBatchBytes.value == 1_000_000 && settings.replyHash.value == .sha256)
    #expect(settings.signatureMode.value == .sign(.ecdsaSecp256k1) && settings.controlFlow.value == 1000)
    #expect(settings.notices.isEmpty)
    let configuration = settings.replicaConfiguration
    #expect(configuration.maximumRequestBytes == 100_000 && configuration.maximumBatchBytes == 1_000_000)
    #expect(configuration.administrator == 7002 && configuration.maximumOutstandingPerClient == 32)
    #expect(configuration.batchSize == 1024 && configuration.checkpointPeriod == 1024)
  }

  @Test("log_to_disk and sync_log are durability")
  func durability() throws {
    let order = "system.totalordermulticast."
    func settings(_ lines: String...) throws -> ReplicaSetting<Durability> {
      try resolve(system: lines.map { order + $0 }.joined(separator: "\n")).durability
    }
    #expect(try settings("log_to_disk = true").value == .async)
    let synced = try settings("log_to_disk = true", "sync_log = true")
    #expect(synced.value == .sync && synced.place == "c/system.config \(order)sync_log")
    #expect(try settings("log_to_disk = false", "sync_log = true").value == .none)
    #expect(try settings("log = true").value == .sync && settings("log = true").source == .standard)
  }

  @Test("v1.2 has MACs, SHA-512 and RSA unless its file says otherwise")
  func earlierSeries() throws {
    let facts = FolderFacts(dialect: .v12, keyAlgorithm: .rsa2048SHA512)
    let settings = try resolve(system: "system.communication.useSignatures = 2", folder: facts)
    #expect(settings.dialect.value == .v12 && settings.dialect.place == "hosts.config, three columns")
    #expect(settings.usesMACs.value && settings.replyHash.value == .sha512)
    #expect(settings.signatureMode.value == .verifyOnly(.rsa2048SHA512))
    let other = try resolve(
      system: "system.communication.useMACs = 0\nsystem.communication.hashAlgorithm = SHA-256", folder: facts)
    #expect(!other.usesMACs.value && other.replyHash.value == .sha256)
    #expect(try !resolve().usesMACs.value && resolve().dialect.value == .master)
    let failure = #expect(throws: CommandFailure.self) {
      try resolve(system: "system.communication.hashAlgorithm = MD5")
    }
    #expect(
      failure?.message
        == "c/system.config: system.communication.hashAlgorithm = MD5: expected SHA-256 or SHA-512")
  }

  @Test("a replica listens on bindaddress, else on loopback, else on its host's address")
  func bindAddress() throws {
    let line = "system.communication.bindaddress ="
    func bind(_ system: String, _ host: String) throws -> String {
      try resolve(system: system, folder: FolderFacts(host: host)).bindHost.value
    }
    #expect(try bind("\(line) auto", "127.0.0.1") == "127.0.0.1")
    #expect(try bind("", "localhost") == "127.0.0.1")
    #expect(try bind("\(line) auto", "10.1.2.3") == "10.1.2.3")
    #expect(try bind("\(line) 0.0.0.0", "10.1.2.3") == "0.0.0.0")
    #expect(try bind("\(line) 192.168.1.4", "127.0.0.1") == "192.168.1.4")
  }

  @Test("a batch has room for the largest request, and crash mode is taken over")
  func limits() throws {
    let settings = try resolve(
      system: "system.totalordermulticast.maxBatchSizeInBytes = 1000\nsystem.bft = false\nsystem.ttp.id = -1")
    #expect(settings.maximumBatchBytes.value == 1 << 20 && settings.notices.count == 1)
    #expect(settings.faultModel.value == .crash && settings.trustedPartyID.value == nil)
    let unlimited = try resolve(system: "system.totalordermulticast.maxBatchSizeInBytes = 2147483647")
    #expect(unlimited.notices.isEmpty && unlimited.replicaConfiguration.validate().isEmpty)
  }

  @Test(
    "an adversary's behaviour reads back from its own text",
    arguments: ["omit", "silent", "equivocate", "censor:7", "delay:0.9", "pace:0.5"])
  func behaviours(text: String) { #expect(AdversarialBehaviour(text)?.description == text) }

  @Test(
    "what is no behaviour is none",
    arguments: [
      "", "Silent", "silent:1", "censor", "censor:-1", "censor:x", "delay:", "delay:nan", "pace:11",
    ])
  func noBehaviours(text: String) { #expect(AdversarialBehaviour(text) == nil) }
}
