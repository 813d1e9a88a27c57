// The rows of the files beside points.csv: quantiles, series, events and resources. Each names its point and
// repeat.

/// One quantile of one metric of one point (quantiles.csv).
public struct QuantileRow: CSVRow, PointKeyed, Equatable {
  public var pointID = ""
  public var repeatIndex = 0
  /// `latency`, `service`, `lag`, `first_reply`, `weak_quorum`, `quorum`, `all_replies` or `stage_*`.
  public var metric = ""
  /// In 0...1.
  public var quantile = 0.0
  public var valueNanoseconds = 0
  public var intervalLowNanoseconds: Int?
  public var intervalHighNanoseconds: Int?
  /// Values recorded under this metric.
  public var count = 0
  /// Whether the true value may be larger: requests without an answer reach down to this quantile.
  public var isBound = false

  public init() {}

  public init(
    _ key: PointKey, metric: String, quantile: Double, valueNanoseconds: Int, count: Int,
    isBound: Bool = false
  ) {
    pointID = key.pointID
    repeatIndex = key.repeatIndex
    self.metric = metric
    self.quantile = quantile
    self.valueNanoseconds = valueNanoseconds
    self.count = count
    self.isBound = isBound
  }

  public static let columns: [CSVColumn<QuantileRow>] = [
    .init("point_id", \.pointID),
    .init("repeat", \.repeatIndex),
    .init("metric", \.metric),
    .init("q", \.quantile),
    .init("value_ns", \.valueNanoseconds),
    .init("ci_lo_ns", \.intervalLowNanoseconds),
    .init("ci_hi_ns", \.intervalHighNanoseconds),
    .init("count", \.count),
    .init("bound", \.isBound),
  ]
}

/// The part of a point that a second belongs to.
public enum Phase: String, Codable, Sendable, CSVCell, CaseIterable {
  case warmup
  case measure
  case drain
  public static var cellKind: String { "warmup, measure or drain" }
}

/// One second of one point as one rank saw it (series.csv).
public struct SeriesRow: CSVRow, PointKeyed, Equatable {
  public var pointID = ""
  public var repeatIndex = 0
  public var rank = 0
  /// Where the second begins, since the start of the point.
  public var timeSeconds = 0.0
  public var phase = Phase.measure
  public var offered = 0
  public var sent = 0
  public var answered = 0
  public var errors = 0
  /// At the end of the second.
  public var inFlight = 0
  public var latencyP50Nanoseconds: Int?
  public var latencyP99Nanoseconds: Int?
  public var latencyMaxNanoseconds: Int?
  public var lagP99Nanoseconds: Int?
  /// Batches executed in the second.
  public var commits: Int?
  public var view: Int?
  public var primary: Int?

  public init() {}

  public static let columns: [CSVColumn<SeriesRow>] = [
    .init("point_id", \.pointID),
    .init("repeat", \.repeatIndex),
    .init("rank", \.rank),
    .init("t_s", \.timeSeconds),
    .init("phase", \.phase),
    .init("offered", \.offered),
    .init("sent", \.sent),
    .init("answered", \.answered),
    .init("errors", \.errors),
    .init("in_flight", \.inFlight),
    .init("lat_p50_ns", \.latencyP50Nanoseconds),
    .init("lat_p99_ns", \.latencyP99Nanoseconds),
    .init("lat_max_ns", \.latencyMaxNanoseconds),
    .init("lag_p99_ns", \.lagP99Nanoseconds),
    .init("commits", \.commits),
    .init("view", \.view),
    .init("primary", \.primary),
  ]
}

/// Something that happened at an instant (events.csv).
public struct EventRow: CSVRow, PointKeyed, Equatable {
  public var pointID = ""
  public var repeatIndex = 0
  /// Since the start of the point.
  public var timeSeconds = 0.0
  /// Such as `suspect`, `view_change`, `fault`.
  public var kind = ""
  public var replica: Int?
  public var detail = ""

  public init() {}

  public init(_ key: PointKey, timeSeconds: Double, kind: String, replica: Int? = nil, detail: String = "") {
    pointID = key.pointID
    repeatIndex = key.repeatIndex
    self.timeSeconds = timeSeconds
    self.kind = kind
    self.replica = replica
    self.detail = detail
  }

  public static let columns: [CSVColumn<EventRow>] = [
    .init("point_id", \.pointID),
    .init("repeat", \.repeatIndex),
    .init("t_s", \.timeSeconds),
    .init("kind", \.kind),
    .init("replica", \.replica),
    .init("detail", \.detail),
  ]
}

/// One reading of one resource of one process (resources.csv).
public struct ResourceRow: CSVRow, PointKeyed, Equatable {
  public var pointID = ""
  public var repeatIndex = 0
  /// Since the start of the point.
  public var timeSeconds = 0.0
  public var process = ""
  /// Such as `generator`, `replica0`, `all`.
  public var role = ""
  /// Unit as suffix, such as `rss_bytes`.
  public var metric = ""
  public var value = 0.0

  public init() {}

  public init(
    _ key: PointKey, timeSeconds: Double, process: String, role: String, metric: String, value: Double
  ) {
    pointID = key.pointID
    repeatIndex = key.repeatIndex
    self.timeSeconds = timeSeconds
    self.process = process
    self.role = role
    self.metric = metric
    self.value = value
  }

  public static let columns: [CSVColumn<ResourceRow>] = [
    .init("point_id", \.pointID),
    .init("repeat", \.repeatIndex),
    .init("t_s", \.timeSeconds),
    .init("process", \.process),
    .init("role", \.role),
    .init("metric", \.metric),
    .init("value", \.value),
  ]
}
