// What each decoder of `Replication` is given, and what must hold of whatever it accepts.

import Events
@testable import Hashing
import PBFT
@testable import Replication

private let counter = Service.make(name: "counter", replyBytes: 0)!

func readState(_ bytes: UnsafeRawBufferPointer) {
  guard let (header, count) = StateCoding.header(bytes, service: counter) else { return }
  precondition(count <= bytes.count)
  _ = StateCoding.maximumByteCount(header)
  guard let table = StateCoding.table(bytes, from: count, header, maximumClients: 16) else { return }
  precondition(StateCoding.encode(header, table).elementsEqual(bytes), "a state with two encodings")
}

// MARK: Reconfigurations

let four = Membership(count: 4)

func readReconfiguration(_ bytes: UnsafeRawBufferPointer) {
  if let request = ReconfigureRequest(decoding: bytes) {
    let again = request.encoded.withUnsafeBytes { ReconfigureRequest(decoding: $0) }
    precondition(again == request, "a request that is another when written again")
    _ = try? request.outcome(after: four, [])
  }
  if let result = ReconfigurationResult(bytes) {
    precondition(result.encoded.elementsEqual(bytes), "a result with two encodings")
  }
}

// MARK: The durable log

/// The first two bytes say where one segment ends and the other begins.
func scanSegments(_ bytes: UnsafeRawBufferPointer) {
  guard bytes.count >= 2 else { return }
  let middle = 2 + min(bytes.count - 2, Int(bytes[0]) << 8 | Int(bytes[1]))
  let scan = DurableScan([
    DurableSegment(number: 1, bytes: Array(bytes[2..<middle])),
    DurableSegment(number: 2, bytes: Array(bytes[middle...])),
  ])
  for record in scan.records { precondition(record.offset + record.count <= scan.bytes.count) }
}

/// Kind, length u16 and payload of each record; framed here, since nobody guesses checksums.
func recover(_ bytes: UnsafeRawBufferPointer) {
  var segment: [UInt8] = []
  var offset = 0
  while bytes.count - offset >= 3 {
    let kind = bytes[offset]
    let count = min(Int(bytes[offset + 1]) << 8 | Int(bytes[offset + 2]), bytes.count - offset - 3)
    let payload = UnsafeRawBufferPointer(rebasing: bytes[offset + 3..<offset + 3 + count])
    appendRecord(kind, payload, to: &segment)
    offset += 3 + count
  }
  segment.append(contentsOf: [UInt8](repeating: 0, count: DurableScan.minimumTrailingZeros))
  let replica = makeReplica()
  let report = replica.recover(from: DurableScan([DurableSegment(number: 1, bytes: segment)]))
  precondition(report.stable.sequence.rawValue <= .max)
}

private func appendRecord(_ kind: UInt8, _ payload: UnsafeRawBufferPointer, to segment: inout [UInt8]) {
  segment.put(UInt32(payload.count))
  segment.put(kind)
  let checksum = DurableFrame.checksum(segment: 1, kind: kind, payload)
  withUnsafeBytes(of: checksum) { segment.append(contentsOf: $0) }
  segment.append(contentsOf: payload)
}
