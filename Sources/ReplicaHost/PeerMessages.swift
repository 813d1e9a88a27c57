// What the links bring: whole bursts of frames and bodies, each message checked, verified and given to the pure replica.

import Channels
import Hashing
import PBFT
import Replication
import Wire

extension HostedReplica: RequestReceiver {
  public func channels(
    _ channels: ClientChannels, received frame: ClientFrameView, on connection: ConnectionID
  ) -> Bool {
    if let kind = RequestKind(rawValue: frame.kind), isKnown(kind) {
      counters.requestFrames += 1
      guard hasAuthenticMAC(frame) else { return true }
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

  /// v1.2 has no ordered hashed requests.
  @inline(__always)
  private func isKnown(_ kind: RequestKind) -> Bool {
    kind != .orderedHashed || configuration.dialect.knowsOrderedHashed
  }

  public func channelsBurstBegins(_ channels: ClientChannels) { begin() }

  public func channelsBurstEnded(_ channels: ClientChannels) { turn.request() }
}

extension HostedReplica: PeerMeshDelegate {
  func meshBurstBegins(_ mesh: PeerMesh) { begin() }

  func meshBurstEnded(_ mesh: PeerMesh) { turn.request() }

  func meshPeersChanged(_ mesh: PeerMesh) {
    countPeers()
    haveLinksChanged = true
    turn.request()
  }

  func mesh(
    _ mesh: PeerMesh, body: UnsafeRawBufferPointer, from peer: ReplicaID, on session: PeerSession
  ) -> Bool {
    var reader = LinkBodyReader(body, dialect: configuration.dialect)
    while true {
      switch reader.next() {
      case .end: return true
      case .malformed(let error): return refuse(error, peer)
      case .message(let message):
        if session.membershipID == replica.membership.id {
          guard take(message, from: peer, on: session) else { return false }
        } else {
          takeFromAnotherMembership(message, from: peer, on: session)
        }
      }
    }
  }

  private func refuse(_ error: LinkError, _ peer: ReplicaID) -> Bool {
    say(.warning, "replica \(peer.rawValue) sent \(error)")
    inject(.invalid(.malformed, from: peer))
    return false
  }

  /// False when the link is to be closed.
  private func take(_ message: LinkMessage, from peer: ReplicaID, on session: PeerSession) -> Bool {
    switch message {
    case .prePrepare(let message): accept(message, from: peer)
    case .prepare(let prepare): inject(.message(.prepare(prepare), from: peer))
    case .commit(let commit): inject(.message(.commit(commit), from: peer))
    case .checkpoint(let checkpoint): inject(.message(.checkpoint(checkpoint), from: peer))
    case .suspect(let suspect): inject(.message(.suspect(suspect), from: peer))
    case .forward(let request):
      if let kind = RequestKind(rawValue: request.message.kind), kind.isOrdered {
        accept(request.message, kind: kind, connection: .none, forwarder: peer)
      }
    case .statement(let statement): return accept(statement, from: peer)
    case .status(let status):
      heard(status, from: peer)
      inject(.message(.status(status), from: peer))
    case .executed(let executed): inject(.message(.executed(executed), from: peer))
    case .fetchBatch(let digest): inject(.message(.fetchBatch(digest), from: peer))
    case .fetchState(let query): inject(.message(.fetchState(query), from: peer))
    case .batch(let batch):
      // Nobody asks for what is here already; an answer that comes twice is not even hashed.
      if !replica.holdsBatch(batch.digest) { accept(batch, from: peer) }
    case .statePart(let part): accept(part, from: peer)
    case .membership(let id): hear(id, from: peer, on: session)
    }
    return true
  }

  /// What replicas of two memberships still say to each other: where the state is, and the state itself.
  private func takeFromAnotherMembership(
    _ message: LinkMessage, from peer: ReplicaID, on session: PeerSession
  ) {
    switch message {
    case .checkpoint(let checkpoint): inject(.message(.checkpoint(checkpoint), from: peer))
    case .fetchState(let query): inject(.message(.fetchState(query), from: peer))
    case .statePart(let part): accept(part, from: peer)
    case .membership(let id): hear(id, from: peer, on: session)
    default: inject(.otherMembership(session.membershipID, from: peer))
    }
  }

  private func hear(_ membershipID: Int32, from peer: ReplicaID, on session: PeerSession) {
    session.membershipID = membershipID
    if !replica.isMember { inject(.peerMembership(membershipID, from: peer)) }
  }

  private func accept(_ part: LinkStatePart, from peer: ReplicaID) {
    inject(
      .statePart(
        StatePart(checkpoint: part.checkpoint, position: part.position, next: part.next, bytes: part.bytes),
        from: peer))
  }

  /// Decodes a view change or a new view and verifies every signature in it. False when the bytes are no statement.
  private func accept(_ message: LinkStatement, from peer: ReplicaID) -> Bool {
    let statement: SignedStatement
    do throws(StatementError) {
      statement = try StatementCoding.decode(message.bytes, limits: notaryLimits)
    } catch {
      return refuse(.statement(error), peer)
    }
    switch (statement.statement, message.type) {
    case (.viewChange(let viewChange), .viewChange):
      guard viewChange.replica == peer, notary.isAuthentic(statement, newViewBy: nil) else {
        inject(.invalid(.badAuthenticator, from: peer))
        return true
      }
      inject(.message(.viewChange(replica.admit(statement)), from: peer))
    case (.newView(let newView), .newView):
      guard notary.isAuthentic(statement, newViewBy: replica.membership.primary(of: newView.view)) else {
        inject(.invalid(.badAuthenticator, from: peer))
        return true
      }
      inject(.message(.newView(replica.admit(statement)), from: peer))
    case (.viewChange, _), (.newView, _):
      return refuse(.field(message.type), peer)
    }
    return true
  }
}
