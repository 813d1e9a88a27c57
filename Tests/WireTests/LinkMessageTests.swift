// Messages inside a link body: written once, read in place, and no lie about a length gets through.

import Hashing
import PBFT
import Testing
import Wire

@Suite("Link messages")
struct LinkMessageTests {
  static let digest = [1, 2, 3 as UInt8].withUnsafeBytes { Digest.sha256($0) }
  static let view = View(rawValue: 0x0102_0304_0506_0708)
  static let sequence = SequenceNumber(rawValue: .max)

  /// A client's message with `count` bytes of content, as it stands in a frame.
  static func data(_ count: Int) -> [UInt8] {
    Array(
      requestFrame(client: Int32(count), content: [UInt8](repeating: 5, count: count)).dropFirst(8).dropLast(
        4))
  }

  /// One body with a message of each type.
  static func fullBody() -> [UInt8] {
    let writer = LinkBodyWriter(capacity: 64)
    writer.begin(
      PrePrepare(view: view, sequence: sequence, digest: digest, batch: BatchHandle(rawValue: 9)),
      requestCount: 3)
    for count in 0..<3 {
      data(count).withUnsafeBytes { data in
        [UInt8](repeating: 6, count: 16 * count).withUnsafeBytes {
          writer.appendRequest(data: data, authenticator: $0)
        }
      }
    }
    writer.append(Prepare(view: view, sequence: sequence, digest: digest))
    writer.append(Commit(view: view, sequence: sequence, digest: digest))
    writer.append(Checkpoint(sequence: sequence, digest: digest))
    writer.append(Suspect(view: view))
    writer.append(Suspect(view: view, accused: -7))
    writer.append(
      Status(
        view: view, isActive: true, isRecovering: false, asks: true, stable: SequenceNumber(1),
        prepared: SequenceNumber(2), executed: sequence))
    writer.append(Executed(sequence: sequence, digest: digest))
    writer.appendFetchBatch(digest)
    writer.append(StateQuery(checkpoint: Checkpoint(sequence: sequence, digest: digest), position: 11))
    #expect(writer.append(StatementTests.signedViewChange))
    #expect(writer.append(StatementTests.signedNewView))
    [1, 2, 3 as UInt8].withUnsafeBytes {
      writer.appendStatePart(
        checkpoint: Checkpoint(sequence: sequence, digest: digest), position: 8, next: 9, bytes: $0)
    }
    writer.appendMembership(-1)
    writer.beginBatch(digest: digest, requestCount: 2)
    for count in 0..<2 {
      data(count).withUnsafeBytes { data in
        [7 as UInt8].withUnsafeBytes { writer.appendRequest(data: data, authenticator: $0) }
      }
    }
    data(100).withUnsafeBytes { data in
      [1, 2 as UInt8].withUnsafeBytes { writer.appendForward(data: data, authenticator: $0) }
    }
    return Array(writer.bytes)
  }

  /// What a body says, as text, up to its end or first error.
  static func story(_ body: [UInt8]) -> [String] {
    body.withUnsafeBytes { bytes in
      var reader = LinkBodyReader(bytes)
      var story: [String] = []
      while true {
        switch reader.next() {
        case .end: return story
        case .malformed(let error): return story + ["error: \(error)"]
        case .message(.prePrepare(let message)):
          #expect(
            message.prePrepare(batch: .none)
              == PrePrepare(
                view: message.view, sequence: message.sequence, digest: message.digest, batch: .none))
          story.append(
            "pre-prepare \(message.view.rawValue) \(message.sequence.rawValue) \(message.digest)"
              + " \(message.requests.count)")
          for request in message.requests {
            story.append(
              "request \(request.message.client) \(request.data.count) \(request.authenticator.count)")
          }
        case .message(.prepare(let message)): story.append("\(message)")
        case .message(.commit(let message)): story.append("\(message)")
        case .message(.checkpoint(let message)): story.append("\(message)")
        case .message(.suspect(let message)): story.append("\(message)")
        case .message(.status(let message)): story.append("\(message)")
        case .message(.executed(let message)): story.append("\(message)")
        case .message(.fetchBatch(let digest)): story.append("fetch \(digest)")
        case .message(.fetchState(let message)): story.append("\(message)")
        case .message(.membership(let id)): story.append("membership \(id)")
        case .message(.statement(let message)):
          let statement = try? StatementCoding.decode(message.bytes, limits: StatementTests.limits)
          story.append("\(message.type) \(statement.map { "\($0.hashValue)" } ?? "unreadable")")
        case .message(.batch(let message)):
          story.append("batch \(message.digest) \(message.requests.count)")
          for request in message.requests {
            story.append(
              "request \(request.message.client) \(request.data.count) \(request.authenticator.count)")
          }
        case .message(.statePart(let part)):
          story.append(
            "part \(part.checkpoint.sequence.rawValue) \(part.checkpoint.digest) \(part.position) \(part.next)"
              + " \(Array(part.bytes))")
        case .message(.forward(let request)):
          story.append(
            "forward \(request.message.client) \(request.data.count) \(Array(request.authenticator))")
        }
      }
    }
  }

  @Test("every type of message comes out as it went in, in order")
  func roundTrip() {
    #expect(
      Self.story(Self.fullBody()) == [
        "pre-prepare \(Self.view.rawValue) \(UInt64.max) \(Self.digest) 3",
        "request 0 29 0", "request 1 30 16", "request 2 31 32",
        "\(Prepare(view: Self.view, sequence: Self.sequence, digest: Self.digest))",
        "\(Commit(view: Self.view, sequence: Self.sequence, digest: Self.digest))",
        "\(Checkpoint(sequence: Self.sequence, digest: Self.digest))",
        "\(Suspect(view: Self.view))",
        "\(Suspect(view: Self.view, accused: -7))",
        "\(Status(view: Self.view, isActive: true, isRecovering: false, asks: true, stable: SequenceNumber(1), prepared: SequenceNumber(2), executed: Self.sequence))",
        "\(Executed(sequence: Self.sequence, digest: Self.digest))",
        "fetch \(Self.digest)",
        "\(StateQuery(checkpoint: Checkpoint(sequence: Self.sequence, digest: Self.digest), position: 11))",
        "viewChange \(StatementTests.signedViewChange.hashValue)",
        "newView \(StatementTests.signedNewView.hashValue)",
        "part \(UInt64.max) \(Self.digest) 8 9 [1, 2, 3]",
        "membership -1",
        "batch \(Self.digest) 2", "request 0 29 1", "request 1 30 1",
        "forward 100 129 [1, 2]",
      ])
  }

  @Test("the layout is the documented one")
  func layout() {
    let writer = LinkBodyWriter()
    writer.append(Commit(view: View(rawValue: 1), sequence: SequenceNumber(rawValue: 2), digest: .zero))
    writer.append(Suspect(view: View(rawValue: 3)))
    #expect(
      Array(writer.bytes)
        == bytes(
          hexadecimal: "03 0000000000000001 0000000000000002" + String(repeating: "00", count: 32)
            + "05 0000000000000003 0000000000"))
  }

  @Test("the layout of the messages that heal, change views and carry state is the documented one")
  func healingLayout() {
    let writer = LinkBodyWriter()
    let zeros = String(repeating: "00", count: 32)
    writer.append(Suspect(view: View(3), accused: 0x0a0b))
    writer.append(
      Status(
        view: View(4), isActive: false, isRecovering: true, asks: true, stable: SequenceNumber(5),
        prepared: SequenceNumber(6), executed: SequenceNumber(7)))
    writer.append(Executed(sequence: SequenceNumber(8), digest: .zero))
    writer.appendFetchBatch(.zero)
    writer.append(
      StateQuery(checkpoint: Checkpoint(sequence: SequenceNumber(9), digest: .zero), position: 10))
    writer.beginBatch(digest: .zero, requestCount: 0)
    [0xee as UInt8].withUnsafeBytes {
      writer.appendStatePart(
        checkpoint: Checkpoint(sequence: SequenceNumber(11), digest: .zero), position: 12, next: 13, bytes: $0
      )
    }
    writer.appendMembership(14)
    #expect(
      Array(writer.bytes)
        == bytes(
          hexadecimal: "05 0000000000000003 01 00000a0b"
            + "09 0000000000000004 06 0000000000000005 0000000000000006 0000000000000007"
            + "0a 0000000000000008" + zeros + "0b" + zeros + "0c 0000000000000009" + zeros
            + "000000000000000a"
            + "0d" + zeros + "00000000" + "0e 000000000000000b" + zeros
            + "000000000000000c 000000000000000d 00000001 ee" + "0f 0000000e"))
  }

  @Test("a statement that no frame could carry is refused by the writer, which stays as it was")
  func tooLargeStatement() {
    let writer = LinkBodyWriter()
    writer.append(Suspect(view: Self.view))
    let before = Array(writer.bytes)
    let digests = [Digest](repeating: .zero, count: (64 << 20) / 32)
    let newView = NewView(
      view: View(1), membershipID: 0, viewChanges: [],
      start: Checkpoint(sequence: .zero, digest: .zero), digests: digests)
    #expect(!writer.append(SignedStatement(statement: .newView(newView), signature: .none)))
    #expect(Array(writer.bytes) == before)
  }

  @Test("a writer is empty again after removeAll, and its digest is that of its bytes")
  func reuse() {
    let writer = LinkBodyWriter(capacity: 64)
    #expect(writer.isEmpty && writer.digest() == [UInt8]().withUnsafeBytes { Digest.sha256($0) })
    for round in 0..<3 {
      for _ in 0...(10 * round) { writer.append(Suspect(view: View(rawValue: UInt64(round)))) }
      #expect(writer.byteCount == 14 * (10 * round + 1))
      #expect(writer.digest() == Digest.sha256(writer.bytes))
      #expect(writer.digest() == Digest.sha256(writer.bytes))
      writer.removeAll()
      #expect(writer.isEmpty)
    }
  }

  @Test("a body cut anywhere but between two messages is truncated")
  func truncation() {
    let body = Self.fullBody()
    let whole = Self.story(body)
    var clean: Set<Int> = []
    for count in 0..<body.count {
      let story = Self.story(Array(body[..<count]))
      if story.last?.hasPrefix("error: truncated") ?? false {
        #expect(story.dropLast().elementsEqual(whole.prefix(story.count - 1)))
      } else {
        #expect(story.elementsEqual(whole.prefix(story.count)))
        clean.insert(count)
      }
    }
    // The boundaries: nothing, and after each message but the last.
    #expect(clean.count == 16)
  }

  @Test("an unknown type, a lying count and a lying length are typed errors")
  func lies() {
    #expect(Self.story([0]) == ["error: message of unknown type 0"])
    #expect(Self.story([200, 1, 2]) == ["error: message of unknown type 200"])
    let empty = LinkBodyWriter()
    empty.begin(
      PrePrepare(view: Self.view, sequence: Self.sequence, digest: Self.digest, batch: .none), requestCount: 0
    )
    var body = Array(empty.bytes)
    #expect(Self.story(body).count == 1)
    // 2³²-1 requests.
    body.replaceSubrange(49..<53, with: [255, 255, 255, 255])
    #expect(Self.story(body) == ["error: truncated prePrepare message"])
    // A request of 2³²-1 bytes with 2³²-1 bytes of signature.
    #expect(
      Self.story([6] + [UInt8](repeating: 255, count: 8)) == ["error: truncated forward message"])
    // A batch of 2³²-1 requests, a statement and a part of a state that end after their body.
    #expect(
      Self.story([13] + [UInt8](repeating: 255, count: 36)) == ["error: truncated batch message"])
    #expect(Self.story([7, 255, 255, 255, 255]) == ["error: truncated viewChange message"])
    #expect(Self.story([8, 0, 0, 0, 2, 1]) == ["error: truncated newView message"])
    let part = [UInt8](repeating: 0, count: 56)
    #expect(Self.story([14] + part + [0, 0, 0, 2, 1]) == ["error: truncated statePart message"])
    #expect(
      Self.story([14] + part + [255, 255, 255, 255])
        == ["error: statePart message with a field that means nothing"])
    // Flags nobody has, and a client that is not there.
    var status = [UInt8](repeating: 0, count: 34)
    status[0] = 9
    status[9] = 8
    #expect(Self.story(status) == ["error: status message with a field that means nothing"])
    for accusation: [UInt8] in [[2, 0, 0, 0, 0], [0, 0, 0, 0, 1]] {
      #expect(
        Self.story([5] + [UInt8](repeating: 0, count: 8) + accusation)
          == ["error: suspect message with a field that means nothing"])
    }
    // Data that is no client's message.
    #expect(
      Self.story([6, 0, 0, 0, 2, 0, 0, 0, 0, 1, 1])
        == ["error: \(LinkError.request(.forward, .dataLength(2, frame: 10)))"])
    var data = Self.data(3)
    data[28] = 9
    #expect(
      Self.story([6, 0, 0, 0, UInt8(data.count), 0, 0, 0, 0] + data)
        == ["error: forward message with a bad request: content length 9, expected 3"])
  }

  @Test("random and mutated bodies never trap a reader", arguments: [1, 2])
  func randomBodies(seed: UInt64) {
    var generator = SeededGenerator(state: seed)
    let model = Self.fullBody()
    for round in 0..<20_000 {
      var body = round % 4 == 0 ? generator.bytes(Int.random(in: 0...100, using: &generator)) : model
      if round % 4 == 0, !body.isEmpty { body[0] = UInt8.random(in: 0...16, using: &generator) }
      if round % 4 != 0 {
        for _ in 0...2 {
          let index = Int.random(in: 0..<body.count, using: &generator)
          body[index] = UInt8.random(in: 0...255, using: &generator)
        }
        body.removeLast(Int.random(in: 0...10, using: &generator))
      }
      body.withUnsafeBytes { bytes in
        var reader = LinkBodyReader(bytes)
        var messages = 0
        loop: while true {
          switch reader.next() {
          case .end, .malformed: break loop
          case .message(let message):
            messages += 1
            if case .statement(let statement) = message {
              _ = try? StatementCoding.decode(statement.bytes, limits: StatementTests.limits)
            }
            let requests: LinkRequests
            switch message {
            case .prePrepare(let prePrepare): requests = prePrepare.requests
            case .batch(let batch): requests = batch.requests
            default: continue
            }
            var sum = 0
            for request in requests {
              sum += request.data.count + request.authenticator.count + Int(request.message.sequence & 1)
            }
            if sum > 2 * bytes.count { Issue.record("requests outside their bytes") }
          }
        }
        if messages > bytes.count { Issue.record("messages out of nothing") }
      }
    }
  }
}
