// Replica and client processes on folders as BFT-SMaRt's users have them: built-in keys, key files, both series.

import Foundation
import Testing

@Suite("Processes on a folder of BFT-SMaRt", .serialized)
struct InstallationProcessTests {
  /// system.config as BFT-SMaRt ships it, as far as it matters here.
  private static let shipped = """
    system.servers.num = 4
    system.servers.f = 1
    system.initial.view = 0,1,2,3
    system.totalordermulticast.timeout = 2000
    system.totalordermulticast.maxbatchsize = 1024
    system.totalordermulticast.log_to_disk = false
    system.communication.bindaddress = auto
    system.numrepliers = 16

    """

  private func communication(_ lines: String...) -> String {
    Self.shipped + lines.map { "system.communication.\($0)\n" }.joined()
  }

  /// Starts all replicas on what the folder says, without a flag but `flags`.
  private func start(_ stage: ProcessStage, _ flags: [String] = []) async throws -> [MusterProcess] {
    let replicas = try stage.ports.indices.map {
      try stage.startReplica($0, ["--service", "counter"] + flags)
    }
    try await stage.untilReady(replicas)
    return replicas
  }

  @Test(
    "with the built-in keys, whatever the loader and the use of signatures",
    arguments: [
      ("ECDSA", "SHA256withECDSA", 1, "sign:ecdsa-secp256k1", "Using Signatures"),
      ("RSA", "SHA512withRSA", 1, "sign:rsa-2048-sha512", "Using Signatures"),
      ("SunEC", "SHA256withECDSA", 2, "verify-only:ecdsa-p256", "Using benchmark signature verification"),
    ])
  func builtInKeys(loader: String, algorithm: String, use: Int, mode: String, line: String) async throws {
    try await ProcessStage.with { stage in
      try stage.write(
        "system.config",
        communication(
          "defaultkeys = true", "defaultKeyLoader = \(loader)", "signatureAlgorithm = \(algorithm)",
          "useSignatures = \(use)"))
      let replicas = try await start(stage)
      #expect(
        replicas[2].output.contains(" signatures=\(mode) batch=1024 ")
          && replicas[2].output.contains("durability=none"))
      // What people look for, and what has no effect.
      for text in [
        "ID = 2\n", "N = 4\n", "F = 1\n", "Port (client <-> server) = \(stage.ports[2].client)\n",
        "Port (server <-> server) = \(stage.ports[2].replica)\n", "requestTimeout = 2000\n",
        "maxBatch = 1024\n", line,
        "Binded replica to IP address 127.0.0.1\n", "system.numrepliers = 16: no effect: ",
      ] {
        #expect(replicas[2].errors.contains(text), "\(text)")
      }
      try await stage.count(1001, operations: 3, expecting: 3)
    }
  }

  @Test("with key files: a client with a file is served, one without cannot start")
  func keyFiles() async throws {
    try await ProcessStage.with { stage in
      try stage.write(
        "system.config",
        communication("defaultkeys = false", "defaultKeyLoader = ECDSA", "useSignatures = 1"))
      for flags in [["--layout", "bftsmart", "--algorithm", "ecdsa-secp256k1"], []] {
        let keys = try stage.start(["keys", "--config", stage.folder, "--clients", "1001..1002"] + flags)
        #expect(await keys.end().exitCode == 0)
      }
      let replicas = try await start(stage)
      #expect(replicas[0].output.contains(" signatures=sign:ecdsa-secp256k1 "))
      try await stage.count(1002, operations: 3, expecting: 3)
      let stranger = try await stage.run(
        "counter", "--id", "1003", "--increment", "1", "--config", stage.folder)
      #expect(stranger.exitCode == 66 && stranger.errors.contains("keysECDSA/privatekey1003: no such file"))
    }
  }

  @Test("clients of v1.2, with MACs and RSA signatures")
  func earlierSeries() async throws {
    try await ProcessStage.with { stage in
      try stage.write(
        "system.config", communication("defaultkeys = true", "useMACs = 1", "useSignatures = 1"))
      let replicas = try await start(stage, ["--dialect", "1.2"])
      #expect(replicas[0].errors.contains("Clients of v1.2, with MACs\n"))
      try await stage.count(1001, operations: 3, expecting: 3, ["--dialect", "1.2"])
    }
  }
}
