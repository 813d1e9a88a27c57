// The state at the stable checkpoint, kept apart from the state that execution goes on changing (decision
// record 19).
//
// At each checkpoint what its batches changed of the client table is written down: a client's sessions where
// they are others, and its new replies. When the checkpoint is stable, these changes are applied to the
// image. So a snapshot costs by what changed, requests pay nothing for it, and it can be read however far
// execution is.
//
// Kept true here: image, and image plus changes up to an own checkpoint, have that checkpoint's digest.

import Hashing
import PBFT

/// What of a checkpoint is not the client table; with the table's root it is all that the digest covers.
struct StateHeader: Hashable {
  var sequence: SequenceNumber
  var chain: Digest
  /// Requests executed by the service.
  var requests: UInt64
  var service: Service
  /// The one in force after this state.
  var membership: Membership
  /// What RECONFIGs have stated of where its members are.
  var addresses: [MemberAddress]
  /// Clients in the table, and the root of the tree of their records.
  var clients: Int
  var root: Digest

  /// The checkpoint digest (OSDI '99 §4.3): sequence, chain, requests executed, service, client table,
  /// membership; never the PBFT view or
  /// timing.
  var digest: Digest {
    var hasher = SHA256Hasher()
    hasher.update(bigEndian: sequence.rawValue)
    hasher.update(chain)
    hasher.update(bigEndian: requests)
    hasher.update(service.digest())
    hasher.update(ClientTable.digest(clients: clients, root: root))
    hasher.update(bigEndian: membership.id)
    hasher.update(bigEndian: UInt32(membership.count))
    for replica in membership.replicas { hasher.update(bigEndian: replica.rawValue) }
    hasher.update(bigEndian: UInt32(membership.faults))
    hasher.update(bigEndian: membership.quorums.model.rawValue)
    MemberAddresses.update(&hasher, addresses)
    return hasher.finalize()
  }

  var outcome: MembershipOutcome { MembershipOutcome(membership: membership, addresses: addresses) }

  var checkpoint: Checkpoint {
    // The state before the first batch is no checkpoint that anybody certifies; its digest is zero.
    Checkpoint(sequence: sequence, digest: sequence == .zero ? .zero : digest)
  }
}

final class Snapshots {
  /// The changes of one checkpoint period.
  private struct Period {
    var header: StateHeader
    var checkpoint: Checkpoint
    var changes: PlainBuffer<UInt8>
  }

  /// A state as donors send it.
  private struct Served {
    var checkpoint: Checkpoint
    var bytes: [UInt8]
  }

  /// The client table of `header`.
  private var image: ClientTable
  private(set) var header: StateHeader
  private(set) var checkpoint: Checkpoint
  /// Own checkpoints above the stable one, ascending.
  private var periods: [Period] = []
  /// Where the next checkpoint's changes are written.
  private(set) var changes = PlainBuffer<UInt8>(minimumCapacity: 256)
  private var spare: [PlainBuffer<UInt8>] = []
  /// The last two states asked for.
  private var served: [Served] = []

  init(header: StateHeader, maximumClients: Int) {
    self.header = header
    checkpoint = header.checkpoint
    image = ClientTable(maximumClients: maximumClients)
  }

  /// An own checkpoint was taken; `changes` holds what its period changed.
  func taken(_ header: StateHeader, _ checkpoint: Checkpoint) {
    periods.append(Period(header: header, checkpoint: checkpoint, changes: changes))
    changes = spare.popLast() ?? PlainBuffer(minimumCapacity: 256)
    changes.removeAll()
  }

  /// The image moves on to the stable checkpoint.
  func becameStable(_ stable: Checkpoint) {
    while let first = periods.first, first.checkpoint.sequence <= stable.sequence {
      image.apply(first.changes.bytes)
      header = first.header
      checkpoint = first.checkpoint
      spare.append(first.changes)
      periods.removeFirst()
    }
  }

  /// Begins again with an installed state.
  func install(_ header: StateHeader, _ table: ClientTable) {
    periods.removeAll()
    changes.removeAll()
    self.header = header
    checkpoint = header.checkpoint
    image = table
  }

  /// The stable state as bytes.
  func encodedStable() -> [UInt8] { StateCoding.encode(header, image) }

  /// The state of a checkpoint as bytes, if it is the stable one, an own later one, or still being served.
  func withState<Result>(
    of wanted: Checkpoint, _ body: (UnsafeRawBufferPointer) -> Result
  ) -> Result? {
    if let place = served.firstIndex(where: { $0.checkpoint == wanted }) {
      return served[place].bytes.withUnsafeBytes(body)
    }
    guard let bytes = encoded(wanted) else { return nil }
    if served.count >= 2 { served.removeFirst() }
    served.append(Served(checkpoint: wanted, bytes: bytes))
    return bytes.withUnsafeBytes(body)
  }

  private func encoded(_ wanted: Checkpoint) -> [UInt8]? {
    if wanted == checkpoint { return wanted.sequence == .zero ? nil : encodedStable() }
    guard let place = periods.firstIndex(where: { $0.checkpoint == wanted }) else { return nil }
    // Copied on demand: the image itself stays with the stable checkpoint.
    let copy = image.copied()
    for period in periods[...place] { copy.apply(period.changes.bytes) }
    return StateCoding.encode(periods[place].header, copy)
  }

  /// Nobody has asked for a while.
  func dropServed() { served.removeAll() }

  var isServing: Bool { !served.isEmpty }
}
