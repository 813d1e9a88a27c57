// Big-endian integers and digests in arrays of bytes: the records that leave a replica for a disk or a peer.
// For checkpoints, transfers and the durable log; the hot path of messages is elsewhere.

import PBFT

extension Array where Element == UInt8 {
  @inline(__always)
  mutating func put<Integer: FixedWidthInteger>(_ value: Integer) {
    Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
  }

  mutating func put(_ digest: Digest) { digest.withUnsafeBytes { append(contentsOf: $0) } }
}

/// Reads what `put` has written; nil, and nothing read, beyond the end.
struct ByteReader {
  let bytes: UnsafeRawBufferPointer
  private(set) var offset = 0

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  var remaining: Int { bytes.count - offset }
  var isAtEnd: Bool { remaining == 0 }

  @inline(__always)
  mutating func integer<Integer: FixedWidthInteger>(_: Integer.Type) -> Integer? {
    let count = MemoryLayout<Integer>.size
    guard remaining >= count else { return nil }
    let value = Integer(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Integer.self))
    offset += count
    return value
  }

  mutating func digest() -> Digest? {
    take(Digest.byteCount).map { Digest(bytes: $0) }
  }

  mutating func checkpoint() -> Checkpoint? {
    guard let sequence = integer(UInt64.self), let digest = digest() else { return nil }
    return Checkpoint(sequence: SequenceNumber(sequence), digest: digest)
  }

  mutating func take(_ count: Int) -> UnsafeRawBufferPointer? {
    guard count >= 0, count <= remaining else { return nil }
    let taken = UnsafeRawBufferPointer(rebasing: bytes[offset..<(offset + count)])
    offset += count
    return taken
  }
}
