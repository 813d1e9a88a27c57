// TLS links: who gets in, who does not and why, and what system.config may ask for.

import Channels
import Foundation
import NIOCore
import PBFT
import TestSupport
import Testing
import Wire

@Suite("TLS links")
struct LinkTLSTests {
  private let cluster = ClusterID.random()
  private let authority: LinkAuthority

  init() { authority = LinkAuthority.generate(cluster: cluster) }

  private func security(
    _ replica: Int32, by other: LinkAuthority? = nil, validity: Range<Date>? = nil,
    _ protocol: LinkProtocol = .standard, handshakeTimeout: TimeAmount = LinkTLS.handshakeTimeout
  ) throws -> LinkTLS {
    try LinkTLS(
      credentials: (other ?? authority).issue(for: ReplicaID(rawValue: replica), validity: validity),
      cluster: cluster, protocol: `protocol`, handshakeTimeout: handshakeTimeout)
  }

  /// A listener of replica 0 and what it has accepted and refused.
  private final class Gate: @unchecked Sendable {
    let watch: Watch
    var accepted: [PlainLink] = []
    var refusals: [LinkRefusal] = []
    var addresses: Set<String> = []
    private(set) var place = Transport.sockets.place()
    private var listener: Listener?

    init(loop: any EventLoop) { watch = Watch(loop: loop) }

    func open(_ security: LinkTLS?) async throws {
      let loop = watch.loop
      let listener = try await Listener.open(
        place, boss: loop, worker: loop, security: security,
        refused: { [self] refusal, address in
          refusals.append(refusal)
          addresses.insert(address)
          watch.changed()
        }
      ) { [self] link in
        let end = PlainLink(loop: loop)
        end.adopt(link)
        accepted.append(end)
        watch.changed()
        return end
      }.get()
      self.listener = listener
      place = place.reached(at: listener.port)
    }

    func untilRefused(_ count: Int = 1) async throws -> [LinkRefusal] {
      try await watch.until("\(count) connections are refused") { [self] in refusals.count >= count }
      return try await watch.loop.submit { [self] in refusals }.get()
    }

    func close() async throws {
      listener?.close()
      for end in try await watch.loop.submit({ [self] in accepted }).get() { await end.close() }
    }
  }

  private func withGate(
    _ security: LinkTLS?, _ body: (Gate, any EventLoop) async throws -> Void
  ) async throws {
    try await withLoops(2) { loops in
      let gate = Gate(loop: loops[1])
      try await gate.open(security)
      do {
        try await body(gate, loops[0])
        try await gate.close()
      } catch {
        try? await gate.close()
        throw error
      }
    }
  }

  /// What the dialling end is refused with, at the handshake or, in TLS 1.3, right behind it.
  private func refusal(_ gate: Gate, on loop: any EventLoop, _ security: LinkTLS) async throws -> LinkRefusal?
  {
    do {
      let link = try await PlainLink.connect(to: gate.place, on: loop, security: security)
      guard case .refused(let refusal) = try await link.untilClosed() else { return nil }
      return refusal
    } catch let refusal as LinkRefusal {
      return refusal
    }
  }

  @Test("both ends know each other by id before the first byte", arguments: ["TLSv1.2", "TLSv1.3"])
  func mutualIdentity(version: String) async throws {
    let only = try LinkProtocol(version: version, suites: nil)
    try await withGate(try security(0, only)) { gate, loop in
      // One end is bound to a version, the other takes what it can get.
      let link = try await PlainLink.connect(to: gate.place, on: loop, security: try security(3))
      try await gate.watch.until("the link is accepted") { gate.accepted.count == 1 }
      #expect(try await link.on { $0.link.peer } == ReplicaID(rawValue: 0))
      #expect(try await gate.accepted[0].on { $0.link.peer } == ReplicaID(rawValue: 3))
      try await link.send([1, 2, 3])
      #expect(try await gate.accepted[0].untilTaken(3) == [1, 2, 3])
      #expect(gate.refusals.isEmpty)
      await link.close()
    }
  }

  @Test("megabytes of a turn leave in one flush and arrive whole", arguments: ["TLSv1.2", "TLSv1.3"])
  func largeTurns(version: String) async throws {
    let only = try LinkProtocol(version: version, suites: nil)
    try await withGate(try security(0)) { gate, loop in
      let link = try await PlainLink.connect(to: gate.place, on: loop, security: try security(1, only))
      try await gate.watch.until("the link is accepted") { gate.accepted.count == 1 }
      let sent = (0..<5_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
      try await link.send(sent)
      #expect(try await gate.accepted[0].untilTaken(sent.count) == sent)
      #expect(try await link.on { $0.link.flushes } == 1)
      await link.close()
    }
  }

  @Test("the certificate of another authority is refused, at the end that sees it")
  func wrongAuthority() async throws {
    let other = LinkAuthority.generate(cluster: cluster)
    // A stranger that dials believes the replica's authority: it is refused, and hears of it.
    try await withGate(try security(0)) { gate, loop in
      let stranger = try LinkTLS(
        credentials: mixed(other.issue(for: ReplicaID(rawValue: 3)), authorityPEM: authority.certificatePEM),
        cluster: cluster)
      _ = try await refusal(gate, on: loop, stranger)
      #expect(try await gate.untilRefused() == [.certificate(.authority)])
      #expect(gate.accepted.isEmpty && gate.addresses == ["127.0.0.1"])
    }
    // A stranger that listens is not talked to.
    try await withGate(try security(0, by: other)) { gate, loop in
      let refusal = try await refusal(gate, on: loop, try security(3))
      #expect(refusal == .certificate(.authority))
    }
  }

  private func mixed(_ credentials: LinkCredentials, authorityPEM: String) -> LinkCredentials {
    LinkCredentials(
      certificatePEM: credentials.certificatePEM, privateKeyPEM: credentials.privateKeyPEM,
      authorityPEM: authorityPEM)
  }

  @Test(
    "certificates out of their time are refused in either role",
    arguments: [
      (
        Date(timeIntervalSince1970: 1_000)..<Date(timeIntervalSince1970: 2_000),
        CertificateRefusal.expired(2_000)
      ),
      (
        Date(timeIntervalSince1970: 9_000_000_000)..<Date(timeIntervalSince1970: 9_000_000_100),
        .notYetValid(9_000_000_000)
      ),
    ])
  func wrongTime(validity: Range<Date>, reason: CertificateRefusal) async throws {
    try await withGate(try security(0)) { gate, loop in
      _ = try await refusal(gate, on: loop, try security(3, validity: validity))
      #expect(try await gate.untilRefused() == [.certificate(reason)])
      #expect(gate.accepted.isEmpty)
    }
    try await withGate(try security(0, validity: validity)) { gate, loop in
      let refusal = try await refusal(gate, on: loop, try security(3))
      #expect(refusal == .certificate(reason))
    }
  }

  @Test("who shows no certificate is refused", arguments: ["TLSv1.2", "TLSv1.3"])
  func plainBytes(version: String) async throws {
    try await withGate(try security(0, try LinkProtocol(version: version, suites: nil))) { gate, loop in
      let link = try await PlainLink.connect(to: gate.place, on: loop)
      try await link.send(Array("MSTR and so on, in the clear".utf8))
      _ = try await link.untilClosed()
      #expect(try await gate.untilRefused() == [.notTLS])
      #expect(gate.accepted.isEmpty)
    }
  }

  @Test("TLS to a port that does not speak it comes to nothing")
  func plainPort() async throws {
    try await withGate(nil) { gate, loop in
      let dialling = Task { try await refusal(gate, on: loop, try security(3)) }
      try await gate.watch.until("the connection is accepted") { gate.accepted.count == 1 }
      // What a plain replica answers: its hello.
      try await gate.accepted[0].send(Array("MSTR and so on, in the clear".utf8))
      #expect(try await dialling.value == .notTLS)
    }
  }

  @Test("versions or suites without overlap are refused at both ends")
  func nothingInCommon() async throws {
    let old = try LinkProtocol(version: "TLSv1.2", suites: nil)
    let new = try LinkProtocol(version: "TLSv1.3", suites: nil)
    try await withGate(try security(0, old)) { gate, loop in
      let refusal = try await refusal(gate, on: loop, try security(3, new))
      #expect(refusal == .nothingInCommon)
      #expect(try await gate.untilRefused() == [.nothingInCommon])
    }
    let one = try LinkProtocol(version: "TLSv1.2", suites: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")
    let other = try LinkProtocol(version: "TLSv1.2", suites: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,")
    try await withGate(try security(0, one)) { gate, loop in
      let refusal = try await refusal(gate, on: loop, try security(3, other))
      #expect(refusal == .nothingInCommon)
      #expect(try await gate.untilRefused() == [.nothingInCommon])
    }
  }

  @Test("connections that say nothing are bounded in number")
  func silentConnections() async throws {
    try await withGate(try security(0, handshakeTimeout: .hours(1))) { gate, loop in
      var links: [PlainLink] = []
      for _ in 0..<64 { links.append(try await PlainLink.connect(to: gate.place, on: loop)) }
      let last = try await PlainLink.connect(to: gate.place, on: loop)
      #expect(try await gate.untilRefused() == [.tooMany])
      _ = try await last.untilClosed()
      // Where one leaves there is room for another.
      await links[0].close()
      #expect(try await gate.untilRefused(2)[1] == .ended)
      let good = try await PlainLink.connect(to: gate.place, on: loop, security: try security(1))
      try await gate.watch.until("the link is accepted") { gate.accepted.count == 1 }
      for link in links + [good] { await link.close() }
    }
  }

  @Test("credentials that do not belong together are refused when they are loaded")
  func credentialsOfTwo() throws {
    let credentials = authority.issue(for: ReplicaID(rawValue: 0))
    let other = authority.issue(for: ReplicaID(rawValue: 0))
    for (certificate, key, root) in [
      ("", credentials.privateKeyPEM, credentials.authorityPEM),
      (credentials.certificatePEM, "", credentials.authorityPEM),
      (credentials.certificatePEM, credentials.privateKeyPEM, ""),
      (credentials.certificatePEM, other.privateKeyPEM, credentials.authorityPEM),
    ] {
      #expect(throws: LinkTLS.Problem.self) {
        _ = try LinkTLS(
          credentials: LinkCredentials(certificatePEM: certificate, privateKeyPEM: key, authorityPEM: root),
          cluster: cluster)
      }
    }
  }

  @Test("versions and suites are those of BFT-SMaRt's keys; weak ones are refused by name")
  func protocols() throws {
    #expect(try LinkProtocol(version: nil, suites: nil) == .standard)
    #expect(try LinkProtocol(version: nil, suites: "") == .standard)
    #expect(try LinkProtocol(version: nil, suites: "TLS_AES_128_GCM_SHA256,") == .standard)
    let shipped = try LinkProtocol(version: "TLSv1.2", suites: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,")
    #expect(shipped != .standard)
    #expect(throws: LinkProtocol.Problem.self) { _ = try LinkProtocol(version: "TLSv1.1", suites: nil) }
    let problem = #expect(throws: LinkProtocol.Problem.self) {
      _ = try LinkProtocol(version: nil, suites: "TLS_ECDHE_ECDSA_WITH_NULL_SHA")
    }
    #expect(problem?.description.contains("TLS_ECDHE_ECDSA_WITH_NULL_SHA: expected some of") == true)
  }
}
