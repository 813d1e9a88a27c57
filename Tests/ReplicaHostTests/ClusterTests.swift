// Four replicas in the world and their service: counting, signature modes, the status, life and death.

import Channels
import NIOCore
import PBFT
import ReplicaHost
import Replication
import ServiceClient
import TestSupport
import Testing
import Wire

@Suite("A live cluster")
struct ClusterTests {
  @Test("the counter counts, and a read sees what was counted", arguments: Transport.allCases)
  func counts(transport: Transport) async throws {
    try await LiveCluster.with(ClusterPlan(transport: transport)) { cluster in
      try await cluster.withProxy { proxy in
        for (step, sum) in [(1, 1), (1, 2), (3, 5), (-4, 1)] as [(Int32, Int32)] {
          try await proxy.add(step, expecting: sum)
        }
        try await proxy.read(expecting: 1)
        #expect(try await proxy.counters().unorderedSentOrdered == 1)
      }
      for index in 0..<4 {
        try await cluster.until("replica \(index) has executed all", at: index) {
          $0.status.executedRequests == 5
        }
      }
      let samples = [try await cluster.sample(0), try await cluster.sample(3)]
      #expect(samples[0].status.chain == samples[1].status.chain && samples[0].status.chain != .zero)
      #expect(samples[0].cpuNanoseconds > 0 && samples[0].meshBytes > 0 && samples[0].clientBytes > 0)
      #expect(samples.allSatisfy { $0.host.malformedFrames == 0 && $0.mesh.malformedFrames == 0 })
    }
  }

  @Test("several clients at once are all answered, each request exactly once", arguments: Transport.allCases)
  func servesSeveral(transport: Transport) async throws {
    try await LiveCluster.with(ClusterPlan(transport: transport)) { cluster in
      try await withThrowingTaskGroup(of: Void.self) { group in
        for client in LiveCluster.firstClient..<LiveCluster.firstClient + 5 {
          group.addTask {
            try await cluster.withProxy(client: client) { proxy in
              for _ in 0..<20 { _ = try await proxy.invokeOrdered(increment(1)) }
            }
          }
        }
        try await group.waitForAll()
      }
      try await cluster.withProxy { proxy in
        try await proxy.add(0, expecting: 100)
      }
    }
  }

  @Test("every signature mode serves its clients", arguments: SignatureMode.allCases)
  func servesEachMode(mode: SignatureMode) async throws {
    try await LiveCluster.with(ClusterPlan(mode: mode)) { cluster in
      try await cluster.withProxy { proxy in
        for sum in Int32(1)...3 { try await proxy.add(1, expecting: sum) }
        #expect(try await proxy.counters().badReplyTags == 0)
      }
      for index in 0..<4 {
        try await cluster.until("replica \(index) has executed all", at: index) {
          $0.status.executedRequests == 3
        }
        let host = try await cluster.sample(index).host
        #expect(host.verifications >= 3 && host.rejectedAuthenticators == 0)
      }
    }
  }

  @Test(
    "a request whose authentication is not of the mode is refused and counted",
    arguments: [
      (SignatureMode.none, 64), (.hmac, 0), (.hmac, 64), (.sign(.ed25519), 64), (.sign(.ecdsaP256), 0),
    ])
  func refusesOtherAuthentication(mode: SignatureMode, bytes: Int) async throws {
    try await LiveCluster.with(ClusterPlan(mode: mode)) { cluster in
      let link = try await cluster.connection(to: 0)
      let forged = [UInt8](repeating: 7, count: bytes)
      try await link.send(cluster.request(sequence: 0, signature: forged))
      try await link.send(LiveCluster.askStatus)
      // The status comes, and nothing before it: the request has been dropped, the connection kept.
      let frames = try await link.untilFrames(1)
      #expect(frames.map(\.header.kind) == [ClientMessageKind.statusReply.rawValue])
      let sample = try await cluster.sample(0)
      #expect(sample.host.rejectedAuthenticators == 1 && sample.status.counters.requestsStored == 0)
      try await cluster.withProxy { proxy in
        try await proxy.add(1, expecting: 1)
      }
      await link.close()
    }
  }

  @Test("with read-only requests, reads are answered without being ordered")
  func servesReads() async throws {
    let plan = ClusterPlan(adjust: { $0.replica.readOnlyRequests = true })
    try await LiveCluster.with(plan) { cluster in
      try await cluster.withProxy(readOnly: true) { proxy in
        try await proxy.add(4, expecting: 4)
        for index in 0..<4 {
          try await cluster.until("replica \(index) is up to date", at: index) {
            $0.status.executedRequests == 1
          }
        }
        try await proxy.read(expecting: 4)
      }
      let status = try await cluster.sample(1).status
      #expect(status.executedRequests == 1 && status.counters.unorderedExecuted >= 1)
    }
  }

  @Test("one replica alone executes without agreement", arguments: Transport.allCases)
  func noops(transport: Transport) async throws {
    let plan = ClusterPlan(transport: transport, count: 1, adjust: { $0.replica.consenter = .noops })
    try await LiveCluster.with(plan) { cluster in
      try await cluster.withProxy { proxy in
        for sum in Int32(1)...3 { try await proxy.add(1, expecting: sum) }
      }
    }
  }

  @Test("a replica tells its settings, counters and digest chain to who asks", arguments: Transport.allCases)
  func tellsStatus(transport: Transport) async throws {
    let plan = ClusterPlan(transport: transport, mode: .hmac, adjust: { $0.replica.batchSize = 17 })
    try await LiveCluster.with(plan) { cluster in
      try await cluster.withProxy { proxy in _ = try await proxy.invokeOrdered(increment(1)) }
      try await cluster.until("replica 2 has executed it", at: 2) { $0.status.executedRequests == 1 }
      let report = try await StatusQuery.ask(cluster.clientEndpoints[2], on: cluster.loop).get()
      let sample = try await cluster.sample(2)
      #expect(report.replica == ReplicaID(2) && report.view == .zero && report.isActive)
      #expect(report.executedRequests == 1 && report.lastExecuted == SequenceNumber(1))
      #expect(report.chain == sample.status.chain && report.recentChain.map(\.digest) == [report.chain])
      let expected = [
        "n": "4", "f": "1", "membership": "0", "protocol": "pbft", "service": "counter",
        "signature_mode": "hmac",
        "replica_auth": "hmac", "batch_size": "17", "readonly_requests": "false", "request_timeout_ns": "0",
      ]
      for (name, value) in expected { #expect(report.setting(name) == value) }
      #expect(report.counter("batches_executed") == 1 && sample.host.statusQueries == 1)
    }
  }

  @Test("nobody at an address has no status", arguments: Transport.allCases)
  func nobodyHasNoStatus(transport: Transport) async throws {
    try await LiveCluster.with(ClusterPlan(transport: transport, count: 1)) { cluster in
      try await cluster.hosts[0]!.stop().get()
      await #expect(throws: StatusQuery.Failure.self) {
        try await StatusQuery.ask(cluster.clientEndpoints[0], on: cluster.loop).get()
      }
    }
  }

  @Test(
    "stopping closes every link and refuses new ones, as often as it is asked", arguments: Transport.allCases)
  func stops(transport: Transport) async throws {
    try await LiveCluster.with(ClusterPlan(transport: transport)) { cluster in
      let link = try await cluster.connection(to: 3)
      try await link.send(LiveCluster.askStatus)
      _ = try await link.untilFrames(1)
      let host = cluster.hosts[3]!
      try await host.expectEnd().get()
      for _ in 0..<3 { try await host.stop().get() }
      #expect(try await link.untilClosed() == .peer)
      await #expect(throws: (any Error).self) { try await cluster.connection(to: 3) }
      #expect(try await cluster.sample(3).openConnections == 0)
      // The other three are a quorum.
      try await eventually("the others notice", on: cluster.loop) {
        var lost: UInt64 = 0
        for index in 0..<3 { lost += try await cluster.sample(index).mesh.lostLinks }
        return lost == 3
      }
      var configuration = SessionConfiguration(
        replicas: cluster.clientEndpoints, quorums: cluster.membership.quorums)
      configuration.firstClientID = LiveCluster.firstClient
      nonisolated(unsafe) let signer = try RequestSigner(
        mode: .none, secrets: cluster.keys.generatorSecrets, replicas: cluster.membership.replicas,
        clientCapacity: 1)
      let proxy = ServiceProxy(
        configuration: configuration, signer: signer, loop: cluster.loop, timeoutNanoseconds: 60_000_000_000)
      try await proxy.connect()
      try await proxy.add(9, expecting: 9)
      await proxy.close()
    }
  }

  @Test("a replica that cannot listen says so and keeps nothing open")
  func cannotListen() async throws {
    try await LiveCluster.with(ClusterPlan(transport: .sockets, count: 1)) { cluster in
      // The same client port again, now in use; for replicas a port that was free a moment ago.
      var configuration = cluster.configuration(0)
      let probe = try await Listener.open(
        Transport.sockets.place(), boss: cluster.loop, worker: cluster.loop
      ) { _ in PlainLink(loop: cluster.loop) }.get()
      probe.close()
      let replicaEndpoint = Transport.sockets.place().reached(at: probe.port)
      configuration.replicaEndpoint = replicaEndpoint
      let second = try HostedReplica(
        configuration: configuration, loop: cluster.loop, boss: cluster.loop, meter: LoopMeter(owners: 1),
        meterOwner: 0,
        logger: .init(label: "test"))
      await #expect(throws: (any Error).self) { try await second.start().get() }
      try await eventually("nobody listens for replicas", on: cluster.loop) {
        guard let link = try? await PlainLink.connect(to: replicaEndpoint, on: cluster.loop) else {
          return true
        }
        await link.close()
        return false
      }
      try await second.stop().get()
      try await cluster.withProxy { proxy in
        try await proxy.add(2, expecting: 2)
      }
    }
  }

  @Test("a host refuses a configuration that cannot run")
  func refusesConfigurations() async throws {
    try await LiveCluster.with(ClusterPlan(count: 1)) { cluster in
      for change in [{ $0.service = "poem" }, { $0.replica.batchSize = 0 }]
        as [(inout HostConfiguration) -> Void]
      {
        var configuration = cluster.configuration(0)
        change(&configuration)
        #expect(throws: HostError.self) {
          _ = try HostedReplica(
            configuration: configuration, loop: cluster.loop, boss: cluster.loop, meter: LoopMeter(owners: 1),
            meterOwner: 0,
            logger: .init(label: "test"))
        }
      }
    }
  }
}
