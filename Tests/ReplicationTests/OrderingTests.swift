import PBFT
import Replication
import Testing

let clusters: [(Int, FaultModel)] = [
  (1, .byzantine), (4, .byzantine), (5, .byzantine), (6, .byzantine), (7, .byzantine), (3, .crash),
  (5, .crash),
]

@Suite("A cluster of whole replicas, normal case")
struct OrderingTests {
  @Test("every replica executes every request and answers the client alike", arguments: clusters)
  func allAnswerAlike(replicas: Int, model: FaultModel) {
    let cluster = ReplicaCluster(replicas: replicas, model: model)
    for sequence in 0..<10 as Range<Int32> {
      cluster.submit(clients: 0..<5, sequences: sequence...sequence)
      cluster.run()
    }
    #expect(cluster.agree)
    for index in cluster.replicas.indices {
      #expect(cluster.answers[index] == cluster.answers[0])
      #expect(cluster.answers[index].count == 50)
      #expect(cluster.replicas[index].status.executedRequests == 50)
      #expect(
        cluster.counters(index).rejections.reduce(0, +) == cluster.counters(index).rejected(.belowWindow))
    }
    #expect(cluster.answers[0].map(ReplicaCluster.position) == Array(1...50))
  }

  @Test("the chain and its recent links are the same everywhere, and long enough for an audit")
  func chain() {
    let cluster = ReplicaCluster { $0.batchSize = 1 }
    for sequence in 0..<40 as Range<Int32> {
      cluster.submit(Request(client: 1, sequence: sequence)); cluster.run()
    }
    let links = cluster.replicas[0].status.recentChain
    #expect(links.count == 16)
    #expect(links.map(\.sequence.rawValue) == Array(25...40))
    for replica in cluster.replicas {
      #expect(replica.status.recentChain == links)
      #expect(replica.status.chain == links.last?.digest)
    }
    // The record of the log reveals the chain with its own batch.
    let last = cluster.answers[2].last!
    links.last!.digest.withUnsafeBytes { #expect(Array(last.content[8..<16]) == Array($0[0..<8])) }
  }

  @Test("a backup that never got a request executes it from the pre-prepare, without answering nobody")
  func requestFromPrePrepareAlone() {
    let cluster = ReplicaCluster()
    cluster.submit(Request(client: 1), to: [0, 1, 2])
    cluster.run()
    #expect(cluster.agree)
    #expect(cluster.replicas[3].status.executedRequests == 1)
    #expect(cluster.answers[3].isEmpty)
    // The client asks again: answered from the cache.
    cluster.submit(Request(client: 1), to: [3])
    cluster.run()
    #expect(cluster.answers[3] == cluster.answers[0])
    #expect(cluster.counters(3).repliesResent == 1)
  }

  @Test("the client's copy that comes after the proposal finds it and is answered at once")
  func copyAfterProposal() {
    let cluster = ReplicaCluster()
    cluster.submit(Request(client: 1), to: [0])
    cluster.run(holding: { $0.packet.isCommit })
    guard case .stored = cluster.arrive(Request(client: 1), at: 2, connection: ConnectionID(rawValue: 8))
    else {
      Issue.record("the request is held by its batch")
      return
    }
    cluster.run()
    #expect(cluster.answers[2].map(\.newest) == [ConnectionID(rawValue: 8)])
    #expect(cluster.agree)
  }

  @Test("many batches are in flight at once, and execute in order whatever commits first")
  func pipelining() {
    let cluster = ReplicaCluster { $0.batchSize = 2 }
    cluster.submit(clients: 0..<12)
    cluster.endTurns()
    #expect(cluster.proposals == [2, 2, 2, 2, 2, 2])
    // Batch by batch from the last to the first, commits are let through.
    for sequence in (1...6).reversed() {
      cluster.run(holding: {
        guard case .commit(let commit)? = $0.packet.message else { return false }
        return commit.sequence.rawValue < UInt64(sequence)
      })
      if sequence > 1 { #expect(cluster.executed[1].isEmpty) }
    }
    for executed in cluster.executed { #expect(executed.map(\.sequence.rawValue) == Array(1...6)) }
    #expect(cluster.agree)
  }

  @Test("a full window waits for a stable checkpoint and loses nothing")
  func windowExhaustion() {
    let cluster = ReplicaCluster { $0.batchSize = 1 }
    cluster.submit(clients: 0..<30)
    cluster.run(holding: { $0.packet.isCheckpoint })
    // L/2 of K = 4, L = 16.
    #expect(cluster.executed.allSatisfy { $0.count == 8 })
    #expect(cluster.replicas[0].status.storedRequests == 22)
    cluster.run()
    #expect(cluster.executed.allSatisfy { $0.count == 30 })
    #expect(cluster.answers[1].map(\.client) == Array(0..<30), "first come, first served")
    #expect(cluster.agree)
  }

  @Test("garbage collection leaves no request behind", arguments: clusters)
  func garbageCollection(replicas: Int, model: FaultModel) {
    let cluster = ReplicaCluster(replicas: replicas, model: model) { $0.batchSize = 3 }
    for sequence in 0..<60 as Range<Int32> {
      cluster.submit(clients: 0..<3, sequences: sequence...sequence)
      cluster.run()
      for replica in cluster.replicas { #expect(replica.status.heldRequests <= 3 * 4) }
    }
    for index in cluster.replicas.indices {
      #expect(cluster.stable[index].last == SequenceNumber(60))
      #expect(cluster.replicas[index].status.heldRequests == 0)
      #expect(cluster.replicas[index].status.heldBytes == 0)
      #expect(cluster.replicas[index].status.storedRequests == 0)
    }
  }

  @Test("what a peer sends wrong is counted by kind and changes nothing")
  func wrongMessages() {
    let cluster = ReplicaCluster()
    cluster.submit(Request(client: 1))
    cluster.endTurns()
    guard let flight = cluster.flights.first(where: { $0.packet.isPrePrepare && $0.to == 1 }),
      case .prePrepare(let prePrepare, let requests) = flight.packet
    else {
      Issue.record("the primary proposes")
      return
    }
    var lying = prePrepare
    lying.digest = .zero
    cluster.deliver(.prePrepare(lying, requests), from: 0, to: 1)
    #expect(cluster.counters(1).rejected(.digestMismatch) == 1)
    cluster.deliver(.prePrepare(prePrepare, []), from: 0, to: 1)
    #expect(cluster.counters(1).rejected(.emptyBatch) == 1)
    cluster.deliver(.prePrepare(prePrepare, requests), from: 2, to: 1)
    #expect(cluster.counters(1).rejected(.notPrimary) == 1)
    cluster.deliver(.message(.prePrepare(prePrepare)), from: 0, to: 1)
    #expect(cluster.counters(1).rejected(.malformed) == 1)
    cluster.replicas[1].processEvent(.invalid(.badAuthenticator, from: ReplicaID(2)))
    #expect(cluster.counters(1).rejected(.badAuthenticator) == 1)
    let many = (0..<2_000).map { Request(client: 50, sequence: $0) }
    cluster.deliver(.prePrepare(prePrepare, many), from: 0, to: 1)
    #expect(cluster.counters(1).rejected(.batchTooLarge) == 1)
    #expect(cluster.replicas[1].status.heldRequests == 1, "only the client's own request is held")
    // A bad pre-prepare must not stand in the way of the right one (weak spot W6).
    cluster.run()
    #expect(cluster.agree)
    #expect(cluster.executed.allSatisfy { $0.count == 1 })
  }

  @Test("a batch that is rejected takes along what was known from it alone")
  func rejectedBatchIsForgotten() {
    let cluster = ReplicaCluster()
    let requests = [Request(client: 1), Request(client: 2)]
    cluster.submit(requests[0], to: [1])
    let prePrepare = PrePrepare(view: .zero, sequence: SequenceNumber(1), digest: .zero, batch: .none)
    cluster.deliver(.prePrepare(prePrepare, requests), from: 0, to: 1)
    #expect(cluster.replicas[1].status.heldRequests == 1)
    #expect(cluster.replicas[1].status.storedRequests == 1)
    // Both can still come and be executed.
    for request in requests { cluster.submit(request) }
    cluster.run()
    #expect(cluster.replicas[1].status.executedRequests == 2)
    #expect(cluster.agree)
  }

  @Test("the same events give the same effects")
  func determinism() {
    func trace() -> [String] {
      let cluster = ReplicaCluster { $0.requestTimeoutNanoseconds = 100 * milliseconds }
      for round in 0..<20 as Range<Int32> {
        cluster.submit(clients: (round % 3)..<40, session: round / 7, sequences: round...(round + 1))
        cluster.isLost = { $0.from == 3 && round % 5 == 0 }
        cluster.run()
        cluster.advance(byNanoseconds: 30 * milliseconds)
      }
      #expect(cluster.trace.count > 1_000)
      return cluster.trace
    }
    #expect(trace() == trace())
  }
}
