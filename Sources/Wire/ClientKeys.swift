// A client's key pair, and how it follows from one secret and the client's id, so that a generator needs no file per client.
// RSA pairs take too long to make for that: there one pair serves all clients of a set of keys.

import Crypto
import Foundation
import Hashing
import PBFT
import Synchronization

/// The order of P-256's base point, as big-endian words (FIPS 186-4 D.1.2.3).
private let p256Order: [UInt64] = [
  0xffff_ffff_0000_0000, 0xffff_ffff_ffff_ffff, 0xbce6_faad_a717_9e84, 0xf3b9_cac2_fc63_2551,
]

/// A client's key pair of one kind.
public enum ClientKeyPair: Sendable {
  case ed25519(Curve25519.Signing.PrivateKey)
  case ecdsaP256(P256.Signing.PrivateKey)
  case ecdsaSecp256k1(Secp256k1PrivateKey)
  case rsa(RSAPrivateKey)

  /// Derives the pair of `client`: HKDF-SHA256(secret, info = "client" ‖ algorithm ‖ id as i32), for the curves of ECDSA
  /// with a counter byte behind it, the first value that is a valid scalar.
  ///
  /// - Precondition: the algorithm is one of `SignatureAlgorithm.derived`.
  public init(_ algorithm: SignatureAlgorithm, client: Int32, secret: Secret) {
    precondition(
      SignatureAlgorithm.derived.contains(algorithm), "\(algorithm.rawValue) pairs are not derived")
    var info = Data("client".utf8) + Data(algorithm.rawValue.utf8)
    withUnsafeBytes(of: client.bigEndian) { info.append(contentsOf: $0) }
    if algorithm == .ed25519 {
      let seed = secret.derived(info: info).bytes
      // A seed of 32 bytes is always a key.
      self = .ed25519(seed.withUnsafeBytes { try! Curve25519.Signing.PrivateKey(rawRepresentation: $0) })
      return
    }
    var attempt: UInt8 = 0
    while true {
      let scalar = secret.derived(info: info + [attempt]).bytes
      if let pair = scalar.withUnsafeBytes({ ClientKeyPair(algorithm.kind, scalar: $0) }) {
        self = pair
        return
      }
      // One scalar in 2³² is not below the order of P-256, far fewer on secp256k1: the counter cannot run out.
      attempt += 1
    }
  }

  /// The pair of a scalar, 32 big-endian bytes; nil unless 0 < scalar < order of the curve, and for kinds without one.
  init?(_ kind: KeyKind, scalar: UnsafeRawBufferPointer) {
    switch kind {
    case .ecdsaP256:
      guard let key = Self.privateKey(scalar: PBFT.Digest(bytes: scalar)) else { return nil }
      self = .ecdsaP256(key)
    case .ecdsaSecp256k1:
      guard let key = Secp256k1PrivateKey(scalar: scalar) else { return nil }
      self = .ecdsaSecp256k1(key)
    case .ed25519, .rsa: return nil
    }
  }

  /// The key of `scalar`, 32 big-endian bytes; nil unless 0 < scalar < order of P-256.
  static func privateKey(scalar: PBFT.Digest) -> P256.Signing.PrivateKey? {
    let isBelowOrder = scalar.withUnsafeBytes { bytes in
      for index in 0..<4 {
        let word = UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self))
        if word != p256Order[index] { return word < p256Order[index] }
      }
      return false
    }
    guard isBelowOrder, scalar != .zero else { return nil }
    return scalar.withUnsafeBytes { try? P256.Signing.PrivateKey(rawRepresentation: $0) }
  }

  /// What signs with it.
  public var kind: KeyKind {
    switch self {
    case .ed25519: .ed25519
    case .ecdsaP256: .ecdsaP256
    case .ecdsaSecp256k1: .ecdsaSecp256k1
    case .rsa(let key): .rsa(bits: key.bits)
    }
  }

  /// As `VerifyingKey` takes it: 32 bytes for Ed25519, x ‖ y for the curves of ECDSA, SubjectPublicKeyInfo for RSA.
  public var publicKey: Data {
    switch self {
    case .ed25519(let key): key.publicKey.rawRepresentation
    case .ecdsaP256(let key): key.publicKey.rawRepresentation
    case .ecdsaSecp256k1(let key): Data(key.publicKey.rawRepresentation)
    case .rsa(let key): Data(key.publicKeyInfo)
    }
  }

  /// A new pair from the system's entropy.
  public static func generate(_ kind: KeyKind) -> ClientKeyPair {
    switch kind {
    case .ed25519: return .ed25519(Curve25519.Signing.PrivateKey())
    case .ecdsaP256: return .ecdsaP256(P256.Signing.PrivateKey())
    case .ecdsaSecp256k1:
      while true {
        let scalar = Secret.random().bytes
        if let pair = scalar.withUnsafeBytes({ ClientKeyPair(kind, scalar: $0) }) { return pair }
      }
    case .rsa(let bits): return .rsa(RSAPrivateKey.generate(bits: bits))
    }
  }
}

extension SignatureAlgorithm {
  /// The algorithms whose pairs follow from a secret and the client's id.
  public static let derived: [SignatureAlgorithm] = [.ed25519, .ecdsaP256, .ecdsaSecp256k1]

  /// Bytes of a public key in tables and files.
  /// Precondition: the algorithm is one of `derived`.
  public var publicKeyByteCount: Int {
    switch kind {
    case .ed25519: 32
    case .ecdsaP256, .ecdsaSecp256k1: 64
    case .rsa: preconditionFailure("RSA keys are not in tables")
    }
  }
}

/// The RSA pairs of a set of keys, one per size for all its clients. In memory they are made when they are first asked for.
public final class SharedRSAPairs: Sendable {
  private let pairs: Mutex<[Int: RSAPrivateKey]>

  /// No pair yet.
  public init() { pairs = Mutex([:]) }

  init(_ pairs: [RSAPrivateKey]) {
    self.pairs = Mutex(Dictionary(pairs.map { ($0.bits, $0) }) { first, _ in first })
  }

  /// The pair of 1024 or 2048 bits.
  public func pair(bits: Int) -> RSAPrivateKey {
    pairs.withLock { pairs in
      if let pair = pairs[bits] { return pair }
      let pair = RSAPrivateKey.generate(bits: bits)
      pairs[bits] = pair
      return pair
    }
  }
}

/// Where whoever acts for clients finds their pairs: key files of BFT-SMaRt's first, then BFT-SMaRt's built-in pairs where
/// they are in force, then what follows from the secret.
public struct ClientPairs: Sendable {
  let secret: Secret
  let rsa: SharedRSAPairs
  /// Set for `defaultkeys`: the series of BFT-SMaRt whose built-in pairs everybody has.
  var builtIn: ClientDialect?
  var loaded: LoadedKeys?

  public init(secret: Secret, rsa: SharedRSAPairs = SharedRSAPairs()) {
    self.secret = secret
    self.rsa = rsa
  }

  /// The pair of `client`; nil if there is no key file with it.
  public func pair(_ algorithm: SignatureAlgorithm, of client: Int32) -> ClientKeyPair? {
    if let loaded, loaded.covers(algorithm) { return loaded.pairs[client] }
    return shared(algorithm) ?? ClientKeyPair(algorithm, client: client, secret: secret)
  }

  /// The one pair of all clients; nil where each has its own.
  func shared(_ algorithm: SignatureAlgorithm) -> ClientKeyPair? {
    if let loaded, loaded.covers(algorithm) { return nil }
    if let builtIn, let pair = BuiltInKeys.pair(algorithm.kind, of: builtIn) { return pair }
    if case .rsa(let bits) = algorithm.kind { return .rsa(rsa.pair(bits: bits)) }
    return nil
  }

  /// The first of `clients` without a pair, with the path of the file that would hold it; nil if all have one.
  public func missing(
    _ algorithm: SignatureAlgorithm, clients: ClosedRange<Int32>
  ) -> (client: Int32, path: String)? {
    guard let loaded, loaded.covers(algorithm),
      let client = clients.first(where: { loaded.pairs[$0] == nil })
    else { return nil }
    return (client, loaded.path(ofPrivateKey: client))
  }
}
