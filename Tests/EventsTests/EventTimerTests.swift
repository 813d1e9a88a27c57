// The timer contract of Fabric v0.6 as kept and changed here, under virtual time: one test per line of it.

import Testing

@testable import Events

@Suite("Event timer (Fabric v0.6 events.Timer)")
struct EventTimerTests {
  @Test("a timer is made stopped and never fires by itself")
  func madeStopped() {
    let loop = Loop()
    #expect(!loop.timer.isRunning)
    #expect(loop.timer.deadline == nil)
    #expect(loop.timers.earliestDeadline == nil)
    #expect(loop.turn(at: .max) == 0)
  }

  @Test("a timer fires at its deadline, not before, and only once")
  func firesOnce() {
    let loop = Loop()
    loop.turn(at: 100)
    loop.timer.reset(afterNanoseconds: 50, event: .mark(1))
    #expect(loop.timer.deadline == Instant(nanoseconds: 150))
    #expect(loop.turn(at: 149) == 0)
    #expect(loop.turn(at: 150) == 1)
    #expect(!loop.timer.isRunning)
    #expect(loop.turn(at: 1_000) == 0)
    #expect(loop.seen == [.mark(1)])
  }

  @Test("reset replaces deadline and event of a running countdown, earlier or later", arguments: [10, 200])
  func resetReplaces(delay: Int64) {
    let loop = Loop()
    loop.timer.reset(afterNanoseconds: 100, event: .mark(1))
    loop.timer.reset(afterNanoseconds: delay, event: .mark(2))
    #expect(loop.turn(at: delay - 1) == 0)
    #expect(loop.turn(at: delay) == 1)
    loop.turn(at: 1_000)
    #expect(loop.seen == [.mark(2)])
  }

  @Test("soft reset is ignored while a countdown runs")
  func softResetIsIgnoredWhileRunning() {
    let loop = Loop()
    loop.timer.reset(afterNanoseconds: 100, event: .mark(1))
    loop.timer.softReset(afterNanoseconds: 10, event: .mark(2))
    #expect(loop.timer.deadline == Instant(nanoseconds: 100))
    loop.turn(at: 1_000)
    #expect(loop.seen == [.mark(1)])
  }

  @Test("soft reset starts a stopped timer")
  func softResetStarts() {
    let loop = Loop()
    loop.timer.softReset(afterNanoseconds: 10, event: .mark(1))
    #expect(loop.timer.isRunning)
    loop.turn(at: 10)
    loop.timer.softReset(afterNanoseconds: 10, event: .mark(2))
    loop.turn(at: 20)
    #expect(loop.seen == [.mark(1), .mark(2)])
  }

  @Test("soft reset keeps an event that fired and is not delivered, and starts a new countdown")
  func softResetKeepsTheFiredEvent() {
    let loop = Loop()
    loop.timer.reset(afterNanoseconds: 10, event: .mark(1))
    loop.timers.advance(to: Instant(nanoseconds: 10))
    loop.timer.softReset(afterNanoseconds: 10, event: .mark(2))
    #expect(loop.timers.earliestDeadline == Instant(nanoseconds: 10))
    loop.turn(at: 10)
    #expect(loop.seen == [.mark(1)])
    loop.turn(at: 20)
    #expect(loop.seen == [.mark(1), .mark(2)])
  }

  @Test("a countdown that expires behind an undelivered event of its timer is delivered after it")
  func secondExpiryWaitsForTheFirst() {
    let loop = Loop()
    loop.timer.reset(afterNanoseconds: 10, event: .mark(1))
    loop.turn(at: 10, budget: 0)
    loop.timer.softReset(afterNanoseconds: 10, event: .mark(2))
    #expect(loop.turn(at: 30, budget: 1) == 1)
    #expect(loop.timers.earliestDeadline == Instant(nanoseconds: 20))
    loop.turn(at: 30)
    #expect(loop.seen == [.mark(1), .mark(2)])
  }

  @Test("stop cancels a running countdown")
  func stopCancels() {
    let loop = Loop()
    loop.timer.reset(afterNanoseconds: 10, event: .mark(1))
    loop.timer.stop()
    #expect(!loop.timer.isRunning)
    #expect(loop.timers.earliestDeadline == nil)
    #expect(loop.turn(at: 10) == 0)
  }

  @Test("stop silences an event that has expired and is not delivered")
  func stopSilencesTheExpired() {
    let loop = Loop()
    let other = loop.timers.createTimer()
    loop.recorder.actions[1] = { other.stop() }
    loop.timer.reset(afterNanoseconds: 10, event: .act(1))
    other.reset(afterNanoseconds: 11, event: .mark(2))
    loop.turn(at: 20)
    #expect(loop.seen == [.act(1)])
    #expect(loop.timers.earliestDeadline == nil)
  }

  @Test("reset silences an event that has expired and is not delivered")
  func resetSilencesTheExpired() {
    let loop = Loop()
    let other = loop.timers.createTimer()
    loop.recorder.actions[1] = { other.reset(afterNanoseconds: 5, event: .mark(3)) }
    loop.timer.reset(afterNanoseconds: 10, event: .act(1))
    other.reset(afterNanoseconds: 11, event: .mark(2))
    loop.turn(at: 20)
    #expect(loop.seen == [.act(1)])
    loop.turn(at: 25)
    #expect(loop.seen == [.act(1), .mark(3)])
  }

  @Test("halt stops, silences the expired, is idempotent, and later calls do nothing")
  func haltIsForGood() {
    let loop = Loop()
    loop.timer.reset(afterNanoseconds: 10, event: .mark(1))
    loop.timers.advance(to: Instant(nanoseconds: 10))
    loop.timer.halt()
    loop.timer.halt()
    loop.timer.reset(afterNanoseconds: 1, event: .mark(2))
    loop.timer.softReset(afterNanoseconds: 1, event: .mark(3))
    loop.timer.stop()
    #expect(!loop.timer.isRunning)
    #expect(loop.turn(at: 100) == 0)
  }

  @Test("timers that expire together deliver by deadline, then in the order they were made")
  func orderOfDelivery() {
    let loop = Loop()
    let second = loop.timers.createTimer()
    let third = loop.timers.createTimer()
    third.reset(afterNanoseconds: 5, event: .mark(1))
    second.reset(afterNanoseconds: 7, event: .mark(3))
    loop.timer.reset(afterNanoseconds: 7, event: .mark(2))
    loop.turn(at: 9)
    #expect(loop.seen == [.mark(1), .mark(2), .mark(3)])
  }

  @Test("an expired event the budget left out is delivered by the next turn, unless silenced")
  func budgetLeavesExpiredEvents() {
    let loop = Loop()
    let other = loop.timers.createTimer()
    loop.timer.reset(afterNanoseconds: 1, event: .mark(1))
    other.reset(afterNanoseconds: 2, event: .mark(2))
    #expect(loop.turn(at: 5, budget: 1) == 1)
    #expect(loop.manager.hasPendingEvents)
    #expect(loop.timers.earliestDeadline == Instant(nanoseconds: 2))
    loop.turn(at: 5)
    #expect(loop.seen == [.mark(1), .mark(2)])
  }

  @Test("a countdown of zero fires in the next turn, so a timer that resets itself cannot hold a turn")
  func zeroDelayFiresNextTurn() {
    let loop = Loop()
    loop.recorder.actions[1] = { [timer = loop.timer] in timer.reset(afterNanoseconds: 0, event: .act(1)) }
    loop.manager.inject(.act(1))
    #expect(loop.turn(at: 0) == 1)
    #expect(loop.turn(at: 0) == 1)
    #expect(loop.timers.earliestDeadline == .zero)
  }

  @Test("time never goes back")
  func timeNeverGoesBack() {
    let loop = Loop()
    loop.turn(at: 100)
    loop.timer.reset(afterNanoseconds: 10, event: .mark(1))
    loop.turn(at: 50)
    #expect(loop.timers.now == Instant(nanoseconds: 100))
    #expect(loop.timer.deadline == Instant(nanoseconds: 110))
  }

  @Test("the earliest deadline is that of the earliest running timer, also after one is stopped")
  func earliestDeadline() {
    let loop = Loop()
    let others = (0..<20).map { _ in loop.timers.createTimer() }
    for (index, timer) in others.enumerated() {
      timer.reset(afterNanoseconds: Int64(100 - index), event: .mark(index))
    }
    #expect(loop.timers.earliestDeadline == Instant(nanoseconds: 81))
    others[19].stop()
    #expect(loop.timers.earliestDeadline == Instant(nanoseconds: 82))
    #expect(loop.turn(at: 81) == 0)
    #expect(loop.turn(at: 100) == 19)
    #expect(loop.seen == (0..<19).reversed().map { .mark($0) })
  }

  @Test("a countdown longer than time itself never traps")
  func endlessCountdown() {
    let loop = Loop()
    loop.turn(at: 1_000)
    loop.timer.reset(afterNanoseconds: .max, event: .mark(1))
    #expect(loop.timer.deadline == .distantFuture)
    #expect(loop.turn(at: .max - 1) == 0)
  }

  @Test("a timer nobody holds keeps its countdown")
  func droppedHandle() {
    let loop = Loop()
    loop.timers.createTimer().reset(afterNanoseconds: 5, event: .mark(1))
    #expect(loop.turn(at: 5) == 1)
  }
}

@Suite("Instant")
struct InstantTests {
  @Test("differences and sums saturate at the ends of time")
  func saturation() {
    #expect(Instant.distantFuture + 1 == .distantFuture)
    #expect(Instant(nanoseconds: .min) + -1 == Instant(nanoseconds: .min))
    #expect(Instant(nanoseconds: .min) - .distantFuture == .min)
    #expect(Instant.distantFuture - Instant(nanoseconds: -1) == .max)
    #expect(Instant(nanoseconds: 7) - Instant(nanoseconds: 10) == -3)
    #expect(Instant(nanoseconds: 7) + -10 == Instant(nanoseconds: -3))
    #expect(Instant.zero < Instant(nanoseconds: 1))
  }
}
