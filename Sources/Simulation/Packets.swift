// What travels between replicas and clients, in a pool of plain values; what is longer (the requests of a batch, a
// signed statement, bytes of a state) is shared by reference count between the packets of one broadcast.

import PBFT

enum PacketKind: UInt8 {
  /// `message`; a view change or new view has its statement as payload.
  case message
  /// `message` is the pre-prepare, payload its requests.
  case prePrepare
  /// A request passed on by a replica: `words.0` request, `words.1` tags.
  case forward
  /// Answer to a fetch: `digest`, payload the requests.
  case batch
  /// Payload: bytes of a state; `digest`, `words.0` checkpoint, `words.1` position, `next`.
  case statePart
  /// From a client: `words.0` request, `words.1` tags.
  case request
  /// To a client: `words` the first 16 bytes of the content, `next` the request, `membershipID`.
  case reply
}

/// Packets by the part they have in the protocol: what an episode lets through on a link, and after what a host dies.
struct PacketClass: OptionSet {
  let rawValue: UInt16

  static let prePrepare = PacketClass(rawValue: 1 << 0)
  static let prepare = PacketClass(rawValue: 1 << 1)
  static let commit = PacketClass(rawValue: 1 << 2)
  static let viewChange = PacketClass(rawValue: 1 << 3)
  static let newView = PacketClass(rawValue: 1 << 4)
  static let checkpoint = PacketClass(rawValue: 1 << 5)
  static let suspect = PacketClass(rawValue: 1 << 6)
  /// Where a replica stands, what it has executed, batches by their digest.
  static let healing = PacketClass(rawValue: 1 << 7)
  static let state = PacketClass(rawValue: 1 << 8)
  static let forward = PacketClass(rawValue: 1 << 9)
  static let ofClients = PacketClass(rawValue: 1 << 10)

  static let ordering: PacketClass = [.prePrepare, .prepare, .commit]
  static let betweenReplicas = PacketClass(rawValue: 1 << 10 - 1)
}

struct Packet: BitwiseCopyable {
  var kind: PacketKind
  private var source: Int16
  private var destination: Int16
  /// Bytes of a reply's content.
  var byteCount: Int16 = 0
  var membershipID: Int32 = 0
  /// Index of a payload of the kind's pool; -1 = none.
  var payload: Int32 = -1
  var message = Message.suspect(Suspect(view: .zero))
  var digest = Digest.zero
  var words: (UInt64, UInt64) = (0, 0)
  var next: UInt64 = 0

  init(_ kind: PacketKind, from: Int32, to: Int32) {
    self.kind = kind
    source = Int16(truncatingIfNeeded: from)
    destination = Int16(truncatingIfNeeded: to)
  }

  /// Hosts, or the client of a request or reply: few, so that a packet is 128 bytes.
  @inline(__always)
  var from: Int32 { Int32(source) }

  @inline(__always)
  var to: Int32 {
    get { Int32(destination) }
    set { destination = Int16(truncatingIfNeeded: newValue) }
  }
}

extension Packet {
  var packetClass: PacketClass {
    switch kind {
    case .prePrepare: .prePrepare
    case .forward: .forward
    case .batch: .healing
    case .statePart: .state
    case .request, .reply: .ofClients
    case .message:
      switch message {
      case .prePrepare: .prePrepare
      case .prepare: .prepare
      case .commit: .commit
      case .viewChange: .viewChange
      case .newView: .newView
      case .checkpoint: .checkpoint
      case .suspect: .suspect
      case .status, .executed, .fetchBatch: .healing
      case .fetchState: .state
      }
    }
  }
}

/// The packets under way. One that goes to several is here once, for so many arrivals.
final class PacketPool {
  @exclusivity(unchecked) private var packets: UnsafeMutablePointer<Packet>
  /// Arrivals to come.
  @exclusivity(unchecked) private var arrivals: UnsafeMutablePointer<Int32>
  @exclusivity(unchecked) private var free: UnsafeMutablePointer<Int32>
  @exclusivity(unchecked) private var freeCount = 0
  @exclusivity(unchecked) private var capacity = 1_024
  @exclusivity(unchecked) private var created = 0

  init() {
    packets = .allocate(capacity: capacity)
    arrivals = .allocate(capacity: capacity)
    free = .allocate(capacity: capacity)
  }

  deinit {
    packets.deallocate()
    arrivals.deallocate()
    free.deallocate()
  }

  var used: Int { created - freeCount }

  func removeAll() {
    created = 0
    freeCount = 0
  }

  /// For one arrival.
  @inline(__always)
  func add(_ packet: Packet) -> Int32 {
    let index: Int
    if freeCount > 0 {
      freeCount &-= 1
      index = Int(free[freeCount])
    } else {
      if created == capacity { grow() }
      index = created
      created &+= 1
    }
    (packets + index).initialize(to: packet)
    arrivals[index] = 1
    return Int32(truncatingIfNeeded: index)
  }

  /// For one arrival more: where the packet is already, or with -1 in a place of its own, which is remembered.
  @inline(__always)
  func add(_ packet: Packet, sharing place: inout Int32) -> Int32 {
    if place >= 0 {
      arrivals[Int(place)] &+= 1
    } else {
      place = add(packet)
    }
    return place
  }

  /// The packet has arrived once.
  @inline(__always)
  func take(_ index: Int32) -> Packet {
    arrivals[Int(index)] &-= 1
    if arrivals[Int(index)] == 0 {
      free[freeCount] = index
      freeCount &+= 1
    }
    return packets[Int(index)]
  }

  private func grow() {
    let larger = UnsafeMutablePointer<Packet>.allocate(capacity: capacity * 2)
    larger.moveInitialize(from: packets, count: created)
    packets.deallocate()
    packets = larger
    let largerArrivals = UnsafeMutablePointer<Int32>.allocate(capacity: capacity * 2)
    largerArrivals.moveInitialize(from: arrivals, count: created)
    arrivals.deallocate()
    arrivals = largerArrivals
    let largerFree = UnsafeMutablePointer<Int32>.allocate(capacity: capacity * 2)
    largerFree.moveInitialize(from: free, count: freeCount)
    free.deallocate()
    free = largerFree
    capacity *= 2
  }
}

/// Values shared by packets: a place is free again when the last packet that names it is gone.
struct SharedPool<Value> {
  private var values: ContiguousArray<Value?> = []
  private var references: ContiguousArray<Int32> = []
  private var free: ContiguousArray<Int32> = []

  /// With one reference, the caller's.
  mutating func add(_ value: Value) -> Int32 {
    if let index = free.popLast() {
      values[Int(index)] = value
      references[Int(index)] = 1
      return index
    }
    values.append(value)
    references.append(1)
    return Int32(values.count - 1)
  }

  subscript(index: Int32) -> Value { values[Int(index)]! }

  mutating func retain(_ index: Int32) { references[Int(index)] &+= 1 }

  mutating func release(_ index: Int32) {
    references[Int(index)] &-= 1
    guard references[Int(index)] == 0 else { return }
    values[Int(index)] = nil
    free.append(index)
  }

  mutating func removeAll() {
    values.removeAll(keepingCapacity: true)
    references.removeAll(keepingCapacity: true)
    free.removeAll(keepingCapacity: true)
  }
}

/// Lists of requests, each in a row of fixed length, shared like the values of `SharedPool` but without references.
final class RequestLists {
  static let longest = 32

  @exclusivity(unchecked) private var rows: UnsafeMutablePointer<TaggedRequest>
  @exclusivity(unchecked) private var counts: UnsafeMutablePointer<(count: Int32, references: Int32)>
  @exclusivity(unchecked) private var free: ContiguousArray<Int32> = []
  @exclusivity(unchecked) private var capacity = 256
  @exclusivity(unchecked) private var created = 0

  init() {
    rows = .allocate(capacity: capacity * RequestLists.longest)
    counts = .allocate(capacity: capacity)
  }

  deinit {
    rows.deallocate()
    counts.deallocate()
  }

  func removeAll() {
    created = 0
    free.removeAll(keepingCapacity: true)
  }

  /// An empty list with one reference, the caller's.
  func make() -> Int32 {
    let index: Int32
    if let reused = free.popLast() {
      index = reused
    } else {
      if created == capacity { grow() }
      index = Int32(created)
      created += 1
    }
    counts[Int(index)] = (0, 1)
    return index
  }

  /// False when the list is full.
  @discardableResult
  func append(_ request: TaggedRequest, to index: Int32) -> Bool {
    let count = Int(counts[Int(index)].count)
    guard count < RequestLists.longest else { return false }
    rows[Int(index) * RequestLists.longest + count] = request
    counts[Int(index)].count += 1
    return true
  }

  /// Valid until the next list is made.
  subscript(index: Int32) -> UnsafeMutableBufferPointer<TaggedRequest> {
    UnsafeMutableBufferPointer(
      start: rows + Int(index) * RequestLists.longest, count: Int(counts[Int(index)].count))
  }

  @inline(__always)
  func retain(_ index: Int32) { counts[Int(index)].references &+= 1 }

  @inline(__always)
  func release(_ index: Int32) {
    counts[Int(index)].references &-= 1
    if counts[Int(index)].references == 0 { free.append(index) }
  }

  private func grow() {
    let larger = UnsafeMutablePointer<TaggedRequest>.allocate(capacity: capacity * 2 * RequestLists.longest)
    larger.moveInitialize(from: rows, count: created * RequestLists.longest)
    rows.deallocate()
    rows = larger
    let largerCounts = UnsafeMutablePointer<(count: Int32, references: Int32)>.allocate(
      capacity: capacity * 2)
    largerCounts.moveInitialize(from: counts, count: created)
    counts.deallocate()
    counts = largerCounts
    capacity *= 2
  }
}
