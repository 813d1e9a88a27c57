// The first bytes on a replica link, both ways, and the keys that follow from them. A hello itself is not
// authentic: who sent it is proved by the first tag, since only the two holders of the static X25519 keys can
// derive the channel keys, and the nonces make them fresh for each connection.

import Crypto
import Foundation
import Hashing
import PBFT

/// What each side of a replica link says of itself first.
public struct LinkHello: Hashable, Sendable {
  /// "MSTR".
  static let mark: UInt32 = 0x4d53_5452
  /// Version of hello and messages; replicas of different versions do not talk.
  public static let version: UInt16 = 2
  /// Bytes on the wire.
  public static let byteCount = 64

  public var replica: ReplicaID
  public var cluster: ClusterID
  /// Id of the membership in force.
  public var membershipID: Int32
  /// 32 bytes never used before by this replica.
  public var nonce: PBFT.Digest
  public var authentication: ReplicaAuthentication

  public init(
    replica: ReplicaID, cluster: ClusterID, membershipID: Int32, nonce: PBFT.Digest,
    authentication: ReplicaAuthentication
  ) {
    self.replica = replica
    self.cluster = cluster
    self.membershipID = membershipID
    self.nonce = nonce
    self.authentication = authentication
  }

  /// A hello with a fresh nonce from the system's entropy.
  public init(
    replica: ReplicaID, cluster: ClusterID, membershipID: Int32, authentication: ReplicaAuthentication
  ) {
    self.init(
      replica: replica, cluster: cluster, membershipID: membershipID, nonce: Secret.random().bytes,
      authentication: authentication)
  }

  /// Writes `byteCount` bytes: mark u32, version u16, authentication u8, zero u8, replica i32, membership i32,
  /// cluster 16 bytes, nonce 32 bytes. Precondition: they fit.
  public func encode(into output: UnsafeMutableRawBufferPointer) {
    precondition(output.count >= Self.byteCount)
    let base = output.baseAddress.unsafelyUnwrapped
    base.storeBigEndian(Self.mark, at: 0)
    base.storeBigEndian(Self.version, at: 4)
    base.storeBytes(of: authentication.byte, toByteOffset: 6, as: UInt8.self)
    base.storeBytes(of: 0, toByteOffset: 7, as: UInt8.self)
    base.storeBigEndian(replica.rawValue, at: 8)
    base.storeBigEndian(membershipID, at: 12)
    cluster.withUnsafeBytes { base.copy($0, to: 16) }
    nonce.withUnsafeBytes { base.copy($0, to: 32) }
  }

  /// Reads a hello; nil while fewer than `byteCount` bytes are there. A stranger is refused by its first bytes.
  public static func decode(_ bytes: UnsafeRawBufferPointer) throws(LinkError) -> LinkHello? {
    guard let base = bytes.baseAddress, bytes.count >= 4 else { return nil }
    let mark: UInt32 = base.bigEndian(0)
    guard mark == Self.mark else { throw .helloMark(mark) }
    guard bytes.count >= 6 else { return nil }
    let version: UInt16 = base.bigEndian(4)
    guard version == Self.version else { throw .helloVersion(version) }
    guard bytes.count >= byteCount else { return nil }
    let authenticationByte = bytes[6]
    guard let authentication = ReplicaAuthentication.allCases.first(where: { $0.byte == authenticationByte })
    else { throw .helloAuthentication(authenticationByte) }
    return LinkHello(
      replica: ReplicaID(rawValue: base.bigEndian(8)),
      cluster: ClusterID(bytes: UnsafeRawBufferPointer(rebasing: bytes[16..<32])),
      membershipID: base.bigEndian(12),
      nonce: PBFT.Digest(bytes: UnsafeRawBufferPointer(rebasing: bytes[32..<64])),
      authentication: authentication)
  }

  /// Checks a peer's hello against our own and against the replica that we meant to reach. Another membership is no
  /// reason to refuse: one of the two has to hear of the newer one.
  ///
  /// - Parameter expected: the replica connected to; nil where the peer connected to us.
  public func check(from peer: LinkHello, expected: ReplicaID?) throws(LinkError) {
    guard peer.cluster == cluster else { throw .helloCluster }
    guard peer.replica != replica, expected == nil || peer.replica == expected else {
      throw .helloReplica(peer.replica.rawValue)
    }
    guard peer.authentication == authentication else {
      throw .helloAuthentication(peer.authentication.byte)
    }
  }
}

/// The keys of one link as one of its ends sees them: one per direction.
public struct LinkKeys {
  public let sending: HMACKey
  public let receiving: HMACKey

  /// Derives the channel keys: HKDF-SHA256 with the X25519 static-static shared secret as key material, the two
  /// nonces in order of replica ids as salt, and cluster, sender and receiver as info.
  ///
  /// - Parameters:
  ///   - secrets: ours; it must know the peer's public key.
  ///   - own: the hello sent on this connection.
  ///   - peer: the hello received on it, already checked.
  public init(secrets: ReplicaSecrets, own: LinkHello, peer: LinkHello) throws(LinkError) {
    guard own.replica == secrets.replica, peer.replica != own.replica,
      let publicKey = secrets.publicKeys(of: peer.replica)
    else { throw .helloReplica(peer.replica.rawValue) }
    let shared: SharedSecret
    do {
      shared = try secrets.agreementKey.sharedSecretFromKeyAgreement(
        with: Curve25519.KeyAgreement.PublicKey(rawRepresentation: publicKey.agreement))
    } catch { throw .keyAgreement }
    // A point of small order gives zero whatever our key is, so everybody could derive the rest (RFC 7748 §6.1).
    guard shared.withUnsafeBytes({ $0.contains { $0 != 0 } }) else { throw .keyAgreement }
    let lowerFirst = own.replica < peer.replica
    var salt = Data()
    for nonce in lowerFirst ? [own.nonce, peer.nonce] : [peer.nonce, own.nonce] {
      nonce.withUnsafeBytes { salt.append(contentsOf: $0) }
    }
    func key(from sender: ReplicaID, to receiver: ReplicaID) -> HMACKey {
      var info = Data("muster link".utf8)
      own.cluster.withUnsafeBytes { info.append(contentsOf: $0) }
      for id in [sender, receiver] {
        withUnsafeBytes(of: id.rawValue.bigEndian) { info.append(contentsOf: $0) }
      }
      let key = shared.hkdfDerivedSymmetricKey(
        using: SHA256.self, salt: salt, sharedInfo: info, outputByteCount: 32)
      return key.withUnsafeBytes { HMACKey($0) }
    }
    sending = key(from: own.replica, to: peer.replica)
    receiving = key(from: peer.replica, to: own.replica)
  }
}

extension LinkKeys: CustomStringConvertible {
  /// Nothing of the keys.
  public var description: String { "<link keys>" }
}
