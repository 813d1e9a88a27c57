// The tables of the report: configurations side by side, every point, and where and how it was measured.

import Foundation
import Results

extension ReportPage {
  // MARK: Configurations side by side

  var comparison: String {
    guard groups.series.count > 1 else { return "" }
    let bestThroughput = groups.series.compactMap { $0.best?.throughputOperationsPerSecond }.max() ?? 0
    let costs = groups.series.compactMap { ($0.midLoad ?? $0.best)?.cpuNanosecondsPerRequest }
    let highestCost = costs.max() ?? 0
    let lines = groups.series.map { series -> String in
      let best = series.best?.throughputOperationsPerSecond
      let mid = series.midLoad
      let cost = mid?.cpuNanosecondsPerRequest
      let color = charts.style(series).colorClass
      let cells = [
        best.map(Figure.rate) ?? "–",
        mid.map { Figure.rate($0.targetOperationsPerSecond) } ?? "–",
        mid.flatMap { row in row.latencyP50Nanoseconds.map { row.boundSign(0.5) + Figure.milliseconds($0) } }
          ?? "–",
        mid.flatMap { row in row.latencyP99Nanoseconds.map { row.boundSign(0.99) + Figure.milliseconds($0) } }
          ?? "–",
        cost.map { Figure.significant(Double($0) / 1e3) } ?? "–",
      ]
      return "<tr><td class=\"left\">\(charts.style(series).swatch())\(series.mode.escaped)</td>"
        + "<td class=\"left\">\(series.label.escaped)</td><td>\(cells[0])</td>"
        + bar(best ?? 0, of: bestThroughput, color)
        + cells[1...4].map { "<td>\($0)</td>" }.joined()
        + (costs.isEmpty ? "" : bar(Double(cost ?? 0), of: Double(highestCost), color)) + "</tr>"
    }
    return """
      <section>
      <h2>Signature modes side by side</h2>
      <p>The highest valid throughput found, which more rates could only raise; latency and cost at the valid rate
      nearest to half of the highest.</p>
      <div class="scroll"><table>
      <thead><tr><th class="left">signatures</th><th class="left">configuration</th>
      <th>highest valid<small>ops/s</small></th><th></th><th>at half load<small>ops/s</small></th>
      <th>p50<small>ms</small></th><th>p99<small>ms</small></th><th>CPU/request<small>µs, all parties</small></th>
      \(costs.isEmpty ? "" : "<th></th>")</tr></thead>
      <tbody>\(lines.joined(separator: "\n"))</tbody>
      </table></div>
      </section>
      """
  }

  private func bar(_ value: Double, of highest: Double, _ color: String) -> String {
    let share = highest > 0 ? value / highest * 100 : 0
    let width = String(format: "%.1f", share)
    return "<td class=\"bars \(color)\"><span class=\"bar\" style=\"width:\(width)%\"></span></td>"
  }

  // MARK: Every point

  private struct Cell {
    var title: String
    var unit = ""
    var isLeft = false
    var html: (PointRow) -> String
  }

  var pointTable: String {
    let cells = pointCells
    let head = cells.map { cell in
      let unit = cell.unit.isEmpty ? "" : "<small>\(cell.unit)</small>"
      return "<th\(cell.isLeft ? " class=\"left\"" : "")>\(cell.title)\(unit)</th>"
    }
    var body: [String] = []
    let isolated = Set(groups.timeouts.flatMap { $0.rows.map(\.key) })
      .subtracting(groups.series.flatMap { $0.rows.map(\.key) })
    let blocks = groups.series.map(\.rows) + [rows.filter { isolated.contains($0.key) }]
    for block in blocks {
      for (index, row) in block.enumerated() {
        let kinds = [index == 0 ? "first" : nil, row.status == .void ? "void" : nil].compactMap { $0 }
        let line = cells.map { "<td\($0.isLeft ? " class=\"left\"" : "")>\($0.html(row))</td>" }
        body.append("<tr class=\"\(kinds.joined(separator: " "))\">\(line.joined())</tr>")
        guard row.status == .void else { continue }
        let reason = row.voidText.isEmpty ? "not judged" : row.voidText
        body.append(
          "<tr class=\"why\"><td colspan=\"\(cells.count)\"><span>void: \(reason.escaped)</span></td></tr>")
      }
    }
    return """
      <section>
      <h2>Every point</h2>
      <p>All \(Figure.count(rows.count)) rows of points.csv, which has more columns. “≥” stands before a percentile
      that is only a lower bound.</p>
      <div class="scroll"><table>
      <thead><tr>\(head.joined())</tr></thead>
      <tbody>
      \(body.joined(separator: "\n"))
      </tbody>
      </table></div>
      </section>
      """
  }

  private var pointCells: [Cell] {
    func differs(_ name: String) -> Bool { Set(rows.map { $0.cell(name) ?? "" }).count > 1 }
    var cells = [Cell(title: "signatures", isLeft: true) { mark($0) + $0.signatureMode.escaped }]
    let parameters: [(name: String, title: String, unit: String)] = [
      ("protocol", "protocol", ""), ("transport", "transport", ""), ("n", "n", ""),
      ("fault_model", "fault model", ""), ("unordered_fraction", "unordered", ""), ("send_to", "sent to", ""),
      ("batch_size", "batch", ""),
      ("batch_timeout_us", "batch timeout", "µs"), ("request_timeout_ms", "timeout", "ms"),
      ("sessions", "sessions", ""), ("connections", "connections", "per replica"),
      ("payload_bytes", "payload", "bytes"), ("reply_bytes", "reply", "bytes"), ("arrival", "arrival", ""),
      ("fault_script", "faults", ""), ("repeat", "repeat", ""),
    ]
    for parameter in parameters where differs(parameter.name) || parameter.name == "batch_size" {
      cells.append(
        Cell(title: parameter.title, unit: parameter.unit) { row in
          let text = row.cell(parameter.name) ?? ""
          return Int(text).map(Figure.count) ?? text.escaped
        })
    }
    if rows.contains(where: { $0.rateShare != nil }) {
      cells.append(Cell(title: "rate", unit: "share") { $0.rateShare.map(Figure.percent) ?? "" })
    }
    func latency(_ title: String, _ quantile: Double, _ value: @escaping (PointRow) -> Int?) -> Cell {
      Cell(title: title, unit: "ms") { row in
        value(row).map { row.boundSign(quantile) + Figure.milliseconds($0) } ?? "–"
      }
    }
    cells += [
      Cell(title: "offered", unit: "ops/s") { Figure.rate($0.targetOperationsPerSecond) },
      Cell(title: "throughput", unit: "ops/s") { $0.throughputOperationsPerSecond.map(Figure.rate) ?? "–" },
      latency("p50", 0.5) { $0.latencyP50Nanoseconds },
      latency("p99", 0.99) { $0.latencyP99Nanoseconds },
      latency("p99.9", 0.999) { $0.latencyP999Nanoseconds },
      latency("max", 1) { $0.latencyMaxNanoseconds },
      latency("service p99", -1) { $0.serviceP99Nanoseconds },
      latency("lag p99", -1) { $0.lagP99Nanoseconds },
      Cell(title: "batches", unit: "mean size") { $0.batchMean.map { Figure.significant($0) } ?? "–" },
      Cell(title: "CPU/req", unit: "µs") { row in
        row.cpuNanosecondsPerRequest.map { Figure.significant(Double($0) / 1e3) } ?? "–"
      },
      Cell(title: "audit", isLeft: true) {
        $0.audit == .failed ? "<b class=\"bad\">✗ failed</b>" : $0.audit.rawValue
      },
      Cell(title: "status", isLeft: true) { $0.status.rawValue },
    ]
    return cells
  }

  /// The mark of the series that a row belongs to, hollow when void.
  private func mark(_ row: PointRow) -> String {
    let series = groups.series.first { $0.rows.contains { $0.key == row.key } }
    let style = series.map(charts.style) ?? charts.style(mode: row.signatureMode)
    return style.swatch(hollow: row.status == .void)
  }

  // MARK: Environment

  var environment: String {
    guard let manifest else { return "" }
    let host = manifest.environment
    let revision = manifest.build.gitRevision.map {
      $0 + (manifest.build.gitDirty == true ? " (changed)" : "")
    }
    let entries: [(String, String?)] = [
      ("started", Self.minute(manifest.started)), ("finished", manifest.finished.map(Self.minute)),
      (
        "processor",
        host.cpuModel.map { "\($0), \(Figure.counted(host.cores, "core"))" } ?? "\(host.cores) cores"
      ),
      ("memory", Figure.bytes(host.memoryBytes)), ("system", "\(host.operatingSystem), \(host.kernel)"),
      ("architecture", host.architecture), ("congestion control", host.congestionControl),
      ("frequency governor", host.cpuGovernor), ("clock source", host.clockSource),
      ("build", [manifest.build.mode, manifest.build.compiler].compactMap { $0 }.joined(separator: ", ")),
      ("revision", revision), ("allocator", manifest.allocator), ("seed", String(manifest.seed)),
      (
        "libraries",
        manifest.libraries.isEmpty
          ? nil
          : manifest.libraries.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(
            separator: ", ")
      ),
    ]
    let list = entries.compactMap { name, value in
      value.map { "<dt>\(name)</dt><dd>\($0.escaped)</dd>" }
    }
    var html = """
      <section>
      <h2>Where and how</h2>
      <p>What it takes to measure this again.</p>
      <pre>\(manifest.command.map(Self.shellWord).joined(separator: " ").escaped)</pre>
      <dl>\(list.joined())</dl>
      """
    if !manifest.probes.isEmpty || !manifest.calibration.isEmpty {
      html += "<p class=\"note\">" + ceilings(manifest).joined(separator: "<br>") + "</p>"
    }
    if !manifest.scenario.isEmpty {
      html += "<details><summary>The scenario</summary><pre>\(manifest.scenario.escaped)</pre></details>"
    }
    return html + "</section>"
  }

  private func ceilings(_ manifest: RunManifest) -> [String] {
    let calibration = manifest.calibration.map { entry in
      "Generator alone, \(entry.transport), \(Figure.counted(entry.connections, "connection")) per replica, "
        + "signatures \(entry.signatureMode): \(Figure.rate(entry.ceilingOperationsPerSecond)) ops/s."
    }
    let probes = manifest.probes.map { probe in
      "Capacity probe, \(probe.configuration): \(Figure.rate(probe.operationsPerSecond)) ops/s."
    }
    return (calibration + probes).map(\.escaped)
  }

  private static func minute(_ date: Date) -> String {
    date.formatted(
      .iso8601.year().month().day().dateSeparator(.dash).dateTimeSeparator(.space).time(
        includingFractionalSeconds: false)) + " UTC"
  }

  /// A word as a shell would take it back.
  private static func shellWord(_ word: String) -> String {
    let plain = word.unicodeScalars.allSatisfy {
      CharacterSet.alphanumerics.contains($0) || "-_./=:,%+@".unicodeScalars.contains($0)
    }
    return plain && !word.isEmpty ? word : "'" + word.replacingOccurrences(of: "'", with: "'\\''") + "'"
  }
}
