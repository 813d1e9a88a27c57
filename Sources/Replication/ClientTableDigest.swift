// The digest of the client table, by what changed: a leaf per client, a 16-ary tree of digests above. Kept
// true here: the root depends on the records alone, not on when or how often it was asked for.

import Hashing
import PBFT

/// A tree of SHA-256 digests over up to `maximumLeaves` leaves; absent children count as 32 zero bytes.
final class ClientDigestTree {
  static let arity = 16

  let leaves: ChunkedTable<Digest>
  /// The levels above the leaves, nearest first; the last is the root.
  private let levels: [ChunkedTable<Digest>]
  private let stamps: [ChunkedTable<UInt32>]
  private let dirty = PlainBuffer<UInt32>(minimumCapacity: 1_024)
  private let above = PlainBuffer<UInt32>(minimumCapacity: 1_024)
  @exclusivity(unchecked) private var generation: UInt32 = 0

  init(maximumLeaves: Int) {
    leaves = ChunkedTable(capacity: maximumLeaves)
    var levels: [ChunkedTable<Digest>] = []
    var stamps: [ChunkedTable<UInt32>] = []
    var width = maximumLeaves
    repeat {
      width = (width + ClientDigestTree.arity - 1) / ClientDigestTree.arity
      // A node reads 16 children at once, so that every level but the root's is whole chunks of them.
      levels.append(ChunkedTable(capacity: width))
      stamps.append(ChunkedTable(capacity: width))
    } while width > 1
    self.levels = levels
    self.stamps = stamps
  }

  deinit {
    leaves.deallocate()
    for level in levels { level.deallocate() }
    for level in stamps { level.deallocate() }
  }

  /// Says that a leaf has to be computed again. At most once between two updates.
  @inline(__always)
  func markDirty(_ leaf: Int) { dirty.append(UInt32(truncatingIfNeeded: leaf)) }

  /// How many leaves the next update computes.
  var dirtyCount: Int { dirty.count }

  func dirtyLeaf(_ offset: Int) -> Int { Int(dirty.base[offset]) }

  /// Stores a leaf's digest.
  func setLeaf(_ leaf: Int, _ digest: Digest) {
    leaves.reach(leaf, filling: .zero)
    leaves[leaf].pointee = digest
  }

  /// Recomputes what is above the dirty leaves, whose digests have been set, and returns the root.
  func update() -> Digest {
    generation &+= 1
    var children = leaves
    for level in 0..<levels.count {
      above.removeAll()
      for offset in 0..<dirty.count {
        let node = Int(dirty.base[offset]) / ClientDigestTree.arity
        levels[level].reach(node, filling: .zero)
        stamps[level].reach(node, filling: 0)
        guard stamps[level][node].pointee != generation else { continue }
        stamps[level][node].pointee = generation
        above.append(UInt32(node))
        let first = UnsafeRawPointer(children[node * ClientDigestTree.arity])
        levels[level][node].pointee = .sha256(
          UnsafeRawBufferPointer(start: first, count: ClientDigestTree.arity * Digest.byteCount))
      }
      dirty.removeAll()
      for offset in 0..<above.count { dirty.append(above.base[offset]) }
      children = levels[level]
    }
    dirty.removeAll()
    levels[levels.count - 1].reach(0, filling: .zero)
    return levels[levels.count - 1][0].pointee
  }
}

extension ClientTable {
  /// SHA-256 over the number of clients and the root of the tree of their records. Costs one leaf per client
  /// changed since the last call, and the nodes above it.
  func digest() -> Digest { ClientTable.digest(clients: count, root: root(changes: nil)) }

  static func digest(clients: Int, root: Digest) -> Digest {
    var hasher = SHA256Hasher()
    hasher.update(bigEndian: UInt64(clients))
    hasher.update(root)
    return hasher.finalize()
  }

  /// The root of the tree; what has changed since the last call is written to `changes`.
  func root(changes: PlainBuffer<UInt8>?) -> Digest {
    for offset in 0..<tree.dirtyCount {
      let index = tree.dirtyLeaf(offset)
      tree.setLeaf(index, leafDigest(index, leafScratch))
      records[index].pointee.isDirty = false
      if let changes { writeChange(index, into: changes) }
    }
    return tree.update()
  }

  /// Client id, sessions from the oldest to the newest, replies by sequence: each with its count and its
  /// bytes, padded to 16 with zeros, or the digest of a longer one. Integers big-endian. At most 8 + 16 × 8 +
  /// 32 × (8 + 32) bytes.
  private func leafDigest(_ index: Int, _ scratch: UnsafeMutableRawBufferPointer) -> Digest {
    let base = scratch.baseAddress.unsafelyUnwrapped
    let record = records[index]
    let begun = record.pointee.sessionsBegun
    let remembered = min(begun, UInt32(ClientTable.sessionsRemembered))
    var end = ClientTable.put(record.pointee.client, Int32(remembered), base, 0)
    for age in (0..<remembered).reversed() {
      let entry = sessions[index][Int((begun &- 1 &- age) % UInt32(ClientTable.sessionsRemembered))]
      let last = age == 0 ? record.pointee.lastSequence : entry.lastSequence
      end = ClientTable.put(entry.session, last, base, end)
    }
    let last = record.pointee.lastSequence
    for age in (0..<Int32(ClientTable.repliesRemembered)).reversed() where age <= last {
      let cached = replies[index] + Int((last &- age) & Int32(ClientTable.repliesRemembered - 1))
      guard cached.pointee.sequence == last &- age, cached.pointee.count >= 0 else { continue }
      end = ClientTable.put(cached.pointee.sequence, cached.pointee.count, base, end)
      if cached.pointee.isLong {
        base.storeBytes(of: ClientTable.digest(cached), toByteOffset: end, as: Digest.self)
        end &+= Digest.byteCount
      } else {
        base.storeBytes(of: cached.pointee.words, toByteOffset: end, as: (UInt64, UInt64).self)
        end &+= CachedReply.inPlace
      }
    }
    return .sha256(UnsafeRawBufferPointer(start: base, count: end))
  }

  @inline(__always)
  private static func put(
    _ first: Int32, _ second: Int32, _ base: UnsafeMutableRawPointer, _ offset: Int
  ) -> Int {
    base.storeBytes(of: first.bigEndian, toByteOffset: offset, as: Int32.self)
    base.storeBytes(of: second.bigEndian, toByteOffset: offset &+ 4, as: Int32.self)
    return offset &+ 8
  }
}
