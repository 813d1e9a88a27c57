// What a replica tells about itself: counters by kind, and where it stands.

import PBFT

/// Everything counted since the replica was made. Nothing a client or peer sends disappears uncounted.
public struct ReplicaCounters: Hashable, Sendable {
  /// Requests given to the replica, and those stored as new.
  public var requestsArrived: UInt64 = 0
  public var requestsStored: UInt64 = 0
  /// Requests that were held already and came again.
  public var requestsResent: UInt64 = 0
  /// By `Refusal`; read with `refused(_:)`.
  public internal(set) var refusals = [UInt64](repeating: 0, count: Refusal.allCases.count)
  /// By `Rejection`; read with `rejected(_:)`.
  public internal(set) var rejections = [UInt64](repeating: 0, count: Rejection.allCases.count)
  /// Batches and requests proposed by this replica as primary.
  public var batchesProposed: UInt64 = 0
  public var requestsProposed: UInt64 = 0
  /// Batches executed, and requests in them that the service executed.
  public var batchesExecuted: UInt64 = 0
  public var requestsExecuted: UInt64 = 0
  /// Unordered requests answered.
  public var unorderedExecuted: UInt64 = 0
  /// Ordered requests not executed, by the rule that said so.
  public var repliesResent: UInt64 = 0
  public var repliesForgotten: UInt64 = 0
  public var olderSessions: UInt64 = 0
  public var membershipBehind: UInt64 = 0
  public var membershipAhead: UInt64 = 0
  public var sequenceGaps: UInt64 = 0
  public var clientTableFull: UInt64 = 0
  public var notExecutable: UInt64 = 0
  public var requestsForwarded: UInt64 = 0
  public var checkpointsTaken: UInt64 = 0
  public var checkpointsStable: UInt64 = 0
  public var checkpointsDiverged: UInt64 = 0
  /// Views whose primary this replica has suspected.
  public var viewsSuspected: UInt64 = 0

  public init() {}

  public func refused(_ refusal: Refusal) -> UInt64 { refusals[Int(refusal.rawValue)] }
  public func rejected(_ rejection: Rejection) -> UInt64 { rejections[Int(rejection.rawValue)] }
  /// All refusals together.
  public var requestsRefused: UInt64 { refusals.reduce(0, &+) }
}

/// One executed batch in the digest chain.
public struct ChainLink: Hashable, Sendable, BitwiseCopyable {
  public var sequence: SequenceNumber
  /// H_k = SHA-256(H_(k-1) ‖ batch digest of k), H_0 = 32 zero bytes.
  public var digest: Digest
}

/// Where a replica stands, as one value.
public struct ReplicaStatus: Hashable, Sendable {
  public var id: ReplicaID
  public var membershipID: Int32
  public var view: View
  /// Whether it votes in its view.
  public var isActive: Bool
  public var isPrimary: Bool
  public var isSuspecting: Bool
  /// Whether a quorum suspects the primary of the view.
  public var isViewAbandonable: Bool
  public var lastExecuted: SequenceNumber
  public var executedRequests: UInt64
  public var stableCheckpoint: Checkpoint
  /// The highest checkpoint a quorum vouches for; above `lastExecuted` the replica is behind.
  public var certifiedCheckpoint: Checkpoint
  public var chain: Digest
  /// The chain after each of the last L batches, oldest first.
  public var recentChain: [ChainLink]
  /// Clients in the client table.
  public var clients: Int
  /// Requests waiting to be ordered, requests held at all, and their bytes.
  public var storedRequests: Int
  public var heldRequests: Int
  public var heldBytes: Int
  public var counters: ReplicaCounters
}
