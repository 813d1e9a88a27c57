// Eligible requests and what their age means: forwarded once at half the request timeout, a reason to suspect
// the primary at all of it (decision record 17).
//
// Kept true here: only a request that the primary could propose grows old; waiting in a queue that moves in
// order is no reason for suspicion, being overtaken is; one timer for all requests, whatever their number.

import PBFT

/// A request that is next in its session, by the instant at which it became so here.
struct EligibleRequest: BitwiseCopyable {
  var slot: RequestSlot
  var generation: UInt32
  var since: Int64
}

extension Replica {
  /// Forwards per timer event, so that a burst that grows old together does not flood the links.
  private static let forwardBurst = 256
  /// Forwards of requests that have been forwarded before.
  private static let forwardAgainBurst = 32

  /// Whether requests grow old here: at a backup, with a timeout.
  private var hasDeadlines: Bool {
    configuration.requestTimeoutNanoseconds > 0 && configuration.consenter == .pbft && role == .following
  }

  func becomeEligible(_ slot: RequestSlot) {
    guard hasDeadlines else { return }
    if eligible.isFull { compactEligible() }
    let since = timers.now.nanoseconds
    store.records[slot.index].pointee.eligibleAt = since
    let generation = store.headers[slot.index].pointee.generation
    eligible.append(EligibleRequest(slot: slot, generation: generation, since: since))
    if !isRequestTimerArmed { armRequestTimer() }
  }

  @inline(__always)
  private func isWaiting(_ entry: EligibleRequest) -> Bool {
    let header = store.headers[entry.slot.index]
    return header.pointee.generation == entry.generation && header.pointee.flags.contains(.stored)
  }

  /// Forgets what has been executed at the head, in the order in which it mostly is.
  @inline(__always)
  func dropExecutedDeadlines() {
    while !eligible.isEmpty, !isWaiting(eligible[0]) {
      _ = eligible.removeFirst()
      if forwardedCount > 0 { forwardedCount &-= 1 }
    }
  }

  /// Forgets what has been executed anywhere, when the queue is full: one request that is stuck must not make
  /// it grow.
  private func compactEligible() {
    var kept = 0
    var keptForwarded = 0
    for offset in 0..<eligible.count {
      let entry = eligible[offset]
      guard isWaiting(entry) else { continue }
      eligible[kept] = entry
      kept += 1
      if offset < forwardedCount { keptForwarded += 1 }
    }
    eligible.truncate(to: kept)
    forwardedCount = keptForwarded
    // Mostly of requests that wait: those are bounded by the store.
    if kept > eligible.capacity / 2 { eligible.grow() }
  }

  func checkDeadlines() {
    isRequestTimerArmed = false
    guard hasDeadlines else { return }
    dropExecutedDeadlines()
    forwardOverdue()
    forwardAgain()
    if mustSuspect() || isAccusedOverdue {
      if let clients = accusation?.clients {
        for client in clients { core.processEvent(.suspectPrimary(accused: client)) }
      } else {
        core.processEvent(.suspectPrimary(accused: nil))
      }
      settle()
    }
    armRequestTimer()
  }

  /// Sends each request that has waited for half the timeout to all replicas, once: the primary may not have
  /// it.
  private func forwardOverdue() {
    let due = timers.now.nanoseconds - configuration.requestTimeoutNanoseconds / 2
    var sent = 0
    while forwardedCount < eligible.count, eligible[forwardedCount].since <= due, sent < Replica.forwardBurst
    {
      let entry = eligible[forwardedCount]
      forwardedCount += 1
      guard isWaiting(entry), !store.headers[entry.slot.index].pointee.flags.contains(.forwarded) else {
        continue
      }
      store.headers[entry.slot.index].pointee.flags.insert(.forwarded)
      counts.requestsForwarded &+= 1
      emit(.forward(entry.slot))
      sent += 1
    }
    isForwardingPaused = sent == Replica.forwardBurst
  }

  /// A request that still waits long after it was forwarded is forwarded again, with back-off: what was sent
  /// may be lost, and a correct primary is not left for it. Of many that wait, the oldest.
  private func forwardAgain() {
    guard forwardedCount > 0, let due = forwardAgainAt else { return }
    let now = timers.now.nanoseconds
    guard due <= now else { return }
    forwardAgainDelay = min(forwardAgainDelay * 2, 16 * configuration.requestTimeoutNanoseconds)
    forwardAgainBase = now
    for offset in 0..<min(forwardedCount, Replica.forwardAgainBurst) where isWaiting(eligible[offset]) {
      counts.requestsForwarded &+= 1
      emit(.forward(eligible[offset].slot))
    }
  }

  /// When the oldest request is forwarded again; nil while none has been.
  private var forwardAgainAt: Int64? {
    guard forwardedCount > 0, !eligible.isEmpty else { return nil }
    if eligible[0].since != forwardAgainHead {
      forwardAgainHead = eligible[0].since
      forwardAgainBase = eligible[0].since + configuration.requestTimeoutNanoseconds / 2
      forwardAgainDelay = configuration.requestTimeoutNanoseconds
    }
    return forwardAgainBase + forwardAgainDelay
  }

  /// Whether the oldest eligible request has waited for the timeout, and either no client request was
  /// executed for as long, or one was that became eligible at least half the timeout later.
  private func mustSuspect() -> Bool {
    guard !core.isSuspecting, !eligible.isEmpty else { return false }
    let timeout = configuration.requestTimeoutNanoseconds
    let now = timers.now.nanoseconds
    let since = eligible[0].since
    guard now - since >= timeout else { return false }
    return now - lastRequestExecutedAt >= timeout || latestArrivalExecuted - timeout / 2 >= since
  }

  /// Sets the one timer to the next instant at which something may have to be done.
  func armRequestTimer() {
    guard hasDeadlines, !eligible.isEmpty || accusation != nil else { return }
    let timeout = configuration.requestTimeoutNanoseconds
    let now = timers.now.nanoseconds
    var deadline = Int64.max
    if forwardedCount < eligible.count {
      deadline = eligible[forwardedCount].since + timeout / 2
      if isForwardingPaused { deadline = max(deadline, now + timeout / 64) }
    }
    if let accusation, !core.isSuspecting, lastExecuted < accusation.sequence {
      // As below: a replica that abstains need not look again at once.
      let overdue = accusation.since + timeout
      deadline = min(deadline, overdue <= now ? now + timeout / 8 : overdue)
    }
    if !core.isSuspecting, !eligible.isEmpty {
      var suspicion = eligible[0].since + timeout
      // Old enough, and the queue moves: look again when it may have stopped, and for overtaking meanwhile.
      if suspicion <= now {
        suspicion = min(lastRequestExecutedAt + timeout, now + timeout / 8)
        // A replica that abstains has found reason and cannot say so: it need not look again at once.
        if suspicion <= now { suspicion = now + timeout / 8 }
      }
      deadline = min(deadline, suspicion)
    }
    if let again = forwardAgainAt { deadline = min(deadline, again) }
    guard deadline < Int64.max else { return }
    requestTimer.reset(afterNanoseconds: max(1, deadline - now), event: .requestTimeout)
    isRequestTimerArmed = true
  }
}
