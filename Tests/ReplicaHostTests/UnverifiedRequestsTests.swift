// Requests that wait for their signatures to be verified: in order, bounded, and only while somebody waits for them.

import Replication
import Testing
import Wire

@testable import ReplicaHost

@Suite("Requests that wait to be verified")
struct UnverifiedRequestsTests {
  private let queue = UnverifiedRequests(dialect: .master)

  @Test("come out in the order in which they came, byte for byte, signatures included")
  func order() {
    for sequence in Int32(0)..<100 { #expect(put(client: sequence % 3, session: 7, sequence: sequence)) }
    for sequence in Int32(0)..<100 {
      var taken: (Int32, [UInt8])?
      let dropped = queue.takeNext(notBefore: 0) { frame, _ in
        taken = (frame.sequence, Array(frame.signature))
      }
      #expect(dropped == 0)
      #expect(taken?.0 == sequence)
      #expect(taken?.1 == [UInt8](repeating: UInt8(sequence), count: 70))
    }
    #expect(queue.isEmpty)
  }

  @Test("are dropped when their client has begun another session since")
  func givenUp() {
    put(client: 1, session: 7, sequence: 0)
    put(client: 2, session: 7, sequence: 0)
    put(client: 1, session: 7, sequence: 1)
    put(client: 1, session: 8, sequence: 0)
    #expect(takeAll() == ["2/7/0", "1/8/0"])
    // What has been forgotten counts no more.
    put(client: 1, session: 7, sequence: 2)
    #expect(takeAll() == ["1/7/2"])
  }

  @Test("are not dropped for what somebody else's connection brings under the same client's name")
  func spoofed() {
    put(client: 1, session: 7, sequence: 0, connection: 1)
    put(client: 1, session: 99, sequence: 0, connection: 2)
    #expect(takeAll() == ["1/7/0", "1/99/0"])
  }

  @Test("are dropped when they are too old")
  func old() {
    put(client: 1, session: 7, sequence: 0, now: 100)
    put(client: 2, session: 7, sequence: 0, now: 200)
    #expect(takeAll(notBefore: 150) == ["2/7/0"])
  }

  @Test("are refused beyond the bound, and taken again once there is room")
  func bounded() {
    var kept = 0
    while put(client: Int32(kept), session: 7, sequence: 0) { kept += 1 }
    #expect(kept == queue.count)
    // A request has 103 bytes here, and is kept with a few more.
    #expect((UnverifiedRequests.limitBytes / 160...UnverifiedRequests.limitBytes / 103).contains(kept))
    #expect(takeAll().count == kept)
    #expect(put(client: 1, session: 7, sequence: 0))
  }

  @discardableResult
  private func put(
    client: Int32, session: Int32, sequence: Int32, connection: UInt32 = 1, now: Int64 = 1
  ) -> Bool {
    let content = [UInt8](repeating: 5, count: 4)
    let bytes = UnsafeMutableRawBufferPointer.allocate(
      byteCount: ClientFrame.byteCount(content: content.count, signature: 70), alignment: 8)
    defer { bytes.deallocate() }
    content.withUnsafeBytes {
      _ = ClientFrame.encode(
        into: bytes,
        header: ClientFrameHeader(
          sender: client, membershipID: 0, kind: 0, session: session, sequence: sequence,
          operationID: sequence),
        content: $0, signatureByteCount: 70)
    }
    for index in bytes.count - 70..<bytes.count { bytes[index] = UInt8(truncatingIfNeeded: sequence) }
    guard
      case .frame(let frame, _) = ClientFrame.decode(UnsafeRawBufferPointer(bytes), maximumLength: 1 << 20)
    else { return false }
    return queue.append(frame, ConnectionID(rawValue: connection), now: now)
  }

  private func takeAll(notBefore oldest: Int64 = 0) -> [String] {
    var taken: [String] = []
    while !queue.isEmpty {
      _ = queue.takeNext(notBefore: oldest) { frame, _ in
        taken.append("\(frame.client)/\(frame.session)/\(frame.sequence)")
      }
    }
    return taken
  }
}
