// Checks of one run's replies, for each service what can be known of right ones. One pass, O(1) per reply.

import ServiceClient

/// The audit of one run, by service.
struct ServiceAudit {
  private var log: AppendLogAudit?
  private var counter: CounterAudit?
  private var echo: EchoAudit?

  /// nil where nothing can be checked.
  init?(_ plan: LoadPlan, sessions: Int) {
    switch plan.audit {
    case .absent: return nil
    case .log(let base): log = AppendLogAudit(base: base, sessions: sessions)
    case .counter: counter = CounterAudit(sessions: sessions)
    case .echo: echo = EchoAudit(content: plan.content)
    }
  }

  /// What is to be the context of the next request.
  var highestAnswered: UInt64 { log?.highestAnswered ?? counter?.highestAnswered ?? 0 }

  var checked: Int { log?.checked ?? counter?.checked ?? echo?.checked ?? 0 }
  var violations: Int { log?.violations ?? counter?.violations ?? echo?.violations ?? 0 }
  var firstViolation: String? { log?.firstViolation ?? counter?.firstViolation ?? echo?.firstViolation }

  /// Checks one reply; `sentInAll`: requests sent so far, this run's being the only ones.
  mutating func check(_ completion: Completion, _ content: UnsafeRawBufferPointer, sentInAll: UInt64) {
    if log != nil {
      if completion.isUnordered {
        log!.checkRead(content, floor: completion.context)
      } else {
        log!.check(completion, content, sentInAll: sentInAll)
      }
    } else if counter != nil {
      counter!.check(completion, content, sentInAll: sentInAll)
    } else {
      echo!.check(content)
    }
  }
}

/// A counter that every request increments by 1 is an append log whose positions are its values; only where it stood before
/// the run is not known, and that it wraps as Java's integers do.
struct CounterAudit {
  private var positions: AppendLogAudit
  /// The lowest value that can have been there before the run.
  private var origin: Int32?
  private var lowest: UInt64 = .max
  private var highest: UInt64 = 0
  private var ownViolations = 0
  private var ownFirst: String?
  private var malformed = 0

  init(sessions: Int) { positions = AppendLogAudit(base: 0, sessions: sessions) }

  var highestAnswered: UInt64 { positions.highestAnswered }
  var checked: Int { positions.checked + malformed }
  var violations: Int { positions.violations + ownViolations }
  var firstViolation: String? { positions.firstViolation ?? ownFirst }

  /// - Parameter content: the counter's value, four bytes, big-endian.
  mutating func check(_ completion: Completion, _ content: UnsafeRawBufferPointer, sentInAll: UInt64) {
    guard content.count == 4 else {
      malformed += 1
      return fail("a reply of \(content.count) bytes is no value of the counter")
    }
    let value = Int32(bigEndian: content.loadUnaligned(as: Int32.self))
    let origin = origin ?? value &- Int32(truncatingIfNeeded: sentInAll)
    self.origin = origin
    let distance = value &- origin
    if completion.isUnordered, distance >= 0 {
      return positions.checkRead(position: UInt64(distance), floor: completion.context)
    }
    guard distance > 0 else {
      malformed += 1
      return fail("the value \(value) was there before the run")
    }
    let position = UInt64(distance)
    positions.check(completion, position: position, sentInAll: sentInAll)
    lowest = min(lowest, position)
    highest = max(highest, position)
    if highest - lowest >= sentInAll {
      fail("the value \(value) is more above the lowest than the \(sentInAll) requests sent can have made it")
    }
  }

  private mutating func fail(_ what: String) {
    ownViolations += 1
    if ownFirst == nil { ownFirst = what }
  }
}

/// A service that gives back what it is sent.
struct EchoAudit {
  let content: [UInt8]
  private(set) var checked = 0
  private(set) var violations = 0
  private(set) var firstViolation: String?

  init(content: [UInt8]) { self.content = content }

  mutating func check(_ reply: UnsafeRawBufferPointer) {
    checked += 1
    if reply.elementsEqual(content) { return }
    violations += 1
    if firstViolation == nil {
      firstViolation =
        "a reply of \(reply.count) bytes is not the request of \(content.count) that it answers"
    }
  }
}
