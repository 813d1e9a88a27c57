// What clients say, what travels between the replicas of a test, and what can be seen of it.

import Events
import Hashing
import PBFT
import Replication

/// A request as a client makes it. Its bytes: seven big-endian integers, then the content.
struct Request: Hashable {
  var client: Int32
  var session: Int32 = 1
  var sequence: Int32 = 0
  var kind = RequestKind.ordered
  var membershipID: Int32 = 0
  var replyServer: Int32 = -1
  var content: [UInt8] = []
  var authenticator: [UInt8] = [7, 7, 7]

  var operationID: Int32 { sequence &+ 1_000 }

  static let contentOffset = 28

  var bytes: [UInt8] {
    let fields = [client, session, sequence, Int32(kind.rawValue), membershipID, replyServer, operationID]
    return fields.flatMap { field in withUnsafeBytes(of: field.bigEndian) { Array($0) } } + content
  }

  init(
    client: Int32, session: Int32 = 1, sequence: Int32 = 0, kind: RequestKind = .ordered,
    membershipID: Int32 = 0,
    replyServer: Int32 = -1, content: [UInt8] = [0, 0, 0, 1]
  ) {
    self.client = client
    self.session = session
    self.sequence = sequence
    self.kind = kind
    self.membershipID = membershipID
    self.replyServer = replyServer
    self.content = content
  }

  /// What `bytes` has made.
  init(bytes: [UInt8], authenticator: [UInt8]) {
    let fields = (0..<7).map { index in
      bytes[(index * 4)..<(index * 4 + 4)].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    }.map { Int32(bitPattern: $0) }
    self.init(
      client: fields[0], session: fields[1], sequence: fields[2],
      kind: RequestKind(rawValue: UInt8(fields[3]))!,
      membershipID: fields[4], replyServer: fields[5], content: Array(bytes[28...]))
    self.authenticator = authenticator
  }

  /// The request as the host hands it over.
  func withArrived<Result>(_ connection: ConnectionID, _ body: (ArrivedRequest) -> Result) -> Result {
    bytes.withUnsafeBytes { data in
      authenticator.withUnsafeBytes { tags in
        body(
          ArrivedRequest(
            client: client, session: session, sequence: sequence, operationID: operationID, kind: kind,
            replyServer: replyServer, membershipID: membershipID, digest: .sha256(data), data: data,
            contentOffset: Request.contentOffset, authenticator: tags, connection: connection))
      }
    }
  }
}

/// What travels between replicas: a message with what its handle stands for.
enum Packet: Hashable {
  case message(Message)
  case prePrepare(PrePrepare, [Request])
  case forward(Request)
  case viewChange(SignedStatement)
  case newView(SignedStatement)
  case batch(Digest, [Request])
  case statePart(Checkpoint, position: UInt64, next: UInt64, bytes: [UInt8])

  var message: Message? { if case .message(let message) = self { message } else { nil } }
  var isPrePrepare: Bool { if case .prePrepare = self { true } else { false } }
  var isForward: Bool { if case .forward = self { true } else { false } }
  var isPrepare: Bool { if case .message(.prepare) = self { true } else { false } }
  var isCommit: Bool { if case .message(.commit) = self { true } else { false } }
  var isCheckpoint: Bool { if case .message(.checkpoint) = self { true } else { false } }
  var isSuspect: Bool { if case .message(.suspect) = self { true } else { false } }
  var isStatus: Bool { if case .message(.status) = self { true } else { false } }
  var isExecuted: Bool { if case .message(.executed) = self { true } else { false } }
  var isBatch: Bool { if case .batch = self { true } else { false } }
  var isStatePart: Bool { if case .statePart = self { true } else { false } }
  var isViewChange: Bool { if case .viewChange = self { true } else { false } }
  var isNewView: Bool { if case .newView = self { true } else { false } }
  var isStateQuery: Bool { if case .message(.fetchState) = self { true } else { false } }
  var isBatchQuery: Bool { if case .message(.fetchBatch) = self { true } else { false } }
  /// Whether it is heard from a member of another membership as well.
  var isOfAnyMembership: Bool { isCheckpoint || isStateQuery || isStatePart }
}

struct Flight: Hashable {
  var packet: Packet
  var from: Int
  var to: Int
  /// The membership of the sender when it was sent.
  var membershipID: Int32 = 0
}

struct Answer: Hashable {
  var client: Int32
  var session: Int32
  var sequence: Int32
  var operationID: Int32
  var membershipID: Int32
  var kind: RequestKind
  var content: [UInt8]
  var newest: ConnectionID
  var older: ConnectionID
}

struct Executed: Hashable {
  var sequence: SequenceNumber
  var requests: Int
}
