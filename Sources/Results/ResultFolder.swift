// The folder that a run leaves, `results/<name>/`: which file is where, and nothing else about them.

import Foundation

/// A folder of result files.
public struct ResultFolder: Equatable, Sendable {
  /// Without a slash at the end.
  public let path: String

  public var points: String { file("points.csv") }
  public var quantiles: String { file("quantiles.csv") }
  public var series: String { file("series.csv") }
  public var events: String { file("events.csv") }
  public var resources: String { file("resources.csv") }
  public var manifest: String { file("run.json") }
  public var journal: String { file("journal.jsonl") }
  public var report: String { file("report.html") }
  public var histograms: String { file("hist") }

  /// The last component of the path.
  public var name: String { (path as NSString).lastPathComponent }

  private init(path: String) {
    var path = path
    while path.count > 1, path.hasSuffix("/") { path.removeLast() }
    self.path = path
  }

  /// Makes the folder and its `hist`, with the folders above it, and proves that a file can be written there.
  /// An empty folder may exist; one with a result in it throws `occupied`.
  public static func create(at path: String) throws(ResultFileError) -> ResultFolder {
    let folder = ResultFolder(path: path)
    let files = FileManager.default
    do {
      try files.createDirectory(atPath: folder.path, withIntermediateDirectories: true)
    } catch {
      throw .cannotCreate(path: folder.path, reason: reason(error))
    }
    if files.fileExists(atPath: folder.points) || files.fileExists(atPath: folder.journal)
      || files.fileExists(atPath: folder.manifest)
    {
      throw .occupied(path: folder.path)
    }
    do {
      try files.createDirectory(atPath: folder.histograms, withIntermediateDirectories: true)
    } catch {
      throw .cannotCreate(path: folder.histograms, reason: reason(error))
    }
    try replaceFile(at: folder.file(".probe"), with: [])
    unlink(folder.file(".probe"))
    return folder
  }

  /// Opens a folder that holds a result, whole or not.
  public static func open(_ path: String) throws(ResultFileError) -> ResultFolder {
    let folder = ResultFolder(path: path)
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: folder.path, isDirectory: &isFolder) else {
      throw .missing(path: folder.path)
    }
    guard isFolder.boolValue else { throw .cannotRead(path: folder.path, reason: "not a folder") }
    guard folder.exists(folder.points) || folder.exists(folder.journal) || folder.exists(folder.manifest)
    else {
      throw .cannotRead(path: folder.path, reason: "no points.csv, journal.jsonl or run.json in it")
    }
    return folder
  }

  /// The histogram log of one rank.
  public func histogramLog(_ key: PointKey, rank: Int = 0) -> String {
    histograms + "/\(key.pointID)-\(key.repeatIndex)-r\(rank).hlog"
  }

  /// Whether there is a file at `path`.
  public func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

  /// Opens `path` of this folder for appending, or makes it.
  public func writer<Row: CSVRow>(
    _ path: String, of type: Row.Type = Row.self
  ) throws(ResultFileError) -> CSVWriter<Row> {
    exists(path) ? try CSVWriter(reopening: path) : try CSVWriter(creating: path)
  }

  /// The rows of `path`, none when there is no such file.
  public func rows<Row: CSVRow>(
    _ path: String, of type: Row.Type = Row.self
  ) throws(ResultFileError) -> [Row] {
    exists(path) ? try CSVReader<Row>.rows(at: path) : []
  }

  /// Replaces report.html, whole or not at all.
  public func writeReport(_ html: String) throws(ResultFileError) {
    try replaceFile(at: report, with: Array(html.utf8))
  }

  /// Removes the rows and histograms of every repeat not in `finished`: what a killed run left of the point
  /// in progress. No writer may be open. Each file is replaced whole or not at all, so this may be cut short
  /// and repeated.
  public func discardUnfinished(_ finished: Set<PointKey>) throws(ResultFileError) {
    try retain(points, of: PointRow.self, finished)
    try retain(quantiles, of: QuantileRow.self, finished)
    try retain(series, of: SeriesRow.self, finished)
    try retain(events, of: EventRow.self, finished)
    try retain(resources, of: ResourceRow.self, finished)
    let stems = Set(finished.map(\.description))
    for name in (try? FileManager.default.contentsOfDirectory(atPath: histograms)) ?? [] {
      guard let dash = name.range(of: "-r", options: .backwards) else { continue }
      if !stems.contains(String(name[..<dash.lowerBound])) { unlink(histograms + "/" + name) }
    }
  }

  private func retain<Row: CSVRow & PointKeyed>(
    _ path: String, of type: Row.Type, _ finished: Set<PointKey>
  ) throws(ResultFileError) {
    guard exists(path) else { return }
    let bytes = try readBytes(at: path)
    // A run killed before its first row may have left less than a header.
    guard bytes.contains(UInt8(ascii: "\n")) else {
      unlink(path)
      return
    }
    let contents = try CSVReader<Row>.contents(of: bytes, path: path)
    let kept = contents.rows.filter { finished.contains($0.key) }
    guard kept.count < contents.rows.count || contents.hasTornTail else { return }
    var text = Row.header + "\n"
    for row in kept { text += row.record + "\n" }
    try replaceFile(at: path, with: Array(text.utf8))
  }

  private func file(_ name: String) -> String { path + "/" + name }

  private static func reason(_ error: any Error) -> String {
    let error = error as NSError
    if let cause = error.userInfo[NSUnderlyingErrorKey] as? NSError, cause.domain == NSPOSIXErrorDomain {
      return systemReason(Int32(cause.code))
    }
    return error.localizedDescription
  }
}
