// Checkpoints, the watermarks and garbage collection (OSDI '99 §4.3).
//
// Kept true here: the low watermark moves only to a sequence number that this replica has executed and whose
// state, as a quorum says, is its own. One replica cannot make another believe, forget or trap anything.

extension OrderingCore {
  /// The own state has been digested: multicast the checkpoint (§4.3).
  func recordOwnCheckpoint(_ checkpoint: Checkpoint) {
    precondition(checkpoint.sequence <= executedThrough, "a checkpoint is taken of what has been executed")
    guard checkpoint.sequence > stable.sequence else { return }
    guard checkpoints.record(checkpoint, of: position) == .counted else {
      preconditionFailure("a checkpoint is taken once")
    }
    emit(.broadcast(.checkpoint(checkpoint)))
    settle(checkpoint.sequence)
  }

  /// A peer's checkpoint is kept if it is in the window (§4.3).
  func receive(_ checkpoint: Checkpoint, from position: Int) -> Rejection? {
    if let rejection = windowRejection(checkpoint.sequence) { return rejection }
    guard checkpoint.sequence.rawValue % configuration.checkpointPeriod == 0 else { return .notACheckpoint }
    switch checkpoints.record(checkpoint, of: position) {
    case .counted, .stored: settle(checkpoint.sequence)
    case .duplicate: return .duplicate
    case .conflicting: return .conflictingVote
    }
    return nil
  }

  /// 2f+1 matching checkpoint messages are the proof of a stable checkpoint (§4.3; 2f+1 by `Quorums`).
  private func settle(_ sequence: SequenceNumber) {
    guard let certified = checkpoints.digest(sentBy: quorums.quorum, at: sequence) else { return }
    let checkpoint = Checkpoint(sequence: sequence, digest: certified)
    if sequence > highestCertified.sequence { highestCertified = checkpoint }
    guard let own = checkpoints.digest(of: position, at: sequence) else { return }
    if own == certified {
      moveWatermarks(to: checkpoint)
    } else {
      emit(.diverged(checkpoint))
    }
  }

  /// Everything at or below a stable checkpoint is discarded (§4.3).
  private func moveWatermarks(to checkpoint: Checkpoint) {
    precondition(checkpoint.sequence > stable.sequence && checkpoint.sequence <= executedThrough)
    var sequence = stable.sequence
    while sequence < checkpoint.sequence {
      sequence.rawValue += 1
      let batch = log.clear(sequence)
      if batch != .none { emit(.discard(batch)) }
    }
    stable = checkpoint
    if proposedThrough < checkpoint.sequence { proposedThrough = checkpoint.sequence }
    emit(.stable(checkpoint))
  }
}
