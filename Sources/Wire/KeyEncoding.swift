// Keys as Java writes them: SubjectPublicKeyInfo and PKCS #8 in DER (RFC 5280, 5958, 5915). Only what tells one kind of key
// from another is read here; numbers inside RSA keys are libcrypto's business.

import Crypto
import Foundation
import PBFT

/// Why bytes are not a key that can be used; the text says what they are instead, if that is known.
struct KeyEncodingError: Error, Hashable {
  /// As in "expected a key on P-256, found …".
  let found: String
}

/// Reading and writing keys in DER.
enum KeyEncoding {
  private static let ecPublicKey: [UInt8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01]
  private static let p256: [UInt8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]
  private static let secp256k1: [UInt8] = [0x2b, 0x81, 0x04, 0x00, 0x0a]
  private static let rsaEncryption: [UInt8] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01]

  private enum Family {
    case elliptic(KeyKind)
    case rsa
  }

  // MARK: Reading

  /// Reads SubjectPublicKeyInfo.
  ///
  /// - Returns: the kind, and the bytes that `VerifyingKey` takes: x ‖ y, or for RSA the whole encoding.
  static func publicKey(_ der: [UInt8]) throws(KeyEncodingError) -> (kind: KeyKind, bytes: [UInt8]) {
    var outer = DERReader(der[...])
    guard let content = outer.next(.sequence), outer.isAtEnd else { throw notDER }
    var info = DERReader(content)
    guard let algorithm = info.next(.sequence), let bits = info.next(.bitString), info.isAtEnd else {
      throw KeyEncodingError(found: "something other than SubjectPublicKeyInfo")
    }
    switch try family(algorithm) {
    case .rsa:
      guard let key = der.withUnsafeBytes({ RSAVerifier(publicKeyInfo: $0, usesSHA512: false) }) else {
        throw rsaOfAnotherSize
      }
      return (.rsa(bits: key.bits), der)
    case .elliptic(let kind):
      // No unused bits, and an uncompressed point.
      guard bits.count == 66, bits.starts(with: [0, 4]) else {
        throw KeyEncodingError(found: "a point that is not uncompressed")
      }
      let point = Array(bits.dropFirst(2))
      guard point.withUnsafeBytes({ VerifyingKey(SignatureAlgorithm(kind), $0) }) != nil else {
        throw KeyEncodingError(found: "a point that is not on the curve")
      }
      return (kind, point)
    }
  }

  /// Reads PKCS #8.
  static func privateKey(_ der: [UInt8]) throws(KeyEncodingError) -> ClientKeyPair {
    var outer = DERReader(der[...])
    guard let content = outer.next(.sequence), outer.isAtEnd else { throw notDER }
    var info = DERReader(content)
    guard info.next(.integer) != nil, let algorithm = info.next(.sequence),
      let wrapped = info.next(.octetString)
    else { throw KeyEncodingError(found: "something other than PKCS #8") }
    switch try family(algorithm) {
    case .rsa:
      guard let key = der.withUnsafeBytes({ RSAPrivateKey(pkcs8: $0) }) else { throw rsaOfAnotherSize }
      return .rsa(key)
    case .elliptic(let kind):
      var inner = DERReader(wrapped)
      guard let sequence = inner.next(.sequence) else {
        throw KeyEncodingError(found: "PKCS #8 without an EC private key")
      }
      var fields = DERReader(sequence)
      guard fields.next(.integer) != nil, let number = fields.next(.octetString), number.count == 32,
        let pair = Array(number).withUnsafeBytes({ ClientKeyPair(kind, scalar: $0) })
      else { throw KeyEncodingError(found: "a number that is no private key of the curve") }
      return pair
    }
  }

  private static func family(_ algorithm: ArraySlice<UInt8>) throws(KeyEncodingError) -> Family {
    var fields = DERReader(algorithm)
    guard let name = fields.next(.objectIdentifier) else { throw notDER }
    if name.elementsEqual(rsaEncryption) { return .rsa }
    guard name.elementsEqual(ecPublicKey) else { throw KeyEncodingError(found: "a key of another algorithm") }
    guard let curve = fields.next(.objectIdentifier) else {
      throw KeyEncodingError(found: "a curve without a name")
    }
    if curve.elementsEqual(p256) { return .elliptic(.ecdsaP256) }
    if curve.elementsEqual(secp256k1) { return .elliptic(.ecdsaSecp256k1) }
    throw KeyEncodingError(found: "a key on another curve")
  }

  private static let notDER = KeyEncodingError(found: "bytes that are no DER")
  private static let rsaOfAnotherSize = KeyEncodingError(found: "an RSA key that is not of 1024 or 2048 bits")

  // MARK: Writing

  /// SubjectPublicKeyInfo and PKCS #8 of a pair; for curves without the public key inside PKCS #8, as Java writes it.
  /// Precondition: the pair is not Ed25519, for which BFT-SMaRt has no files.
  static func der(of pair: ClientKeyPair) -> (publicKey: [UInt8], privateKey: [UInt8]) {
    switch pair {
    case .ed25519: preconditionFailure("BFT-SMaRt has no files for Ed25519")
    case .ecdsaP256(let key): elliptic(p256, point: pair.publicKey, scalar: key.rawRepresentation)
    case .ecdsaSecp256k1(let key):
      elliptic(secp256k1, point: pair.publicKey, scalar: key.withUnsafeBytes { Data($0) })
    case .rsa(let key): (key.publicKeyInfo, key.pkcs8)
    }
  }

  private static func elliptic(
    _ curve: [UInt8], point: Data, scalar: Data
  ) -> (publicKey: [UInt8], privateKey: [UInt8]) {
    let algorithm = element(
      .sequence, element(.objectIdentifier, ecPublicKey) + element(.objectIdentifier, curve))
    let key = element(.sequence, element(.integer, [1]) + element(.octetString, Array(scalar)))
    return (
      element(.sequence, algorithm + element(.bitString, [0, 4] + Array(point))),
      element(.sequence, element(.integer, [0]) + algorithm + element(.octetString, key))
    )
  }

  /// One element of at most 127 bytes of content, which all of these are.
  private static func element(_ tag: DERReader.Tag, _ content: [UInt8]) -> [UInt8] {
    precondition(content.count < 128, "keys of these curves are short")
    return [tag.rawValue, UInt8(content.count)] + content
  }
}

/// Elements of DER, one after the other.
struct DERReader {
  enum Tag: UInt8 {
    case integer = 0x02
    case bitString = 0x03
    case octetString = 0x04
    case objectIdentifier = 0x06
    case sequence = 0x30
  }

  private var rest: ArraySlice<UInt8>

  init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

  var isAtEnd: Bool { rest.isEmpty }

  /// The content of the next element; nil if it is of another kind, longer than what is there, or not of the shortest
  /// form.
  mutating func next(_ tag: Tag) -> ArraySlice<UInt8>? {
    guard rest.count >= 2, rest.first == tag.rawValue else { return nil }
    var index = rest.startIndex + 1
    var count = Int(rest[index])
    index += 1
    if count >= 0x80 {
      let digits = count & 0x7f
      guard (1...2).contains(digits), rest.endIndex - index >= digits else { return nil }
      count = rest[index..<(index + digits)].reduce(0) { $0 << 8 | Int($1) }
      guard count >= (digits == 1 ? 0x80 : 0x100) else { return nil }
      index += digits
    }
    guard rest.endIndex - index >= count else { return nil }
    let content = rest[index..<(index + count)]
    rest = rest[(index + count)...]
    return content
  }
}
