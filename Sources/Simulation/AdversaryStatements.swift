// What an adversary says in view changes and new views, and what it says by itself.

import PBFT
import Replication

extension Adversary {
  func sendStatement(_ original: Packet, _ host: SimulatedHost, _ cluster: SimulatedCluster) {
    let signed = cluster.statements[original.payload]
    var statement = signed.statement
    var isChanged = false
    var settled = SequenceNumber.zero
    switch statement {
    case .viewChange(var content) where content.replica == host.id:
      if roles.contains(.withholding), chance.happens(256) { return }
      if roles.contains(.scheming) {
        keepViewChange(content)
        if chance.happens(700) {
          scheme(&content, cluster)
          isChanged = true
        }
      }
      if roles.contains(.lyingViewChanges), chance.happens(640) {
        lie(&content, cluster)
        isChanged = true
      }
      if roles.contains(.garbageViewChanges), chance.happens(512) {
        garble(&content)
        isChanged = true
      }
      statement = .viewChange(content)
    case .newView(var content):
      if roles.contains(.silentPrimary) { return }
      let isOwn = cluster.membership(content.membershipID).primary(of: content.view) == host.id
      guard isOwn else { break }
      settled.rawValue = content.start.sequence.rawValue &+ UInt64(content.digests.count)
      if roles.contains(.lyingNewViews), chance.happens(640) {
        lie(&content)
        isChanged = true
      } else if roles.contains(.scheming), scheme(&content, host, cluster) {
        isChanged = true
      }
      statement = .newView(content)
    default: break
    }
    guard isChanged else { return cluster.transmit(original, afterNanoseconds: 0) }
    var packet = original
    packet.payload = cluster.statements.add(
      SignedStatement(statement: statement, signature: StatementSeals.seal(statement, by: host.id)))
    cluster.transmit(packet, afterNanoseconds: 0)
    cluster.release(packet)
    if roles.contains(.scheming), case .newView(let content) = statement {
      proposeNothing(from: content, through: settled, to: original.to, host, cluster)
    }
  }

  /// Well-formed and false.
  private func lie(_ content: inout ViewChange, _ cluster: SimulatedCluster) {
    let base = content.stable.sequence.rawValue
    let below = content.view.rawValue &- 1
    switch chance.below(7) {
    case 0:
      content.prepared = []
      content.prePrepared = []
    case 1: content.prepared = []
    case 2:
      // Prepared what nobody proposed.
      var digest = Digest.zero
      digest.words = (chance.bits(), 1, 2, 3)
      let claim = Claim(sequence: SequenceNumber(base &+ 1), digest: digest, view: View(below))
      content.prepared = [claim]
      content.prePrepared = [claim]
    case 3:
      // What the others have prepared, but another digest, in a view as high as can be.
      for index in content.prepared.indices {
        content.prepared[index].digest.words.0 ^= 1
        content.prepared[index].view = View(below)
      }
      content.prePrepared = content.prepared
    case 4:
      // A null request where something was prepared.
      for index in content.prepared.indices { content.prepared[index].digest = .zero }
      content.prePrepared = content.prepared
    case 5:
      content.stable.sequence.rawValue &+= UInt64(cluster.plan.configuration.checkpointPeriod)
      content.stable.digest.words.0 = chance.bits()
      let low = content.stable.sequence
      content.prepared.removeAll { $0.sequence <= low }
      content.prePrepared.removeAll { $0.sequence <= low }
      content.checkpoints.removeAll { $0.sequence <= low }
    default:
      var checkpoint = content.stable
      checkpoint.sequence.rawValue &+= UInt64(cluster.plan.configuration.checkpointPeriod)
      checkpoint.digest.words.1 = 5
      content.checkpoints = [checkpoint]
    }
    if chance.happens(100) { content.accused = [SimulatedCluster.firstClient] }
  }

  /// Not well-formed.
  private func garble(_ content: inout ViewChange) {
    let claim = Claim(sequence: SequenceNumber(chance.bits()), digest: .zero, view: View(chance.bits()))
    switch chance.below(9) {
    case 0: content.prepared.append(claim)
    case 1: content.prePrepared = Array(repeating: claim, count: 40)
    case 2: content.prepared.reverse()
    case 3: content.checkpoints = Array(repeating: content.stable, count: 3)
    case 4:
      content.view.rawValue = chance.pick([
        0, .max, content.view.rawValue &+ 1, content.view.rawValue &+ 1_000,
      ])
    case 5: content.membershipID &+= 1
    case 6: content.stable.sequence.rawValue = chance.pick([.max, .max - 3, 1])
    case 7: content.prePrepared = []
    default: content.prepared += content.prepared
    }
  }

  private func lie(_ content: inout NewView) {
    switch chance.below(8) {
    case 0: content.digests = []
    case 1 where !content.digests.isEmpty: content.digests[chance.below(content.digests.count)] = .zero
    case 2 where !content.digests.isEmpty: content.digests[0].words.0 ^= 1
    case 3: content.digests.append(Digest())
    case 4 where !content.viewChanges.isEmpty:
      content.viewChanges = Array(repeating: content.viewChanges[0], count: content.viewChanges.count)
    case 5: content.viewChanges = Array(content.viewChanges.dropLast())
    case 6: content.start.sequence.rawValue &+= 4
    default: content.viewChanges.reverse()
    }
  }
}

extension SimulatedCluster {
  /// The adversary acts by itself now and then.
  func adversaryDue(_ host: SimulatedHost) {
    guard let adversary = host.adversary else { return }
    let isLate = now > plan.safetyNanoseconds + plan.livenessNanoseconds
    guard !isLate else { return }
    heap.push(
      .adversary, at: now + 10_000_000 + adversary.chance.nanoseconds(below: 150_000_000),
      subject: Int32(host.index))
    if adversary.roles.contains(.silent) { adversary.isSilent = adversary.chance.happens(614) }
    if adversary.chance.happens(128) { adversary.victim = adversary.chance.below(plan.hosts) }
    guard host.isUp, !adversary.isSilent else { return }
    adversary.speak(host, self)
  }
}

extension Adversary {
  /// Messages that the replica would not have sent.
  fileprivate func speak(_ host: SimulatedHost, _ cluster: SimulatedCluster) {
    let status = host.replica.status
    let next = SequenceNumber(status.lastExecuted.rawValue &+ UInt64(chance.within(1...4)))
    var digest = Digest.zero
    digest.words.0 = UInt64(chance.below(3))
    var message: Message?
    if roles.contains(.suspicious) {
      if chance.happens(512) {
        message = .suspect(
          Suspect(view: status.view, accused: chance.happens(256) ? Int32(chance.below(2_000)) : nil))
      } else {
        return sendViewChange(status, host, cluster)
      }
    } else if roles.contains(.wrongDigests) {
      message =
        chance.happens(512)
        ? .prepare(Prepare(view: status.view, sequence: next, digest: digest))
        : .commit(Commit(view: status.view, sequence: next, digest: digest))
    } else if roles.contains(.forgingBatches), cluster.requests.count > 0 {
      return passOn(invent(after: Int32(chance.below(cluster.requests.count)), cluster), host, cluster)
    } else if roles.contains(.lyingStatus) {
      message = .executed(Executed(sequence: next, digest: digest))
    } else if roles.contains(.corruptTransfer), chance.happens(512) {
      message =
        chance.happens(512)
        ? .fetchState(StateQuery(checkpoint: status.stableCheckpoint, position: chance.bits() & 0xFFFF))
        : .fetchBatch(digest)
    } else if roles.contains(.replaying), !memory.isEmpty {
      return forEachOther(host, cluster) { destination in
        var old = memory[chance.below(memory.count)]
        old.to = destination
        cluster.transmit(old, afterNanoseconds: 0)
      }
    }
    guard let message else { return }
    forEachOther(host, cluster) { destination in
      var packet = Packet(.message, from: Int32(host.index), to: destination)
      packet.membershipID = status.membershipID
      packet.message = message
      cluster.transmit(packet, afterNanoseconds: 0)
    }
  }

  /// Passes on a request as if its client waited.
  private func passOn(_ request: Int32, _ host: SimulatedHost, _ cluster: SimulatedCluster) {
    forEachOther(host, cluster) { destination in
      var packet = Packet(.forward, from: Int32(host.index), to: destination)
      packet.membershipID = host.replica.membership.id
      packet.words = (UInt64(request), .max)
      cluster.transmit(packet, afterNanoseconds: 0)
    }
  }

  /// A VIEW-CHANGE out of turn, without claims.
  private func sendViewChange(_ status: ReplicaStatus, _ host: SimulatedHost, _ cluster: SimulatedCluster) {
    let statement = Statement.viewChange(
      ViewChange(
        view: View(status.view.rawValue &+ UInt64(chance.within(1...3))), membershipID: status.membershipID,
        replica: host.id, stable: status.stableCheckpoint))
    let payload = cluster.statements.add(
      SignedStatement(statement: statement, signature: StatementSeals.seal(statement, by: host.id)))
    forEachOther(host, cluster) { destination in
      var packet = Packet(.message, from: Int32(host.index), to: destination)
      packet.membershipID = status.membershipID
      packet.message = .viewChange(StatementHandle(rawValue: 0))
      packet.payload = payload
      cluster.transmit(packet, afterNanoseconds: 0)
    }
    cluster.statements.release(payload)
  }

  private func forEachOther(_ host: SimulatedHost, _ cluster: SimulatedCluster, _ body: (Int32) -> Void) {
    for other in 0..<cluster.plan.hosts where other != host.index && cluster.hosts[other].id != host.id {
      body(Int32(other))
    }
  }
}
