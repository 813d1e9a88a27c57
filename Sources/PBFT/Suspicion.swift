// SUSPECT(v): a replica says that it suspects the primary, and goes on voting in v. The view is left only
// when a quorum says so, so one slow or lying replica disturbs nobody (ours; Fabric left at once, and a lone
// replica never voted again until the next view change: its issues 1120, 2060).

extension OrderingCore {
  /// Whether this replica suspects the primary of the view in force.
  public var isSuspecting: Bool { suspecting.contains(position) }

  /// How many replicas suspect the primary of the view in force, this one included.
  public var suspectCount: Int { suspecting.count }

  /// Multicasts SUSPECT and begins to send it again, with back-off. A primary does not begin to suspect
  /// itself.
  func suspectPrimary(accused: Int32?) {
    guard mayVote, !isPrimary else { return }
    var isNews = false
    if let accused { isNews = accuse(accused) }
    if isSuspecting, isNews { emit(.broadcast(.suspect(ownSuspect()))) }
    suspect()
  }

  private func suspect() {
    guard mayVote, !isSuspecting else { return }
    suspectResends = 0
    counters.suspicions &+= 1
    suspecting.insert(position)
    emit(.suspected(currentView))
    emit(.broadcast(.suspect(ownSuspect())))
    isSuspectTimerRunning = true
    emit(.startTimer(.suspectResend, afterNanoseconds: resendDelayNanoseconds))
    // What the primary seems to owe may have been executed elsewhere: ask.
    noteEvidence()
    leaveIfAbandoned()
  }

  /// A peer suspects. One correct replica's suspicion (f+1 of them hold one) is reason enough to join; a
  /// quorum's is reason to leave.
  func receive(_ suspect: Suspect, from position: Int) -> Rejection? {
    if let accused = suspect.accused { noteAccusation(accused, by: position) }
    guard inForce, suspect.view == currentView else {
      if suspect.view < currentView { helpIntoView(position) } else { noteEvidence() }
      return .otherView
    }
    guard !suspecting.contains(position) else { return .duplicate }
    suspecting.insert(position)
    followSuspicions()
    return nil
  }

  /// Whoever asks for a later view has no faith in this one.
  func noteSuspicions() {
    guard mayVote else { return }
    let former = suspecting
    for index in viewChanges.indices where index != position && viewChanges[index].handle != nil {
      if currentView < viewChanges[index].view { suspecting.insert(index) }
    }
    if suspecting != former { followSuspicions() }
  }

  /// The primary joins as everybody does: some of those who suspect it may have left the view already, or
  /// forgotten.
  private func followSuspicions() {
    if suspecting.count >= quorums.weakQuorum { suspect() }
    leaveIfAbandoned()
  }

  func resendSuspect() {
    isSuspectTimerRunning = false
    guard mayVote, isSuspecting else { return }
    suspectResends = min(suspectResends + 1, 6)
    emit(.broadcast(.suspect(ownSuspect())))
    isSuspectTimerRunning = true
    emit(.startTimer(.suspectResend, afterNanoseconds: resendDelayNanoseconds))
    noteEvidence()
  }

  private func leaveIfAbandoned() {
    guard mayVote, suspecting.count >= quorums.quorum else { return }
    startViewChange(to: View(currentView.rawValue &+ 1))
  }

  private var resendDelayNanoseconds: Int64 {
    configuration.suspectResendNanoseconds << Int64(suspectResends)
  }

  // MARK: Accusations (decision record 10)

  /// The SUSPECTs of a replica name one accused client after the other, the newest first.
  private func ownSuspect() -> Suspect {
    guard !ownAccused.isEmpty else { return Suspect(view: currentView) }
    accusedTurn = (accusedTurn + ownAccused.count - 1) % ownAccused.count
    return Suspect(view: currentView, accused: ownAccused[accusedTurn])
  }

  /// Whether the client had not been accused here before.
  private func accuse(_ client: Int32) -> Bool {
    guard !ownAccused.contains(client) else { return false }
    if ownAccused.count >= ViewChange.maximumAccused { ownAccused.removeFirst() }
    ownAccused.append(client)
    accusedTurn = ownAccused.count
    noteAccusation(client, by: position)
    return true
  }

  func noteAccusation(_ client: Int32, by position: Int) {
    guard peers.accuse(client, position) else { return }
    if peers.accusers(of: client) == quorums.weakQuorum { emit(.accusedByWeakQuorum(client: client)) }
  }

  // MARK: Null requests

  /// The primary has shown itself.
  func restartNullRequestTimer() {
    guard configuration.nullRequestNanoseconds > 0, started, inForce else { return }
    let patience = isPrimary ? 0 : configuration.requestTimeoutNanoseconds
    emit(
      .startTimer(.nullRequest, afterNanoseconds: configuration.nullRequestNanoseconds + patience))
  }

  /// An idle primary shows itself; a backup suspects one that does not.
  func nullRequestDue() {
    guard inForce else { return }
    if !isPrimary {
      suspectPrimary(accused: nil)
    } else if canPropose, isPipelineIdle {
      counters.nullRequests &+= 1
      return propose(digest: .zero, batch: .none, isReconfiguration: false)
    }
    restartNullRequestTimer()
  }
}
