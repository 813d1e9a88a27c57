import PBFT
import Testing

@Suite("Quorums and membership")
struct QuorumsTests {
  @Test(
    "two quorums share a correct replica, and a quorum remains when f are silent",
    arguments: 1...64)
  func quorumsIntersect(replicas: Int) throws {
    for faults in 0...FaultModel.byzantine.maximumFaults(replicas: replicas) {
      let quorums = try #require(Quorums(replicas: replicas, faults: faults))
      #expect(2 * quorums.quorum - replicas >= faults + 1)
      #expect(2 * (quorums.quorum - 1) - replicas < faults + 1, "no larger than needed")
      #expect(quorums.quorum <= replicas - faults)
      #expect(quorums.weakQuorum == faults + 1)
    }
    for faults in 0...FaultModel.crash.maximumFaults(replicas: replicas) {
      let quorums = try #require(Quorums(replicas: replicas, faults: faults, model: .crash))
      #expect(2 * quorums.quorum - replicas >= 1)
      #expect(quorums.quorum <= replicas - faults)
      #expect(quorums.weakQuorum == 1)
    }
  }

  @Test(
    "sizes agree with Fabric's and BFT-SMaRt's",
    arguments: [(1, 0, 1), (4, 1, 3), (5, 1, 4), (6, 1, 4), (7, 2, 5), (10, 3, 7), (13, 4, 9)])
  func byzantineSizes(replicas: Int, faults: Int, quorum: Int) throws {
    let quorums = try #require(Quorums(replicas: replicas, faults: faults))
    #expect(quorums.quorum == quorum)
    #expect(quorums.quorum == (replicas + faults + 2) / 2, "Fabric's formula")
    #expect(quorums.prepares == quorum - 1)
  }

  @Test("crash mode needs a majority", arguments: [(3, 1, 2), (5, 2, 3), (4, 1, 3), (1, 0, 1)])
  func crashSizes(replicas: Int, faults: Int, quorum: Int) throws {
    #expect(try #require(Quorums(replicas: replicas, faults: faults, model: .crash)).quorum == quorum)
  }

  @Test("impossible sizes are refused")
  func impossibleSizes() {
    #expect(Quorums(replicas: 3, faults: 1) == nil)
    #expect(Quorums(replicas: 0, faults: 0) == nil)
    #expect(Quorums(replicas: 65, faults: 1) == nil)
    #expect(Quorums(replicas: 4, faults: -1) == nil)
    #expect(Quorums(replicas: 2, faults: 1, model: .crash) == nil)
  }

  @Test("a membership is ordered by id, names nobody twice, and takes turns as primary")
  func membership() throws {
    let membership = try #require(
      Membership(id: 3, replicas: [ReplicaID(9), ReplicaID(2), ReplicaID(40), ReplicaID(7)], faults: 1))
    #expect(membership.replicas.map(\.rawValue) == [2, 7, 9, 40])
    #expect(membership.position(of: ReplicaID(9)) == 2)
    #expect(membership.position(of: ReplicaID(0)) == nil)
    #expect(membership.position(of: ReplicaID(-1)) == nil)
    #expect(membership.primary(of: View(0)) == ReplicaID(2))
    #expect(membership.primary(of: View(5)) == ReplicaID(7))
    #expect(membership.primary(of: View(.max)) == ReplicaID(40))
    #expect(Membership(replicas: [ReplicaID(1), ReplicaID(1), ReplicaID(2), ReplicaID(3)], faults: 1) == nil)
  }

  @Test("a replica set holds 64 positions")
  func replicaSet() {
    var set = ReplicaSet.empty
    set.insert(0)
    set.insert(63)
    set.insert(63)
    #expect(set.count == 2 && set.contains(63) && !set.contains(1))
    #expect(set.popFirst() == 0)
    set.remove(63)
    #expect(set.isEmpty && set.popFirst() == nil)
  }
}
