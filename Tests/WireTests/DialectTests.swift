// Every recorded frame of both dialects, to the byte and back; v1.2's MACs; and each way in which a frame of v1.2 can be wrong.

import Foundation
import Hashing
import Testing
import Wire

/// A file of recorded bytes, one frame a line.
private func recordedFrames(_ name: String) throws -> [[UInt8]] {
  let url = try #require(
    Bundle.module.url(forResource: name, withExtension: "hex", subdirectory: "Resources"))
  return try String(contentsOf: url, encoding: .utf8).split(separator: "\n").map {
    bytes(hexadecimal: String($0))
  }
}

/// Encodes what `view` says, its MAC and signature copied.
private func encodedAgain(_ view: ClientFrameView, useMACs: Bool) -> [UInt8] {
  let total = ClientFrame.byteCount(
    content: view.content?.count ?? 0, signature: view.signature.count, dialect: view.dialect,
    useMACs: useMACs)
  return written(total) { output in
    let count = ClientFrame.encode(
      into: output, header: view.header, content: view.content, signatureByteCount: view.signature.count,
      dialect: view.dialect, useMACs: useMACs)
    if let offset = ClientFrame.macOffset(ofEncoded: output) {
      UnsafeMutableRawBufferPointer(rebasing: output[offset...]).copyBytes(from: view.mac)
    }
    let offset = ClientFrame.signatureOffset(ofEncoded: output)
    UnsafeMutableRawBufferPointer(rebasing: output[offset...]).copyBytes(from: view.signature)
    return count
  }
}

@Suite("Recorded frames of BFT-SMaRt")
struct RecordedFrameTests {
  static let clients = [
    "ordered", "ordered_sig", "unordered", "ordered-hashed", "unordered-hashed",
  ]
  static let replies: [String: [Int]] = [
    "ordered": [0, 1, 2], "ordered_sig": [0, 1, 2, 3], "unordered": [0, 2, 3], "ordered-hashed": [0, 2, 3],
    "unordered-hashed": [0, 1, 2],
  ]

  @Test(
    "every frame captured between Java clients and Java replicas decodes and encodes to the byte",
    arguments: [("ordered_nosig", 16), ("ordered_sig", 14), ("unordered_nosig", 24)])
  func captures(name: String, count: Int) throws {
    let frames = try recordedFrames("java-" + name)
    #expect(frames.count == count)
    for frame in frames {
      try withFrame(frame) { view in
        #expect(view.dialect == .master && view.mac.isEmpty && view.contentOffset == 29)
        #expect(encodedAgain(view, useMACs: false) == frame)
      }
    }
  }

  @Test("every frame of an independent client decodes and encodes to the byte", arguments: clients)
  func independentClient(name: String) throws {
    let names = ["\(name).request"] + (Self.replies[name] ?? []).map { "\(name).reply\($0)" }
    for name in names {
      let frame = try golden(name)
      try withFrame(frame) { #expect(encodedAgain($0, useMACs: false) == frame) }
    }
  }

  @Test(
    "every frame of v1.2 decodes and encodes to the byte, and its MAC is the one we make",
    arguments: [
      ("v12.request.replica0", 0), ("v12.reply0", 0), ("v12.reply1", 1), ("v12.reply2", 2), ("v12.reply3", 3),
    ]
      as [(String, Int32)])
  func version12(name: String, replica: Int32) throws {
    let frame = try golden(name)
    let keys = ChannelKeys12(capacity: 8)
    frame.withUnsafeBytes { bytes in
      let step = ClientFrame.decode(bytes, maximumLength: 200, dialect: .v12, useMACs: true)
      guard case .frame(let view, let count) = step else {
        Issue.record("not a frame: \(step)")
        return
      }
      #expect(count == frame.count && view.dialect == .v12 && view.contentOffset == 32)
      #expect(view.sender == (name.contains("reply") ? replica : 1002))
      #expect(view.kind == ClientMessageKind.unordered.rawValue && view.membershipID == 0)
      #expect(UInt32(bitPattern: view.session) == 0x3909_eb3a && view.sequence == 0 && view.operationID == 0)
      #expect(view.replyServer == -1 && view.content?.count == 4 && view.signature.isEmpty)
      #expect(encodedAgain(view, useMACs: true) == frame)
      #expect(keys.isAuthentic(view.mac, of: view.data, client: 1002, replica: replica))
      #expect(!keys.isAuthentic(view.mac, of: view.data, client: 1002, replica: replica ^ 1))
      #expect(!keys.isAuthentic(view.mac, of: view.data, client: 1003, replica: replica))
      var mac = Array(view.mac)
      mac[63] ^= 1
      mac.withUnsafeBytes { #expect(!keys.isAuthentic($0, of: view.data, client: 1002, replica: replica)) }
      mac.removeLast()
      mac.withUnsafeBytes { #expect(!keys.isAuthentic($0, of: view.data, client: 1002, replica: replica)) }
      // Sealing makes the very frame.
      var sealed = frame
      sealed.replaceSubrange(48..<112, with: repeatElement(0, count: 64))
      sealed.withUnsafeMutableBytes { keys.seal($0, client: 1002, replica: replica) }
      #expect(sealed == frame)
    }
  }
}

@Suite("v1.2's MACs")
struct ChannelKeys12Tests {
  @Test(
    "keys follow from the ids as Java derives them",
    arguments: [(0, "0b32e861eb0c4d70"), (1, "0e3a3f2fdb93fa03")])
  func keys(replica: Int32, key: String) {
    #expect(ChannelKeys12.key(client: 1001, replica: replica) == bytes(hexadecimal: key))
  }

  @Test("HMAC-SHA512 and SHA-512 are those of RFC 4231 and FIPS 180-4")
  func vectors() {
    let key = [UInt8](repeating: 0x0b, count: 20)
    let tag = written(64) { output in
      key.withUnsafeBytes { key in
        Array("Hi There".utf8).withUnsafeBytes {
          HMACSHA512Key(key).tag(of: $0, into: output.baseAddress!)
        }
      }
      return 64
    }
    #expect(
      tag
        == bytes(
          hexadecimal: "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
            + "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"))
    let hash = written(64) { output in
      Array("abc".utf8).withUnsafeBytes { ReplyHash.sha512.write(hashOf: $0, into: output) }
    }
    #expect(
      hash
        == bytes(
          hexadecimal: "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            + "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"))
    #expect(ReplyHash.sha256.byteCount == 32 && ClientDialect.master.replyHash == .sha256)
    #expect(ClientDialect.v12.replyHash == .sha512)
  }

  @Test("more pairs than there is room for are forgotten and derived again, never mistaken for each other")
  func forgets() {
    let few = ChannelKeys12(capacity: 2)
    let data = [UInt8](repeating: 5, count: 40)
    func tag(_ keys: ChannelKeys12, _ client: Int32) -> [UInt8] {
      written(64) { output in
        data.withUnsafeBytes { keys.tag($0, client: client, replica: 1, into: output.baseAddress!) }
        return 64
      }
    }
    let first = (0..<5).map { tag(few, $0) }
    #expect(Set(first).count == 5)
    for client in [4, 0, 3, 1, 2] { #expect(tag(few, Int32(client)) == first[client]) }
  }
}

@Suite("Frames of v1.2 that are wrong")
struct Dialect12ErrorTests {
  /// A good frame of v1.2 with 4 bytes of content: data from 8, MAC length at 44, signature length at 112.
  private static func frame(useMACs: Bool) -> [UInt8] {
    let header = ClientFrameHeader(
      sender: 7, membershipID: 0, kind: 0, session: 1, sequence: 2, operationID: 3)
    return written(ClientFrame.byteCount(content: 4, signature: 0, dialect: .v12, useMACs: useMACs)) {
      output in
      [0, 0, 0, 1].withUnsafeBufferPointer { (content: UnsafeBufferPointer<UInt8>) in
        ClientFrame.encode(
          into: output, header: header, content: UnsafeRawBufferPointer(content), dialect: .v12,
          useMACs: useMACs)
      }
    }
  }

  @Test(
    "each closes the connection, and says what it is",
    arguments: [
      (0, "0000006b", WireError.frameLength(107)), (0, "ffffffff", .frameLength(-1)),
      (4, "0000001f", .dataLength(31, frame: 112)), (4, "00000025", .dataLength(37, frame: 112)),
      (4, "7fffffff", .dataLength(.max, frame: 112)),
      (44, "0000003f", .macLength(63, expected: 64)), (44, "00000041", .macLength(65, expected: 64)),
      (44, "ffffffff", .macLength(-1, expected: 64)), (44, "00000000", .macLength(0, expected: 64)),
      (112, "00000001", .signatureLength(1, expected: 0)),
      (112, "ffffffff", .signatureLength(-1, expected: 0)),
      (36, "00000005", .contentLength(5, expected: 4)), (36, "fffffffe", .contentLength(-2, expected: 4)),
      (16, "00000100", .messageType(256)), (16, "ffffffff", .messageType(-1)),
    ] as [(Int, String, WireError)])
  func closes(offset: Int, field: String, error: WireError) {
    var frame = Self.frame(useMACs: true)
    frame.replaceSubrange(offset..<offset + 4, with: bytes(hexadecimal: field))
    frame.withUnsafeBytes { bytes in
      guard
        case .malformed(let found) = ClientFrame.decode(
          bytes, maximumLength: 1000, dialect: .v12, useMACs: true)
      else {
        Issue.record("accepted")
        return
      }
      #expect(found == error && !found.description.isEmpty)
    }
  }

  @Test("the smallest lengths are those of the dialect", arguments: [(false, Int32(40)), (true, 108)])
  func smallest(useMACs: Bool, length: Int32) {
    for (length, isGood) in [(length, true), (length - 1, false)] {
      let bytes = withUnsafeBytes(of: length.bigEndian) { Array($0) }
      bytes.withUnsafeBytes { bytes in
        let step = ClientFrame.decode(bytes, maximumLength: 1000, dialect: .v12, useMACs: useMACs)
        switch step {
        case .incomplete(let needed): #expect(isGood && needed == Int(length) + 4)
        case .malformed(.frameLength(length)): #expect(!isGood)
        default: Issue.record("\(step)")
        }
      }
    }
  }

  @Test("every prefix asks for more; above the limit it is skipped", arguments: [false, true])
  func prefixes(useMACs: Bool) {
    let frame = Self.frame(useMACs: useMACs)
    for count in 0..<frame.count {
      frame[..<count].withUnsafeBytes { bytes in
        guard
          case .incomplete(let needed) = ClientFrame.decode(
            bytes, maximumLength: 1000, dialect: .v12, useMACs: useMACs)
        else {
          Issue.record("decided after \(count) bytes")
          return
        }
        #expect(needed > count && needed <= frame.count)
      }
    }
    frame.withUnsafeBytes { bytes in
      guard
        case .skip(let count) = ClientFrame.decode(
          bytes, maximumLength: frame.count - 5, dialect: .v12, useMACs: useMACs)
      else {
        Issue.record("not skipped")
        return
      }
      #expect(count == frame.count)
    }
  }

  @Test("an unknown type is delivered as it came; a message without frame is judged alike")
  func types() throws {
    var frame = Self.frame(useMACs: false)
    frame[19] = 200
    let data = Array(frame[8..<44])
    try data.withUnsafeBytes { bytes in
      let view = try ClientFrame.view(
        data: bytes, signature: UnsafeRawBufferPointer(start: nil, count: 0), dialect: .v12
      ).get()
      #expect(view.kind == 200 && view.session == 1 && view.sequence == 2 && view.operationID == 3)
      #expect(view.content.map { Array($0) } == [0, 0, 0, 1])
      // The same bytes in the other dialect have no content of that length.
      guard case .failure = ClientFrame.view(data: bytes, signature: .init(start: nil, count: 0)) else {
        Issue.record("accepted in the master dialect")
        return
      }
    }
  }

  @Test("a signature follows the MAC, and its length is set behind it", arguments: [false, true])
  func signature(useMACs: Bool) throws {
    var frame = Self.frame(useMACs: useMACs) + [9, 8, 7]
    let total = frame.withUnsafeMutableBytes { ClientFrame.setSignatureByteCount(3, inEncoded: $0) }
    #expect(total == frame.count)
    frame.withUnsafeBytes { bytes in
      guard
        case .frame(let view, _) = ClientFrame.decode(
          bytes, maximumLength: 1000, dialect: .v12, useMACs: useMACs)
      else {
        Issue.record("not a frame")
        return
      }
      #expect(Array(view.signature) == [9, 8, 7] && view.mac.count == (useMACs ? 64 : 0))
    }
  }

  @Test(
    "random and mutated frames never trap, and what is accepted stays inside its bytes", arguments: [1, 2])
  func randomFrames(seed: UInt64) {
    var generator = SeededGenerator(state: seed)
    var accepted = 0
    for round in 0..<60_000 {
      let useMACs = round % 2 == 0
      var frame = Self.frame(useMACs: useMACs)
      if round % 5 == 0 { frame = generator.bytes(Int.random(in: 0...140, using: &generator)) }
      for _ in 0..<Int.random(in: 0...3, using: &generator) where !frame.isEmpty {
        let fields = [0, 1, 2, 3, 4, 7, 16, 19, 36, 39, 44, 47, 112, 115, 40]
        frame[fields.randomElement(using: &generator)! % frame.count] = UInt8.random(
          in: 0...255, using: &generator)
      }
      frame.withUnsafeBytes { bytes in
        switch ClientFrame.decode(bytes, maximumLength: 200, dialect: .v12, useMACs: useMACs) {
        case .incomplete(let needed): #expect(needed > bytes.count)
        case .skip(let count): #expect(count > 204)
        case .malformed: break
        case .frame(let view, let count):
          accepted += 1
          let block = useMACs ? 68 : 0
          if count > bytes.count || 12 + view.data.count + view.signature.count + block != count
            || (view.content.map { $0.count + 32 != view.data.count } ?? (view.data.count != 32))
          {
            Issue.record("a view outside its bytes: \(frame)")
          }
        }
      }
    }
    #expect(accepted > 100)
  }
}
