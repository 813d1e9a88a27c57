// A client of the cluster that a configuration folder describes: its keys, its frames and its reply quorum are what the
// folder says.

import NIOCore
import NIOPosix
import PBFT
import ServiceClient
import Wire

/// What commands that act as one client are told of it.
public struct ClientOptions: Equatable, Sendable {
  /// Folder of `hosts.config`, `system.config` and keys.
  public var configDirectory: String
  /// nil lets system.config decide.
  public var signatureMode: String?
  /// The client frames that are spoken; nil lets hosts.config decide.
  public var dialect: ClientDialect?

  /// Reads what flags say; nil is not stated.
  /// - Throws: `ParameterErrors` for a mode that there is not, `CommandFailure` with code 64 for such a dialect.
  public init(configDirectory: String, signatures: String?, dialect: String?) throws {
    self.configDirectory = configDirectory
    if let signatures {
      signatureMode = try PointParameters(stating: [.signatures: signatures]).signatureMode
    }
    if let dialect {
      guard let value = ClientDialect(rawValue: dialect) else {
        throw CommandFailure.usage("--dialect \(dialect): expected \(ClientDialect.expected)")
      }
      self.dialect = value
    }
  }
}

extension ClusterFolder {
  init(_ options: ClientOptions) throws(CommandFailure) {
    try self.init(options.configDirectory, dialect: options.dialect)
  }

  /// What the sessions of a generator must know of the cluster.
  var speech: GeneratorParty.Speech {
    var speech = GeneratorParty.Speech()
    speech.dialect = dialect
    speech.useMACs = usesMACs
    speech.readOnlyRequests = system.hasReadOnlyRequests ?? false
    speech.quorums = membership.quorums
    speech.membershipID = membership.id
    return speech
  }

  /// - Throws: `CommandFailure` with code 64 when replicas as this folder describes them do not serve requests of `kind`.
  func requireService(of kind: InvocationKind) throws(CommandFailure) {
    guard kind.isUnordered, dialect != .v12, system.hasReadOnlyRequests != true else { return }
    throw .usage(
      "--kind \(kind.rawValue): expected system.optimizations.readonly_requests = true in \(directory)/system.config; "
        + "without it the replicas serve ordered requests only")
  }

  /// With what `clients` sign and check: where the mode needs no secrets, with what everybody knows.
  func clientSecrets(_ mode: SignatureMode, of clients: ClosedRange<Int32>) throws -> GeneratorSecrets {
    switch mode {
    case .hmac, .sign: try generatorSecrets(mode: mode, clients: clients)
    case .none, .verifyOnly:
      ClusterKeys.publiclyKnown(replicas: membership.replicas, dialect: dialect).generatorSecrets
    }
  }

  /// Runs `body` with client `id` of this cluster, connected, and closes it afterwards.
  ///
  /// - Throws: `CommandFailure`: 66 without keys that the mode needs, 69 when an invocation of `body` fails or too few replicas
  ///   can be reached; what `body` throws else.
  func withClient<Result>(
    _ id: Int32, _ options: ClientOptions, _ body: (ServiceProxy) async throws -> Result
  ) async throws -> Result {
    let mode =
      try options.signatureMode.map { try SignatureMode(name: $0) } ?? statedSignatureMode() ?? .none
    var configuration = SessionConfiguration(
      replicas: clientEndpoints, quorums: membership.quorums, replicaIDs: membership.replicas)
    configuration.membershipID = membership.id
    configuration.firstClientID = id
    configuration.readOnlyRequests = system.hasReadOnlyRequests ?? false
    configuration.dialect = dialect
    configuration.useMACs = usesMACs
    configuration.replyHash = system.hashAlgorithm.flatMap { ReplyHash(rawValue: $0) }
    let secrets = try clientSecrets(mode, of: id...id)
    nonisolated(unsafe) let signer = try RequestSigner(
      mode: mode, secrets: secrets, replicas: membership.replicas, clientCapacity: 1)
    let seconds = system.invokeOrderedTimeoutSeconds ?? 40
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let proxy = ServiceProxy(
      configuration: configuration, signer: signer, loop: group.next(),
      timeoutNanoseconds: Int64(seconds) * 1_000_000_000,
      signerOf: mode == .hmac
        ? { try? RequestSigner(mode: mode, secrets: secrets, replicas: $0, clientCapacity: 1) } : nil)
    func close() async {
      await proxy.close()
      try? await group.shutdownGracefully()
    }
    do {
      return try await closing(close) {
        try await proxy.connect()
        return try await body(proxy)
      }
    } catch let error as InvocationError {
      throw CommandFailure(.unavailable, "\(error)")
    }
  }
}
