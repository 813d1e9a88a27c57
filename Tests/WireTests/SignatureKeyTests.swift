// Keys and signatures of BFT-SMaRt: recorded frames, signatures made by OpenSSL, Java's encodings, and what is none of them.

import Foundation
import Hashing
import PBFT
import Testing

@testable import Wire

@Suite("BFT-SMaRt's keys and signatures")
struct SignatureKeyTests {
  /// Data and signature of a recorded request.
  private func signed(_ name: String) throws -> (data: [UInt8], signature: [UInt8]) {
    try withFrame(golden(name)) { (Array($0.data), Array($0.signature)) }
  }

  private func verdict(
    _ algorithm: SignatureAlgorithm, _ key: [UInt8], data: [UInt8], signature: [UInt8]
  ) throws -> RequestVerdict {
    let key = try #require(key.withUnsafeBytes { VerifyingKey(algorithm, $0) })
    return data.withUnsafeBytes { data in
      signature.withUnsafeBytes { key.verify(data: data, digest: .sha256(data), signature: $0) }
    }
  }

  private func builtIn(_ kind: KeyKind, _ dialect: ClientDialect = .master) throws -> ClientKeyPair {
    try #require(BuiltInKeys.pair(kind, of: dialect))
  }

  @Test(
    "a request that Java signed verifies under the built-in public key of the ECDSA loader",
    arguments: ["captured-ordered_sig", "ordered_sig.request"])
  func recorded(name: String) throws {
    let request = try signed(name)
    let key = try KeyEncoding.publicKey(golden("default-ecdsa-secp256k1.spki"))
    #expect(key.kind == .ecdsaSecp256k1)
    #expect(
      try verdict(.ecdsaSecp256k1, key.bytes, data: request.data, signature: request.signature) == .authentic)
    var other = request.data
    other[20] ^= 1
    #expect(try verdict(.ecdsaSecp256k1, key.bytes, data: other, signature: request.signature) == .forged)
    #expect(
      try verdict(.ecdsaSecp256k1, key.bytes, data: request.data, signature: [0x30, 2, 5, 0]) == .wrongFormat)
  }

  @Test("the same signature with s in the upper half, as Java writes half of them, is as good")
  func upperHalf() throws {
    let request = try signed("ordered_sig.request")
    let other = bytes(
      hexadecimal: "30450220034f07ac6122467dc3c2b64ed3fcd27ed4e01c2bb416fc804ce8e0a2abca90c4"
        + "022100e82e8df8bb6ffda78519d1e2c0eef41e01ed19ecf63918650a1869b443ff3571")
    #expect(other != request.signature)
    let key = [UInt8](try builtIn(.ecdsaSecp256k1).publicKey)
    #expect(try verdict(.ecdsaSecp256k1, key, data: request.data, signature: other) == .authentic)
  }

  @Test("the built-in pair of the ECDSA loader is the recorded one, and encodes to the same bytes")
  func builtInPair() throws {
    let pair = try KeyEncoding.privateKey(golden("default-ecdsa-secp256k1.pkcs8"))
    #expect(try pair.publicKey == builtIn(.ecdsaSecp256k1).publicKey)
    #expect(KeyEncoding.der(of: pair).privateKey == (try golden("default-ecdsa-secp256k1.pkcs8")))
    #expect(KeyEncoding.der(of: pair).publicKey == (try golden("default-ecdsa-secp256k1.spki")))
  }

  @Test(
    "a signature that OpenSSL made with a built-in key verifies",
    arguments: [
      (SignatureAlgorithm.ecdsaP256, ClientDialect.master), (.rsa1024, .master), (.rsa1024SHA512, .master),
      (.rsa2048, .master), (.rsa2048SHA512, .v12),
    ])
  func openSSL(algorithm: SignatureAlgorithm, dialect: ClientDialect) throws {
    let data = try signed("ordered_sig.request").data
    let signature = try golden("openssl.\(algorithm.rawValue)")
    let key = [UInt8](try builtIn(algorithm.kind, dialect).publicKey)
    #expect(try verdict(algorithm, key, data: data, signature: signature) == .authentic)
    #expect(try verdict(algorithm, key, data: data + [0], signature: signature) == .forged)
    #expect(try verdict(algorithm, key, data: data, signature: signature.dropLast()) == .wrongFormat)
  }

  @Test(
    "RSA has one signature per key, hash and data: ours is OpenSSL's",
    arguments: [
      (SignatureAlgorithm.rsa1024, ClientDialect.master), (.rsa1024SHA512, .master), (.rsa2048, .master),
      (.rsa2048SHA512, .v12),
    ])
  func sameAsOpenSSL(algorithm: SignatureAlgorithm, dialect: ClientDialect) throws {
    let signature = SigningKey(algorithm, try builtIn(algorithm.kind, dialect))
      .signature(of: try signed("ordered_sig.request").data)
    #expect(try signature == golden("openssl.\(algorithm.rawValue)"))
  }

  @Test("a hash of another length does not pass for the one of the mode")
  func otherHash() throws {
    let data = try signed("ordered_sig.request").data
    let key = [UInt8](try builtIn(.rsa(bits: 1024)).publicKey)
    #expect(try verdict(.rsa1024, key, data: data, signature: golden("openssl.rsa-1024-sha512")) == .forged)
    #expect(try verdict(.rsa1024SHA512, key, data: data, signature: golden("openssl.rsa-1024")) == .forged)
    // A key of another size is no key of the algorithm.
    #expect(key.withUnsafeBytes { VerifyingKey(.rsa2048, $0) } == nil)
  }

  @Test("what one pair signs, its public key verifies, and no other", arguments: SignatureAlgorithm.allCases)
  func signAndVerify(algorithm: SignatureAlgorithm) throws {
    let pair = ClientKeyPair.generate(algorithm.kind)
    let other = ClientKeyPair.generate(algorithm.kind)
    let signer = SigningKey(algorithm, pair)
    for length in [0, 1, 33, 5_000] {
      let data = [UInt8](repeating: 3, count: length)
      let signature = signer.signature(of: data)
      #expect(signature.count <= algorithm.maximumSignatureByteCount)
      #expect(try verdict(algorithm, [UInt8](pair.publicKey), data: data, signature: signature) == .authentic)
      #expect(try verdict(algorithm, [UInt8](other.publicKey), data: data, signature: signature) == .forged)
    }
  }

  @Test(
    "a key reads back from Java's encodings",
    arguments: [
      KeyKind.ecdsaP256, .ecdsaSecp256k1, .rsa(bits: 1024), .rsa(bits: 2048),
    ])
  func encodings(kind: KeyKind) throws {
    let pair = ClientKeyPair.generate(kind)
    let der = KeyEncoding.der(of: pair)
    let publicKey = try KeyEncoding.publicKey(der.publicKey)
    #expect(publicKey.kind == kind && publicKey.bytes == [UInt8](pair.publicKey))
    let read = try KeyEncoding.privateKey(der.privateKey)
    #expect(read.kind == kind && read.publicKey == pair.publicKey)
    // Cut, lengthened, or of the other sort, it is no key; whatever single byte changes, nothing traps.
    for bytes in [[], Array(der.publicKey.dropLast()), der.publicKey + [0], der.privateKey] {
      #expect(throws: KeyEncodingError.self) { try KeyEncoding.publicKey(bytes) }
    }
    for bytes in [[], Array(der.privateKey.dropLast()), der.publicKey] {
      #expect(throws: KeyEncodingError.self) { try KeyEncoding.privateKey(bytes) }
    }
    for index in der.publicKey.indices {
      var changed = der.publicKey
      changed[index] ^= 0x41
      _ = try? KeyEncoding.publicKey(changed)
    }
    for index in der.privateKey.indices.prefix(160) {
      var changed = der.privateKey
      changed[index] ^= 0x41
      _ = try? KeyEncoding.privateKey(changed)
    }
  }

  @Test("PKCS #8 with the public key inside, as OpenSSL writes it, is read")
  func publicKeyInside() throws {
    let base64 =
      "MIGTAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBHkwdwIBAQQgTnHcXa7szRTx5k6r2oNuG4aAFs1UyVEbsI9H3tLVSqigCgYIKoZIzj0D"
      + "AQehRANCAATe0MF+aL4zTbQvwM5ipCaTSNN1kBxOxvgMj+VCTXL+6BCoUOWwT67/ECMj5s7jiTiQC/bac2edbDqKPkLYn76Y"
    let pair = try KeyEncoding.privateKey([UInt8](try #require(Data(base64Encoded: base64))))
    #expect(pair.kind == .ecdsaP256 && pair.publicKey.prefix(4) == Data([0xde, 0xd0, 0xc1, 0x7e]))
  }

  @Test("a secp256k1 scalar lies between 0 and the curve's order, and a point on the curve")
  func scalars() {
    func isKey(_ text: String) -> Bool {
      bytes(hexadecimal: text).withUnsafeBytes { Secp256k1PrivateKey(scalar: $0) } != nil
    }
    let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd03641"
    #expect(isKey(order + "40") && !isKey(order + "41") && !isKey(String(repeating: "0", count: 64)))
    #expect(
      [UInt8](repeating: 1, count: 64).withUnsafeBytes { Secp256k1PublicKey(rawRepresentation: $0) } == nil)
    #expect(
      [UInt8](repeating: 1, count: 63).withUnsafeBytes { Secp256k1PublicKey(rawRepresentation: $0) } == nil)
  }

  @Test("a private key prints nothing of itself", arguments: [KeyKind.ecdsaSecp256k1, .rsa(bits: 1024)])
  func silence(kind: KeyKind) {
    switch ClientKeyPair.generate(kind) {
    case .ecdsaSecp256k1(let key): #expect("\(key)" == "<secp256k1 private key>")
    case .rsa(let key): #expect("\(key)" == "<RSA private key>")
    default: Issue.record("another kind")
    }
  }
}
