// The end of a turn comes once per turn, and a loop's processor time is shared out among its owners.

import Channels
import NIOCore
import TestSupport
import Testing

/// State of one loop in a test.
private final class Counting: @unchecked Sendable {
  var ends = 0
  var log: [String] = []
  var turn: TurnEnd!
}

@Suite("Turns of a loop")
struct TurnTests {
  @Test("many requests in a turn are one end of turn, after everything the turn did")
  func endsOnce() async throws {
    try await withLoops(1) { loops in
      let loop = loops[0]
      let state = Counting()
      try await loop.submit {
        state.turn = TurnEnd(loop: loop) { state.log.append("end") }
        for work in 0..<3 {
          state.turn.request()
          state.log.append("work \(work)")
        }
      }.get()
      let log = try await loop.submit { state.log }.get()
      #expect(log == ["work 0", "work 1", "work 2", "end"])
    }
  }

  @Test("what an end of turn asks for is another end, in the next turn")
  func endsAgain() async throws {
    try await withLoops(1) { loops in
      let loop = loops[0]
      let state = Counting()
      let watch = Watch(loop: loop)
      try await loop.submit {
        state.turn = TurnEnd(loop: loop) {
          state.ends += 1
          if state.ends < 3 { state.turn.request() }
          watch.changed()
        }
        state.turn.request()
      }.get()
      try await watch.until("three ends of turn") { state.ends == 3 }
      let ends = try await loop.submit { state.ends }.get()
      #expect(ends == 3)
    }
  }
}

@Suite("Processor time of a loop")
struct LoopMeterTests {
  /// Works until the thread's own clock has moved by `nanoseconds`.
  private func burn(_ nanoseconds: Int64) {
    let begin = threadCPUNanoseconds()
    while threadCPUNanoseconds() - begin < nanoseconds {}
  }

  @Test("each owner is charged for what the thread did between its entry and the next one's")
  func chargesOwners() {
    let begin = threadCPUNanoseconds()
    let meter = LoopMeter(owners: 2)
    let (first, second) = (0, 1)
    meter.enter(first)
    burn(1_000_000)
    meter.enter(second)
    let settled = meter.nanoseconds(of: first)
    burn(3_000_000)
    #expect(settled >= 1_000_000)
    #expect(meter.nanoseconds(of: first) == settled)
    let growing = meter.nanoseconds(of: second)
    #expect(growing >= 3_000_000)
    // Entering again is nothing new, and the owner at work is charged up to now.
    meter.enter(second)
    burn(1_000_000)
    #expect(meter.nanoseconds(of: second) >= growing + 1_000_000)
    let charged = meter.nanoseconds(of: first) + meter.nanoseconds(of: second)
    #expect(charged <= threadCPUNanoseconds() - begin)
  }

  @Test("nobody is charged before the first entry")
  func nobodyPaysForBefore() {
    let meter = LoopMeter(owners: 1)
    burn(1_000_000)
    #expect(meter.nanoseconds(of: 0) == 0)
  }
}

@Suite("The sampled cost of a call")
struct SampledCostTests {
  @Test("every 16th call is measured, and what it returns is returned")
  func samples() {
    var cost = SampledCost()
    let earlier = cost
    var burnt: UInt64 = 0
    for call in 1...33 {
      let returned = cost.measure { () -> Int in
        for value in 0..<UInt64(10_000) { burnt = burnt &* 31 &+ value }
        return call
      }
      #expect(returned == call)
    }
    #expect(cost.calls == 33 && cost.samples == 2 && burnt != 0)
    #expect(cost.mean(since: earlier)! > 0)
    #expect(cost.mean(since: cost) == nil)
  }
}
