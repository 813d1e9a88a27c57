// A replica's answer to ASK_STATUS, the content of a STATUS_REPLY frame: what an experiment must know of a cluster it
// did not start. Text of `key value` lines, so that a person with netcat can read it; the first line names the version.
//
// A reader ignores keys it does not know, so that a report may grow within a version.

import PBFT

/// The state of one replica at one moment.
public struct StatusReport: Hashable, Sendable {
  public static let version = 1

  /// A batch of the digest chain.
  public struct ChainEntry: Hashable, Sendable {
    public var sequence: SequenceNumber
    /// H_k of this batch.
    public var digest: Digest

    public init(sequence: SequenceNumber, digest: Digest) {
      self.sequence = sequence
      self.digest = digest
    }
  }

  /// A setting in force, as resolved from flags, files and defaults.
  public struct Setting: Hashable, Sendable {
    /// Without white space.
    public var name: String
    /// In one line; line ends are written as spaces.
    public var value: String

    public init(name: String, value: String) {
      self.name = name
      self.value = value
    }
  }

  /// A counter.
  public struct Counter: Hashable, Sendable {
    /// Without white space.
    public var name: String
    public var value: UInt64

    public init(name: String, value: UInt64) {
      self.name = name
      self.value = value
    }
  }

  public var replica: ReplicaID
  public var view: View
  /// Whether the replica takes part in its view.
  public var isActive: Bool
  /// Requests executed by the service since its beginning.
  public var executedRequests: UInt64
  public var lastExecuted: SequenceNumber
  public var stableCheckpoint: SequenceNumber
  /// H of the last executed batch.
  public var chain: Digest
  /// The last batches, in ascending order of sequence numbers.
  public var recentChain: [ChainEntry]
  public var settings: [Setting]
  public var counters: [Counter]

  public init(
    replica: ReplicaID, view: View, isActive: Bool, executedRequests: UInt64, lastExecuted: SequenceNumber,
    stableCheckpoint: SequenceNumber, chain: Digest, recentChain: [ChainEntry] = [],
    settings: [Setting] = [], counters: [Counter] = []
  ) {
    self.replica = replica
    self.view = view
    self.isActive = isActive
    self.executedRequests = executedRequests
    self.lastExecuted = lastExecuted
    self.stableCheckpoint = stableCheckpoint
    self.chain = chain
    self.recentChain = recentChain
    self.settings = settings
    self.counters = counters
  }

  /// The value of a setting; nil if the report does not have it.
  public func setting(_ name: String) -> String? {
    settings.first { $0.name == name }?.value
  }

  /// The value of a counter; nil if the report does not have it.
  public func counter(_ name: String) -> UInt64? {
    counters.first { $0.name == name }?.value
  }

  /// The report as text.
  public func encode() -> [UInt8] {
    var text = "muster-status \(Self.version)\n"
    text += "replica \(replica.rawValue)\n"
    text += "view \(view.rawValue)\n"
    text += "active \(isActive ? 1 : 0)\n"
    text += "executed \(executedRequests)\n"
    text += "last_executed \(lastExecuted.rawValue)\n"
    text += "stable_checkpoint \(stableCheckpoint.rawValue)\n"
    text += "chain \(chain.hexadecimal)\n"
    for setting in settings {
      precondition(!setting.name.contains(where: \.isWhitespace), "a setting's name has no white space")
      let value = String(setting.value.map { $0.isNewline ? " " : $0 })
      text += "setting \(setting.name) \(value)\n"
    }
    for counter in counters {
      precondition(!counter.name.contains(where: \.isWhitespace), "a counter's name has no white space")
      text += "counter \(counter.name) \(counter.value)\n"
    }
    for entry in recentChain {
      text += "recent \(entry.sequence.rawValue) \(entry.digest.hexadecimal)\n"
    }
    return Array(text.utf8)
  }

  /// Reads a report.
  public init(decoding bytes: UnsafeRawBufferPointer) throws(StatusReportError) {
    var fields = Fields()
    var number = 0
    for line in String(decoding: bytes, as: UTF8.self).split(
      separator: "\n", omittingEmptySubsequences: false)
    {
      number += 1
      if number == 1 {
        guard line == "muster-status \(Self.version)" else {
          throw StatusReportError(line: 1, expected: "'muster-status \(Self.version)'")
        }
      } else if !line.isEmpty {
        try fields.read(line, number: number)
      }
    }
    self = try fields.report(lines: number)
  }
}

/// A line of a status report that is not one.
public struct StatusReportError: Error, Hashable, Sendable, CustomStringConvertible {
  /// From 1.
  public let line: Int
  public let expected: String

  public var description: String { "status report, line \(line): expected \(expected)" }
}

/// The fields of a report as they are found.
private struct Fields {
  var replica: Int32?
  var numbers: [String: UInt64] = [:]
  var chain: Digest?
  var recentChain: [StatusReport.ChainEntry] = []
  var settings: [StatusReport.Setting] = []
  var counters: [StatusReport.Counter] = []

  private static let numberKeys = ["view", "active", "executed", "last_executed", "stable_checkpoint"]

  mutating func read(_ line: Substring, number: Int) throws(StatusReportError) {
    let parts = line.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
    let key = String(parts[0])
    func expected(_ what: String) -> StatusReportError { StatusReportError(line: number, expected: what) }
    switch key {
    case "replica":
      guard parts.count == 2, let id = Int32(parts[1]) else { throw expected("'replica' and its id") }
      replica = id
    case "chain":
      guard parts.count == 2, let digest = Self.digest(parts[1]) else {
        throw expected("'chain' and 64 hexadecimal digits")
      }
      chain = digest
    case "recent":
      guard parts.count == 3, let sequence = UInt64(parts[1]), let digest = Self.digest(parts[2]) else {
        throw expected("'recent', a sequence number and 64 hexadecimal digits")
      }
      recentChain.append(.init(sequence: SequenceNumber(rawValue: sequence), digest: digest))
    case "setting":
      guard parts.count == 3, !parts[1].isEmpty else { throw expected("'setting', a name and a value") }
      settings.append(.init(name: String(parts[1]), value: String(parts[2])))
    case "counter":
      guard parts.count == 3, !parts[1].isEmpty, let value = UInt64(parts[2]) else {
        throw expected("'counter', a name and a number")
      }
      counters.append(.init(name: String(parts[1]), value: value))
    default:
      guard Self.numberKeys.contains(key) else { return }
      guard parts.count == 2, let value = UInt64(parts[1]) else { throw expected("'\(key)' and a number") }
      numbers[key] = value
    }
  }

  func report(lines: Int) throws(StatusReportError) -> StatusReport {
    func missing(_ key: String) -> StatusReportError {
      StatusReportError(line: lines, expected: "a line '\(key)' before the end")
    }
    guard let replica else { throw missing("replica") }
    guard let chain else { throw missing("chain") }
    var values: [UInt64] = []
    for key in Self.numberKeys {
      guard let value = numbers[key] else { throw missing(key) }
      values.append(value)
    }
    return StatusReport(
      replica: ReplicaID(rawValue: replica), view: View(rawValue: values[0]), isActive: values[1] != 0,
      executedRequests: values[2], lastExecuted: SequenceNumber(rawValue: values[3]),
      stableCheckpoint: SequenceNumber(rawValue: values[4]), chain: chain, recentChain: recentChain,
      settings: settings, counters: counters)
  }

  private static func digest(_ text: Substring) -> Digest? {
    Hexadecimal.bytes(of: text.utf8, count: Digest.byteCount)?.withUnsafeBytes { Digest(bytes: $0) }
  }
}
