// Replicas over TLS: the cluster works, whoever is not what it says stays out, and the cluster goes on.

import Channels
import Foundation
import Logging
import NIOCore
import PBFT
import ReplicaHost
import Synchronization
import TestSupport
import Testing
import Wire

/// Keeps what is logged.
private final class Complaints: LogHandler, Sendable {
  let lines = Mutex<[String]>([])

  var metadata: Logger.Metadata {
    get { [:] }
    set {}
  }
  var logLevel: Logger.Level {
    get { .warning }
    set {}
  }
  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { nil }
    set {}
  }

  func log(event: LogEvent) { lines.withLock { $0.append("\(event.message)") } }

  func count(of text: String) -> Int { lines.withLock { $0.count { $0.contains(text) } } }

  var logger: Logger { Logger(label: "test") { _ in self } }
}

@Suite("Replicas over TLS")
struct LinkSecurityTests {
  /// A cluster over sockets whose replicas have certificates of one authority, but for those in `others`.
  private func plan(
    starting: [Int]? = nil, protocol: LinkProtocol = .standard, logger: Logger? = nil,
    others: [Int32: @Sendable (ClusterID) -> LinkCredentials] = [:]
  ) -> ClusterPlan {
    var plan = ClusterPlan(transport: .sockets, starting: starting)
    plan.adjust = { configuration in
      let cluster = configuration.secrets.cluster
      let credentials =
        others[configuration.id.rawValue]?(cluster)
        ?? LinkAuthority.publiclyKnown(cluster: cluster).issue(for: configuration.id)
      configuration.replicaAuthentication = .tls
      configuration.linkTLS = try! LinkTLS(
        credentials: credentials, cluster: cluster, protocol: `protocol`)
    }
    plan.logger = logger
    return plan
  }

  private func security(
    _ cluster: LiveCluster, _ replica: Int32, validity: Range<Date>? = nil
  ) throws -> LinkTLS {
    let authority = LinkAuthority.publiclyKnown(cluster: cluster.keys.cluster)
    return try LinkTLS(
      credentials: authority.issue(for: ReplicaID(replica), validity: validity), cluster: cluster.keys.cluster
    )
  }

  private func hello(_ cluster: LiveCluster, _ replica: Int32) -> [UInt8] {
    let hello = LinkHello(
      replica: ReplicaID(replica), cluster: cluster.keys.cluster, membershipID: 0, authentication: .tls)
    var bytes = [UInt8](repeating: 0, count: LinkHello.byteCount)
    bytes.withUnsafeMutableBytes { hello.encode(into: $0) }
    return bytes
  }

  private func expectService(_ cluster: LiveCluster, sum: Int32 = 1) async throws {
    try await cluster.withProxy { proxy in try await proxy.add(1, expecting: sum) }
  }

  @Test("a cluster orders over TLS, version by version", arguments: ["TLSv1.2", "TLSv1.3"])
  func orders(version: String) async throws {
    let only = try LinkProtocol(version: version, suites: nil)
    try await LiveCluster.with(plan(protocol: only)) { cluster in
      try await cluster.withProxy { proxy in
        for sum in Int32(1)...20 { try await proxy.add(1, expecting: sum) }
      }
      for index in 0..<4 {
        let mesh = try await cluster.sample(index).mesh
        #expect(mesh.refusedHandshakes == 0 && mesh.failedHandshakes == 0 && mesh.refusedHellos == 0)
        #expect(mesh.lostLinks == 0 && mesh.malformedFrames == 0)
      }
    }
  }

  @Test("messages for a replica that is away wait, and make it whole when it comes")
  func keepsMessages() async throws {
    try await LiveCluster.with(plan(starting: [0, 1, 2])) { cluster in
      try await cluster.startLate()
      #expect(try await cluster.sample(0).status.chain == cluster.sample(3).status.chain)
      #expect(try await cluster.sample(0).mesh.droppedBodies == 0)
    }
  }

  @Test("a lost replica that comes back connects again and takes part")
  func reconnects() async throws {
    try await LiveCluster.with(plan()) { cluster in
      try await expectService(cluster)
      try await cluster.stop(3)
      try await cluster.until("the loss is seen", at: 0) { $0.mesh.lostLinks == 1 }
      try await cluster.start(3, recovering: true)
      try await cluster.hosts[3]!.allConnected().get()
      try await cluster.withProxy(client: LiveCluster.firstClient + 1) { proxy in
        try await proxy.add(1, expecting: 2)
      }
    }
  }

  @Test("strangers are refused and counted, each complaint is made once, and the cluster goes on")
  func strangers() async throws {
    let complaints = Complaints()
    try await LiveCluster.with(plan(logger: complaints.logger)) { cluster in
      let port = cluster.replicaEndpoints[ReplicaID(0)]!
      func knock(_ security: LinkTLS?, _ bytes: [UInt8] = []) async throws {
        guard let link = try? await PlainLink.connect(to: port, on: cluster.loop, security: security) else {
          return
        }
        if !bytes.isEmpty { try await link.send(bytes) }
        _ = try await link.untilClosed()
      }
      let other = try LinkTLS(
        credentials: LinkAuthority.generate(cluster: cluster.keys.cluster).issue(for: ReplicaID(3)),
        cluster: cluster.keys.cluster)
      let past = Date(timeIntervalSince1970: 1_000)..<Date(timeIntervalSince1970: 2_000)
      let expired = try security(cluster, 3, validity: past)
      var refused: UInt64 = 0
      for _ in 0..<3 {
        try await knock(nil, Array("GET / HTTP/1.1\r\n\r\n".utf8))
        try await knock(expired)
        refused += 2
        try await cluster.until("both are counted", at: 0) { $0.mesh.refusedHandshakes == refused }
      }
      // It does not believe us either: it ends the handshake by itself.
      for _ in 0..<3 {
        try await knock(other)
        refused += 1
        try await cluster.until("it is counted", at: 0) { $0.mesh.refusedHandshakes == refused }
      }
      // With a good certificate, and a hello of somebody else.
      for count in UInt64(1)...3 {
        try await knock(try security(cluster, 2), hello(cluster, 3))
        try await cluster.until("the hello is counted", at: 0) { $0.mesh.refusedHellos == count }
      }
      #expect(complaints.count(of: "it does not speak TLS") == 1)
      #expect(complaints.count(of: "its certificate has expired on 1970-01-01") == 1)
      #expect(complaints.count(of: "it does not accept us") == 1)
      #expect(complaints.count(of: "hello of replica 3 with the certificate of replica 2") == 1)
      #expect(try await cluster.sample(0).mesh.lostLinks == 0)
      try await expectService(cluster)
    }
  }

  @Test("a replica with a wrong certificate stays out, hears why, and the other three go on")
  func wrongReplica() async throws {
    let complaints = Complaints()
    let refused: [(credentials: @Sendable (ClusterID) -> LinkCredentials, own: String, others: String)] = [
      (
        { LinkAuthority.generate(cluster: $0).issue(for: ReplicaID(3)) },
        "no link to replica 0: its certificate is not from the cluster's authority", "it does not accept us"
      ),
      (
        { LinkAuthority.publiclyKnown(cluster: $0).issue(for: ReplicaID(2)) },
        "no link to replica 0: it ended the connection without accepting us",
        "hello of replica 3 with the certificate of replica 2"
      ),
    ]
    for refusal in refused {
      let plan = plan(starting: [0, 1, 2], logger: complaints.logger, others: [3: refusal.credentials])
      try await LiveCluster.with(plan) { cluster in
        for index in 0..<3 { try await cluster.hosts[index]!.quorumConnected().get() }
        try await cluster.start(3)
        // It tries again and again; nobody hears of it more than once.
        try await cluster.until("it has tried often", at: 3) { $0.mesh.failedHandshakes >= 9 }
        for index in 0..<3 {
          let mesh = try await cluster.sample(index).mesh
          #expect(mesh.refusedHandshakes + mesh.refusedHellos >= 2)
        }
        try await cluster.withProxy(all: false) { proxy in try await proxy.add(1, expecting: 1) }
      }
      #expect(complaints.count(of: "replica 3: " + refusal.own) == 1)
      #expect(complaints.count(of: "replica 0: refused a replica link") >= 1)
      #expect(complaints.count(of: refusal.others) == 3)
      complaints.lines.withLock { $0 = [] }
    }
  }

  @Test("a replica that speaks TLS and three that do not: it stays out, and both sides say why")
  func mixedAuthentication() async throws {
    let complaints = Complaints()
    var plan = plan(starting: [0, 1, 2], logger: complaints.logger)
    let secure = plan.adjust
    plan.adjust = { if $0.id == ReplicaID(3) { secure(&$0) } }
    try await LiveCluster.with(plan) { cluster in
      for index in 0..<3 { try await cluster.hosts[index]!.quorumConnected().get() }
      try await cluster.start(3)
      try await cluster.until("it has tried often", at: 3) { $0.mesh.failedHandshakes >= 6 }
      try await cluster.until("its hello is refused", at: 0) { $0.mesh.refusedHellos >= 1 }
      try await cluster.withProxy(all: false) { proxy in try await proxy.add(1, expecting: 1) }
    }
    #expect(complaints.count(of: "replica 0: refused a replica link: TLS where it is not spoken") == 1)
    #expect(complaints.count(of: "replica 3: no link to replica 0: it does not speak TLS") == 1)
  }

  @Test("TLS without certificates, or certificates without TLS, is a configuration that cannot run")
  func incompleteConfigurations() async throws {
    try await LiveCluster.with(ClusterPlan(transport: .sockets, count: 1)) { cluster in
      let certificates = try security(cluster, 0)
      for change in [{ $0.replicaAuthentication = .tls }, { $0.linkTLS = certificates }]
        as [(inout HostConfiguration) -> Void]
      {
        var configuration = cluster.configuration(0)
        change(&configuration)
        #expect(throws: HostError.self) {
          _ = try HostedReplica(
            configuration: configuration, loop: cluster.loop, boss: cluster.loop, meter: LoopMeter(owners: 1),
            meterOwner: 0, logger: .init(label: "test"))
        }
      }
    }
  }
}
