// The ordering core: PBFT's agreement on which batch has which sequence number. Events in, effects out.
//
// Kept true here: no clock, no bytes, no requests; a batch is a digest and a handle. One event is handled to
// completion, its effects are appended in the order in which they must happen, and the owner takes them in
// that order. What a peer sends wrong becomes a rejection; only the owner's mistakes are preconditions.

import Events

/// What the core needs to know besides the membership.
public struct OrderingConfiguration: Hashable, Sendable {
  /// A checkpoint is taken every so many sequence numbers, K.
  public var checkpointPeriod: UInt64
  /// The log holds so many checkpoint periods: L = K × multiplier; at least 2.
  public var logMultiplier: UInt64
  /// First delay before a SUSPECT is sent again; doubled each time, at most 64-fold.
  public var suspectResendNanoseconds: Int64

  public init(checkpointPeriod: UInt64, logMultiplier: UInt64, suspectResendNanoseconds: Int64) {
    self.checkpointPeriod = checkpointPeriod
    self.logMultiplier = logMultiplier
    self.suspectResendNanoseconds = suspectResendNanoseconds
  }

  /// The number of sequence numbers in the watermark window, L.
  public var logSize: UInt64 { checkpointPeriod * logMultiplier }
}

/// A countdown the core asks its owner for.
public enum OrderingTimer: Hashable, Sendable {
  /// Until the own SUSPECT is sent again.
  case suspectResend
}

/// One replica's part in ordering batches. Confined to one thread; no call allocates in steady state.
public final class OrderingCore: EventReceiver {
  public enum Event {
    /// Takes part from now on.
    case start
    /// The primary's owner has formed a batch. Precondition: `canPropose`.
    case propose(digest: Digest, batch: BatchHandle)
    /// A link has delivered an authenticated message. The digest of a pre-prepare has been checked against
    /// its batch.
    case message(Message, from: ReplicaID)
    /// The owner has digested its state after executing up to this sequence number, as it was asked to.
    case checkpointTaken(Checkpoint)
    /// The owner's request timer has found reason to suspect the primary.
    case suspectPrimary
    case timeout(OrderingTimer)
  }

  public enum Effect {
    /// To every other replica.
    case broadcast(Message)
    /// The next batch in sequence is committed: execute it. The core counts it as executed.
    case execute(SequenceNumber, view: View, digest: Digest, batch: BatchHandle)
    /// Everything up to here is executed: digest the state and answer with `checkpointTaken`.
    case takeCheckpoint(SequenceNumber)
    /// The core will never mention this batch again.
    case discard(BatchHandle)
    /// A quorum has the same state here: the low watermark has moved.
    case stable(Checkpoint)
    /// A quorum agrees on a state that is not ours: this replica's state is damaged.
    case diverged(Checkpoint)
    /// This replica suspects the primary of the view.
    case suspected(View)
    /// A quorum suspects the primary of the view, so it may be left.
    case viewAbandonable(View)
    case startTimer(OrderingTimer, afterNanoseconds: Int64)
    case rejected(Rejection, from: ReplicaID)
  }

  public let configuration: OrderingConfiguration
  public let id: ReplicaID
  public let membership: Membership
  /// This replica's position in the membership.
  public let position: Int

  let quorums: Quorums
  let log: OrderingLog
  let checkpoints: CheckpointLog

  // Exempt from exclusivity checks: no access outlives its own statement, and nothing calls back.
  @usableFromInline @exclusivity(unchecked) var started = false
  @usableFromInline @exclusivity(unchecked) var currentView = View.zero
  @usableFromInline @exclusivity(unchecked) var executedThrough = SequenceNumber.zero
  @usableFromInline @exclusivity(unchecked) var proposedThrough = SequenceNumber.zero
  @usableFromInline @exclusivity(unchecked) var stable = Checkpoint(sequence: .zero, digest: .zero)
  @exclusivity(unchecked) var highestCertified = Checkpoint(sequence: .zero, digest: .zero)
  @exclusivity(unchecked) var suspecting = ReplicaSet.empty
  @exclusivity(unchecked) var suspectResends = 0
  @exclusivity(unchecked) var pending = ContiguousArray<Effect>()
  @exclusivity(unchecked) var pendingHead = 0

  /// Precondition: `id` is in the membership, K is at least 1 and the multiplier at least 2.
  public init(configuration: OrderingConfiguration, id: ReplicaID, membership: Membership) {
    guard let position = membership.position(of: id) else {
      preconditionFailure("a replica is in its membership")
    }
    precondition(configuration.checkpointPeriod >= 1 && configuration.logMultiplier >= 2)
    precondition(configuration.logSize <= 1 << 20, "the log is allocated in advance")
    precondition((1...Int64.max >> 6).contains(configuration.suspectResendNanoseconds))
    self.configuration = configuration
    self.id = id
    self.membership = membership
    self.position = position
    quorums = membership.quorums
    log = OrderingLog(window: configuration.logSize, replicas: membership.count)
    checkpoints = CheckpointLog(
      period: configuration.checkpointPeriod, slotCount: configuration.logMultiplier,
      replicas: membership.count)
  }

  /// The view in force.
  @inlinable
  public var view: View { currentView }

  /// Whether this replica votes in its view.
  @inlinable
  public var isActive: Bool { started }

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

  /// The highest checkpoint that a quorum vouches for; above `lastExecuted` this replica is behind.
  public var certifiedCheckpoint: Checkpoint { highestCertified }

  /// Whether this replica may propose one more batch: primary of an active view, within half the log above
  /// the low watermark (Fabric's send window, issue 1119), so that a backup whose checkpoint is not stable
  /// yet still accepts it.
  @inlinable
  public var canPropose: Bool {
    started && isPrimary
      && proposedThrough.rawValue &- stable.sequence.rawValue < configuration.logSize / 2
  }

  /// Whether everything proposed has been executed.
  @inlinable
  public var isPipelineIdle: Bool { proposedThrough <= executedThrough }

  /// Handles one event; effects are appended. Never returns another event.
  @discardableResult
  public func processEvent(_ event: Event) -> Event? {
    switch event {
    case .start:
      started = true
    case .propose(let digest, let batch):
      propose(digest: digest, batch: batch)
    case .message(let message, let sender):
      receive(message, from: sender)
    case .checkpointTaken(let checkpoint):
      recordOwnCheckpoint(checkpoint)
    case .suspectPrimary:
      suspectPrimary()
    case .timeout(.suspectResend):
      resendSuspect()
    }
    return nil
  }

  /// The next effect, in order; nil when all have been taken. Taking one may be interleaved with events,
  /// whose effects come after those still waiting.
  public func takeEffect() -> Effect? {
    guard pendingHead < pending.count else {
      pending.removeAll(keepingCapacity: true)
      pendingHead = 0
      return nil
    }
    pendingHead &+= 1
    return pending[pendingHead &- 1]
  }

  @inline(__always)
  func emit(_ effect: Effect) { pending.append(effect) }

  private func receive(_ message: Message, from sender: ReplicaID) {
    guard let position = membership.position(of: sender) else {
      return reject(message, .unknownSender, from: sender)
    }
    guard position != self.position else { return reject(message, .ownMessage, from: sender) }
    guard started else { return reject(message, .notStarted, from: sender) }
    let rejection: Rejection?
    switch message {
    case .prePrepare(let prePrepare): rejection = receive(prePrepare, from: position)
    case .prepare(let prepare): rejection = receive(prepare, from: position)
    case .commit(let commit): rejection = receive(commit, from: position)
    case .checkpoint(let checkpoint): rejection = receive(checkpoint, from: position)
    case .suspect(let suspect): rejection = receive(suspect, from: position)
    }
    if let rejection { reject(message, rejection, from: sender) }
  }

  private func reject(_ message: Message, _ rejection: Rejection, from sender: ReplicaID) {
    emit(.rejected(rejection, from: sender))
    if case .prePrepare(let prePrepare) = message, prePrepare.batch != .none {
      emit(.discard(prePrepare.batch))
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
