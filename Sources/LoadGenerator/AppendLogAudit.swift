// Checks, reply by reply, that the append log the replicas keep is linearizable: positions are unique, grow within a
// session, and exceed every position answered before the request was sent. For an append log that is all there is to
// linearizability. One pass, O(1) per reply.

import ServiceClient

/// The audit of one run.
struct AppendLogAudit {
  /// The answered request of highest sequence in a session.
  private struct Latest {
    var sessionValue: Int32 = 0
    var sequence: Int32 = -1
    var position: UInt64 = 0
  }

  private let base: UInt64
  private var seen: [UInt64] = []
  private var latest: [Latest]
  /// Highest position answered so far: the floor of whatever is sent from now on.
  private(set) var highestAnswered: UInt64
  private(set) var checked = 0
  private(set) var violations = 0
  private(set) var firstViolation: String?

  /// - Parameter base: position executed before the run began.
  init(base: UInt64, sessions: Int) {
    self.base = base
    highestAnswered = base
    latest = Array(repeating: Latest(), count: sessions)
  }

  /// Checks one ordered reply.
  ///
  /// - Parameters:
  ///   - completion: the finished request; its context is `highestAnswered` at the instant it was sent.
  ///   - content: the reply; its first 8 bytes are the position, big-endian.
  ///   - sentInAll: requests sent so far, this run's being the only ones.
  mutating func check(_ completion: Completion, _ content: UnsafeRawBufferPointer, sentInAll: UInt64) {
    guard content.count >= 16 else {
      checked += 1
      return fail("a reply of \(content.count) bytes carries no record")
    }
    check(
      completion, position: UInt64(bigEndian: content.loadUnaligned(as: UInt64.self)), sentInAll: sentInAll)
  }

  /// Checks the position that an ordered reply states.
  mutating func check(_ completion: Completion, position: UInt64, sentInAll: UInt64) {
    let floor = completion.context
    checked += 1
    guard position > base else {
      return fail("position \(position) was given out before the run (base \(base))")
    }
    let index = position - base - 1
    guard index < sentInAll &* 2 &+ 1024 else {
      return fail("position \(position) lies beyond everything sent (base \(base), sent \(sentInAll))")
    }
    let word = Int(index >> 6)
    let bit = UInt64(1) << (index & 63)
    if word >= seen.count {
      seen.append(contentsOf: repeatElement(0, count: max(1024, seen.count, word + 1 - seen.count)))
    }
    if seen[word] & bit != 0 { fail("position \(position) was answered twice") }
    seen[word] |= bit
    if position <= floor {
      fail("position \(position) is not above \(floor), answered before the request was sent")
    }
    checkOrder(completion, position)
    highestAnswered = max(highestAnswered, position)
  }

  /// Within a session positions follow sequences, in whichever order the answers arrive.
  private mutating func checkOrder(_ completion: Completion, _ position: UInt64) {
    let session = Int(completion.session)
    let last = latest[session]
    if last.sequence >= 0, last.sessionValue == completion.sessionValue {
      let follows = completion.sequence > last.sequence
      if follows != (position > last.position) {
        fail(
          "session \(session): sequence \(completion.sequence) has position \(position), "
            + "sequence \(last.sequence) has \(last.position)")
      }
      guard follows else { return }
    }
    latest[session] = Latest(
      sessionValue: completion.sessionValue, sequence: completion.sequence, position: position)
  }

  /// Checks an unordered read.
  ///
  /// - Parameter floor: `highestAnswered` at the instant it was sent.
  mutating func checkRead(_ content: UnsafeRawBufferPointer, floor: UInt64) {
    guard content.count >= 16 else {
      checked += 1
      return fail("a read of \(content.count) bytes carries no record")
    }
    checkRead(position: UInt64(bigEndian: content.loadUnaligned(as: UInt64.self)), floor: floor)
  }

  /// Checks the position that a read states: it sees at least everything acknowledged before it was sent, and at least what
  /// any read saw that was answered before.
  mutating func checkRead(position: UInt64, floor: UInt64) {
    checked += 1
    if position < floor {
      fail("a read saw position \(position), but \(floor) had been acknowledged before it was sent")
    }
    highestAnswered = max(highestAnswered, position)
  }

  private mutating func fail(_ what: String) {
    violations += 1
    if firstViolation == nil { firstViolation = what }
  }
}
