// Rows sorted into what is drawn: one series per configuration (everything but the rate), one load point per
// rate, and the groups in which only the request timeout differs. Orders are total, so that the same rows
// give the same report.

import Foundation
import Results

/// The repeats of one point.
struct LoadPoint {
  var rows: [PointRow]

  /// The rows that count: the valid ones, or all when none is.
  private var judged: [PointRow] {
    let valid = rows.filter { $0.status == .valid }
    return valid.isEmpty ? rows : valid
  }

  var isValid: Bool { rows.contains { $0.status == .valid } }
  var target: Double { rows[0].targetOperationsPerSecond }

  /// The row that stands for the point: that of median p99 among those that count.
  var representative: PointRow {
    let sorted = judged.sorted { ($0.latencyP99Nanoseconds ?? .max) < ($1.latencyP99Nanoseconds ?? .max) }
    return sorted[(sorted.count - 1) / 2]
  }
}

/// One configuration over its rates, ascending.
struct PointSeries {
  var mode: String
  /// The parameters beside the signature mode that tell series apart.
  var label: String
  var points: [LoadPoint]

  var rows: [PointRow] { points.flatMap(\.rows) }

  /// The valid row of highest throughput.
  var best: PointRow? {
    rows.filter { $0.status == .valid }
      .max { ($0.throughputOperationsPerSecond ?? 0) < ($1.throughputOperationsPerSecond ?? 0) }
  }

  /// The valid point whose rate is nearest to half of the highest offered.
  var midLoad: PointRow? {
    guard let highest = points.last?.target else { return nil }
    return points.filter(\.isValid)
      .min { abs($0.target - highest / 2) < abs($1.target - highest / 2) }?.representative
  }
}

/// Points that differ in nothing but the request timeout, ascending by it.
struct TimeoutGroup {
  var label: String
  var rows: [PointRow]
}

/// All rows of a result, grouped.
struct PointGroups {
  let rows: [PointRow]
  /// Signature modes, the cheapest first.
  let modes: [String]
  /// Labels of series, in order of first appearance under the sort.
  let labels: [String]
  let series: [PointSeries]
  let timeouts: [TimeoutGroup]

  init(_ rows: [PointRow]) {
    self.rows = rows
    modes = Set(rows.map(\.signatureMode)).sorted { Self.modeOrder($0) < Self.modeOrder($1) }
    let groups = Self.timeoutGroups(rows)
    let isolated = Self.rowsOfTimeoutComparison(rows, groups)
    let curveRows = rows.filter { !isolated.contains($0.key) }
    let names = Self.distinguishing(curveRows)
    var byConfiguration: [String: [PointRow]] = [:]
    for row in curveRows {
      byConfiguration[row.signatureMode + "\n" + Self.text(row, names), default: []].append(row)
    }
    let series = byConfiguration.values.map { rows in
      PointSeries(mode: rows[0].signatureMode, label: Self.label(rows[0], names), points: Self.points(rows))
    }
    let sorted = series.sorted { first, second in
      let modes = (Self.modeOrder(first.mode), Self.modeOrder(second.mode))
      if modes.0 != modes.1 { return modes.0 < modes.1 }
      return Self.precedes(first.points[0].rows[0], second.points[0].rows[0], names)
    }
    self.series = sorted
    labels = sorted.reduce(into: []) { if !$0.contains($1.label) { $0.append($1.label) } }
    timeouts = groups.map { group in
      TimeoutGroup(
        label: group[0].signatureMode + " · " + Self.label(group[0], names) + " · " + group[0].rateText,
        rows: group)
    }
  }

  // MARK: Grouping

  private static func points(_ rows: [PointRow]) -> [LoadPoint] {
    Dictionary(grouping: rows, by: \.pointID).values
      .map { LoadPoint(rows: $0.sorted { $0.repeatIndex < $1.repeatIndex }) }
      .sorted { ($0.target, $0.rows[0].pointID) < ($1.target, $1.rows[0].pointID) }
  }

  /// Parameters that a rate or another parameter decides.
  private static let derived: Set<String> = [
    "signature_mode", "rate_share", "target_ops_s", "resend_ms", "view_change_timeout_ms",
  ]

  /// The names of parameters, beside the signature mode and the rate, that differ between rows.
  private static func distinguishing(_ rows: [PointRow]) -> [String] {
    PointRow.parameterNames.filter { name in
      guard !derived.contains(name) else { return false }
      // Where nobody says how many loops there are, the signature mode does.
      let groups = name == "loops" ? Array(Dictionary(grouping: rows, by: \.signatureMode).values) : [rows]
      return groups.contains { group in Set(group.map { $0.cell(name) ?? "" }).count > 1 }
    }
  }

  private static func timeoutGroups(_ rows: [PointRow]) -> [[PointRow]] {
    let names = PointRow.parameterNames.filter { name in
      name == "signature_mode" || name == "rate_share"
        || !(derived.contains(name) || name == "request_timeout_ms")
    }
    var groups: [String: [PointRow]] = [:]
    for row in rows {
      // A relative rate is compared by its share, an absolute one by itself.
      let rate = row.rateShare == nil ? "\(row.targetOperationsPerSecond)" : ""
      groups[text(row, names) + rate, default: []].append(row)
    }
    return groups.values
      .filter { Set($0.map(\.requestTimeoutMilliseconds)).count > 1 }
      .map { group in
        group.sorted {
          ($0.requestTimeoutMilliseconds ?? 0, $0.repeatIndex) < (
            $1.requestTimeoutMilliseconds ?? 0, $1.repeatIndex
          )
        }
      }
      .sorted { ($0[0].signatureMode, $0[0].pointID) < ($1[0].signatureMode, $1[0].pointID) }
  }

  /// Rows that are there for the comparison of timeouts alone: not at the timeout most rows have, and too few
  /// of their timeout to be a curve.
  private static func rowsOfTimeoutComparison(_ rows: [PointRow], _ groups: [[PointRow]]) -> Set<PointKey> {
    let byTimeout = Dictionary(grouping: rows, by: \.requestTimeoutMilliseconds)
    let usual = byTimeout.max { ($0.value.count, $1.key ?? 0) < ($1.value.count, $0.key ?? 0) }?.key
    var keys: Set<PointKey> = []
    for row in groups.joined() where row.requestTimeoutMilliseconds != usual {
      let sameTimeout = byTimeout[row.requestTimeoutMilliseconds] ?? []
      let rates = Set(
        sameTimeout.filter { $0.signatureMode == row.signatureMode }.map(\.targetOperationsPerSecond))
      if rates.count < 3 { keys.insert(row.key) }
    }
    return keys
  }

  // MARK: Order and names

  private static func modeOrder(_ mode: String) -> String {
    let families = ["none", "hmac", "sign", "verify-only"]
    let algorithms = [
      "ed25519", "ecdsa-p256", "ecdsa-secp256k1", "rsa-1024", "rsa-2048", "rsa-1024-sha512",
      "rsa-2048-sha512",
    ]
    let parts = mode.split(separator: ":", maxSplits: 1).map(String.init)
    let family = parts.first.flatMap { families.firstIndex(of: $0) } ?? families.count
    let algorithm = parts.count > 1 ? algorithms.firstIndex(of: parts[1]) ?? algorithms.count : 0
    // One digit each: the lists are shorter than ten.
    return "\(family)\(algorithm)\(mode)"
  }

  private static func precedes(_ first: PointRow, _ second: PointRow, _ names: [String]) -> Bool {
    for name in names {
      let cells = (first.cell(name) ?? "", second.cell(name) ?? "")
      if cells.0 == cells.1 { continue }
      if let numbers = Double(cells.0).flatMap({ one in Double(cells.1).map { (one, $0) } }) {
        return numbers.0 < numbers.1
      }
      return cells.0 < cells.1
    }
    return false
  }

  private static func text(_ row: PointRow, _ names: [String]) -> String {
    names.map { "\($0)=\(row.cell($0) ?? "")\n" }.joined()
  }

  private static func label(_ row: PointRow, _ names: [String]) -> String {
    var parts = names.map { part($0, row.cell($0) ?? "") }
    if parts.isEmpty { parts = row.batchSize.map { [part("batch_size", String($0))] } ?? [row.protocolName] }
    return parts.joined(separator: " · ")
  }

  private static func part(_ name: String, _ value: String) -> String {
    let value = value.isEmpty ? "none" : value
    switch name {
    case "batch_size": return "batch \(value)"
    case "batch_timeout_us": return "batch timeout \(value) µs"
    case "request_timeout_ms": return "request timeout \(value) ms"
    case "n", "f": return "\(name) = \(value)"
    case "protocol", "service", "transport", "arrival", "signing": return value
    case "replica_auth": return "replica links \(value)"
    case "sessions", "connections", "outstanding", "cores": return "\(value) \(name)"
    case "payload_bytes": return "payload \(value) B"
    case "reply_bytes": return "reply \(value) B"
    default: return "\(name.replacingOccurrences(of: "_", with: " ")) \(value)"
    }
  }
}
