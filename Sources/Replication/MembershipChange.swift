// Changing the membership (decision record 3): a RECONFIG of the administrator stands alone in its batch;
// after the checkpoint right after it is stable the new membership begins, with that number as its low
// watermark.
//
// Kept true here: the members of one membership agree on the next one as on any batch; a removed replica
// votes no more.

import PBFT

/// A membership and what has been stated of where its members are.
struct MembershipOutcome: Hashable {
  var membership: Membership
  var addresses: [MemberAddress]
}

/// The reply to a RECONFIG: number of its batch u64 | 1 if it is accepted u8 | id i32 | f u32 | n u32 | replica ids i32 |
/// addresses (`MemberAddresses`) | count of new members u32 | their ids i32, big-endian.
public struct ReconfigurationResult: Hashable, Sendable {
  /// The number of the batch it was.
  public let sequence: SequenceNumber
  /// False when it was refused: then the membership is the one that was and stays in force.
  public let isAccepted: Bool
  /// The membership in force as soon as its first checkpoint is stable.
  public let id: Int32
  public let faults: Int
  public let replicas: [ReplicaID]
  /// Where its members are reached, as far as that has been stated.
  public let addresses: [MemberAddress]
  public let joined: [ReplicaID]

  init(
    _ outcome: MembershipOutcome, joined: [ReplicaID], isAccepted: Bool, sequence: SequenceNumber
  ) {
    self.sequence = sequence
    self.isAccepted = isAccepted
    id = outcome.membership.id
    faults = outcome.membership.faults
    replicas = outcome.membership.replicas
    addresses = outcome.addresses
    self.joined = joined
  }

  static let maximumByteCount = 25 + 8 * Quorums.maximumReplicas + MemberAddresses.maximumByteCount

  public var encoded: [UInt8] {
    var output: [UInt8] = []
    output.put(sequence.rawValue)
    output.put(UInt8(isAccepted ? 1 : 0))
    output.put(id)
    output.put(UInt32(faults))
    output.put(UInt32(replicas.count))
    for replica in replicas { output.put(replica.rawValue) }
    MemberAddresses.encode(addresses, into: &output)
    output.put(UInt32(joined.count))
    for replica in joined { output.put(replica.rawValue) }
    return output
  }

  /// nil unless `bytes` are exactly the encoding of a result.
  public init?(_ bytes: UnsafeRawBufferPointer) {
    var reader = ByteReader(bytes)
    guard let sequence = reader.integer(UInt64.self), let accepted = reader.integer(UInt8.self),
      accepted <= 1,
      let id = reader.integer(Int32.self), let faults = reader.integer(UInt32.self),
      faults < UInt32(Quorums.maximumReplicas), let replicas = Self.replicas(&reader),
      let addresses = MemberAddresses.decode(&reader, of: replicas), let joined = Self.replicas(&reader),
      reader.isAtEnd
    else { return nil }
    self.sequence = SequenceNumber(sequence)
    isAccepted = accepted == 1
    self.id = id
    self.faults = Int(faults)
    self.replicas = replicas
    self.addresses = addresses
    self.joined = joined
  }

  private static func replicas(_ reader: inout ByteReader) -> [ReplicaID]? {
    guard let count = reader.integer(UInt32.self), count <= UInt32(Quorums.maximumReplicas) else {
      return nil
    }
    var replicas: [ReplicaID] = []
    for _ in 0..<count {
      guard let replica = reader.integer(Int32.self), replica >= 0 else { return nil }
      replicas.append(ReplicaID(replica))
    }
    return replicas
  }
}

/// When a peer of an older membership was told where the others are.
struct MembershipAnswer {
  var replica: ReplicaID
  var at: Int64
}

extension Replica {
  /// Executes a RECONFIG: returns its reply, the whole of what will be in force.
  func reconfigure(_ content: UnsafeRawBufferPointer) -> [UInt8] {
    let present = MembershipOutcome(membership: membership, addresses: addresses)
    guard let request = ReconfigureRequest(decoding: content), request.sender == configuration.administrator,
      let next = try? request.outcome(after: membership, addresses)
    else {
      counts.reconfigurationsRefused &+= 1
      return ReconfigurationResult(present, joined: [], isAccepted: false, sequence: lastExecuted).encoded
    }
    nextMembership = next
    emit(.membershipDecided(next.membership.id))
    let joined = next.membership.replicas.filter { membership.position(of: $0) == nil }
    return ReconfigurationResult(next, joined: joined, isAccepted: true, sequence: lastExecuted).encoded
  }

  /// The checkpoint right after the RECONFIG is stable under the old membership: the new one begins.
  func changeMembershipIfStable() {
    guard let next = nextMembership, core.stableCheckpoint.sequence == lastExecuted,
      core.stableCheckpoint.sequence > .zero
    else { return }
    begin(next, at: core.stableCheckpoint)
  }

  /// Begins a membership whose first state is that of `checkpoint`, which is at hand.
  func begin(_ outcome: MembershipOutcome, at checkpoint: Checkpoint) {
    let next = outcome.membership
    nextMembership = nil
    addresses = outcome.addresses
    for timer in orderingTimers { timer.stop() }
    let isRecovering = core.isRecovering
    membership = next
    vouched = Array(repeating: Checkpoint(sequence: .zero, digest: .zero), count: next.count)
    isMember = next.position(of: id) != nil
    vouchers.keep(next)
    // The old core names no batch above the checkpoint that still matters.
    for handle in batches.handles where !batches.isBuilding(handle) { discard(handle) }
    counts.membershipChanges &+= 1
    if isMember {
      core = OrderingCore(configuration: configuration.ordering, id: id, membership: next, stable: checkpoint)
      if isStarted { core.processEvent(.start(recovering: isRecovering)) }
    }
    dropOfMembership()
    assumeRole()
    if isStarted { beginSegment() }
    emit(.membershipChanged(next.id))
    runOrdering()
    if isMember { joinTimer.stop() } else { askToJoin() }
  }

  /// Requests that wait and name another membership will be refused at execution; their clients ask again.
  private func dropOfMembership() {
    directory.forEachLane { lane in
      for place in 0..<Lane.width {
        let slot = (directory.places[Int(lane)] + place).pointee
        guard slot != .none, store.records[slot.index].pointee.membershipID != membership.id else { continue }
        let record = store.records[slot.index].pointee
        if record.membershipID < membership.id, record.newestConnection != .none {
          answerWithMembership(record, (record.newestConnection, record.olderConnection))
        }
        giveUp(slot, lane)
        // The lane is gone with its last request of a client without a record.
        if directory.lanes[Int(lane)].pointee.holders == 0 { return }
      }
    }
  }

  /// A peer that speaks of another membership: one behind is told the stable checkpoint, from which it can
  /// fetch the state that makes it a member, or tells it that it is none any more.
  func receiveOfMembership(_ other: Int32, from sender: ReplicaID) {
    reject(.otherMembership, from: sender)
    guard other < membership.id, isStarted, !core.isRecovering, core.stableCheckpoint.sequence > .zero else {
      return
    }
    let now = timers.now.nanoseconds
    let place = membershipAnswers.firstIndex { $0.replica == sender }
    if let place {
      guard now - membershipAnswers[place].at >= configuration.healingInterval / 2 else { return }
      membershipAnswers[place].at = now
    } else {
      if membershipAnswers.count >= Quorums.maximumReplicas { membershipAnswers.removeFirst() }
      membershipAnswers.append(MembershipAnswer(replica: sender, at: now))
    }
    emit(.send(.checkpoint(core.stableCheckpoint), to: sender))
  }
}
