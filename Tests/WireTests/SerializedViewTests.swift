// Views and replies to RECONFIGs against bytes that BFT-SMaRt and OpenJDK have written, against every truncation, and
// against bytes turned over.

import PBFT
import Testing

@testable import Wire

private func view(_ id: Int32, f faults: Int32, _ addresses: [(Int32, String, UInt16)]) -> SerializedView {
  SerializedView(
    id: id, faults: faults,
    addresses: addresses.map {
      SerializedView.Address(replica: ReplicaID(rawValue: $0.0), host: $0.1, port: $0.2)!
    })!
}

private func decoded(_ bytes: [UInt8]) throws -> SerializedView {
  try bytes.withUnsafeBytes { try SerializedView(decoding: $0) }
}

private let four: [(Int32, String, UInt16)] = [
  (0, "127.0.0.1", 12000), (1, "127.0.0.1", 12010), (2, "127.0.0.1", 12020), (3, "127.0.0.1", 12030),
]

@Suite("Views as BFT-SMaRt writes them")
struct SerializedViewTests {
  struct Recording: Sendable, CustomTestStringConvertible {
    let name: String
    let view: SerializedView

    var testDescription: String { name }
  }

  @Test(
    "a view that Java has written is read, and written to the same bytes",
    arguments: [
      Recording(name: "currentView", view: view(0, f: 1, four)),
      Recording(name: "view-five", view: view(1, f: 1, four + [(4, "10.0.0.4", 12040)])),
      Recording(name: "view-one", view: view(0, f: 0, [(70000, "1.2.3.4", 65535)])),
      Recording(
        name: "view-thirteen",
        view: view(3, f: 4, (0..<13).map { ($0 * 17, "192.168.0.\($0)", UInt16(11000 + 10 * $0)) })),
    ])
  func recorded(_ recording: Recording) throws {
    let bytes = try golden(recording.name)
    #expect(try decoded(bytes) == recording.view)
    #expect(recording.view.encoded == bytes)
  }

  @Test("addresses that several replicas share, and names that are not resolved, are read")
  func references() throws {
    let shared = try decoded(golden("view-localhost"))
    #expect(shared == view(0, f: 1, four))
    let names = try decoded(golden("view-names"))
    #expect(
      names
        == view(
          7, f: 1,
          [
            (0, "replica0.example", 12000), (1, "replica1.example", 12010), (2, "replica1.example", 12020),
            (3, "r3", 12030),
          ]))
    #expect(try decoded(names.encoded) == names)
  }

  @Test("a view says its membership, if its quorums exist")
  func membership() throws {
    let five = try decoded(golden("view-five"))
    #expect(five.membership() == Membership(id: 1, replicas: (0...4).map { ReplicaID($0) }, faults: 1))
    #expect(five.address(of: ReplicaID(4))?.port == 12040 && five.address(of: ReplicaID(5)) == nil)
    #expect(view(0, f: 2, four).membership() == nil)
    #expect(view(0, f: 1, Array(four.dropLast())).membership(model: .crash)?.quorums.quorum == 2)
  }

  @Test("what is no membership cannot be made")
  func impossible() {
    let address = SerializedView.Address(replica: ReplicaID(1), host: "a", port: 1)!
    #expect(SerializedView(id: 0, faults: 0, addresses: []) == nil)
    #expect(SerializedView(id: 0, faults: -1, addresses: [address]) == nil)
    #expect(SerializedView(id: 0, faults: 0, addresses: [address, address]) == nil)
    for host in ["", "a b", "h\u{e9}", String(repeating: "x", count: 256)] {
      #expect(SerializedView.Address(replica: ReplicaID(1), host: host, port: 1) == nil)
    }
    #expect(SerializedView.Address(replica: ReplicaID(rawValue: -1), host: "a", port: 1) == nil)
  }

  @Test("the largest membership is written and read")
  func largest() throws {
    let large = view(
      9, f: 21, (0..<64).map { ($0 * 65_537, String(repeating: "x", count: 255), UInt16($0)) })
    #expect(try decoded(large.encoded) == large)
  }

  @Test(
    "a truncated view, and one with bytes behind it, is refused at any length",
    arguments: ["currentView", "view-localhost", "view-names"])
  func truncated(_ name: String) throws {
    let bytes = try golden(name)
    for count in 0..<bytes.count {
      #expect(throws: JavaSerializationError.self) { try decoded(Array(bytes[..<count])) }
    }
    #expect(throws: JavaSerializationError.self) { try decoded(bytes + [0]) }
  }

  @Test("a view with any byte changed is refused or another view, and never a trap")
  func changed() throws {
    for name in ["currentView", "view-localhost", "view-names", "view-thirteen"] {
      let bytes = try golden(name)
      let original = try decoded(bytes)
      for index in bytes.indices {
        for change in [0x01, 0x80, 0xff] as [UInt8] {
          var other = bytes
          other[index] ^= change
          guard let read = try? decoded(other) else { continue }
          // Load factor, threshold, bucket count and address family say nothing to us; the name beside an address neither.
          #expect(try decoded(read.encoded) == read)
          if name == "currentView", read == original {
            #expect((0xb3..<0xc1).contains(index))
          }
        }
      }
    }
  }

  @Test("where bytes are wrong is said")
  func messages() throws {
    var bytes = try golden("currentView")
    bytes[0x2b] ^= 1
    #expect(
      throws: JavaSerializationError(
        offset: 5, expected: "the class bftsmart.reconfiguration.views.View as BFT-SMaRt's")
    ) { try decoded(bytes) }
    #expect(throws: JavaSerializationError(offset: 0, expected: "a stream of Java objects")) {
      try decoded([0xac, 0xed, 0, 6, 0x73])
    }
    bytes = try golden("currentView")
    bytes[0xc4] = 65
    #expect(throws: JavaSerializationError(offset: 0xc1, expected: "1...64 addresses")) { try decoded(bytes) }
  }

  @Test("a reply to a RECONFIG is read and written as Java does")
  func reply() throws {
    let bytes = try golden("reconfigure-reply")
    let expected = ReconfigureReply(
      view: view(1, f: 1, four + [(4, "127.0.0.1", 12040)]), sequence: 17, leader: 2,
      joined: ["4:127.0.0.1:12040:12041"])
    let read = try bytes.withUnsafeBytes { try ReconfigureReply(decoding: $0) }
    #expect(read == expected)
    #expect(expected.encoded == bytes)
    for count in 0..<bytes.count {
      #expect(throws: JavaSerializationError.self) {
        try bytes[..<count].withUnsafeBytes { try ReconfigureReply(decoding: $0) }
      }
    }
    for index in bytes.indices {
      var other = bytes
      other[index] ^= 0x41
      if let read = other.withUnsafeBytes({ try? ReconfigureReply(decoding: $0) }) {
        #expect(!read.encoded.isEmpty)
      }
    }
  }

  @Test("long block data is cut as Java cuts it, and joined again")
  func longBlocks() throws {
    let joined = (0..<60).map { "\($0):\(String(repeating: "h", count: 40)):1:2" }
    let reply = ReconfigureReply(view: view(2, f: 1, four), sequence: -1, leader: 0, joined: joined)
    let bytes = reply.encoded
    #expect(bytes.count > 2_048)
    #expect(try bytes.withUnsafeBytes { try ReconfigureReply(decoding: $0) } == reply)
  }
}
