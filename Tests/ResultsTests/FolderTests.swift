// The folder as a whole: what a killed sweep leaves can be resumed so that every finished point is there
// exactly once.

import Foundation
import Histogram
import Testing

@testable import Results

@Suite("Result folder, journal and manifest")
struct FolderTests {
  private let temporary = TemporaryFolder()

  private func row(_ id: String, _ number: Int = 0) -> PointRow {
    var row = PointRow()
    row.pointID = id
    row.repeatIndex = number
    return row
  }

  @Test("a folder is made with the folders above it, once")
  func create() throws {
    let folder = try ResultFolder.create(at: temporary.file("a/b/"))
    #expect(folder.path == temporary.file("a/b"))
    #expect(folder.name == "b")
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["hist"])
    // Nothing in it yet, so it may be used again.
    #expect(try ResultFolder.create(at: folder.path) == folder)
    try Journal(creating: folder.journal).close()
    #expect(throws: ResultFileError.occupied(path: folder.path)) { try ResultFolder.create(at: folder.path) }
    #expect(try ResultFolder.open(folder.path) == folder)
  }

  @Test("a folder that cannot be made is an output error with the system's reason")
  func cannotCreate() throws {
    let file = try temporary.write("", to: "file")
    let error = #expect(throws: ResultFileError.self) { try ResultFolder.create(at: file + "/x") }
    #expect(error?.isOutput == true)
    #expect(error?.description.contains(file + "/x") == true)
  }

  @Test("a folder without a result is an input error")
  func openErrors() throws {
    #expect(throws: ResultFileError.missing(path: temporary.file("none"))) {
      try ResultFolder.open(temporary.file("none"))
    }
    let error = #expect(throws: ResultFileError.self) { try ResultFolder.open(temporary.path) }
    #expect(error?.isOutput == false)
  }

  @Test("a killed sweep keeps its finished points once and nothing of the point in progress")
  func resume() throws {
    let folder = try ResultFolder.create(at: temporary.file("run"))
    let journal = try Journal(creating: folder.journal)
    let points: CSVWriter<PointRow> = try folder.writer(folder.points)
    let quantiles: CSVWriter<QuantileRow> = try folder.writer(folder.quantiles)
    for id in ["aaaaaaaaaaaa", "bbbbbbbbbbbb"] {
      let row = row(id)
      points.append(row)
      quantiles.append(QuantileRow(row.key, metric: "latency", quantile: 0.5, valueNanoseconds: 1, count: 1))
      try HistogramLog(startTime: row.started).write(to: folder.histogramLog(row.key))
      try points.synchronize()
      try quantiles.synchronize()
      // The second point dies before its line.
      if id.hasPrefix("a") { try journal.append(.point(row.key, status: .valid)) }
    }
    try journal.close()
    try points.close()
    try quantiles.close()
    let events = try temporary.write(EventRow.header + "\nbbbbbbbbbbbb,0,1.0,fau", to: "run/events.csv")
    _ = try temporary.write("point_id,rep", to: "run/series.csv")

    let reopened = try Journal(reopening: folder.journal)
    #expect(reopened.recovered.finishedPoints == [PointKey(pointID: "aaaaaaaaaaaa", repeatIndex: 0)])
    try folder.discardUnfinished(reopened.recovered.finishedPoints)
    #expect(try folder.rows(folder.points, of: PointRow.self).map(\.pointID) == ["aaaaaaaaaaaa"])
    #expect(try folder.rows(folder.quantiles, of: QuantileRow.self).map(\.pointID) == ["aaaaaaaaaaaa"])
    #expect(try folder.rows(events, of: EventRow.self).isEmpty)
    #expect(!folder.exists(folder.series))
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: folder.histograms) == ["aaaaaaaaaaaa-0-r0.hlog"])
    // Doing it again changes nothing.
    try folder.discardUnfinished(reopened.recovered.finishedPoints)
    #expect(try folder.rows(folder.points, of: PointRow.self).count == 1)
  }

  // MARK: Journal

  @Test("journal lines hold what a resumed sweep needs")
  func journalLines() throws {
    let path = temporary.file("journal.jsonl")
    let journal = try Journal(creating: path)
    let noon = Date(timeIntervalSince1970: 1_790_000_000)
    let probe = CapacityProbe(configuration: "none/100", operationsPerSecond: 1234.5)
    let entry = CalibrationEntry(
      transport: "loopback", connections: 16, signatureMode: "hmac", ceilingOperationsPerSecond: 9e5)
    try journal.append(.point(PointKey(pointID: "0123456789ab", repeatIndex: 2), status: .void), at: noon)
    try journal.append(.probe(probe), at: noon)
    try journal.append(.calibration(entry), at: noon)
    try journal.close()
    #expect(
      try temporary.text("journal.jsonl").split(separator: "\n").first
        == #"{"at_utc":"2026-09-21T14:13:20.000Z","kind":"point","point_id":"0123456789ab","repeat":2,"status":"void"}"#
    )
    let records = try Journal.records(at: path)
    #expect(records.count == 3)
    #expect(records.finishedPoints == [PointKey(pointID: "0123456789ab", repeatIndex: 2)])
    #expect(records.probe(of: "none/100") == probe)
    #expect(records.probe(of: "none/1") == nil)
    #expect(records.calibration == [entry])
  }

  @Test("a torn last line is ignored and cut when the journal goes on")
  func tornJournal() throws {
    let path = temporary.file("journal.jsonl")
    let first = try Journal(creating: path)
    let keys = (0..<2).map { PointKey(pointID: "p", repeatIndex: $0) }
    for key in keys { try first.append(.point(key, status: .valid)) }
    try first.close()
    let whole = try temporary.text("journal.jsonl")
    let firstLine = whole.utf8.firstIndex(of: UInt8(ascii: "\n"))!.utf16Offset(in: whole) + 1
    for cut in firstLine..<whole.utf8.count {
      _ = try temporary.write(String(whole.prefix(cut)), to: "journal.jsonl")
      #expect(try Journal.records(at: path).finishedPoints == [keys[0]])
      let journal = try Journal(reopening: path)
      try journal.append(.point(keys[1], status: .valid))
      try journal.close()
      #expect(try Journal.records(at: path).finishedPoints == Set(keys))
    }
  }

  @Test("a line that is whole and not understood is refused by number")
  func badJournal() throws {
    let path = try temporary.write(
      #"{"at_utc":"2026-09-21T14:13:20.000Z","kind":"point","point_id":"p"}"# + "\n", to: "j.jsonl")
    #expect(
      throws: ResultFileError.malformed(
        path: path, line: 1, reason: "\"point\": point_id, repeat, status expected")
    ) { try Journal.records(at: path) }
    let other = try temporary.write("\n{\n", to: "k.jsonl")
    #expect(throws: ResultFileError.malformed(path: other, line: 2, reason: "not valid JSON")) {
      try Journal.records(at: other)
    }
  }

  // MARK: Manifest and environment

  @Test("a manifest reads back as it was written, in snake case")
  func manifest() throws {
    var manifest = RunManifest(
      sweepId: "s", started: Date(timeIntervalSince1970: 1_790_000_000.25), command: ["muster", "sweep"],
      scenario: "rate: [1]\n", seed: .max,
      build: BuildIdentity(mode: "release", gitRevision: "abc", gitDirty: true),
      environment: EnvironmentProbe().read(), allocator: "jemalloc", libraries: ["swift_nio": "2.0"],
      calibration: [
        .init(transport: "memory", connections: 1, signatureMode: "none", ceilingOperationsPerSecond: 1)
      ],
      probes: [.init(configuration: "c", operationsPerSecond: 2)])
    manifest.finished = Date(timeIntervalSince1970: 1_790_000_100)
    let path = temporary.file("run.json")
    try manifest.write(to: path)
    #expect(try RunManifest(reading: path) == manifest)
    let text = try temporary.text("run.json")
    #expect(text.contains("\"sweep_id\" : \"s\""))
    #expect(text.contains("\"git_revision\" : \"abc\""))
    #expect(text.contains("\"started\" : \"2026-09-21T14:13:20.250Z\""))
    let cut = try temporary.write("{\"sweep_id\":\"s\"}", to: "cut.json")
    #expect(throws: ResultFileError.malformed(path: cut, line: 1, reason: "\"schemaVersion\" is missing")) {
      try RunManifest(reading: cut)
    }
  }

  @Test("the environment is read from where Linux states it, and what is not there is nil")
  func environment() throws {
    for folder in ["proc/sys/net/ipv4", "proc/self", "etc"] {
      try FileManager.default.createDirectory(
        atPath: temporary.file(folder), withIntermediateDirectories: true)
    }
    _ = try temporary.write(
      "processor\t: 0\nmodel name\t: AMD EPYC\nmodel name\t: other\n", to: "proc/cpuinfo")
    _ = try temporary.write("bbr\n", to: "proc/sys/net/ipv4/tcp_congestion_control")
    _ = try temporary.write("Name:\tx\nCpus_allowed:\t3,0000000f\n", to: "proc/self/status")
    _ = try temporary.write("NAME=\"D\"\nPRETTY_NAME=\"Debian 12\"\n", to: "etc/os-release")
    let found = EnvironmentProbe(root: temporary.path).read()
    #expect(found.cpuModel == "AMD EPYC")
    #expect(found.congestionControl == "bbr")
    #expect(found.cores == 6)
    #expect(found.operatingSystem == "Debian 12")
    #expect(found.cpuGovernor == nil)
    #expect(found.memoryBytes > 0)
  }
}
