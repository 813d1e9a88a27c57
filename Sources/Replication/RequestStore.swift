// Where a replica keeps the bytes of requests: slots in flat tables, each with a block of memory whose size
// is a power of two, reused with the slot. Kept true here: a slot lives as long as something refers to it
// (the client's lane, the queue of the primary, each batch); count and bytes are bounded; in steady state
// nothing is allocated.

import PBFT

/// What a slot is at the moment.
struct SlotFlags: OptionSet, BitwiseCopyable {
  var rawValue: UInt8
  /// In its client's lane: waiting to be executed.
  static let stored = SlotFlags(rawValue: 1)
  /// In the queue of the primary.
  static let queued = SlotFlags(rawValue: 2)
  /// Known only from a proposal, not from the client or a forward.
  static let fromBatch = SlotFlags(rawValue: 4)
  /// Forwarded to the other replicas already.
  static let forwarded = SlotFlags(rawValue: 8)
}

/// What is touched when a slot is released; apart from the record, so that a checkpoint does not read those.
struct SlotHeader: BitwiseCopyable {
  var references: Int32 = 0
  /// The client's lane; -1 once that can be found by the client alone.
  var lane: Int32 = -1
  /// While free: the next free slot with a block of this size. While held: the number of its arrival.
  var link: UInt32 = .max
  /// Tells two requests apart that had the same slot.
  var generation: UInt32 = 0
  /// References of batches that the view in force will not decide.
  var dead: Int32 = 0
  var sizeClass: UInt8 = 0
  var flags: SlotFlags = []

  /// Whether a batch that the view in force may decide holds it.
  @inline(__always)
  var isInLiveBatch: Bool {
    references &- dead &- Int32(flags.rawValue & 1) &- Int32((flags.rawValue &>> 1) & 1) > 0
  }

  /// The number of its arrival; wraps.
  var order: UInt32 { link }
}

struct RequestRecord: BitwiseCopyable {
  var digest: Digest
  /// Data, then authenticator; nil only while the slot is free and its memory was needed elsewhere.
  var block: UnsafeMutableRawPointer?
  /// When it became eligible here; `.min` before.
  var eligibleAt: Int64
  /// When it came from its client or a forward; `.min` while it is known from a batch only.
  var arrivedAt: Int64
  var client: Int32
  var session: Int32
  var sequence: Int32
  var operationID: Int32
  var replyServer: Int32
  var membershipID: Int32
  var dataCount: Int32
  var contentOffset: Int32
  var authenticatorCount: Int32
  var newestConnection: ConnectionID
  var olderConnection: ConnectionID
  var kind: RequestKind
}

final class RequestStore {
  private static let smallestClass = 6
  private static let classes = 27
  /// The list of free slots whose block was needed elsewhere comes after those of the classes.
  private let blockless = RequestStore.classes

  let headers: ChunkedTable<SlotHeader>
  let records: ChunkedTable<RequestRecord>
  private let capacity: Int
  private let maximumBytes: Int
  /// First free slot per size class.
  private let free: UnsafeMutablePointer<UInt32>
  @exclusivity(unchecked) private var created = 0
  @exclusivity(unchecked) private(set) var held = 0
  /// Requests that have come so far; wraps.
  @exclusivity(unchecked) private(set) var arrivals: UInt32 = 0
  /// Bytes of blocks in use, and of all blocks.
  @exclusivity(unchecked) private(set) var heldBytes = 0
  @exclusivity(unchecked) private var allocatedBytes = 0

  init(capacity: Int, maximumBytes: Int) {
    self.capacity = capacity
    self.maximumBytes = maximumBytes
    headers = ChunkedTable(capacity: capacity)
    records = ChunkedTable(capacity: capacity)
    free = .allocate(capacity: RequestStore.classes + 1)
    free.initialize(repeating: .max, count: RequestStore.classes + 1)
  }

  deinit {
    for index in 0..<created { records[index].pointee.block?.deallocate() }
    headers.deallocate()
    records.deallocate()
    free.deallocate()
  }

  /// Copies a request into a slot with one reference; nil when count or bytes are used up.
  func allocate(_ request: ArrivedRequest, lane: Int32) -> RequestSlot? {
    let total = request.data.count &+ request.authenticator.count
    let sizeClass = RequestStore.sizeClass(total)
    let index: Int
    if free[sizeClass] != .max {
      index = Int(free[sizeClass])
      free[sizeClass] = headers[index].pointee.link
    } else {
      guard let made = makeSlot(sizeClass) else { return nil }
      index = made
    }
    let header = headers[index]
    header.pointee.references = 1
    header.pointee.lane = lane
    header.pointee.generation &+= 1
    header.pointee.flags = []
    header.pointee.dead = 0
    header.pointee.link = arrivals
    arrivals &+= 1
    let record = records[index]
    let block = record.pointee.block.unsafelyUnwrapped
    if let data = request.data.baseAddress { block.copyMemory(from: data, byteCount: request.data.count) }
    if let tags = request.authenticator.baseAddress {
      (block + request.data.count).copyMemory(from: tags, byteCount: request.authenticator.count)
    }
    record.pointee = RequestRecord(
      digest: request.digest, block: block, eligibleAt: .min, arrivedAt: .min, client: request.client,
      session: request.session,
      sequence: request.sequence, operationID: request.operationID, replyServer: request.replyServer,
      membershipID: request.membershipID, dataCount: Int32(truncatingIfNeeded: request.data.count),
      contentOffset: Int32(truncatingIfNeeded: request.contentOffset),
      authenticatorCount: Int32(truncatingIfNeeded: request.authenticator.count),
      newestConnection: request.connection, olderConnection: .none, kind: request.kind)
    held &+= 1
    heldBytes &+= 1 &<< sizeClass
    return RequestSlot(rawValue: UInt32(truncatingIfNeeded: index))
  }

  @inline(__always)
  func retain(_ slot: RequestSlot) { headers[slot.index].pointee.references &+= 1 }

  /// Gives up one reference. Returns the lane that has lost a slot, -1 if none has.
  @inline(__always)
  func release(_ slot: RequestSlot) -> Int32 {
    let header = headers[slot.index]
    header.pointee.references &-= 1
    guard header.pointee.references == 0 else { return -1 }
    let sizeClass = Int(header.pointee.sizeClass)
    header.pointee.link = free[sizeClass]
    free[sizeClass] = slot.rawValue
    held &-= 1
    heldBytes &-= 1 &<< sizeClass
    let lane = header.pointee.lane
    header.pointee.lane = -1
    return lane
  }

  /// Forgets which batches are dead.
  func clearDeadReferences() {
    for index in 0..<created { headers[index].pointee.dead = 0 }
  }

  /// Whether the slot names a request.
  @inline(__always)
  func holds(_ slot: RequestSlot) -> Bool {
    slot.index < created && headers[slot.index].pointee.references > 0
  }

  private static func sizeClass(_ byteCount: Int) -> Int {
    guard byteCount > 1 << smallestClass else { return smallestClass }
    let sizeClass = Int.bitWidth - (byteCount - 1).leadingZeroBitCount
    precondition(sizeClass < classes, "the bound on request bytes is below the largest class")
    return sizeClass
  }

  /// A slot with a block of the class. Idle blocks of other sizes give way when slots or bytes are short.
  @inline(never)
  private func makeSlot(_ sizeClass: Int) -> Int? {
    let byteCount = 1 << sizeClass
    guard heldBytes + byteCount <= maximumBytes else { return nil }
    while allocatedBytes + byteCount > maximumBytes || (created == capacity && free[blockless] == .max) {
      guard freeIdleBlock() else { return nil }
    }
    let index: Int
    if free[blockless] != .max {
      index = Int(free[blockless])
      free[blockless] = headers[index].pointee.link
    } else {
      index = created
      headers.reach(index, filling: SlotHeader())
      records.reach(index, filling: .empty)
      created += 1
    }
    records[index].pointee.block = .allocate(byteCount: byteCount, alignment: 16)
    headers[index].pointee.sizeClass = UInt8(sizeClass)
    allocatedBytes += byteCount
    return index
  }

  /// Takes its block from a slot that is not in use; false when every slot with a block is.
  private func freeIdleBlock() -> Bool {
    for sizeClass in 0..<RequestStore.classes where free[sizeClass] != .max {
      let index = Int(free[sizeClass])
      free[sizeClass] = headers[index].pointee.link
      records[index].pointee.block?.deallocate()
      records[index].pointee.block = nil
      allocatedBytes -= 1 << sizeClass
      headers[index].pointee.link = free[blockless]
      free[blockless] = UInt32(index)
      return true
    }
    return false
  }
}

extension RequestRecord {
  static var empty: RequestRecord {
    RequestRecord(
      digest: .zero, block: nil, eligibleAt: .min, arrivedAt: .min, client: 0, session: 0, sequence: 0,
      operationID: 0,
      replyServer: 0, membershipID: 0, dataCount: 0, contentOffset: 0, authenticatorCount: 0,
      newestConnection: .none, olderConnection: .none, kind: .ordered)
  }

  @inline(__always)
  var data: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: block.unsafelyUnwrapped, count: Int(dataCount))
  }

  @inline(__always)
  var content: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(
      start: block.unsafelyUnwrapped + Int(contentOffset), count: Int(dataCount &- contentOffset))
  }

  @inline(__always)
  var authenticator: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: block.unsafelyUnwrapped + Int(dataCount), count: Int(authenticatorCount))
  }
}
