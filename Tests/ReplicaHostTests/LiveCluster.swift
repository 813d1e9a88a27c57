// Production replicas on real event loops, put together as experiments put them, and what talks to them.

import Channels
import Foundation
import Logging
import NIOCore
import PBFT
import ReplicaHost
import Replication
import ServiceClient
import TestSupport
import Testing
import Wire

/// How the replicas of a test are.
struct ClusterPlan {
  var transport = Transport.memory
  var count = 4
  var mode = SignatureMode.none
  var service = "counter"
  /// The replicas that start with the cluster; all by default.
  var starting: [Int]?
  var adjust: (inout HostConfiguration) -> Void = { _ in }
  /// Where the replicas keep their data; nil when they keep none.
  var dataFolder: String?
  /// Where the replicas complain; nobody listens by default.
  var logger: Logger?
  /// Replicas that misbehave.
  var behaviours: [Int: AdversarialBehaviour] = [:]
  /// How many of the replicas, from the first, are the first membership; all by default.
  var members: Int?
  /// The client that may change the membership, with a key of its own; nil = nobody.
  var trustedClient: Int32?
  /// Whether places are known before anybody listens there, so that a membership can name them. Over sockets.
  var hasKnownPorts = false
}

/// A running cluster on two loops; a third is for clients.
final class LiveCluster: @unchecked Sendable {
  static let firstClient: Int32 = 1_000

  let keys: ClusterKeys
  let membership: Membership
  /// By position; nil where a replica has not been started.
  private(set) var hosts: [HostedReplica?]
  /// Those around whose hosts an adversary is.
  private var adversaries: [Int: AdversarialReplica] = [:]
  private(set) var clientEndpoints: [Endpoint]
  private(set) var replicaEndpoints: [ReplicaID: Endpoint] = [:]
  /// Where clients live.
  let loop: any EventLoop

  private let plan: ClusterPlan
  private let loops: [any EventLoop]
  private let meters: [LoopMeter]
  private let clientKeys: ClientPublicKeys

  private init(_ plan: ClusterPlan, _ loops: [any EventLoop]) {
    self.plan = plan
    self.loops = Array(loops.dropLast())
    loop = loops.last!
    meters = self.loops.map { _ in LoopMeter(owners: plan.count) }
    membership = Membership(count: plan.members ?? plan.count)
    let ids = Membership(count: plan.count).replicas
    keys = ClusterKeys.generate(replicas: ids)
    clientKeys = keys.clientPublicKeys(Self.firstClient...Self.firstClient + 9, mode: plan.mode)
    hosts = Array(repeating: nil, count: plan.count)
    func place() -> Endpoint {
      plan.hasKnownPorts ? Transport.sockets.place() : plan.transport.place()
    }
    clientEndpoints = ids.map { _ in place() }
    for id in ids { replicaEndpoints[id] = place() }
  }

  /// Where a replica is reached, as a membership says it.
  func address(of index: Int) -> MemberAddress? {
    let id = ReplicaID(Int32(index))
    guard case .socket(let host, let clientPort) = clientEndpoints[index],
      case .socket(_, let replicaPort)? = replicaEndpoints[id]
    else { return nil }
    return MemberAddress(
      replica: id, host: host, clientPort: UInt16(clientPort), replicaPort: UInt16(replicaPort))
  }

  /// Runs `body` with a cluster whose starting replicas are connected to each other, and stops it.
  static func with(_ plan: ClusterPlan = ClusterPlan(), _ body: (LiveCluster) async throws -> Void)
    async throws
  {
    try await withLoops(3) { loops in
      let cluster = LiveCluster(plan, loops)
      do {
        let starting = plan.starting ?? Array(0..<plan.count)
        for index in starting { try await cluster.start(index) }
        if starting.count == plan.count {
          for (index, host) in cluster.hosts.enumerated() where plan.behaviours[index] == nil {
            try await host!.allConnected().get()
          }
        }
        try await body(cluster)
        await cluster.stop()
      } catch {
        await cluster.stop()
        throw error
      }
    }
  }

  /// The configuration of a replica of this cluster.
  func configuration(_ index: Int) -> HostConfiguration {
    let id = ReplicaID(Int32(index))
    var replica = ReplicaConfiguration()
    // Small enough for a debug build to make quickly.
    replica.maximumHeldRequests = 4_096
    replica.maximumStoredRequests = 1_024
    replica.maximumClients = 1_024
    replica.requestTimeoutNanoseconds = 0
    var configuration = HostConfiguration(
      id: id, membership: membership, replica: replica, service: plan.service, signatureMode: plan.mode,
      replicaAuthentication: .hmac, secrets: keys.replicaSecrets(of: id, clients: clientKeys)!,
      clientEndpoint: clientEndpoints[index], replicaEndpoint: replicaEndpoints[id]!,
      replicaEndpoints: replicaEndpoints)
    configuration.clientCapacity = 64
    if let client = plan.trustedClient, let pair = keys.generatorSecrets.pairs.pair(.ed25519, of: client) {
      configuration.trustedParty = TrustedParty(id: client, algorithm: .ed25519, key: Array(pair.publicKey))
    }
    if plan.hasKnownPorts { configuration.memberAddresses = (0..<membership.count).compactMap(address) }
    if let folder = plan.dataFolder {
      let path = folder + "/replica\(id.rawValue)"
      configuration.dataFolder = path
      configuration.formats = !FileManager.default.fileExists(atPath: path)
      configuration.replica.durability = .sync
      configuration.segmentGrowthBytes = 1 << 20
    }
    plan.adjust(&configuration)
    return configuration
  }

  /// Has twenty requests executed by replicas 0, 1 and 2, then starts replica 3; returns once it has executed them too.
  func startLate() async throws {
    for index in 0..<3 { try await hosts[index]!.quorumConnected().get() }
    let link = try await connection(to: 0)
    for sequence in Int32(0)..<20 {
      try await link.send(request(sequence: sequence))
      _ = try await link.untilFrames(Int(sequence) + 1)
    }
    try await start(3)
    try await hosts[3]!.allConnected().get()
    try await until("replica 3 has executed all", at: 3) { $0.status.executedRequests == 20 }
    await link.close()
  }

  /// Starts a replica; those with lower ids must have been started over sockets, for it connects to them.
  ///
  /// - Parameter recovering: it has lived before, and nothing of that is left.
  func start(_ index: Int, recovering: Bool = false) async throws {
    var logger = plan.logger ?? Logger(label: "test")
    if plan.logger == nil { logger.logLevel = .critical }
    let place = loops[index % loops.count]
    var configuration = configuration(index)
    configuration.startsRecovering = recovering
    if let behaviour = plan.behaviours[index] {
      let adversary = try AdversarialReplica(
        behaviour: behaviour, configuration: configuration, loop: place, boss: place,
        meter: meters[index % loops.count], meterOwner: index, logger: logger)
      try await adversary.start().get()
      adversaries[index] = adversary
      hosts[index] = adversary.honest
      return reached(index, at: try await adversary.ports().get())
    }
    let host = try HostedReplica(
      configuration: configuration, loop: place, boss: place, meter: meters[index % loops.count],
      meterOwner: index,
      logger: logger)
    try await host.start().get()
    hosts[index] = host
    reached(index, at: try await host.ports().get())
  }

  private func reached(_ index: Int, at ports: (client: Int?, replica: Int?)) {
    clientEndpoints[index] = clientEndpoints[index].reached(at: ports.client)
    let id = ReplicaID(Int32(index))
    replicaEndpoints[id] = replicaEndpoints[id]!.reached(at: ports.replica)
  }

  /// Ends a replica, as a crash of its process would or in good order.
  func stop(_ index: Int, cleanly: Bool = false) async throws {
    try await hosts[index]!.stop(cleanly: cleanly).get()
    hosts[index] = nil
  }

  func stop() async {
    for adversary in adversaries.values { try? await adversary.stop().get() }
    for host in hosts { try? await host?.stop().get() }
    // The links tell their owners on a later turn; the hosts live until then.
    for loop in loops { try? await loop.submit {}.get() }
  }

  func sample(_ index: Int) async throws -> ReplicaSample { try await hosts[index]!.sample().get() }

  /// Returns once the replica's sample is as described.
  func until(_ what: String, at index: Int, _ condition: @escaping (ReplicaSample) -> Bool) async throws {
    try await eventually(what, on: loop) { condition(try await sample(index)) }
  }

  // MARK: Clients

  /// Runs `body` with a connected service proxy.
  func withProxy(
    client: Int32 = firstClient, mode: SignatureMode? = nil, readOnly: Bool = false, all: Bool = true,
    _ body: (ServiceProxy) async throws -> Void
  ) async throws {
    var configuration = SessionConfiguration(
      replicas: Array(clientEndpoints.prefix(membership.count)), quorums: membership.quorums)
    configuration.firstClientID = client
    configuration.readOnlyRequests = readOnly
    nonisolated(unsafe) let signer = try signer(mode ?? plan.mode)
    let proxy = ServiceProxy(
      configuration: configuration, signer: signer, loop: loop, timeoutNanoseconds: 60_000_000_000)
    do {
      try await proxy.connect(forAll: all)
      try await body(proxy)
    } catch {
      await proxy.close()
      throw error
    }
    await proxy.close()
  }

  func signer(_ mode: SignatureMode) throws -> RequestSigner {
    try RequestSigner(
      mode: mode, secrets: keys.generatorSecrets, replicas: membership.replicas, clientCapacity: 16)
  }

  /// A bare connection to a replica's client port.
  func connection(to index: Int) async throws -> PlainLink {
    try await PlainLink.connect(to: clientEndpoints[index], on: loop)
  }

  /// The frame of a request.
  func request(
    client: Int32 = firstClient, session: Int32 = 1, sequence: Int32, kind: UInt8 = 0,
    content: [UInt8] = [0, 0, 0, 1], signature: [UInt8] = []
  ) -> [UInt8] {
    Frame.bytes(
      header: ClientFrameHeader(
        sender: client, membershipID: 0, kind: kind, session: session, sequence: sequence,
        operationID: sequence),
      content: content, signature: signature)
  }

  /// The frame that asks a replica for its status.
  static let askStatus = Frame.bytes(
    header: ClientFrameHeader(
      sender: 0, membershipID: 0, kind: ClientMessageKind.askStatus.rawValue, session: 0, sequence: 0,
      operationID: 0),
    content: nil)
}

/// Runs `body` with the path of a folder that is removed afterwards.
func withFolder<Result>(_ body: (String) async throws -> Result) async throws -> Result {
  let path = NSTemporaryDirectory() + "muster-host-\(UUID().uuidString)"
  try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(atPath: path) }
  return try await body(path)
}

/// An increment of the counter.
func increment(_ number: Int32) -> [UInt8] { withUnsafeBytes(of: number.bigEndian) { Array($0) } }

/// The counter's reply.
func value(_ reply: [UInt8]?) -> Int32? {
  guard let reply, reply.count == 4 else { return nil }
  return reply.withUnsafeBytes { Int32(bigEndian: $0.loadUnaligned(as: Int32.self)) }
}

extension ServiceProxy {
  /// Adds to the counter and expects its new value.
  func add(_ number: Int32, expecting sum: Int32, location: SourceLocation = #_sourceLocation) async throws {
    let reply = try await invokeOrdered(increment(number))
    #expect(value(reply) == sum, sourceLocation: location)
  }

  /// Reads the counter and expects its value.
  func read(expecting sum: Int32, location: SourceLocation = #_sourceLocation) async throws {
    let reply = try await invokeUnordered(increment(0))
    #expect(value(reply) == sum, sourceLocation: location)
  }
}
