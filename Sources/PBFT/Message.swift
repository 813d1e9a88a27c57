// The messages between replicas as values. The sender is not part of them: a link has authenticated it.

/// The primary assigns a sequence number to a batch (OSDI '99 §4.2).
public struct PrePrepare: Hashable, Sendable, BitwiseCopyable {
  public var view: View
  public var sequence: SequenceNumber
  /// The batch digest: over the count and the request digests in order.
  public var digest: Digest
  /// The batch in this replica's hands; local, never on the wire.
  public var batch: BatchHandle

  @inlinable
  public init(view: View, sequence: SequenceNumber, digest: Digest, batch: BatchHandle) {
    self.view = view
    self.sequence = sequence
    self.digest = digest
    self.batch = batch
  }
}

/// A backup agrees to the assignment (OSDI '99 §4.2).
public struct Prepare: Hashable, Sendable, BitwiseCopyable {
  public var view: View
  public var sequence: SequenceNumber
  public var digest: Digest

  @inlinable
  public init(view: View, sequence: SequenceNumber, digest: Digest) {
    self.view = view
    self.sequence = sequence
    self.digest = digest
  }
}

/// A replica has seen the batch prepared (OSDI '99 §4.2).
public struct Commit: Hashable, Sendable, BitwiseCopyable {
  public var view: View
  public var sequence: SequenceNumber
  public var digest: Digest

  @inlinable
  public init(view: View, sequence: SequenceNumber, digest: Digest) {
    self.view = view
    self.sequence = sequence
    self.digest = digest
  }
}

/// A replica's state after `sequence` has this digest (OSDI '99 §4.3).
public struct Checkpoint: Hashable, Sendable, BitwiseCopyable {
  public var sequence: SequenceNumber
  public var digest: Digest

  @inlinable
  public init(sequence: SequenceNumber, digest: Digest) {
    self.sequence = sequence
    self.digest = digest
  }
}

/// A replica suspects the primary of `view`, and goes on voting in it until a quorum does (ours; Fabric's
/// issue 1120 asked for it).
public struct Suspect: Hashable, Sendable, BitwiseCopyable {
  public var view: View
  /// A client whose request the primary has proposed with an authenticator that is not valid here (decision
  /// record 10); the last one found.
  public var accused: Int32?

  @inlinable
  public init(view: View, accused: Int32? = nil) {
    self.view = view
    self.accused = accused
  }
}

/// Where a replica stands, and whether it asks for what it lacks (decision record 16; the status messages of
/// TOCS 2002 §5.2).
public struct Status: Hashable, Sendable, BitwiseCopyable {
  /// The view in force, or the one being changed to.
  public var view: View
  /// Whether the view is in force here.
  public var isActive: Bool
  /// Whether the sender has lost what it may have voted and abstains until that is history (decision record
  /// 18).
  public var isRecovering: Bool
  /// Whether an answer is wanted; an answer never is.
  public var asks: Bool
  public var stable: SequenceNumber
  /// The highest sequence number prepared here; for the estimate of a recovering replica.
  public var prepared: SequenceNumber
  /// Through where the sender has executed. Who asks names the number up to which it lacks nothing, votes for its own
  /// votes in the view in force included.
  public var executed: SequenceNumber

  @inlinable
  public init(
    view: View, isActive: Bool, isRecovering: Bool, asks: Bool, stable: SequenceNumber,
    prepared: SequenceNumber,
    executed: SequenceNumber
  ) {
    self.view = view
    self.isActive = isActive
    self.isRecovering = isRecovering
    self.asks = asks
    self.stable = stable
    self.prepared = prepared
    self.executed = executed
  }
}

/// The sender has executed this batch at this sequence number; f+1 of them replace a quorum of commits
/// (decision record 16).
public struct Executed: Hashable, Sendable, BitwiseCopyable {
  public var sequence: SequenceNumber
  public var digest: Digest

  @inlinable
  public init(sequence: SequenceNumber, digest: Digest) {
    self.sequence = sequence
    self.digest = digest
  }
}

/// Asks a donor for a part of its state at a checkpoint (decision record 19).
public struct StateQuery: Hashable, Sendable, BitwiseCopyable {
  public var checkpoint: Checkpoint
  /// Where to go on; 0 asks for the beginning.
  public var position: UInt64

  @inlinable
  public init(checkpoint: Checkpoint, position: UInt64) {
    self.checkpoint = checkpoint
    self.position = position
  }
}

/// Everything one replica says to another, but for batches fetched and parts of a state, which carry bytes.
public enum Message: Hashable, Sendable, BitwiseCopyable {
  case prePrepare(PrePrepare)
  case prepare(Prepare)
  case commit(Commit)
  case checkpoint(Checkpoint)
  case suspect(Suspect)
  /// The statement is in the owner's hands under a local handle, as a pre-prepare's batch is.
  case viewChange(StatementHandle)
  case newView(StatementHandle)
  case status(Status)
  case executed(Executed)
  /// Asks for the requests of a batch by its digest; anybody may answer.
  case fetchBatch(Digest)
  case fetchState(StateQuery)
}

/// Why a peer's message changed nothing. Counted by kind; never a trap.
public enum Rejection: UInt8, Hashable, Sendable, CaseIterable, BitwiseCopyable {
  /// The sender is not in the membership.
  case unknownSender
  /// The message claims to come from this replica itself.
  case ownMessage
  /// This replica has not started.
  case notStarted
  /// The message is of another view than the one in force here.
  case otherView
  /// At or below the stable checkpoint: ordinary for the last votes of a sequence number.
  case belowWindow
  /// Above the high watermark.
  case aboveWindow
  /// A pre-prepare from a backup.
  case notPrimary
  /// A prepare from the primary, whose pre-prepare is its prepare.
  case prepareFromPrimary
  /// The same message again.
  case duplicate
  /// A second pre-prepare for this view and sequence number, with another digest.
  case conflictingPrePrepare
  /// A second vote of the same replica for the same thing, with another digest.
  case conflictingVote
  /// A pre-prepare whose digest is not that of the requests it carries.
  case digestMismatch
  /// A pre-prepare without requests.
  case emptyBatch
  /// A pre-prepare with more requests or bytes than this replica holds.
  case batchTooLarge
  /// A checkpoint for a sequence number that is not a multiple of the checkpoint period.
  case notACheckpoint
  /// A pre-prepare that is not what the NEW-VIEW in force says, or of a number it has settled.
  case againstNewView
  /// A pre-prepare above a reconfiguration (decision record 3).
  case aboveReconfiguration
  /// A pre-prepare beyond the planned end of the view.
  case aboveViewLimit
  /// A statement of another membership.
  case otherMembership
  /// A VIEW-CHANGE or NEW-VIEW whose content is not what a correct replica says.
  case invalidStatement
  /// A message of a view to come for which there is no room.
  case tooEarly
  /// A peer that asks more often than it is answered.
  case tooManyQueries
  /// Bytes that are no message. Found by the host.
  case malformed
  /// A tag or signature that does not verify, of the message or of a request in its batch. Found by the host.
  case badAuthenticator
}
