// Every axis of a measured point as one typed value, with Muster's own defaults. Kept true: the parameters
// are complete (nothing a point depends on is read from anywhere else), they remember which of them were
// stated, and whatever is derived from others (resend, log size) is derived here and nowhere else.

import PBFT
import Replication
import ServiceClient
import Wire
import Workload

/// Which ordering the replicas run.
public enum OrderingProtocol: String, CaseIterable, Sendable {
  case pbft
  case noops
  /// Whatever running replicas of BFT-SMaRt run; its master branch.
  case bftSmart = "bftsmart"
  /// The same for v1.2.
  case bftSmart12 = "bftsmart-1.2"

  /// Whether the replicas are somebody else's: nothing is known of them but what their clients and their files know.
  public var isForeign: Bool { foreignDialect != nil }

  /// The client frames of foreign replicas.
  var foreignDialect: ClientDialect? {
    switch self {
    case .pbft, .noops: nil
    case .bftSmart: .master
    case .bftSmart12: .v12
    }
  }
}

/// What the replicas execute.
public enum ReplicatedService: String, CaseIterable, Sendable {
  /// The append log with a counter, whose replies can be audited; the default.
  case log
  /// BFT-SMaRt's counter demonstration.
  case counter
  /// Replies of a given size, no state.
  case null
  /// The reply is the request. Foreign replicas only.
  case echo
  /// BFT-SMaRt's ThroughputLatencyServer. Foreign replicas only.
  case microbenchmark

  /// Whether our own replicas have it.
  public var isOurs: Bool {
    switch self {
    case .log, .counter, .null: true
    case .echo, .microbenchmark: false
    }
  }
}

/// What carries frames between the parties.
public enum Transport: String, CaseIterable, Sendable {
  /// Encoded frames handed between event loops of this process.
  case memory
  /// TCP over 127.0.0.1, replicas in this process.
  case loopback
  /// Replicas of other processes or hosts, as their `hosts.config` says.
  case remote
}

/// When requests are signed.
public enum Signing: String, CaseIterable, Sendable {
  /// After the intended send time, on the generator's cores; the only form that is compared.
  case inline
  /// Before the point starts; the cost stands in a column of its own.
  case ahead
}

/// To whom a session sends a request at first.
public enum FirstTargets: String, CaseIterable, Sendable {
  /// All replicas, as BFT-SMaRt's clients do.
  case all
  /// The replica believed to be the primary; all of them when there is no answer within the resend interval.
  case primary
}

extension FaultModel {
  /// As flags, scenarios and columns call it.
  var name: String {
    switch self {
    case .byzantine: "byzantine"
    case .crash: "crash"
    }
  }

  init?(name: String) {
    guard let model = Self.allCases.first(where: { $0.name == name }) else { return nil }
    self = model
  }
}

/// The offered load.
public enum OfferedRate: Equatable, Sendable {
  /// Requests per second.
  case absolute(Double)
  /// A share of the capacity that a probe of the same configuration finds; 1 is that capacity.
  case share(Double)
}

/// Everything that one point depends on except its repeat, its seed and the build.
public struct PointParameters: Equatable, Sendable {
  public var orderingProtocol = OrderingProtocol.pbft
  public var service = ReplicatedService.log
  public var transport = Transport.loopback
  /// Folder of `hosts.config`, `system.config` and `keys/`; only for remote replicas.
  public var hostsDirectory: String?
  /// Shell command that starts or restarts foreign replicas before each point.
  public var targetCommand: String?
  /// How long foreign replicas may take to answer.
  public var readyTimeoutNanoseconds: Int64 = 60_000_000_000
  public var replicas = 4
  public var faults = 1
  /// What a faulty replica may do, BFT-SMaRt's `system.bft`: decides how many replicas f takes, and every quorum.
  public var faultModel = FaultModel.byzantine
  /// Event loops of in-process replicas; nil leaves it to the runner (cores − 1, in signed modes all cores).
  public var loops: Int?

  /// How client requests are authenticated: none, hmac, sign:<algorithm>, verify-only:<algorithm>.
  public var signatureMode = "none"
  public var signing = Signing.inline
  public var replicaAuthentication = ReplicaAuthentication.hmac

  public var batchSize = 256
  public var batchTimeoutNanoseconds: Int64 = 2_000_000
  /// The replicas' request timer; 0 turns it off.
  public var requestTimeoutNanoseconds: Int64 = 2_000_000_000
  /// How long a new view may take before the next one is tried; doubled per failed view.
  public var viewChangeTimeoutNanoseconds: Int64 = 2_000_000_000
  /// The client's resend interval if it was stated; `resendNanoseconds` is what holds.
  public var statedResendNanoseconds: Int64?
  public var checkpointPeriod = 128
  public var logMultiplier = 4
  /// What in-process replicas write before they vote; embedded points write nothing unless told.
  public var durability = Durability.none
  /// What happens to the replicas while the load runs; empty for nothing.
  public var faultScript = FaultScript()

  public var sessions = 1000
  /// Connections per replica, the sessions dealt evenly over them.
  public var connections = 16
  /// Requests in flight per session, at most.
  public var outstanding = 1
  /// How requests are asked for, one of `kinds`. In-process replicas serve unordered ones if these are what is offered.
  public var kind = InvocationKind.ordered
  public var sendTo = FirstTargets.all
  public var arrival = ArrivalProcess.poisson
  public var rate = OfferedRate.absolute(10_000)
  /// Bytes of a request beyond its record.
  public var payloadBytes = 0
  /// Bytes of a reply beyond its record.
  public var replyBytes = 0
  public var firstClientID = 10_000
  public var audit = true

  public var warmupNanoseconds: Int64 = 1_000_000_000
  public var measureNanoseconds: Int64 = 10_000_000_000
  /// How long every measured request is followed after its intended time, D.
  public var drainNanoseconds: Int64 = 5_000_000_000

  /// The parameters that were stated by a flag or a scenario; all others hold their defaults.
  public var stated: Set<ParameterKey> = []

  /// The largest number of requests one session may have in flight: replicas remember 32 replies per client.
  public static let maximumOutstanding = 32
  /// The largest membership: votes are bit sets of one word.
  public static let maximumReplicas = 64
  /// The kinds of requests that a load may have. Whole replies only: those are what the audit reads.
  public static let kinds: [InvocationKind] = [.ordered, .unordered]
  /// The largest number of bytes added to a request or a reply.
  public static let maximumAddedBytes = 16 * 1024 * 1024

  /// Muster's defaults, nothing stated.
  public init() {}

  /// Muster's defaults changed by what `texts` state, as flags or a scenario write it.
  ///
  /// Replicas not stated are 1 under `noops`; faults not stated are the most that the replicas tolerate; a
  /// stated hosts folder means remote replicas unless another transport is stated too.
  /// - Throws: `ParameterErrors` with everything that cannot be read, in the order of
  ///   `ParameterKey.allCases`.
  public init(stating texts: [ParameterKey: String]) throws(ParameterErrors) {
    var errors: [ParameterError] = []
    for key in ParameterKey.allCases {
      guard let text = texts[key] else { continue }
      do {
        try set(key, to: text)
      } catch {
        errors.append(error)
      }
    }
    if texts[.rate] != nil, let share = texts[.rateShare] {
      errors.append(ParameterError(.rateShare, share, "either rate or rate_share, not both"))
    }
    guard errors.isEmpty else { throw ParameterErrors(errors) }
    if texts[.hosts] != nil, texts[.transport] == nil { transport = .remote }
    if orderingProtocol.isForeign, texts[.service] == nil { service = .counter }
    if orderingProtocol == .noops, texts[.replicas] == nil { replicas = 1 }
    if texts[.faults] == nil {
      faults = orderingProtocol == .noops ? 0 : faultModel.maximumFaults(replicas: replicas)
    }
  }

  // MARK: Derived

  /// The client's resend interval: as stated, or the smaller of 4 × request timeout and D/2 (D/2 when the
  /// request timer is off).
  public var resendNanoseconds: Int64 {
    if let statedResendNanoseconds { return statedResendNanoseconds }
    let half = drainNanoseconds / 2
    guard requestTimeoutNanoseconds > 0 else { return half }
    let (quadruple, overflow) = requestTimeoutNanoseconds.multipliedReportingOverflow(by: 4)
    return overflow ? half : min(quadruple, half)
  }

  /// The client ids of the sessions.
  var clientIDs: ClosedRange<Int32> {
    Int32(clamping: firstClientID)...Int32(clamping: firstClientID + sessions - 1)
  }

  /// Sequence numbers between the watermarks, L = K × multiplier.
  public var logSize: Int { checkpointPeriod * logMultiplier }

  /// Whether clients or replicas compute signatures, which decides the default number of loops.
  public var usesSignatures: Bool { signatureMode.contains(":") }

  /// Whether the generator signs each request as it sends it.
  var signsInline: Bool { signatureMode.hasPrefix("sign:") && signing == .inline }

  /// Whether each session has connections of its own.
  public var dedicatedConnections: Bool { connections == sessions }

  /// The absolute rate, if the point states one.
  public var statedRate: Double? {
    if case .absolute(let rate) = rate { rate } else { nil }
  }

  /// The share of a capacity probe, if the point states one.
  public var rateShare: Double? {
    if case .share(let share) = rate { share } else { nil }
  }
}
