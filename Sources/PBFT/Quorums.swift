// Every number of matching votes the protocol asks for comes from here, for any n and f.
//
// Two quorums of `quorum` replicas share a correct one (Byzantine) or any one (crash), and `quorum` replicas
// remain when f are silent: OSDI '99 §4, generalised from n = 3f+1 as Fabric does.

/// What a faulty replica may do.
public enum FaultModel: UInt8, Hashable, Sendable, CaseIterable {
  /// Anything: n is at least 3f+1.
  case byzantine
  /// Only stop: n is at least 2f+1 (`system.bft = false`).
  case crash

  /// The largest number of faults that `replicas` replicas tolerate.
  public func maximumFaults(replicas: Int) -> Int {
    switch self {
    case .byzantine: return max(0, (replicas - 1) / 3)
    case .crash: return max(0, (replicas - 1) / 2)
    }
  }
}

/// The quorum sizes of one membership.
public struct Quorums: Hashable, Sendable {
  /// Replicas in the membership, n.
  public let replicas: Int
  /// Faulty replicas tolerated, f.
  public let faults: Int
  public let model: FaultModel

  /// The largest membership: votes are bits of one word.
  public static let maximumReplicas = 64

  /// nil unless n is 1...64, f is not negative, and n is at least 3f+1 (Byzantine) or 2f+1 (crash).
  public init?(replicas: Int, faults: Int, model: FaultModel = .byzantine) {
    guard (1...Quorums.maximumReplicas).contains(replicas), faults >= 0 else { return nil }
    guard faults <= model.maximumFaults(replicas: replicas) else { return nil }
    self.replicas = replicas
    self.faults = faults
    self.model = model
  }

  /// Matching votes that make a certificate: 2f+1 of n = 3f+1 replicas.
  @inlinable
  public var quorum: Int {
    switch model {
    case .byzantine: return (replicas + faults) / 2 + 1
    case .crash: return replicas / 2 + 1
    }
  }

  /// Votes of which at least one is a correct replica's: f+1, in crash mode 1.
  @inlinable
  public var weakQuorum: Int {
    switch model {
    case .byzantine: return faults + 1
    case .crash: return 1
    }
  }

  /// Matching prepares that, with the primary's pre-prepare, make a batch prepared: 2f of n = 3f+1 replicas.
  @inlinable
  public var prepares: Int { quorum - 1 }
}
