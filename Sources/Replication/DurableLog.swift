// The durable log's bytes (decision record 18): what a replica may have promised, in records, in segments.
//
// A segment is a file, preallocated with zeros, of frames one after the other:
//   length u32 | kind u8 | checksum 8 | payload          big-endian; length: of the payload
// The checksum is the first 8 bytes of SHA-256 over segment number u64, kind, length and payload. A segment
// begins with its base: everything needed to go on without older segments. Zeros after the last record are a
// clean end.
//
// Kept true here: what is damaged is never taken for what was not written. Only a segment that ends cleanly,
// with nothing newer beside it, says what this replica has voted; everything else says only what it may be
// told again.

import Hashing
import PBFT

/// What a record tells.
enum DurableKind: UInt8 {
  /// cluster 16 | replica i32 | recovering u8 | checkpoint | view u64 | in force u8 | new view count u32,
  /// bytes.
  case base = 1
  /// A part of the state at the base's checkpoint.
  case state = 2
  /// The base is complete.
  case baseEnd = 3
  /// digest 32 | requests u32 | requests.
  case batch = 4
  /// sequence u64 | view u64 | digest 32.
  case prePrepared = 5
  /// sequence u64 | view u64 | digest 32.
  case prepared = 6
  /// view u64.
  case viewLeft = 7
  /// The signed NEW-VIEW.
  case viewEntered = 8
  /// sequence u64 | digest 32.
  case executed = 9
  /// checkpoint.
  case stable = 10
  /// A recovering replica votes again.
  case recovered = 11
  /// The segment of this number u64 goes on.
  case rotated = 12
  /// An own checkpoint: what its message says.
  case checkpoint = 13
}

/// One file of the log as it was read.
public struct DurableSegment: Sendable {
  public var number: UInt64
  public var bytes: [UInt8]

  public init(number: UInt64, bytes: [UInt8]) {
    self.number = number
    self.bytes = bytes
  }
}

/// What the files of a log tell. Reads only; never traps on any bytes.
public struct DurableScan: Sendable {
  public enum Verdict: Hashable, Sendable {
    /// No file at all, or nothing ever written.
    case empty
    /// Everything that was written is there: the replica may vote at once.
    case clean
    /// The last record is not complete.
    case tornTail
    /// Records are missing or not what was written.
    case damaged
  }

  struct Record: Sendable {
    var kind: DurableKind
    var offset: Int
    var count: Int
  }

  /// Zero bytes that a host leaves after the last record at all times.
  public static let minimumTrailingZeros = 16

  public let verdict: Verdict
  /// The highest number of a segment that was there; the next one is above it.
  public let highestSegment: UInt64
  /// The segment read, its records from the base on; empty when none has a base.
  let bytes: [UInt8]
  let records: [Record]

  /// Chooses the newest segment with a complete base.
  public init(_ segments: [DurableSegment]) {
    let sorted = segments.sorted { $0.number > $1.number }
    highestSegment = sorted.first?.number ?? 0
    var isDamaged = false
    for (place, segment) in sorted.enumerated() {
      let (records, end) = DurableScan.read(segment)
      guard records.first?.kind == .base, records.contains(where: { $0.kind == .baseEnd }) else {
        // A newer segment that ends cleanly within its base was only begun: nothing was promised after it. A
        // segment that was never written to has no sixteen bytes, or only zeros.
        if end != .clean, !segment.bytes.allSatisfy({ $0 == 0 }) { isDamaged = true }
        continue
      }
      // An older one that says it was followed by another has lost that one, unless it is here and was not
      // begun.
      if case .rotated? = records.last?.kind, place == 0 { isDamaged = true }
      verdict = isDamaged ? .damaged : end
      bytes = segment.bytes
      self.records = records
      return
    }
    verdict = isDamaged || !segments.isEmpty ? .damaged : .empty
    bytes = []
    records = []
  }

  /// The valid records from the beginning, and how the segment ends.
  static func read(_ segment: DurableSegment) -> (records: [Record], end: Verdict) {
    segment.bytes.withUnsafeBytes { bytes in
      var records: [Record] = []
      var offset = 0
      while true {
        guard let frame = DurableFrame.read(bytes, at: offset, segment: segment.number) else { break }
        guard let kind = DurableKind(rawValue: frame.kind) else { return (records, .damaged) }
        records.append(
          Record(kind: kind, offset: offset + DurableFrame.headerByteCount, count: frame.count))
        offset += DurableFrame.headerByteCount + frame.count
      }
      let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
      if rest.count >= minimumTrailingZeros, rest.allSatisfy({ $0 == 0 }) { return (records, .clean) }
      // Torn when nothing follows the record that is not valid; what follows could only be records after it.
      guard rest.count >= 4 else { return (records, .tornTail) }
      let count = Int(UInt32(bigEndian: rest.loadUnaligned(as: UInt32.self)))
      let end = DurableFrame.headerByteCount + count
      guard end <= rest.count else { return (records, .tornTail) }
      return (records, rest[end...].allSatisfy { $0 == 0 } ? .tornTail : .damaged)
    }
  }
}

enum DurableFrame {
  static let headerByteCount = 4 + 1 + 8

  static func checksum(segment: UInt64, kind: UInt8, _ payload: UnsafeRawBufferPointer) -> UInt64 {
    var hasher = SHA256Hasher()
    hasher.update(bigEndian: segment)
    hasher.update(bigEndian: kind)
    hasher.update(bigEndian: UInt32(truncatingIfNeeded: payload.count))
    hasher.update(payload)
    return hasher.finalize().words.0
  }

  /// The valid frame at `offset`; nil when there is none.
  static func read(
    _ bytes: UnsafeRawBufferPointer, at offset: Int, segment: UInt64
  ) -> (kind: UInt8, count: Int)? {
    guard bytes.count - offset >= headerByteCount else { return nil }
    let count = Int(UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
    let kind = bytes[offset + 4]
    guard kind != 0, count <= bytes.count - offset - headerByteCount else { return nil }
    let payload = UnsafeRawBufferPointer(
      rebasing: bytes[(offset + headerByteCount)..<(offset + headerByteCount + count)])
    let checksum = bytes.loadUnaligned(fromByteOffset: offset + 5, as: UInt64.self)
    guard checksum == DurableFrame.checksum(segment: segment, kind: kind, payload) else { return nil }
    return (kind, count)
  }
}

/// Writes frames into the bytes of a turn.
final class DurableWriter {
  /// Whether anything is written at all.
  let isOn: Bool
  @exclusivity(unchecked) var isRecovering = false
  @exclusivity(unchecked) private(set) var segment: UInt64 = 0
  @exclusivity(unchecked) private(set) var bytesInSegment = 0
  @exclusivity(unchecked) private(set) var baseBytes = 0
  private let output = PlainBuffer<UInt8>(minimumCapacity: 256)
  @exclusivity(unchecked) private var frameStart = 0

  init(isOn: Bool) { self.isOn = isOn }

  func bytes(offset: Int, count: Int) -> UnsafeRawBufferPointer {
    precondition(offset >= 0 && count >= 0 && offset + count <= output.count, "the bytes are of this turn")
    return UnsafeRawBufferPointer(start: output.base + offset, count: count)
  }

  func removeAll() { if output.count > 0 { output.removeAll() } }

  /// Begins a frame; its payload is what is put until `end`.
  func begin(_ kind: DurableKind) -> PlainBuffer<UInt8> {
    frameStart = output.count
    output.put(UInt32(0))
    output.put(kind.rawValue)
    output.put(UInt64(0))
    return output
  }

  /// Ends the frame: where it is among the bytes of the turn.
  func end() -> (offset: Int, count: Int) {
    let header = UnsafeMutableRawPointer(output.base + frameStart)
    let count = output.count - frameStart - DurableFrame.headerByteCount
    let payload = UnsafeRawBufferPointer(start: header + DurableFrame.headerByteCount, count: count)
    header.storeBytes(of: UInt32(truncatingIfNeeded: count).bigEndian, as: UInt32.self)
    let kind = header.load(fromByteOffset: 4, as: UInt8.self)
    header.storeBytes(
      of: DurableFrame.checksum(segment: segment, kind: kind, payload), toByteOffset: 5, as: UInt64.self)
    bytesInSegment += DurableFrame.headerByteCount + count
    return (frameStart, DurableFrame.headerByteCount + count)
  }

  func beginSegment() {
    segment += 1
    bytesInSegment = 0
  }

  func baseEnded() { baseBytes = bytesInSegment }

  /// Nothing has been written since the segment of this number.
  func continueAfter(segment highest: UInt64) {
    output.removeAll()
    segment = highest
    bytesInSegment = 0
    baseBytes = 0
  }

  /// Whether the log has grown enough to be worth a new base.
  var isLong: Bool { bytesInSegment - baseBytes > max(4 << 20, 2 * baseBytes) }
}
