// The event contract of Fabric v0.6 as kept and changed here: one test per line of it.

import Testing

@testable import Events

@Suite("Event manager (Fabric v0.6 events.Manager)")
struct EventManagerTests {
  @Test("the event a receiver returns is handled before anything from the queue")
  func chainedEventComesBeforeTheQueue() {
    let loop = Loop()
    loop.manager.queue(.chain(1))
    loop.manager.queue(.mark(2))
    #expect(loop.turn(at: 0) == 2)
    #expect(loop.seen == [.chain(1), .mark(1), .mark(2)])
  }

  @Test("an injected event is handled at once, before the queue, with all it chains")
  func injectedEventComesBeforeTheQueue() {
    let loop = Loop()
    loop.manager.queue(.mark(1))
    loop.manager.inject(.chain(2))
    #expect(loop.seen == [.chain(2), .mark(2)])
    loop.turn(at: 0)
    #expect(loop.seen.last == .mark(1))
  }

  @Test("a receiver may inject: the injected event is handled inside the one in progress")
  func receiverInjects() {
    let loop = Loop()
    loop.recorder.actions[1] = { [manager = loop.manager] in manager.inject(.chain(5)) }
    loop.manager.queue(.act(1))
    loop.manager.queue(.mark(6))
    loop.turn(at: 0)
    #expect(loop.seen == [.act(1), .chain(5), .mark(5), .mark(6)])
  }

  @Test("queued events are handled in order, once each, also far beyond the capacity over time")
  func queueKeepsOrder() {
    let loop = Loop(queueCapacity: 3)
    for round in 0..<100 {
      for position in 0..<3 { #expect(loop.manager.queue(.mark(round * 3 + position))) }
      #expect(loop.turn(at: Int64(round)) == 3)
    }
    #expect(loop.seen == (0..<300).map { .mark($0) })
  }

  @Test("an event queued during a turn is handled in the same turn")
  func queuedMeanwhile() {
    let loop = Loop()
    loop.recorder.actions[1] = { [manager = loop.manager] in manager.queue(.mark(2)) }
    loop.manager.queue(.act(1))
    #expect(loop.turn(at: 0) == 2)
    #expect(loop.seen == [.act(1), .mark(2)])
  }

  @Test("a full queue refuses the event, counts it and keeps what it holds", arguments: [1, 3, 4])
  func fullQueueRefuses(capacity: Int) {
    let loop = Loop(queueCapacity: capacity)
    for number in 0..<capacity { #expect(loop.manager.queue(.mark(number))) }
    #expect(!loop.manager.queue(.mark(99)))
    #expect(!loop.manager.queue(nil))
    #expect(loop.manager.refused == 2)
    #expect(loop.manager.queued == capacity)
    loop.turn(at: 0)
    #expect(loop.seen == (0..<capacity).map { .mark($0) })
    #expect(loop.manager.queue(.mark(7)))
  }

  @Test("an empty event takes its turn in the queue and reaches no receiver")
  func emptyEventIsTolerated() {
    let loop = Loop()
    loop.manager.queue(.mark(1))
    loop.manager.queue(nil)
    loop.manager.queue(.mark(2))
    loop.manager.inject(nil)
    #expect(loop.seen.isEmpty)
    #expect(loop.turn(at: 0, budget: 2) == 2)
    #expect(loop.seen == [.mark(1)])
    #expect(loop.manager.queued == 1)
    #expect(loop.turn(at: 0) == 1)
    #expect(loop.manager.dropped == 0)
  }

  @Test("a budget ends a turn between events, never inside a chain, and the rest keeps its order")
  func budgetEndsATurn() {
    let loop = Loop()
    loop.manager.queue(.chain(1))
    loop.manager.queue(.mark(2))
    loop.manager.queue(.mark(3))
    #expect(loop.turn(at: 0, budget: 1) == 1)
    #expect(loop.seen == [.chain(1), .mark(1)])
    #expect(loop.manager.hasPendingEvents)
    #expect(loop.turn(at: 0, budget: 0) == 0)
    #expect(loop.turn(at: 0, budget: 5) == 2)
    #expect(!loop.manager.hasPendingEvents)
  }

  @Test("before start, queued events and timers wait; an injected event does not")
  func nothingIsDeliveredBeforeStart() {
    let loop = Loop(started: false)
    loop.timer.reset(afterNanoseconds: 5, event: .mark(1))
    loop.manager.queue(.mark(2))
    loop.manager.inject(.mark(3))
    #expect(loop.turn(at: 10) == 0)
    #expect(loop.seen == [.mark(3)])
    loop.manager.start()
    loop.manager.start()
    #expect(loop.turn(at: 10) == 2)
    #expect(loop.seen == [.mark(3), .mark(1), .mark(2)])
  }

  @Test("without a receiver events are taken, dropped and counted")
  func noReceiver() {
    let manager = EventManager<Recorder>(queueCapacity: 4, timers: TimerFactory())
    manager.start()
    manager.queue(.mark(1))
    manager.inject(.mark(2))
    #expect(manager.runTurn(at: .zero) == 1)
    #expect(manager.dropped == 2)
    #expect(manager.receiver == nil)
  }

  @Test("a receiver set later gets what is delivered from then on")
  func receiverIsReplaced() {
    let loop = Loop()
    let successor = Recorder()
    loop.recorder.actions[1] = { [manager = loop.manager] in manager.setReceiver(successor) }
    loop.manager.queue(.act(1))
    loop.manager.queue(.mark(2))
    loop.turn(at: 0)
    #expect(loop.seen == [.act(1)])
    #expect(successor.seen == [.mark(2)])
  }

  @Test("halt is idempotent, discards the queue and counts what it discards, empty events aside")
  func haltIsIdempotent() {
    let loop = Loop()
    loop.manager.queue(.mark(1))
    loop.manager.queue(nil)
    loop.manager.halt()
    loop.manager.halt()
    #expect(loop.manager.isHalted)
    #expect(loop.manager.queued == 0)
    #expect(loop.manager.dropped == 1)
  }

  @Test("after halt every call does nothing")
  func callsAfterHaltDoNothing() {
    let loop = Loop()
    loop.timer.reset(afterNanoseconds: 1, event: .mark(9))
    loop.manager.halt()
    #expect(!loop.manager.queue(.mark(1)))
    loop.manager.inject(.mark(2))
    loop.manager.start()
    loop.manager.setReceiver(Recorder())
    #expect(loop.turn(at: 100) == 0)
    #expect(loop.seen.isEmpty)
    #expect(loop.manager.receiver === loop.recorder)
    #expect(loop.manager.refused == 0)
    #expect(loop.manager.dropped == 0)
    #expect(!loop.manager.hasPendingEvents)
    #expect(loop.timers.now == .zero)
  }

  @Test("a receiver that halts ends the turn: neither queue nor expired timers deliver another event")
  func haltWithinATurn() {
    let loop = Loop()
    let other = loop.timers.createTimer()
    loop.recorder.actions[1] = { [manager = loop.manager] in manager.halt() }
    loop.timer.reset(afterNanoseconds: 1, event: .act(1))
    other.reset(afterNanoseconds: 2, event: .mark(2))
    loop.manager.queue(.mark(3))
    #expect(loop.turn(at: 5) == 1)
    #expect(loop.seen == [.act(1)])
    #expect(loop.manager.dropped == 1)
  }

  @Test("an expired event is delivered before the queue")
  func expiredComesBeforeTheQueue() {
    let loop = Loop()
    loop.manager.queue(.mark(1))
    loop.timer.reset(afterNanoseconds: 10, event: .chain(2))
    loop.turn(at: 10)
    #expect(loop.seen == [.chain(2), .mark(2), .mark(1)])
  }

  @Test("events are released once delivered or discarded")
  func eventsAreReleased() {
    final class Payload {}
    final class Sink: EventReceiver {
      func processEvent(_ event: Payload) -> Payload? { nil }
    }
    let timers = TimerFactory<Payload>()
    let manager = EventManager<Sink>(queueCapacity: 2, timers: timers)
    manager.setReceiver(Sink())
    manager.start()
    let timer = timers.createTimer()
    weak var queued: Payload?
    weak var expired: Payload?
    weak var stopped: Payload?
    do {
      let payloads = [Payload(), Payload(), Payload()]
      (queued, expired, stopped) = (payloads[0], payloads[1], payloads[2])
      manager.queue(payloads[0])
      timer.reset(afterNanoseconds: 1, event: payloads[1])
      manager.runTurn(at: Instant(nanoseconds: 1))
      timer.reset(afterNanoseconds: 1, event: payloads[2])
      timer.stop()
    }
    #expect(queued == nil)
    #expect(expired == nil)
    #expect(stopped == nil)
  }
}
