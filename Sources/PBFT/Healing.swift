// Loss heals without a view change (decision record 16): who stands still asks; every replica re-sends its
// own votes, and f+1 that say what they have executed replace missing commits. What cannot be healed so is
// transferred (19).
//
// Kept true here: a vote sent again is the vote sent before; at rest nothing is sent; a peer costs a bounded
// number of answers per time, each of bounded size.

/// A batch known by its digest only, for this sequence number.
struct WantedBatch {
  var sequence: SequenceNumber
  var digest: Digest
}

/// What the healing timer compares.
struct HealingMark: Equatable {
  var view = View.zero
  var inForce = true
  var executed = SequenceNumber.zero
  var stable = SequenceNumber.zero
}

struct HealingState {
  var isRunning = false
  var doublings = 0
  var mark = HealingMark()
  /// A message has shown that somebody is further than this replica; asked about once.
  var hasEvidence = false
  /// Where the last answers end; beyond it the next query is due at once.
  var askedThrough = SequenceNumber(UInt64.max)
}

/// Whether the others are still to be told where this replica stands.
struct StandingState {
  var isRunning = false
  var mark = HealingMark()
}

extension OrderingCore {
  /// Sequence numbers per answer.
  static var answerLength: UInt64 { 32 }
  private static var fetchesPerQuery: Int { 16 }

  private var mark: HealingMark {
    HealingMark(view: currentView, inForce: inForce, executed: executedThrough, stable: stable.sequence)
  }

  /// Whether something is known to be missing here.
  var isUnfinished: Bool {
    !inForce || recovering || isTransferring || healing.hasEvidence || !wanted.isEmpty
      || highestSeen > executedThrough && executedThrough < barrier
      || certifiedCheckpoint.sequence > executedThrough
      || newView.through > executedThrough && executedThrough < barrier
      || lastOwnCheckpoint > stable.sequence && !isDiverged || settledThrough < executedThrough
  }

  /// Through where this replica has executed, and has all the votes it needs to vote itself in the view in force. What it
  /// has executed in an earlier view, or on the word of f+1 others, the rest may still need its votes for.
  private var settledThrough: SequenceNumber {
    guard mayVote else { return executedThrough }
    var sequence = max(stable.sequence, newView.start)
    while sequence < executedThrough {
      let next = SequenceNumber(sequence.rawValue + 1)
      guard log.slot(next).pointee.phase >= .prepared else { return sequence }
      sequence = next
    }
    return executedThrough
  }

  func armHealing() {
    guard started, !healing.isRunning, membership.count > 1, isUnfinished else { return }
    healing.isRunning = true
    healing.mark = mark
    emit(
      .startTimer(.healing, afterNanoseconds: configuration.healingNanoseconds << Int64(healing.doublings)))
  }

  /// A message shows that others are further.
  func noteEvidence() {
    healing.hasEvidence = true
    if !healing.isRunning { armHealing() }
  }

  func healingDue() {
    healing.isRunning = false
    guard isUnfinished else {
      healing.doublings = 0
      return
    }
    if healing.mark == mark {
      acceptByPrepares()
      ask()
      if healing.doublings >= 2 { considerTransfer(isStuck: true) }
      healing.doublings = min(healing.doublings + 1, 4)
    } else {
      healing.doublings = 0
    }
    // What was only a hint has been asked about; else the timer runs on.
    armHealing()
  }

  /// Something has been executed, or a link has changed: once all is quiet the others are told where this
  /// replica stands, once, so that one that has missed the last votes hears of it (decision record 58).
  func armStanding() {
    guard started, !recovering, membership.count > 1, configuration.nullRequestNanoseconds == 0 else {
      return
    }
    guard !standing.isRunning else { return }
    standing.isRunning = true
    standing.mark = mark
    emit(.startTimer(.standing, afterNanoseconds: configuration.healingNanoseconds))
  }

  func standingDue() {
    standing.isRunning = false
    // What stands still here is healed by asking, and what moves will come to rest.
    guard !isUnfinished, !recovering else { return }
    guard standing.mark == mark else { return armStanding() }
    emit(.broadcast(.status(status(asks: false))))
  }

  /// Asks everybody.
  func ask() {
    healing.hasEvidence = false
    healing.askedThrough = SequenceNumber(executedThrough.rawValue &+ OrderingCore.answerLength)
    counters.statusQueries &+= 1
    emit(.broadcast(.status(status(asks: true))))
    for entry in wanted.prefix(OrderingCore.fetchesPerQuery) { emit(.fetch(entry.digest)) }
  }

  /// The answers have been used up and there is more to ask for.
  func askForMore() {
    guard executedThrough >= healing.askedThrough else { return }
    healing.askedThrough = SequenceNumber(UInt64.max)
    if started, peers.isAnyAhead(of: executedThrough) { ask() }
  }

  private func status(asks: Bool) -> Status {
    Status(
      view: currentView, isActive: inForce, isRecovering: recovering, asks: asks, stable: stable.sequence,
      prepared: max(highestPrepared, executedThrough), executed: asks ? settledThrough : executedThrough)
  }

  func want(_ digest: Digest, at sequence: SequenceNumber) {
    guard !wanted.contains(where: { $0.sequence == sequence && $0.digest == digest }) else { return }
    wanted.append(WantedBatch(sequence: sequence, digest: digest))
    if started { emit(.fetch(digest)) }
    armHealing()
  }

  // MARK: Answers

  func mayAnswer(_ position: Int) -> Bool {
    switch peers.spendAnswer(position) {
    case .refused: return false
    case .granted: return true
    case .grantedFirst:
      emit(.startTimer(.answers, afterNanoseconds: max(1, configuration.healingNanoseconds / 4)))
      return true
    }
  }

  /// A peer says where it stands, and perhaps asks for what it lacks.
  func receive(_ status: Status, from position: Int) -> Rejection? {
    peers.note(status, position)
    if status.executed > executedThrough || status.stable > stable.sequence || status.view > currentView
      || (status.view == currentView && status.isActive && !inForce)
    {
      noteEvidence()
    }
    considerTransfer()
    if recovering { settleRecovery() }
    guard status.asks else {
      // An answer to the own query: what stands still here may be what that peer has never heard of.
      if highestSeen > executedThrough, mayAnswer(position) { resendAll(to: status, position) }
      return nil
    }
    guard mayAnswer(position) else { return .tooManyQueries }
    answer(status, position)
    return nil
  }

  private func answer(_ query: Status, _ position: Int) {
    let peer = membership.replicas[position]
    counters.answers &+= 1
    if let handle = newView.handle, inForce,
      query.view < currentView || (query.view == currentView && !query.isActive)
    {
      emit(.send(.newView(handle), to: peer))
    } else if !inForce, !(currentView < query.view), let own = viewChanges[self.position].handle {
      emit(.send(.viewChange(own), to: peer))
    }
    if !recovering {
      if query.stable < stable.sequence { emit(.send(.checkpoint(stable), to: peer)) }
      if lastOwnCheckpoint > query.stable {
        let bound = max(query.stable, stable.sequence)
        for checkpoint in checkpoints.checkpoints(of: self.position, above: bound) {
          emit(.send(.checkpoint(checkpoint), to: peer))
        }
      }
    }
    resendAll(to: query, position)
    emit(.send(.status(status(asks: false)), to: peer))
  }

  /// What this replica has said of the numbers that the peer has not executed, from the lowest on.
  private func resendAll(to query: Status, _ position: Int) {
    let peer = membership.replicas[position]
    var sequence = max(query.executed, stable.sequence)
    let last = min(highestSeen.rawValue, sequence.rawValue &+ OrderingCore.answerLength)
    let sameView = inForce && query.view == currentView && query.isActive
    while sequence.rawValue < last {
      sequence.rawValue += 1
      guard windowRejection(sequence) == nil else { break }
      let slot = log.slot(sequence)
      if slot.pointee.decision == .executed {
        emit(
          .send(.executed(Executed(sequence: sequence, digest: slot.pointee.decidedDigest)), to: peer))
      }
      if sameView { resendVotes(sequence, position, peer) }
    }
  }

  /// The own votes of the view in force, as they were.
  private func resendVotes(_ sequence: SequenceNumber, _ asking: Int, _ peer: ReplicaID) {
    let slot = log.slot(sequence)
    let digest = slot.pointee.digest
    guard slot.pointee.phase >= .prePrepared else { return }
    // Whoever has prepared it has it.
    if isPrimary, !recovering, sequence > newView.through, !slot.pointee.prepares.contains(asking),
      slot.pointee.batch != .none || digest == .zero
    {
      let prePrepare = PrePrepare(
        view: currentView, sequence: sequence, digest: digest, batch: slot.pointee.batch)
      emit(.send(.prePrepare(prePrepare), to: peer))
    }
    if slot.pointee.prepares.contains(position) {
      emit(.send(.prepare(Prepare(view: currentView, sequence: sequence, digest: digest)), to: peer))
    }
    if slot.pointee.commits.contains(position) {
      emit(.send(.commit(Commit(view: currentView, sequence: sequence, digest: digest)), to: peer))
    }
  }

  /// f+1 replicas that have executed a batch replace a quorum of commits.
  func receive(_ executed: Executed, from position: Int) -> Rejection? {
    if let rejection = windowRejection(executed.sequence) {
      if rejection == .aboveWindow { noteEvidence() }
      return rejection
    }
    switch log.record(.execution, of: position, for: executed.sequence, digest: executed.digest) {
    case .duplicate: return .duplicate
    case .conflicting: return .conflictingVote
    case .counted, .stored: break
    }
    let slot = log.slot(executed.sequence)
    guard slot.pointee.decision == .none,
      log.executions(of: executed.digest, at: executed.sequence) >= quorums.weakQuorum
    else { return nil }
    counters.decidedByOthers &+= 1
    let known = knownBatch(executed.digest, at: executed.sequence)
    decide(
      executed.sequence, executed.digest, known?.batch ?? .none,
      isReconfiguration: known?.isReconfiguration ?? false)
    return nil
  }

  // MARK: State transfer

  /// f+1 replicas vouch for a state above ours.
  func raiseTarget(to checkpoint: Checkpoint) {
    guard checkpoint.sequence > target.sequence, checkpoint.sequence > executedThrough else { return }
    target = checkpoint
    armHealing()
    considerTransfer()
  }

  /// Transfers when votes can no longer heal: the others' logs begin above what is missing here. Whoever has
  /// taken a checkpoint n has a log that begins at n - L or above. Also when asking has moved nothing.
  func considerTransfer(isStuck: Bool = false) {
    let goal = certifiedCheckpoint
    guard started, goal.sequence > executedThrough else { return }
    let isOutOfReach =
      isStuck || goal.sequence.rawValue &- executedThrough.rawValue > configuration.logSize
      || peers.count(stableAbove: executedThrough) >= quorums.weakQuorum
    guard isTransferring ? goal.sequence > transferTarget.sequence : isOutOfReach else { return }
    if !isTransferring { counters.transfersBegun &+= 1 }
    isTransferring = true
    transferTarget = goal
    emit(.transferState(goal))
    armHealing()
  }

  func finishTransfer(at checkpoint: Checkpoint) {
    precondition(checkpoint.sequence >= executedThrough, "a transfer never goes back")
    isTransferring = false
    counters.transfersEnded &+= 1
    executedThrough = checkpoint.sequence
    if checkpoint.sequence > lastOwnCheckpoint { lastOwnCheckpoint = checkpoint.sequence }
    if checkpoint.sequence > highestPrepared { highestPrepared = checkpoint.sequence }
    if checkpoint.sequence > highestCertified.sequence { highestCertified = checkpoint }
    wanted.removeAll { $0.sequence <= checkpoint.sequence }
    isDiverged = false
    if checkpoint.sequence > stable.sequence { moveWatermarks(to: checkpoint) }
    // Others may need it to be stable (Fabric FAB-379).
    if started, !recovering { emit(.broadcast(.checkpoint(checkpoint))) }
    executeInOrder()
    if started, membership.count > 1 { ask() }
    armHealing()
    considerTransfer()
  }

  func abandonTransfer() {
    guard isTransferring else { return }
    isTransferring = false
    executeInOrder()
    if started, membership.count > 1 { ask() }
    armHealing()
  }
}
