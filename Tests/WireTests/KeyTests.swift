// Keys: what is derived from what, what a party gets, and files that keep it.

import Crypto
import Foundation
import PBFT
import Testing

@testable import Wire

@Suite("Keys")
struct KeyTests {
  @Test("a client's pair follows from secret, algorithm and id", arguments: SignatureAlgorithm.derived)
  func derivation(algorithm: SignatureAlgorithm) {
    let secret = Secret.random()
    func publicKey(_ client: Int32, _ secret: Secret) -> Data {
      ClientKeyPair(algorithm, client: client, secret: secret).publicKey
    }
    #expect(publicKey(1, secret) == publicKey(1, secret))
    #expect(publicKey(1, secret) != publicKey(2, secret))
    #expect(publicKey(1, secret) != publicKey(1, .random()))
    #expect(publicKey(1, secret).count == algorithm.publicKeyByteCount)
  }

  @Test("an Ed25519 seed is HKDF-SHA256 of the secret with the documented info")
  func derivationByAnotherPath() {
    let secret = Secret.random()
    let material = secret.bytes.withUnsafeBytes { SymmetricKey(data: $0) }
    let info = Data("cliented25519".utf8) + [0, 0, 0x27, 0x10]
    let seed = HKDF<SHA256>.deriveKey(inputKeyMaterial: material, info: info, outputByteCount: 32)
    guard case .ed25519(let key) = ClientKeyPair(.ed25519, client: 10_000, secret: secret) else {
      Issue.record("another algorithm")
      return
    }
    #expect(seed.withUnsafeBytes { Data($0) } == key.rawRepresentation)
  }

  @Test("a P-256 scalar lies between 0 and the curve's order")
  func scalars() {
    func isKey(_ text: String) -> Bool {
      bytes(hexadecimal: text).withUnsafeBytes { ClientKeyPair.privateKey(scalar: PBFT.Digest(bytes: $0)) }
        != nil
    }
    let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc6325"
    #expect(isKey(order + "50"))
    #expect(!isKey(order + "51"))
    #expect(!isKey(order + "52"))
    #expect(!isKey(String(repeating: "f", count: 64)))
    #expect(!isKey(String(repeating: "0", count: 64)))
    #expect(isKey(String(repeating: "0", count: 63) + "1"))
  }

  @Test("a table knows the clients of its range and algorithms")
  func table() {
    let secret = Secret.random()
    let table = ClientPublicKeys(deriving: 5...7, from: ClientPairs(secret: secret), algorithms: [.ed25519])
    for client in 5...7 as ClosedRange<Int32> {
      #expect(
        table.withPublicKey(.ed25519, of: client) { Data($0) }
          == ClientKeyPair(.ed25519, client: client, secret: secret).publicKey)
    }
    #expect(table.withPublicKey(.ed25519, of: 4) { $0.count } == nil)
    #expect(table.withPublicKey(.ed25519, of: 8) { $0.count } == nil)
    #expect(table.withPublicKey(.ecdsaP256, of: 5) { $0.count } == nil)
    #expect(ClientPublicKeys.none.withPublicKey(.ed25519, of: 5) { $0.count } == nil)
  }

  @Test("new keys differ each time, default keys never")
  func generation() throws {
    let one = ClusterKeys.generate(replicas: testReplicas)
    let other = ClusterKeys.generate(replicas: testReplicas)
    #expect(one.cluster != other.cluster && one.clientSecret != other.clientSecret)
    #expect(Set((one.replicas + other.replicas).map(\.publicKeys.signing)).count == 8)
    #expect(Set((one.replicas + other.replicas).map(\.publicKeys.agreement)).count == 8)
    #expect(Set((one.replicas + other.replicas).map(\.clientSecret)).count == 8)
    let known = ClusterKeys.publiclyKnown(replicas: testReplicas.reversed())
    #expect(known.cluster == knownKeys.cluster)
    #expect(known.replicas.map(\.publicKeys) == knownKeys.replicas.map(\.publicKeys))
  }

  @Test("a replica gets its own secrets and everybody's public keys")
  func replicaSecrets() throws {
    let keys = ClusterKeys.generate(replicas: testReplicas)
    let clients = keys.clientPublicKeys(1...2, mode: .sign(.ed25519))
    let secrets = try #require(keys.replicaSecrets(of: testReplicas[2], clients: clients))
    #expect(secrets.clientSecret == keys.replicas[2].clientSecret)
    #expect(secrets.replicas == keys.replicas.map(\.publicKeys))
    #expect(secrets.publicKeys(of: testReplicas[3])?.replica == testReplicas[3])
    #expect(secrets.publicKeys(of: ReplicaID(rawValue: 4)) == nil)
    #expect(secrets.clients.clients == 1...2)
    #expect(keys.clientPublicKeys(1...2, mode: .hmac).clients == nil)
    #expect(keys.replicaSecrets(of: ReplicaID(rawValue: 9), clients: clients) == nil)
    #expect(keys.generatorSecrets.replicaSecrets.count == 4)
  }

  @Test("a secret does not show itself")
  func secretText() {
    let secret = Secret.random()
    let digits = secret.bytes.hexadecimal.prefix(8)
    var dumped = ""
    dump(secret, to: &dumped)
    for text in ["\(secret)", String(reflecting: secret), dumped, "\(testKeys.generatorSecrets)"] {
      #expect(!text.contains(digits))
      #expect(!text.contains("words"))
    }
  }

  @Test("a cluster id is 32 hexadecimal digits")
  func clusterID() {
    let id = ClusterID.random()
    #expect(ClusterID(hexadecimal: id.description) == id)
    #expect(ClusterID(hexadecimal: id.description.uppercased()) == id)
    #expect(ClusterID(hexadecimal: "") == nil)
    #expect(ClusterID(hexadecimal: String(repeating: "0", count: 31)) == nil)
    #expect(ClusterID(hexadecimal: String(repeating: "g", count: 32)) == nil)
  }
}

@Suite("Key files")
final class KeyFileTests {
  let configuration: String
  let files: KeyFiles
  let keys = ClusterKeys.generate(replicas: testReplicas)

  init() throws {
    configuration = NSTemporaryDirectory() + "muster-key-files-\(UUID())"
    try FileManager.default.createDirectory(atPath: configuration, withIntermediateDirectories: true)
    files = KeyFiles(configurationDirectory: configuration)
    try files.write(keys, clients: 10...12)
  }

  deinit { try? FileManager.default.removeItem(atPath: configuration) }

  func path(_ name: String) -> String { files.directory + "/" + name }

  /// Replaces a line (from 1) of a file, keeping its mode; nil removes it.
  func edit(_ name: String, line: Int, _ change: (String) -> String?) throws {
    var lines = try String(contentsOfFile: path(name), encoding: .utf8).components(separatedBy: "\n")
    let changed = change(lines[line - 1])
    lines.replaceSubrange((line - 1)..<line, with: changed.map { [$0] } ?? [])
    try lines.joined(separator: "\n").write(toFile: path(name), atomically: false, encoding: .utf8)
  }

  func mode(_ path: String) throws -> Int {
    let attributes = try FileManager.default.attributesOfItem(atPath: path)
    return (attributes[.posixPermissions] as! NSNumber).intValue
  }

  @Test("every file is there, readable by its owner only, and nothing else")
  func permissions() throws {
    let names = try FileManager.default.contentsOfDirectory(atPath: files.directory).sorted()
    #expect(
      names == [
        "clients.pub", "clients.secret", "cluster.id", "replica0.key", "replica1.key", "replica2.key",
        "replica3.key", "replicas.pub",
      ])
    for name in names { #expect(try mode(path(name)) == 0o600) }
    #expect(try mode(files.directory) == 0o700)
  }

  @Test("what is read is what was made")
  func roundTrip() throws {
    #expect(try files.readClusterID() == keys.cluster)
    let generator = try files.readGenerator()
    #expect(generator.cluster == keys.cluster && generator.clientSecret == keys.clientSecret)
    #expect(generator.replicaSecrets == keys.generatorSecrets.replicaSecrets)
    for replica in testReplicas {
      let read = try files.readReplica(replica)
      let made = try #require(keys.replicaSecrets(of: replica, clients: .none))
      #expect(read.replica == replica && read.cluster == keys.cluster && read.replicas == made.replicas)
      #expect(read.signingKey.rawRepresentation == made.signingKey.rawRepresentation)
      #expect(read.agreementKey.rawRepresentation == made.agreementKey.rawRepresentation)
      #expect(read.clientSecret == made.clientSecret)
      #expect(read.clients.clients == 10...12)
      for algorithm in SignatureAlgorithm.allCases {
        #expect(
          try read.clients.withPublicKey(algorithm, of: 11) { Data($0) }
            == #require(generator.pairs.pair(algorithm, of: 11)).publicKey)
        #expect(read.clients.withPublicKey(algorithm, of: 9) { _ in } == nil)
      }
    }
  }

  @Test(
    "the trusted party has keys though its id is outside the range", arguments: SignatureAlgorithm.allCases)
  func trustedParty(algorithm: SignatureAlgorithm) throws {
    try files.write(keys, clients: 10...12, trustedParty: 7002, overwriting: true)
    let read = try files.readReplica(testReplicas[0]).clients
    #expect(
      try read.withPublicKey(algorithm, of: 7002) { Data($0) }
        == #require(keys.generatorSecrets.pairs.pair(algorithm, of: 7002)).publicKey)
    #expect(read.clients == 10...12 && read.withPublicKey(algorithm, of: 7001) { _ in } == nil)
    #expect(try files.readClients().withPublicKey(algorithm, of: 12) { _ in true } == true)
  }

  @Test("a replica does not need the other secret files")
  func onlyOwnSecrets() throws {
    for name in ["clients.secret", "replica0.key", "replica2.key", "replica3.key"] {
      try FileManager.default.removeItem(atPath: path(name))
    }
    #expect(try files.readReplica(testReplicas[1]).replica == testReplicas[1])
    #expect(throws: KeyFileError.missing(path: path("clients.secret"))) { try files.readGenerator() }
  }

  @Test("keys are not overwritten unless that is asked for")
  func overwriting() throws {
    let fewer = ClusterKeys.generate(replicas: [testReplicas[0]])
    #expect(throws: KeyFileError.exists(path: path("clients.pub"))) { try files.write(fewer, clients: 0...0) }
    #expect(try files.readClusterID() == keys.cluster)
    try "mine".write(toFile: path("notes"), atomically: true, encoding: .utf8)
    try files.write(fewer, clients: 0...0, overwriting: true)
    #expect(try files.readClusterID() == fewer.cluster)
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: files.directory).sorted()
        == ["clients.pub", "clients.secret", "cluster.id", "notes", "replica0.key", "replicas.pub"])
  }

  @Test("a secret that others may read is refused", arguments: ["replica1.key", "clients.secret"])
  func exposedSecret(name: String) throws {
    try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: path(name))
    #expect(throws: KeyFileError.exposed(path: path(name), mode: 0o640)) {
      _ = try files.readReplica(testReplicas[1])
      _ = try files.readGenerator()
    }
  }

  @Test(
    "a bad line is named with what was expected there",
    arguments: [
      ("cluster.id", 1, "xyz", "a cluster id of 32 hexadecimal digits"),
      ("replicas.pub", 1, "cluster 0", "'cluster "),
      ("replicas.pub", 4, "1 aa bb", "a replica id and two keys of 64 hexadecimal digits"),
      ("replica1.key", 2, "replica 2", "'replica 1'"),
      ("replica1.key", 3, "ed25519", "'ed25519' and 64 hexadecimal digits"),
      ("replica1.key", 4, "x25519 00", "'x25519' and 64 hexadecimal digits"),
      ("replica1.key", 5, "M 00", "'secret' and 64 hexadecimal digits"),
      ("clients.pub", 3, "10 11", "'rsa-2048' and base64"),
      ("clients.pub", 2, "rsa-1024 AAAA", "base64 of an RSA key of 1024 bits, SubjectPublicKeyInfo in DER"),
      ("clients.pub", 5, "10 11", "a client id and keys of 64, 128 and 128 hexadecimal digits"),
      ("clients.pub", 6, "-1 00 00 00", "a client id and keys of 64, 128 and 128 hexadecimal digits"),
      ("clients.pub", 7, "ttp x", "'ttp' and a client id"),
    ])
  func badLine(name: String, line: Int, text: String, expected: String) throws {
    try edit(name, line: line) { _ in text }
    try expectMalformed(name, line: line, expected: expected)
  }

  @Test("the clients' secrets are checked line by line as well")
  func badSecrets() throws {
    func expectError(_ line: Int, _ text: String, _ expected: String) throws {
      try files.write(keys, clients: 10...12, overwriting: true)
      try edit("clients.secret", line: line) { _ in text }
      #expect(
        throws: KeyFileError.malformed(path: path("clients.secret"), line: line, expected: expected)
      ) { try files.readGenerator() }
    }
    try expectError(2, "secret 00", "'secret' and 64 hexadecimal digits")
    try expectError(3, "rsa-1024 ?", "'rsa-1024' and base64")
    try expectError(3, "rsa-1024 AAAA", "base64 of an RSA key of 1024 bits, PKCS #8 in DER")
  }

  @Test("what is no file, what is no folder, and what cannot be replaced are said")
  func otherThanFiles() throws {
    func reason(_ body: () throws -> Void) -> KeyFileError? {
      #expect(throws: KeyFileError.self) { try body() }
    }
    try FileManager.default.removeItem(atPath: path("cluster.id"))
    try FileManager.default.createDirectory(atPath: path("cluster.id"), withIntermediateDirectories: true)
    guard case .unreadable(let unreadable, _)? = reason({ _ = try files.readClusterID() }) else {
      Issue.record("a folder was read")
      return
    }
    #expect(unreadable == path("cluster.id"))
    guard
      case .notWritable(let kept, _)? = reason({ try files.write(keys, clients: 10...12, overwriting: true) })
    else {
      Issue.record("a folder was replaced")
      return
    }
    #expect(kept == path("cluster.id") && access(path("cluster.id") + ".new", F_OK) != 0)
    try FileManager.default.removeItem(atPath: files.directory)
    try "".write(toFile: files.directory, atomically: false, encoding: .utf8)
    #expect(
      reason({ try files.write(keys, clients: 10...12) })
        == .notWritable(path: files.directory, reason: "not a readable folder"))
    guard case .unreadable? = reason({ _ = try files.readClusterID() }) else {
      Issue.record("a file in a file was found")
      return
    }
  }

  @Test("a file that ends too early, and something behind the cluster's id, are named")
  func otherEnds() throws {
    try edit("replica1.key", line: 5) { _ in "" }
    try expectMalformed("replica1.key", line: 6, expected: "'secret' and 64 hexadecimal digits")
    let id = try String(contentsOfFile: path("cluster.id"), encoding: .utf8)
    try "# none\n".write(toFile: path("cluster.id"), atomically: false, encoding: .utf8)
    try expectMalformed("cluster.id", line: 2, expected: "a cluster id of 32 hexadecimal digits")
    try id.write(toFile: path("cluster.id"), atomically: false, encoding: .utf8)
    try edit("cluster.id", line: 1) { $0 + "\nmore" }
    try expectMalformed("cluster.id", line: 2, expected: "nothing after the cluster id")
  }

  @Test("keys are added once: a replica with a file or a line is refused, and nothing is written")
  func adding() throws {
    try files.add([ReplicaID(4), ReplicaID(9)])
    #expect(try files.readReplicaPublicKeys().map(\.replica.rawValue) == [0, 1, 2, 3, 4, 9])
    #expect(try files.readReplica(ReplicaID(9)).replicas.count == 6)
    #expect(throws: KeyFileError.exists(path: path("replica4.key"))) {
      try files.add([ReplicaID(5), ReplicaID(4)])
    }
    unlink(path("replica4.key"))
    #expect(throws: KeyFileError.exists(path: "\(path("replicas.pub")), replica 4")) {
      try files.add([ReplicaID(5), ReplicaID(4)])
    }
    #expect(access(path("replica5.key"), F_OK) != 0)
  }

  @Test("a missing line, a surplus one and one out of order are named")
  func missingLines() throws {
    try edit("clients.pub", line: 6) { _ in nil }
    try expectMalformed("clients.pub", line: 6, expected: "client 11")
    try files.write(keys, clients: 10...12, overwriting: true)
    try edit("replicas.pub", line: 4) { _ in nil }
    try expectMalformed("replicas.pub", line: 6, expected: "a line for replica 1")
    try files.write(keys, clients: 10...12, overwriting: true)
    try edit("replicas.pub", line: 4) { $0 + "\n" + $0 }
    try expectMalformed("replicas.pub", line: 5, expected: "each replica once, and 1 is there already")
    try files.write(keys, clients: 10...12, overwriting: true)
    try edit("replica1.key", line: 5) { $0 + "\nsecret 1 # twice" }
    try expectMalformed("replica1.key", line: 6, expected: "the end of the file")
  }

  @Test("keys of two clusters are not mixed")
  func mixedClusters() throws {
    let foreign = configuration + "/other"
    try FileManager.default.createDirectory(atPath: foreign, withIntermediateDirectories: true)
    let others = KeyFiles(configurationDirectory: foreign)
    try others.write(.generate(replicas: testReplicas), clients: 10...12)
    try FileManager.default.removeItem(atPath: path("replica1.key"))
    try FileManager.default.copyItem(atPath: others.directory + "/replica1.key", toPath: path("replica1.key"))
    try expectMalformed("replica1.key", line: 1, expected: "'cluster \(keys.cluster)', as cluster.id has it")
    // The right cluster's name over another key.
    try edit("replica1.key", line: 1) { _ in "cluster \(keys.cluster)" }
    try expectMalformed("replicas.pub", line: 4, expected: "the public keys of replica1.key")
  }

  @Test("a missing folder and an unwritable one are said")
  func missingFolder() throws {
    let nowhere = KeyFiles(configurationDirectory: configuration + "/nowhere")
    #expect(throws: KeyFileError.missing(path: nowhere.directory + "/cluster.id")) {
      try nowhere.readClusterID()
    }
    #expect {
      try nowhere.write(keys, clients: 0...0)
    } throws: { error in
      guard case .notWritable(let path, _) = error as? KeyFileError else { return false }
      return path == nowhere.directory && "\(error)".contains("No such file or directory")
    }
  }

  @Test("a range of clients is A..B, both included")
  func clientRange() {
    #expect(KeyFiles.clients(parsing: "10..12") == 10...12)
    #expect(KeyFiles.clients(parsing: "0..2147483647") == 0...Int32.max)
    for text in ["", "10", "10..", "..10", "12..10", "-1..3", "1...3", "1..2147483648", "a..b", "1-3"] {
      #expect(KeyFiles.clients(parsing: text) == nil)
    }
  }

  private func expectMalformed(_ name: String, line: Int, expected: String) throws {
    #expect {
      _ = try files.readReplica(testReplicas[1])
    } throws: { error in
      guard case .malformed(let path, let number, let what) = error as? KeyFileError else { return false }
      return path == self.path(name) && number == line && what.hasPrefix(expected)
        && "\(error)".hasPrefix("\(path):\(line): expected \(expected)")
    }
  }
}
