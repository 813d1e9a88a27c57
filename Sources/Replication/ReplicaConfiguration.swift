// The parameters of a replica and their bounds. All replicas of a cluster run with the same values.

import PBFT

/// How batches get their place in the total order.
public enum Consenter: Hashable, Sendable {
  /// Agreement by PBFT.
  case pbft
  /// Fabric's `noops`: one replica executes every batch as it is formed. The baseline without agreement.
  case noops
}

/// What a replica keeps on disk (decision record 18).
public enum Durability: String, CaseIterable, Hashable, Sendable {
  /// Nothing: what it may have voted is lost with the process.
  case none
  /// Records are written, and nothing waits for the disk: they survive the process, not the machine.
  case async
  /// Records are on disk before what they cover leaves the replica.
  case sync
}

/// The hash in hashed replies (`system.communication.hashAlgorithm`).
public enum HashedReplies: Hashable, Sendable {
  case sha256
  /// As BFT-SMaRt v1.2 does.
  case sha512

  /// Bytes of the longer one.
  static let maximumByteCount = 64
}

/// The 16 bytes that tell clusters apart.
public struct ClusterIdentity: Hashable, Sendable, BitwiseCopyable {
  public var high: UInt64
  public var low: UInt64

  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// The first 16 bytes, big-endian. Precondition: they are there.
  public init(bytes: UnsafeRawBufferPointer) {
    precondition(bytes.count >= 16)
    high = UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self))
    low = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
  }
}

public struct ReplicaConfiguration: Hashable, Sendable {
  public var consenter = Consenter.pbft
  /// Requests that make a batch full.
  public var batchSize = 256
  /// How long a batch waits to become full while others are in flight.
  public var batchTimeoutNanoseconds: Int64 = 2_000_000
  /// Age at which a backup suspects the primary over an eligible request; 0 = never.
  public var requestTimeoutNanoseconds: Int64 = 2_000_000_000
  /// A checkpoint is taken every so many batches, K.
  public var checkpointPeriod = 128
  /// The log holds so many checkpoint periods, L = K × multiplier.
  public var logMultiplier = 4
  /// Whether unordered requests are answered at once (BFT-SMaRt's `readonly_requests`).
  public var readOnlyRequests = false
  /// Data and authenticator of one request.
  public var maximumRequestBytes = 1 << 20
  /// Requests of one batch, of this or another replica; at least `batchSize`.
  public var maximumBatchRequests = 1_024
  /// Data and authenticators of one batch; at least one request of the maximum size.
  public var maximumBatchBytes = 8 << 20
  /// Requests that wait to be ordered.
  public var maximumStoredRequests = 65_536
  /// Requests held at all: waiting, in batches of the log window, or both.
  public var maximumHeldRequests = 1 << 20
  /// Bytes of all requests held; each takes a power of two.
  public var maximumHeldBytes = 1 << 30
  /// Requests of one client that wait to be ordered; at most 32.
  public var maximumOutstandingPerClient = 32
  /// Clients remembered for ever; a full table refuses new ones.
  public var maximumClients = 65_536
  /// Makes the places of clients in the local look-up table unforeseeable; never visible outside. A host
  /// that faces strangers draws it from the system's entropy.
  public var lookupSalt: UInt64 = 0
  /// How long a quorum that asked for a view waits for its NEW-VIEW; doubled once per failed view (Fabric
  /// `general.timeout.viewchange`).
  public var viewChangeTimeoutNanoseconds: Int64 = 2_000_000_000
  /// First delay before the own VIEW-CHANGE is sent again (Fabric `general.timeout.resendviewchange`).
  public var viewChangeResendNanoseconds: Int64 = 2_000_000_000
  /// An idle primary orders a null request so often; 0 = never (Fabric `general.timeout.nullrequest`).
  public var nullRequestNanoseconds: Int64 = 0
  /// Checkpoint periods per view, after which the next replica is primary; 0 = no rotation (Fabric
  /// `general.viewchangeperiod`).
  public var viewChangePeriod = 0
  /// How long something unfinished may stand still before the others are asked; nil = an eighth of the
  /// request timeout, at least 10 ms, at most 500 ms.
  public var healingNanoseconds: Int64?
  /// First delay before the own SUSPECT is sent again; nil = half the request timeout, at least half a
  /// second.
  public var suspectResendNanoseconds: Int64?
  /// How long a donor may take for a part of its state; nil = half the request timeout, at least 50 ms, at
  /// most 2 s.
  public var stateTransferTimeoutNanoseconds: Int64?
  /// What a replica keeps on disk, and when.
  public var durability = Durability.none
  /// The cluster that durable records name: 16 bytes.
  public var cluster = ClusterIdentity(high: 0, low: 0)
  /// What a replica sends instead of its reply to a hashed request when another one is to send it whole.
  public var hashedReplies = HashedReplies.sha256
  /// The client whose RECONFIG requests are executed; nil = nobody's.
  public var administrator: Int32?

  public init() {}

  /// What is wrong with these values, one sentence each; empty when nothing is.
  public func validate() -> [String] {
    var problems: [String] = []
    func check(_ holds: Bool, _ problem: String) { if !holds { problems.append(problem) } }
    let longest: Int64 = 86_400_000_000_000
    check((1...65_536).contains(batchSize), "batch size must be 1...65536")
    check((0...longest).contains(batchTimeoutNanoseconds), "batch timeout must be 0...1 day")
    check((0...longest).contains(requestTimeoutNanoseconds), "request timeout must be 0...1 day")
    check((1...65_536).contains(checkpointPeriod), "checkpoint period must be 1...65536")
    check((2...64).contains(logMultiplier), "log multiplier must be 2...64")
    check((64...64 << 20).contains(maximumRequestBytes), "request bytes must be 64...64 MiB")
    check((1...1 << 20).contains(maximumBatchRequests), "requests of a batch must be 1...2^20")
    check(maximumBatchRequests >= batchSize, "a batch must have room for the batch size")
    check(
      checkpointPeriod.multipliedReportingOverflow(by: logMultiplier).partialValue <= 1 << 20,
      "checkpoint period times log multiplier must be at most 2^20")
    check(
      maximumBatchRequests.multipliedFullWidth(by: checkpointPeriod &* logMultiplier).low <= 1 << 28,
      "requests of a batch times batches in the log must be at most 2^28")
    check((1...1 << 30).contains(maximumBatchBytes), "bytes of a batch must be 1...1 GiB")
    check(maximumBatchBytes >= maximumRequestBytes, "a batch must have room for one request")
    check((1...1 << 24).contains(maximumStoredRequests), "stored requests must be 1...2^24")
    check((1...1 << 26).contains(maximumHeldRequests), "requests held must be 1...2^26")
    check(maximumHeldRequests >= maximumStoredRequests, "requests held must be at least those stored")
    check(maximumHeldBytes >= maximumBatchBytes, "bytes held must have room for one batch")
    check((1...32).contains(maximumOutstandingPerClient), "outstanding requests per client must be 1...32")
    check((1...1 << 24).contains(maximumClients), "clients must be 1...2^24")
    let delays = 1...longest
    check(
      delays.contains(viewChangeTimeoutNanoseconds), "view change timeout must be above 0 and at most 1 day")
    check(
      delays.contains(viewChangeResendNanoseconds),
      "view change resend timeout must be above 0 and at most 1 day")
    check((0...longest).contains(nullRequestNanoseconds), "null request timeout must be 0...1 day")
    check((0...1 << 20).contains(viewChangePeriod), "view change period must be 0...2^20 checkpoint periods")
    check(
      healingNanoseconds.map(delays.contains) ?? true, "healing delay must be above 0 and at most 1 day")
    check(
      suspectResendNanoseconds.map(delays.contains) ?? true,
      "suspect resend delay must be above 0 and at most 1 day")
    check(
      stateTransferTimeoutNanoseconds.map(delays.contains) ?? true,
      "state transfer timeout must be above 0 and at most 1 day")
    check(
      consenter == .pbft || administrator == nil, "noops has one replica and no administrator")
    return problems
  }

  /// The number of batches in the watermark window, L.
  public var logSize: Int { checkpointPeriod * logMultiplier }

  var ordering: OrderingConfiguration {
    OrderingConfiguration(
      checkpointPeriod: UInt64(checkpointPeriod), logMultiplier: UInt64(logMultiplier),
      suspectResendNanoseconds: suspectResendNanoseconds ?? max(requestTimeoutNanoseconds, 1_000_000_000) / 2,
      viewChangeTimeoutNanoseconds: viewChangeTimeoutNanoseconds,
      viewChangeResendNanoseconds: viewChangeResendNanoseconds, healingNanoseconds: healingInterval,
      nullRequestNanoseconds: nullRequestNanoseconds, requestTimeoutNanoseconds: requestTimeoutNanoseconds,
      viewChangePeriod: UInt64(viewChangePeriod))
  }

  /// `healingNanoseconds`, or what follows from the request timeout.
  public var healingInterval: Int64 {
    healingNanoseconds ?? min(max(requestTimeoutNanoseconds / 8, 10_000_000), 500_000_000)
  }

  /// `stateTransferTimeoutNanoseconds`, or what follows from the request timeout.
  public var stateTransferTimeout: Int64 {
    stateTransferTimeoutNanoseconds ?? min(max(requestTimeoutNanoseconds / 2, 50_000_000), 2_000_000_000)
  }
}
