import PBFT
import Testing

@testable import Replication

/// A cluster that gives up a primary after 100 ms.
func impatient(
  replicas: Int = 4, model: FaultModel = .byzantine, service: String = "log",
  _ change: (inout ReplicaConfiguration) -> Void = { _ in }
) -> ReplicaCluster {
  ReplicaCluster(replicas: replicas, model: model, service: service) {
    $0.requestTimeoutNanoseconds = 100 * milliseconds
    $0.viewChangeTimeoutNanoseconds = 100 * milliseconds
    $0.viewChangeResendNanoseconds = 100 * milliseconds
    $0.suspectResendNanoseconds = 50 * milliseconds
    change(&$0)
  }
}

@Suite("Requests across view changes (OSDI '99 §4.4)")
struct ViewChangeTests {
  @Test(
    "the primary crashes: everything its clients asked for is executed once, in the next view",
    arguments: [(4, FaultModel.byzantine), (5, .byzantine), (7, .byzantine), (3, .crash), (5, .crash)])
  func primaryCrashes(replicas: Int, model: FaultModel) {
    let cluster = impatient(replicas: replicas, model: model)
    cluster.submit(clients: 0..<6)
    cluster.run()
    cluster.crash(0)
    for sequence in 1..<6 as Range<Int32> { cluster.submit(clients: 0..<6, sequences: sequence...sequence) }
    cluster.run()
    cluster.advance(byNanoseconds: 400 * milliseconds)
    for index in 1..<replicas {
      #expect(cluster.replicas[index].status.executedRequests == 36)
      #expect(cluster.replicas[index].status.storedRequests == 0)
      #expect(cluster.entered[index] == [View(1)])
      #expect(cluster.answers[index].filter { $0.sequence > 0 }.count == 30)
    }
    #expect(cluster.agree)
  }

  @Test("phases: whatever had come how far when the primary died, no request is lost and none executed twice")
  func everyPhase() {
    let phases: [(String, (Flight) -> Bool)] = [
      ("pre-prepare", { $0.packet.isPrePrepare }),
      ("pre-prepare but to one", { $0.packet.isPrePrepare && $0.to != 2 }),
      ("pre-prepare but to two", { $0.packet.isPrePrepare && $0.to == 3 }),
      ("prepare", { $0.packet.isPrepare }), ("prepare but to one", { $0.packet.isPrepare && $0.to != 1 }),
      ("commit", { $0.packet.isCommit }), ("commit but to one", { $0.packet.isCommit && $0.to != 2 }),
      ("checkpoint", { $0.packet.isCheckpoint }),
    ]
    for (name, lost) in phases {
      let cluster = impatient()
      cluster.submit(clients: 0..<5)
      cluster.run()
      cluster.isLost = lost
      for sequence in 1...3 as ClosedRange<Int32> {
        cluster.submit(clients: 0..<5, sequences: sequence...sequence)
        cluster.run()
      }
      cluster.crash(0)
      cluster.isLost = { _ in false }
      cluster.advance(byNanoseconds: 1_000 * milliseconds)
      for index in 1...3 {
        #expect(cluster.replicas[index].status.executedRequests == 20, "\(name), replica \(index)")
        #expect(cluster.replicas[index].status.storedRequests == 0, "\(name), replica \(index)")
      }
      #expect(cluster.agree && cluster.neverDiverged, "\(name)")
    }
  }

  @Test("a request that only an unselected batch of the old view held is proposed again by the new primary")
  func unselectedBatch() {
    let cluster = impatient()
    // The batch reaches replica 1 alone, which becomes the next primary; nobody else heard of client 9.
    cluster.isLost = { $0.packet.isPrePrepare && $0.to != 1 || $0.packet.isForward }
    cluster.submit(Request(client: 9), to: [0, 1])
    cluster.run()
    #expect(cluster.replicas[1].status.storedRequests == 0, "it is in a batch")
    cluster.crash(0)
    cluster.isLost = { $0.packet.isForward }
    // The others leave the view over a request of their own.
    cluster.submit(Request(client: 1), to: [2, 3])
    cluster.advance(byNanoseconds: 300 * milliseconds)
    cluster.isLost = { _ in false }
    cluster.advance(byNanoseconds: 300 * milliseconds)
    for index in 1...3 { #expect(cluster.replicas[index].status.executedRequests == 2) }
    #expect(cluster.agree)
  }

  @Test("the new primary proposes what waited in the order of arrival")
  func orderOfArrival() {
    let cluster = impatient { $0.batchSize = 3 }
    cluster.crash(0)
    let clients: [Int32] = [7, 3, 9, 1, 8, 2, 6]
    for client in clients { cluster.submit(Request(client: client)) }
    for client in clients { cluster.submit(Request(client: client, sequence: 1)) }
    cluster.run()
    cluster.advance(byNanoseconds: 300 * milliseconds)
    #expect(cluster.answers[2].map(\.client).prefix(7) != [])
    // Each session in sequence, clients by their first request.
    #expect(cluster.answers[2].filter { $0.sequence == 0 }.map(\.client) == clients)
    #expect(cluster.agree)
  }

  @Test(
    "f primaries in a row are silent: the next one serves, after time-outs that double, and none is skipped")
  func severalPrimaries() {
    let cluster = impatient(replicas: 7)
    cluster.crash(0)
    cluster.crash(1)
    cluster.submit(clients: 0..<10)
    cluster.advance(byNanoseconds: 1_000 * milliseconds)
    for index in 2..<7 {
      #expect(cluster.replicas[index].status.view == View(2))
      #expect(cluster.replicas[index].status.executedRequests == 10)
    }
    #expect(cluster.agree)
  }

  @Test("deadlines begin again with the view: its primary is not suspected over what it cannot have done yet")
  func deadlinesRestart() {
    let cluster = impatient()
    cluster.crash(0)
    cluster.submit(clients: 0..<4)
    cluster.run()
    cluster.advance(byNanoseconds: 99 * milliseconds)
    cluster.submit(clients: 10..<14)
    cluster.advance(byNanoseconds: 900 * milliseconds)
    for index in 1...3 { #expect(cluster.entered[index] == [View(1)]) }
    #expect(cluster.agree)
  }

  @Test("planned rotation: every replica is primary in turn and nothing is lost at the seams")
  func rotation() {
    let cluster = impatient { $0.viewChangePeriod = 1 }
    for sequence in 0..<60 as Range<Int32> {
      cluster.submit(clients: 0..<4, sequences: sequence...sequence)
      cluster.run()
      cluster.advance(byNanoseconds: 5 * milliseconds)
    }
    cluster.advance(byNanoseconds: 500 * milliseconds)
    #expect(cluster.replicas.allSatisfy { $0.status.executedRequests == 240 })
    #expect(cluster.entered[0].count >= 8)
    for index in cluster.replicas.indices { #expect(cluster.counters(index).batchesProposed > 0) }
    #expect(cluster.suspected.allSatisfy { $0.isEmpty })
    #expect(cluster.agree)
  }

  @Test(
    "a batch known by its digest alone is fetched, and taken whatever it looks like here"
  )
  func fetchedByDigest() {
    let cluster = impatient()
    // Replica 3 never gets a pre-prepare, but all votes.
    cluster.isLost = { $0.packet.isPrePrepare && $0.to == 3 }
    cluster.submit(clients: 0..<8, to: [0, 1, 2])
    cluster.run()
    #expect(cluster.replicas[3].status.executedRequests == 0)
    cluster.isForged = { request, replica in replica == 3 && request.client == 2 }
    cluster.advance(byNanoseconds: 500 * milliseconds)
    #expect(cluster.replicas[3].status.executedRequests == 8)
    #expect(cluster.counters(3).batchesFetched > 0)
    #expect(cluster.entered.allSatisfy { $0.isEmpty }, "loss heals without a view change")
    #expect(cluster.agree)
  }

  @Test("a batch that is not the one asked for, or was not asked for, leaves nothing behind")
  func wrongBatches() {
    let cluster = impatient()
    cluster.submit(clients: 0..<4)
    cluster.run()
    let held = cluster.replicas[2].status
    cluster.deliver(.batch(.zero, [Request(client: 50)]), from: 1, to: 2)
    #expect(cluster.counters(2).rejected(.digestMismatch) == 1)
    let unwanted = [Request(client: 51), Request(client: 52)]
    let digest = batchDigest(unwanted)
    cluster.deliver(.batch(digest, unwanted), from: 1, to: 2)
    cluster.run()
    #expect(cluster.replicas[2].status.heldRequests == held.heldRequests)
    #expect(cluster.replicas[2].status.heldBatches == held.heldBatches)
    #expect(cluster.replicas[2].status.storedRequests == 0)
    #expect(cluster.agree)
  }

  @Test("many view changes leave no request, batch or timer behind", arguments: 1...4)
  func nothingLeaks(seed: Int) {
    let cluster = impatient { $0.checkpointPeriod = 2 }
    var sequence: Int32 = 0
    for round in 0..<12 {
      let silent = (round + seed) % 4
      cluster.isLost = { ($0.from == silent || $0.to == silent) && round % 2 == 0 }
      for _ in 0..<3 {
        cluster.submit(clients: 0..<5, sequences: sequence...sequence)
        cluster.run()
        cluster.advance(byNanoseconds: 60 * milliseconds)
        sequence += 1
      }
      cluster.advance(byNanoseconds: 400 * milliseconds)
    }
    cluster.isLost = { _ in false }
    cluster.advance(byNanoseconds: 5_000 * milliseconds)
    #expect(cluster.replicas.map(\.status.executedRequests).max() == UInt64(sequence) * 5)
    // To the next checkpoints, so that everything executed is collected.
    for more in 0..<4 as Range<Int32> {
      cluster.submit(Request(client: 99, sequence: more))
      cluster.run()
      cluster.advance(byNanoseconds: 1_000 * milliseconds)
    }
    for replica in cluster.replicas {
      #expect(replica.status.storedRequests == 0)
      #expect(replica.queue.isEmpty)
      #expect(replica.status.heldBatches <= 8, "W12b: batches of abandoned slots")
      #expect(replica.status.heldRequests <= 40)
    }
    #expect(cluster.agree && cluster.neverDiverged)
  }
}
