// Replica links: hello, keys, counters and tags.

import Foundation
import Hashing
import PBFT
import Testing
import Wire

@Suite("Replica links")
struct LinkFrameTests {
  /// Both ends of a link between two replicas, after the hellos.
  struct Ends {
    var sealer: LinkSealer
    var opener: LinkOpener

    /// The direction from replica 0 to replica 1.
    init(authentication: ReplicaAuthentication = .hmac) throws {
      let hellos = [0, 1].map { LinkFrameTests.hello($0, nonce: UInt8($0), authentication) }
      let keys = [
        try LinkKeys(secrets: secrets(of: 0), own: hellos[0], peer: hellos[1]),
        try LinkKeys(secrets: secrets(of: 1), own: hellos[1], peer: hellos[0]),
      ]
      sealer = LinkSealer(keys: authentication == .hmac ? keys[0] : nil)
      opener = LinkOpener(keys: authentication == .hmac ? keys[1] : nil)
    }

    mutating func seal(_ body: [UInt8]) -> [UInt8] {
      written(sealer.byteCount(body: body.count)) { output in
        body.withUnsafeBytes { sealer.seal(bytes: $0, into: output) }
      }
    }

    /// The body of `frame`, or the error, or nil while it is incomplete.
    mutating func open(_ frame: [UInt8]) -> Result<[UInt8], LinkError>? {
      frame.withUnsafeBytes { bytes in
        switch opener.open(bytes) {
        case .incomplete(let needed):
          #expect(needed > frame.count)
          return nil
        case .body(let body, let count):
          #expect(count == frame.count)
          return .success(Array(body))
        case .malformed(let error):
          return .failure(error)
        }
      }
    }
  }

  static func hello(
    _ replica: Int32, nonce: UInt8, _ authentication: ReplicaAuthentication = .hmac
  ) -> LinkHello {
    LinkHello(
      replica: ReplicaID(rawValue: replica), cluster: testKeys.cluster, membershipID: 0,
      nonce: [nonce].withUnsafeBytes { Digest.sha256($0) }, authentication: authentication)
  }

  @Test("what one end seals the other opens, frame after frame", arguments: ReplicaAuthentication.allCases)
  func roundTrip(authentication: ReplicaAuthentication) throws {
    var ends = try Ends(authentication: authentication)
    for count in [0, 1, 100, 5000] {
      let body = [UInt8](repeating: UInt8(count & 0xff), count: count)
      let frame = ends.seal(body)
      #expect(frame.count == LinkFrame.byteCount(body: count, authentication: authentication))
      #expect(ends.open(frame) == .success(body))
    }
    #expect(ends.sealer.counter == 4 && ends.opener.expectedCounter == 4)
  }

  @Test("a body from the writer is sealed with the same bytes as the body itself")
  func sealedWriter() throws {
    let writer = LinkBodyWriter()
    writer.append(Suspect(view: View(rawValue: 3)))
    var first = try Ends()
    var second = try Ends()
    let frame = written(1000) { first.sealer.seal(writer, into: $0) }
    #expect(frame == second.seal(Array(writer.bytes)))
  }

  @Test("a changed bit anywhere in a frame is noticed")
  func changedBit() throws {
    var ends = try Ends()
    let frame = ends.seal([1, 2, 3, 4, 5])
    for index in frame.indices {
      for bit in 0..<8 {
        var changed = frame
        changed[index] ^= 1 << bit
        var receiver = ends
        if case .success = receiver.open(changed) {
          Issue.record("bit \(bit) of byte \(index) is not noticed")
        }
      }
    }
    #expect(ends.open(frame) == .success([1, 2, 3, 4, 5]))
  }

  @Test("a replayed, reordered or lost frame breaks the counter", arguments: ReplicaAuthentication.allCases)
  func brokenCounter(authentication: ReplicaAuthentication) throws {
    var ends = try Ends(authentication: authentication)
    let frames = (0..<3).map { ends.seal([$0]) }
    #expect(ends.open(frames[1]) == .failure(.counter(1, expected: 0)))
    #expect(ends.open(frames[0]) == .success([0]))
    #expect(ends.open(frames[0]) == .failure(.counter(0, expected: 1)))
    #expect(ends.open(frames[2]) == .failure(.counter(2, expected: 1)))
    #expect(ends.open(frames[1]) == .success([1]))
  }

  @Test("every prefix of a frame waits for more")
  func prefixes() throws {
    var ends = try Ends()
    let frame = ends.seal([UInt8](repeating: 1, count: 20))
    for count in 0..<frame.count { #expect(ends.open(Array(frame[..<count])) == nil) }
  }

  @Test(
    "a length too small for counter and tag, or above 64 MiB, is refused at once",
    arguments: [0, 23, (64 << 20) + 1, .max] as [UInt32])
  func badLength(length: UInt32) throws {
    var ends = try Ends()
    #expect(ends.open(withUnsafeBytes(of: length.bigEndian) { Array($0) }) == .failure(.frameLength(length)))
  }

  @Test("frames of another connection, direction or cluster do not open")
  func otherKeys() throws {
    let zero = Self.hello(0, nonce: 0)
    let one = Self.hello(1, nonce: 1)
    func frame(_ keys: LinkKeys) -> [UInt8] {
      var sealer = LinkSealer(keys: keys)
      return written(100) { output in [7 as UInt8].withUnsafeBytes { sealer.seal(bytes: $0, into: output) } }
    }
    func opens(_ frame: [UInt8], _ keys: LinkKeys) -> Bool {
      var opener = LinkOpener(keys: keys)
      return frame.withUnsafeBytes { if case .body = opener.open($0) { true } else { false } }
    }
    let right = try LinkKeys(secrets: secrets(of: 1), own: one, peer: zero)
    #expect(opens(frame(try LinkKeys(secrets: secrets(of: 0), own: zero, peer: one)), right))
    // An earlier connection of the same two.
    let earlier = Self.hello(0, nonce: 9)
    #expect(!opens(frame(try LinkKeys(secrets: secrets(of: 0), own: earlier, peer: one)), right))
    // Its own frames sent back.
    #expect(!opens(frame(right), right))
    // Another replica that says it is replica 0.
    #expect(
      !opens(frame(try LinkKeys(secrets: secrets(of: 2), own: Self.hello(2, nonce: 0), peer: one)), right))
    // A stranger with a cluster id it has overheard.
    let stranger = ClusterKeys.generate(replicas: testReplicas).replicaSecrets(
      of: testReplicas[0], clients: .none)!
    #expect(!opens(frame(try LinkKeys(secrets: stranger, own: zero, peer: one)), right))
  }

  @Test("a hello survives its bytes, and every prefix of it waits")
  func helloRoundTrip() throws {
    let hello = LinkHello(
      replica: ReplicaID(rawValue: 3), cluster: .random(), membershipID: 5, authentication: .none)
    let encoded = written(LinkHello.byteCount) { output in
      hello.encode(into: output)
      return LinkHello.byteCount
    }
    #expect(try encoded.withUnsafeBytes { try LinkHello.decode($0) } == hello)
    for count in 0..<encoded.count {
      #expect(try encoded[..<count].withUnsafeBytes { try LinkHello.decode($0) } == nil)
    }
  }

  @Test("nonces are not repeated")
  func freshNonces() {
    let nonces = (0..<100).map { _ in
      LinkHello(replica: testReplicas[0], cluster: testKeys.cluster, membershipID: 0, authentication: .hmac)
        .nonce
    }
    #expect(Set(nonces).count == 100)
  }

  @Test(
    "a stranger's first bytes are refused",
    arguments: [
      ([UInt8]("GET / HTTP/1.1".utf8), LinkError.helloMark(0x4745_5420)),
      ([0x4d, 0x53, 0x54, 0x52, 0, 1], LinkError.helloVersion(1)),
      (
        [0x4d, 0x53, 0x54, 0x52, 0, 2, 9] + [UInt8](repeating: 0, count: 57), LinkError.helloAuthentication(9)
      ),
    ] as [([UInt8], LinkError)])
  func strangersHello(bytes: [UInt8], error: LinkError) {
    #expect(throws: error) { try bytes.withUnsafeBytes { try LinkHello.decode($0) } }
  }

  @Test("a hello is checked against ours and against the replica we meant")
  func helloCheck() throws {
    let own = Self.hello(0, nonce: 0)
    let expected = testReplicas[1]
    try own.check(from: Self.hello(1, nonce: 1), expected: expected)
    try own.check(from: Self.hello(3, nonce: 1), expected: nil)
    #expect(throws: LinkError.helloReplica(2)) {
      try own.check(from: Self.hello(2, nonce: 1), expected: expected)
    }
    #expect(throws: LinkError.helloReplica(0)) { try own.check(from: own, expected: nil) }
    var peer = Self.hello(1, nonce: 1)
    peer.membershipID = 4
    // One of the two has to hear of the newer membership.
    #expect(throws: Never.self) { try own.check(from: peer, expected: nil) }
    peer.cluster = .random()
    #expect(throws: LinkError.helloCluster) { try own.check(from: peer, expected: nil) }
    #expect(throws: LinkError.helloAuthentication(0)) {
      try own.check(from: Self.hello(1, nonce: 1, .none), expected: nil)
    }
    #expect(throws: LinkError.helloReplica(9)) {
      try LinkKeys(secrets: secrets(of: 0), own: own, peer: Self.hello(9, nonce: 1))
    }
  }

  @Test("a peer whose public key is of small order gets no keys")
  func smallOrder() throws {
    let zero = ReplicaPublicKeys(
      replica: testReplicas[1], signing: Data(count: 32), agreement: Data(count: 32))
    let own = secrets(of: 0)
    let poisoned = ReplicaSecrets(
      replica: own.replica, cluster: own.cluster, signingKey: own.signingKey, agreementKey: own.agreementKey,
      clientSecret: own.clientSecret, replicas: [zero], clients: .none)
    #expect(throws: LinkError.keyAgreement) {
      try LinkKeys(secrets: poisoned, own: Self.hello(0, nonce: 0), peer: Self.hello(1, nonce: 1))
    }
  }

  @Test("random bytes and mutated frames never trap an opener", arguments: ReplicaAuthentication.allCases)
  func randomBytes(authentication: ReplicaAuthentication) throws {
    var generator = SeededGenerator(state: 3)
    var ends = try Ends(authentication: authentication)
    let frame = ends.seal(generator.bytes(30))
    for round in 0..<50_000 {
      var bytes = round % 2 == 0 ? generator.bytes(Int.random(in: 0...60, using: &generator)) : frame
      if round % 2 == 1 {
        bytes[Int.random(in: 0..<12, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
        bytes.removeLast(Int.random(in: 0...20, using: &generator))
      }
      var receiver = ends.opener
      bytes.withUnsafeBytes { bytes in
        if case .body(let body, let count) = receiver.open(bytes), count > bytes.count || body.count >= count
        {
          Issue.record("a body outside its bytes")
        }
        _ = try? LinkHello.decode(bytes)
      }
    }
  }

  @Test("every error says something")
  func descriptions() {
    let errors: [LinkError] = [
      .frameLength(1), .counter(1, expected: 2), .tag, .messageType(9), .truncated(.commit),
      .request(.forward, .frameLength(1)), .helloMark(1), .helloMark(0x1503_0100),
      .helloCertificate(3, named: 2), .helloVersion(2), .helloCluster,
      .field(.status), .statement(.tooMany), .helloReplica(3), .helloAuthentication(4), .keyAgreement,
    ]
    #expect(Set(errors.map(\.description)).count == errors.count)
  }
}
