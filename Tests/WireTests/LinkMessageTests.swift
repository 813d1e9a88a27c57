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
            + "05 0000000000000003"))
  }

  @Test("a writer is empty again after removeAll, and its digest is that of its bytes")
  func reuse() {
    let writer = LinkBodyWriter(capacity: 64)
    #expect(writer.isEmpty && writer.digest() == [UInt8]().withUnsafeBytes { Digest.sha256($0) })
    for round in 0..<3 {
      for _ in 0...(10 * round) { writer.append(Suspect(view: View(rawValue: UInt64(round)))) }
      #expect(writer.byteCount == 9 * (10 * round + 1))
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
    // The boundaries: nothing, and after each of the first five messages.
    #expect(clean.count == 6)
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
      if round % 4 == 0, !body.isEmpty { body[0] = UInt8.random(in: 0...7, using: &generator) }
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
            guard case .prePrepare(let prePrepare) = message else { continue }
            var sum = 0
            for request in prePrepare.requests {
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
