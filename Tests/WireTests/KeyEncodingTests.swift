// Keys in Java's encodings that are none: each way in which the bytes can be wrong has its own words.

import Foundation
import PBFT
import Testing

@testable import Wire

/// Elements of DER, as short as these are.
private enum DER {
  static func element(_ tag: DERReader.Tag, _ content: [UInt8]) -> [UInt8] {
    [tag.rawValue, UInt8(content.count)] + content
  }

  static func sequence(_ elements: [UInt8]...) -> [UInt8] { element(.sequence, Array(elements.joined())) }

  static let ecPublicKey = element(.objectIdentifier, [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01])
  static let p256 = element(.objectIdentifier, [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07])
  static let rsaEncryption = element(
    .objectIdentifier, [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01])
  static let ed25519 = element(.objectIdentifier, [0x2b, 0x65, 0x70])
  static let zero = element(.integer, [0])
}

@Suite("Keys in Java's encodings that are none")
struct KeyEncodingTests {
  @Test(
    "a public key says what it is instead",
    arguments: [
      (DER.element(.integer, [1]), "bytes that are no DER"),
      (DER.sequence(DER.zero), "something other than SubjectPublicKeyInfo"),
      (
        DER.sequence(DER.sequence(DER.ecPublicKey, DER.p256), DER.element(.octetString, [0])),
        "something other than SubjectPublicKeyInfo"
      ),
      (
        DER.sequence(DER.sequence(DER.ecPublicKey, DER.p256), DER.element(.bitString, [0]), DER.zero),
        "something other than SubjectPublicKeyInfo"
      ),
      (DER.sequence(DER.sequence(DER.zero), DER.element(.bitString, [0])), "bytes that are no DER"),
      (
        DER.sequence(DER.sequence(DER.ed25519), DER.element(.bitString, [0])), "a key of another algorithm"
      ),
      (DER.sequence(DER.sequence(DER.ecPublicKey), DER.element(.bitString, [0])), "a curve without a name"),
      (
        DER.sequence(DER.sequence(DER.ecPublicKey, DER.ed25519), DER.element(.bitString, [0])),
        "a key on another curve"
      ),
      (
        DER.sequence(
          DER.sequence(DER.ecPublicKey, DER.p256),
          DER.element(.bitString, [0, 2] + [UInt8](repeating: 1, count: 32))),
        "a point that is not uncompressed"
      ),
      (
        DER.sequence(
          DER.sequence(DER.ecPublicKey, DER.p256),
          DER.element(.bitString, [0, 4] + [UInt8](repeating: 1, count: 64))),
        "a point that is not on the curve"
      ),
      (
        DER.sequence(DER.sequence(DER.rsaEncryption), DER.element(.bitString, [0])),
        "an RSA key that is not of 1024 or 2048 bits"
      ),
    ] as [([UInt8], String)])
  func publicKeys(der: [UInt8], found: String) {
    let error = #expect(throws: KeyEncodingError.self) { try KeyEncoding.publicKey(der) }
    #expect(error?.found == found)
  }

  @Test(
    "a private key says what it is instead",
    arguments: [
      (DER.element(.integer, [1]), "bytes that are no DER"),
      (DER.sequence(DER.zero), "something other than PKCS #8"),
      (DER.sequence(DER.zero, DER.sequence(DER.ecPublicKey, DER.p256)), "something other than PKCS #8"),
      (
        DER.sequence(
          DER.zero, DER.sequence(DER.ecPublicKey, DER.p256), DER.element(.octetString, DER.zero)),
        "PKCS #8 without an EC private key"
      ),
      (
        DER.sequence(
          DER.zero, DER.sequence(DER.ecPublicKey, DER.p256),
          DER.element(
            .octetString,
            DER.sequence(DER.zero, DER.element(.octetString, [UInt8](repeating: 0, count: 32))))),
        "a number that is no private key of the curve"
      ),
      (
        DER.sequence(
          DER.zero, DER.sequence(DER.ecPublicKey, DER.p256),
          DER.element(
            .octetString,
            DER.sequence(DER.zero, DER.element(.octetString, [UInt8](repeating: 1, count: 31))))),
        "a number that is no private key of the curve"
      ),
      (
        DER.sequence(DER.zero, DER.sequence(DER.ed25519), DER.element(.octetString, [])),
        "a key of another algorithm"
      ),
      (
        DER.sequence(DER.zero, DER.sequence(DER.rsaEncryption), DER.element(.octetString, [])),
        "an RSA key that is not of 1024 or 2048 bits"
      ),
    ] as [([UInt8], String)])
  func privateKeys(der: [UInt8], found: String) {
    let error = #expect(throws: KeyEncodingError.self) { try KeyEncoding.privateKey(der) }
    #expect(error?.found == found)
  }

  @Test(
    "an element of another kind, not of the shortest form or longer than its bytes is none",
    arguments: [
      [], [0x30], [0x02, 0], [0x30, 1], [0x30, 0x81, 0x7f], [0x30, 0x82, 0, 0x80], [0x30, 0x80],
      [0x30, 0x83, 1, 0, 0], [0x30, 0x82, 1],
    ] as [[UInt8]])
  func elements(bytes: [UInt8]) {
    var reader = DERReader(bytes[...])
    #expect(reader.next(.sequence) == nil)
  }
}
