// The admin query's answer as text: what goes in comes out, and a bad line is named.

import Foundation
import PBFT
import Testing
import Wire

@Suite("Status reports")
struct StatusReportTests {
  static let report = StatusReport(
    replica: ReplicaID(rawValue: 2), view: View(rawValue: 1), isActive: true, executedRequests: .max,
    lastExecuted: SequenceNumber(rawValue: 300), stableCheckpoint: SequenceNumber(rawValue: 256),
    chain: chain(300),
    recentChain: (299...300).map { .init(sequence: SequenceNumber(rawValue: $0), digest: chain($0)) },
    settings: [.init(name: "batch_size", value: "256"), .init(name: "hosts", value: "a path  with spaces")],
    counters: [.init(name: "batches", value: 300), .init(name: "refused_signature", value: 0)])

  static func chain(_ number: UInt64) -> Digest {
    var digest = Digest()
    digest.words.0 = number
    return digest
  }

  static func decode(_ text: String) throws -> StatusReport {
    try Array(text.utf8).withUnsafeBytes { try StatusReport(decoding: $0) }
  }

  @Test("a report survives its text")
  func roundTrip() throws {
    let text = String(decoding: Self.report.encode(), as: UTF8.self)
    let read = try Self.decode(text)
    #expect(read == Self.report)
    #expect(read.setting("hosts") == "a path  with spaces" && read.setting("none") == nil)
    #expect(read.counter("batches") == 300 && read.counter("none") == nil)
    #expect(text.hasPrefix("muster-status 1\nreplica 2\nview 1\nactive 1\nexecuted 18446744073709551615\n"))
  }

  @Test("a value with line ends stays one line")
  func lineEnds() throws {
    var report = Self.report
    report.settings = [.init(name: "a", value: "x\ny\r\nz")]
    #expect(try Self.decode(String(decoding: report.encode(), as: UTF8.self)).settings[0].value == "x y z")
  }

  @Test("a key that a reader does not know is passed over")
  func unknownKey() throws {
    let text = String(decoding: Self.report.encode(), as: UTF8.self) + "weather fine today\n"
    #expect(try Self.decode(text) == Self.report)
  }

  @Test(
    "a bad line is named with what was expected",
    arguments: [
      ("muster-status 1", "muster-status 2", 1, "'muster-status 1'"),
      ("replica 2", "replica two", 2, "'replica'"),
      ("view 1", "view -1", 3, "'view' and a number"), ("active 1", "", 15, "a line 'active'"),
      ("chain ", "chain x", 8, "'chain' and 64"), ("chain ", "strain ", 15, "a line 'chain'"),
      ("replica 2", "replicas 2", 15, "a line 'replica'"),
      ("recent 299", "recent x", 13, "'recent', a sequence number"),
      ("setting batch_size 256", "setting batch_size", 9, "'setting', a name"),
      ("counter batches 300", "counter batches 3e2", 11, "'counter', a name and a number"),
    ])
  func badLine(text: String, replacement: String, line: Int, expected: String) throws {
    let good = String(decoding: Self.report.encode(), as: UTF8.self)
    let start = try #require(good.range(of: text))
    #expect {
      try Self.decode(good.replacingCharacters(in: start, with: replacement))
    } throws: { error in
      guard let error = error as? StatusReportError else { return false }
      return error.line == line && error.expected.hasPrefix(expected)
    }
  }

  @Test("nothing and random bytes are errors")
  func randomBytes() {
    var generator = SeededGenerator(state: 8)
    let good = Self.report.encode()
    #expect(throws: StatusReportError.self) { try Self.decode("") }
    for round in 0..<2000 {
      var bytes = round % 2 == 0 ? generator.bytes(Int.random(in: 0...100, using: &generator)) : good
      if round % 2 == 1 { bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8(round & 0xff) }
      _ = try? bytes.withUnsafeBytes { try StatusReport(decoding: $0) }
    }
  }
}
