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
  /// Views left, and views entered after the first.
  public var viewsLeft: UInt64 = 0
  public var viewChanges: UInt64 = 0
  /// Batches asked for by digest, those that came, and those sent to others.
  public var batchesWanted: UInt64 = 0
  public var batchesFetched: UInt64 = 0
  public var batchesServed: UInt64 = 0
  /// State transfers begun and ended; donors given up for what they sent, and for their silence.
  public var transfersBegun: UInt64 = 0
  public var transfersEnded: UInt64 = 0
  public var donorsWrong: UInt64 = 0
  public var donorsSilent: UInt64 = 0
  /// Parts of the own state sent to others.
  public var statePartsServed: UInt64 = 0
  public var membershipChanges: UInt64 = 0
  public var reconfigurationsRefused: UInt64 = 0
  /// Batches of the primary not taken because an authenticator in them is not valid here.
  public var batchesAccused: UInt64 = 0
  /// Records written for the durable log, their bytes, and segments begun.
  public var recordsPersisted: UInt64 = 0
  public var bytesPersisted: UInt64 = 0
  public var segmentsBegun: UInt64 = 0

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
  /// False once a RECONFIG has removed it.
  public var isMember: Bool
  /// The view in force, or the one being changed to.
  public var view: View
  /// Whether the view is in force here.
  public var isActive: Bool
  public var isPrimary: Bool
  public var isSuspecting: Bool
  /// The view being changed to; nil when one is in force.
  public var pendingView: View?
  /// Whether it abstains because it has lost what it may have voted.
  public var isRecovering: Bool
  /// Whether it is fetching a state from others.
  public var isTransferring: Bool
  public var lastExecuted: SequenceNumber
  /// Requests the service has executed since the beginning, here or, before a state transfer, elsewhere.
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
  /// Batches held: live ones, and those of earlier views that this replica has vouched for.
  public var heldBatches: Int
  /// Clients refused because f+1 replicas accuse them.
  public var refusedClients: Int
  /// The durable log's segment and its bytes so far; 0 without one.
  public var logSegment: UInt64
  public var logBytes: Int
  public var counters: ReplicaCounters
}
