import Testing

@testable import PBFT

@Suite("Loss heals without a view change (decision record 16)")
struct HealingTests {
  @Test("each kind of message lost everywhere once is made up for", arguments: [4, 5, 7])
  func eachKindLost(replicas: Int) {
    let kinds: [(Flight) -> Bool] = [
      { $0.message.isPrePrepare }, { $0.message.isPrepare }, { $0.message.isCommit },
      { $0.message.isCheckpoint },
    ]
    for kind in kinds {
      let cluster = OrderingCluster(replicas: replicas)
      for number in 1...4 as ClosedRange<UInt64> { cluster.propose(number) }
      cluster.deliver { !kind($0) }
      cluster.drop(where: kind)
      cluster.settle(rounds: 60)
      #expect(cluster.executed.allSatisfy { $0.count == 4 })
      #expect(
        cluster.cores.allSatisfy { $0.view == .zero && $0.stableCheckpoint.sequence == SequenceNumber(4) })
      #expect(allEmpty(cluster.suspected))
    }
  }

  @Test("W16: a backup that lost its messages catches up while the others go on, without a view change")
  func oneLosesEverything() {
    let cluster = OrderingCluster(replicas: 4)
    cluster.propose(1)
    cluster.propose(2)
    cluster.deliver { $0.to != 3 && $0.from != 3 }
    cluster.drop { _ in true }
    cluster.propose(3)
    cluster.settle()
    #expect(cluster.executed.allSatisfy { $0.count == 3 })
    #expect(cluster.transfers[3].isEmpty)
    #expect(cluster.cores.allSatisfy { $0.view == .zero })
  }

  @Test("f+1 that have executed replace a quorum of commits, f do not", arguments: clusters.dropFirst())
  func executions(replicas: Int, model: FaultModel) {
    let cluster = OrderingCluster(replicas: replicas, model: model)
    let last = replicas - 1
    cluster.propose(1)
    cluster.deliver { $0.to != last }
    cluster.drop { !$0.message.isPrePrepare }
    cluster.deliver { $0.message.isPrePrepare }
    let weak = cluster.quorums.weakQuorum
    for sender in 0..<weak {
      #expect(cluster.executed[last].isEmpty)
      cluster.deliver(
        .executed(Executed(sequence: SequenceNumber(1), digest: digest(1))), from: sender, to: last)
    }
    #expect(cluster.executed[last].count == 1)
  }

  @Test("f+1 equal, not the last one said: lies about what was executed count for nothing (BFT-SMaRt #62)")
  func equalNotLast() {
    let cluster = OrderingCluster(replicas: 4)
    for (sender, number) in [(0, 1), (1, 2), (1, 1), (2, 3)] as [(Int, UInt64)] {
      cluster.deliver(
        .executed(Executed(sequence: SequenceNumber(1), digest: digest(number))), from: sender, to: 3)
    }
    #expect(cluster.cores[3].statistics.decidedByOthers == 0)
    // The same for checkpoints far ahead: three of them, no two alike.
    for (sender, number) in [(0, 1), (1, 2), (2, 3)] as [(Int, UInt64)] {
      cluster.deliver(
        .checkpoint(Checkpoint(sequence: SequenceNumber(40), digest: digest(number))), from: sender, to: 3)
    }
    #expect(cluster.transfers[3].isEmpty)
    cluster.transfersAtOnce = false
    cluster.deliver(
      .checkpoint(Checkpoint(sequence: SequenceNumber(40), digest: digest(1))), from: 2, to: 3)
    #expect(cluster.transfers[3].map(\.digest) == [digest(1)])
  }

  @Test(
    "who has executed a batch in an earlier view asks for the votes it needs to vote for it again",
    arguments: [4, 7])
  func executedEarlier(replicas: Int) {
    let cluster = OrderingCluster(replicas: replicas)
    let faults = cluster.membership.faults
    let last = replicas - 1
    // Prepared everywhere, committed by one replica alone.
    cluster.propose(1)
    cluster.deliver { !$0.message.isCommit || $0.to == last }
    cluster.drop { _ in true }
    #expect(cluster.executed.map(\.count) == (0..<replicas).map { $0 == last ? 1 : 0 })
    // In the next view it is told of nothing but the NEW-VIEW, and f replicas are gone for good.
    for gone in 2..<(2 + faults) { cluster.crash(gone) }
    cluster.suspectPrimary { $0.to != last || $0.message.isSuspect || $0.message.isViewChange }
    cluster.deliver { $0.to != last || $0.message.isNewView }
    cluster.drop { _ in true }
    let alive = (0..<replicas).filter { $0 < 2 || $0 >= 2 + faults }
    #expect(alive.allSatisfy { cluster.cores[$0].view == View(1) && cluster.cores[$0].isActive })
    cluster.settle(rounds: 40)
    for index in alive { #expect(cluster.executed[index].map(\.digest) == [digest(1)]) }
    #expect(alive.allSatisfy { cluster.cores[$0].view == View(1) })
  }

  @Test("a batch refused here is accepted by its digest when f+1 stand by it, the primary included")
  func refusedBatch() {
    let cluster = OrderingCluster(replicas: 4)
    cluster.crash(1)
    cluster.propose(1)
    cluster.deliver { $0.to == 2 }
    cluster.drop { $0.to == 3 && $0.message.isPrePrepare }
    let refused = PrePrepare(view: .zero, sequence: SequenceNumber(1), digest: digest(1), batch: .none)
    cluster.give(.prePrepareRefused(refused, isReconfiguration: false, from: ReplicaID(0)), to: 3)
    #expect(!cluster.flights.contains { $0.from == 3 })
    // The prepare of replica 2 is the second to stand by it: at once, without a timer.
    cluster.deliver()
    for index in [0, 2, 3] { #expect(cluster.executed[index].map(\.digest) == [digest(1)]) }
    cluster.settle()
    // The primary's word alone is not enough.
    let other = PrePrepare(view: .zero, sequence: SequenceNumber(2), digest: digest(2), batch: .none)
    cluster.give(.prePrepareRefused(other, isReconfiguration: false, from: ReplicaID(0)), to: 3)
    cluster.drop { _ in true }
    cluster.expire(.healing, of: 3)
    #expect(!cluster.flights.contains { $0.message.isPrepare })
  }

  @Test(
    "a refused batch that was handed over needs no fetch, and is held once: until it is taken or its view ends"
  )
  func refusedBatchAtHand() {
    let cluster = OrderingCluster(replicas: 4)
    cluster.crash(1)
    for number in 1...2 as ClosedRange<UInt64> { cluster.propose(number) }
    cluster.drop { $0.to == 3 && $0.message.isPrePrepare }
    // Of the second one nobody but the primary will hear.
    cluster.drop {
      if case .prePrepare(let message) = $0.message { message.sequence == SequenceNumber(2) } else { false }
    }
    for number in 1...2 as ClosedRange<UInt64> {
      let refused = PrePrepare(
        view: .zero, sequence: SequenceNumber(number), digest: digest(number),
        batch: cluster.newBatch(digest(number), at: 3))
      cluster.give(.prePrepareRefused(refused, isReconfiguration: false, from: ReplicaID(0)), to: 3)
      let again = PrePrepare(
        view: .zero, sequence: SequenceNumber(number), digest: digest(number),
        batch: cluster.newBatch(digest(number), at: 3))
      cluster.give(.prePrepareRefused(again, isReconfiguration: false, from: ReplicaID(0)), to: 3)
    }
    #expect(cluster.discarded[3].count == 2, "what comes twice is not held twice")
    var fetches = 0
    cluster.deliver {
      if case .fetchBatch = $0.message { fetches += 1 }
      return true
    }
    #expect(fetches == 0)
    for index in [0, 2, 3] { #expect(cluster.executed[index].map(\.digest) == [digest(1)]) }
    for index in [0, 2, 3] { cluster.give(.suspectPrimary(accused: 5), to: index) }
    cluster.deliver()
    #expect(cluster.discarded[3].count == 3, "the view that knew the second one is over")
  }

  @Test("what was executed elsewhere under a digest unknown here is fetched by that digest")
  func executedUnknown() {
    let cluster = OrderingCluster(replicas: 4)
    cluster.propose(1)
    cluster.deliver { $0.to != 3 && $0.from != 3 }
    cluster.drop { _ in true }
    for sender in [0, 1] {
      cluster.deliver(
        .executed(Executed(sequence: SequenceNumber(1), digest: digest(1))), from: sender, to: 3)
    }
    #expect(cluster.executed[3].isEmpty)
    cluster.deliver()
    #expect(cluster.executed[3].count == 1)
  }

  @Test(
    "who has missed the last batch altogether hears of it once all is quiet, and then nobody says anything")
  func quietLag() {
    let cluster = OrderingCluster(replicas: 4)
    cluster.propose(1)
    cluster.deliver { $0.to != 3 && $0.from != 3 }
    cluster.drop { _ in true }
    #expect(cluster.executed.map(\.count) == [1, 1, 1, 0])
    // It knows of nothing that it could ask for.
    #expect(cluster.nodes[3].timers.isEmpty)
    cluster.settle(rounds: 100)
    #expect(cluster.executed.map(\.count) == [1, 1, 1, 1])
    #expect(cluster.flights.isEmpty && cluster.nodes.allSatisfy { $0.timers.isEmpty })
    // The last word about a batch is one status of each replica.
    cluster.propose(2)
    cluster.deliver()
    for index in 0..<4 { cluster.expire(.standing, of: index) }
    let said = cluster.flights.filter {
      if case .status(let status) = $0.message { !status.asks } else { false }
    }
    #expect(said.count == 12 && cluster.flights.count == 12)
    cluster.settle(rounds: 100)
    #expect(cluster.flights.isEmpty && cluster.nodes.allSatisfy { $0.timers.isEmpty })
  }

  @Test("a link that comes back is a reason to say where one stands")
  func linksChanged() {
    let cluster = OrderingCluster(replicas: 4)
    cluster.propose(1)
    cluster.deliver { $0.to != 3 && $0.from != 3 }
    cluster.drop { _ in true }
    // The word about it is lost as well.
    cluster.settle(rounds: 100) { $0.to != 3 }
    #expect(cluster.executed[3].isEmpty && cluster.nodes.allSatisfy { $0.timers.isEmpty })
    cluster.give(.linksChanged, to: 1)
    cluster.settle(rounds: 100)
    #expect(cluster.executed[3].count == 1)
  }

  @Test("no endless resend at idle: when all is done every timer stops (Fabric #2060)", arguments: [1, 4, 7])
  func quiescence(replicas: Int) {
    let cluster = OrderingCluster(replicas: replicas)
    for number in 1...6 as ClosedRange<UInt64> { cluster.propose(number) }
    cluster.deliver()
    if replicas > 1 { cluster.suspectPrimary() }
    cluster.settle(rounds: 200)
    #expect(cluster.flights.isEmpty)
    #expect(cluster.nodes.allSatisfy { $0.timers.isEmpty })
    for index in cluster.nodes.indices { cluster.records[index] = [] }
    #expect(!cluster.expireNext())
  }

  @Test("with one replica gone the others come to rest too", arguments: [4, 7])
  func quiescenceWithoutOne(replicas: Int) {
    let cluster = OrderingCluster(replicas: replicas)
    cluster.crash(replicas - 1)
    for number in 1...6 as ClosedRange<UInt64> { cluster.propose(number) }
    cluster.settle(rounds: 200)
    #expect(cluster.executed[0].count == 6)
    #expect(cluster.nodes.allSatisfy { $0.timers.isEmpty })
  }

  @Test("what stands still is asked about with back-off, at most sixteenfold")
  func backOff() {
    let cluster = OrderingCluster(replicas: 4)
    cluster.propose(1)
    cluster.drop { _ in true }
    for _ in 0..<7 { cluster.expire(.healing, of: 0) }
    let delays = cluster.timerDelays[0].filter { $0.timer == .healing }.map(\.delay)
    #expect(delays == [1, 2, 4, 8, 16, 16, 16, 16].map { $0 * 500 })
    #expect(cluster.flights.count { $0.message.isStatus } == 7 * 3)
  }

  @Test("a peer that asks without end is answered so often per time")
  func answersAreBounded() {
    let cluster = OrderingCluster(replicas: 4)
    for number in 1...3 as ClosedRange<UInt64> { cluster.propose(number) }
    cluster.deliver()
    let query = Message.status(
      Status(
        view: .zero, isActive: true, isRecovering: false, asks: true, stable: .zero, prepared: .zero,
        executed: .zero))
    for _ in 0..<100 { cluster.deliver(query, from: 3, to: 0) }
    #expect(cluster.rejections[0].count { $0 == .tooManyQueries } == 100 - 8)
    let sent = cluster.flights.count
    cluster.expire(.answers, of: 0)
    cluster.deliver(query, from: 3, to: 0)
    #expect(cluster.flights.count == sent + sent / 8)
    #expect(cluster.nodes[0].timers[.answers] != nil)
  }

  @Test(
    "behind by more than a log and more than a view: a transfer, the view, and votes again",
    arguments: [4, 7])
  func farBehind(replicas: Int) {
    let cluster = OrderingCluster(replicas: replicas)
    let last = replicas - 1
    var number: UInt64 = 0
    for view in 0...1 {
      for _ in 0..<20 {
        number += 1
        #expect(cluster.cores[view].canPropose)
        cluster.propose(number, by: view)
        cluster.deliver { $0.to != last && $0.from != last }
        cluster.drop { _ in true }
      }
      for index in 0..<last { cluster.give(.suspectPrimary(accused: nil), to: index) }
      cluster.deliver { $0.to != last && $0.from != last }
      cluster.drop { _ in true }
    }
    #expect(cluster.cores[0].view == View(2))
    #expect(cluster.executed[0].count == 40)
    #expect(cluster.cores[last].view == .zero && cluster.executed[last].isEmpty)
    for _ in 0..<8 {
      number += 1
      cluster.propose(number, by: 2)
      cluster.settle(rounds: 10)
    }
    cluster.settle(rounds: 60)
    #expect(cluster.cores[last].view == View(2) && cluster.cores[last].isActive)
    #expect(cluster.executed.allSatisfy { $0.count == 48 })
    #expect(cluster.transfers[last].count >= 1 && !cluster.cores[last].isFetchingState)
    // It votes again: without it and another there is no quorum.
    cluster.crash(0)
    cluster.propose(number + 1, by: 2)
    cluster.settle(rounds: 10)
    #expect(cluster.executed[last].count == 49)
  }

  @Test("transfers back to back: a higher target while one is under way, and again after it")
  func backToBack() {
    let cluster = OrderingCluster(replicas: 4)
    cluster.transfersAtOnce = false
    var number: UInt64 = 0
    func advance(_ count: Int) {
      for _ in 0..<count {
        number += 1
        cluster.propose(number)
        cluster.deliver { $0.to != 3 || $0.message.isCheckpoint }
        cluster.drop { _ in true }
      }
    }
    advance(24)
    #expect(cluster.cores[3].isFetchingState)
    let first = cluster.transfers[3].last
    advance(8)
    #expect(cluster.transfers[3].count >= 2)
    cluster.give(.stateTransferFailed, to: 3)
    #expect(!cluster.cores[3].isFetchingState)
    advance(4)
    #expect(cluster.cores[3].isFetchingState)
    if let target = cluster.transfers[3].last { cluster.transfer(target, to: 3) }
    #expect(cluster.executed[3].count == 36)
    #expect(cluster.transfers[3].last != first)
    advance(24)
    if let target = cluster.transfers[3].last { cluster.transfer(target, to: 3) }
    cluster.settle()
    #expect(cluster.executed[3].count == 60)
    #expect(cluster.cores[3].stableCheckpoint.sequence == SequenceNumber(60))
  }

  @Test(
    "a slow executor and a view change at every checkpoint: nobody transfers, nothing is lost (Fabric #1877)")
  func slowExecutor() {
    let cluster = OrderingCluster(replicas: 4)
    cluster.checkpointsAtOnce = false
    var number: UInt64 = 0
    for view in 0..<100 as Range<UInt64> {
      let primary = Int(view % 4)
      for _ in 0..<4 {
        number += 1
        #expect(cluster.cores[primary].canPropose)
        cluster.propose(number, by: primary)
      }
      cluster.deliver()
      cluster.suspectPrimary()
      // The digests of the states come only now.
      for (node, sequence) in cluster.delayedCheckpoints { cluster.takeLateCheckpoint(sequence, of: node) }
      cluster.delayedCheckpoints = []
      cluster.deliver()
      #expect(cluster.cores.allSatisfy { $0.view == View(view + 1) && $0.isActive })
    }
    #expect(cluster.executed.allSatisfy { $0.count == 400 })
    #expect(allEmpty(cluster.transfers))
  }
}

@Suite("Restart and recovery (decision record 18)")
struct RecoveryTests {
  @Test("W12: the view survives a restart, entered or not")
  func viewSurvives() {
    let cluster = OrderingCluster(replicas: 4)
    cluster.suspectPrimary { !$0.message.isNewView }
    cluster.drop { _ in true }
    cluster.crash(2)
    cluster.restart(2)
    #expect(cluster.cores[2].pendingView == View(1))
    // It asks again for the view it had asked for.
    #expect(cluster.flights.contains { $0.message.isViewChange && $0.from == 2 })
    cluster.settle()
    #expect(cluster.cores[2].isActive)
    let view = cluster.cores[2].view
    #expect(view >= View(1))
    cluster.crash(2)
    cluster.restart(2)
    #expect(cluster.cores[2].view == view && cluster.cores[2].isActive)
  }

  @Test(
    "all lose their power at any moment: what was executed anywhere is executed everywhere",
    arguments: [4, 5, 7])
  func powerCut(replicas: Int) {
    for moment in 1...80 {
      let cluster = OrderingCluster(replicas: replicas)
      for number in 1...6 as ClosedRange<UInt64> { cluster.propose(number) }
      for _ in 0..<moment * replicas / 2 where !cluster.flights.isEmpty {
        cluster.deliver(cluster.flights.remove(at: moment % cluster.flights.count))
      }
      let before = cluster.executed.max { $0.count < $1.count } ?? []
      cluster.drop { _ in true }
      for index in cluster.nodes.indices { cluster.crash(index) }
      for index in cluster.nodes.indices { cluster.restart(index) }
      cluster.settle(rounds: 60)
      for executed in cluster.executed { #expect(Array(executed.prefix(before.count)) == before) }
    }
  }

  @Test("a restarted replica says again exactly what it had said")
  func sameVotes() {
    let cluster = OrderingCluster(replicas: 4)
    cluster.propose(1)
    cluster.deliver { !$0.message.isCommit }
    cluster.drop { _ in true }
    cluster.crash(1)
    cluster.restart(1)
    let other = PrePrepare(
      view: .zero, sequence: SequenceNumber(1), digest: digest(2), batch: cluster.newHandle())
    cluster.deliver(.prePrepare(other), from: 0, to: 1)
    #expect(cluster.rejections[1].last == .conflictingPrePrepare)
    #expect(
      !cluster.flights.contains { $0.from == 1 && $0.message.isPrepare && $0.message != .prepare(prepare(1)) }
    )
    cluster.settle()
    #expect(cluster.executed.allSatisfy { $0.map(\.digest) == [digest(1)] })
  }

  private func prepare(_ number: UInt64) -> Prepare {
    Prepare(view: .zero, sequence: SequenceNumber(number), digest: digest(number))
  }

  @Test(
    "one that has lost its disk says nothing that counts until a checkpoint is beyond what it may have said")
  func abstains() {
    let cluster = OrderingCluster(replicas: 4, period: 2, multiplier: 2)
    cluster.propose(1)
    cluster.deliver()
    cluster.crash(3)
    cluster.restart(3, recovering: true)
    #expect(cluster.cores[3].isRecovering)
    var number: UInt64 = 1
    while cluster.cores[3].isRecovering, number < 20 {
      number += 1
      cluster.propose(number)
      while let index = cluster.flights.indices.first {
        let flight = cluster.flights.remove(at: index)
        if flight.from == 3, cluster.cores[3].isRecovering {
          let message = flight.message
          #expect(!message.isPrepare && !message.isCommit && !message.isCheckpoint && !message.isSuspect)
        }
        cluster.deliver(flight)
      }
    }
    // h was 0 and L is 4: from a stable checkpoint of 4 on.
    #expect(cluster.cores[3].stableCheckpoint.sequence >= SequenceNumber(4))
    #expect(cluster.recovered[3] == 1)
    cluster.propose(number + 1)
    #expect(!cluster.flights.isEmpty)
    cluster.deliver()
    #expect(cluster.executed.allSatisfy { $0.count == Int(number) + 1 })
  }

  @Test("if all have lost their disks nobody votes and nothing is made up")
  func allLost() {
    let cluster = OrderingCluster(replicas: 4, started: false)
    for index in 0..<4 { cluster.give(.start(recovering: true), to: index) }
    cluster.settle(rounds: 50)
    #expect(cluster.cores.allSatisfy { $0.isRecovering && !$0.canPropose })
  }

  @Test("promises above the window: abstain until they can be stated")
  func promisesAboveWindow() {
    let cluster = OrderingCluster(replicas: 4, started: false)
    let core = cluster.cores[1]
    let claim = Claim(sequence: SequenceNumber(20), digest: digest(20), view: .zero)
    core.restore(
      OrderingState(
        entries: [
          OrderingState.Entry(
            claim: claim, isPrepared: true, batch: cluster.newBatch(digest(20), at: 1),
            isReconfiguration: false)
        ]))
    cluster.give(.start(recovering: false), to: 1)
    #expect(core.isRecovering)
    let state = Checkpoint(sequence: SequenceNumber(4), digest: digest(4))
    cluster.give(.stateTransferred(state), to: 1)
    #expect(!core.isRecovering)
    #expect(core.durableState.entries.map(\.claim) == [claim])
  }

  @Test("the durable state of a core restores it")
  func durableState() {
    let cluster = OrderingCluster(replicas: 4)
    for number in 1...6 as ClosedRange<UInt64> { cluster.propose(number) }
    cluster.deliver { !($0.message.isCommit && $0.message.sequence == SequenceNumber(6)) }
    let state = cluster.cores[1].durableState
    let copy = OrderingCore(
      configuration: cluster.configuration, id: ReplicaID(1), membership: cluster.membership)
    copy.restore(state)
    #expect(copy.durableState == state)
    #expect(copy.lastExecuted == cluster.cores[1].lastExecuted)
    #expect(state.decisions.map(\.sequence) == [SequenceNumber(5)])
  }

  @Test("W17: one replica alone is never left between views")
  func alone() {
    let cluster = OrderingCluster(replicas: 1, viewChangePeriod: 1)
    for number in 1...50 as ClosedRange<UInt64> {
      cluster.propose(number)
      #expect(cluster.cores[0].isActive)
    }
    #expect(cluster.cores[0].view == View(12))
    #expect(cluster.executed[0].count == 50)
    cluster.crash(0)
    cluster.restart(0)
    #expect(cluster.cores[0].isActive && cluster.cores[0].view == View(12))
    #expect(cluster.cores[0].lastExecuted == SequenceNumber(50))
  }
}

@Suite("Membership barrier (decision record 3)")
struct ReconfigurationTests {
  @Test(
    "a reconfiguration stands alone: nothing above it is proposed, accepted or executed",
    arguments: [1, 4, 7])
  func barrier(replicas: Int) {
    let cluster = OrderingCluster(replicas: replicas)
    cluster.propose(1)
    cluster.propose(reconfiguration(2), by: 0)
    // One replica alone has its stable checkpoint at once.
    #expect(cluster.cores[0].canPropose == (replicas == 1))
    if replicas > 1 {
      cluster.deliver { $0.message.isPrePrepare }
      let above = PrePrepare(
        view: .zero, sequence: SequenceNumber(3), digest: digest(3), batch: cluster.newHandle())
      cluster.deliver(.prePrepare(above), from: 0, to: 1)
      #expect(cluster.rejections[1] == [.aboveReconfiguration])
    }
    cluster.deliver()
    // Its checkpoint is off the period.
    for index in cluster.nodes.indices {
      #expect(cluster.stable[index].map(\.sequence) == [SequenceNumber(2)])
    }
    // Nobody has replaced the cores: the change was refused, and the order goes on.
    cluster.propose(3)
    cluster.deliver()
    #expect(cluster.executed.allSatisfy { $0.map(\.digest) == [digest(1), reconfiguration(2), digest(3)] })
  }

  @Test("a new membership begins at the checkpoint of the old one")
  func newMembership() throws {
    let cluster = OrderingCluster(replicas: 4)
    cluster.propose(reconfiguration(1), by: 0)
    cluster.deliver()
    let begin = try #require(cluster.stable[0].last)
    let next = try #require(
      Membership(id: 1, replicas: (0...4).map { ReplicaID(Int32($0)) }, faults: 1))
    let core = OrderingCore(
      configuration: cluster.configuration, id: ReplicaID(2), membership: next, view: View(2), stable: begin)
    core.processEvent(.start(recovering: false))
    #expect(core.isPrimary && core.canPropose)
    core.processEvent(
      .propose(digest: digest(2), batch: BatchHandle(rawValue: 1), isReconfiguration: false))
    #expect(core.lastProposed == SequenceNumber(2))
    #expect(core.stableCheckpoint == begin)
  }

  @Test("a view change forgets a reconfiguration that nobody prepared")
  func forgotten() {
    let cluster = OrderingCluster(replicas: 4)
    cluster.propose(reconfiguration(1), by: 0)
    cluster.deliver { $0.message.isPrePrepare && $0.to == 1 }
    cluster.drop { _ in true }
    #expect(!cluster.cores[0].canPropose)
    cluster.suspectPrimary()
    #expect(cluster.cores[1].canPropose)
    cluster.propose(5, by: 1)
    cluster.deliver()
    #expect(cluster.executed.allSatisfy { $0.map(\.digest) == [digest(5)] })
  }
}

extension OrderingCluster {
  /// The digest of a state that has been passed since.
  func takeLateCheckpoint(_ sequence: SequenceNumber, of index: Int) {
    guard let snapshot = nodes[index].snapshots[sequence] else { return }
    let executed = nodes[index].executed
    nodes[index].executed = snapshot
    let state = stateDigest(of: index)
    nodes[index].executed = executed
    give(.checkpointTaken(Checkpoint(sequence: sequence, digest: state)), to: index)
  }
}
