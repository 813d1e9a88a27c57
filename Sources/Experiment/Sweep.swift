// Runs the points of a scenario in their order and stores each as it finishes. Kept true: a sweep can be
// stopped at any instant and resumed; every point is measured on its own and stored once; a point whose
// target fails is stored as void and does not stop the others.

import Analysis
import Channels
import Foundation
import Results

/// What a sweep or a single run leaves, for the command line to show.
public struct SweepOutcome: Sendable {
  /// The result folder.
  public var folder: String
  /// All points of the folder in the order they ran, those of before a resumption included.
  public var rows: [PointRow]
  /// One table for people, with where the files are.
  public var table: String

  /// Code 1 when any point failed its audit or its target.
  public var sweepFailure: CommandFailure? {
    let failed = rows.filter {
      $0.voidReasons.contains(.auditFailed) || $0.voidReasons.contains(.targetFailed)
    }
    guard !failed.isEmpty else { return nil }
    let names = failed.prefix(5).map { "\($0.key) \($0.voidReasons.cellText)" }.joined(separator: ", ")
    return CommandFailure(
      .failedPoints,
      "\(failed.count) of \(rows.count) points failed: \(names)\(failed.count > 5 ? ", …" : "")")
  }

  /// Code 5 when the point is void, with its reasons.
  public var pointFailure: CommandFailure? {
    guard let row = rows.first, row.status == .void else { return nil }
    let reasons = row.voidReasons.ordered.map { "\($0.rawValue) (\($0.explanation))" }.joined(separator: "; ")
    return CommandFailure(.voidPoint, "the point is void: \(reasons)")
  }
}

/// Running all points of a scenario.
public enum Sweep {
  /// Whether a scenario is a sweep or the one point of `muster run`.
  public enum Kind: Sendable { case sweep, point }

  /// Runs what is not finished of `scenario`, then writes the report.
  ///
  /// - Parameters:
  ///   - scenario: validated by its reading.
  ///   - resume: whether to go on in `folder`; the scenario must be the one it was started with.
  ///   - folder: the result folder; nil for `results/<UTC time>-<name>` below the current folder.
  ///   - runner: measures the points.
  ///   - console: shows the progress.
  ///   - kind: decides what is said, not what is done.
  ///   - arguments: the command line, for the manifest.
  /// - Throws: `CommandFailure` when the folder cannot be used (73, 66), when the scenario is another one
  ///   (64), when it is interrupted (130; resumable), and what a runner throws of that type.
  public static func run(
    _ scenario: Scenario, resume: Bool, folder: String?, runner: some PointRunning, console: Console,
    kind: Kind,
    arguments: [String] = CommandLine.arguments
  ) async throws -> SweepOutcome {
    let facts = BuildFacts.ofThisProcess
    let path = folder ?? defaultFolder(scenario.name)
    let store: SweepStore
    do {
      store = try open(path, scenario, resume: resume, facts: facts, arguments: arguments)
    } catch {
      throw CommandFailure.forResultFiles(error)
    }
    var run = SweepRun(
      plan: SweepPlan(scenario), store: store, runner: runner, console: console, facts: facts,
      measuresAgain: kind == .sweep)
    let finishedBefore = store.finished.count
    if kind == .sweep {
      let total = run.plan.points.count
      run.progress.note(
        resume ? "\(path): \(finishedBefore) of \(total) points are finished" : "\(path): \(total) points")
    }
    do {
      try await run.measureAll()
      try store.close(ended: Date())
    } catch {
      run.progress.end()
      let total = run.plan.points.count
      let finished = store.finished.count
      try? store.close(ended: nil)
      if finished == 0, !resume { store.folder.removeUnused() }
      throw failure(error, kind: kind, folder: path, finished: finished, total: total)
    }
    run.progress.end()
    return try outcome(store, kind)
  }

  /// `results/<UTC time>-<name>`; the time without colons, which some file systems refuse.
  static func defaultFolder(_ name: String, at date: Date = Date()) -> String {
    let style = Date.ISO8601FormatStyle(dateSeparator: .omitted, timeSeparator: .omitted)
    return "results/\(date.formatted(style))-\(name)"
  }

  /// The command as another machine would type it: the program by its name alone.
  private static func command(_ arguments: [String]) -> [String] {
    guard let program = arguments.first else { return [] }
    return [program.split(separator: "/").last.map { String($0) } ?? program] + arguments.dropFirst()
  }

  private static func open(
    _ path: String, _ scenario: Scenario, resume: Bool, facts: BuildFacts, arguments: [String]
  ) throws -> SweepStore {
    guard resume else {
      let manifest = RunManifest(
        sweepId: "", started: Date(), command: Self.command(arguments), scenario: scenario.text,
        seed: scenario.seed,
        build: facts.build, environment: facts.environment, allocator: facts.allocator,
        libraries: facts.libraries)
      return try SweepStore(creating: path, manifest: manifest)
    }
    let store = try SweepStore(resuming: path)
    let started = try? Scenario(yaml: store.manifest.scenario, fileName: path)
    guard let started, started.measuresTheSame(as: scenario) else {
      try? store.close(ended: nil)
      throw CommandFailure.usage(
        "\(path): started with another scenario: leave the file out to go on with its own, "
          + "or name another folder"
      )
    }
    return store
  }

  private static func outcome(_ store: SweepStore, _ kind: Kind) throws -> SweepOutcome {
    do {
      let rows = try store.rows()
      try store.folder.writeReport(Report.html(from: store.folder))
      var lines = [ResultTable.text(rows)]
      if kind == .sweep {
        lines.append("\(rows.count { $0.status == .valid }) of \(rows.count) points valid")
      }
      lines += ["results: \(store.folder.path)", "report:  \(store.folder.report)"]
      return SweepOutcome(folder: store.folder.path, rows: rows, table: lines.joined(separator: "\n"))
    } catch {
      throw CommandFailure.forResultFiles(error)
    }
  }

  private static func failure(
    _ error: any Error, kind: Kind, folder: String, finished: Int, total: Int
  ) -> any Error {
    if error is CancellationError {
      let text =
        switch kind {
        case .point: "interrupted before the point was finished; nothing was stored"
        case .sweep where finished == 0: "interrupted before the first point was finished; nothing was stored"
        case .sweep:
          "interrupted with \(finished) of \(total) points finished; go on with: "
            + "muster sweep --resume --out \(folder)"
        }
      return CommandFailure(.interrupted, text)
    }
    return CommandFailure.forResultFiles(error)
  }
}

/// One sweep while it runs.
struct SweepRun<Runner: PointRunning> {
  let plan: SweepPlan
  let progress: SweepProgress
  private let store: SweepStore
  private let runner: Runner
  private let facts: BuildFacts
  private var estimate = TimeEstimate()
  /// What could not be calibrated in this run.
  private var uncalibrated: Set<String> = []
  /// How many more points may be measured again.
  private var secondTriesLeft: Int

  /// - Parameter measuresAgain: whether a point whose only fault is the generator's lag has a second try; one in eight of the
  ///   points may.
  init(
    plan: SweepPlan, store: SweepStore, runner: Runner, console: Console, facts: BuildFacts,
    measuresAgain: Bool
  ) {
    secondTriesLeft = measuresAgain ? plan.points.count / 8 : 0
    self.plan = plan
    self.store = store
    self.runner = runner
    self.facts = facts
    let done = plan.points.count { store.finished.contains($0.key) }
    progress = SweepProgress(
      total: plan.points.count, done: done, console: console, clock: { monotonicNanoseconds() })
  }

  /// Measures every point that is not finished, in the order of the plan.
  mutating func measureAll() async throws {
    for point in plan.points where !store.finished.contains(point.key) {
      try Task.checkCancellation()
      var started = Date()
      var result: PointResult
      do {
        result = try await measure(point)
        if let lag = disturbance(result, point.parameters), secondTriesLeft > 0 {
          secondTriesLeft -= 1
          progress.note("\(point.parameters.summary): \(lag); measured again")
          started = Date()
          result = try await measure(point)
          result.events.append(EventRow(point.key, timeSeconds: 0, kind: "measured_again", detail: lag))
        }
      } catch let error where Self.concernsPointOnly(error) {
        // A runner that is stopped may fail before it notices that it was cancelled.
        try Task.checkCancellation()
        progress.note("\(point.parameters.summary): the target failed: \(error)")
        result = Self.failed(point, error, started: started)
      }
      identify(&result, point, started: started)
      try store.add(result)
      progress.finish(Self.line(result.row, point.parameters), countsAsPoint: true)
    }
  }

  /// What made the generator late where nothing else is wrong: that is another program's turn on the generator's core, and
  /// says nothing of the target. A point above the generator's ceiling is no such case.
  private func disturbance(_ result: PointResult, _ parameters: PointParameters) -> String? {
    guard result.row.voidReasons == [.generatorLimited] else { return nil }
    if let ceiling = store.ceiling(of: parameters), result.row.targetOperationsPerSecond > ceiling {
      return nil
    }
    return result.events.first { $0.kind == VoidReason.generatorLimited.rawValue }?.detail
  }

  /// A failure of the command, an interruption and an output that cannot be written end the sweep.
  private static func concernsPointOnly(_ error: any Error) -> Bool {
    !(error is CommandFailure || error is CancellationError || error is ResultFileError)
  }

  private mutating func measure(_ point: PlannedPoint) async throws -> PointResult {
    let parameters = point.parameters
    let ceiling = try await ceiling(of: parameters)
    let target = try await targetRate(of: parameters)
    try Task.checkCancellation()
    progress.begin(parameters.summary, secondsLeft: secondsLeft)
    let begin = monotonicNanoseconds()
    let progress = progress
    var result = try await runner.run(
      parameters, targetOpsPerSecond: target, repeatIndex: point.repeatIndex, seed: point.seed,
      ceilingOpsPerSecond: ceiling, report: { progress.report($0) })
    estimate.pointTook(Double(monotonicNanoseconds() - begin) / 1e9, parameters)
    (result.resolved ?? parameters).fill(&result.row, targetOpsPerSecond: target)
    result.row.rateShare = parameters.rateShare
    return result
  }

  /// The offered rate, for which a share needs the capacity of its configuration.
  private mutating func targetRate(of parameters: PointParameters) async throws -> Double {
    switch parameters.rate {
    case .absolute(let rate): return rate
    case .share(let share):
      let configuration = parameters.capacityConfiguration
      if let probe = store.probes[configuration] { return probe.operationsPerSecond * share }
      try Task.checkCancellation()
      progress.begin("capacity of \(parameters.configurationSummary)", secondsLeft: secondsLeft)
      let begin = monotonicNanoseconds()
      let capacity = try await runner.probeCapacity(parameters)
      guard capacity.isFinite, capacity > 0 else { throw UselessProbe(capacity: capacity) }
      try store.add(probe: CapacityProbe(configuration: configuration, operationsPerSecond: capacity))
      estimate.probeTook(Double(monotonicNanoseconds() - begin) / 1e9)
      progress.finish(
        "capacity of \(parameters.configurationSummary): \(Int(capacity))/s", countsAsPoint: false)
      return capacity * share
    }
  }

  /// The generator's ceiling for what the point uses.
  private mutating func ceiling(of parameters: PointParameters) async throws -> Double? {
    if let ceiling = store.ceiling(of: parameters) { return ceiling }
    guard !uncalibrated.contains(parameters.calibrationSummary) else { return nil }
    progress.begin("calibration of \(parameters.calibrationSummary)", secondsLeft: secondsLeft)
    let begin = monotonicNanoseconds()
    guard let ceiling = try await runner.calibrate(parameters) else {
      // Each point still has the generator's own rules; only the early word of warning is missing.
      progress.note(
        "no calibration of \(parameters.calibrationSummary): the machine is too busy, or has too few descriptors"
      )
      uncalibrated.insert(parameters.calibrationSummary)
      return nil
    }
    try store.add(
      calibration: CalibrationEntry(
        transport: parameters.transport.rawValue, connections: parameters.connections,
        signatureMode: parameters.signatureMode, ceilingOperationsPerSecond: ceiling))
    estimate.calibrationTook(Double(monotonicNanoseconds() - begin) / 1e9)
    progress.finish(
      "calibration of \(parameters.calibrationSummary): \(Int(ceiling))/s", countsAsPoint: false)
    return ceiling
  }

  private var secondsLeft: Double {
    let points = plan.points.filter { !store.finished.contains($0.key) }
    var probes: Set<String> = []
    var calibrations: Set<String> = []
    for point in points {
      let parameters = point.parameters
      if parameters.rateShare != nil, store.probes[parameters.capacityConfiguration] == nil {
        probes.insert(parameters.capacityConfiguration)
      }
      if store.ceiling(of: parameters) == nil { calibrations.insert(parameters.calibrationSummary) }
    }
    return estimate.seconds(points: points, probes: probes.count, calibrations: calibrations.count)
  }

  /// Fills in what the runner does not know: which point of which sweep, in which build.
  private func identify(_ result: inout PointResult, _ point: PlannedPoint, started: Date) {
    precondition(
      (result.row.status == .valid) == result.row.voidReasons.isEmpty,
      "a point is void exactly when a reason says so")
    result.row.schemaVersion = PointRow.currentSchemaVersion
    result.row.sweepID = store.manifest.sweepId
    result.row.pointID = point.pointID
    result.row.repeatIndex = point.repeatIndex
    result.row.orderIndex = point.orderIndex
    result.row.gitSHA = facts.build.gitRevision
    result.row.gitDirty = facts.build.gitDirty
    result.row.buildMode = facts.build.mode
    result.row.seed = point.seed
    result.row.started = started
    result.row.cores = facts.environment.cores
    func name<Row: NamedByPoint>(_ rows: inout [Row]) {
      for index in rows.indices {
        rows[index].pointID = point.pointID
        rows[index].repeatIndex = point.repeatIndex
      }
    }
    name(&result.quantiles)
    name(&result.series)
    name(&result.events)
    name(&result.resources)
  }

  /// A point whose target could not be measured at all.
  private static func failed(_ point: PlannedPoint, _ error: any Error, started: Date) -> PointResult {
    var row = PointRow()
    row.status = .void
    row.voidReasons = [.targetFailed]
    point.parameters.fill(&row, targetOpsPerSecond: point.parameters.statedRate ?? 0)
    let event = EventRow(point.key, timeSeconds: 0, kind: "target_failed", detail: "\(error)")
    return PointResult(row: row, events: [event], started: started, ended: Date())
  }

  private static func line(_ row: PointRow, _ parameters: PointParameters) -> String {
    var text = parameters.summary
    if let throughput = row.throughputOperationsPerSecond { text += ": \(Int(throughput.rounded()))/s" }
    if let p99 = row.latencyP99Nanoseconds {
      text += " p99 \(PointParameters.short((Double(p99) / 10_000).rounded() / 100)) ms"
    }
    return text + (row.status == .valid ? " valid" : " void (\(row.voidReasons.cellText))")
  }
}

/// A probe or a calibration that found nothing to work with.
struct UselessProbe: Error, CustomStringConvertible {
  var capacity: Double
  var description: String { "the probe found a capacity of \(capacity) operations per second" }
}

/// A row of a side file whose point the sweep fills in.
private protocol NamedByPoint {
  var pointID: String { get set }
  var repeatIndex: Int { get set }
}

extension QuantileRow: NamedByPoint {}
extension SeriesRow: NamedByPoint {}
extension EventRow: NamedByPoint {}
extension ResourceRow: NamedByPoint {}

extension PointParameters {
  /// What calibration depends on, for people and to tell one from another.
  var calibrationSummary: String { "\(transport.rawValue) \(connections) connections \(signatureMode)" }
}

extension Scenario {
  /// Whether both state the same runs in the same order.
  func measuresTheSame(as other: Scenario) -> Bool {
    seed == other.seed && repeats == other.repeats
      && points.map(\.parameters) == other.points.map(\.parameters)
  }
}

extension ResultFolder {
  /// Removes a folder that this process has just made and in which nothing was stored.
  func removeUnused() {
    for file in [points, quantiles, series, events, resources, manifest, journal] { unlink(file) }
    // These fail, as they should, when anything else is in them.
    rmdir(histograms)
    rmdir(path)
  }
}
