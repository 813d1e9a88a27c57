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

  @inlinable
  public init(view: View) { self.view = view }
}

/// Everything one replica's core says to another's.
public enum Message: Hashable, Sendable, BitwiseCopyable {
  case prePrepare(PrePrepare)
  case prepare(Prepare)
  case commit(Commit)
  case checkpoint(Checkpoint)
  case suspect(Suspect)
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
  /// Bytes that are no message. Found by the host.
  case malformed
  /// A tag or signature that does not verify, of the message or of a request in its batch. Found by the host.
  case badAuthenticator
}
