// Requests signed by a client and judged by each replica, in every mode, honest and tampered with.

import Crypto
import Foundation
import Hashing
import PBFT
import Testing

@testable import Wire

@Suite("Request authentication")
struct RequestAuthenticationTests {
  static func signer(_ mode: SignatureMode, capacity: Int = 16) throws -> RequestSigner {
    try RequestSigner(
      mode: mode, secrets: testKeys.generatorSecrets, replicas: testReplicas, clientCapacity: capacity)
  }

  static func verifier(_ mode: SignatureMode, at replica: Int32 = 0, capacity: Int = 16) throws
    -> RequestVerifier
  {
    // A table as a cluster with keys of its own would have it.
    let table = mode.clientAlgorithm.map {
      ClientPublicKeys(deriving: 100...115, from: testKeys.generatorSecrets.pairs, algorithms: [$0])
    }
    let secrets = testKeys.replicaSecrets(of: ReplicaID(rawValue: replica), clients: table ?? .none)!
    return try RequestVerifier(mode: mode, secrets: secrets, replicas: testReplicas, clientCapacity: capacity)
  }

  static func verdict(
    _ verifier: RequestVerifier, _ frame: [UInt8], client: Int32? = nil,
    change: (_ data: inout [UInt8], _ authenticator: inout [UInt8]) -> Void = { _, _ in }
  ) throws -> RequestVerdict {
    try withFrame(frame) { view in
      var data = Array(view.data)
      var authenticator = Array(view.signature)
      change(&data, &authenticator)
      return data.withUnsafeBytes { data in
        authenticator.withUnsafeBytes {
          verifier.verify(
            data: data, digest: PBFT.Digest.sha256(data), authenticator: $0, client: client ?? view.client)
        }
      }
    }
  }

  @Test("an honest request is authentic at every replica", arguments: SignatureMode.allCases)
  func honestRequest(mode: SignatureMode) throws {
    let signer = try Self.signer(mode)
    for replica in 0..<4 as Range<Int32> {
      let verifier = try Self.verifier(mode, at: replica)
      for client in 100..<104 as Range<Int32> {
        let frame = requestFrame(client: client, sequence: 3, content: [1, 2, 3], signer: signer)
        #expect(try Self.verdict(verifier, frame) == .authentic)
      }
    }
  }

  @Test(
    "the signature field is as long as the mode says",
    arguments: [
      (SignatureMode.none, 0...0), (.hmac, 64...64), (.sign(.ed25519), 64...64), (.sign(.ecdsaP256), 68...72),
      (.sign(.ecdsaSecp256k1), 68...72), (.sign(.rsa1024), 128...128), (.sign(.rsa2048SHA512), 256...256),
      (.verifyOnly(.ecdsaP256), 0...0),
    ])
  func signatureLength(mode: SignatureMode, range: ClosedRange<Int>) throws {
    let signer = try Self.signer(mode)
    for sequence in 0..<20 as Range<Int32> {
      try withFrame(requestFrame(client: 100, sequence: sequence, content: [1], signer: signer)) {
        #expect(range.contains($0.signature.count))
        #expect($0.signature.count <= signer.maximumSignatureByteCount)
      }
    }
  }

  @Test(
    "other data, another client and a changed authenticator are forged",
    arguments: [
      SignatureMode.hmac, .sign(.ed25519), .sign(.ecdsaP256), .sign(.ecdsaSecp256k1), .sign(.rsa1024),
    ])
  func forgery(mode: SignatureMode) throws {
    let frame = requestFrame(client: 100, content: [1, 2, 3], signer: try Self.signer(mode))
    let verifier = try Self.verifier(mode)
    #expect(try Self.verdict(verifier, frame) { data, _ in data[31] ^= 1 } == .forged)
    // All clients share one RSA pair: what one of them has signed, another one may have.
    #expect(
      try Self.verdict(verifier, frame, client: 101) == (mode == .sign(.rsa1024) ? .authentic : .forged))
    #expect(try Self.verdict(verifier, frame) { _, tag in tag[10] ^= 1 } == .forged)
    #expect(try Self.verdict(verifier, frame) { _, tag in tag = [] } == .unsigned)
    #expect(
      try Self.verdict(verifier, frame) { _, tag in tag += [UInt8](repeating: 0, count: 20) } == .wrongFormat)
    #expect(try Self.verdict(verifier, frame) { _, tag in tag.removeLast() } == .wrongFormat)
    #expect(try Self.verdict(verifier, frame) == .authentic)
  }

  @Test("a tag is good at its own replica only", arguments: 0..<4)
  func tagOfOtherReplica(position: Int) throws {
    let frame = requestFrame(client: 100, content: [1], signer: try Self.signer(.hmac))
    for replica in 0..<4 {
      let verdict = try Self.verdict(try Self.verifier(.hmac, at: Int32(replica)), frame) { _, tags in
        tags[16 * position] ^= 0x80
      }
      #expect(verdict == (replica == position ? .forged : .authentic))
    }
  }

  @Test("tags are HMAC-SHA256 under HMAC(M_r, \"client\" ‖ id) over SHA-256 of the data, cut to 16 bytes")
  func tagsByAnotherImplementation() throws {
    try withFrame(requestFrame(client: 0x0102_0304, content: [9], signer: try Self.signer(.hmac))) { view in
      let digest = Data(SHA256.hash(data: Data(view.data)))
      var expected = Data()
      for replica in testReplicas {
        let root = testKeys.generatorSecrets.replicaSecrets[replica]!.bytes.withUnsafeBytes {
          SymmetricKey(data: $0)
        }
        let key = HMAC<SHA256>.authenticationCode(for: Data("client".utf8) + [1, 2, 3, 4], using: root)
        expected += HMAC<SHA256>.authenticationCode(for: digest, using: SymmetricKey(data: Data(key))).prefix(
          16)
      }
      #expect(Data(view.signature) == expected)
    }
  }

  @Test("a signature verifies under the client's key with the library's own functions")
  func signaturesByAnotherPath() throws {
    try withFrame(requestFrame(client: 100, content: [9], signer: try Self.signer(.sign(.ed25519)))) { view in
      guard case .ed25519(let key) = ClientKeyPair(.ed25519, client: 100, secret: testKeys.clientSecret)
      else {
        return
      }
      #expect(key.publicKey.isValidSignature(Data(view.signature), for: Data(view.data)))
    }
    try withFrame(requestFrame(client: 100, content: [9], signer: try Self.signer(.sign(.ecdsaP256)))) {
      view in
      guard case .ecdsaP256(let key) = ClientKeyPair(.ecdsaP256, client: 100, secret: testKeys.clientSecret)
      else {
        return
      }
      let signature = try P256.Signing.ECDSASignature(derRepresentation: Data(view.signature))
      #expect(key.publicKey.isValidSignature(signature, for: Data(view.data)))
    }
  }

  @Test("mode none refuses a signed request, as BFT-SMaRt does")
  func signedInModeNone() throws {
    let frame = requestFrame(client: 100, content: [1], signer: try Self.signer(.sign(.ed25519)))
    #expect(try Self.verdict(try Self.verifier(.none), frame) == .unexpectedSignature)
  }

  @Test("verify-only accepts a request whatever it carries", arguments: SignatureAlgorithm.allCases)
  func verifyOnly(algorithm: SignatureAlgorithm) throws {
    let verifier = try Self.verifier(.verifyOnly(algorithm))
    let frame = requestFrame(client: 100, content: [1], signer: try Self.signer(.sign(.ed25519)))
    #expect(try Self.verdict(verifier, frame) == .authentic)
    #expect(try Self.verdict(verifier, frame) { _, signature in signature = [1, 2] } == .authentic)
  }

  @Test("a client without a public key is unknown", arguments: SignatureAlgorithm.allCases)
  func unknownClient(algorithm: SignatureAlgorithm) throws {
    let signer = try Self.signer(.sign(algorithm))
    let verifier = try Self.verifier(.sign(algorithm))
    for client in [99, 116, -1, Int32.max] {
      let frame = requestFrame(client: client, content: [1], signer: signer)
      #expect(try Self.verdict(verifier, frame) == .unknownClient)
      #expect(try Self.verdict(verifier, frame) == .unknownClient)
    }
  }

  @Test("with defaultkeys every client is known", arguments: SignatureAlgorithm.allCases)
  func defaultKeys(algorithm: SignatureAlgorithm) throws {
    let mode = SignatureMode.sign(algorithm)
    let verifier = try RequestVerifier(
      mode: mode,
      secrets: knownKeys.replicaSecrets(
        of: testReplicas[2], clients: knownKeys.clientPublicKeys(0...0, mode: mode))!,
      replicas: testReplicas)
    let signer = try RequestSigner(
      mode: mode, secrets: knownKeys.generatorSecrets, replicas: testReplicas, clientCapacity: 1)
    let frame = requestFrame(client: -77, content: [1], signer: signer)
    #expect(try Self.verdict(verifier, frame) == .authentic)
    #expect(try Self.verdict(verifier, frame) { data, _ in data[29] ^= 1 } == .forged)
  }

  @Test(
    "a table of one slot is slower, not wrong",
    arguments: [SignatureMode.hmac, .sign(.ed25519), .sign(.ecdsaP256), .sign(.ecdsaSecp256k1)])
  func smallCache(mode: SignatureMode) throws {
    let signer = try Self.signer(mode, capacity: 1)
    let verifier = try Self.verifier(mode, capacity: 1)
    for client in [100, 101, 100, 115, 101] as [Int32] {
      signer.prepare(client: client)
      let frame = requestFrame(client: client, content: [1], signer: signer)
      #expect(try Self.verdict(verifier, frame) == .authentic)
      #expect(try Self.verdict(verifier, frame) { data, _ in data[0] ^= 1 } == .forged)
    }
  }

  @Test("a public key that is no point of the curve makes its client unknown")
  func badPublicKey() throws {
    for algorithm in [SignatureAlgorithm.ecdsaP256, .ecdsaSecp256k1] {
      let table = ClientPublicKeys(clients: 100...100, tables: [algorithm: [UInt8](repeating: 1, count: 64)])
      let secrets = testKeys.replicaSecrets(of: testReplicas[0], clients: table)!
      let verifier = try RequestVerifier(mode: .sign(algorithm), secrets: secrets, replicas: testReplicas)
      let frame = requestFrame(client: 100, content: [1], signer: try Self.signer(.sign(algorithm)))
      #expect(try Self.verdict(verifier, frame) == .unknownClient)
    }
  }

  @Test("a signer needs M_r of each replica in hmac mode, a verifier its own place in the membership")
  func missingSecret() throws {
    let strangers = [ReplicaID(rawValue: 0), ReplicaID(rawValue: 8)]
    #expect(throws: MissingReplicaSecret(replica: strangers[1])) {
      try RequestSigner(
        mode: .hmac, secrets: testKeys.generatorSecrets, replicas: strangers, clientCapacity: 1)
    }
    #expect(throws: MissingReplicaSecret(replica: testReplicas[1])) {
      try RequestVerifier(mode: .none, secrets: secrets(of: 1), replicas: strangers)
    }
  }

  @Test(
    "a reply's tag is checked in hmac mode, and is nothing in all others", arguments: SignatureMode.allCases)
  func replyTag(mode: SignatureMode) throws {
    let signer = try Self.signer(mode)
    let verifier = try Self.verifier(mode, at: 2)
    let header = ClientFrameHeader(
      sender: 2, membershipID: 0, kind: 0, session: 1, sequence: 2, operationID: 2)
    let frame = written(ClientFrame.byteCount(content: 3, signature: verifier.replyTagByteCount)) { output in
      [7, 8, 9 as UInt8].withUnsafeBytes { _ = ClientFrame.encode(into: output, header: header, content: $0) }
      return verifier.tagReply(output, to: 100)
    }
    try withFrame(frame) { view in
      #expect(view.signature.count == (mode == .hmac ? 16 : 0))
      func isAuthentic(
        _ data: UnsafeRawBufferPointer, _ tag: UnsafeRawBufferPointer, client: Int32 = 100, position: Int = 2
      ) -> Bool {
        signer.isAuthenticReply(data: data, tag: tag, client: client, position: position)
      }
      #expect(isAuthentic(view.data, view.signature))
      guard mode == .hmac else { return }
      #expect(!isAuthentic(view.data, view.signature, client: 101))
      #expect(!isAuthentic(view.data, view.signature, position: 1))
      #expect(!isAuthentic(view.data, view.signature, position: 4))
      #expect(!isAuthentic(view.data, view.signature, position: -1))
      #expect(!isAuthentic(view.data, UnsafeRawBufferPointer(rebasing: view.signature[..<15])))
      #expect(!isAuthentic(view.data, UnsafeRawBufferPointer(start: nil, count: 0)))
      #expect(!isAuthentic(UnsafeRawBufferPointer(rebasing: view.data[1...]), view.signature))
    }
  }

  @Test("a key kept as two midstates makes the tags of the whole key")
  func midstates() {
    var generator = SeededGenerator(state: 5)
    for _ in 0..<200 {
      let key = generator.bytes(32).withUnsafeBytes { PBFT.Digest(bytes: $0) }
      let digest = generator.bytes(32).withUnsafeBytes { PBFT.Digest(bytes: $0) }
      #expect(HMACMidstate(key).tag(of: digest) == HMACKey(key).tag { $0.update(digest) })
    }
    #expect(MemoryLayout<HMACMidstate>.size == 64)
  }
}

@Suite("DER of ECDSA signatures")
struct ECDSASignatureEncodingTests {
  static func encode(_ raw: [UInt8]) -> [UInt8] {
    written(ECDSASignatureEncoding.maximumByteCount) { output in
      raw.withUnsafeBytes { ECDSASignatureEncoding.encode(raw: $0, into: output) }
    }
  }

  static func decode(_ der: [UInt8]) -> [UInt8]? {
    var raw = [UInt8](repeating: 0xaa, count: 64)
    let isDER = der.withUnsafeBytes { der in
      raw.withUnsafeMutableBytes { ECDSASignatureEncoding.decode(der, into: $0) }
    }
    return isDER ? raw : nil
  }

  @Test("a signature recorded from Java decodes and encodes to the same bytes")
  func javaSignature() throws {
    try withFrame(try golden("ordered_sig.request")) { view in
      let raw = try #require(Self.decode(Array(view.signature)))
      #expect(Self.encode(raw) == Array(view.signature))
    }
  }

  @Test("the encoding is the one of the library, for integers of every length")
  func sameAsLibrary() throws {
    var generator = SeededGenerator(state: 6)
    for round in 0..<500 {
      var raw = generator.bytes(64)
      for index in 0..<(round % 32) { raw[index] = 0 }
      for index in 0..<(round / 16) where index < 31 { raw[32 + index] = 0 }
      let library = try P256.Signing.ECDSASignature(rawRepresentation: raw).derRepresentation
      #expect(Self.encode(raw) == Array(library))
      #expect(Self.decode(Array(library)) == raw)
    }
    #expect(Self.encode([UInt8](repeating: 0, count: 64)) == [0x30, 6, 2, 1, 0, 2, 1, 0])
    #expect(Self.encode([UInt8](repeating: 255, count: 64)).count == ECDSASignatureEncoding.maximumByteCount)
  }

  @Test(
    "another encoding of the same integers, or none, is refused",
    arguments: [
      "", "30", "3000", "30060201010201", "300602010102010100", "310602010102 0101", "3006030101020101",
      "3006020101030101", "30070201010201 01", "300702020001020101", "3006020181020101", "3006020100020181",
      "30080200020101020101", "3006020001020101", "300602ff01020101", "308106020101020101",
      "302602210101010101010101010101010101010101010101010101010101010101010101010101020101",
    ])
  func refused(text: String) {
    #expect(Self.decode(bytes(hexadecimal: text)) == nil)
  }

  @Test("random bytes never trap the decoder, and what it takes it gives back")
  func randomBytes() {
    var generator = SeededGenerator(state: 7)
    let model = Self.encode(generator.bytes(64))
    for round in 0..<50_000 {
      var der = round % 2 == 0 ? generator.bytes(Int.random(in: 0...80, using: &generator)) : model
      if round % 2 == 1 {
        der[Int.random(in: 0..<der.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
      }
      if let raw = Self.decode(der), Self.encode(raw) != der { Issue.record("two encodings: \(der)") }
    }
  }
}
