// Batches in which this replica finds a client's authenticator not valid (decision records 10 and 57). With
// tags a client can convince some replicas and not others; a batch that f+1 replicas stand by is accepted by
// its digest, because one of them is correct and has found every request authentic.
//
// Kept true here: the primary's word is kept among the prepares and counted as one only here; at most one
// refused batch of a number is held, and it is discarded once, with its number, with the view, or when
// another one is accepted.

/// A batch kept aside.
struct RefusedBatch {
  var sequence: SequenceNumber
  var digest: Digest
  var batch: BatchHandle
  var isReconfiguration: Bool
}

extension OrderingCore {
  /// The primary's word for a batch that this replica would not have accepted.
  func refuse(_ prePrepare: PrePrepare, _ isReconfiguration: Bool, at position: Int) -> Rejection? {
    guard inForce, prePrepare.view == currentView else { return .otherView }
    guard position == membership.primaryPosition(of: currentView) else { return .notPrimary }
    if let rejection = windowRejection(prePrepare.sequence) { return rejection }
    let sequence = prePrepare.sequence
    if prePrepare.batch != .none,
      wanted.contains(where: { $0.sequence == sequence && $0.digest == prePrepare.digest })
    {
      // Its digest has been agreed on meanwhile.
      take(prePrepare.digest, prePrepare.batch, isReconfiguration)
      return nil
    }
    guard sequence > newView.through, sequence <= viewLimit, sequence <= barrier,
      log.slot(sequence).pointee.phase == .open, !refused.contains(where: { $0.sequence == sequence })
    else { return .duplicate }
    switch log.record(.prepare, of: position, for: sequence, digest: prePrepare.digest) {
    case .counted, .stored, .duplicate: note(sequence)
    case .conflicting:
      suspectPrimary(accused: nil)
      return .conflictingPrePrepare
    }
    refused.append(
      RefusedBatch(
        sequence: sequence, digest: prePrepare.digest, batch: prePrepare.batch,
        isReconfiguration: isReconfiguration))
    acceptRefused(at: sequence)
    return nil
  }

  /// Accepts the batch refused at this number, if f+1 replicas stand by it.
  func acceptRefused(at sequence: SequenceNumber) {
    guard refused.contains(where: { $0.sequence == sequence }) else { return }
    acceptByPrepares(at: sequence)
  }

  /// Numbers that stand still without a pre-prepare here, while f+1 replicas have prepared one digest: one of
  /// them is correct and has it from the primary, so the digest is accepted and the batch fetched.
  func acceptByPrepares() {
    guard inForce, !isPrimary else { return }
    let last = min(highestSeen.rawValue, executedThrough.rawValue &+ OrderingCore.answerLength)
    let view = currentView
    var sequence = max(executedThrough, newView.through)
    while sequence.rawValue < last, inForce, currentView == view {
      sequence.rawValue += 1
      guard windowRejection(sequence) == nil, sequence <= viewLimit, sequence <= barrier else { break }
      acceptByPrepares(at: sequence)
    }
  }

  /// Accepts the digest that f+1 replicas stand by, of a number that is still open.
  private func acceptByPrepares(at sequence: SequenceNumber) {
    let slot = log.slot(sequence)
    guard slot.pointee.phase == .open, slot.pointee.decision == .none, sequence <= barrier,
      let digest = log.digest(preparedBy: quorums.weakQuorum, at: sequence)
    else { return }
    log.forgetPrepare(of: membership.primaryPosition(of: currentView), for: sequence)
    let known = knownBatch(digest, at: sequence) ?? takeRefused(digest, at: sequence)
    if !refused.isEmpty { dropRefused(at: sequence) }
    let isInHand = known != nil || digest == .zero
    let place = PrePrepare(
      view: currentView, sequence: sequence, digest: digest, batch: known?.batch ?? .none)
    log.accept(
      place, isReconfiguration: known?.isReconfiguration ?? false,
      phase: isInHand ? .prePrepared : .assigned)
    if isInHand { vote(sequence) } else { want(digest, at: sequence) }
  }

  /// Takes the batch of this digest from what is kept aside.
  private func takeRefused(_ digest: Digest, at sequence: SequenceNumber) -> PastBatch? {
    guard
      let index = refused.firstIndex(where: {
        $0.sequence == sequence && $0.digest == digest && $0.batch != .none
      })
    else { return nil }
    let entry = refused.remove(at: index)
    // A claim of an earlier view may lack it.
    attach(entry.batch, digest, entry.isReconfiguration, at: sequence)
    return PastBatch(
      claim: Claim(sequence: sequence, digest: digest, view: currentView), batch: entry.batch,
      isReconfiguration: entry.isReconfiguration)
  }

  /// Gives up the batch kept aside for this number.
  func dropRefused(at sequence: SequenceNumber) {
    guard let index = refused.firstIndex(where: { $0.sequence == sequence }) else { return }
    let entry = refused.remove(at: index)
    if entry.batch != .none { emit(.discard(entry.batch)) }
  }

  /// Gives up those up to this number.
  func dropRefused(through sequence: SequenceNumber) {
    for entry in refused where entry.sequence <= sequence && entry.batch != .none {
      emit(.discard(entry.batch))
    }
    refused.removeAll { $0.sequence <= sequence }
  }
}
