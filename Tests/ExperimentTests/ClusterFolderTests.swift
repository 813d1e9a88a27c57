// Configuration folders of BFT-SMaRt installations as they are: which replicas, dialect, keys and algorithm they come to, and
// what is said when a file is missing. The folders hold documented values, and keys made for these tests.

import Channels
import Foundation
import PBFT
import Replication
import Testing
import Wire

@testable import Experiment

@Suite("A configuration folder of BFT-SMaRt")
final class ClusterFolderTests {
  private let root = NSTemporaryDirectory() + "muster-folder-\(UUID())"

  deinit { try? FileManager.default.removeItem(atPath: root) }

  /// A copy of an installation's folder.
  private func installation(_ name: String) throws -> String {
    let source = try #require(
      Bundle.module.url(forResource: name, withExtension: nil, subdirectory: "Resources"))
    try FileManager.default.copyItem(atPath: source.path, toPath: root)
    return root
  }

  /// Changes lines of a file: each text that contains `old` becomes `new`; empty text removes the line.
  private func edit(_ file: String, _ changes: [(String, String)]) throws {
    let path = root + "/config/" + file
    var lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map(String.init)
    for (old, new) in changes { lines = lines.map { $0.contains(old) ? new : $0 } }
    try lines.joined(separator: "\n").write(toFile: path, atomically: true, encoding: .utf8)
  }

  private func options(_ directory: String, id: Int = 0) -> ReplicaOptions {
    ReplicaOptions(id: id, configDirectory: directory)
  }

  private func failure(_ body: () throws -> Void) -> String {
    do {
      try body()
      return "no failure"
    } catch let failure as CommandFailure {
      return "\(failure.code.rawValue) \(failure.message)"
    } catch { return "\(error)" }
  }

  @Test("the root of an installation and its config folder are the same", arguments: ["", "/config"])
  func layouts(inner: String) throws {
    let folder = try ClusterFolder(installation("bftsmart") + inner)
    #expect(folder.directory == root + "/config" && folder.dialect == .master && !folder.usesMACs)
    #expect(folder.membership.replicas.map(\.rawValue) == [0, 1, 2, 3] && folder.membership.faults == 1)
    #expect(folder.hosts.map(\.replicaPort) == [11_001, 11_011, 11_021, 11_031])
    #expect(
      folder.warnings == [
        "\(root)/config/hosts.config:8: process 7002 has no replica port: ignored, as BFT-SMaRt does"
      ])
    #expect(try folder.statedSignatureMode() == SignatureMode.none && folder.trustedPartyID == 7002)
  }

  @Test(
    "as it ships it needs no keys and no --format: everybody has the built-in keys, and nothing is kept on disk"
  )
  func shipped() throws {
    let text = try ReplicaProcess.configuration(options(installation("bftsmart")))
    for line in [
      "batch_size: 1024", "batch_timeout: 0s", "request_timeout: 2s", "durability: none", "dialect: master",
      "bind: 127.0.0.1",
      "signatures: none", "ttp: 7002", "control_flow: 1000", "max_request_bytes: 100000",
      "max_batch_bytes: 1000000",
      "reply_hash: SHA-256", "fault_model: byzantine", "readonly_requests: false", "checkpoint_period: 1024",
    ] {
      #expect(text.contains("\n\(line) "), "\(line)")
    }
    // Every one of the 47 lines says what becomes of it.
    #expect(text.split(separator: "\n").filter { $0.hasPrefix("# system.config:") }.count == 47)
    let folder = try ClusterFolder(root)
    let secrets = try folder.replicaSecrets(of: ReplicaID(rawValue: 2))
    #expect(secrets.cluster == ClusterKeys.publiclyKnown(replicas: folder.membership.replicas).cluster)
    let warnings = folder.keyWarnings(.sign(.ecdsaSecp256k1))
    #expect(warnings.count == 2 && warnings.allSatisfy { $0.contains("defaultkeys = true: ") })
    #expect(folder.keyWarnings(.none).count == 1)
  }

  @Test(
    "useSignatures 1 and 2 take the algorithm of the loader's built-in pair",
    arguments: [
      ("ECDSA", "SHA256withECDSA", "1", "sign:ecdsa-secp256k1"),
      ("ECDSA", "SHA256withECDSA", "2", "verify-only:ecdsa-secp256k1"),
      ("SunEC", "SHA256withECDSA", "1", "sign:ecdsa-p256"), ("RSA", "SHA256withRSA", "1", "sign:rsa-2048"),
      ("RSA", "SHA512withRSA", "2", "verify-only:rsa-2048-sha512"),
    ])
  func builtInKeys(loader: String, algorithm: String, use: String, mode: String) throws {
    _ = try installation("bftsmart")
    try edit(
      "system.config",
      [
        ("defaultKeyLoader", "system.communication.defaultKeyLoader = \(loader)"),
        ("signatureAlgorithm =", "system.communication.signatureAlgorithm = \(algorithm)"),
        ("useSignatures", "system.communication.useSignatures = \(use)"),
      ])
    let folder = try ClusterFolder(root)
    let stated = try #require(try folder.statedSignatureMode())
    #expect(stated.description == mode)
    #expect(try ReplicaProcess.configuration(options(root)).contains("\nsignatures: \(mode) "))
    try expectAuthentic(folder, .sign(folder.keyAlgorithm()), clients: [1001, 77_777])
  }

  /// What the folder's generator signs, its replicas take, for each of `clients`.
  private func expectAuthentic(_ folder: ClusterFolder, _ mode: SignatureMode, clients: [Int32]) throws {
    let replicas = folder.membership.replicas
    let signer = try RequestSigner(
      mode: mode, secrets: folder.generatorSecrets(mode: mode), replicas: replicas, clientCapacity: 4)
    let verifier = try RequestVerifier(
      mode: mode, secrets: folder.replicaSecrets(of: replicas[1]), replicas: replicas)
    for client in clients {
      let header = ClientFrameHeader(
        sender: client, membershipID: 0, kind: 0, session: 1, sequence: 0, operationID: 0)
      var frame = [UInt8](repeating: 0, count: 400)
      let count = frame.withUnsafeMutableBytes { memory -> Int in
        _ = ClientFrame.encode(into: memory, header: header, content: nil)
        return signer.sign(memory)
      }
      let verdict = frame.withUnsafeBytes { memory -> RequestVerdict? in
        let bytes = UnsafeRawBufferPointer(rebasing: memory[..<count])
        guard case .frame(let view, _) = ClientFrame.decode(bytes, maximumLength: 1 << 20) else { return nil }
        return verifier.verify(
          data: view.data, digest: .sha256(view.data), authenticator: view.signature, client: client)
      }
      #expect(verdict == .authentic, "client \(client)")
    }
  }

  @Test("with defaultkeys = false the key files decide; replicas' links need keys/ of ours")
  func keyFiles() throws {
    _ = try installation("bftsmart")
    try edit(
      "system.config",
      [
        ("defaultkeys", "system.communication.defaultkeys = false"),
        ("useSignatures", "system.communication.useSignatures = 1"),
        ("system.ttp.id", "system.ttp.id = 1001"),
      ])
    let folder = try ClusterFolder(root)
    #expect(try folder.statedSignatureMode() == .sign(.ecdsaP256))
    #expect(
      failure { _ = try folder.replicaSecrets(of: ReplicaID(rawValue: 0)) }
        == "66 \(root)/config/keys/cluster.id: no such file; make keys with 'muster keys --config DIR --clients A..B'"
    )
    // A client needs no more than its own file.
    #expect(
      try folder.generatorSecrets(mode: .sign(.ecdsaP256), clients: 1001...1001).pairs.pair(
        .ecdsaP256, of: 1001) != nil)
    #expect(
      failure { _ = try folder.generatorSecrets(mode: .sign(.ecdsaP256), clients: 1001...1003) }.hasPrefix(
        "66 \(root)/config/keysECDSA/privatekey1002: no such file; client 1002 cannot sign"))
    #expect(try folder.trustedPartyKey()?.id == 1001 && folder.trustedPartyPair()?.algorithm == .ecdsaP256)
    _ = try KeyProvisioning.write(KeyOptions(configDirectory: root, clients: 5000...5001))
    try expectAuthentic(folder, .sign(.ecdsaP256), clients: [1001, 3])
    // Other algorithms are keys/'s.
    try expectAuthentic(folder, .sign(.ed25519), clients: [5000])
  }

  @Test("with keys/ and defaultkeys = true links have their own keys, and clients the built-in pair")
  func bothKeys() throws {
    _ = try installation("bftsmart")
    let text = try KeyProvisioning.write(KeyOptions(configDirectory: root, clients: 5000...5001))
    #expect(text.contains("replicas 0, 1, 2, 3, clients 5000..5001, trusted party 7002"))
    let folder = try ClusterFolder(root)
    let known = ClusterKeys.publiclyKnown(replicas: folder.membership.replicas)
    #expect(try folder.replicaSecrets(of: ReplicaID(rawValue: 0)).cluster != known.cluster)
    for mode in [SignatureMode.sign(.ecdsaSecp256k1), .sign(.rsa2048), .hmac] {
      try expectAuthentic(folder, mode, clients: [9, 5000])
    }
  }

  @Test("three columns are v1.2: its next ports, RSA with SHA-512, MACs, and the keys of its folder")
  func earlierSeries() throws {
    let folder = try ClusterFolder(installation("bftsmart-1.2"))
    #expect(folder.dialect == .v12 && folder.usesMACs && folder.keyLoader == .rsa)
    #expect(folder.hosts.map(\.clientPort) == [11_000, 11_010, 11_020, 11_030])
    #expect(folder.hosts.map(\.replicaPort) == [11_001, 11_011, 11_021, 11_031])
    #expect(folder.warnings.isEmpty && folder.membership.count == 4)
    #expect(try folder.keyAlgorithm() == .rsa2048SHA512)
    try expectAuthentic(folder, .sign(.rsa2048SHA512), clients: [1001, 5])
    let text = try ReplicaProcess.configuration(options(root))
    #expect(
      text.contains("\ndialect: 1.2 ") && text.contains("\nmacs: true ")
        && text.contains("\nreply_hash: SHA-512 "))
    try edit(
      "system.config",
      [
        ("defaultkeys", "system.communication.defaultkeys = false"),
        ("useMACs", "system.communication.useMACs = 0"),
      ])
    let own = try ClusterFolder(root)
    #expect(try own.keyAlgorithm() == .rsa1024SHA512 && !own.usesMACs)
    #expect(
      try own.generatorSecrets(mode: .sign(.rsa1024SHA512), clients: 1001...1001).pairs.pair(
        .rsa1024SHA512, of: 0) != nil)
  }

  @Test("system.bft = false asks for n >= 2f + 1")
  func crashMode() throws {
    _ = try installation("bftsmart")
    try edit(
      "system.config",
      [
        ("system.bft", "system.bft = false"), ("servers.num", "system.servers.num = 3"),
        ("initial.view", "system.initial.view = 0,1,2"),
      ])
    #expect(try ClusterFolder(root).membership.quorums.model == .crash)
    try edit("system.config", [("servers.f", "system.servers.f = 2")])
    #expect(
      failure { _ = try ClusterFolder(root) }
        == "64 \(root)/config/system.config: 3 replicas do not tolerate f = 2 crashes; expected n >= 2f + 1")
  }

  @Test("a signature algorithm that does not go with the loader names file and key")
  func wrongAlgorithm() throws {
    _ = try installation("bftsmart")
    try edit(
      "system.config",
      [
        ("defaultKeyLoader", "system.communication.defaultKeyLoader = RSA"),
        ("useSignatures", "system.communication.useSignatures = 1"),
      ])
    #expect(
      failure { _ = try ReplicaProcess.configuration(options(root)) }
        == "64 \(root)/config/system.config: system.communication.signatureAlgorithm: expected SHA256withRSA or "
        + "SHA512withRSA with the key loader RSA, found 'SHA256withECDSA'")
  }

  @Test("muster keys writes BFT-SMaRt's layout for a loader, and refuses what does not go together")
  func writesLoaderFiles() throws {
    _ = try installation("bftsmart")
    func options(_ loader: String?, _ algorithm: String?) throws -> KeyOptions {
      try KeyOptions(
        configDirectory: root, clients: "1001..1002", layout: "bftsmart", loader: loader, algorithm: algorithm
      )
    }
    let text = try KeyProvisioning.write(options("SunEC", nil))
    #expect(
      text
        == "\(root)/config/keysSunEC: P-256 keys, replicas 0, 1, 2, 3, clients 1001..1002, trusted party 7002; without "
        + "effect while system.config says system.communication.defaultkeys = true")
    let names = try FileManager.default.contentsOfDirectory(atPath: root + "/config/keysSunEC")
    #expect(names.count == 14 && names.contains("privatekey7002") && names.contains("publickey1002"))
    #expect(
      failure { _ = try KeyProvisioning.write(options(nil, nil)) }
        == "73 \(root)/config/keysECDSA/publickey0: exists already; not overwritten")
    #expect(
      failure { _ = try KeyProvisioning.write(options("RSA", "ecdsa-p256")) }
        == "64 --algorithm: expected rsa-1024 or rsa-2048 with the loader RSA")
    #expect(failure { _ = try options("DSA", nil) } == "64 --loader DSA: expected ECDSA, RSA or SunEC")
    #expect(
      failure { _ = try options(nil, "rsa-4096") }
        == "64 --algorithm rsa-4096: expected ecdsa-p256, ecdsa-secp256k1, rsa-1024, rsa-2048")
  }
}
