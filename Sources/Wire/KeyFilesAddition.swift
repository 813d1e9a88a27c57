// Keys for replicas that join a cluster: what is there stays, and nothing is overwritten.

import Foundation
import PBFT

extension KeyFiles {
  /// The public keys of `replicas.pub`, read again.
  public func readReplicaPublicKeys() throws(KeyFileError) -> [ReplicaPublicKeys] {
    try readReplicaPublicKeys(cluster: try readClusterID()).map(\.keys)
  }

  /// Makes keys for replicas that are to join: a key file each, and their lines at the end of `replicas.pub`, which every
  /// other replica of the cluster then has to be given.
  ///
  /// - Throws: `KeyFileError`: `.exists` when one of them has a key file or a line already, and nothing is written then.
  public func add(_ replicas: [ReplicaID]) throws(KeyFileError) {
    let cluster = try readClusterID()
    let known = try readReplicaPublicKeys(cluster: cluster).map(\.keys)
    for replica in replicas {
      let name = Self.name(ofReplica: replica)
      if access(path(name), F_OK) == 0 { throw .exists(path: path(name)) }
      if known.contains(where: { $0.replica == replica }) {
        throw .exists(path: "\(path("replicas.pub")), replica \(replica.rawValue)")
      }
    }
    let added = replicas.map { ReplicaKeys(replica: $0) }
    for keys in added {
      try Self.replace(path(Self.name(ofReplica: keys.replica)), with: Self.text(of: keys, cluster))
    }
    var table = "cluster \(cluster)\n# id, Ed25519, X25519\n"
    for keys in known + added.map(\.publicKeys) { table += Self.line(of: keys) }
    try Self.replace(path("replicas.pub"), with: Array(table.utf8))
  }

  /// A replica's line in `replicas.pub`.
  static func line(of keys: ReplicaPublicKeys) -> String {
    "\(keys.replica.rawValue) \(Hexadecimal.text(of: keys.signing)) \(Hexadecimal.text(of: keys.agreement))\n"
  }

  /// A replica's own file.
  static func text(of keys: ReplicaKeys, _ cluster: ClusterID) -> [UInt8] {
    Array(
      ("cluster \(cluster)\nreplica \(keys.replica.rawValue)\n"
        + "ed25519 \(Hexadecimal.text(of: keys.signingKey.rawRepresentation))\n"
        + "x25519 \(Hexadecimal.text(of: keys.agreementKey.rawRepresentation))\n"
        + "secret \(keys.clientSecret.bytes.hexadecimal)\n").utf8)
  }
}
