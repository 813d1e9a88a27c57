// Request batches by handle: which slots, in which order, with which digest. All memory is allocated once:
// one row of slots per batch the log can hold. Kept true here: a handle refers to its requests until it is
// discarded.

import Hashing
import PBFT

final class BatchPool {
  private struct Batch {
    var digest = Digest.zero
    var count = 0
    var bytes = 0
    var isUsed = false
    /// Whether the view in force may decide it.
    var isLive = true
    /// Whether its requests are in the durable log's present segment.
    var isLogged = false
  }

  let maximumRequests: Int
  let maximumBytes: Int
  private let capacity: Int
  private let batches: UnsafeMutablePointer<Batch>
  private let rows: UnsafeMutablePointer<RequestSlot>
  private let freeHandles: UnsafeMutablePointer<UInt32>
  /// What the digest is taken over: the count, then the digests appended so far.
  private let preimage: UnsafeMutableRawPointer
  @exclusivity(unchecked) private var freeCount: Int
  @exclusivity(unchecked) private var building = BatchHandle.none

  init(capacity: Int, maximumRequests: Int, maximumBytes: Int) {
    self.capacity = capacity
    self.maximumRequests = maximumRequests
    self.maximumBytes = maximumBytes
    batches = .allocate(capacity: capacity)
    batches.initialize(repeating: Batch(), count: capacity)
    rows = .allocate(capacity: capacity * maximumRequests)
    freeHandles = .allocate(capacity: capacity)
    for index in 0..<capacity { freeHandles[index] = UInt32(capacity - 1 - index) }
    freeCount = capacity
    preimage = .allocate(byteCount: 4 + maximumRequests * Digest.byteCount, alignment: 16)
  }

  deinit {
    batches.deallocate()
    rows.deallocate()
    freeHandles.deallocate()
    preimage.deallocate()
  }

  var used: Int { capacity - freeCount }

  /// Handles above were never used.
  @exclusivity(unchecked) private var highest = 0

  /// Begins a batch. Precondition: the last one begun has been finished or abandoned.
  func begin() {
    precondition(building == .none, "one batch is built at a time")
    precondition(freeCount > 0, "the pool has a handle for every place in the log and one to build with")
    freeCount &-= 1
    building = BatchHandle(rawValue: freeHandles[freeCount])
    highest = max(highest, Int(building.rawValue) + 1)
    batches[Int(building.rawValue)] = Batch(isUsed: true)
  }

  /// Whether one more request of so many bytes fits into the batch being built.
  @inline(__always)
  func hasRoom(forBytes bytes: Int) -> Bool {
    let batch = batches + Int(building.rawValue)
    return batch.pointee.count < maximumRequests && batch.pointee.bytes &+ bytes <= maximumBytes
  }

  /// Appends a slot, whose reference now is the batch's. Precondition: `hasRoom`.
  @inline(__always)
  func append(_ slot: RequestSlot, digest: Digest, bytes: Int) {
    let batch = batches + Int(building.rawValue)
    let count = batch.pointee.count
    (rows + (Int(building.rawValue) &* maximumRequests &+ count)).initialize(to: slot)
    preimage.storeBytes(of: digest, toByteOffset: 4 &+ count &* Digest.byteCount, as: Digest.self)
    batch.pointee.count = count &+ 1
    batch.pointee.bytes &+= bytes
  }

  /// Ends the batch being built: its digest is SHA-256(count, big-endian ‖ request digests in order).
  func finish() -> (handle: BatchHandle, digest: Digest, count: Int) {
    precondition(building != .none, "a batch is begun before it is finished")
    let handle = building
    let batch = batches + Int(handle.rawValue)
    preimage.storeBytes(of: UInt32(batch.pointee.count).bigEndian, as: UInt32.self)
    let byteCount = 4 + batch.pointee.count * Digest.byteCount
    batch.pointee.digest = .sha256(UnsafeRawBufferPointer(start: preimage, count: byteCount))
    building = .none
    return (handle, batch.pointee.digest, batch.pointee.count)
  }

  /// The handle of the batch being built, given up: the caller releases its requests and frees it.
  func abandon() -> BatchHandle {
    precondition(building != .none, "a batch is begun before it is abandoned")
    let handle = building
    building = .none
    return handle
  }

  /// The batch's requests in order; empty for a handle that was discarded.
  @inline(__always)
  func requests(of handle: BatchHandle) -> UnsafeBufferPointer<RequestSlot> {
    guard handle.rawValue < capacity, batches[Int(handle.rawValue)].isUsed else {
      return UnsafeBufferPointer(start: nil, count: 0)
    }
    return UnsafeBufferPointer(
      start: rows + Int(handle.rawValue) &* maximumRequests, count: batches[Int(handle.rawValue)].count)
  }

  /// A batch that is held, finished, with this digest.
  func find(_ digest: Digest) -> BatchHandle? {
    guard used > 0 else { return nil }
    for index in 0..<highest where batches[index].isUsed && batches[index].digest == digest {
      guard UInt32(index) != building.rawValue else { continue }
      return BatchHandle(rawValue: UInt32(index))
    }
    return nil
  }

  /// All batches held, but the one being built, belong to no view in force.
  func markAllDead() {
    for index in 0..<highest where UInt32(index) != building.rawValue { batches[index].isLive = false }
  }

  func markLive(_ handle: BatchHandle) {
    if handle != .none { batches[Int(handle.rawValue)].isLive = true }
  }

  func isLive(_ handle: BatchHandle) -> Bool { batches[Int(handle.rawValue)].isLive }

  func forEachDead(_ body: (BatchHandle) -> Void) {
    for index in 0..<highest where batches[index].isUsed && !batches[index].isLive {
      body(BatchHandle(rawValue: UInt32(index)))
    }
  }

  func isBuilding(_ handle: BatchHandle) -> Bool { handle == building }

  /// All handles in use, ascending. Allocates.
  var handles: [BatchHandle] {
    (0..<highest).filter { batches[$0].isUsed }.map { BatchHandle(rawValue: UInt32($0)) }
  }

  func isLogged(_ handle: BatchHandle) -> Bool { batches[Int(handle.rawValue)].isLogged }

  func setLogged(_ handle: BatchHandle, _ isLogged: Bool) {
    batches[Int(handle.rawValue)].isLogged = isLogged
  }

  func clearLogged() { for index in 0..<highest { batches[index].isLogged = false } }

  /// nil for a handle that was discarded.
  func digest(of handle: BatchHandle) -> Digest? {
    guard handle.rawValue < capacity, batches[Int(handle.rawValue)].isUsed else { return nil }
    return batches[Int(handle.rawValue)].digest
  }

  /// Gives the handle back. Precondition: it is in use and its requests have been released.
  func free(_ handle: BatchHandle) {
    precondition(batches[Int(handle.rawValue)].isUsed, "a handle is discarded once")
    batches[Int(handle.rawValue)].isUsed = false
    freeHandles[freeCount] = handle.rawValue
    freeCount &+= 1
  }
}
