// A replica's half of request authentication: judges what a request carries beside its data, and tags replies.
// Confined to one thread. It holds one replica's secrets only.

import Foundation
import Hashing
import PBFT

/// What a verifier thinks of a request; all but `authentic` are refusals, to be counted by kind.
public enum RequestVerdict: UInt8, CaseIterable, Sendable {
  case authentic
  /// The mode asks for a signature or tags, and there are none.
  case unsigned
  /// The mode is `none`, and there is a signature.
  case unexpectedSignature
  /// The signature's length or encoding cannot be one of the mode.
  case wrongFormat
  /// No public key is known for the client.
  case unknownClient
  /// Signature or tag belong to other data or another key.
  case forged
}

/// Verifies requests of any client in one mode at one replica.
public final class RequestVerifier {
  public let mode: SignatureMode
  /// Bytes that `tagReply` appends to a reply's frame.
  public let replyTagByteCount: Int

  private let position: Int
  private let tagByteCount: Int
  private let tagKeys: ClientTagKeys?
  private let clients: ClientPublicKeys
  private var keySlots: ClientSlots
  private var keys: [VerifyingKey?]
  /// The key of all clients that are known, where they share one.
  private let sharedKey: VerifyingKey?
  private let constant: ConstantSignature?

  /// - Parameters:
  ///   - secrets: of the replica that verifies.
  ///   - replicas: the membership, in its order; it holds that replica.
  ///   - clientCapacity: clients whose keys are kept ready: 72 bytes each in `hmac` mode, a key object in signed
  ///     modes; others are derived or parsed again.
  public init(
    mode: SignatureMode, secrets: ReplicaSecrets, replicas: [ReplicaID], clientCapacity: Int = 16_384
  ) throws(MissingReplicaSecret) {
    guard let position = replicas.firstIndex(of: secrets.replica) else {
      throw MissingReplicaSecret(replica: secrets.replica)
    }
    self.mode = mode
    self.position = position
    tagByteCount = replicas.count * HMACKey.tagByteCount
    replyTagByteCount = mode == .hmac ? HMACKey.tagByteCount : 0
    tagKeys =
      mode == .hmac ? ClientTagKeys(roots: [secrets.clientSecret], capacity: clientCapacity) : nil
    clients = secrets.clients
    sharedKey = mode.clientAlgorithm.flatMap { algorithm in
      secrets.clients.sharedPublicKey(algorithm).flatMap {
        $0.withUnsafeBytes { VerifyingKey(algorithm, $0) }
      }
    }
    keySlots = ClientSlots(capacity: mode.clientAlgorithm == nil || sharedKey != nil ? 1 : clientCapacity)
    keys = Array(repeating: nil, count: keySlots.count)
    if case .verifyOnly(let algorithm) = mode {
      constant = ConstantSignature(algorithm)
    } else {
      constant = nil
    }
  }

  /// Judges a request. In `hmac` mode nothing allocates.
  ///
  /// - Parameters:
  ///   - data: the whole serialized message.
  ///   - digest: SHA-256 of `data`.
  ///   - authenticator: signature or tags that came with it.
  ///   - client: the message's sender.
  public func verify(
    data: UnsafeRawBufferPointer, digest: PBFT.Digest, authenticator: UnsafeRawBufferPointer, client: Int32
  ) -> RequestVerdict {
    switch mode {
    case .none:
      return authenticator.isEmpty ? .authentic : .unexpectedSignature
    case .hmac:
      guard let bytes = authenticator.baseAddress, !authenticator.isEmpty else { return .unsigned }
      guard authenticator.count == tagByteCount, let tagKeys else { return .wrongFormat }
      let tag = tagKeys.keys(of: client)[0].tag(of: digest)
      return tag.matchesTag(bytes + position * HMACKey.tagByteCount) ? .authentic : .forged
    case .sign(let algorithm):
      guard !authenticator.isEmpty else { return .unsigned }
      guard authenticator.count <= algorithm.maximumSignatureByteCount else { return .wrongFormat }
      guard let key = key(algorithm, client) else { return .unknownClient }
      return key.verify(data: data, digest: digest, signature: authenticator)
    case .verifyOnly:
      // The cost of a verification, and its answer is known: the request is accepted whatever it carries.
      return constant?.verify() ?? .authentic
    }
  }

  /// Appends this replica's tag to the frame of a reply to `client` where the mode has one, and adjusts the frame's
  /// lengths. Nothing allocates.
  ///
  /// - Parameter frame: begins with a frame as `ClientFrame.encode` wrote it, and has room behind it for
  ///   `replyTagByteCount` bytes.
  /// - Returns: the bytes of the frame now.
  public func tagReply(_ frame: UnsafeMutableRawBufferPointer, to client: Int32) -> Int {
    guard let tagKeys else { return ClientFrame.setSignatureByteCount(0, inEncoded: frame) }
    let tag = tagKeys.keys(of: client)[0].tag(of: .sha256(ClientFrame.data(ofEncoded: frame)))
    let offset = ClientFrame.signatureOffset(ofEncoded: frame)
    precondition(frame.count - offset >= HMACKey.tagByteCount, "no room for a tag")
    frame.storeBytes(of: (tag.words.0, tag.words.1), toByteOffset: offset, as: (UInt64, UInt64).self)
    return ClientFrame.setSignatureByteCount(HMACKey.tagByteCount, inEncoded: frame)
  }

  /// The client's public key, parsed once while it keeps its slot.
  private func key(_ algorithm: SignatureAlgorithm, _ client: Int32) -> VerifyingKey? {
    if let sharedKey { return clients.knows(client) ? sharedKey : nil }
    let (slot, isHeld) = keySlots.claim(client)
    if !isHeld {
      keys[slot] = clients.withPublicKey(algorithm, of: client) { VerifyingKey(algorithm, $0) } ?? nil
    }
    return keys[slot]
  }
}

/// A replica's own signature over 24 constant bytes, made at its start: what BFT-SMaRt verifies once per request with
/// `useSignatures = 2`. The key is the replica's own and of no consequence: new, but for RSA BFT-SMaRt's built-in one.
private struct ConstantSignature {
  private let data: [UInt8]
  private let digest: PBFT.Digest
  private let key: VerifyingKey
  private let signature: [UInt8]

  init(_ algorithm: SignatureAlgorithm) {
    data = (0..<24).map { UInt8($0) }
    digest = data.withUnsafeBytes { .sha256($0) }
    let pair: ClientKeyPair
    if case .rsa = algorithm.kind, let known = BuiltInKeys.pair(algorithm.kind, of: .master) {
      pair = known
    } else {
      pair = .generate(algorithm.kind)
    }
    signature = SigningKey(algorithm, pair).signature(of: data)
    // A pair's own public key is one.
    key = pair.publicKey.withUnsafeBytes { VerifyingKey(algorithm, $0) }!
  }

  func verify() -> RequestVerdict {
    data.withUnsafeBytes { data in
      signature.withUnsafeBytes { key.verify(data: data, digest: digest, signature: $0) }
    }
  }
}
