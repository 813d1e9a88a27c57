// Memory that grows in place and never moves, for tables of plain values: no reference counts, no copies on
// write, and what is never used is never touched.

/// A table of up to `capacity` items of `perItem` elements each, allocated a chunk of 1,024 items at a time.
/// A handle: copies name the same memory, which its owner frees.
struct ChunkedTable<Element: BitwiseCopyable> {
  private let chunks: UnsafeMutablePointer<UnsafeMutablePointer<Element>?>
  /// How many items are usable.
  private let reached: UnsafeMutablePointer<Int>
  private let chunkCount: Int
  private let perItem: Int
  private let capacity: Int

  init(capacity: Int, perItem: Int = 1) {
    chunkCount = (capacity + 1_023) >> 10
    self.perItem = perItem
    self.capacity = capacity
    chunks = .allocate(capacity: max(1, chunkCount))
    chunks.initialize(repeating: nil, count: max(1, chunkCount))
    reached = .allocate(capacity: 1)
    reached.initialize(to: 0)
  }

  /// The item's first element. Precondition, unchecked: `reach` has been called for it.
  @inline(__always)
  subscript(index: Int) -> UnsafeMutablePointer<Element> {
    chunks[index &>> 10].unsafelyUnwrapped + (index & 1_023) &* perItem
  }

  /// Makes the item usable, and those before it; new ones hold `element` throughout.
  @inline(__always)
  func reach(_ index: Int, filling element: Element) {
    if index >= reached.pointee { extend(through: index, element) }
  }

  /// Whole nodes of a tree at a time: what is not used is not touched.
  @inline(never)
  private func extend(through index: Int, _ element: Element) {
    precondition(index &>> 10 < chunkCount, "the table is bounded")
    var next = reached.pointee
    let end = (index | 15) + 1
    while next < end {
      if next & 1_023 == 0 { addChunk(next &>> 10) }
      let count = min(end, (next | 1_023) + 1) - next
      self[next].initialize(repeating: element, count: count * perItem)
      next += count
    }
    reached.pointee = end
  }

  private func addChunk(_ index: Int) {
    // A small table is no larger than it needs to be, but for whole nodes of a tree.
    let items = min(1_024, (capacity - index * 1_024 + 15) & ~15)
    chunks[index] = .allocate(capacity: items * perItem)
  }

  func deallocate() {
    reached.deallocate()
    for index in 0..<chunkCount { chunks[index]?.deallocate() }
    chunks.deallocate()
  }
}

/// A first-in-first-out queue of plain values that doubles when full and keeps its memory.
final class PlainQueue<Element: BitwiseCopyable> {
  @exclusivity(unchecked) private var ring: UnsafeMutablePointer<Element>
  @exclusivity(unchecked) private var mask: Int
  @exclusivity(unchecked) private var head = 0
  @exclusivity(unchecked) private(set) var count = 0

  init(minimumCapacity: Int = 1_024) {
    var capacity = 1
    while capacity < minimumCapacity { capacity *= 2 }
    ring = .allocate(capacity: capacity)
    mask = capacity - 1
  }

  deinit { ring.deallocate() }

  @inline(__always)
  var isEmpty: Bool { count == 0 }

  @inline(__always)
  var isFull: Bool { count > mask }

  @inline(__always)
  var capacity: Int { mask &+ 1 }

  /// The element `offset` places behind the first. Precondition, unchecked: it is there.
  @inline(__always)
  subscript(offset: Int) -> Element {
    get { ring[(head &+ offset) & mask] }
    set { ring[(head &+ offset) & mask] = newValue }
  }

  @inline(__always)
  func append(_ element: Element) {
    if count > mask { grow() }
    ring[(head &+ count) & mask] = element
    count &+= 1
  }

  /// Precondition, unchecked: not empty.
  @inline(__always)
  func removeFirst() -> Element {
    let element = ring[head]
    head = (head &+ 1) & mask
    count &-= 1
    return element
  }

  /// Keeps the first `kept` elements.
  func truncate(to kept: Int) { count = min(count, kept) }

  /// Doubles the capacity.
  @inline(never)
  func grow() {
    let larger = UnsafeMutablePointer<Element>.allocate(capacity: (mask + 1) * 2)
    for offset in 0..<count { larger[offset] = self[offset] }
    ring.deallocate()
    ring = larger
    mask = mask * 2 + 1
    head = 0
  }
}

/// Elements appended during a turn, read by the host, then forgotten; keeps its memory.
final class PlainBuffer<Element: BitwiseCopyable> {
  @exclusivity(unchecked) private(set) var base: UnsafeMutablePointer<Element>
  @exclusivity(unchecked) private var capacity: Int
  @exclusivity(unchecked) private(set) var count = 0

  init(minimumCapacity: Int) {
    capacity = max(16, minimumCapacity)
    base = .allocate(capacity: capacity)
  }

  deinit { base.deallocate() }

  @inline(__always)
  func append(_ element: Element) {
    if count == capacity { grow(by: 1) }
    (base + count).initialize(to: element)
    count &+= 1
  }

  /// Room for `extra` more elements, from where the next one goes; `commit` makes them count.
  @inline(__always)
  func reserve(_ extra: Int) -> UnsafeMutablePointer<Element> {
    if capacity &- count < extra { grow(by: extra) }
    return base + count
  }

  @inline(__always)
  func commit(_ extra: Int) { count &+= extra }

  /// Removes what is beyond the first `kept`.
  func truncate(to kept: Int) { count = min(count, kept) }

  @inline(__always)
  func removeAll() { count = 0 }

  @inline(never)
  private func grow(by extra: Int) {
    let enlarged = max(capacity * 2, count + extra)
    let larger = UnsafeMutablePointer<Element>.allocate(capacity: enlarged)
    larger.moveInitialize(from: base, count: count)
    base.deallocate()
    base = larger
    capacity = enlarged
  }
}

extension PlainBuffer where Element == UInt8 {
  /// All bytes; valid until the next one is appended.
  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

  /// Appends a value in memory order.
  @inline(__always)
  func put<Value: BitwiseCopyable>(_ value: Value) {
    UnsafeMutableRawPointer(reserve(MemoryLayout<Value>.size)).storeBytes(of: value, as: Value.self)
    commit(MemoryLayout<Value>.size)
  }

  @inline(__always)
  func put(bigEndian value: some FixedWidthInteger & BitwiseCopyable) { put(value.bigEndian) }

  /// Appends bytes, and zeros if they are fewer than `minimum`.
  @inline(__always)
  func put(_ content: UnsafeRawBufferPointer, paddedTo minimum: Int = 0) {
    let size = max(content.count, minimum)
    let place = UnsafeMutableRawPointer(reserve(size))
    if let start = content.baseAddress { place.copyMemory(from: start, byteCount: content.count) }
    if size > content.count {
      (place + content.count).initializeMemory(as: UInt8.self, repeating: 0, count: size - content.count)
    }
    commit(size)
  }
}
