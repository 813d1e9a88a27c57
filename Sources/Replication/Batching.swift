// Batches (Fabric v0.6's batch layer around the core; the batch digest of decision record 8): formed by the
// primary of what waits, read by a backup from a pre-prepare, discarded at the stable checkpoint.
//
// Kept true here: requests leave the queue in its order; a full batch is proposed at once; others when
// nothing is in flight or the batch timer has run out, and only at the end of a turn.

import PBFT

extension Replica {
  // MARK: Reading the batch of a pre-prepare

  /// Begins the batch of a pre-prepare that has been received. One at a time, no event in between.
  ///
  /// `fetched`: the batch was asked for by its digest, and what is in it need not be authentic here
  /// (decision record 8); so it is known nowhere but in the batch.
  public func beginBatch(fetched: Bool = false) {
    isBuildingFetched = fetched
    batches.begin()
  }

  /// Appends a request that is held, as `storedRequest` gave it. False when the batch is above this replica's
  /// bounds.
  public func appendToBatch(_ slot: RequestSlot) -> Bool {
    precondition(store.holds(slot), "the slot has not been released")
    let record = store.records[slot.index]
    let bytes = Int(record.pointee.dataCount) + Int(record.pointee.authenticatorCount)
    guard batches.hasRoom(forBytes: bytes) else { return false }
    let header = store.headers[slot.index]
    if header.pointee.flags.contains(.stored), !header.pointee.isInLiveBatch {
      directory.lanes[Int(header.pointee.lane)].pointee.outstanding &-= 1
      waiting &-= 1
    }
    store.retain(slot)
    batches.append(slot, digest: record.pointee.digest, bytes: bytes)
    return true
  }

  /// Appends a request that is not held, hashed and verified by the host. False when the batch, the request
  /// or all that is held is above this replica's bounds.
  public func appendToBatch(_ request: ArrivedRequest) -> Bool {
    precondition((0...request.data.count).contains(request.contentOffset), "the host has decoded the request")
    let bytes = request.data.count + request.authenticator.count
    guard bytes <= configuration.maximumRequestBytes, batches.hasRoom(forBytes: bytes) else { return false }
    let lane = directory.findOrAdd(request.client)
    guard let slot = store.allocate(request, lane: lane) else {
      directory.removeIfUnused(lane)
      return false
    }
    directory.lanes[Int(lane)].pointee.holders &+= 1
    batches.append(slot, digest: request.digest, bytes: bytes)
    if !isBuildingFetched, isNewInLane(request, lane) {
      store.retain(slot)
      putInLane(slot, lane, [.stored, .fromBatch])
    }
    return true
  }

  /// Whether a proposed request may take its place in its lane, so that the client's own copy finds it there.
  private func isNewInLane(_ request: ArrivedRequest, _ lane: Int32) -> Bool {
    guard role != .leading, request.kind.isOrdered, request.sequence >= 0 else { return false }
    guard request.membershipID == membership.id else { return false }
    guard directory.place(lane, request.sequence).pointee == .none else { return false }
    let state = directory.lanes[Int(lane)]
    guard state.pointee.record >= 0 else { return true }
    switch standing(state, request.session, request.sequence) {
    case .executed, .olderSession: return false
    case .next, .unseen: return true
    case .gap: return !isTooFarAhead(state, request.sequence)
    }
  }

  /// Ends the batch; its handle goes into the pre-prepare given to `.prePrepare`, with the digest that the
  /// primary claims: `digest` is that of the requests appended.
  public func finishBatch() -> (handle: BatchHandle, digest: Digest, count: Int) { batches.finish() }

  /// Gives up the batch being built.
  public func abandonBatch() {
    let handle = batches.abandon()
    discard(handle)
  }

  /// The requests of a batch in order; empty once it has been discarded.
  public func requests(of batch: BatchHandle) -> UnsafeBufferPointer<RequestSlot> {
    batches.requests(of: batch)
  }

  /// `isRefused`: an authenticator in the batch is not valid here.
  func receive(_ prePrepare: PrePrepare, isRefused: Bool, from sender: ReplicaID) {
    guard let digest = batches.digest(of: prePrepare.batch) else { return reject(.malformed, from: sender) }
    if batches.requests(of: prePrepare.batch).isEmpty {
      discard(prePrepare.batch)
      // The null request (OSDI '99 §4.4) has no requests and the zero digest.
      guard prePrepare.digest == .zero, isMember else { return reject(.emptyBatch, from: sender) }
      var null = prePrepare
      null.batch = .none
      core.processEvent(.prePrepare(null, isReconfiguration: false, from: sender))
      return settle()
    }
    // Before anything of it is kept: what does not match its digest must not take the place of what does.
    guard digest == prePrepare.digest else {
      discard(prePrepare.batch)
      return reject(.digestMismatch, from: sender)
    }
    guard isMember else {
      discard(prePrepare.batch)
      return reject(.unknownSender, from: sender)
    }
    guard isWellFormed(prePrepare.batch) else {
      discard(prePrepare.batch)
      return reject(.malformed, from: sender)
    }
    let isReconfiguration = isReconfiguration(prePrepare.batch)
    core.processEvent(
      isRefused
        ? .prePrepareRefused(prePrepare, isReconfiguration: isReconfiguration, from: sender)
        : .prePrepare(prePrepare, isReconfiguration: isReconfiguration, from: sender))
    settle()
  }

  /// A RECONFIG stands alone in its batch (decision record 3).
  private func isWellFormed(_ batch: BatchHandle) -> Bool {
    let slots = batches.requests(of: batch)
    guard slots.count > 1 else { return true }
    for slot in slots where store.records[slot.index].pointee.kind == .reconfigure { return false }
    return true
  }

  /// Whether the batch is a RECONFIG of the administrator.
  func isReconfiguration(_ batch: BatchHandle) -> Bool {
    let slots = batches.requests(of: batch)
    guard slots.count == 1, let administrator = configuration.administrator else { return false }
    let record = store.records[slots[0].index]
    return record.pointee.kind == .reconfigure && record.pointee.client == administrator
  }

  /// Releases a batch. What was known from it alone, and has not been executed, is forgotten with it.
  func discard(_ handle: BatchHandle) {
    let slots = batches.requests(of: handle)
    let isLive = batches.isLive(handle)
    for slot in slots {
      let header = store.headers[slot.index]
      if !isLive { header.pointee.dead &-= 1 }
      guard header.pointee.flags.contains(.stored) else {
        release(slot)
        continue
      }
      // Still waiting: a gap when its batch was executed, or a batch that was rejected. What a batch of an
      // earlier view held has its turn already.
      let lane = header.pointee.lane
      release(slot)
      guard isLive, !header.pointee.isInLiveBatch else { continue }
      directory.lanes[Int(lane)].pointee.outstanding &+= 1
      waiting &+= 1
      // Unless a batch of an earlier view holds it as well.
      if header.pointee.flags.contains(.fromBatch), header.pointee.dead == 0 { giveUp(slot, lane) }
    }
    batches.free(handle)
  }

  // MARK: Forming batches at the primary

  var canPropose: Bool {
    withCore { configuration.consenter == .noops ? $0.isActive : $0.canPropose && role == .leading }
  }

  /// Whether nothing that was proposed still waits to be executed.
  private var isPipelineIdle: Bool { configuration.consenter == .noops || withCore { $0.isPipelineIdle } }

  /// Proposes what waits, if its time has come; else sees to it that it comes.
  func endTurn() {
    settle()
    guard queuedWaiting > 0 else {
      if isBatchOverdue || batchTimer.isRunning {
        isBatchOverdue = false
        batchTimer.stop()
      }
      return dropDeadQueue()
    }
    while queuedWaiting > 0, canPropose, isBatchOverdue || isPipelineIdle {
      isBatchOverdue = false
      batchTimer.stop()
      proposeBatch()
      settle()
    }
    if queuedWaiting > 0, canPropose {
      batchTimer.softReset(afterNanoseconds: configuration.batchTimeoutNanoseconds, event: .batchTimeout)
    }
  }

  /// Forms a batch of what waits, at most the batch size, and proposes it. Precondition: `canPropose`.
  func proposeBatch() {
    batches.begin()
    var room = configuration.batchSize
    var isReconfiguration = false
    while room > 0, !queue.isEmpty {
      let slot = queue[0]
      let header = store.headers[slot.index]
      guard header.pointee.flags.contains(.stored) else {
        dropQueued(slot)
        continue
      }
      // A batch that was asked for by its digest has brought it since.
      guard !header.pointee.isInLiveBatch else {
        queuedWaiting &-= 1
        dropQueued(slot)
        continue
      }
      let record = store.records[slot.index]
      let bytes = Int(record.pointee.dataCount) &+ Int(record.pointee.authenticatorCount)
      guard batches.hasRoom(forBytes: bytes) else { break }
      if record.pointee.kind == .reconfigure {
        // Alone in its batch.
        guard room == configuration.batchSize else { break }
        room = 1
        isReconfiguration = true
      }
      _ = queue.removeFirst()
      // The queue's reference becomes the batch's.
      header.pointee.flags.remove(.queued)
      queuedWaiting &-= 1
      waiting &-= 1
      directory.lanes[Int(header.pointee.lane)].pointee.outstanding &-= 1
      batches.append(slot, digest: record.pointee.digest, bytes: bytes)
      room &-= 1
    }
    guard room < configuration.batchSize else { return abandonBatch() }
    let batch = batches.finish()
    counts.batchesProposed &+= 1
    counts.requestsProposed &+= UInt64(batch.count)
    switch configuration.consenter {
    case .pbft:
      core.processEvent(
        .propose(digest: batch.digest, batch: batch.handle, isReconfiguration: isReconfiguration))
    case .noops:
      let sequence = SequenceNumber(lastExecuted.rawValue + 1)
      execute(sequence, view: .zero, digest: batch.digest, batch: batch.handle)
      discard(batch.handle)
    }
  }

  func dropQueued(_ slot: RequestSlot) {
    _ = queue.removeFirst()
    store.headers[slot.index].pointee.flags.remove(.queued)
    release(slot)
  }

  private func dropDeadQueue() {
    while !queue.isEmpty { dropQueued(queue[0]) }
  }
}
