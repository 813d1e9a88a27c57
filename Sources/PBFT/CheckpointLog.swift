// Checkpoint messages by sequence number and replica (OSDI '99 §4.3), the first of each replica per sequence
// number; however many different digests faulty replicas send, nothing grows and nothing is believed before a
// quorum says the same.

/// The checkpoint votes of the window: one slot per multiple of the checkpoint period in it.
final class CheckpointLog {
  private struct Slot {
    var sequence = SequenceNumber.zero
    var voted = ReplicaSet.empty
  }

  private let period: UInt64
  private let slotCount: UInt64
  private let replicas: Int
  private let slots: UnsafeMutablePointer<Slot>
  private let digests: UnsafeMutablePointer<Digest>
  /// Per replica one above the stable checkpoint that is not at a multiple of the period: of a
  /// reconfiguration (decision record 3).
  private let extra: UnsafeMutablePointer<Checkpoint>

  /// For a window of `slotCount` × `period` sequence numbers.
  init(period: UInt64, slotCount: UInt64, replicas: Int) {
    self.period = period
    self.slotCount = slotCount
    self.replicas = replicas
    slots = .allocate(capacity: Int(slotCount))
    slots.initialize(repeating: Slot(), count: Int(slotCount))
    digests = .allocate(capacity: Int(slotCount) * replicas)
    digests.initialize(repeating: .zero, count: Int(slotCount) * replicas)
    extra = .allocate(capacity: replicas)
    extra.initialize(repeating: Checkpoint(sequence: .zero, digest: .zero), count: replicas)
  }

  deinit {
    slots.deallocate()
    digests.deallocate()
    extra.deallocate()
  }

  private func index(_ sequence: SequenceNumber) -> Int {
    Int((sequence.rawValue / period) % slotCount)
  }

  private func isRegular(_ sequence: SequenceNumber) -> Bool { sequence.rawValue % period == 0 }

  /// Records the first checkpoint message of a replica for this sequence number inside the window.
  /// `stored` is said of what is not even kept: a second one off the period.
  func record(_ checkpoint: Checkpoint, of position: Int, stable: SequenceNumber) -> VoteOutcome {
    guard isRegular(checkpoint.sequence) else {
      if extra[position].sequence == checkpoint.sequence {
        return extra[position].digest == checkpoint.digest ? .duplicate : .conflicting
      }
      // The checkpoint of a reconfiguration is stable before anything above it is executed.
      guard extra[position].sequence <= stable else { return .stored }
      extra[position] = checkpoint
      return .counted
    }
    let index = index(checkpoint.sequence)
    if slots[index].sequence != checkpoint.sequence {
      // The slot's former sequence number left the window when the watermark moved.
      slots[index] = Slot(sequence: checkpoint.sequence)
    }
    let row = digests + index * replicas
    guard !slots[index].voted.contains(position) else {
      return row[position] == checkpoint.digest ? .duplicate : .conflicting
    }
    slots[index].voted.insert(position)
    row[position] = checkpoint.digest
    return .counted
  }

  /// How many replicas but those excluded have sent exactly this checkpoint.
  func count(of checkpoint: Checkpoint, excluding excluded: ReplicaSet) -> Int {
    var count = 0
    for position in 0..<replicas where !excluded.contains(position) {
      if digest(of: position, at: checkpoint.sequence) == checkpoint.digest { count += 1 }
    }
    return count
  }

  /// The digest the replica has sent for this sequence number.
  func digest(of position: Int, at sequence: SequenceNumber) -> Digest? {
    guard isRegular(sequence) else {
      return extra[position].sequence == sequence ? extra[position].digest : nil
    }
    let index = index(sequence)
    guard slots[index].sequence == sequence, slots[index].voted.contains(position) else { return nil }
    return digests[index * replicas + position]
  }

  /// The digest that at least `quorum` replicas, but for those excluded, have sent for this sequence number.
  func digest(sentBy quorum: Int, at sequence: SequenceNumber, excluding excluded: ReplicaSet) -> Digest? {
    for position in 0..<replicas where !excluded.contains(position) {
      guard let candidate = digest(of: position, at: sequence) else { continue }
      let checkpoint = Checkpoint(sequence: sequence, digest: candidate)
      if count(of: checkpoint, excluding: excluded) >= quorum { return candidate }
    }
    return nil
  }

  /// What the replica has sent above `bound`, ascending.
  func checkpoints(of position: Int, above bound: SequenceNumber) -> [Checkpoint] {
    var found: [Checkpoint] = []
    if extra[position].sequence > bound { found.append(extra[position]) }
    for index in 0..<Int(slotCount)
    where slots[index].voted.contains(position) && slots[index].sequence > bound {
      found.append(Checkpoint(sequence: slots[index].sequence, digest: digests[index * replicas + position]))
    }
    return found.sorted { $0.sequence < $1.sequence }
  }
}
