// One row of points.csv: one repeat of one point, its parameters, its verdict and its figures. Parameters
// whose names belong to other modules (modes, transports, arrivals) are text here, so that a reader needs
// none of those modules.

import Foundation

/// One repeat of one point. An optional is nil where the figure is not available; it is then an empty cell.
public struct PointRow: CSVRow, PointKeyed, Equatable {
  /// The schema that this version writes.
  public static let currentSchemaVersion = 2

  // MARK: Which point, in which build

  /// Counts changes of the column list.
  public var schemaVersion: Int = PointRow.currentSchemaVersion
  /// The result this row belongs to.
  public var sweepID: String = ""
  /// 12 hex digits over the parameters as the scenario states them.
  public var pointID: String = ""
  /// Counted from 0.
  public var repeatIndex: Int = 0
  /// When the point ran within its sweep, from 0.
  public var orderIndex: Int = 0
  /// Void until judged.
  public var status: PointStatus = .void
  /// All reasons that hold; empty exactly when the point is valid.
  public var voidReasons: VoidReasons = []
  public var audit: AuditOutcome = .absent
  public var gitSHA: String?
  public var gitDirty: Bool?
  /// `release` or `debug`.
  public var buildMode: String = ""
  public var seed: UInt64 = 0
  /// Millisecond precision in the file.
  public var started: Date = Date(timeIntervalSince1970: 0)

  // MARK: Parameters

  /// `pbft`, `noops`, later foreign targets.
  public var protocolName: String = ""
  /// `log`, `counter` or `null`.
  public var service: String = ""
  /// `memory`, `loopback` or `remote`.
  public var transport: String = ""
  public var replicas: Int = 0
  public var faults: Int = 0
  /// Cores the processes of this machine could use.
  public var cores: Int = 0
  /// Event loops shared by in-process replicas.
  public var loops: Int?
  /// Of client requests.
  public var signatureMode: String = ""
  /// `inline` or `ahead`.
  public var signing: String = ""
  public var replicaAuthentication: String?
  public var batchSize: Int?
  public var batchTimeoutMicroseconds: Int?
  /// The replicas' request timer.
  public var requestTimeoutMilliseconds: Int?
  public var viewChangeTimeoutMilliseconds: Int?
  /// The client's resend interval.
  public var resendMilliseconds: Int?
  /// K.
  public var checkpointPeriod: Int?
  /// L.
  public var logSize: Int?
  public var durability: String?
  public var sessions: Int = 0
  /// Per replica.
  public var connections: Int = 0
  /// Requests in flight per session at most.
  public var outstanding: Int = 1
  /// `constant` or `poisson`, and what follows them.
  public var arrival: String = ""
  /// Beyond the service's record.
  public var payloadBytes: Int = 0
  /// Beyond the service's record.
  public var replyBytes: Int = 0
  public var unorderedFraction: Double = 0
  public var faultScript: String?
  /// `byzantine` or `crash`.
  public var faultModel: String = "byzantine"
  /// To whom requests go at first: `all` or `primary`.
  public var sendTo: String = "all"
  /// The rate as a share of a capacity probe, where it was stated so.
  public var rateShare: Double?
  /// The rate offered.
  public var targetOperationsPerSecond: Double = 0

  // MARK: Counts of requests due in the measurement phase, and throughput

  /// Due.
  public var offered: Int = 0
  /// Distinct requests sent.
  public var sent: Int = 0
  /// Reached their reply quorum.
  public var answered: Int = 0
  /// Not taken by the full waiting queue.
  public var refused: Int = 0
  /// Waited for a free session.
  public var starved: Int = 0
  /// Without an answer after the drain.
  public var censored: Int = 0
  public var errors: Int = 0
  public var retransmits: Int = 0
  /// Quorums reached in the phase, by its length.
  public var throughputOperationsPerSecond: Double?
  public var throughputIntervalLow: Double?
  public var throughputIntervalHigh: Double?

  // MARK: Response time, service time, schedule lag

  public var latencyMeanNanoseconds: Int?
  public var latencyP50Nanoseconds: Int?
  public var latencyP90Nanoseconds: Int?
  public var latencyP95Nanoseconds: Int?
  public var latencyP99Nanoseconds: Int?
  public var latencyP999Nanoseconds: Int?
  public var latencyP9999Nanoseconds: Int?
  public var latencyMaxNanoseconds: Int?
  public var latencyP99IntervalLowNanoseconds: Int?
  public var latencyP99IntervalHighNanoseconds: Int?
  /// The lowest quantile that is only a bound, in 0...1.
  public var latencyBoundFromQuantile: Double?
  public var serviceP50Nanoseconds: Int?
  public var serviceP99Nanoseconds: Int?
  /// Actual minus intended send time.
  public var lagP50Nanoseconds: Int?
  public var lagP99Nanoseconds: Int?
  public var lagP999Nanoseconds: Int?
  public var warmupSeconds: Double = 0
  public var measureSeconds: Double = 0
  /// D: how long each request is followed after its intended time.
  public var drainSeconds: Double = 0
  public var stationarity: Stationarity = .notJudged

  // MARK: Resources, and the distance to the machine's limit

  /// Mean cores used by the generator's loop.
  public var generatorCPUCores: Double?
  public var replicaCPUCoresMean: Double?
  public var replicaCPUCoresPrimary: Double?
  /// All parties.
  public var cpuNanosecondsPerRequest: Int?
  public var replicaCPUNanosecondsPerRequest: Int?
  public var signAheadCPUSeconds: Double?
  public var residentBytesMax: Int?
  public var allocatedBytesPerRequest: Double?
  public var messagesPerRequest: Double?
  public var bytesPerRequest: Double?
  public var signaturesPerRequest: Double?
  public var verificationsPerRequest: Double?
  /// Mean processor time of one signature and of one verification during the measurement, where requests carry them.
  public var signNanoseconds: Int?
  public var verifyNanoseconds: Int?
  /// Requests per batch.
  public var batchMean: Double?
  public var viewChanges: Int?
  /// The cost model's bound.
  public var boundOperationsPerSecond: Double?
  public var ratioToLimit: Double?
  public var limitedBy: String?
  /// CPU time the hypervisor took, in 0...1.
  public var stealShare: Double?
  /// Found by the audit.
  public var violations: Int?
  /// Replies the audit looked at.
  public var checked: Int?

  /// A row without figures, void and unaudited: what a point is before it has run.
  public init() {}
}
