// Many client sessions of BFT-SMaRt on one event loop: each an array slot with a client id, a random session value and its
// sequences. They share connections; a reply finds its operation by the operation id it echoes, and counts for the
// replica at the other end of its connection, whatever sender id it carries. A request of unknown outcome is never issued
// again: its session goes on under a fresh session value.

import Channels
import Hashing
import NIOCore
import PBFT
import Wire

/// What a set of sessions needs to know.
public struct SessionConfiguration: Sendable {
  /// Client endpoints of the replicas, by position in the membership.
  public var replicas: [Endpoint]
  public var membershipID: Int32 = 0
  public var quorums: Quorums
  /// Connections per replica; sessions are dealt evenly over them.
  public var connections = 1
  public var sessions = 1
  /// Client id of session 0; the others follow.
  public var firstClientID: Int32 = 10_000
  /// Requests a session may have in flight, 1 ... 32.
  public var outstanding = 1
  /// Pause after which an unanswered request is sent again, in nanoseconds; 0 = never.
  public var resendNanoseconds: Int64 = 0
  /// Whether unordered requests are served; it changes the reply quorum and must be equal on both sides.
  public var readOnlyRequests = false
  /// Largest reply frame accepted, in bytes.
  public var maximumReplyBytes = 64 << 20

  public init(replicas: [Endpoint], quorums: Quorums) {
    self.replicas = replicas
    self.quorums = quorums
  }

  /// Whether requests and replies pass through memory instead of sockets.
  public var isInMemory: Bool {
    if case .memory = replicas.first { true } else { false }
  }

  /// Equal replies that decide an operation: f+1, or Q when unordered requests are served.
  public var replyQuorum: Int { readOnlyRequests ? quorums.quorum : quorums.weakQuorum }
}

/// Counters of what did not go straight. Belong to the loop.
public struct SessionCounters: Sendable {
  public var retransmits: UInt64 = 0
  public var staleReplies: UInt64 = 0
  public var badReplyTags: UInt64 = 0
  public var malformedFrames: UInt64 = 0
  public var divergentReplies: UInt64 = 0
  public var newerMembership: UInt64 = 0
  public var lostLinks: UInt64 = 0
  public var unorderedSentOrdered: UInt64 = 0
  /// Requests that were to be signed ahead and were not.
  public var signedLate: UInt64 = 0
}

/// Is told, once per burst, that `completions` of the sessions holds something.
public protocol SessionsObserver: AnyObject {
  func sessionsHaveCompletions(_ sessions: ClientSessions)
}

/// Array-backed sessions. Everything is called on `loop`.
public final class ClientSessions: DialerClient, @unchecked Sendable {
  public let configuration: SessionConfiguration
  public let loop: any EventLoop
  public private(set) var counters = SessionCounters()
  /// Finished operations since the observer was last told; the observer reads them, and they are cleared afterwards.
  public private(set) var completions: [Completion] = []
  /// Operations without outcome.
  public private(set) var inFlight = 0
  public weak var observer: (any SessionsObserver)?

  private static let orderedKind = ClientMessageKind.ordered.rawValue
  private static let unorderedKind = ClientMessageKind.unordered.rawValue

  private struct Session {
    var value: Int32
    var nextOrdered: Int32 = 0
    var nextOther: Int32 = 0
  }

  private let signer: RequestSigner
  private let replicaCount: Int
  private let sessions: UnsafeMutablePointer<Session>
  private let operations: UnsafeMutablePointer<Operation>
  private let slotMask: Int32
  private let slotCount: Int
  private let freeSlots: UnsafeMutablePointer<Int32>
  private var freeHead = 0
  private var freeCount: Int
  private var wheel: TimingWheel
  private var expired: [Int32] = []
  private var divergent: [Int32: [DivergentAnswer]] = [:]
  private var contents = ByteQueue(capacity: 16 << 10)
  private var dialers: [Dialer] = []
  private var isDirty: [Bool]
  private var dirty: [Int] = []
  private var ahead: SignedAhead?
  /// How often each session has taken a fresh value.
  private var renewals: [UInt32]
  private var turn: TurnEnd!
  private var isTelling = false
  private var entropy = SystemRandomNumberGenerator()
  private var readiness: EventLoopPromise<Void>?

  public init(configuration: SessionConfiguration, signer: RequestSigner, loop: any EventLoop) {
    precondition((1...32).contains(configuration.outstanding), "a session has 1 to 32 requests in flight")
    precondition(configuration.sessions >= 1 && configuration.connections >= 1)
    self.configuration = configuration
    self.signer = signer
    self.loop = loop
    replicaCount = configuration.replicas.count
    sessions = .allocate(capacity: configuration.sessions)
    var slots = 32
    while slots < configuration.sessions * configuration.outstanding { slots *= 2 }
    slotCount = slots
    slotMask = Int32(slots - 1)
    operations = .allocate(capacity: slots)
    operations.initialize(repeating: Operation(), count: slots)
    freeSlots = .allocate(capacity: slots)
    for slot in 0..<slots {
      freeSlots[slot] = Int32(slot)
      // One before its first use, so that a slot's first operation id is its own number.
      operations[slot].operationID = Int32(slot) &- Int32(slots)
    }
    freeCount = slots
    wheel = TimingWheel(capacity: slots, now: monotonicNanoseconds())
    isDirty = Array(repeating: false, count: configuration.connections)
    renewals = Array(repeating: 0, count: configuration.sessions)
    for index in 0..<configuration.sessions {
      (sessions + index).initialize(to: Session(value: Int32.random(in: .min ... .max, using: &entropy)))
    }
    turn = TurnEnd(loop: loop) { [unowned self] in flush() }
  }

  deinit {
    for slot in 0..<slotCount { operations[slot].frame?.deallocate() }
    operations.deallocate()
    sessions.deallocate()
    freeSlots.deallocate()
  }

  // MARK: Connections

  /// Opens all connections. The future succeeds when each is up; `reachableReplicas` tells how far it is.
  public func connect() -> EventLoopFuture<Void> {
    loop.preconditionInEventLoop()
    let promise = loop.makePromise(of: Void.self)
    readiness = promise
    for connection in 0..<configuration.connections {
      for position in 0..<replicaCount {
        dialers.append(
          Dialer(
            endpoint: configuration.replicas[position], loop: loop,
            number: UInt32(connection * replicaCount + position), client: self))
      }
    }
    for dialer in dialers { dialer.start() }
    return promise.futureResult
  }

  /// Number of replicas to which each connection is up; a request needs a reply quorum of them.
  public var reachableReplicas: Int {
    (0..<replicaCount).filter { position in
      stride(from: position, to: dialers.count, by: replicaCount).allSatisfy { dialers[$0].link != nil }
    }.count
  }

  /// What went wrong with each replica that is not reached, for a message to people.
  public var connectionProblems: [String] {
    (0..<replicaCount).compactMap { position in
      guard
        let bad = stride(from: position, to: dialers.count, by: replicaCount)
          .first(where: { dialers[$0].link == nil })
      else { return nil }
      return "\(configuration.replicas[position]): \(dialers[bad].lastFailure ?? "no answer yet")"
    }
  }

  /// Closes all connections.
  public func close() {
    for dialer in dialers { dialer.stop() }
    readiness?.fail(ChannelError.alreadyClosed)
    readiness = nil
  }

  /// Bytes sent and received over all links that are up, and flushes that carried them.
  public var traffic: (sentBytes: UInt64, receivedBytes: UInt64, flushes: UInt64) {
    var total: (UInt64, UInt64, UInt64) = (0, 0, 0)
    for dialer in dialers {
      guard let link = dialer.link else { continue }
      total.0 += link.sentBytes
      total.1 += link.receivedBytes
      total.2 += link.flushes
    }
    return total
  }

  public func dialer(_ dialer: Dialer, opened link: Link) {
    dialer.peerIsGood()
    let connection = Int(link.number) / replicaCount
    if inFlight > 0 {
      for slot in 0..<slotCount where operations[slot].isActive {
        let operation = operations[slot]
        guard Int(operation.session) % configuration.connections == connection else { continue }
        link.append(UnsafeRawBufferPointer(start: operation.frame, count: Int(operation.frameCount)))
        counters.retransmits += 1
      }
      link.flush()
    }
    if let readiness, dialers.allSatisfy({ $0.link != nil }) {
      self.readiness = nil
      readiness.succeed()
    }
  }

  public func dialer(_ dialer: Dialer, lost link: Link, _ closure: LinkClosure) {
    counters.lostLinks += 1
    if case .malformed = closure { counters.malformedFrames += 1 }
  }

  // MARK: Requests

  /// Sends one request on `session`, which must have fewer than `outstanding` in flight.
  ///
  /// - Parameters:
  ///   - content: the request's bytes; copied.
  ///   - intended: when it was due; kept for the completion.
  ///   - deadline: when to give up waiting.
  ///   - context: kept for the completion.
  ///   - unordered: a read that is not ordered. When unordered requests are off it is sent ordered at once, and counted.
  /// - Returns: the instant at which it was handed to the links.
  @discardableResult
  public func submit(
    session: Int, content: UnsafeRawBufferPointer, intended: Int64, deadline: Int64, context: UInt64,
    unordered: Bool = false
  ) -> Int64 {
    var isUnordered = unordered
    if unordered && !configuration.readOnlyRequests {
      counters.unorderedSentOrdered += 1
      isUnordered = false
    }
    let slot = takeSlot(session)
    inFlight += 1
    let operation = operations + Int(slot)
    let sequence: Int32
    if isUnordered {
      sequence = sessions[session].nextOther
      sessions[session].nextOther = sequence &+ 1
    } else {
      sequence = sessions[session].nextOrdered
      sessions[session].nextOrdered = sequence &+ 1
    }
    operation.pointee.isActive = true
    operation.pointee.kind = isUnordered ? Self.unorderedKind : Self.orderedKind
    operation.pointee.session = Int32(session)
    operation.pointee.sessionValue = sessions[session].value
    operation.pointee.sequence = sequence
    operation.pointee.operationID &+= Int32(slotCount)
    operation.pointee.needed = Int32(configuration.replyQuorum)
    operation.pointee.intended = intended
    operation.pointee.deadline = deadline
    operation.pointee.context = context
    operation.pointee.answered = 0
    operation.pointee.matching = 0
    if !copySignedAhead(operation) { encode(operation, content: content) }
    let now = monotonicNanoseconds()
    operation.pointee.sent = now
    transmit(operation)
    arm(slot, now: now)
    return now
  }

  private func takeSlot(_ session: Int) -> Int32 {
    if ahead != nil { return Int32(session) }
    precondition(freeCount > 0, "more operations than sessions times outstanding")
    let slot = freeSlots[freeHead]
    freeHead = freeHead + 1 == slotCount ? 0 : freeHead + 1
    freeCount -= 1
    return slot
  }

  private func giveSlot(_ slot: Int32) {
    if ahead != nil { return }
    freeSlots[(freeHead + freeCount) % slotCount] = slot
    freeCount += 1
  }

  // MARK: Signing ahead

  /// Makes the first `requests` ordered requests of every session now, signatures included, so that submitting them costs
  /// no signature. What a session sends beyond them is signed as it is sent, and counted. Before the first request only;
  /// sessions have one request in flight then.
  ///
  /// - Returns: the processor time it took, in nanoseconds.
  public func signAhead(requests: Int, content: UnsafeRawBufferPointer) -> Int64 {
    precondition(configuration.outstanding == 1 && inFlight == 0 && ahead == nil)
    let begin = threadCPUNanoseconds()
    let capacity = ClientFrame.byteCount(content: content.count, signature: signer.maximumSignatureByteCount)
    ahead = SignedAhead(sessions: configuration.sessions, requests: requests, frameCapacity: capacity)
    var operation = Operation()
    for session in 0..<configuration.sessions {
      operation.session = Int32(session)
      operation.sessionValue = sessions[session].value
      operation.kind = Self.orderedKind
      operation.operationID = operations[session].operationID
      for request in 0..<requests {
        operation.sequence = Int32(request)
        operation.operationID &+= Int32(slotCount)
        let frame = ahead!.frame(session, request)
        let count = write(operation, content: content, into: frame)
        ahead!.setByteCount(count, session, request)
      }
    }
    return threadCPUNanoseconds() - begin
  }

  private func copySignedAhead(_ operation: UnsafeMutablePointer<Operation>) -> Bool {
    guard ahead != nil else { return false }
    let session = Int(operation.pointee.session)
    guard operation.pointee.kind == Self.orderedKind,
      let frame = ahead!.take(session, Int(operation.pointee.sequence), renewed: renewals[session] > 0)
    else {
      counters.signedLate += 1
      return false
    }
    makeRoom(operation, frame.count)
    operation.pointee.frame!.copyMemory(from: frame.baseAddress!, byteCount: frame.count)
    operation.pointee.frameCount = Int32(frame.count)
    return true
  }

  private func makeRoom(_ operation: UnsafeMutablePointer<Operation>, _ byteCount: Int) {
    guard Int(operation.pointee.frameCapacity) < byteCount else { return }
    operation.pointee.frame?.deallocate()
    operation.pointee.frame = .allocate(byteCount: byteCount, alignment: 8)
    operation.pointee.frameCapacity = Int32(byteCount)
  }

  private func encode(_ operation: UnsafeMutablePointer<Operation>, content: UnsafeRawBufferPointer) {
    let capacity = ClientFrame.byteCount(content: content.count, signature: signer.maximumSignatureByteCount)
    makeRoom(operation, capacity)
    let frame = UnsafeMutableRawBufferPointer(start: operation.pointee.frame, count: capacity)
    operation.pointee.frameCount = Int32(write(operation.pointee, content: content, into: frame))
  }

  /// Writes and signs the frame of `operation`; returns its bytes.
  private func write(
    _ operation: Operation, content: UnsafeRawBufferPointer, into frame: UnsafeMutableRawBufferPointer
  ) -> Int {
    ClientFrame.encode(
      into: frame,
      header: ClientFrameHeader(
        sender: configuration.firstClientID &+ operation.session, membershipID: configuration.membershipID,
        kind: operation.kind, session: operation.sessionValue, sequence: operation.sequence,
        operationID: operation.operationID),
      content: content)
    return signer.sign(frame)
  }

  private func transmit(_ operation: UnsafeMutablePointer<Operation>) {
    let connection = Int(operation.pointee.session) % configuration.connections
    let bytes = UnsafeRawBufferPointer(
      start: operation.pointee.frame, count: Int(operation.pointee.frameCount))
    let first = connection * replicaCount
    for index in first..<first + replicaCount {
      dialers[index].link?.append(bytes)
    }
    if !isDirty[connection] {
      isDirty[connection] = true
      dirty.append(connection)
      turn.request()
    }
  }

  private func arm(_ slot: Int32, now: Int64) {
    let operation = operations[Int(slot)]
    var due = operation.deadline
    if configuration.resendNanoseconds > 0 { due = min(due, now + configuration.resendNanoseconds) }
    wheel.set(slot, deadline: due)
  }

  private func flush() {
    for connection in dirty {
      isDirty[connection] = false
      let first = connection * replicaCount
      for index in first..<first + replicaCount { dialers[index].link?.flush() }
    }
    dirty.removeAll(keepingCapacity: true)
  }

  // MARK: Time

  /// Resends and gives up what is due at `now`. To be called at least every few milliseconds while anything is in flight.
  public func advance(to now: Int64) {
    expired.removeAll(keepingCapacity: true)
    wheel.advance(to: now, expired: &expired)
    guard !expired.isEmpty else { return }
    for slot in expired {
      let operation = operations + Int(slot)
      if now >= operation.pointee.deadline {
        let session = Int(operation.pointee.session)
        finish(slot, outcome: .unknown, content: nil, now: now)
        // The session goes on under another value, so that the gap does not block it (unless a later request of it has
        // already moved it on).
        if sessions[session].value == operation.pointee.sessionValue { renew(session) }
      } else {
        counters.retransmits += 1
        transmit(operation)
        arm(slot, now: now)
      }
    }
    tellObserver()
  }

  private func renew(_ session: Int) {
    let old = sessions[session].value
    var value = old
    while value == old { value = Int32.random(in: .min ... .max, using: &entropy) }
    sessions[session] = Session(value: value)
    renewals[session] &+= 1
  }

  // MARK: Replies

  public func dialer(_ dialer: Dialer, received bytes: UnsafeRawBufferPointer) -> Int {
    guard let link = dialer.link else { return bytes.count }
    let position = Int(link.number) % replicaCount
    let now = monotonicNanoseconds()
    var offset = 0
    scan: while offset < bytes.count {
      let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
      switch ClientFrame.decode(rest, maximumLength: configuration.maximumReplyBytes) {
      case .frame(let frame, let byteCount):
        handleReply(frame, from: position, now: now)
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
    return offset
  }

  @inline(__always)
  private func handleReply(_ frame: ClientFrameView, from position: Int, now: Int64) {
    let slot = frame.operationID & slotMask
    let operation = operations + Int(slot)
    let bit = UInt64(1) << UInt64(position)
    guard operation.pointee.isActive, operation.pointee.operationID == frame.operationID,
      operation.pointee.sessionValue == frame.session, operation.pointee.sequence == frame.sequence,
      operation.pointee.kind == frame.kind, operation.pointee.answered & bit == 0
    else {
      counters.staleReplies += 1
      return
    }
    let client = configuration.firstClientID &+ operation.pointee.session
    guard signer.isAuthenticReply(data: frame.data, tag: frame.signature, client: client, position: position)
    else {
      counters.badReplyTags += 1
      return
    }
    if frame.membershipID > configuration.membershipID {
      counters.newerMembership += 1
      return
    }
    let fingerprint = ReplyFingerprint(frame.content)
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
      finish(slot, outcome: .answered, content: frame.content, now: now)
    } else if operation.pointee.answered.nonzeroBitCount == replicaCount {
      finish(slot, outcome: .diverged, content: nil, now: now)
    }
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

  private func finish(_ slot: Int32, outcome: Outcome, content: UnsafeRawBufferPointer?, now: Int64) {
    let operation = operations + Int(slot)
    wheel.cancel(slot)
    if !divergent.isEmpty { divergent[slot] = nil }
    operation.pointee.isActive = false
    giveSlot(slot)
    inFlight -= 1
    let offset = contents.count
    if let content { contents.append(content) }
    completions.append(
      Completion(
        outcome: outcome, session: operation.pointee.session, sessionValue: operation.pointee.sessionValue,
        sequence: operation.pointee.sequence, isUnordered: operation.pointee.kind == Self.unorderedKind,
        intended: operation.pointee.intended,
        context: operation.pointee.context, sent: operation.pointee.sent, completed: now,
        contentOffset: Int32(truncatingIfNeeded: offset),
        contentCount: Int32(truncatingIfNeeded: content?.count ?? 0)))
  }

  /// Content of an answered completion; valid while the observer is being told.
  public func content(of completion: Completion) -> UnsafeRawBufferPointer {
    let start = Int(completion.contentOffset)
    return UnsafeRawBufferPointer(
      rebasing: contents.readableBytes[start..<start + Int(completion.contentCount)])
  }

  private func tellObserver() {
    guard !completions.isEmpty, !isTelling else { return }
    isTelling = true
    observer?.sessionsHaveCompletions(self)
    completions.removeAll(keepingCapacity: true)
    contents.removeAll()
    isTelling = false
  }
}
