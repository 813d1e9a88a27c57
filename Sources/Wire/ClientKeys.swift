// Clients' keys. A client's pairs follow from one secret and its id, so that a generator needs no file per client;
// replicas get the table of public keys and could not sign for anybody.

import Crypto
import Foundation
import Hashing
import PBFT

/// The order of P-256's base point, as big-endian words (FIPS 186-4 D.1.2.3).
private let p256Order: [UInt64] = [
  0xffff_ffff_0000_0000, 0xffff_ffff_ffff_ffff, 0xbce6_faad_a717_9e84, 0xf3b9_cac2_fc63_2551,
]

/// A client's key pair of one algorithm.
public enum ClientKeyPair: Sendable {
  case ed25519(Curve25519.Signing.PrivateKey)
  case ecdsaP256(P256.Signing.PrivateKey)

  /// Derives the pair of `client`: HKDF-SHA256(secret, info = "client" ‖ algorithm ‖ id as i32), for P-256 with a
  /// counter byte behind it, the first value that is a valid scalar.
  public init(_ algorithm: SignatureAlgorithm, client: Int32, secret: Secret) {
    var info = Data("client".utf8) + Data(algorithm.rawValue.utf8)
    withUnsafeBytes(of: client.bigEndian) { info.append(contentsOf: $0) }
    switch algorithm {
    case .ed25519:
      let seed = secret.derived(info: info).bytes
      // A seed of 32 bytes is always a key.
      self = .ed25519(seed.withUnsafeBytes { try! Curve25519.Signing.PrivateKey(rawRepresentation: $0) })
    case .ecdsaP256:
      var attempt: UInt8 = 0
      while true {
        let scalar = secret.derived(info: info + [attempt]).bytes
        if let key = Self.privateKey(scalar: scalar) {
          self = .ecdsaP256(key)
          return
        }
        // One scalar in 2³² is not below the curve's order: the counter cannot run out.
        attempt += 1
      }
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

  /// 32 bytes for Ed25519, 64 (x ‖ y) for P-256: `SignatureAlgorithm.publicKeyByteCount`.
  public var publicKey: Data {
    switch self {
    case .ed25519(let key): key.publicKey.rawRepresentation
    case .ecdsaP256(let key): key.publicKey.rawRepresentation
    }
  }
}

extension SignatureAlgorithm {
  /// Bytes of a public key in tables and files.
  public var publicKeyByteCount: Int {
    switch self {
    case .ed25519: 32
    case .ecdsaP256: 64
    }
  }
}

/// Where a replica finds a client's public key: a table over a range of ids, flat and without an object per client,
/// or, for `defaultkeys`, derived on demand from a secret that everybody knows.
public struct ClientPublicKeys: Sendable {
  private enum Source: Sendable {
    case none
    case table(ed25519: [UInt8], ecdsaP256: [UInt8])
    case derived(Secret)
  }

  private let source: Source
  /// The ids it knows; nil where it knows none.
  public let clients: ClosedRange<Int32>?

  /// No client at all, for modes without client signatures.
  public static let none = ClientPublicKeys(source: .none, clients: nil)

  private init(source: Source, clients: ClosedRange<Int32>?) {
    self.source = source
    self.clients = clients
  }

  /// A table made from the clients' secret.
  ///
  /// - Parameter algorithms: those whose keys the table holds; a pair costs 15 to 25 µs each.
  public init(
    deriving clients: ClosedRange<Int32>, from secret: Secret,
    algorithms: [SignatureAlgorithm] = SignatureAlgorithm.allCases
  ) {
    func table(_ algorithm: SignatureAlgorithm) -> [UInt8] {
      guard algorithms.contains(algorithm) else { return [] }
      var keys: [UInt8] = []
      keys.reserveCapacity(clients.count * algorithm.publicKeyByteCount)
      for client in clients {
        keys.append(contentsOf: ClientKeyPair(algorithm, client: client, secret: secret).publicKey)
      }
      return keys
    }
    self.init(
      source: .table(ed25519: table(.ed25519), ecdsaP256: table(.ecdsaP256)), clients: clients)
  }

  /// A table as a file gives it: the keys of `clients` one after the other.
  /// Precondition: each array is empty or holds a key for each client.
  init(clients: ClosedRange<Int32>, ed25519: [UInt8], ecdsaP256: [UInt8]) {
    precondition(ed25519.isEmpty || ed25519.count == clients.count * 32)
    precondition(ecdsaP256.isEmpty || ecdsaP256.count == clients.count * 64)
    self.init(source: .table(ed25519: ed25519, ecdsaP256: ecdsaP256), clients: clients)
  }

  /// Every client's key from a secret that is no secret: `defaultkeys`.
  static func publiclyDerived(from secret: Secret) -> ClientPublicKeys {
    ClientPublicKeys(source: .derived(secret), clients: Int32.min...Int32.max)
  }

  /// Calls `body` with the key of `client`; nil for a client it does not know.
  public func withPublicKey<Result>(
    _ algorithm: SignatureAlgorithm, of client: Int32, _ body: (UnsafeRawBufferPointer) -> Result
  ) -> Result? {
    guard let clients, clients.contains(client) else { return nil }
    switch source {
    case .none: return nil
    case .derived(let secret):
      return ClientKeyPair(algorithm, client: client, secret: secret).publicKey.withUnsafeBytes(body)
    case .table(let ed25519, let ecdsaP256):
      let table =
        switch algorithm {
        case .ed25519: ed25519
        case .ecdsaP256: ecdsaP256
        }
      guard !table.isEmpty else { return nil }
      let start = (Int(client) - Int(clients.lowerBound)) * algorithm.publicKeyByteCount
      return table.withUnsafeBytes {
        body(UnsafeRawBufferPointer(rebasing: $0[start..<(start + algorithm.publicKeyByteCount)]))
      }
    }
  }
}
