// Checkpoints, the watermarks and garbage collection (OSDI '99 §4.3).
//
// Kept true here: the low watermark moves only to a sequence number that this replica has executed and whose
// state, as a quorum says, is its own, or to a state that f+1 replicas vouch for and that has been
// transferred. One replica cannot make another believe, forget or trap anything.

extension OrderingCore {
  /// Whose checkpoints do not count here: this replica's while it abstains.
  private var excluded: ReplicaSet {
    var excluded = ReplicaSet.empty
    if recovering { excluded.insert(position) }
    return excluded
  }

  /// The own state has been digested: multicast the checkpoint (§4.3).
  func recordOwnCheckpoint(_ checkpoint: Checkpoint) {
    precondition(checkpoint.sequence <= executedThrough, "a checkpoint is taken of what has been executed")
    guard checkpoint.sequence > stable.sequence else { return }
    switch checkpoints.record(checkpoint, of: position, stable: stable.sequence) {
    case .counted, .duplicate: break
    case .conflicting, .stored:
      // Not what was said before a restart: the state has been damaged since, or was then.
      isDiverged = true
      emit(.diverged(checkpoint))
      return
    }
    if checkpoint.sequence > lastOwnCheckpoint { lastOwnCheckpoint = checkpoint.sequence }
    if !recovering {
      emit(.persist(.checkpoint(checkpoint)))
      emit(.broadcast(.checkpoint(checkpoint)))
    }
    armHealing()
    settle(checkpoint.sequence)
  }

  /// A peer's checkpoint is kept if it is in the window (§4.3), and counted as a hint if it is above.
  func receive(_ checkpoint: Checkpoint, from position: Int) -> Rejection? {
    if let rejection = windowRejection(checkpoint.sequence) {
      if rejection == .aboveWindow { noteAhead(checkpoint, position) }
      return rejection
    }
    let outcome = checkpoints.record(checkpoint, of: position, stable: stable.sequence)
    if checkpoint.sequence.rawValue % configuration.checkpointPeriod != 0, outcome != .conflicting {
      // One of a replica is kept that is off the period. When the membership has changed twice within a window, some
      // replicas' later one is kept and others' is not: all of them count as hints.
      noteTarget(checkpoint, position)
    }
    switch outcome {
    case .counted: settle(checkpoint.sequence)
    case .stored:
      // A later reconfiguration's, while the first is not stable here: still a hint.
      noteEvidence()
      return .notACheckpoint
    case .duplicate: return .duplicate
    case .conflicting: return .conflictingVote
    }
    return nil
  }

  /// f+1 equal ones are a target worth fetching, wherever they are.
  private func noteAhead(_ checkpoint: Checkpoint, _ position: Int) {
    noteTarget(checkpoint, position)
    noteEvidence()
  }

  private func noteTarget(_ checkpoint: Checkpoint, _ position: Int) {
    peers.note(checkpoint, position)
    if peers.count(of: checkpoint) >= quorums.weakQuorum { raiseTarget(to: checkpoint) }
  }

  /// 2f+1 matching checkpoint messages are the proof of a stable checkpoint (§4.3; 2f+1 by `Quorums`).
  func settle(_ sequence: SequenceNumber) {
    let excluded = excluded
    if sequence > executedThrough, sequence > target.sequence,
      let digest = checkpoints.digest(sentBy: quorums.weakQuorum, at: sequence, excluding: excluded)
    {
      raiseTarget(to: Checkpoint(sequence: sequence, digest: digest))
    }
    guard let certified = checkpoints.digest(sentBy: quorums.quorum, at: sequence, excluding: excluded)
    else { return }
    let checkpoint = Checkpoint(sequence: sequence, digest: certified)
    if sequence > highestCertified.sequence { highestCertified = checkpoint }
    // A checkpoint of before a restart is not what is at hand.
    guard sequence <= executedThrough, let own = checkpoints.digest(of: position, at: sequence) else {
      return
    }
    if own == certified {
      isDiverged = false
      moveWatermarks(to: checkpoint)
    } else {
      isDiverged = true
      emit(.diverged(checkpoint))
    }
  }

  /// Everything at or below a stable checkpoint is discarded (§4.3).
  func moveWatermarks(to checkpoint: Checkpoint) {
    precondition(checkpoint.sequence > stable.sequence && checkpoint.sequence <= executedThrough)
    var sequence = stable.sequence
    let top = SequenceNumber(min(checkpoint.sequence.rawValue, sequence.rawValue + configuration.logSize))
    while sequence < top {
      sequence.rawValue += 1
      release(sequence)
    }
    stable = checkpoint
    if proposedThrough < checkpoint.sequence { proposedThrough = checkpoint.sequence }
    if highestSeen < checkpoint.sequence { highestSeen = checkpoint.sequence }
    if !wanted.isEmpty { wanted.removeAll { $0.sequence <= checkpoint.sequence } }
    if !refused.isEmpty { dropRefused(through: checkpoint.sequence) }
    emit(.stable(checkpoint))
    if !restored.isEmpty { admitRestored() }
    if inForce, newView.through > checkpoint.sequence { applyNewView() }
    if recovering { settleRecovery() }
    rotateIfDue()
  }

  /// The reconfiguration's checkpoint is stable, and another event shows that the owner has not replaced this
  /// core: the change was refused, and the order goes on.
  func liftBarrier() {
    barrier = SequenceNumber(UInt64.max)
    executeInOrder()
    rotateIfDue()
  }

  /// Clears a number's slot and claims; every batch they hold is discarded once.
  private func release(_ sequence: SequenceNumber) {
    let slot = log.slot(sequence)
    let batch = slot.pointee.batch
    let decided = slot.pointee.decidedBatch
    log.clear(sequence)
    if batch != .none { emit(.discard(batch)) }
    if decided != .none, decided != batch { emit(.discard(decided)) }
    if past.isEmpty { return }
    for entry in past.clear(sequence) where entry.batch != .none {
      if entry.batch != batch, entry.batch != decided { emit(.discard(entry.batch)) }
    }
  }
}
