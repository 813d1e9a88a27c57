// What a scheming adversary says: nothing that is refused for its form, and everything that a selection, or a vote after
// a restart, could get wrong.

import PBFT
import Replication

/// What it has voted for in the name of its eagerness.
struct EagerVote: BitwiseCopyable, Equatable {
  var view: View
  var sequence: SequenceNumber
  var digest: Digest
}

extension Adversary {
  private static let remembered = 8

  // MARK: Votes

  /// What has come for the replica, seen by the adversary first.
  func overhear(_ packet: Packet, _ host: SimulatedHost, _ cluster: SimulatedCluster) {
    // Two that support each other's votes would never end.
    let isOfAdversary = cluster.hosts[Int(packet.from)].adversary != nil
    switch packet.message {
    case .prePrepare(let message) where packet.kind == .prePrepare:
      support(message.view, message.sequence, message.digest, packet, host, cluster)
    case .prepare(let vote) where !isOfAdversary:
      support(vote.view, vote.sequence, vote.digest, packet, host, cluster)
    case .commit(let vote) where !isOfAdversary:
      support(vote.view, vote.sequence, vote.digest, packet, host, cluster)
    case .status(let status) where status.asks && roles.contains(.scheming):
      proposeAgain(to: packet.from, host, cluster)
    default: break
    }
  }

  /// Prepare and commit for whatever somebody stands by, once.
  private func support(
    _ view: View, _ sequence: SequenceNumber, _ digest: Digest, _ packet: Packet, _ host: SimulatedHost,
    _ cluster: SimulatedCluster
  ) {
    guard roles.contains(.eager), !isSilent else { return }
    let vote = EagerVote(view: view, sequence: sequence, digest: digest)
    guard !votes.contains(vote) else { return }
    if votes.count < 4 * Self.remembered {
      votes.append(vote)
    } else {
      votes[nextVote] = vote
      nextVote = (nextVote + 1) % votes.count
    }
    for message in [
      Message.prepare(Prepare(view: view, sequence: sequence, digest: digest)),
      .commit(Commit(view: view, sequence: sequence, digest: digest)),
    ] {
      for other in 0..<cluster.plan.hosts where other != host.index && cluster.hosts[other].id != host.id {
        var copy = Packet(.message, from: Int32(host.index), to: Int32(other))
        copy.membershipID = packet.membershipID
        copy.message = message
        cluster.transmit(copy, afterNanoseconds: 0)
      }
    }
  }

  /// Keeps an own proposal, to be made again to who has forgotten it.
  func keepProposal(_ packet: Packet, _ cluster: SimulatedCluster) {
    guard roles.contains(.scheming), case .prePrepare(let prePrepare) = packet.message else { return }
    for held in proposals {
      if case .prePrepare(let other) = held.message, other.view == prePrepare.view,
        other.sequence == prePrepare.sequence
      {
        return
      }
    }
    cluster.retain(packet)
    if proposals.count < Self.remembered {
      proposals.append(packet)
    } else {
      cluster.release(proposals[nextProposal])
      proposals[nextProposal] = packet
      nextProposal = (nextProposal + 1) % Self.remembered
    }
  }

  /// A replica asks: the proposals once more, of which it is told the other batch if it has restarted.
  private func proposeAgain(to destination: Int32, _ host: SimulatedHost, _ cluster: SimulatedCluster) {
    guard !isSilent, !roles.contains(.silentPrimary) else { return }
    for index in proposals.indices {
      var packet = proposals[index]
      packet.to = destination
      let isChanged = changePrePrepare(&packet, host, cluster)
      cluster.transmit(packet, afterNanoseconds: 0)
      if isChanged { cluster.release(packet) }
    }
  }

  /// Which of two stories a host is told.
  func isOnOtherSide(_ destination: Int32, _ cluster: SimulatedCluster) -> Bool {
    let isOther = sides & (1 &<< UInt64(destination)) != 0
    guard roles.contains(.scheming) else { return isOther }
    return isOther != (cluster.hosts[Int(destination)].crashes & 1 == 1)
  }

  // MARK: View changes

  /// Keeps what the replica itself has said, as what it may say again later.
  func keepViewChange(_ content: ViewChange) {
    guard formerViewChanges.last?.view != content.view else { return }
    if formerViewChanges.count >= Self.remembered { formerViewChanges.removeFirst() }
    formerViewChanges.append(content)
  }

  /// Well-formed, and what a replica could say that has voted otherwise.
  func scheme(_ content: inout ViewChange, _ cluster: SimulatedCluster) {
    let below = View(content.view.rawValue &- 1)
    switch chance.below(12) {
    case 0:
      content.prepared = []
      content.prePrepared = []
    case 1:
      // What it said once.
      guard !formerViewChanges.isEmpty else { return }
      let former = chance.pick(formerViewChanges)
      let low = content.stable.sequence
      content.prepared = former.prepared.filter { $0.sequence > low }
      content.prePrepared = former.prePrepared.filter { $0.sequence > low }
    case 2:
      // Nothing was to be done there, as has been agreed last.
      for index in content.prepared.indices where chance.happens(768) {
        content.prepared[index].digest = .zero
        content.prepared[index].view = below
      }
      content.prePrepared = content.prepared
    case 3:
      // The batches in another order.
      let digests = content.prepared.map(\.digest)
      for index in content.prepared.indices {
        content.prepared[index].digest = digests[(index + 1) % digests.count]
        content.prepared[index].view = below
      }
      content.prePrepared = content.prepared
    case 4:
      // The other batch of a number that has two.
      for index in content.prepared.indices {
        guard
          let other = cluster.equivocations.last(where: { $0.sequence == content.prepared[index].sequence })
        else { continue }
        let isFirst = content.prepared[index].digest == other.first
        content.prepared[index].digest = isFirst ? other.second : other.first
        content.prepared[index].view = chance.happens(512) && other.view < content.view ? other.view : below
      }
      content.prePrepared = content.prepared
    case 5:
      content.prepared.removeAll { _ in chance.happens(512) }
    case 6:
      // All that was proposed is prepared.
      var prepared: [Claim] = []
      for claim in content.prePrepared where claim.sequence != prepared.last?.sequence {
        prepared.append(claim)
      }
      if chance.happens(512) { for index in prepared.indices { prepared[index].view = below } }
      content.prepared = prepared
      content.prePrepared = prepared
    case 7...10:
      // Stands by everything, in the highest view there can be, and has prepared nothing of it, perhaps.
      for index in content.prePrepared.indices { content.prePrepared[index].view = below }
      if chance.happens(768) { content.prepared = [] }
    default:
      // One claim of another number, or none, where it has said nothing.
      let last = content.prePrepared.last
      let sequence = SequenceNumber((last?.sequence ?? content.stable.sequence).rawValue &+ 1)
      guard sequence.rawValue <= content.stable.sequence.rawValue + UInt64(cluster.plan.configuration.logSize)
      else { return }
      let digest = chance.happens(512) ? .zero : last?.digest ?? .zero
      let claim = Claim(sequence: sequence, digest: digest, view: below)
      content.prepared.append(claim)
      content.prePrepared.append(claim)
    }
  }

  /// A NEW-VIEW whose selection follows from its VIEW-CHANGEs, which are not those it should be made of.
  /// Told to all alike, mostly. False when it stays as it is.
  func scheme(_ content: inout NewView, _ host: SimulatedHost, _ cluster: SimulatedCluster) -> Bool {
    if content.view != newViewScheme?.view || chance.happens(100) {
      var other = content
      let isChanged = chance.happens(768) && choose(&other, host, cluster)
      newViewScheme = (content.view, isChanged ? other : nil)
    }
    guard let other = newViewScheme?.content else { return false }
    content = other
    return true
  }

  private func choose(_ content: inout NewView, _ host: SimulatedHost, _ cluster: SimulatedCluster) -> Bool {
    let membership = cluster.membership(content.membershipID)
    let quorum = membership.quorums.quorum
    var changes = content.viewChanges
    guard let own = changes.firstIndex(where: { $0.content.replica == host.id }) else { return false }
    switch chance.below(5) {
    case 0: changes = Array(repeating: chance.pick(changes), count: changes.count)
    case 1:
      // Its own counts for somebody else's too.
      var other = chance.below(changes.count)
      if other == own { other = (own + 1) % changes.count }
      changes[other] = changes[own]
    case 2 where changes.count > quorum: changes.remove(at: chance.below(changes.count))
    case 2, 3:
      let isToBeShort = changes.count > quorum && chance.happens(512)
      revise(&changes[own], host, cluster)
      if isToBeShort { changes.remove(at: own == 0 ? 1 : 0) }
    default:
      revise(&changes[own], host, cluster)
      let other = chance.below(changes.count)
      if other != own { changes[other] = changes[own] }
    }
    guard
      let (start, digests) = NewView.selection(
        from: changes.map(\.content), quorums: membership.quorums,
        logSize: UInt64(cluster.plan.configuration.logSize))
    else { return false }
    content.viewChanges = changes
    content.start = start
    content.digests = digests
    return true
  }

  /// What the replica itself would have settled and the adversary's NEW-VIEW does not is proposed anew: nothing is to be
  /// done there.
  func proposeNothing(
    from content: NewView, through last: SequenceNumber, to destination: Int32, _ host: SimulatedHost,
    _ cluster: SimulatedCluster
  ) {
    var sequence = content.start.sequence
    sequence.rawValue &+= UInt64(content.digests.count)
    while sequence < last {
      sequence.rawValue &+= 1
      var packet = Packet(.prePrepare, from: Int32(host.index), to: destination)
      packet.membershipID = content.membershipID
      packet.message = .prePrepare(
        PrePrepare(view: content.view, sequence: sequence, digest: .zero, batch: .none))
      packet.payload = cluster.lists.make()
      cluster.transmit(packet, afterNanoseconds: 0)
      cluster.release(packet)
      packet.kind = .message
      packet.payload = -1
      packet.message = .commit(Commit(view: content.view, sequence: sequence, digest: .zero))
      cluster.transmit(packet, afterNanoseconds: 0)
    }
  }

  /// Another VIEW-CHANGE of its own.
  private func revise(_ signed: inout SignedViewChange, _ host: SimulatedHost, _ cluster: SimulatedCluster) {
    scheme(&signed.content, cluster)
    signed.signature = StatementSeals.seal(.viewChange(signed.content), by: host.id)
  }
}
