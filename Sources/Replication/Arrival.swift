// Requests as they arrive: screening, storing, and whose turn it is. All of it filters and local order; what
// is executed is decided by the client table at execution.
//
// Kept true here: each session is queued in sequence; a request whose predecessor is missing waits in its
// lane; nothing is evicted to make room, what does not fit is shed and counted.

import PBFT

extension Replica {
  /// What to do with a request before hashing it. Counts what it refuses. `forwarded`: another replica
  /// vouches that its client waits; such a request may exceed the client's quota and, by an eighth, the
  /// store's. `countsLimits`: false when the host will keep what is beyond a client's limits, and count it if it cannot.
  public func screen(
    client: Int32, session: Int32, sequence: Int32, kind: RequestKind, forwarded: Bool = false,
    countsLimits: Bool = true
  ) -> Screening {
    switch kind {
    case .ordered, .orderedHashed: break
    case .unordered, .unorderedHashed:
      guard configuration.readOnlyRequests else { return refuse(.unorderedDisabled) }
      return isStateValid ? .unknown : refuse(.stateInvalid)
    case .reconfigure:
      guard let administrator = configuration.administrator, client == administrator else {
        return refuse(.reconfigurationUnsupported)
      }
    }
    if !refusedClients.isEmpty, refusedClients.contains(client) { return refuse(.clientAccused) }
    guard isMember else { return refuse(.notAMember) }
    guard sequence >= 0 else { return refuse(.negativeSequence) }
    let lane = directory.find(client)
    if lane >= 0 {
      let state = directory.lanes[Int(lane)]
      if state.pointee.record >= 0 {
        switch standing(state, session, sequence) {
        case .executed: return .executed
        case .olderSession: return refuse(.olderSession)
        case .gap where isTooFarAhead(state, sequence):
          return countsLimits ? refuse(.tooFarAhead) : .refused(.tooFarAhead)
        case .next, .gap, .unseen: break
        }
      } else if table.isFull {
        return refuse(.clientTableFull)
      }
      let held = directory.place(lane, sequence).pointee
      if held != .none {
        if isRequest(held, session, sequence) { return .stored(held) }
        guard !forwarded, isUnseen(state, session) else { return refuse(.placeTaken) }
      }
      if !forwarded, Int(state.pointee.outstanding) >= configuration.maximumOutstandingPerClient {
        return countsLimits ? refuse(.clientQuota) : .refused(.clientQuota)
      }
    } else if table.isFull {
      return refuse(.clientTableFull)
    }
    let reserve = forwarded ? configuration.maximumStoredRequests / 8 : 0
    guard waiting < configuration.maximumStoredRequests + reserve else { return refuse(.storeFull) }
    return .unknown
  }

  /// The request of this client, session and sequence that waits here. For reading a batch: counts nothing.
  public func storedRequest(client: Int32, session: Int32, sequence: Int32) -> RequestSlot? {
    let lane = directory.find(client)
    guard lane >= 0, sequence >= 0 else { return nil }
    let held = directory.place(lane, sequence).pointee
    return held != .none && isRequest(held, session, sequence) ? held : nil
  }

  /// The whole serialized request; empty once the slot has been released.
  public func data(of slot: RequestSlot) -> UnsafeRawBufferPointer {
    guard store.holds(slot) else { return UnsafeRawBufferPointer(start: nil, count: 0) }
    return store.records[slot.index].pointee.data
  }

  /// The signature or tags that came with the first bytes of the request; empty once the slot has been
  /// released.
  public func authenticator(of slot: RequestSlot) -> UnsafeRawBufferPointer {
    guard store.holds(slot) else { return UnsafeRawBufferPointer(start: nil, count: 0) }
    return store.records[slot.index].pointee.authenticator
  }

  /// Precondition for both: the slot has not been released.
  public func digest(of slot: RequestSlot) -> Digest {
    precondition(store.holds(slot))
    return store.records[slot.index].pointee.digest
  }

  public func contentOffset(of slot: RequestSlot) -> Int {
    precondition(store.holds(slot))
    return Int(store.records[slot.index].pointee.contentOffset)
  }

  /// How a request stands to what has been executed, for a lane with a record.
  @inline(__always)
  func standing(_ lane: UnsafeMutablePointer<Lane>, _ session: Int32, _ sequence: Int32) -> Standing {
    guard lane.pointee.session == session else {
      return table.remembers(Int(lane.pointee.record), session) ? .olderSession : .unseen
    }
    let last = lane.pointee.lastSequence
    if sequence <= last { return .executed }
    // Cannot overflow: the sequence is greater than the last.
    return sequence == last &+ 1 ? .next : .gap
  }

  private func isUnseen(_ lane: UnsafeMutablePointer<Lane>, _ session: Int32) -> Bool {
    lane.pointee.record < 0 || !table.remembers(Int(lane.pointee.record), session)
  }

  func isTooFarAhead(_ lane: UnsafeMutablePointer<Lane>, _ sequence: Int32) -> Bool {
    Int(sequence) - Int(lane.pointee.lastSequence) > Lane.width
  }

  /// Counts a request that is not taken after all.
  public func count(_ refusal: Refusal) { counts.refusals[Int(refusal.rawValue)] &+= 1 }

  func refuse(_ refusal: Refusal) -> Screening {
    counts.refusals[Int(refusal.rawValue)] &+= 1
    return .refused(refusal)
  }

  @inline(__always)
  func isRequest(_ slot: RequestSlot, _ session: Int32, _ sequence: Int32) -> Bool {
    let record = store.records[slot.index]
    return record.pointee.sequence == sequence && record.pointee.session == session
  }

  func receive(_ request: ArrivedRequest) {
    precondition((0...request.data.count).contains(request.contentOffset), "the host has decoded the request")
    counts.requestsArrived &+= 1
    let forwarded = request.connection == .none
    switch screen(
      client: request.client, session: request.session, sequence: request.sequence, kind: request.kind,
      forwarded: forwarded)
    {
    case .unknown: break
    case .stored(let slot): return receiveAgain(slot, request.connection)
    case .executed: return answerExecuted(request)
    case .refused: return
    }
    guard request.kind.isOrdered else { return answerUnordered(request) }
    guard request.membershipID == membership.id else { return answerMembership(request) }
    guard request.data.count + request.authenticator.count <= configuration.maximumRequestBytes else {
      _ = refuse(.tooLarge)
      return
    }
    let lane = directory.findOrAdd(request.client)
    guard let slot = store.allocate(request, lane: lane) else {
      directory.removeIfUnused(lane)
      _ = refuse(.storeFull)
      return
    }
    counts.requestsStored &+= 1
    store.records[slot.index].pointee.arrivedAt = timers.now.nanoseconds
    directory.lanes[Int(lane)].pointee.holders &+= 1
    // The client has begun another session: what it left in this place is of an older one.
    let abandoned = directory.place(lane, request.sequence).pointee
    if abandoned != .none { giveUp(abandoned, lane) }
    directory.lanes[Int(lane)].pointee.outstanding &+= 1
    waiting &+= 1
    putInLane(slot, lane, [.stored])
  }

  /// Rule (c): decided by the membership in force, so it can be said on arrival as well.
  private func answerMembership(_ request: ArrivedRequest) {
    guard request.membershipID < membership.id else {
      _ = refuse(.membershipAhead)
      return
    }
    counts.membershipBehind &+= 1
    answerWithMembership(RequestRecord(request), (request.connection, .none))
  }

  func receiveAgain(_ slot: RequestSlot, _ connection: ConnectionID) {
    guard store.holds(slot) else { return }
    counts.requestsResent &+= 1
    let header = store.headers[slot.index]
    if header.pointee.flags.contains(.fromBatch) { header.pointee.flags.remove(.fromBatch) }
    let record = store.records[slot.index]
    guard connection != .none, record.pointee.newestConnection != connection else { return }
    record.pointee.olderConnection = record.pointee.newestConnection
    record.pointee.newestConnection = connection
  }

  /// Takes the empty place of the request in its client's lane.
  func putInLane(_ slot: RequestSlot, _ lane: Int32, _ flags: SlotFlags) {
    let record = store.records[slot.index]
    let session = record.pointee.session
    let sequence = record.pointee.sequence
    directory.place(lane, sequence).pointee = slot
    store.headers[slot.index].pointee.flags = flags
    let state = directory.lanes[Int(lane)]
    state.pointee.stored &+= 1
    if state.pointee.hasReady, state.pointee.readySession == session {
      if sequence == state.pointee.readySequence &+ 1 {
        advance(lane, beginning: isFirst(state, lane, session, sequence))
      }
      return
    }
    // Another session than the one in progress: it begins one, unless that one is newer.
    let recordIndex = Int(state.pointee.record)
    if recordIndex >= 0, table.remembers(recordIndex, session) { return }
    state.pointee.readySession = session
    state.pointee.readySequence = sequence &- 1
    state.pointee.hasReady = true
    advance(lane, beginning: true)
  }

  /// Whether nothing of the session has been executed or waits before this one: what began it may have been known from a
  /// proposal alone and have gone with that.
  private func isFirst(
    _ state: UnsafeMutablePointer<Lane>, _ lane: Int32, _ session: Int32, _ sequence: Int32
  ) -> Bool {
    guard isBeginning(state, session) else { return false }
    guard sequence > 0 else { return true }
    let before = directory.place(lane, sequence &- 1).pointee
    return before == .none || !isRequest(before, session, sequence &- 1)
  }

  /// Gives the requests of the lane their turn, in sequence: all that are there at the primary, whose batches
  /// keep their order; the one that is next to be executed at a backup, where it becomes eligible.
  func advance(_ lane: Int32, beginning: Bool) {
    guard role != .waiting else { return }
    let state = directory.lanes[Int(lane)]
    var beginning = beginning
    while true {
      let next = state.pointee.readySequence &+ 1
      guard next >= 0 else { return }
      let slot = directory.place(lane, next).pointee
      guard slot != .none, isRequest(slot, state.pointee.readySession, next) else { return }
      if role == .leading {
        enqueue(slot)
      } else {
        guard beginning || isExecuted(state, state.pointee.readySequence) else { return }
        becomeEligible(slot)
        beginning = false
      }
      state.pointee.readySequence = next
    }
  }

  @inline(__always)
  private func isExecuted(_ state: UnsafeMutablePointer<Lane>, _ sequence: Int32) -> Bool {
    state.pointee.record >= 0 && state.pointee.session == state.pointee.readySession
      && state.pointee.lastSequence == sequence
  }

  private func enqueue(_ slot: RequestSlot) {
    let header = store.headers[slot.index]
    // In a batch or in the queue already.
    guard !header.pointee.isInLiveBatch, !header.pointee.flags.contains(.queued) else { return }
    header.pointee.references &+= 1
    header.pointee.flags.insert(.queued)
    queue.append(slot)
    queuedWaiting &+= 1
  }

  /// Takes a request out of its lane: it has been executed, or never will be.
  func takeFromLane(_ slot: RequestSlot, _ lane: Int32) {
    let header = store.headers[slot.index]
    let state = directory.lanes[Int(lane)]
    directory.place(lane, store.records[slot.index].pointee.sequence).pointee = .none
    if header.pointee.flags.contains(.queued) { queuedWaiting &-= 1 }
    if !header.pointee.isInLiveBatch {
      state.pointee.outstanding &-= 1
      waiting &-= 1
    }
    header.pointee.flags.remove(.stored)
    state.pointee.stored &-= 1
    release(slot)
  }

  /// The request is given up though it has not been executed: it may come again, and then has its turn.
  func giveUp(_ slot: RequestSlot, _ lane: Int32) {
    let record = store.records[slot.index]
    let state = directory.lanes[Int(lane)]
    if state.pointee.hasReady, state.pointee.readySession == record.pointee.session,
      record.pointee.sequence <= state.pointee.readySequence
    {
      state.pointee.readySequence = record.pointee.sequence &- 1
    }
    takeFromLane(slot, lane)
  }

  @inline(__always)
  func release(_ slot: RequestSlot) {
    let lane = store.release(slot)
    guard lane >= 0 else { return }
    directory.lanes[Int(lane)].pointee.holders &-= 1
    directory.removeIfUnused(lane)
  }
}

extension RequestRecord {
  /// The fields of a request that is answered without being stored.
  init(_ request: ArrivedRequest) {
    self = .empty
    client = request.client
    session = request.session
    sequence = request.sequence
    operationID = request.operationID
    replyServer = request.replyServer
    kind = request.kind
  }
}
