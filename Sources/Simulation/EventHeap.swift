// Virtual time: what happens when. Kept true here: events come out by time, those of one instant in the order in
// which they were put in, on every machine; nothing is allocated once the heap has grown.

/// What is due at an instant of virtual time.
enum DueKind: UInt8 {
  /// `subject`: the packet; `detail`: the host it arrives at, or the client.
  case deliver
  /// `subject`: the host whose earliest deadline has come.
  case timer
  /// `subject`: the host whose turn ends.
  case turnEnd
  /// `subject`: the host; `detail`: the number of the write to its disk that is done.
  case diskDone
  /// `subject`: the client with a request to send.
  case clientDue
  /// `subject`: the client; `detail`: the operation that may need to be sent again.
  case clientResend
  /// `subject`: the index in the plan's faults.
  case fault
  /// `subject`: the host of an adversary that acts by itself.
  case adversary
  /// `subject`: the Byzantine client.
  case byzantineClient
  /// `subject`: the host that comes back after its last words or a power cut.
  case resume
}

struct DueEvent: BitwiseCopyable {
  /// Nanoseconds of virtual time.
  let time: Int64
  /// The order in the upper half, which no two events share; the subject in the lower.
  private let place: UInt64
  /// The kind in the lowest byte, the detail above it.
  private let rest: UInt64

  @inline(__always)
  init(time: Int64, order: UInt32, subject: Int32, detail: UInt32, kind: DueKind) {
    self.time = time
    place = UInt64(order) &<< 32 | UInt64(UInt32(bitPattern: subject))
    rest = UInt64(detail) &<< 8 | UInt64(kind.rawValue)
  }

  @inline(__always)
  var subject: Int32 { Int32(truncatingIfNeeded: place) }

  @inline(__always)
  var detail: UInt32 { UInt32(truncatingIfNeeded: rest &>> 8) }

  @inline(__always)
  var kind: DueKind { DueKind(rawValue: UInt8(truncatingIfNeeded: rest)).unsafelyUnwrapped }

  /// Time, then order: one number, so that comparing takes no branch. No time is negative.
  @inline(__always)
  private var key: UInt128 { UInt128(truncatingIfNeeded: time) &<< 64 | UInt128(truncatingIfNeeded: place) }

  @inline(__always)
  static func isBefore(_ left: DueEvent, _ right: DueEvent) -> Bool {
    left.key < right.key
  }
}

/// A binary heap of due events.
final class EventHeap {
  @exclusivity(unchecked) private var items: UnsafeMutablePointer<DueEvent>
  @exclusivity(unchecked) private var capacity: Int
  @exclusivity(unchecked) private(set) var count = 0
  @exclusivity(unchecked) private var nextOrder: UInt32 = 0

  init() {
    capacity = 1_024
    items = .allocate(capacity: capacity)
  }

  deinit { items.deallocate() }

  /// Forgets everything; the order begins anew.
  func removeAll() {
    count = 0
    nextOrder = 0
  }

  @inline(__always)
  func push(_ kind: DueKind, at time: Int64, subject: Int32, detail: UInt32 = 0) {
    if count == capacity { grow() }
    let event = DueEvent(time: time, order: nextOrder, subject: subject, detail: detail, kind: kind)
    precondition(nextOrder < .max, "a schedule has less than 2^32 events")
    nextOrder &+= 1
    var hole = count
    count &+= 1
    while hole > 0 {
      let parent = (hole &- 1) &>> 1
      guard DueEvent.isBefore(event, items[parent]) else { break }
      items[hole] = items[parent]
      hole = parent
    }
    items[hole] = event
  }

  @inline(__always)
  var firstTime: Int64 { count > 0 ? items[0].time : .max }

  /// The next event; nil when there is none.
  @inline(__always)
  func pop() -> DueEvent? {
    guard count > 0 else { return nil }
    let first = items[0]
    count &-= 1
    guard count > 0 else { return first }
    let last = items[count]
    // The hole goes down to a leaf along the earlier children, then the last one, which mostly belongs there, goes up.
    var hole = 0
    var child = 1
    while child &+ 1 < count {
      child &+= DueEvent.isBefore(items[child &+ 1], items[child]) ? 1 : 0
      items[hole] = items[child]
      hole = child
      child = hole &* 2 &+ 1
    }
    if child < count {
      items[hole] = items[child]
      hole = child
    }
    while hole > 0 {
      let parent = (hole &- 1) &>> 1
      guard DueEvent.isBefore(last, items[parent]) else { break }
      items[hole] = items[parent]
      hole = parent
    }
    items[hole] = last
    return first
  }

  private func grow() {
    let larger = UnsafeMutablePointer<DueEvent>.allocate(capacity: capacity * 2)
    larger.moveInitialize(from: items, count: count)
    items.deallocate()
    items = larger
    capacity *= 2
  }
}
