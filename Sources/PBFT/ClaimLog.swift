// What this replica has pre-prepared and prepared in views it has left: the P and Q sets (OSDI '99 §4.4), and
// the batches they name.
//
// Kept true here: per sequence number one P claim, the one of the highest view, and at most eight Q claims,
// one per digest with the highest view; the Q claim that a P claim needs is never the one that is dropped.

/// A Q claim with its batch.
struct PastBatch {
  var claim: Claim
  var batch: BatchHandle
  var isReconfiguration: Bool
}

/// The claims of one sequence number.
struct PastSlot {
  var sequence = SequenceNumber.zero
  var prepared: Claim?
  var prePrepared = ContiguousArray<PastBatch>()
}

/// Claims by sequence number over the window. Empty, and without memory, until the first view change.
final class ClaimLog {
  private let mask: UInt64
  private var slots = ContiguousArray<PastSlot>()

  init(window: UInt64) {
    var capacity: UInt64 = 1
    while capacity < window { capacity *= 2 }
    mask = capacity - 1
  }

  @inline(__always)
  var isEmpty: Bool { slots.isEmpty }

  private func index(_ sequence: SequenceNumber) -> Int { Int(sequence.rawValue & mask) }

  /// The claims of this sequence number, nil when there are none.
  func claims(at sequence: SequenceNumber) -> PastSlot? {
    guard !slots.isEmpty, slots[index(sequence)].sequence == sequence else { return nil }
    return slots[index(sequence)]
  }

  /// The batch of this digest at this sequence number, if a claim names it.
  func batch(_ digest: Digest, at sequence: SequenceNumber) -> PastBatch? {
    guard !slots.isEmpty, slots[index(sequence)].sequence == sequence else { return nil }
    return slots[index(sequence)].prePrepared.first { $0.claim.digest == digest }
  }

  /// Whether a claim holds this very batch.
  func holds(_ batch: BatchHandle, at sequence: SequenceNumber) -> Bool {
    guard !slots.isEmpty, slots[index(sequence)].sequence == sequence else { return false }
    return slots[index(sequence)].prePrepared.contains { $0.batch == batch }
  }

  /// Adds what was pre-prepared, and perhaps prepared. The batches no longer named are returned.
  func add(_ past: PastBatch, isPrepared: Bool) -> ContiguousArray<BatchHandle> {
    if slots.isEmpty { slots = ContiguousArray(repeating: PastSlot(), count: Int(mask) + 1) }
    let index = index(past.claim.sequence)
    if slots[index].sequence != past.claim.sequence {
      precondition(slots[index].prePrepared.isEmpty, "the window has moved without its claims")
      slots[index] = PastSlot(sequence: past.claim.sequence)
    }
    var dropped = ContiguousArray<BatchHandle>()
    if isPrepared, slots[index].prepared.map({ $0.view < past.claim.view }) ?? true {
      slots[index].prepared = past.claim
    }
    if let same = slots[index].prePrepared.firstIndex(where: { $0.claim.digest == past.claim.digest }) {
      let held = slots[index].prePrepared[same].batch
      if slots[index].prePrepared[same].claim.view < past.claim.view {
        slots[index].prePrepared[same].claim.view = past.claim.view
      }
      if held == .none {
        slots[index].prePrepared[same].batch = past.batch
        slots[index].prePrepared[same].isReconfiguration = past.isReconfiguration
      } else if past.batch != .none, past.batch != held {
        dropped.append(past.batch)
      }
      return dropped
    }
    slots[index].prePrepared.append(past)
    if slots[index].prePrepared.count > ViewChange.maximumDigestsPerSequence {
      let kept = slots[index].prepared?.digest
      var lowest: Int?
      for other in slots[index].prePrepared.indices {
        guard slots[index].prePrepared[other].claim.digest != kept else { continue }
        if let known = lowest,
          slots[index].prePrepared[known].claim.view <= slots[index].prePrepared[other].claim.view
        {
          continue
        }
        lowest = other
      }
      guard let lowest else { preconditionFailure("one digest is prepared at most") }
      let removed = slots[index].prePrepared.remove(at: lowest)
      if removed.batch != .none { dropped.append(removed.batch) }
    }
    return dropped
  }

  /// Gives a batch to the claim of its digest, if there is one that lacks it.
  func attach(
    _ batch: BatchHandle, _ digest: Digest, _ isReconfiguration: Bool, at sequence: SequenceNumber
  ) {
    guard !slots.isEmpty, slots[index(sequence)].sequence == sequence else { return }
    let index = index(sequence)
    for other in slots[index].prePrepared.indices
    where slots[index].prePrepared[other].claim.digest == digest
      && slots[index].prePrepared[other].batch == .none
    {
      slots[index].prePrepared[other].batch = batch
      slots[index].prePrepared[other].isReconfiguration = isReconfiguration
    }
  }

  /// Forgets the claims of this sequence number and returns their batches.
  func clear(_ sequence: SequenceNumber) -> ContiguousArray<PastBatch> {
    guard !slots.isEmpty, slots[index(sequence)].sequence == sequence else { return [] }
    let removed = slots[index(sequence)].prePrepared
    slots[index(sequence)] = PastSlot()
    return removed
  }
}
