// The audit of an append log: what breaks linearizability is found, whatever it is, and what does not is let pass.

import Testing

@testable import LoadGenerator
@testable import ServiceClient

/// A history of answers, told in the order in which they arrive.
private struct History {
  var audit: AppendLogAudit
  var sent: UInt64 = 0

  init(base: UInt64 = 0, sessions: Int = 4) { audit = AppendLogAudit(base: base, sessions: sessions) }

  /// A request leaves now; returns the floor it must exceed.
  mutating func send() -> UInt64 {
    sent += 1
    return audit.highestAnswered
  }

  mutating func answer(
    _ position: UInt64, session: Int32 = 0, value: Int32 = 1, sequence: Int32 = 0, floor: UInt64,
    bytes: Int = 16
  ) {
    let completion = Completion(
      outcome: .answered, session: session, sessionValue: value, sequence: sequence, isUnordered: false,
      intended: 0, context: floor, sent: 0, completed: 1, contentOffset: 0, contentCount: Int32(bytes))
    var record = [UInt8](repeating: 0, count: 16)
    record.withUnsafeMutableBytes { $0.storeBytes(of: position.bigEndian, as: UInt64.self) }
    record.withUnsafeBytes {
      audit.check(completion, UnsafeRawBufferPointer(rebasing: $0[..<bytes]), sentInAll: sent)
    }
  }

  mutating func read(_ position: UInt64, floor: UInt64) {
    withUnsafeBytes(of: (position.bigEndian, UInt64(0))) { audit.checkRead($0, floor: floor) }
  }
}

@Suite("Audit of an append log")
struct AuditTests {
  @Test("a linearizable history passes, concurrent answers in any order included")
  func passes() {
    var history = History(base: 100)
    let floors = (0..<3).map { _ in history.send() }
    history.answer(103, session: 0, floor: floors[0])
    history.answer(101, session: 1, floor: floors[1])
    history.answer(102, session: 2, floor: floors[2])
    let later = history.send()
    #expect(later == 103)
    history.answer(104, session: 1, sequence: 1, floor: later)
    history.read(104, floor: history.audit.highestAnswered)
    #expect(history.audit.violations == 0 && history.audit.checked == 5)
    #expect(history.audit.firstViolation == nil && history.audit.highestAnswered == 104)
  }

  @Test("positions far apart are kept, a million of them")
  func remembersMany() {
    var history = History(sessions: 1)
    history.sent = 1_000_000
    for position in stride(from: UInt64(1), through: 1_000_000, by: 997) {
      history.answer(position, sequence: Int32(position), floor: position - 1)
    }
    #expect(history.audit.violations == 0)
    history.answer(998, sequence: 998, floor: 0)
    #expect(history.audit.violations == 1)
  }

  @Test("a position answered twice is found")
  func findsDuplicates() {
    var history = History()
    let floors = [history.send(), history.send()]
    history.answer(2, session: 0, floor: floors[0])
    history.answer(2, session: 1, floor: floors[1])
    #expect(history.audit.violations == 1)
    #expect(history.audit.firstViolation == "position 2 was answered twice")
  }

  @Test("a position not above one answered before the request was sent is found")
  func findsStaleness() {
    var history = History()
    history.sent = 5
    history.answer(5, session: 0, floor: 0)
    let floor = history.send()
    history.answer(3, session: 1, floor: floor)
    #expect(history.audit.violations == 1)
    #expect(history.audit.firstViolation?.contains("not above 5") == true)
  }

  @Test("a position from before the run is found")
  func findsOldPositions() {
    var history = History(base: 10)
    history.answer(10, floor: history.send())
    #expect(history.audit.violations == 1)
    #expect(history.audit.firstViolation?.contains("before the run") == true)
  }

  @Test("a position beyond everything sent is found, and costs no memory")
  func findsInventions() {
    var history = History()
    history.answer(.max, floor: history.send())
    history.answer(1 << 40, session: 1, floor: 0)
    #expect(history.audit.violations == 2)
    #expect(history.audit.firstViolation?.contains("beyond everything sent") == true)
    #expect(history.audit.highestAnswered == 0)
  }

  @Test("requests of one session executed out of their order are found, in whichever order the answers come")
  func findsReordering() {
    var history = History()
    history.sent = 10
    history.answer(5, sequence: 1, floor: 0)
    history.answer(4, sequence: 2, floor: 0)
    #expect(history.audit.violations == 1)
    history = History()
    history.sent = 10
    history.answer(4, sequence: 2, floor: 0)
    history.answer(5, sequence: 1, floor: 0)
    #expect(history.audit.violations == 1)
    #expect(history.audit.firstViolation?.hasPrefix("session 0: sequence 1") == true)
  }

  @Test("answers of one session that overtake each other are no violation")
  func allowsOvertakingAnswers() {
    var history = History()
    history.sent = 10
    history.answer(7, sequence: 3, floor: 0)
    history.answer(4, sequence: 1, floor: 0)
    history.answer(5, sequence: 2, floor: 0)
    history.answer(8, sequence: 4, floor: 0)
    #expect(history.audit.violations == 0)
  }

  @Test("a session under a fresh value begins anew")
  func allowsFreshSessions() {
    var history = History()
    history.sent = 10
    history.answer(5, value: 1, sequence: 8, floor: 0)
    history.answer(6, value: 2, sequence: 0, floor: 5)
    #expect(history.audit.violations == 0)
  }

  @Test("a reply without a record is found")
  func findsMissingRecords() {
    var history = History()
    history.answer(1, floor: history.send(), bytes: 8)
    #expect(history.audit.violations == 1)
    #expect(history.audit.firstViolation == "a reply of 8 bytes carries no record")
  }

  @Test("a read that does not see what was acknowledged before it is found")
  func findsStaleReads() {
    var history = History()
    history.answer(1, floor: history.send())
    history.read(1, floor: 1)
    #expect(history.audit.violations == 0)
    history.read(0, floor: 1)
    #expect(history.audit.violations == 1)
  }

  @Test("what a read has seen, a later read sees too, and a later request comes behind it")
  func findsReadsThatGoBack() {
    var history = History()
    history.sent = 10
    history.read(7, floor: 0)
    #expect(history.audit.highestAnswered == 7)
    history.read(7, floor: 7)
    history.answer(8, floor: 7)
    #expect(history.audit.violations == 0)
    history.read(6, floor: 7)
    #expect(history.audit.violations == 1)
    history.answer(5, session: 1, floor: 7)
    #expect(history.audit.violations == 2 && history.audit.checked == 5)
  }
}
