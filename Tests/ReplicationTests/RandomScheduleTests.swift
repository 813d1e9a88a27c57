import PBFT
import Testing

@testable import Replication

/// Numbers that a seed reproduces (SplitMix64).
private struct SeededNumbers {
  var state: UInt64

  mutating func next(below bound: Int) -> Int {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return Int((mixed ^ (mixed >> 31)) % UInt64(bound))
  }

  mutating func happens(_ percent: Int) -> Bool { next(below: 100) < percent }
}

@Suite("Random schedules")
struct RandomScheduleTests {
  /// What must hold between any two events, whatever came before.
  private func checkAccounts(_ replica: Replica) {
    var outstanding = 0
    var isSound = true
    for client in 0..<60 as Range<Int32> {
      let lane = replica.directory.find(client)
      guard lane >= 0 else { continue }
      let state = replica.directory.lanes[Int(lane)].pointee
      var stored = 0
      for place in 0..<Lane.width {
        let slot = (replica.directory.places[Int(lane)] + place).pointee
        guard slot != .none else { continue }
        stored += 1
        let header = replica.store.headers[slot.index].pointee
        isSound =
          isSound && replica.store.holds(slot) && header.flags.contains(.stored) && header.lane == lane
      }
      isSound = isSound && Int(state.stored) == stored && state.outstanding >= 0
      isSound = isSound && state.outstanding <= state.stored && (state.record >= 0 || state.holders > 0)
      outstanding += Int(state.outstanding)
    }
    #expect(isSound)
    #expect(replica.waiting == outstanding)
    #expect((0...replica.queue.count).contains(replica.queuedWaiting))
  }

  @Test(
    "late, repeated and reordered messages, restarting clients: all replicas agree, nothing leaks",
    arguments: 1...24)
  func agreement(seed: Int) {
    var numbers = SeededNumbers(state: UInt64(seed))
    let replicas = [4, 5, 7, 4][seed % 4]
    let cluster = ReplicaCluster(replicas: replicas) {
      $0.batchSize = 1 + seed % 5
      $0.checkpointPeriod = 1 + seed % 4
      $0.logMultiplier = 2 + seed % 3
      $0.maximumClients = 45
    }
    var sessions = [Int32](repeating: 0, count: 60)
    var sequences = [Int32](repeating: 0, count: 60)
    for _ in 0..<600 {
      let client = numbers.next(below: 60)
      if numbers.happens(3) {
        sessions[client] += 1
        sequences[client] = 0
      }
      var request = Request(client: Int32(client), session: sessions[client], sequence: sequences[client])
      if numbers.happens(80) { sequences[client] += 1 }
      if numbers.happens(5) { request.sequence = Int32(numbers.next(below: 80)) }
      if numbers.happens(3) { request.content = [9, 9] }
      if numbers.happens(2) { request.membershipID = Int32(numbers.next(below: 3)) - 1 }
      for index in 0..<replicas where numbers.happens(90) {
        cluster.arrive(request, at: index, connection: ConnectionID(rawValue: UInt32(numbers.next(below: 3))))
      }
      if numbers.happens(30) { cluster.endTurn(numbers.next(below: replicas)) }
      for _ in 0..<numbers.next(below: 40) where !cluster.flights.isEmpty {
        let flight = cluster.flights.remove(at: numbers.next(below: cluster.flights.count))
        cluster.deliver(flight.packet, from: flight.from, to: flight.to)
        if numbers.happens(5) { cluster.deliver(flight.packet, from: flight.from, to: flight.to) }
        if numbers.happens(50) { cluster.endTurn(flight.to) }
      }
      checkAccounts(cluster.replicas[numbers.next(below: replicas)])
    }
    cluster.run()
    cluster.advance(byNanoseconds: 100 * milliseconds)
    // Fill up to the next checkpoints, so that everything executed is collected.
    for sequence in 0..<20 as Range<Int32> {
      cluster.submit(Request(client: 1_000_000, session: 7, sequence: sequence))
      cluster.run()
    }
    #expect(cluster.agree)
    for index in cluster.replicas.indices {
      let replica = cluster.replicas[index]
      checkAccounts(replica)
      #expect(cluster.executed[index] == cluster.executed[0])
      #expect(cluster.counters(index).requestsExecuted == cluster.counters(0).requestsExecuted)
      #expect(cluster.counters(index).requestsExecuted > 150)
      #expect(cluster.counters(index).checkpointsDiverged == 0)
      let batches = replica.lastExecuted.rawValue - replica.core.stableCheckpoint.sequence.rawValue
      let sinceCheckpoint = cluster.executed[index].suffix(Int(batches)).map(\.requests).reduce(0, +)
      #expect(replica.status.heldRequests <= replica.status.storedRequests + sinceCheckpoint)
      #expect(replica.batches.used <= Int(replica.configuration.checkpointPeriod))
    }
  }
}
