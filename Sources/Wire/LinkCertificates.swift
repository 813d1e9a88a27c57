// Certificates of TLS links. A cluster has one authority, made with its keys, that names each replica in a certificate of
// its own; whoever holds the authority's certificate can tell which replica a certificate names. There is one step from
// authority to replica and no other, so that checking a certificate is a short list and every refusal has a name.

import Crypto
import Foundation
import PBFT
import X509

/// What one replica shows on TLS links, and by what it judges what others show. PEM throughout.
public struct LinkCredentials: Sendable {
  /// The replica's certificate.
  public let certificatePEM: String
  /// Its private key, PKCS #8.
  public let privateKeyPEM: String
  /// The authority's certificate.
  public let authorityPEM: String

  public init(certificatePEM: String, privateKeyPEM: String, authorityPEM: String) {
    self.certificatePEM = certificatePEM
    self.privateKeyPEM = privateKeyPEM
    self.authorityPEM = authorityPEM
  }
}

extension LinkCredentials: CustomStringConvertible, CustomReflectable {
  /// Nothing of the key.
  public var description: String { "<link credentials>" }
  public var customMirror: Mirror { Mirror(self, children: []) }
}

/// Why a certificate does not admit its holder.
public enum CertificateRefusal: Error, Hashable, Sendable {
  /// The peer showed none, or more than its own.
  case count(Int)
  /// The bytes are no certificate.
  case unreadable
  /// It is not from the cluster's authority.
  case authority
  /// The instant, in whole seconds since 1970, up to which it was valid.
  case expired(Int64)
  /// The instant, in whole seconds since 1970, from which it will be valid.
  case notYetValid(Int64)
  /// It may act as an authority, or is not meant for links.
  case usage
  /// It names no replica of this cluster.
  case name
}

extension CertificateRefusal: CustomStringConvertible {
  public var description: String {
    switch self {
    case .count(0): "it has no certificate"
    case .count(let count): "it shows \(count) certificates, expected its own alone"
    case .unreadable: "its certificate cannot be read"
    case .authority: "its certificate is not from the cluster's authority (tls-ca.pem)"
    case .expired(let instant): "its certificate has expired on \(Self.text(instant))"
    case .notYetValid(let instant): "its certificate is valid only from \(Self.text(instant)) on"
    case .usage: "its certificate is not one for replica links"
    case .name: "its certificate names no replica of this cluster"
    }
  }

  private static func text(_ instant: Int64) -> String {
    Date(timeIntervalSince1970: TimeInterval(instant)).formatted(.iso8601)
  }
}

/// The authority of a cluster: a P-256 key and its certificate. Whoever holds it can name replicas.
public struct LinkAuthority: Sendable {
  /// Certificates are valid for so long: keys of a cluster are made for its measurements, not for decades.
  public static let validitySeconds: TimeInterval = 10 * 366 * 86_400
  /// Certificates are valid so long before they are made, for clocks that differ.
  public static let clockToleranceSeconds: TimeInterval = 3_600

  public let cluster: ClusterID
  private let key: P256.Signing.PrivateKey
  private let certificate: Certificate

  /// A new authority from the system's entropy.
  public static func generate(cluster: ClusterID, now: Date = Date()) -> LinkAuthority {
    LinkAuthority(cluster: cluster, key: P256.Signing.PrivateKey(), now: now)
  }

  /// The same authority for everybody who knows the cluster's id, for trials without key files: what BFT-SMaRt's one key
  /// pair for all replicas is. It protects nothing.
  public static func publiclyKnown(cluster: ClusterID, now: Date = Date()) -> LinkAuthority {
    var seed = SHA256.hash(data: Data("muster link authority \(cluster)".utf8))
    while true {
      // All but one value of 2^32 are keys.
      if let key = try? P256.Signing.PrivateKey(rawRepresentation: Data(seed)) {
        return LinkAuthority(cluster: cluster, key: key, now: now)
      }
      seed = SHA256.hash(data: Data(seed))
    }
  }

  /// Reads `tls-ca.key` and `tls-ca.pem`. Throws what the parsers throw, and `CertificateRefusal.authority` when the two do not
  /// belong together: nobody would admit what such an authority issues.
  init(cluster: ClusterID, keyPEM: String, certificatePEM: String) throws {
    self.cluster = cluster
    key = try P256.Signing.PrivateKey(pemRepresentation: keyPEM)
    certificate = try Certificate(pemEncoded: certificatePEM)
    guard certificate.publicKey == Certificate.PublicKey(key.publicKey) else {
      throw CertificateRefusal.authority
    }
  }

  private init(cluster: ClusterID, key: P256.Signing.PrivateKey, now: Date) {
    self.cluster = cluster
    self.key = key
    // What goes in is ours, and its encoding cannot fail.
    certificate = try! Self.certificate(
      subject: Self.name(of: cluster), issuer: Self.name(of: cluster), publicKey: key.publicKey,
      signedBy: key, validity: Self.validity(from: now),
      extensions: Certificate.Extensions {
        Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
        Critical(KeyUsage(keyCertSign: true))
      })
  }

  /// A replica's certificate with a new key.
  ///
  /// - Parameter validity: by default from an hour ago on for `validitySeconds`.
  public func issue(for replica: ReplicaID, validity: Range<Date>? = nil) -> LinkCredentials {
    let own = P256.Signing.PrivateKey()
    let name = GeneralName.uniformResourceIdentifier(LinkName(cluster: cluster, replica: replica).text)
    let certificate = try! Self.certificate(
      subject: DistinguishedName { CommonName("Muster replica \(replica.rawValue)") },
      issuer: certificate.subject, publicKey: own.publicKey, signedBy: key,
      validity: validity ?? Self.validity(from: Date()),
      extensions: Certificate.Extensions {
        Critical(BasicConstraints.notCertificateAuthority)
        Critical(KeyUsage(digitalSignature: true))
        try ExtendedKeyUsage([.serverAuth, .clientAuth])
        SubjectAlternativeNames([name])
      })
    return LinkCredentials(
      certificatePEM: try! certificate.serializeAsPEM().pemString, privateKeyPEM: own.pemRepresentation,
      authorityPEM: certificatePEM)
  }

  /// What everybody may have.
  public var certificatePEM: String { try! certificate.serializeAsPEM().pemString }
  /// What only who makes keys may have.
  var privateKeyPEM: String { key.pemRepresentation }

  private static func validity(from now: Date) -> Range<Date> {
    now.addingTimeInterval(-clockToleranceSeconds)..<now.addingTimeInterval(validitySeconds)
  }

  private static func name(of cluster: ClusterID) throws -> DistinguishedName {
    try DistinguishedName { CommonName("Muster cluster \(cluster)") }
  }

  private static func certificate(
    subject: DistinguishedName, issuer: DistinguishedName, publicKey: P256.Signing.PublicKey,
    signedBy key: P256.Signing.PrivateKey, validity: Range<Date>, extensions: Certificate.Extensions
  ) throws -> Certificate {
    try Certificate(
      version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: .init(publicKey),
      notValidBefore: validity.lowerBound, notValidAfter: validity.upperBound, issuer: issuer,
      subject: subject, signatureAlgorithm: .ecdsaWithSHA256, extensions: extensions,
      issuerPrivateKey: .init(key))
  }
}

extension LinkAuthority: CustomStringConvertible, CustomReflectable {
  public var description: String { "<link authority of \(cluster)>" }
  public var customMirror: Mirror { Mirror(self, children: []) }
}

/// Judges certificates that peers show.
public struct LinkCertificateJudge: Sendable {
  private let authority: Certificate
  private let cluster: ClusterID

  /// - Throws: `CertificateRefusal.unreadable` when the authority's PEM is none.
  public init(authorityPEM: String, cluster: ClusterID) throws(CertificateRefusal) {
    do { authority = try Certificate(pemEncoded: authorityPEM) } catch { throw .unreadable }
    self.cluster = cluster
  }

  /// The replica that the one certificate of `chain` (DER) names. That its holder has the private key is proved by the
  /// handshake, not here.
  ///
  /// - Parameter now: both bounds of the validity count as valid.
  public func replica(shownBy chain: [[UInt8]], now: Date) throws(CertificateRefusal) -> ReplicaID {
    guard chain.count == 1 else { throw .count(chain.count) }
    let shown: Certificate
    do { shown = try Certificate(derEncoded: chain[0]) } catch { throw .unreadable }
    return try replica(shownBy: shown, now: now)
  }

  /// The same for a certificate in PEM: a replica looks at its own before it starts.
  public func replica(shownBy certificatePEM: String, now: Date) throws(CertificateRefusal) -> ReplicaID {
    let shown: Certificate
    do { shown = try Certificate(pemEncoded: certificatePEM) } catch { throw .unreadable }
    return try replica(shownBy: shown, now: now)
  }

  private func replica(shownBy shown: Certificate, now: Date) throws(CertificateRefusal) -> ReplicaID {
    guard shown.issuer == authority.subject, shown.signatureAlgorithm == .ecdsaWithSHA256,
      authority.publicKey.isValidSignature(shown.signature, for: shown)
    else { throw .authority }
    guard now >= shown.notValidBefore else { throw .notYetValid(shown.notValidBefore.wholeSeconds) }
    guard now <= shown.notValidAfter else { throw .expired(shown.notValidAfter.wholeSeconds) }
    guard let constraints = try? shown.extensions.basicConstraints,
      constraints == .notCertificateAuthority,
      let usage = try? shown.extensions.keyUsage, usage.digitalSignature, !usage.keyCertSign
    else { throw .usage }
    guard let names = try? shown.extensions.subjectAlternativeNames, names.count == 1,
      case .uniformResourceIdentifier(let text)? = names.first, let name = LinkName(text: text),
      name.cluster == cluster
    else { throw .name }
    return name.replica
  }
}

/// How a certificate names a replica: `urn:muster:<cluster id>:replica:<id>`.
struct LinkName: Equatable {
  var cluster: ClusterID
  var replica: ReplicaID

  init(cluster: ClusterID, replica: ReplicaID) {
    self.cluster = cluster
    self.replica = replica
  }

  var text: String { "urn:muster:\(cluster):replica:\(replica.rawValue)" }

  /// Reads exactly what `text` writes.
  init?(text: String) {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 5, let cluster = ClusterID(hexadecimal: String(parts[2])), let id = Int32(parts[4]),
      id >= 0
    else { return nil }
    self.init(cluster: cluster, replica: ReplicaID(rawValue: id))
    guard self.text == text else { return nil }
  }
}

extension Date {
  fileprivate var wholeSeconds: Int64 { Int64(timeIntervalSince1970.rounded(.down)) }
}
