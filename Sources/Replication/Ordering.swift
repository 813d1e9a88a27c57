// The replica around its ordering core: messages in, the core's effects run in their order, and whose turn
// requests have in which view.
//
// Kept true here: a request that waits is queued, or grows old, or both wait for a view; a batch that no view
// in force will decide holds nothing back (OSDI '99 §4.4, Fabric's `viewChangedEvent`).

import PBFT

extension Replica {
  // MARK: In

  func receive(_ message: Message, from sender: ReplicaID) {
    switch message {
    case .fetchBatch(let digest):
      return answerFetch(digest, from: sender)
    case .fetchState(let query):
      return answerQuery(query, from: sender)
    case .checkpoint(let checkpoint):
      if let position = membership.position(of: sender) { vouched[position] = checkpoint }
      if !isMember { return follow(checkpoint) }
    case .prePrepare, .prepare, .commit, .suspect, .viewChange, .newView, .status, .executed: break
    }
    guard isMember else { return reject(.unknownSender, from: sender) }
    withCore { _ = $0.processEvent(.message(message, from: sender)) }
    settle()
  }

  /// A batch that was asked for by its digest (decision record 16); whoever sends it, it is what its digest
  /// says.
  func receive(_ digest: Digest, _ batch: BatchHandle, from sender: ReplicaID) {
    guard let held = batches.digest(of: batch) else { return reject(.malformed, from: sender) }
    guard held == digest, isMember else {
      discard(batch)
      return reject(.digestMismatch, from: sender)
    }
    counts.batchesFetched &+= 1
    core.processEvent(.batchFetched(digest, batch, isReconfiguration: isReconfiguration(batch)))
    settle()
  }

  private func answerFetch(_ digest: Digest, from sender: ReplicaID) {
    guard membership.position(of: sender) != nil else { return reject(.unknownSender, from: sender) }
    guard let batch = batches.find(digest) else { return }
    counts.batchesServed &+= 1
    emit(.sendBatch(batch, digest: digest, to: sender))
  }

  // MARK: Out

  /// Runs what the core asks for, and lets it propose what has become full or possible meanwhile.
  func settle() {
    runOrdering()
    while queuedWaiting >= configuration.batchSize, canPropose {
      proposeBatch()
      runOrdering()
    }
  }

  /// Runs the core's effects in their order.
  func runOrdering() {
    while let effect = withCore({ $0.takeEffect() }) {
      switch effect {
      case .broadcast(let message):
        name(message)
        emit(.broadcast(message))
      case .send(let message, let receiver):
        name(message)
        emit(.send(message, to: receiver))
      case .execute(let sequence, let view, let digest, let batch):
        execute(sequence, view: view, digest: digest, batch: batch)
      case .takeCheckpoint(let sequence):
        takeCheckpoint(sequence)
      case .discard(let batch):
        discard(batch)
      case .persist(let record):
        persist(record)
      case .startTimer(let timer, let nanoseconds):
        orderingTimers[Int(timer.rawValue)].reset(
          afterNanoseconds: nanoseconds, event: .orderingTimeout(timer))
      case .stopTimer(let timer):
        orderingTimers[Int(timer.rawValue)].stop()
      case .rejected(let rejection, let sender):
        reject(rejection, from: sender)
      case .stable(let checkpoint):
        becameStable(checkpoint)
      case .sign, .diverged, .suspected, .viewLeft, .viewEntered, .fetch, .transferState, .recovered,
        .accusedByWeakQuorum:
        runRare(effect)
      }
    }
    if nextMembership != nil { changeMembershipIfStable() }
    if needsSegment { beginSegment() }
  }

  @inline(never)
  private func runRare(_ effect: OrderingCore.Effect) {
    switch effect {
    case .sign(let handle):
      namedStatements.append((handle, core.statement(handle)))
      emit(.sign(handle))
    case .diverged(let checkpoint):
      counts.checkpointsDiverged &+= 1
      emit(.diverged(checkpoint.sequence))
    case .suspected(let view):
      counts.viewsSuspected &+= 1
      emit(.suspected(view))
    case .viewLeft(let view, let next):
      counts.viewsLeft &+= 1
      leaveRole()
      emit(.viewLeft(view, to: next))
    case .viewEntered(let view, let isPrimary):
      counts.viewChanges &+= 1
      assumeRole()
      emit(.viewEntered(view, isPrimary: isPrimary))
    case .fetch(let digest):
      fetch(digest)
    case .transferState(let checkpoint):
      beginTransfer(to: checkpoint)
    case .recovered:
      log.isRecovering = false
      persistRecovered()
      emit(.recovered)
    case .accusedByWeakQuorum(let client):
      refuseClient(client)
    default:
      break
    }
  }

  /// Keeps the statement that a message names until the host has run the effects.
  @inline(__always)
  private func name(_ message: Message) {
    switch message {
    case .viewChange(let handle), .newView(let handle):
      namedStatements.append((handle, core.statement(handle)))
    default: break
    }
  }

  /// A batch is wanted by its digest: from what is held, or from the others.
  private func fetch(_ digest: Digest) {
    guard let held = batches.find(digest) else {
      counts.batchesWanted &+= 1
      return emit(.broadcast(.fetchBatch(digest)))
    }
    batches.begin()
    for slot in batches.requests(of: held) {
      let record = store.records[slot.index]
      let header = store.headers[slot.index]
      if header.pointee.flags.contains(.stored), !header.pointee.isInLiveBatch {
        directory.lanes[Int(header.pointee.lane)].pointee.outstanding &-= 1
        waiting &-= 1
      }
      store.retain(slot)
      batches.append(
        slot, digest: record.pointee.digest,
        bytes: Int(record.pointee.dataCount) + Int(record.pointee.authenticatorCount))
    }
    let copy = batches.finish()
    batches.setLogged(copy.handle, batches.isLogged(held))
    core.processEvent(.batchFetched(digest, copy.handle, isReconfiguration: isReconfiguration(copy.handle)))
  }

  private func becameStable(_ checkpoint: Checkpoint) {
    counts.checkpointsStable &+= 1
    snapshots.becameStable(checkpoint)
    persistStable(checkpoint)
    emit(.stable(checkpoint.sequence))
  }

  // MARK: Whose turn it is

  /// The view is left: nothing is queued or grows old before the next one is entered.
  private func leaveRole() {
    role = .waiting
    forgetTurns()
    accusation = nil
  }

  private func forgetTurns() {
    while !queue.isEmpty { dropQueued(queue[0]) }
    queuedWaiting = 0
    isBatchOverdue = false
    batchTimer.stop()
    eligible.truncate(to: 0)
    forwardedCount = 0
    isForwardingPaused = false
    requestTimer.stop()
    isRequestTimerArmed = false
  }

  /// A view is in force: every request that waits has its turn in it, in the order of arrival. Those of
  /// batches that this view will decide count as proposed; a batch of an earlier view that it did not take
  /// over holds nothing back.
  func assumeRole() {
    forgetTurns()
    accusation = nil
    if isMember, isStarted, core.isActive {
      role = core.isPrimary ? .leading : .following
    } else {
      role = .waiting
    }
    lastRequestExecutedAt = timers.now.nanoseconds
    latestArrivalExecuted = .min / 2
    batches.markAllDead()
    core.forEachLiveBatch { _, _, batch in batches.markLive(batch) }
    recountLanes()
    takeTurns()
  }

  /// Counts anew what of the lanes is in live batches.
  private func recountLanes() {
    waiting = 0
    store.clearDeadReferences()
    batches.forEachDead { handle in
      for slot in batches.requests(of: handle) { store.headers[slot.index].pointee.dead &+= 1 }
    }
    directory.forEachLane { lane in
      let state = directory.lanes[Int(lane)]
      state.pointee.outstanding = 0
      guard state.pointee.stored > 0 else { return }
      for place in 0..<Lane.width {
        let slot = (directory.places[Int(lane)] + place).pointee
        guard slot != .none else { continue }
        let header = store.headers[slot.index]
        header.pointee.flags.remove(.forwarded)
        if header.pointee.isInLiveBatch { continue }
        state.pointee.outstanding &+= 1
        waiting &+= 1
      }
    }
  }

  /// Every lane begins again after what has been executed, and gives its requests their turn in the order in
  /// which the first of each came.
  private func takeTurns() {
    var waitingSlots: [(order: UInt32, slot: RequestSlot, lane: Int32)] = []
    directory.forEachLane { lane in
      beginLane(lane)
      guard directory.lanes[Int(lane)].pointee.stored > 0 else { return }
      for place in 0..<Lane.width {
        let slot = (directory.places[Int(lane)] + place).pointee
        guard slot != .none else { continue }
        waitingSlots.append((store.headers[slot.index].pointee.order, slot, lane))
      }
    }
    let newest = store.arrivals
    waitingSlots.sort { newest &- $0.order > newest &- $1.order }
    for entry in waitingSlots {
      let record = store.records[entry.slot.index].pointee
      let state = directory.lanes[Int(entry.lane)]
      guard state.pointee.hasReady, state.pointee.readySession == record.session else { continue }
      guard record.sequence == state.pointee.readySequence &+ 1 else { continue }
      advance(entry.lane, beginning: isBeginning(state, record.session))
    }
  }

  /// Whether nothing of the session has been executed yet.
  func isBeginning(_ state: UnsafeMutablePointer<Lane>, _ session: Int32) -> Bool {
    state.pointee.record < 0 || state.pointee.session != session
  }

  /// Sets from where in which session the lane's requests have their turn: from the first of a session not
  /// seen yet, of several the one that came last; else after the last executed of the current session.
  private func beginLane(_ lane: Int32) {
    let state = directory.lanes[Int(lane)]
    state.pointee.hasReady = state.pointee.record >= 0
    state.pointee.readySession = state.pointee.session
    state.pointee.readySequence = state.pointee.lastSequence
    guard state.pointee.stored > 0 else { return }
    let newest = store.arrivals
    var unseen: (order: UInt32, session: Int32)?
    for place in 0..<Lane.width {
      let slot = (directory.places[Int(lane)] + place).pointee
      guard slot != .none else { continue }
      let session = store.records[slot.index].pointee.session
      if state.pointee.record >= 0, table.remembers(Int(state.pointee.record), session) { continue }
      let order = store.headers[slot.index].pointee.order
      if let found = unseen, newest &- found.order <= newest &- order { continue }
      unseen = (order, session)
    }
    guard let unseen else { return }
    var lowest = Int32.max
    for place in 0..<Lane.width {
      let slot = (directory.places[Int(lane)] + place).pointee
      guard slot != .none else { continue }
      let record = store.records[slot.index].pointee
      if record.session == unseen.session { lowest = min(lowest, record.sequence) }
    }
    state.pointee.hasReady = true
    state.pointee.readySession = unseen.session
    state.pointee.readySequence = lowest &- 1
  }
}
