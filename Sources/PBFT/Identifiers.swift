// The numbers of the protocol as distinct types, so that a view is never compared with a sequence number.
//
// All of them may come from a peer. Their arithmetic is therefore written where it is used, with wrapping
// operators or behind a window check, and never traps on any value.

/// A replica's identity: BFT-SMaRt's process id, the same in `hosts.config` and on the wire.
public struct ReplicaID: Hashable, Comparable, Sendable, BitwiseCopyable {
  public var rawValue: Int32

  @inlinable
  public init(rawValue: Int32) { self.rawValue = rawValue }

  @inlinable
  public init(_ rawValue: Int32) { self.rawValue = rawValue }

  @inlinable
  public static func < (left: ReplicaID, right: ReplicaID) -> Bool { left.rawValue < right.rawValue }
}

/// A PBFT view number; never a membership id (which BFT-SMaRt calls a view).
public struct View: Hashable, Comparable, Sendable, BitwiseCopyable {
  public var rawValue: UInt64

  @inlinable
  public static var zero: View { View(rawValue: 0) }

  @inlinable
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  @inlinable
  public init(_ rawValue: UInt64) { self.rawValue = rawValue }

  @inlinable
  public static func < (left: View, right: View) -> Bool { left.rawValue < right.rawValue }
}

/// A place in the total order of request batches; the first batch has 1, and 0 is the state before it.
public struct SequenceNumber: Hashable, Comparable, Sendable, BitwiseCopyable {
  public var rawValue: UInt64

  @inlinable
  public static var zero: SequenceNumber { SequenceNumber(rawValue: 0) }

  @inlinable
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  @inlinable
  public init(_ rawValue: UInt64) { self.rawValue = rawValue }

  @inlinable
  public static func < (left: SequenceNumber, right: SequenceNumber) -> Bool {
    left.rawValue < right.rawValue
  }
}

/// A replica's own name for a request batch it holds; local, never on the wire.
public struct BatchHandle: Hashable, Sendable, BitwiseCopyable {
  public var rawValue: UInt32

  /// No batch: a pre-prepare without requests in hand.
  @inlinable
  public static var none: BatchHandle { BatchHandle(rawValue: .max) }

  @inlinable
  public init(rawValue: UInt32) { self.rawValue = rawValue }
}
