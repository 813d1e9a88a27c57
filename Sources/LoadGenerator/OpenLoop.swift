// The open loop: requests become due by the schedule alone, and every delay from then on is the request's latency. A due
// request takes a free session or waits, with its intended time, for one; whatever is due on waking is sent, nothing is
// skipped; a request without an answer is counted for what it is.

import Channels
import NIOCore
import Results
import ServiceClient
import Workload

/// Drives sessions by a plan. Belongs to the sessions' event loop; one run per generator.
public final class OpenLoop: SessionsObserver, @unchecked Sendable {
  /// Called on the loop when the load begins, with the instant from which its times count.
  public var onStart: ((_ nanoseconds: Int64) -> Void)?
  /// Called on the loop when the measurement begins and when it ends.
  public var onMeasurement: ((_ begins: Bool) -> Void)?
  /// Called on the loop once per second with the second that has ended.
  public var onSecond: ((_ second: Int, LoadSecond) -> Void)?

  /// The shortest pause between two looks at the schedule, so that requests share flushes and the machine is not spent on the
  /// generator's system calls: over sockets a twentieth of the median latency of late, within these bounds; in memory next
  /// to nothing. What it adds to the lag is recorded, as all lag is.
  static let shortPauseNanoseconds: Int64 = 20_000
  static let pauseAtHighRateNanoseconds: Int64 = 60_000
  static let pauseAtHighLatencyNanoseconds: Int64 = 1_000_000
  /// Requests per second from which a rate is high.
  static let highRate = 12_000.0
  static let longestSleepNanoseconds: Int64 = 2_000_000
  /// How long due requests keep going to one connection while it has free sessions: requests that are due together travel
  /// together, and so do their replies, as they would from as many clients of one busy host.
  static let connectionSliceNanoseconds: Int64 = 1_000_000
  /// How long the loop signs requests before it flushes them and looks at its links again.
  static let signingTurnNanoseconds: Int64 = 100_000

  private let loop: any EventLoop
  private let sessions: ClientSessions
  private let plan: LoadPlan
  private var schedule: Schedule?
  private var nextDue: Int64 = .max
  private var outcome = LoadOutcome()
  private var audit: ServiceAudit?
  private var free: FreeSessions
  private var waiting: WaitingRequests
  private var start: Int64 = 0
  private var measureStart: Int64 = 0
  private var measureEnd: Int64 = 0
  private var isMeasuring = false
  private var hasMeasured = false
  private var isDone = false
  private var cpuAtStart: Int64 = 0
  private var retransmitsAtStart: UInt64 = 0
  private var signingAtStart = SampledCost()
  private let leastPauseNanoseconds: Int64
  private let mostPauseNanoseconds: Int64
  private var pauseNanoseconds: Int64
  private var typicalLatency = RunningMedian()
  private var lastAdvance: Int64 = 0
  private var lastSend: Int64 = 0
  private var isBehind = false
  private var lastRotation: Int64 = 0
  private var currentSecond = 0
  private var unorderedCredit = 0.0
  private var promise: EventLoopPromise<LoadOutcome>
  private var timer: NIOScheduledCallback?

  public init(plan: LoadPlan, sessions: ClientSessions) {
    self.plan = plan
    self.sessions = sessions
    loop = sessions.loop
    promise = loop.makePromise()
    let configuration = sessions.configuration
    free = FreeSessions(
      sessions: configuration.sessions, connections: configuration.connections,
      outstanding: configuration.outstanding)
    var capacity = 1024
    var pause = Self.shortPauseNanoseconds
    if case .open(let arrival, let rate) = plan.pacing {
      if !plan.signsInline, rate >= Self.highRate, !configuration.isInMemory {
        pause = Self.pauseAtHighRateNanoseconds
      }
      schedule = Schedule(arrival: arrival, ratePerSecond: rate, seed: plan.seed)
      capacity = max(capacity, Int(rate * 10) + 1)
    }
    leastPauseNanoseconds = pause
    mostPauseNanoseconds = configuration.isInMemory ? pause : Self.pauseAtHighLatencyNanoseconds
    pauseNanoseconds = pause
    waiting = WaitingRequests(capacity: capacity)
    audit = ServiceAudit(plan, sessions: configuration.sessions)
    let lengthNanoseconds = plan.warmupNanoseconds + plan.measureNanoseconds + plan.drainNanoseconds
    outcome.seconds.reserveCapacity(Int(lengthNanoseconds / 1_000_000_000) + 2)
  }

  /// Runs the plan to its end: warm-up, measurement, drain.
  public func run() -> EventLoopFuture<LoadOutcome> {
    loop.execute { [self] in begin() }
    return promise.futureResult
  }

  /// Ends the run early; its future fails with `CancellationError`. May be called from anywhere, at any time.
  public func cancel() {
    loop.execute { [self] in
      guard !isDone else { return }
      isDone = true
      timer?.cancel()
      sessions.observer = nil
      promise.fail(CancellationError())
    }
  }

  // MARK: Phases

  private func begin() {
    guard !isDone else { return }
    sessions.observer = self
    start = monotonicNanoseconds() + 1_000_000
    measureStart = start + plan.warmupNanoseconds
    measureEnd = measureStart + plan.measureNanoseconds
    lastAdvance = start
    outcome.startNanoseconds = start
    onStart?(start)
    if let counting = schedule {
      outcome.scheduled = counting.dueCount(in: plan.warmupNanoseconds..<measureEnd - start)
    }
    if schedule != nil {
      takeNextDue()
    } else {
      for session in 0..<sessions.configuration.sessions { sendClosed(session) }
    }
    tick()
  }

  private func takeNextDue() {
    let due = start + schedule!.next()
    nextDue = due < measureEnd ? due : .max
  }

  fileprivate func tick() {
    guard !isDone else { return }
    var now = monotonicNanoseconds()
    enterPhase(now)
    sendDue(now)
    if now - lastAdvance >= 1_000_000 {
      lastAdvance = now
      sessions.advance(to: now)
      withdraw(now)
      endSeconds(now)
    }
    if now >= measureEnd, nextDue == .max, sessions.inFlight == 0, waiting.isEmpty { return finish(now) }
    now = monotonicNanoseconds()
    pauseNanoseconds = min(max(typicalLatency.value / 20, leastPauseNanoseconds), mostPauseNanoseconds)
    var wake = now + Self.longestSleepNanoseconds
    if nextDue < wake { wake = max(nextDue, nextLook(now)) }
    if now < measureStart { wake = min(wake, max(measureStart, now + leastPauseNanoseconds)) }
    if now < measureEnd { wake = min(wake, max(measureEnd, now + leastPauseNanoseconds)) }
    arm(at: wake)
  }

  /// When the schedule is looked at next at the earliest: at once when a turn of signing has left requests over.
  private func nextLook(_ now: Int64) -> Int64 {
    isBehind ? now : max(lastSend + pauseNanoseconds, now + leastPauseNanoseconds)
  }

  private func arm(at wake: Int64) {
    let deadline = NIODeadline.uptimeNanoseconds(UInt64(wake))
    timer = try? loop.scheduleCallback(at: deadline, handler: TickHandler(generator: self))
  }

  private func enterPhase(_ now: Int64) {
    if !isMeasuring, !hasMeasured, now >= measureStart {
      isMeasuring = true
      cpuAtStart = threadCPUNanoseconds()
      retransmitsAtStart = sessions.counters.retransmits
      signingAtStart = sessions.signing
      onMeasurement?(true)
    }
    if isMeasuring, now >= measureEnd {
      isMeasuring = false
      hasMeasured = true
      outcome.generatorCPUNanoseconds = threadCPUNanoseconds() - cpuAtStart
      outcome.measuredNanoseconds = plan.measureNanoseconds
      outcome.signNanoseconds = sessions.signing.mean(since: signingAtStart)
      onMeasurement?(false)
    }
  }

  private func finish(_ now: Int64) {
    isDone = true
    endSeconds(now + 1_000_000_000)
    outcome.drainedNanoseconds = max(0, now - measureEnd)
    outcome.gaps.end(at: now - start)
    outcome.retransmits = sessions.counters.retransmits - retransmitsAtStart
    outcome.unorderedSentOrdered = sessions.counters.unorderedSentOrdered
    outcome.lostLinks = sessions.counters.lostLinks
    if let audit {
      outcome.checked = audit.checked
      outcome.violations = audit.violations
      outcome.firstViolation = audit.firstViolation
    }
    sessions.observer = nil
    promise.succeed(outcome)
  }

  // MARK: Requests

  private func isMeasured(_ intended: Int64) -> Bool { intended >= measureStart && intended < measureEnd }

  private func issue(intended: Int64) {
    withSecond(of: intended) { $0.offered += 1 }
    if isMeasured(intended) { outcome.offered += 1 }
    if let session = free.take() {
      send(session, intended: intended, freeSince: intended)
    } else if waiting.append(intended) {
      if isMeasured(intended) { outcome.starved += 1 }
    } else if isMeasured(intended) {
      outcome.refused += 1
      recordCensored()
    }
  }

  private func send(_ session: Int, intended: Int64, freeSince: Int64) {
    var kind = InvocationKind.ordered
    if plan.unorderedFraction > 0 {
      unorderedCredit += plan.unorderedFraction
      if unorderedCredit >= 1 {
        unorderedCredit -= 1
        kind = .unordered
      }
    }
    let sent = plan.content.withUnsafeBytes {
      sessions.submit(
        session: session, content: $0, intended: intended, deadline: intended + plan.drainNanoseconds,
        context: audit?.highestAnswered ?? 0, kind: kind)
    }
    outcome.sentInAll += 1
    withSecond(of: sent) {
      $0.sent += 1
      $0.lag.record(sent - intended)
    }
    if isMeasured(intended) {
      outcome.sent += 1
      outcome.lag.record(UInt64(max(0, sent - intended)))
      outcome.generatorLag.record(UInt64(max(0, sent - max(intended, freeSince))))
    }
  }

  private func sendClosed(_ session: Int) {
    let now = monotonicNanoseconds()
    guard now < measureEnd else { return }
    if isMeasured(now) { outcome.offered += 1 }
    send(session, intended: now, freeSince: now)
  }

  /// Requests that have waited for a session for D are withdrawn.
  private func withdraw(_ now: Int64) {
    while let intended = waiting.first, intended + plan.drainNanoseconds <= now {
      waiting.removeFirst()
      if isMeasured(intended) { recordCensored() }
    }
  }

  private func recordCensored() {
    outcome.censored += 1
    outcome.latency.record(UInt64(plan.drainNanoseconds))
    outcome.censoredLatency.record(UInt64(plan.drainNanoseconds))
  }

  // MARK: Outcomes

  public func sessionsHaveCompletions(_ sessions: ClientSessions) {
    let completions = sessions.completions
    for index in completions.indices {
      let completion = completions[index]
      record(completion)
      let session = Int(completion.session)
      if schedule == nil {
        sendClosed(session)
      } else if let intended = waiting.first {
        waiting.removeFirst()
        send(session, intended: intended, freeSince: completion.completed)
      } else {
        free.give(session)
      }
    }
  }

  /// On waking, everything due is sent, whatever woke us: many links' replies may be waiting at once.
  public func sessionsHaveRead(_ sessions: ClientSessions, at now: Int64) {
    if nextDue <= now, isBehind || now - lastSend >= pauseNanoseconds { sendDue(now) }
  }

  /// Sends what is due at `now`.
  private func sendDue(_ now: Int64) {
    guard nextDue <= now else { return }
    lastSend = now
    if now - lastRotation >= Self.connectionSliceNanoseconds {
      lastRotation = now
      free.rotate()
    }
    isBehind = false
    while nextDue <= now {
      issue(intended: nextDue)
      takeNextDue()
      // Signing takes long enough for more to become due meanwhile; the loop must still get to its replies.
      if plan.signsInline, monotonicNanoseconds() - now >= Self.signingTurnNanoseconds {
        isBehind = nextDue <= now
        return
      }
    }
  }

  private func record(_ completion: Completion) {
    let latency = completion.completed - completion.intended
    let measured = isMeasured(completion.intended)
    switch completion.outcome {
    case .answered:
      outcome.answeredInAll += 1
      typicalLatency.add(latency)
      outcome.gaps.answered(at: completion.completed - start)
      if completion.completed >= measureStart, completion.completed < measureEnd {
        outcome.quorumsInWindow += 1
      }
      withSecond(of: completion.completed) {
        $0.answered += 1
        $0.latency.record(latency)
      }
      if audit != nil {
        audit!.check(completion, sessions.content(of: completion), sentInAll: outcome.sentInAll)
      }
      guard measured else { return }
      guard latency <= plan.drainNanoseconds else { return recordCensored() }
      outcome.answered += 1
      outcome.latency.record(UInt64(max(0, latency)))
      outcome.service.record(UInt64(max(0, completion.completed - completion.sent)))
      let bin = Int((completion.intended - measureStart) * 50 / plan.measureNanoseconds)
      outcome.bins[bin].answered += 1
      outcome.bins[bin].latencySum += Double(latency)
    case .unknown:
      outcome.gaps.gaveUp()
      if measured { recordCensored() }
    case .diverged:
      withSecond(of: completion.completed) { $0.errors += 1 }
      if measured {
        outcome.errors += 1
        recordCensored()
      }
    }
  }

  // MARK: Seconds

  private func withSecond(of instant: Int64, _ body: (inout LoadSecond) -> Void) {
    let second = Int(max(0, instant - start) / 1_000_000_000)
    while outcome.seconds.count <= second { outcome.seconds.append(LoadSecond()) }
    body(&outcome.seconds[second])
  }

  private func endSeconds(_ now: Int64) {
    let second = Int(max(0, now - start) / 1_000_000_000)
    while currentSecond < second, currentSecond < outcome.seconds.count {
      outcome.seconds[currentSecond].inFlightAtEnd = sessions.inFlight + waiting.count
      onSecond?(currentSecond, outcome.seconds[currentSecond])
      currentSecond += 1
    }
  }
}

/// Wakes a generator from the loop's timers.
private final class TickHandler: NIOScheduledCallbackHandler, Sendable {
  private let generator: OpenLoop

  init(generator: OpenLoop) { self.generator = generator }

  func handleScheduledCallback(eventLoop: some EventLoop) { generator.tick() }
}

/// Sessions that can take a request, kept by connection: for a slice of time requests go to one connection as far as its
/// sessions reach, so that they share flushes, and then to the next. Within a connection the
/// session that has been free for longest is next, so that all of them take part.
struct FreeSessions: ~Copyable {
  private let rings: UnsafeMutablePointer<Int32>
  private let heads: UnsafeMutablePointer<Int32>
  private let counts: UnsafeMutablePointer<Int32>
  private let connections: Int
  private let capacity: Int
  private var current = 0
  private(set) var count = 0

  init(sessions: Int, connections: Int, outstanding: Int) {
    self.connections = connections
    capacity = (sessions + connections - 1) / connections * outstanding
    rings = .allocate(capacity: capacity * connections)
    heads = .allocate(capacity: connections)
    heads.initialize(repeating: 0, count: connections)
    counts = .allocate(capacity: connections)
    counts.initialize(repeating: 0, count: connections)
    for _ in 0..<outstanding {
      for session in 0..<sessions { give(session) }
    }
  }

  deinit {
    rings.deallocate()
    heads.deallocate()
    counts.deallocate()
  }

  mutating func give(_ session: Int) {
    let connection = session % connections
    var tail = Int(heads[connection]) + Int(counts[connection])
    if tail >= capacity { tail -= capacity }
    rings[connection * capacity + tail] = Int32(session)
    counts[connection] += 1
    count += 1
  }

  /// The next slice begins with the next connection.
  mutating func rotate() { current = current + 1 == connections ? 0 : current + 1 }

  mutating func take() -> Int? {
    guard count > 0 else { return nil }
    while counts[current] == 0 { rotate() }
    let head = Int(heads[current])
    heads[current] = head + 1 == capacity ? 0 : Int32(head + 1)
    counts[current] -= 1
    count -= 1
    return Int(rings[current * capacity + head])
  }
}

/// About the median of the values of late: each moves it by a 256th towards itself.
struct RunningMedian {
  private(set) var value: Int64 = 0

  mutating func add(_ sample: Int64) {
    let step = value >> 8 &+ 64
    value = sample > value ? value &+ step : max(0, value &- step)
  }
}

/// Due requests without a session, first in, first out, by their intended times.
struct WaitingRequests: ~Copyable {
  private var ring: [Int64]
  private let capacity: Int
  private var head = 0
  private(set) var count = 0

  init(capacity: Int) {
    self.capacity = capacity
    ring = []
  }

  var isEmpty: Bool { count == 0 }
  var first: Int64? { count == 0 ? nil : ring[head] }

  /// False when the queue is full.
  mutating func append(_ intended: Int64) -> Bool {
    guard count < capacity else { return false }
    if count == ring.count { grow() }
    var tail = head + count
    if tail >= ring.count { tail -= ring.count }
    ring[tail] = intended
    count += 1
    return true
  }

  mutating func removeFirst() {
    head = head + 1 == ring.count ? 0 : head + 1
    count -= 1
  }

  private mutating func grow() {
    var wider: [Int64] = []
    wider.reserveCapacity(max(256, ring.count * 2))
    for index in 0..<count { wider.append(ring[(head + index) % ring.count]) }
    wider.append(contentsOf: repeatElement(0, count: max(256, ring.count * 2) - count))
    ring = wider
    head = 0
  }
}
