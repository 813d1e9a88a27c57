// The links between replicas. The replica with the higher id connects; both ends say hello, derive the keys of the
// connection, and prove them with their first frame; over TLS certificates have said who is there before that. A turn's
// broadcasts are one body, hashed once and sealed for each link; what is said to one peer alone is a body of its own,
// sent after it. What is meant for a peer that is away waits, up to a bound, and goes out when it is back. Bodies can be
// held until what they rest on is on disk.

import Channels
import Logging
import NIOCore
import PBFT
import Wire

/// Is told what the peers say. Calls come on the mesh's loop.
protocol PeerMeshDelegate: AnyObject {
  /// A peer's authentic body. False when it cannot be understood: its link is closed.
  func mesh(_ mesh: PeerMesh, body: UnsafeRawBufferPointer, from peer: ReplicaID, on session: PeerSession)
    -> Bool
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
  /// Connections to us that TLS has refused.
  public var refusedHandshakes: UInt64 = 0
  /// Connections of ours that ended before the peer had accepted us: refused by TLS at either end.
  public var failedHandshakes: UInt64 = 0
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
  /// Of which membership the peer speaks.
  var membershipID: Int32 = 0

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
  /// Bytes that may wait on a link for a peer that does not read.
  static let queueLimitBytes = 64 << 20
  /// Connections that have not proved who they are.
  static let strangersLimit = 64

  private(set) var counters = MeshCounters()
  /// The body of this turn's broadcasts.
  private(set) var broadcast = LinkBodyWriter()

  private struct Peer {
    let id: ReplicaID
    /// Others are answered, and hear no broadcasts.
    var isMember: Bool
    var session: PeerSession?
    var dialer: Dialer?
    /// What this turn says to this peer alone; made when there is something to say for the first time.
    var own: LinkBodyWriter?
    /// Bodies that wait for the peer, each behind its length.
    var waiting = ByteBuffer()
  }

  /// A body that waits for the disk: for one peer, or for all.
  private struct HeldBody {
    var peer: Int?
    var body: LinkBodyWriter
  }

  /// Bytes that wait for a peer that is away; beyond, all are dropped and asked for again.
  private let waitingLimitBytes: Int
  private let own: ReplicaID
  private var membershipID: Int32
  private var endpoints: [ReplicaID: Endpoint]
  private var secrets: ReplicaSecrets
  private let authentication: ReplicaAuthentication
  /// Of the links; there with `ReplicaAuthentication.tls`.
  private let security: LinkTLS?
  private let loop: any EventLoop
  private let logger: Logger
  /// Owns this object, so it lives longer.
  private unowned(unsafe) let delegate: any PeerMeshDelegate
  private var peers: [Peer]
  private var held: [HeldBody] = []
  private var spareBodies: [LinkBodyWriter] = []
  /// Bytes of the bodies held.
  private(set) var heldBytes = 0
  private var strangers: [ObjectIdentifier: AcceptedPeer] = [:]
  private var dialled: [UInt32: PeerSession] = [:]
  private var complaints: Set<String> = []
  /// Of the links that are no more: counters of a run never fall.
  private var endedTraffic: (UInt64, UInt64, UInt64) = (0, 0, 0)
  private var isStopped = false

  init(
    own: ReplicaID, membership: Membership, secrets: ReplicaSecrets, authentication: ReplicaAuthentication,
    security: LinkTLS? = nil, endpoints: [ReplicaID: Endpoint], loop: any EventLoop, logger: Logger,
    waitingLimitBytes: Int = 64 << 20, delegate: any PeerMeshDelegate
  ) {
    precondition((authentication == .tls) == (security != nil), "TLS links need certificates, others none")
    self.own = own
    membershipID = membership.id
    self.endpoints = endpoints
    self.waitingLimitBytes = waitingLimitBytes
    self.secrets = secrets
    self.authentication = authentication
    self.security = security
    self.loop = loop
    self.logger = logger
    self.delegate = delegate
    // Everybody whose keys we have may come; who is in the membership is looked for.
    let known = Set(secrets.replicas.map(\.replica)).union(membership.replicas)
    peers = known.filter { $0 != own }.sorted().map {
      Peer(id: $0, isMember: membership.position(of: $0) != nil)
    }
    for index in peers.indices { prepareDialer(index) }
  }

  private func prepareDialer(_ index: Int) {
    guard peers[index].isMember, peers[index].id < own, peers[index].dialer == nil,
      let endpoint = endpoints[peers[index].id]
    else { return }
    peers[index].dialer = Dialer(
      endpoint: endpoint, loop: loop, number: UInt32(index), security: security, client: self)
  }

  /// Members whose link is established.
  var connectedPeers: Int { peers.count { $0.isMember && $0.session?.isEstablished == true } }

  /// What peers with a link have said last of their membership.
  var memberships: [(replica: ReplicaID, id: Int32)] {
    peers.compactMap { peer in
      guard let session = peer.session, session.isEstablished else { return nil }
      return (peer.id, session.membershipID)
    }
  }

  /// Starts connecting to the replicas with lower ids.
  func start() {
    for peer in peers { peer.dialer?.start() }
  }

  /// How long a replica that is no longer a member keeps its link, to hear of it.
  static let farewell = TimeAmount.seconds(2)

  /// The membership is another one: what is sent from now on says so, new members are connected to, those that have left
  /// are told and let go, and what waited for somebody away is no longer meant. Whoever has left may connect to us again
  /// and is answered: it may have missed why.
  ///
  /// - Parameters:
  ///   - stated: the replica ports of members whose addresses are not those known so far.
  ///   - renewed: our secrets with the public keys of members that have none in those of before.
  func adopt(
    _ membership: Membership, endpoints stated: [ReplicaID: Endpoint] = [:],
    secrets renewed: ReplicaSecrets? = nil
  ) {
    membershipID = membership.id
    if let renewed { secrets = renewed }
    endpoints.merge(stated) { $1 }
    for replica in membership.replicas where replica != own && !peers.contains(where: { $0.id == replica }) {
      peers.append(Peer(id: replica, isMember: false))
    }
    for index in peers.indices {
      let wasMember = peers[index].isMember
      peers[index].isMember = membership.position(of: peers[index].id) != nil
      peers[index].waiting = ByteBuffer()
      if peers[index].isMember, !wasMember {
        prepareDialer(index)
        peers[index].dialer?.start()
      } else if !peers[index].isMember {
        if peers[index].session?.isEstablished == true {
          writer(to: index).appendMembership(membership.id)
        }
        if wasMember { takeLeave(of: index) }
      }
    }
    broadcast.appendMembership(membership.id)
  }

  private func takeLeave(of index: Int) {
    loop.assumeIsolated().scheduleTask(in: Self.farewell) { [weak self] in
      guard let self, !isStopped, !peers[index].isMember else { return }
      peers[index].dialer?.stop()
      peers[index].dialer = nil
      peers[index].session?.link.close()
    }
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

  /// Where to write what only this peer is told; nil for a stranger.
  func body(to peer: ReplicaID) -> LinkBodyWriter? {
    guard let index = peers.firstIndex(where: { $0.id == peer }) else { return nil }
    return writer(to: index)
  }

  private func writer(to index: Int) -> LinkBodyWriter {
    if let writer = peers[index].own { return writer }
    let writer = spareBodies.popLast() ?? LinkBodyWriter(capacity: 4 << 10)
    peers[index].own = writer
    return writer
  }

  /// Bytes of this turn's bodies so far.
  var openBytes: Int { peers.reduce(broadcast.byteCount) { $0 + ($1.own?.byteCount ?? 0) } }

  /// Sends this turn's bodies and flushes, each link once.
  func flush() {
    if !broadcast.isEmpty {
      seal(broadcast, for: nil)
      broadcast.removeAll()
    }
    for index in peers.indices {
      if let body = peers[index].own, !body.isEmpty {
        seal(body, for: index)
        body.removeAll()
      }
      peers[index].session?.link.flush()
    }
  }

  /// Puts this turn's bodies aside until `release`, in their order.
  func hold() {
    if !broadcast.isEmpty {
      hold(broadcast, for: nil)
      broadcast = spareBodies.popLast() ?? LinkBodyWriter()
    }
    for index in peers.indices {
      guard let body = peers[index].own, !body.isEmpty else { continue }
      hold(body, for: index)
      peers[index].own = nil
    }
  }

  private func hold(_ body: LinkBodyWriter, for index: Int?) {
    held.append(HeldBody(peer: index, body: body))
    heldBytes += body.byteCount
  }

  /// How many bodies are held.
  var heldCount: Int { held.count }

  /// Sends the first `count` of the bodies held.
  func release(_ count: Int) {
    guard count > 0 else { return }
    for item in held[..<count] {
      seal(item.body, for: item.peer)
      heldBytes -= item.body.byteCount
      item.body.removeAll()
      // A writer that a burst has blown up is let go.
      if spareBodies.count < 8, item.body.capacity <= 4 << 20 { spareBodies.append(item.body) }
    }
    held.removeFirst(count)
    for peer in peers { peer.session?.link.flush() }
  }

  /// Forgets what was to be sent.
  func discardOutput() {
    broadcast.removeAll()
    for peer in peers { peer.own?.removeAll() }
    held.removeAll()
    heldBytes = 0
  }

  /// Seals a body for one peer or for every member; who is away gets it later.
  private func seal(_ body: LinkBodyWriter, for only: Int?) {
    counters.bodiesSent += 1
    if let only { return seal(body, to: only) }
    for index in peers.indices where peers[index].isMember { seal(body, to: index) }
  }

  private func seal(_ body: LinkBodyWriter, to index: Int) {
    guard let session = peers[index].session, session.isEstablished else {
      return keep(body.bytes, for: index)
    }
    let byteCount = session.sealer!.byteCount(body: body.byteCount)
    let written = session.sealer!.seal(body, into: session.link.reserve(byteCount))
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
    if peers[index].waiting.readableBytes + body.count > waitingLimitBytes {
      counters.overflows += 1
      counters.droppedBodies += 1
      peers[index].waiting = ByteBuffer()
      return
    }
    peers[index].waiting.writeInteger(UInt32(body.count))
    peers[index].waiting.writeBytes(body)
  }

  // MARK: Connections

  /// TLS has refused a connection to us.
  func refused(_ refusal: LinkRefusal, from address: String) {
    guard !isStopped else { return }
    counters.refusedHandshakes += 1
    complain("refused a replica link from \(address): \(refusal)")
  }

  func dialer(_ dialer: Dialer, failed error: any Error) {
    guard let refusal = error as? LinkRefusal, !isStopped else { return }
    failedHandshake(dialer.number, "\(refusal)")
  }

  private func failedHandshake(_ number: UInt32, _ reason: String) {
    counters.failedHandshakes += 1
    complain("no link to replica \(peers[Int(number)].id.rawValue): \(reason)")
  }

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
    guard let session = dialled.removeValue(forKey: link.number) else { return }
    // In TLS 1.3 the peer judges our certificate after we have judged its own.
    if security != nil, !session.isEstablished, !isStopped {
      switch closure {
      case .refused(let refusal): failedHandshake(link.number, "\(refusal)")
      case .peer, .failed: failedHandshake(link.number, "it ended the connection without accepting us")
      case .local, .malformed, .overflow: break
      }
    }
    lost(session, closure)
  }

  private func newHello() -> LinkHello {
    LinkHello(
      replica: own, cluster: secrets.cluster, membershipID: membershipID, authentication: authentication)
  }

  private func greet(_ session: PeerSession) {
    session.link.queueLimitBytes = Self.queueLimitBytes
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
        if authentication == .tls, session.link.peer != hello.replica {
          throw .helloCertificate(hello.replica.rawValue, named: session.link.peer?.rawValue ?? -1)
        }
        let keys =
          authentication == .hmac ? try LinkKeys(secrets: secrets, own: session.hello, peer: hello) : nil
        session.peer = hello.replica
        session.membershipID = hello.membershipID
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
        guard body.isEmpty || delegate.mesh(self, body: body, from: session.peer!, on: session) else {
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
    // The membership may have changed since our hello.
    if session.hello.membershipID != membershipID { writer(to: index).appendMembership(membershipID) }
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
    // Who has left is let go, not lost.
    let isFarewell = closure == .local && !peers[index].isMember
    if !isFarewell { counters.lostLinks += 1 }
    // After the stop the delegate may be gone.
    guard !isStopped else { return }
    if !isFarewell { complain("lost the link to replica \(peers[index].id.rawValue): \(closure)") }
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
