// A growable run of bytes that is written at the end and consumed from the front. Its storage is reused for ever, so a
// link in steady state does not allocate. Not thread-safe: it belongs to one event loop or to the lock around it.

/// Raw bytes waiting to be sent or decoded.
public struct ByteQueue: ~Copyable {
  @usableFromInline var storage: UnsafeMutableRawPointer
  @usableFromInline var capacity: Int
  @usableFromInline var head = 0
  @usableFromInline var tail = 0

  public init(capacity: Int = 1024) {
    self.capacity = max(64, capacity)
    storage = .allocate(byteCount: self.capacity, alignment: 16)
  }

  deinit { storage.deallocate() }

  /// Bytes written and not yet consumed.
  @inlinable
  public var count: Int { tail - head }

  @inlinable
  public var isEmpty: Bool { head == tail }

  @inlinable
  public var readableBytes: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: storage + head, count: tail - head)
  }

  /// Space for `byteCount` more bytes at the end. It counts as written only after `commit`.
  @inlinable
  public mutating func reserve(_ byteCount: Int) -> UnsafeMutableRawBufferPointer {
    if capacity - tail < byteCount { makeRoom(byteCount) }
    return UnsafeMutableRawBufferPointer(start: storage + tail, count: byteCount)
  }

  @inlinable
  public mutating func commit(_ byteCount: Int) {
    precondition(capacity - tail >= byteCount)
    tail += byteCount
  }

  @inlinable
  public mutating func append(_ bytes: UnsafeRawBufferPointer) {
    guard let start = bytes.baseAddress, !bytes.isEmpty else { return }
    if capacity - tail < bytes.count { makeRoom(bytes.count) }
    (storage + tail).copyMemory(from: start, byteCount: bytes.count)
    tail += bytes.count
  }

  /// Drops `byteCount` bytes from the front.
  @inlinable
  public mutating func consume(_ byteCount: Int) {
    precondition(byteCount <= count)
    head += byteCount
    if head == tail {
      head = 0
      tail = 0
    }
  }

  @inlinable
  public mutating func removeAll() {
    head = 0
    tail = 0
  }

  /// Gives storage beyond `byteCount` back; for queues that a burst has blown up.
  public mutating func shrink(to byteCount: Int) {
    guard capacity > byteCount, count <= byteCount else { return }
    relocate(capacity: max(64, byteCount))
  }

  @usableFromInline
  mutating func makeRoom(_ byteCount: Int) {
    if capacity - count >= byteCount, head >= capacity / 2 {
      storage.copyMemory(from: storage + head, byteCount: count)
      tail -= head
      head = 0
    } else {
      var wanted = capacity * 2
      while wanted - count < byteCount { wanted *= 2 }
      relocate(capacity: wanted)
    }
  }

  private mutating func relocate(capacity newCapacity: Int) {
    let moved = UnsafeMutableRawPointer.allocate(byteCount: newCapacity, alignment: 16)
    moved.copyMemory(from: storage + head, byteCount: count)
    storage.deallocate()
    storage = moved
    tail -= head
    head = 0
    capacity = newCapacity
  }
}
