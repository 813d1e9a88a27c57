// `muster counter`: BFT-SMaRt's CounterClient against any replica that runs its counter.

import Channels
import Foundation
import NIOCore
import NIOPosix
import PBFT
import ServiceClient
import Wire

/// A client that increments a replicated counter and prints what comes back.
public enum CounterClient {
  /// Invokes `options.operations` times; one line per reply, as BFT-SMaRt's demonstration prints it.
  public static func run(_ options: CounterOptions) async throws {
    let folder = try ClusterFolder(options.configDirectory, dialect: options.dialect)
    let mode =
      try options.signatureMode.map { try SignatureMode(name: $0) } ?? folder.statedSignatureMode() ?? .none
    var configuration = SessionConfiguration(
      replicas: folder.clientEndpoints, quorums: folder.membership.quorums,
      replicaIDs: folder.membership.replicas)
    configuration.membershipID = folder.membership.id
    configuration.firstClientID = Int32(options.id)
    configuration.readOnlyRequests = folder.system.hasReadOnlyRequests ?? false
    configuration.dialect = folder.dialect
    configuration.useMACs = folder.usesMACs
    configuration.replyHash = folder.system.hashAlgorithm.flatMap { ReplyHash(rawValue: $0) }
    let id = Int32(options.id)
    let secrets =
      mode.needsSecrets
      ? try folder.generatorSecrets(mode: mode, clients: id...id)
      : ClusterKeys.publiclyKnown(replicas: folder.membership.replicas, dialect: folder.dialect)
        .generatorSecrets
    let signer = try RequestSigner(
      mode: mode, secrets: secrets, replicas: folder.membership.replicas, clientCapacity: 1)
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    nonisolated(unsafe) let handed = signer
    let seconds = folder.system.invokeOrderedTimeoutSeconds ?? 40
    let proxy = ServiceProxy(
      configuration: configuration, signer: handed, loop: group.next(),
      timeoutNanoseconds: Int64(seconds) * 1_000_000_000,
      signerOf: mode == .hmac
        ? { try? RequestSigner(mode: mode, secrets: secrets, replicas: $0, clientCapacity: 1) } : nil)
    do {
      try await proxy.connect()
      try await invoke(options, proxy)
    } catch let error as InvocationError {
      await proxy.close()
      try? await group.shutdownGracefully()
      throw CommandFailure(.unavailable, "\(error)")
    }
    await proxy.close()
    try? await group.shutdownGracefully()
  }

  private static func invoke(_ options: CounterOptions, _ proxy: ServiceProxy) async throws {
    let content = withUnsafeBytes(of: options.increment.bigEndian) { Array($0) }
    let kind = options.kind ?? (options.increment == 0 ? .unordered : .ordered)
    if kind.isUnordered, !proxy.servesUnordered {
      say("unordered requests are off (system.optimizations.readonly_requests): the reads are sent ordered")
    }
    for operation in 0..<options.operations {
      print("Invocation \(operation)", terminator: "")
      let reply = try await proxy.invoke(content, kind: kind)
      guard reply.count == 4 else {
        throw CommandFailure(
          .unavailable, "the reply has \(reply.count) bytes; expected 4, as the counter service sends")
      }
      let value = reply.withUnsafeBytes { Int32(bigEndian: $0.loadUnaligned(as: Int32.self)) }
      print(", returned value: \(value)")
    }
  }

  private static func say(_ line: String) {
    FileHandle.standardError.write(Data((line + "\n").utf8))
  }
}

extension SignatureMode {
  /// Whether clients need keys in this mode.
  var needsSecrets: Bool {
    switch self {
    case .none, .verifyOnly: false
    case .hmac, .sign: true
    }
  }
}
