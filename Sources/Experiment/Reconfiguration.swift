// `muster reconfigure`: the trusted party changes the membership of a running cluster, as BFT-SMaRt's VMServices do.

import Channels
import Foundation
import NIOCore
import NIOPosix
import PBFT
import ReplicaHost
import Replication
import ServiceClient
import Wire

/// What `muster reconfigure` is told: any number of changes, which come about together.
public struct ReconfigureOptions: Equatable, Sendable {
  /// Folder of `hosts.config`, `system.config` and the trusted party's key.
  public var configDirectory: String
  public private(set) var added: [MemberAddress] = []
  public private(set) var removed: [ReplicaID] = []
  public private(set) var faults: Int?
  public var signatureMode: String?
  public var dialect: ClientDialect?

  /// What the words of a command line may be.
  public static let expected = "add ID:HOST:CLIENTPORT:REPLICAPORT, remove ID or f F"

  /// Reads the words behind `muster reconfigure`.
  /// - Throws: `CommandFailure` with code 64.
  public init(configDirectory: String, changes: [String]) throws(CommandFailure) {
    self.configDirectory = configDirectory
    var words = changes[...]
    guard !words.isEmpty else { throw .usage("expected at least one change: \(Self.expected)") }
    while let verb = words.popFirst() {
      guard ["add", "remove", "f"].contains(verb) else { throw .usage("\(verb): expected \(Self.expected)") }
      guard let word = words.popFirst() else {
        throw .usage("\(verb): expected a value behind it: \(Self.expected)")
      }
      try take(verb, word)
    }
  }

  private mutating func take(_ verb: String, _ word: String) throws(CommandFailure) {
    switch verb {
    case "add":
      guard let address = MemberAddress(text: Substring(word)) else {
        throw .usage(
          "add \(word): expected ID:HOST:CLIENTPORT:REPLICAPORT with two ports in 1...65535, as in 4:10.0.0.5:11000:11001"
        )
      }
      guard !added.contains(where: { $0.replica == address.replica }) else {
        throw .usage("add \(word): replica \(address.replica.rawValue) is to be added already")
      }
      added.append(address)
    case "remove":
      guard let id = Int32(word), id >= 0 else {
        throw .usage("remove \(word): expected the id of a replica")
      }
      guard !removed.contains(ReplicaID(rawValue: id)) else {
        throw .usage("remove \(word): replica \(id) is to be removed already")
      }
      removed.append(ReplicaID(rawValue: id))
    default:
      guard faults == nil else { throw .usage("f \(word): f is stated already") }
      guard let value = Int(word), (0..<Quorums.maximumReplicas).contains(value) else {
        throw .usage("f \(word): expected a whole number from 0 to \(Quorums.maximumReplicas - 1)")
      }
      faults = value
    }
  }
}

/// Changing the membership of a cluster of a configuration folder.
public enum Reconfiguration {
  /// Has the changes ordered and executed, stores the new view in the folder, and returns it in words.
  ///
  /// - Throws: `CommandFailure`: 64 for a change that cannot be, or where nobody may reconfigure; 66 without the trusted
  ///   party's key; 69 when too few replicas answer.
  public static func run(_ options: ReconfigureOptions) async throws -> String {
    let folder = try ClusterFolder(options.configDirectory, dialect: options.dialect)
    guard folder.trustedPartyID != nil else {
      throw CommandFailure.usage(
        "\(folder.directory)/system.config: expected system.ttp.id, the client that may reconfigure, for the replicas too"
      )
    }
    guard let (id, algorithm, pair) = try folder.trustedPartyPair() else {
      throw CommandFailure(
        .missingInput,
        "\(folder.directory): no private key of the trusted party \(folder.trustedPartyID!); make keys with 'muster keys' "
          + "while system.config states it")
    }
    let key = SigningKey(algorithm, pair)
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    do {
      let reply = try await withProxy(options, folder, id, group.next()) { proxy in
        try await ask(options, id, key, proxy, model: folder.membership.quorums.model)
      }
      try? await group.shutdownGracefully()
      return try finish(reply, folder)
    } catch {
      try? await group.shutdownGracefully()
      if let error = error as? InvocationError { throw CommandFailure(.unavailable, "\(error)") }
      throw error
    }
  }

  private static func withProxy<Result>(
    _ options: ReconfigureOptions, _ folder: ClusterFolder, _ id: Int32, _ loop: any EventLoop,
    _ body: (ServiceProxy) async throws -> Result
  ) async throws -> Result {
    let mode =
      try options.signatureMode.map { try SignatureMode(name: $0) } ?? folder.statedSignatureMode() ?? .none
    var configuration = SessionConfiguration(
      replicas: folder.clientEndpoints, quorums: folder.membership.quorums,
      replicaIDs: folder.membership.replicas)
    configuration.membershipID = folder.membership.id
    configuration.firstClientID = id
    configuration.readOnlyRequests = folder.system.hasReadOnlyRequests ?? false
    configuration.dialect = folder.dialect
    configuration.useMACs = folder.usesMACs
    let secrets =
      mode.needsSecrets
      ? try folder.generatorSecrets(mode: mode, clients: id...id)
      : ClusterKeys.publiclyKnown(replicas: folder.membership.replicas, dialect: folder.dialect)
        .generatorSecrets
    nonisolated(unsafe) let signer = try RequestSigner(
      mode: mode, secrets: secrets, replicas: folder.membership.replicas, clientCapacity: 1)
    let seconds = folder.system.invokeOrderedTimeoutSeconds ?? 40
    let proxy = ServiceProxy(
      configuration: configuration, signer: signer, loop: loop,
      timeoutNanoseconds: Int64(seconds) * 1_000_000_000,
      signerOf: mode == .hmac
        ? { try? RequestSigner(mode: mode, secrets: secrets, replicas: $0, clientCapacity: 1) } : nil)
    do {
      try await proxy.connect()
      let result = try await body(proxy)
      await proxy.close()
      return result
    } catch {
      await proxy.close()
      throw error
    }
  }

  /// Asks until the request has met the membership it names: the one in force may be newer than we know.
  private static func ask(
    _ options: ReconfigureOptions, _ id: Int32, _ key: SigningKey, _ proxy: ServiceProxy, model: FaultModel
  ) async throws -> ReconfigureReply {
    var named = try await proxy.membership().id
    for _ in 0..<8 {
      var request = ReconfigureRequest(
        sender: id, adding: options.added, removing: options.removed, faults: options.faults,
        membership: named)
      request.signature = key.signature(of: request.signedText)
      let reply = try await decode(proxy.invokeReconfiguration(request.encoded))
      if reply.view.id > named, reply.view.id == named + 1, isDone(options, reply.view) { return reply }
      guard reply.view.id != named else { throw refused(request, reply.view, model) }
      named = reply.view.id
    }
    throw CommandFailure(.unavailable, "the membership changes faster than it can be asked for; try again")
  }

  private static func decode(_ content: [UInt8]) throws(CommandFailure) -> ReconfigureReply {
    do throws(JavaSerializationError) {
      return try ReconfigureReply(decoding: content)
    } catch {
      throw CommandFailure(.unavailable, "the replicas' answer is no reply to a reconfiguration: \(error)")
    }
  }

  private static func isDone(_ options: ReconfigureOptions, _ view: SerializedView) -> Bool {
    options.added.allSatisfy { view.replicas.contains($0.replica) }
      && options.removed.allSatisfy { !view.replicas.contains($0) }
      && options.faults.map { Int32($0) == view.faults } ?? true
  }

  private static func refused(
    _ request: ReconfigureRequest, _ view: SerializedView, _ model: FaultModel
  ) -> CommandFailure {
    let reason = view.membership(model: model).flatMap { request.refusal(after: $0) }
    return CommandFailure.usage(
      "the replicas refuse: \(reason.map { "\($0)" } ?? "no such change of this membership is possible"); in force is "
        + text(view))
  }

  private static func finish(_ reply: ReconfigureReply, _ folder: ClusterFolder) throws(CommandFailure)
    -> String
  {
    let storage = ViewStorage(configurationDirectory: folder.directory)
    do throws(ViewStorageError) {
      try storage.write(reply.view, writer: -1)
    } catch {
      throw CommandFailure(.cannotCreate, "\(text(reply.view)); but \(error)")
    }
    return
      "\(text(reply.view)), decided in batch \(UInt32(bitPattern: reply.sequence)); stored in \(storage.path)"
  }

  private static func text(_ view: SerializedView) -> String {
    let replicas = view.addresses.map { "\($0.replica.rawValue) (\($0.host):\($0.port))" }.joined(
      separator: ", ")
    return "membership \(view.id): replicas \(replicas), f = \(view.faults)"
  }
}
