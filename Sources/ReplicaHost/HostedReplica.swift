// One replica in the world: the pure replica, its event manager on a reactor, its links and its keys. Whatever a turn of
// the loop brings is decoded and verified here, given to the replica as events, and its effects are run in order; links
// are flushed once, at the end of the turn.

import Channels
import Events
import Glibc
import Hashing
import Logging
import NIOCore
import PBFT
import Replication
import Wire

/// A running replica. Its state belongs to one event loop; the public methods that return futures may be called anywhere.
public final class HostedReplica: @unchecked Sendable {
  public let configuration: HostConfiguration
  public let loop: any EventLoop

  var counters = HostCounters()
  let replica: Replica
  let verifier: RequestVerifier
  var clients: ClientConnections!
  var mesh: PeerMesh!

  private let boss: any EventLoopGroup
  private let logger: Logger
  private let timers: TimerFactory<Replica.Event>
  private let manager: EventManager<Replica>
  private let meter: LoopMeter
  private let meterOwner: Int
  private var turn: TurnEnd!
  private var armed: (instant: Instant, callback: NIOScheduledCallback)?
  private var listeners: [Listener] = []
  private var quorumPromise: EventLoopPromise<Void>?
  private var allPromise: EventLoopPromise<Void>?
  private var isStopped = false

  /// - Parameters:
  ///   - loop: where the replica and all its links live.
  ///   - boss: accepts connections.
  ///   - meter: of the loop; several replicas of one loop share it, each as another `meterOwner`.
  public init(
    configuration: HostConfiguration, loop: any EventLoop, boss: any EventLoopGroup, meter: LoopMeter,
    meterOwner: Int, logger: Logger
  ) throws {
    self.configuration = configuration
    self.loop = loop
    self.boss = boss
    self.meter = meter
    self.logger = logger
    self.meterOwner = meterOwner
    timers = TimerFactory()
    manager = EventManager(queueCapacity: 1024, timers: timers)
    let problems = configuration.replica.validate()
    guard problems.isEmpty else { throw HostError.configuration(problems) }
    guard let service = Service.make(name: configuration.service, replyBytes: configuration.replyBytes) else {
      throw HostError.configuration(["service \(configuration.service): expected one of \(Service.names)"])
    }
    replica = Replica(
      configuration: configuration.replica, id: configuration.id, membership: configuration.membership,
      service: service, timers: timers)
    verifier = try RequestVerifier(
      mode: configuration.signatureMode, secrets: configuration.secrets,
      replicas: configuration.membership.replicas, clientCapacity: configuration.clientCapacity)
    manager.setReceiver(replica)
    clients = ClientConnections(
      maximumFrameBytes: configuration.maximumRequestFrameBytes,
      queueLimitBytes: configuration.clientQueueLimitBytes, delegate: self)
    mesh = PeerMesh(
      own: configuration.id, membership: configuration.membership, secrets: configuration.secrets,
      authentication: configuration.replicaAuthentication, endpoints: configuration.replicaEndpoints,
      loop: loop,
      logger: logger, delegate: self)
    turn = TurnEnd(loop: loop) { [unowned self] in endTurn() }
  }

  // MARK: Life

  /// Listens for replicas and clients and starts connecting. Fails when an address cannot be listened on.
  public func start() -> EventLoopFuture<Void> {
    let replicas = Listener.open(
      configuration.replicaEndpoint, boss: boss, worker: loop, backlog: configuration.backlog
    ) { [self] link in mesh.accept(link) }
    return replicas.flatMap { [self] listener in
      Listener.open(
        configuration.clientEndpoint, boss: boss, worker: loop, backlog: configuration.backlog
      ) { [self] link in clients.accept(link) }.map { [listener, $0] }.flatMapErrorThrowing {
        listener.close()
        throw $0
      }
    }.hop(to: loop).map { [self] opened in
      listeners = opened
      quorumPromise = loop.makePromise()
      allPromise = loop.makePromise()
      manager.start()
      begin()
      manager.inject(.start)
      runEffects()
      mesh.start()
      turn.request()
      meshPeersChanged(mesh)
    }
  }

  /// Succeeds once a quorum of replicas, this one included, is connected. After `start`.
  public func quorumConnected() -> EventLoopFuture<Void> {
    loop.flatSubmit { [self] in quorumPromise?.futureResult ?? loop.makeSucceededVoidFuture() }
  }

  /// Succeeds once every replica is connected. After `start`.
  public func allConnected() -> EventLoopFuture<Void> {
    loop.flatSubmit { [self] in allPromise?.futureResult ?? loop.makeSucceededVoidFuture() }
  }

  /// The TCP ports in use, also where 0 was asked for; nil in memory. After `start`.
  public func ports() -> EventLoopFuture<(client: Int?, replica: Int?)> {
    loop.submit { [self] in (listeners[1].port, listeners[0].port) }
  }

  /// Tells the replica that its peers are about to stop, so that it does not complain about them.
  public func expectEnd() -> EventLoopFuture<Void> {
    loop.submit { [self] in mesh.expectEnd() }
  }

  /// Closes every link and stops delivering. Idempotent. Once it has succeeded nothing on the loop needs the host.
  public func stop() -> EventLoopFuture<Void> {
    loop.submit { [self] in
      guard !isStopped else { return }
      isStopped = true
      for listener in listeners { listener.close() }
      armed?.callback.cancel()
      manager.halt()
      mesh.stop()
      clients.closeAll()
      quorumPromise?.fail(ChannelError.alreadyClosed)
      allPromise?.fail(ChannelError.alreadyClosed)
      quorumPromise = nil
      allPromise = nil
    }.flatMap { [loop] in
      // A requested end of turn and the ends of the links are queued before this.
      loop.submit {}
    }
  }

  // MARK: Turns

  /// The instant of this turn, which the replica sees as now.
  private func begin() {
    meter.enter(meterOwner)
    manager.runTurn(at: Instant(nanoseconds: monotonicNanoseconds()))
  }

  private func inject(_ event: Replica.Event) {
    manager.inject(event)
    runEffects()
  }

  private func endTurn() {
    guard !isStopped else { return }
    begin()
    inject(.endOfTurn)
    mesh.flush()
    clients.flush()
    arm()
  }

  /// Arms one callback of the reactor for the earliest deadline of all timers.
  private func arm() {
    guard let deadline = timers.earliestDeadline else { return }
    if let armed {
      if armed.instant <= deadline { return }
      armed.callback.cancel()
    }
    let due = NIODeadline.uptimeNanoseconds(UInt64(max(0, deadline.nanoseconds)))
    if let callback = try? loop.scheduleCallback(at: due, handler: DeadlineHandler(host: self)) {
      armed = (deadline, callback)
    }
  }

  fileprivate func deadlineReached() {
    armed = nil
    guard !isStopped else { return }
    begin()
    runEffects()
    turn.request()
  }

  // MARK: Requests

  /// Judges a request's authenticity once and gives it to the replica.
  private func accept(_ frame: ClientFrameView, kind: RequestKind, connection: ConnectionID) {
    let isForwarded = connection == .none
    let screening = replica.screen(
      client: frame.client, session: frame.session, sequence: frame.sequence, kind: kind,
      forwarded: isForwarded)
    switch screening {
    case .executed:
      inject(.request(arrived(frame, kind: kind, digest: .zero, connection: connection)))
    case .stored(let slot) where isSame(replica.data(of: slot), frame.data):
      inject(.resent(slot, connection: connection))
    case .stored, .refused:
      // Held under this sequence is another request, or none is taken: counted, and told by nothing but that.
      counters.refusedRequests += 1
    case .unknown:
      guard let digest = verified(frame) else { return }
      inject(.request(arrived(frame, kind: kind, digest: digest, connection: connection)))
    }
  }

  @inline(__always)
  private func isSame(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
    left.count == right.count && memcmp(left.baseAddress!, right.baseAddress!, left.count) == 0
  }

  /// The request's digest, if what it carries proves its client.
  private func verified(_ frame: ClientFrameView) -> Digest? {
    let digest = Digest.sha256(frame.data)
    counters.verifications += 1
    let verdict = verifier.verify(
      data: frame.data, digest: digest, authenticator: frame.signature, client: frame.client)
    guard verdict == .authentic else {
      counters.rejectedAuthenticators += 1
      return nil
    }
    return digest
  }

  @inline(__always)
  private func arrived(
    _ frame: ClientFrameView, kind: RequestKind, digest: Digest, connection: ConnectionID
  ) -> ArrivedRequest {
    ArrivedRequest(
      client: frame.client, session: frame.session, sequence: frame.sequence, operationID: frame.operationID,
      kind: kind, replyServer: frame.replyServer, membershipID: frame.membershipID, digest: digest,
      data: frame.data, contentOffset: ClientFrame.contentOffset, authenticator: frame.signature,
      connection: connection)
  }

  /// Interns the batch of a pre-prepare, verifying what is not already held byte for byte, and processes it.
  private func accept(_ message: LinkPrePrepare, from peer: ReplicaID) {
    replica.beginBatch()
    var requests = message.requests
    while let request = requests.next() {
      let frame = request.message
      let isAppended: Bool
      if let slot = replica.storedRequest(
        client: frame.client, session: frame.session, sequence: frame.sequence),
        isSame(replica.data(of: slot), frame.data)
      {
        isAppended = replica.appendToBatch(slot)
      } else {
        guard let kind = RequestKind(rawValue: frame.kind) else { return rejectBatch(.malformed, peer) }
        guard let digest = verified(frame) else { return rejectBatch(.badAuthenticator, peer) }
        isAppended = replica.appendToBatch(arrived(frame, kind: kind, digest: digest, connection: .none))
      }
      guard isAppended else { return rejectBatch(.batchTooLarge, peer) }
    }
    let batch = replica.finishBatch()
    inject(.prePrepare(message.prePrepare(batch: batch.handle), from: peer))
  }

  private func rejectBatch(_ rejection: Rejection, _ peer: ReplicaID) {
    replica.abandonBatch()
    counters.rejectedBatches += 1
    inject(.invalid(rejection, from: peer))
  }

  // MARK: Effects

  /// Runs what the last transitions decided, in order.
  private func runEffects() {
    let effects = replica.effects
    guard !effects.isEmpty else { return }
    for effect in effects { run(effect) }
    replica.effectsDone()
    turn.request()
  }

  private func run(_ effect: Replica.Effect) {
    switch effect {
    case .reply(let reply): send(reply)
    case .broadcast(let message): broadcast(message)
    case .forward(let slot):
      mesh.broadcast.appendForward(
        data: replica.data(of: slot), authenticator: replica.authenticator(of: slot))
    case .suspected(let view):
      logger.notice("replica \(configuration.id.rawValue) suspects the primary of view \(view.rawValue)")
    case .viewAbandonable(let view):
      logger.notice(
        "replica \(configuration.id.rawValue): a quorum suspects the primary of view \(view.rawValue)")
    case .diverged(let sequence):
      logger.error(
        "replica \(configuration.id.rawValue): a quorum has another state at checkpoint \(sequence.rawValue)")
    case .executed, .stable, .rejected:
      // Counted by the replica; nothing to be done in the world.
      break
    }
  }

  private func broadcast(_ message: Message) {
    let body = mesh.broadcast
    switch message {
    case .prePrepare(let prePrepare):
      let slots = replica.requests(of: prePrepare.batch)
      body.begin(prePrepare, requestCount: slots.count)
      for slot in slots {
        body.appendRequest(data: replica.data(of: slot), authenticator: replica.authenticator(of: slot))
      }
    case .prepare(let prepare): body.append(prepare)
    case .commit(let commit): body.append(commit)
    case .checkpoint(let checkpoint): body.append(checkpoint)
    case .suspect(let suspect): body.append(suspect)
    }
    if body.byteCount > Self.earlyFlushBytes { mesh.flush() }
  }

  /// A turn's broadcasts beyond this many bytes leave before its end: far below the largest frame.
  private static let earlyFlushBytes = 8 << 20

  private func send(_ reply: Reply) {
    let content = replica.replyContent(reply)
    let header = ClientFrameHeader(
      sender: configuration.id.rawValue, membershipID: reply.membershipID, kind: reply.kind.rawValue,
      session: reply.session, sequence: reply.sequence, operationID: reply.operationID)
    var isSent = false
    if reply.connections.0 != .none {
      isSent = send(header, content, to: reply.connections.0, client: reply.client)
    }
    if reply.connections.1 != .none {
      isSent = send(header, content, to: reply.connections.1, client: reply.client) || isSent
    }
    if isSent { counters.repliesSent += 1 } else { counters.repliesWithoutConnection += 1 }
  }

  private func send(
    _ header: ClientFrameHeader, _ content: UnsafeRawBufferPointer?, to connection: ConnectionID,
    client: Int32
  ) -> Bool {
    guard let link = clients.linkForReply(connection) else { return false }
    let capacity = ClientFrame.byteCount(content: content?.count ?? 0, signature: verifier.replyTagByteCount)
    let output = link.reserve(capacity)
    ClientFrame.encode(into: output, header: header, content: content)
    link.commit(verifier.tagReply(output, to: client))
    return true
  }

  /// Processor time the replica has used so far.
  var cpuNanoseconds: Int64 { meter.nanoseconds(of: meterOwner) }
}

// MARK: - What the links bring

extension HostedReplica: ClientConnectionsDelegate, PeerMeshDelegate {
  func clients(_ clients: ClientConnections, frame: ClientFrameView, connection: ConnectionID) -> Bool {
    if let kind = RequestKind(rawValue: frame.kind) {
      counters.requestFrames += 1
      accept(frame, kind: kind, connection: connection)
      return true
    }
    guard frame.kind == ClientMessageKind.askStatus.rawValue else { return false }
    counters.statusQueries += 1
    var header = frame.header
    header.sender = configuration.id.rawValue
    header.kind = ClientMessageKind.statusReply.rawValue
    header.replyServer = -1
    let content = statusReport().encode()
    content.withUnsafeBytes { _ = send(header, $0, to: connection, client: frame.client) }
    turn.request()
    return true
  }

  func clientsBurstBegins(_ clients: ClientConnections) { begin() }

  func clientsBurstEnded(_ clients: ClientConnections) { turn.request() }

  func meshBurstBegins(_ mesh: PeerMesh) { begin() }

  func mesh(_ mesh: PeerMesh, body: UnsafeRawBufferPointer, from peer: ReplicaID) -> Bool {
    var reader = LinkBodyReader(body)
    while true {
      switch reader.next() {
      case .end: return true
      case .malformed(let error):
        logger.warning("replica \(configuration.id.rawValue): replica \(peer.rawValue) sent \(error)")
        inject(.invalid(.malformed, from: peer))
        return false
      case .message(.prePrepare(let message)): accept(message, from: peer)
      case .message(.prepare(let prepare)): inject(.message(.prepare(prepare), from: peer))
      case .message(.commit(let commit)): inject(.message(.commit(commit), from: peer))
      case .message(.checkpoint(let checkpoint)): inject(.message(.checkpoint(checkpoint), from: peer))
      case .message(.suspect(let suspect)): inject(.message(.suspect(suspect), from: peer))
      case .message(.forward(let request)):
        if let kind = RequestKind(rawValue: request.message.kind), kind.isOrdered {
          accept(request.message, kind: kind, connection: .none)
        }
      }
    }
  }

  func meshBurstEnded(_ mesh: PeerMesh) { turn.request() }

  func meshPeersChanged(_ mesh: PeerMesh) {
    let connected = mesh.connectedPeers + 1
    if connected >= configuration.membership.quorums.quorum {
      quorumPromise?.succeed()
      quorumPromise = nil
    }
    if connected == configuration.membership.count {
      allPromise?.succeed()
      allPromise = nil
    }
  }
}

/// Wakes a replica when its earliest deadline has come.
private final class DeadlineHandler: NIOScheduledCallbackHandler, Sendable {
  private let host: HostedReplica

  init(host: HostedReplica) { self.host = host }

  func handleScheduledCallback(eventLoop: some EventLoop) { host.deadlineReached() }
}

/// Why a host cannot be made.
public enum HostError: Error, CustomStringConvertible {
  case configuration([String])

  public var description: String {
    switch self {
    case .configuration(let problems): problems.joined(separator: "; ")
    }
  }
}
