// What a set of sessions is told, what it counts, and whom it tells.

import Channels
import NIOCore
import PBFT
import Wire

/// To whom a request goes at first.
public enum SendTargets: Hashable, Sendable {
  /// All replicas at once, as BFT-SMaRt's clients do.
  case all
  /// The replica believed to be the primary, and all of them when there is no outcome after `delayNanoseconds`. Then the
  /// next replica is believed to be the primary. The first request of a session, and the first after a reconnection, go to
  /// all: a BFT-SMaRt replica knows where to answer a client only once it has had a frame from it.
  case primaryFirst(delayNanoseconds: Int64)
}

/// How an operation is asked for.
public enum InvocationKind: String, Sendable, CaseIterable {
  case ordered
  /// A read that is not ordered, where the replicas serve that.
  case unordered
  /// One replica sends the whole reply, the others its hash.
  case orderedHashed = "ordered-hashed"
  case unorderedHashed = "unordered-hashed"
  /// A change of the membership, ordered like a request; only the trusted third party's are obeyed.
  case reconfiguration

  public var isUnordered: Bool { self == .unordered || self == .unorderedHashed }
  public var isHashed: Bool { self == .orderedHashed || self == .unorderedHashed }

  /// The type of its frames.
  var messageKind: ClientMessageKind {
    switch self {
    case .ordered: .ordered
    case .unordered: .unordered
    case .orderedHashed: .orderedHashed
    case .unorderedHashed: .unorderedHashed
    case .reconfiguration: .reconfigure
    }
  }
}

/// What a set of sessions needs to know.
public struct SessionConfiguration: Sendable {
  /// Client endpoints of the replicas, by position in the membership.
  public var replicas: [Endpoint]
  /// The replicas' ids, by position.
  public var replicaIDs: [ReplicaID]
  /// The membership to begin with; sessions follow the replicas to later ones.
  public var membershipID: Int32 = 0
  public var quorums: Quorums
  /// The format of all frames.
  public var dialect = ClientDialect.master
  /// v1.2: whether frames carry MACs both ways (`system.communication.useMACs`).
  public var useMACs = false
  /// How replicas hash the replies of hashed requests; nil for the dialect's own.
  public var replyHash: ReplyHash?
  /// Connections per replica; sessions are dealt evenly over them.
  public var connections = 1
  public var sessions = 1
  /// Client id of session 0; the others follow.
  public var firstClientID: Int32 = 10_000
  /// Requests a session may have in flight, 1 ... 32.
  public var outstanding = 1
  public var sendTargets = SendTargets.all
  /// Pause after which an unanswered request is sent again, in nanoseconds; 0 = never.
  public var resendNanoseconds: Int64 = 0
  /// How long a reply quorum of hashes waits for the whole reply before another replica is asked for it.
  public var hashedPatienceNanoseconds: Int64 = 100_000_000
  /// Whether unordered requests are served; it changes the reply quorum and must be equal on both sides. v1.2 always does.
  public var readOnlyRequests = false
  /// Largest reply frame accepted, in bytes.
  public var maximumReplyBytes = 64 << 20

  /// - Parameter replicaIDs: nil for 0 ..< n.
  public init(replicas: [Endpoint], quorums: Quorums, replicaIDs: [ReplicaID]? = nil) {
    self.replicas = replicas
    self.quorums = quorums
    self.replicaIDs = replicaIDs ?? (0..<Int32(replicas.count)).map { ReplicaID($0) }
  }

  /// Whether requests and replies pass through memory instead of sockets.
  public var isInMemory: Bool {
    if case .memory = replicas.first { true } else { false }
  }

  /// Whether unordered requests are sent as such.
  public var servesUnordered: Bool { readOnlyRequests || dialect == .v12 }

  /// Equal replies that decide an operation, of the membership to begin with.
  public var replyQuorum: Int { replyQuorum(of: quorums) }

  /// Equal replies that decide an operation: f+1, crash-only 1; where unordered requests are served ⌊(n+f)/2⌋+1, crash-only
  /// ⌊n/2⌋+1, so that a read meets every write it must see (BFT-SMaRt's `getReplyQuorum`, v1.2's for all requests).
  public func replyQuorum(of quorums: Quorums) -> Int {
    servesUnordered ? quorums.quorum : quorums.weakQuorum
  }
}

/// Counters of what did not go straight. Belong to the loop.
public struct SessionCounters: Sendable {
  public var retransmits: UInt64 = 0
  public var staleReplies: UInt64 = 0
  /// Replies whose tag or MAC is not their replica's.
  public var badReplyTags: UInt64 = 0
  public var malformedFrames: UInt64 = 0
  public var divergentReplies: UInt64 = 0
  /// Replies under a newer membership than that of their request.
  public var newerMembership: UInt64 = 0
  public var lostLinks: UInt64 = 0
  public var unorderedSentOrdered: UInt64 = 0
  /// Ordered hashed requests that went plain, v1.2 having none.
  public var hashedSentPlain: UInt64 = 0
  /// Requests that were to be signed ahead and were not.
  public var signedLate: UInt64 = 0
  /// Hashed requests for which another replica was asked for the whole reply.
  public var replyServersChanged: UInt64 = 0
  /// Requests that went to all replicas because the primary alone did not do.
  public var spreadRequests: UInt64 = 0
  /// Memberships adopted, and requests that went out again because they were answered with "your view is old".
  public var membershipsAdopted: UInt64 = 0
  public var reissuedRequests: UInt64 = 0
  /// Memberships that could not be adopted: their replicas cannot be reached or spoken to as they are described.
  public var membershipsRefused: UInt64 = 0
}

/// Is told what a burst of replies brought.
public protocol SessionsObserver: AnyObject {
  /// `completions` of the sessions holds something; at most once per burst.
  func sessionsHaveCompletions(_ sessions: ClientSessions)
  /// A burst has been read, whatever it held.
  func sessionsHaveRead(_ sessions: ClientSessions, at now: Int64)
  /// The sessions follow the replicas to a new membership.
  func sessionsHaveMoved(_ sessions: ClientSessions)
}

extension SessionsObserver {
  public func sessionsHaveRead(_ sessions: ClientSessions, at now: Int64) {}
  public func sessionsHaveMoved(_ sessions: ClientSessions) {}
}
