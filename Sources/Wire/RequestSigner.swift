// The client's half of request authentication: fills a request's signature field in place, and checks the tag of
// a reply. Confined to one thread; the keys of its clients are derived on first use or by `prepare`.

import Foundation
import Hashing
import PBFT

/// A replica of the membership whose secret a party needs and does not hold.
public struct MissingReplicaSecret: Error, Hashable, Sendable, CustomStringConvertible {
  public let replica: ReplicaID

  public var description: String { "no secret of replica \(replica.rawValue)" }
}

/// Signs the requests of any client in one mode. A client without a key pair, which only key files can lack, stays unsigned.
public final class RequestSigner {
  public let mode: SignatureMode
  /// The most bytes that `sign` appends to a frame; what a caller leaves free behind an encoded one.
  public let maximumSignatureByteCount: Int

  private let secrets: GeneratorSecrets
  private let replicaCount: Int
  private let tagKeys: ClientTagKeys?
  private var keySlots: ClientSlots
  private var keys: [SigningKey?]
  /// The key of all clients, where they share one.
  private let sharedKey: SigningKey?

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
    sharedKey = mode.clientAlgorithm.flatMap { algorithm in
      secrets.pairs.shared(algorithm).map { SigningKey(algorithm, $0) }
    }
    keySlots = ClientSlots(capacity: mode.clientAlgorithm == nil || sharedKey != nil ? 1 : clientCapacity)
    keys = Array(repeating: nil, count: keySlots.count)
  }

  /// Derives the keys of `client` now, so that its first request does not pay for it.
  public func prepare(client: Int32) {
    _ = tagKeys?.keys(of: client)
    if let algorithm = mode.clientAlgorithm { _ = key(algorithm, client) }
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
    // A client without a pair sends an unsigned request, which is refused and counted; commands look for its file first.
    key(algorithm, client)?.sign(data, into: field) ?? 0
  }

  private func key(_ algorithm: SignatureAlgorithm, _ client: Int32) -> SigningKey? {
    if let sharedKey { return sharedKey }
    let (slot, isHeld) = keySlots.claim(client)
    if !isHeld {
      keys[slot] = secrets.pairs.pair(algorithm, of: client).map { SigningKey(algorithm, $0) }
    }
    return keys[slot]
  }
}
