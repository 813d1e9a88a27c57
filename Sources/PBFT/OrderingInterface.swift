// What goes into the ordering core and what comes out of it: configuration, timers, events, effects, records.

/// What the core needs to know besides the membership.
public struct OrderingConfiguration: Hashable, Sendable {
  /// A checkpoint is taken every so many sequence numbers, K.
  public var checkpointPeriod: UInt64
  /// The log holds so many checkpoint periods: L = K × multiplier; at least 2.
  public var logMultiplier: UInt64
  /// First delay before a SUSPECT is sent again; doubled each time, at most 64-fold.
  public var suspectResendNanoseconds: Int64
  /// How long a quorum that asked for a view waits for its NEW-VIEW; doubled once per failed view, as at
  /// first again after progress (Fabric `general.timeout.viewchange`).
  public var viewChangeTimeoutNanoseconds: Int64
  /// First delay before the own VIEW-CHANGE is sent again; doubled each time, at most 16-fold (Fabric
  /// `general.timeout.resendviewchange`).
  public var viewChangeResendNanoseconds: Int64
  /// How long something unfinished may stand still before the others are asked; doubled each time, at most
  /// 16-fold (decision record 16).
  public var healingNanoseconds: Int64
  /// An idle primary orders a null request so often; 0 = never (Fabric `general.timeout.nullrequest`).
  public var nullRequestNanoseconds: Int64
  /// What a backup waits beyond `nullRequestNanoseconds` before it suspects a primary that is silent.
  public var requestTimeoutNanoseconds: Int64
  /// Checkpoint periods per view, after which the next replica becomes the primary; 0 = no rotation (Fabric
  /// `general.viewchangeperiod`).
  public var viewChangePeriod: UInt64

  public init(
    checkpointPeriod: UInt64, logMultiplier: UInt64, suspectResendNanoseconds: Int64,
    viewChangeTimeoutNanoseconds: Int64 = 2_000_000_000, viewChangeResendNanoseconds: Int64 = 2_000_000_000,
    healingNanoseconds: Int64 = 100_000_000, nullRequestNanoseconds: Int64 = 0,
    requestTimeoutNanoseconds: Int64 = 2_000_000_000, viewChangePeriod: UInt64 = 0
  ) {
    self.checkpointPeriod = checkpointPeriod
    self.logMultiplier = logMultiplier
    self.suspectResendNanoseconds = suspectResendNanoseconds
    self.viewChangeTimeoutNanoseconds = viewChangeTimeoutNanoseconds
    self.viewChangeResendNanoseconds = viewChangeResendNanoseconds
    self.healingNanoseconds = healingNanoseconds
    self.nullRequestNanoseconds = nullRequestNanoseconds
    self.requestTimeoutNanoseconds = requestTimeoutNanoseconds
    self.viewChangePeriod = viewChangePeriod
  }

  /// The number of sequence numbers in the watermark window, L.
  public var logSize: UInt64 { checkpointPeriod * logMultiplier }
}

/// A countdown the core asks its owner for; starting one that runs starts it anew.
public enum OrderingTimer: UInt8, Hashable, Sendable, CaseIterable, BitwiseCopyable {
  /// Until the own SUSPECT is sent again.
  case suspectResend
  /// Until the view being changed to is given up.
  case newView
  /// Until the own VIEW-CHANGE is sent again.
  case viewChangeResend
  /// Until the primary orders a null request, or a backup suspects it for its silence.
  case nullRequest
  /// Until the others are asked for what is missing, if nothing has moved.
  case healing
  /// Until peers may ask again as often as at first.
  case answers
  /// Until the others are told where this replica stands, if nothing has happened since.
  case standing
}

/// What must be on disk before the message it covers leaves (decision record 18).
public enum OrderingRecord: Hashable, Sendable, BitwiseCopyable {
  /// Before the own pre-prepare or prepare. The null request has the zero digest and no batch.
  case prePrepared(sequence: SequenceNumber, view: View, digest: Digest, batch: BatchHandle)
  /// Before the own commit.
  case prepared(sequence: SequenceNumber, view: View, digest: Digest)
  /// Before the batch is executed, so that a restart can execute it again. `batch` is `.none` for the null
  /// request, and when a `prePrepared` record of this number and digest names the batch.
  case executed(sequence: SequenceNumber, digest: Digest, batch: BatchHandle)
  /// Before the own checkpoint message: what others may rely on to become stable.
  case checkpoint(Checkpoint)
  /// Before the own VIEW-CHANGE: no vote in an earlier view follows.
  case viewLeft(to: View)
  /// Before the first vote in the view of this NEW-VIEW.
  case viewEntered(StatementHandle)
}

/// What a replica may have promised, read back from its records, and how a core begins again (decision record
/// 18).
public struct OrderingState: Hashable, Sendable {
  /// A pre-prepared or prepared batch above the stable checkpoint.
  public struct Entry: Hashable, Sendable {
    public var claim: Claim
    /// Whether it was prepared, so that the own commit may have been sent.
    public var isPrepared: Bool
    /// The batch, `.none` when it could not be read or is the null request. Of the entries of one digest at
    /// one sequence number at most one carries it.
    public var batch: BatchHandle
    public var isReconfiguration: Bool

    public init(claim: Claim, isPrepared: Bool, batch: BatchHandle, isReconfiguration: Bool) {
      self.claim = claim
      self.isPrepared = isPrepared
      self.batch = batch
      self.isReconfiguration = isReconfiguration
    }
  }

  /// A batch executed above the stable checkpoint.
  public struct Decision: Hashable, Sendable {
    public var sequence: SequenceNumber
    public var digest: Digest
    /// `.none` only for the null request.
    public var batch: BatchHandle
    public var isReconfiguration: Bool

    public init(sequence: SequenceNumber, digest: Digest, batch: BatchHandle, isReconfiguration: Bool) {
      self.sequence = sequence
      self.digest = digest
      self.batch = batch
      self.isReconfiguration = isReconfiguration
    }
  }

  public var view: View
  /// Whether `view` had been entered.
  public var isActive: Bool
  /// The last NEW-VIEW entered.
  public var newView: SignedStatement?
  /// Everything up to its number is executed.
  public var stable: Checkpoint
  /// What the owner has executed again above `stable`: ascending, without gaps.
  public var decisions: [Decision]
  /// The own checkpoints between `stable` and the last decision, whose states are at hand; in any order.
  public var checkpoints: [Checkpoint]
  /// In any order, repeated claims included; those of views above `view` are the owner's mistake.
  public var entries: [Entry]

  public init(
    view: View = .zero, isActive: Bool = true, newView: SignedStatement? = nil,
    stable: Checkpoint = Checkpoint(sequence: .zero, digest: .zero), decisions: [Decision] = [],
    checkpoints: [Checkpoint] = [], entries: [Entry] = []
  ) {
    self.view = view
    self.isActive = isActive
    self.newView = newView
    self.stable = stable
    self.decisions = decisions
    self.checkpoints = checkpoints
    self.entries = entries
  }
}

extension OrderingCore {
  public enum Event {
    /// Takes part from now on. A recovering replica has lost what it may have voted: it follows, and abstains
    /// until that is history (decision record 18).
    case start(recovering: Bool)
    /// The primary's owner has formed a batch. Precondition: `canPropose`.
    case propose(digest: Digest, batch: BatchHandle, isReconfiguration: Bool)
    /// A link has delivered an authenticated pre-prepare, whose digest has been checked against its batch.
    case prePrepare(PrePrepare, isReconfiguration: Bool, from: ReplicaID)
    /// As `prePrepare`, of a batch in which this replica finds a client's authenticator not valid: kept
    /// aside, and accepted by its digest as soon as f+1 replicas, its primary included, stand by it (decision
    /// record 57).
    case prePrepareRefused(PrePrepare, isReconfiguration: Bool, from: ReplicaID)
    /// A link has delivered an authenticated message; every signature of a statement has been checked.
    /// Pre-prepares come as `prePrepare`, `fetchBatch` and `fetchState` are the owner's business.
    case message(Message, from: ReplicaID)
    /// The batch with this digest is in the owner's hands, whether or not it is still wanted: the core keeps
    /// it or discards it.
    case batchFetched(Digest, BatchHandle, isReconfiguration: Bool)
    /// The own signature of a statement, the answer to `Effect.sign`.
    case signed(StatementHandle, StatementSignature)
    /// The owner has digested its state after executing up to this sequence number, as it was asked to.
    case checkpointTaken(Checkpoint)
    /// The owner has installed the certified state of this checkpoint, which is not below what it had
    /// executed.
    case stateTransferred(Checkpoint)
    /// The owner has given up `Effect.transferState`; its state is the one it had.
    case stateTransferFailed
    /// The owner's request timer has found reason to suspect the primary; perhaps a client whose requests
    /// carry authenticators not valid here (decision record 10).
    case suspectPrimary(accused: Int32?)
    /// A link to another member has come or gone: what was under way may be lost.
    case linksChanged
    case timeout(OrderingTimer)
  }

  public enum Effect: BitwiseCopyable {
    /// To every other replica.
    case broadcast(Message)
    case send(Message, to: ReplicaID)
    /// Sign `statement(_:)` and answer with `signed` before anything else is given to the core.
    case sign(StatementHandle)
    /// The next batch in sequence is decided: execute it. The core counts it as executed. The null request
    /// has the zero digest and no batch.
    case execute(SequenceNumber, view: View, digest: Digest, batch: BatchHandle)
    /// Everything up to here is executed: digest the state and answer with `checkpointTaken`.
    case takeCheckpoint(SequenceNumber)
    /// The core will never mention this batch again.
    case discard(BatchHandle)
    /// A quorum has the same state here: the low watermark has moved. Also after a state transfer.
    case stable(Checkpoint)
    /// A quorum agrees on a state that is not ours: this replica's state is damaged.
    case diverged(Checkpoint)
    /// This replica suspects the primary of the view.
    case suspected(View)
    /// No vote follows in this view; its unfinished batches may be forgotten by the next one.
    case viewLeft(View, to: View)
    case viewEntered(View, isPrimary: Bool)
    /// A batch known by its digest only is wanted; repeated while it is.
    case fetch(Digest)
    /// Others no longer hold what this replica lacks: fetch the state of this checkpoint, certified by f+1
    /// replicas. Given again with a higher one when it is known. Nothing is executed until `stateTransferred`
    /// or `stateTransferFailed`.
    case transferState(Checkpoint)
    /// A recovering replica votes from now on.
    case recovered
    /// Must be on disk before any message given after it leaves.
    case persist(OrderingRecord)
    /// f+1 replicas accuse this client of authenticators that only some replicas find valid (decision record
    /// 10).
    case accusedByWeakQuorum(client: Int32)
    case startTimer(OrderingTimer, afterNanoseconds: Int64)
    case stopTimer(OrderingTimer)
    case rejected(Rejection, from: ReplicaID)
  }
}
