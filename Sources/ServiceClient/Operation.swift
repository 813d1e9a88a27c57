// An operation: one request from its submission to its outcome. A plain record in an array slot; a session is an index.

import Hashing
import PBFT
import Wire

/// How an operation ended.
public enum Outcome: UInt8, Sendable {
  /// A reply quorum of equal replies arrived.
  case answered
  /// The deadline passed. Whether the request was or will be executed is unknown; it is not issued again.
  case unknown
  /// All replicas answered and no reply quorum agreed.
  case diverged
}

/// What the owner of the sessions learns of a finished operation. Times are monotonic nanoseconds.
public struct Completion {
  public var outcome: Outcome
  public var session: Int32
  /// The session's value and sequence under which it was sent.
  public var sessionValue: Int32
  public var sequence: Int32
  /// Whether it was sent as an unordered request.
  public var isUnordered: Bool
  /// As given at submission.
  public var intended: Int64
  public var context: UInt64
  /// When the request was handed to the links.
  public var sent: Int64
  /// When the burst with the deciding reply was read.
  public var completed: Int64
  /// Where the reply's content is in `ClientSessions.contents`; empty unless answered.
  var contentOffset: Int32
  var contentCount: Int32
}

/// A reply's content in a form of fixed size: short contents themselves, long ones by their SHA-256.
struct ReplyFingerprint: Equatable {
  var length: Int32
  var value: Digest

  init() {
    length = 0
    value = .zero
  }

  init(_ content: UnsafeRawBufferPointer?) {
    guard let content else {
      length = -1
      value = .zero
      return
    }
    length = Int32(truncatingIfNeeded: content.count)
    if content.count <= Digest.byteCount {
      var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
      withUnsafeMutableBytes(of: &words) { $0.copyMemory(from: content) }
      value = Digest()
      value.words = words
    } else {
      value = .sha256(content)
    }
  }

  /// The fingerprint of the hash that the other replicas send in place of `content`.
  init(hashOf content: UnsafeRawBufferPointer?, by hash: ReplyHash) {
    let content = content ?? UnsafeRawBufferPointer(start: nil, count: 0)
    self = withUnsafeTemporaryAllocation(byteCount: hash.byteCount, alignment: 8) { bytes in
      hash.write(hashOf: content, into: bytes)
      return ReplyFingerprint(UnsafeRawBufferPointer(bytes))
    }
  }
}

/// State of one operation slot.
struct Operation {
  /// The frame as last made; a resend repeats these bytes.
  var frame: UnsafeMutableRawPointer?
  var frameCapacity: Int32 = 0
  var frameCount: Int32 = 0
  var isActive = false
  /// Sent to all replicas already, and not to the primary alone.
  var isSpread = false
  /// Ordered, and sent under a membership older than the present one: whether it was executed is not yet known.
  var isUnsettled = false
  /// Waits for its session to go on under a new value; nothing of it is under way.
  var isParked = false
  /// Replies are kept as they are and compared by the application.
  var isCompared = false
  var kind: UInt8 = 0
  var session: Int32 = 0
  var sessionValue: Int32 = 0
  var sequence: Int32 = 0
  var operationID: Int32 = 0
  /// The membership it was sent under.
  var membershipID: Int32 = 0
  /// How many equal replies decide, and how many answers "your view is old" prove that it was not executed.
  var needed: Int32 = 0
  var weakNeeded: Int32 = 0
  var intended: Int64 = 0
  var sent: Int64 = 0
  var deadline: Int64 = 0
  var context: UInt64 = 0
  /// Replicas that have answered, by position, and those among them whose answer equals the first one.
  var answered: UInt64 = 0
  var matching: UInt64 = 0
  var first = ReplyFingerprint()
  /// Replicas that said "your view is old".
  var outdated: UInt64 = 0
  /// The next parked operation of the session.
  var nextParked: Int32 = -1
  /// Hashed requests: the position that sends the whole reply (-1 = none), and those that have been asked for it.
  var replyServer: Int32 = -1
  var asked: UInt64 = 0
  /// The whole reply of a hashed request, once it is here, with the fingerprint of its hash.
  var whole: UnsafeMutableRawPointer?
  var wholeCapacity: Int32 = 0
  var wholeCount: Int32 = -1
  var wholeFingerprint = ReplyFingerprint()

  /// Whether one replica sends the reply and the others its hash.
  @inline(__always)
  var isHashed: Bool {
    kind == ClientMessageKind.orderedHashed.rawValue || kind == ClientMessageKind.unorderedHashed.rawValue
  }

  /// Whether it takes part in the session's order.
  @inline(__always)
  var isOrdered: Bool {
    kind != ClientMessageKind.unordered.rawValue && kind != ClientMessageKind.unorderedHashed.rawValue
  }
}

/// A set of answers other than the first one that came.
struct DivergentAnswer {
  var fingerprint: ReplyFingerprint
  var replicas: UInt64
}
