// The audits of a counter and of an echo: what a right service can answer passes, whatever else it answers is found.

import Testing

@testable import LoadGenerator
@testable import ServiceClient

/// Answers of a counter that was somewhere when the run began, told in the order in which they arrive.
private struct CounterHistory {
  var audit = CounterAudit(sessions: 4)
  var sent: UInt64 = 0

  mutating func send() -> UInt64 {
    sent += 1
    return audit.highestAnswered
  }

  mutating func answer(
    _ value: Int32, session: Int32 = 0, sequence: Int32 = 0, floor: UInt64, bytes: Int = 4,
    isRead: Bool = false
  ) {
    let completion = Completion(
      outcome: .answered, session: session, sessionValue: 1, sequence: sequence, isUnordered: isRead,
      intended: 0, context: floor, sent: 0, completed: 1, contentOffset: 0, contentCount: Int32(bytes))
    withUnsafeBytes(of: value.bigEndian) {
      audit.check(completion, UnsafeRawBufferPointer(rebasing: $0[..<bytes]), sentInAll: sent)
    }
  }
}

@Suite("Audit of a counter")
struct CounterAuditTests {
  @Test(
    "it may begin anywhere, wrap, and answer what is concurrent in any order",
    arguments: [0, 41, -3, Int32.max - 1])
  func passes(start: Int32) {
    var history = CounterHistory()
    let floors = (0..<3).map { _ in history.send() }
    history.answer(start &+ 3, session: 0, floor: floors[0])
    history.answer(start &+ 1, session: 1, floor: floors[1])
    history.answer(start &+ 2, session: 2, floor: floors[2])
    let later = history.send()
    history.answer(start &+ 4, session: 1, sequence: 1, floor: later)
    #expect(history.audit.violations == 0 && history.audit.checked == 4)
    #expect(history.audit.firstViolation == nil)
  }

  @Test("requests of unknown outcome may have been counted")
  func countsUnknown() {
    var history = CounterHistory()
    for _ in 0..<5 { _ = history.send() }
    history.answer(10, floor: 0)
    history.answer(14, session: 1, floor: 0)
    #expect(history.audit.violations == 0)
  }

  @Test(
    "a value twice, one below what was answered before, one out of reach, and no value at all are found",
    arguments: [
      (7, "answered twice"), (6, "is not above"), (30, "more above the lowest"), (-1000, "before the run"),
    ] as [(Int32, String)])
  func finds(value: Int32, words: String) {
    var history = CounterHistory()
    // One request has had no answer yet: its value is missing between the others.
    _ = history.send()
    for (number, value) in [Int32(5), 7, 8].enumerated() {
      let floor = history.send()
      history.answer(value, sequence: Int32(number), floor: floor)
    }
    #expect(history.audit.violations == 0)
    let floor = history.send()
    history.answer(value, session: 1, floor: floor)
    #expect(history.audit.violations >= 1)
    #expect(history.audit.firstViolation?.contains(words) == true, "\(history.audit.firstViolation ?? "")")
  }

  @Test("reads see what was there before the run, never less than was answered, and give out no value")
  func reads() {
    var history = CounterHistory()
    for _ in 0..<3 {
      let floor = history.send()
      history.answer(41, floor: floor, isRead: true)
    }
    let floor = history.send()
    history.answer(42, floor: floor)
    let late = history.send()
    history.answer(42, session: 1, floor: late, isRead: true)
    #expect(history.audit.violations == 0 && history.audit.checked == 5)
    let last = history.send()
    history.answer(41, session: 2, floor: last, isRead: true)
    #expect(history.audit.violations == 1)
    #expect(history.audit.firstViolation?.contains("a read saw") == true)
  }

  @Test("a reply that is no value is found, and the rest is checked on")
  func findsMalformed() {
    var history = CounterHistory()
    let floor = history.send()
    history.answer(5, floor: floor, bytes: 3)
    history.answer(5, floor: floor)
    #expect(history.audit.violations == 1 && history.audit.checked == 2)
  }
}

@Suite("Audit of an echo")
struct EchoAuditTests {
  @Test("a reply is its request, to the byte")
  func compares() {
    var audit = EchoAudit(content: [1, 2, 3])
    for reply: [UInt8] in [[1, 2, 3], [1, 2, 4], [1, 2], [1, 2, 3, 4], []] {
      reply.withUnsafeBytes { audit.check($0) }
    }
    #expect(audit.checked == 5 && audit.violations == 4)
    #expect(audit.firstViolation?.contains("is not the request of 3") == true)
  }
}
