// What one replica in the world is told: the pure replica's configuration, its keys, its addresses and its limits.

import Channels
import PBFT
import Replication
import Wire

/// Configuration of a replica host.
public struct HostConfiguration: Sendable {
  public var id: ReplicaID
  public var membership: Membership
  public var replica: ReplicaConfiguration
  /// Name of the replicated service: `log`, `counter` or `null`.
  public var service: String
  /// Bytes that replies carry beyond the service's own.
  public var replyBytes = 0
  public var signatureMode: SignatureMode
  public var replicaAuthentication: ReplicaAuthentication
  /// Certificates for the links between replicas; there with `ReplicaAuthentication.tls`, else nil.
  public var linkTLS: LinkTLS?
  public var secrets: ReplicaSecrets
  /// Clients whose keys are kept ready.
  public var clientCapacity = 16_384
  /// The format of clients' frames.
  public var dialect = ClientDialect.master
  /// Whether clients' frames carry a MAC (v1.2's `useMACs`).
  public var usesMACs = false
  /// Requests of one client that may wait here beyond those the replica orders at once; BFT-SMaRt's `useControlFlow`.
  public var pendingPerClient = 1_000
  /// Where members are reached, as the configuration says; what RECONFIGs state wins.
  public var memberAddresses: [MemberAddress] = []
  /// Whose RECONFIGs are taken; nil = nobody's. Its id is `replica.administrator`.
  public var trustedParty: TrustedParty?
  /// Where the membership is stored after it has changed, for clients and later starts.
  public var viewStorage: ViewStorage?
  /// Gives all replicas' public keys anew when these have become members without having any.
  public var renewedKeys: (@Sendable ([ReplicaID]) throws -> [ReplicaPublicKeys])?
  /// Where clients connect.
  public var clientEndpoint: Endpoint
  /// Where replicas with higher ids connect.
  public var replicaEndpoint: Endpoint
  /// The `replicaEndpoint`s of all replicas.
  public var replicaEndpoints: [ReplicaID: Endpoint]
  /// Largest request frame, BFT-SMaRt's `system.communication.maxRequestSize`; larger ones are skipped and counted.
  public var maximumRequestFrameBytes = 64 << 20
  /// Bytes that may wait for a client that does not read.
  public var clientQueueLimitBytes = 16 << 20
  /// Bytes that wait for a replica that is away, about a window of messages; beyond, all are dropped, and the replica
  /// asks for what it lacks.
  public var peerWaitingLimitBytes = 64 << 20
  public var backlog: Int32 = 1024
  /// The replica's own folder for markers and log; nil when nothing is kept (then `replica.durability` is `none`).
  public var dataFolder: String?
  /// Whether the data folder is to be made; it must not exist yet. Under `sync` it must exist otherwise.
  public var formats = false
  /// Whether an earlier life of this replica, of which nothing is left, may have promised something: it abstains until
  /// that is history. For a replica without a data folder that is started again beside the others.
  public var startsRecovering = false
  /// Segments of the log grow by so many bytes in advance.
  public var segmentGrowthBytes = 16 << 20

  public init(
    id: ReplicaID, membership: Membership, replica: ReplicaConfiguration, service: String,
    signatureMode: SignatureMode, replicaAuthentication: ReplicaAuthentication, secrets: ReplicaSecrets,
    clientEndpoint: Endpoint, replicaEndpoint: Endpoint, replicaEndpoints: [ReplicaID: Endpoint]
  ) {
    self.id = id
    self.membership = membership
    self.replica = replica
    self.service = service
    self.signatureMode = signatureMode
    self.replicaAuthentication = replicaAuthentication
    self.secrets = secrets
    self.clientEndpoint = clientEndpoint
    self.replicaEndpoint = replicaEndpoint
    self.replicaEndpoints = replicaEndpoints
  }
}

extension HostConfiguration {
  var channels: ClientChannelsConfiguration {
    var channels = ClientChannelsConfiguration()
    channels.maximumFrameBytes = maximumRequestFrameBytes
    channels.queueLimitBytes = clientQueueLimitBytes
    channels.dialect = dialect
    channels.usesMACs = usesMACs
    return channels
  }
}

/// Counters of what a host did and refused, beside the pure replica's own.
public struct HostCounters: Sendable {
  public var requestFrames: UInt64 = 0
  public var repliesSent: UInt64 = 0
  public var repliesWithoutConnection: UInt64 = 0
  /// Replies for which there was no room while they waited for the disk.
  public var repliesDropped: UInt64 = 0
  /// Requests whose MAC is not that of their client and this replica (v1.2).
  public var rejectedMACs: UInt64 = 0
  /// Requests that had to wait beyond what is ordered of a client at once.
  public var waitingRequests: UInt64 = 0
  /// Requests dropped before their signature was verified: too old, given up by their client, or no room for them.
  public var shedRequests: UInt64 = 0
  public var skippedFrames: UInt64 = 0
  public var malformedFrames: UInt64 = 0
  public var droppedMessages: UInt64 = 0
  public var refusedRequests: UInt64 = 0
  public var verifications: UInt64 = 0
  /// What one of them costs.
  public var verification = SampledCost()
  public var rejectedAuthenticators: UInt64 = 0
  public var rejectedBatches: UInt64 = 0
  public var closedConnections: UInt64 = 0
  public var acceptedConnections: UInt64 = 0
  public var statusQueries: UInt64 = 0
}
