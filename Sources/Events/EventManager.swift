// The run-to-completion loop of Fabric v0.6's `events.Manager`, as a thing a reactor or a simulation calls.
//
// Kept from Fabric: the event a receiver returns is handled next, before anything else (chaining); an
// injected event is handled at once, before the queue; halting twice is harmless; an empty event is
// tolerated. Changed: the queue is bounded and counts what it refuses, instead of blocking the producer until
// the loop takes the event; after halt every call does nothing, instead of blocking for ever.

/// What an event manager delivers to. `Event` is one closed enum, so a receiver's switch is exhaustive.
public protocol EventReceiver: AnyObject {
  associatedtype Event

  /// Handles one event to completion and may return the event to be handled next, in the same turn.
  func processEvent(_ event: Event) -> Event?
}

/// Delivers injected, expired and queued events to one receiver, one at a time, on the caller's thread.
///
/// An *empty* event is nil. Fabric hands it to the receiver, whose default branch shrugs; its use is to learn
/// that the loop has come past everything queued before it. A closed enum has no case for nothing, so here an
/// empty event takes its place in the queue and its share of the budget, and reaches no receiver.
///
/// Confined to one thread; a host with other producers hands their events over to that thread first. No call
/// allocates but the initializer.
public final class EventManager<Receiver: EventReceiver> {
  /// The timers whose expired events are delivered at the beginning of a turn.
  public let timers: TimerFactory<Receiver.Event>
  /// How many events the queue holds at most.
  public let queueCapacity: Int

  // Exempt from exclusivity checks: no access outlives its own statement, so a receiver that calls back meets
  // none.
  @usableFromInline let ring: UnsafeMutablePointer<Receiver.Event?>
  @usableFromInline let ringMask: Int
  @usableFromInline @exclusivity(unchecked) var head = 0
  @usableFromInline @exclusivity(unchecked) var count = 0
  @usableFromInline @exclusivity(unchecked) var target: Receiver?
  @usableFromInline @exclusivity(unchecked) var started = false
  @usableFromInline @exclusivity(unchecked) var halted = false
  @usableFromInline @exclusivity(unchecked) var inTurn = false
  @usableFromInline @exclusivity(unchecked) var refusals: UInt64 = 0
  @usableFromInline @exclusivity(unchecked) var drops: UInt64 = 0

  /// A manager without a receiver, not started.
  ///
  /// - Parameter queueCapacity: at least 1.
  public init(queueCapacity: Int, timers: TimerFactory<Receiver.Event>) {
    precondition(queueCapacity > 0, "a queue holds at least one event")
    self.queueCapacity = queueCapacity
    self.timers = timers
    var ringSize = 1
    while ringSize < queueCapacity { ringSize *= 2 }
    ringMask = ringSize - 1
    ring = .allocate(capacity: ringSize)
    ring.initialize(repeating: nil, count: ringSize)
  }

  deinit {
    ring.deinitialize(count: ringMask + 1)
    ring.deallocate()
  }

  /// The receiver, held strongly; stays readable after halt.
  @inlinable
  public var receiver: Receiver? { target }

  /// Whether `halt()` has been called.
  @inlinable
  public var isHalted: Bool { halted }

  /// Whether turns deliver: started and not halted.
  @inlinable
  public var isRunning: Bool { started && !halted }

  /// How many events are waiting in the queue, empty ones included.
  @inlinable
  public var queued: Int { count }

  /// Whether another turn at the same instant would deliver something: after a turn, only if its budget was
  /// spent.
  @inlinable
  public var hasPendingEvents: Bool { isRunning && (count > 0 || timers.hasFired) }

  /// How many events the full queue has refused.
  @inlinable
  public var refused: UInt64 { refusals }

  /// How many events reached no receiver: delivered while none was set, or still queued at halt. Empty events
  /// are not counted.
  @inlinable
  public var dropped: UInt64 { drops }

  /// Names the receiver of all further events.
  @inlinable
  public func setReceiver(_ receiver: Receiver) {
    guard !halted else { return }
    target = receiver
  }

  /// Lets turns deliver. Until then queued events wait. Idempotent.
  @inlinable
  public func start() {
    guard !halted else { return }
    started = true
  }

  /// Ends delivery for good. Idempotent.
  ///
  /// Events still queued are discarded and counted as dropped. Called by a receiver, it lets the chain of the
  /// event in progress run to completion, and nothing after it. The timers belong to whoever made them and
  /// are not halted.
  public func halt() {
    guard !halted else { return }
    halted = true
    while count > 0 {
      if takeFirst() != nil { drops &+= 1 }
    }
  }

  /// Appends an event to the queue, to be handled in order by a later step of this turn or the next one.
  ///
  /// - Returns: false when the queue is full (the event is refused and counted) or the manager is halted.
  @inlinable
  @discardableResult
  public func queue(_ event: Receiver.Event?) -> Bool {
    guard !halted else { return false }
    guard count < queueCapacity else {
      refusals &+= 1
      return false
    }
    ring[(head &+ count) & ringMask] = event
    count &+= 1
    return true
  }

  /// Handles an event and all that its receiver chains to it before returning, ahead of everything queued.
  ///
  /// Needs no start, and may be called by the receiver itself. Without a receiver the event is dropped and
  /// counted.
  @inlinable
  public func inject(_ event: Receiver.Event?) {
    guard !halted, let event else { return }
    deliver(event)
  }

  /// One turn: moves the timers' time to `instant`, delivers what has expired, then drains the queue,
  /// including what is queued meanwhile.
  ///
  /// Does nothing before start and after halt. Must not be called by a receiver. A countdown started during
  /// the turn fires in a later turn at the earliest, so a turn without queued events always ends.
  ///
  /// - Parameters:
  ///   - instant: the one instant of the whole turn; earlier than the last turn's counts as the last turn's.
  ///   - budget: how many events to take at most; chained and injected ones ride along free.
  /// - Returns: how many expired and queued events were taken, empty ones included.
  @inlinable
  @discardableResult
  public func runTurn(at instant: Instant, budget: Int = .max) -> Int {
    guard isRunning else { return 0 }
    precondition(!inTurn, "a receiver must not run a turn of its own manager")
    inTurn = true
    timers.advance(to: instant)
    var taken = 0
    while taken < budget, !halted, let event = timers.takeFired() {
      taken &+= 1
      deliver(event)
    }
    while taken < budget, count > 0 {
      taken &+= 1
      if let event = takeFirst() { deliver(event) }
    }
    inTurn = false
    return taken
  }

  @inlinable
  func deliver(_ event: Receiver.Event) {
    guard let receiver = target else {
      drops &+= 1
      return
    }
    var next = receiver.processEvent(event)
    while let chained = next { next = receiver.processEvent(chained) }
  }

  @inlinable
  func takeFirst() -> Receiver.Event? {
    let event = ring[head]
    ring[head] = nil
    head = (head &+ 1) & ringMask
    count &-= 1
    return event
  }
}
