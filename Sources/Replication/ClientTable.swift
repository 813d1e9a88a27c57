// The client table: replicated state, the same at every correct replica after the same batches. It decides at
// execution what is new, what is a repetition and what will never be executed. Kept true here: a client is
// known by the order of its first execution, remembered for ever, with its last 16 sessions and the last 32
// replies of the current one.

import Hashing
import PBFT

/// How a request stands to what has been executed for its client.
enum Standing {
  /// Of the current session, executed already.
  case executed
  /// Of a remembered older session: never executed.
  case olderSession
  /// The one after the last executed of the current session.
  case next
  /// Of the current session, beyond the next.
  case gap
  /// Of a session not remembered: it would become current.
  case unseen
}

struct ClientRecord: BitwiseCopyable {
  var client: Int32 = 0
  /// The current session and its last executed sequence.
  var session: Int32 = 0
  var lastSequence: Int32 = -1
  /// Sessions begun so far, the newest at (sessionsBegun - 1) mod 16.
  var sessionsBegun: UInt32 = 0
  /// Sessions begun and the last sequence when the table was digested last.
  var savedBegun: UInt32 = 0
  var savedSequence: Int32 = -1
  /// Changed since the table was digested last.
  var isDirty = false
}

struct SessionEntry: BitwiseCopyable {
  var session: Int32 = 0
  /// Of an older session; the record knows that of the current one.
  var lastSequence: Int32 = -1
}

/// A reply kept to be sent again: up to 16 bytes in place, padded with zeros, more in a block of their own.
struct CachedReply: BitwiseCopyable {
  static let inPlace = 16

  var sequence: Int32 = -1
  /// -1 = no reply.
  var count: Int32 = -1
  /// The content; or the address of a block (content, then room for its digest), and whether that digest is
  /// there.
  var words: (UInt64, UInt64) = (0, 0)

  @inline(__always)
  var isLong: Bool { count > Int32(CachedReply.inPlace) }

  var block: UnsafeMutableRawPointer {
    UnsafeMutableRawPointer(bitPattern: UInt(words.0)).unsafelyUnwrapped
  }
}

final class ClientTable {
  static let sessionsRemembered = 16
  static let repliesRemembered = 32

  let maximumClients: Int
  let records: ChunkedTable<ClientRecord>
  let sessions: ChunkedTable<SessionEntry>
  let replies: ChunkedTable<CachedReply>
  let tree: ClientDigestTree
  /// Where leaves are put together to be hashed.
  let leafScratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 2_048, alignment: 8)
  @exclusivity(unchecked) private(set) var count = 0

  init(maximumClients: Int) {
    self.maximumClients = maximumClients
    records = ChunkedTable(capacity: maximumClients)
    sessions = ChunkedTable(capacity: maximumClients, perItem: ClientTable.sessionsRemembered)
    replies = ChunkedTable(capacity: maximumClients, perItem: ClientTable.repliesRemembered)
    tree = ClientDigestTree(maximumLeaves: maximumClients)
  }

  deinit {
    leafScratch.deallocate()
    for index in 0..<count {
      for place in 0..<ClientTable.repliesRemembered { forget(replies[index] + place) }
    }
    records.deallocate()
    sessions.deallocate()
    replies.deallocate()
  }

  var isFull: Bool { count >= maximumClients }

  /// Whether the session is the current one or one of the 15 before.
  func remembers(_ index: Int, _ session: Int32) -> Bool {
    let known = min(Int(records[index].pointee.sessionsBegun), ClientTable.sessionsRemembered)
    for place in 0..<known where sessions[index][place].session == session { return true }
    return false
  }

  /// A record for a client that has none; nil when the table is full.
  func add(_ client: Int32) -> Int? {
    guard !isFull else { return nil }
    let index = count
    records.reach(index, filling: ClientRecord())
    sessions.reach(index, filling: SessionEntry())
    replies.reach(index, filling: CachedReply())
    records[index].pointee = ClientRecord(client: client)
    count += 1
    return index
  }

  /// Makes an unseen session current, in place of the oldest one if 16 are remembered; the former session's
  /// replies are forgotten.
  func begin(_ index: Int, session: Int32) {
    let record = records[index]
    let remembered = UInt32(ClientTable.sessionsRemembered)
    let begun = record.pointee.sessionsBegun
    if begun > 0 { sessions[index][Int((begun - 1) % remembered)].lastSequence = record.pointee.lastSequence }
    sessions[index][Int(begun % remembered)] = SessionEntry(session: session)
    // Wraps after 2^32 sessions without losing the place, as 16 divides it; but never to "none".
    record.pointee.sessionsBegun = begun == .max ? remembered : begun + 1
    record.pointee.session = session
    record.pointee.lastSequence = -1
    forgetReplies(index)
  }

  /// A table of its own with the same records. Its digest tree is computed anew when it is asked for.
  func copied() -> ClientTable {
    let copy = ClientTable(maximumClients: maximumClients)
    for index in 0..<count {
      guard copy.add(records[index].pointee.client) == index else {
        preconditionFailure("as large as this one")
      }
      copy.records[index].pointee = records[index].pointee
      copy.records[index].pointee.isDirty = false
      copy.touch(index)
      copy.sessions[index].update(from: sessions[index], count: ClientTable.sessionsRemembered)
      for place in 0..<ClientTable.repliesRemembered {
        let cached = replies[index] + place
        guard cached.pointee.isLong else {
          (copy.replies[index] + place).pointee = cached.pointee
          continue
        }
        copy.keep(index, cached.pointee.sequence, cached.pointee.block, Int(cached.pointee.count))
      }
    }
    return copy
  }

  /// What has changed so far is no change any more.
  func forgetChanges() {
    for index in 0..<count {
      records[index].pointee.savedBegun = records[index].pointee.sessionsBegun
      records[index].pointee.savedSequence = records[index].pointee.lastSequence
    }
  }

  func forgetReplies(_ index: Int) {
    for place in 0..<ClientTable.repliesRemembered { forget(replies[index] + place) }
  }

  /// Says that the record's leaf has to be computed again.
  @inline(__always)
  func touch(_ index: Int) {
    let record = records[index]
    if !record.pointee.isDirty {
      record.pointee.isDirty = true
      tree.markDirty(index)
    }
  }

  private func forget(_ cached: UnsafeMutablePointer<CachedReply>) {
    if cached.pointee.isLong { cached.pointee.block.deallocate() }
    cached.pointee = CachedReply()
  }

  /// Marks the sequence as executed and keeps its reply.
  @inline(__always)
  func finish(_ index: Int, sequence: Int32, reply: UnsafeRawPointer, count: Int) {
    let record = records[index]
    record.pointee.lastSequence = sequence
    touch(index)
    keep(index, sequence, reply, count)
  }

  /// Keeps a reply in the place of the one 32 sequences before.
  @inline(__always)
  func keep(_ index: Int, _ sequence: Int32, _ reply: UnsafeRawPointer, _ count: Int) {
    let cached = replies[index] + Int(sequence & Int32(ClientTable.repliesRemembered - 1))
    guard count <= CachedReply.inPlace else { return keepLong(cached, sequence, reply, count) }
    if cached.pointee.isLong { cached.pointee.block.deallocate() }
    cached.pointee.sequence = sequence
    cached.pointee.count = Int32(truncatingIfNeeded: count)
    if count == CachedReply.inPlace {
      cached.pointee.words = reply.loadUnaligned(as: (UInt64, UInt64).self)
    } else {
      cached.pointee.words = (0, 0)
      ClientTable.place(cached).copyMemory(from: reply, byteCount: count)
    }
  }

  private static func place(_ cached: UnsafeMutablePointer<CachedReply>) -> UnsafeMutableRawPointer {
    UnsafeMutableRawPointer(cached) + MemoryLayout<CachedReply>.offset(of: \.words)!
  }

  private static func blockSize(_ count: Int) -> Int {
    1 << (Int.bitWidth - (count + Digest.byteCount - 1).leadingZeroBitCount)
  }

  private func keepLong(
    _ cached: UnsafeMutablePointer<CachedReply>, _ sequence: Int32, _ reply: UnsafeRawPointer, _ count: Int
  ) {
    let size = ClientTable.blockSize(count)
    if !cached.pointee.isLong || ClientTable.blockSize(Int(cached.pointee.count)) != size {
      if cached.pointee.isLong { cached.pointee.block.deallocate() }
      let block = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
      cached.pointee.words.0 = UInt64(UInt(bitPattern: block))
    }
    cached.pointee.words.1 = 0
    cached.pointee.sequence = sequence
    cached.pointee.count = Int32(truncatingIfNeeded: count)
    cached.pointee.block.copyMemory(from: reply, byteCount: count)
  }

  /// The reply to an executed request of the current session; nil once 32 later ones have been executed.
  /// Valid until the next `finish`.
  func reply(_ index: Int, sequence: Int32) -> UnsafeRawBufferPointer? {
    guard sequence >= 0 else { return nil }
    let cached = replies[index] + Int(sequence & Int32(ClientTable.repliesRemembered - 1))
    guard cached.pointee.sequence == sequence, cached.pointee.count >= 0 else { return nil }
    return ClientTable.content(cached)
  }

  static func content(_ cached: UnsafeMutablePointer<CachedReply>) -> UnsafeRawBufferPointer {
    let start = cached.pointee.isLong ? cached.pointee.block : place(cached)
    return UnsafeRawBufferPointer(start: start, count: Int(cached.pointee.count))
  }

  /// The digest of a long reply, computed once.
  static func digest(_ cached: UnsafeMutablePointer<CachedReply>) -> Digest {
    let content = content(cached)
    let place = cached.pointee.block + content.count
    if cached.pointee.words.1 == 0 {
      place.storeBytes(of: Digest.sha256(content), as: Digest.self)
      cached.pointee.words.1 = 1
    }
    return place.loadUnaligned(as: Digest.self)
  }
}
