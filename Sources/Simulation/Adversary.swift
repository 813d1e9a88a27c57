// An adversary that owns a real replica: it lets the replica run and changes, withholds, delays, repeats and
// forges what it sends. It can do what a Byzantine replica can: everything with its own votes and seals,
// nothing with others'.

import Hashing
import PBFT
import Replication

/// The second batch an equivocating primary proposed under a number: known to all adversaries, who support
/// it.
struct Equivocation: BitwiseCopyable {
  var view: View
  var sequence: SequenceNumber
  var first: Digest
  var second: Digest
}

final class Adversary {
  let roles: AdversaryRoles
  @exclusivity(unchecked) var chance: Chance
  /// The host left in the dark, and half of the hosts to be told something else.
  @exclusivity(unchecked) var victim = 0
  let sides: UInt64
  @exclusivity(unchecked) var isSilent = false
  /// Clients with this parity are censored.
  let censoredParity: Int32
  /// Old packets, each with a reference of its own.
  @exclusivity(unchecked) var memory: ContiguousArray<Packet> = []
  @exclusivity(unchecked) var nextMemory = 0
  /// Own proposals, each with a reference of its own, own view changes, and what it has supported.
  @exclusivity(unchecked) var proposals: ContiguousArray<Packet> = []
  @exclusivity(unchecked) var nextProposal = 0
  @exclusivity(unchecked) var formerViewChanges: [ViewChange] = []
  /// What it has decided to say instead of its replica's NEW-VIEW; nil content = nothing else.
  @exclusivity(unchecked) var newViewScheme: (view: View, content: NewView?)?
  @exclusivity(unchecked) var votes: ContiguousArray<EagerVote> = []
  @exclusivity(unchecked) var nextVote = 0

  static let memorySize = 24

  init(roles: AdversaryRoles, seed: UInt64) {
    self.roles = roles
    chance = Chance(seed: seed)
    sides = chance.bits()
    censoredParity = Int32(chance.below(2))
    victim = chance.below(8)
    isSilent = roles.contains(.silent) && chance.happens(512)
  }

  /// Whether the replica is not to see the packet.
  func ignores(_ packet: Packet, _ cluster: SimulatedCluster) -> Bool {
    guard roles.contains(.censoring), packet.kind == .request || packet.kind == .forward else { return false }
    return cluster.requests[Int32(packet.words.0)].client & 1 == censoredParity
  }

  /// A packet that the replica sends to one host or client.
  func send(_ original: Packet, _ host: SimulatedHost, _ cluster: SimulatedCluster) {
    guard !isSilent else { return }
    if original.kind == .reply { return sendReply(original, cluster) }
    if roles.contains(.inTheDark), Int(original.to) == victim % cluster.plan.hosts { return }
    remember(original, cluster)
    var packet = original
    var delay: Int64 = 0
    switch packet.kind {
    case .prePrepare:
      if roles.contains(.silentPrimary) { return }
      keepProposal(packet, cluster)
      if roles.contains(.delaying) {
        delay = cluster.plan.configuration.requestTimeoutNanoseconds * 9 / 10
      }
      if changePrePrepare(&packet, host, cluster) {
        cluster.transmit(packet, afterNanoseconds: delay)
        return cluster.release(packet)
      }
    case .batch where roles.contains(.corruptTransfer) && chance.happens(512):
      return sendWrongBatch(packet, cluster)
    case .statePart where roles.contains(.corruptTransfer) && chance.happens(640):
      return sendWrongState(packet, cluster)
    case .message:
      if packet.payload >= 0 { return sendStatement(packet, host, cluster) }
      guard changeVote(&packet, cluster) else { return }
    default: break
    }
    cluster.transmit(packet, afterNanoseconds: delay)
    if roles.contains(.replaying), !memory.isEmpty, chance.happens(160) {
      var old = memory[chance.below(memory.count)]
      old.to = original.to
      cluster.transmit(old, afterNanoseconds: 0)
    }
  }

  private func sendReply(_ original: Packet, _ cluster: SimulatedCluster) {
    var packet = original
    if roles.contains(.lyingReplies), chance.happens(640) {
      switch chance.below(3) {
      case 0: packet.words.0 = (UInt64(bigEndian: packet.words.0) &+ 1).bigEndian
      case 1: packet.words.1 ^= 1
      default:
        packet.byteCount = 0
        packet.membershipID += 1
      }
    }
    cluster.transmit(packet, afterNanoseconds: 0)
  }

  private func remember(_ packet: Packet, _ cluster: SimulatedCluster) {
    guard roles.contains(.replaying), chance.happens(200) else { return }
    cluster.retain(packet)
    if memory.count < Self.memorySize {
      memory.append(packet)
    } else {
      cluster.release(memory[nextMemory])
      memory[nextMemory] = packet
      nextMemory = (nextMemory + 1) % Self.memorySize
    }
  }

  // MARK: Proposals

  /// Replaces the batch by another one, with its right digest; the packet then has a reference of its own.
  func changePrePrepare(
    _ packet: inout Packet, _ host: SimulatedHost, _ cluster: SimulatedCluster
  ) -> Bool {
    guard case .prePrepare(var prePrepare) = packet.message else { return false }
    let isOtherSide = isOnOtherSide(packet.to, cluster)
    let list: Int32
    if roles.contains(.equivocating), isOtherSide {
      list = variant(of: packet.payload, cluster)
    } else if roles.contains(.scheming), isOtherSide, prePrepare.sequence.rawValue & 3 == 1,
      let other = proposals.first(where: { $0.payload != packet.payload })
    {
      // Other requests under the digest that the rest is told.
      packet.payload = copy(other.payload, cluster)
      return true
    } else if roles.contains(.forgingBatches), chance.happens(256) {
      list = forged(from: packet.payload, host, cluster)
    } else if roles.contains(.replaying), chance.happens(256),
      let old = memory.first(where: { $0.kind == .prePrepare })
    {
      list = copy(old.payload, cluster)
    } else {
      return false
    }
    prePrepare.digest = cluster.batchDigest(list)
    if roles.contains(.equivocating), isOtherSide, case .prePrepare(let first) = packet.message {
      cluster.remember(
        Equivocation(
          view: first.view, sequence: first.sequence, first: first.digest, second: prePrepare.digest))
    }
    // A digest that does not match the requests is a lie too.
    if roles.contains(.forgingBatches), chance.happens(100) { prePrepare.digest.words.1 ^= 1 }
    packet.message = .prePrepare(prePrepare)
    packet.payload = list
    return true
  }

  private func copy(_ list: Int32, _ cluster: SimulatedCluster) -> Int32 {
    let made = cluster.lists.make()
    for index in 0..<cluster.lists[list].count { cluster.lists.append(cluster.lists[list][index], to: made) }
    return made
  }

  /// The same requests in reverse; of a single request, it twice.
  private func variant(of list: Int32, _ cluster: SimulatedCluster) -> Int32 {
    let made = cluster.lists.make()
    let count = cluster.lists[list].count
    if count == 1 {
      for _ in 0..<2 { cluster.lists.append(cluster.lists[list][0], to: made) }
    } else {
      for index in (0..<count).reversed() { cluster.lists.append(cluster.lists[list][index], to: made) }
    }
    return made
  }

  private func forged(from list: Int32, _ host: SimulatedHost, _ cluster: SimulatedCluster) -> Int32 {
    let made = copy(list, cluster)
    switch chance.below(4) {
    case 0:
      // Before any client has asked there is nothing to invent another from.
      guard cluster.requests.count > 0 else { return made }
      let request = invent(after: cluster.lists[list].first?.request ?? 0, cluster)
      cluster.lists.append(TaggedRequest(request: request, tags: .max), to: made)
    case 1:
      let count = cluster.lists[made].count
      if count > 0 { cluster.lists.append(cluster.lists[made][0], to: made) }
    case 2:
      cluster.lists.release(made)
      return cluster.lists.make()
    default:
      // Tags that only some find valid; in place of a signature, one that nobody does.
      for index in 0..<cluster.lists[made].count {
        cluster.lists[made][index].tags &= cluster.plan.isSigned ? 0 : chance.bits()
      }
    }
    return made
  }

  /// A request that its client never made: as the one after this, or of a client that does not exist.
  func invent(after request: Int32, _ cluster: SimulatedCluster) -> Int32 {
    let source = cluster.requests[request]
    let isOfNobody = chance.happens(512)
    let content: [UInt8] = [6, 6, 6]
    return content.withUnsafeBytes {
      cluster.requests.make(
        client: isOfNobody ? Self.nobody : source.client, session: source.session,
        sequence: isOfNobody ? 0 : source.sequence &+ 1, kind: .ordered, membershipID: source.membershipID,
        operation: source.operation, authorised: 0, content: $0)
    }
  }

  /// No client has this id.
  private static let nobody: Int32 = 77

  // MARK: Votes

  /// False when the message is withheld.
  private func changeVote(_ packet: inout Packet, _ cluster: SimulatedCluster) -> Bool {
    let isOtherSide = isOnOtherSide(packet.to, cluster)
    switch packet.message {
    case .prepare(var vote):
      if roles.contains(.withholding), chance.happens(512) { return false }
      vote.digest = changed(vote.digest, vote.view, vote.sequence, isOtherSide, cluster)
      packet.message = .prepare(vote)
    case .commit(var vote):
      if roles.contains(.withholding), chance.happens(512) { return false }
      vote.digest = changed(vote.digest, vote.view, vote.sequence, isOtherSide, cluster)
      packet.message = .commit(vote)
    case .checkpoint(var checkpoint):
      if roles.contains(.withholding), chance.happens(512) { return false }
      guard roles.contains(.lyingCheckpoints), chance.happens(640) else { break }
      switch chance.below(4) {
      case 0: checkpoint.digest.words.0 = chance.bits()
      case 1: checkpoint.sequence.rawValue &+= UInt64(chance.within(1...200))
      case 2: checkpoint.sequence.rawValue = chance.bits()
      default:
        checkpoint.sequence.rawValue &+= UInt64(cluster.plan.configuration.checkpointPeriod)
        checkpoint.digest.words.2 = 7
      }
      packet.message = .checkpoint(checkpoint)
    case .executed(var message):
      guard roles.contains(.lyingStatus), chance.happens(512) else { break }
      if chance.happens(512) { message.digest.words.0 = 99 } else { message.sequence.rawValue &+= 1 }
      packet.message = .executed(message)
    case .status(var status):
      guard roles.contains(.lyingStatus), chance.happens(512) else { break }
      switch chance.below(5) {
      case 0: status.stable.rawValue &+= UInt64(chance.below(1 << 20))
      case 1: status.executed.rawValue = chance.bits()
      case 2: status.view.rawValue &+= UInt64(chance.below(100))
      case 3: status.prepared.rawValue = .max
      default:
        status = Status(
          view: .zero, isActive: true, isRecovering: false, asks: true, stable: .zero, prepared: .zero,
          executed: .zero)
      }
      packet.message = .status(status)
    default: break
    }
    return true
  }

  private func changed(
    _ digest: Digest, _ view: View, _ sequence: SequenceNumber, _ isOtherSide: Bool,
    _ cluster: SimulatedCluster
  ) -> Digest {
    if let equivocation = cluster.equivocation(view, sequence) {
      return isOtherSide ? equivocation.second : equivocation.first
    }
    guard roles.contains(.wrongDigests), chance.happens(400) else { return digest }
    var other = digest
    other.words.3 = UInt64(chance.below(2))
    return other
  }

  // MARK: Transfers

  private func sendWrongBatch(_ original: Packet, _ cluster: SimulatedCluster) {
    guard chance.happens(768) else { return }
    var packet = original
    packet.payload = variant(of: original.payload, cluster)
    if chance.happens(256) { packet.digest.words.0 ^= 1 }
    cluster.transmit(packet, afterNanoseconds: 0)
    cluster.release(packet)
  }

  /// Where in a state the digest chain and the number of requests executed are.
  private static let historyBytes = 12...51

  private func sendWrongState(_ original: Packet, _ cluster: SimulatedCluster) {
    var packet = original
    var bytes = cluster.blobs[original.payload]
    switch chance.below(7) {
    case 0: return
    case 6 where packet.words.1 == 0 && bytes.count >= Self.historyBytes.upperBound:
      // A state that can be read, of another history: digest chain and requests executed say so, the table
      // does not.
      bytes[chance.within(Self.historyBytes)] ^= 1 << UInt8(chance.below(8))
    case 1 where !bytes.isEmpty: bytes[chance.below(bytes.count)] ^= 1 << UInt8(chance.below(8))
    case 2: packet.next = packet.words.1
    case 3: packet.next = packet.words.1 &+ 1
    case 4: bytes.removeLast(chance.below(bytes.count + 1))
    default: packet.words.1 = chance.bits() & 0xFFFF
    }
    packet.payload = cluster.blobs.add(bytes)
    cluster.transmit(packet, afterNanoseconds: 0)
    cluster.release(packet)
  }
}

extension SimulatedCluster {
  /// The digest of a batch of these requests.
  func batchDigest(_ list: Int32) -> Digest {
    var hasher = SHA256Hasher()
    let rows = lists[list]
    hasher.update(bigEndian: UInt32(rows.count))
    for tagged in rows { hasher.update(requests[tagged.request].digest) }
    return hasher.finalize()
  }

  func remember(_ equivocation: Equivocation) {
    guard self.equivocation(equivocation.view, equivocation.sequence) == nil else { return }
    if equivocations.count >= 64 { equivocations.removeFirst(32) }
    equivocations.append(equivocation)
  }

  func equivocation(_ view: View, _ sequence: SequenceNumber) -> Equivocation? {
    equivocations.last { $0.view == view && $0.sequence == sequence }
  }
}
