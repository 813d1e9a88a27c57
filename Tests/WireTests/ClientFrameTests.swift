// Client frames against recordings of BFT-SMaRt, against every bad length, and against random bytes.

import Testing
import Wire

@Suite("Client frames (BFT-SMaRt's master dialect)")
struct ClientFrameTests {
  struct Recording: Sendable, CustomTestStringConvertible {
    let name: String
    let header: ClientFrameHeader
    let content: String
    let signatureByteCount: Int

    init(
      _ name: String, sender: Int32, kind: ClientMessageKind, session: UInt32, number: Int32 = 0,
      replyServer: Int32 = -1, content: String, signatureByteCount: Int = 0
    ) {
      self.name = name
      header = ClientFrameHeader(
        sender: sender, membershipID: 0, kind: kind.rawValue, session: Int32(bitPattern: session),
        sequence: number, operationID: number, replyServer: replyServer)
      self.content = content
      self.signatureByteCount = signatureByteCount
    }

    var testDescription: String { name }
  }

  static let hash = "390b36a09502b05d4f8c27aea2636c6b7fd05b27d742ed32074ffea1f888ebe4"

  @Test(
    "a recorded frame decodes to its fields, and the fields encode to the recorded bytes",
    arguments: [
      Recording(
        "ordered.request", sender: 0xa80654, kind: .ordered, session: 0xc742_61fe, content: "00000001"),
      Recording("ordered.reply0", sender: 0, kind: .ordered, session: 0xc742_61fe, content: "0000000a"),
      Recording("ordered.reply1", sender: 1, kind: .ordered, session: 0xc742_61fe, content: "0000000a"),
      Recording(
        "ordered_sig.request", sender: 1003, kind: .ordered, session: 0xb129_d560, number: 1,
        content: "00000005", signatureByteCount: 70),
      Recording("ordered_sig.reply0", sender: 0, kind: .ordered, session: 0xb129_d560, content: "00000013"),
      Recording(
        "ordered_sig.reply2", sender: 2, kind: .ordered, session: 0xb129_d560, number: 1, content: "00000018"),
      Recording(
        "unordered.request", sender: 0xa82c0f, kind: .unordered, session: 0xcd9f_8255, content: "00000001"),
      Recording("unordered.reply0", sender: 0, kind: .unordered, session: 0xcd9f_8255, content: "0000000a"),
      Recording(
        "ordered-hashed.request", sender: 0xa83674, kind: .orderedHashed, session: 0x3499_62c9,
        replyServer: 3,
        content: "00000001"),
      Recording(
        "ordered-hashed.reply0", sender: 0, kind: .orderedHashed, session: 0x3499_62c9, content: hash),
      Recording(
        "ordered-hashed.reply3", sender: 3, kind: .orderedHashed, session: 0x3499_62c9, content: "0000000b"),
      Recording(
        "unordered-hashed.request", sender: 0xa845e1, kind: .unorderedHashed, session: 0xc580_3e8b,
        replyServer: 0, content: "00000001"),
      Recording(
        "unordered-hashed.reply0", sender: 0, kind: .unorderedHashed, session: 0xc580_3e8b,
        content: "0000000b"),
      Recording(
        "unordered-hashed.reply1", sender: 1, kind: .unorderedHashed, session: 0xc580_3e8b, content: hash),
    ])
  func recordedFrame(recording: Recording) throws {
    let frame = try golden(recording.name)
    let content = bytes(hexadecimal: recording.content)
    try withFrame(frame) { view in
      #expect(view.header == recording.header)
      #expect(view.client == recording.header.sender)
      #expect(view.content.map(Array.init) == content)
      #expect(view.signature.count == recording.signatureByteCount)
      #expect(Array(view.data) == Array(frame[8..<(37 + content.count)]))

      let encoded = written(frame.count) { output in
        let count = content.withUnsafeBytes {
          ClientFrame.encode(
            into: output, header: recording.header, content: $0,
            signatureByteCount: recording.signatureByteCount)
        }
        let offset = ClientFrame.signatureOffset(ofEncoded: output)
        output[offset...].copyBytes(from: view.signature)
        return count
      }
      #expect(encoded == frame)
    }
  }

  @Test("null content is not empty content, and both survive a round trip")
  func nullContent() throws {
    let null = requestFrame(client: 7, content: nil)
    let empty = requestFrame(client: 7, content: [])
    #expect(null.count == empty.count)
    #expect(null[33..<37] == [0xff, 0xff, 0xff, 0xff])
    #expect(empty[33..<37] == [0, 0, 0, 0])
    try withFrame(null) { #expect($0.content == nil) }
    try withFrame(empty) { #expect($0.content?.count == 0) }
  }

  @Test("every prefix of a frame asks for more bytes, never more than the frame has")
  func prefixes() throws {
    let frame = try golden("ordered_sig.request")
    for count in 0..<frame.count {
      frame[..<count].withUnsafeBytes { bytes in
        guard case .incomplete(let needed) = ClientFrame.decode(bytes, maximumLength: 1000) else {
          Issue.record("decided after \(count) bytes")
          return
        }
        #expect(needed > count && needed <= frame.count)
      }
    }
  }

  @Test("frames in one burst decode one after the other")
  func burst() throws {
    let frames = (0..<50).map { requestFrame(client: $0, content: Array(repeating: 9, count: Int($0))) }
    let burst = frames.flatMap { $0 }
    var clients: [Int32] = []
    burst.withUnsafeBytes { bytes in
      var rest = bytes[...]
      while case .frame(let view, let count) = ClientFrame.decode(.init(rebasing: rest), maximumLength: 1000)
      {
        clients.append(view.client)
        rest = rest[(rest.startIndex + count)...]
      }
      #expect(rest.isEmpty)
    }
    #expect(clients == Array(0..<50))
  }

  @Test(
    "an inconsistent length closes the connection",
    arguments: [
      // len, dlen, content length, slen of a frame with 4 bytes of content and none of signature
      ("80000000 00000021 00000004 00000000", WireError.frameLength(.min)),
      ("ffffffff 00000021 00000004 00000000", WireError.frameLength(-1)),
      ("00000024 00000021 00000004 00000000", WireError.frameLength(36)),
      ("04000001 00000021 00000004 00000000", WireError.frameLength((64 << 20) + 1)),
      ("00000029 7fffffff 00000004 00000000", WireError.dataLength(.max, frame: 41)),
      ("00000029 ffffffff 00000004 00000000", WireError.dataLength(-1, frame: 41)),
      ("00000029 00000022 00000004 00000000", WireError.dataLength(34, frame: 41)),
      ("00000029 0000001c 00000004 00000000", WireError.dataLength(28, frame: 41)),
      ("00000029 00000021 00000004 00000001", WireError.signatureLength(1, expected: 0)),
      ("00000029 00000021 00000004 ffffffff", WireError.signatureLength(-1, expected: 0)),
      ("00000029 00000021 00000005 00000000", WireError.contentLength(5, expected: 4)),
      ("00000029 00000021 00000003 00000000", WireError.contentLength(3, expected: 4)),
      ("00000029 00000021 ffffffff 00000000", WireError.contentLength(-1, expected: 4)),
      ("00000029 00000021 fffffffe 00000000", WireError.contentLength(-2, expected: 4)),
      ("00000029 00000021 7fffffff 00000000", WireError.contentLength(.max, expected: 4)),
    ])
  func inconsistentLength(lengths: String, error: WireError) throws {
    let fields = bytes(hexadecimal: lengths)
    var frame = requestFrame(client: 1, content: [0, 0, 0, 1])
    frame.replaceSubrange(0..<8, with: fields[0..<8])
    frame.replaceSubrange(33..<37, with: fields[8..<12])
    frame.replaceSubrange(41..<45, with: fields[12..<16])
    frame.withUnsafeBytes { bytes in
      guard case .malformed(let found) = ClientFrame.decode(bytes, maximumLength: .max) else {
        Issue.record("accepted")
        return
      }
      #expect(found == error)
      #expect(!found.description.isEmpty)
    }
  }

  @Test("a frame above the limit is skipped whole, whatever is inside and however little of it is here")
  func aboveTheLimit() {
    let frame = requestFrame(client: 1, content: [UInt8](repeating: 0, count: 100))
    for available in 4...frame.count {
      frame[..<available].withUnsafeBytes { bytes in
        guard case .skip(let count) = ClientFrame.decode(bytes, maximumLength: frame.count - 5) else {
          Issue.record("not skipped with \(available) bytes")
          return
        }
        #expect(count == frame.count)
      }
    }
    frame.withUnsafeBytes { bytes in
      guard case .frame = ClientFrame.decode(bytes, maximumLength: frame.count - 4) else {
        Issue.record("a frame at the limit is not accepted")
        return
      }
    }
  }

  @Test("an unknown type byte is delivered as it came")
  func unknownType() throws {
    var frame = requestFrame(client: 1, content: [])
    frame[16] = 9
    try withFrame(frame) { #expect($0.kind == 9 && ClientMessageKind(rawValue: $0.kind) == nil) }
  }

  @Test("a message without its frame is judged by the same rules")
  func messageWithoutFrame() throws {
    var data = Array(try golden("ordered.request")[8..<41])
    data.withUnsafeBytes { bytes in
      guard case .success(let view) = ClientFrame.view(data: bytes, signature: .init(start: nil, count: 0))
      else {
        Issue.record("refused")
        return
      }
      #expect(view.sequence == 0 && view.content?.count == 4)
    }
    data.append(0)
    data.withUnsafeBytes { bytes in
      guard case .failure(let error) = ClientFrame.view(data: bytes, signature: bytes) else {
        Issue.record("accepted")
        return
      }
      #expect(error == .contentLength(4, expected: 5))
    }
  }

  @Test(
    "random and mutated frames never trap, and what is accepted stays inside its bytes", arguments: [1, 2])
  func randomFrames(seed: UInt64) throws {
    var generator = SeededGenerator(state: seed)
    let models = [
      requestFrame(client: 5, content: generator.bytes(40)), try golden("ordered_sig.request"),
      requestFrame(client: -1, content: nil),
    ]
    var accepted = 0
    for round in 0..<100_000 {
      var frame =
        round % 4 == 0 ? generator.bytes(Int.random(in: 0...90, using: &generator)) : models[round % 3]
      if round % 4 != 0 {
        for _ in 0...Int.random(in: 0...3, using: &generator) {
          let lengthFields = [0, 1, 2, 3, 4, 5, 6, 7, 33, 34, 35, 36]
          let index = Bool.random(using: &generator) ? lengthFields.randomElement(using: &generator)! : 40
          frame[index] = UInt8.random(in: 0...255, using: &generator)
        }
        frame.removeLast(Int.random(in: 0...1, using: &generator) * Int.random(in: 0...8, using: &generator))
      }
      frame.withUnsafeBytes { bytes in
        switch ClientFrame.decode(bytes, maximumLength: 200) {
        case .incomplete(let needed): #expect(needed > bytes.count)
        case .skip(let count): #expect(count > 204)
        case .malformed: break
        case .frame(let view, let count):
          accepted += 1
          if count > bytes.count || 12 + view.data.count + view.signature.count != count
            || (view.content.map { $0.count + 29 != view.data.count } ?? (view.data.count != 29))
          {
            Issue.record("a view outside its bytes: \(frame)")
          }
        }
      }
    }
    #expect(accepted > 100)
  }
}
