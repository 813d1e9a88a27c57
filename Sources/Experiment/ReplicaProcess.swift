// `muster replica`: one replica of a configuration folder as a process of its own.

import Channels
import Dispatch
import Foundation
import Logging
import NIOCore
import NIOPosix
import PBFT
import ReplicaHost
import Replication
import Wire

/// One replica process.
public enum ReplicaProcess {
  /// Runs until SIGTERM or SIGINT; prints one line beginning `ready` once clients are served and a quorum is connected.
  public static func run(_ options: ReplicaOptions) async throws {
    let folder = try ClusterFolder(options.configDirectory)
    let logger = Logger(label: "muster")
    for warning in folder.warnings { logger.warning("\(warning)") }
    let id = ReplicaID(rawValue: Int32(options.id))
    guard let host = folder.host(of: id) else {
      throw CommandFailure.usage(
        "--id \(options.id): expected one of the replicas of \(options.configDirectory)/hosts.config: "
          + folder.hosts.map { String($0.replica.rawValue) }.joined(separator: ", "))
    }
    _ = Descriptors.limit
    let configuration = try resolve(options, folder, host, logger)
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let loop = group.next()
    let replica = try HostedReplica(
      configuration: configuration, loop: loop, boss: loop, meter: LoopMeter(owners: 1), meterOwner: 0,
      logger: logger)
    let stopping = StopSignals()
    do {
      try await replica.start().get()
    } catch {
      try? await group.shutdownGracefully()
      throw cannotListen(error, host)
    }
    let line = readyLine(configuration, host)
    let announcing = Task {
      try await replica.quorumConnected().get()
      FileHandle.standardOutput.write(Data((line + "\n").utf8))
    }
    await stopping.wait()
    announcing.cancel()
    try? await replica.stop().get()
    try? await group.shutdownGracefully()
  }

  private static func cannotListen(_ error: any Error, _ host: HostsConfiguration.Host) -> CommandFailure {
    CommandFailure.usage(
      "hosts.config, replica \(host.replica.rawValue): cannot listen on \(host.host), ports \(host.clientPort) and "
        + "\(host.replicaPort): \(SystemReason.of(error)); expected a free port of this machine")
  }

  private static func readyLine(_ configuration: HostConfiguration, _ host: HostsConfiguration.Host) -> String
  {
    let replica = configuration.replica
    return
      "ready id=\(host.replica.rawValue) n=\(configuration.membership.count) f=\(configuration.membership.faults) "
      + "clients=\(host.host):\(host.clientPort) replicas=\(host.host):\(host.replicaPort) "
      + "protocol=\(replica.consenter == .pbft ? "pbft" : "noops") service=\(configuration.service) "
      + "signatures=\(configuration.signatureMode) batch=\(replica.batchSize) "
      + "request_timeout_ms=\(replica.requestTimeoutNanoseconds / 1_000_000) durability=none"
  }

  /// Flag, then system.config, then Muster's default; a conflict is said.
  private static func resolve(
    _ options: ReplicaOptions, _ folder: ClusterFolder, _ host: HostsConfiguration.Host, _ logger: Logger
  ) throws -> HostConfiguration {
    func choose<Value: Equatable>(
      _ flag: String, _ stated: Value?, _ key: String, _ file: Value?, _ other: Value
    ) -> Value {
      if let stated, let file, stated != file {
        logger.notice("\(flag) \(stated) wins over \(key) = \(file) of system.config")
      }
      return stated ?? file ?? other
    }
    let system = folder.system
    var replica = ReplicaConfiguration()
    let defaults = PointParameters()
    replica.batchSize = choose(
      "--batch-size", options.batchSize, "system.totalordermulticast.maxbatchsize", system.maximumBatchSize,
      defaults.batchSize)
    replica.maximumBatchRequests = max(replica.maximumBatchRequests, replica.batchSize)
    replica.batchTimeoutNanoseconds = choose(
      "--batch-timeout", options.batchTimeoutNanoseconds, "system.totalordermulticast.batchtimeout",
      system.batchTimeoutMilliseconds.map { Int64(max(0, $0)) * 1_000_000 }, defaults.batchTimeoutNanoseconds)
    replica.requestTimeoutNanoseconds = choose(
      "--request-timeout", options.requestTimeoutNanoseconds, "system.totalordermulticast.timeout",
      system.requestTimeoutMilliseconds.map { Int64($0) * 1_000_000 }, defaults.requestTimeoutNanoseconds)
    replica.checkpointPeriod = choose(
      "--checkpoint-period", options.checkpointPeriod, "system.totalordermulticast.checkpoint_period",
      system.checkpointPeriod, defaults.checkpointPeriod)
    replica.logMultiplier = options.logMultiplier ?? defaults.logMultiplier
    replica.readOnlyRequests = system.hasReadOnlyRequests ?? false
    replica.consenter = (options.orderingProtocol ?? .pbft) == .pbft ? .pbft : .noops
    replica.lookupSalt = UInt64.random(in: .min ... .max)
    if replica.consenter == .noops, folder.membership.count != 1 {
      throw CommandFailure.usage(
        "--protocol noops: expected n = 1 and f = 0, system.config has n = \(folder.membership.count)")
    }
    let problems = replica.validate()
    if !problems.isEmpty { throw CommandFailure.usage(problems.joined(separator: "; ")) }
    let mode = choose(
      "--signatures", try options.signatureMode.map { try SignatureMode(name: $0) },
      "system.communication.useSignatures", try folder.statedSignatureMode(), .none)
    var configuration = HostConfiguration(
      id: host.replica, membership: folder.membership, replica: replica,
      service: (options.service ?? .log).rawValue, signatureMode: mode,
      replicaAuthentication: options.replicaAuthentication ?? .hmac,
      secrets: try folder.replicaSecrets(of: host.replica),
      clientEndpoint: .socket(host: host.host, port: host.clientPort),
      replicaEndpoint: .socket(host: host.host, port: host.replicaPort),
      replicaEndpoints: Dictionary(
        uniqueKeysWithValues: folder.hosts.map {
          ($0.replica, Endpoint.socket(host: $0.host, port: $0.replicaPort))
        }))
    configuration.replyBytes = options.replyBytes ?? 0
    if let limit = system.maximumRequestSize { configuration.maximumRequestFrameBytes = limit }
    return configuration
  }
}

/// Waits for SIGTERM or SIGINT.
private final class StopSignals: @unchecked Sendable {
  private let stream: AsyncStream<Void>
  private let sources: [any DispatchSourceSignal]

  init() {
    let (stream, continuation) = AsyncStream<Void>.makeStream()
    self.stream = stream
    sources = [SIGTERM, SIGINT].map { number in
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler {
        continuation.yield()
        continuation.finish()
      }
      source.resume()
      return source
    }
  }

  func wait() async {
    for await _ in stream { break }
  }
}

/// The operating system's words for an error, without the library's decoration.
enum SystemReason {
  static func of(_ error: any Error) -> String {
    if let error = error as? IOError { return String(cString: strerror(error.errnoCode)) }
    return "\(error)"
  }
}
