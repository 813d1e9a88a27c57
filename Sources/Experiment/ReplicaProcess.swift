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

/// How a replica process begins, beside what it is.
public struct ReplicaStart: Equatable, Sendable {
  /// Whether to make the data folder.
  public var formats: Bool
  /// What the cluster is said to be; must be what the keys say.
  public var cluster: String?
  /// Whether its data is lost: it may have promised what it does not know, and abstains until that is history.
  public var recovers: Bool

  public init(formats: Bool = false, cluster: String? = nil, recovers: Bool = false) {
    self.formats = formats
    self.cluster = cluster
    self.recovers = recovers
  }
}

/// One replica process.
public enum ReplicaProcess {
  /// The resolved configuration as text: each value and where it comes from.
  public static func configuration(_ options: ReplicaOptions) throws -> String {
    try settings(options).text
  }

  /// Everything that says how the replica runs, resolved.
  private static func settings(_ options: ReplicaOptions) throws(CommandFailure) -> ResolvedReplicaSettings {
    var options = options
    options.configDirectory = ClusterFolder.locate(options.configDirectory)
    let folder = try ClusterFolder(options.configDirectory, dialect: options.dialect)
    return try ResolvedReplicaSettings.resolve(
      flags: options, systemConfig: folder.system,
      folder: folder.facts(of: ReplicaID(rawValue: Int32(options.id))))
  }

  /// Runs until SIGTERM or SIGINT; prints one line beginning `ready` once clients are served and a quorum is connected.
  ///
  /// - Throws: `CommandFailure`: 64 for what cannot be, 66 for a data folder or keys that are not as they must be, 73 when
  ///   the log cannot be written.
  public static func run(_ options: ReplicaOptions, start: ReplicaStart = ReplicaStart()) async throws {
    let logger = Logger(label: "muster")
    let settings = try settings(options)
    func stronger(_ setting: ReplicaSetting<Int?>) -> Int? {
      setting.source < .systemConfig ? setting.value : nil
    }
    let folder = try ClusterFolder(
      options.configDirectory, replicas: stronger(settings.replicas), faults: stronger(settings.faults),
      dialect: options.dialect)
    let keyWarnings = folder.keyWarnings(settings.signatureMode.value)
    for warning in folder.warnings + settings.warnings + keyWarnings { logger.warning("\(warning)") }
    for notice in settings.notices { logger.notice("\(notice)") }
    for use in settings.systemUses where !use.hasEffect { logger.info("system.config:\(use.line): \(use)") }
    let id = ReplicaID(rawValue: Int32(options.id))
    guard let host = folder.host(of: id) else {
      throw CommandFailure.usage(
        "--id \(options.id): expected one of the replicas of \(options.configDirectory)/hosts.config: "
          + folder.allHosts.map { String($0.replica.rawValue) }.joined(separator: ", "))
    }
    _ = Descriptors.limit
    let configuration = try resolve(settings, folder, host, start)
    for warning in folder.trustedPartyWarnings(configuration) { logger.warning("\(warning)") }
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    do {
      try await run(configuration, host, group.next(), logger, settings)
    } catch {
      try? await group.shutdownGracefully()
      throw error
    }
    try? await group.shutdownGracefully()
  }

  private static func run(
    _ configuration: HostConfiguration, _ host: HostsConfiguration.Host, _ loop: any EventLoop,
    _ logger: Logger,
    _ settings: ResolvedReplicaSettings
  ) async throws {
    let replica: any ReplicaParty
    do {
      let meter = LoopMeter(owners: 1)
      if let behaviour = settings.byzantine.value {
        logger.warning("replica \(host.replica.rawValue): misbehaves on purpose: \(behaviour)")
        replica = try AdversarialReplica(
          behaviour: behaviour, configuration: configuration, loop: loop, boss: loop, meter: meter,
          meterOwner: 0,
          logger: logger)
      } else {
        replica = try HostedReplica(
          configuration: configuration, loop: loop, boss: loop, meter: meter, meterOwner: 0, logger: logger)
      }
    } catch let error as DataFolderError {
      throw CommandFailure(data: error)
    }
    let stopping = StopSignals()
    do {
      try await replica.start().get()
    } catch {
      try? await replica.stop(cleanly: false).get()
      if let error = error as? DataFolderError { throw CommandFailure(data: error) }
      throw cannotListen(error, host, settings.bindHost.value)
    }
    for line in settings.startUpLines(configuration.membership, host) { logger.info("\(line)") }
    let announcing = Task {
      try await replica.quorumConnected().get()
      let membership = try await replica.membershipInForce().get()
      let line = readyLine(configuration, membership, host)
      FileHandle.standardOutput.write(Data((line + "\n").utf8))
    }
    let failure = await withTaskGroup(of: String?.self) { group in
      group.addTask { try? await replica.failed().get() }
      group.addTask {
        await stopping.wait()
        return nil
      }
      let first = await group.next() ?? nil
      // Ends the task that still waits, whichever it is.
      stopping.end()
      try? await replica.stop(cleanly: true).get()
      return first
    }
    announcing.cancel()
    if let failure { throw CommandFailure(.cannotCreate, failure) }
  }

  private static func cannotListen(
    _ error: any Error, _ host: HostsConfiguration.Host, _ address: String
  ) -> CommandFailure {
    CommandFailure.usage(
      "hosts.config, replica \(host.replica.rawValue): cannot listen on \(address), ports \(host.clientPort) and "
        + "\(host.replicaPort): \(SystemReason.of(error)); expected a free port of this machine")
  }

  private static func readyLine(
    _ configuration: HostConfiguration, _ membership: Membership, _ host: HostsConfiguration.Host
  ) -> String {
    let replica = configuration.replica
    return
      "ready id=\(host.replica.rawValue) n=\(membership.count) f=\(membership.faults) "
      + "clients=\(host.host):\(host.clientPort) replicas=\(host.host):\(host.replicaPort) "
      + "protocol=\(replica.consenter == .pbft ? "pbft" : "noops") service=\(configuration.service) "
      + "signatures=\(configuration.signatureMode) batch=\(replica.batchSize) "
      + "request_timeout_ms=\(replica.requestTimeoutNanoseconds / 1_000_000) durability=\(replica.durability.rawValue)"
  }

  private static func resolve(
    _ settings: ResolvedReplicaSettings, _ folder: ClusterFolder, _ host: HostsConfiguration.Host,
    _ start: ReplicaStart
  ) throws -> HostConfiguration {
    var replica = settings.replicaConfiguration
    replica.lookupSalt = UInt64.random(in: .min ... .max)
    if replica.consenter == .noops, folder.membership.count != 1 {
      throw CommandFailure.usage(
        "--protocol noops: expected n = 1 and f = 0, system.config has n = \(folder.membership.count)")
    }
    let secrets = try folder.replicaSecrets(of: host.replica)
    try check(start, secrets.cluster, folder)
    var configuration = HostConfiguration(
      id: host.replica, membership: folder.membership, replica: replica,
      service: settings.service.value.rawValue, signatureMode: settings.signatureMode.value,
      replicaAuthentication: settings.replicaAuthentication.value, secrets: secrets,
      clientEndpoint: .socket(host: settings.bindHost.value, port: host.clientPort),
      replicaEndpoint: .socket(host: settings.bindHost.value, port: host.replicaPort),
      replicaEndpoints: Dictionary(
        uniqueKeysWithValues: folder.allHosts.map {
          ($0.replica, Endpoint.socket(host: $0.host, port: $0.replicaPort))
        }))
    if settings.replicaAuthentication.value == .tls {
      configuration.linkTLS = try folder.linkTLS(of: host.replica, cluster: secrets.cluster)
    }
    configuration.replyBytes = settings.replyBytes.value
    configuration.maximumRequestFrameBytes = settings.maximumRequestFrameBytes.value
    configuration.dialect = settings.dialect.value
    configuration.usesMACs = settings.usesMACs.value
    if settings.controlFlow.value > 0 { configuration.pendingPerClient = settings.controlFlow.value }
    // v1.2 serves unordered requests always.
    if settings.dialect.value == .v12 { configuration.replica.readOnlyRequests = true }
    configuration.replica.hashedReplies = settings.replyHash.value == .sha512 ? .sha512 : .sha256
    try folder.addMembershipSettings(to: &configuration)
    configuration.dataFolder = folder.dataFolder(of: host.replica)
    configuration.formats = start.formats
    configuration.startsRecovering = start.recovers
    return configuration
  }

  /// The cluster named on the command line must be the one of the keys.
  private static func check(_ start: ReplicaStart, _ cluster: ClusterID, _ folder: ClusterFolder) throws {
    guard let stated = start.cluster else {
      if start.formats {
        throw CommandFailure.usage(
          "--format: expected --cluster as well, so that no folder is made for another cluster by mistake; the keys of "
            + "\(folder.directory) are of --cluster \(cluster)")
      }
      return
    }
    guard ClusterID(hexadecimal: stated) == cluster else {
      throw CommandFailure(
        .missingInput,
        "--cluster \(stated): the keys of \(folder.directory) are of cluster \(cluster); give that id, or the keys of "
          + "the cluster that is meant")
    }
  }
}

/// Waits for SIGTERM or SIGINT.
private final class StopSignals: @unchecked Sendable {
  private let stream: AsyncStream<Void>
  private let continuation: AsyncStream<Void>.Continuation
  private let sources: [any DispatchSourceSignal]

  init() {
    let (stream, continuation) = AsyncStream<Void>.makeStream()
    self.stream = stream
    self.continuation = continuation
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

  /// Ends the waiting.
  func end() { continuation.finish() }
}

/// The operating system's words for an error, without the library's decoration.
enum SystemReason {
  static func of(_ error: any Error) -> String {
    if let error = error as? IOError { return String(cString: strerror(error.errnoCode)) }
    return "\(error)"
  }
}
