// The charts of the report. Colour says the signature mode, shape the configuration within it, a full line
// p99 and a light one p50; a void point is hollow and joined by dots; an arrow says that the true value lies
// above.

import Results

/// Draws what `PointGroups` holds.
struct Charts {
  let groups: PointGroups

  /// How a series is drawn, the same in every chart.
  func style(_ series: PointSeries) -> SeriesStyle {
    let mode = groups.modes.firstIndex(of: series.mode) ?? 0
    let label = groups.labels.firstIndex(of: series.label) ?? 0
    let shape = MarkShape.allCases[label % MarkShape.allCases.count]
    return SeriesStyle(color: groups.modes.count > 1 ? mode : label, shape: shape)
  }

  /// The colour of a signature mode.
  func style(mode: String) -> SeriesStyle {
    SeriesStyle(color: groups.modes.count > 1 ? groups.modes.firstIndex(of: mode) ?? 0 : 0, shape: .circle)
  }

  // MARK: Throughput and latency

  /// p99 over throughput of every series, both logarithmic: how far the modes lie apart.
  func overview(width: Double, height: Double) -> String {
    let rows = drawable(groups.series)
    let x = Axis.logarithmic(covering: rows.compactMap(\.throughputOperationsPerSecond), label: Figure.short)
    var plot = Plot(
      width: width, height: height, x: x, y: latencyAxis([.p99]), xTitle: "throughput, ops/s",
      yTitle: "latency p99")
    for series in groups.series { draw(series, .p99, in: &plot) }
    if width > 600 { name(groups.series, in: &plot) }
    return plot.drawing.svg("Latency p99 over throughput for every configuration")
  }

  /// p50 and p99 over throughput of one series, on the latency axis that all panels share.
  func panel(_ series: PointSeries, width: Double, height: Double) -> String {
    let highest = drawable([series]).compactMap(\.throughputOperationsPerSecond).max() ?? 0
    var plot = Plot(
      width: width, height: height,
      x: .linear(upTo: highest, count: 4, label: Figure.short), y: latencyAxis([.p50, .p99]),
      xTitle: "throughput, ops/s", yTitle: "latency")
    fill(series, in: &plot)
    draw(series, .p50, in: &plot)
    draw(series, .p99, in: &plot)
    return plot.drawing.svg("Latency p50 and p99 over throughput, \(series.mode), \(series.label)")
  }

  private enum Percentile {
    case p50
    case p99

    func of(_ row: PointRow) -> Int? {
      self == .p50 ? row.latencyP50Nanoseconds : row.latencyP99Nanoseconds
    }

    var quantile: Double { self == .p50 ? 0.5 : 0.99 }
  }

  private func drawable(_ series: [PointSeries]) -> [PointRow] {
    series.flatMap(\.rows).filter {
      ($0.throughputOperationsPerSecond ?? 0) > 0 && ($0.latencyP99Nanoseconds ?? 0) > 0
    }
  }

  /// Latencies of all series. Void points far above every valid one do not stretch it; they stand at its
  /// upper end.
  private func latencyAxis(_ percentiles: [Percentile]) -> Axis {
    let rows = drawable(groups.series)
    func values(_ rows: [PointRow]) -> [Double] {
      rows.flatMap { row in percentiles.compactMap { $0.of(row).map(Double.init) } }
    }
    let ceiling = values(rows.filter { $0.status == .valid }).max().map { $0 * 8 } ?? .infinity
    return .logarithmic(covering: values(rows).map { min($0, ceiling) }, label: Figure.shortLatency)
  }

  /// Where a row stands, and whether that is below its value.
  private func place(
    _ row: PointRow, _ percentile: Percentile, in plot: Plot
  ) -> (point: (x: Double, y: Double), isClipped: Bool)? {
    guard let throughput = row.throughputOperationsPerSecond, throughput > 0,
      let latency = percentile.of(row), latency > 0
    else { return nil }
    let shown = min(Double(latency), plot.y.upper)
    return (plot.place(throughput, shown), Double(latency) > plot.y.upper * 1.001)
  }

  private func draw(_ series: PointSeries, _ percentile: Percentile, in plot: inout Plot) {
    let style = style(series)
    let isFaint = percentile == .p50
    let steps = series.points.compactMap { point in
      place(point.representative, percentile, in: plot).map { (place: $0.point, isValid: point.isValid) }
    }
    plot.drawing.group(style.colorClass) { drawing in
      for (from, to) in zip(steps, steps.dropFirst()) {
        let kind = from.isValid && to.isValid ? "curve" : "curve dotted"
        drawing.polyline([from.place, to.place], isFaint ? kind + " faint" : kind)
      }
    }
    for row in series.rows {
      guard let place = place(row, percentile, in: plot) else { continue }
      if percentile == .p99 { drawInterval(row, style, in: &plot) }
      plot.drawing.mark(
        place.point.x, place.point.y, style, hollow: row.status == .void, faint: isFaint,
        upward: place.isClipped || row.isBound(percentile.quantile),
        tooltip: row.tooltip("\(series.mode) · \(series.label)"))
    }
  }

  /// Names each series at its first point, above or below it, where neither a curve nor a name is in the way;
  /// the legend serves the others.
  private func name(_ series: [PointSeries], in plot: inout Plot) {
    var taken = series.flatMap { samples($0, in: plot) }
    for one in series {
      guard let first = one.points.first.flatMap({ place($0.representative, .p99, in: plot)?.point }) else {
        continue
      }
      let text = "\(one.mode) · \(one.label)"
      let left = first.x - 4
      let right = left + Double(text.count) * 6.2
      for baseline in [first.y - 10, first.y + 20, first.y - 15] {
        let isFree = taken.allSatisfy {
          $0.x < left || $0.x > right || $0.y < baseline - 10 || $0.y > baseline + 3
        }
        guard isFree, right < plot.right, baseline < plot.bottom - 4 else { continue }
        plot.drawing.group(style(one).colorClass) { $0.text(left, baseline, text, "label") }
        taken += stride(from: left, through: right, by: 6).map { (x: $0, y: baseline - 4) }
        break
      }
    }
  }

  /// Points along the p99 curve of `series`, a few pixels apart.
  private func samples(_ series: PointSeries, in plot: Plot) -> [(x: Double, y: Double)] {
    let places = series.points.compactMap { place($0.representative, .p99, in: plot)?.point }
    return zip(places, places.dropFirst()).flatMap { from, to in
      let count = max(1, Int(max(abs(to.x - from.x), abs(to.y - from.y)) / 4))
      return (0...count).map { step in
        let share = Double(step) / Double(count)
        return (x: from.x + (to.x - from.x) * share, y: from.y + (to.y - from.y) * share)
      }
    }
  }

  private func drawInterval(_ row: PointRow, _ style: SeriesStyle, in plot: inout Plot) {
    guard let throughput = row.throughputOperationsPerSecond else { return }
    if let low = row.latencyP99IntervalLowNanoseconds, let high = row.latencyP99IntervalHighNanoseconds {
      let ends = [low, high].map { plot.place(throughput, min(Double($0), plot.y.upper)) }
      plot.drawing.group(style.colorClass) { $0.polyline(ends, "whisker") }
    }
    if let low = row.throughputIntervalLow, let high = row.throughputIntervalHigh,
      let latency = row.latencyP99Nanoseconds
    {
      let ends = [low, high].map { plot.place($0, min(Double(latency), plot.y.upper)) }
      plot.drawing.group(style.colorClass) { $0.polyline(ends, "whisker") }
    }
  }

  /// The area between p50 and p99 over the valid points.
  private func fill(_ series: PointSeries, in plot: inout Plot) {
    let rows = series.points.filter(\.isValid).map(\.representative)
    let upper = rows.compactMap { place($0, .p99, in: plot)?.point }
    let lower = rows.compactMap { place($0, .p50, in: plot)?.point }
    plot.drawing.group(style(series).colorClass) { $0.polyline(upper + lower.reversed(), "area") }
  }

  // MARK: Percentile spectrum

  /// Latency over the axis of nines at the middle rate of every series. `spectra` gives the quantiles of a
  /// row.
  func spectrum(width: Double, height: Double, _ spectra: (PointRow) -> [QuantileRow]) -> String? {
    let lines = groups.series.compactMap { series in
      series.midLoad.map { (series, $0, spectra($0).filter { $0.quantile >= 0.5 && $0.quantile < 1 }) }
    }
    let values = lines.flatMap { $0.2 }.filter { $0.valueNanoseconds > 0 }
    guard let highest = values.map(\.quantile).max() else { return nil }
    var plot = Plot(
      width: width, height: height, x: .nines(upTo: highest),
      y: .logarithmic(covering: values.map { Double($0.valueNanoseconds) }, label: Figure.shortLatency),
      xTitle: "share of requests answered within", yTitle: "latency")
    for (series, row, quantiles) in lines {
      let style = style(series)
      let sorted = quantiles.filter { $0.valueNanoseconds > 0 }.sorted { $0.quantile < $1.quantile }
      let places = sorted.map { plot.place($0.quantile, Double($0.valueNanoseconds)) }
      plot.drawing.group(style.colorClass) { drawing in
        for index in sorted.indices.dropFirst() {
          drawing.polyline(
            [places[index - 1], places[index]], sorted[index].isBound ? "curve dotted" : "curve")
        }
      }
      for (quantile, place) in zip(sorted, places) where isMarked(quantile.quantile) {
        let name = "p\(Figure.trimmed(quantile.quantile * 100))"
        plot.drawing.mark(
          place.x, place.y, style, hollow: false, upward: quantile.isBound,
          tooltip: "\(series.mode) · \(series.label)\n\(row.rateText)\n\(name) "
            + (quantile.isBound ? "≥" : "") + Figure.latency(quantile.valueNanoseconds))
      }
    }
    return plot.drawing.svg("Latency percentile spectrum at the middle rate of every configuration")
  }

  /// Marks stand where ticks are; in between the line speaks.
  private func isMarked(_ quantile: Double) -> Bool {
    [0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999].contains { abs($0 - quantile) < 1e-9 }
  }

  // MARK: Request timeouts

  /// One line per row from p50 to p99.9 on one scale.
  func timeouts(_ group: TimeoutGroup, width: Double) -> String {
    func shown(_ row: PointRow) -> [(quantile: Double, nanoseconds: Int)] {
      row.latencyQuantiles.filter { [0.5, 0.9, 0.99, 0.999].contains($0.quantile) }
    }
    let values = group.rows.flatMap(shown).map { Double($0.nanoseconds) }
    let axis = Axis.logarithmic(covering: values, label: Figure.shortLatency)
    let rowHeight = 34.0
    let left = 64.0
    let right = width - 16
    let bottom = 26 + rowHeight * Double(group.rows.count)
    var drawing = Drawing(width: width, height: bottom + 40)
    for tick in axis.ticks {
      let place = axis.position(tick.value, from: left, to: right)
      drawing.line(place, 22, place, bottom, tick.label == nil ? "grid minor" : "grid")
      if let label = tick.label { drawing.text(place, bottom + 16, label, "tick middle") }
    }
    drawing.text(4, 12, "request timeout", "title")
    drawing.text(right, bottom + 36, "latency p50, p90, p99, p99.9", "title end")
    let style = style(mode: group.rows.first?.signatureMode ?? "")
    for (index, row) in group.rows.enumerated() {
      let y = 22 + rowHeight * (Double(index) + 0.5)
      let timeout = row.requestTimeoutMilliseconds.map { Figure.shortLatency(Double($0) * 1e6) } ?? "off"
      drawing.text(left - 12, y + 4, timeout, "name end")
      let quantiles = shown(row)
      let places = quantiles.map { (x: axis.position(Double($0.nanoseconds), from: left, to: right), y: y) }
      drawing.group(style.colorClass) { $0.polyline(places, row.status == .void ? "curve dotted" : "curve") }
      for (quantile, place) in zip(quantiles, places) {
        let name = "p\(Figure.trimmed(quantile.quantile * 100))"
        drawing.mark(
          place.x, place.y, style, hollow: row.status == .void, upward: row.isBound(quantile.quantile),
          tooltip: "\(name) \(row.boundSign(quantile.quantile))\(Figure.latency(quantile.nanoseconds))\n"
            + row.tooltip("request timeout \(timeout)"))
      }
    }
    return drawing.svg("Latency percentiles by request timeout: \(group.label)")
  }
}
