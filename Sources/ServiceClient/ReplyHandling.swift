// What an answer means: it counts for the replica at the other end of its connection, once per request; equal ones decide;
// of a hashed request the whole reply of one replica counts with the hashes of the others.

import Channels
import Hashing
import NIOCore
import PBFT
import Wire

/// Whether two replies mean the same, where that is not the same bytes (BFT-SMaRt's `Comparator<byte[]>`).
public typealias ReplyComparator = (_ left: [UInt8], _ right: [UInt8]) -> Bool

/// The replies to one operation that the application compares.
struct ComparedReplies {
  let areEqual: ReplyComparator
  var replies: [(position: Int, content: [UInt8])] = []

  /// Adds a reply and returns all that equal it, itself the last.
  mutating func add(_ content: [UInt8], from position: Int) -> [[UInt8]] {
    var equal = replies.filter { areEqual($0.content, content) }.map(\.content)
    replies.append((position, content))
    equal.append(content)
    return equal
  }
}

extension ClientSessions: DialerClient {
  public func dialer(_ dialer: Dialer, opened link: Link) {
    dialer.peerIsGood()
    let seat = seats[Int(link.number)]
    guard seat.position >= 0 else { return link.close() }
    let connection = Int(seat.connection)
    if inFlight > 0 {
      var pending = (0..<slotCount).filter {
        operations[$0].isActive && !operations[$0].isParked
          && Int(operations[$0].session) % configuration.connections == connection
      }
      // A session's requests go out in their sequence, whatever slots they are in.
      pending.sort {
        (operations[$0].session, operations[$0].sequence) < (operations[$1].session, operations[$1].sequence)
      }
      for slot in pending {
        append(operations + slot, to: link, Int(seat.position))
        counters.retransmits += 1
      }
      link.flush()
    }
    forgetRegistrations(connection)
    connectionsAreReady()
  }

  public func dialer(_ dialer: Dialer, lost link: Link, _ closure: LinkClosure) {
    counters.lostLinks += 1
    if case .malformed = closure { counters.malformedFrames += 1 }
  }

  public func dialer(_ dialer: Dialer, received bytes: UnsafeRawBufferPointer) -> Int {
    guard let link = dialer.link else { return bytes.count }
    let seat = Int(link.number)
    let now = monotonicNanoseconds()
    let dialect = configuration.dialect
    var offset = 0
    scan: while offset < bytes.count {
      let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
      switch ClientFrame.decode(
        rest, maximumLength: configuration.maximumReplyBytes, dialect: dialect,
        useMACs: configuration.useMACs)
      {
      case .frame(let frame, let byteCount):
        // A reply in the same burst may have changed what the seat is.
        handleReply(frame, from: Int(seats[seat].position), now: now)
        offset += byteCount
      case .incomplete:
        break scan
      case .skip(let byteCount):
        counters.malformedFrames += 1
        link.skip(byteCount)
        break scan
      case .malformed(let error):
        link.close(.malformed("\(error)"))
        return bytes.count
      }
    }
    tellObserver()
    observer?.sessionsHaveRead(self, at: monotonicNanoseconds())
    return offset
  }

  @inline(__always)
  private func handleReply(_ frame: ClientFrameView, from position: Int, now: Int64) {
    let slot = frame.operationID & slotMask
    let operation = operations + Int(slot)
    guard position >= 0 else {
      counters.staleReplies += 1
      return
    }
    let bit = UInt64(1) << UInt64(position)
    guard operation.pointee.isActive, operation.pointee.operationID == frame.operationID,
      operation.pointee.sessionValue == frame.session, operation.pointee.sequence == frame.sequence,
      operation.pointee.kind == frame.kind, operation.pointee.answered & bit == 0
    else {
      counters.staleReplies += 1
      return
    }
    guard isAuthentic(frame, operation, position) else {
      counters.badReplyTags += 1
      return
    }
    if frame.membershipID > operation.pointee.membershipID {
      counters.newerMembership += 1
      if handleNewerMembership(frame, slot, position, now: now) { return }
    }
    if operation.pointee.isCompared { return compare(frame, slot, position, now: now) }
    let fingerprint: ReplyFingerprint
    if operation.pointee.isHashed {
      guard let hashed = takeHashed(frame, operation, slot, position) else {
        counters.staleReplies += 1
        return
      }
      fingerprint = hashed
    } else {
      fingerprint = ReplyFingerprint(frame.content)
    }
    operation.pointee.answered |= bit
    var agreeing: UInt64
    if operation.pointee.matching == 0 {
      operation.pointee.first = fingerprint
      operation.pointee.matching = bit
      agreeing = bit
    } else if operation.pointee.first == fingerprint {
      operation.pointee.matching |= bit
      agreeing = operation.pointee.matching
    } else {
      agreeing = recordDivergent(slot, fingerprint, bit)
    }
    if agreeing.nonzeroBitCount >= Int(operation.pointee.needed) {
      if operation.pointee.isHashed {
        decideHashed(slot, fingerprint, now: now)
      } else {
        finish(slot, outcome: .answered, content: frame.content, now: now)
      }
    } else if operation.pointee.answered.nonzeroBitCount == replicaCount {
      finish(slot, outcome: .diverged, content: nil, now: now)
    }
  }

  @inline(__always)
  private func isAuthentic(
    _ frame: ClientFrameView, _ operation: UnsafeMutablePointer<Operation>, _ position: Int
  ) -> Bool {
    let client = client(operation.pointee.session)
    if let channelKeys,
      !channelKeys.isAuthentic(
        frame.mac, of: frame.data, client: client, replica: replicaIDs[position].rawValue)
    {
      return false
    }
    return signer.isAuthenticReply(
      data: frame.data, tag: frame.signature, client: client, position: position)
  }

  private func recordDivergent(_ slot: Int32, _ fingerprint: ReplyFingerprint, _ bit: UInt64) -> UInt64 {
    counters.divergentReplies += 1
    var answers = divergent[slot] ?? []
    defer { divergent[slot] = answers }
    if let index = answers.firstIndex(where: { $0.fingerprint == fingerprint }) {
      answers[index].replicas |= bit
      return answers[index].replicas
    }
    answers.append(DivergentAnswer(fingerprint: fingerprint, replicas: bit))
    return bit
  }

  // MARK: Compared replies

  private func compare(_ frame: ClientFrameView, _ slot: Int32, _ position: Int, now: Int64) {
    let operation = operations + Int(slot)
    operation.pointee.answered |= UInt64(1) << UInt64(position)
    let equal = compared[slot]?.add(Array(frame.content ?? .init(start: nil, count: 0)), from: position) ?? []
    if equal.count >= Int(operation.pointee.needed) {
      decided[operation.pointee.context] = equal
      finish(slot, outcome: .answered, content: frame.content, now: now)
    } else if operation.pointee.answered.nonzeroBitCount == replicaCount {
      finish(slot, outcome: .diverged, content: nil, now: now)
    }
  }

  /// The equal replies that decided a compared operation, the last to come last; to be taken once.
  public func takeDecided(of completion: Completion) -> [[UInt8]] {
    decided.removeValue(forKey: completion.context) ?? []
  }

  // MARK: Hashed replies

  /// Which replica sends the whole reply: another one for each request, of `candidates` and reachable if there is such.
  func chooseReplyServer(_ operation: UnsafeMutablePointer<Operation>, among candidates: UInt64) {
    let connection = Int(operation.pointee.session) % configuration.connections
    let start = Int(UInt32(bitPattern: operation.pointee.session &+ operation.pointee.sequence))
    var chosen = -1
    for step in 0..<replicaCount {
      let position = (start + step) % replicaCount
      let bit = UInt64(1) << UInt64(position)
      guard candidates & bit != 0, operation.pointee.asked & bit == 0 else { continue }
      if chosen < 0 { chosen = position }
      if dialers[connection * replicaCount + position].link != nil {
        chosen = position
        break
      }
    }
    guard chosen >= 0 else { return }
    operation.pointee.replyServer = Int32(chosen)
    operation.pointee.asked |= UInt64(1) << UInt64(chosen)
  }

  /// The fingerprint under which a reply to a hashed request counts; keeps the whole one. nil for a hash from the replica
  /// that was asked for the whole reply after it had sent its hash.
  private func takeHashed(
    _ frame: ClientFrameView, _ operation: UnsafeMutablePointer<Operation>, _ slot: Int32, _ position: Int
  ) -> ReplyFingerprint? {
    let asSent = ReplyFingerprint(frame.content)
    guard Int(operation.pointee.replyServer) == position else { return asSent }
    if operation.pointee.asked.nonzeroBitCount > 1, agreed(slot, asSent) != 0 { return nil }
    let fingerprint = ReplyFingerprint(hashOf: frame.content, by: replyHash)
    let content = frame.content ?? UnsafeRawBufferPointer(start: nil, count: 0)
    if Int(operation.pointee.wholeCapacity) < content.count {
      operation.pointee.whole?.deallocate()
      operation.pointee.whole = .allocate(byteCount: content.count, alignment: 8)
      operation.pointee.wholeCapacity = Int32(content.count)
    }
    if let source = content.baseAddress, !content.isEmpty {
      operation.pointee.whole?.copyMemory(from: source, byteCount: content.count)
    }
    operation.pointee.wholeCount = Int32(content.count)
    operation.pointee.wholeFingerprint = fingerprint
    return fingerprint
  }

  /// The replicas whose answer to `slot` has `fingerprint`.
  private func agreed(_ slot: Int32, _ fingerprint: ReplyFingerprint) -> UInt64 {
    let operation = operations + Int(slot)
    if operation.pointee.matching != 0, operation.pointee.first == fingerprint {
      return operation.pointee.matching
    }
    return divergent[slot]?.first(where: { $0.fingerprint == fingerprint })?.replicas ?? 0
  }

  /// A reply quorum agrees on a hash: it decides if the whole reply is here, else that is waited for, for a while.
  private func decideHashed(_ slot: Int32, _ fingerprint: ReplyFingerprint, now: Int64) {
    let operation = operations + Int(slot)
    if operation.pointee.wholeCount >= 0, operation.pointee.wholeFingerprint == fingerprint {
      let content = UnsafeRawBufferPointer(
        start: operation.pointee.whole, count: Int(operation.pointee.wholeCount))
      return finish(slot, outcome: .answered, content: content, now: now)
    }
    wheel.set(
      slot, deadline: min(operation.pointee.deadline, now + configuration.hashedPatienceNanoseconds))
  }

  /// Asks another of the replicas that agree for the whole reply, under the same session and sequence: what is executed
  /// there is answered from the cache. False when no quorum agrees yet or all of them have been asked.
  func askAnotherReplyServer(_ slot: Int32) -> Bool {
    let operation = operations + Int(slot)
    var agreeing = operation.pointee.matching
    for answer in divergent[slot] ?? [] where answer.replicas.nonzeroBitCount > agreeing.nonzeroBitCount {
      agreeing = answer.replicas
    }
    guard agreeing.nonzeroBitCount >= Int(operation.pointee.needed) else { return false }
    if agreeing & ~operation.pointee.asked == 0 {
      // All have been asked: the round begins again, the answers may have been lost.
      operation.pointee.asked = 0
    }
    let before = operation.pointee.replyServer
    chooseReplyServer(operation, among: agreeing)
    guard operation.pointee.replyServer != before else { return false }
    operation.pointee.asked |= before >= 0 ? UInt64(1) << UInt64(before) : 0
    // Its hash has been counted and stays so; its whole reply is let in once more.
    operation.pointee.answered &= ~(UInt64(1) << UInt64(operation.pointee.replyServer))
    encodeAgain(operation)
    transmit(operation, to: Int(operation.pointee.replyServer))
    return true
  }

  // MARK: Outcome

  func finish(_ slot: Int32, outcome: Outcome, content: UnsafeRawBufferPointer?, now: Int64) {
    let operation = operations + Int(slot)
    wheel.cancel(slot)
    if !divergent.isEmpty { divergent[slot] = nil }
    if operation.pointee.isCompared { compared[slot] = nil }
    operation.pointee.isActive = false
    let session = Int(operation.pointee.session)
    if operation.pointee.isParked {
      unpark(slot)
    } else if operation.pointee.isOrdered, sessions[session].value == operation.pointee.sessionValue {
      sessions[session].finish(operation.pointee.sequence, answered: outcome != .unknown)
    }
    giveSlot(slot)
    inFlight -= 1
    let offset = contents.count
    if let content { contents.append(content) }
    completions.append(
      Completion(
        outcome: outcome, session: operation.pointee.session, sessionValue: operation.pointee.sessionValue,
        sequence: operation.pointee.sequence, isUnordered: !operation.pointee.isOrdered,
        intended: operation.pointee.intended,
        context: operation.pointee.context, sent: operation.pointee.sent, completed: now,
        contentOffset: Int32(truncatingIfNeeded: offset),
        contentCount: Int32(truncatingIfNeeded: content?.count ?? 0)))
    if operation.pointee.isUnsettled { settle(slot, now: now) }
    if sessions[session].firstParked >= 0, outcome != .unknown { release(session, now: now) }
  }
}
