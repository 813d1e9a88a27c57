// Measures points: brings up target and generator, runs the load, reads the replicas' accounts before and after, compares
// them with the generator's, and takes everything down again.

import Channels
import Foundation
import LoadGenerator
import Logging
import NIOCore
import PBFT
import ReplicaHost
import Results
import ServiceClient
import Wire

/// Points on replicas in this process, a fresh cluster each.
public struct EmbeddedPointRunner: PointRunning {
  private let logger: Logger

  public init(logger: Logger) { self.logger = logger }

  public func probeCapacity(_ parameters: PointParameters) async throws -> Double {
    try await CapacityProbing.probe(parameters) { plan in
      let cluster = try await EmbeddedCluster.start(parameters, logger: logger)
      return try await closing(cluster.stop) {
        try await CapacityProbing.run(
          plan, parameters, endpoints: cluster.clientEndpoints, ids: cluster.membership.replicas,
          secrets: cluster.keys.generatorSecrets, speech: parameters.embeddedSpeech)
      }
    }
  }

  public func calibrate(_ parameters: PointParameters) async throws -> Double? {
    try await GeneratorCalibration.ceiling(parameters, parameters.embeddedSpeech)
  }

  public func run(
    _ parameters: PointParameters, targetOpsPerSecond: Double, repeatIndex: Int, seed: UInt64,
    ceilingOpsPerSecond: Double?, report: @escaping @Sendable (LiveStatus) -> Void
  ) async throws -> PointResult {
    report(LiveStatus(phase: .starting))
    let cluster = try await EmbeddedCluster.start(parameters, logger: logger)
    return try await closing(cluster.stop) {
      let party = try GeneratorParty(
        parameters, endpoints: cluster.clientEndpoints, replicaIDs: cluster.membership.replicas,
        secrets: cluster.keys.generatorSecrets, speech: parameters.embeddedSpeech)
      return try await closing(party.stop) {
        try await party.connect()
        let loops = Array(cluster.group.makeIterator()) + [party.loop]
        let window = MeasurementWindow(cluster: cluster, loops: loops)
        let injector = FaultInjector(parameters.faultScript, cluster: cluster)
        var measurement: PointMeasurement
        do {
          measurement = try await party.measure(
            parameters, rate: targetOpsPerSecond, seed: seed, ceiling: ceilingOpsPerSecond, report: report,
            onStart: { injector.begin(at: $0) }, onMeasurement: { window.mark(begins: $0) })
        } catch {
          _ = await injector.end()
          throw error
        }
        let outcome = measurement.outcome
        let faults = await injector.end()
        measurement.use = await window.use(primaryOf: cluster.membership)
        let finals = try await settled(cluster, patience: parameters.faultScript.isEmpty ? 2 : 10)
        measurement.audit = TargetAudit.comparing(
          before: nil, after: finals.map { ReplicaAccount($0) }, outcome: outcome,
          ofReads: parameters.kind.isUnordered)
        if let remark = cluster.data?.remark { measurement.audit.remarks.append(remark) }
        measurement.targetFailure = faults.first(where: \.hasFailed).map {
          "\($0.fault): \($0.note ?? "failed")"
        }
        measurement.events.add(faults, outcome.gaps)
        for (position, samples) in try await cluster.allSamples().enumerated() {
          for sample in samples {
            measurement.events.add(sample.events, of: position, since: outcome.startNanoseconds)
          }
        }
        return measurement.result()
      }
    }
  }

  /// The replicas that run once they have executed equally far, or after `patience` seconds as they are.
  private func settled(_ cluster: EmbeddedCluster, patience: Int) async throws -> [ReplicaSample] {
    for _ in 0..<patience * 50 {
      let samples = try await cluster.samples()
      if Set(samples.map(\.status.lastExecuted)).count == 1 { return samples }
      try await Task.sleep(for: .milliseconds(20))
    }
    return try await cluster.samples()
  }
}

extension LiveStatus {
  /// The end of one second of a run.
  static func second(_ second: Int, _ load: LoadSecond, _ parameters: PointParameters) -> LiveStatus {
    let elapsed = Int64(second + 1) * 1_000_000_000
    let phase: Phase =
      elapsed <= parameters.warmupNanoseconds
      ? .warmup
      : (elapsed <= parameters.warmupNanoseconds + parameters.measureNanoseconds ? .measurement : .drain)
    return LiveStatus(
      phase: phase, elapsedNanoseconds: elapsed, offered: UInt64(load.offered),
      answered: UInt64(load.answered),
      inFlight: UInt64(max(0, load.inFlightAtEnd)))
  }
}

/// Runs `body`, then `close`, whether it returned or threw.
func closing<Result>(
  _ close: () async -> Void, _ body: () async throws -> Result
) async throws -> Result {
  do {
    let result = try await body()
    await close()
    return result
  } catch {
    await close()
    throw error
  }
}

/// Readings at the two ends of a measurement.
final class MeasurementWindow: @unchecked Sendable {
  private let cluster: EmbeddedCluster
  private let loops: [any EventLoop]
  private let lock = NSLock()
  private var readings: [Task<Reading, Never>] = []

  struct Reading: Sendable {
    var process: ProcessReading
    /// By place, killed replicas before those that followed them.
    var samples: [[ReplicaSample]]
  }

  init(cluster: EmbeddedCluster, loops: [any EventLoop]) {
    self.cluster = cluster
    self.loops = loops
  }

  /// Called on the generator's loop at both ends of the measurement.
  func mark(begins: Bool) {
    if begins { ProcessFigures.resetPeakResidentBytes() }
    let task = Task { [cluster, loops] in
      let process = await ProcessReading.take(loops: loops)
      return Reading(process: process, samples: (try? await cluster.allSamples()) ?? [])
    }
    lock.withLock { readings.append(task) }
  }

  /// What was used between the two ends.
  func use(primaryOf membership: Membership) async -> TargetUse {
    let tasks = lock.withLock { readings }
    var use = TargetUse()
    guard tasks.count == 2 else { return use }
    let begin = await tasks[0].value
    let end = await tasks[1].value
    use.allCPUNanoseconds = end.process.cpuNanoseconds - begin.process.cpuNanoseconds
    if let before = begin.process.allocatedBytes, let after = end.process.allocatedBytes {
      use.allocatedBytes = after - before
    }
    use.residentBytes = ProcessFigures.peakResidentBytes()
    use.stealShare = begin.process.stealShare(until: end.process)
    guard begin.samples.count == end.samples.count, !end.samples.isEmpty else { return use }
    // Counters begin anew with a restarted replica; what its predecessors counted stays.
    func sum(_ samples: [[ReplicaSample]], _ value: (ReplicaSample) -> UInt64) -> UInt64 {
      samples.joined().reduce(0) { $0 + value($1) }
    }
    func total(_ value: (ReplicaSample) -> UInt64) -> UInt64 {
      sum(end.samples, value) - sum(begin.samples, value)
    }
    // Processor time is kept by place.
    func cpu(_ reading: Reading, _ place: Int) -> Int64 { reading.samples[place].last?.cpuNanoseconds ?? 0 }
    let cpus = end.samples.indices.map { cpu(end, $0) - cpu(begin, $0) }
    use.replicaCPUNanoseconds = cpus.reduce(0, +)
    let view = end.samples.joined().map(\.status.view).max() ?? .zero
    use.primaryCPUNanoseconds = cpus[membership.primaryPosition(of: view)]
    use.messages = total { $0.host.requestFrames + $0.host.repliesSent + $0.mesh.framesSent }
    // A replica link's bytes are counted at both of its ends, a client link's at the replica's.
    use.bytes = total(\.clientBytes) + total(\.meshBytes) / 2
    use.verifications = total(\.host.verifications)
    let measured = total(\.host.verification.samples)
    if measured > 0 { use.verifyNanoseconds = Int(total(\.host.verification.nanoseconds) / measured) }
    use.batches = total(\.status.counters.batchesExecuted)
    use.requests = total(\.status.counters.requestsExecuted)
    return use
  }
}

/// One replica's account of what it executed.
struct ReplicaAccount: Sendable {
  var replica: ReplicaID
  var view: View
  var executedRequests: UInt64
  var lastExecuted: SequenceNumber
  var recentChain: [SequenceNumber: Digest]

  init(_ sample: ReplicaSample) {
    replica = sample.id
    view = sample.status.view
    executedRequests = sample.status.executedRequests
    lastExecuted = sample.status.lastExecuted
    recentChain = Dictionary(
      sample.status.recentChain.map { ($0.sequence, $0.digest) }, uniquingKeysWith: { first, _ in first })
  }

  init(_ report: StatusReport) {
    replica = report.replica
    view = report.view
    executedRequests = report.executedRequests
    lastExecuted = report.lastExecuted
    recentChain = Dictionary(
      report.recentChain.map { ($0.sequence, $0.digest) }, uniquingKeysWith: { first, _ in first })
  }
}

extension TargetAudit {
  /// Compares the replicas' accounts with each other and with the generator's.
  ///
  /// - Parameters:
  ///   - before: the accounts before the run; nil for a fresh cluster.
  ///   - ofReads: whether nothing that was sent is to be executed.
  static func comparing(
    before: [ReplicaAccount]?, after: [ReplicaAccount], outcome: LoadOutcome, ofReads: Bool
  ) -> TargetAudit {
    var audit = TargetAudit()
    audit.compareChains(after)
    let base = before?.map(\.executedRequests).max() ?? 0
    if let executed = after.map(\.executedRequests).max() {
      let inRun = executed >= base ? executed - base : 0
      audit.executed = inRun
      if inRun > (ofReads ? 0 : outcome.sentInAll) {
        audit.problems.append(
          ofReads
            ? "\(inRun) requests were executed, but only unordered ones sent"
            : "\(inRun) requests were executed, but only \(outcome.sentInAll) sent")
      }
      if !ofReads, inRun < outcome.answeredInAll {
        audit.problems.append(
          "\(outcome.answeredInAll) requests were acknowledged, but only \(inRun) executed")
      }
    }
    let firstView = before?.map(\.view).max() ?? .zero
    let lastView = after.map(\.view).max() ?? .zero
    audit.viewChanges = Int(clamping: lastView.rawValue &- min(firstView.rawValue, lastView.rawValue))
    return audit
  }

  private mutating func compareChains(_ accounts: [ReplicaAccount]) {
    guard let reference = accounts.max(by: { $0.lastExecuted < $1.lastExecuted }) else { return }
    for account in accounts where account.replica != reference.replica {
      var compared = 0
      for (sequence, digest) in account.recentChain {
        guard let expected = reference.recentChain[sequence] else { continue }
        compared += 1
        if expected != digest {
          problems.append(
            "replicas \(reference.replica.rawValue) and \(account.replica.rawValue) executed different batches at "
              + "sequence number \(sequence.rawValue)")
          break
        }
      }
      if compared == 0, account.lastExecuted != reference.lastExecuted {
        remarks.append(
          "replica \(account.replica.rawValue) is at \(account.lastExecuted.rawValue), too far behind "
            + "\(reference.lastExecuted.rawValue) to compare digests")
      } else if account.lastExecuted != reference.lastExecuted {
        remarks.append(
          "replica \(account.replica.rawValue) had executed \(account.lastExecuted.rawValue) of "
            + "\(reference.lastExecuted.rawValue) batches when the run ended")
      }
    }
  }
}

/// Closed-loop probes of capacity.
enum CapacityProbing {
  /// 0.5 s of warm-up, 1 s of measurement.
  static func probe(
    _ parameters: PointParameters, _ run: (LoadPlan) async throws -> LoadOutcome
  ) async throws -> Double {
    // One request per session in flight, however many its open loop may have: the capacity is a property of the target.
    var plan = parameters.plan(rate: nil, seed: 1, auditBase: nil)
    plan.warmupNanoseconds = 500_000_000
    plan.measureNanoseconds = 1_000_000_000
    return try await run(plan).throughput
  }

  static func run(
    _ plan: LoadPlan, _ parameters: PointParameters, endpoints: [Endpoint], ids: [ReplicaID],
    secrets: GeneratorSecrets, speech: GeneratorParty.Speech = GeneratorParty.Speech()
  ) async throws -> LoadOutcome {
    let party = try GeneratorParty(
      parameters, endpoints: endpoints, replicaIDs: ids, secrets: secrets, speech: speech)
    return try await closing(party.stop) {
      try await party.connect()
      return try await party.run(plan)
    }
  }
}

/// The generator's ceiling against the null target.
enum GeneratorCalibration {
  /// Requests that sessions together may have in flight at least, as far as 32 per session allow.
  private static let requestsInFlight = 8_192

  /// - Parameter speech: the frames of the target, which the null target's are to be like.
  static func ceiling(
    _ parameters: PointParameters, _ speech: GeneratorParty.Speech = GeneratorParty.Speech()
  ) async throws -> Double? {
    // The stubs are in this process: with very many connections only one end of each fits.
    let ends = parameters.transport == .memory ? 0 : parameters.connections * parameters.replicas * 2
    guard (try? Descriptors.require(ends, for: "the null target's connections")) != nil else { return nil }
    var parameters = parameters
    // Stubs order nothing: nobody but who is asked answers.
    parameters.sendTo = .all
    // The ceiling holds for all points of a transport, its connections and a mode: it must not be that of the few sessions
    // of the point which happens to come first.
    let perSession = min(32, requestsInFlight / parameters.sessions + 1)
    parameters.outstanding = max(parameters.outstanding, perSession)
    let target = try await EmbeddedNullTarget.start(parameters, speech)
    return try await closing(target.stop) { [parameters] in
      let party = try GeneratorParty(
        parameters, endpoints: target.clientEndpoints, replicaIDs: target.replicaIDs,
        secrets: target.keys.generatorSecrets, speech: speech)
      return try await closing(party.stop) {
        try await party.connect()
        // What no generator can fail at: a signature takes up to a millisecond.
        return try await CeilingSearch.ceiling(start: parameters.signsInline ? 1_000 : 16_000) { rate in
          try await keepsRule(rate, parameters, party)
        }
      }
    }
  }

  /// A trial is a quarter of a second, in which one stall of the machine is more than 1 %; so its lag is judged at p90:
  /// a generator above its limit lags all the time, a disturbed one for a moment.
  private static func keepsRule(
    _ rate: Double, _ parameters: PointParameters, _ party: GeneratorParty
  ) async throws -> Bool {
    var plan = parameters.plan(rate: rate, seed: 1, auditBase: nil)
    plan.warmupNanoseconds = 50_000_000
    plan.measureNanoseconds = 250_000_000
    plan.drainNanoseconds = 1_000_000_000
    let outcome = try await party.run(plan)
    let latency = HistogramSummary(outcome.latency)
    let lag = HistogramSummary(outcome.generatorLag)
    return outcome.censored == 0 && outcome.throughput >= 0.95 * rate
      && Double(outcome.starved) <= 0.01 * Double(outcome.offered)
      && GeneratorRule.violation(
        outcome, latencyP50Nanoseconds: latency.p50Nanoseconds, lagNanoseconds: lag.p90Nanoseconds,
        quantile: "p90",
        ceiling: nil, rate: nil) == nil
  }
}
