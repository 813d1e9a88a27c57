// What a new view begins with, as a function of its VIEW-CHANGEs: computed by its primary and, again, by
// everybody who receives the NEW-VIEW (OSDI '99 §4.4 with the selection over the set V itself, Fabric #1111;
// claims without certificates: TOCS 2002 §3.2.4).
//
// Kept true here: only distinct, valid VIEW-CHANGEs of one view and membership are looked at; the result
// depends on nothing but them.

/// A checkpoint and the digests of the numbers after it; the zero digest is the null request.
struct NewViewSelection: Equatable {
  var start: Checkpoint
  var digests: [Digest]

  /// nil when these VIEW-CHANGEs do not settle it: the primary waits for more.
  init?(_ viewChanges: [ViewChange], quorums: Quorums, logSize: UInt64) {
    guard viewChanges.count >= quorums.quorum else { return nil }
    guard let start = NewViewSelection.start(viewChanges, quorums) else { return nil }
    self.start = start
    digests = []
    // The claims of each VIEW-CHANGE are ascending: one cursor per set.
    var prepared = viewChanges.map { change in
      change.prepared.firstIndex { $0.sequence > start.sequence } ?? change.prepared.count
    }
    var prePrepared = viewChanges.map { change in
      change.prePrepared.firstIndex { $0.sequence > start.sequence } ?? change.prePrepared.count
    }
    var length = 0
    var claims: [Claim?] = Array(repeating: nil, count: viewChanges.count)
    for offset in 1...logSize {
      let sequence = SequenceNumber(start.sequence.rawValue &+ offset)
      var silent = 0
      for index in viewChanges.indices {
        let change = viewChanges[index]
        claims[index] = nil
        if prepared[index] < change.prepared.count, change.prepared[prepared[index]].sequence == sequence {
          claims[index] = change.prepared[prepared[index]]
          prepared[index] += 1
        }
        if change.stable.sequence < sequence, claims[index] == nil { silent += 1 }
      }
      let chosen = NewViewSelection.digest(
        claims, silent, viewChanges, prePrepared, sequence, quorums)
      for index in viewChanges.indices {
        let set = viewChanges[index].prePrepared
        while prePrepared[index] < set.count, set[prePrepared[index]].sequence == sequence {
          prePrepared[index] += 1
        }
      }
      if let chosen {
        digests.append(chosen)
        // A null request that was prepared may have been executed: it stays.
        length = digests.count
      } else if silent >= quorums.quorum {
        digests.append(.zero)
      } else {
        return nil
      }
    }
    digests.removeLast(digests.count - length)
  }

  /// The highest checkpoint that f+1 list and a quorum can go on from.
  private static func start(_ viewChanges: [ViewChange], _ quorums: Quorums) -> Checkpoint? {
    var best: Checkpoint?
    for change in viewChanges {
      for candidate in [change.stable] + change.checkpoints {
        if let best, candidate.sequence <= best.sequence { continue }
        // Each VIEW-CHANGE counts once, however often it names the checkpoint (W3).
        let listed = viewChanges.count { $0.stable == candidate || $0.checkpoints.contains(candidate) }
        let reachable = viewChanges.count { $0.stable.sequence <= candidate.sequence }
        if listed >= quorums.weakQuorum, reachable >= quorums.quorum { best = candidate }
      }
    }
    return best
  }

  /// The digest that may have been committed at this number: claimed as prepared, contradicted by fewer than
  /// a quorum leaves room for (A1), and vouched for by a correct replica (A2).
  private static func digest(
    _ claims: [Claim?], _ silent: Int, _ viewChanges: [ViewChange], _ prePrepared: [Int],
    _ sequence: SequenceNumber, _ quorums: Quorums
  ) -> Digest? {
    for case let claim? in claims {
      var agreeing = silent
      var vouching = 0
      for index in viewChanges.indices {
        if let other = claims[index],
          other.view < claim.view || (other.view == claim.view && other.digest == claim.digest)
        {
          agreeing += 1
        }
        let set = viewChanges[index].prePrepared
        var cursor = prePrepared[index]
        while cursor < set.count, set[cursor].sequence == sequence {
          if set[cursor].digest == claim.digest, !(set[cursor].view < claim.view) {
            vouching += 1
            break
          }
          cursor += 1
        }
      }
      if agreeing >= quorums.quorum, vouching >= quorums.weakQuorum { return claim.digest }
    }
    return nil
  }
}

extension NewView {
  /// What a NEW-VIEW of these VIEW-CHANGEs has to say; nil when they do not settle it. For adversaries: a correct
  /// primary's core makes its own.
  public static func selection(
    from viewChanges: [ViewChange], quorums: Quorums, logSize: UInt64
  ) -> (start: Checkpoint, digests: [Digest])? {
    NewViewSelection(viewChanges, quorums: quorums, logSize: logSize).map { ($0.start, $0.digests) }
  }
}

extension ViewChange {
  /// Whether a correct replica may say this. One that is not valid is rejected alone and costs nobody else
  /// anything (concord #50).
  func isValid(period: UInt64, logSize: UInt64) -> Bool {
    guard view.rawValue >= 1, stable.sequence.rawValue <= UInt64.max - 2 * logSize else { return false }
    let low = stable.sequence
    let high = SequenceNumber(low.rawValue + logSize)
    guard UInt64(checkpoints.count) <= logSize / period + 1 else { return false }
    var last = low
    var irregular = 0
    for checkpoint in checkpoints {
      guard checkpoint.sequence > last, checkpoint.sequence <= high else { return false }
      if checkpoint.sequence.rawValue % period != 0 { irregular += 1 }
      last = checkpoint.sequence
    }
    // One may be off the period: that of a reconfiguration.
    guard irregular <= 1 else { return false }
    guard accused.count <= ViewChange.maximumAccused else { return false }
    for index in accused.indices.dropFirst() where accused[index] <= accused[index - 1] { return false }
    last = low
    for claim in prepared {
      guard claim.sequence > last, claim.sequence <= high, claim.view < view else { return false }
      last = claim.sequence
    }
    return isPrePreparedValid(low, high) && isPreparedCovered
  }

  private func isPrePreparedValid(_ low: SequenceNumber, _ high: SequenceNumber) -> Bool {
    var perSequence = 0
    for index in prePrepared.indices {
      let claim = prePrepared[index]
      guard claim.sequence > low, claim.sequence <= high, claim.view < view else { return false }
      if index > 0, claim.sequence < prePrepared[index - 1].sequence { return false }
      if index > 0, claim.sequence == prePrepared[index - 1].sequence {
        perSequence += 1
        guard perSequence <= ViewChange.maximumDigestsPerSequence else { return false }
        for other in (index - perSequence + 1)..<index where prePrepared[other].digest == claim.digest {
          return false
        }
      } else {
        perSequence = 1
      }
    }
    return true
  }

  /// Whoever has prepared something has pre-prepared it, in that view or again in a later one.
  private var isPreparedCovered: Bool {
    var cursor = 0
    for claim in prepared {
      while cursor < prePrepared.count, prePrepared[cursor].sequence < claim.sequence { cursor += 1 }
      var other = cursor
      var isCovered = false
      while other < prePrepared.count, prePrepared[other].sequence == claim.sequence {
        if prePrepared[other].digest == claim.digest, !(prePrepared[other].view < claim.view) {
          isCovered = true
        }
        other += 1
      }
      guard isCovered else { return false }
    }
    return true
  }
}
