// The message log (OSDI '99 §4.2): a ring indexed by sequence number over the watermark window.
//
// Kept true here: a slot holds at most one accepted pre-prepare and one prepare and one commit per replica,
// the first that came; votes are counted only together with the digest of the accepted pre-prepare, whichever
// came first. All memory is allocated once: window size × replicas × two digests.

/// How far a sequence number has come in the view in force.
enum Phase: UInt8, Comparable {
  /// Votes may be there, a pre-prepare is not.
  case open
  /// A pre-prepare has been accepted.
  case prePrepared
  /// With a quorum's worth of matching prepares; the own commit has been sent.
  case prepared
  /// With a quorum of matching commits.
  case committed
  case executed

  @inline(__always)
  static func < (left: Phase, right: Phase) -> Bool { left.rawValue < right.rawValue }
}

/// What the log holds for one sequence number, but for the votes' digests.
struct LogSlot {
  var digest = Digest.zero
  var view = View.zero
  var batch = BatchHandle.none
  var phase = Phase.open
  /// Who has sent a prepare or commit at all, and whose matches `digest` (empty while `open`).
  var prepares = ReplicaSet.empty
  var commits = ReplicaSet.empty
  var matchingPrepares = ReplicaSet.empty
  var matchingCommits = ReplicaSet.empty
}

/// Which of the two votes.
enum VoteKind: Int {
  case prepare = 0
  case commit = 1
}

/// What became of a vote.
enum VoteOutcome {
  case counted
  /// Stored; the pre-prepare it may match is not here, or it does not match.
  case stored
  case duplicate
  case conflicting
}

/// The window's slots and votes. Callers check that a sequence number is in the window; the ring does not.
final class OrderingLog {
  let replicas: Int
  private let mask: UInt64
  private let slots: UnsafeMutablePointer<LogSlot>
  /// Per slot: `replicas` prepare digests, then `replicas` commit digests.
  private let votes: UnsafeMutablePointer<Digest>

  /// A ring for at least `window` consecutive sequence numbers.
  init(window: UInt64, replicas: Int) {
    var capacity: UInt64 = 1
    while capacity < window { capacity *= 2 }
    mask = capacity - 1
    self.replicas = replicas
    slots = .allocate(capacity: Int(capacity))
    slots.initialize(repeating: LogSlot(), count: Int(capacity))
    votes = .allocate(capacity: Int(capacity) * replicas * 2)
    votes.initialize(repeating: .zero, count: Int(capacity) * replicas * 2)
  }

  deinit {
    slots.deallocate()
    votes.deallocate()
  }

  @inline(__always)
  func slot(_ sequence: SequenceNumber) -> UnsafeMutablePointer<LogSlot> {
    slots + Int(sequence.rawValue & mask)
  }

  @inline(__always)
  private func digests(_ sequence: SequenceNumber, _ kind: VoteKind) -> UnsafeMutablePointer<Digest> {
    votes + (Int(sequence.rawValue & mask) * 2 + kind.rawValue) * replicas
  }

  /// Records the first vote of a replica for this sequence number; any further one changes nothing.
  func record(_ kind: VoteKind, of position: Int, for sequence: SequenceNumber, digest: Digest) -> VoteOutcome
  {
    let slot = slot(sequence)
    let digests = digests(sequence, kind)
    let voted = kind == .prepare ? slot.pointee.prepares : slot.pointee.commits
    guard !voted.contains(position) else {
      return digests[position] == digest ? .duplicate : .conflicting
    }
    digests[position] = digest
    let matches = slot.pointee.phase > .open && slot.pointee.digest == digest
    switch kind {
    case .prepare:
      slot.pointee.prepares.insert(position)
      if matches { slot.pointee.matchingPrepares.insert(position) }
    case .commit:
      slot.pointee.commits.insert(position)
      if matches { slot.pointee.matchingCommits.insert(position) }
    }
    return matches ? .counted : .stored
  }

  /// Accepts the pre-prepare of an open slot and counts the votes that came before it and match.
  func accept(_ prePrepare: PrePrepare) {
    let slot = slot(prePrepare.sequence)
    precondition(slot.pointee.phase == .open, "a slot accepts one pre-prepare per view")
    slot.pointee.view = prePrepare.view
    slot.pointee.digest = prePrepare.digest
    slot.pointee.batch = prePrepare.batch
    slot.pointee.phase = .prePrepared
    slot.pointee.matchingPrepares = matching(
      slot.pointee.prepares, digests(prePrepare.sequence, .prepare), prePrepare.digest)
    slot.pointee.matchingCommits = matching(
      slot.pointee.commits, digests(prePrepare.sequence, .commit), prePrepare.digest)
  }

  private func matching(
    _ voted: ReplicaSet, _ digests: UnsafeMutablePointer<Digest>, _ digest: Digest
  ) -> ReplicaSet {
    var remaining = voted
    var matching = ReplicaSet.empty
    while let position = remaining.popFirst() {
      if digests[position] == digest { matching.insert(position) }
    }
    return matching
  }

  /// Empties the slot and returns the batch it held, `.none` if it held none.
  func clear(_ sequence: SequenceNumber) -> BatchHandle {
    let slot = slot(sequence)
    let batch = slot.pointee.batch
    slot.pointee = LogSlot()
    return batch
  }
}
