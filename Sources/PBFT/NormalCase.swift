// Pre-prepare, prepare, commit (OSDI '99 §4.2), any number of sequence numbers at once within the window.

extension OrderingCore {
  /// The primary assigns the next sequence number to a batch and multicasts a pre-prepare (§4.2).
  func propose(digest: Digest, batch: BatchHandle) {
    precondition(canPropose, "the owner asks canPropose before it forms a batch")
    proposedThrough.rawValue += 1
    let prePrepare = PrePrepare(view: currentView, sequence: proposedThrough, digest: digest, batch: batch)
    log.accept(prePrepare)
    emit(.broadcast(.prePrepare(prePrepare)))
    advance(proposedThrough)
  }

  /// A backup accepts a pre-prepare if it is in the view and between the watermarks, and if it has accepted
  /// none with another digest for this view and sequence number; then it multicasts a prepare (§4.2).
  func receive(_ prePrepare: PrePrepare, from position: Int) -> Rejection? {
    guard prePrepare.view == currentView else { return .otherView }
    guard position == membership.primaryPosition(of: currentView) else { return .notPrimary }
    if let rejection = windowRejection(prePrepare.sequence) { return rejection }
    let slot = log.slot(prePrepare.sequence)
    guard slot.pointee.phase == .open else {
      guard slot.pointee.digest != prePrepare.digest else { return .duplicate }
      // Only a faulty primary says two things of one number (Fabric left the view over it).
      suspectPrimary()
      return .conflictingPrePrepare
    }
    log.accept(prePrepare)
    let prepare = Prepare(view: currentView, sequence: prePrepare.sequence, digest: prePrepare.digest)
    _ = log.record(.prepare, of: self.position, for: prepare.sequence, digest: prepare.digest)
    emit(.broadcast(.prepare(prepare)))
    advance(prePrepare.sequence)
    return nil
  }

  /// A prepare is kept, whether or not the pre-prepare it answers is here (§4.2).
  func receive(_ prepare: Prepare, from position: Int) -> Rejection? {
    guard prepare.view == currentView else { return .otherView }
    guard position != membership.primaryPosition(of: currentView) else { return .prepareFromPrimary }
    if let rejection = windowRejection(prepare.sequence) { return rejection }
    return record(.prepare, of: position, for: prepare.sequence, digest: prepare.digest)
  }

  /// A commit is kept, whether or not the batch is prepared here (§4.2).
  func receive(_ commit: Commit, from position: Int) -> Rejection? {
    guard commit.view == currentView else { return .otherView }
    if let rejection = windowRejection(commit.sequence) { return rejection }
    return record(.commit, of: position, for: commit.sequence, digest: commit.digest)
  }

  private func record(
    _ kind: VoteKind, of position: Int, for sequence: SequenceNumber, digest: Digest
  ) -> Rejection? {
    switch log.record(kind, of: position, for: sequence, digest: digest) {
    case .counted: advance(sequence)
    case .stored: break
    case .duplicate: return .duplicate
    case .conflicting: return .conflictingVote
    }
    return nil
  }

  /// prepared(m, v, n, i): the pre-prepare and 2f matching prepares of different backups; then the commit is
  /// multicast. committed-local(m, v, n, i): prepared and 2f+1 matching commits, the own one included (§4.2;
  /// 2f and 2f+1 by `Quorums`).
  private func advance(_ sequence: SequenceNumber) {
    let slot = log.slot(sequence)
    if slot.pointee.phase == .prePrepared, slot.pointee.matchingPrepares.count >= quorums.prepares {
      slot.pointee.phase = .prepared
      let commit = Commit(view: currentView, sequence: sequence, digest: slot.pointee.digest)
      _ = log.record(.commit, of: position, for: sequence, digest: commit.digest)
      emit(.broadcast(.commit(commit)))
    }
    if slot.pointee.phase == .prepared, slot.pointee.matchingCommits.count >= quorums.quorum {
      slot.pointee.phase = .committed
      executeInOrder()
    }
  }

  /// A committed batch is executed once all lower sequence numbers have been (§4.2).
  private func executeInOrder() {
    while true {
      let next = SequenceNumber(executedThrough.rawValue &+ 1)
      // Above the window this is the slot of a number that has been executed.
      let slot = log.slot(next)
      guard slot.pointee.phase == .committed else { return }
      slot.pointee.phase = .executed
      executedThrough = next
      emit(
        .execute(next, view: slot.pointee.view, digest: slot.pointee.digest, batch: slot.pointee.batch))
      if next.rawValue % configuration.checkpointPeriod == 0 { emit(.takeCheckpoint(next)) }
    }
  }
}
