// What happened, as a digest of every event and, when wanted, as lines for people.
//
// Columns of a line: virtual time in microseconds; who (r<id>, r<id>' for a twin, c<client>, or `net` and `plan`); the
// event; then what it is about, as `name=value` or a message in short. Kept true here: the digest does not depend on
// whether lines are kept, on the machine, or on how the code was compiled.

import PBFT
import Replication

/// What a trace line is about.
enum TraceKind: UInt8 {
  case send, deliver, lose, execute, stable, suspect, leave, enter, crash, restart, recover, transfer,
    persist, diverge
  case request, answer, fault, membership, forge, end

  var name: String {
    switch self {
    case .send: "send"
    case .deliver: "deliver"
    case .lose: "lose"
    case .execute: "execute"
    case .stable: "stable"
    case .suspect: "suspect"
    case .leave: "leave-view"
    case .enter: "enter-view"
    case .crash: "crash"
    case .restart: "restart"
    case .recover: "recovered"
    case .transfer: "transfer"
    case .persist: "persist"
    case .diverge: "diverge"
    case .request: "request"
    case .answer: "answer"
    case .fault: "fault"
    case .membership: "membership"
    case .forge: "forge"
    case .end: "end"
    }
  }
}

struct Trace {
  private(set) var digest: UInt64 = 0xCBF2_9CE4_8422_2325
  private(set) var lines: [String] = []
  var keepsLines = false
  /// Lines beyond this are not kept.
  static let mostLines = 200_000

  mutating func begin(keepingLines: Bool) {
    digest = 0xCBF2_9CE4_8422_2325
    lines = []
    keepsLines = keepingLines
  }

  /// Adds an event to the digest; `text` is only asked for when lines are kept.
  @inline(__always)
  mutating func note(
    _ kind: TraceKind, at time: Int64, _ who: Int32, _ first: UInt64 = 0, _ second: UInt64 = 0,
    _ text: @autoclosure () -> String
  ) {
    digest = mixed(
      mixed(digest, UInt64(bitPattern: time) ^ UInt64(kind.rawValue) &<< 56),
      first ^ UInt64(UInt32(bitPattern: who)) &<< 40)
    digest = mixed(digest, second)
    if keepsLines { keep(kind, time, text()) }
  }

  /// A line that belongs to no event.
  mutating func describe(_ text: String) { if keepsLines { lines.append("# " + text) } }

  @inline(never)
  private mutating func keep(_ kind: TraceKind, _ time: Int64, _ text: String) {
    guard lines.count < Trace.mostLines else { return }
    let microseconds = String(time / 1_000)
    let padding = String(repeating: " ", count: max(0, 10 - microseconds.count))
    let fraction = String(1_000 + time % 1_000).dropFirst()
    let parts = text.split(separator: "|", maxSplits: 1)
    let who = String(parts.first ?? "")
    let rest = parts.count > 1 ? String(parts[1]) : ""
    func padded(_ text: String, _ width: Int) -> String {
      text + String(repeating: " ", count: max(0, width - text.count))
    }
    lines.append("\(padding)\(microseconds).\(fraction) \(padded(who, 4)) \(padded(kind.name, 11)) \(rest)")
  }
}

extension Message {
  /// The message in short, for a trace line.
  var brief: String {
    switch self {
    case .prePrepare(let message):
      return "pre-prepare v\(message.view.rawValue) n\(message.sequence.rawValue) d=\(short(message.digest))"
    case .prepare(let message):
      return "prepare v\(message.view.rawValue) n\(message.sequence.rawValue) d=\(short(message.digest))"
    case .commit(let message):
      return "commit v\(message.view.rawValue) n\(message.sequence.rawValue) d=\(short(message.digest))"
    case .checkpoint(let message):
      return "checkpoint n\(message.sequence.rawValue) d=\(short(message.digest))"
    case .suspect(let message): return "suspect v\(message.view.rawValue)"
    case .viewChange: return "view-change"
    case .newView: return "new-view"
    case .status(let status):
      return "status v\(status.view.rawValue)\(status.isActive ? "" : " inactive")"
        + "\(status.isRecovering ? " recovering" : "")\(status.asks ? " asks" : "") h=\(status.stable.rawValue) "
        + "p=\(status.prepared.rawValue) e=\(status.executed.rawValue)"
    case .executed(let message): return "executed n\(message.sequence.rawValue) d=\(short(message.digest))"
    case .fetchBatch(let digest): return "fetch-batch d=\(short(digest))"
    case .fetchState(let query):
      return "fetch-state n\(query.checkpoint.sequence.rawValue) at=\(query.position)"
    }
  }

  /// A word that tells messages apart in the trace's digest.
  var fingerprint: UInt64 {
    switch self {
    case .prePrepare(let message):
      return mixed(mixed(1, message.view.rawValue) ^ message.sequence.rawValue, message.digest.words.0)
    case .prepare(let message):
      return mixed(mixed(2, message.view.rawValue) ^ message.sequence.rawValue, message.digest.words.0)
    case .commit(let message):
      return mixed(mixed(3, message.view.rawValue) ^ message.sequence.rawValue, message.digest.words.0)
    case .checkpoint(let message): return mixed(4 ^ message.sequence.rawValue &<< 8, message.digest.words.0)
    case .suspect(let message): return mixed(5, message.view.rawValue)
    case .viewChange: return 6
    case .newView: return 7
    case .status(let status):
      return mixed(mixed(8, status.view.rawValue), status.stable.rawValue &<< 32 ^ status.executed.rawValue)
    case .executed(let message): return mixed(9 ^ message.sequence.rawValue &<< 8, message.digest.words.0)
    case .fetchBatch(let digest): return mixed(10, digest.words.0)
    case .fetchState(let query): return mixed(11 ^ query.position &<< 8, query.checkpoint.digest.words.0)
    }
  }
}

/// The first four bytes of a digest in hexadecimal.
func short(_ digest: Digest) -> String { String(digest.description.prefix(8)) }
