// Where a replica finds a client's public key. It holds nothing that could sign for anybody.

import Foundation
import Hashing
import PBFT

/// Clients' public keys: a table over a range of ids, flat and without an object per client; or, for `defaultkeys`, derived
/// on demand from a secret that everybody knows; or one key for all; or BFT-SMaRt's key files.
public struct ClientPublicKeys: Sendable {
  /// The ids it knows, but for those of key files; nil where it knows none.
  public let clients: ClosedRange<Int32>?

  private var tables: [SignatureAlgorithm: [UInt8]] = [:]
  /// One key for all clients.
  private var shared: [KeyKind: [UInt8]] = [:]
  private var derivesFrom: Secret?
  private var builtIn: ClientDialect?
  private var loaded: LoadedKeys?
  /// A client outside the range: the trusted party.
  private var further: Int32?
  private var furtherKeys: [SignatureAlgorithm: [UInt8]] = [:]

  /// No client at all, for modes without client signatures.
  public static let none = ClientPublicKeys(clients: nil)

  private init(clients: ClosedRange<Int32>?) { self.clients = clients }

  /// A table made from the clients' pairs.
  ///
  /// - Parameter algorithms: those whose keys it holds; a derived pair costs 15 to 25 µs each.
  public init(
    deriving clients: ClosedRange<Int32>, from pairs: ClientPairs,
    algorithms: [SignatureAlgorithm] = SignatureAlgorithm.derived
  ) {
    self.init(clients: clients)
    for algorithm in algorithms {
      if let pair = pairs.shared(algorithm) {
        shared[algorithm.kind] = [UInt8](pair.publicKey)
        continue
      }
      var keys: [UInt8] = []
      keys.reserveCapacity(clients.count * algorithm.publicKeyByteCount)
      for client in clients {
        keys.append(contentsOf: ClientKeyPair(algorithm, client: client, secret: pairs.secret).publicKey)
      }
      tables[algorithm] = keys
    }
  }

  /// A table as a file gives it: for each algorithm the keys of `clients` one after the other, and RSA keys for all.
  /// Precondition: each table is empty or holds a key for each client.
  init(
    clients: ClosedRange<Int32>, tables: [SignatureAlgorithm: [UInt8]], shared: [KeyKind: [UInt8]] = [:]
  ) {
    self.init(clients: clients)
    for algorithm in SignatureAlgorithm.derived {
      guard let table = tables[algorithm], !table.isEmpty else { continue }
      precondition(table.count == clients.count * algorithm.publicKeyByteCount)
      self.tables[algorithm] = table
    }
    self.shared = shared
  }

  /// Every client's key from pairs that everybody has, and where there is no such pair from a secret that is no secret:
  /// `defaultkeys`.
  static func publiclyKnown(_ secret: Secret, of dialect: ClientDialect) -> ClientPublicKeys {
    var keys = ClientPublicKeys(clients: Int32.min...Int32.max)
    keys.derivesFrom = secret
    keys.builtIn = dialect
    return keys
  }

  /// The same, but for BFT-SMaRt's loader with what its files have: a client without a file is unknown.
  public func reading(_ loaded: LoadedKeys) -> ClientPublicKeys {
    var keys = self
    keys.loaded = loaded
    return keys
  }

  /// Whether `client` has a key where all share one.
  func knows(_ client: Int32) -> Bool { clients?.contains(client) ?? false || client == further }

  /// Takes a client outside the range as well.
  mutating func add(_ client: Int32, _ keys: [SignatureAlgorithm: [UInt8]]) {
    further = client
    furtherKeys = keys
  }

  /// The key of all clients it knows; nil where each has its own.
  func sharedPublicKey(_ algorithm: SignatureAlgorithm) -> [UInt8]? {
    if let loaded, loaded.covers(algorithm) { return nil }
    if let builtIn, let pair = BuiltInKeys.pair(algorithm.kind, of: builtIn) {
      return [UInt8](pair.publicKey)
    }
    return shared[algorithm.kind]
  }

  /// Calls `body` with the key of `client`; nil for a client it does not know.
  public func withPublicKey<Result>(
    _ algorithm: SignatureAlgorithm, of client: Int32, _ body: (UnsafeRawBufferPointer) -> Result
  ) -> Result? {
    if let loaded, loaded.covers(algorithm) {
      return loaded.publicKeys[client].map { $0.withUnsafeBytes(body) }
    }
    guard knows(client), let clients else { return nil }
    if let key = sharedPublicKey(algorithm) { return key.withUnsafeBytes(body) }
    if let derivesFrom, SignatureAlgorithm.derived.contains(algorithm) {
      return ClientKeyPair(algorithm, client: client, secret: derivesFrom).publicKey.withUnsafeBytes(body)
    }
    if client == further { return furtherKeys[algorithm].map { $0.withUnsafeBytes(body) } }
    guard let table = tables[algorithm] else { return nil }
    let start = (Int(client) - Int(clients.lowerBound)) * algorithm.publicKeyByteCount
    return table.withUnsafeBytes {
      body(UnsafeRawBufferPointer(rebasing: $0[start..<(start + algorithm.publicKeyByteCount)]))
    }
  }
}
