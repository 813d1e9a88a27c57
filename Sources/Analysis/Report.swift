// The report of a result folder: one HTML file that loads nothing, needs no script, and reads on a desk, a
// phone, in the dark and on paper. It states what the files say and judges nothing itself.

import Foundation
import Results

/// report.html.
public enum Report {
  /// The page for `folder`. Reads points.csv and, where they are, quantiles.csv and run.json. Throws
  /// `ResultFileError` when a file is not what its format says.
  public static func html(from folder: ResultFolder) throws(ResultFileError) -> String {
    let rows: [PointRow] = try folder.rows(folder.points)
    let quantiles: [QuantileRow] = try folder.rows(folder.quantiles)
    let manifest = folder.exists(folder.manifest) ? try RunManifest(reading: folder.manifest) : nil
    return html(name: folder.name, rows: rows, quantiles: quantiles, manifest: manifest)
  }

  /// The page for the content of a folder named `name`.
  public static func html(
    name: String, rows: [PointRow], quantiles: [QuantileRow] = [], manifest: RunManifest? = nil
  ) -> String {
    let page = ReportPage(name: name, rows: rows, quantiles: quantiles, manifest: manifest)
    let title = manifest?.sweepId ?? name
    return """
      <!DOCTYPE html>
      <html lang="en">
      <head>
      <meta charset="utf-8">
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <meta name="color-scheme" content="light dark">
      <meta name="generator" content="Muster">
      <title>\(title.escaped) – Muster</title>
      <style>
      \(ReportStyle.css)
      </style>
      </head>
      <body>
      <main>
      \(page.sections.joined(separator: "\n"))
      </main>
      </body>
      </html>

      """
  }
}

/// The sections of the page, each empty when the result has nothing for it.
struct ReportPage {
  let name: String
  let rows: [PointRow]
  let quantiles: [QuantileRow]
  let manifest: RunManifest?
  let groups: PointGroups
  let charts: Charts

  init(name: String, rows: [PointRow], quantiles: [QuantileRow], manifest: RunManifest?) {
    self.name = name
    self.rows = rows.sorted {
      ($0.orderIndex, $0.pointID, $0.repeatIndex) < ($1.orderIndex, $1.pointID, $1.repeatIndex)
    }
    self.quantiles = quantiles
    self.manifest = manifest
    groups = PointGroups(self.rows)
    charts = Charts(groups: groups)
  }

  var sections: [String] {
    let all =
      rows.isEmpty
      ? [header, environment]
      : [header, curves, comparison, timeouts, spectrum, pointTable, environment]
    return (all + [footer]).filter { !$0.isEmpty }
  }

  // MARK: Headline

  private var header: String {
    let title = manifest?.sweepId ?? name
    return """
      <header>
      <h1>\(title.escaped)</h1>
      <p class="verdict">\(verdict)</p>
      <p class="lead">\(lead.escaped)</p>
      \(tiles)
      </header>
      """
  }

  /// How many points are valid, and what the audit says.
  private var verdict: String {
    guard !rows.isEmpty else { return "No point has finished yet." }
    let valid = rows.filter { $0.status == .valid }.count
    let void = rows.count - valid
    var text = void == 0 ? "All " : "\(Figure.count(valid)) of "
    if rows.count == 1 {
      text = void == 0 ? "The one point is valid" : "The one point is void"
    } else {
      text += "\(Figure.counted(rows.count, "point")) valid"
      if void > 0 { text += ", \(Figure.count(void)) void" }
    }
    let failed = rows.filter { $0.audit == .failed }.count
    let absent = rows.filter { $0.audit == .absent }.count
    if failed > 0 {
      return text + ". <span class=\"bad\">✗ Audit failed on \(Figure.counted(failed, "point")).</span>"
    }
    if absent == rows.count { return text + ". <span class=\"warn\">Not audited.</span>" }
    if absent > 0 {
      return text + ". <span class=\"good\">✓ Audit ok</span>"
        + "<span class=\"warn\">, absent on \(Figure.counted(absent, "point")).</span>"
    }
    return text + ". <span class=\"good\">✓ Audit ok.</span>"
  }

  /// What was measured, in one sentence.
  private var lead: String {
    guard let first = rows.first else { return "" }
    func common(_ name: String, _ text: (String) -> String) -> String? {
      let cells = Set(rows.map { $0.cell(name) ?? "" })
      return cells.count == 1 && cells.first != "" ? text(cells.first!) : nil
    }
    let faults = common("n") { _ in "\(first.protocolName) with n = \(first.replicas), f = \(first.faults)" }
    let parts = [
      faults, common("transport") { $0 }, common("sessions") { "\(Figure.count(Int($0) ?? 0)) sessions" },
      common("connections") { "\($0) connections per replica" }, common("arrival") { "\($0) arrivals" },
      common("measure_s") { "\(Figure.trimmed(Double($0) ?? 0)) s measured per point" },
    ]
    var text = "Open-loop load: " + parts.compactMap { $0 }.joined(separator: ", ") + "."
    let checked = rows.compactMap(\.checked).reduce(0, +)
    if checked > 0 { text += " The audit looked at \(Figure.count(checked)) replies." }
    text += " Latency counts from the instant a request was due."
    return text
  }

  /// Per signature mode the highest valid throughput.
  private var tiles: String {
    let tiles = groups.modes.compactMap { mode -> String? in
      let best = groups.series.filter { $0.mode == mode }.compactMap(\.best)
        .max { ($0.throughputOperationsPerSecond ?? 0) < ($1.throughputOperationsPerSecond ?? 0) }
      guard let best, let throughput = best.throughputOperationsPerSecond else {
        return tile(mode, "–", "no valid point")
      }
      let p99 = best.latencyP99Nanoseconds.map { "at p99 \(best.boundSign(0.99))\(Figure.latency($0))" } ?? ""
      let batch = best.batchSize.map { ", batch \($0)" } ?? ""
      return tile(mode, "\(Figure.rate(throughput)) <small>ops/s</small>", p99 + batch)
    }
    return tiles.isEmpty ? "" : "<div class=\"tiles\">\(tiles.joined())</div>"
  }

  private func tile(_ mode: String, _ figure: String, _ caption: String) -> String {
    "<div class=\"tile\"><span class=\"name\">\(charts.style(mode: mode).swatch())\(mode.escaped)</span>"
      + "<b>\(figure)</b><span>\(caption.escaped)</span></div>"
  }

  // MARK: Charts

  private var curves: String {
    guard groups.series.contains(where: { $0.points.count > 1 }) || groups.series.count > 1 else { return "" }
    var html = """
      <section>
      <h2>Throughput and latency</h2>
      <p>One line per configuration, from the lowest rate offered to the highest. Void points are hollow, joined by
      dots, and count for nothing.</p>
      \(legend(curves: true))
      """
    if groups.modes.count > 1 {
      html += "<figure><h3>All configurations, p99</h3>"
      html += "<div class=\"wide\">\(charts.overview(width: 1100, height: 400))</div>"
      html += "<div class=\"narrow\">\(charts.overview(width: 360, height: 330))</div></figure>"
    }
    let columns = min(max(groups.modes.count, 2), 4)
    html += "<div class=\"panels\" style=\"--columns:\(columns)\">"
    // By rows the configuration, by columns the mode, as far as the width allows.
    for label in groups.labels {
      for series in groups.series where series.label == label {
        html += "<div class=\"panel\"><h3>\(charts.style(series).swatch())\(series.mode.escaped) "
        html += "<span>\(series.label.escaped)</span></h3>"
        html += charts.panel(series, width: 360, height: 250) + "</div>"
      }
    }
    return html + "</div></section>"
  }

  /// What colours and shapes mean; with `curves` also the kinds of line and mark.
  private func legend(curves: Bool) -> String {
    var items: [String] = []
    if groups.modes.count > 1 {
      items += groups.modes.map { charts.style(mode: $0).swatch() + $0.escaped }
    }
    for label in groups.labels {
      guard let series = groups.series.first(where: { $0.label == label }) else { continue }
      var style = charts.style(series)
      if groups.modes.count > 1 { style.color = 5 }
      items.append(style.swatch() + label.escaped)
    }
    if curves { items += curveLegend }
    return "<ul class=\"legend\">" + items.map { "<li>\($0)</li>" }.joined() + "</ul>"
  }

  private var curveLegend: [String] {
    func stroke(_ kind: String) -> String {
      "<svg class=\"stroke k5\" viewBox=\"0 0 24 10\" aria-hidden=\"true\">"
        + "<path class=\"\(kind)\" d=\"M1 5H23\"/></svg>"
    }
    var items = [stroke("curve") + "p99", stroke("curve faint") + "p50"]
    if rows.contains(where: { $0.status == .void }) {
      items.append(SeriesStyle(color: 5, shape: .circle).swatch(hollow: true) + "void")
      items.append("<span aria-hidden=\"true\">↑</span> the true value lies above")
    }
    return items
  }

  private var timeouts: String {
    guard !groups.timeouts.isEmpty else { return "" }
    let panels = groups.timeouts.map { group in
      "<div class=\"panel half\"><h3>\(group.label.escaped)</h3>\(charts.timeouts(group, width: 400))</div>"
    }
    return """
      <section>
      <h2>Request timeout</h2>
      <p>The same load with nothing changed but the replicas’ request timer. From left to right p50, p90, p99 and
      p99.9.</p>
      <div class="panels">\(panels.joined())</div>
      </section>
      """
  }

  private var spectrum: String {
    let byKey = Dictionary(grouping: quantiles.filter { $0.metric == "latency" }, by: \.key)
    func spectra(_ row: PointRow) -> [QuantileRow] {
      if let listed = byKey[row.key] { return listed }
      return row.latencyQuantiles.map { quantile, value in
        QuantileRow(
          row.key, metric: "latency", quantile: quantile, valueNanoseconds: value, count: row.offered,
          isBound: row.isBound(quantile))
      }
    }
    guard let wide = charts.spectrum(width: 1100, height: 380, spectra),
      let narrow = charts.spectrum(width: 360, height: 320, spectra)
    else { return "" }
    return """
      <section>
      <h2>Percentile spectrum</h2>
      <p>Each configuration at the valid rate nearest to half of its highest. Every step to the right is one more
      nine.</p>
      \(legend(curves: false))
      <div class="wide">\(wide)</div><div class="narrow">\(narrow)</div>
      </section>
      """
  }

  private var footer: String {
    "<footer>Made by Muster from points.csv and the files beside it; the histograms under hist/ open with any "
      + "HdrHistogram reader.</footer>"
  }
}
