// A runner that measures nothing: its figures follow from the parameters, so that tests can say what must be
// in the files.

import Experiment
import Foundation
import Results
import Synchronization

/// What happened to one recorded call.
enum RunnerCall: Equatable, Sendable {
  case probe(String)
  case calibration(String)
  case run(PointKey, target: Double, seed: UInt64)
}

/// A deterministic runner that records its calls.
final class RecordedRunner: PointRunning {
  /// Called at the start of every run with the number of runs before it; may throw.
  typealias Hook = @Sendable (Int, PointParameters) throws -> Void

  private let recorded = Mutex<[RunnerCall]>([])
  private let hook: Hook
  private let probeHook: @Sendable (PointParameters) throws -> Double
  private let void: @Sendable (Int) -> VoidReasons

  /// - Parameter void: why the run with so many before it is void; nothing when it is valid.
  init(
    probe: @escaping @Sendable (PointParameters) throws -> Double = { Double($0.batchSize) * 1000 },
    hook: @escaping Hook = { _, _ in }, void: @escaping @Sendable (Int) -> VoidReasons = { _ in [] }
  ) {
    self.hook = hook
    self.void = void
    probeHook = probe
  }

  var calls: [RunnerCall] { recorded.withLock { $0 } }

  var runs: [PointKey] { calls.compactMap { if case .run(let key, _, _) = $0 { key } else { nil } } }

  func probeCapacity(_ parameters: PointParameters) async throws -> Double {
    recorded.withLock { $0.append(.probe(parameters.capacityConfiguration)) }
    return try probeHook(parameters)
  }

  func calibrate(_ parameters: PointParameters) async throws -> Double? {
    recorded.withLock { $0.append(.calibration(parameters.signatureMode)) }
    return 1_000_000
  }

  func run(
    _ parameters: PointParameters, targetOpsPerSecond: Double, repeatIndex: Int, seed: UInt64,
    ceilingOpsPerSecond: Double?, report: @escaping @Sendable (LiveStatus) -> Void
  ) async throws -> PointResult {
    let key = PointKey(pointID: parameters.pointID, repeatIndex: repeatIndex)
    let before = recorded.withLock { calls in
      defer { calls.append(.run(key, target: targetOpsPerSecond, seed: seed)) }
      return calls.count { if case .run = $0 { true } else { false } }
    }
    report(LiveStatus(phase: .measurement, elapsedNanoseconds: 1_500_000_000, answered: 42))
    try hook(before, parameters)
    var row = PointRow()
    row.voidReasons = void(before)
    row.status = row.voidReasons.isEmpty ? .valid : .void
    row.audit = .ok
    row.offered = parameters.batchSize
    row.throughputOperationsPerSecond = targetOpsPerSecond
    row.latencyP99Nanoseconds = parameters.batchSize * 1000
    var histogram = LatencyHistogram.nanoseconds()
    _ = histogram.record(UInt64(parameters.batchSize) * 1000)
    let quantiles = [0.5, 0.99, 1].map {
      QuantileRow(
        key, metric: "latency", quantile: $0, valueNanoseconds: parameters.batchSize * 1000, count: 1)
    }
    var series = SeriesRow()
    series.answered = parameters.batchSize
    let start = Date(timeIntervalSince1970: 1_700_000_000)
    return PointResult(
      row: row, quantiles: quantiles, series: [series, series],
      events: [EventRow(key, timeSeconds: 1, kind: "note", detail: "a \"quoted\", text\nof two lines")]
        + row.voidReasons.ordered.map {
          EventRow(key, timeSeconds: 4, kind: $0.rawValue, detail: "run \(before)")
        },
      resources: [
        ResourceRow(key, timeSeconds: 1, process: "p", role: "all", metric: "rss_bytes", value: 7)
      ],
      histograms: [TaggedHistogram(tag: "latency", histogram: histogram)], started: start,
      ended: start.addingTimeInterval(3))
  }
}

/// Runs `body` with a folder of its own that is removed afterwards.
func inTemporaryFolder<Value>(_ body: (String) async throws -> Value) async throws -> Value {
  let folder = try temporaryFolder()
  defer { try? FileManager.default.removeItem(atPath: folder) }
  return try await body(folder)
}

/// Runs `body` with a folder of its own that is removed afterwards.
func inTemporaryFolder<Value>(_ body: (String) throws -> Value) throws -> Value {
  let folder = try temporaryFolder()
  defer { try? FileManager.default.removeItem(atPath: folder) }
  return try body(folder)
}

private func temporaryFolder() throws -> String {
  let folder = NSTemporaryDirectory() + "muster-experiment-\(UUID().uuidString)"
  try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
  return folder
}
