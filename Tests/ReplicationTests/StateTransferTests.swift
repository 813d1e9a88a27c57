import PBFT
import Testing

@testable import Replication

@Suite("State transfer (OSDI '99 §5.3.2, decision record 19)")
struct StateTransferTests {
  /// Executes `count` batches of one request each of `clients` clients.
  private func load(
    _ cluster: ReplicaCluster, from first: Int32, count: Int32, clients: Range<Int32> = 0..<4
  ) {
    for sequence in first..<(first + count) {
      cluster.submit(clients: clients, sequences: sequence...sequence)
      cluster.run()
    }
  }

  private func cut(_ index: Int) -> (Flight) -> Bool { { $0.from == index || $0.to == index } }

  @Test(
    "a replica that is behind by more than a log joins by transfer, and the others go on meanwhile",
    arguments: [(4, FaultModel.byzantine), (5, .byzantine), (7, .byzantine), (3, .crash)])
  func laggingJoins(replicas: Int, model: FaultModel) {
    let cluster = impatient(replicas: replicas, model: model) { $0.logMultiplier = 2 }
    let last = replicas - 1
    cluster.isLost = cut(last)
    load(cluster, from: 0, count: 30)
    #expect(cluster.replicas[last].lastExecuted == .zero)
    cluster.isLost = { _ in false }
    load(cluster, from: 30, count: 3)
    cluster.advance(byNanoseconds: 1_000 * milliseconds)
    #expect(!cluster.transfers[last].isEmpty)
    #expect(cluster.agree && cluster.neverDiverged)
    #expect(cluster.replicas[last].status.executedRequests == cluster.replicas[0].status.executedRequests)
    #expect(cluster.replicas[last].table.digest() == cluster.replicas[0].table.digest())
    #expect(cluster.entered.allSatisfy { $0.isEmpty })
    // It takes part fully: without another one the quorum is its own.
    if replicas == 4 {
      cluster.crash(2)
      load(cluster, from: 33, count: 10)
      #expect(cluster.agree)
    }
  }

  @Test(
    "A2: behind by more than a checkpoint and a view, yet active again (concord #1177, sawtooth #90)"
  )
  func behindALogAndAView() {
    let cluster = impatient { $0.logMultiplier = 2 }
    cluster.isLost = cut(3)
    load(cluster, from: 0, count: 12)
    // Two primaries in a row fall silent for as long as it takes to leave them.
    for silent in 0..<2 {
      cluster.isLost = { $0.from == 3 || $0.to == 3 || $0.from == silent && $0.packet.isPrePrepare }
      cluster.submit(clients: 10..<14, sequences: Int32(silent)...Int32(silent))
      cluster.run()
      cluster.advance(byNanoseconds: 1_000 * milliseconds)
    }
    cluster.isLost = cut(3)
    load(cluster, from: 12, count: 20)
    cluster.advance(byNanoseconds: 1_000 * milliseconds)
    #expect(cluster.replicas[0].status.view == View(2))
    #expect(cluster.replicas[3].lastExecuted == .zero)
    cluster.isLost = { _ in false }
    load(cluster, from: 32, count: 2)
    cluster.advance(byNanoseconds: 2_000 * milliseconds)
    let status = cluster.replicas[3].status
    #expect(status.view == View(2) && status.isActive && !status.isTransferring)
    #expect(cluster.agree)
    // Its vote counts.
    cluster.crash(0)
    load(cluster, from: 34, count: 4)
    #expect(
      cluster.agree
        && cluster.replicas[3].status.executedRequests == cluster.replicas[1].status.executedRequests)
  }

  @Test("a replica catches up even when traffic has stopped (Fabric waited for the next checkpoint)")
  func noTraffic() {
    let cluster = impatient { $0.logMultiplier = 2 }
    cluster.isLost = cut(3)
    load(cluster, from: 0, count: 33)
    cluster.isLost = { _ in false }
    // One message is heard of it: a request that it alone has.
    cluster.submit(Request(client: 77), to: [3])
    cluster.advance(byNanoseconds: 2_000 * milliseconds)
    #expect(cluster.agree)
    #expect(cluster.replicas[3].lastExecuted == cluster.replicas[0].lastExecuted)
  }

  @Test(
    "A2: a donor that alters headers, tables, sizes or never ends is given up (BFT-SMaRt #62)"
  )
  func lyingDonor() {
    let lies: [(String, (Checkpoint, UInt64, UInt64, [UInt8]) -> Packet)] = [
      ("chain", { .statePart($0, position: $1, next: $2, bytes: flipped($3, 14)) }),
      ("last byte", { .statePart($0, position: $1, next: $2, bytes: flipped($3, $3.count - 1)) }),
      ("every byte", { .statePart($0, position: $1, next: $2, bytes: $3.map { ~$0 }) }),
      (
        "empty",
        { checkpoint, position, _, _ in .statePart(checkpoint, position: position, next: 0, bytes: []) }
      ),
      ("short", { .statePart($0, position: $1, next: $2, bytes: Array($3.dropLast())) }),
      ("longer", { .statePart($0, position: $1, next: $2, bytes: $3 + [0]) }),
      (
        "endless",
        { .statePart($0, position: $1, next: $1 + UInt64($3.count), bytes: $3) }
      ),
      (
        "large",
        { checkpoint, position, _, _ in
          .statePart(checkpoint, position: position, next: 0, bytes: Array(repeating: 1, count: 1 << 20))
        }
      ),
    ]
    for (name, lie) in lies {
      let cluster = impatient { $0.logMultiplier = 2 }
      cluster.isLost = cut(3)
      load(cluster, from: 0, count: 30)
      cluster.isLost = { _ in false }
      var liar: Int?
      cluster.altered = { flight in
        guard case .statePart(let checkpoint, let position, let next, let bytes) = flight.packet else {
          return flight.packet
        }
        // The first donor asked lies, for good.
        if liar == nil { liar = flight.from }
        return flight.from == liar ? lie(checkpoint, position, next, bytes) : flight.packet
      }
      load(cluster, from: 30, count: 2)
      cluster.advance(byNanoseconds: 3_000 * milliseconds)
      #expect(liar != nil, "\(name)")
      #expect(cluster.counters(3).donorsWrong + cluster.counters(3).donorsSilent > 0, "\(name)")
      #expect(cluster.agree && cluster.neverDiverged, "\(name)")
      #expect(!cluster.replicas[3].status.isTransferring, "\(name)")
      #expect(cluster.replicas[3].isStateValid, "\(name)")
    }
  }

  @Test("a silent donor is given up for the next; a lost part is asked for again first")
  func silentDonor() {
    for lossesPerDonor in [1, 1_000] {
      let cluster = impatient { $0.logMultiplier = 2 }
      cluster.isLost = cut(3)
      load(cluster, from: 0, count: 30)
      var lost = 0
      var donor: Int?
      cluster.isLost = { flight in
        guard flight.packet.isStatePart else { return false }
        if donor == nil { donor = flight.from }
        guard flight.from == donor, lost < lossesPerDonor else { return false }
        lost += 1
        return true
      }
      load(cluster, from: 30, count: 2)
      cluster.advance(byNanoseconds: 3_000 * milliseconds)
      #expect(cluster.agree)
      #expect((cluster.counters(3).donorsSilent > 0) == (lossesPerDonor > 1))
    }
  }

  @Test("the donor dies in the middle of a large state: the transfer ends with another one")
  func donorDies() {
    let cluster = impatient(service: "log") {
      $0.logMultiplier = 2
      $0.maximumClients = 4_000
      $0.batchSize = 64
    }
    cluster.isLost = cut(3)
    // More than 256 KiB of client table.
    for sequence in 0..<4 as Range<Int32> {
      for first in stride(from: 0, to: 3_000, by: 64) as StrideTo<Int32> {
        cluster.submit(clients: first..<min(first + 64, 3_000), sequences: sequence...sequence)
        cluster.run()
      }
    }
    var parts = 0
    var donor = -1
    cluster.isLost = { flight in
      guard flight.packet.isStatePart else { return flight.from == donor }
      parts += 1
      if parts == 1 { donor = flight.from }
      return parts > 1 && flight.from == donor
    }
    cluster.submit(clients: 0..<4, sequences: 4...4)
    cluster.run()
    cluster.advance(byNanoseconds: 3_000 * milliseconds)
    #expect(parts > 3)
    #expect(cluster.replicas[3].table.digest() == cluster.replicas[2].table.digest() || donor == 2)
    #expect(cluster.counters(3).transfersEnded >= 1)
    #expect(cluster.neverDiverged)
  }

  @Test(
    "A2: back-to-back: a target that grows old on the way, and the next one (Fabric #1445, #1857)"
  )
  func backToBack() {
    let cluster = impatient { $0.logMultiplier = 2 }
    for round in 0..<3 as Range<Int32> {
      cluster.isLost = cut(3)
      load(cluster, from: round * 60, count: 30)
      // Parts travel while the others go on by more than a log.
      cluster.isLost = { _ in false }
      let held: (Flight) -> Bool = { $0.packet.isStatePart }
      for sequence in (round * 60 + 30)..<(round * 60 + 60) {
        cluster.submit(clients: 0..<4, sequences: sequence...sequence)
        cluster.run(holding: held)
      }
      cluster.run()
      cluster.advance(byNanoseconds: 3_000 * milliseconds)
      #expect(cluster.agree, "round \(round)")
    }
    #expect(cluster.transfers[3].count >= 3)
  }

  @Test("A2: two replicas lag, one after the other, and each can be the donor of the other")
  func twoLagging() {
    let cluster = impatient(replicas: 7) { $0.logMultiplier = 2 }
    cluster.isLost = { $0.from >= 5 || $0.to >= 5 }
    load(cluster, from: 0, count: 30)
    cluster.isLost = { $0.from == 6 || $0.to == 6 }
    load(cluster, from: 30, count: 6)
    cluster.advance(byNanoseconds: 1_000 * milliseconds)
    cluster.isLost = { ($0.from == 6 || $0.to == 6) && $0.from != 5 && $0.to != 5 && $0.packet.isStatePart }
    load(cluster, from: 36, count: 6)
    cluster.advance(byNanoseconds: 10_000 * milliseconds)
    #expect(cluster.agree)
    #expect(cluster.counters(5).statePartsServed > 0)
  }

  @Test(
    "A2: a replay of everything after a transfer executes nothing (BFT-SMaRt #63)"
  )
  func replayAfterTransfer() {
    let cluster = impatient { $0.logMultiplier = 2 }
    cluster.isLost = cut(3)
    load(cluster, from: 0, count: 40)
    cluster.isLost = { _ in false }
    load(cluster, from: 40, count: 2)
    cluster.advance(byNanoseconds: 2_000 * milliseconds)
    #expect(!cluster.transfers[3].isEmpty)
    let executed = cluster.replicas.map(\.status.executedRequests)
    for sequence in 0..<42 as Range<Int32> {
      cluster.submit(clients: 0..<4, sequences: sequence...sequence)
      cluster.run()
    }
    cluster.advance(byNanoseconds: 1_000 * milliseconds)
    #expect(cluster.replicas.map(\.status.executedRequests) == executed)
    // Replies from before the transfer are in the table as well.
    #expect(cluster.answers[3].suffix(4).map(\.content) == cluster.answers[0].suffix(4).map(\.content))
    #expect(cluster.agree)
  }

  @Test(
    "requests that waited at the lagging replica and were executed elsewhere are answered, and wait no more")
  func waitingRequestsAreDoneWith() {
    let cluster = impatient { $0.logMultiplier = 2 }
    cluster.isLost = cut(3)
    for client in 0..<4 as Range<Int32> { cluster.submit(Request(client: client), connection: 5) }
    cluster.run()
    load(cluster, from: 1, count: 30)
    #expect(cluster.replicas[3].status.storedRequests > 0)
    cluster.isLost = { _ in false }
    load(cluster, from: 31, count: 2)
    cluster.advance(byNanoseconds: 2_000 * milliseconds)
    #expect(cluster.agree)
    #expect(cluster.replicas[3].status.storedRequests == 0)
    #expect(!cluster.answers[3].isEmpty)
  }

  @Test("while the state is fetched it is not read: unordered requests are refused")
  func unorderedRefused() {
    let cluster = impatient {
      $0.logMultiplier = 2
      $0.readOnlyRequests = true
    }
    cluster.isLost = cut(3)
    load(cluster, from: 0, count: 30)
    cluster.isLost = { $0.packet.isStatePart }
    load(cluster, from: 30, count: 2)
    cluster.advance(byNanoseconds: 100 * milliseconds)
    #expect(!cluster.replicas[3].isStateValid)
    cluster.submit(Request(client: 50, kind: .unordered))
    #expect(cluster.counters(3).refused(.stateInvalid) == 1)
    #expect(cluster.answers[3].isEmpty)
    cluster.isLost = { _ in false }
    cluster.advance(byNanoseconds: 2_000 * milliseconds)
    cluster.submit(Request(client: 50, kind: .unordered))
    #expect(cluster.answers[3].contains { $0.kind == .unordered })
    #expect(cluster.agree)
  }

  @Test("snapshots: the state of a checkpoint can be read however far execution is, and has its digest")
  func snapshotsStayAsTheyWere() {
    let cluster = ReplicaCluster(replyBytes: 40) {
      $0.checkpointPeriod = 2
      $0.logMultiplier = 8
    }
    load(cluster, from: 0, count: 4)
    // Later checkpoints do not become stable.
    for sequence in 4..<11 as Range<Int32> {
      cluster.submit(clients: sequence..<(sequence + 3), session: sequence, sequences: 0...0)
      cluster.run(holding: { $0.packet.isCheckpoint })
    }
    let replica = cluster.replicas[1]
    var seen = 0
    for flight in cluster.flights where flight.from == 1 && flight.to == 0 {
      guard case .message(.checkpoint(let checkpoint)) = flight.packet else { continue }
      for wanted in [replica.snapshots.checkpoint, checkpoint] {
        let isRight = replica.snapshots.withState(of: wanted) { bytes -> Bool in
          guard let read = StateCoding.header(bytes, service: replica.service) else { return false }
          let table = StateCoding.table(bytes, from: read.byteCount, read.header, maximumClients: 1_000)
          return read.header.checkpoint == wanted && table != nil
        }
        #expect(isRight == true)
        seen += 1
      }
    }
    #expect(seen >= 6)
    cluster.run()
    #expect(cluster.agree)
  }
}

private func flipped(_ bytes: [UInt8], _ place: Int) -> [UInt8] {
  var bytes = bytes
  if bytes.indices.contains(place) { bytes[place] ^= 1 }
  return bytes
}
