import PBFT
import Testing

@testable import Replication

@Suite("Eligible requests, forwarding and suspicion (decision record 17)")
struct DeadlineTests {
  private let timeout = 100 * milliseconds

  private func cluster(replicas: Int = 4, _ change: (inout ReplicaConfiguration) -> Void = { _ in })
    -> ReplicaCluster
  {
    ReplicaCluster(replicas: replicas) {
      $0.requestTimeoutNanoseconds = timeout
      // What is held back here shall stay away.
      $0.healingNanoseconds = 1_000 * timeout
      change(&$0)
    }
  }

  @Test("a request the primary never got is forwarded once at half the timeout, and executed")
  func forwardedAtHalf() {
    let cluster = cluster()
    cluster.submit(Request(client: 1), to: [2])
    cluster.run()
    cluster.advance(byNanoseconds: timeout / 2 - 1)
    #expect(cluster.forwarded[2].isEmpty)
    cluster.advance(byNanoseconds: 1)
    #expect(cluster.forwarded[2] == [Request(client: 1)])
    #expect(cluster.replicas.allSatisfy { $0.status.executedRequests == 1 })
    #expect(cluster.answers[2].count == 1)
    cluster.advance(byNanoseconds: 10 * timeout)
    #expect(cluster.forwarded[2].count == 1)
    #expect(cluster.suspected.allSatisfy { $0.isEmpty })
  }

  @Test("a silent primary is suspected at the timeout by every backup that has a request")
  func suspectedAtTimeout() {
    let cluster = cluster()
    cluster.isLost = { $0.from == 0 || $0.packet.isViewChange }
    cluster.submit(Request(client: 1))
    cluster.run()
    cluster.advance(byNanoseconds: timeout - 1)
    #expect(cluster.suspected.allSatisfy { $0.isEmpty })
    #expect(cluster.forwarded[1].count == 1)
    cluster.advance(byNanoseconds: 1)
    #expect(cluster.suspected == [[.zero], [.zero], [.zero], [.zero]], "f+1 convince even the primary")
    #expect(cluster.replicas[1].status.pendingView == View(1), "a quorum suspects, so the view is left")
    cluster.advance(byNanoseconds: 5 * timeout)
    #expect(cluster.suspected[1] == [.zero], "suspected once")
  }

  @Test("a replica that suspects goes on voting while no quorum does, and says it again")
  func suspectingAndVoting() {
    let cluster = cluster()
    // Nobody but replica 1 knows the request, and its forwards are lost.
    cluster.isLost = { $0.packet.isForward }
    cluster.submit(Request(client: 1), to: [1])
    cluster.run()
    cluster.advance(byNanoseconds: timeout)
    #expect(cluster.suspected == [[], [.zero], [], []])
    #expect(cluster.replicas[1].status.isSuspecting && cluster.replicas[1].status.isActive)
    cluster.submit(Request(client: 2))
    cluster.run()
    #expect(cluster.replicas.allSatisfy { $0.status.executedRequests == 1 })
    cluster.advance(byNanoseconds: 50 * timeout)
    #expect(cluster.suspected[1] == [.zero], "suspected once, said again with back-off")
    #expect(cluster.counters(2).rejected(.duplicate) > 0)
    #expect(cluster.replicas.allSatisfy { $0.status.view == .zero })
  }

  @Test("no timeout, no suspicion")
  func off() {
    let cluster = cluster { $0.requestTimeoutNanoseconds = 0 }
    cluster.isLost = { $0.from == 0 }
    cluster.submit(Request(client: 1))
    cluster.run()
    cluster.advance(byNanoseconds: 1_000 * timeout)
    #expect(cluster.suspected.allSatisfy { $0.isEmpty } && cluster.forwarded.allSatisfy { $0.isEmpty })
  }

  @Test("one replica whose requests are lost does not make others suspect")
  func oneSuspicionIsNotEnough() {
    let cluster = cluster()
    // Replica 3 hears nothing and is not heard by the primary.
    cluster.isLost = { $0.to == 3 || ($0.from == 3 && $0.to == 0) }
    cluster.submit(clients: 0..<4)
    cluster.run()
    cluster.advance(byNanoseconds: 2 * timeout)
    #expect(cluster.suspected[3] == [.zero])
    #expect(cluster.suspected[1].isEmpty && cluster.suspected[2].isEmpty)

  }

  @Test("waiting in a queue that moves first-in-first-out is no reason for suspicion")
  func movingQueue() {
    // One batch of four in every 40 ms, forty requests: the last waits for four timeouts.
    let cluster = cluster { $0.batchSize = 4 }
    cluster.submit(clients: 0..<40)
    cluster.endTurns()
    for batch in 1...10 as ClosedRange<UInt64> {
      cluster.isLost = { _ in false }
      cluster.run(holding: {
        switch $0.packet {
        case .prePrepare(let prePrepare, _): prePrepare.sequence.rawValue > batch
        default: false
        }
      })
      hold(cluster, for: 40 * milliseconds)
    }
    cluster.run()
    #expect(cluster.replicas.allSatisfy { $0.status.executedRequests == 40 })
    #expect(cluster.suspected.allSatisfy { $0.isEmpty })
  }

  /// Time passes with every packet under way held back.
  private func hold(_ cluster: ReplicaCluster, for nanoseconds: Int64) {
    let held = cluster.flights
    cluster.flights = []
    cluster.advance(byNanoseconds: nanoseconds)
    cluster.flights = held + cluster.flights
  }

  @Test("a request that is overtaken by one half a timeout younger makes the primary suspect")
  func overtaking() {
    let cluster = cluster()
    // The primary takes nothing of client 1, whoever brings it.
    let censored = Request(client: 1)
    cluster.isLost = {
      guard case .forward(let request) = $0.packet else { return false }
      return request.client == 1 && $0.to == 0
    }
    cluster.submit(censored, to: [1, 2, 3])
    cluster.run()
    for step in 0..<9 as Range<Int32> {
      cluster.submit(Request(client: 2, sequence: step))
      cluster.run()
      cluster.advance(byNanoseconds: timeout / 10)
    }
    #expect(cluster.replicas[1].status.executedRequests == 9)
    #expect(cluster.suspected.allSatisfy { $0.isEmpty }, "not before the timeout")
    cluster.advance(byNanoseconds: timeout / 10)
    #expect(cluster.suspected == [[.zero], [.zero], [.zero], [.zero]], "f+1 convince even the primary")
  }

  @Test("requests that were never eligible here overtake nobody")
  func neverEligible() {
    let cluster = cluster()
    cluster.isLost = { $0.packet.isForward }
    cluster.submit(Request(client: 1), to: [1])
    for step in 0..<30 as Range<Int32> {
      // Another session's request holds the place of each at replica 1, so it knows them from their batches
      // alone.
      cluster.submit(Request(client: 2 + step, session: 8), to: [1])
      cluster.submit(Request(client: 2 + step, session: 9), to: [0, 2, 3])
      cluster.run()
      cluster.advance(byNanoseconds: timeout / 10)
    }
    #expect(cluster.replicas[1].status.executedRequests == 30)
    #expect(cluster.suspected[1].isEmpty)
  }

  @Test("being overtaken by requests of the same age is not censorship")
  func sameAge() {
    let cluster = cluster()
    cluster.isLost = { $0.packet.isForward }
    cluster.submit(Request(client: 1), to: [1, 2, 3])
    cluster.submit(Request(client: 2))
    cluster.run()
    // One more, younger by less than half a timeout, executed late.
    cluster.advance(byNanoseconds: timeout / 2 - 1)
    cluster.submit(Request(client: 3))
    cluster.run()
    cluster.advance(byNanoseconds: timeout / 2 + 1)
    #expect(cluster.suspected.allSatisfy { $0.isEmpty })
    // But if nothing at all is executed for the timeout, it is suspected.
    cluster.advance(byNanoseconds: timeout / 2)
    #expect(cluster.suspected[1] == [.zero])
  }

  @Test("a request whose predecessor is missing does not grow old")
  func gapsDoNotGrowOld() {
    let cluster = cluster()
    cluster.submit(Request(client: 1, sequence: 0))
    cluster.run()
    cluster.submit(Request(client: 1, sequence: 5))
    cluster.run()
    cluster.advance(byNanoseconds: 10 * timeout)
    #expect(cluster.suspected.allSatisfy { $0.isEmpty } && cluster.forwarded.allSatisfy { $0.isEmpty })
  }

  @Test("a successor is eligible from the moment its predecessor is executed")
  func successorBecomesEligible() {
    let cluster = cluster()
    for sequence in 0..<3 as Range<Int32> {
      cluster.submit(Request(client: 1, sequence: sequence), to: sequence == 2 ? [1, 2, 3] : nil)
    }
    cluster.run(holding: { $0.packet.isPrePrepare })
    hold(cluster, for: timeout / 4)
    cluster.run()
    #expect(cluster.replicas[1].status.executedRequests == 2)
    cluster.advance(byNanoseconds: timeout / 2 - 1)
    #expect(cluster.forwarded[1].isEmpty)
    cluster.advance(byNanoseconds: 1)
    #expect(cluster.forwarded[1].map(\.sequence) == [2])
    #expect(cluster.replicas[1].status.executedRequests == 3)
  }

  @Test("a request that is stuck does not make the queue of the eligible grow")
  func stuckRequest() {
    let cluster = cluster { $0.batchSize = 64 }
    cluster.isLost = { $0.packet.isForward }
    cluster.submit(Request(client: 1_000_000), to: [1])
    for sequence in 0..<100 as Range<Int32> {
      cluster.submit(clients: 0..<64, sequences: sequence...sequence)
      cluster.run()
    }
    #expect(cluster.replicas[1].status.executedRequests == 6_400)
    cluster.advance(byNanoseconds: timeout)
    #expect(cluster.replicas[1].eligible.capacity <= 1_024)
    #expect(cluster.forwarded[1].map(\.client) == [1_000_000])
    #expect(cluster.suspected[1] == [.zero])
  }

  @Test("a request first known from a rejected batch grows old like any other when its client sends it")
  func afterRejectedBatch() {
    let cluster = cluster()
    let prePrepare = PrePrepare(view: .zero, sequence: SequenceNumber(1), digest: .zero, batch: .none)
    cluster.deliver(.prePrepare(prePrepare, [Request(client: 1)]), from: 0, to: 1)
    cluster.submit(Request(client: 1), to: [1])
    cluster.run()
    cluster.advance(byNanoseconds: timeout / 2)
    #expect(cluster.forwarded[1] == [Request(client: 1)])
    #expect(cluster.replicas.allSatisfy { $0.status.executedRequests == 1 })
  }

  @Test("it does so where another batch of that client is held, as after a restart")
  func afterRejectedBatchOfKnownClient() {
    let cluster = cluster()
    let replica = cluster.replicas[1]
    replica.beginBatch(fetched: true)
    let isAppended = Request(client: 1).withArrived(.none) { replica.appendToBatch($0) }
    #expect(isAppended)
    let held = replica.finishBatch().handle
    let prePrepare = PrePrepare(view: .zero, sequence: SequenceNumber(1), digest: .zero, batch: .none)
    cluster.deliver(.prePrepare(prePrepare, [Request(client: 1)]), from: 0, to: 1)
    cluster.submit(Request(client: 1), to: [1])
    cluster.run()
    cluster.advance(byNanoseconds: timeout / 2)
    #expect(cluster.forwarded[1] == [Request(client: 1)])
    #expect(cluster.replicas.allSatisfy { $0.status.executedRequests == 1 })
    replica.discard(held)
  }

  @Test("a burst that grows old together is forwarded in portions")
  func portions() {
    let cluster = cluster { $0.batchSize = 1_000 }
    cluster.isLost = { $0.from == 0 || $0.to == 0 }
    cluster.submit(clients: 0..<600)
    cluster.run()
    cluster.advance(byNanoseconds: timeout / 2)
    #expect(cluster.forwarded[1].count == 256)
    cluster.advance(byNanoseconds: timeout / 2)
    #expect(cluster.forwarded[1].count == 600)
    #expect(cluster.counters(1).requestsForwarded == 600)
  }

  @Test("one replica alone neither forwards nor suspects")
  func alone() {
    let cluster = cluster(replicas: 1)
    cluster.submit(Request(client: 1, sequence: 0))
    cluster.run()
    cluster.submit(Request(client: 1, sequence: 9))
    cluster.run()
    cluster.advance(byNanoseconds: 10 * timeout)
    #expect(cluster.suspected[0].isEmpty && cluster.forwarded[0].isEmpty)
  }
}
