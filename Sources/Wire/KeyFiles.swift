// Key files: DIR/keys as `muster keys` makes it. Secrets exist only in files of mode 0600 in a folder of mode 0700;
// a file is complete or not there; nothing is overwritten unless that is asked for.
//
//   cluster.id        32 hexadecimal digits
//   replicas.pub      a line per replica: id, Ed25519 key, X25519 key
//   replica<id>.key   replica, ed25519, x25519, secret (M_r), a line each
//   clients.secret    secret; rsa-1024, rsa-2048: the pairs that all clients share
//   clients.pub       rsa-1024, rsa-2048; a line per client, ids consecutive: id, Ed25519, P-256, secp256k1 (x ‖ y); and a
//                     line `ttp` with the same for the trusted party, where there is one
//
// All but the first begin with a line `cluster <id>`, so that files of two clusters are never mixed. Keys are
// hexadecimal, RSA keys base64 of DER; `#` begins a comment.

import Crypto
import Foundation
import Hashing
import PBFT

/// Why key files cannot be read or written; each says which file, and what to do where that is known.
public enum KeyFileError: Error, Hashable, Sendable {
  /// An input that is needed is not there.
  case missing(path: String)
  case unreadable(path: String, reason: String)
  /// A line (1-based) is not what a file of its kind has there.
  case malformed(path: String, line: Int, expected: String)
  /// A secret that others than its owner may read.
  case exposed(path: String, mode: UInt32)
  /// Refused to overwrite.
  case exists(path: String)
  case notWritable(path: String, reason: String)
}

extension KeyFileError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .missing(let path): "\(path): no such file; make keys with 'muster keys --config DIR --clients A..B'"
    case .unreadable(let path, let reason): "\(path): cannot be read: \(reason)"
    case .malformed(let path, let line, let expected): "\(path):\(line): expected \(expected)"
    case .exposed(let path, let mode):
      "\(path): mode \(String(mode, radix: 8)) lets others read a secret; expected 600 ('chmod 600 \(path)')"
    case .exists(let path): "\(path): exists already; not overwritten"
    case .notWritable(let path, let reason): "\(path): cannot be written: \(reason)"
    }
  }
}

/// The folder of key files below a configuration folder.
public struct KeyFiles: Sendable {
  /// `DIR/keys`.
  public let directory: String

  public init(configurationDirectory: String) {
    directory = configurationDirectory + "/keys"
  }

  /// The client ids of `A..B`, both included; nil unless both are in 0...2³¹-1 and A ≤ B.
  public static func clients(parsing text: String) -> ClosedRange<Int32>? {
    guard let dots = text.range(of: ".."), let first = Int32(text[..<dots.lowerBound]),
      let last = Int32(text[dots.upperBound...]), first >= 0, first <= last
    else { return nil }
    return first...last
  }

  // MARK: Writing

  /// Writes all files of a cluster.
  ///
  /// - Parameters:
  ///   - clients: the ids in `clients.pub`; making a client's keys takes about 60 µs.
  ///   - trustedParty: a client id besides, which may reconfigure.
  ///   - overwriting: replaces what is there, and removes keys of replicas that are no longer in the cluster.
  public func write(
    _ keys: ClusterKeys, clients: ClosedRange<Int32>, trustedParty: Int32? = nil, overwriting: Bool = false
  ) throws(KeyFileError) {
    let files = contents(of: keys, clients: clients, trustedParty: trustedParty)
    let present = try presentFiles()
    if !overwriting, let first = present.first { throw .exists(path: path(first)) }
    if mkdir(directory, 0o700) != 0 && errno != EEXIST {
      throw .notWritable(path: directory, reason: systemMessage())
    }
    guard chmod(directory, 0o700) == 0 else {
      throw .notWritable(path: directory, reason: systemMessage())
    }
    let names = Set(files.map(\.name))
    for stale in present where !names.contains(stale) { unlink(path(stale)) }
    for file in files { try Self.replace(path(file.name), with: file.bytes) }
  }

  private func contents(
    of keys: ClusterKeys, clients: ClosedRange<Int32>, trustedParty: Int32?
  ) -> [(name: String, bytes: [UInt8])] {
    let cluster = "cluster \(keys.cluster)\n"
    var replicas = cluster + "# id, Ed25519, X25519\n"
    var files: [(name: String, bytes: [UInt8])] = [("cluster.id", Array("\(keys.cluster)\n".utf8))]
    for replica in keys.replicas {
      replicas += Self.line(of: replica.publicKeys)
      files.append((Self.name(ofReplica: replica.replica), Self.text(of: replica, keys.cluster)))
    }
    files.append(("replicas.pub", Array(replicas.utf8)))
    var secret = cluster + "secret \(keys.clientSecret.bytes.hexadecimal)\n"
    var head = cluster
    for bits in KeyKind.rsaBits {
      let pair = keys.rsa.pair(bits: bits)
      secret += "rsa-\(bits) \(Data(pair.pkcs8).base64EncodedString())\n"
      head += "rsa-\(bits) \(Data(pair.publicKeyInfo).base64EncodedString())\n"
    }
    files.append(("clients.secret", Array(secret.utf8)))
    var table = Array((head + "# id, Ed25519, P-256, secp256k1\n").utf8)
    table.reserveCapacity(table.count + clients.count * 340)
    func appendLine(_ name: String, _ client: Int32) {
      table.append(contentsOf: name.utf8)
      for algorithm in SignatureAlgorithm.derived {
        table.append(UInt8(ascii: " "))
        let pair = ClientKeyPair(algorithm, client: client, secret: keys.clientSecret)
        Hexadecimal.append(pair.publicKey, to: &table)
      }
      table.append(UInt8(ascii: "\n"))
    }
    for client in clients { appendLine(String(client), client) }
    if let trustedParty, !clients.contains(trustedParty) { appendLine("ttp \(trustedParty)", trustedParty) }
    files.append(("clients.pub", table))
    return files
  }

  /// Names of key files in the folder, sorted; none if there is no folder.
  private func presentFiles() throws(KeyFileError) -> [String] {
    guard access(directory, F_OK) == 0 else { return [] }
    let names: [String]
    do {
      names = try FileManager.default.contentsOfDirectory(atPath: directory)
    } catch {
      throw .notWritable(path: directory, reason: "not a readable folder")
    }
    let fixed: Set = ["cluster.id", "replicas.pub", "clients.secret", "clients.pub"]
    return names.filter { name in
      let digits = name.dropFirst("replica".count).dropLast(".key".count)
      return fixed.contains(name)
        || (name.hasPrefix("replica") && name.hasSuffix(".key") && Int32(digits) != nil)
    }.sorted()
  }

  /// Writes a file of mode 0600 beside `path` and renames it, so that `path` is never half a file.
  static func replace(_ path: String, with bytes: [UInt8]) throws(KeyFileError) {
    let temporary = path + ".new"
    unlink(temporary)
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL, 0o600)
    guard descriptor >= 0 else { throw .notWritable(path: path, reason: systemMessage()) }
    var written = 0
    var failure: String?
    bytes.withUnsafeBytes { buffer in
      while written < buffer.count {
        let count = Foundation.write(descriptor, buffer.baseAddress! + written, buffer.count - written)
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else {
          failure = systemMessage()
          return
        }
        written += count
      }
    }
    if close(descriptor) != 0 && failure == nil { failure = systemMessage() }
    if failure == nil && rename(temporary, path) != 0 { failure = systemMessage() }
    if let failure {
      unlink(temporary)
      throw .notWritable(path: path, reason: failure)
    }
  }

  // MARK: Reading

  /// The cluster's id.
  public func readClusterID() throws(KeyFileError) -> ClusterID {
    let file = try KeyFile(path: path("cluster.id"), isSecret: false)
    guard let line = file.lines.first, line.fields.count == 1,
      let id = ClusterID(hexadecimal: line.text(0))
    else { throw file.malformed(file.lines.first, "a cluster id of 32 hexadecimal digits") }
    if file.lines.count > 1 { throw file.malformed(file.lines[1], "nothing after the cluster id") }
    return id
  }

  /// What replica `id` holds: from its own key file, `replicas.pub` and `clients.pub`, and no other secret file.
  public func readReplica(_ id: ReplicaID) throws(KeyFileError) -> ReplicaSecrets {
    let cluster = try readClusterID()
    let keys = try readReplicaKeys(id, cluster: cluster)
    let replicas = try readReplicaPublicKeys(cluster: cluster)
    let publicFile = path("replicas.pub")
    guard let own = replicas.first(where: { $0.keys.replica == id }) else {
      throw .malformed(
        path: publicFile, line: (replicas.last?.line ?? 1) + 1, expected: "a line for replica \(id.rawValue)")
    }
    guard own.keys == keys.publicKeys else {
      throw .malformed(
        path: publicFile, line: own.line, expected: "the public keys of \(Self.name(ofReplica: id))")
    }
    return ReplicaSecrets(
      replica: id, cluster: cluster, signingKey: keys.signingKey, agreementKey: keys.agreementKey,
      clientSecret: keys.clientSecret, replicas: replicas.map(\.keys),
      clients: try readClientPublicKeys(cluster: cluster))
  }

  /// What acts for all clients: `clients.secret` and M_r of each replica in `replicas.pub`.
  public func readGenerator() throws(KeyFileError) -> GeneratorSecrets {
    let cluster = try readClusterID()
    let file = try KeyFile(path: path("clients.secret"), isSecret: true, cluster: cluster)
    var values = file.values
    let secret = try values.next("secret")
    var rsa: [RSAPrivateKey] = []
    for bits in KeyKind.rsaBits {
      let der = try values.nextBase64("rsa-\(bits)")
      guard let pair = der.withUnsafeBytes({ RSAPrivateKey(pkcs8: $0) }), pair.bits == bits else {
        throw values.wrong("base64 of an RSA key of \(bits) bits, PKCS #8 in DER")
      }
      rsa.append(pair)
    }
    try values.end()
    var replicaSecrets: [ReplicaID: Secret] = [:]
    for replica in try readReplicaPublicKeys(cluster: cluster).map(\.keys.replica) {
      replicaSecrets[replica] = try readReplicaKeys(replica, cluster: cluster).clientSecret
    }
    return GeneratorSecrets(
      cluster: cluster, pairs: ClientPairs(secret: secret, rsa: SharedRSAPairs(rsa)),
      replicaSecrets: replicaSecrets)
  }

  private func readReplicaKeys(_ id: ReplicaID, cluster: ClusterID) throws(KeyFileError) -> ReplicaKeys {
    let file = try KeyFile(path: path(Self.name(ofReplica: id)), isSecret: true, cluster: cluster)
    var values = file.values
    try values.next("replica", is: String(id.rawValue))
    let keys = ReplicaKeys(
      replica: id, signing: try values.next("ed25519"), agreement: try values.next("x25519"),
      clientSecret: try values.next("secret"))
    try values.end()
    return keys
  }

  func readReplicaPublicKeys(
    cluster: ClusterID
  ) throws(KeyFileError) -> [(line: Int, keys: ReplicaPublicKeys)] {
    let file = try KeyFile(path: path("replicas.pub"), isSecret: false, cluster: cluster)
    var replicas: [(line: Int, keys: ReplicaPublicKeys)] = []
    for line in file.lines {
      guard line.fields.count == 3, let id = Int32(line.text(0)), id >= 0,
        let signing = Hexadecimal.bytes(of: line.fields[1], count: 32),
        let agreement = Hexadecimal.bytes(of: line.fields[2], count: 32)
      else { throw file.malformed(line, "a replica id and two keys of 64 hexadecimal digits") }
      guard !replicas.contains(where: { $0.keys.replica.rawValue == id }) else {
        throw file.malformed(line, "each replica once, and \(id) is there already")
      }
      replicas.append(
        (
          line.number,
          ReplicaPublicKeys(
            replica: ReplicaID(rawValue: id), signing: Data(signing), agreement: Data(agreement))
        ))
    }
    return replicas
  }

  /// Whether there are keys of a cluster; BFT-SMaRt v1.2 has a folder of the same name with other files.
  public var isPresent: Bool { access(path("cluster.id"), F_OK) == 0 }

  /// The public keys of `clients.pub`.
  public func readClients() throws(KeyFileError) -> ClientPublicKeys {
    try readClientPublicKeys(cluster: try readClusterID())
  }

  private func readClientPublicKeys(cluster: ClusterID) throws(KeyFileError) -> ClientPublicKeys {
    let file = try KeyFile(path: path("clients.pub"), isSecret: false, cluster: cluster)
    var first: Int32?
    var expected: Int32 = 0
    var tables: [[UInt8]] = SignatureAlgorithm.derived.map { _ in [] }
    let counts = SignatureAlgorithm.derived.map(\.publicKeyByteCount)
    var (shared, lines) = try readSharedKeys(file)
    /// The keys of a line from column `start` on.
    func keys(_ line: KeyFile.Line, from start: Int) throws(KeyFileError) -> [[UInt8]] {
      var keys: [[UInt8]] = []
      for (index, count) in counts.enumerated() where line.fields.count == start + counts.count {
        guard let key = Hexadecimal.bytes(of: line.fields[start + index], count: count) else { break }
        keys.append(key)
      }
      guard keys.count == counts.count else {
        throw file.malformed(line, "a client id and keys of 64, 128 and 128 hexadecimal digits")
      }
      return keys
    }
    var trustedParty: (Int32, [[UInt8]])?
    if let last = lines.last, last.fields.count > 1, last.text(0) == "ttp" {
      guard let id = Int32(last.text(1)), id >= 0 else { throw file.malformed(last, "'ttp' and a client id") }
      trustedParty = (id, try keys(last, from: 2))
      lines.removeLast()
    }
    for line in lines {
      guard !line.fields.isEmpty, let id = Int32(line.text(0)), id >= 0, id < Int32.max else {
        throw file.malformed(line, "a client id and keys of 64, 128 and 128 hexadecimal digits")
      }
      for (index, key) in try keys(line, from: 1).enumerated() { tables[index] += key }
      guard first == nil || id == expected else { throw file.malformed(line, "client \(expected)") }
      first = first ?? id
      expected = id + 1
    }
    guard let first else { return .none }
    var result = ClientPublicKeys(
      clients: first...(expected - 1),
      tables: Dictionary(uniqueKeysWithValues: zip(SignatureAlgorithm.derived, tables)), shared: shared)
    if let (id, keys) = trustedParty {
      result.add(id, Dictionary(uniqueKeysWithValues: zip(SignatureAlgorithm.derived, keys)))
    }
    return result
  }

  /// The RSA keys at the head of `clients.pub`, and the lines behind them.
  private func readSharedKeys(
    _ file: KeyFile
  ) throws(KeyFileError) -> (shared: [KeyKind: [UInt8]], rest: ArraySlice<KeyFile.Line>) {
    var values = file.values
    var shared: [KeyKind: [UInt8]] = [:]
    for bits in KeyKind.rsaBits {
      let der = try values.nextBase64("rsa-\(bits)")
      guard let key = try? KeyEncoding.publicKey(der), key.kind == .rsa(bits: bits) else {
        throw values.wrong("base64 of an RSA key of \(bits) bits, SubjectPublicKeyInfo in DER")
      }
      shared[key.kind] = key.bytes
    }
    return (shared, file.lines.dropFirst(KeyKind.rsaBits.count))
  }

  func path(_ name: String) -> String { directory + "/" + name }

  static func name(ofReplica id: ReplicaID) -> String { "replica\(id.rawValue).key" }
}

/// The message of the last failed system call.
func systemMessage() -> String { String(cString: strerror(errno)) }
