// One replica but for the world: requests and messages in, effects out. Batching around the ordering core
// (Fabric's batch layer), the request store, the client table, execution and the services.
//
// Kept true here: the same events at the same instants give the same effects, byte for byte. One event is
// handled to completion; its effects are appended in the order in which they must happen. Confined to one
// thread.

import Events
import Hashing
import PBFT

public final class Replica: EventReceiver {
  public enum Event {
    /// Takes part from now on. Before it, messages are rejected and requests wait.
    case start
    /// A client's request: screened as `.unknown`, then hashed and verified by the host, or as `.executed`.
    case request(ArrivedRequest)
    /// The bytes of a request that is held have come again, on this connection.
    case resent(RequestSlot, connection: ConnectionID)
    /// A pre-prepare with the batch that `finishBatch` gave; the batch is the replica's from now on.
    case prePrepare(PrePrepare, from: ReplicaID)
    /// A message of another kind, authenticated by its link.
    case message(Message, from: ReplicaID)
    /// A peer has sent what the host could not read or verify: only counted.
    case invalid(Rejection, from: ReplicaID)
    /// The host has handed over all of this turn. Batches are formed of what a whole burst has brought; so
    /// every turn must end with it, a turn of nothing but timers as well.
    case endOfTurn
    /// The replica's own timers.
    case batchTimeout
    case requestTimeout
    case orderingTimeout(OrderingTimer)
  }

  public enum Effect: BitwiseCopyable {
    /// To every other replica. After a pre-prepare go its requests: `requests(of:)`.
    case broadcast(Message)
    case reply(Reply)
    /// The request to every other replica, once: the primary may not have it.
    case forward(RequestSlot)
    case executed(SequenceNumber, view: View, requests: Int)
    case stable(SequenceNumber)
    /// A quorum has another state at this checkpoint: this replica's is damaged.
    case diverged(SequenceNumber)
    case suspected(View)
    case viewAbandonable(View)
    case rejected(Rejection, from: ReplicaID)
  }

  public let configuration: ReplicaConfiguration
  public let id: ReplicaID
  public let membership: Membership

  let timers: TimerFactory<Event>
  let core: OrderingCore
  let store: RequestStore
  let directory: ClientDirectory
  let table: ClientTable
  let batches: BatchPool
  let outbox = PlainBuffer<Effect>(minimumCapacity: 4_096)
  let arena = PlainBuffer<UInt8>(minimumCapacity: 1 << 16)
  /// The primary's requests in the order of their turn.
  let queue = PlainQueue<RequestSlot>()
  /// A backup's requests in the order in which they became eligible.
  let eligible = PlainQueue<EligibleRequest>()
  /// The last L links of the digest chain.
  let chainLinks = PlainQueue<ChainLink>()
  let batchTimer: EventTimer<Event>
  let requestTimer: EventTimer<Event>
  let suspectTimer: EventTimer<Event>

  // Exempt from exclusivity checks: no access outlives its own statement, and nothing calls back.
  @exclusivity(unchecked) var service: Service
  @exclusivity(unchecked) var chain = Digest.zero
  @exclusivity(unchecked) var lastExecuted = SequenceNumber.zero
  @exclusivity(unchecked) var counts = ReplicaCounters()
  /// Requests in lanes that are in no batch.
  @exclusivity(unchecked) var waiting = 0
  /// Requests in `queue` that still wait; the others were executed or given up meanwhile.
  @exclusivity(unchecked) var queuedWaiting = 0
  /// The batch timer has run out on requests that could not be proposed yet.
  @exclusivity(unchecked) var isBatchOverdue = false
  /// How many of `eligible`, from its head, have been forwarded.
  @exclusivity(unchecked) var forwardedCount = 0
  @exclusivity(unchecked) var isForwardingPaused = false
  @exclusivity(unchecked) var isRequestTimerArmed = false
  /// When the last batch with a client request that was executed came, nanoseconds.
  @exclusivity(unchecked) var lastRequestExecutedAt: Int64 = 0
  /// The latest instant at which a request that has been executed became eligible here, nanoseconds.
  @exclusivity(unchecked) var latestEligibleExecuted = Int64.min / 2

  /// A replica with a fresh state, not started. Precondition: `configuration.validate()` finds nothing, `id`
  /// is in the membership, and the membership of `noops` is one replica.
  ///
  /// `timers`: of the replica alone; their expired events, and all others, reach it through an event manager.
  public init(
    configuration: ReplicaConfiguration, id: ReplicaID, membership: Membership, service: Service,
    timers: TimerFactory<Event>
  ) {
    precondition(configuration.validate().isEmpty, "the configuration is validated")
    precondition(configuration.consenter == .pbft || membership.count == 1, "noops is one replica")
    self.configuration = configuration
    self.id = id
    self.membership = membership
    self.timers = timers
    self.service = service
    core = OrderingCore(configuration: configuration.ordering, id: id, membership: membership)
    store = RequestStore(
      capacity: configuration.maximumHeldRequests, maximumBytes: configuration.maximumHeldBytes)
    directory = ClientDirectory(
      capacity: configuration.maximumClients + configuration.maximumHeldRequests + 1,
      salt: configuration.lookupSalt)
    table = ClientTable(maximumClients: configuration.maximumClients)
    batches = BatchPool(
      capacity: configuration.logSize + 2, maximumRequests: configuration.maximumBatchRequests,
      maximumBytes: configuration.maximumBatchBytes)
    batchTimer = timers.createTimer()
    requestTimer = timers.createTimer()
    suspectTimer = timers.createTimer()
  }

  /// The effects of the events since `effectsDone()`, in order. Valid until the next event or
  /// `effectsDone()`.
  public var effects: UnsafeBufferPointer<Effect> {
    UnsafeBufferPointer(start: outbox.base, count: outbox.count)
  }

  /// The host has run the effects: they and the content of their replies are forgotten.
  public func effectsDone() {
    outbox.removeAll()
    arena.removeAll()
  }

  /// The bytes of a reply among `effects`. Valid until the next event or `effectsDone()`.
  public func replyContent(_ reply: Reply) -> UnsafeRawBufferPointer {
    precondition(
      Int(reply.contentOffset) + Int(reply.contentCount) <= arena.count, "the reply is of this turn")
    return UnsafeRawBufferPointer(
      start: arena.base + Int(reply.contentOffset), count: Int(reply.contentCount))
  }

  /// Handles one event to completion. Never returns another event.
  @discardableResult
  public func processEvent(_ event: Event) -> Event? {
    switch event {
    case .start:
      lastRequestExecutedAt = timers.now.nanoseconds
      core.processEvent(.start)
      settle()
    case .request(let request):
      receive(request)
      if queuedWaiting >= configuration.batchSize { settle() }
    case .resent(let slot, let connection):
      receiveAgain(slot, connection)
    case .prePrepare(let prePrepare, let sender):
      receive(prePrepare, from: sender)
    case .message(.prePrepare(let prePrepare), let sender):
      receive(prePrepare, from: sender)
    case .message(let message, let sender):
      core.processEvent(.message(message, from: sender))
      settle()
    case .invalid(let rejection, let sender):
      reject(rejection, from: sender)
    case .endOfTurn:
      endTurn()
    case .batchTimeout:
      isBatchOverdue = true
      endTurn()
    case .requestTimeout:
      checkDeadlines()
    case .orderingTimeout(let timer):
      core.processEvent(.timeout(timer))
      settle()
    }
    return nil
  }

  public var counters: ReplicaCounters { counts }

  /// Where the replica stands. Allocates; not for every turn.
  public var status: ReplicaStatus {
    ReplicaStatus(
      id: id, membershipID: membership.id, view: core.view, isActive: core.isActive,
      isPrimary: core.isPrimary,
      isSuspecting: core.isSuspecting, isViewAbandonable: core.isViewAbandonable, lastExecuted: lastExecuted,
      executedRequests: counts.requestsExecuted, stableCheckpoint: core.stableCheckpoint,
      certifiedCheckpoint: core.certifiedCheckpoint, chain: chain,
      recentChain: (0..<chainLinks.count).map { chainLinks[$0] }, clients: table.count,
      storedRequests: waiting,
      heldRequests: store.held, heldBytes: store.heldBytes, counters: counts)
  }

  @inline(__always)
  func emit(_ effect: Effect) { outbox.append(effect) }

  func reject(_ rejection: Rejection, from sender: ReplicaID) {
    counts.rejections[Int(rejection.rawValue)] &+= 1
    emit(.rejected(rejection, from: sender))
  }

  /// Runs what the core asks for, and lets it propose what has become full or possible meanwhile.
  func settle() {
    runOrdering()
    while queuedWaiting >= configuration.batchSize, canPropose {
      proposeBatch()
      runOrdering()
    }
  }

  /// Runs the core's effects in their order.
  func runOrdering() {
    while let effect = core.takeEffect() {
      switch effect {
      case .broadcast(let message):
        emit(.broadcast(message))
      case .execute(let sequence, let view, let digest, let batch):
        execute(sequence, view: view, digest: digest, batch: batch)
      case .takeCheckpoint(let sequence):
        takeCheckpoint(sequence)
      case .discard(let batch):
        discard(batch)
      case .stable(let checkpoint):
        counts.checkpointsStable &+= 1
        emit(.stable(checkpoint.sequence))
      case .diverged(let checkpoint):
        counts.checkpointsDiverged &+= 1
        emit(.diverged(checkpoint.sequence))
      case .suspected(let view):
        counts.viewsSuspected &+= 1
        emit(.suspected(view))
      case .viewAbandonable(let view):
        emit(.viewAbandonable(view))
      case .startTimer(.suspectResend, let nanoseconds):
        suspectTimer.reset(afterNanoseconds: nanoseconds, event: .orderingTimeout(.suspectResend))
      case .rejected(let rejection, let sender):
        reject(rejection, from: sender)
      }
    }
  }
}
