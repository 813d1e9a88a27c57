// Leaving a view and asking for the next (OSDI '99 §4.4).
//
// Kept true here: after `viewLeft` there is no own vote in an earlier view; the P and Q sets of the own
// VIEW-CHANGE hold everything this replica has voted for above its stable checkpoint; per replica one
// VIEW-CHANGE is kept, that of the highest view; a view is left when a quorum suspects its primary, when f+1
// replicas are further, at its planned end, when its NEW-VIEW is late or wrong, and for no other reason
// (decision record 17).

/// The VIEW-CHANGE kept of a replica.
struct StoredViewChange {
  var view = View.zero
  var handle: StatementHandle?
}

extension OrderingCore {
  /// Leaves the view, or gives up the pending one, and asks for a later one.
  func startViewChange(to view: View) {
    guard started, !recovering, currentView < view else { return }
    if !viewHasProgressed { newViewDoublings = min(newViewDoublings + 1, 10) }
    let left = currentView
    leave(to: view)
    viewHasProgressed = true
    emit(.persist(.viewLeft(to: view)))
    emit(.viewLeft(left, to: view))
    counters.viewChangesBegun &+= 1
    signViewChange()
    armHealing()
  }

  /// Has the own VIEW-CHANGE for the pending view signed.
  func signViewChange() {
    let content = ownViewChange(for: currentView)
    let handle = statements.add(SignedStatement(statement: .viewChange(content), signature: .none))
    unsigned = handle
    emit(.sign(handle))
  }

  /// Ends voting in the current view: its slots become claims.
  func leave(to view: View) {
    precondition(currentView < view)
    if !refused.isEmpty { dropRefused(through: SequenceNumber(UInt64.max)) }
    foldSlots()
    dropUnsigned()
    inForce = false
    currentView = view
    suspecting = .empty
    viewLimit = SequenceNumber(UInt64.max)
    if barrier > executedThrough { barrier = SequenceNumber(UInt64.max) }
    stop(&isSuspectTimerRunning, .suspectResend)
    stop(&isNewViewTimerRunning, .newView)
    stop(&isViewChangeTimerRunning, .viewChangeResend)
    if configuration.nullRequestNanoseconds > 0 { emit(.stopTimer(.nullRequest)) }
    if let handle = newView.handle { statements.release(handle) }
    newView = NewViewInForce(start: stable.sequence)
    forgetViewChanges(below: view)
  }

  /// P and Q take in what the slots of the view say; what is decided stays.
  private func foldSlots() {
    // What only the view wanted is forgotten with it (W5).
    wanted.removeAll { entry in
      let slot = log.slot(entry.sequence)
      return slot.pointee.decision != .decided || slot.pointee.decidedDigest != entry.digest
    }
    highestSeen = executedThrough
    for offset in 1...configuration.logSize {
      let sequence = SequenceNumber(stable.sequence.rawValue + offset)
      let slot = log.slot(sequence)
      if slot.pointee.decision != .none, sequence > highestSeen { highestSeen = sequence }
      if slot.pointee.phase >= .prePrepared {
        let claim = Claim(sequence: sequence, digest: slot.pointee.digest, view: slot.pointee.view)
        let batch = PastBatch(
          claim: claim, batch: slot.pointee.batch, isReconfiguration: slot.pointee.isReconfiguration)
        let decided = slot.pointee.decidedBatch
        for dropped in past.add(batch, isPrepared: slot.pointee.phase >= .prepared) where dropped != decided {
          emit(.discard(dropped))
        }
      } else if slot.pointee.batch != .none, slot.pointee.batch != slot.pointee.decidedBatch,
        !past.holds(slot.pointee.batch, at: sequence)
      {
        emit(.discard(slot.pointee.batch))
      }
      log.leaveView(sequence)
    }
  }

  private func ownViewChange(for view: View) -> ViewChange {
    var change = ViewChange(view: view, membershipID: membership.id, replica: id, stable: stable)
    change.checkpoints = checkpoints.checkpoints(of: position, above: stable.sequence)
    change.accused = ownAccused.sorted()
    guard !past.isEmpty else { return change }
    for offset in 1...configuration.logSize {
      guard let claims = past.claims(at: SequenceNumber(stable.sequence.rawValue + offset)) else { continue }
      if let prepared = claims.prepared { change.prepared.append(prepared) }
      for entry in claims.prePrepared { change.prePrepared.append(entry.claim) }
    }
    return change
  }

  /// The owner has signed what it was asked to, unless that is no longer wanted.
  func signed(_ handle: StatementHandle, _ signature: StatementSignature) {
    guard unsigned == handle else { return }
    unsigned = nil
    statements.sign(handle, signature)
    switch statements[handle].statement {
    case .viewChange(let change):
      viewChanges[position] = StoredViewChange(view: change.view, handle: handle)
      viewChangeResends = 0
      emit(.broadcast(.viewChange(handle)))
      startViewChangeTimer()
      viewChangesChanged()
    case .newView(let content):
      enter(handle, content, isOwn: true)
    }
  }

  func receiveViewChange(_ handle: StatementHandle, from position: Int) -> Rejection? {
    guard case .viewChange(let change) = statements[handle].statement else { return .invalidStatement }
    guard change.membershipID == membership.id else { return .otherMembership }
    guard let author = membership.position(of: change.replica) else { return .invalidStatement }
    guard author != self.position else { return .ownMessage }
    if change.view < currentView || (change.view == currentView && inForce) {
      helpIntoView(position)
      return .otherView
    }
    guard viewChanges[author].handle == nil || viewChanges[author].view < change.view else {
      return .duplicate
    }
    guard change.isValid(period: configuration.checkpointPeriod, logSize: configuration.logSize) else {
      return .invalidStatement
    }
    if let former = viewChanges[author].handle { statements.release(former) }
    viewChanges[author] = StoredViewChange(view: change.view, handle: handle)
    for client in change.accused { noteAccusation(client, by: author) }
    viewChangesChanged()
    // Its author has left this view, and says SUSPECT no more.
    noteSuspicions()
    return nil
  }

  /// Whoever is in an earlier view, or has not heard of this one's beginning, is told of it.
  func helpIntoView(_ position: Int) {
    guard inForce, let handle = newView.handle, mayAnswer(position) else { return }
    emit(.send(.newView(handle), to: membership.replicas[position]))
  }

  /// Looks at what is stored: f+1 replicas in later views are followed; a quorum for the pending view starts
  /// the wait for its NEW-VIEW, once (W4), and lets its primary make one.
  private func viewChangesChanged() {
    guard !recovering else { return }
    var later = 0
    var smallest = View(UInt64.max)
    for stored in viewChanges where stored.handle != nil && currentView < stored.view {
      later += 1
      if stored.view < smallest { smallest = stored.view }
    }
    if later >= quorums.weakQuorum { return startViewChange(to: smallest) }
    guard !inForce, viewChanges[position].handle != nil, viewChanges[position].view == currentView else {
      return
    }
    // Whoever is further has asked for this view too, and may have given it up before it was heard here.
    guard viewChanges.count(where: { $0.handle != nil && !($0.view < currentView) }) >= quorums.quorum else {
      return
    }
    if !isNewViewTimerRunning {
      isNewViewTimerRunning = true
      let delay = configuration.viewChangeTimeoutNanoseconds << Int64(newViewDoublings)
      emit(.startTimer(.newView, afterNanoseconds: delay))
    }
    if isPrimary { makeNewView() }
  }

  /// The NEW-VIEW of the pending view has not come in time.
  func giveUpPendingView() {
    guard isNewViewTimerRunning else { return }
    isNewViewTimerRunning = false
    failPendingView()
  }

  /// The pending view comes to nothing.
  func failPendingView() {
    guard !inForce else { return }
    viewHasProgressed = false
    startViewChange(to: View(currentView.rawValue &+ 1))
  }

  private func startViewChangeTimer() {
    guard membership.count > 1 else { return }
    isViewChangeTimerRunning = true
    let delay = configuration.viewChangeResendNanoseconds << Int64(viewChangeResends)
    emit(.startTimer(.viewChangeResend, afterNanoseconds: delay))
  }

  func resendViewChange() {
    isViewChangeTimerRunning = false
    guard !inForce, viewChanges[position].view == currentView, let handle = viewChanges[position].handle
    else { return }
    viewChangeResends = min(viewChangeResends + 1, 4)
    emit(.broadcast(.viewChange(handle)))
    startViewChangeTimer()
  }

  /// The view has come to its planned end: its last checkpoint is stable (Fabric `viewchangeperiod`).
  func rotateIfDue() {
    guard mayVote, stable.sequence >= viewLimit, stable.sequence < barrier else { return }
    viewHasProgressed = true
    startViewChange(to: View(currentView.rawValue &+ 1))
  }

  /// The last number of a view that begins after this one.
  func limit(after sequence: SequenceNumber) -> SequenceNumber {
    guard configuration.viewChangePeriod > 0 else { return SequenceNumber(UInt64.max) }
    let period = configuration.checkpointPeriod
    return SequenceNumber((sequence.rawValue / period + configuration.viewChangePeriod) * period)
  }

  // MARK: Bookkeeping

  func stop(_ isRunning: inout Bool, _ timer: OrderingTimer) {
    guard isRunning else { return }
    isRunning = false
    emit(.stopTimer(timer))
  }

  func dropUnsigned() {
    if let handle = unsigned { statements.release(handle) }
    unsigned = nil
  }

  /// Keeps the VIEW-CHANGEs of this view and later ones.
  func forgetViewChanges(below view: View) {
    for index in viewChanges.indices where viewChanges[index].view < view {
      if let handle = viewChanges[index].handle { statements.release(handle) }
      viewChanges[index] = StoredViewChange()
    }
  }

  /// Whether the core goes on naming this statement.
  func keeps(_ handle: StatementHandle) -> Bool {
    newView.handle == handle || unsigned == handle || viewChanges.contains { $0.handle == handle }
  }
}
