import Hashing
import PBFT
import Replication
import Testing

@Suite("Client table (decision record 6)")
struct ClientTableTests {
  /// A cluster whose primary proposes exactly these requests, in this order, in one batch; as a faulty
  /// primary may.
  private func ordered(
    _ requests: [Request], on cluster: ReplicaCluster, sequence: UInt64, from primary: Int = 0
  ) {
    let prePrepare = PrePrepare(
      view: .zero, sequence: SequenceNumber(sequence), digest: batchDigest(requests), batch: .none)
    for index in cluster.replicas.indices where index != primary {
      cluster.deliver(.prePrepare(prePrepare, requests), from: primary, to: index)
      let commit = Commit(view: .zero, sequence: prePrepare.sequence, digest: prePrepare.digest)
      cluster.deliver(.message(.commit(commit)), from: primary, to: index)
    }
    cluster.isLost = { $0.to == primary || $0.from == primary }
    cluster.run()
  }

  private func batchDigest(_ requests: [Request]) -> Digest {
    var hasher = SHA256Hasher()
    hasher.update(bigEndian: UInt32(requests.count))
    for request in requests { request.bytes.withUnsafeBytes { hasher.update(.sha256($0)) } }
    return hasher.finalize()
  }

  @Test("(a) a request executed before is not executed again, and its reply is sent again")
  func executedBefore() {
    let cluster = ReplicaCluster(service: "counter")
    cluster.submit(Request(client: 1, sequence: 0))
    cluster.run()
    cluster.submit(Request(client: 1, sequence: 0), connection: 9)
    cluster.run()
    for index in cluster.replicas.indices {
      #expect(cluster.answers[index].map(\.content) == [[0, 0, 0, 1], [0, 0, 0, 1]])
      #expect(cluster.answers[index].map(\.newest.rawValue) == [1, 9])
      #expect(cluster.replicas[index].status.executedRequests == 1)
    }
  }

  @Test("(a) a primary that orders a request twice has it executed once")
  func orderedTwice() {
    let cluster = ReplicaCluster(service: "counter")
    let request = Request(client: 1)
    cluster.submit(request, to: [1, 2, 3])
    ordered([request, request], on: cluster, sequence: 1)
    ordered([request], on: cluster, sequence: 2)
    for index in 1...3 {
      #expect(cluster.executed[index].count == 2)
      #expect(cluster.replicas[index].status.executedRequests == 1)
      #expect(cluster.counters(index).repliesResent == 2)
      #expect(cluster.answers[index].map(\.content).allSatisfy { $0 == [0, 0, 0, 1] })
    }
  }

  @Test("(a) the last 32 replies are remembered, an older one is forgotten and still not executed")
  func repliesRemembered() {
    let cluster = ReplicaCluster()
    for sequence in 0...40 as ClosedRange<Int32> {
      cluster.submit(Request(client: 1, sequence: sequence))
      cluster.run()
    }
    let before = cluster.answers[0]
    cluster.submit(Request(client: 1, sequence: 8))
    cluster.run()
    #expect(cluster.answers[0].count == before.count)
    #expect(cluster.counters(0).repliesForgotten == 1)
    cluster.submit(Request(client: 1, sequence: 9))
    cluster.run()
    #expect(cluster.answers[0].last == before[9])
    #expect(cluster.replicas[0].status.executedRequests == 41)
  }

  @Test("(b) an older session is refused on arrival and never executed", arguments: [1, 15])
  func olderSessions(later: Int32) {
    let cluster = ReplicaCluster()
    for session in 0...later {
      cluster.submit(Request(client: 1, session: session))
      cluster.run()
    }
    cluster.submit(Request(client: 1, session: 0, sequence: 1))
    cluster.run()
    #expect(cluster.counters(0).refused(.olderSession) == 1)
    let count = UInt64(later + 1)
    #expect(cluster.replicas[0].status.executedRequests == count)
    // A primary that orders it all the same.
    ordered([Request(client: 1, session: 0, sequence: 1)], on: cluster, sequence: count + 1)
    #expect(cluster.counters(1).olderSessions == 1)
    #expect(cluster.replicas[1].status.executedRequests == count)
  }

  @Test("(b) sixteen sessions are remembered, no more")
  func sessionsForgotten() {
    let cluster = ReplicaCluster()
    for session in 0...16 as ClosedRange<Int32> {
      cluster.submit(Request(client: 1, session: session))
      cluster.run()
    }
    cluster.submit(Request(client: 1, session: 1))
    cluster.run()
    #expect(cluster.replicas[0].status.executedRequests == 17)
    cluster.submit(Request(client: 1, session: 0))
    cluster.run()
    #expect(cluster.replicas[0].status.executedRequests == 18, "outside the remembered sessions")
  }

  @Test("(c) an older membership is answered with the one in force, a newer one with nothing")
  func otherMembership() {
    let cluster = ReplicaCluster(membershipID: 5)
    cluster.submit(Request(client: 1, membershipID: 4))
    cluster.submit(Request(client: 2, membershipID: 6))
    cluster.run()
    #expect(cluster.answers[0].map(\.membershipID) == [5])
    #expect(cluster.answers[0].map(\.content) == [[]])
    #expect(cluster.counters(0).membershipBehind == 1)
    #expect(cluster.counters(0).refused(.membershipAhead) == 1)
    // The same at execution, if a primary orders them.
    ordered(
      [
        Request(client: 1, membershipID: 4), Request(client: 2, membershipID: 6),
        Request(client: 3, membershipID: 5),
      ],
      on: cluster, sequence: 1)
    for index in 1...3 {
      #expect(cluster.counters(index).membershipBehind == 2)
      #expect(cluster.counters(index).membershipAhead == 1)
      #expect(cluster.replicas[index].status.executedRequests == 1)
    }
  }

  @Test("(d) exactly the next sequence executes; a gap is counted and its request stays")
  func gap() {
    let cluster = ReplicaCluster()
    cluster.submit(Request(client: 1, sequence: 0))
    cluster.run()
    cluster.submit(Request(client: 1, sequence: 2), to: [1, 2, 3])
    ordered([Request(client: 1, sequence: 2)], on: cluster, sequence: 2)
    for index in 1...3 {
      #expect(cluster.counters(index).sequenceGaps == 1)
      #expect(cluster.replicas[index].status.executedRequests == 1)
    }
    ordered([Request(client: 1, sequence: 1), Request(client: 1, sequence: 2)], on: cluster, sequence: 3)
    for index in 1...3 {
      #expect(cluster.replicas[index].status.executedRequests == 3)
      #expect(
        cluster.answers[index].last?.sequence == 2, "the client's own copy was kept, with its connection")
    }
    ordered([Request(client: 9)], on: cluster, sequence: 4)
    for index in 1...3 { #expect(cluster.replicas[index].status.storedRequests == 0) }
  }

  @Test(
    "a request known only from its batch goes with it, unless the client has sent it too",
    arguments: [true, false])
  func gapAfterCheckpoint(sentByClient: Bool) {
    let cluster = ReplicaCluster()
    let early = Request(client: 1, sequence: 1)
    ordered([Request(client: 1, sequence: 0), Request(client: 2)], on: cluster, sequence: 1)
    ordered([Request(client: 1, sequence: 2)], on: cluster, sequence: 2)
    if sentByClient { cluster.submit(Request(client: 1, sequence: 2), to: [1, 2, 3]) }
    ordered([Request(client: 3)], on: cluster, sequence: 3)
    ordered([Request(client: 4)], on: cluster, sequence: 4)
    for index in 1...3 {
      #expect(cluster.stable[index] == [SequenceNumber(4)])
      #expect(cluster.replicas[index].status.heldRequests == (sentByClient ? 1 : 0))
      #expect(cluster.replicas[index].status.storedRequests == (sentByClient ? 1 : 0))
    }
    ordered([early, Request(client: 1, sequence: 2)], on: cluster, sequence: 5)
    for index in 1...3 { #expect(cluster.replicas[index].status.executedRequests == 6) }
  }

  @Test("(e) an unseen session becomes current with any first sequence", arguments: [0, 1, 77, Int32.max])
  func unseenSession(first: Int32) {
    let cluster = ReplicaCluster()
    cluster.submit(Request(client: 1, session: 10, sequence: 3))
    cluster.run()
    cluster.submit(Request(client: 1, session: -4, sequence: first))
    cluster.run()
    #expect(cluster.answers[0].map(\.sequence) == [3, first])
    cluster.submit(Request(client: 1, session: -4, sequence: first &+ 1))
    cluster.run()
    #expect(cluster.replicas[0].status.executedRequests == (first == .max ? 2 : 3))
  }

  @Test(
    "(e) a session whose second request comes first has lost its first: its client waits for the first answer"
  )
  func sessionBeginsWithWhatComes() {
    let cluster = ReplicaCluster()
    // Two connections, or a primary that has lost the first.
    cluster.submit(Request(client: 1, sequence: 1), to: [0])
    cluster.run()
    for sequence in 0...1 as ClosedRange<Int32> { cluster.submit(Request(client: 1, sequence: sequence)) }
    cluster.run()
    #expect(cluster.replicas.allSatisfy { $0.status.executedRequests == 1 })
    #expect(cluster.answers[2].map(\.sequence) == [1], "the second is answered, the first never")
    #expect(cluster.counters(0).repliesForgotten == 1)
    // Once the session has begun, what comes out of order has its turn in order.
    cluster.submit(Request(client: 2, sequence: 0))
    cluster.run()
    for sequence in [3, 1, 2] as [Int32] { cluster.submit(Request(client: 2, sequence: sequence)) }
    cluster.run()
    #expect(cluster.answers[2].filter { $0.client == 2 }.map(\.sequence) == [0, 1, 2, 3])
  }

  @Test("what a client left behind in an older session goes when a newer one begins")
  func sessionSwitchCleansUp() {
    let cluster = ReplicaCluster()
    cluster.submit(Request(client: 1, session: 1, sequence: 0))
    cluster.run()
    cluster.submit(Request(client: 1, session: 1, sequence: 5))
    cluster.run()
    #expect(cluster.replicas[0].status.storedRequests == 1)
    cluster.submit(Request(client: 1, session: 2, sequence: 0))
    cluster.run()
    for replica in cluster.replicas { #expect(replica.status.storedRequests == 0) }
    cluster.submit(Request(client: 1, session: 2, sequence: 1))
    cluster.run()
    #expect(cluster.replicas[0].status.executedRequests == 3)
  }

  @Test("a full table refuses new clients, counts them and evicts nobody")
  func fullTable() {
    let cluster = ReplicaCluster { $0.maximumClients = 3 }
    cluster.submit(clients: 0..<3)
    cluster.run()
    cluster.submit(Request(client: 3))
    cluster.run()
    #expect(cluster.counters(0).refused(.clientTableFull) == 1)
    ordered([Request(client: 3), Request(client: 0, sequence: 1)], on: cluster, sequence: 2)
    for index in 1...3 {
      #expect(cluster.counters(index).clientTableFull == 1)
      #expect(cluster.replicas[index].status.executedRequests == 4)
      #expect(cluster.replicas[index].status.clients == 3)
    }
  }

  @Test("kinds that are not ordered, and negative sequences, are not executed if a primary orders them")
  func notExecutable() {
    let cluster = ReplicaCluster()
    ordered(
      [
        Request(client: 1, kind: .unordered), Request(client: 3, sequence: -1), Request(client: 4),
      ], on: cluster, sequence: 1)
    // A change of the membership by somebody who is not the administrator.
    ordered([Request(client: 2, kind: .reconfigure)], on: cluster, sequence: 2)
    for index in 1...3 {
      #expect(cluster.counters(index).notExecutable == 3)
      #expect(cluster.replicas[index].status.executedRequests == 1)
    }
  }

  @Test("other bytes under the same sequence: one of them is executed, the same everywhere")
  func otherBytes() {
    let cluster = ReplicaCluster(service: "counter")
    cluster.submit(Request(client: 1, content: [0, 0, 0, 5]), to: [0, 1])
    cluster.submit(Request(client: 1, content: [0, 0, 0, 9]), to: [2, 3])
    cluster.run()
    #expect(cluster.agree)
    #expect(cluster.replicas.allSatisfy { $0.status.executedRequests == 1 })
    cluster.submit(Request(client: 1, content: [0, 0, 0, 5]))
    cluster.run()
    for answers in cluster.answers { #expect(answers.last?.content == [0, 0, 0, 5]) }
    for replica in cluster.replicas { #expect(replica.status.storedRequests == 0) }
  }

  @Test("checkpoints agree over many clients, sessions and reply sizes", arguments: [0, 4, 16, 17, 100])
  func checkpointsAgree(replyBytes: Int) {
    let cluster = ReplicaCluster(service: "null", replyBytes: replyBytes) { $0.batchSize = 8 }
    for round in 0..<40 as Range<Int32> {
      cluster.submit(
        clients: 0..<(20 + round % 5), session: round / 10, sequences: (round % 10)...(round % 10))
      cluster.run()
    }
    for index in cluster.replicas.indices {
      #expect(cluster.counters(index).checkpointsDiverged == 0)
      #expect(cluster.stable[index].count > 20)
      #expect(cluster.replicas[index].status.stableCheckpoint == cluster.replicas[0].status.stableCheckpoint)
    }
  }
}
