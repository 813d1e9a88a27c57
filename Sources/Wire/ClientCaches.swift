// What is derived from a client's id is derived once and kept by slot. The tables are direct-mapped and of fixed
// size: a flood of strange ids costs derivations, never memory. A block of consecutive ids has no collisions.

import Foundation
import Hashing
import PBFT

/// Which client each slot of a table holds.
struct ClientSlots: ~Copyable {
  let count: Int
  private let mask: UInt32
  /// The id with a bit above its 32 where the slot is taken; zeroed memory is an empty table, touched lazily.
  private let owners: UnsafeMutablePointer<UInt64>

  /// - Parameter capacity: clients expected at the same time; rounded up to a power of two.
  init(capacity: Int) {
    var count = 1
    while count < min(max(capacity, 1), 1 << 24) { count *= 2 }
    self.count = count
    mask = UInt32(count - 1)
    owners = zeroedMemory(byteCount: count * 8).assumingMemoryBound(to: UInt64.self)
  }

  deinit { free(owners) }

  /// The slot of `client` and whether it holds that client already; from now on it does.
  mutating func claim(_ client: Int32) -> (slot: Int, isHeld: Bool) {
    let bits = UInt32(bitPattern: client)
    let slot = Int(bits & mask)
    let owner = UInt64(bits) | 1 << 32
    let isHeld = owners[slot] == owner
    owners[slot] = owner
    return (slot, isHeld)
  }
}

/// The keys that clients share with some replicas: client c's key at replica r is HMAC(M_r, "client" ‖ c), c as a
/// big-endian i32. 64 bytes for each client and replica; no allocation after the start.
final class ClientTagKeys {
  private let roots: [HMACKey]
  private var slots: ClientSlots
  private let keys: UnsafeMutablePointer<HMACMidstate>

  /// - Parameters:
  ///   - roots: M_r of each replica, in the order in which `keys(of:)` returns its keys.
  ///   - capacity: clients whose keys are kept.
  init(roots: [Secret], capacity: Int) {
    self.roots = roots.map { HMACKey($0.bytes) }
    slots = ClientSlots(capacity: capacity)
    keys = zeroedMemory(byteCount: slots.count * roots.count * MemoryLayout<HMACMidstate>.stride)
      .assumingMemoryBound(to: HMACMidstate.self)
  }

  deinit { free(keys) }

  /// The keys of `client`, one per root; valid until the next call.
  func keys(of client: Int32) -> UnsafePointer<HMACMidstate> {
    let (slot, isHeld) = slots.claim(client)
    let start = keys + slot * roots.count
    if !isHeld {
      for index in 0..<roots.count { (start + index).initialize(to: derive(client, at: index)) }
    }
    return UnsafePointer(start)
  }

  private func derive(_ client: Int32, at index: Int) -> HMACMidstate {
    HMACMidstate(
      roots[index].tag { hasher in
        hasher.update(bigEndian: 0x636c_6965 as UInt32)  // "clie"
        hasher.update(bigEndian: 0x6e74 as UInt16)  // "nt"
        hasher.update(bigEndian: client)
      })
  }
}

/// Memory that reads as zero and costs nothing until it is touched.
private func zeroedMemory(byteCount: Int) -> UnsafeMutableRawPointer {
  guard let memory = calloc(max(byteCount, 1), 1) else { preconditionFailure("out of memory") }
  return memory
}
