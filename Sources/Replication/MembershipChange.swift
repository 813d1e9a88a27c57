// Changing the membership (decision record 3): a RECONFIG of the administrator stands alone in its batch;
// after the checkpoint right after it is stable the new membership begins, with that number as its low
// watermark.
//
// Kept true here: the members of one membership agree on the next one as on any batch; a removed replica
// votes no more.

import PBFT

/// The content of a RECONFIG request: id i32 | f u32 | n u32 | replica ids i32, big-endian.
public struct MembershipChange: Hashable, Sendable {
  /// The id of the membership asked for: one more than that in force.
  public var id: Int32
  public var faults: Int
  public var replicas: [ReplicaID]

  public init(id: Int32, faults: Int, replicas: [ReplicaID]) {
    self.id = id
    self.faults = faults
    self.replicas = replicas
  }

  static let maximumByteCount = 12 + 4 * Quorums.maximumReplicas

  public var encoded: [UInt8] {
    var output: [UInt8] = []
    output.put(id)
    output.put(UInt32(faults))
    output.put(UInt32(replicas.count))
    for replica in replicas { output.put(replica.rawValue) }
    return output
  }

  /// nil unless `bytes` are exactly the encoding of a change.
  public init?(_ bytes: UnsafeRawBufferPointer) {
    var reader = ByteReader(bytes)
    guard let id = reader.integer(Int32.self), let faults = reader.integer(UInt32.self),
      let count = reader.integer(UInt32.self), (1...UInt32(Quorums.maximumReplicas)).contains(count),
      faults < UInt32(Quorums.maximumReplicas)
    else { return nil }
    var replicas: [ReplicaID] = []
    for _ in 0..<count {
      guard let replica = reader.integer(Int32.self), replica >= 0 else { return nil }
      replicas.append(ReplicaID(replica))
    }
    guard reader.isAtEnd else { return nil }
    self.init(id: id, faults: Int(faults), replicas: replicas)
  }

  /// The membership it makes of the one in force; nil when it is not its successor, or impossible.
  func membership(after present: Membership) -> Membership? {
    guard present.id < .max, id == present.id + 1 else { return nil }
    return Membership(id: id, replicas: replicas, faults: faults, model: present.quorums.model)
  }
}

/// When a peer of an older membership was told where the others are.
struct MembershipAnswer {
  var replica: ReplicaID
  var at: Int64
}

extension Replica {
  /// Executes a RECONFIG: returns its reply, the change that will be in force, empty when it is refused.
  func reconfigure(_ content: UnsafeRawBufferPointer) -> [UInt8] {
    guard let change = MembershipChange(content), let next = change.membership(after: membership) else {
      counts.reconfigurationsRefused &+= 1
      return []
    }
    nextMembership = next
    return change.encoded
  }

  /// The checkpoint right after the RECONFIG is stable under the old membership: the new one begins.
  func changeMembershipIfStable() {
    guard let next = nextMembership, core.stableCheckpoint.sequence == lastExecuted,
      core.stableCheckpoint.sequence > .zero
    else { return }
    begin(next, at: core.stableCheckpoint)
  }

  /// Begins a membership whose first state is that of `checkpoint`, which is at hand.
  func begin(_ next: Membership, at checkpoint: Checkpoint) {
    nextMembership = nil
    for timer in orderingTimers { timer.stop() }
    let isRecovering = core.isRecovering
    membership = next
    vouched = Array(repeating: Checkpoint(sequence: .zero, digest: .zero), count: next.count)
    isMember = next.position(of: id) != nil
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
  }

  /// Requests that wait and name another membership will be refused at execution; their clients ask again.
  private func dropOfMembership() {
    directory.forEachLane { lane in
      for place in 0..<Lane.width {
        let slot = (directory.places[Int(lane)] + place).pointee
        guard slot != .none, store.records[slot.index].pointee.membershipID != membership.id else { continue }
        let record = store.records[slot.index].pointee
        if record.membershipID < membership.id, record.newestConnection != .none {
          reply(
            to: record, connections: (record.newestConnection, record.olderConnection),
            content: UnsafeRawBufferPointer(start: nil, count: 0))
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
