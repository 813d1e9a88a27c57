// The report states what the rows say, loads nothing, and lets no text of a file become markup.

import Foundation
import Results
import Testing

@testable import Analysis

@Suite("Report")
struct ReportTests {
  /// Three modes by two batch sizes by three rates, the highest void; two more request timeouts at one of them.
  static func sweep() -> [PointRow] {
    var rows: [PointRow] = []
    for (mode, capacity) in [("sign:ecdsa-p256", 6000.0), ("none", 200_000), ("hmac", 150_000)] {
      for batch in [100, 1] {
        for share in [0.25, 0.5, 0.8] {
          rows.append(point(mode, batch, share, capacity * (batch == 1 ? 0.1 : 1), index: rows.count))
        }
      }
    }
    for timeout in [500, 5000] {
      var row = point("none", 100, 0.5, 200_000, index: rows.count)
      row.requestTimeoutMilliseconds = timeout
      rows.append(row)
    }
    return rows
  }

  static func point(_ mode: String, _ batch: Int, _ share: Double, _ capacity: Double, index: Int) -> PointRow
  {
    var row = PointRow()
    row.pointID = String(format: "%012x", index + 1)
    row.orderIndex = index
    row.protocolName = "pbft"
    row.transport = "loopback"
    row.replicas = 4
    row.faults = 1
    row.sessions = 1000
    row.signatureMode = mode
    row.batchSize = batch
    row.requestTimeoutMilliseconds = 2000
    row.rateShare = share
    row.targetOperationsPerSecond = capacity * share
    row.throughputOperationsPerSecond = capacity * share * 0.999
    row.latencyP50Nanoseconds = Int(1e6 / (1 - share))
    row.latencyP99Nanoseconds = Int(3e6 / (1 - share))
    row.latencyP999Nanoseconds = Int(9e6 / (1 - share))
    row.latencyMaxNanoseconds = Int(20e6 / (1 - share))
    row.cpuNanosecondsPerRequest = Int(1e9 / capacity)
    row.drainSeconds = 5
    row.audit = .ok
    row.status = share > 0.7 ? .void : .valid
    if row.status == .void { row.voidReasons = [.starved] }
    return row
  }

  private func count(_ text: String, in html: String) -> Int {
    html.components(separatedBy: text).count - 1
  }

  @Test("the headline counts valid and void points and states the audit")
  func verdict() {
    let html = Report.html(name: "first", rows: Self.sweep())
    #expect(html.contains("14 of 20 points valid, 6 void. <span class=\"good\">✓ Audit ok.</span>"))
    var failed = Self.sweep()
    failed[3].audit = .failed
    #expect(Report.html(name: "f", rows: failed).contains("✗ Audit failed on 1 point."))
    var absent = Self.sweep()
    for index in absent.indices { absent[index].audit = .absent }
    #expect(Report.html(name: "f", rows: absent).contains("Not audited."))
    #expect(Report.html(name: "f", rows: [Self.sweep()[0]]).contains("The one point is valid."))
  }

  @Test("void points are drawn hollow and valid ones solid, each with its figures in a tooltip")
  func hollow() throws {
    let groups = PointGroups(Self.sweep())
    let charts = Charts(groups: groups)
    let series = try #require(groups.series.first)
    let panel = charts.panel(series, width: 360, height: 250)
    #expect(count("class=\"hollow\"", in: panel) == 1)
    #expect(count("class=\"hollow faint\"", in: panel) == 1)
    #expect(count("class=\"solid\"", in: panel) == 2)
    #expect(count("curve dotted", in: panel) == 2)
    #expect(panel.contains("void: more than 1 % of due requests waited for a free session"))
    let overview = charts.overview(width: 1100, height: 400)
    #expect(count("class=\"hollow\"", in: overview) == 6)
    #expect(count("class=\"solid\"", in: overview) == 12)
  }

  @Test("a percentile that is only a bound carries the sign and an arrow")
  func bounds() throws {
    var rows = Self.sweep()
    let index = try #require(rows.firstIndex { $0.status == .void })
    rows[index].latencyP99Nanoseconds = 5_000_000_000
    rows[index].latencyBoundFromQuantile = 0.99
    let html = Report.html(name: "f", rows: rows)
    #expect(html.contains("p99 ≥5.00 s"))
    #expect(html.contains("<td>≥5,000</td>"))
    #expect(html.contains("class=\"bound\""))
    #expect(!Report.html(name: "f", rows: Self.sweep()).contains("p99 ≥"))
  }

  @Test("the page loads nothing and runs nothing")
  func selfContained() {
    let html = Report.html(name: "first", rows: Self.sweep())
    for loader in [
      "http:", "https:", "<script", "<link", "@import", "url(", " src=", " href=", "<img", "<iframe",
    ] {
      #expect(!html.contains(loader), "\(loader)")
    }
    #expect(html.hasPrefix("<!DOCTYPE html>"))
    #expect(html.contains("prefers-color-scheme: dark"))
    #expect(html.contains("@media print"))
    #expect(html.contains("width=device-width"))
  }

  @Test("text of a file never becomes markup")
  func escaping() {
    let evil = "<b onload=\"x\">&'"
    var rows = Self.sweep()
    for index in rows.indices {
      rows[index].signatureMode = evil
      rows[index].transport = evil + "\(index % 2)"
      rows[index].protocolName = evil
      rows[index].arrival = evil
    }
    let manifest = RunManifest(
      sweepId: evil, started: Date(timeIntervalSince1970: 0), command: ["muster", evil], scenario: evil,
      seed: 1,
      build: BuildIdentity(mode: evil, gitRevision: evil),
      environment: HostEnvironment(
        kernel: evil, architecture: evil, operatingSystem: evil, cpuModel: evil, cores: 1, memoryBytes: 1),
      allocator: evil, libraries: [evil: evil],
      calibration: [
        .init(transport: evil, connections: 1, signatureMode: evil, ceilingOperationsPerSecond: 1)
      ], probes: [.init(configuration: evil, operationsPerSecond: 1)])
    let html = Report.html(name: evil, rows: rows, manifest: manifest)
    #expect(!html.contains("<b onload"))
    #expect(!html.contains("&'"))
    #expect(html.contains("&lt;b onload=&quot;x&quot;&gt;&amp;&#39;"))
  }

  @Test("the same rows give the same page, in whatever order they come")
  func deterministic() {
    let rows = Self.sweep()
    #expect(Report.html(name: "f", rows: rows) == Report.html(name: "f", rows: rows.reversed()))
  }

  @Test("every row is in the table, with the reason of a void one in words")
  func table() {
    let html = Report.html(name: "f", rows: Self.sweep())
    #expect(count("<tr class=\"why\">", in: html) == 6)
    #expect(count("<td class=\"left\">ok</td>", in: html) == 20)
  }

  @Test("request timeouts are compared on their own and kept out of the curves")
  func timeouts() {
    let groups = PointGroups(Self.sweep())
    #expect(groups.series.count == 6)
    #expect(groups.series.map(\.points.count) == Array(repeating: 3, count: 6))
    #expect(groups.timeouts.count == 1)
    #expect(groups.timeouts.first?.rows.map(\.requestTimeoutMilliseconds) == [500, 2000, 5000])
    #expect(Report.html(name: "f", rows: Self.sweep()).contains("<h2>Request timeout</h2>"))
    #expect(!Report.html(name: "f", rows: Self.sweep().dropLast(2)).contains("<h2>Request timeout</h2>"))
  }

  @Test("series are ordered by mode and then by their parameters as numbers")
  func order() {
    let groups = PointGroups(Self.sweep())
    #expect(groups.modes == ["none", "hmac", "sign:ecdsa-p256"])
    #expect(
      groups.series.map { "\($0.mode) \($0.label)" }.prefix(3) == [
        "none batch 1", "none batch 100", "hmac batch 1",
      ])
    #expect(groups.series[1].best?.targetOperationsPerSecond == 100_000)
    #expect(groups.series[1].midLoad?.rateShare == 0.5)
  }

  @Test("loops that follow from the signature mode name no series; loops that were chosen do")
  func loopsOfModes() {
    var rows = Self.sweep()
    for index in rows.indices { rows[index].loops = rows[index].signatureMode.contains(":") ? 2 : 1 }
    #expect(PointGroups(rows).series.allSatisfy { !$0.label.contains("loops") })
    for index in rows.indices where rows[index].batchSize == 1 { rows[index].loops = 2 }
    #expect(PointGroups(rows).series.first?.label == "loops 1 · batch 100")
  }

  @Test("repeats of a point share its place on the curve")
  func repeats() {
    var rows: [PointRow] = []
    for share in [0.25, 0.5] {
      for number in 0..<3 {
        var row = Self.point("none", 1, share, 1000, index: Int(share * 4))
        row.repeatIndex = number
        row.latencyP99Nanoseconds = [3_000_000, 1_000_000, 2_000_000][number]
        rows.append(row)
      }
    }
    let groups = PointGroups(rows)
    #expect(groups.series.count == 1)
    #expect(groups.series[0].points.map(\.rows.count) == [3, 3])
    #expect(groups.series[0].points[0].representative.latencyP99Nanoseconds == 2_000_000)
  }

  @Test("a result with little in it still gives a page", arguments: [0, 1, 2, 3])
  func sparse(kind: Int) {
    var row = PointRow()
    row.pointID = "0123456789ab"
    let rows = [[], [row], [Self.sweep()[2]], [row, Self.sweep()[0]]][kind]
    let html = Report.html(name: "f", rows: rows)
    #expect(html.hasSuffix("</html>\n"))
    #expect(html.contains(rows.isEmpty ? "No point has finished yet." : "Every point"))
    #expect(!html.contains("nan") && !html.contains("inf\""))
  }

  @Test("the page is made from a folder, with its quantiles and its manifest")
  func fromFolder() throws {
    let path = NSTemporaryDirectory() + "muster-report-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: path) }
    let folder = try ResultFolder.create(at: path)
    let points: CSVWriter<PointRow> = try folder.writer(folder.points)
    let quantiles: CSVWriter<QuantileRow> = try folder.writer(folder.quantiles)
    for row in Self.sweep() {
      points.append(row)
      for (quantile, value) in [(0.5, 1_000_000), (0.99, 4_000_000), (0.999_99, 77_000_000)] {
        quantiles.append(
          QuantileRow(row.key, metric: "latency", quantile: quantile, valueNanoseconds: value, count: 9))
      }
    }
    try points.close()
    try quantiles.close()
    try RunManifest(
      sweepId: "first sweep", started: Date(timeIntervalSince1970: 1_790_000_000),
      command: ["muster", "sweep", "--out", "a b"], scenario: "seed: 1\n", seed: 1,
      build: BuildIdentity(mode: "release"),
      environment: HostEnvironment(
        kernel: "Linux 6.1", architecture: "x86_64", operatingSystem: "Debian", cores: 2, memoryBytes: 1 << 33
      ),
      allocator: "jemalloc"
    ).write(to: folder.manifest)
    let html = try Report.html(from: folder)
    #expect(html.contains("<title>first sweep – Muster</title>"))
    #expect(html.contains("muster sweep --out &#39;a b&#39;"))
    #expect(html.contains("2026-09-21 14:13:20 UTC"))
    #expect(html.contains("8.00 GiB"))
    #expect(html.contains("99.999 %"))
    #expect(html.contains("p99.999 77.0 ms"))
    try folder.writeReport(html)
    #expect(folder.exists(folder.report))
  }
}
