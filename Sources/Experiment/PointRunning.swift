// What a sweep needs to have a point measured, so that the order, the journal and the resumption of a sweep
// can be tested without a cluster. Kept true: a runner owns nothing between two calls; every call brings up
// what it needs and leaves nothing behind, whether it returns, throws or is cancelled.

import Foundation
import Results

/// Measures points. All times are wall or monotonic time of this process; rates are operations per second.
///
/// Every method observes the cancellation of its task: it stops its parties and throws `CancellationError`.
/// A `CommandFailure` ends the whole sweep; any other error is the target's and concerns this point only.
public protocol PointRunning: Sendable {
  /// The throughput of a closed loop in which every session sends again at once: 0.5 s warm-up, 1 s measured.
  func probeCapacity(_ parameters: PointParameters) async throws -> Double

  /// The highest rate at which the generator keeps its own rules against a null target: n stub replicas on a
  /// loop of their own, same transport, frames and authentication, answering at once.
  /// nil when the machine is too busy with other work to say.
  func calibrate(_ parameters: PointParameters) async throws -> Double?

  /// Runs one point on a fresh cluster (or on the remote one): warm-up, measurement, drain, audit.
  ///
  /// - Parameters:
  ///   - parameters: validated.
  ///   - targetOpsPerSecond: the offered rate, with a share of capacity already resolved.
  ///   - repeatIndex: counted from 0.
  ///   - seed: of the arrival schedule.
  ///   - ceilingOpsPerSecond: the calibrated rate above which the generator limits, if known.
  ///   - report: called from time to time with how far the point is; any thread.
  /// - Returns: a result whose `row` holds everything measured; the sweep fills in the parameters and the
  ///   identity.
  func run(
    _ parameters: PointParameters, targetOpsPerSecond: Double, repeatIndex: Int, seed: UInt64,
    ceilingOpsPerSecond: Double?, report: @escaping @Sendable (LiveStatus) -> Void
  ) async throws -> PointResult
}

/// How far a running point is.
public struct LiveStatus: Equatable, Sendable {
  public enum Phase: String, Sendable {
    case starting
    case warmup = "warm-up"
    case measurement
    case drain
    case audit
  }

  public var phase: Phase
  /// Nanoseconds since the start of the warm-up, 0 before it.
  public var elapsedNanoseconds: Int64
  /// Requests due, answered and in flight since the start of the point.
  public var offered: UInt64
  public var answered: UInt64
  public var inFlight: UInt64

  public init(
    phase: Phase, elapsedNanoseconds: Int64 = 0, offered: UInt64 = 0, answered: UInt64 = 0,
    inFlight: UInt64 = 0
  ) {
    self.phase = phase
    self.elapsedNanoseconds = elapsedNanoseconds
    self.offered = offered
    self.answered = answered
    self.inFlight = inFlight
  }
}

/// A histogram and the tag under which it stands in the histogram log.
public struct TaggedHistogram: Sendable {
  /// latency, service, lag or censored.
  public var tag: String
  /// Values in nanoseconds, of the measurement phase only.
  public var histogram: LatencyHistogram

  public init(tag: String, histogram: LatencyHistogram) {
    self.tag = tag
    self.histogram = histogram
  }
}

/// Everything one run of a point leaves behind.
public struct PointResult: Sendable {
  /// The measured columns; parameters and identity are the sweep's to fill.
  public var row: PointRow
  public var quantiles: [QuantileRow]
  public var series: [SeriesRow]
  public var events: [EventRow]
  public var resources: [ResourceRow]
  public var histograms: [TaggedHistogram]
  /// Wall times of the measurement phase, for the histogram log.
  public var started: Date
  public var ended: Date
  /// The parameters as the target resolved them, when it is not this process that decides them (remote
  /// replicas).
  public var resolved: PointParameters?

  public init(
    row: PointRow, quantiles: [QuantileRow] = [], series: [SeriesRow] = [], events: [EventRow] = [],
    resources: [ResourceRow] = [], histograms: [TaggedHistogram] = [], started: Date, ended: Date,
    resolved: PointParameters? = nil
  ) {
    self.row = row
    self.quantiles = quantiles
    self.series = series
    self.events = events
    self.resources = resources
    self.histograms = histograms
    self.started = started
    self.ended = ended
    self.resolved = resolved
  }
}

/// Measures each point by the runner of its transport.
public struct TransportRunner<Embedded: PointRunning, Remote: PointRunning>: PointRunning {
  private let embedded: Embedded
  private let remote: Remote

  public init(embedded: Embedded, remote: Remote) {
    self.embedded = embedded
    self.remote = remote
  }

  private func runner(of parameters: PointParameters) -> any PointRunning {
    parameters.transport == .remote ? remote : embedded
  }

  public func probeCapacity(_ parameters: PointParameters) async throws -> Double {
    try await runner(of: parameters).probeCapacity(parameters)
  }

  public func calibrate(_ parameters: PointParameters) async throws -> Double? {
    try await runner(of: parameters).calibrate(parameters)
  }

  public func run(
    _ parameters: PointParameters, targetOpsPerSecond: Double, repeatIndex: Int, seed: UInt64,
    ceilingOpsPerSecond: Double?, report: @escaping @Sendable (LiveStatus) -> Void
  ) async throws -> PointResult {
    try await runner(of: parameters).run(
      parameters, targetOpsPerSecond: targetOpsPerSecond, repeatIndex: repeatIndex, seed: seed,
      ceilingOpsPerSecond: ceilingOpsPerSecond, report: report)
  }
}
