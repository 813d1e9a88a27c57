// The null target in this process: stub replicas on a loop of their own, for calibrating the generator.

import Channels
import LoadGenerator
import NIOCore
import NIOPosix
import PBFT
import Wire

/// Running stubs.
final class EmbeddedNullTarget: Sendable {
  let clientEndpoints: [Endpoint]
  let keys: ClusterKeys
  let replicaIDs: [ReplicaID]
  private let stubs: [NullReplica]
  private let group: MultiThreadedEventLoopGroup

  static func start(
    _ parameters: PointParameters, _ speech: GeneratorParty.Speech = GeneratorParty.Speech()
  ) async throws -> EmbeddedNullTarget {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    do {
      return try await EmbeddedNullTarget(parameters, speech, group: group)
    } catch {
      try? await group.shutdownGracefully()
      throw error
    }
  }

  private init(
    _ parameters: PointParameters, _ speech: GeneratorParty.Speech, group: MultiThreadedEventLoopGroup
  ) async throws {
    self.group = group
    let loop = group.next()
    let ids = (0..<parameters.replicas).map { ReplicaID(rawValue: Int32($0)) }
    replicaIDs = ids
    let mode = try SignatureMode(name: parameters.signatureMode)
    keys = ClusterKeys.generate(replicas: ids)
    let first = Int32(parameters.firstClientID)
    let clientKeys = keys.clientPublicKeys(first...(first + Int32(parameters.sessions) - 1), mode: mode)
    var endpoints: [Endpoint] = []
    var started: [NullReplica] = []
    for id in ids {
      let verifier = try RequestVerifier(
        mode: mode, secrets: keys.replicaSecrets(of: id, clients: clientKeys)!, replicas: ids,
        clientCapacity: max(1024, parameters.sessions))
      nonisolated(unsafe) let handed = verifier
      let stub = NullReplica(
        id: id.rawValue, verifier: handed, replyBytes: parameters.replyBytes, dialect: speech.dialect,
        channelKeys: speech.useMACs ? ChannelKeys12(capacity: parameters.sessions) : nil, loop: loop)
      if parameters.transport == .memory {
        let port = MemoryPort()
        _ = try await stub.start(.memory(port), boss: loop).get()
        endpoints.append(.memory(port))
      } else {
        let port = try await stub.start(.socket(host: "127.0.0.1", port: 0), boss: loop).get()
        endpoints.append(.socket(host: "127.0.0.1", port: port ?? 0))
      }
      started.append(stub)
    }
    clientEndpoints = endpoints
    stubs = started
  }

  func stop() async {
    for stub in stubs { try? await stub.stop().get() }
    try? await group.shutdownGracefully()
  }
}
