// SUSPECT(v): a replica says that it suspects the primary, and goes on voting in v. The view is left only
// when a quorum says so, so one slow or lying replica disturbs nobody (ours; Fabric left at once, and a lone
// replica never voted again until the next view change: its issues 1120, 2060).

extension OrderingCore {
  /// Whether this replica suspects the primary of the view in force.
  public var isSuspecting: Bool { suspecting.contains(position) }

  /// How many replicas suspect the primary of the view in force, this one included.
  public var suspectCount: Int { suspecting.count }

  /// Whether a quorum suspects the primary of the view in force, so that it may be left.
  public var isViewAbandonable: Bool { suspecting.count >= quorums.quorum }

  /// Multicasts SUSPECT and begins to send it again, with back-off. A primary never suspects itself.
  func suspectPrimary() {
    guard started, !isPrimary, !isSuspecting else { return }
    suspectResends = 0
    insertSuspect(position)
    emit(.suspected(currentView))
    emit(.broadcast(.suspect(Suspect(view: currentView))))
    emit(.startTimer(.suspectResend, afterNanoseconds: resendDelayNanoseconds))
  }

  /// A peer suspects. One correct replica's suspicion (f+1 of them hold one) is reason enough to join.
  func receive(_ suspect: Suspect, from position: Int) -> Rejection? {
    guard suspect.view == currentView else { return .otherView }
    guard !suspecting.contains(position) else { return .duplicate }
    insertSuspect(position)
    if suspecting.count >= quorums.weakQuorum { suspectPrimary() }
    return nil
  }

  func resendSuspect() {
    guard isSuspecting else { return }
    suspectResends = min(suspectResends + 1, 6)
    emit(.broadcast(.suspect(Suspect(view: currentView))))
    emit(.startTimer(.suspectResend, afterNanoseconds: resendDelayNanoseconds))
  }

  private func insertSuspect(_ position: Int) {
    let wasAbandonable = isViewAbandonable
    suspecting.insert(position)
    if isViewAbandonable, !wasAbandonable { emit(.viewAbandonable(currentView)) }
  }

  private var resendDelayNanoseconds: Int64 {
    configuration.suspectResendNanoseconds << Int64(suspectResends)
  }
}
