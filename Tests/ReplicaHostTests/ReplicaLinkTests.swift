// The links between replicas: who is let in, what waits for a peer that is away, and the replica's timers on a reactor.

import NIOCore
import PBFT
import ReplicaHost
import Replication
import TestSupport
import Testing
import Wire

@Suite("Replica links")
struct ReplicaLinkTests {
  /// A stranger's connection to the replica port of `index`.
  private func stranger(_ cluster: LiveCluster, to index: Int) async throws -> PlainLink {
    try await PlainLink.connect(to: cluster.replicaEndpoints[ReplicaID(Int32(index))]!, on: cluster.loop)
  }

  private func hello(
    _ cluster: LiveCluster, replica: Int32, clusterID: ClusterID? = nil, membershipID: Int32 = 0,
    authentication: ReplicaAuthentication = .hmac
  ) -> [UInt8] {
    let hello = LinkHello(
      replica: ReplicaID(replica), cluster: clusterID ?? cluster.keys.cluster, membershipID: membershipID,
      authentication: authentication)
    var bytes = [UInt8](repeating: 0, count: LinkHello.byteCount)
    bytes.withUnsafeMutableBytes { hello.encode(into: $0) }
    return bytes
  }

  /// The cluster goes on as if nothing had been.
  private func expectService(_ cluster: LiveCluster) async throws {
    try await cluster.withProxy { proxy in
      try await proxy.add(1, expecting: 1)
    }
    for index in 0..<4 { #expect(try await cluster.sample(index).mesh.lostLinks == 0) }
  }

  @Test("bytes that are no hello are refused at once", arguments: Transport.allCases)
  func refusesPlainBytes(transport: Transport) async throws {
    try await LiveCluster.with(ClusterPlan(transport: transport)) { cluster in
      let link = try await stranger(cluster, to: 0)
      try await link.send(Array("GET / HTTP/1.1\r\n\r\n".utf8))
      #expect(try await link.untilClosed() == .peer)
      #expect(try await cluster.sample(0).mesh.refusedHellos == 1)
      try await expectService(cluster)
    }
  }

  @Test("a hello of another cluster, authentication or replica is refused and counted")
  func refusesWrongHellos() async throws {
    try await LiveCluster.with { cluster in
      let wrong = [
        hello(cluster, replica: 3, clusterID: .random()),
        hello(cluster, replica: 3, authentication: .none),
        hello(cluster, replica: 0),
        hello(cluster, replica: 4),
        hello(cluster, replica: -1),
      ]
      for (index, bytes) in wrong.enumerated() {
        let link = try await stranger(cluster, to: 0)
        try await link.send(bytes)
        #expect(try await link.untilClosed() == .peer)
        #expect(try await cluster.sample(0).mesh.refusedHellos == UInt64(index + 1))
      }
      try await expectService(cluster)
    }
  }

  @Test("who says a right hello and does not hold the keys is refused by the first frame")
  func refusesWrongKeys() async throws {
    try await LiveCluster.with { cluster in
      let link = try await stranger(cluster, to: 0)
      try await link.send(hello(cluster, replica: 3))
      _ = try await link.untilTaken(LinkHello.byteCount)
      // An empty frame with counter 0 and a tag of anybody's.
      let frame: [UInt8] = [0, 0, 0, 24] + Array(repeating: 0, count: 8) + Array(repeating: 7, count: 16)
      try await link.send(frame)
      #expect(try await link.untilClosed() == .peer)
      let mesh = try await cluster.sample(0).mesh
      #expect(mesh.malformedFrames == 1 && mesh.refusedHellos == 0)
      try await expectService(cluster)
    }
  }

  @Test("a replica of a cluster with other keys does not get in, and says why to nobody but its counters")
  func refusesOtherClusters() async throws {
    try await LiveCluster.with { cluster in
      // The same cluster id, keys of its own: what a wrong key file looks like.
      let others = ClusterKeys.generate(replicas: cluster.membership.replicas)
      let link = try await stranger(cluster, to: 0)
      let own = LinkHello(
        replica: ReplicaID(3), cluster: cluster.keys.cluster, membershipID: 0, authentication: .hmac)
      var bytes = [UInt8](repeating: 0, count: LinkHello.byteCount)
      bytes.withUnsafeMutableBytes { own.encode(into: $0) }
      try await link.send(bytes)
      let answer = try await link.untilTaken(LinkHello.byteCount)
      let peer = try #require(try answer.withUnsafeBytes { try LinkHello.decode($0) })
      let secrets = others.replicaSecrets(of: ReplicaID(3), clients: .none)!
      var sealer = LinkSealer(keys: try LinkKeys(secrets: secrets, own: own, peer: peer))
      var frame = [UInt8](repeating: 0, count: sealer.byteCount(body: 0))
      frame.withUnsafeMutableBytes {
        _ = sealer.seal(bytes: UnsafeRawBufferPointer(start: nil, count: 0), into: $0)
      }
      try await link.send(frame)
      #expect(try await link.untilClosed() == .peer)
      #expect(try await cluster.sample(0).mesh.malformedFrames == 1)
      try await expectService(cluster)
    }
  }

  @Test(
    "messages for a replica that is away wait, and make it whole when it comes", arguments: Transport.allCases
  )
  func keepsMessages(transport: Transport) async throws {
    try await LiveCluster.with(ClusterPlan(transport: transport, starting: [0, 1, 2])) { cluster in
      try await cluster.startLate()
      let samples = [try await cluster.sample(0), try await cluster.sample(3)]
      #expect(samples[0].status.chain == samples[1].status.chain)
      #expect(
        samples[0].mesh.droppedBodies == 0 && samples[1].status.lastExecuted == samples[0].status.lastExecuted
      )
    }
  }

  @Test("without a quorum nothing is executed; with the third replica everything is")
  func waitsForAQuorum() async throws {
    try await LiveCluster.with(ClusterPlan(starting: [0, 1])) { cluster in
      let link = try await cluster.connection(to: 0)
      try await link.send(cluster.request(sequence: 0))
      try await cluster.until("the primary has proposed", at: 0) { $0.status.counters.batchesProposed == 1 }
      #expect(try await cluster.sample(0).status.executedRequests == 0)
      try await cluster.start(2)
      #expect(value(try await link.untilFrames(1)[0].content) == 1)
      await link.close()
    }
  }
}

@Suite("The replica's timers on a reactor")
struct ReactorTimerTests {
  @Test("a batch that does not fill while another is in flight leaves when the batch timer fires")
  func batchTimerFires() async throws {
    // The primary alone: its first batch leaves at once and stays in flight for ever. What comes then has no other
    // reason to leave than the timer.
    let plan = ClusterPlan(starting: [0], adjust: { $0.replica.batchTimeoutNanoseconds = 5_000_000 })
    try await LiveCluster.with(plan) { cluster in
      let link = try await cluster.connection(to: 0)
      try await link.send(cluster.request(sequence: 0))
      try await cluster.until("the first batch is proposed", at: 0) {
        $0.status.counters.batchesProposed == 1
      }
      try await link.send(cluster.request(sequence: 1) + cluster.request(sequence: 2))
      try await cluster.until("the second batch is proposed", at: 0) {
        $0.status.counters.batchesProposed == 2
      }
      let counters = try await cluster.sample(0).status.counters
      #expect(counters.requestsProposed == 3 && counters.batchesExecuted == 0)
      await link.close()
    }
  }

  @Test("a full batch does not wait for the timer, and a batch that is not full does")
  func fullBatchesLeave() async throws {
    let plan = ClusterPlan(
      starting: [0],
      adjust: {
        $0.replica.batchTimeoutNanoseconds = 3_600_000_000_000
        $0.replica.batchSize = 4
      })
    try await LiveCluster.with(plan) { cluster in
      let link = try await cluster.connection(to: 0)
      try await link.send(cluster.request(sequence: 0))
      try await cluster.until("the first batch is proposed", at: 0) {
        $0.status.counters.batchesProposed == 1
      }
      let following = (1...6).flatMap { cluster.request(sequence: $0) }
      try await link.send(following)
      try await cluster.until("the full batch is proposed", at: 0) {
        $0.status.counters.requestsProposed == 5
      }
      // Turns of the loop change nothing about the two that are left.
      for turn in 1...5 {
        try await link.send(LiveCluster.askStatus)
        _ = try await link.untilFrames(turn)
      }
      let status = try await cluster.sample(0).status
      #expect(status.counters.batchesProposed == 2 && status.counters.requestsProposed == 5)
      #expect(status.storedRequests == 2)
      await link.close()
    }
  }

  @Test(
    "backups that wait in vain for a request forward it, suspect the primary, and order it in the next view")
  func requestTimerFires() async throws {
    let plan = ClusterPlan(
      starting: [1, 2, 3], adjust: { $0.replica.requestTimeoutNanoseconds = 100_000_000 })
    try await LiveCluster.with(plan) { cluster in
      let link = try await cluster.connection(to: 1)
      try await link.send(cluster.request(sequence: 0))
      try await cluster.until("replica 1 suspects", at: 1) { $0.status.counters.viewsSuspected >= 1 }
      #expect(try await cluster.sample(1).status.counters.requestsForwarded >= 1)
      // Its forwarding has brought the request to the others, which then suspect as well.
      for index in 2...3 {
        try await cluster.until("replica \(index) suspects", at: index) {
          $0.status.counters.viewsSuspected >= 1 && $0.status.counters.requestsStored == 1
        }
      }
      #expect(value(try await link.untilFrames(1)[0].content) == 1)
      for index in 1...3 {
        try await cluster.until("replica \(index) has left view 0", at: index) {
          $0.status.view > View(0) && $0.status.isActive && $0.status.executedRequests == 1
        }
      }
      await link.close()
    }
  }
}
