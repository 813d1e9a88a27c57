// All keys of one cluster in one process, as `muster keys` makes them and an embedded cluster keeps them in memory.
// From here each party gets its part, and only that.

import Crypto
import Foundation
import Hashing
import PBFT

/// A replica's key pairs and its secret M_r.
public struct ReplicaKeys: Sendable {
  public let replica: ReplicaID
  public let signingKey: Curve25519.Signing.PrivateKey
  public let agreementKey: Curve25519.KeyAgreement.PrivateKey
  /// M_r: client c's key at this replica is HMAC(M_r, "client" ‖ c).
  public let clientSecret: Secret

  /// From the system's entropy.
  public init(replica: ReplicaID) {
    self.init(replica: replica, signing: .random(), agreement: .random(), clientSecret: .random())
  }

  /// From 32 bytes each: an Ed25519 seed, an X25519 scalar, M_r. Every value is a valid key.
  init(replica: ReplicaID, signing: Secret, agreement: Secret, clientSecret: Secret) {
    self.replica = replica
    signingKey = signing.bytes.withUnsafeBytes { try! .init(rawRepresentation: $0) }
    agreementKey = agreement.bytes.withUnsafeBytes { try! .init(rawRepresentation: $0) }
    self.clientSecret = clientSecret
  }

  public var publicKeys: ReplicaPublicKeys {
    ReplicaPublicKeys(
      replica: replica, signing: signingKey.publicKey.rawRepresentation,
      agreement: agreementKey.publicKey.rawRepresentation)
  }
}

/// All keys of a cluster.
public struct ClusterKeys: Sendable {
  public let cluster: ClusterID
  /// In ascending order of ids.
  public let replicas: [ReplicaKeys]
  /// The secret from which each client's key pairs are derived.
  public let clientSecret: Secret
  /// The RSA pairs that all clients share.
  public let rsa: SharedRSAPairs
  /// Set where all of this is known to everybody (`defaultkeys`): the series of BFT-SMaRt whose built-in pairs clients have.
  private let builtIn: ClientDialect?

  /// New keys from the system's entropy.
  public static func generate(replicas: [ReplicaID]) -> ClusterKeys {
    ClusterKeys(
      cluster: .random(), replicas: replicas.map { ReplicaKeys(replica: $0) }, clientSecret: .random())
  }

  /// The same keys for everybody, for trials without key files: what BFT-SMaRt's `defaultkeys = true` is. They
  /// protect nothing. Clients of any id are known, and have BFT-SMaRt's built-in pairs where it has one for the algorithm.
  public static func publiclyKnown(
    replicas: [ReplicaID], dialect: ClientDialect = .master
  ) -> ClusterKeys {
    let root = Secret(bytes: Data("muster default keys".utf8).withUnsafeBytes { PBFT.Digest.sha256($0) })
    func derived(_ name: String, _ replica: ReplicaID) -> Secret {
      root.derived(info: Data("\(name) \(replica.rawValue)".utf8))
    }
    return ClusterKeys(
      cluster: root.derived(info: Data("cluster".utf8)).bytes.withUnsafeBytes { ClusterID(bytes: $0) },
      replicas: replicas.map {
        ReplicaKeys(
          replica: $0, signing: derived("signing", $0), agreement: derived("agreement", $0),
          clientSecret: derived("clients", $0))
      },
      clientSecret: root.derived(info: Data("clients".utf8)), builtIn: dialect)
  }

  init(
    cluster: ClusterID, replicas: [ReplicaKeys], clientSecret: Secret, rsa: SharedRSAPairs = SharedRSAPairs(),
    builtIn: ClientDialect? = nil
  ) {
    self.cluster = cluster
    self.replicas = replicas.sorted { $0.replica < $1.replica }
    self.clientSecret = clientSecret
    self.rsa = rsa
    self.builtIn = builtIn
  }

  /// The table of clients' public keys for `replicaSecrets(of:clients:)`, made once for all replicas.
  ///
  /// - Parameter mode: only the keys that the mode needs are made.
  public func clientPublicKeys(_ clients: ClosedRange<Int32>, mode: SignatureMode) -> ClientPublicKeys {
    if let builtIn { return .publiclyKnown(clientSecret, of: builtIn) }
    guard let algorithm = mode.clientAlgorithm else { return .none }
    return ClientPublicKeys(deriving: clients, from: pairs, algorithms: [algorithm])
  }

  /// What one replica holds; nil for an id that is not in the cluster.
  public func replicaSecrets(of replica: ReplicaID, clients: ClientPublicKeys) -> ReplicaSecrets? {
    guard let keys = replicas.first(where: { $0.replica == replica }) else { return nil }
    return ReplicaSecrets(
      replica: replica, cluster: cluster, signingKey: keys.signingKey, agreementKey: keys.agreementKey,
      clientSecret: keys.clientSecret, replicas: replicas.map(\.publicKeys), clients: clients)
  }

  /// Where clients' pairs are.
  var pairs: ClientPairs {
    var pairs = ClientPairs(secret: clientSecret, rsa: rsa)
    pairs.builtIn = builtIn
    return pairs
  }

  /// What acts for all clients.
  public var generatorSecrets: GeneratorSecrets {
    GeneratorSecrets(
      cluster: cluster, pairs: pairs,
      replicaSecrets: Dictionary(uniqueKeysWithValues: replicas.map { ($0.replica, $0.clientSecret) }))
  }
}
