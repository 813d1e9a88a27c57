// Deadlines of many operations without a timer each, in virtual time.

import TestSupport
import Testing

@testable import ServiceClient

private let millisecond = TimingWheel.tickNanoseconds

@Suite("Timing wheel")
struct TimingWheelTests {
  private func expired(_ wheel: inout TimingWheel, at now: Int64) -> [Int32] {
    var slots: [Int32] = []
    wheel.advance(to: now, expired: &slots)
    return slots
  }

  @Test("deadlines expire in the order of their times, however they were set")
  func expiresInOrder() {
    var wheel = TimingWheel(capacity: 8, now: 0)
    for (slot, deadline) in [(0, 50), (1, 10), (2, 30), (3, 20), (4, 40)] {
      wheel.set(Int32(slot), deadline: Int64(deadline) * millisecond)
    }
    #expect(wheel.count == 5)
    #expect(expired(&wheel, at: 5 * millisecond) == [])
    #expect(expired(&wheel, at: 25 * millisecond) == [1, 3])
    #expect(expired(&wheel, at: 1_000 * millisecond) == [2, 4, 0])
    #expect(wheel.count == 0)
    #expect(expired(&wheel, at: 2_000 * millisecond) == [])
  }

  @Test("an expiry is never early, and late by at most one tick")
  func isNeverEarly() {
    for deadline in [1, millisecond - 1, millisecond, millisecond + 1, 7 * millisecond / 2] {
      var wheel = TimingWheel(capacity: 1, now: 0)
      wheel.set(0, deadline: deadline)
      #expect(expired(&wheel, at: deadline - 1) == [])
      #expect(expired(&wheel, at: deadline + millisecond) == [0])
    }
  }

  @Test("a deadline that has passed when it is set expires with the next tick")
  func pastDeadlines() {
    var wheel = TimingWheel(capacity: 2, now: 100 * millisecond)
    wheel.set(0, deadline: 3 * millisecond)
    wheel.set(1, deadline: .min / 2)
    #expect(Set(expired(&wheel, at: 101 * millisecond)) == [0, 1])
  }

  @Test("a cancelled deadline does not expire, and its neighbours in the bucket do")
  func cancels() {
    for cancelled in Int32(0)..<3 {
      var wheel = TimingWheel(capacity: 3, now: 0)
      for slot in Int32(0)..<3 { wheel.set(slot, deadline: 5 * millisecond) }
      wheel.cancel(cancelled)
      wheel.cancel(cancelled)
      #expect(wheel.count == 2)
      #expect(Set(expired(&wheel, at: 10 * millisecond)) == Set(0..<3).subtracting([cancelled]))
    }
  }

  @Test("a new deadline replaces the old one")
  func replaces() {
    var wheel = TimingWheel(capacity: 1, now: 0)
    wheel.set(0, deadline: 5 * millisecond)
    wheel.set(0, deadline: 50 * millisecond)
    #expect(wheel.count == 1)
    #expect(expired(&wheel, at: 20 * millisecond) == [])
    wheel.set(0, deadline: 30 * millisecond)
    #expect(expired(&wheel, at: 40 * millisecond) == [0])
    #expect(expired(&wheel, at: 100 * millisecond) == [])
  }

  @Test("deadlines beyond the wheel's turn wait for their own turn")
  func farDeadlines() {
    var wheel = TimingWheel(capacity: 4, now: 0)
    wheel.set(0, deadline: 4_095 * millisecond)
    wheel.set(1, deadline: 4_096 * millisecond)
    wheel.set(2, deadline: 60_000 * millisecond)
    wheel.set(3, deadline: 3_600_000 * millisecond)
    var order: [Int32] = []
    // Within one step of the clock the order is free.
    for second in 1...61 { order += expired(&wheel, at: Int64(second) * 1_000 * millisecond).sorted() }
    #expect(order == [0, 1, 2])
    #expect(expired(&wheel, at: 3_599_999 * millisecond) == [])
    #expect(expired(&wheel, at: 3_600_001 * millisecond) == [3])
  }

  @Test("after a sleep of any length everything due expires, and nothing else")
  func longSleeps() {
    for sleep in [4_095, 4_096, 4_097, 8_192, 1_000_000] as [Int64] {
      var wheel = TimingWheel(capacity: 3, now: 0)
      wheel.set(0, deadline: 10 * millisecond)
      wheel.set(1, deadline: (sleep - 5) * millisecond)
      wheel.set(2, deadline: (sleep + 5) * millisecond)
      #expect(Set(expired(&wheel, at: sleep * millisecond)) == [0, 1])
      #expect(expired(&wheel, at: (sleep + 6) * millisecond) == [2])
    }
  }

  @Test("an idle wheel takes deadlines from where the clock is")
  func idleWheel() {
    var wheel = TimingWheel(capacity: 1, now: 0)
    #expect(expired(&wheel, at: 900_000 * millisecond) == [])
    wheel.set(0, deadline: 900_010 * millisecond)
    #expect(expired(&wheel, at: 900_005 * millisecond) == [])
    #expect(expired(&wheel, at: 900_011 * millisecond) == [0])
  }

  @Test("any mixture of setting, cancelling and sleeping agrees with a plain list", arguments: 1...5)
  func agreesWithAList(seed: UInt64) {
    var chance = SplitMix(state: seed)
    let capacity = 64
    var now: Int64 = 0
    var wheel = TimingWheel(capacity: capacity, now: now)
    var deadlines: [Int32: Int64] = [:]
    for _ in 0..<3_000 {
      let slot = Int32.random(in: 0..<Int32(capacity), using: &chance)
      switch Int.random(in: 0..<10, using: &chance) {
      case 0..<6:
        let deadline = now + Int64.random(in: 0...12_000 * millisecond, using: &chance)
        wheel.set(slot, deadline: deadline)
        deadlines[slot] = deadline
      case 6..<8:
        wheel.cancel(slot)
        deadlines[slot] = nil
      default:
        let far = Int.random(in: 0..<20, using: &chance) == 0
        now += Int64.random(in: 0...(far ? 9_000 : 90) * millisecond, using: &chance)
        let found = expired(&wheel, at: now)
        #expect(Set(found).count == found.count)
        for slot in found {
          // Only what is due; what became due within this tick may wait for the next.
          #expect((deadlines[slot] ?? .max) <= now)
          deadlines[slot] = nil
        }
        #expect(deadlines.values.allSatisfy { $0 > now - millisecond })
      }
      #expect(wheel.count == deadlines.count)
    }
  }
}
