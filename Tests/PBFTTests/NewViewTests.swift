import Testing

@testable import PBFT

private let quorums4 = Membership(count: 4).quorums
private let quorums7 = Membership(count: 7).quorums

private func checkpoint(_ sequence: UInt64, _ number: UInt64 = 1) -> Checkpoint {
  Checkpoint(
    sequence: SequenceNumber(sequence), digest: sequence == 0 ? .zero : digest(sequence * 100 + number))
}

private func claim(_ sequence: UInt64, _ number: UInt64, view: UInt64 = 0) -> Claim {
  Claim(sequence: SequenceNumber(sequence), digest: digest(number), view: View(view))
}

private func change(
  _ replica: Int32, stable: Checkpoint = checkpoint(0), checkpoints: [Checkpoint] = [],
  prepared: [Claim] = [],
  prePrepared: [Claim] = [], view: UInt64 = 1
) -> ViewChange {
  ViewChange(
    view: View(view), membershipID: 0, replica: ReplicaID(replica), stable: stable, checkpoints: checkpoints,
    prepared: prepared, prePrepared: prePrepared)
}

private func select(_ changes: [ViewChange], _ quorums: Quorums = quorums4) -> NewViewSelection? {
  NewViewSelection(changes, quorums: quorums, logSize: 16)
}

@Suite("What a new view begins with (OSDI '99 §4.4, Fabric #1111)")
struct NewViewSelectionTests {
  @Test("nothing with fewer than a quorum, and the beginning with a quorum that has done nothing")
  func empty() {
    #expect(select([change(0), change(1)]) == nil)
    #expect(select([change(0), change(1), change(2)])?.start == checkpoint(0))
    #expect(select([change(0), change(1), change(2)])?.digests == [])
  }

  @Test("what a quorum prepared is chosen from any quorum that holds one claim and f+1 that know the batch")
  func prepared() {
    let witness = change(1, prepared: [claim(1, 5)], prePrepared: [claim(1, 5)])
    let knows = change(2, prePrepared: [claim(1, 5)])
    #expect(select([change(0), witness, knows])?.digests == [digest(5)])
  }

  @Test("a claim that only its author knows of is neither believed nor ignored: more VIEW-CHANGEs are needed")
  func lonelyClaim() {
    let liar = change(3, prepared: [claim(1, 66)], prePrepared: [claim(1, 66)])
    #expect(select([change(0), change(1), liar]) == nil)
    // With a quorum that has prepared nothing there, nothing can have been committed.
    #expect(select([change(0), change(1), change(2), liar])?.digests == [])
  }

  @Test("the claim of the higher view wins")
  func higherView() {
    let old = change(0, prepared: [claim(1, 5)], prePrepared: [claim(1, 5)], view: 3)
    let new = change(
      1, prepared: [claim(1, 6, view: 2)], prePrepared: [claim(1, 6, view: 2)], view: 3)
    let knows = change(2, prePrepared: [claim(1, 5), claim(1, 6, view: 2)], view: 3)
    #expect(select([old, new, knows])?.digests == [digest(6)])
  }

  @Test("a gap below a chosen digest is a null request; one above it is not part of the view")
  func gaps() {
    let witness = change(1, prepared: [claim(3, 5)], prePrepared: [claim(3, 5)])
    let knows = change(2, prePrepared: [claim(3, 5)])
    #expect(select([change(0), witness, knows])?.digests == [.zero, .zero, digest(5)])
  }

  @Test("a null request that was prepared may have been executed, and stays")
  func preparedNull() {
    let null = Claim(sequence: SequenceNumber(2), digest: .zero, view: .zero)
    let witness = change(1, prepared: [null], prePrepared: [null])
    let knows = change(2, prePrepared: [null])
    #expect(select([change(0), witness, knows])?.digests == [.zero, .zero])
  }

  @Test("view-change set S vs S' (Fabric #1111): a minority has the newest stable checkpoint")
  func setS() {
    // One has it as stable, one has only taken it: f+1 list it, and all can go on from it.
    let ahead = change(0, stable: checkpoint(4))
    let taken = change(1, checkpoints: [checkpoint(4)])
    #expect(select([ahead, taken, change(2)])?.start == checkpoint(4))
    // Two at 4 and nobody else who lists it: with n = 7 that is f, and not enough for a quorum below.
    let behind = (2..<6).map { change(Int32($0)) }
    let few = [change(0, stable: checkpoint(4)), change(1, stable: checkpoint(4))]
    #expect(select(few + behind, quorums7) == nil)
    #expect(select(few + behind + [change(6)], quorums7)?.start == checkpoint(0))
    #expect(
      select(few + behind + [change(6, checkpoints: [checkpoint(4)])], quorums7)?.start == checkpoint(4))
  }

  @Test("only f replicas hold a stable checkpoint at the window's edge (concord #1399)", arguments: [4, 7])
  func minorityAtTheEdge(replicas: Int) {
    let quorums = Membership(count: replicas).quorums
    let edge = checkpoint(16)
    let full = (1...16).map { claim(UInt64($0), UInt64($0)) }
    var changes = (0..<quorums.faults).map { change(Int32($0), stable: edge) }
    for index in quorums.faults..<replicas {
      changes.append(
        change(
          Int32(index), checkpoints: [4, 8, 12, 16].map { checkpoint($0) }, prepared: full, prePrepared: full)
      )
    }
    let selection = select(Array(changes.prefix(quorums.quorum)), quorums)
    #expect(selection?.start == edge)
    #expect(selection?.digests == [])
  }

  @Test("W3: a checkpoint named many times in one VIEW-CHANGE counts once")
  func repeatedCheckpoint() {
    let forged = change(3, checkpoints: [checkpoint(8), checkpoint(8), checkpoint(8)])
    #expect(!forged.isValid(period: 4, logSize: 16))
    #expect(select([forged, change(1), change(2)])?.start == checkpoint(0))
  }
}

@Suite("Which VIEW-CHANGE is valid")
struct ViewChangeValidityTests {
  private func isValid(_ change: ViewChange) -> Bool { change.isValid(period: 4, logSize: 16) }

  @Test("a correct one is, and each wrong claim makes it invalid")
  func claims() {
    let good = change(
      1, checkpoints: [checkpoint(4), checkpoint(8)], prepared: [claim(1, 5), claim(16, 6)],
      prePrepared: [claim(1, 5), claim(1, 7), claim(16, 6)])
    #expect(isValid(good))
    func wrong(_ alter: (inout ViewChange) -> Void) -> Bool {
      var bad = good
      alter(&bad)
      return !isValid(bad)
    }
    #expect(wrong { $0.view = .zero })
    #expect(wrong { $0.stable.sequence = SequenceNumber(.max) })
    #expect(wrong { $0.checkpoints = [checkpoint(8), checkpoint(4)] })
    #expect(wrong { $0.checkpoints = [checkpoint(20)] })
    #expect(wrong { $0.checkpoints = [checkpoint(3), checkpoint(5)] })
    #expect(!wrong { $0.checkpoints = [checkpoint(3), checkpoint(4)] }, "one may be a reconfiguration's")
    #expect(wrong { $0.prepared[0].view = View(1) }, "not of an earlier view")
    #expect(wrong { $0.prepared.swapAt(0, 1) })
    #expect(wrong { $0.prepared[1].sequence = SequenceNumber(17) })
    #expect(wrong { $0.prepared[0].digest = digest(99) }, "prepared and not pre-prepared")
    #expect(wrong { $0.prePrepared[1].digest = digest(5) }, "a digest twice")
    #expect(wrong { $0.prePrepared.removeLast() })
    #expect(
      wrong { $0.prePrepared.insert(contentsOf: (10...16).map { claim(1, $0) }, at: 2) }, "nine digests")
    #expect(wrong { $0.accused = [3, 3] })
    #expect(wrong { $0.accused = Array(0..<65) })
  }

  @Test("a garbage VIEW-CHANGE costs nobody else anything (concord #50)")
  func garbage() {
    let cluster = OrderingCluster(replicas: 4)
    cluster.propose(1)
    // Committed at replica 2 alone.
    cluster.deliver { !$0.message.isCommit || $0.to == 2 }
    cluster.drop { _ in true }
    #expect(cluster.executed.map(\.count) == [0, 0, 1, 0])
    // Replica 3 is faulty: one wrong claim among good ones.
    for index in 0...2 {
      cluster.deliver(
        viewChange(view: 1, from: 3, to: index) {
          $0.prepared = [claim(1, 1), claim(2, 2, view: 9)]
          $0.prePrepared = [claim(1, 1), claim(2, 2)]
        })
      #expect(cluster.rejections[index].last == .invalidStatement)
    }
    cluster.crash(3)
    for index in [1, 2] { cluster.give(.suspectPrimary(accused: nil), to: index) }
    cluster.settle()
    #expect(cluster.cores[0].view == View(1))
    for index in 0...2 { #expect(cluster.executed[index].map(\.digest) == [digest(1)]) }
  }
}

@Suite("Which NEW-VIEW is accepted")
struct NewViewTests {
  /// The NEW-VIEW of view 1 as the cluster makes it, undelivered at replica 3.
  private func prepared() throws -> (cluster: OrderingCluster, flight: Flight, content: NewView) {
    let cluster = OrderingCluster(replicas: 4)
    cluster.suspectPrimary { !($0.message.isNewView && $0.to == 3) }
    let flight = try #require(cluster.flights.first { $0.message.isNewView && $0.to == 3 })
    cluster.drop { _ in true }
    guard case .newView(let content)? = flight.statement?.statement else { throw Missing() }
    return (cluster, flight, content)
  }

  private struct Missing: Error {}

  private func isAccepted(_ alter: (inout NewView) -> Void) throws -> Bool {
    var (cluster, flight, content) = try prepared()
    alter(&content)
    flight.statement = SignedStatement(statement: .newView(content), signature: .none)
    cluster.deliver(flight)
    if !cluster.cores[3].isActive {
      // It was signed by the primary of view 1: that one is given up.
      #expect(cluster.rejections[3].last == .invalidStatement)
      #expect(cluster.cores[3].pendingView == View(2))
    }
    return cluster.cores[3].isActive
  }

  @Test("as the primary made it")
  func unaltered() throws { #expect(try isAccepted { _ in }) }

  @Test("W10: V counts distinct senders")
  func distinctSenders() throws {
    #expect(
      try !isAccepted { $0.viewChanges = [$0.viewChanges[0], $0.viewChanges[0], $0.viewChanges[0]] })
    #expect(try !isAccepted { $0.viewChanges.removeLast($0.viewChanges.count - 2) })
  }

  @Test("W13: V holds valid VIEW-CHANGEs of this view only")
  func embeddedViews() throws {
    #expect(try !isAccepted { $0.viewChanges[0].content.view = View(7) })
    #expect(try !isAccepted { $0.viewChanges[1].content.prepared = [claim(1, 1)] })
    #expect(try !isAccepted { $0.viewChanges[1].content.membershipID = 4 })
    #expect(try !isAccepted { $0.viewChanges[1].content.replica = ReplicaID(77) })
  }

  @Test("start and digests are those that V gives")
  func selection() throws {
    #expect(try !isAccepted { $0.digests = [digest(3)] })
    #expect(try !isAccepted { $0.start = checkpoint(4) })
  }

  @Test("one of an earlier or present view, or of another membership, changes nothing")
  func others() throws {
    let (cluster, flight, content) = try prepared()
    var foreign = content
    foreign.membershipID = 3
    var other = flight
    other.statement = SignedStatement(statement: .newView(foreign), signature: .none)
    cluster.deliver(other)
    #expect(cluster.rejections[3].last == .otherMembership)
    cluster.deliver(flight)
    cluster.deliver(flight)
    #expect(cluster.rejections[3].last == .duplicate)
    cluster.suspectPrimary()
    cluster.deliver(flight)
    #expect(cluster.rejections[3].last == .otherView)
  }

  @Test("W5: a digest that nobody has blocks its view and not the next")
  func missingBatch() {
    let cluster = OrderingCluster(replicas: 4)
    // f+1 claim to know a batch that nobody holds: 2 and 3 are faulty together, which is more than f, and
    // still the view after it is free of it.
    cluster.suspectPrimary { $0.message.isSuspect }
    cluster.drop { _ in true }
    for liar in [2, 3] {
      for index in [0, 1] {
        cluster.deliver(
          viewChange(view: 1, from: liar, to: index) {
            $0.prepared = [claim(1, 66)]
            $0.prePrepared = [claim(1, 66)]
          })
      }
    }
    cluster.expire(.viewChangeResend, of: 0)
    cluster.deliver { $0.from < 2 && $0.to < 2 }
    #expect(cluster.cores[1].isActive && cluster.cores[1].view == View(1))
    #expect(cluster.flights.contains { $0.message == .fetchBatch(digest(66)) })
    cluster.drop { _ in true }
    cluster.settle(rounds: 30)
    cluster.suspectPrimary()
    cluster.settle(rounds: 30)
    for index in [0, 1] {
      #expect(cluster.cores[index].isActive)
      #expect(cluster.cores[index].wanted.isEmpty)
    }
  }

  @Test("a batch known by its digest only is fetched, asked for again, and then voted for")
  func fetchedBatch() {
    let cluster = OrderingCluster(replicas: 4)
    cluster.propose(1)
    cluster.deliver { $0.to != 3 && $0.from != 3 && !$0.message.isCommit }
    cluster.drop { _ in true }
    cluster.suspectPrimary { if case .fetchBatch = $0.message { false } else { true } }
    #expect(cluster.cores[3].view == View(1))
    #expect(cluster.executed[3].isEmpty)
    cluster.drop { _ in true }
    cluster.settle()
    #expect(cluster.executed.allSatisfy { $0.map(\.digest) == [digest(1)] })
  }

  @Test("W7: commits in hand reach the checkpoint of the new view without a state transfer")
  func commitsInHand() {
    let cluster = OrderingCluster(replicas: 4)
    for number in 1...4 as ClosedRange<UInt64> { cluster.propose(number) }
    // Replica 3 has committed 2, 3 and 4, and lacks the commits of 1.
    cluster.deliver {
      !($0.to == 3 && $0.message.isCheckpoint)
        && !($0.to == 3 && $0.message.isCommit && $0.message.sequence == SequenceNumber(1))
    }
    let kept = cluster.flights
    cluster.drop { _ in true }
    #expect(cluster.executed[3].isEmpty)
    cluster.suspectPrimary()
    // The new view begins at 4, and 3 is in it.
    #expect(cluster.cores[3].view == View(1) && cluster.cores[3].isActive)
    for flight in kept where flight.message.isCheckpoint { cluster.deliver(flight) }
    for sender in [0, 1] {
      cluster.deliver(
        .executed(Executed(sequence: SequenceNumber(1), digest: digest(1))), from: sender, to: 3)
    }
    #expect(cluster.executed[3].count == 4)
    #expect(cluster.transfers[3].isEmpty)
  }
}
