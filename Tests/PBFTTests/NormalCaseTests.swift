import PBFT
import Testing

/// Every size and fault model of decision record 2.
let clusters: [(Int, FaultModel)] = [
  (1, .byzantine), (4, .byzantine), (5, .byzantine), (6, .byzantine), (7, .byzantine), (3, .crash),
  (5, .crash),
]

@Suite("Normal case (OSDI '99 §4.2)")
struct NormalCaseTests {
  @Test("every replica executes what the primary orders, in its order", arguments: clusters)
  func allExecute(replicas: Int, model: FaultModel) {
    let cluster = OrderingCluster(replicas: replicas, model: model)
    for number in 1...3 { cluster.propose(UInt64(number)) }
    cluster.deliver()
    let expected = (1...3).map { Execution(sequence: SequenceNumber(UInt64($0)), digest: digest(UInt64($0))) }
    for executed in cluster.executed { #expect(executed == expected) }
    #expect(allEmpty(cluster.rejections))
  }

  @Test("one replica alone commits at once and sends what nobody has to answer")
  func aloneCommitsAtOnce() {
    let cluster = OrderingCluster(replicas: 1)
    for number in 1...100 {
      #expect(cluster.cores[0].canPropose)
      cluster.propose(UInt64(number))
      #expect(cluster.cores[0].lastExecuted == SequenceNumber(UInt64(number)))
    }
    #expect(cluster.cores[0].stableCheckpoint.sequence == SequenceNumber(100))
    #expect(cluster.discarded[0].count == 100)
  }

  @Test("one prepare fewer than needed never makes a batch prepared", arguments: clusters.dropFirst())
  func prepareBoundary(replicas: Int, model: FaultModel) {
    let cluster = OrderingCluster(replicas: replicas, model: model)
    cluster.propose(1)
    cluster.deliver { $0.message.isPrePrepare }
    // The primary counts others' prepares only: Q - 1 of them.
    let prepares = cluster.flights.filter { $0.message.isPrepare && $0.to == 0 }
    let needed = cluster.quorums.prepares
    for flight in prepares.prefix(needed - 1) { cluster.deliver(flight.message, from: flight.from, to: 0) }
    #expect(!cluster.flights.contains { $0.message.isCommit && $0.from == 0 })
    cluster.deliver(prepares[needed - 1].message, from: prepares[needed - 1].from, to: 0)
    #expect(cluster.flights.contains { $0.message.isCommit && $0.from == 0 })
  }

  @Test("one commit fewer than a quorum never commits", arguments: clusters.dropFirst())
  func commitBoundary(replicas: Int, model: FaultModel) {
    let cluster = OrderingCluster(replicas: replicas, model: model)
    cluster.propose(1)
    cluster.deliver { !$0.message.isCommit }
    let commits = cluster.flights.filter { $0.to == 0 }
    // With its own, Q are needed.
    let needed = cluster.quorums.quorum - 1
    for flight in commits.prefix(needed - 1) { cluster.deliver(flight.message, from: flight.from, to: 0) }
    #expect(cluster.executed[0].isEmpty)
    cluster.deliver(commits[needed - 1].message, from: commits[needed - 1].from, to: 0)
    #expect(cluster.executed[0].count == 1)
  }

  @Test("commits do not commit what is not prepared")
  func commitsAloneDoNotCommit() {
    let cluster = OrderingCluster(replicas: 4)
    cluster.propose(1)
    cluster.deliver { $0.to != 3 && !($0.from == 3) }
    // Replica 3 gets the pre-prepare and every commit, and no prepare but its own.
    cluster.deliver { $0.to == 3 && ($0.message.isPrePrepare || $0.message.isCommit) }
    #expect(cluster.executed[3].isEmpty)
    cluster.deliver { $0.to == 3 && $0.message.isPrepare }
    #expect(cluster.executed[3].count == 1)
  }

  @Test("the primary's prepare does not count besides its pre-prepare")
  func primarySendsNoPrepare() {
    let cluster = OrderingCluster(replicas: 4)
    cluster.propose(1)
    cluster.deliver { $0.to == 1 && $0.message.isPrePrepare }
    cluster.deliver(
      .prepare(Prepare(view: .zero, sequence: SequenceNumber(1), digest: digest(1))), from: 0, to: 1)
    #expect(cluster.rejections[1] == [.prepareFromPrimary])
    #expect(!cluster.flights.contains { $0.message.isCommit })
  }

  @Test("votes that come before the pre-prepare are kept, and counted when it comes", arguments: [4, 5, 7])
  func votesBeforePrePrepare(replicas: Int) {
    let cluster = OrderingCluster(replicas: replicas)
    cluster.propose(1)
    let last = replicas - 1
    cluster.deliver { $0.to != last }
    cluster.deliver { $0.to == last && !$0.message.isPrePrepare }
    #expect(cluster.executed[last].isEmpty)
    #expect(cluster.rejections[last].isEmpty)
    cluster.deliver { $0.to == last && $0.message.isPrePrepare }
    #expect(cluster.executed[last].count == 1)
  }

  @Test("W2: votes for another digest never commit anything, however early they came")
  func votesForAnotherDigest() {
    let cluster = OrderingCluster(replicas: 4)
    let sequence = SequenceNumber(1)
    // Fabric executes with two of three commits for another digest (weak spot W2).
    for liar in [1, 2] {
      cluster.deliver(
        .prepare(Prepare(view: .zero, sequence: sequence, digest: digest(66))), from: liar, to: 3)
      cluster.deliver(.commit(Commit(view: .zero, sequence: sequence, digest: digest(66))), from: liar, to: 3)
    }
    cluster.propose(1)
    cluster.deliver { $0.message.isPrePrepare }
    cluster.deliver { $0.to == 3 && $0.from == 0 }
    #expect(cluster.executed[3].isEmpty)
    cluster.deliver()
    // Two of four replicas have voted for something else at 3: their later votes are conflicts there.
    #expect(cluster.executed[3].isEmpty)
    #expect(cluster.rejections[3].contains(.conflictingVote))
    for honest in 0...2 { #expect(cluster.executed[honest].count == 1) }
  }

  @Test("commits for another digest do not count towards a prepared batch", arguments: [true, false])
  func commitsForAnotherDigest(early: Bool) {
    let cluster = OrderingCluster(replicas: 4)
    let lie = Message.commit(Commit(view: .zero, sequence: SequenceNumber(1), digest: digest(66)))
    if early { for liar in [1, 2] { cluster.deliver(lie, from: liar, to: 3) } }
    cluster.propose(1)
    cluster.deliver { !$0.message.isCommit }
    if !early { for liar in [1, 2] { cluster.deliver(lie, from: liar, to: 3) } }
    // Prepared, and with its own commit and the primary's: one fewer than a quorum, whatever the liars say.
    cluster.deliver { $0.to == 3 && $0.from == 0 }
    #expect(cluster.executed[3].isEmpty)
    #expect(cluster.rejections[3].isEmpty)
  }

  @Test("the first vote of a replica counts and repetitions do not")
  func duplicateVotes() {
    let cluster = OrderingCluster(replicas: 4)
    cluster.propose(1)
    cluster.deliver { $0.message.isPrePrepare }
    let prepare = Message.prepare(Prepare(view: .zero, sequence: SequenceNumber(1), digest: digest(1)))
    for _ in 0..<5 { cluster.deliver(prepare, from: 1, to: 0) }
    #expect(cluster.rejections[0] == [.duplicate, .duplicate, .duplicate, .duplicate])
    #expect(!cluster.flights.contains { $0.message.isCommit && $0.from == 0 })
    let other = Message.prepare(Prepare(view: .zero, sequence: SequenceNumber(1), digest: digest(9)))
    cluster.deliver(other, from: 1, to: 0)
    #expect(cluster.rejections[0].last == .conflictingVote)
  }

  @Test(
    "a second pre-prepare for a number changes nothing, gives its batch back, and shows the primary faulty")
  func conflictingPrePrepare() {
    let cluster = OrderingCluster(replicas: 4)
    cluster.propose(1)
    cluster.deliver { $0.message.isPrePrepare }
    let other = PrePrepare(
      view: .zero, sequence: SequenceNumber(1), digest: digest(2), batch: BatchHandle(rawValue: 77))
    cluster.deliver(.prePrepare(other), from: 0, to: 1)
    #expect(cluster.rejections[1] == [.conflictingPrePrepare])
    #expect(cluster.discarded[1] == [BatchHandle(rawValue: 77)])
    #expect(cluster.suspected[1] == [.zero])
    let again = PrePrepare(
      view: .zero, sequence: SequenceNumber(1), digest: digest(1), batch: BatchHandle(rawValue: 78))
    cluster.deliver(.prePrepare(again), from: 0, to: 1)
    #expect(cluster.rejections[1].last == .duplicate)
    #expect(cluster.discarded[1].last == BatchHandle(rawValue: 78))
    cluster.deliver()
    for executed in cluster.executed { #expect(executed.map(\.digest) == [digest(1)]) }
  }

  @Test("sequence numbers that commit out of order are executed in order", arguments: [4, 7])
  func executionInOrder(replicas: Int) {
    let cluster = OrderingCluster(replicas: replicas)
    for number in 1...3 { cluster.propose(UInt64(number)) }
    for number in [3, 2] as [UInt64] {
      cluster.deliver { $0.message.sequence == SequenceNumber(number) }
      #expect(allEmpty(cluster.executed))
    }
    cluster.deliver()
    for executed in cluster.executed { #expect(executed.map(\.sequence.rawValue) == [1, 2, 3]) }
  }

  @Test("the last message first is as good an order as any", arguments: clusters)
  func reverseOrder(replicas: Int, model: FaultModel) {
    let cluster = OrderingCluster(replicas: replicas, model: model)
    for number in 1...8 { cluster.propose(UInt64(number)) }
    cluster.deliverInReverse()
    for executed in cluster.executed { #expect(executed.map(\.sequence.rawValue) == Array(1...8)) }
  }

  @Test("f silent backups stop nobody, one more stops everybody", arguments: clusters.dropFirst())
  func silentBackups(replicas: Int, model: FaultModel) {
    let faults = model.maximumFaults(replicas: replicas)
    let cluster = OrderingCluster(replicas: replicas, model: model)
    cluster.propose(1)
    cluster.deliver { $0.from < replicas - faults }
    for index in 0..<(replicas - faults) { #expect(cluster.executed[index].count == 1) }

    let broken = OrderingCluster(replicas: replicas, model: model)
    broken.propose(1)
    let voices = broken.quorums.quorum - 1
    broken.deliver { $0.from < voices && $0.to < voices }
    #expect(allEmpty(broken.executed))
  }
}

@Suite("What a peer sends wrong")
struct RejectionTests {
  @Test("numbers of any size are rejected, never trapped on", arguments: [0, 1, 17, UInt64.max - 1, .max])
  func extremeNumbers(number: UInt64) {
    let cluster = OrderingCluster(replicas: 4)
    let extremes: [UInt64] = [0, 1, 16, 17, 1 << 63, .max - 1, .max]
    for view in extremes {
      for sequence in extremes {
        let sequence = SequenceNumber(sequence)
        for sender in [0, 1, 2, 3, -1, Int(Int32.max), Int(Int32.min)] {
          let prePrepare = PrePrepare(
            view: View(view), sequence: sequence, digest: digest(number), batch: cluster.newHandle())
          for message: Message in [
            .prePrepare(prePrepare),
            .prepare(Prepare(view: View(view), sequence: sequence, digest: digest(number))),
            .commit(Commit(view: View(view), sequence: sequence, digest: digest(number))),
            .checkpoint(Checkpoint(sequence: sequence, digest: digest(number))),
            .executed(Executed(sequence: sequence, digest: digest(number))),
            .status(
              Status(
                view: View(view), isActive: true, isRecovering: false, asks: true, stable: sequence,
                prepared: sequence, executed: sequence)),
            .suspect(Suspect(view: View(view &+ 1))),
          ] {
            cluster.deliver(message, from: sender, to: 1)
          }
        }
      }
    }
    #expect(cluster.rejections[1].contains(.unknownSender))
    #expect(cluster.rejections[1].contains(.ownMessage))
    #expect(cluster.rejections[1].contains(.otherView))
    // All peers have voted for what the primary said of sequence number 1, whatever else they said.
    #expect(cluster.executed[1].map(\.sequence) == [SequenceNumber(1)])
  }

  @Test("only the primary of the view pre-prepares")
  func notThePrimary() {
    let cluster = OrderingCluster(replicas: 4)
    let prePrepare = PrePrepare(
      view: .zero, sequence: SequenceNumber(1), digest: digest(1), batch: BatchHandle(rawValue: 9))
    cluster.deliver(.prePrepare(prePrepare), from: 2, to: 1)
    #expect(cluster.rejections[1] == [.notPrimary])
    #expect(cluster.discarded[1] == [BatchHandle(rawValue: 9)])
    cluster.deliver(.prePrepare(prePrepare), from: 1, to: 0)
    #expect(cluster.rejections[0] == [.notPrimary])
  }

  @Test("messages outside the window are rejected by side", arguments: [(0, false), (16, true), (17, false)])
  func window(sequence: UInt64, accepted: Bool) {
    let cluster = OrderingCluster(replicas: 4)
    let commit = Commit(view: .zero, sequence: SequenceNumber(sequence), digest: digest(1))
    cluster.deliver(.commit(commit), from: 2, to: 1)
    #expect(cluster.rejections[1] == (accepted ? [] : [sequence == 0 ? .belowWindow : .aboveWindow]))
  }

  @Test("a replica that has not started takes part in nothing")
  func notStarted() {
    let core = OrderingCore(
      configuration: OrderingConfiguration(
        checkpointPeriod: 4, logMultiplier: 4, suspectResendNanoseconds: 1_000),
      id: ReplicaID(0), membership: Membership(count: 4))
    #expect(!core.canPropose && !core.isActive)
    core.processEvent(.message(.suspect(Suspect(view: .zero)), from: ReplicaID(1)))
    guard case .rejected(.notStarted, ReplicaID(1))? = core.takeEffect() else {
      Issue.record("a rejection was expected")
      return
    }
    #expect(core.takeEffect() == nil)
  }
}
