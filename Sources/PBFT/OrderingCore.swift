// The ordering core: PBFT's agreement on which batch has which sequence number. Events in, effects out.
//
// Kept true here: no clock, no bytes, no requests; a batch is a digest and a handle. One event is handled to
// completion, its effects are appended in the order in which they must happen, and the owner takes them in
// that order. What a peer sends wrong becomes a rejection; only the owner's mistakes are preconditions.

import Events

/// One replica's part in ordering batches. Confined to one thread; no call allocates in steady state.
public final class OrderingCore: EventReceiver {
  public let configuration: OrderingConfiguration
  public let id: ReplicaID
  public let membership: Membership
  /// This replica's position in the membership.
  public let position: Int

  let quorums: Quorums
  let log: OrderingLog
  let past: ClaimLog
  let checkpoints: CheckpointLog
  let statements = StatementStore()
  @exclusivity(unchecked) var early: EarlyMessages
  @exclusivity(unchecked) var peers: PeerLog

  // Exempt from exclusivity checks: no access outlives its own statement, and nothing calls back.
  @usableFromInline @exclusivity(unchecked) var started = false
  @usableFromInline @exclusivity(unchecked) var recovering = false
  @usableFromInline @exclusivity(unchecked) var inForce = true
  /// The view in force, or the one being changed to.
  @usableFromInline @exclusivity(unchecked) var currentView = View.zero
  @usableFromInline @exclusivity(unchecked) var executedThrough = SequenceNumber.zero
  @usableFromInline @exclusivity(unchecked) var proposedThrough = SequenceNumber.zero
  @usableFromInline @exclusivity(unchecked) var stable = Checkpoint(sequence: .zero, digest: .zero)
  /// The last number this view may use; planned rotation.
  @usableFromInline @exclusivity(unchecked) var viewLimit = SequenceNumber(UInt64.max)
  /// The number of a reconfiguration batch: above it nothing is proposed, accepted or executed.
  @usableFromInline @exclusivity(unchecked) var barrier = SequenceNumber(UInt64.max)

  // Checkpoints and what is behind.
  @exclusivity(unchecked) var highestCertified = Checkpoint(sequence: .zero, digest: .zero)
  /// Certified by f+1 only: a target of state transfer.
  @exclusivity(unchecked) var target = Checkpoint(sequence: .zero, digest: .zero)
  @exclusivity(unchecked) var lastOwnCheckpoint = SequenceNumber.zero
  @exclusivity(unchecked) var isDiverged = false
  @exclusivity(unchecked) var transferTarget = Checkpoint(sequence: .zero, digest: .zero)
  @exclusivity(unchecked) var isTransferring = false

  // Suspicion.
  @exclusivity(unchecked) var suspecting = ReplicaSet.empty
  @exclusivity(unchecked) var suspectResends = 0
  @exclusivity(unchecked) var ownAccused = ContiguousArray<Int32>()
  @exclusivity(unchecked) var accusedTurn = 0

  // View change.
  @exclusivity(unchecked) var newView = NewViewInForce()
  @exclusivity(unchecked) var viewChanges: ContiguousArray<StoredViewChange>
  @exclusivity(unchecked) var unsigned: StatementHandle?
  @exclusivity(unchecked) var viewChangeResends = 0
  @exclusivity(unchecked) var isViewChangeTimerRunning = false
  @exclusivity(unchecked) var isSuspectTimerRunning = false
  /// Whether the view has executed a client's batch; the first view counts as if it had.
  @exclusivity(unchecked) var viewHasProgressed = true
  @exclusivity(unchecked) var isNewViewTimerRunning = false
  @exclusivity(unchecked) var newViewDoublings = 0

  // Recovery.
  @exclusivity(unchecked) var wasRestored = false
  /// What was promised above the window, ascending.
  @exclusivity(unchecked) var restored: [OrderingState.Entry] = []
  /// Where a stable checkpoint ends the recovery.
  @exclusivity(unchecked) var recoveryBound: SequenceNumber?
  @exclusivity(unchecked) var highestPrepared = SequenceNumber.zero

  // Healing.
  @exclusivity(unchecked) var highestSeen = SequenceNumber.zero
  @exclusivity(unchecked) var wanted = ContiguousArray<WantedBatch>()
  @exclusivity(unchecked) var healing = HealingState()
  @exclusivity(unchecked) var standing = StandingState()
  /// Batches of the primary with an authenticator that is not valid here, of numbers that are still open; at most one
  /// for each number of the window.
  @exclusivity(unchecked) var refused = ContiguousArray<RefusedBatch>()

  @exclusivity(unchecked) var counters = OrderingStatistics()
  let pending = EffectQueue()

  /// A core that has executed everything up to `stable` and begins in `view`, which needs no NEW-VIEW: view 0
  /// at first, and what the owner says at the beginning of a new membership (decision record 3).
  ///
  /// Precondition: `id` is in the membership, K is at least 1, the multiplier at least 2, and times are
  /// positive.
  public init(
    configuration: OrderingConfiguration, id: ReplicaID, membership: Membership, view: View = .zero,
    stable: Checkpoint = Checkpoint(sequence: .zero, digest: .zero)
  ) {
    guard let position = membership.position(of: id) else {
      preconditionFailure("a replica is in its membership")
    }
    precondition(configuration.checkpointPeriod >= 1 && configuration.logMultiplier >= 2)
    precondition(configuration.logSize <= 1 << 20, "the log is allocated in advance")
    let delays = 1...Int64.max >> 20
    precondition(delays.contains(configuration.suspectResendNanoseconds))
    precondition(delays.contains(configuration.viewChangeTimeoutNanoseconds))
    precondition(delays.contains(configuration.viewChangeResendNanoseconds))
    precondition(delays.contains(configuration.healingNanoseconds))
    precondition((0...Int64.max >> 20).contains(configuration.nullRequestNanoseconds))
    precondition((0...Int64.max >> 20).contains(configuration.requestTimeoutNanoseconds))
    self.configuration = configuration
    self.id = id
    self.membership = membership
    self.position = position
    quorums = membership.quorums
    log = OrderingLog(window: configuration.logSize, replicas: membership.count)
    past = ClaimLog(window: configuration.logSize)
    checkpoints = CheckpointLog(
      period: configuration.checkpointPeriod, slotCount: configuration.logMultiplier,
      replicas: membership.count)
    early = EarlyMessages(replicas: membership.count)
    peers = PeerLog(replicas: membership.count)
    viewChanges = ContiguousArray(repeating: StoredViewChange(), count: membership.count)
    begin(at: stable, in: view)
  }

  func begin(at checkpoint: Checkpoint, in view: View) {
    currentView = view
    stable = checkpoint
    highestCertified = checkpoint
    target = checkpoint
    executedThrough = checkpoint.sequence
    proposedThrough = checkpoint.sequence
    lastOwnCheckpoint = checkpoint.sequence
    highestSeen = checkpoint.sequence
    highestPrepared = checkpoint.sequence
    newView = NewViewInForce(start: checkpoint.sequence)
    viewLimit = limit(after: checkpoint.sequence)
  }

  /// The view in force, or the one being changed to while `isActive` is false.
  @inlinable
  public var view: View { currentView }

  /// Whether this replica is in its view, and not changing to it.
  @inlinable
  public var isActive: Bool { started && inForce }

  /// The view being changed to; nil when the view is in force.
  public var pendingView: View? { inForce ? nil : currentView }

  /// Whether this replica abstains because it has lost what it may have voted.
  public var isRecovering: Bool { recovering }

  /// Whether a state transfer has been asked for and not finished.
  public var isFetchingState: Bool { isTransferring }

  /// Whether this replica may vote.
  @inlinable
  var mayVote: Bool { started && inForce && !recovering }

  @inlinable
  public var isPrimary: Bool { membership.primaryPosition(of: currentView) == position }

  /// The last sequence number handed out for execution.
  @inlinable
  public var lastExecuted: SequenceNumber { executedThrough }

  /// The last sequence number this replica has proposed; at least its low watermark.
  @inlinable
  public var lastProposed: SequenceNumber { proposedThrough }

  /// The last stable checkpoint; its sequence number is the low watermark h.
  @inlinable
  public var stableCheckpoint: Checkpoint { stable }

  /// The highest checkpoint that f+1 replicas vouch for; above `lastExecuted` this replica is behind.
  public var certifiedCheckpoint: Checkpoint {
    target.sequence > highestCertified.sequence ? target : highestCertified
  }

  /// What has happened, for status reports.
  public var statistics: OrderingStatistics { counters }

  /// Whether this replica may propose one more batch: primary of an active view, within half the log above
  /// the low watermark (Fabric's send window, issue 1119), so that a backup whose checkpoint is not stable
  /// yet still accepts it; and not beyond the planned end of the view or a reconfiguration.
  @inlinable
  public var canPropose: Bool {
    started && isPrimary && inForce && !recovering
      && proposedThrough.rawValue &- stable.sequence.rawValue < configuration.logSize / 2
      && proposedThrough < viewLimit
      && (proposedThrough < barrier || barrier <= stable.sequence)
  }

  /// Whether everything proposed has been executed.
  @inlinable
  public var isPipelineIdle: Bool { proposedThrough <= executedThrough }

  /// Takes a statement whose signatures have all been verified into the core's store. The next event that
  /// names the handle decides whether it stays.
  public func admit(_ statement: SignedStatement) -> StatementHandle { statements.add(statement) }

  /// The statement of a handle in an effect that has just been taken, or one the core keeps.
  public func statement(_ handle: StatementHandle) -> SignedStatement { statements[handle] }

  /// Gives up a statement that was admitted and is named in no event.
  public func withdraw(_ handle: StatementHandle) { statements.release(handle) }

  /// Calls `body` for the batches of the view in force above `lastExecuted`, ascending; null requests are
  /// left out, a batch that is only known by its digest has the handle `.none`.
  public func forEachLiveBatch(_ body: (SequenceNumber, Digest, BatchHandle) -> Void) {
    guard inForce else { return }
    var sequence = executedThrough
    while sequence < highestSeen {
      sequence.rawValue += 1
      guard windowRejection(sequence) == nil else { continue }
      let slot = log.slot(sequence)
      guard slot.pointee.phase > .open, slot.pointee.digest != .zero else { continue }
      body(sequence, slot.pointee.digest, slot.pointee.batch)
    }
    for entry in refused { body(entry.sequence, entry.digest, entry.batch) }
  }

  /// Handles one event; effects are appended. Never returns another event.
  @discardableResult
  public func processEvent(_ event: Event) -> Event? {
    if pending.isEmpty { statements.reclaim() }
    if barrier <= stable.sequence { liftBarrier() }
    switch event {
    case .start(let recovering): start(recovering: recovering)
    case .propose(let digest, let batch, let isReconfiguration):
      propose(digest: digest, batch: batch, isReconfiguration: isReconfiguration)
    case .prePrepare(let prePrepare, let isReconfiguration, let sender):
      receive(prePrepare, isReconfiguration, from: sender)
    case .prePrepareRefused(let prePrepare, let isReconfiguration, let sender):
      refuse(prePrepare, isReconfiguration, from: sender)
    case .message(let message, let sender): receive(message, from: sender)
    case .batchFetched(let digest, let batch, let isReconfiguration):
      take(digest, batch, isReconfiguration)
    case .signed(let handle, let signature): signed(handle, signature)
    case .checkpointTaken(let checkpoint): recordOwnCheckpoint(checkpoint)
    case .stateTransferred(let checkpoint): finishTransfer(at: checkpoint)
    case .stateTransferFailed: abandonTransfer()
    case .suspectPrimary(let accused): suspectPrimary(accused: accused)
    case .linksChanged: armStanding()
    case .timeout(let timer): expire(timer)
    }
    return nil
  }

  /// The next effect, in order; nil when all have been taken. Taking one may be interleaved with events,
  /// whose effects come after those still waiting.
  public func takeEffect() -> Effect? { pending.takeFirst() }

  @inline(__always)
  func emit(_ effect: Effect) { pending.append(effect) }

  private func receive(_ prePrepare: PrePrepare, _ isReconfiguration: Bool, from sender: ReplicaID) {
    if let rejection = rejection(of: sender) ?? receive(prePrepare, isReconfiguration, from: place(sender)) {
      emit(.rejected(rejection, from: sender))
      if prePrepare.batch != .none { emit(.discard(prePrepare.batch)) }
    }
  }

  private func refuse(_ prePrepare: PrePrepare, _ isReconfiguration: Bool, from sender: ReplicaID) {
    if let rejection = rejection(of: sender) ?? refuse(prePrepare, isReconfiguration, at: place(sender)) {
      emit(.rejected(rejection, from: sender))
      if prePrepare.batch != .none { emit(.discard(prePrepare.batch)) }
    }
  }

  private func receive(_ message: Message, from sender: ReplicaID) {
    if let rejection = rejection(of: sender) ?? receive(message, at: place(sender)) {
      emit(.rejected(rejection, from: sender))
    }
    switch message {
    case .viewChange(let handle), .newView(let handle):
      if !keeps(handle) { statements.release(handle) }
    default: break
    }
  }

  @inline(__always)
  private func rejection(of sender: ReplicaID) -> Rejection? {
    guard let position = membership.position(of: sender) else { return .unknownSender }
    guard position != self.position else { return .ownMessage }
    return started ? nil : .notStarted
  }

  /// The position of a member.
  @inline(__always)
  private func place(_ sender: ReplicaID) -> Int {
    guard let position = membership.position(of: sender) else { preconditionFailure("checked before") }
    return position
  }

  @inline(__always)
  private func receive(_ message: Message, at position: Int) -> Rejection? {
    switch message {
    case .prepare(let prepare): return receive(prepare, from: position)
    case .commit(let commit): return receive(commit, from: position)
    case .checkpoint(let checkpoint): return receive(checkpoint, from: position)
    case .suspect(let suspect): return receive(suspect, from: position)
    case .viewChange(let handle): return receiveViewChange(handle, from: position)
    case .newView(let handle): return receiveNewView(handle, from: position)
    case .status(let status): return receive(status, from: position)
    case .executed(let executed): return receive(executed, from: position)
    case .prePrepare, .fetchBatch, .fetchState: preconditionFailure("not the core's message")
    }
  }

  private func expire(_ timer: OrderingTimer) {
    guard started else { return }
    switch timer {
    case .suspectResend: resendSuspect()
    case .newView: giveUpPendingView()
    case .viewChangeResend: resendViewChange()
    case .nullRequest: nullRequestDue()
    case .healing: healingDue()
    case .answers: peers.refill()
    case .standing: standingDue()
    }
  }

  /// nil when h < n ≤ h+L (OSDI '99 §4.2); exact for every number a peer can send.
  @inline(__always)
  func windowRejection(_ sequence: SequenceNumber) -> Rejection? {
    guard sequence > stable.sequence else { return .belowWindow }
    guard sequence.rawValue &- stable.sequence.rawValue <= configuration.logSize else { return .aboveWindow }
    return nil
  }
}

/// What has happened since the core was made.
public struct OrderingStatistics: Hashable, Sendable, BitwiseCopyable {
  /// VIEW-CHANGEs this replica has begun.
  public var viewChangesBegun: UInt64 = 0
  /// Views entered through a NEW-VIEW.
  public var viewsEntered: UInt64 = 0
  public var suspicions: UInt64 = 0
  public var statusQueries: UInt64 = 0
  public var answers: UInt64 = 0
  public var nullRequests: UInt64 = 0
  public var transfersBegun: UInt64 = 0
  public var transfersEnded: UInt64 = 0
  /// Slots decided by f+1 `Executed` in place of commits.
  public var decidedByOthers: UInt64 = 0
  public var earlyMessagesDropped: UInt64 = 0
}
