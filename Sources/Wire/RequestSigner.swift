// The client's half of request authentication: fills a request's signature field in place, and checks the tag of
// a reply. Confined to one thread; the keys of its clients are derived on first use or by `prepare`.

import Crypto
import Foundation
import Hashing
import PBFT

/// A replica of the membership whose secret a party needs and does not hold.
public struct MissingReplicaSecret: Error, Hashable, Sendable, CustomStringConvertible {
  public let replica: ReplicaID

  public var description: String { "no secret of replica \(replica.rawValue)" }
}

/// Signs the requests of any client in one mode.
public final class RequestSigner {
  public let mode: SignatureMode
  /// The most bytes that `sign` appends to a frame; what a caller leaves free behind an encoded one.
  public let maximumSignatureByteCount: Int

  private let secrets: GeneratorSecrets
  private let replicaCount: Int
  private let tagKeys: ClientTagKeys?
  private var pairSlots: ClientSlots
  private var pairs: [ClientKeyPair?]

  /// - Parameters:
  ///   - replicas: the membership, in its order.
  ///   - clientCapacity: clients whose keys are kept: 64 bytes per replica in `hmac` mode, a key object in signed
  ///     modes, nothing otherwise.
  public init(
    mode: SignatureMode, secrets: GeneratorSecrets, replicas: [ReplicaID], clientCapacity: Int
  ) throws(MissingReplicaSecret) {
    self.mode = mode
    self.secrets = secrets
    replicaCount = replicas.count
    switch mode {
    case .none, .verifyOnly: maximumSignatureByteCount = 0
    case .hmac: maximumSignatureByteCount = replicas.count * HMACKey.tagByteCount
    case .sign(let algorithm): maximumSignatureByteCount = algorithm.maximumSignatureByteCount
    }
    if mode == .hmac {
      var roots: [Secret] = []
      for replica in replicas {
        guard let root = secrets.replicaSecrets[replica] else {
          throw MissingReplicaSecret(replica: replica)
        }
        roots.append(root)
      }
      tagKeys = ClientTagKeys(roots: roots, capacity: clientCapacity)
    } else {
      tagKeys = nil
    }
    pairSlots = ClientSlots(capacity: mode.clientAlgorithm == nil ? 1 : clientCapacity)
    pairs = Array(repeating: nil, count: pairSlots.count)
  }

  /// Derives the keys of `client` now, so that its first request does not pay for it.
  public func prepare(client: Int32) {
    _ = tagKeys?.keys(of: client)
    if let algorithm = mode.clientAlgorithm { _ = pair(algorithm, client) }
  }

  /// Appends the authentication that the mode asks for to a request's frame and adjusts the frame's lengths. The
  /// client is the frame's sender. In `hmac` mode nothing allocates.
  ///
  /// - Parameter frame: begins with a frame as `ClientFrame.encode` wrote it, and has room behind it for
  ///   `maximumSignatureByteCount` bytes.
  /// - Returns: the bytes of the frame now.
  public func sign(_ frame: UnsafeMutableRawBufferPointer) -> Int {
    let data = ClientFrame.data(ofEncoded: frame)
    let offset = ClientFrame.signatureOffset(ofEncoded: frame)
    let client: Int32 = data.baseAddress.unsafelyUnwrapped.bigEndian(0)
    precondition(frame.count - offset >= maximumSignatureByteCount, "no room for a signature")
    let field = UnsafeMutableRawBufferPointer(rebasing: frame[offset...])
    let count: Int
    switch mode {
    case .none, .verifyOnly: count = 0
    case .hmac: count = writeTags(PBFT.Digest.sha256(data), client: client, to: field)
    case .sign(let algorithm): count = writeSignature(algorithm, of: data, client: client, to: field)
    }
    return ClientFrame.setSignatureByteCount(count, inEncoded: frame)
  }

  /// Whether a reply carries what the mode asks for: in `hmac` mode the tag of the replica at `position` for
  /// `client`, in all others nothing that would have to be checked. Nothing allocates.
  ///
  /// - Parameters:
  ///   - data: the reply's data; that its sender is the replica at `position` is the caller's check.
  ///   - position: of the replica in the membership.
  public func isAuthenticReply(
    data: UnsafeRawBufferPointer, tag: UnsafeRawBufferPointer, client: Int32, position: Int
  ) -> Bool {
    guard let tagKeys else { return true }
    guard tag.count == HMACKey.tagByteCount, let bytes = tag.baseAddress, (0..<replicaCount) ~= position
    else {
      return false
    }
    return tagKeys.keys(of: client)[position].tag(of: PBFT.Digest.sha256(data)).matchesTag(bytes)
  }

  private func writeTags(
    _ digest: PBFT.Digest, client: Int32, to field: UnsafeMutableRawBufferPointer
  ) -> Int {
    guard let tagKeys else { preconditionFailure("no tag keys in mode \(mode)") }
    let keys = tagKeys.keys(of: client)
    for position in 0..<replicaCount {
      let tag = keys[position].tag(of: digest)
      field.storeBytes(
        of: (tag.words.0, tag.words.1), toByteOffset: position * HMACKey.tagByteCount,
        as: (UInt64, UInt64).self)
    }
    return replicaCount * HMACKey.tagByteCount
  }

  private func writeSignature(
    _ algorithm: SignatureAlgorithm, of data: UnsafeRawBufferPointer, client: Int32,
    to field: UnsafeMutableRawBufferPointer
  ) -> Int {
    // With a valid key signing fails only for want of memory or entropy.
    switch pair(algorithm, client) {
    case .ed25519(let key):
      let signature = try! key.signature(for: data)
      signature.withUnsafeBytes { field.copyMemory(from: $0) }
      return signature.count
    case .ecdsaP256(let key):
      let signature = try! key.signature(for: SHA256Value(PBFT.Digest.sha256(data)))
      return signature.withUnsafeBytes { ECDSASignatureEncoding.encode(raw: $0, into: field) }
    }
  }

  private func pair(_ algorithm: SignatureAlgorithm, _ client: Int32) -> ClientKeyPair {
    let (slot, isHeld) = pairSlots.claim(client)
    if isHeld, let pair = pairs[slot] { return pair }
    let pair = ClientKeyPair(algorithm, client: client, secret: secrets.clientSecret)
    pairs[slot] = pair
    return pair
  }
}

/// One of our digests as swift-crypto's signatures want it, so that data is hashed once and by one implementation.
struct SHA256Value: Crypto.Digest {
  private let digest: PBFT.Digest

  static let byteCount = PBFT.Digest.byteCount

  init(_ digest: PBFT.Digest) { self.digest = digest }

  func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    try digest.withUnsafeBytes(body)
  }
}
