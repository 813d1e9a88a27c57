import PBFT
import Testing

@testable import Events
@testable import Replication

@Suite("Weak spots of others that must not come back")
struct WeakSpotTests {
  private func load(_ cluster: ReplicaCluster, from first: Int32, count: Int32) {
    for sequence in first..<(first + count) {
      cluster.submit(clients: 0..<4, sequences: sequence...sequence)
      cluster.run()
    }
  }

  @Test(
    "W6: a pre-prepare with a wrong digest leaves no trace; the right one is accepted in the same view"
  )
  func badDigestDoesNotPoison() {
    let cluster = impatient()
    cluster.submit(clients: 0..<4)
    cluster.altered = { flight in
      guard case .prePrepare(var prePrepare, let requests) = flight.packet, flight.to == 2 else {
        return flight.packet
      }
      prePrepare.digest = .zero
      return .prePrepare(prePrepare, requests)
    }
    cluster.run()
    #expect(cluster.counters(2).rejected(.digestMismatch) > 0)
    cluster.altered = { $0.packet }
    cluster.advance(byNanoseconds: 500 * milliseconds)
    #expect(cluster.entered.allSatisfy { $0.isEmpty })
    #expect(cluster.agree)
  }

  @Test(
    "W9: an older request of a client is not dropped because a newer one came first"
  )
  func olderRequestsAreNotCensored() {
    let cluster = impatient()
    cluster.submit(Request(client: 1, sequence: 0))
    cluster.run()
    // Sequence 2 comes everywhere before 1, which does not reach the primary at first.
    cluster.submit(Request(client: 1, sequence: 2))
    cluster.submit(Request(client: 2, sequence: 7))
    cluster.run()
    cluster.submit(Request(client: 1, sequence: 1), to: [1, 2, 3])
    cluster.run()
    cluster.advance(byNanoseconds: 500 * milliseconds)
    #expect(cluster.answers[2].filter { $0.client == 1 }.map(\.sequence) == [0, 1, 2])
    #expect(cluster.entered.allSatisfy { $0.isEmpty })
  }

  @Test("W11: a request the service cannot read is ordered, answered and gone: no time-out follows")
  func unreadableRequest() {
    let cluster = impatient(service: "counter")
    cluster.submit(Request(client: 1, content: []))
    cluster.run()
    cluster.advance(byNanoseconds: 5_000 * milliseconds)
    for index in 0..<4 {
      #expect(cluster.answers[index].map(\.content) == [[]])
      #expect(cluster.replicas[index].status.storedRequests == 0)
    }
    #expect(cluster.suspected.allSatisfy { $0.isEmpty })
  }

  @Test("W12b: batches of slots that a view change abandons are held only while they are vouched for")
  func abandonedBatches() {
    let cluster = impatient()
    var sequence: Int32 = 0
    for _ in 0..<6 {
      // A batch that reaches one backup, then its primary falls silent.
      let primary = Int(cluster.replicas[1].view.rawValue % 4)
      let backup = (primary + 2) % 4
      cluster.isLost = { $0.packet.isPrePrepare && $0.from == primary && $0.to != backup }
      cluster.submit(clients: 0..<4, sequences: sequence...sequence)
      cluster.run()
      cluster.isLost = { $0.from == primary && !$0.packet.isViewChange }
      cluster.advance(byNanoseconds: 250 * milliseconds)
      cluster.isLost = { _ in false }
      cluster.advance(byNanoseconds: 1_000 * milliseconds)
      sequence += 1
    }
    #expect(cluster.entered.contains { $0.count >= 3 })
    for _ in 0..<12 {
      load(cluster, from: sequence, count: 1)
      cluster.advance(byNanoseconds: 300 * milliseconds)
      sequence += 1
    }
    for replica in cluster.replicas {
      #expect(replica.status.heldBatches <= 4)
      #expect(replica.status.heldRequests <= 16 && replica.status.storedRequests == 0)
    }
    #expect(cluster.agree)
  }

  @Test("W15: a timer that is set a million times holds one deadline")
  func timerMemory() {
    let cluster = impatient()
    let before = cluster.factories[1].slotCount
    for _ in 0..<1_000_000 {
      cluster.replicas[1].requestTimer.reset(afterNanoseconds: 1_000, event: .requestTimeout)
    }
    #expect(cluster.factories[1].slotCount == before && before <= 16)
    cluster.factories[1].advance(to: cluster.now + 1_000)
    #expect(cluster.factories[1].takeFired() != nil && cluster.factories[1].takeFired() == nil)
  }

  @Test("A2: a primary that proposes decided batches again executes nothing again (BFT-SMaRt #40)")
  func decidedBatchAgain() {
    let cluster = ReplicaCluster()
    load(cluster, from: 0, count: 2)
    let executed = cluster.replicas[1].status.executedRequests
    let old = (0..<4 as Range<Int32>).map { Request(client: $0, sequence: 0) }
    let prePrepare = PrePrepare(
      view: .zero, sequence: SequenceNumber(3), digest: batchDigest(old), batch: .none)
    for backup in 1...3 { cluster.deliver(.prePrepare(prePrepare, old), from: 0, to: backup) }
    cluster.isLost = { $0.from == 0 || $0.to == 0 }
    cluster.run()
    for backup in 1...3 {
      #expect(cluster.replicas[backup].status.executedRequests == executed)
      // Two of three backups' prepares and the pre-prepare are a quorum; its commits are not: the primary is
      // cut off.
      #expect(cluster.replicas[backup].lastExecuted == SequenceNumber(3))
    }
  }

  @Test(
    "A2: cutting off any one replica, primary or backup, ends when it is back (BFT-SMaRt #19)",
    arguments: 0..<4)
  func onePartition(index: Int) {
    let cluster = impatient()
    load(cluster, from: 0, count: 2)
    cluster.isLost = { $0.from == index || $0.to == index }
    load(cluster, from: 2, count: 4)
    cluster.advance(byNanoseconds: 2_000 * milliseconds)
    for other in 0..<4 where other != index { #expect(cluster.replicas[other].status.executedRequests == 24) }
    cluster.isLost = { _ in false }
    cluster.advance(byNanoseconds: 3_000 * milliseconds)
    load(cluster, from: 6, count: 2)
    cluster.advance(byNanoseconds: 1_000 * milliseconds)
    #expect(cluster.agree)
    for other in 0..<4 { #expect(cluster.replicas[other].status.executedRequests == 32) }
  }

  @Test("A2: an idle cluster says nothing, after a view change and a transfer as before (Fabric #2060)")
  func quiescence() {
    let cluster = impatient { $0.logMultiplier = 2 }
    cluster.isLost = { $0.from == 3 || $0.to == 3 }
    load(cluster, from: 0, count: 20)
    cluster.crash(0)
    cluster.isLost = { _ in false }
    cluster.submit(clients: 0..<4, sequences: 20...20)
    cluster.advance(byNanoseconds: 5_000 * milliseconds)
    for index in 1...3 { #expect(cluster.replicas[index].status.executedRequests == 84) }
    cluster.advance(byNanoseconds: 60_000 * milliseconds)
    let said = cluster.trace.count
    cluster.advance(byNanoseconds: 600_000 * milliseconds)
    #expect(cluster.trace.count == said)
  }

  @Test(
    "A2: ten times the window waits in order, without a view change (Fabric #917, #1741)"
  )
  func overload() {
    let cluster = impatient { $0.batchSize = 4 }
    for sequence in 0..<32 as Range<Int32> { cluster.submit(clients: 0..<40, sequences: sequence...sequence) }
    cluster.endTurns()
    for _ in 0..<200 {
      // One hop of everything each 5 ms.
      let due = cluster.flights
      cluster.flights = []
      for flight in due { cluster.deliver(flight.packet, from: flight.from, to: flight.to) }
      let produced = cluster.flights
      cluster.flights = []
      cluster.advance(byNanoseconds: 5 * milliseconds)
      cluster.flights = produced + cluster.flights
      cluster.endTurns()
    }
    #expect(cluster.entered.allSatisfy { $0.isEmpty })
    #expect(cluster.suspected.allSatisfy { $0.isEmpty })
  }
}

@Suite("Authenticators that only some replicas find valid (decision record 10)")
struct AccusationTests {
  @Test(
    "valid at the primary and one backup: the others take it at once, with the batch at hand, and answer everybody"
  )
  func enoughFindItValid() {
    let cluster = impatient()
    cluster.isForged = { request, replica in request.client == 5 && replica >= 2 }
    cluster.submit(Request(client: 5))
    cluster.submit(Request(client: 6))
    cluster.run()
    // No time has passed.
    for index in 0..<4 {
      #expect(cluster.replicas[index].status.executedRequests == 2, "replica \(index)")
      #expect(cluster.answers[index].contains { $0.client == 6 }, "replica \(index)")
      #expect(cluster.counters(index).batchesWanted == 0)
    }
    #expect(cluster.counters(3).rejected(.badAuthenticator) == 1)
    cluster.advance(byNanoseconds: 1_000 * milliseconds)
    #expect(cluster.entered.allSatisfy { $0.isEmpty } && cluster.suspected.allSatisfy { $0.isEmpty })
    #expect(cluster.replicas.allSatisfy { $0.status.storedRequests == 0 && $0.status.refusedClients == 0 })
    #expect(cluster.agree)
  }

  /// Every pattern of replicas that find a client's tags valid. With the primary among f+1 its requests are executed, and
  /// with f+1 backups, who pass them on; with the primary and fewer backups than f a view changes once, and the client is
  /// refused; else its requests stay where they are.
  @Test(
    "any pattern of valid tags costs at most one view change, and no correct client an answer",
    arguments: [4, 7])
  func everyPattern(count: Int) {
    let faults = (count - 1) / 3
    for valid in 0..<(1 << count) {
      let cluster = impatient(replicas: count)
      cluster.isForged = { request, replica in request.client == 5 && valid & (1 << replica) == 0 }
      let rounds: Int32 = count == 4 ? 8 : 3
      for sequence in 0..<rounds {
        for client in 5..<8 as Range<Int32> { cluster.submit(Request(client: client, sequence: sequence)) }
        cluster.run()
        cluster.advance(byNanoseconds: 300 * milliseconds)
      }
      cluster.advance(byNanoseconds: 2_000 * milliseconds)
      let backups = (valid >> 1).nonzeroBitCount
      let isProposed = valid & 1 == 1
      let isExecuted = isProposed ? backups >= faults : backups > faults
      let changes = isProposed && backups < faults ? 1 : 0
      let name: Comment = "pattern \(String(valid, radix: 2))"
      for index in 0..<count {
        #expect(cluster.entered[index].count == changes, name)
        #expect(cluster.replicas[index].status.refusedClients == changes, name)
        for client in 6..<8 as Range<Int32> {
          let answered = cluster.answers[index].filter { $0.client == client }.map(\.sequence)
          #expect(Set(answered) == Set(0..<rounds), name)
        }
        let executed = cluster.replicas[index].status.executedRequests
        #expect(executed == UInt64(rounds) * (isExecuted ? 3 : 2), name)
      }
      #expect(cluster.agree && cluster.neverDiverged, name)
    }
  }

  @Test("a request is vouched for by f+1 different members and nobody less")
  func vouching() {
    let cluster = impatient(replicas: 7)
    let replica = cluster.replicas[0]
    func digest(_ number: UInt64) -> Digest {
      var digest = Digest.zero
      digest.words.0 = number
      return digest
    }
    let digests = (0..<3 as Range<UInt64>).map(digest)
    #expect(
      !replica.isVouched(digests[0], by: ReplicaID(1)) && !replica.isVouched(digests[0], by: ReplicaID(1)))
    #expect(
      !replica.isVouched(digests[1], by: ReplicaID(2)) && !replica.isVouched(digests[0], by: ReplicaID(2)))
    #expect(
      !replica.isVouched(digests[0], by: ReplicaID(0)) && !replica.isVouched(digests[0], by: ReplicaID(9)))
    #expect(replica.isVouched(digests[0], by: ReplicaID(3)))
    // A peer that floods fills its own places only.
    for number in 10..<2_000 as Range<UInt64> {
      #expect(!replica.isVouched(digest(number), by: ReplicaID(4)))
    }
    #expect(
      !replica.isVouched(digests[1], by: ReplicaID(5)) && replica.isVouched(digests[1], by: ReplicaID(6)))
  }

  @Test(
    "valid at too few: one view change, in which f+1 name the client; then it is refused"
  )
  func oneViewChangePerClient() {
    let cluster = impatient()
    cluster.isForged = { request, replica in request.client == 5 && replica >= 1 }
    cluster.submit(Request(client: 6))
    cluster.run()
    cluster.submit(Request(client: 5))
    cluster.submit(Request(client: 6, sequence: 1))
    cluster.run()
    cluster.advance(byNanoseconds: 3_000 * milliseconds)
    for index in 0..<4 {
      #expect(cluster.entered[index].count <= 1, "replica \(index)")
      #expect(cluster.replicas[index].status.refusedClients == 1, "replica \(index)")
      #expect(cluster.answers[index].filter { $0.client == 6 }.map(\.sequence) == [0, 1])
    }
    for sequence in 1..<10 as Range<Int32> {
      cluster.submit(Request(client: 5, sequence: sequence))
      cluster.submit(Request(client: 6, sequence: sequence + 1))
      cluster.run()
      cluster.advance(byNanoseconds: 300 * milliseconds)
    }
    #expect(cluster.entered.allSatisfy { $0.count <= 1 })
    #expect(cluster.counters(0).refused(.clientAccused) >= 9)
    #expect(cluster.answers[1].filter { $0.client == 6 }.count == 11)
    #expect(cluster.agree)
  }

  @Test("one replica alone can accuse nobody")
  func oneAccuser() {
    let cluster = impatient()
    cluster.submit(Request(client: 6))
    cluster.run()
    for round in 0..<20 as Range<UInt64> {
      cluster.replicas[3].processEvent(
        .accuse(client: 6, view: .zero, sequence: SequenceNumber(round + 2), from: ReplicaID(0)))
      cluster.runEffects(of: 3)
      cluster.advance(byNanoseconds: 200 * milliseconds)
    }
    cluster.submit(Request(client: 6, sequence: 1))
    cluster.run()
    #expect(cluster.replicas.allSatisfy { $0.status.refusedClients == 0 && $0.status.executedRequests == 2 })
    #expect(cluster.entered.allSatisfy { $0.isEmpty })
  }
}
