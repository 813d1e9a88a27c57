// A replica that misbehaves: an honest one whose links end here, and what it says and hears is changed on the way. Kept
// true: the honest replica is the production type, unchanged, and knows nothing of this; the adversary has one replica's
// keys and no other's, so that what it cannot forge here nobody can.
//
//   peers  <- real links ->  outer mesh  <- behaviour ->  one inner mesh per peer  <- memory ->  honest replica
//   clients <- real links -> client relay                                          <- memory ->

import Channels
import Logging
import NIOCore
import PBFT
import Wire

/// A running adversary. Its state belongs to one event loop; the methods that return futures may be called anywhere.
public final class AdversarialReplica: @unchecked Sendable {
  /// The replica inside; for samples, not for starting or stopping.
  public let honest: HostedReplica

  private let configuration: HostConfiguration
  private let loop: any EventLoop
  private let boss: any EventLoopGroup
  private let relay: AdversarialClientRelay
  private var policy: AdversarialPolicy
  private var outer: PeerMesh!
  private var inner: [(peer: ReplicaID, port: MemoryPort, mesh: PeerMesh, side: InnerSide)] = []
  private var outerSide: OuterSide!
  private var turn: TurnEnd!
  private var listeners: [Listener] = []
  private var quorumPromise: EventLoopPromise<Void>?
  private var isStopped = false
  /// Bytes that are held back.
  private var delayedBytes = 0

  private static let delayedLimitBytes = 256 << 20

  /// - Parameters: as of `HostedReplica`, whose place this takes.
  public init(
    behaviour: AdversarialBehaviour, configuration: HostConfiguration, loop: any EventLoop,
    boss: any EventLoopGroup, meter: LoopMeter, meterOwner: Int, logger: Logger
  ) throws {
    self.configuration = configuration
    self.loop = loop
    self.boss = boss
    policy = AdversarialPolicy(
      behaviour, id: configuration.id, membership: configuration.membership,
      requestTimeoutNanoseconds: configuration.replica.requestTimeoutNanoseconds)
    let replicaPort = MemoryPort()
    let clientPort = MemoryPort()
    let peers = configuration.membership.replicas.filter { $0 != configuration.id }
    let ports = peers.map { _ in MemoryPort() }
    var inside = configuration
    inside.replicaAuthentication = .none
    inside.linkTLS = nil
    inside.replicaEndpoint = .memory(replicaPort)
    inside.clientEndpoint = .memory(clientPort)
    inside.replicaEndpoints = Dictionary(uniqueKeysWithValues: zip(peers, ports.map { .memory($0) }))
    honest = try HostedReplica(
      configuration: inside, loop: loop, boss: boss, meter: meter, meterOwner: meterOwner, logger: logger)
    relay = AdversarialClientRelay(
      behaviour: behaviour, authentication: configuration.replicaAuthentication, inside: clientPort,
      loop: loop, frames: configuration.channels)
    outerSide = OuterSide(self)
    outer = PeerMesh(
      own: configuration.id, membership: configuration.membership, secrets: configuration.secrets,
      authentication: configuration.replicaAuthentication, security: configuration.linkTLS,
      endpoints: configuration.replicaEndpoints, loop: loop, logger: logger, delegate: outerSide)
    for (peer, port) in zip(peers, ports) {
      let side = InnerSide(self, peer: peer)
      let mesh = PeerMesh(
        own: peer, membership: configuration.membership, secrets: configuration.secrets,
        authentication: .none,
        endpoints: [configuration.id: .memory(replicaPort)], loop: loop, logger: logger, delegate: side)
      inner.append((peer, port, mesh, side))
    }
    turn = TurnEnd(loop: loop) { [unowned self] in flush() }
  }

  // MARK: Life

  /// As `HostedReplica.start`.
  public func start() -> EventLoopFuture<Void> {
    let replicas = Listener.open(
      configuration.replicaEndpoint, boss: boss, worker: loop, backlog: configuration.backlog,
      security: configuration.linkTLS, refused: { [self] in outer.refused($0, from: $1) }
    ) { [self] link in outer.accept(link) }
    let clients = Listener.open(
      configuration.clientEndpoint, boss: boss, worker: loop, backlog: configuration.backlog
    ) { [self] link in relay.accept(link) }
    return replicas.and(clients).hop(to: loop).flatMap { [self] opened in
      listeners = [opened.0, opened.1]
      quorumPromise = loop.makePromise()
      let inside = inner.map { item in
        let mesh = item.mesh
        return Listener.open(.memory(item.port), boss: boss, worker: loop) { link in mesh.accept(link) }
      }
      return EventLoopFuture.whenAllSucceed(inside, on: loop).flatMap { [self] opened in
        listeners += opened
        return honest.start()
      }
    }.map { [self] in
      for item in inner { item.mesh.start() }
      outer.start()
      peersChanged()
    }
  }

  /// As `HostedReplica.quorumConnected`.
  public func quorumConnected() -> EventLoopFuture<Void> {
    loop.flatSubmit { [self] in quorumPromise?.futureResult ?? loop.makeSucceededVoidFuture() }
  }

  /// The TCP ports in use; nil in memory. After `start`.
  public func ports() -> EventLoopFuture<(client: Int?, replica: Int?)> {
    loop.submit { [self] in (listeners[1].port, listeners[0].port) }
  }

  /// As `HostedReplica.stop`.
  public func stop(cleanly: Bool = true) -> EventLoopFuture<Void> {
    loop.submit { [self] in
      guard !isStopped else { return }
      isStopped = true
      for listener in listeners { listener.close() }
      outer.stop()
      for item in inner { item.mesh.stop() }
      relay.stop()
      quorumPromise?.fail(ChannelError.alreadyClosed)
      quorumPromise = nil
    }.flatMap { [honest] in honest.stop(cleanly: cleanly) }.flatMap { [loop] in loop.submit {} }
  }

  // MARK: Between the meshes

  fileprivate func peersChanged() {
    guard outer.connectedPeers + 1 >= configuration.membership.quorums.quorum else { return }
    quorumPromise?.succeed()
    quorumPromise = nil
  }

  fileprivate func requestFlush() { turn.request() }

  private func flush() {
    guard !isStopped else { return }
    outer.flush()
    for item in inner { item.mesh.flush() }
  }

  /// What `peer` said, on its way to the honest replica.
  fileprivate func heard(_ body: UnsafeRawBufferPointer, from peer: ReplicaID) -> Bool {
    guard let item = inner.first(where: { $0.peer == peer }),
      let writer = item.mesh.body(to: configuration.id)
    else { return true }
    return eachMessage(of: body) { message, bytes in
      if policy.lets(message) { writer.append(body: bytes) }
    }
  }

  /// What the honest replica said to `peer`, on its way there.
  fileprivate func said(_ body: UnsafeRawBufferPointer, to peer: ReplicaID) -> Bool {
    if policy.dropsBody() { return true }
    guard let writer = outer.body(to: peer) else { return true }
    let now = monotonicNanoseconds()
    return eachMessage(of: body) { message, bytes in
      switch policy.decide(message, for: peer, at: now) {
      case .drop: break
      case .pass: writer.append(body: bytes)
      case .hold(let instant): hold(bytes, for: peer, nanoseconds: instant - now)
      case .replacePrePrepare(let prePrepare, let requests):
        writer.begin(prePrepare, requestCount: requests.count)
        for request in requests {
          writer.appendRequest(data: request.data, authenticator: request.authenticator)
        }
      case .replacePrepare(let prepare): writer.append(prepare)
      case .replaceCommit(let commit): writer.append(commit)
      }
    }
  }

  private func hold(_ bytes: UnsafeRawBufferPointer, for peer: ReplicaID, nanoseconds: Int64) {
    guard delayedBytes + bytes.count <= Self.delayedLimitBytes else { return }
    delayedBytes += bytes.count
    let copy = [UInt8](bytes)
    loop.scheduleTask(in: .nanoseconds(max(0, nanoseconds))) { [weak self] in
      guard let self, !isStopped else { return }
      delayedBytes -= copy.count
      copy.withUnsafeBytes { self.outer.body(to: peer)?.append(body: $0) }
      turn.request()
    }
  }

  /// Hands out every message with its bytes; false when one cannot be read.
  private func eachMessage(
    of body: UnsafeRawBufferPointer, _ take: (LinkMessage, UnsafeRawBufferPointer) -> Void
  ) -> Bool {
    var reader = LinkBodyReader(body, dialect: configuration.dialect)
    var offset = 0
    while true {
      switch reader.next() {
      case .end: return true
      case .malformed: return false
      case .message(let message):
        let end = body.count - reader.remainingByteCount
        take(message, UnsafeRawBufferPointer(rebasing: body[offset..<end]))
        offset = end
      }
    }
  }
}

/// Receives from the peers.
private final class OuterSide: PeerMeshDelegate {
  private unowned(unsafe) let adversary: AdversarialReplica

  init(_ adversary: AdversarialReplica) { self.adversary = adversary }

  func mesh(
    _ mesh: PeerMesh, body: UnsafeRawBufferPointer, from peer: ReplicaID, on session: PeerSession
  ) -> Bool { adversary.heard(body, from: peer) }

  func meshBurstBegins(_ mesh: PeerMesh) {}
  func meshBurstEnded(_ mesh: PeerMesh) { adversary.requestFlush() }
  func meshPeersChanged(_ mesh: PeerMesh) { adversary.peersChanged() }
}

/// Receives from the honest replica in the place of one peer.
private final class InnerSide: PeerMeshDelegate {
  private unowned(unsafe) let adversary: AdversarialReplica
  private let peer: ReplicaID

  init(_ adversary: AdversarialReplica, peer: ReplicaID) {
    self.adversary = adversary
    self.peer = peer
  }

  func mesh(
    _ mesh: PeerMesh, body: UnsafeRawBufferPointer, from honest: ReplicaID, on session: PeerSession
  ) -> Bool { adversary.said(body, to: peer) }

  func meshBurstBegins(_ mesh: PeerMesh) {}
  func meshBurstEnded(_ mesh: PeerMesh) { adversary.requestFlush() }
  func meshPeersChanged(_ mesh: PeerMesh) {}
}
