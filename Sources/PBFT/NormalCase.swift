// Pre-prepare, prepare, commit (OSDI '99 §4.2), any number of sequence numbers at once within the window.
//
// Kept true here: what a vote claims is given to `persist` before the vote; of one view and sequence number
// there is one own prepare and one own commit, both for the digest of the accepted pre-prepare; a null
// request is the zero digest without a batch.

extension OrderingCore {
  /// The primary assigns the next sequence number to a batch and multicasts a pre-prepare (§4.2).
  func propose(digest: Digest, batch: BatchHandle, isReconfiguration: Bool) {
    precondition(canPropose, "the owner asks canPropose before it forms a batch")
    proposedThrough.rawValue += 1
    let prePrepare = PrePrepare(view: currentView, sequence: proposedThrough, digest: digest, batch: batch)
    log.accept(prePrepare, isReconfiguration: isReconfiguration, phase: .prePrepared)
    note(proposedThrough)
    if isReconfiguration { barrier = proposedThrough }
    emit(
      .persist(.prePrepared(sequence: proposedThrough, view: currentView, digest: digest, batch: batch)))
    emit(.broadcast(.prePrepare(prePrepare)))
    restartNullRequestTimer()
    advance(proposedThrough)
  }

  /// A backup accepts a pre-prepare if it is in the view and between the watermarks, and if it has accepted
  /// none with another digest for this view and sequence number; then it multicasts a prepare (§4.2).
  func receive(_ prePrepare: PrePrepare, _ isReconfiguration: Bool, from position: Int) -> Rejection? {
    guard inForce, prePrepare.view == currentView else {
      return keep(.prePrepare(prePrepare, isReconfiguration: isReconfiguration), prePrepare.view, position)
    }
    guard position == membership.primaryPosition(of: currentView) else { return .notPrimary }
    if let rejection = windowRejection(prePrepare.sequence) {
      if rejection == .aboveWindow { noteEvidence() }
      return rejection
    }
    guard (prePrepare.digest == .zero) == (prePrepare.batch == .none) else { return .emptyBatch }
    guard prePrepare.sequence <= viewLimit else { return .aboveViewLimit }
    guard prePrepare.sequence <= barrier else { return .aboveReconfiguration }
    guard prePrepare.sequence > newView.start else { return .againstNewView }
    let slot = log.slot(prePrepare.sequence)
    guard slot.pointee.phase == .open else {
      guard slot.pointee.digest == prePrepare.digest else {
        // Only a faulty primary says two things of one number (Fabric left the view over it).
        suspectPrimary(accused: nil)
        return prePrepare.sequence <= newView.through ? .againstNewView : .conflictingPrePrepare
      }
      guard slot.pointee.batch == .none, prePrepare.batch != .none else { return .duplicate }
      take(prePrepare.digest, prePrepare.batch, isReconfiguration)
      return nil
    }
    guard prePrepare.sequence > newView.through else { return .againstNewView }
    if slot.pointee.decision != .none, slot.pointee.decidedDigest != prePrepare.digest {
      suspectPrimary(accused: nil)
      return .conflictingPrePrepare
    }
    log.forgetPrepare(of: position, for: prePrepare.sequence)
    if !refused.isEmpty { dropRefused(at: prePrepare.sequence) }
    var accepted = prePrepare
    if let known = knownBatch(prePrepare.digest, at: prePrepare.sequence) {
      emit(.discard(prePrepare.batch))
      accepted.batch = known.batch
    } else if prePrepare.batch != .none {
      // A decision or a claim may have been waiting for this batch.
      attach(prePrepare.batch, prePrepare.digest, isReconfiguration, at: prePrepare.sequence)
    }
    log.accept(accepted, isReconfiguration: isReconfiguration, phase: .prePrepared)
    restartNullRequestTimer()
    vote(prePrepare.sequence)
    return nil
  }

  /// The slot has just become pre-prepared: the own prepare, unless this replica is the primary or abstains.
  func vote(_ sequence: SequenceNumber) {
    let slot = log.slot(sequence)
    note(sequence)
    if slot.pointee.isReconfiguration, sequence < barrier { barrier = sequence }
    if mayVote { sendPrepare(sequence) }
    advance(sequence)
    // The batch may be what a decided number has been waiting for.
    if slot.pointee.decision == .decided { executeInOrder() }
  }

  func sendPrepare(_ sequence: SequenceNumber) {
    let slot = log.slot(sequence)
    let digest = slot.pointee.digest
    emit(
      .persist(
        .prePrepared(sequence: sequence, view: currentView, digest: digest, batch: slot.pointee.batch)))
    guard !isPrimary else { return }
    _ = log.record(.prepare, of: position, for: sequence, digest: digest)
    emit(.broadcast(.prepare(Prepare(view: currentView, sequence: sequence, digest: digest))))
  }

  func sendCommit(_ sequence: SequenceNumber) {
    let digest = log.slot(sequence).pointee.digest
    emit(.persist(.prepared(sequence: sequence, view: currentView, digest: digest)))
    _ = log.record(.commit, of: position, for: sequence, digest: digest)
    emit(.broadcast(.commit(Commit(view: currentView, sequence: sequence, digest: digest))))
  }

  /// A prepare is kept, whether or not the pre-prepare it answers is here (§4.2).
  func receive(_ prepare: Prepare, from position: Int) -> Rejection? {
    guard inForce, prepare.view == currentView else {
      return keep(.prepare(prepare), prepare.view, position)
    }
    guard position != membership.primaryPosition(of: currentView) else { return .prepareFromPrimary }
    if let rejection = windowRejection(prepare.sequence) {
      if rejection == .aboveWindow { noteEvidence() }
      return rejection
    }
    return record(.prepare, of: position, for: prepare.sequence, digest: prepare.digest)
  }

  /// A commit is kept, whether or not the batch is prepared here (§4.2).
  func receive(_ commit: Commit, from position: Int) -> Rejection? {
    guard inForce, commit.view == currentView else { return keep(.commit(commit), commit.view, position) }
    if let rejection = windowRejection(commit.sequence) {
      if rejection == .aboveWindow { noteEvidence() }
      return rejection
    }
    return record(.commit, of: position, for: commit.sequence, digest: commit.digest)
  }

  private func record(
    _ kind: VoteKind, of position: Int, for sequence: SequenceNumber, digest: Digest
  ) -> Rejection? {
    switch log.record(kind, of: position, for: sequence, digest: digest) {
    case .counted: advance(sequence)
    case .stored:
      noteVotes(sequence)
      if kind == .prepare, !refused.isEmpty { acceptRefused(at: sequence) }
    case .duplicate: return .duplicate
    case .conflicting: return .conflictingVote
    }
    return nil
  }

  /// prepared(m, v, n, i): the pre-prepare and 2f matching prepares of different backups; then the commit is
  /// multicast. committed-local(m, v, n, i): prepared and 2f+1 matching commits, the own one included (§4.2;
  /// 2f and 2f+1 by `Quorums`).
  func advance(_ sequence: SequenceNumber) {
    let slot = log.slot(sequence)
    if slot.pointee.phase == .prePrepared, slot.pointee.matchingPrepares.count >= quorums.prepares {
      slot.pointee.phase = .prepared
      if sequence > highestPrepared { highestPrepared = sequence }
      if mayVote { sendCommit(sequence) }
    }
    if slot.pointee.phase == .prepared, slot.pointee.matchingCommits.count >= quorums.quorum {
      slot.pointee.phase = .committed
      decide(
        sequence, slot.pointee.digest, slot.pointee.batch, isReconfiguration: slot.pointee.isReconfiguration)
    }
  }

  /// The number's batch is settled for good.
  func decide(_ sequence: SequenceNumber, _ digest: Digest, _ batch: BatchHandle, isReconfiguration: Bool) {
    let slot = log.slot(sequence)
    guard slot.pointee.decision == .none else { return }
    slot.pointee.decision = .decided
    slot.pointee.decidedDigest = digest
    slot.pointee.decidedBatch = batch
    slot.pointee.decidedIsReconfiguration = isReconfiguration
    note(sequence)
    if sequence > highestPrepared { highestPrepared = sequence }
    if batch == .none, digest != .zero { want(digest, at: sequence) }
    executeInOrder()
  }

  /// A decided batch is executed once all lower sequence numbers have been (§4.2).
  func executeInOrder() {
    guard !isTransferring else { return }
    while executedThrough < barrier {
      let next = SequenceNumber(executedThrough.rawValue &+ 1)
      // Above the window this is the slot of a number that has been executed.
      let slot = log.slot(next)
      guard slot.pointee.decision == .decided else { break }
      guard slot.pointee.decidedBatch != .none || slot.pointee.decidedDigest == .zero else { break }
      slot.pointee.decision = .executed
      executedThrough = next
      if !standing.isRunning { armStanding() }
      let digest = slot.pointee.decidedDigest
      // The own prepare or pre-prepare has put the batch on disk.
      let isWritten =
        slot.pointee.phase >= .prePrepared && slot.pointee.digest == digest && !recovering
        && (isPrimary || slot.pointee.prepares.contains(position))
      emit(
        .persist(
          .executed(
            sequence: next, digest: digest, batch: isWritten ? .none : slot.pointee.decidedBatch)))
      emit(.execute(next, view: currentView, digest: digest, batch: slot.pointee.decidedBatch))
      if digest != .zero, inForce {
        viewHasProgressed = true
        newViewDoublings = 0
      }
      if slot.pointee.decidedIsReconfiguration {
        barrier = next
        emit(.takeCheckpoint(next))
      } else if next.rawValue % configuration.checkpointPeriod == 0 {
        emit(.takeCheckpoint(next))
      }
    }
    if proposedThrough < executedThrough { proposedThrough = executedThrough }
    askForMore()
  }

  /// Something is known of this number: it is unfinished until it has been executed.
  @inline(__always)
  func note(_ sequence: SequenceNumber) {
    if sequence > highestSeen { highestSeen = sequence }
    if !healing.isRunning { armHealing() }
  }

  /// Votes without a pre-prepare: f+1 of them are a reason to ask for it.
  private func noteVotes(_ sequence: SequenceNumber) {
    let slot = log.slot(sequence)
    if max(slot.pointee.prepares.count, slot.pointee.commits.count) >= quorums.weakQuorum { note(sequence) }
  }

  // MARK: Batches

  /// The batch of this digest, if this number holds it from another view or a decision.
  func knownBatch(_ digest: Digest, at sequence: SequenceNumber) -> PastBatch? {
    let slot = log.slot(sequence)
    let claim = Claim(sequence: sequence, digest: digest, view: currentView)
    if slot.pointee.phase > .open, slot.pointee.digest == digest, slot.pointee.batch != .none {
      return PastBatch(
        claim: claim, batch: slot.pointee.batch, isReconfiguration: slot.pointee.isReconfiguration)
    }
    if slot.pointee.decision != .none, slot.pointee.decidedDigest == digest,
      slot.pointee.decidedBatch != .none
    {
      return PastBatch(
        claim: claim, batch: slot.pointee.decidedBatch,
        isReconfiguration: slot.pointee.decidedIsReconfiguration)
    }
    guard !past.isEmpty, let held = past.batch(digest, at: sequence), held.batch != .none else { return nil }
    return held
  }

  /// Gives a batch to everything of this number that lacks it.
  func attach(
    _ batch: BatchHandle, _ digest: Digest, _ isReconfiguration: Bool, at sequence: SequenceNumber
  ) {
    let slot = log.slot(sequence)
    if slot.pointee.phase > .open, slot.pointee.digest == digest {
      slot.pointee.batch = batch
      slot.pointee.isReconfiguration = isReconfiguration
    }
    if slot.pointee.decision != .none, slot.pointee.decidedDigest == digest {
      slot.pointee.decidedBatch = batch
      slot.pointee.decidedIsReconfiguration = isReconfiguration
    }
    if !past.isEmpty { past.attach(batch, digest, isReconfiguration, at: sequence) }
    if !wanted.isEmpty { wanted.removeAll { $0.sequence == sequence && $0.digest == digest } }
  }

  /// A batch has come: the lowest number that wants it takes it.
  func take(_ digest: Digest, _ batch: BatchHandle, _ isReconfiguration: Bool) {
    guard let index = wanted.firstIndex(where: { $0.digest == digest }) else {
      emit(.discard(batch))
      return
    }
    let sequence = wanted[index].sequence
    attach(batch, digest, isReconfiguration, at: sequence)
    let slot = log.slot(sequence)
    if slot.pointee.phase == .assigned, slot.pointee.digest == digest {
      slot.pointee.phase = .prePrepared
      vote(sequence)
    } else {
      if slot.pointee.phase > .open, slot.pointee.digest == digest, isReconfiguration, sequence < barrier {
        barrier = sequence
      }
      executeInOrder()
    }
  }
}
