// Certificates of replica links: what the judge admits, and the files they are kept in.

import Foundation
import PBFT
import Testing

@testable import Wire

@Suite("Certificates of replica links")
final class LinkCertificateTests {
  let configuration: String
  let files: KeyFiles
  let cluster = ClusterID.random()
  let authority: LinkAuthority
  let judge: LinkCertificateJudge
  let now = Date()

  init() throws {
    configuration = NSTemporaryDirectory() + "muster-link-certificates-\(UUID())"
    files = KeyFiles(configurationDirectory: configuration)
    try FileManager.default.createDirectory(atPath: files.directory, withIntermediateDirectories: true)
    authority = LinkAuthority.generate(cluster: cluster)
    judge = try LinkCertificateJudge(authorityPEM: authority.certificatePEM, cluster: cluster)
  }

  deinit { try? FileManager.default.removeItem(atPath: configuration) }

  private func judgement(
    _ credentials: LinkCredentials, at instant: Date? = nil
  ) -> Result<ReplicaID, CertificateRefusal> {
    do throws(CertificateRefusal) {
      return .success(try judge.replica(shownBy: credentials.certificatePEM, now: instant ?? now))
    } catch {
      return .failure(error)
    }
  }

  @Test("a certificate names its replica from its first to its last second, and not outside")
  func validity() {
    let begin = Date(timeIntervalSince1970: 1_000_000_000)
    let end = Date(timeIntervalSince1970: 1_000_100_000)
    let credentials = authority.issue(for: ReplicaID(rawValue: 7), validity: begin..<end)
    for instant in [begin, begin.addingTimeInterval(50), end] {
      #expect(judgement(credentials, at: instant) == .success(ReplicaID(rawValue: 7)))
    }
    #expect(
      judgement(credentials, at: begin.addingTimeInterval(-1)) == .failure(.notYetValid(1_000_000_000)))
    #expect(judgement(credentials, at: end.addingTimeInterval(1)) == .failure(.expired(1_000_100_000)))
  }

  @Test("only the cluster's own authority is believed, whatever it calls itself")
  func authorities() {
    #expect(judgement(authority.issue(for: ReplicaID(rawValue: 0))) == .success(ReplicaID(rawValue: 0)))
    // The same name, another key.
    let impostor = LinkAuthority.generate(cluster: cluster)
    #expect(judgement(impostor.issue(for: ReplicaID(rawValue: 0))) == .failure(.authority))
    let stranger = LinkAuthority.generate(cluster: .random())
    #expect(judgement(stranger.issue(for: ReplicaID(rawValue: 0))) == .failure(.authority))
  }

  @Test("the authority's own certificate and nonsense admit nobody, nor does a chain")
  func noReplica() {
    let own = LinkCredentials(certificatePEM: authority.certificatePEM, privateKeyPEM: "", authorityPEM: "")
    #expect(judgement(own) == .failure(.usage))
    let nonsense = LinkCredentials(certificatePEM: "nonsense", privateKeyPEM: "", authorityPEM: "")
    #expect(judgement(nonsense) == .failure(.unreadable))
    for (chain, refusal) in [
      ([], CertificateRefusal.count(0)), ([[1, 2], [3]], .count(2)), ([[0x30, 0x80, 1]], .unreadable),
      ([[UInt8]()], .unreadable),
    ] {
      #expect(throws: refusal) { try self.judge.replica(shownBy: chain, now: self.now) }
    }
  }

  @Test("a certificate of the same authority for another cluster's id names nobody here")
  func otherCluster() throws {
    let here = try LinkCertificateJudge(authorityPEM: authority.certificatePEM, cluster: .random())
    let credentials = authority.issue(for: ReplicaID(rawValue: 0))
    #expect(throws: CertificateRefusal.name) {
      try here.replica(shownBy: credentials.certificatePEM, now: self.now)
    }
  }

  @Test("publicly known authorities are the same for everybody, and each process has its own certificate")
  func publiclyKnown() throws {
    let one = LinkAuthority.publiclyKnown(cluster: cluster)
    let other = LinkAuthority.publiclyKnown(cluster: cluster)
    let judge = try LinkCertificateJudge(authorityPEM: one.certificatePEM, cluster: cluster)
    let credentials = other.issue(for: ReplicaID(rawValue: 2))
    #expect(
      try judge.replica(shownBy: credentials.certificatePEM, now: now) == ReplicaID(rawValue: 2))
  }

  @Test("the files are readable by their owner only, and each replica reads its own")
  func filesOfReplicas() throws {
    let written = try files.writeLinkCertificates(cluster: cluster, replicas: testReplicas)
    #expect(written == testReplicas)
    let names = try FileManager.default.contentsOfDirectory(atPath: files.directory).sorted()
    #expect(
      names == [
        "tls-ca.key", "tls-ca.pem", "tls0.key", "tls0.pem", "tls1.key", "tls1.pem", "tls2.key", "tls2.pem",
        "tls3.key", "tls3.pem",
      ])
    for name in names {
      let attributes = try FileManager.default.attributesOfItem(atPath: files.directory + "/" + name)
      #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o600)
    }
    for replica in testReplicas {
      let read = try files.readLinkCredentials(replica, cluster: cluster)
      let judge = try LinkCertificateJudge(authorityPEM: read.authorityPEM, cluster: cluster)
      #expect(try judge.replica(shownBy: read.certificatePEM, now: now) == replica)
    }
  }

  @Test("an authority that is there goes on: a new replica gets a certificate, the others keep theirs")
  func laterReplicas() throws {
    try files.writeLinkCertificates(cluster: cluster, replicas: testReplicas)
    let before = try files.readLinkCredentials(testReplicas[0], cluster: cluster)
    let added = ReplicaID(rawValue: 4)
    #expect(try files.writeLinkCertificates(cluster: cluster, replicas: testReplicas + [added]) == [added])
    let after = try files.readLinkCredentials(testReplicas[0], cluster: cluster)
    #expect(after.certificatePEM == before.certificatePEM && after.privateKeyPEM == before.privateKeyPEM)
    let judge = try LinkCertificateJudge(authorityPEM: before.authorityPEM, cluster: cluster)
    let fifth = try files.readLinkCredentials(added, cluster: cluster)
    #expect(try judge.replica(shownBy: fifth.certificatePEM, now: now) == added)
  }

  @Test("a replica finds out itself that its certificate is another's, expired, missing or exposed")
  func badFiles() throws {
    try files.writeLinkCertificates(cluster: cluster, replicas: testReplicas)
    func path(_ name: String) -> String { files.directory + "/" + name }
    func failure(_ replica: Int32, now: Date = Date()) -> KeyFileError? {
      #expect(throws: KeyFileError.self) {
        _ = try self.files.readLinkCredentials(
          ReplicaID(rawValue: replica), cluster: self.cluster, now: now)
      }
    }
    let expired = failure(0, now: now.addingTimeInterval(20 * 366 * 86_400))
    #expect(expired?.description.contains("tls0.pem:1:") == true)
    #expect(expired?.description.contains("expired on 20") == true)
    chmod(path("tls1.key"), 0o640)
    #expect(failure(1) == .exposed(path: path("tls1.key"), mode: 0o640))
    unlink(path("tls2.pem"))
    #expect(failure(2) == .missing(path: path("tls2.pem")))
    unlink(path("tls3.pem"))
    try FileManager.default.copyItem(atPath: path("tls0.pem"), toPath: path("tls3.pem"))
    #expect(failure(3)?.description.contains("it is that of replica 0") == true)
  }

  @Test("files that hold something else, too much or no text are named")
  func otherFiles() throws {
    try files.writeLinkCertificates(cluster: cluster, replicas: testReplicas)
    func path(_ name: String) -> String { files.directory + "/" + name }
    func write(_ bytes: [UInt8], _ name: String) throws {
      try Data(bytes).write(to: URL(fileURLWithPath: path(name)))
    }
    func failure(_ replica: Int32) -> KeyFileError? {
      #expect(throws: KeyFileError.self) {
        _ = try self.files.readLinkCredentials(ReplicaID(rawValue: replica), cluster: self.cluster)
      }
    }
    try write([UInt8](repeating: 65, count: 1 << 20 + 1), "tls0.pem")
    #expect(failure(0) == .unreadable(path: path("tls0.pem"), reason: "larger than 1 MiB"))
    try write([0xff, 0xfe, 0xfd], "tls1.pem")
    guard case .unreadable(path("tls1.pem"), _)? = failure(1) else {
      Issue.record("bytes that are no text were read")
      return
    }
    try write(Array("nonsense".utf8), "tls2.pem")
    #expect(failure(2)?.description.contains("tls2.pem:1: expected a certificate of replica 2") == true)
    // The key of another authority beside this one's certificate.
    try write(Array(LinkAuthority.generate(cluster: cluster).privateKeyPEM.utf8), "tls-ca.key")
    #expect(
      throws: KeyFileError.malformed(
        path: path("tls-ca.key"), line: 1, expected: "the P-256 key of tls-ca.pem, PKCS #8 in PEM")
    ) { try files.writeLinkCertificates(cluster: cluster, replicas: [ReplicaID(rawValue: 8)]) }
    unlink(path("tls-ca.pem"))
    #expect(throws: KeyFileError.missing(path: path("tls-ca.pem"))) {
      try files.writeLinkCertificates(cluster: cluster, replicas: [ReplicaID(rawValue: 8)])
    }
    try FileManager.default.removeItem(atPath: files.directory)
    try "".write(toFile: files.directory, atomically: false, encoding: .utf8)
    guard case .unreadable? = failure(3) else {
      Issue.record("a file in a file was found")
      return
    }
  }

  @Test("neither an authority nor credentials print a key")
  func printsNothing() {
    let credentials = authority.issue(for: ReplicaID(rawValue: 0))
    for text in [
      "\(authority)", String(reflecting: authority), "\(credentials)", String(reflecting: credentials),
    ] {
      #expect(!text.contains("PRIVATE"))
    }
  }
}
