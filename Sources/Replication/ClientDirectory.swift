// What this replica knows of clients beyond the replicated table: where in it they are, and which of their
// requests wait here. Local, never part of a digest. Kept true here: a client without an executed request is
// forgotten with its last request held, so strangers cannot fill the directory.

import PBFT

/// One client's lane: requests waiting to be executed, by sequence.
struct Lane: BitwiseCopyable {
  /// Places in a lane: twice the outstanding requests permitted, so that a replica whose execution is behind
  /// what the client has seen still takes what comes.
  static let width = 64

  var client: Int32 = 0
  /// The client's record in the client table; -1 before its first request is executed.
  var record: Int32 = -1
  /// The record's current session and last executed sequence, so that an arrival need not read it.
  var session: Int32 = 0
  var lastSequence: Int32 = -1
  /// Slots that name this lane.
  var holders: Int32 = 0
  /// Requests in the lane, and those of them that are in no batch.
  var stored: Int32 = 0
  var outstanding: Int32 = 0
  /// Up to where in which session requests have been queued (primary) or become eligible (backup).
  var readySession: Int32 = 0
  var readySequence: Int32 = 0
  var hasReady = false
  var isFree = false
  var nextFree: Int32 = -1
}

final class ClientDirectory {
  let lanes: ChunkedTable<Lane>
  let places: ChunkedTable<RequestSlot>
  private let salt: UInt64
  private let capacity: Int
  @exclusivity(unchecked) private var created = 0
  @exclusivity(unchecked) private var freeLane: Int32 = -1
  /// Open addressing: client id in the upper half, lane + 1 in the lower, 0 = empty; linear probing.
  @exclusivity(unchecked) private var table: UnsafeMutablePointer<UInt64>
  @exclusivity(unchecked) private var mask: Int
  @exclusivity(unchecked) private(set) var count = 0

  init(capacity: Int, salt: UInt64) {
    self.capacity = capacity
    self.salt = salt
    lanes = ChunkedTable(capacity: capacity)
    places = ChunkedTable(capacity: capacity, perItem: Lane.width)
    mask = 1_023
    table = .allocate(capacity: mask + 1)
    table.initialize(repeating: 0, count: mask + 1)
  }

  deinit {
    lanes.deallocate()
    places.deallocate()
    table.deallocate()
  }

  /// The client's lane; -1 when it has none.
  @inline(__always)
  func find(_ client: Int32) -> Int32 {
    var place = home(client)
    while true {
      let entry = table[place]
      if entry == 0 { return -1 }
      if UInt32(truncatingIfNeeded: entry &>> 32) == UInt32(bitPattern: client) {
        return Int32(truncatingIfNeeded: entry & 0xffff_ffff) &- 1
      }
      place = (place &+ 1) & mask
    }
  }

  /// Calls `body` for every lane in use, in the order of its place. O(lanes).
  func forEachLane(_ body: (Int32) -> Void) {
    for lane in 0..<created where !lanes[lane].pointee.isFree { body(Int32(lane)) }
  }

  /// The client's lane, made if it has none.
  func findOrAdd(_ client: Int32) -> Int32 {
    let found = find(client)
    if found >= 0 { return found }
    if count * 2 > mask { enlarge() }
    let lane: Int32
    if freeLane >= 0 {
      lane = freeLane
      freeLane = lanes[Int(lane)].pointee.nextFree
    } else {
      precondition(created < capacity, "every lane has a record or a slot")
      lane = Int32(created)
      lanes.reach(created, filling: Lane())
      places.reach(created, filling: .none)
      created += 1
    }
    lanes[Int(lane)].pointee = Lane(client: client)
    insert(client, lane)
    count += 1
    return lane
  }

  /// Forgets the lane if nothing of the client is left here.
  @inline(__always)
  func removeIfUnused(_ lane: Int32) {
    let state = lanes[Int(lane)]
    guard state.pointee.record < 0, state.pointee.holders == 0 else { return }
    remove(lane)
  }

  @inline(__always)
  func place(_ lane: Int32, _ sequence: Int32) -> UnsafeMutablePointer<RequestSlot> {
    places[Int(lane)] + Int(sequence & Int32(Lane.width - 1))
  }

  @inline(__always)
  private func home(_ client: Int32) -> Int {
    // The finalizer of MurmurHash3.
    var mixed = UInt64(UInt32(bitPattern: client)) ^ salt
    mixed = (mixed ^ (mixed &>> 33)) &* 0xff51_afd7_ed55_8ccd
    mixed = (mixed ^ (mixed &>> 33)) &* 0xc4ce_b9fe_1a85_ec53
    return Int(truncatingIfNeeded: mixed &>> 32) & mask
  }

  private func insert(_ client: Int32, _ lane: Int32) {
    var place = home(client)
    while table[place] != 0 { place = (place &+ 1) & mask }
    table[place] = UInt64(UInt32(bitPattern: client)) &<< 32 | UInt64(UInt32(lane + 1))
  }

  private func enlarge() {
    let former = table
    let formerCount = mask + 1
    mask = formerCount * 2 - 1
    table = .allocate(capacity: mask + 1)
    table.initialize(repeating: 0, count: mask + 1)
    for place in 0..<formerCount where former[place] != 0 {
      insert(
        Int32(bitPattern: UInt32(former[place] >> 32)),
        Int32(truncatingIfNeeded: former[place] & 0xffff_ffff) - 1)
    }
    former.deallocate()
  }

  private func remove(_ lane: Int32) {
    let client = lanes[Int(lane)].pointee.client
    var hole = home(client)
    while UInt32(truncatingIfNeeded: table[hole] >> 32) != UInt32(bitPattern: client) || table[hole] == 0 {
      hole = (hole + 1) & mask
    }
    // Backward-shift deletion: entries that probed past the hole move into it.
    var next = (hole + 1) & mask
    while table[next] != 0 {
      let wanted = home(Int32(bitPattern: UInt32(table[next] >> 32)))
      if (next - wanted) & mask >= (next - hole) & mask {
        table[hole] = table[next]
        hole = next
      }
      next = (next + 1) & mask
    }
    table[hole] = 0
    count -= 1
    lanes[Int(lane)].pointee.isFree = true
    lanes[Int(lane)].pointee.nextFree = freeLane
    freeLane = lane
  }
}
