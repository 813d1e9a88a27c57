// Timers as deadline values (the contract of Fabric v0.6's `events.Timer`, without its threads).
//
// Kept true here: a timer fires only while its factory's time moves forward, at most once per reset, and an
// event that expired is delivered only if nobody has stopped or reset its timer in the meantime. No thread,
// no callback: the host asks for the earliest deadline, waits for it as it likes, and hands the instant in.

/// One countdown with the event it will deliver; made by `TimerFactory.createTimer()`, stopped at first.
///
/// The timer is a handle: the countdown lives in the factory and goes on when the handle is dropped.
/// One-shot: there is no periodic mode. Confined to the thread of its factory. Every verb is O(1) and
/// allocates nothing.
public final class EventTimer<Event> {
  @usableFromInline let factory: TimerFactory<Event>
  @usableFromInline let index: Int

  @inlinable
  init(factory: TimerFactory<Event>, index: Int) {
    self.factory = factory
    self.index = index
  }

  /// Starts the countdown anew with this delay and event; the former event never arrives, even if it had
  /// expired.
  ///
  /// - Parameter nanoseconds: from the factory's `now`; not negative. With 0 the event fires on the next
  ///   advance, not within the turn that asks for it.
  @inlinable
  public func reset(afterNanoseconds nanoseconds: Int64, event: Event) {
    factory.start(index, afterNanoseconds: nanoseconds, event: event, discardingFired: true)
  }

  /// Starts the countdown only if none is running; while one is, the call changes nothing at all.
  ///
  /// An event that has expired and is not delivered yet stays deliverable (Fabric's original loses it here,
  /// against its own comment). So both it and the new countdown's event will arrive, in that order.
  @inlinable
  public func softReset(afterNanoseconds nanoseconds: Int64, event: Event) {
    guard !factory.slots[index].isRunning else { return }
    factory.start(index, afterNanoseconds: nanoseconds, event: event, discardingFired: false)
  }

  /// Cancels the countdown and silences an event that has expired and is not delivered yet.
  @inlinable
  public func stop() { factory.clear(index) }

  /// Stops for good: every later verb on this timer does nothing. Idempotent.
  @inlinable
  public func halt() {
    factory.clear(index)
    factory.slots[index].isHalted = true
  }

  /// Whether a countdown is under way. False once it has expired, delivered or not.
  @inlinable
  public var isRunning: Bool { factory.slots[index].isRunning }

  /// The instant at which the running countdown expires; nil when none is running.
  @inlinable
  public var deadline: Instant? {
    let slot = factory.slots + index
    return slot.pointee.isRunning ? slot.pointee.deadline : nil
  }
}

/// Makes timers and keeps their one time line: an instant that only moves forward, by `advance(to:)`.
///
/// For a handful of timers made at start-up and kept (the replica has fewer than ten): what is scanned is
/// scanned linearly, and a slot is never given back. Confined to one thread.
public final class TimerFactory<Event> {
  @usableFromInline
  struct Slot {
    @usableFromInline var deadline: Instant
    @usableFromInline var isRunning: Bool
    @usableFromInline var isHalted: Bool
    @usableFromInline var event: Event?
    /// When the undelivered event expired; meaningful while `firedEvent` is there.
    @usableFromInline var firedDeadline: Instant
    @usableFromInline var firedEvent: Event?

    @inlinable
    init() {
      deadline = .distantFuture
      isRunning = false
      isHalted = false
      event = nil
      firedDeadline = .distantFuture
      firedEvent = nil
    }
  }

  // The state is behind a pointer and exempt from exclusivity checks: no access here outlives its own
  // statement, and the checks would cost more than the work.
  @usableFromInline @exclusivity(unchecked) var slots: UnsafeMutablePointer<Slot>
  @usableFromInline @exclusivity(unchecked) var slotCapacity: Int
  @usableFromInline @exclusivity(unchecked) var slotCount: Int
  @usableFromInline @exclusivity(unchecked) var firedCount: Int
  /// No countdown expires before this instant; may be too early after a stop, never too late.
  @usableFromInline @exclusivity(unchecked) var nextExpiry: Instant
  @usableFromInline @exclusivity(unchecked) var clock: Instant

  /// A factory whose time line stands at `zero`. Advance it to the host's instant before the first reset.
  public init() {
    slotCapacity = 8
    slots = .allocate(capacity: slotCapacity)
    slotCount = 0
    firedCount = 0
    nextExpiry = .distantFuture
    clock = .zero
  }

  deinit {
    slots.deinitialize(count: slotCount)
    slots.deallocate()
  }

  /// The instant of the turn under way: the latest one handed to `advance(to:)`.
  @inlinable
  public var now: Instant { clock }

  /// A new, stopped timer. Grows the table now and then; call it at start-up.
  public func createTimer() -> EventTimer<Event> {
    if slotCount == slotCapacity {
      let larger = UnsafeMutablePointer<Slot>.allocate(capacity: slotCapacity * 2)
      larger.moveInitialize(from: slots, count: slotCount)
      slots.deallocate()
      slots = larger
      slotCapacity *= 2
    }
    (slots + slotCount).initialize(to: Slot())
    slotCount += 1
    return EventTimer(factory: self, index: slotCount - 1)
  }

  /// Moves time forward and fires every countdown that expires up to and including `instant`.
  ///
  /// An instant earlier than `now` leaves `now` as it is. One comparison when nothing expires, else
  /// O(timers). A timer holds at most one undelivered event: a second one, started by a soft reset, fires on
  /// the first advance after the delivery of the first.
  @inlinable
  public func advance(to instant: Instant) {
    if instant > clock { clock = instant }
    guard nextExpiry <= clock else { return }
    fireExpired()
  }

  /// Takes the undelivered event that expired first (of equal deadlines, that of the timer made first); nil
  /// when there is none. Taking one event at a time lets its receiver still silence the others.
  @inlinable
  public func takeFired() -> Event? {
    guard firedCount > 0 else { return nil }
    return takeEarliestFired()
  }

  /// The instant at which the host has to run the next turn: the earliest running countdown, or, if an
  /// expired event awaits delivery, the past instant at which it expired. nil when no timer asks for
  /// anything. O(timers).
  @inlinable
  public var earliestDeadline: Instant? {
    var earliest: Instant? = nil
    for index in 0..<slotCount {
      let slot = slots + index
      if slot.pointee.isRunning {
        earliest = min(earliest ?? .distantFuture, slot.pointee.deadline)
      }
      if slot.pointee.firedEvent != nil {
        earliest = min(earliest ?? .distantFuture, slot.pointee.firedDeadline)
      }
    }
    return earliest
  }

  /// An instant before which no running countdown expires; may be earlier than the first deadline. O(1).
  @inlinable
  public var noExpiryBefore: Instant { nextExpiry }

  /// Whether an expired event awaits delivery.
  @inlinable
  public var hasFired: Bool { firedCount > 0 }

  @inlinable
  func start(_ index: Int, afterNanoseconds nanoseconds: Int64, event: Event, discardingFired: Bool) {
    precondition(nanoseconds >= 0, "a countdown cannot be negative")
    let slot = slots + index
    guard !slot.pointee.isHalted else { return }
    if discardingFired { discardFired(slot) }
    slot.pointee.deadline = clock + nanoseconds
    slot.pointee.event = event
    slot.pointee.isRunning = true
    if slot.pointee.deadline < nextExpiry { nextExpiry = slot.pointee.deadline }
  }

  @inlinable
  func clear(_ index: Int) {
    let slot = slots + index
    slot.pointee.isRunning = false
    slot.pointee.event = nil
    discardFired(slot)
  }

  @inlinable
  func discardFired(_ slot: UnsafeMutablePointer<Slot>) {
    guard slot.pointee.firedEvent != nil else { return }
    slot.pointee.firedEvent = nil
    firedCount -= 1
  }

  @inlinable
  func fireExpired() {
    var next = Instant.distantFuture
    for index in 0..<slotCount {
      let slot = slots + index
      guard slot.pointee.isRunning else { continue }
      guard slot.pointee.deadline <= clock, slot.pointee.firedEvent == nil else {
        next = min(next, slot.pointee.deadline)
        continue
      }
      slot.pointee.firedDeadline = slot.pointee.deadline
      slot.pointee.firedEvent = slot.pointee.event
      slot.pointee.event = nil
      slot.pointee.isRunning = false
      firedCount += 1
    }
    nextExpiry = next
  }

  @inlinable
  func takeEarliestFired() -> Event? {
    var earliest: UnsafeMutablePointer<Slot>?
    for index in 0..<slotCount {
      let slot = slots + index
      guard slot.pointee.firedEvent != nil else { continue }
      if let found = earliest, found.pointee.firedDeadline <= slot.pointee.firedDeadline { continue }
      earliest = slot
    }
    guard let earliest else { return nil }
    let event = earliest.pointee.firedEvent
    discardFired(earliest)
    return event
  }
}
