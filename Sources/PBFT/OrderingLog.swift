// The message log (OSDI '99 §4.2): a ring indexed by sequence number over the watermark window.
//
// Kept true here: a slot holds at most one accepted pre-prepare and one prepare and one commit per replica,
// the first that came; votes are counted only together with the digest of the accepted pre-prepare, whichever
// came first. All memory is allocated once: window size × replicas × three digests.

/// How far a sequence number has come in the view in force.
enum Phase: UInt8, Comparable {
  /// Votes may be there, a pre-prepare is not.
  case open
  /// The NEW-VIEW has fixed the digest; the batch is not in hand yet.
  case assigned
  /// A pre-prepare has been accepted, or its place in the NEW-VIEW.
  case prePrepared
  /// With a quorum's worth of matching prepares; the own commit has been sent.
  case prepared
  /// With a quorum of matching commits.
  case committed

  @inline(__always)
  static func < (left: Phase, right: Phase) -> Bool { left.rawValue < right.rawValue }
}

/// Whether a sequence number's batch is settled for good, in whatever view.
enum Decision: UInt8 {
  case none
  /// By a quorum of commits, or f+1 replicas that have executed it.
  case decided
  case executed
}

/// What the log holds for one sequence number, but for the votes' digests.
struct LogSlot {
  // In the view in force.
  var digest = Digest.zero
  var view = View.zero
  var batch = BatchHandle.none
  var phase = Phase.open
  var isReconfiguration = false
  /// Who has sent a prepare or commit at all, and whose matches `digest` (empty while `open`).
  var prepares = ReplicaSet.empty
  var commits = ReplicaSet.empty
  var matchingPrepares = ReplicaSet.empty
  var matchingCommits = ReplicaSet.empty

  // In any view.
  var decision = Decision.none
  var decidedIsReconfiguration = false
  var decidedBatch = BatchHandle.none
  var decidedDigest = Digest.zero
  /// Who says that it has executed this number.
  var executions = ReplicaSet.empty
}

/// Which of the votes.
enum VoteKind: Int {
  case prepare = 0
  case commit = 1
  /// Not a vote of a view: the sender has executed this digest.
  case execution = 2
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
  /// Per slot: `replicas` prepare digests, as many commit digests, as many of executions.
  private let votes: UnsafeMutablePointer<Digest>

  /// A ring for at least `window` consecutive sequence numbers.
  init(window: UInt64, replicas: Int) {
    var capacity: UInt64 = 1
    while capacity < window { capacity *= 2 }
    mask = capacity - 1
    self.replicas = replicas
    slots = .allocate(capacity: Int(capacity))
    slots.initialize(repeating: LogSlot(), count: Int(capacity))
    votes = .allocate(capacity: Int(capacity) * replicas * 3)
    votes.initialize(repeating: .zero, count: Int(capacity) * replicas * 3)
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
    votes + (Int(sequence.rawValue & mask) * 3 + kind.rawValue) * replicas
  }

  /// Records the first vote of a replica for this sequence number; any further one changes nothing.
  func record(_ kind: VoteKind, of position: Int, for sequence: SequenceNumber, digest: Digest) -> VoteOutcome
  {
    let slot = slot(sequence)
    let digests = digests(sequence, kind)
    let voted =
      switch kind {
      case .prepare: slot.pointee.prepares
      case .commit: slot.pointee.commits
      case .execution: slot.pointee.executions
      }
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
    case .execution:
      slot.pointee.executions.insert(position)
      return .counted
    }
    return matches ? .counted : .stored
  }

  /// Fixes the digest of an open slot and counts the votes that came before it and match.
  func accept(_ prePrepare: PrePrepare, isReconfiguration: Bool, phase: Phase) {
    let slot = slot(prePrepare.sequence)
    precondition(slot.pointee.phase == .open, "a slot accepts one pre-prepare per view")
    slot.pointee.view = prePrepare.view
    slot.pointee.digest = prePrepare.digest
    slot.pointee.batch = prePrepare.batch
    slot.pointee.isReconfiguration = isReconfiguration
    slot.pointee.phase = phase
    slot.pointee.matchingPrepares = matching(
      slot.pointee.prepares, digests(prePrepare.sequence, .prepare), prePrepare.digest)
    slot.pointee.matchingCommits = matching(
      slot.pointee.commits, digests(prePrepare.sequence, .commit), prePrepare.digest)
  }

  /// The digest that so many replicas have prepared, in a slot that is still open.
  func digest(preparedBy count: Int, at sequence: SequenceNumber) -> Digest? {
    let voted = slot(sequence).pointee.prepares
    guard voted.count >= count else { return nil }
    let digests = digests(sequence, .prepare)
    var remaining = voted
    while let position = remaining.popFirst() {
      if matching(voted, digests, digests[position]).count >= count { return digests[position] }
    }
    return nil
  }

  /// Takes the word of a primary back out of the prepares.
  func forgetPrepare(of position: Int, for sequence: SequenceNumber) {
    slot(sequence).pointee.prepares.remove(position)
  }

  /// How many replicas say that they have executed this digest at this number.
  func executions(of digest: Digest, at sequence: SequenceNumber) -> Int {
    matching(slot(sequence).pointee.executions, digests(sequence, .execution), digest).count
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

  /// Empties the slot; its batches are the caller's to release.
  func clear(_ sequence: SequenceNumber) { slot(sequence).pointee = LogSlot() }

  /// Forgets what belongs to the view that is left, and keeps what is decided.
  func leaveView(_ sequence: SequenceNumber) {
    let slot = slot(sequence)
    var kept = LogSlot()
    kept.decision = slot.pointee.decision
    kept.decidedIsReconfiguration = slot.pointee.decidedIsReconfiguration
    kept.decidedBatch = slot.pointee.decidedBatch
    kept.decidedDigest = slot.pointee.decidedDigest
    kept.executions = slot.pointee.executions
    slot.pointee = kept
  }
}
