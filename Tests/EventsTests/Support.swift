// A receiver that remembers what it saw, and can be told what to do on an event.

@testable import Events

/// Events of the tests: a number to tell them apart, or one that begets others.
enum Signal: Equatable {
  case mark(Int)
  /// Returns the mark of the number as the next event.
  case chain(Int)
  /// Performs the action registered under the number.
  case act(Int)
}

final class Recorder: EventReceiver {
  private(set) var seen: [Signal] = []
  var actions: [Int: () -> Void] = [:]

  func processEvent(_ event: Signal) -> Signal? {
    seen.append(event)
    switch event {
    case .mark: return nil
    case .chain(let number): return .mark(number)
    case .act(let number):
      actions[number]?()
      return nil
    }
  }
}

/// A manager with a recorder and one timer, in virtual time.
struct Loop {
  let timers = TimerFactory<Signal>()
  let manager: EventManager<Recorder>
  let recorder = Recorder()
  let timer: EventTimer<Signal>

  init(queueCapacity: Int = 16, started: Bool = true) {
    manager = EventManager(queueCapacity: queueCapacity, timers: timers)
    timer = timers.createTimer()
    manager.setReceiver(recorder)
    if started { manager.start() }
  }

  var seen: [Signal] { recorder.seen }

  @discardableResult
  func turn(at nanoseconds: Int64, budget: Int = .max) -> Int {
    manager.runTurn(at: Instant(nanoseconds: nanoseconds), budget: budget)
  }
}
