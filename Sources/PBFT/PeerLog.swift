// What the peers say of themselves, and how often they may still ask. One record per replica: nothing grows.

/// A peer as far as its messages show it.
struct Peer {
  var hasReported = false
  var isRecovering = false
  var view = View.zero
  var stable = SequenceNumber.zero
  var executed = SequenceNumber.zero
  /// For the estimate of a recovering replica: the lowest stable and the highest prepared number reported.
  var lowestStable = SequenceNumber(UInt64.max)
  var highestPrepared = SequenceNumber.zero
  /// Its last checkpoints above the window.
  var ahead = (
    Checkpoint(sequence: .zero, digest: .zero), Checkpoint(sequence: .zero, digest: .zero),
    Checkpoint(sequence: .zero, digest: .zero), Checkpoint(sequence: .zero, digest: .zero)
  )
  var nextAhead = 0
  var answersLeft = PeerLog.answers
  /// The clients it accuses, the last ones.
  var accused = ContiguousArray<Int32>()
}

/// The peers by position.
struct PeerLog {
  /// So many queries of a peer are answered until the timer `answers` fires.
  static let answers = 8

  private(set) var peers: ContiguousArray<Peer>
  private(set) var isRefillDue = false

  init(replicas: Int) { peers = ContiguousArray(repeating: Peer(), count: replicas) }

  mutating func note(_ checkpoint: Checkpoint, _ position: Int) {
    guard !says(checkpoint, position) else { return }
    switch peers[position].nextAhead {
    case 0: peers[position].ahead.0 = checkpoint
    case 1: peers[position].ahead.1 = checkpoint
    case 2: peers[position].ahead.2 = checkpoint
    default: peers[position].ahead.3 = checkpoint
    }
    peers[position].nextAhead = (peers[position].nextAhead + 1) % 4
  }

  private func says(_ checkpoint: Checkpoint, _ position: Int) -> Bool {
    let ahead = peers[position].ahead
    return ahead.0 == checkpoint || ahead.1 == checkpoint || ahead.2 == checkpoint || ahead.3 == checkpoint
  }

  /// How many replicas have sent this checkpoint while it was above the window.
  func count(of checkpoint: Checkpoint) -> Int {
    var count = 0
    for position in peers.indices where says(checkpoint, position) { count += 1 }
    return count
  }

  mutating func note(_ status: Status, _ position: Int) {
    peers[position].hasReported = true
    peers[position].isRecovering = status.isRecovering
    peers[position].view = status.view
    peers[position].stable = status.stable
    peers[position].executed = status.executed
    if !status.isRecovering {
      peers[position].lowestStable = min(peers[position].lowestStable, status.stable)
      peers[position].highestPrepared = max(peers[position].highestPrepared, status.prepared)
    }
  }

  /// How many replicas say that their log begins above this number.
  func count(stableAbove sequence: SequenceNumber) -> Int {
    var count = 0
    for peer in peers where peer.stable > sequence { count += 1 }
    return count
  }

  /// Whether any replica says that it has executed more than this.
  func isAnyAhead(of sequence: SequenceNumber) -> Bool {
    for peer in peers where peer.executed > sequence { return true }
    return false
  }

  enum Permission {
    case refused
    case granted
    /// Granted, and the timer `answers` is to be started.
    case grantedFirst
  }

  mutating func spendAnswer(_ position: Int) -> Permission {
    guard peers[position].answersLeft > 0 else { return .refused }
    peers[position].answersLeft -= 1
    guard !isRefillDue else { return .granted }
    isRefillDue = true
    return .grantedFirst
  }

  mutating func refill() {
    isRefillDue = false
    for position in peers.indices { peers[position].answersLeft = PeerLog.answers }
  }

  /// Notes that the replica accuses this client; false when that is known.
  mutating func accuse(_ client: Int32, _ position: Int) -> Bool {
    guard !peers[position].accused.contains(client) else { return false }
    if peers[position].accused.count >= ViewChange.maximumAccused { peers[position].accused.removeFirst() }
    peers[position].accused.append(client)
    return true
  }

  func accusers(of client: Int32) -> Int {
    var count = 0
    for peer in peers where peer.accused.contains(client) { count += 1 }
    return count
  }
}
