// Keys of a cluster of four, made anew for each run: what is measured does not depend on their values.

import PBFT
import Wire

struct BenchmarkKeys {
  let replicas: [ReplicaID]
  let cluster: ClusterKeys

  init(replicas count: Int = 4) {
    replicas = (0..<Int32(count)).map { ReplicaID(rawValue: $0) }
    cluster = .generate(replicas: replicas)
  }

  func secrets(of index: Int) -> ReplicaSecrets {
    cluster.replicaSecrets(of: replicas[index], clients: cluster.clientPublicKeys(0...1, mode: .none))!
  }

  /// The keys of the link between two replicas, as either end has them.
  func link(_ left: Int, _ right: Int) -> (LinkKeys, LinkKeys) {
    func hello(_ index: Int) -> LinkHello {
      LinkHello(
        replica: replicas[index], cluster: cluster.cluster, membershipID: 0, authentication: .hmac)
    }
    let near = hello(left)
    let far = hello(right)
    return (
      try! LinkKeys(secrets: secrets(of: left), own: near, peer: far),
      try! LinkKeys(secrets: secrets(of: right), own: far, peer: near)
    )
  }
}
