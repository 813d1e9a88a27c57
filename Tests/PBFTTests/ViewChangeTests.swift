import Testing

@testable import PBFT

@Suite("View change (OSDI '99 §4.4)")
struct ViewChangeTests {
  @Test("a quorum of suspicions leads to the next view, whose primary orders", arguments: clusters)
  func nextPrimary(replicas: Int, model: FaultModel) {
    let cluster = OrderingCluster(replicas: replicas, model: model)
    cluster.propose(1)
    cluster.deliver()
    for view in 1...UInt64(replicas) * 2 {
      cluster.suspectPrimary()
      // A primary that is alone has nobody to suspect it.
      guard replicas > 1 else { return }
      let primary = Int(view) % replicas
      for core in cluster.cores {
        #expect(core.view == View(view))
        #expect(core.isActive && core.pendingView == nil)
      }
      cluster.propose(view + 1, by: primary)
      cluster.deliver()
    }
    let expected = (1...UInt64(replicas) * 2 + 1).map {
      Execution(sequence: SequenceNumber($0), digest: digest($0))
    }
    for executed in cluster.executed { #expect(executed == expected) }
  }

  @Test("a batch committed at one replica alone survives the crash of its primary", arguments: [4, 5, 7])
  func committedSurvives(replicas: Int) {
    let cluster = OrderingCluster(replicas: replicas)
    cluster.propose(1)
    cluster.propose(2)
    // Commits reach replica 1 only.
    cluster.deliver { !$0.message.isCommit || $0.to == 1 }
    #expect(cluster.executed.map(\.count) == (0..<replicas).map { $0 == 1 ? 2 : 0 })
    cluster.crash(0)
    cluster.drop { _ in true }
    cluster.suspectPrimary()
    cluster.settle()
    for index in 1..<replicas { #expect(cluster.executed[index].map(\.digest) == [digest(1), digest(2)]) }
  }

  @Test("a gap that nobody prepared becomes a null request, and what nobody pre-prepared is forgotten")
  func gapBecomesNull() {
    let cluster = OrderingCluster(replicas: 4)
    for number in 1...3 as ClosedRange<UInt64> { cluster.propose(number) }
    cluster.deliver { $0.message.sequence == SequenceNumber(2) && !$0.message.isCommit }
    cluster.crash(0)
    cluster.drop { _ in true }
    cluster.suspectPrimary()
    for index in 1...3 {
      #expect(cluster.executed[index].map(\.digest) == [.zero, digest(2)])
      #expect(cluster.cores[index].lastExecuted == SequenceNumber(2))
    }
    #expect(cluster.cores[1].lastProposed == SequenceNumber(2))
    cluster.propose(9, by: 1)
    cluster.deliver()
    #expect(cluster.executed[2].last?.digest == digest(9))
  }

  @Test("f+1 replicas in later views are followed to the lowest of them; f are not", arguments: [4, 7])
  func joinRule(replicas: Int) {
    let cluster = OrderingCluster(replicas: replicas)
    let weak = cluster.quorums.weakQuorum
    for index in 1...weak {
      #expect(cluster.cores[0].pendingView == nil)
      cluster.deliver(viewChange(view: UInt64(2 + index), from: index, to: 0))
    }
    #expect(cluster.cores[0].pendingView == View(3))
  }

  @Test("a replica without a NEW-VIEW in time asks for the next view, waiting twice as long each time; W4")
  func newViewTimeouts() {
    let cluster = OrderingCluster(replicas: 4)
    // The primaries of views 1, 2 and 3 say nothing.
    cluster.suspectPrimary { !$0.message.isNewView }
    for view in 1...2 as ClosedRange<UInt64> {
      #expect(cluster.cores[0].pendingView == View(view))
      for index in 0...3 where cluster.membership.primaryPosition(of: View(view)) != index {
        cluster.expire(.newView, of: index)
      }
      cluster.deliver { !$0.message.isNewView }
      cluster.drop { _ in true }
    }
    let waits = cluster.timerDelays[0].filter { $0.timer == .newView }.map(\.delay)
    // Once per view, however many VIEW-CHANGEs come (Fabric doubled with each of them).
    #expect(waits == [10_000, 20_000, 40_000])
  }

  @Test("W4: the wait is the first one again after a client's batch")
  func timeoutResets() {
    let cluster = OrderingCluster(replicas: 4)
    cluster.suspectPrimary { !$0.message.isNewView }
    cluster.drop { _ in true }
    for index in 0...3 where index != 1 { cluster.expire(.newView, of: index) }
    cluster.deliver()
    #expect(cluster.cores.allSatisfy { $0.view == View(2) && $0.isActive })
    cluster.propose(1, by: 2)
    cluster.deliver()
    cluster.suspectPrimary()
    #expect(cluster.timerDelays[0].filter { $0.timer == .newView }.map(\.delay) == [10_000, 20_000, 10_000])
  }

  @Test("the own VIEW-CHANGE is repeated with back-off while the view is not entered, and then no more")
  func resend() {
    let cluster = OrderingCluster(replicas: 4)
    cluster.suspectPrimary { $0.message.isSuspect }
    cluster.drop { _ in true }
    for count in 1...6 {
      cluster.expire(.viewChangeResend, of: 1)
      #expect(cluster.flights.count { $0.message.isViewChange && $0.from == 1 } == 3 * count)
    }
    #expect(
      cluster.timerDelays[1].filter { $0.timer == .viewChangeResend }.map(\.delay)
        == [3, 6, 12, 24, 48, 48, 48].map { $0 * 1_000 })
    cluster.settle()
    #expect(cluster.cores.allSatisfy { $0.isActive })
    #expect(cluster.nodes.allSatisfy { $0.timers[.viewChangeResend] == nil })
  }

  @Test("votes of a view that come before its NEW-VIEW are kept and counted")
  func earlyVotes() {
    let cluster = OrderingCluster(replicas: 4)
    cluster.suspectPrimary { !($0.to == 3 && $0.message.isNewView) }
    cluster.propose(1, by: 1)
    cluster.deliver { !($0.to == 3 && $0.message.isNewView) }
    #expect(cluster.executed[3].isEmpty)
    cluster.deliver()
    #expect(cluster.executed[3].count == 1)
  }

  @Test("what is kept of views to come is bounded per sender")
  func earlyBound() {
    let cluster = OrderingCluster(replicas: 4)
    for number in 1...200 as ClosedRange<UInt64> {
      let vote = Prepare(view: View(5), sequence: SequenceNumber(number), digest: digest(number))
      cluster.deliver(.prepare(vote), from: 2, to: 0)
      let batch = cluster.newBatch(digest(number), at: 0)
      let prePrepare = PrePrepare(
        view: View(5), sequence: SequenceNumber(number), digest: digest(number), batch: batch)
      cluster.deliver(.prePrepare(prePrepare), from: 1, to: 0)
    }
    #expect(cluster.rejections[0].count { $0 == .tooEarly } == 400 - 64 - 8)
    #expect(cluster.nodes[0].batches.count == 8)
  }

  @Test("a NEW-VIEW relayed by anybody admits a replica that never left its view")
  func relayedNewView() throws {
    let cluster = OrderingCluster(replicas: 4)
    cluster.suspectPrimary { $0.to != 3 }
    let newView = try #require(cluster.flights.first { $0.to == 3 && $0.message.isNewView })
    cluster.drop { _ in true }
    #expect(cluster.cores[3].view == .zero && cluster.cores[3].isActive)
    var relayed = newView
    relayed.from = 2
    cluster.deliver(relayed)
    #expect(cluster.cores[3].view == View(1) && cluster.cores[3].isActive)
    #expect(cluster.records[3].contains { if case .viewEntered = $0 { true } else { false } })
  }

  @Test("a planned rotation at the checkpoint that ends the view", arguments: [1, 2])
  func rotation(viewChangePeriod: UInt64) {
    let cluster = OrderingCluster(replicas: 4, period: 2, viewChangePeriod: viewChangePeriod)
    var number: UInt64 = 0
    for view in 0...5 as ClosedRange<UInt64> {
      let primary = Int(view) % 4
      for _ in 0..<(2 * viewChangePeriod) {
        #expect(cluster.cores[primary].canPropose)
        number += 1
        cluster.propose(number, by: primary)
      }
      #expect(!cluster.cores[primary].canPropose, "nothing beyond the end of the view")
      cluster.deliver()
      #expect(cluster.cores.allSatisfy { $0.view == View(view + 1) && $0.isActive })
    }
    #expect(cluster.executed.allSatisfy { $0.count == Int(number) })
  }

  @Test("a pre-prepare beyond the planned end of the view is rejected")
  func beyondViewLimit() {
    let cluster = OrderingCluster(replicas: 4, viewChangePeriod: 1)
    let prePrepare = PrePrepare(
      view: .zero, sequence: SequenceNumber(5), digest: digest(5), batch: cluster.newHandle())
    cluster.deliver(.prePrepare(prePrepare), from: 0, to: 1)
    #expect(cluster.rejections[1] == [.aboveViewLimit])
  }

  @Test("an idle primary shows itself by null requests, a silent one is suspected")
  func nullRequests() {
    let cluster = OrderingCluster(replicas: 4, nullRequest: 1_000)
    cluster.expire(.nullRequest, of: 0)
    cluster.deliver()
    for executed in cluster.executed { #expect(executed.map(\.digest) == [.zero]) }
    #expect(cluster.timerDelays[0].last { $0.timer == .nullRequest }?.delay == 1_000)
    #expect(cluster.timerDelays[1].last { $0.timer == .nullRequest }?.delay == 5_000)
    for index in 1...3 { cluster.expire(.nullRequest, of: index) }
    cluster.deliver()
    #expect(cluster.cores.allSatisfy { $0.view == View(1) && $0.isActive })
    #expect(cluster.executed.allSatisfy { $0.count == 1 })
  }

  @Test("accusations of f+1 replicas are reported once, one replica's never")
  func accusations() {
    let cluster = OrderingCluster(replicas: 4)
    cluster.give(.suspectPrimary(accused: 7), to: 1)
    cluster.deliver()
    #expect(allEmpty(cluster.accused))
    cluster.give(.suspectPrimary(accused: 7), to: 2)
    cluster.deliver()
    #expect(cluster.accused.allSatisfy { $0 == [7] })
  }

  @Test("a claim is written before the vote that makes it, and leaving before the VIEW-CHANGE")
  func persistBeforeVote() {
    let cluster = OrderingCluster(replicas: 4, started: false)
    let core = cluster.cores[1]
    core.processEvent(.start(recovering: false))
    core.processEvent(
      .prePrepare(
        PrePrepare(
          view: .zero, sequence: SequenceNumber(1), digest: digest(1), batch: BatchHandle(rawValue: 5)),
        isReconfiguration: false, from: ReplicaID(0)))
    for index in [2, 3] as [Int32] {
      core.processEvent(
        .message(
          .prepare(Prepare(view: .zero, sequence: SequenceNumber(1), digest: digest(1))),
          from: ReplicaID(index)))
    }
    for index in [0, 2, 3] as [Int32] {
      core.processEvent(.message(.suspect(Suspect(view: .zero)), from: ReplicaID(index)))
    }
    var order: [String] = []
    while let effect = core.takeEffect() {
      switch effect {
      case .persist(.prePrepared): order.append("P")
      case .broadcast(.prepare): order.append("prepare")
      case .persist(.prepared): order.append("Q")
      case .broadcast(.commit): order.append("commit")
      case .persist(.viewLeft): order.append("left")
      case .broadcast(.viewChange): order.append("viewChange")
      case .sign(let handle): core.processEvent(.signed(handle, .none))
      default: break
      }
    }
    #expect(order == ["P", "prepare", "Q", "commit", "left", "viewChange"])
  }

  @Test("an executed batch is voted for again in the next view and executed once")
  func executedOnce() {
    let cluster = OrderingCluster(replicas: 4)
    for number in 1...3 as ClosedRange<UInt64> { cluster.propose(number) }
    cluster.deliver()
    for _ in 0..<5 { cluster.suspectPrimary() }
    #expect(cluster.executed.allSatisfy { $0.count == 3 })
    #expect(cluster.cores.allSatisfy { $0.view == View(5) })
  }

  @Test("leader re-proposes a decided batch: it has another number, and no batch is lost or freed twice")
  func decidedBatchAgain() {
    let cluster = OrderingCluster(replicas: 4)
    for _ in 1...8 { cluster.propose(1) }
    cluster.deliver()
    #expect(cluster.executed.allSatisfy { $0.count == 8 })
    #expect(cluster.nodes.allSatisfy { $0.batches.isEmpty })
    // For a number that is settled the primary of a later view cannot say anything else.
    cluster.propose(2)
    cluster.deliver()
    cluster.suspectPrimary()
    let other = PrePrepare(
      view: View(1), sequence: SequenceNumber(9), digest: digest(3), batch: cluster.newHandle())
    cluster.deliver(.prePrepare(other), from: 1, to: 2)
    #expect(cluster.rejections[2].last == .againstNewView)
  }
}

/// A VIEW-CHANGE as a faulty replica makes it.
func viewChange(view: UInt64, from: Int, to: Int, _ change: (inout ViewChange) -> Void = { _ in }) -> Flight {
  var content = ViewChange(
    view: View(view), membershipID: 0, replica: ReplicaID(Int32(from)),
    stable: Checkpoint(sequence: .zero, digest: .zero))
  change(&content)
  return Flight(
    message: .viewChange(StatementHandle(rawValue: 0)), from: from, to: to,
    statement: SignedStatement(statement: .viewChange(content), signature: .none))
}
