// `muster reconfigure`: the trusted party changes the membership of a running cluster, as BFT-SMaRt's VMServices do.

import Channels
import PBFT
import ReplicaHost
import Replication
import ServiceClient
import Wire

/// What `muster reconfigure` is told: any number of changes, which come about together.
public struct ReconfigureOptions: Equatable, Sendable {
  /// The trusted party as a client.
  public var client: ClientOptions
  public private(set) var added: [MemberAddress] = []
  public private(set) var removed: [ReplicaID] = []
  public private(set) var faults: Int?

  /// What the words of a command line may be.
  public static let expected = "add ID:HOST:CLIENTPORT:REPLICAPORT, remove ID or f F"

  /// Reads the words behind `muster reconfigure`.
  /// - Throws: `CommandFailure` with code 64.
  public init(client: ClientOptions, changes: [String]) throws(CommandFailure) {
    self.client = client
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

  /// The same address as hosts.config would have it: IPv6 without brackets.
  private static func canonical(_ member: MemberAddress) -> MemberAddress? {
    MemberAddress(
      replica: member.replica, host: InternetAddress.canonical(member.host), clientPort: member.clientPort,
      replicaPort: member.replicaPort)
  }

  private mutating func take(_ verb: String, _ word: String) throws(CommandFailure) {
    switch verb {
    case "add":
      guard let address = MemberAddress(text: Substring(word)).flatMap(Self.canonical) else {
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
    let folder = try ClusterFolder(options.client)
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
    let reply = try await folder.withClient(id, options.client) { proxy in
      try await ask(options, id, key, proxy, model: folder.membership.quorums.model)
    }
    return try finish(reply, folder)
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
    let replicas = view.addresses.map {
      "\($0.replica.rawValue) (\(Endpoint.socket(host: $0.host, port: Int($0.port))))"
    }.joined(separator: ", ")
    return "membership \(view.id): replicas \(replicas), f = \(view.faults)"
  }
}
