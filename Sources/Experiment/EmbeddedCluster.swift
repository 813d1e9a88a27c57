// A cluster of production replicas in this process, over memory or loopback sockets, fresh for each point. Replicas share
// loops but nothing else: no digest, decoded request or verification is done once for all.

import Channels
import Foundation
import Logging
import NIOCore
import NIOPosix
import PBFT
import ReplicaHost
import Replication
import Synchronization
import Wire

/// A running in-process cluster, whose replicas can be killed and restarted one by one.
final class EmbeddedCluster: Sendable {
  let keys: ClusterKeys
  /// Where clients connect, by position.
  let clientEndpoints: [Endpoint]
  let group: MultiThreadedEventLoopGroup
  let membership: Membership
  /// What the replicas write to, removed with the cluster; nil when they write nothing.
  let data: TemporaryDataFolder?
  private let places: Mutex<[Place]>
  private let logger: Logger

  /// One replica's place, which outlives the replica.
  private struct Place: Sendable {
    var configuration: HostConfiguration
    let loop: any EventLoop
    let meter: LoopMeter
    let owner: Int
    var host: HostedReplica
    var isRunning = true
    /// Who was here before.
    var earlier: [HostedReplica] = []

    func makeHost(_ logger: Logger) throws -> HostedReplica {
      try HostedReplica(
        configuration: configuration, loop: loop, boss: loop, meter: meter, meterOwner: owner, logger: logger)
    }
  }

  private init(
    places: [Place], keys: ClusterKeys, group: MultiThreadedEventLoopGroup, membership: Membership,
    data: TemporaryDataFolder?, logger: Logger
  ) {
    clientEndpoints = places.map(\.configuration.clientEndpoint)
    self.places = Mutex(places)
    self.keys = keys
    self.group = group
    self.membership = membership
    self.data = data
    self.logger = logger
  }

  // MARK: Life

  /// Starts `parameters.replicas` replicas and waits until all are connected to each other.
  static func start(_ parameters: PointParameters, logger: Logger) async throws -> EmbeddedCluster {
    let data = parameters.needsDataFolder ? try TemporaryDataFolder() : nil
    let group = MultiThreadedEventLoopGroup(numberOfThreads: parameters.resolvedLoops)
    do {
      return try await start(parameters, group: group, data: data, logger: logger)
    } catch {
      try? await group.shutdownGracefully()
      data?.remove()
      throw error
    }
  }

  private static func start(
    _ parameters: PointParameters, group: MultiThreadedEventLoopGroup, data: TemporaryDataFolder?,
    logger: Logger
  ) async throws -> EmbeddedCluster {
    let ids = (0..<parameters.replicas).map { ReplicaID(rawValue: Int32($0)) }
    guard
      let membership = Membership(
        replicas: ids, faults: parameters.faults, model: parameters.faultModel)
    else {
      throw TargetFailure("\(parameters.replicas) replicas do not tolerate \(parameters.faults) faults")
    }
    let mode = try SignatureMode(name: parameters.signatureMode)
    let keys = ClusterKeys.generate(replicas: ids)
    let first = Int32(parameters.firstClientID)
    let clientKeys = keys.clientPublicKeys(first...(first + Int32(parameters.sessions) - 1), mode: mode)
    let loops = Array(group.makeIterator())
    for loop in loops { try await loop.submit { ThreadPriority.setReplicas() }.get() }
    let meters = loops.map { _ in LoopMeter(owners: ids.count) }
    let security = try parameters.linkTLS(of: ids, cluster: keys.cluster)
    var replicaEndpoints: [ReplicaID: Endpoint] = [:]
    var places: [Place] = []
    for (index, id) in ids.enumerated() {
      let inMemory = parameters.transport == .memory
      let anyPort = Endpoint.socket(host: "127.0.0.1", port: 0)
      var configuration = HostConfiguration(
        id: id, membership: membership, replica: parameters.replicaConfiguration,
        service: parameters.service.rawValue,
        signatureMode: mode,
        replicaAuthentication: parameters.replicaAuthentication,
        secrets: keys.replicaSecrets(of: id, clients: clientKeys)!,
        clientEndpoint: inMemory ? .memory(MemoryPort()) : anyPort,
        replicaEndpoint: inMemory ? .memory(MemoryPort()) : anyPort,
        replicaEndpoints: replicaEndpoints)
      configuration.linkTLS = security[id]
      configuration.replyBytes = parameters.replyBytes
      configuration.clientCapacity = max(1024, parameters.sessions)
      configuration.dataFolder = data?.path(of: id)
      configuration.formats = data != nil
      let meter = meters[index % loops.count]
      let loop = loops[index % loops.count]
      let host = try HostedReplica(
        configuration: configuration, loop: loop, boss: loop, meter: meter, meterOwner: index, logger: logger)
      try await host.start().get()
      if !inMemory {
        // A replica that is restarted takes the ports that the system chose for its predecessor.
        let ports = try await host.ports().get()
        configuration.clientEndpoint = .socket(host: "127.0.0.1", port: ports.client ?? 0)
        configuration.replicaEndpoint = .socket(host: "127.0.0.1", port: ports.replica ?? 0)
      }
      configuration.formats = false
      // The higher id connects, so a replica needs to know only the addresses of those before it.
      replicaEndpoints[id] = configuration.replicaEndpoint
      places.append(Place(configuration: configuration, loop: loop, meter: meter, owner: index, host: host))
    }
    try await meet(places.map(\.host))
    return EmbeddedCluster(
      places: places, keys: keys, group: group, membership: membership, data: data, logger: logger)
  }

  /// Waits until every replica is connected to every other.
  private static func meet(_ hosts: [HostedReplica]) async throws {
    let loop = hosts[0].loop
    let all = EventLoopFuture.andAllSucceed(hosts.map { $0.allConnected() }, on: loop)
    let promise = loop.makePromise(of: Void.self)
    all.cascade(to: promise)
    let timeout = loop.scheduleTask(in: .seconds(20)) {
      promise.fail(TargetFailure("the replicas did not connect to each other within 20 s"))
    }
    defer { timeout.cancel() }
    try await promise.futureResult.get()
  }

  func stop() async {
    let running = places.withLock { places in places.filter(\.isRunning).map(\.host) }
    for replica in running { try? await replica.expectEnd().get() }
    for replica in running { try? await replica.stop(cleanly: true).get() }
    try? await group.shutdownGracefully()
    data?.remove()
  }

  // MARK: Faults

  /// Ends the replica in a place at once, as a crash would. False when none runs there.
  func kill(_ position: Int) async throws -> Bool {
    let host = places.withLock { places -> HostedReplica? in
      guard places[position].isRunning else { return nil }
      places[position].isRunning = false
      return places[position].host
    }
    guard let host else { return false }
    try await host.stop(cleanly: false).get()
    return true
  }

  /// Starts a new replica in a place, with its predecessor's keys, addresses and data. False when one runs there.
  func restart(_ position: Int) async throws -> Bool {
    let found = places.withLock { places in places[position] }
    guard !found.isRunning else { return false }
    var place = found
    // What it voted for and did not write it may not contradict.
    place.configuration.startsRecovering = place.configuration.replica.durability == .none
    let host = try place.makeHost(logger)
    try await host.start().get()
    places.withLock { places in
      places[position].earlier.append(places[position].host)
      places[position].host = host
      places[position].isRunning = true
    }
    return true
  }

  /// The position of the primary of the highest view in force at a replica that runs; nil when none runs.
  func primary() async -> Int? {
    let views = (try? await samples())?.map(\.status.view) ?? []
    return views.max().map { membership.primaryPosition(of: $0) }
  }

  // MARK: Readings

  /// The replicas that run, by position.
  func samples() async throws -> [ReplicaSample] {
    let running = places.withLock { places in places.filter(\.isRunning).map(\.host) }
    var samples: [ReplicaSample] = []
    for replica in running { samples.append(try await replica.sample().get()) }
    return samples
  }

  /// Every replica there is and was: of each place those before, then the one of now.
  func allSamples() async throws -> [[ReplicaSample]] {
    let hosts = places.withLock { places in places.map { $0.earlier + [$0.host] } }
    var samples: [[ReplicaSample]] = []
    for place in hosts {
      var ofPlace: [ReplicaSample] = []
      for host in place { ofPlace.append(try await host.sample().get()) }
      samples.append(ofPlace)
    }
    return samples
  }
}

extension PointParameters {
  /// Event loops of in-process replicas: as stated, or the cores beside the generator's; in signed modes all cores,
  /// since then verification is what takes time, and the generator leaves most of its core idle.
  var resolvedLoops: Int {
    if let loops { return loops }
    let cores = max(1, ProcessInfo.processInfo.activeProcessorCount)
    return min(replicas, usesSignatures ? cores : max(1, cores - 1))
  }

  /// Whether in-process replicas write anything.
  var needsDataFolder: Bool { durability != .none }

  /// What the pure replica is told.
  var replicaConfiguration: ReplicaConfiguration {
    var configuration = ReplicaConfiguration()
    configuration.consenter = orderingProtocol == .pbft ? .pbft : .noops
    configuration.batchSize = batchSize
    configuration.maximumBatchRequests = max(configuration.maximumBatchRequests, batchSize)
    configuration.batchTimeoutNanoseconds = batchTimeoutNanoseconds
    configuration.requestTimeoutNanoseconds = requestTimeoutNanoseconds
    configuration.viewChangeTimeoutNanoseconds = viewChangeTimeoutNanoseconds
    configuration.durability = durability
    configuration.readOnlyRequests = kind.isUnordered
    configuration.checkpointPeriod = checkpointPeriod
    configuration.logMultiplier = logMultiplier
    configuration.maximumClients = max(configuration.maximumClients, sessions * 2)
    let requestBytes = payloadBytes + 4096
    configuration.maximumRequestBytes = max(configuration.maximumRequestBytes, requestBytes)
    configuration.maximumBatchBytes = max(configuration.maximumBatchBytes, requestBytes)
    return configuration
  }
}
