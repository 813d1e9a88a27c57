import PBFT
import Replication
import Testing

@Suite("Batching")
struct BatchingTests {
  @Test("with nothing in flight a whole burst goes into one batch at the end of the turn")
  func burstWhenIdle() {
    let cluster = ReplicaCluster { $0.batchSize = 100 }
    cluster.submit(clients: 0..<37)
    #expect(cluster.proposals.isEmpty)
    cluster.run()
    #expect(cluster.proposals == [37])
    #expect(cluster.answers[0].count == 37)
  }

  @Test("full batches are proposed at once, the rest at the end of the turn")
  func fullBatches() {
    let cluster = ReplicaCluster { $0.batchSize = 10 }
    cluster.submit(clients: 0..<25)
    #expect(cluster.counters(0).batchesProposed == 2)
    cluster.endTurns()
    #expect(cluster.proposals == [10, 10])
    cluster.run()
    #expect(cluster.proposals == [10, 10, 5])
  }

  @Test("while batches are in flight a smaller one waits for the batch timeout, and no longer")
  func batchTimeout() {
    let cluster = ReplicaCluster {
      $0.batchSize = 10
      $0.batchTimeoutNanoseconds = 2 * milliseconds
    }
    cluster.isLost = { $0.packet.isCommit }
    cluster.submit(clients: 0..<1)
    cluster.run()
    cluster.submit(clients: 1..<4)
    cluster.run()
    cluster.advance(byNanoseconds: 2 * milliseconds - 1)
    #expect(cluster.proposals == [1])
    cluster.advance(byNanoseconds: 1)
    #expect(cluster.proposals == [1, 3])
  }

  @Test("as soon as nothing is in flight the waiting batch goes")
  func idleAgain() {
    let cluster = ReplicaCluster { $0.batchSize = 10 }
    cluster.submit(clients: 0..<1)
    cluster.run(holding: { $0.packet.isCommit })
    cluster.submit(clients: 1..<4)
    cluster.run(holding: { $0.packet.isCommit })
    #expect(cluster.proposals == [1])
    cluster.run()
    #expect(cluster.proposals == [1, 3])
    #expect(cluster.answers[0].count == 4)
  }

  @Test("a batch above the bound on bytes is split, in order")
  func byteBound() {
    let cluster = ReplicaCluster {
      $0.batchSize = 100
      $0.maximumRequestBytes = 1_000
      $0.maximumBatchBytes = 1_000
    }
    for client in 0..<5 as Range<Int32> {
      cluster.submit(Request(client: client, content: Array(repeating: 1, count: 400)))
    }
    cluster.run()
    cluster.advance(byNanoseconds: 10 * milliseconds)
    #expect(cluster.proposals == [2, 2, 1])
    #expect(cluster.answers[3].map(\.client) == [0, 1, 2, 3, 4])
  }

  @Test("a batch size of one proposes every request by itself")
  func batchOfOne() {
    let cluster = ReplicaCluster { $0.batchSize = 1 }
    cluster.submit(clients: 0..<5)
    #expect(cluster.counters(0).batchesProposed == 5)
    cluster.run()
    #expect(cluster.agree && cluster.answers[0].count == 5)
  }

  @Test("the primary orders each session in sequence, however its requests arrive")
  func sessionOrder() {
    let cluster = ReplicaCluster { $0.batchSize = 100 }
    cluster.submit(Request(client: 1, sequence: 0))
    for sequence in [3, 1, 4, 2] as [Int32] { cluster.submit(Request(client: 1, sequence: sequence)) }
    cluster.run()
    #expect(cluster.proposals == [5])
    #expect(cluster.answers[0].map(\.sequence) == [0, 1, 2, 3, 4])
  }

  @Test("a request whose predecessor is missing waits, and goes when it comes")
  func missingPredecessor() {
    let cluster = ReplicaCluster()
    cluster.submit(Request(client: 1, sequence: 0))
    cluster.run()
    cluster.submit(Request(client: 1, sequence: 2))
    cluster.run()
    cluster.advance(byNanoseconds: 100 * milliseconds)
    #expect(cluster.answers[0].count == 1)
    #expect(cluster.replicas[0].status.storedRequests == 1)
    cluster.submit(Request(client: 1, sequence: 1))
    cluster.run()
    #expect(cluster.answers[0].map(\.sequence) == [0, 1, 2])
  }

  @Test("noops executes every batch as it is formed, with the same replies and chain as agreement")
  func noops() {
    let agreed = ReplicaCluster(replicas: 1) { $0.batchSize = 3 }
    let alone = ReplicaCluster(replicas: 1) {
      $0.batchSize = 3
      $0.consenter = .noops
    }
    for cluster in [agreed, alone] {
      for sequence in 0..<20 as Range<Int32> {
        cluster.submit(clients: 0..<4, sequences: sequence...sequence)
        cluster.run()
      }
    }
    #expect(alone.answers == agreed.answers)
    #expect(alone.answers[0].count == 80)
    #expect(alone.replicas[0].status.chain == agreed.replicas[0].status.chain)
    #expect(alone.replicas[0].status.heldRequests == 0)
    #expect(alone.flights.isEmpty)
    #expect(alone.counters(0).checkpointsTaken == 0)
  }
}
