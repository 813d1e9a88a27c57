// Sweeps: what is run, what is stored, and how they end.

import Experiment
import Foundation
import Results
import Synchronization
import Testing

/// What console output a test saw.
final class RecordedConsole: Sendable {
  private let written = Mutex("")
  var text: String { written.withLock { $0 } }
  func console(isTerminal: Bool) -> Console {
    Console(isTerminal: isTerminal, width: 100) { text in self.written.withLock { $0 += text } }
  }
}

/// The runner's own failure.
struct ReplicaDied: Error, CustomStringConvertible {
  var description: String { "replica 2 died" }
}

func sixPoints() throws -> Scenario {
  try Scenario(
    yaml: """
      name: six
      seed: 3
      axes:
        - batch_size: [1, 2]
          rate_share: [0.1, 0.5]
        - batch_size: 3
          signatures: hmac
          rate: [100, 200]
      """, fileName: "six.yml")
}

/// Each of the six twice.
func twelvePoints() throws -> Scenario {
  try Scenario(yaml: "repeats: 2\n" + sixPoints().text, fileName: "twelve.yml")
}

@Suite("Sweeps")
struct SweepTests {
  private func sweep(
    _ folder: String, _ runner: RecordedRunner, resume: Bool = false, scenario: Scenario? = nil,
    console: Console = .silent, kind: Sweep.Kind = .sweep
  ) async throws -> SweepOutcome {
    try await Sweep.run(
      scenario ?? sixPoints(), resume: resume, folder: folder, runner: runner, console: console, kind: kind,
      arguments: ["muster", "sweep"])
  }

  @Test("every point is run once, in the order of the plan, with its share of the probed capacity")
  func everyPointIsRun() async throws {
    try await inTemporaryFolder { folder in
      let runner = RecordedRunner()
      let outcome = try await sweep(folder + "/r", runner)
      let plan = SweepPlan(try sixPoints())
      #expect(runner.runs == plan.points.map(\.key))
      #expect(outcome.rows.map(\.key) == plan.points.map(\.key))
      #expect(outcome.rows.map(\.orderIndex) == Array(0..<6))
      #expect(outcome.rows.map(\.seed) == plan.points.map(\.seed))
      for (row, point) in zip(outcome.rows, plan.points) {
        let share = point.parameters.rateShare
        #expect(
          row.targetOperationsPerSecond == point.parameters.statedRate ?? share! * Double(row.batchSize!)
            * 1000)
        #expect(row.rateShare == share)
        #expect(row.sweepID == "r" && row.cores > 0)
      }
      #expect(outcome.sweepFailure == nil && outcome.pointFailure == nil)
    }
  }

  @Test("a configuration is probed once and what the generator uses is calibrated once")
  func probesAreShared() async throws {
    try await inTemporaryFolder { folder in
      let runner = RecordedRunner()
      _ = try await sweep(folder + "/r", runner)
      let probes = runner.calls.filter { if case .probe = $0 { true } else { false } }
      let calibrations = runner.calls.filter { if case .calibration = $0 { true } else { false } }
      #expect(probes.count == 2)
      #expect(calibrations.count == 2)
    }
  }

  @Test("the folder holds the rows, the histograms, the manifest and the report")
  func filesAreThere() async throws {
    try await inTemporaryFolder { path in
      _ = try await sweep(path + "/r", RecordedRunner())
      let folder = try ResultFolder.open(path + "/r")
      #expect(try folder.rows(folder.quantiles, of: QuantileRow.self).count == 18)
      #expect(try folder.rows(folder.series, of: SeriesRow.self).count == 12)
      #expect(Set(try folder.rows(folder.series, of: SeriesRow.self).map(\.key)).count == 6)
      #expect(try folder.rows(folder.events, of: EventRow.self).count == 6)
      #expect(try folder.rows(folder.resources, of: ResourceRow.self).count == 6)
      for point in SweepPlan(try sixPoints()).points {
        let log = try HistogramLog(reading: folder.histogramLog(point.key))
        #expect(log.intervals.map(\.tag) == ["latency"])
        #expect(log.intervals.first?.lengthSeconds == 3)
      }
      let manifest = try RunManifest(reading: folder.manifest)
      #expect(manifest.scenario == (try sixPoints().text) && manifest.seed == 3 && manifest.sweepId == "r")
      #expect(manifest.finished != nil && manifest.probes.count == 2 && manifest.calibration.count == 2)
      #expect(folder.exists(folder.report))
    }
  }

  @Test("a point whose target fails is stored as void and the others go on; the sweep ends with code 1")
  func failedTargetIsStored() async throws {
    try await inTemporaryFolder { folder in
      let runner = RecordedRunner(hook: { before, _ in if before == 2 { throw ReplicaDied() } })
      let outcome = try await sweep(folder + "/r", runner)
      #expect(runner.runs.count == 6 && outcome.rows.count == 6)
      #expect(outcome.rows[2].voidReasons == [.targetFailed] && outcome.rows[2].status == .void)
      #expect(outcome.rows.count { $0.status == .valid } == 5)
      #expect(outcome.sweepFailure?.code == .failedPoints)
      let results = try ResultFolder.open(folder + "/r")
      let events = try results.rows(results.events, of: EventRow.self)
      #expect(events.contains { $0.kind == "target_failed" && $0.detail == "replica 2 died" })
    }
  }

  @Test("a point that only the generator's lag has voided is measured once more, and that stays to be seen")
  func disturbedPointIsMeasuredAgain() async throws {
    try await inTemporaryFolder { folder in
      let runner = RecordedRunner(void: { $0 == 2 ? [.generatorLimited] : [] })
      let outcome = try await sweep(folder + "/r", runner, scenario: twelvePoints())
      #expect(runner.runs.count == 13 && runner.runs[2] == runner.runs[3])
      #expect(outcome.rows.count == 12 && outcome.rows.allSatisfy { $0.status == .valid })
      let results = try ResultFolder.open(folder + "/r")
      let events = try results.rows(results.events, of: EventRow.self)
      #expect(events.filter { $0.kind == "measured_again" }.map(\.detail) == ["run 2"])
    }
  }

  @Test("one point in eight may be measured again; no other fault, and no single point, has a second try")
  func secondTriesAreFew() async throws {
    try await inTemporaryFolder { folder in
      let late = RecordedRunner(void: { _ in [.generatorLimited] })
      let rows = try await sweep(folder + "/late", late, scenario: twelvePoints()).rows
      #expect(late.runs.count == 13 && rows.allSatisfy { $0.voidReasons == [.generatorLimited] })
      let starved = RecordedRunner(void: { _ in [.generatorLimited, .starved] })
      _ = try await sweep(folder + "/starved", starved, scenario: twelvePoints())
      #expect(starved.runs.count == 12)
      let point = RecordedRunner(void: { _ in [.generatorLimited] })
      _ = try await sweep(folder + "/point", point, scenario: twelvePoints(), kind: .point)
      #expect(point.runs.count == 12)
    }
  }

  @Test("a capacity probe that fails fails the points that need it, and no others")
  func failedProbe() async throws {
    try await inTemporaryFolder { folder in
      let runner = RecordedRunner(probe: { if $0.batchSize == 1 { throw ReplicaDied() } else { return 0.5 } })
      let outcome = try await sweep(folder + "/r", runner)
      #expect(outcome.rows.count { $0.voidReasons.contains(.targetFailed) } == 2)
      #expect(runner.runs.count == 4)
      let useless = RecordedRunner(probe: { _ in 0 })
      let rows = try await sweep(folder + "/s", useless).rows
      #expect(rows.count { $0.voidReasons.contains(.targetFailed) } == 4)
    }
  }

  @Test("a failure of the command itself ends the sweep and leaves it resumable")
  func commandFailureEnds() async throws {
    try await inTemporaryFolder { folder in
      let failure = CommandFailure(.missingInput, "hosts.config:3: a bad line")
      let runner = RecordedRunner(hook: { before, _ in if before == 3 { throw failure } })
      await #expect(throws: failure) { try await sweep(folder + "/r", runner) }
      let rest = RecordedRunner()
      let outcome = try await sweep(folder + "/r", rest, resume: true)
      #expect(outcome.rows.count == 6 && rest.runs.count == 3)
    }
  }

  @Test("nothing is left of a sweep that fails before its first point")
  func nothingIsLeft() async throws {
    try await inTemporaryFolder { folder in
      let failure = CommandFailure(.usage, "port in use")
      let runner = RecordedRunner(hook: { _, _ in throw failure })
      await #expect(throws: failure) { try await sweep(folder + "/r", runner) }
      #expect(!FileManager.default.fileExists(atPath: folder + "/r"))
    }
  }

  @Test("an interrupted sweep says how to go on, and goes on")
  func interruptionIsResumable() async throws {
    try await inTemporaryFolder { folder in
      let runner = RecordedRunner(hook: { before, _ in
        guard before == 4 else { return }
        withUnsafeCurrentTask { $0?.cancel() }
        throw ReplicaDied()
      })
      let path = folder + "/r"
      let task = Task { try await sweep(path, runner) }
      let failure = await #expect(throws: CommandFailure.self) { try await task.value }
      #expect(failure?.code == .interrupted)
      #expect(
        failure?.message
          == "interrupted with 4 of 6 points finished; go on with: muster sweep --resume --out \(path)")
      let scenario = try Scenario.load(path: nil, resuming: path)
      let rest = RecordedRunner()
      let outcome = try await sweep(path, rest, resume: true, scenario: scenario)
      #expect(rest.runs.count == 2 && outcome.rows.count == 6)
      #expect(outcome.rows.allSatisfy { $0.status == .valid })
    }
  }

  @Test("a void point ends a run with code 5 and its reasons")
  func voidPoint() async throws {
    try await inTemporaryFolder { folder in
      let runner = RecordedRunner(hook: { _, _ in throw ReplicaDied() })
      let scenario = try Scenario(point: [.rate: "100"], seed: nil)
      let outcome = try await sweep(folder + "/r", runner, scenario: scenario, kind: .point)
      #expect(outcome.pointFailure?.code == .voidPoint)
      #expect(outcome.pointFailure?.message.contains("target_failed") == true)
    }
  }

  @Test("a folder with a result is not written over, and one that cannot be made is an output failure")
  func foldersAreRefused() async throws {
    try await inTemporaryFolder { folder in
      _ = try await sweep(folder + "/r", RecordedRunner())
      let again = RecordedRunner()
      let occupied = await #expect(throws: CommandFailure.self) { try await sweep(folder + "/r", again) }
      #expect(occupied?.code == .cannotCreate && again.calls.isEmpty)
      let impossible = await #expect(throws: CommandFailure.self) {
        try await sweep("/dev/null/r", RecordedRunner())
      }
      #expect(impossible?.code == .cannotCreate)
    }
  }

  @Test("resuming wants a folder with a sweep, and the scenario it was started with")
  func resumingIsChecked() async throws {
    try await inTemporaryFolder { folder in
      let missing = await #expect(throws: CommandFailure.self) {
        try await sweep(folder + "/none", RecordedRunner(), resume: true)
      }
      #expect(missing?.code == .missingInput)
      #expect(throws: CommandFailure.self) { try Scenario.load(path: nil, resuming: folder + "/none") }
      _ = try await sweep(folder + "/r", RecordedRunner())
      let other = try Scenario(yaml: "axes: {batch_size: [1, 2]}", fileName: "other.yml")
      let different = await #expect(throws: CommandFailure.self) {
        try await sweep(folder + "/r", RecordedRunner(), resume: true, scenario: other)
      }
      #expect(different?.code == .usage)
      let idle = RecordedRunner()
      let outcome = try await sweep(folder + "/r", idle, resume: true)
      #expect(outcome.rows.count == 6 && idle.calls.isEmpty)
    }
  }

  @Test("progress is whole lines without control characters, or one updating line on a terminal")
  func progressIsShown() async throws {
    try await inTemporaryFolder { folder in
      let plain = RecordedConsole()
      _ = try await sweep(folder + "/r", RecordedRunner(), console: plain.console(isTerminal: false))
      #expect(plain.text.hasPrefix("\(folder)/r: 6 points\n"))
      let lines: ArraySlice<Substring> = plain.text.split(separator: "\n")[1...]
      #expect(lines.count == 6 + 2 + 2)
      #expect(lines.last?.hasPrefix("[6/6] ") == true)
      #expect(lines.dropLast().allSatisfy { $0.hasSuffix(" left") })
      #expect(!plain.text.contains("\r") && !plain.text.contains("\u{1B}"))

      let terminal = RecordedConsole()
      _ = try await sweep(folder + "/t", RecordedRunner(), console: terminal.console(isTerminal: true))
      #expect(terminal.text.count { $0 == "\n" } == 1, "where the results go, and then one line")
      #expect(terminal.text.contains("measurement 1.5 s, 42 answered"))
      #expect(terminal.text.hasSuffix("\r\u{1B}[K"), "the line is gone at the end")
      let updates: [Substring] = terminal.text.split(separator: "\r")
      #expect(updates.dropFirst().allSatisfy { $0.count <= 3 + 99 })
    }
  }
}
