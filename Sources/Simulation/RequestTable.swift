// Every request that any client makes in a schedule, interned: its bytes, its digest and whom its tags convince.
// Kept true here: a request that no client made has no valid tag anywhere, whoever sends it (tags as a table instead of
// a keyed hash: unforgeable by construction).

import Hashing
import PBFT
import Replication

/// A request with the tags it travels with.
struct TaggedRequest: BitwiseCopyable {
  /// Index in the request table.
  var request: Int32
  /// The replicas, by id, at which the tags sent are those of the client.
  var tags: UInt64
}

struct MadeRequest: BitwiseCopyable {
  var digest: Digest
  /// The replicas at which the client has made tags for these bytes at all.
  var authorised: UInt64
  var offset: Int
  var byteCount: Int32
  var client: Int32
  var session: Int32
  var sequence: Int32
  var membershipID: Int32
  /// Requests of one client, session and sequence are one operation, whatever they say.
  var operation: Int32
  var kind: RequestKind
}

final class RequestTable {
  /// Seven integers, big-endian, before the content: client, session, sequence, kind, membership, reply server,
  /// operation id. The operation id is the request's index here, so a replica's copy leads back to it.
  static let contentOffset = 28
  static let operationIDOffset = 24
  static let allTags = UInt64.max

  @exclusivity(unchecked) private var requests: UnsafeMutablePointer<MadeRequest>
  @exclusivity(unchecked) private var capacity = 512
  @exclusivity(unchecked) private(set) var count = 0
  @exclusivity(unchecked) private var bytes: UnsafeMutableRawPointer
  @exclusivity(unchecked) private var byteCapacity = 1 << 15
  @exclusivity(unchecked) private var byteCount = 0

  init() {
    requests = .allocate(capacity: capacity)
    bytes = .allocate(byteCount: byteCapacity, alignment: 16)
  }

  deinit {
    requests.deallocate()
    bytes.deallocate()
  }

  func removeAll() {
    count = 0
    byteCount = 0
  }

  @inline(__always)
  subscript(index: Int32) -> MadeRequest { requests[Int(index)] }

  /// A new request. `authorised`: the replicas for which its client makes tags.
  func make(
    client: Int32, session: Int32, sequence: Int32, kind: RequestKind, membershipID: Int32, operation: Int32,
    authorised: UInt64, content: UnsafeRawBufferPointer
  ) -> Int32 {
    let size = RequestTable.contentOffset + content.count
    if count == capacity { growTable() }
    while byteCount + size > byteCapacity { growBytes() }
    let start = bytes + byteCount
    func store(_ value: Int32, _ place: Int) {
      start.storeBytes(of: value.bigEndian, toByteOffset: place * 4, as: Int32.self)
    }
    store(client, 0)
    store(session, 1)
    store(sequence, 2)
    store(Int32(kind.rawValue), 3)
    store(membershipID, 4)
    store(-1, 5)
    store(Int32(count), 6)
    if let source = content.baseAddress {
      (start + RequestTable.contentOffset).copyMemory(from: source, byteCount: content.count)
    }
    let digest = Digest.sha256(UnsafeRawBufferPointer(start: start, count: size))
    (requests + count).initialize(
      to: MadeRequest(
        digest: digest, authorised: authorised, offset: byteCount, byteCount: Int32(size), client: client,
        session: session, sequence: sequence, membershipID: membershipID, operation: operation, kind: kind))
    byteCount += (size + 7) & ~7
    count += 1
    return Int32(count - 1)
  }

  /// Valid until the next request is made.
  @inline(__always)
  func data(_ index: Int32) -> UnsafeRawBufferPointer {
    let request = requests + Int(index)
    return UnsafeRawBufferPointer(
      start: bytes + request.pointee.offset, count: Int(request.pointee.byteCount))
  }

  /// Whether the request with these tags convinces the replica of its client.
  @inline(__always)
  func isAuthentic(_ tagged: TaggedRequest, at replica: Int) -> Bool {
    requests[Int(tagged.request)].authorised & tagged.tags & (1 &<< UInt64(replica)) != 0
  }

  /// The index of the request whose bytes these are; nil for bytes that no client made.
  @inline(__always)
  func index(of data: UnsafeRawBufferPointer) -> Int32? {
    guard data.count >= RequestTable.contentOffset else { return nil }
    let index = Int32(
      bigEndian: data.loadUnaligned(fromByteOffset: RequestTable.operationIDOffset, as: Int32.self))
    guard index >= 0, Int(index) < count else { return nil }
    return index
  }

  private func growTable() {
    let larger = UnsafeMutablePointer<MadeRequest>.allocate(capacity: capacity * 2)
    larger.moveInitialize(from: requests, count: count)
    requests.deallocate()
    requests = larger
    capacity *= 2
  }

  private func growBytes() {
    let larger = UnsafeMutableRawPointer.allocate(byteCount: byteCapacity * 2, alignment: 16)
    larger.copyMemory(from: bytes, byteCount: byteCount)
    bytes.deallocate()
    bytes = larger
    byteCapacity *= 2
  }
}
