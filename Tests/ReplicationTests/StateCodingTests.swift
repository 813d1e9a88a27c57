// What a donor's state may look like, byte by byte.

import PBFT
import Testing

@testable import Replication

@Suite("The bytes of a state")
struct StateCodingTests {
  private let counter = Service.make(name: "counter", replyBytes: 0)!

  private var state: [UInt8] {
    let table = ClientTable(maximumClients: 1)
    let header = StateHeader(
      sequence: SequenceNumber(3), chain: .zero, requests: 5, service: counter,
      membership: Membership(count: 4), addresses: [], clients: 0, root: table.root(changes: nil))
    return StateCoding.encode(header, table)
  }

  @Test("what is read is what was written, and every byte less is no state")
  func roundTrip() throws {
    try state.withUnsafeBytes { bytes in
      let (header, count) = try #require(StateCoding.header(bytes, service: counter))
      #expect(header.sequence == SequenceNumber(3) && header.requests == 5 && count == bytes.count)
      #expect(StateCoding.table(bytes, from: count, header, maximumClients: 1)?.count == 0)
      for end in 0..<count {
        #expect(StateCoding.header(.init(rebasing: bytes[..<end]), service: counter) == nil)
      }
    }
  }

  // Found by the fuzzer: one state had several encodings.
  @Test("a membership whose ids are not ascending is no state")
  func idsAscend() throws {
    // Magic, sequence, chain, requests, membership id, f, model and n come before the ids.
    let ids = 4 + 8 + 32 + 8 + 4 + 4 + 1 + 4
    for (place, value) in [(0, 2), (1, 0), (3, 2)] as [(Int, UInt8)] {
      var changed = state
      changed[ids + 4 * place + 3] = value
      changed.withUnsafeBytes { #expect(StateCoding.header($0, service: counter) == nil) }
    }
  }
}
