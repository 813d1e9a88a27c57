import PBFT
import Testing

@testable import Replication

private func address(_ id: Int32) -> MemberAddress {
  MemberAddress(replica: ReplicaID(id), host: "replica\(id)", clientPort: 1, replicaPort: 2)!
}

@Suite("Changes of the membership (decision record 3)")
struct MembershipTests {
  private let administrator: Int32 = 900

  private func cluster(
    replicas: Int = 4, _ change: (inout ReplicaConfiguration) -> Void = { _ in }
  ) -> ReplicaCluster {
    impatient(replicas: replicas) {
      $0.administrator = 900
      $0.logMultiplier = 2
      change(&$0)
    }
  }

  private func reconfigure(
    _ cluster: ReplicaCluster, to replicas: [Int32], faults: Int, id: Int32, sequence: Int32 = 0
  ) -> Membership {
    let next = Membership(id: id, replicas: replicas.map { ReplicaID($0) }, faults: faults)!
    let present = cluster.replicas[0].membership
    let change = ReconfigureRequest(
      sender: administrator,
      adding: next.replicas.filter { present.position(of: $0) == nil }.map { address($0.rawValue) },
      removing: present.replicas.filter { next.position(of: $0) == nil }, faults: faults,
      membership: present.id)
    cluster.submit(
      Request(
        client: administrator, sequence: sequence, kind: .reconfigure, membershipID: id - 1,
        content: change.encoded))
    cluster.run()
    return next
  }

  private func load(
    _ cluster: ReplicaCluster, from first: Int32, count: Int32, membershipID: Int32
  ) {
    for sequence in first..<(first + count) {
      for client in 0..<4 as Range<Int32> {
        cluster.submit(Request(client: client, sequence: sequence, membershipID: membershipID))
      }
      cluster.run()
    }
  }

  @Test("a replica is added and f grows: the new membership orders, the newcomer fetches the state and votes")
  func add() {
    let cluster = cluster(replicas: 6)
    load(cluster, from: 0, count: 6, membershipID: 0)
    let next = reconfigure(cluster, to: [0, 1, 2, 3, 4, 5, 6], faults: 2, id: 1)
    for index in 0..<6 { #expect(cluster.replicas[index].membership == next) }
    let result = cluster.answers[2].last!.content.withUnsafeBytes { ReconfigurationResult($0) }!
    #expect(result.isAccepted && result.id == 1 && result.faults == 2 && result.replicas == next.replicas)
    #expect(result.joined == [ReplicaID(6)] && result.addresses == [address(6)])
    #expect(cluster.replicas[5].addresses == [address(6)])
    cluster.add(next)
    load(cluster, from: 6, count: 8, membershipID: 1)
    cluster.advance(byNanoseconds: 3_000 * milliseconds)
    #expect(cluster.agree)
    // With two others gone it is needed.
    cluster.crash(4)
    cluster.crash(5)
    load(cluster, from: 14, count: 5, membershipID: 1)
    cluster.advance(byNanoseconds: 1_000 * milliseconds)
    for index in [0, 1, 2, 3, 6] { #expect(cluster.replicas[index].status.executedRequests == 76) }
    #expect(cluster.agree && cluster.neverDiverged)
  }

  @Test("a replica is removed and f shrinks: it votes no more, and is not missed")
  func remove() {
    let cluster = cluster(replicas: 7)
    load(cluster, from: 0, count: 3, membershipID: 0)
    _ = reconfigure(cluster, to: [1, 2, 3, 4], faults: 1, id: 1)
    for index in [0, 5, 6] {
      #expect(!cluster.replicas[index].status.isMember)
      cluster.submit(Request(client: 1, sequence: 50, membershipID: 1), to: [index])
      #expect(cluster.counters(index).refused(.notAMember) == 1)
    }
    cluster.flights.removeAll()
    cluster.isLost = { flight in
      if [0, 5, 6].contains(flight.from) { #expect(flight.packet.isOfAnyMembership) }
      return [0, 5, 6].contains(flight.from)
    }
    load(cluster, from: 3, count: 9, membershipID: 1)
    cluster.advance(byNanoseconds: 1_000 * milliseconds)
    for index in 1...4 { #expect(cluster.replicas[index].status.executedRequests == 48) }
    #expect(cluster.neverDiverged)
  }

  @Test("requests of the old membership that still wait are answered with the new one and not executed")
  func waitingRequests() {
    let cluster = cluster()
    load(cluster, from: 0, count: 2, membershipID: 0)
    cluster.submit(Request(client: 50, sequence: 1, membershipID: 0))
    cluster.submit(Request(client: 50, session: 1, sequence: 0, membershipID: 0), to: [])
    _ = reconfigure(cluster, to: [0, 1, 2, 3], faults: 1, id: 1)
    cluster.submit(Request(client: 51, membershipID: 0))
    cluster.run()
    #expect(cluster.answers[1].last?.client == 51)
    #expect(cluster.answers[1].last?.membershipID == 1 && cluster.answers[1].last?.content == [])
    #expect(cluster.replicas[1].status.membershipID == 1)
    load(cluster, from: 2, count: 4, membershipID: 1)
    #expect(cluster.agree)
  }

  @Test(
    "above a RECONFIG nothing is proposed before its checkpoint is stable; it stands alone"
  )
  func barrier() {
    let cluster = cluster()
    load(cluster, from: 0, count: 1, membershipID: 0)
    let change = ReconfigureRequest(sender: administrator, faults: 1, membership: 0)
    cluster.submit(Request(client: administrator, kind: .reconfigure, content: change.encoded))
    for client in 20..<30 as Range<Int32> { cluster.submit(Request(client: client)) }
    cluster.run(holding: { $0.packet.isCheckpoint })
    #expect(cluster.replicas[0].lastExecuted == SequenceNumber(2))
    #expect(cluster.replicas[0].membership.id == 0)
    cluster.run()
    #expect(cluster.replicas.allSatisfy { $0.membership.id == 1 })
    #expect(cluster.replicas[0].status.stableCheckpoint.sequence == SequenceNumber(2))
    let mixed = [Request(client: administrator, sequence: 1, kind: .reconfigure), Request(client: 40)]
    let prePrepare = PrePrepare(
      view: .zero, sequence: SequenceNumber(3), digest: batchDigest(mixed), batch: .none)
    cluster.deliver(.prePrepare(prePrepare, mixed), from: 0, to: 1)
    #expect(cluster.counters(1).rejected(.malformed) == 1)
  }

  @Test("what is no possible change is executed as a refusal, and the membership stays")
  func impossibleChanges() {
    let cluster = cluster()
    let contents: [[UInt8]] = [
      [], [1, 2, 3], ReconfigureRequest(sender: administrator, faults: 1, membership: 1).encoded,
      ReconfigureRequest(sender: administrator, faults: 2, membership: 0).encoded,
      ReconfigureRequest(sender: administrator, adding: [address(1)], membership: 0).encoded,
      ReconfigureRequest(sender: administrator + 1, faults: 1, membership: 0).encoded,
      ReconfigureRequest(sender: administrator, faults: 1, membership: 0).encoded + [0],
    ]
    for (sequence, content) in contents.enumerated() {
      cluster.submit(
        Request(client: administrator, sequence: Int32(sequence), kind: .reconfigure, content: content))
      cluster.run()
      load(cluster, from: Int32(sequence), count: 1, membershipID: 0)
    }
    cluster.advance(byNanoseconds: 500 * milliseconds)
    for index in 0..<4 {
      #expect(cluster.replicas[index].membership.id == 0)
      #expect(cluster.counters(index).reconfigurationsRefused == UInt64(contents.count))
      for answer in cluster.answers[index] where answer.client == administrator {
        let result = answer.content.withUnsafeBytes { ReconfigurationResult($0) }
        #expect(result?.isAccepted == false && result?.id == 0 && result?.joined == [])
      }
      #expect(cluster.replicas[index].status.executedRequests == UInt64(contents.count) * 4)
    }
    #expect(cluster.agree)
    cluster.submit(Request(client: 5, kind: .reconfigure))
    #expect(cluster.counters(0).refused(.reconfigurationUnsupported) == 1)
  }

  @Test("a replica that is no member yet waits, fetches the state when it is one, and votes")
  func joins() {
    let cluster = cluster(replicas: 4)
    load(cluster, from: 0, count: 6, membershipID: 0)
    cluster.add(cluster.initialMembership)
    #expect(!cluster.replicas[4].status.isMember)
    cluster.advance(byNanoseconds: 2_000 * milliseconds)
    #expect(cluster.replicas[4].lastExecuted == .zero && cluster.transfers[4].isEmpty)
    let next = reconfigure(cluster, to: [0, 1, 2, 3, 4], faults: 1, id: 1)
    for index in 0..<2 { cluster.inject(.peerMembership(1, from: ReplicaID(Int32(index))), to: 4) }
    cluster.advance(byNanoseconds: 500 * milliseconds)
    #expect(cluster.replicas[4].membership == next && cluster.replicas[4].isMember)
    #expect(cluster.replicas[4].addresses == [address(4)])
    cluster.crash(3)
    load(cluster, from: 6, count: 8, membershipID: 1)
    cluster.advance(byNanoseconds: 1_000 * milliseconds)
    for index in [0, 1, 2, 4] { #expect(cluster.replicas[index].status.executedRequests == 56) }
    #expect(cluster.agree && cluster.neverDiverged)
  }

  @Test("one replica alone does not make another believe in a new membership")
  func liar() {
    let cluster = cluster(replicas: 4)
    load(cluster, from: 0, count: 6, membershipID: 0)
    cluster.add(cluster.initialMembership)
    cluster.inject(.peerMembership(1, from: ReplicaID(0)), to: 4)
    cluster.inject(.peerMembership(9, from: ReplicaID(0)), to: 4)
    cluster.inject(.peerMembership(1, from: ReplicaID(40)), to: 4)
    cluster.advance(byNanoseconds: 2_000 * milliseconds)
    #expect(cluster.transfers[4].isEmpty && cluster.replicas[4].membership.id == 0)
  }

  @Test("a removed replica that is added again takes part again")
  func returns() {
    let cluster = cluster(replicas: 5)
    load(cluster, from: 0, count: 3, membershipID: 0)
    _ = reconfigure(cluster, to: [0, 1, 2, 3], faults: 1, id: 1)
    #expect(!cluster.replicas[4].isMember)
    load(cluster, from: 3, count: 6, membershipID: 1)
    let next = reconfigure(cluster, to: [0, 1, 2, 3, 4], faults: 1, id: 2, sequence: 1)
    for index in 0..<4 { cluster.inject(.peerMembership(2, from: ReplicaID(Int32(index))), to: 4) }
    cluster.advance(byNanoseconds: 1_000 * milliseconds)
    #expect(cluster.replicas[4].membership == next && cluster.replicas[4].isMember)
    cluster.crash(0)
    cluster.advance(byNanoseconds: 100 * milliseconds)
    load(cluster, from: 9, count: 3, membershipID: 2)
    cluster.advance(byNanoseconds: 4_000 * milliseconds)
    for index in 1...4 { #expect(cluster.replicas[index].status.executedRequests == 48) }
    #expect(cluster.neverDiverged)
  }

  @Test("a replica that slept through a change of the membership joins the new one by transfer")
  func sleptThrough() {
    let cluster = cluster()
    load(cluster, from: 0, count: 2, membershipID: 0)
    cluster.isLost = { $0.from == 3 || $0.to == 3 }
    _ = reconfigure(cluster, to: [0, 1, 2, 3], faults: 1, id: 1)
    load(cluster, from: 2, count: 12, membershipID: 1)
    #expect(cluster.replicas[3].membership.id == 0)
    cluster.isLost = { _ in false }
    cluster.submit(Request(client: 70, membershipID: 0), to: [3])
    cluster.advance(byNanoseconds: 5_000 * milliseconds)
    #expect(cluster.replicas[3].membership.id == 1)
    load(cluster, from: 14, count: 4, membershipID: 1)
    cluster.advance(byNanoseconds: 2_000 * milliseconds)
    #expect(cluster.agree)
  }

  @Test("the primary dies over a RECONFIG: the next view decides it, alone at its number")
  func primaryDies() {
    let cluster = cluster()
    load(cluster, from: 0, count: 2, membershipID: 0)
    cluster.isLost = { $0.packet.isCommit }
    let change = ReconfigureRequest(sender: administrator, faults: 1, membership: 0)
    cluster.submit(Request(client: administrator, kind: .reconfigure, content: change.encoded))
    cluster.run()
    cluster.crash(0)
    cluster.isLost = { _ in false }
    cluster.advance(byNanoseconds: 2_000 * milliseconds)
    for index in 1...3 { #expect(cluster.replicas[index].membership.id == 1) }
    load(cluster, from: 2, count: 3, membershipID: 1)
    cluster.advance(byNanoseconds: 2_000 * milliseconds)
    for index in 1...3 { #expect(cluster.replicas[index].status.executedRequests == 20) }
    #expect(cluster.neverDiverged)
  }

  @Test("a membership is durable: restarted replicas begin in the one they had")
  func durable() {
    let cluster = cluster { $0.durability = .sync }
    load(cluster, from: 0, count: 2, membershipID: 0)
    _ = reconfigure(cluster, to: [0, 1, 2, 3], faults: 1, id: 1)
    load(cluster, from: 2, count: 3, membershipID: 1)
    for index in 0..<4 { #expect(cluster.restart(index).mayVote) }
    #expect(cluster.replicas.allSatisfy { $0.membership.id == 1 })
    load(cluster, from: 5, count: 3, membershipID: 1)
    cluster.advance(byNanoseconds: 1_000 * milliseconds)
    #expect(cluster.replicas.allSatisfy { $0.status.executedRequests == 32 })
    #expect(cluster.agree)
  }
}
