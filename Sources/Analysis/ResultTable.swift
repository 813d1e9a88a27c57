// The table on the terminal: fixed widths, units in the header, a column for a parameter only where it
// differs between rows, and below it what the void reasons mean.

import Results

/// Rows of points.csv as text.
public enum ResultTable {
  /// The table of `rows`, in their order, with a line end after each line; empty without rows.
  public static func text(_ rows: [PointRow]) -> String {
    guard !rows.isEmpty else { return "" }
    let columns = shown(rows)
    var lines: [[String]] = [columns.map(\.title), columns.map(\.unit)]
    for row in rows { lines.append(columns.map { $0.value(row) }) }
    let widths = columns.indices.map { index in lines.map { $0[index].count }.max() ?? 0 }
    var text = ""
    for line in lines {
      var padded = ""
      for (index, cell) in line.enumerated() {
        if index > 0 { padded += "  " }
        let spaces = String(repeating: " ", count: widths[index] - cell.count)
        padded += columns[index].isText ? cell + spaces : spaces + cell
      }
      while padded.last == " " { padded.removeLast() }
      text += padded + "\n"
    }
    return text + notes(rows)
  }

  private struct Column {
    var title: String
    var unit = ""
    var isText = false
    var value: (PointRow) -> String
  }

  private static func shown(_ rows: [PointRow]) -> [Column] {
    func differs(_ name: String) -> Bool { Set(rows.map { $0.cell(name) ?? "" }).count > 1 }
    var columns = [
      Column(title: "signatures", isText: true) { $0.signatureMode },
      Column(title: "batch") { $0.batchSize.map(String.init) ?? "–" },
    ]
    let optional: [(name: String, title: String, unit: String)] = [
      ("protocol", "protocol", ""), ("service", "service", ""), ("transport", "transport", ""),
      ("n", "n", ""), ("f", "f", ""), ("fault_model", "faults", ""), ("signing", "signing", ""),
      ("replica_auth", "links", ""), ("durability", "durability", ""), ("sessions", "sessions", ""),
      ("connections", "conns", ""), ("outstanding", "each", "at once"), ("arrival", "arrival", ""),
      ("payload_bytes", "payload", "bytes"), ("reply_bytes", "reply", "bytes"),
      ("unordered_fraction", "unordered", ""), ("send_to", "sent to", ""),
      ("batch_timeout_us", "batch t/o", "µs"), ("request_timeout_ms", "timeout", "ms"),
      ("checkpoint_period", "K", ""), ("log_size", "L", ""),
      ("fault_script", "fault script", ""), ("repeat", "repeat", ""),
    ]
    for parameter in optional where differs(parameter.name) {
      columns.append(
        Column(title: parameter.title, unit: parameter.unit) { row in
          let text = row.cell(parameter.name) ?? ""
          return Int(text).map(Figure.count) ?? text
        })
    }
    columns += [
      Column(title: "target", unit: "ops/s") { Figure.rate($0.targetOperationsPerSecond) },
      Column(title: "throughput", unit: "ops/s") { $0.throughputOperationsPerSecond.map(Figure.rate) ?? "–" },
      latency("p50", 0.5) { $0.latencyP50Nanoseconds },
      latency("p99", 0.99) { $0.latencyP99Nanoseconds },
      latency("p99.9", 0.999) { $0.latencyP999Nanoseconds },
      latency("max", 1) { $0.latencyMaxNanoseconds },
      Column(title: "lag p99", unit: "ms") { $0.lagP99Nanoseconds.map(Figure.milliseconds) ?? "–" },
      Column(title: "CPU/req", unit: "µs") { row in
        row.cpuNanosecondsPerRequest.map { Figure.significant(Double($0) / 1e3) } ?? "–"
      },
      Column(title: "audit", isText: true) { $0.audit.rawValue },
      Column(title: "status", isText: true) { row in
        let reasons = row.voidReasons.ordered.map(\.rawValue).joined(separator: ", ")
        return row.status == .valid ? "valid" : reasons.isEmpty ? "void" : "void: \(reasons)"
      },
    ]
    return columns
  }

  private static func latency(
    _ title: String, _ quantile: Double, _ value: @escaping (PointRow) -> Int?
  ) -> Column {
    Column(title: title, unit: "ms") { row in
      value(row).map { row.boundSign(quantile) + Figure.milliseconds($0) } ?? "–"
    }
  }

  private static func notes(_ rows: [PointRow]) -> String {
    var text = ""
    let reasons = VoidReason.allCases.filter { reason in rows.contains { $0.voidReasons.contains(reason) } }
    for reason in reasons { text += "\(reason.rawValue): \(reason.explanation)\n" }
    let bounds = rows.filter { $0.latencyBoundFromQuantile != nil }
    if !bounds.isEmpty {
      let drains = Set(bounds.map(\.drainSeconds)).sorted().map { "\(Figure.trimmed($0)) s" }
      text += "≥: requests without an answer after \(drains.joined(separator: " or ")) count with that time; "
      text += "the true value is at least this\n"
    }
    return text.isEmpty ? "" : "\n" + text
  }
}
