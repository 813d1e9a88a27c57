// Beginning again: with what the disk says was promised, or as a replica that has lost it (decision record
// 18; the estimation protocol of TOCS 2002 §4.3.2).
//
// Kept true here: after a restart the own votes are exactly those the records claim, so sending them again is
// no second vote; a recovering replica says nothing that counts until its stable checkpoint is at or above
// everything it may have voted for.

extension OrderingCore {
  func start(recovering: Bool) {
    precondition(!started, "a core starts once")
    started = true
    if recovering { self.recovering = true }
    if membership.count == 1 { self.recovering = false }
    restartNullRequestTimer()
    executeInOrder()
    if !inForce, !self.recovering {
      // The own VIEW-CHANGE once more: the same claims, for no vote can have followed.
      signViewChange()
    }
    if mayVote, wasRestored { takeUpSlots() }
    for entry in wanted { emit(.fetch(entry.digest)) }
    if membership.count > 1, self.recovering || wasRestored { ask() }
    armHealing()
  }

  /// What this replica may have promised. Precondition: not started.
  public func restore(_ state: OrderingState) {
    precondition(!started, "a state is restored before the start")
    begin(at: state.stable, in: state.view)
    wasRestored = true
    inForce = state.isActive
    if !state.isActive {
      viewLimit = SequenceNumber(UInt64.max)
    } else if let signed = state.newView, case .newView(let content) = signed.statement,
      content.view == state.view
    {
      newView = NewViewInForce(statements.add(signed), content)
      proposedThrough = max(newView.through, stable.sequence)
      viewLimit = limit(after: newView.through)
      if content.start.sequence > target.sequence { target = content.start }
    }
    restoreExecuted(state)
    restored = state.entries.sorted {
      $0.claim.sequence != $1.claim.sequence
        ? $0.claim.sequence < $1.claim.sequence : $0.claim.view < $1.claim.view
    }
    if let last = restored.last,
      last.claim.sequence.rawValue > stable.sequence.rawValue + configuration.logSize
    {
      // Some promises are above the window and cannot be stated in a VIEW-CHANGE: abstain until they can.
      recovering = true
      recoveryBound = SequenceNumber(last.claim.sequence.rawValue - configuration.logSize)
    }
    admitRestored()
    if inForce { applyRestoredNewView() }
  }

  private func restoreExecuted(_ state: OrderingState) {
    for decision in state.decisions {
      precondition(decision.sequence.rawValue == executedThrough.rawValue + 1, "decisions have no gaps")
      precondition(windowRejection(decision.sequence) == nil, "decisions are inside the window")
      let slot = log.slot(decision.sequence)
      slot.pointee.decision = .executed
      slot.pointee.decidedDigest = decision.digest
      slot.pointee.decidedBatch = decision.batch
      slot.pointee.decidedIsReconfiguration = decision.isReconfiguration
      executedThrough = decision.sequence
      if decision.isReconfiguration { barrier = decision.sequence }
    }
    highestSeen = executedThrough
    highestPrepared = executedThrough
    proposedThrough = max(proposedThrough, executedThrough)
    for checkpoint in state.checkpoints {
      precondition(checkpoint.sequence > stable.sequence && checkpoint.sequence <= executedThrough)
      _ = checkpoints.record(checkpoint, of: position, stable: stable.sequence)
      lastOwnCheckpoint = max(lastOwnCheckpoint, checkpoint.sequence)
    }
  }

  /// Takes restored entries into the window: votes of the view in force into its slots, others into the
  /// claims.
  func admitRestored() {
    var taken = 0
    for entry in restored {
      let claim = entry.claim
      let rejection = windowRejection(claim.sequence)
      if rejection == .aboveWindow { break }
      taken += 1
      if rejection == .belowWindow {
        if entry.batch != .none { emit(.discard(entry.batch)) }
        continue
      }
      admit(entry)
    }
    restored.removeFirst(taken)
  }

  private func admit(_ entry: OrderingState.Entry) {
    let claim = entry.claim
    precondition(!(currentView < claim.view), "a claim is of a view that had been entered")
    let slot = log.slot(claim.sequence)
    var entry = entry
    if inForce, claim.view == currentView {
      if slot.pointee.phase == .open {
        if let known = knownBatch(claim.digest, at: claim.sequence) {
          if entry.batch != .none, entry.batch != known.batch { emit(.discard(entry.batch)) }
          entry.batch = known.batch
          entry.isReconfiguration = known.isReconfiguration
        }
        let place = PrePrepare(
          view: claim.view, sequence: claim.sequence, digest: claim.digest, batch: entry.batch)
        log.accept(place, isReconfiguration: entry.isReconfiguration, phase: .prePrepared)
        if !isPrimary { _ = log.record(.prepare, of: position, for: claim.sequence, digest: claim.digest) }
        if entry.isReconfiguration, claim.sequence < barrier { barrier = claim.sequence }
        if isPrimary, claim.sequence > proposedThrough { proposedThrough = claim.sequence }
        if claim.sequence > highestSeen { highestSeen = claim.sequence }
      } else if slot.pointee.digest != claim.digest {
        // Not what a correct replica has recorded; the first stands.
        if entry.batch != .none { emit(.discard(entry.batch)) }
        return
      } else if entry.batch != .none, entry.batch != slot.pointee.batch {
        if slot.pointee.batch == .none {
          attach(entry.batch, claim.digest, entry.isReconfiguration, at: claim.sequence)
        } else {
          emit(.discard(entry.batch))
        }
      }
      if entry.isPrepared, slot.pointee.phase == .prePrepared {
        slot.pointee.phase = .prepared
        _ = log.record(.commit, of: position, for: claim.sequence, digest: claim.digest)
        if claim.sequence > highestPrepared { highestPrepared = claim.sequence }
      }
      if !started { return }
      advance(claim.sequence)
      return
    }
    let batch = PastBatch(claim: claim, batch: entry.batch, isReconfiguration: entry.isReconfiguration)
    for dropped in past.add(batch, isPrepared: entry.isPrepared) where dropped != slot.pointee.batch {
      emit(.discard(dropped))
    }
    if entry.isPrepared, claim.sequence > highestPrepared { highestPrepared = claim.sequence }
  }

  /// What of the restored NEW-VIEW had not been voted for yet becomes wanted or is voted for once started.
  private func applyRestoredNewView() {
    var sequence = max(newView.start, stable.sequence)
    while sequence < newView.through {
      sequence.rawValue += 1
      guard windowRejection(sequence) == nil else { break }
      let slot = log.slot(sequence)
      guard slot.pointee.phase == .open else { continue }
      let digest = newView.digests[Int(sequence.rawValue - newView.start.rawValue) - 1]
      let known = knownBatch(digest, at: sequence)
      let place = PrePrepare(
        view: currentView, sequence: sequence, digest: digest, batch: known?.batch ?? .none)
      let isInHand = known != nil || digest == .zero
      log.accept(
        place, isReconfiguration: known?.isReconfiguration ?? false,
        phase: isInHand ? .prePrepared : .assigned)
      if sequence > highestSeen { highestSeen = sequence }
      if !isInHand { wanted.append(WantedBatch(sequence: sequence, digest: digest)) }
    }
  }

  /// The promises of this moment: what a new segment of records begins with.
  public var durableState: OrderingState {
    var state = OrderingState(view: currentView, isActive: inForce, stable: stable)
    if let handle = newView.handle { state.newView = statements[handle] }
    for offset in 1...configuration.logSize {
      let sequence = SequenceNumber(stable.sequence.rawValue + offset)
      let slot = log.slot(sequence)
      if let claims = past.claims(at: sequence) {
        for entry in claims.prePrepared {
          state.entries.append(
            OrderingState.Entry(
              claim: entry.claim, isPrepared: false, batch: entry.batch,
              isReconfiguration: entry.isReconfiguration))
        }
        if let prepared = claims.prepared {
          state.entries.append(
            OrderingState.Entry(
              claim: prepared, isPrepared: true, batch: .none, isReconfiguration: false))
        }
      }
      if slot.pointee.decision == .executed {
        state.decisions.append(
          OrderingState.Decision(
            sequence: sequence, digest: slot.pointee.decidedDigest, batch: slot.pointee.decidedBatch,
            isReconfiguration: slot.pointee.decidedIsReconfiguration))
      }
      guard slot.pointee.phase >= .prePrepared else { continue }
      let isHeld = past.holds(slot.pointee.batch, at: sequence)
      state.entries.append(
        OrderingState.Entry(
          claim: Claim(sequence: sequence, digest: slot.pointee.digest, view: slot.pointee.view),
          isPrepared: slot.pointee.phase >= .prepared, batch: isHeld ? .none : slot.pointee.batch,
          isReconfiguration: slot.pointee.isReconfiguration))
    }
    state.checkpoints = checkpoints.checkpoints(of: position, above: stable.sequence)
    state.entries += restored
    return state
  }

  // MARK: The estimate

  /// With the answers of a quorum: the highest reported stable checkpoint that a quorum less one of the
  /// others is not above, and that one correct other has prepared. Nothing was voted for here above it by
  /// more than a log.
  func settleRecovery() {
    guard started, recovering else { return }
    if recoveryBound == nil { estimate() }
    guard let bound = recoveryBound, stable.sequence >= bound, restored.isEmpty else { return }
    recovering = false
    emit(.recovered)
    voteAfterRecovery()
  }

  private func estimate() {
    var best: SequenceNumber?
    let reports = peers.peers
    guard reports.count(where: { $0.hasReported && !$0.isRecovering }) >= quorums.quorum else { return }
    for candidate in reports.indices where reports[candidate].hasReported && !reports[candidate].isRecovering
    {
      let stable = reports[candidate].lowestStable
      if let best, stable <= best { continue }
      var below = 0
      var prepared = 0
      for other in reports.indices where other != candidate {
        guard reports[other].hasReported, !reports[other].isRecovering else { continue }
        if reports[other].lowestStable <= stable { below += 1 }
        if reports[other].highestPrepared >= stable { prepared += 1 }
      }
      if below >= quorums.quorum - 1, prepared >= quorums.weakQuorum - 1 { best = stable }
    }
    guard let best, best.rawValue <= UInt64.max - configuration.logSize else { return }
    recoveryBound = SequenceNumber(best.rawValue + configuration.logSize)
  }

  /// Nothing above the stable checkpoint has been voted for: the view in force is taken up where it is.
  private func voteAfterRecovery() {
    for checkpoint in checkpoints.checkpoints(of: position, above: stable.sequence) {
      emit(.persist(.checkpoint(checkpoint)))
      emit(.broadcast(.checkpoint(checkpoint)))
    }
    guard inForce else { return signViewChange() }
    takeUpSlots()
    restartNullRequestTimer()
  }

  /// Votes for what is pre-prepared or prepared here and has not been voted for.
  private func takeUpSlots() {
    for offset in 1...configuration.logSize {
      let sequence = SequenceNumber(stable.sequence.rawValue + offset)
      let slot = log.slot(sequence)
      guard slot.pointee.phase >= .prePrepared else { continue }
      if isPrimary, sequence > proposedThrough { proposedThrough = sequence }
      let isInHand = slot.pointee.batch != .none || slot.pointee.digest == .zero
      if isInHand, !slot.pointee.prepares.contains(position) { sendPrepare(sequence) }
      if slot.pointee.phase >= .prepared, !slot.pointee.commits.contains(position) { sendCommit(sequence) }
      advance(sequence)
    }
  }
}
