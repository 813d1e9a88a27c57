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
      Recording(
        name: "view-ipv6",
        view: view(
          2, f: 1,
          [
            (0, "2001:db8::1", 12000), (1, "::1", 12010), (2, "fe80::1%7", 12020), (3, "10.0.0.4", 12030),
            (4, "2001:db8::1:0:0:1", 12040),
          ])),
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

  @Test("IPv6 addresses with names, with an interface's name, and shared ones are read")
  func inet6References() throws {
    let read = try decoded(golden("view-ipv6-names"))
    #expect(
      read
        == view(
          3, f: 1,
          [
            (0, "fe80::fc:ff:fe00:1%eth0", 12000), (1, "2001:db8::2", 12010), (2, "2001:db8::2", 12020),
            (3, "fe80::1%lo", 12030),
          ]))
    // An interface's name is for whoever connects to make something of, as a host's name is.
    #expect(try decoded(read.encoded) == read)
  }

  @Test(
    "an IPv6 address of other than 16 bytes, marks other than 0 and 1, and another class are refused where they stand",
    arguments: [
      // From the last byte of the first address: its length is 17 bytes before, its three marks 51, 50 and 46 before.
      ([0x20, 0x01, 0x0d, 0xb8] as [UInt8], -1, "16 bytes of an IPv6 address"),
      ([0x70, 0x75, 0x72, 0x00, 0x02, 0x5b, 0x42], -1, "whether a zone has a name"),
      ([0x70, 0x75, 0x72, 0x00, 0x02, 0x5b, 0x42], -2, "whether a zone has a number"),
      (Array("java.net.Inet6Address".utf8), 9, "the class java.net.InetAddress or java.net.Inet6Address"),
    ])
  func malformedInet6(after mark: [UInt8], offset: Int, expected: String) throws {
    var bytes = try golden("view-ipv6")
    let start = try #require(
      bytes.indices.first { bytes[$0...].starts(with: mark) }, "the golden bytes hold the mark")
    bytes[start + offset] ^= 0x22
    let error = #expect(throws: JavaSerializationError.self) { try decoded(bytes) }
    #expect(error?.expected.hasPrefix(expected) == true, "\(error.map { "\($0)" } ?? "")")
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
    arguments: ["currentView", "view-localhost", "view-names", "view-ipv6", "view-ipv6-names"])
  func truncated(_ name: String) throws {
    let bytes = try golden(name)
    for count in 0..<bytes.count {
      #expect(throws: JavaSerializationError.self) { try decoded(Array(bytes[..<count])) }
    }
    #expect(throws: JavaSerializationError.self) { try decoded(bytes + [0]) }
  }

  @Test("a view with any byte changed is refused or another view, and never a trap")
  func changed() throws {
    for name in [
      "currentView", "view-localhost", "view-names", "view-thirteen", "view-ipv6", "view-ipv6-names",
    ] {
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

  @Test(
    "a number that no view has is refused where it stands",
    arguments: [
      // f, the first port, the first replica's id, the ids behind the map.
      (0x70, 0x80, "each replica once, and f not negative"),
      (0x1aa, 0x01, "a port in 0...65535"),
      (0x10e, 0x80, "a replica id that is not negative"),
      (0x29a, 0x01, "the ids of the replicas with addresses, ascending"),
      (0x28a, 0x01, "the ids of the replicas with addresses, ascending"),
    ])
  func impossibleNumbers(offset: Int, change: UInt8, expected: String) throws {
    var bytes = try golden("currentView")
    bytes[offset] ^= change
    let error = #expect(throws: JavaSerializationError.self) { try decoded(bytes) }
    #expect(error?.expected == expected, "\(error.map { "\($0)" } ?? "")")
  }

  @Test("a host without a name, a name of other characters, and more bytes than a view has are refused")
  func impossibleHosts() throws {
    var bytes = try golden("view-names")
    let name = try #require(bytes.indices.first { bytes[$0...].starts(with: Array("replica0.example".utf8)) })
    var other = bytes
    other[name] = 0x20
    #expect(
      throws: JavaSerializationError(
        offset: name, expected: "a host name of 1...255 printable characters")
    ) { try decoded(other) }
    // Neither an address nor a name: null in the place of the name's mark, length and text.
    bytes.replaceSubrange(name - 3..<name + 16, with: [JavaMark.null])
    let error = #expect(throws: JavaSerializationError.self) { try decoded(bytes) }
    #expect(error?.expected == "a host name where there is no address")
    let limit = SerializedView.maximumByteCount
    #expect(throws: JavaSerializationError(offset: limit, expected: "at most \(limit) bytes")) {
      try decoded([UInt8](repeating: 0, count: limit + 1))
    }
  }

  @Test(
    "what a reply to a RECONFIG says in its block is read to the byte or refused",
    arguments: [
      [0, 0, 0, 1, 0, 0, 0, 2], [0, 0, 0, 1, 0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff],
      [0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 65], [0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1],
      [0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 2, 65], [0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 1, 0x20],
      [0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0],
    ] as [[UInt8]])
  func replyBlock(block: [UInt8]) {
    func reply(_ block: [UInt8]) -> [UInt8] {
      var writer = JavaWriter()
      writer.beginObject(.reconfigureReply)
      view(1, f: 1, four).write(to: &writer)
      writer.put(blocks: block)
      return writer.bytes
    }
    #expect((try? ReconfigureReply(decoding: reply([0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0])))?.sequence == 1)
    let error = #expect(throws: JavaSerializationError.self) { try ReconfigureReply(decoding: reply(block)) }
    #expect(error?.expected == "number, leader and the addresses of who has joined")
  }

  @Test("block data is bounded, ends where it says, and is nothing else")
  func blocks() throws {
    var head = JavaWriter()
    head.beginObject(.reconfigureReply)
    view(1, f: 1, four).write(to: &head)
    func expected(_ rest: [UInt8]) -> String? {
      let error = #expect(throws: JavaSerializationError.self) {
        try ReconfigureReply(decoding: head.bytes + rest)
      }
      return error?.expected
    }
    let limit = ReconfigureReply.maximumBlockByteCount
    #expect(expected([JavaMark.longBlock, 0xff, 0xff, 0xff, 0xff]) == "at most \(limit) bytes of block data")
    #expect(expected([JavaMark.block, 2, 0]) == "at most \(limit) bytes of block data")
    var long = JavaWriter()
    long.put(blocks: [UInt8](repeating: 0, count: limit + 1))
    #expect(expected(Array(long.bytes.dropFirst(4))) == "at most \(limit) bytes of block data")
    #expect(expected([JavaMark.object]) == "block data" && expected([]) == "block data")
    #expect(expected([JavaMark.end, 0]) == "the end of the stream")
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
