// Many client sessions of BFT-SMaRt on one event loop: each an array slot with a client id, a random session value and its
// sequences. They share connections; a reply finds its operation by the operation id it echoes, and counts for the
// replica at the other end of its connection, whatever sender id it carries. A request of unknown outcome is never issued
// again: its session goes on under a fresh session value.

import Channels
import Hashing
import NIOCore
import PBFT
import Wire

/// Array-backed sessions. Everything is called on `loop`.
///
/// What an answer means is in `ReplyHandling`, what waits within a session in `SessionOrder`, how sessions follow the replicas
/// in `MembershipAdoption`.
public final class ClientSessions: @unchecked Sendable {
  /// As given; what a new membership changes is in `replicaIDs`, `quorums` and `membershipID`.
  public let configuration: SessionConfiguration
  public let loop: any EventLoop
  public internal(set) var counters = SessionCounters()
  /// Finished operations since the observer was last told; the observer reads them, and they are cleared afterwards.
  public internal(set) var completions: [Completion] = []
  /// What it costs to sign or tag a request.
  public private(set) var signing = SampledCost()
  /// Operations without outcome.
  public internal(set) var inFlight = 0
  public weak var observer: (any SessionsObserver)?
  /// The membership the sessions believe in.
  public internal(set) var membershipID: Int32
  public internal(set) var quorums: Quorums
  public internal(set) var replicaIDs: [ReplicaID]
  /// Makes the signer of another membership where the mode depends on it (`hmac`); nil keeps the sessions where they are.
  public var signerOf: ((_ replicas: [ReplicaID]) -> RequestSigner?)?

  struct Session {
    var value: Int32
    var nextOrdered: Int32 = 0
    var nextOther: Int32 = 0
    /// Under the present value: the lowest ordered sequence without outcome, which of the 32 from there on have one, how
    /// many are under way, and whether any has been answered.
    var lowest: Int32 = 0
    var done: UInt32 = 0
    var pending: Int32 = 0
    var isOpen = false
    /// Ordered operations in flight under an older membership.
    var unsettled: Int32 = 0
    var firstParked: Int32 = -1
    /// One of them was not executed, or nobody knows: those that wait go on under a fresh value.
    var mustRenew = false
    /// Whether every replica has had a frame from it on the present connections.
    var isKnown = false

    /// Whether another ordered request may go out. A replica takes an unseen session as it comes, from whatever sequence is
    /// executed first; and it remembers 32 replies.
    var maySend: Bool { unsettled == 0 && (isOpen || pending == 0) && nextOrdered &- lowest < 32 }

    /// Notes the outcome of an ordered request.
    mutating func finish(_ sequence: Int32, answered: Bool) {
      pending -= 1
      guard answered else { return }
      isOpen = true
      let place = sequence &- lowest
      guard (0..<32).contains(place) else { return }
      done |= 1 << UInt32(place)
      let run = (~done).trailingZeroBitCount
      lowest &+= Int32(run)
      done = run == 32 ? 0 : done >> UInt32(run)
    }
  }

  /// One connection to one replica, wanted or given up: what a link's number means.
  struct Seat {
    var dialer: Dialer
    /// In the present membership; -1 when the replica has left it or this is an address it has left.
    var position: Int32
    var connection: Int32
  }

  var signer: RequestSigner
  let channelKeys: ChannelKeys12?
  let replyHash: ReplyHash
  var replicaCount: Int
  var endpoints: [Endpoint]
  let sessions: UnsafeMutablePointer<Session>
  let operations: UnsafeMutablePointer<Operation>
  let slotMask: Int32
  let slotCount: Int
  private let freeSlots: UnsafeMutablePointer<Int32>
  private var freeHead = 0
  private var freeCount: Int
  var wheel: TimingWheel
  private var expired: [Int32] = []
  var divergent: [Int32: [DivergentAnswer]] = [:]
  var compared: [Int32: ComparedReplies] = [:]
  /// The replies of decided operations that the application compares, by context, until it takes them.
  var decided: [UInt64: [[UInt8]]] = [:]
  var contents = ByteQueue(capacity: 16 << 10)
  var seats: [Seat] = []
  /// The dialers of the present membership, connection by connection.
  var dialers: [Dialer] = []
  private var isDirty: [Bool]
  private var dirty: [Int] = []
  private var ahead: SignedAhead?
  /// How often each session has taken a fresh value.
  private var renewals: [UInt32]
  var views = ViewVotes()
  private var primaryGuess = 0
  private var turn: TurnEnd!
  private var isTelling = false
  private var entropy = SystemRandomNumberGenerator()
  private var readiness: EventLoopPromise<Void>?

  public init(configuration: SessionConfiguration, signer: RequestSigner, loop: any EventLoop) {
    precondition((1...32).contains(configuration.outstanding), "a session has 1 to 32 requests in flight")
    precondition(configuration.sessions >= 1 && configuration.connections >= 1)
    precondition(configuration.replicaIDs.count == configuration.replicas.count, "an id for each replica")
    precondition(!configuration.useMACs || configuration.dialect == .v12, "only v1.2 has MACs")
    self.configuration = configuration
    self.signer = signer
    self.loop = loop
    replicaCount = configuration.replicas.count
    endpoints = configuration.replicas
    membershipID = configuration.membershipID
    quorums = configuration.quorums
    replicaIDs = configuration.replicaIDs
    replyHash = configuration.replyHash ?? configuration.dialect.replyHash
    channelKeys =
      configuration.useMACs ? ChannelKeys12(capacity: configuration.sessions * (replicaCount + 4)) : nil
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
    for slot in 0..<slotCount {
      operations[slot].frame?.deallocate()
      operations[slot].whole?.deallocate()
    }
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
      for position in 0..<replicaCount { dialers.append(takeSeat(position, connection)) }
    }
    for dialer in dialers { dialer.start() }
    return promise.futureResult
  }

  /// A dialer to the replica at `position`, whose links lead to a new seat.
  func takeSeat(_ position: Int, _ connection: Int) -> Dialer {
    let dialer = Dialer(
      endpoint: endpoints[position], loop: loop, number: UInt32(seats.count), client: self)
    seats.append(Seat(dialer: dialer, position: Int32(position), connection: Int32(connection)))
    return dialer
  }

  /// Number of replicas to which each connection is up; a request needs a reply quorum of them.
  public var reachableReplicas: Int {
    (0..<replicaCount).filter { position in
      stride(from: position, to: dialers.count, by: replicaCount).allSatisfy { dialers[$0].link != nil }
    }.count
  }

  /// Whether a reply quorum of the present membership can be reached.
  public var isReady: Bool {
    !dialers.isEmpty && reachableReplicas >= configuration.replyQuorum(of: quorums)
  }

  /// What went wrong with each replica that is not reached, for a message to people.
  public var connectionProblems: [String] {
    (0..<replicaCount).compactMap { position in
      guard
        let bad = stride(from: position, to: dialers.count, by: replicaCount)
          .first(where: { dialers[$0].link == nil })
      else { return nil }
      return "\(endpoints[position]): \(dialers[bad].lastFailure ?? "no answer yet")"
    }
  }

  /// Closes all connections.
  public func close() {
    for seat in seats { seat.dialer.stop() }
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

  /// Derives the keys of v1.2's MACs now, so that the first request of a session does not pay for them.
  public func prepareKeys() {
    guard let channelKeys else { return }
    for session in 0..<Int32(configuration.sessions) {
      for replica in replicaIDs { channelKeys.prepare(client: client(session), replica: replica.rawValue) }
    }
  }

  // MARK: Requests

  /// Sends one request on `session`, which must have fewer than `outstanding` in flight.
  ///
  /// - Parameters:
  ///   - content: the request's bytes; copied.
  ///   - intended: when it was due; kept for the completion.
  ///   - deadline: when to give up waiting.
  ///   - context: kept for the completion.
  ///   - kind: an unordered one is sent ordered at once where unordered requests are off, and counted.
  ///   - comparator: which replies are equal, where that is not the same bytes; not for hashed requests.
  /// - Returns: the instant at which it was handed to the links.
  @discardableResult
  public func submit(
    session: Int, content: UnsafeRawBufferPointer, intended: Int64, deadline: Int64, context: UInt64,
    kind: InvocationKind = .ordered, comparator: ReplyComparator? = nil
  ) -> Int64 {
    let slot = takeSlot(session)
    inFlight += 1
    let operation = operations + Int(slot)
    operation.pointee.isActive = true
    operation.pointee.kind = settledKind(kind).rawValue
    operation.pointee.session = Int32(session)
    operation.pointee.intended = intended
    operation.pointee.deadline = deadline
    operation.pointee.context = context
    operation.pointee.isCompared = comparator != nil
    if let comparator, !operation.pointee.isHashed {
      compared[slot] = ComparedReplies(areEqual: comparator)
    } else {
      operation.pointee.isCompared = false
    }
    if operation.pointee.isOrdered, sessions[session].firstParked >= 0 || !sessions[session].maySend {
      park(slot)
      encode(operation, content: content)
      operation.pointee.sent = monotonicNanoseconds()
      arm(slot, now: operation.pointee.sent)
      return operation.pointee.sent
    }
    prepare(operation, slot)
    if !copySignedAhead(operation) { encode(operation, content: content) }
    let now = monotonicNanoseconds()
    operation.pointee.sent = now
    launch(operation)
    arm(slot, now: now)
    return now
  }

  /// The type under which a request of `kind` goes out to these replicas.
  private func settledKind(_ kind: InvocationKind) -> ClientMessageKind {
    var kind = kind
    if kind.isUnordered, !configuration.servesUnordered {
      counters.unorderedSentOrdered += 1
      kind = kind.isHashed ? .orderedHashed : .ordered
    }
    if kind == .orderedHashed, !configuration.dialect.knowsOrderedHashed {
      counters.hashedSentPlain += 1
      kind = .ordered
    }
    return kind.messageKind
  }

  /// Gives an operation its place in the session and forgets all answers: it is about to go out for the first time, or anew.
  func prepare(_ operation: UnsafeMutablePointer<Operation>, _ slot: Int32) {
    let session = Int(operation.pointee.session)
    if operation.pointee.isOrdered {
      operation.pointee.sequence = sessions[session].nextOrdered
      sessions[session].nextOrdered &+= 1
      sessions[session].pending += 1
    } else {
      operation.pointee.sequence = sessions[session].nextOther
      sessions[session].nextOther &+= 1
    }
    operation.pointee.sessionValue = sessions[session].value
    operation.pointee.operationID &+= Int32(slotCount)
    operation.pointee.membershipID = membershipID
    operation.pointee.needed = Int32(configuration.replyQuorum(of: quorums))
    operation.pointee.weakNeeded = Int32(quorums.weakQuorum)
    operation.pointee.answered = 0
    operation.pointee.matching = 0
    operation.pointee.outdated = 0
    operation.pointee.isSpread = false
    if operation.pointee.isHashed {
      operation.pointee.asked = 0
      operation.pointee.wholeCount = -1
      chooseReplyServer(operation, among: ~0)
    } else {
      operation.pointee.replyServer = -1
    }
  }

  private func takeSlot(_ session: Int) -> Int32 {
    if ahead != nil { return Int32(session) }
    precondition(freeCount > 0, "more operations than sessions times outstanding")
    let slot = freeSlots[freeHead]
    freeHead = freeHead + 1 == slotCount ? 0 : freeHead + 1
    freeCount -= 1
    return slot
  }

  func giveSlot(_ slot: Int32) {
    if ahead != nil { return }
    freeSlots[(freeHead + freeCount) % slotCount] = slot
    freeCount += 1
  }

  // MARK: Signing ahead

  /// Makes the next `requests` ordered requests of every session now, signatures included, so that submitting them costs
  /// no signature. What a session sends beyond them is signed as it is sent, and counted. Only while nothing is in flight;
  /// sessions have one request in flight then.
  ///
  /// - Returns: the processor time it took, in nanoseconds.
  public func signAhead(requests: Int, content: UnsafeRawBufferPointer) -> Int64 {
    precondition(configuration.outstanding == 1 && inFlight == 0 && ahead == nil)
    let begin = threadCPUNanoseconds()
    let capacity = frameCapacity(content.count)
    ahead = SignedAhead(sessions: configuration.sessions, requests: requests, frameCapacity: capacity)
    var operation = Operation()
    for session in 0..<configuration.sessions {
      operation.session = Int32(session)
      operation.sessionValue = sessions[session].value
      operation.kind = ClientMessageKind.ordered.rawValue
      operation.membershipID = membershipID
      operation.operationID = operations[session].operationID
      ahead!.setFirst(sessions[session].nextOrdered, session)
      for request in 0..<requests {
        operation.sequence = sessions[session].nextOrdered &+ Int32(request)
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
    guard operation.pointee.kind == ClientMessageKind.ordered.rawValue,
      membershipID == configuration.membershipID,
      let frame = ahead!.take(session, operation.pointee.sequence, renewed: renewals[session] > 0)
    else {
      counters.signedLate += 1
      return false
    }
    makeRoom(operation, frame.count)
    operation.pointee.frame!.copyMemory(from: frame.baseAddress!, byteCount: frame.count)
    operation.pointee.frameCount = Int32(frame.count)
    return true
  }

  // MARK: Frames

  private func frameCapacity(_ content: Int) -> Int {
    ClientFrame.byteCount(
      content: content, signature: signer.maximumSignatureByteCount, dialect: configuration.dialect,
      useMACs: configuration.useMACs)
  }

  /// Makes room for a frame; what the old one holds is kept.
  private func makeRoom(_ operation: UnsafeMutablePointer<Operation>, _ byteCount: Int) {
    guard Int(operation.pointee.frameCapacity) < byteCount else { return }
    let room = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 8)
    if let old = operation.pointee.frame {
      room.copyMemory(from: old, byteCount: Int(operation.pointee.frameCapacity))
      old.deallocate()
    }
    operation.pointee.frame = room
    operation.pointee.frameCapacity = Int32(byteCount)
  }

  private func encode(_ operation: UnsafeMutablePointer<Operation>, content: UnsafeRawBufferPointer) {
    let capacity = frameCapacity(content.count)
    makeRoom(operation, capacity)
    let frame = UnsafeMutableRawBufferPointer(start: operation.pointee.frame, count: capacity)
    operation.pointee.frameCount = Int32(write(operation.pointee, content: content, into: frame))
  }

  /// Writes the frame of `operation` again, with the content it has, under what has changed of it.
  func encodeAgain(_ operation: UnsafeMutablePointer<Operation>) {
    let offset = configuration.dialect.contentOffset
    let frame = UnsafeMutableRawBufferPointer(
      start: operation.pointee.frame, count: Int(operation.pointee.frameCount))
    let count = ClientFrame.data(ofEncoded: frame).count - offset
    makeRoom(operation, frameCapacity(count))
    let start = operation.pointee.frame.unsafelyUnwrapped + (ClientFrame.dataOffset + offset)
    encode(operation, content: UnsafeRawBufferPointer(start: start, count: count))
  }

  /// Writes and signs the frame of `operation`; returns its bytes.
  private func write(
    _ operation: Operation, content: UnsafeRawBufferPointer, into frame: UnsafeMutableRawBufferPointer
  ) -> Int {
    ClientFrame.encode(
      into: frame,
      header: ClientFrameHeader(
        sender: client(operation.session), membershipID: operation.membershipID,
        kind: operation.kind, session: operation.sessionValue, sequence: operation.sequence,
        operationID: operation.operationID,
        replyServer: operation.replyServer < 0 ? -1 : replicaIDs[Int(operation.replyServer)].rawValue),
      content: content, dialect: configuration.dialect, useMACs: configuration.useMACs)
    return signing.measure { signer.sign(frame) }
  }

  /// The client id of a session.
  @inline(__always)
  func client(_ session: Int32) -> Int32 { configuration.firstClientID &+ session }

  // MARK: Sending

  /// Sends an operation for the first time, or for the first time under a new membership.
  func launch(_ operation: UnsafeMutablePointer<Operation>) {
    if case .primaryFirst = configuration.sendTargets, sessions[Int(operation.pointee.session)].isKnown {
      let connection = Int(operation.pointee.session) % configuration.connections
      if dialers[connection * replicaCount + primaryGuess].link != nil {
        return transmit(operation, to: primaryGuess)
      }
    }
    sessions[Int(operation.pointee.session)].isKnown = true
    operation.pointee.isSpread = true
    transmit(operation)
  }

  /// Appends the frame of `operation` to the links of its connection, or to one of them.
  func transmit(_ operation: UnsafeMutablePointer<Operation>, to position: Int? = nil) {
    let connection = Int(operation.pointee.session) % configuration.connections
    let first = connection * replicaCount
    if let position {
      append(operation, to: dialers[first + position].link, position)
    } else if channelKeys == nil {
      let bytes = UnsafeRawBufferPointer(
        start: operation.pointee.frame, count: Int(operation.pointee.frameCount))
      for index in first..<first + replicaCount { dialers[index].link?.append(bytes) }
    } else {
      for position in 0..<replicaCount { append(operation, to: dialers[first + position].link, position) }
    }
    if !isDirty[connection] {
      isDirty[connection] = true
      dirty.append(connection)
      turn.request()
    }
  }

  /// Appends the frame of `operation` to one link, with its replica's MAC where there are MACs.
  func append(_ operation: UnsafeMutablePointer<Operation>, to link: Link?, _ position: Int) {
    guard let link else { return }
    let bytes = UnsafeRawBufferPointer(
      start: operation.pointee.frame, count: Int(operation.pointee.frameCount))
    guard let channelKeys else { return link.append(bytes) }
    let room = UnsafeMutableRawBufferPointer(rebasing: link.reserve(bytes.count)[..<bytes.count])
    room.copyMemory(from: bytes)
    channelKeys.seal(
      room, client: client(operation.pointee.session), replica: replicaIDs[position].rawValue)
    link.commit(bytes.count)
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

  /// Sets when the operation is looked at next.
  func arm(_ slot: Int32, now: Int64) {
    let operation = operations + Int(slot)
    var due = operation.pointee.deadline
    if !operation.pointee.isParked {
      if configuration.resendNanoseconds > 0 { due = min(due, now + configuration.resendNanoseconds) }
      if !operation.pointee.isSpread, case .primaryFirst(let delay) = configuration.sendTargets {
        due = min(due, now + delay)
      }
    }
    wheel.set(slot, deadline: due)
  }

  /// Resends and gives up what is due at `now`. To be called at least every few milliseconds while anything is in flight.
  public func advance(to now: Int64) {
    expired.removeAll(keepingCapacity: true)
    wheel.advance(to: now, expired: &expired)
    guard !expired.isEmpty else { return }
    for slot in expired {
      let operation = operations + Int(slot)
      if now >= operation.pointee.deadline {
        giveUp(slot, now: now)
      } else if !operation.pointee.isParked {
        if operation.pointee.isHashed, askAnotherReplyServer(slot) {
          counters.replyServersChanged += 1
        } else if operation.pointee.isSpread {
          counters.retransmits += 1
          transmit(operation)
        } else {
          counters.spreadRequests += 1
          operation.pointee.isSpread = true
          primaryGuess = (primaryGuess + 1) % replicaCount
          transmit(operation)
        }
        arm(slot, now: now)
      }
    }
    tellObserver()
  }

  private func giveUp(_ slot: Int32, now: Int64) {
    let operation = operations + Int(slot)
    let session = Int(operation.pointee.session)
    let value = operation.pointee.sessionValue
    let wasParked = operation.pointee.isParked
    if operation.pointee.isUnsettled { sessions[session].mustRenew = true }
    finish(slot, outcome: .unknown, content: nil, now: now)
    // The session goes on under another value, so that the gap does not block it (unless a later request of it has
    // already moved it on, or nothing of the request was ever under way).
    if sessions[session].value == value, !wasParked { renew(session) }
    release(session, now: now)
  }

  /// The session goes on under another value, its sequences from 0; what is under way under the old one keeps it.
  func renew(_ session: Int) {
    let old = sessions[session]
    var value = old.value
    while value == old.value { value = Int32.random(in: .min ... .max, using: &entropy) }
    sessions[session] = Session(value: value)
    sessions[session].unsettled = old.unsettled
    sessions[session].firstParked = old.firstParked
    sessions[session].isKnown = old.isKnown
    renewals[session] &+= 1
  }

  // MARK: Links

  /// What has been appended leaves before links are given up; and nothing is known of the new primary.
  func prepareForMembership() {
    flush()
    primaryGuess = 0
  }

  func connectionsAreReady() {
    guard let readiness, dialers.allSatisfy({ $0.link != nil }) else { return }
    self.readiness = nil
    readiness.succeed()
  }

  /// Sessions whose replicas must hear of them again on `connection`.
  func forgetRegistrations(_ connection: Int) {
    guard case .primaryFirst = configuration.sendTargets else { return }
    for session in stride(from: connection, to: configuration.sessions, by: configuration.connections) {
      sessions[session].isKnown = false
    }
  }

  // MARK: Telling

  /// Content of an answered completion; valid while the observer is being told.
  public func content(of completion: Completion) -> UnsafeRawBufferPointer {
    let start = Int(completion.contentOffset)
    return UnsafeRawBufferPointer(
      rebasing: contents.readableBytes[start..<start + Int(completion.contentCount)])
  }

  func tellObserver() {
    guard !completions.isEmpty, !isTelling else { return }
    isTelling = true
    observer?.sessionsHaveCompletions(self)
    completions.removeAll(keepingCapacity: true)
    contents.removeAll()
    isTelling = false
  }
}
