// From what a run showed to the row that says it: figures, verdict, side files. The same for every target.

import Foundation
import LoadGenerator
import Results

/// What was read of the target around the measurement, as differences over it; nil where the target does not tell.
struct TargetUse: Sendable {
  /// Processor time of all replicas, and of the primary alone.
  var replicaCPUNanoseconds: Int64?
  var primaryCPUNanoseconds: Int64?
  /// Processor time of all parties, the generator included.
  var allCPUNanoseconds: Int64?
  var allocatedBytes: UInt64?
  var messages: UInt64?
  var bytes: UInt64?
  var verifications: UInt64?
  /// Mean processor time of one.
  var verifyNanoseconds: Int?
  var batches: UInt64?
  var requests: UInt64?
  var residentBytes: Int?
  var stealShare: Double?
}

/// What was found when the replicas' own accounts were compared with the generator's.
struct TargetAudit: Sendable {
  /// Requests the service executed during the run.
  var executed: UInt64?
  /// What is wrong; empty when nothing is.
  var problems: [String] = []
  /// Views entered during the run.
  var viewChanges = 0
  /// What a reader should know though nothing is wrong.
  var remarks: [String] = []
}

/// One finished run, before it is a row.
struct PointMeasurement {
  var parameters: PointParameters
  var rate: Double
  var ceiling: Double?
  var outcome: LoadOutcome
  /// Wall times of the load.
  var started: Date
  var ended: Date
  var use = TargetUse()
  var audit = TargetAudit()
  /// Whether every reply was checked by this run.
  var isAudited: Bool
  /// Processor time of signing ahead, in seconds; nil when requests are signed as they are sent.
  var signAheadSeconds: Double?
  /// Why the target failed, if it did.
  var targetFailure: String?
  /// What happened while the load ran.
  var events = RunEvents()

  /// The result without identity and parameters, which are the sweep's.
  func result() -> PointResult {
    var row = PointRow()
    fillCounts(&row)
    fillLatencies(&row)
    fillUse(&row)
    let verdict = judge(row)
    row.audit = verdict.audit
    row.voidReasons = VoidReasons(verdict.reasons.map(\.reason))
    row.status = verdict.reasons.isEmpty ? .valid : .void
    row.stationarity = verdict.stationarity
    var result = PointResult(row: row, started: started, ended: ended)
    result.histograms = [
      TaggedHistogram(tag: "latency", histogram: outcome.latency),
      TaggedHistogram(tag: "service", histogram: outcome.service),
      TaggedHistogram(tag: "lag", histogram: outcome.lag),
      TaggedHistogram(tag: "censored", histogram: outcome.censoredLatency),
    ]
    result.quantiles = quantileRows()
    result.series = seriesRows()
    var events = events
    events.addOutage(outcome.gaps)
    events.sort()
    result.events = events.rows
    result.events += verdict.reasons.map {
      EventRow(key, timeSeconds: parameters.measuredUntilSeconds, kind: $0.reason.rawValue, detail: $0.detail)
    }
    result.events += audit.remarks.map {
      EventRow(key, timeSeconds: parameters.measuredUntilSeconds, kind: "remark", detail: $0)
    }
    return result
  }

  /// Rows are named by the sweep; until then they bear no name.
  private var key: PointKey { PointKey(pointID: "", repeatIndex: 0) }

  private func fillCounts(_ row: inout PointRow) {
    row.offered = outcome.offered
    row.sent = outcome.sent
    row.answered = outcome.answered
    row.refused = outcome.refused
    row.starved = outcome.starved
    row.censored = outcome.censored
    row.errors = outcome.errors
    row.retransmits = Int(outcome.retransmits)
    row.throughputOperationsPerSecond = outcome.throughput
    row.violations = isAudited ? outcome.violations : nil
    row.checked = isAudited ? outcome.checked : nil
    row.warmupSeconds = Double(parameters.warmupNanoseconds) / 1e9
    row.measureSeconds = Double(parameters.measureNanoseconds) / 1e9
    row.drainSeconds = Double(parameters.drainNanoseconds) / 1e9
    row.viewChanges = audit.viewChanges
    // Remote replicas have loops of their own, of which nothing is known here.
    row.loops = parameters.transport == .remote ? nil : parameters.resolvedLoops
  }

  private func fillLatencies(_ row: inout PointRow) {
    let latency = HistogramSummary(outcome.latency)
    row.latencyMeanNanoseconds = latency.meanNanoseconds
    row.latencyP50Nanoseconds = latency.p50Nanoseconds
    row.latencyP90Nanoseconds = latency.p90Nanoseconds
    row.latencyP95Nanoseconds = latency.p95Nanoseconds
    row.latencyP99Nanoseconds = latency.p99Nanoseconds
    row.latencyP999Nanoseconds = latency.p999Nanoseconds
    row.latencyP9999Nanoseconds = latency.p9999Nanoseconds
    row.latencyMaxNanoseconds = latency.maxNanoseconds
    row.latencyBoundFromQuantile = HistogramSummary.boundFromQuantile(
      count: latency.count, censored: outcome.censored)
    let service = HistogramSummary(outcome.service)
    row.serviceP50Nanoseconds = service.p50Nanoseconds
    row.serviceP99Nanoseconds = service.p99Nanoseconds
    let lag = HistogramSummary(outcome.lag)
    row.lagP50Nanoseconds = lag.p50Nanoseconds
    row.lagP99Nanoseconds = lag.p99Nanoseconds
    row.lagP999Nanoseconds = lag.p999Nanoseconds
  }

  private func fillUse(_ row: inout PointRow) {
    let requests = Double(max(1, outcome.quorumsInWindow))
    let window = Double(max(1, outcome.measuredNanoseconds))
    row.generatorCPUCores = outcome.generatorBusy
    if let cpu = use.replicaCPUNanoseconds {
      row.replicaCPUCoresMean = Double(cpu) / window / Double(parameters.replicas)
      row.replicaCPUNanosecondsPerRequest = Int(Double(cpu) / requests)
    }
    row.replicaCPUCoresPrimary = use.primaryCPUNanoseconds.map { Double($0) / window }
    row.cpuNanosecondsPerRequest = use.allCPUNanoseconds.map { Int(Double($0) / requests) }
    row.allocatedBytesPerRequest = use.allocatedBytes.map { Double($0) / requests }
    row.messagesPerRequest = use.messages.map { Double($0) / requests }
    row.bytesPerRequest = use.bytes.map { Double($0) / requests }
    row.signaturesPerRequest = parameters.signatureMode.hasPrefix("sign:") ? 1 : 0
    row.verificationsPerRequest =
      parameters.usesSignatures ? use.verifications.map { Double($0) / requests } : 0
    if parameters.usesSignatures {
      row.signNanoseconds = parameters.signsInline ? outcome.signNanoseconds : nil
      row.verifyNanoseconds = use.verifyNanoseconds
    }
    if let batches = use.batches, let ordered = use.requests, batches > 0 {
      row.batchMean = Double(ordered) / Double(batches)
    }
    row.signAheadCPUSeconds = signAheadSeconds
    row.residentBytesMax = use.residentBytes
    row.stealShare = use.stealShare
  }

  // MARK: Verdict

  private struct Verdict {
    var audit: AuditOutcome
    var reasons: [(reason: VoidReason, detail: String)] = []
    var stationarity: Stationarity
  }

  /// Every reason that voids the point, in the order in which deciders read them.
  private func judge(_ row: PointRow) -> Verdict {
    let stationarity = StationarityTest.judge(
      outcome.bins, seconds: Double(parameters.measureNanoseconds) / 1e9,
      hasFaults: !parameters.faultScript.isEmpty)
    var verdict = Verdict(audit: .absent, stationarity: stationarity.verdict)
    if isAudited {
      verdict.audit = .ok
      var problems = audit.problems
      if let first = outcome.firstViolation {
        problems.insert("\(outcome.violations) violations, first: \(first)", at: 0)
      }
      if !problems.isEmpty {
        verdict.audit = .failed
        verdict.reasons.append((.auditFailed, problems.joined(separator: "; ")))
      }
    }
    if let targetFailure {
      verdict.reasons.append((.targetFailed, targetFailure))
    } else if outcome.offered > 0, outcome.answered == 0 {
      verdict.reasons.append((.targetFailed, "no request was answered"))
    }
    let generatorLag = HistogramSummary(outcome.generatorLag)
    if let limit = GeneratorRule.violation(
      outcome, latencyP50Nanoseconds: row.latencyP50Nanoseconds, lagNanoseconds: generatorLag.p99Nanoseconds,
      quantile: "p99",
      ceiling: ceiling, rate: rate)
    {
      verdict.reasons.append((.generatorLimited, limit))
    }
    if outcome.offered > 0, Double(outcome.starved + outcome.refused) > 0.01 * Double(outcome.offered) {
      let share = Double(outcome.starved + outcome.refused) / Double(outcome.offered)
      verdict.reasons.append(
        (.starved, "\(Int((share * 100).rounded())) % of the requests waited for a free session"))
    }
    if let bound = row.latencyBoundFromQuantile, bound < 1 {
      verdict.reasons.append(
        (
          .censored,
          "\(outcome.censored) requests had no answer within D; quantiles from \(bound) on are bounds"
        ))
    }
    let arrivals = outcome.scheduled > 0 ? Double(outcome.sent) / Double(outcome.scheduled) : 1
    if !(0.99...1.01).contains(arrivals) {
      verdict.reasons.append(
        (
          .arrivalsOff,
          "\(outcome.sent) requests were sent of \(outcome.scheduled) that the schedule made due"
        ))
    }
    if let drift = stationarity.drift { verdict.reasons.append((.notStationary, drift)) }
    return verdict
  }

  // MARK: Side files

  private static let percentiles: [Double] = [
    1, 5, 10, 25, 50, 75, 90, 95, 97.5, 99, 99.5, 99.75, 99.9, 99.95, 99.99, 99.999, 100,
  ]

  private func quantileRows() -> [QuantileRow] {
    let censored = outcome.censored
    let bound = HistogramSummary.boundFromQuantile(
      count: HistogramSummary(outcome.latency).count, censored: censored, percentiles: Self.percentiles)
    var rows: [QuantileRow] = []
    for (metric, histogram) in [
      ("latency", outcome.latency), ("service", outcome.service), ("lag", outcome.lag),
    ] {
      let count = HistogramSummary(histogram).count
      guard count > 0 else { continue }
      let values = histogram.values(atPercentiles: Self.percentiles)
      for (percentile, value) in zip(Self.percentiles, values) {
        let quantile = HistogramSummary.quantile(ofPercentile: percentile)
        rows.append(
          QuantileRow(
            key, metric: metric, quantile: quantile, valueNanoseconds: value, count: count,
            isBound: metric == "latency" && bound.map { quantile >= $0 } ?? false))
      }
    }
    return rows
  }

  private func seriesRows() -> [SeriesRow] {
    let warmup = Double(parameters.warmupNanoseconds) / 1e9
    let end = parameters.measuredUntilSeconds
    return outcome.seconds.enumerated().map { second, load in
      var row = SeriesRow()
      row.timeSeconds = Double(second)
      row.phase = Double(second) < warmup ? .warmup : (Double(second) < end ? .measure : .drain)
      row.offered = load.offered
      row.sent = load.sent
      row.answered = load.answered
      row.errors = load.errors
      row.inFlight = load.inFlightAtEnd
      row.latencyP50Nanoseconds = load.latency.quantile(0.5).map { Int($0) }
      row.latencyP99Nanoseconds = load.latency.quantile(0.99).map { Int($0) }
      row.latencyMaxNanoseconds = load.latency.total > 0 ? Int(load.latency.maximum) : nil
      row.lagP99Nanoseconds = load.lag.quantile(0.99).map { Int($0) }
      return row
    }
  }
}

extension PointParameters {
  /// Seconds from the first due request to the end of the measurement.
  var measuredUntilSeconds: Double { Double(warmupNanoseconds + measureNanoseconds) / 1e9 }
}
