// Entering a view (OSDI '99 §4.4). A NEW-VIEW is taken from anybody who relays it, checked whole, and admits
// a replica that never left an earlier view (decision record 15).
//
// Kept true here: a NEW-VIEW is on disk before the first vote in its view; what it settles is pre-prepared
// from it alone, and the primary's pre-prepares begin above; what was executed is voted for again and not
// executed again.

/// What the NEW-VIEW of the view in force says; of a view without one, nothing.
struct NewViewInForce {
  var handle: StatementHandle?
  /// The view's numbers begin above this.
  var start = SequenceNumber.zero
  /// The last number that the NEW-VIEW settles.
  var through = SequenceNumber.zero
  /// The digests of start+1...through.
  var digests: [Digest] = []

  init() {}

  init(start: SequenceNumber) {
    self.start = start
    through = start
  }

  init(_ handle: StatementHandle, _ content: NewView) {
    self.handle = handle
    start = content.start.sequence
    through = SequenceNumber(content.start.sequence.rawValue + UInt64(content.digests.count))
    digests = content.digests
  }
}

extension OrderingCore {
  /// The primary of the pending view: makes a NEW-VIEW as soon as the VIEW-CHANGEs settle what it begins
  /// with.
  func makeNewView() {
    guard unsigned == nil, !inForce else { return }
    var included: [SignedViewChange] = []
    for stored in viewChanges where stored.view == currentView {
      guard let handle = stored.handle else { continue }
      let signed = statements[handle]
      guard case .viewChange(let change) = signed.statement else { preconditionFailure("kept as one") }
      included.append(SignedViewChange(content: change, signature: signed.signature))
    }
    guard
      let selection = NewViewSelection(
        included.map(\.content), quorums: quorums, logSize: configuration.logSize)
    else { return }
    let content = NewView(
      view: currentView, membershipID: membership.id, viewChanges: included, start: selection.start,
      digests: selection.digests)
    let handle = statements.add(SignedStatement(statement: .newView(content), signature: .none))
    unsigned = handle
    emit(.sign(handle))
  }

  func receiveNewView(_ handle: StatementHandle, from position: Int) -> Rejection? {
    guard case .newView(let content) = statements[handle].statement else { return .invalidStatement }
    guard content.membershipID == membership.id else { return .otherMembership }
    guard content.view.rawValue >= 1, !(content.view < currentView) else { return .otherView }
    guard content.view != currentView || !inForce else { return .duplicate }
    guard isValid(content) else {
      // Its primary has signed it: that primary is faulty.
      if content.view == currentView, !recovering {
        stop(&isNewViewTimerRunning, .newView)
        failPendingView()
      }
      return .invalidStatement
    }
    enter(handle, content, isOwn: false)
    return nil
  }

  /// V is a quorum of distinct, valid VIEW-CHANGEs of this view (W10, W13), and the rest follows from it.
  private func isValid(_ content: NewView) -> Bool {
    let changes = content.viewChanges
    guard changes.count >= quorums.quorum, changes.count <= membership.count else { return false }
    var last = -1
    for signed in changes {
      let change = signed.content
      guard change.view == content.view, change.membershipID == membership.id else { return false }
      guard let author = membership.position(of: change.replica), author > last else { return false }
      guard change.isValid(period: configuration.checkpointPeriod, logSize: configuration.logSize) else {
        return false
      }
      last = author
    }
    guard
      let selection = NewViewSelection(
        changes.map(\.content), quorums: quorums, logSize: configuration.logSize)
    else { return false }
    return selection.start == content.start && selection.digests == content.digests
  }

  /// The view begins here.
  func enter(_ handle: StatementHandle, _ content: NewView, isOwn: Bool) {
    if currentView < content.view {
      let left = currentView
      leave(to: content.view)
      emit(.viewLeft(left, to: content.view))
    }
    dropUnsigned()
    stop(&isNewViewTimerRunning, .newView)
    stop(&isViewChangeTimerRunning, .viewChangeResend)
    inForce = true
    viewHasProgressed = false
    newView = NewViewInForce(handle, content)
    forgetViewChanges(below: View(content.view.rawValue &+ 1))
    viewLimit = limit(after: newView.through)
    proposedThrough = max(newView.through, stable.sequence)
    counters.viewsEntered &+= 1
    emit(.persist(.viewEntered(handle)))
    if isOwn { emit(.broadcast(.newView(handle))) }
    emit(.viewEntered(currentView, isPrimary: isPrimary))
    raiseTarget(to: content.start)
    applyNewView()
    executeInOrder()
    restartNullRequestTimer()
    armHealing()
    armStanding()
    replayEarlyMessages()
    rotateIfDue()
    noteSuspicions()
  }

  /// Pre-prepares what the NEW-VIEW settles inside the window; again when the window has moved.
  func applyNewView() {
    guard inForce else { return }
    var sequence = max(newView.start, stable.sequence)
    let view = currentView
    while sequence < newView.through {
      sequence.rawValue += 1
      guard inForce, currentView == view, windowRejection(sequence) == nil else { break }
      let slot = log.slot(sequence)
      guard slot.pointee.phase == .open else { continue }
      let digest = newView.digests[Int(sequence.rawValue - newView.start.rawValue) - 1]
      // Only more than f faulty replicas bring this about: no vote against what is decided.
      if slot.pointee.decision != .none, slot.pointee.decidedDigest != digest { continue }
      let known = knownBatch(digest, at: sequence)
      let isInHand = known != nil || digest == .zero
      let place = PrePrepare(
        view: view, sequence: sequence, digest: digest, batch: known?.batch ?? .none)
      log.accept(
        place, isReconfiguration: known?.isReconfiguration ?? false,
        phase: isInHand ? .prePrepared : .assigned)
      if isInHand { self.vote(sequence) } else { want(digest, at: sequence) }
    }
  }

  // MARK: Early messages

  /// Keeps a message of a view to come, within the bound.
  func keep(_ content: EarlyMessage.Content, _ view: View, _ position: Int) -> Rejection? {
    guard currentView < view || (!inForce && view == currentView) else { return .otherView }
    noteEvidence()
    guard early.add(EarlyMessage(content: content, position: position)) else {
      counters.earlyMessagesDropped &+= 1
      return .tooEarly
    }
    return nil
  }

  private func replayEarlyMessages() {
    for message in early.take(through: currentView) {
      let sender = membership.replicas[message.position]
      let rejection: Rejection?
      var batch = BatchHandle.none
      switch message.content {
      case .prePrepare(let prePrepare, let isReconfiguration):
        rejection =
          message.view == currentView && inForce
          ? receive(prePrepare, isReconfiguration, from: message.position) : .otherView
        batch = prePrepare.batch
      case .prepare(let prepare):
        rejection = message.view == currentView ? receive(prepare, from: message.position) : .otherView
      case .commit(let commit):
        rejection = message.view == currentView ? receive(commit, from: message.position) : .otherView
      }
      if let rejection {
        emit(.rejected(rejection, from: sender))
        if batch != .none { emit(.discard(batch)) }
      }
    }
  }
}
