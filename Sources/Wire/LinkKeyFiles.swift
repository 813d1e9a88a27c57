// The files of TLS links in DIR/keys, beside the other keys and under the same rules: mode 0600, complete or not there.
//
//   tls-ca.pem     the authority's certificate: every replica has it
//   tls-ca.key     the authority's private key: only who makes keys has it
//   tls<id>.pem    a replica's certificate
//   tls<id>.key    a replica's private key

import Foundation
import PBFT

extension KeyFiles {
  /// Writes the authority and a certificate with a new key for each replica. With an authority there already, it goes on:
  /// replicas that have no certificate get one, and nothing is overwritten.
  ///
  /// - Returns: the replicas that got one.
  @discardableResult
  public func writeLinkCertificates(
    cluster: ClusterID, replicas: [ReplicaID]
  ) throws(KeyFileError) -> [ReplicaID] {
    let authority = try linkAuthority(cluster: cluster)
    var written: [ReplicaID] = []
    for replica in replicas {
      let (certificate, key) = Self.linkNames(of: replica)
      if exists(certificate), exists(key) { continue }
      let credentials = authority.issue(for: replica)
      try Self.replace(path(key), with: Array(credentials.privateKeyPEM.utf8))
      try Self.replace(path(certificate), with: Array(credentials.certificatePEM.utf8))
      written.append(replica)
    }
    return written
  }

  /// The authority in the folder; a new one if there is none.
  private func linkAuthority(cluster: ClusterID) throws(KeyFileError) -> LinkAuthority {
    guard exists(Self.authorityKeyName) || exists(Self.authorityName) else {
      let authority = LinkAuthority.generate(cluster: cluster)
      try Self.replace(path(Self.authorityKeyName), with: Array(authority.privateKeyPEM.utf8))
      try Self.replace(path(Self.authorityName), with: Array(authority.certificatePEM.utf8))
      return authority
    }
    let key = try readText(Self.authorityKeyName, isSecret: true)
    let certificate = try readText(Self.authorityName, isSecret: false)
    do {
      return try LinkAuthority(cluster: cluster, keyPEM: key, certificatePEM: certificate)
    } catch {
      throw .malformed(
        path: path(Self.authorityKeyName), line: 1, expected: "the P-256 key of tls-ca.pem, PKCS #8 in PEM")
    }
  }

  /// What replica `id` shows on TLS links. That the certificate is its own and in force is looked at here, so that the
  /// replica says so itself, and not its peers.
  public func readLinkCredentials(
    _ id: ReplicaID, cluster: ClusterID, now: Date = Date()
  ) throws(KeyFileError) -> LinkCredentials {
    let names = Self.linkNames(of: id)
    let credentials = LinkCredentials(
      certificatePEM: try readText(names.certificate, isSecret: false),
      privateKeyPEM: try readText(names.key, isSecret: true),
      authorityPEM: try readText(Self.authorityName, isSecret: false))
    let named: ReplicaID
    do {
      let judge = try LinkCertificateJudge(authorityPEM: credentials.authorityPEM, cluster: cluster)
      named = try judge.replica(shownBy: credentials.certificatePEM, now: now)
    } catch {
      throw .malformed(
        path: path(names.certificate), line: 1,
        expected: "a certificate of replica \(id.rawValue) from tls-ca.pem, and \(error)")
    }
    guard named == id else {
      throw .malformed(
        path: path(names.certificate), line: 1,
        expected: "the certificate of replica \(id.rawValue), and it is that of replica \(named.rawValue)")
    }
    return credentials
  }

  private func readText(_ name: String, isSecret: Bool) throws(KeyFileError) -> String {
    let path = path(name)
    var status = stat()
    guard stat(path, &status) == 0 else {
      throw errno == ENOENT ? .missing(path: path) : .unreadable(path: path, reason: systemMessage())
    }
    let mode = UInt32(status.st_mode) & 0o777
    if isSecret && mode & 0o077 != 0 { throw .exposed(path: path, mode: mode) }
    // A certificate or a key has a few hundred bytes.
    guard status.st_size <= 1 << 20 else { throw .unreadable(path: path, reason: "larger than 1 MiB") }
    do {
      return try String(contentsOfFile: path, encoding: .utf8)
    } catch {
      throw .unreadable(path: path, reason: error.localizedDescription)
    }
  }

  private func exists(_ name: String) -> Bool { access(path(name), F_OK) == 0 }

  private static let authorityName = "tls-ca.pem"
  private static let authorityKeyName = "tls-ca.key"

  private static func linkNames(of replica: ReplicaID) -> (certificate: String, key: String) {
    ("tls\(replica.rawValue).pem", "tls\(replica.rawValue).key")
  }
}
