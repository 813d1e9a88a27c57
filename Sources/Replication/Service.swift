// The replicated services. Kept true here: what a service does and replies depends on the batches executed so
// far and on the request's content, and on nothing else.

import Hashing
import PBFT

/// A closed set, so that a call is a branch and not a look-up of a witness.
public enum Service: Hashable, Sendable {
  case log(LogService)
  case counter(CounterService)
  case null(NullService)

  /// The services by name.
  public static let names = ["log", "counter", "null"]

  /// The largest reply a service may be asked for, in bytes.
  public static let maximumReplyBytes = 1 << 24

  /// A fresh service. `replyBytes`: filler after `log`'s record, the whole reply of `null`; `counter` ignores
  /// it. nil for an unknown name or an impossible size.
  public static func make(name: String, replyBytes: Int) -> Service? {
    guard (0...maximumReplyBytes).contains(replyBytes) else { return nil }
    switch name {
    case "log": return .log(LogService(fillerByteCount: replyBytes))
    case "counter": return .counter(CounterService())
    case "null": return .null(NullService(replyByteCount: replyBytes))
    default: return nil
    }
  }

  /// No reply is longer.
  var maximumReplyByteCount: Int {
    switch self {
    case .log(let log): return LogService.recordByteCount + log.fillerByteCount
    case .counter: return CounterService.replyByteCount
    case .null(let null): return null.replyByteCount
    }
  }

  /// Executes an ordered request and writes its reply. `chain`: the digest chain with the batch in progress.
  /// Returns the reply's size.
  @inline(__always)
  mutating func execute(
    _ content: UnsafeRawBufferPointer, chain: UInt64, into reply: UnsafeMutableRawPointer
  ) -> Int {
    switch self {
    case .log(var log):
      let count = log.append(chain: chain, into: reply)
      self = .log(log)
      return count
    case .counter(var counter):
      let count = counter.add(content, into: reply)
      self = .counter(counter)
      return count
    case .null(let null):
      return null.reply(into: reply)
    }
  }

  /// Answers an unordered request from the present state, changing nothing.
  func read(into reply: UnsafeMutableRawPointer) -> Int {
    switch self {
    case .log(let log): return log.record(into: reply)
    case .counter(let counter): return counter.value(into: reply)
    case .null(let null): return null.reply(into: reply)
    }
  }

  // MARK: State transfer

  /// The state is being replaced: reads may not be answered from it (Fabric's `invalidateState`).
  mutating func invalidateState() { setValid(false) }

  /// The state is that of the checkpoint just installed (Fabric's `validateState`).
  mutating func validateState() { setValid(true) }

  private mutating func setValid(_ isValid: Bool) {
    switch self {
    case .log(var log):
      log.isStateValid = isValid
      self = .log(log)
    case .counter(var counter):
      counter.isStateValid = isValid
      self = .counter(counter)
    case .null: break
    }
  }

  /// The state as bytes: kind u8, then what the digest covers.
  var encodedState: [UInt8] {
    var output: [UInt8] = []
    switch self {
    case .log(let log):
      output.put(UInt8(0))
      output.put(log.position)
      output.put(UInt64(bigEndian: log.chain))
    case .counter(let counter):
      output.put(UInt8(1))
      output.put(counter.value)
    case .null: output.put(UInt8(2))
    }
    return output
  }

  /// Takes a state that `encodedState` has written; false, and unchanged, when the bytes are no state of
  /// this service.
  mutating func install(_ bytes: UnsafeRawBufferPointer) -> Bool {
    var reader = ByteReader(bytes)
    guard let kind = reader.integer(UInt8.self) else { return false }
    switch (self, kind) {
    case (.log(var log), 0):
      guard let position = reader.integer(UInt64.self), let chain = reader.integer(UInt64.self),
        reader.isAtEnd
      else { return false }
      log.position = position
      log.chain = chain.bigEndian
      self = .log(log)
    case (.counter(var counter), 1):
      guard let value = reader.integer(Int32.self), reader.isAtEnd else { return false }
      counter.value = value
      self = .counter(counter)
    case (.null, 2): return reader.isAtEnd
    default: return false
    }
    return true
  }

  /// The digest of the service's state.
  func digest() -> Digest {
    var hasher = SHA256Hasher()
    switch self {
    case .log(let log):
      hasher.update(bigEndian: UInt8(0))
      hasher.update(bigEndian: log.position)
      hasher.update(bigEndian: UInt64(bigEndian: log.chain))
    case .counter(let counter):
      hasher.update(bigEndian: UInt8(1))
      hasher.update(bigEndian: counter.value)
    case .null:
      hasher.update(bigEndian: UInt8(2))
    }
    return hasher.finalize()
  }
}

/// An append-only log that reveals the total order: each request is answered with its position in it.
public struct LogService: Hashable, Sendable {
  /// Position, and the first eight bytes of the digest chain.
  public static let recordByteCount = 16

  public let fillerByteCount: Int
  /// Requests appended so far.
  public internal(set) var position: UInt64 = 0
  /// The first eight bytes, in memory order, of the chain with the batch of the last request appended.
  var chain: UInt64 = 0
  /// Whether the state may be read: not while a newer one is being fetched.
  public internal(set) var isStateValid = true

  init(fillerByteCount: Int) { self.fillerByteCount = fillerByteCount }

  /// Appends a request. The record: UInt64 position (big-endian, the first is 1) ‖ first eight bytes of H_k,
  /// k being the batch in progress; then the filler, zero bytes.
  @inline(__always)
  mutating func append(chain: UInt64, into reply: UnsafeMutableRawPointer) -> Int {
    position &+= 1
    self.chain = chain
    return record(into: reply)
  }

  /// The record of the last request appended.
  @inline(__always)
  func record(into reply: UnsafeMutableRawPointer) -> Int {
    reply.storeBytes(of: position.bigEndian, as: UInt64.self)
    reply.storeBytes(of: chain, toByteOffset: 8, as: UInt64.self)
    if fillerByteCount > 0 {
      (reply + LogService.recordByteCount).initializeMemory(
        as: UInt8.self, repeating: 0, count: fillerByteCount)
    }
    return LogService.recordByteCount &+ fillerByteCount
  }
}

/// BFT-SMaRt's counter demonstration: adds what it is told and replies with the sum.
public struct CounterService: Hashable, Sendable {
  public static let replyByteCount = 4

  public internal(set) var value: Int32 = 0
  /// Whether the state may be read: not while a newer one is being fetched.
  public internal(set) var isStateValid = true

  init() {}

  /// Content: an increment of four bytes, big-endian; the sum wraps as in Java. Shorter content adds nothing
  /// and is answered with an empty reply.
  @inline(__always)
  mutating func add(_ content: UnsafeRawBufferPointer, into reply: UnsafeMutableRawPointer) -> Int {
    guard content.count >= 4 else { return 0 }
    value = value &+ Int32(bigEndian: content.loadUnaligned(as: Int32.self))
    return value(into: reply)
  }

  @inline(__always)
  func value(into reply: UnsafeMutableRawPointer) -> Int {
    reply.storeBytes(of: value.bigEndian, as: Int32.self)
    return CounterService.replyByteCount
  }
}

/// Does nothing and replies with zero bytes: what is left is the cost of replication.
public struct NullService: Hashable, Sendable {
  public let replyByteCount: Int

  init(replyByteCount: Int) { self.replyByteCount = replyByteCount }

  @inline(__always)
  func reply(into reply: UnsafeMutableRawPointer) -> Int {
    if replyByteCount > 0 { reply.initializeMemory(as: UInt8.self, repeating: 0, count: replyByteCount) }
    return replyByteCount
  }
}
