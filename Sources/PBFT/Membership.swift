// Who takes part, as data: the core knows replicas by their position in the membership in force.

/// The replicas in force, and how many of them may be faulty (BFT-SMaRt's `View`).
public struct Membership: Hashable, Sendable {
  /// 0 at first, one more with every reconfiguration; the `viewID` of client frames.
  public let id: Int32
  /// In ascending order; a replica's index here is its position.
  public let replicas: [ReplicaID]
  public let quorums: Quorums

  /// Sorts `replicas`. nil when one of them is named twice or the quorums do not exist (`Quorums.init`).
  public init?(id: Int32 = 0, replicas: [ReplicaID], faults: Int, model: FaultModel = .byzantine) {
    guard let quorums = Quorums(replicas: replicas.count, faults: faults, model: model) else { return nil }
    let sorted = replicas.sorted()
    for index in sorted.indices.dropFirst() where sorted[index] == sorted[index - 1] { return nil }
    self.id = id
    self.replicas = sorted
    self.quorums = quorums
  }

  /// Replicas 0..<`count` with as many faults as they tolerate. Precondition: `count` is 1...64.
  public init(count: Int, model: FaultModel = .byzantine) {
    let replicas = (0..<Int32(count)).map { ReplicaID($0) }
    guard
      let membership = Membership(
        replicas: replicas, faults: model.maximumFaults(replicas: count), model: model)
    else { preconditionFailure("a membership has 1...64 replicas") }
    self = membership
  }

  public var count: Int { replicas.count }

  /// The faults tolerated, f.
  public var faults: Int { quorums.faults }

  /// The replica's position, nil when it is no member. Constant when ids are 0..<n, else O(n).
  public func position(of replica: ReplicaID) -> Int? {
    let guess = Int(replica.rawValue)
    if guess >= 0, guess < replicas.count, replicas[guess] == replica { return guess }
    return replicas.firstIndex(of: replica)
  }

  /// The position of the primary: p = v mod |R| (OSDI '99 §4).
  @inlinable
  public func primaryPosition(of view: View) -> Int {
    Int(view.rawValue % UInt64(quorums.replicas))
  }

  /// The primary of `view`.
  public func primary(of view: View) -> ReplicaID { replicas[primaryPosition(of: view)] }
}

/// A set of replicas by position in the membership: one word.
public struct ReplicaSet: Hashable, Sendable, BitwiseCopyable {
  public var bits: UInt64

  public static let empty = ReplicaSet()

  @inlinable
  public init() { bits = 0 }

  @inlinable
  public var count: Int { bits.nonzeroBitCount }

  @inlinable
  public var isEmpty: Bool { bits == 0 }

  /// Precondition for all three: `position` is 0..<64.
  @inlinable
  public func contains(_ position: Int) -> Bool { bits & (1 &<< UInt64(position)) != 0 }

  @inlinable
  public mutating func insert(_ position: Int) { bits |= 1 &<< UInt64(position) }

  @inlinable
  public mutating func remove(_ position: Int) { bits &= ~(1 &<< UInt64(position)) }

  /// The lowest position, removed from the set; nil when it is empty.
  @inlinable
  public mutating func popFirst() -> Int? {
    guard bits != 0 else { return nil }
    let position = bits.trailingZeroBitCount
    bits &= bits &- 1
    return position
  }
}
