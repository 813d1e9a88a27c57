// A replica that is no member: not yet, or no more. It waits until f+1 members of the membership it knows speak of a newer
// one, and then asks them for checkpoints until it has the state of one in whose membership it is.
//
// Kept true here: it votes for nothing and believes nothing that f+1 members have not vouched for; while nobody speaks of
// a newer membership it asks for nothing.

import PBFT

/// Which membership a peer has spoken of last.
struct HeardMembership {
  var replica: ReplicaID
  var id: Int32
}

extension Replica {
  /// A peer says of which membership it is.
  func hear(of other: Int32, from sender: ReplicaID) {
    if let index = heardMemberships.firstIndex(where: { $0.replica == sender }) {
      heardMemberships[index].id = other
    } else {
      if heardMemberships.count >= 2 * Quorums.maximumReplicas { heardMemberships.removeFirst() }
      heardMemberships.append(HeardMembership(replica: sender, id: other))
    }
    askToJoin()
  }

  /// Asks the members for a state beyond the own one, if there is a newer membership; again after a while.
  func askToJoin() {
    guard isStarted, !isMember, transfer == nil else { return }
    let newer = heardMemberships.count {
      $0.id > membership.id && membership.position(of: $0.replica) != nil
    }
    guard newer >= membership.quorums.weakQuorum else { return }
    // Nobody has this state, so everybody answers with the checkpoint that is stable there, if it is beyond.
    let unknown = Checkpoint(sequence: lastExecuted, digest: .zero)
    for heard in heardMemberships where heard.id > membership.id {
      emit(.send(.fetchState(StateQuery(checkpoint: unknown, position: 0)), to: heard.replica))
    }
    joinTimer.reset(afterNanoseconds: configuration.stateTransferTimeout, event: .joinTimeout)
  }
}
