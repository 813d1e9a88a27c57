// Runs what the pure replica has decided, in its order: messages into the bodies of this turn, replies to the connections
// they are for, records to the log. A statement is signed and given back before anything else happens.

import Channels
import Logging
import PBFT
import Replication
import Wire

extension HostedReplica {
  /// Runs what the last transitions decided, in order, until nothing is left.
  func runEffects() {
    while true {
      let effects = replica.effects
      guard !effects.isEmpty else { return }
      for effect in effects { run(effect) }
      let signatures = statementsToSign.isEmpty ? [] : signStatements()
      replica.effectsDone()
      turn.request()
      guard !signatures.isEmpty else { return }
      for (handle, signature) in signatures { manager.inject(.signed(handle, signature)) }
    }
  }

  private func signStatements() -> [(StatementHandle, StatementSignature)] {
    defer { statementsToSign.removeAll() }
    return statementsToSign.map { ($0, notary.sign(replica.statement($0).statement)) }
  }

  private func run(_ effect: Replica.Effect) {
    switch effect {
    case .reply(let reply): send(reply)
    case .broadcast(let message):
      write(message, to: mesh.broadcast)
      limitBodies()
    case .send(let message, let peer):
      if let body = mesh.body(to: peer) { write(message, to: body) }
    case .sign(let handle): statementsToSign.append(handle)
    case .sendBatch(let batch, let digest, let peer):
      guard let body = mesh.body(to: peer) else { return }
      let slots = replica.requests(of: batch)
      guard !slots.isEmpty else { return }
      body.beginBatch(digest: digest, requestCount: slots.count)
      appendRequests(slots, to: body)
      limitBodies(body)
    case .sendState(let part, let peer):
      guard let body = mesh.body(to: peer) else { return }
      body.appendStatePart(
        checkpoint: part.checkpoint, position: part.position, next: part.next, bytes: replica.stateBytes(part)
      )
      limitBodies(body)
    case .forward(let slot):
      mesh.broadcast.appendForward(
        data: replica.data(of: slot), authenticator: replica.authenticator(of: slot))
      limitBodies()
    case .persist(let offset, let count):
      files?.append(replica.durableBytes(offset: offset, count: count))
    case .rotate(let segment): files?.rotate(to: segment)
    case .recovered:
      isRecovering = false
      files?.markRecovered()
      note(.recovered)
      say(.notice, "takes part fully again: what it may have promised before is history")
    case .membershipDecided: membershipDecided()
    case .membershipChanged: membershipChanged()
    case .executed: hasExecuted = true
    case .stable, .rejected:
      // Counted by the replica; nothing to be done in the world.
      break
    case .suspected, .viewLeft, .viewEntered, .transferBegan, .transferEnded, .diverged, .clientRefused:
      tell(effect)
    }
  }

  /// What people are told.
  private func tell(_ effect: Replica.Effect) {
    switch effect {
    case .suspected(let view):
      note(.suspected(view))
      say(.notice, "suspects the primary of view \(view.rawValue)")
    case .viewLeft(let view, let next):
      note(.viewLeft(view, to: next))
      say(.notice, "leaves view \(view.rawValue) for view \(next.rawValue)")
    case .viewEntered(let view, let isPrimary):
      note(.viewEntered(view, isPrimary: isPrimary))
      say(.notice, "enters view \(view.rawValue)" + (isPrimary ? " as its primary" : ""))
    case .transferBegan(let sequence):
      note(.transferBegan(sequence))
      say(.notice, "is behind and fetches the state at \(sequence.rawValue)")
    case .transferEnded(let sequence):
      note(.transferEnded(sequence))
      say(.notice, "has taken over the state at \(sequence.rawValue)")
    case .diverged(let sequence):
      say(.error, "a quorum has another state at checkpoint \(sequence.rawValue)")
    case .clientRefused(let client):
      say(
        .warning, "refuses client \(client): its requests carry authenticators that not every replica accepts"
      )
    default: break
    }
  }

  func note(_ kind: HostEvent.Kind) {
    guard events.count < HostEvent.maximumCount else { return }
    events.append(HostEvent(kind: kind, instantNanoseconds: monotonicNanoseconds()))
  }

  func say(_ level: Logger.Level, _ what: @autoclosure () -> String) {
    logger.log(level: level, "replica \(configuration.id.rawValue): \(what())")
  }

  private func write(_ message: Message, to body: LinkBodyWriter) {
    switch message {
    case .prePrepare(let prePrepare):
      let slots = replica.requests(of: prePrepare.batch)
      body.begin(prePrepare, requestCount: slots.count)
      appendRequests(slots, to: body)
    case .prepare(let prepare): body.append(prepare)
    case .commit(let commit): body.append(commit)
    case .checkpoint(let checkpoint): body.append(checkpoint)
    case .suspect(let suspect): body.append(suspect)
    case .viewChange(let handle), .newView(let handle):
      if !body.append(replica.statement(handle)) {
        say(.error, "a view change is larger than a frame: the log of L batches is too long for this cluster")
      }
    case .status(let status): body.append(status)
    case .executed(let executed): body.append(executed)
    case .fetchBatch(let digest): body.appendFetchBatch(digest)
    case .fetchState(let query): body.append(query)
    }
  }

  private func appendRequests(_ slots: UnsafeBufferPointer<RequestSlot>, to body: LinkBodyWriter) {
    for slot in slots {
      body.appendRequest(data: replica.data(of: slot), authenticator: replica.authenticator(of: slot))
    }
  }

  /// A turn's bodies beyond this many bytes leave before its end: far below the largest frame.
  static let earlyFlushBytes = 8 << 20

  @inline(__always)
  private func limitBodies() { limitBodies(mesh.broadcast) }

  private func limitBodies(_ body: LinkBodyWriter) {
    guard body.byteCount > Self.earlyFlushBytes else { return }
    if holdsOutput { mesh.hold() } else { mesh.flush() }
  }

  // MARK: Replies

  private func send(_ reply: Reply) {
    switch reply.form {
    case .service: send(reply, replica.replyContent(reply))
    case .membership:
      // The first such replies of a membership come before the effect that tells of it.
      if viewID != replica.membership.id { renewView() }
      viewBytes.withUnsafeBytes { send(reply, $0) }
    case .reconfiguration:
      reconfigurationReply(replica.replyContent(reply)).withUnsafeBytes { send(reply, $0) }
    }
  }

  private func send(_ reply: Reply, _ content: UnsafeRawBufferPointer) {
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

  /// Writes a frame for a client: to its connection, or aside until the disk has what it rests on.
  func send(
    _ header: ClientFrameHeader, _ content: UnsafeRawBufferPointer?, to connection: ConnectionID,
    client: Int32
  ) -> Bool {
    let capacity = ClientFrame.byteCount(
      content: content?.count ?? 0, signature: verifier.replyTagByteCount, dialect: configuration.dialect,
      useMACs: configuration.usesMACs)
    if let replies = heldReplies {
      guard replies.write(capacity, to: connection, { fill($0, header, content, client) }) else {
        counters.repliesDropped += 1
        return false
      }
      return true
    }
    guard let link = clients.linkForReply(connection) else { return false }
    link.commit(fill(link.reserve(capacity), header, content, client))
    return true
  }

  @inline(__always)
  private func fill(
    _ output: UnsafeMutableRawBufferPointer, _ header: ClientFrameHeader, _ content: UnsafeRawBufferPointer?,
    _ client: Int32
  ) -> Int {
    ClientFrame.encode(
      into: output, header: header, content: content, dialect: configuration.dialect,
      useMACs: configuration.usesMACs)
    channelKeys?.seal(output, client: client, replica: configuration.id.rawValue)
    return verifier.tagReply(output, to: client)
  }
}
