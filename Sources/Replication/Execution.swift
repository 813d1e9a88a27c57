// Execution of committed batches, in order: the client table decides (decision record 6), the service
// executes, the reply is kept and sent. Kept true here: whatever is decided here depends on replicated state
// and the batch alone.

import Hashing
import PBFT

extension Replica {
  /// Executes the next batch of the total order (OSDI '99 §4.2).
  func execute(
    _ sequence: SequenceNumber, view: View, digest: Digest, batch: BatchHandle
  ) {
    precondition(sequence.rawValue == lastExecuted.rawValue &+ 1, "batches are executed in order")
    var hasher = SHA256Hasher()
    hasher.update(chain)
    hasher.update(digest)
    chain = hasher.finalize()
    if chainLinks.count == configuration.logSize { _ = chainLinks.removeFirst() }
    chainLinks.append(ChainLink(sequence: sequence, digest: chain))
    lastExecuted = sequence

    // The null request has no batch.
    let slots = batches.requests(of: batch)
    let executedBefore = counts.requestsExecuted
    let isReconfiguration = isReconfiguration(batch)
    for slot in slots { executeRequest(slot, isReconfiguration) }
    if counts.requestsExecuted != executedBefore { lastRequestExecutedAt = timers.now.nanoseconds }
    counts.batchesExecuted &+= 1
    emit(.executed(sequence, view: view, requests: slots.count))
    dropExecutedDeadlines()
  }

  /// The rules of the client table, in their order.
  private func executeRequest(_ slot: RequestSlot, _ isReconfiguration: Bool) {
    let record = store.records[slot.index]
    let header = store.headers[slot.index]
    let session = record.pointee.session
    let sequence = record.pointee.sequence
    var lane = header.pointee.lane
    if lane < 0 {
      // Executed before, in another batch; unless the table has been replaced since, its client has a lane.
      lane = directory.findOrAdd(record.pointee.client)
      header.pointee.lane = lane
      directory.lanes[Int(lane)].pointee.holders &+= 1
    }
    let state = directory.lanes[Int(lane)]
    guard record.pointee.kind.isOrdered, sequence >= 0,
      record.pointee.kind != .reconfigure || isReconfiguration
    else {
      counts.notExecutable &+= 1
      return
    }
    let standing: Standing = state.pointee.record < 0 ? .unseen : standing(state, session, sequence)
    switch standing {
    case .executed:  // (a)
      resendReply(record, Int(state.pointee.record))
      return removeFromLane(lane, session, sequence)
    case .olderSession:  // (b)
      counts.olderSessions &+= 1
      return removeFromLane(lane, session, sequence)
    case .next, .gap, .unseen: break
    }
    guard record.pointee.membershipID == membership.id else {  // (c)
      refuseMembership(record)
      return removeFromLane(lane, session, sequence)
    }
    switch standing {
    case .gap:  // (d)
      counts.sequenceGaps &+= 1
      return
    case .unseen:  // (e)
      guard beginSession(lane, session) else {
        counts.clientTableFull &+= 1
        return removeFromLane(lane, session, sequence)
      }
    case .next, .executed, .olderSession: break
    }
    executeNew(record, Int(state.pointee.record))
    state.pointee.lastSequence = sequence
    if header.pointee.lane >= 0 {
      // The client is in the table now and keeps its lane; releasing the slot need not look for it.
      header.pointee.lane = -1
      state.pointee.holders &-= 1
    }
    // A pipelined request is queued at the primary when it comes, long before it is eligible here: judged by that.
    if record.pointee.arrivedAt > latestArrivalExecuted { latestArrivalExecuted = record.pointee.arrivedAt }
    removeFromLane(lane, session, sequence)
    moveReady(lane, session, sequence)
  }

  @inline(__always)
  private func executeNew(_ record: UnsafeMutablePointer<RequestRecord>, _ clientRecord: Int) {
    if record.pointee.kind == .reconfigure { return executeReconfiguration(record, clientRecord) }
    let out = UnsafeMutableRawPointer(
      arena.reserve(max(service.maximumReplyByteCount, HashedReplies.maximumByteCount)))
    let count = service.execute(record.pointee.content, chain: chain.words.0, into: out)
    counts.requestsExecuted &+= 1
    executedRequests &+= 1
    table.finish(clientRecord, sequence: record.pointee.sequence, reply: out, count: count)
    guard record.pointee.newestConnection != .none else { return answerTwin(of: record, count) }
    sendReply(record.pointee, (record.pointee.newestConnection, record.pointee.olderConnection), count)
  }

  /// The batch has a copy of its own of what waits here under the same digest, and only that knows the client's
  /// connections: a batch that was fetched, or begun before the client's request came.
  @inline(never)
  private func answerTwin(of record: UnsafeMutablePointer<RequestRecord>, _ count: Int) {
    let lane = directory.find(record.pointee.client)
    guard lane >= 0 else { return }
    let slot = directory.place(lane, record.pointee.sequence).pointee
    guard slot != .none, isRequest(slot, record.pointee.session, record.pointee.sequence) else { return }
    let twin = store.records[slot.index].pointee
    guard twin.newestConnection != .none, twin.digest == record.pointee.digest else { return }
    sendReply(twin, (twin.newestConnection, twin.olderConnection), count)
  }

  private func executeReconfiguration(
    _ record: UnsafeMutablePointer<RequestRecord>, _ clientRecord: Int
  ) {
    let reply = reconfigure(record.pointee.content)
    let out = UnsafeMutableRawPointer(arena.reserve(ReconfigurationResult.maximumByteCount))
    reply.withUnsafeBytes { bytes in
      if let start = bytes.baseAddress { out.copyMemory(from: start, byteCount: bytes.count) }
    }
    // The service has executed nothing.
    counts.requestsExecuted &+= 1
    table.finish(clientRecord, sequence: record.pointee.sequence, reply: out, count: reply.count)
    guard record.pointee.newestConnection != .none else { return answerTwin(of: record, reply.count) }
    sendReply(record.pointee, (record.pointee.newestConnection, record.pointee.olderConnection), reply.count)
  }

  /// Rule (e): the session becomes current, for a client without a record in a new one; false when the table
  /// is full.
  private func beginSession(_ lane: Int32, _ session: Int32) -> Bool {
    let state = directory.lanes[Int(lane)]
    if state.pointee.record < 0 {
      guard let added = table.add(state.pointee.client) else { return false }
      state.pointee.record = Int32(added)
    }
    let record = Int(state.pointee.record)
    table.begin(record, session: session)
    state.pointee.session = session
    state.pointee.lastSequence = -1
    guard state.pointee.stored > 0 else { return true }
    for place in 0..<Lane.width {
      let slot = (directory.places[Int(lane)] + place).pointee
      guard slot != .none else { continue }
      let other = store.records[slot.index].pointee.session
      // Sessions follow each other: of others, only one that the client has begun since may still matter.
      guard other != session else { continue }
      if other != state.pointee.readySession || table.remembers(record, other) { takeFromLane(slot, lane) }
    }
    return true
  }

  /// What waits in the lane under this session and sequence is done with, whichever bytes it has.
  @inline(__always)
  private func removeFromLane(_ lane: Int32, _ session: Int32, _ sequence: Int32) {
    let held = directory.place(lane, sequence).pointee
    guard held != .none, isRequest(held, session, sequence) else { return }
    takeFromLane(held, lane)
  }

  /// The session has come so far; the next request of the lane may have its turn.
  @inline(__always)
  private func moveReady(_ lane: Int32, _ session: Int32, _ sequence: Int32) {
    let state = directory.lanes[Int(lane)]
    if !state.pointee.hasReady {
      state.pointee.hasReady = true
      state.pointee.readySession = session
      state.pointee.readySequence = sequence
    } else if state.pointee.readySession == session {
      if state.pointee.readySequence < sequence { state.pointee.readySequence = sequence }
    } else if table.remembers(Int(state.pointee.record), state.pointee.readySession) {
      state.pointee.readySession = session
      state.pointee.readySequence = sequence
    }
    if state.pointee.stored > 0 { advance(lane, beginning: false) }
  }

  private func refuseMembership(_ record: UnsafeMutablePointer<RequestRecord>) {
    guard record.pointee.membershipID < membership.id else {
      counts.membershipAhead &+= 1
      return
    }
    counts.membershipBehind &+= 1
    answerWithMembership(
      record.pointee, (record.pointee.newestConnection, record.pointee.olderConnection))
  }

  /// The answer to a request that names an older membership: its content is the host's to write.
  func answerWithMembership(_ record: RequestRecord, _ connections: (ConnectionID, ConnectionID)) {
    guard connections.0 != .none else { return }
    emit(.reply(Reply(record, .membership, membership.id, contentOffset: 0, contentCount: 0, connections)))
  }

  // MARK: Replies

  /// Appends a reply whose content lies at the end of the arena, not yet committed, with room for a digest.
  /// Every replica but the one asked for replies to a hashed request with the hash of the content.
  @inline(__always)
  private func sendReply(_ record: RequestRecord, _ connections: (ConnectionID, ConnectionID), _ count: Int) {
    var count = count
    if record.kind.isHashed, record.replyServer != id.rawValue {
      let out = UnsafeMutableRawPointer(arena.reserve(max(count, HashedReplies.maximumByteCount)))
      count = hash(UnsafeRawBufferPointer(start: out, count: count), into: out)
    }
    let offset = UInt32(truncatingIfNeeded: arena.count)
    arena.commit(count)
    let form: ReplyForm = record.kind == .reconfigure ? .reconfiguration : .service
    emit(
      .reply(
        Reply(
          record, form, membership.id, contentOffset: offset, contentCount: UInt32(truncatingIfNeeded: count),
          connections)))
  }

  /// Writes the hash of `content` to where that begins; returns its bytes.
  @inline(__always)
  private func hash(_ content: UnsafeRawBufferPointer, into out: UnsafeMutableRawPointer) -> Int {
    switch configuration.hashedReplies {
    case .sha256:
      Digest.sha256(content).withUnsafeBytes {
        out.copyMemory(from: $0.baseAddress.unsafelyUnwrapped, byteCount: $0.count)
      }
      return Digest.byteCount
    case .sha512:
      SHA512Hasher.hash(content, into: out)
      return SHA512Hasher.byteCount
    }
  }

  /// Replies with bytes that are elsewhere; to nobody if the request came on no connection.
  func reply(
    to record: RequestRecord, connections: (ConnectionID, ConnectionID), content: UnsafeRawBufferPointer
  ) {
    guard connections.0 != .none else { return }
    let out = UnsafeMutableRawPointer(arena.reserve(max(content.count, HashedReplies.maximumByteCount)))
    if let bytes = content.baseAddress { out.copyMemory(from: bytes, byteCount: content.count) }
    sendReply(record, connections, content.count)
  }

  /// Rule (a) at execution: a repetition is answered from the cache.
  private func resendReply(_ record: UnsafeMutablePointer<RequestRecord>, _ clientRecord: Int) {
    guard let content = table.reply(clientRecord, sequence: record.pointee.sequence) else {
      counts.repliesForgotten &+= 1
      return
    }
    counts.repliesResent &+= 1
    reply(
      to: record.pointee, connections: (record.pointee.newestConnection, record.pointee.olderConnection),
      content: content)
  }

  /// Rule (a) on arrival: the request is not even verified, its client has been answered before.
  func answerExecuted(_ request: ArrivedRequest) {
    let lane = directory.find(request.client)
    let clientRecord = Int(directory.lanes[Int(lane)].pointee.record)
    guard let content = table.reply(clientRecord, sequence: request.sequence) else {
      counts.repliesForgotten &+= 1
      return
    }
    counts.repliesResent &+= 1
    reply(to: RequestRecord(request), connections: (request.connection, .none), content: content)
  }

  /// An unordered request is answered from the present state (decision record 9), if such are on.
  func answerUnordered(_ request: ArrivedRequest) {
    guard request.connection != .none else { return }
    let out = UnsafeMutableRawPointer(
      arena.reserve(max(service.maximumReplyByteCount, HashedReplies.maximumByteCount)))
    let count = service.read(into: out)
    counts.unorderedExecuted &+= 1
    sendReply(RequestRecord(request), (request.connection, .none), count)
  }

  // MARK: Checkpoints

  /// Digests the state after `sequence` (OSDI '99 §4.3), and writes down what its period has changed.
  func takeCheckpoint(_ sequence: SequenceNumber) {
    precondition(sequence == lastExecuted, "a checkpoint is of the state just reached")
    counts.checkpointsTaken &+= 1
    let header = presentHeader(changes: snapshots.changes)
    let checkpoint = header.checkpoint
    snapshots.taken(header, checkpoint)
    core.processEvent(.checkpointTaken(checkpoint))
  }

  func presentHeader(changes: PlainBuffer<UInt8>?) -> StateHeader {
    StateHeader(
      sequence: lastExecuted, chain: chain, requests: executedRequests, service: service,
      membership: nextMembership?.membership ?? membership, addresses: nextMembership?.addresses ?? addresses,
      clients: table.count, root: table.root(changes: changes))
  }
}
