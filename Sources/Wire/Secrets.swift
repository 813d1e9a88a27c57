// 32 secret bytes, the cluster's name, and who may hold what: a replica its own secrets and everybody's public
// keys, the load generator what it takes to act for every client. Neither value can print a secret.

import Crypto
import Foundation
import Hashing
import PBFT

/// 32 bytes that only their owner knows. Its description and its mirror show nothing of them.
public struct Secret: Hashable, Sendable, CustomStringConvertible, CustomReflectable {
  /// The bytes themselves.
  public let bytes: PBFT.Digest

  public init(bytes: PBFT.Digest) { self.bytes = bytes }

  /// From the system's entropy.
  public static func random() -> Secret {
    var generator = SystemRandomNumberGenerator()
    var bytes = PBFT.Digest()
    bytes.words = (generator.next(), generator.next(), generator.next(), generator.next())
    return Secret(bytes: bytes)
  }

  public var description: String { "<secret>" }
  public var customMirror: Mirror { Mirror(self, children: []) }

  /// HKDF-SHA256 with `info`, without salt: another secret that says nothing about this one.
  func derived(info: Data) -> Secret {
    let key = bytes.withUnsafeBytes { SymmetricKey(data: $0) }
    let derived = HKDF<SHA256>.deriveKey(inputKeyMaterial: key, info: info, outputByteCount: 32)
    return Secret(bytes: derived.withUnsafeBytes { PBFT.Digest(bytes: $0) })
  }
}

/// The 16 bytes that say which cluster a replica, a key or a data folder belongs to.
public struct ClusterID: Hashable, Sendable, CustomStringConvertible {
  public static let byteCount = 16
  private let words: (UInt64, UInt64)

  /// Reads 16 bytes. Precondition: they are there.
  public init(bytes: UnsafeRawBufferPointer) {
    precondition(bytes.count >= Self.byteCount)
    words = bytes.loadUnaligned(as: (UInt64, UInt64).self)
  }

  /// From the system's entropy.
  public static func random() -> ClusterID {
    Secret.random().bytes.withUnsafeBytes { ClusterID(bytes: $0) }
  }

  /// Reads 32 hexadecimal digits; nil for anything else.
  public init?(hexadecimal: String) {
    guard let bytes = Hexadecimal.bytes(of: hexadecimal.utf8, count: Self.byteCount) else { return nil }
    self = bytes.withUnsafeBytes { ClusterID(bytes: $0) }
  }

  public func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    try Swift.withUnsafeBytes(of: words, body)
  }

  /// 32 hexadecimal digits.
  public var description: String { withUnsafeBytes { Hexadecimal.text(of: $0) } }

  public static func == (left: ClusterID, right: ClusterID) -> Bool {
    left.words.0 == right.words.0 && left.words.1 == right.words.1
  }

  public func hash(into hasher: inout Hasher) {
    hasher.combine(words.0)
    hasher.combine(words.1)
  }
}

/// What everybody may know of a replica: its Ed25519 key (signatures) and its X25519 key (links), 32 bytes each.
public struct ReplicaPublicKeys: Hashable, Sendable {
  public let replica: ReplicaID
  public let signing: Data
  public let agreement: Data

  public init(replica: ReplicaID, signing: Data, agreement: Data) {
    self.replica = replica
    self.signing = signing
    self.agreement = agreement
  }
}

/// What one replica holds: its own keys and secret, and everybody's public keys; no other replica's secrets, and
/// nothing that could sign as a client.
public struct ReplicaSecrets: Sendable {
  public let replica: ReplicaID
  public let cluster: ClusterID
  /// Signs view changes and checkpoints.
  public let signingKey: Curve25519.Signing.PrivateKey
  /// Gives the keys of the links.
  public let agreementKey: Curve25519.KeyAgreement.PrivateKey
  /// M_r, from which the key shared with each client follows.
  public let clientSecret: Secret
  /// All replicas', in ascending order of ids.
  public private(set) var replicas: [ReplicaPublicKeys]
  public private(set) var clients: ClientPublicKeys

  public init(
    replica: ReplicaID, cluster: ClusterID, signingKey: Curve25519.Signing.PrivateKey,
    agreementKey: Curve25519.KeyAgreement.PrivateKey, clientSecret: Secret, replicas: [ReplicaPublicKeys],
    clients: ClientPublicKeys
  ) {
    self.replica = replica
    self.cluster = cluster
    self.signingKey = signingKey
    self.agreementKey = agreementKey
    self.clientSecret = clientSecret
    self.replicas = replicas.sorted { $0.replica < $1.replica }
    self.clients = clients
  }

  /// The same with other clients' keys.
  public func with(clients: ClientPublicKeys) -> ReplicaSecrets {
    var secrets = self
    secrets.clients = clients
    return secrets
  }

  /// The same with these public keys as well; those that are known stay as they are.
  public func with(replicas added: [ReplicaPublicKeys]) -> ReplicaSecrets {
    var secrets = self
    for keys in added where publicKeys(of: keys.replica) == nil { secrets.replicas.append(keys) }
    secrets.replicas.sort { $0.replica < $1.replica }
    return secrets
  }

  /// The public keys of a replica; nil for a stranger.
  public func publicKeys(of replica: ReplicaID) -> ReplicaPublicKeys? {
    replicas.first { $0.replica == replica }
  }
}

/// What a load generator or another provisioner of clients holds: enough to act for any client, and nothing that
/// could act for a replica towards another.
public struct GeneratorSecrets: Sendable {
  public let cluster: ClusterID
  /// Where each client's key pairs are.
  public var pairs: ClientPairs
  /// M_r of each replica.
  public let replicaSecrets: [ReplicaID: Secret]

  public init(cluster: ClusterID, pairs: ClientPairs, replicaSecrets: [ReplicaID: Secret]) {
    self.cluster = cluster
    self.pairs = pairs
    self.replicaSecrets = replicaSecrets
  }

  /// The secret from which clients' pairs are derived.
  public var clientSecret: Secret { pairs.secret }

  /// The same, but for BFT-SMaRt's loader with the pairs of its files.
  public func reading(_ loaded: LoadedKeys) -> GeneratorSecrets {
    var secrets = self
    secrets.pairs.loaded = loaded
    return secrets
  }
}

/// Hexadecimal text without a String per byte: the table of clients has a line for each of perhaps 10⁵ ids.
enum Hexadecimal {
  static func append(_ bytes: some Sequence<UInt8>, to text: inout [UInt8]) {
    for byte in bytes {
      text.append(digit(byte >> 4))
      text.append(digit(byte & 15))
    }
  }

  static func text(of bytes: some Sequence<UInt8>) -> String {
    var text: [UInt8] = []
    append(bytes, to: &text)
    return String(decoding: text, as: UTF8.self)
  }

  /// The bytes of exactly `2 × count` digits; nil for anything else.
  static func bytes(of digits: some Collection<UInt8>, count: Int) -> [UInt8]? {
    guard digits.count == 2 * count else { return nil }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count)
    var high: UInt8?
    for character in digits {
      guard let value = value(of: character) else { return nil }
      if let first = high {
        bytes.append(first << 4 | value)
        high = nil
      } else {
        high = value
      }
    }
    return bytes
  }

  private static func digit(_ value: UInt8) -> UInt8 {
    value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
  }

  private static func value(of character: UInt8) -> UInt8? {
    switch character {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): character - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): character - UInt8(ascii: "A") + 10
    default: nil
    }
  }
}
