// journal.jsonl: what of a sweep is finished, one line each, on the disk before the next thing starts. A
// point is finished when its line is here and not before, so its files are synchronized first and
// `ResultFolder.discardUnfinished` removes what a killed run left without a line.

import Foundation

/// Something finished that a resumed sweep need not do again.
public enum JournalRecord: Equatable, Sendable {
  case point(PointKey, status: PointStatus)
  case probe(CapacityProbe)
  case calibration(CalibrationEntry)
}

/// Appends records to a journal; confined to one thread of control.
public final class Journal {
  private let file: AppendFile
  /// What the journal held when it was opened.
  public let recovered: [JournalRecord]
  public var path: String { file.path }

  /// Makes a new journal. Throws `occupied` when the path is taken.
  public init(creating path: String) throws(ResultFileError) {
    file = try AppendFile(creating: path)
    recovered = []
  }

  /// Opens a journal to go on with it; a torn last line is cut.
  public init(reopening path: String) throws(ResultFileError) {
    var records: [JournalRecord] = []
    file = try AppendFile(reopening: path) { bytes throws(ResultFileError) in
      let (whole, byteCount) = try Journal.parse(bytes, path: path)
      records = whole
      return byteCount
    }
    recovered = records
  }

  /// Appends `record` and returns once it is on the disk.
  public func append(_ record: JournalRecord, at instant: Date = Date()) throws(ResultFileError) {
    file.append(ResultJSON.encode(Line(record, at: instant), pretty: false))
    file.append(CollectionOfOne(UInt8(ascii: "\n")))
    try file.synchronize()
  }

  public func close() throws(ResultFileError) { try file.close() }

  /// The records of the journal at `path`; a torn last line is ignored.
  public static func records(at path: String) throws(ResultFileError) -> [JournalRecord] {
    try parse(readBytes(at: path), path: path).records
  }

  private static func parse(
    _ bytes: [UInt8], path: String
  ) throws(ResultFileError) -> (records: [JournalRecord], byteCount: Int) {
    guard let end = bytes.lastIndex(of: UInt8(ascii: "\n")) else { return ([], 0) }
    let decoder = ResultJSON.decoder()
    var records: [JournalRecord] = []
    for (index, line) in bytes[..<end].split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
      .enumerated() where !line.isEmpty
    {
      do {
        records.append(try decoder.decode(Line.self, from: Data(line)).record)
      } catch {
        throw .malformed(path: path, line: index + 1, reason: ResultJSON.reason(error))
      }
    }
    return (records, end + 1)
  }
}

extension Sequence<JournalRecord> {
  /// The repeats that are finished.
  public var finishedPoints: Set<PointKey> {
    Set(compactMap { if case .point(let key, _) = $0 { key } else { nil } })
  }

  /// The last probe of `configuration`.
  public func probe(of configuration: String) -> CapacityProbe? {
    reduce(nil) { found, record in
      if case .probe(let probe) = record, probe.configuration == configuration { probe } else { found }
    }
  }

  /// All calibration entries, in the order measured.
  public var calibration: [CalibrationEntry] {
    compactMap { if case .calibration(let entry) = $0 { entry } else { nil } }
  }
}

/// One line of the file: `kind` says which of the fields are there.
private struct Line: Codable {
  enum Kind: String, Codable {
    case point
    case probe
    case calibration
  }

  var kind: Kind
  var atUtc: Date
  var pointId: String?
  var `repeat`: Int?
  var status: PointStatus?
  var probe: CapacityProbe?
  var calibration: CalibrationEntry?

  init(_ record: JournalRecord, at instant: Date) {
    atUtc = instant
    switch record {
    case .point(let key, let status):
      kind = .point
      pointId = key.pointID
      self.repeat = key.repeatIndex
      self.status = status
    case .probe(let probe):
      kind = .probe
      self.probe = probe
    case .calibration(let entry):
      kind = .calibration
      calibration = entry
    }
  }

  var record: JournalRecord {
    get throws {
      switch kind {
      case .point:
        guard let pointId, let number = self.repeat, let status else {
          throw missing("point_id, repeat, status")
        }
        return .point(PointKey(pointID: pointId, repeatIndex: number), status: status)
      case .probe:
        guard let probe else { throw missing("probe") }
        return .probe(probe)
      case .calibration:
        guard let calibration else { throw missing("calibration") }
        return .calibration(calibration)
      }
    }
  }

  private func missing(_ names: String) -> DecodingError {
    .dataCorrupted(
      .init(codingPath: [Name(stringValue: kind.rawValue)], debugDescription: "\(names) expected"))
  }

  private struct Name: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }
}
