// HdrHistogram's log format 1.3: comment lines, a legend, then one line per interval with an optional tag.
// Values are nanoseconds and the maximum column is written in them (unit ratio 1), so nothing has to be
// scaled to compare a file with the CSV. Any HdrHistogram reader opens it.

import Foundation
import Histogram

/// The histograms of one rank of one repeat of one point.
public struct HistogramLog: Sendable {
  /// What was recorded over one stretch of time.
  public struct Interval: Sendable {
    /// `latency`, `service`, `lag`, `censored`; nil for a line without a tag. No comma, no white space.
    public var tag: String?
    /// Since the log's start time.
    public var startSeconds: Double
    public var lengthSeconds: Double
    public var histogram: LatencyHistogram

    public init(tag: String?, startSeconds: Double, lengthSeconds: Double, histogram: LatencyHistogram) {
      precondition(
        tag?.contains { $0 == "," || $0.isWhitespace } != true, "a tag has no comma and no white space")
      self.tag = tag
      self.startSeconds = startSeconds
      self.lengthSeconds = lengthSeconds
      self.histogram = histogram
    }
  }

  /// The instant that interval starts count from.
  public var startTime: Date
  public var intervals: [Interval]

  public init(startTime: Date, intervals: [Interval] = []) {
    self.startTime = startTime
    self.intervals = intervals
  }

  /// All intervals tagged `tag` added up, nil without any.
  public func merged(_ tag: String) -> LatencyHistogram? {
    var sum: LatencyHistogram?
    for interval in intervals where interval.tag == tag {
      if sum == nil { sum = interval.histogram } else { sum?.add(interval.histogram) }
    }
    return sum
  }

  /// The file's text.
  public var text: String {
    var text = "#[Histogram log format version 1.3]\n"
    text += "#[Values: nanoseconds; Interval_Max: nanoseconds (unit ratio 1.0)]\n"
    text +=
      "#[StartTime: \(fixed(startTime.timeIntervalSince1970)) (seconds since epoch), \(startTime.cellText)]\n"
    text += Self.legend + "\n"
    for interval in intervals {
      if let tag = interval.tag { text += "Tag=\(tag)," }
      text += "\(fixed(interval.startSeconds)),\(fixed(interval.lengthSeconds)),"
      text += "\(fixed(Double(interval.histogram.max))),"
      text += Data(HistogramEncoding.encodeCompressed(interval.histogram)).base64EncodedString() + "\n"
    }
    return text
  }

  /// Writes the file, whole or not at all.
  public func write(to path: String) throws(ResultFileError) {
    try replaceFile(at: path, with: Array(text.utf8))
  }

  /// Reads a log of this or another HdrHistogram implementation.
  public init(reading path: String) throws(ResultFileError) {
    try self.init(text: String(decoding: readBytes(at: path), as: UTF8.self), path: path)
  }

  /// Reads `text` as the file `path`, which only errors name.
  public init(text: String, path: String) throws(ResultFileError) {
    self.init(startTime: Date(timeIntervalSince1970: 0))
    for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      let line = line.hasSuffix("\r") ? line.dropLast() : line
      if line.isEmpty || line.hasPrefix("\"StartTimestamp\"") { continue }
      if line.hasPrefix("#") {
        if let seconds = Self.startTime(in: line) { startTime = Date(timeIntervalSince1970: seconds) }
        continue
      }
      do throws(HistogramLineError) {
        intervals.append(try Self.interval(line))
      } catch {
        throw .malformed(path: path, line: index + 1, reason: error.reason)
      }
    }
  }

  private static let legend =
    #""StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram""#

  private static func startTime(in comment: Substring) -> Double? {
    let prefix = "#[StartTime: "
    guard comment.hasPrefix(prefix) else { return nil }
    return Double(comment.dropFirst(prefix.count).prefix { $0 != " " })
  }

  private static func interval(_ line: Substring) throws(HistogramLineError) -> Interval {
    var fields = line.split(separator: ",", omittingEmptySubsequences: false)
    var tag: String?
    if let first = fields.first, first.hasPrefix("Tag=") {
      tag = String(first.dropFirst(4))
      fields.removeFirst()
    }
    guard fields.count == 4, let start = Double(fields[0]), let length = Double(fields[1]) else {
      throw HistogramLineError(reason: "expected start, length, maximum and histogram")
    }
    guard let bytes = Data(base64Encoded: String(fields[3])) else {
      throw HistogramLineError(reason: HistogramEncodingError.notBase64.description)
    }
    do throws(HistogramEncodingError) {
      let histogram = try HistogramEncoding.decodeCompressed([UInt8](bytes))
      return Interval(tag: tag, startSeconds: start, lengthSeconds: length, histogram: histogram)
    } catch {
      throw HistogramLineError(reason: error.description)
    }
  }
}

private struct HistogramLineError: Error {
  var reason: String
}

/// Three decimals, without a locale.
private func fixed(_ value: Double) -> String {
  String(format: "%.3f", value)
}
