// Deadlines of many operations without a timer each: a hashed wheel of one-millisecond buckets, intrusive lists over
// operation slots. Setting and cancelling are O(1) and allocate nothing; an expiry is late by at most one tick.

/// A timing wheel over slots 0 ..< capacity, each with at most one deadline.
struct TimingWheel: ~Copyable {
  static let tickNanoseconds: Int64 = 1_000_000
  private static let bucketCount = 4096

  private struct Node {
    var next: Int32 = -1
    var previous: Int32 = -1
    var bucket: Int32 = -1
    var deadline: Int64 = 0
  }

  private let nodes: UnsafeMutablePointer<Node>
  private let heads: UnsafeMutablePointer<Int32>
  private var currentTick: Int64
  private(set) var count = 0

  init(capacity: Int, now: Int64) {
    nodes = .allocate(capacity: capacity)
    nodes.initialize(repeating: Node(), count: capacity)
    heads = .allocate(capacity: Self.bucketCount)
    heads.initialize(repeating: -1, count: Self.bucketCount)
    currentTick = now / Self.tickNanoseconds
  }

  deinit {
    nodes.deallocate()
    heads.deallocate()
  }

  /// Sets the deadline of `slot`, replacing an earlier one.
  mutating func set(_ slot: Int32, deadline: Int64) {
    cancel(slot)
    let tick = max(deadline / Self.tickNanoseconds + 1, currentTick + 1)
    // A deadline beyond the wheel's turn waits in the last bucket and is looked at again there.
    let bucket = Int32(
      truncatingIfNeeded: min(tick, currentTick + Int64(Self.bucketCount) - 1) % Int64(Self.bucketCount))
    let head = heads[Int(bucket)]
    nodes[Int(slot)] = Node(next: head, previous: -1, bucket: bucket, deadline: deadline)
    if head >= 0 { nodes[Int(head)].previous = slot }
    heads[Int(bucket)] = slot
    count += 1
  }

  /// Removes the deadline of `slot`, if it has one.
  mutating func cancel(_ slot: Int32) {
    let node = nodes[Int(slot)]
    guard node.bucket >= 0 else { return }
    if node.previous >= 0 {
      nodes[Int(node.previous)].next = node.next
    } else {
      heads[Int(node.bucket)] = node.next
    }
    if node.next >= 0 { nodes[Int(node.next)].previous = node.previous }
    nodes[Int(slot)].bucket = -1
    count -= 1
  }

  /// Appends every slot whose deadline is at or before `now` to `expired` and forgets its deadline.
  mutating func advance(to now: Int64, expired: inout [Int32]) {
    let target = now / Self.tickNanoseconds
    guard target > currentTick else { return }
    if count == 0 {
      currentTick = target
      return
    }
    // After a long sleep each bucket needs one visit only.
    if target - currentTick > Int64(Self.bucketCount) { currentTick = target - Int64(Self.bucketCount) }
    while currentTick < target {
      currentTick += 1
      var slot = heads[Int(currentTick % Int64(Self.bucketCount))]
      while slot >= 0 {
        let node = nodes[Int(slot)]
        cancel(slot)
        if node.deadline <= now {
          expired.append(slot)
        } else {
          set(slot, deadline: node.deadline)
        }
        slot = node.next
      }
    }
  }
}
