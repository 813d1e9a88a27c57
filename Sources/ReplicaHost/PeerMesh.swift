// The links between replicas. The replica with the higher id connects; both ends say hello, derive the keys of the
// connection, and prove them with their first frame. A turn's broadcasts are one body, hashed once and sealed for each
// link. What is meant for a peer that is away waits, up to a bound, and goes out when it is back.

import Channels
import Logging
import NIOCore
import PBFT
import Wire

/// Is told what the peers say. Calls come on the mesh's loop.
protocol PeerMeshDelegate: AnyObject {
  /// A peer's authentic body. False when it cannot be understood: its link is closed.
  func mesh(_ mesh: PeerMesh, body: UnsafeRawBufferPointer, from peer: ReplicaID) -> Bool
  /// A burst is about to be handed over.
  func meshBurstBegins(_ mesh: PeerMesh)
  /// A burst has been handed over.
  func meshBurstEnded(_ mesh: PeerMesh)
  /// The number of connected peers has changed.
  func meshPeersChanged(_ mesh: PeerMesh)
}

/// Counters of the links between replicas.
public struct MeshCounters: Sendable {
  public var bodiesSent: UInt64 = 0
  public var framesSent: UInt64 = 0
  public var framesReceived: UInt64 = 0
  public var refusedHellos: UInt64 = 0
  public var malformedFrames: UInt64 = 0
  public var overflows: UInt64 = 0
  public var droppedBodies: UInt64 = 0
  public var lostLinks: UInt64 = 0
}

/// One connection to a peer, from its first byte.
final class PeerSession: @unchecked Sendable {
  let link: Link
  /// The replica we meant to reach; nil where the peer connected to us.
  let expected: ReplicaID?
  let hello: LinkHello
  var peer: ReplicaID?
  var sealer: LinkSealer?
  var opener: LinkOpener?
  var isEstablished = false

  init(link: Link, expected: ReplicaID?, hello: LinkHello) {
    self.link = link
    self.expected = expected
    self.hello = hello
  }
}

/// All links of one replica to its peers. Belongs to one event loop.
final class PeerMesh: DialerClient, @unchecked Sendable {
  /// How long a connection may take to prove who it is.
  static let helloTimeout = TimeAmount.seconds(5)
  /// Bytes that wait for a peer that is away, at least a window of messages; beyond, all are dropped and asked for again.
  static let waitingLimitBytes = 64 << 20
  /// Connections that have not proved who they are.
  static let strangersLimit = 64

  private(set) var counters = MeshCounters()
  /// The body of this turn's broadcasts.
  let broadcast = LinkBodyWriter()

  private struct Peer {
    let id: ReplicaID
    var session: PeerSession?
    var dialer: Dialer?
    /// Bodies that wait for the peer, each behind its length.
    var waiting = ByteBuffer()
  }

  private let own: ReplicaID
  private let membershipID: Int32
  private let secrets: ReplicaSecrets
  private let authentication: ReplicaAuthentication
  private let loop: any EventLoop
  private let logger: Logger
  /// Owns this object, so it lives longer.
  private unowned(unsafe) let delegate: any PeerMeshDelegate
  private var peers: [Peer]
  private var strangers: [ObjectIdentifier: AcceptedPeer] = [:]
  private var dialled: [UInt32: PeerSession] = [:]
  private var complaints: Set<String> = []
  /// Of the links that are no more: counters of a run never fall.
  private var endedTraffic: (UInt64, UInt64, UInt64) = (0, 0, 0)
  private var isStopped = false

  init(
    own: ReplicaID, membership: Membership, secrets: ReplicaSecrets, authentication: ReplicaAuthentication,
    endpoints: [ReplicaID: Endpoint], loop: any EventLoop, logger: Logger, delegate: any PeerMeshDelegate
  ) {
    self.own = own
    membershipID = membership.id
    self.secrets = secrets
    self.authentication = authentication
    self.loop = loop
    self.logger = logger
    self.delegate = delegate
    peers = membership.replicas.filter { $0 != own }.map { Peer(id: $0) }
    for index in peers.indices where peers[index].id < own {
      guard let endpoint = endpoints[peers[index].id] else { continue }
      peers[index].dialer = Dialer(endpoint: endpoint, loop: loop, number: UInt32(index), client: self)
    }
  }

  /// Peers whose link is established.
  var connectedPeers: Int { peers.count { $0.session?.isEstablished == true } }

  var peerCount: Int { peers.count }

  /// Starts connecting to the replicas with lower ids.
  func start() {
    for peer in peers { peer.dialer?.start() }
  }

  /// From now on lost links are nobody's fault: the cluster is being taken down.
  func expectEnd() { isStopped = true }

  func stop() {
    isStopped = true
    for peer in peers {
      peer.dialer?.stop()
      peer.session?.link.close()
    }
    for stranger in strangers.values { stranger.session.link.close() }
  }

  // MARK: Sending

  /// Seals this turn's broadcasts for every peer and flushes.
  func flush() {
    guard !broadcast.isEmpty else { return }
    counters.bodiesSent += 1
    for index in peers.indices {
      if let session = peers[index].session, session.isEstablished {
        seal(session)
        session.link.flush()
      } else {
        keep(broadcast.bytes, for: index)
      }
    }
    broadcast.removeAll()
  }

  private func seal(_ session: PeerSession) {
    let byteCount = session.sealer!.byteCount(body: broadcast.byteCount)
    let written = session.sealer!.seal(broadcast, into: session.link.reserve(byteCount))
    session.link.commit(written)
    counters.framesSent += 1
  }

  private func seal(bytes: UnsafeRawBufferPointer, on session: PeerSession) {
    let byteCount = session.sealer!.byteCount(body: bytes.count)
    let written = session.sealer!.seal(bytes: bytes, into: session.link.reserve(byteCount))
    session.link.commit(written)
    counters.framesSent += 1
  }

  private func keep(_ body: UnsafeRawBufferPointer, for index: Int) {
    if peers[index].waiting.readableBytes + body.count > Self.waitingLimitBytes {
      counters.overflows += 1
      counters.droppedBodies += 1
      peers[index].waiting = ByteBuffer()
      return
    }
    peers[index].waiting.writeInteger(UInt32(body.count))
    peers[index].waiting.writeBytes(body)
  }

  // MARK: Connections

  /// The owner of a link that somebody opened to us.
  func accept(_ link: Link) -> any LinkOwner {
    let session = PeerSession(link: link, expected: nil, hello: newHello())
    let owner = AcceptedPeer(session: session, mesh: self)
    if isStopped || strangers.count >= Self.strangersLimit {
      link.close(.failed("too many connections without a hello"))
      return owner
    }
    strangers[ObjectIdentifier(session)] = owner
    greet(session)
    return owner
  }

  func dialer(_ dialer: Dialer, opened link: Link) {
    let index = Int(link.number)
    let session = PeerSession(link: link, expected: peers[index].id, hello: newHello())
    dialled[link.number] = session
    greet(session)
  }

  func dialer(_ dialer: Dialer, received bytes: UnsafeRawBufferPointer) -> Int {
    guard let link = dialer.link, let session = dialled[link.number] else { return bytes.count }
    return receive(bytes, on: session)
  }

  func dialer(_ dialer: Dialer, lost link: Link, _ closure: LinkClosure) {
    if let session = dialled.removeValue(forKey: link.number) { lost(session, closure) }
  }

  private func newHello() -> LinkHello {
    LinkHello(
      replica: own, cluster: secrets.cluster, membershipID: membershipID, authentication: authentication)
  }

  private func greet(_ session: PeerSession) {
    session.link.queueLimitBytes = Self.waitingLimitBytes
    session.hello.encode(into: session.link.reserve(LinkHello.byteCount))
    session.link.commit(LinkHello.byteCount)
    session.link.flush()
    loop.scheduleTask(in: Self.helloTimeout) { [weak session] in
      guard let session, !session.isEstablished else { return }
      session.link.close(
        .failed("no proof of identity within \(Self.helloTimeout.nanoseconds / 1_000_000_000) s"))
    }
  }

  fileprivate func receive(_ bytes: UnsafeRawBufferPointer, on session: PeerSession) -> Int {
    var offset = 0
    delegate.meshBurstBegins(self)
    if session.opener == nil {
      do throws(LinkError) {
        guard let hello = try LinkHello.decode(bytes) else { return 0 }
        try session.hello.check(from: hello, expected: session.expected)
        guard peers.contains(where: { $0.id == hello.replica }) else {
          throw .helloReplica(hello.replica.rawValue)
        }
        let keys =
          authentication == .none ? nil : try LinkKeys(secrets: secrets, own: session.hello, peer: hello)
        session.peer = hello.replica
        session.sealer = LinkSealer(keys: keys)
        session.opener = LinkOpener(keys: keys)
      } catch {
        counters.refusedHellos += 1
        complain("refused a replica link: \(error)")
        session.link.close(.malformed("\(error)"))
        return bytes.count
      }
      offset = LinkHello.byteCount
      // An empty frame proves that we hold the keys.
      seal(bytes: UnsafeRawBufferPointer(start: nil, count: 0), on: session)
      session.link.flush()
    }
    while offset < bytes.count {
      switch session.opener!.open(UnsafeRawBufferPointer(rebasing: bytes[offset...])) {
      case .incomplete:
        delegate.meshBurstEnded(self)
        return offset
      case .body(let body, let byteCount):
        counters.framesReceived += 1
        if !session.isEstablished { establish(session) }
        guard body.isEmpty || delegate.mesh(self, body: body, from: session.peer!) else {
          counters.malformedFrames += 1
          session.link.close(.malformed("a body that cannot be read"))
          return bytes.count
        }
        offset += byteCount
      case .malformed(let error):
        counters.malformedFrames += 1
        complain("closed a replica link: \(error)")
        session.link.close(.malformed("\(error)"))
        return bytes.count
      }
    }
    delegate.meshBurstEnded(self)
    return offset
  }

  private func establish(_ session: PeerSession) {
    guard let index = peers.firstIndex(where: { $0.id == session.peer }) else { return }
    session.isEstablished = true
    strangers[ObjectIdentifier(session)] = nil
    peers[index].dialer?.peerIsGood()
    // The newer of two connections of one peer is the one that works.
    let old = peers[index].session
    if let old { countEnded(old.link) }
    peers[index].session = session
    old?.link.close()
    var waiting = peers[index].waiting
    peers[index].waiting = ByteBuffer()
    while let length: UInt32 = waiting.readInteger(), let body = waiting.readSlice(length: Int(length)) {
      body.withUnsafeReadableBytes { seal(bytes: $0, on: session) }
    }
    session.link.flush()
    delegate.meshPeersChanged(self)
  }

  fileprivate func lost(_ session: PeerSession, _ closure: LinkClosure) {
    strangers[ObjectIdentifier(session)] = nil
    if closure == .overflow { counters.overflows += 1 }
    guard let index = peers.firstIndex(where: { $0.session === session }) else { return }
    peers[index].session = nil
    countEnded(session.link)
    counters.lostLinks += 1
    // After the stop the delegate may be gone.
    guard !isStopped else { return }
    complain("lost the link to replica \(peers[index].id.rawValue): \(closure)")
    delegate.meshPeersChanged(self)
  }

  /// Logs each complaint once.
  private func complain(_ what: String) {
    guard complaints.count < 256, complaints.insert(what).inserted else { return }
    logger.warning("replica \(own.rawValue): \(what)")
  }

  private func countEnded(_ link: Link) {
    endedTraffic.0 += link.sentBytes
    endedTraffic.1 += link.receivedBytes
    endedTraffic.2 += link.flushes
  }

  /// Bytes and flushes over all links that were established, those that have ended included.
  var traffic: (sentBytes: UInt64, receivedBytes: UInt64, flushes: UInt64) {
    var total = endedTraffic
    for peer in peers {
      guard let link = peer.session?.link else { continue }
      total.0 += link.sentBytes
      total.1 += link.receivedBytes
      total.2 += link.flushes
    }
    return total
  }
}

/// Owns a link that a peer opened.
final class AcceptedPeer: LinkOwner {
  let session: PeerSession
  /// Let go of with the link, whose end the mesh is told of even if nobody else holds it any more.
  private let mesh: PeerMesh

  init(session: PeerSession, mesh: PeerMesh) {
    self.session = session
    self.mesh = mesh
  }

  func link(_ link: Link, received bytes: UnsafeRawBufferPointer) -> Int { mesh.receive(bytes, on: session) }

  func linkClosed(_ link: Link, _ closure: LinkClosure) { mesh.lost(session, closure) }
}
