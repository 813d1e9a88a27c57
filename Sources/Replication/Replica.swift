// One replica but for the world: requests and messages in, effects out. Batching around the ordering core
// (Fabric's batch layer), the request store, the client table, execution and the services, snapshots and
// state transfer, durable records and recovery.
//
// Kept true here: the same events at the same instants give the same effects, byte for byte. One event is
// handled to completion; its effects are appended in the order in which they must happen. Confined to one
// thread.

import Events
import Hashing
import PBFT

public final class Replica: EventReceiver {
  /// What a replica does with requests whose turn it is.
  enum Role {
    /// No view is in force here: they wait.
    case waiting
    /// Primary: they are queued for a batch.
    case leading
    /// Backup: they grow old.
    case following
  }

  public let configuration: ReplicaConfiguration
  public let id: ReplicaID
  /// The membership in force. Changes with the effect `membershipChanged`.
  @exclusivity(unchecked) public internal(set) var membership: Membership
  /// Where members are reached, as far as RECONFIGs have stated it; ascending by replica. Changes with `membership`.
  @exclusivity(unchecked) public internal(set) var addresses: [MemberAddress] = []

  let timers: TimerFactory<Event>
  @exclusivity(unchecked) var core: OrderingCore {
    didSet { coreReference = .passUnretained(core) }
  }
  /// The same core, for the calls of every event: they need not count references to it. It is replaced between its calls
  /// only.
  @exclusivity(unchecked) private var coreReference: Unmanaged<OrderingCore>
  let store: RequestStore
  let directory: ClientDirectory
  @exclusivity(unchecked) var table: ClientTable
  let batches: BatchPool
  let outbox = PlainBuffer<Effect>(minimumCapacity: 256)
  let arena = PlainBuffer<UInt8>(minimumCapacity: 1 << 12)
  /// The primary's requests in the order of their turn.
  let queue = PlainQueue<RequestSlot>()
  /// A backup's requests in the order in which they became eligible.
  let eligible = PlainQueue<EligibleRequest>()
  /// The last L links of the digest chain.
  let chainLinks = PlainQueue<ChainLink>()
  let batchTimer: EventTimer<Event>
  let requestTimer: EventTimer<Event>
  let transferTimer: EventTimer<Event>
  let servingTimer: EventTimer<Event>
  let joinTimer: EventTimer<Event>
  /// By `OrderingTimer.rawValue`.
  let orderingTimers: [EventTimer<Event>]
  /// The state at the stable checkpoint and what later own checkpoints changed in it.
  let snapshots: Snapshots
  let log: DurableWriter

  // Exempt from exclusivity checks: no access outlives its own statement, and nothing calls back.
  @exclusivity(unchecked) var service: Service
  @exclusivity(unchecked) var chain = Digest.zero
  @exclusivity(unchecked) var lastExecuted = SequenceNumber.zero
  /// Requests the service has executed so far, wherever that was: part of the state.
  @exclusivity(unchecked) var executedRequests: UInt64 = 0
  @exclusivity(unchecked) var counts = ReplicaCounters()
  @exclusivity(unchecked) var role = Role.waiting
  @exclusivity(unchecked) var isStarted = false
  /// The membership that a RECONFIG has decided, from its execution until its checkpoint is stable.
  @exclusivity(unchecked) var nextMembership: MembershipOutcome?
  /// False before a RECONFIG has added this replica, and once one has removed it: it does not vote.
  @exclusivity(unchecked) public internal(set) var isMember = true
  /// Which membership others have spoken of; the last word of each.
  @exclusivity(unchecked) var heardMemberships: [HeardMembership] = []
  /// Requests in lanes that are in no live batch.
  @exclusivity(unchecked) var waiting = 0
  /// Requests in `queue` that still wait; the others were executed or given up meanwhile.
  @exclusivity(unchecked) var queuedWaiting = 0
  /// The batch timer has run out on requests that could not be proposed yet.
  @exclusivity(unchecked) var isBatchOverdue = false
  /// How many of `eligible`, from its head, have been forwarded.
  @exclusivity(unchecked) var forwardedCount = 0
  @exclusivity(unchecked) var isForwardingPaused = false
  /// Since when the oldest request has waited for which forwarding again is timed, from when, and after how
  /// long.
  @exclusivity(unchecked) var forwardAgainHead = Int64.min
  @exclusivity(unchecked) var forwardAgainBase: Int64 = 0
  @exclusivity(unchecked) var forwardAgainDelay: Int64 = 0
  @exclusivity(unchecked) var isRequestTimerArmed = false
  /// When the last batch with a client request that was executed came, nanoseconds.
  @exclusivity(unchecked) var lastRequestExecutedAt: Int64 = 0
  /// The latest instant at which a request that has been executed came here, nanoseconds.
  @exclusivity(unchecked) var latestArrivalExecuted = Int64.min / 2
  /// What the primary of the view in force has proposed with an authenticator that is not valid here.
  @exclusivity(unchecked) var accusation: Accusation?
  /// Clients that f+1 replicas accuse.
  @exclusivity(unchecked) var refusedClients: [Int32] = []
  /// What others have passed on though its authenticator is not valid here.
  @exclusivity(unchecked) var vouchers = Vouchers()
  /// The state transfer under way.
  @exclusivity(unchecked) var transfer: StateTransfer?
  /// The last checkpoint each replica has vouched for, by position.
  @exclusivity(unchecked) var vouched: [Checkpoint] = []
  /// When a peer of another membership was last told the stable checkpoint, by the order of asking.
  @exclusivity(unchecked) var membershipAnswers: [MembershipAnswer] = []
  /// The durable log has grown enough for a new segment.
  @exclusivity(unchecked) var needsSegment = false
  @exclusivity(unchecked) var isBuildingFetched = false
  /// A fetched state is being taken up.
  @exclusivity(unchecked) var isInstalling = false
  /// The statements named by effects since `effectsDone()`.
  @exclusivity(unchecked) var namedStatements: [(StatementHandle, SignedStatement)] = []

  /// A replica with a fresh state, not started. Precondition: `configuration.validate()` finds nothing, and the
  /// membership of `noops` is one replica, this one. A replica that is not in the membership waits until it is in one
  /// that follows (`Joining.swift`).
  ///
  /// `timers`: of the replica alone; their expired events, and all others, reach it through an event manager.
  public init(
    configuration: ReplicaConfiguration, id: ReplicaID, membership: Membership, service: Service,
    timers: TimerFactory<Event>
  ) {
    precondition(configuration.validate().isEmpty, "the configuration is validated")
    let isMember = membership.position(of: id) != nil
    precondition(
      configuration.consenter == .pbft || isMember && membership.count == 1, "noops is one replica")
    self.isMember = isMember
    self.configuration = configuration
    self.id = id
    self.membership = membership
    self.timers = timers
    self.service = service
    // Of a replica that is no member nothing is ordered: its core is one of nobody else, and never started.
    core = OrderingCore(
      configuration: configuration.ordering, id: id,
      membership: isMember ? membership : Membership(replicas: [id], faults: 0)!)
    coreReference = .passUnretained(core)
    store = RequestStore(
      capacity: configuration.maximumHeldRequests, maximumBytes: configuration.maximumHeldBytes)
    directory = ClientDirectory(
      capacity: configuration.maximumClients + configuration.maximumHeldRequests + 1,
      salt: configuration.lookupSalt)
    table = ClientTable(maximumClients: configuration.maximumClients)
    // Of each number the digests its Q set may name, the one decided and one refused; what comes early; one being built.
    batches = BatchPool(
      capacity: configuration.logSize * (ViewChange.maximumDigestsPerSequence + 4) + 64,
      maximumRequests: configuration.maximumBatchRequests,
      maximumBytes: configuration.maximumBatchBytes)
    batchTimer = timers.createTimer()
    requestTimer = timers.createTimer()
    transferTimer = timers.createTimer()
    servingTimer = timers.createTimer()
    joinTimer = timers.createTimer()
    orderingTimers = OrderingTimer.allCases.map { _ in timers.createTimer() }
    snapshots = Snapshots(
      header: StateHeader(
        sequence: .zero, chain: .zero, requests: 0, service: service, membership: membership,
        addresses: [], clients: 0, root: .zero),
      maximumClients: configuration.maximumClients)
    log = DurableWriter(isOn: configuration.durability != .none && configuration.consenter == .pbft)
    vouched = Array(repeating: Checkpoint(sequence: .zero, digest: .zero), count: membership.count)
  }

  /// The effects of the events since `effectsDone()`, in order. Valid until the next event or
  /// `effectsDone()`.
  public var effects: UnsafeBufferPointer<Effect> {
    UnsafeBufferPointer(start: outbox.base, count: outbox.count)
  }

  /// The host has run the effects: they, the content of their replies and the bytes they name are forgotten.
  public func effectsDone() {
    outbox.removeAll()
    arena.removeAll()
    log.removeAll()
    if !namedStatements.isEmpty { namedStatements.removeAll() }
  }

  /// The bytes of a reply among `effects`. Valid until the next event or `effectsDone()`.
  public func replyContent(_ reply: Reply) -> UnsafeRawBufferPointer {
    precondition(
      Int(reply.contentOffset) + Int(reply.contentCount) <= arena.count, "the reply is of this turn")
    return UnsafeRawBufferPointer(
      start: arena.base + Int(reply.contentOffset), count: Int(reply.contentCount))
  }

  /// The bytes of a part of the state among `effects`. Valid as those of a reply.
  public func stateBytes(_ excerpt: StateExcerpt) -> UnsafeRawBufferPointer {
    precondition(excerpt.contentOffset + excerpt.contentCount <= arena.count, "the part is of this turn")
    return UnsafeRawBufferPointer(start: arena.base + excerpt.contentOffset, count: excerpt.contentCount)
  }

  /// The bytes of a `persist` effect. Valid as those of a reply.
  public func durableBytes(offset: Int, count: Int) -> UnsafeRawBufferPointer {
    log.bytes(offset: offset, count: count)
  }

  /// Takes a signed statement whose signatures the host has verified, its own and those embedded, for the
  /// `.message` that names it, given next.
  public func admit(_ statement: SignedStatement) -> StatementHandle { core.admit(statement) }

  /// The statement that an effect names, until `effectsDone()`.
  public func statement(_ handle: StatementHandle) -> SignedStatement {
    for (named, statement) in namedStatements where named == handle { return statement }
    return core.statement(handle)
  }

  /// Handles one event to completion. Never returns another event.
  @discardableResult
  public func processEvent(_ event: Event) -> Event? {
    switch event {
    case .start(let recovering):
      start(recovering: recovering)
    case .request(let request):
      receive(request)
      if queuedWaiting >= configuration.batchSize { settle() }
    case .resent(let slot, let connection):
      receiveAgain(slot, connection)
    case .prePrepare(let prePrepare, let sender), .message(.prePrepare(let prePrepare), let sender):
      receive(prePrepare, isRefused: false, from: sender)
    case .prePrepareRefused(let prePrepare, let sender):
      receive(prePrepare, isRefused: true, from: sender)
    case .message(let message, let sender):
      receive(message, from: sender)
    case .fetchedBatch(let digest, let batch, let sender):
      receive(digest, batch, from: sender)
    case .statePart(let part, let sender):
      receive(part, from: sender)
    case .signed(let handle, let signature):
      core.processEvent(.signed(handle, signature))
      settle()
    case .accuse(let client, let view, let sequence, let sender):
      accuse(client, view: view, sequence: sequence, from: sender)
    case .otherMembership(let other, let sender):
      receiveOfMembership(other, from: sender)
    case .invalid(let rejection, let sender):
      reject(rejection, from: sender)
    case .linksChanged:
      guard isMember else { break }
      core.processEvent(.linksChanged)
      settle()
    case .endOfTurn:
      endTurn()
    case .batchTimeout:
      isBatchOverdue = true
      endTurn()
    case .requestTimeout:
      checkDeadlines()
    case .orderingTimeout(let timer):
      guard isMember else { break }
      core.processEvent(.timeout(timer))
      settle()
    case .transferTimeout:
      transferTimedOut()
      settle()
    case .servingTimeout:
      snapshots.dropServed()
    case .peerMembership(let other, let sender):
      hear(of: other, from: sender)
    case .joinTimeout:
      askToJoin()
    }
    return nil
  }

  public var counters: ReplicaCounters { counts }

  /// The last executed batch and the digest chain after it. Allocates nothing.
  public var lastLink: ChainLink { ChainLink(sequence: lastExecuted, digest: chain) }

  /// The view in force, or the one being changed to.
  public var view: View { withCore { $0.view } }

  /// Whether the state may be read: not while a newer one is being fetched (Fabric's `invalidateState`).
  public var isStateValid: Bool { transfer == nil }

  /// Whether a batch with this digest is held; for a host that would otherwise read one it does not need.
  public func holdsBatch(_ digest: Digest) -> Bool { batches.find(digest) != nil }

  /// Where the replica stands. Allocates; not for every turn.
  public var status: ReplicaStatus {
    ReplicaStatus(
      id: id, membershipID: membership.id, isMember: isMember, view: core.view, isActive: core.isActive,
      isPrimary: core.isPrimary, isSuspecting: core.isSuspecting, pendingView: core.pendingView,
      isRecovering: core.isRecovering, isTransferring: transfer != nil, lastExecuted: lastExecuted,
      executedRequests: executedRequests, stableCheckpoint: core.stableCheckpoint,
      certifiedCheckpoint: core.certifiedCheckpoint, chain: chain,
      recentChain: (0..<chainLinks.count).map { chainLinks[$0] }, clients: table.count,
      storedRequests: waiting,
      heldRequests: store.held, heldBytes: store.heldBytes, heldBatches: batches.used,
      refusedClients: refusedClients.count, logSegment: log.segment, logBytes: log.bytesInSegment,
      counters: counts)
  }

  /// Calls the core without counting references to it. `body` does not replace it.
  @inline(__always)
  func withCore<Result>(_ body: (OrderingCore) -> Result) -> Result {
    coreReference._withUnsafeGuaranteedRef(body)
  }

  @inline(__always)
  func emit(_ effect: Effect) { outbox.append(effect) }

  func reject(_ rejection: Rejection, from sender: ReplicaID) {
    counts.rejections[Int(rejection.rawValue)] &+= 1
    emit(.rejected(rejection, from: sender))
  }

  private func start(recovering: Bool) {
    precondition(!isStarted, "a replica starts once")
    isStarted = true
    lastRequestExecutedAt = timers.now.nanoseconds
    log.isRecovering = recovering
    beginSegment()
    if isMember { core.processEvent(.start(recovering: recovering)) }
    assumeRole()
    settle()
    askToJoin()
  }
}
