// A sweep that is killed at any instant and resumed: only the point in progress is measured again, and every
// point is in the files exactly once. A kill is simulated by cutting files where a killed process could have
// left them.

import Experiment
import Foundation
import Results
import Synchronization
import Testing

@Suite("Resuming a killed sweep")
struct ResumeTests {
  private static let growing = [
    "points.csv", "quantiles.csv", "series.csv", "events.csv", "resources.csv", "journal.jsonl",
  ]

  /// The files of a whole sweep and how long each was when the n-th point began.
  private struct Recording {
    var files: [String: Data] = [:]
    var byteCounts: [[String: Int]] = []
    var rows: [PointRow] = []
  }

  private func record(_ path: String) async throws -> Recording {
    let byteCounts = Mutex<[[String: Int]]>([])
    let runner = RecordedRunner(hook: { _, _ in
      let now = Self.byteCounts(path)
      byteCounts.withLock { $0.append(now) }
    })
    let outcome = try await run(path, runner, resume: false)
    var recording = Recording(
      byteCounts: byteCounts.withLock { $0 } + [Self.byteCounts(path)], rows: outcome.rows)
    for name in Self.growing + ["run.json"] {
      recording.files[name] = FileManager.default.contents(atPath: "\(path)/\(name)")
    }
    for name in try FileManager.default.contentsOfDirectory(atPath: path + "/hist") {
      recording.files["hist/" + name] = FileManager.default.contents(atPath: "\(path)/hist/\(name)")
    }
    return recording
  }

  private static func byteCounts(_ path: String) -> [String: Int] {
    var counts: [String: Int] = [:]
    for name in growing { counts[name] = FileManager.default.contents(atPath: "\(path)/\(name)")?.count ?? 0 }
    return counts
  }

  private func run(_ path: String, _ runner: RecordedRunner, resume: Bool) async throws -> SweepOutcome {
    try await Sweep.run(
      sixPoints(), resume: resume, folder: path, runner: runner, console: .silent, kind: .sweep, arguments: []
    )
  }

  /// What must hold of a finished sweep however it came to its end.
  private func expectWhole(_ path: String, _ rows: [PointRow], as recording: Recording) throws {
    let folder = try ResultFolder.open(path)
    let keys = recording.rows.map(\.key)
    #expect(rows.map(\.key) == keys)
    #expect(rows.map(\.targetOperationsPerSecond) == recording.rows.map(\.targetOperationsPerSecond))
    #expect(rows.map(\.seed) == recording.rows.map(\.seed))
    func expect<Row: CSVRow & PointKeyed>(_ file: String, _ type: Row.Type, perPoint count: Int) throws {
      let contents = try CSVReader<Row>.contents(at: file)
      #expect(!contents.hasTornTail)
      #expect(contents.rows.count == count * keys.count, "\(file)")
      for key in keys { #expect(contents.rows.count { $0.key == key } == count, "\(file)") }
    }
    try expect(folder.points, PointRow.self, perPoint: 1)
    try expect(folder.quantiles, QuantileRow.self, perPoint: 3)
    try expect(folder.series, SeriesRow.self, perPoint: 2)
    try expect(folder.events, EventRow.self, perPoint: 1)
    try expect(folder.resources, ResourceRow.self, perPoint: 1)
    for key in keys {
      #expect(try HistogramLog(reading: folder.histogramLog(key)).merged("latency")?.totalCount == 1)
    }
    #expect(try Journal.records(at: folder.journal).finishedPoints == Set(keys))
  }

  @Test(
    "only the point in progress is measured again, wherever the kill came", arguments: 0..<30 as Range<UInt64>
  )
  func killedAnywhere(seed: UInt64) async throws {
    try await inTemporaryFolder { folder in
      let recording = try await record(folder + "/whole")
      var generator = SplitMix64(seed: seed)
      let path = folder + "/killed"
      try FileManager.default.createDirectory(atPath: path + "/hist", withIntermediateDirectories: true)
      let inProgress = Int(generator.next() % 6)
      let before = recording.byteCounts[inProgress]
      let after = recording.byteCounts[inProgress + 1]
      // Either the rows are being written and the journal is as it was, or the rows are whole and the journal
      // is torn.
      let rowsAreWhole = generator.next() % 3 == 0
      for name in Self.growing {
        let low = before[name]!
        let high = after[name]!
        let cut: Int
        if name == "journal.jsonl" {
          cut = rowsAreWhole ? Int.random(in: low..<high, using: &generator) : low
        } else {
          cut = rowsAreWhole ? high : Int.random(in: low...high, using: &generator)
        }
        try recording.files[name]!.prefix(cut).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
      }
      try recording.files["run.json"]!.write(to: URL(fileURLWithPath: path + "/run.json"))
      for row in recording.rows.prefix(inProgress + 1) {
        let name = "hist/\(row.key)-r0.hlog"
        let isInProgress = row.orderIndex == inProgress
        if isInProgress, !rowsAreWhole, generator.next() % 2 == 0 { continue }
        try recording.files[name]!.write(to: URL(fileURLWithPath: "\(path)/\(name)"))
      }

      // The journal of an instant may hold the point and already the probe of the next one.
      let journalled = try Journal.records(at: path + "/journal.jsonl").finishedPoints
      #expect(journalled.count == inProgress || rowsAreWhole && journalled.count == inProgress + 1)
      let runner = RecordedRunner()
      let outcome = try await run(path, runner, resume: true)
      #expect(runner.runs == recording.rows.suffix(6 - journalled.count).map(\.key))
      try expectWhole(path, outcome.rows, as: recording)
    }
  }

  @Test("a probe that is journalled is not probed again")
  func probesAreKept() async throws {
    try await inTemporaryFolder { folder in
      let failure = CommandFailure(.unavailable, "gone")
      let path = folder + "/r"
      let first = RecordedRunner(hook: { before, _ in if before == 5 { throw failure } })
      await #expect(throws: failure) { try await run(path, first, resume: false) }
      let rest = RecordedRunner(probe: { _ in 1 })
      let outcome = try await run(path, rest, resume: true)
      #expect(rest.runs.count == 1)
      #expect(rest.calls.count == 1, "neither probes nor calibrations")
      #expect(outcome.rows.allSatisfy { $0.targetOperationsPerSecond >= 100 })
    }
  }

  @Test(
    "a journalled point whose row or histogram is lost is measured again", arguments: ["points.csv", "hist"])
  func lostFiles(lost: String) async throws {
    try await inTemporaryFolder { folder in
      let path = folder + "/r"
      let recording = try await record(path)
      if lost == "hist" {
        try FileManager.default.removeItem(atPath: "\(path)/hist/\(recording.rows[1].key)-r0.hlog")
      } else {
        let text = try String(contentsOfFile: path + "/points.csv", encoding: .utf8)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        try (lines[0...1] + lines[3...]).joined(separator: "\n")
          .write(toFile: path + "/points.csv", atomically: true, encoding: .utf8)
      }
      let runner = RecordedRunner()
      let outcome = try await run(path, runner, resume: true)
      #expect(runner.runs == [recording.rows[1].key])
      try expectWhole(path, outcome.rows, as: recording)
    }
  }

  @Test("two sweeps cannot write one folder")
  func foldersAreLocked() async throws {
    try await inTemporaryFolder { folder in
      let path = folder + "/r"
      let journal = try ResultFolder.create(at: path).journal
      let held = try Journal(creating: journal)
      _ = try? await run(folder + "/s", RecordedRunner(), resume: false)
      try FileManager.default.copyItem(atPath: folder + "/s/run.json", toPath: path + "/run.json")
      let failure = await #expect(throws: CommandFailure.self) {
        try await run(path, RecordedRunner(), resume: true)
      }
      #expect(failure?.code == .cannotCreate)
      try held.close()
    }
  }
}
