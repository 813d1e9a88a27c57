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

  /// For a window of `slotCount` × `period` sequence numbers.
  init(period: UInt64, slotCount: UInt64, replicas: Int) {
    self.period = period
    self.slotCount = slotCount
    self.replicas = replicas
    slots = .allocate(capacity: Int(slotCount))
    slots.initialize(repeating: Slot(), count: Int(slotCount))
    digests = .allocate(capacity: Int(slotCount) * replicas)
    digests.initialize(repeating: .zero, count: Int(slotCount) * replicas)
  }

  deinit {
    slots.deallocate()
    digests.deallocate()
  }

  private func index(_ sequence: SequenceNumber) -> Int {
    Int((sequence.rawValue / period) % slotCount)
  }

  /// Records the first checkpoint message of a replica for this sequence number, a multiple of the period
  /// inside the window.
  func record(_ checkpoint: Checkpoint, of position: Int) -> VoteOutcome {
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

  /// How many replicas have sent exactly this checkpoint.
  func count(of checkpoint: Checkpoint) -> Int {
    let index = index(checkpoint.sequence)
    guard slots[index].sequence == checkpoint.sequence else { return 0 }
    var remaining = slots[index].voted
    var count = 0
    while let position = remaining.popFirst() {
      if digests[index * replicas + position] == checkpoint.digest { count += 1 }
    }
    return count
  }

  /// The digest the replica has sent for this sequence number.
  func digest(of position: Int, at sequence: SequenceNumber) -> Digest? {
    let index = index(sequence)
    guard slots[index].sequence == sequence, slots[index].voted.contains(position) else { return nil }
    return digests[index * replicas + position]
  }

  /// The digest that at least `quorum` replicas have sent for this sequence number.
  func digest(sentBy quorum: Int, at sequence: SequenceNumber) -> Digest? {
    let index = index(sequence)
    guard slots[index].sequence == sequence else { return nil }
    var remaining = slots[index].voted
    while let position = remaining.popFirst() {
      let candidate = Checkpoint(sequence: sequence, digest: digests[index * replicas + position])
      if count(of: candidate) >= quorum { return candidate.digest }
    }
    return nil
  }
}
