// Clients whose authenticators only some replicas find valid (decision records 10, 55 and 57): whom a
// suspicion names, who is refused, and whose requests are taken because others vouch for them.
//
// Kept true here: nothing is believed of a client that not at least one correct replica says; a peer fills
// its own places only.

import PBFT

/// The clients whose requests the primary has proposed in one batch with authenticators that are not valid
/// here.
struct Accusation {
  var clients: [Int32]
  /// The batch that was not taken for it.
  var sequence: SequenceNumber
  var since: Int64
}

extension Replica {
  /// How many clients are refused at most; more accusations than these change nothing.
  static let maximumRefusedClients = 4_096

  /// A pre-prepare of the primary was refused. If f+1 replicas stand by it, it is taken all the same; if it
  /// stalls, primary or client is to blame, and this replica names both.
  func accuse(_ client: Int32, view: View, sequence: SequenceNumber, from sender: ReplicaID) {
    reject(.badAuthenticator, from: sender)
    guard role == .following, view == core.view, membership.primary(of: view) == sender,
      sequence > lastExecuted
    else { return }
    counts.batchesAccused &+= 1
    if accusation?.sequence == sequence {
      if accusation!.clients.count < ViewChange.maximumAccused, !accusation!.clients.contains(client) {
        accusation!.clients.append(client)
      }
      return
    }
    // The earliest that stalls is what everything behind it waits for.
    if let accusation, accusation.sequence > lastExecuted, accusation.sequence <= sequence { return }
    accusation = Accusation(clients: [client], sequence: sequence, since: timers.now.nanoseconds)
    armRequestTimer()
  }

  /// Whether the batch not taken stands in the way for as long as the request timeout.
  var isAccusedOverdue: Bool {
    guard let accusation, !core.isSuspecting else { return false }
    guard lastExecuted < accusation.sequence else {
      self.accusation = nil
      return false
    }
    return timers.now.nanoseconds - accusation.since >= configuration.requestTimeoutNanoseconds
  }

  /// f+1 replicas accuse the client: nothing of it is taken any more, and what waits is given up.
  func refuseClient(_ client: Int32) {
    guard refusedClients.count < Replica.maximumRefusedClients, !refusedClients.contains(client) else {
      return
    }
    refusedClients.append(client)
    emit(.clientRefused(client))
    let lane = directory.find(client)
    guard lane >= 0 else { return }
    for place in 0..<Lane.width {
      let slot = (directory.places[Int(lane)] + place).pointee
      guard slot != .none else { continue }
      giveUp(slot, lane)
      if directory.find(client) != lane { return }
    }
  }
}

// MARK: Vouching

/// The last requests that each peer has passed on though their authenticators are not valid here.
struct Vouchers {
  /// Requests remembered of a peer.
  static let perPeer = 512

  private struct Peer {
    var replica: ReplicaID
    var requests: ContiguousArray<Digest> = []
    var next = 0
  }

  private var peers: [Peer] = []

  /// Notes that `replica` has passed the request on; returns how many have.
  mutating func note(_ request: Digest, by replica: ReplicaID) -> Int {
    let place: Int
    if let known = peers.firstIndex(where: { $0.replica == replica }) {
      place = known
    } else {
      place = peers.count
      peers.append(Peer(replica: replica))
    }
    if !peers[place].requests.contains(request) {
      if peers[place].requests.count < Vouchers.perPeer {
        peers[place].requests.append(request)
      } else {
        peers[place].requests[peers[place].next] = request
        peers[place].next = (peers[place].next + 1) % Vouchers.perPeer
      }
    }
    return peers.count { $0.requests.contains(request) }
  }

  /// Those who are no members vouch for nothing.
  mutating func keep(_ membership: Membership) {
    peers.removeAll { membership.position(of: $0.replica) == nil }
  }
}

extension Replica {
  /// A member has passed on a request whose tag is not valid here. Whether f+1 have: then one of them is
  /// correct and has found it valid, and it may be given to this replica as if it had been found so here.
  ///
  /// - Parameter digest: of the request's data, which names its client.
  public func isVouched(_ digest: Digest, by sender: ReplicaID) -> Bool {
    guard membership.position(of: sender) != nil, sender != id else { return false }
    return vouchers.note(digest, by: sender) >= membership.quorums.weakQuorum
  }
}
