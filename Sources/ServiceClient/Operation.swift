// An operation: one request from its submission to its outcome. A plain record in an array slot; a session is an index.

import Hashing
import PBFT

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
}

/// State of one operation slot.
struct Operation {
  /// The frame as first sent; a resend repeats these bytes.
  var frame: UnsafeMutableRawPointer?
  var frameCapacity: Int32 = 0
  var frameCount: Int32 = 0
  var isActive = false
  var kind: UInt8 = 0
  var session: Int32 = 0
  var sessionValue: Int32 = 0
  var sequence: Int32 = 0
  var operationID: Int32 = 0
  /// How many equal replies decide.
  var needed: Int32 = 0
  var intended: Int64 = 0
  var sent: Int64 = 0
  var deadline: Int64 = 0
  var context: UInt64 = 0
  /// Replicas that have answered, by position, and those among them whose answer equals the first one.
  var answered: UInt64 = 0
  var matching: UInt64 = 0
  var first = ReplyFingerprint()
}

/// A set of answers other than the first one that came.
struct DivergentAnswer {
  var fingerprint: ReplyFingerprint
  var replicas: UInt64
}
