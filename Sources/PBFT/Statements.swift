// The signed statements of a view change (OSDI '99 §4.4; the P and Q sets as claims: TOCS 2002 §3.2.4). They
// are signed because a NEW-VIEW relays other replicas' VIEW-CHANGEs; everything else a link authenticates.

/// A claim of a P or Q set: this replica has prepared (P) or pre-prepared (Q) this digest in this view, the
/// highest in which it has. The zero digest is the null request.
public struct Claim: Hashable, Sendable, BitwiseCopyable {
  public var sequence: SequenceNumber
  public var digest: Digest
  public var view: View

  @inlinable
  public init(sequence: SequenceNumber, digest: Digest, view: View) {
    self.sequence = sequence
    self.digest = digest
    self.view = view
  }
}

/// VIEW-CHANGE(v, h, C, P, Q, i).
public struct ViewChange: Hashable, Sendable {
  /// The view asked for; at least 1.
  public var view: View
  public var membershipID: Int32
  /// Whose statement it is; a NEW-VIEW relays it.
  public var replica: ReplicaID
  /// The stable checkpoint; its number is h.
  public var stable: Checkpoint
  /// C: own checkpoints above h, ascending.
  public var checkpoints: [Checkpoint]
  /// P: ascending, one claim per sequence number.
  public var prepared: [Claim]
  /// Q: ascending by sequence number, one claim per sequence number and digest.
  public var prePrepared: [Claim]
  /// Clients whose requests the primary proposed with authenticators that are not valid here; ascending, at
  /// most `maximumAccused`.
  public var accused: [Int32]

  public static let maximumAccused = 64
  /// Claims of the Q set per sequence number.
  public static let maximumDigestsPerSequence = 8

  public init(
    view: View, membershipID: Int32, replica: ReplicaID, stable: Checkpoint, checkpoints: [Checkpoint] = [],
    prepared: [Claim] = [], prePrepared: [Claim] = [], accused: [Int32] = []
  ) {
    self.view = view
    self.membershipID = membershipID
    self.replica = replica
    self.stable = stable
    self.checkpoints = checkpoints
    self.prepared = prepared
    self.prePrepared = prePrepared
    self.accused = accused
  }
}

/// 64 bytes of a signature (Ed25519), held inline.
public struct StatementSignature: Hashable, Sendable, BitwiseCopyable {
  public var low: Digest
  public var high: Digest

  public static let none = StatementSignature(low: .zero, high: .zero)
  public static let byteCount = 64

  @inlinable
  public init(low: Digest, high: Digest) {
    self.low = low
    self.high = high
  }
}

public struct SignedViewChange: Hashable, Sendable {
  public var content: ViewChange
  public var signature: StatementSignature

  public init(content: ViewChange, signature: StatementSignature) {
    self.content = content
    self.signature = signature
  }
}

/// NEW-VIEW(v, V, X), signed by the primary of v; anybody may relay it.
public struct NewView: Hashable, Sendable {
  public var view: View
  public var membershipID: Int32
  /// V: at least a quorum of VIEW-CHANGEs for `view`, ascending by replica.
  public var viewChanges: [SignedViewChange]
  /// The checkpoint selected from V.
  public var start: Checkpoint
  /// X: digests selected for start+1, start+2, …; the zero digest is the null request.
  public var digests: [Digest]

  public init(
    view: View, membershipID: Int32, viewChanges: [SignedViewChange], start: Checkpoint, digests: [Digest]
  ) {
    self.view = view
    self.membershipID = membershipID
    self.viewChanges = viewChanges
    self.start = start
    self.digests = digests
  }
}

/// What is signed, and by whom the signature claims to be.
public enum Statement: Hashable, Sendable {
  case viewChange(ViewChange)
  case newView(NewView)
}

/// A statement with its signature.
public struct SignedStatement: Hashable, Sendable {
  public var statement: Statement
  public var signature: StatementSignature

  public init(statement: Statement, signature: StatementSignature) {
    self.statement = statement
    self.signature = signature
  }
}

/// A replica's own name for a statement it holds; local, never on the wire.
public struct StatementHandle: Hashable, Sendable, BitwiseCopyable {
  public var rawValue: UInt32

  @inlinable
  public init(rawValue: UInt32) { self.rawValue = rawValue }
}
