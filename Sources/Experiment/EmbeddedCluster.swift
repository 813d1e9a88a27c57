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
import Wire

/// A running in-process cluster.
final class EmbeddedCluster: Sendable {
  let replicas: [HostedReplica]
  let keys: ClusterKeys
  /// Where clients connect, by position.
  let clientEndpoints: [Endpoint]
  let group: MultiThreadedEventLoopGroup
  let membership: Membership

  private init(
    replicas: [HostedReplica], keys: ClusterKeys, clientEndpoints: [Endpoint],
    group: MultiThreadedEventLoopGroup,
    membership: Membership
  ) {
    self.replicas = replicas
    self.keys = keys
    self.clientEndpoints = clientEndpoints
    self.group = group
    self.membership = membership
  }

  /// Starts `parameters.replicas` replicas and waits until all are connected to each other.
  static func start(_ parameters: PointParameters, logger: Logger) async throws -> EmbeddedCluster {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: parameters.resolvedLoops)
    do {
      return try await start(parameters, group: group, logger: logger)
    } catch {
      try? await group.shutdownGracefully()
      throw error
    }
  }

  private static func start(
    _ parameters: PointParameters, group: MultiThreadedEventLoopGroup, logger: Logger
  ) async throws -> EmbeddedCluster {
    let ids = (0..<parameters.replicas).map { ReplicaID(rawValue: Int32($0)) }
    guard let membership = Membership(replicas: ids, faults: parameters.faults) else {
      throw TargetFailure("\(parameters.replicas) replicas do not tolerate \(parameters.faults) faults")
    }
    let mode = try SignatureMode(name: parameters.signatureMode)
    let keys = ClusterKeys.generate(replicas: ids)
    let first = Int32(parameters.firstClientID)
    let clientKeys = keys.clientPublicKeys(first...(first + Int32(parameters.sessions) - 1), mode: mode)
    let loops = Array(group.makeIterator())
    for loop in loops { try await loop.submit { ThreadPriority.setReplicas() }.get() }
    let meters = loops.map { _ in LoopMeter(owners: ids.count) }
    let memoryPorts = ids.map { _ in (client: MemoryPort(), replica: MemoryPort()) }
    var replicaEndpoints: [ReplicaID: Endpoint] = [:]
    var hosts: [HostedReplica] = []
    var clientEndpoints: [Endpoint] = []
    for (index, id) in ids.enumerated() {
      let inMemory = parameters.transport == .memory
      let anyPort = Endpoint.socket(host: "127.0.0.1", port: 0)
      var configuration = HostConfiguration(
        id: id, membership: membership, replica: parameters.replicaConfiguration,
        service: parameters.service.rawValue,
        signatureMode: mode,
        replicaAuthentication: parameters.replicaAuthentication,
        secrets: keys.replicaSecrets(of: id, clients: clientKeys)!,
        clientEndpoint: inMemory ? .memory(memoryPorts[index].client) : anyPort,
        replicaEndpoint: inMemory ? .memory(memoryPorts[index].replica) : anyPort,
        replicaEndpoints: replicaEndpoints)
      configuration.replyBytes = parameters.replyBytes
      configuration.clientCapacity = max(1024, parameters.sessions)
      let host = try HostedReplica(
        configuration: configuration, loop: loops[index % loops.count], boss: loops[index % loops.count],
        meter: meters[index % loops.count], meterOwner: index, logger: logger)
      try await host.start().get()
      hosts.append(host)
      // The higher id connects, so a replica needs to know only the addresses of those before it.
      let ports = try await host.ports().get()
      replicaEndpoints[id] =
        inMemory ? .memory(memoryPorts[index].replica) : .socket(host: "127.0.0.1", port: ports.replica ?? 0)
      clientEndpoints.append(
        inMemory ? .memory(memoryPorts[index].client) : .socket(host: "127.0.0.1", port: ports.client ?? 0))
    }
    try await meet(hosts)
    return EmbeddedCluster(
      replicas: hosts, keys: keys, clientEndpoints: clientEndpoints, group: group, membership: membership)
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

  func samples() async throws -> [ReplicaSample] {
    var samples: [ReplicaSample] = []
    for replica in replicas { samples.append(try await replica.sample().get()) }
    return samples
  }

  func stop() async {
    for replica in replicas { try? await replica.expectEnd().get() }
    for replica in replicas { try? await replica.stop().get() }
    try? await group.shutdownGracefully()
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

  /// What the pure replica is told.
  var replicaConfiguration: ReplicaConfiguration {
    var configuration = ReplicaConfiguration()
    configuration.consenter = orderingProtocol == .pbft ? .pbft : .noops
    configuration.batchSize = batchSize
    configuration.maximumBatchRequests = max(configuration.maximumBatchRequests, batchSize)
    configuration.batchTimeoutNanoseconds = batchTimeoutNanoseconds
    configuration.requestTimeoutNanoseconds = requestTimeoutNanoseconds
    configuration.checkpointPeriod = checkpointPeriod
    configuration.logMultiplier = logMultiplier
    configuration.maximumClients = max(configuration.maximumClients, sessions * 2)
    let requestBytes = payloadBytes + 4096
    configuration.maximumRequestBytes = max(configuration.maximumRequestBytes, requestBytes)
    configuration.maximumBatchBytes = max(configuration.maximumBatchBytes, requestBytes)
    return configuration
  }
}
