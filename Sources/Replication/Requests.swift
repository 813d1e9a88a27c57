// What comes from clients and what goes back to them, as the pure replica sees it: fields, a digest and
// bytes.

import PBFT

/// The host's name for one client connection.
public struct ConnectionID: Hashable, Sendable, BitwiseCopyable {
  public var rawValue: UInt32

  /// No connection: a request that another replica forwarded or proposed.
  public static let none = ConnectionID(rawValue: .max)

  @inlinable
  public init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// The type byte of a client frame (BFT-SMaRt's `TOMMessageType`), as far as it asks a service for something.
public enum RequestKind: UInt8, Hashable, Sendable, BitwiseCopyable {
  case ordered = 0
  case unordered = 1
  case reconfigure = 3
  case unorderedHashed = 6
  case orderedHashed = 7

  /// Whether it has a place in the total order.
  @inlinable
  public var isOrdered: Bool { self == .ordered || self == .orderedHashed || self == .reconfigure }

  /// Whether only `replyServer` answers with the content and all others with its SHA-256.
  @inlinable
  public var isHashed: Bool { self == .unorderedHashed || self == .orderedHashed }
}

/// One request as the host has decoded, hashed and verified it; its buffers are valid during the call only.
public struct ArrivedRequest {
  public var client: Int32
  public var session: Int32
  public var sequence: Int32
  public var operationID: Int32
  public var kind: RequestKind
  public var replyServer: Int32
  /// The `viewID` of the frame.
  public var membershipID: Int32
  /// SHA-256 of `data`.
  public var digest: Digest
  /// The whole serialized request, without signature or tags.
  public var data: UnsafeRawBufferPointer
  /// Where in `data` the content for the service begins.
  public var contentOffset: Int
  /// The signature or tags that travel beside.
  public var authenticator: UnsafeRawBufferPointer
  /// `.none` when another replica forwarded or proposed it.
  public var connection: ConnectionID

  @inlinable
  public init(
    client: Int32, session: Int32, sequence: Int32, operationID: Int32, kind: RequestKind, replyServer: Int32,
    membershipID: Int32, digest: Digest, data: UnsafeRawBufferPointer, contentOffset: Int,
    authenticator: UnsafeRawBufferPointer, connection: ConnectionID
  ) {
    self.client = client
    self.session = session
    self.sequence = sequence
    self.operationID = operationID
    self.kind = kind
    self.replyServer = replyServer
    self.membershipID = membershipID
    self.digest = digest
    self.data = data
    self.contentOffset = contentOffset
    self.authenticator = authenticator
    self.connection = connection
  }
}

/// A replica's own name for a request it holds. Names nothing once the request is released.
public struct RequestSlot: Hashable, Sendable, BitwiseCopyable {
  public var rawValue: UInt32

  @inlinable
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  static let none = RequestSlot(rawValue: .max)

  @inline(__always)
  var index: Int { Int(rawValue) }
}

/// What the host has to do with a request before handing it over.
public enum Screening {
  /// Not held: hash it, verify it, then `.request`.
  case unknown
  /// A request of this client, session and sequence is held: if its bytes are the same, `.resent`.
  case stored(RequestSlot)
  /// Already executed: `.request` without verification; it is answered from the cache, if at all.
  case executed
  /// Not taken, and counted.
  case refused(Refusal)
}

/// Why a client's request was not taken on arrival. Filters only: what is executed is decided at execution.
public enum Refusal: UInt8, Hashable, Sendable, CaseIterable {
  /// Unordered requests are off (`readOnlyRequests`).
  case unorderedDisabled
  /// Reconfiguration requests are the administrator's alone.
  case reconfigurationUnsupported
  case negativeSequence
  /// The client has begun a newer session.
  case olderSession
  /// Further ahead of the last executed sequence than any permitted number of outstanding requests.
  case tooFarAhead
  /// The client has as many requests waiting as one client may.
  case clientQuota
  /// The store holds as many waiting requests or bytes as it may: shed.
  case storeFull
  /// The client table is full and the client is not in it.
  case clientTableFull
  /// A request of another session of this client, not known to be older, holds its place.
  case placeTaken
  /// More bytes than a request may have.
  case tooLarge
  /// The client knows a newer membership than this replica.
  case membershipAhead
  /// f+1 replicas accuse the client of authenticators that only some replicas find valid.
  case clientAccused
  /// This replica is no longer in the membership.
  case notAMember
  /// The state is being fetched from other replicas and is not read meanwhile.
  case stateInvalid
}

/// What the content of a reply is.
public enum ReplyForm: UInt8, Hashable, Sendable, BitwiseCopyable {
  /// What the service has replied, or its digest.
  case service
  /// Nothing: the request names an older membership, and the host writes down the one in force (BFT-SMaRt's serialized
  /// `View`).
  case membership
  /// Of a RECONFIG: an encoded `ReconfigurationResult` (in BFT-SMaRt a `ReconfigureReply`).
  case reconfiguration
}

/// One reply; its content is read with `Replica.replyContent(_:)`.
public struct Reply: Sendable, BitwiseCopyable {
  public var client: Int32
  public var session: Int32
  public var sequence: Int32
  public var operationID: Int32
  public var replyServer: Int32
  /// The membership in force at this replica.
  public var membershipID: Int32
  public var contentOffset: UInt32
  public var contentCount: UInt32
  /// The connections on which the request arrived, the newest first; `.none` where there is none.
  public var connections: (ConnectionID, ConnectionID)
  /// The kind of the request; BFT-SMaRt's replies echo it.
  public var kind: RequestKind
  public var form: ReplyForm

  @inline(__always)
  init(
    _ record: RequestRecord, _ form: ReplyForm, _ membershipID: Int32, contentOffset: UInt32,
    contentCount: UInt32, _ connections: (ConnectionID, ConnectionID)
  ) {
    client = record.client
    session = record.session
    sequence = record.sequence
    operationID = record.operationID
    replyServer = record.replyServer
    self.membershipID = membershipID
    self.contentOffset = contentOffset
    self.contentCount = contentCount
    self.connections = connections
    kind = record.kind
    self.form = form
  }
}
