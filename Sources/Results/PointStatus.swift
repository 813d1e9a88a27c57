// The verdict on a point: valid or void, why, and what the audit found. The order of the void reasons is part
// of the format: readers take the first as the one that decides.

/// Whether a point may be used.
public enum PointStatus: String, Codable, Sendable, CSVCell, CaseIterable {
  case valid
  case void
  public static var cellKind: String { "valid or void" }
}

/// What the audit of the replicated log found.
public enum AuditOutcome: String, Codable, Sendable, CSVCell, CaseIterable {
  case ok
  case failed
  /// The service cannot be audited, or the audit was switched off.
  case absent
  public static var cellKind: String { "ok, failed or absent" }
}

/// Whether throughput and latency kept their level over the measurement.
public enum Stationarity: String, Codable, Sendable, CSVCell, CaseIterable {
  case stationary
  case notStationary = "not_stationary"
  /// Shorter than 5 s, or with a fault script. Not a reason to void.
  case notJudged = "not_judged"
  public static var cellKind: String { "stationary, not_stationary or not_judged" }
}

/// A reason for which a point is void. Declared in the order in which they decide.
public enum VoidReason: String, Codable, Sendable, CaseIterable {
  case auditFailed = "audit_failed"
  case targetFailed = "target_failed"
  case generatorLimited = "generator_limited"
  case starved
  case censored
  case arrivalsOff = "arrivals_off"
  case notStationary = "not_stationary"

  /// The reason in words, for people.
  public var explanation: String {
    switch self {
    case .auditFailed: "the audit found the replicated log inconsistent"
    case .targetFailed: "the cluster failed during the point"
    case .generatorLimited: "the load generator, not the cluster, was the limit"
    case .starved: "more than 1 % of due requests waited for a free session"
    case .censored: "a percentile that was asked for is only a lower bound"
    case .arrivalsOff: "the requests sent differ from the schedule by more than 1 %"
    case .notStationary: "throughput or latency drifted during the measurement"
    }
  }
}

/// Every reason that holds, without repetition, in deciding order; `;`-separated in a cell.
public struct VoidReasons: Equatable, Sendable, CSVCell, ExpressibleByArrayLiteral {
  private var bits: UInt8 = 0

  public init() {}

  public init(_ reasons: some Sequence<VoidReason>) {
    for reason in reasons { insert(reason) }
  }

  public init(arrayLiteral elements: VoidReason...) { self.init(elements) }

  public static var cellKind: String { "void reasons separated by ;" }
  public var cellText: String { ordered.map(\.rawValue).joined(separator: ";") }
  public init?(cellText: String) {
    for name in cellText.split(separator: ";", omittingEmptySubsequences: true) {
      guard let reason = VoidReason(rawValue: String(name)) else { return nil }
      insert(reason)
    }
  }

  public var isEmpty: Bool { bits == 0 }
  /// The reasons in deciding order.
  public var ordered: [VoidReason] { VoidReason.allCases.filter(contains) }
  /// The reason that decides.
  public var first: VoidReason? { ordered.first }

  public func contains(_ reason: VoidReason) -> Bool { bits & reason.bit != 0 }
  public mutating func insert(_ reason: VoidReason) { bits |= reason.bit }
}

extension VoidReason {
  fileprivate var bit: UInt8 {
    switch self {
    case .auditFailed: 1
    case .targetFailed: 2
    case .generatorLimited: 4
    case .starved: 8
    case .censored: 16
    case .arrivalsOff: 32
    case .notStationary: 64
    }
  }
}
