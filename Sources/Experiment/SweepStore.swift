// The result folder of a running sweep: what is finished, and the files that say so. Kept true: rows and
// histograms of a point are on the disk before its journal line, so a point counts as finished only when all
// of it is there; whatever a killed sweep left of the point in progress is removed before anything is added.

import Foundation
import Results

/// Writes the files of one sweep; confined to one thread of control.
final class SweepStore {
  let folder: ResultFolder
  private(set) var manifest: RunManifest
  private(set) var finished: Set<PointKey>
  private(set) var probes: [String: CapacityProbe] = [:]
  private(set) var calibration: [CalibrationEntry] = []

  private let journal: Journal
  private let points: CSVWriter<PointRow>
  private let quantiles: CSVWriter<QuantileRow>
  private let series: CSVWriter<SeriesRow>
  private let events: CSVWriter<EventRow>
  private let resources: CSVWriter<ResourceRow>

  /// Makes the folder and its first files. Throws when it already holds a result.
  convenience init(creating path: String, manifest: RunManifest) throws(ResultFileError) {
    let folder = try ResultFolder.create(at: path)
    var manifest = manifest
    manifest.sweepId = folder.name
    // First, so that a folder with a journal always says what is run in it.
    try manifest.write(to: folder.manifest)
    try self.init(folder, manifest)
  }

  /// Opens the folder of a sweep that was stopped and removes what is not finished.
  convenience init(resuming path: String) throws(ResultFileError) {
    let folder = try ResultFolder.open(path)
    try self.init(folder, RunManifest(reading: folder.manifest))
  }

  private init(_ folder: ResultFolder, _ manifest: RunManifest) throws(ResultFileError) {
    self.folder = folder
    self.manifest = manifest
    // The journal is locked by its opening: two sweeps cannot write one folder.
    if folder.exists(folder.journal) {
      journal = try Journal(reopening: folder.journal)
    } else {
      journal = try Journal(creating: folder.journal)
    }
    finished = try Self.finished(journal.recovered, in: folder)
    try folder.discardUnfinished(finished)
    points = try folder.writer(folder.points)
    quantiles = try folder.writer(folder.quantiles)
    series = try folder.writer(folder.series)
    events = try folder.writer(folder.events)
    resources = try folder.writer(folder.resources)
    calibration = journal.recovered.calibration
    for case .probe(let probe) in journal.recovered { probes[probe.configuration] = probe }
  }

  /// The journalled points whose row and histograms are really there: files may have been lost or edited
  /// since.
  private static func finished(
    _ records: [JournalRecord], in folder: ResultFolder
  ) throws(ResultFileError) -> Set<PointKey> {
    var present: Set<PointKey> = []
    if folder.exists(folder.points), let contents = try? CSVReader<PointRow>.contents(at: folder.points) {
      for row in contents.rows
      where row.status == .void || folder.exists(folder.histogramLog(row.key)) {
        // A row that stands twice was put together by hand; such a point is measured again.
        if !present.insert(row.key).inserted { present.remove(row.key) }
      }
    }
    return records.finishedPoints.intersection(present)
  }

  /// The calibrated ceiling of what `parameters` use, if it is known.
  func ceiling(of parameters: PointParameters) -> Double? {
    calibration.last {
      $0.transport == parameters.transport.rawValue && $0.connections == parameters.connections
        && $0.signatureMode == parameters.signatureMode
    }?.ceilingOperationsPerSecond
  }

  func add(probe: CapacityProbe) throws(ResultFileError) {
    probes[probe.configuration] = probe
    try journal.append(.probe(probe))
  }

  func add(calibration entry: CalibrationEntry) throws(ResultFileError) {
    calibration.append(entry)
    try journal.append(.calibration(entry))
  }

  /// Stores everything of a finished point, its journal line last.
  func add(_ result: PointResult) throws(ResultFileError) {
    let key = result.row.key
    precondition(!finished.contains(key), "a point is stored once")
    if !result.histograms.isEmpty {
      let length = max(0, result.ended.timeIntervalSince(result.started))
      let log = HistogramLog(
        startTime: result.started,
        intervals: result.histograms.map {
          .init(tag: $0.tag, startSeconds: 0, lengthSeconds: length, histogram: $0.histogram)
        })
      try log.write(to: folder.histogramLog(key))
    }
    for row in result.quantiles { quantiles.append(row) }
    for row in result.series { series.append(row) }
    for row in result.events { events.append(row) }
    for row in result.resources { resources.append(row) }
    points.append(result.row)
    try quantiles.synchronize()
    try series.synchronize()
    try events.synchronize()
    try resources.synchronize()
    try points.synchronize()
    try journal.append(.point(key, status: result.row.status))
    finished.insert(key)
  }

  /// Completes the manifest and closes all files.
  /// - Parameter ended: the instant of the end, nil when the sweep is to be resumed.
  func close(ended: Date?) throws(ResultFileError) {
    manifest.finished = ended
    manifest.calibration = calibration
    manifest.probes = probes.values.sorted { $0.configuration < $1.configuration }
    try manifest.write(to: folder.manifest)
    try quantiles.close()
    try series.close()
    try events.close()
    try resources.close()
    try points.close()
    try journal.close()
  }

  /// All rows of the folder in the order they ran.
  func rows() throws(ResultFileError) -> [PointRow] {
    try folder.rows(folder.points, of: PointRow.self).sorted { $0.orderIndex < $1.orderIndex }
  }
}

extension CommandFailure {
  /// A failure of a result file: 73 for an output, 66 for an input.
  init(_ error: ResultFileError) {
    self.init(error.isOutput ? .cannotCreate : .missingInput, error.description)
  }

  /// What to throw for `error`: itself unless it is about a result file.
  static func forResultFiles(_ error: any Error) -> any Error {
    if let error = error as? ResultFileError { CommandFailure(error) } else { error }
  }
}
