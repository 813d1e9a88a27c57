// Fetching the state of a certified checkpoint from another replica, and giving the own one (decision record
// 19, OSDI '99 §5.3.2; Fabric's state transfer, pbft-behaviour 1.12).
//
// Kept true here: nothing a donor sends is believed before its digest is the one f+1 replicas have
// certified; the first part proves the header, the end proves the rest; a donor that lies or is silent is
// given up for the next; what is received is bounded by what the header allows; a donor goes on executing
// meanwhile.

import PBFT

/// A state on its way here.
final class StateTransfer {
  /// What is being fetched; any part of another is refused.
  var target: Checkpoint
  /// The highest checkpoint the core has asked for meanwhile; taken up with the next donor.
  var newest: Checkpoint
  var donor: ReplicaID
  /// Donors given up in this round, by position.
  var tried = ReplicaSet.empty
  /// Whether the donor has been asked again for the same part.
  var hasAskedAgain = false
  var bytes: [UInt8] = []
  var header: (header: StateHeader, byteCount: Int)?

  init(target: Checkpoint, donor: ReplicaID) {
    self.target = target
    newest = target
    self.donor = donor
  }
}

extension Replica {
  /// The core asks for the state of this checkpoint, perhaps again with a higher one.
  func beginTransfer(to target: Checkpoint) {
    if let transfer {
      if target.sequence > transfer.newest.sequence { transfer.newest = target }
      return
    }
    guard target.sequence > lastExecuted,
      let donor = nextDonor(of: target, tried: .empty, after: core.position)
    else {
      if isMember { core.processEvent(.stateTransferFailed) }
      return
    }
    transfer = StateTransfer(target: target, donor: donor)
    counts.transfersBegun &+= 1
    service.invalidateState()
    emit(.transferBegan(target.sequence))
    askDonor()
  }

  /// A replica that is no member of the membership whose state it has fetches what f+1 members vouch for, until it has
  /// a state in whose membership it is.
  func follow(_ checkpoint: Checkpoint) {
    guard isStarted, checkpoint.sequence > lastExecuted,
      vouched.count(where: { $0 == checkpoint }) >= membership.quorums.weakQuorum
    else { return }
    beginTransfer(to: checkpoint)
  }

  /// The next replica after `position` that vouches for the checkpoint, else for a later one, else any.
  private func nextDonor(of target: Checkpoint, tried: ReplicaSet, after position: Int) -> ReplicaID? {
    for pass in 0..<3 {
      for step in 1...membership.count {
        let candidate = (position + step) % membership.count
        guard membership.replicas[candidate] != id, !tried.contains(candidate) else { continue }
        let known = vouched[candidate]
        if pass == 0, known != target { continue }
        if pass == 1, known.sequence < target.sequence { continue }
        return membership.replicas[candidate]
      }
    }
    return nil
  }

  private func askDonor() {
    guard let transfer else { return }
    let query = StateQuery(checkpoint: transfer.target, position: UInt64(transfer.bytes.count))
    emit(.send(.fetchState(query), to: transfer.donor))
    transferTimer.reset(afterNanoseconds: configuration.stateTransferTimeout, event: .transferTimeout)
  }

  /// The donor is given up: from the beginning with the next one, for the newest checkpoint known.
  private func changeDonor() {
    guard let transfer else { return }
    let position = membership.position(of: transfer.donor) ?? 0
    transfer.tried.insert(position)
    if transfer.tried.count >= membership.count - 1 { transfer.tried = .empty }
    transfer.target = transfer.newest
    transfer.bytes.removeAll()
    transfer.header = nil
    transfer.hasAskedAgain = false
    if let donor = nextDonor(of: transfer.target, tried: transfer.tried, after: position) {
      transfer.donor = donor
    }
    askDonor()
  }

  func transferTimedOut() {
    guard let transfer else { return }
    guard transfer.hasAskedAgain else {
      transfer.hasAskedAgain = true
      return askDonor()
    }
    counts.donorsSilent &+= 1
    changeDonor()
  }

  /// A part has come.
  func receive(_ part: StatePart, from sender: ReplicaID) {
    guard let transfer, sender == transfer.donor, part.checkpoint == transfer.target,
      part.position == UInt64(transfer.bytes.count)
    else { return reject(.duplicate, from: sender) }
    let end = part.position &+ UInt64(part.bytes.count)
    guard (1...Replica.maximumStatePartBytes).contains(part.bytes.count), part.next == 0 || part.next == end
    else { return giveUpDonor() }
    transfer.bytes.append(contentsOf: part.bytes)
    if transfer.header == nil {
      let header = transfer.bytes.withUnsafeBytes { StateCoding.header($0, service: service) }
      guard let header, header.header.checkpoint == transfer.target else { return giveUpDonor() }
      transfer.header = header
    }
    guard let header = transfer.header,
      transfer.bytes.count <= StateCoding.maximumByteCount(header.header)
    else { return giveUpDonor() }
    guard part.next == 0 else {
      transfer.hasAskedAgain = false
      return askDonor()
    }
    let table = transfer.bytes.withUnsafeBytes {
      StateCoding.table(
        $0, from: header.byteCount, header.header, maximumClients: configuration.maximumClients)
    }
    guard let table else { return giveUpDonor() }
    finishTransfer(header.header, table)
  }

  private func giveUpDonor() {
    guard let transfer else { return }
    counts.donorsWrong &+= 1
    reject(.malformed, from: transfer.donor)
    changeDonor()
  }

  private func finishTransfer(_ header: StateHeader, _ table: ClientTable) {
    transferTimer.stop()
    transfer = nil
    counts.transfersEnded &+= 1
    install(header, table)
    service.validateState()
    emit(.transferEnded(header.sequence))
    if header.membership != membership {
      begin(header.outcome, at: header.checkpoint)
      if isMember {
        // The others are told that this replica has the state, and asked for what comes after it.
        core.processEvent(.stateTransferred(header.checkpoint))
        runOrdering()
      }
    } else if !isMember {
      beginSegment()
    } else {
      // The log's segment does not lead to this state: a new one begins with it, and needs no record of it.
      isInstalling = true
      core.processEvent(.stateTransferred(header.checkpoint))
      runOrdering()
      isInstalling = false
      assumeRole()
      beginSegment()
    }
    settle()
  }

  /// The state is that of the header from now on. What waits here and was executed there is done with.
  func install(_ header: StateHeader, _ installed: ClientTable) {
    service = header.service
    chain = header.chain
    executedRequests = header.requests
    lastExecuted = header.sequence
    nextMembership = nil
    if header.membership == membership { addresses = header.addresses }
    while !chainLinks.isEmpty { _ = chainLinks.removeFirst() }
    if header.sequence > .zero {
      chainLinks.append(ChainLink(sequence: header.sequence, digest: header.chain))
    }
    table = installed
    snapshots.install(header, installed.copied())
    directory.forEachLane { directory.lanes[Int($0)].pointee.record = -1 }
    for index in 0..<table.count {
      let record = table.records[index].pointee
      let state = directory.lanes[Int(directory.findOrAdd(record.client))]
      state.pointee.record = Int32(index)
      state.pointee.session = record.session
      state.pointee.lastSequence = record.lastSequence
    }
    directory.forEachLane { lane in
      let state = directory.lanes[Int(lane)]
      guard state.pointee.record >= 0 else { return directory.removeIfUnused(lane) }
      guard state.pointee.stored > 0 else { return }
      for place in 0..<Lane.width {
        let slot = (directory.places[Int(lane)] + place).pointee
        guard slot != .none else { continue }
        let record = store.records[slot.index]
        switch standing(state, record.pointee.session, record.pointee.sequence) {
        case .executed:
          answerInstalled(record, Int(state.pointee.record))
          takeFromLane(slot, lane)
        case .olderSession: takeFromLane(slot, lane)
        case .next, .gap, .unseen: break
        }
      }
    }
    lastRequestExecutedAt = timers.now.nanoseconds
  }

  /// A request that waited here was executed elsewhere meanwhile: its client is answered from the table.
  private func answerInstalled(_ record: UnsafeMutablePointer<RequestRecord>, _ clientRecord: Int) {
    guard let content = table.reply(clientRecord, sequence: record.pointee.sequence) else { return }
    counts.repliesResent &+= 1
    reply(
      to: record.pointee, connections: (record.pointee.newestConnection, record.pointee.olderConnection),
      content: content)
  }

  // MARK: Donor

  /// Sends one part of the state asked for; one that is not here any more, or not yet, is answered with the
  /// stable checkpoint, so that a higher one is asked for.
  func answerQuery(_ query: StateQuery, from sender: ReplicaID) {
    guard sender != id, isStarted else { return reject(.notStarted, from: sender) }
    let excerpt = snapshots.withState(of: query.checkpoint) { bytes -> StateExcerpt? in
      guard query.position < UInt64(bytes.count) else { return nil }
      let start = Int(query.position)
      let count = min(Replica.maximumStatePartBytes, bytes.count - start)
      let offset = arena.count
      UnsafeMutableRawPointer(arena.reserve(count)).copyMemory(
        from: bytes.baseAddress.unsafelyUnwrapped + start, byteCount: count)
      arena.commit(count)
      let isLast = start + count == bytes.count
      return StateExcerpt(
        checkpoint: query.checkpoint, position: query.position, next: isLast ? 0 : UInt64(start + count),
        contentOffset: offset, contentCount: count)
    }
    guard let found = excerpt else {
      if !core.isRecovering, isMember, core.stableCheckpoint.sequence > query.checkpoint.sequence {
        emit(.send(.checkpoint(core.stableCheckpoint), to: sender))
      }
      return
    }
    guard let excerpt = found else { return reject(.malformed, from: sender) }
    counts.statePartsServed &+= 1
    emit(.sendState(excerpt, to: sender))
    servingTimer.reset(
      afterNanoseconds: 16 * configuration.stateTransferTimeout, event: .servingTimeout)
  }
}
