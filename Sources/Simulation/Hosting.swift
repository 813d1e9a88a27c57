// What a host does for its replica (as `HostedReplica` does in the world): starts it, hands events over, runs effects,
// ends turns, writes to disk before what depends on it leaves.

import Events
import Hashing
import PBFT
import Replication

extension SimulatedCluster {
  // MARK: Starting

  /// A first start, with a formatted disk.
  func boot(_ host: SimulatedHost, as id: ReplicaID, in membership: Membership) {
    host.reset(id: id, drift: plan.clockDrift[host.index])
    host.firstMembership = membership
    let roles = plan.roles[host.index]
    if !roles.isEmpty {
      let adversary = Adversary(roles: roles, seed: mixed(plan.seed, UInt64(host.index) + 77))
      host.adversary = adversary
      heap.push(.adversary, at: now + 1_000_000, subject: Int32(host.index))
    }
    start(host, recovering: false)
  }

  /// A start of the process, with whatever is on its disk.
  func start(_ host: SimulatedHost, recovering: Bool) {
    host.forgetProcess()
    host.isUp = true
    host.wasStarted = true
    let timers = TimerFactory<Replica.Event>()
    timers.advance(to: host.localTime(now))
    let replica = Replica(
      configuration: plan.configuration, id: host.id, membership: host.firstMembership,
      service: Service.make(name: "log", replyBytes: 0)!, timers: timers)
    let manager = EventManager<Replica>(queueCapacity: 16, timers: timers)
    manager.setReceiver(replica)
    manager.start()
    let process = SimulatedProcess(replica, manager, timers)
    host.process = process
    let mustRecover = restore(host) || recovering
    host.isRecovering = mustRecover
    host.lastExecuted = replica.lastLink.sequence.rawValue
    begin(host, process)
    inject(.start(recovering: mustRecover), host, process)
    endTurn(host, process)
  }

  /// Reads the disk back into a replica that has not started. Returns whether it must start as recovering.
  private func restore(_ host: SimulatedHost) -> Bool {
    guard host.crashes > 0 else { return false }
    guard plan.disk != .none else { return true }
    if plan.disk == .sync, host.disk.isStarting {
      // The first life begins once more: it ended before its first records were on disk, and before it had said anything.
      host.disk.forget()
      return false
    }
    let scan = DurableScan(
      host.disk.segments.map { segment in
        let zeros = [UInt8](repeating: 0, count: SimulatedDisk.preallocated)
        return DurableSegment(
          number: segment.number, bytes: segment.bytes + (segment.isCutShort ? [] : zeros))
      })
    // A started replica without any log, or one whose writes nobody waited for, may have promised anything.
    let isEmpty = scan.verdict == .empty
    let report = host.replica.recover(from: scan)
    return isEmpty || !report.mayVote || plan.disk == .async
  }

  // MARK: Turns

  @inline(__always)
  func begin(_ host: SimulatedHost, _ process: SimulatedProcess) {
    let local = host.localTime(now)
    process.timers.advance(to: local)
    // Most arrivals find no timer expired, and nothing is ever queued: then a turn delivers nothing.
    guard process.timers.hasFired else { return }
    process.manager.runTurn(at: local)
    runEffects(host, process)
  }

  @inline(__always)
  func inject(_ event: Replica.Event, _ host: SimulatedHost, _ process: SimulatedProcess) {
    // As the manager injects it: a replica never returns another event.
    process.replica.processEvent(event)
    runEffects(host, process)
  }

  /// After an arrival: the turn ends now or a little later, with what else has come by then.
  @inline(__always)
  func closeTurn(_ host: SimulatedHost, _ process: SimulatedProcess) {
    guard turnNanoseconds > 0, !host.isCrashing else { return endTurn(host, process, hasBegun: true) }
    guard !host.isTurnOpen else { return }
    host.isTurnOpen = true
    heap.push(.turnEnd, at: now &+ turnNanoseconds, subject: Int32(truncatingIfNeeded: host.index))
  }

  func endTurn(_ host: SimulatedHost, _ process: SimulatedProcess, hasBegun: Bool = false) {
    host.isTurnOpen = false
    if !host.isCrashing {
      if !hasBegun { begin(host, process) }
      inject(.endOfTurn, host, process)
    }
    if host.isCrashing { return crash(host, host.crashLoss) }
    depart(host)
    if dieIfSpoken(host) { return }
    arm(host, process)
    observe(host, process)
  }

  /// What the turn has to say leaves, or waits for the disk.
  private func depart(_ host: SimulatedHost) {
    if diskMode == .sync, host.isWriting || host.disk.hasUnsynchronised {
      host.waiting.append(contentsOf: host.outbox)
      host.outbox.removeAll(keepingCapacity: true)
      startWrite(host)
    } else {
      send(&host.outbox, host)
      if diskMode == .async { startWrite(host) }
    }
  }

  private func startWrite(_ host: SimulatedHost) {
    guard !host.isWriting else { return }
    guard host.disk.hasUnsynchronised else { return send(&host.waiting, host) }
    host.isWriting = true
    host.writeNumber &+= 1
    swap(&host.covered, &host.waiting)
    host.disk.beginSynchronisation()
    heap.push(
      .diskDone, at: now + plan.diskNanoseconds / 2 + chance.nanoseconds(below: plan.diskNanoseconds),
      subject: Int32(host.index), detail: host.writeNumber)
  }

  func writeDone(_ host: SimulatedHost, _ number: UInt32) {
    guard host.isUp, host.isWriting, host.writeNumber == number else { return }
    host.isWriting = false
    host.disk.endSynchronisation()
    send(&host.covered, host)
    if dieIfSpoken(host) { return }
    startWrite(host)
  }

  /// One timer event for the earliest deadline.
  private func arm(_ host: SimulatedHost, _ process: SimulatedProcess) {
    // Mostly nothing is due before what the host waits for already. A clock that drifts is rounded by its drift at most,
    // which is below 64.
    let bound = host.globalTime(process.timers.noExpiryBefore, now: now) &- 64
    guard process.timers.hasFired || bound < host.armedAt else { return }
    guard let deadline = process.timers.earliestDeadline else { return }
    let due = max(host.globalTime(deadline, now: now), host.pausedUntil)
    guard due < host.armedAt else { return }
    host.armedAt = due
    heap.push(.timer, at: due, subject: Int32(truncatingIfNeeded: host.index))
  }

  func timerDue(_ host: SimulatedHost, _ time: Int64) {
    guard host.isUp, host.armedAt == time else { return }
    host.armedAt = .max
    host.withProcess { timerDue(host, $0) }
  }

  @inline(__always)
  private func timerDue(_ host: SimulatedHost, _ process: SimulatedProcess) {
    guard let deadline = process.timers.earliestDeadline else { return }
    if now < host.pausedUntil || deadline > host.localTime(now) { return arm(host, process) }
    endTurn(host, process)
  }

  /// The checkers' look at what the turn has done.
  @inline(__always)
  private func observe(_ host: SimulatedHost, _ process: SimulatedProcess) {
    let link = process.replica.lastLink
    guard link.sequence.rawValue != host.lastExecuted else { return }
    host.lastExecuted = link.sequence.rawValue
    guard host.isCorrect, plan.twinOf != Int(host.id.rawValue) else { return }
    ledger.executed(link.sequence.rawValue, chain: link.digest, by: Int32(host.index), at: now)
  }

  func checkBounds() {
    let host = hosts[(events &>> 8) % max(1, plan.hosts)]
    guard let replica = host.process?.replica else { return }
    let status = replica.status
    let configuration = plan.configuration
    if status.storedRequests > configuration.maximumStoredRequests * 9 / 8
      || status.heldRequests > configuration.maximumHeldRequests
      || status.heldBytes > configuration.maximumHeldBytes || status.clients > configuration.maximumClients
      || status.isMember
        && status.lastExecuted.rawValue > status.stableCheckpoint.sequence.rawValue
          + UInt64(configuration.logSize)
    {
      ledger.fail(
        .bounds, at: now,
        "\(host.name) stored=\(status.storedRequests) held=\(status.heldRequests) bytes=\(status.heldBytes)")
    }
  }

  // MARK: Arrivals

  func deliver(_ index: Int32, to destination: UInt32) {
    var packet = packets.take(index)
    if packet.kind == .reply { return receiveAnswer(packet) }
    packet.to = Int32(bitPattern: destination)
    withHost(packet.to) { deliver(packet, to: $0) }
  }

  @inline(__always)
  private func deliver(_ packet: Packet, to host: SimulatedHost) {
    guard host.isUp else { return release(packet) }
    if host.pausedUntil > now {
      heap.push(
        .deliver, at: host.pausedUntil + Int64(events & 1_023), subject: packets.add(packet),
        detail: UInt32(bitPattern: packet.to))
      return
    }
    host.withProcess { deliver(packet, to: host, $0) }
  }

  @inline(__always)
  private func deliver(_ packet: Packet, to host: SimulatedHost, _ process: SimulatedProcess) {
    if let adversary = host.adversary {
      if adversary.ignores(packet, self) { return release(packet) }
      adversary.overhear(packet, host, self)
    }
    begin(host, process)
    if !host.isCrashing { hand(packet, to: host, process) }
    release(packet)
    closeTurn(host, process)
  }

  func release(_ packet: Packet) {
    guard packet.payload >= 0 else { return }
    switch packet.kind {
    case .prePrepare, .batch: lists.release(packet.payload)
    case .message: statements.release(packet.payload)
    case .statePart: blobs.release(packet.payload)
    case .forward, .request, .reply: break
    }
  }

  private func hand(_ packet: Packet, to host: SimulatedHost, _ process: SimulatedProcess) {
    let replica = process.replica
    if packet.kind == .request {
      return accept(
        TaggedRequest(request: Int32(packet.words.0), tags: packet.words.1),
        ConnectionID(rawValue: UInt32(bitPattern: packet.from)), host, process)
    }
    let sender = hosts[Int(packet.from)].id
    traceDelivery(packet, host)
    if packet.membershipID != replica.membership.id, !passesMemberships(packet) {
      return inject(.otherMembership(packet.membershipID, from: sender), host, process)
    }
    switch packet.kind {
    case .request, .reply: break
    case .forward:
      accept(
        TaggedRequest(request: Int32(packet.words.0), tags: packet.words.1), .none, forwarder: sender, host,
        process)
    case .prePrepare: acceptBatch(packet, sender, host, process)
    case .batch:
      replica.beginBatch(fetched: true)
      for request in lists[packet.payload] where !append(request, process) {
        replica.abandonBatch()
        return inject(.invalid(.batchTooLarge, from: sender), host, process)
      }
      inject(.fetchedBatch(packet.digest, replica.finishBatch().handle, from: sender), host, process)
    case .statePart:
      blobs[packet.payload].withUnsafeBytes { bytes in
        let checkpoint = Checkpoint(sequence: SequenceNumber(packet.words.0), digest: packet.digest)
        inject(
          .statePart(
            StatePart(checkpoint: checkpoint, position: packet.words.1, next: packet.next, bytes: bytes),
            from: sender), host, process)
      }
    case .message:
      guard packet.payload >= 0 else { return inject(.message(packet.message, from: sender), host, process) }
      let statement = statements[packet.payload]
      guard let signer = signer(of: statement), StatementSeals.isAuthentic(statement, signer: signer) else {
        return inject(.invalid(.badAuthenticator, from: sender), host, process)
      }
      let handle = replica.admit(statement)
      if case .viewChange = packet.message {
        guard signer == sender else {
          return inject(.invalid(.badAuthenticator, from: sender), host, process)
        }
        inject(.message(.viewChange(handle), from: sender), host, process)
      } else {
        inject(.message(.newView(handle), from: sender), host, process)
      }
    }
  }

  /// What is heard from replicas of another membership too.
  private func passesMemberships(_ packet: Packet) -> Bool {
    switch packet.kind {
    case .statePart: return true
    case .message:
      switch packet.message {
      case .checkpoint, .fetchState: return true
      default: return false
      }
    case .prePrepare, .forward, .batch, .request, .reply: return false
    }
  }

  private func signer(of statement: SignedStatement) -> ReplicaID? {
    switch statement.statement {
    case .viewChange(let viewChange): return viewChange.replica
    case .newView(let newView):
      return memberships.first { $0.id == newView.membershipID }?.primary(of: newView.view)
    }
  }

  /// A client's request, from its client or forwarded.
  private func accept(
    _ tagged: TaggedRequest, _ connection: ConnectionID, forwarder: ReplicaID? = nil, _ host: SimulatedHost,
    _ process: SimulatedProcess
  ) {
    let request = requests[tagged.request]
    let replica = process.replica
    switch replica.screen(
      client: request.client, session: request.session, sequence: request.sequence, kind: request.kind,
      forwarded: connection == .none)
    {
    case .refused: break
    case .stored(let slot):
      if requests.index(of: replica.data(of: slot)) == tagged.request {
        inject(.resent(slot, connection: connection), host, process)
      }
    case .executed: withArrived(tagged, connection) { inject(.request($0), host, process) }
    case .unknown:
      guard requests.isAuthentic(tagged, at: Int(host.id.rawValue)) || isVouched(tagged, by: forwarder, host)
      else { return }
      withArrived(tagged, connection) { inject(.request($0), host, process) }
    }
  }

  /// Whether f+1 replicas have passed on a request whose tag is not valid here.
  private func isVouched(_ tagged: TaggedRequest, by forwarder: ReplicaID?, _ host: SimulatedHost) -> Bool {
    guard let forwarder, !plan.isSigned else { return false }
    return host.replica.isVouched(requests[tagged.request].digest, by: forwarder)
  }

  @inline(__always)
  func withArrived<Result>(
    _ tagged: TaggedRequest, _ connection: ConnectionID, _ body: (ArrivedRequest) -> Result
  ) -> Result {
    let request = requests[tagged.request]
    return withUnsafeBytes(of: tagged.tags) { tags in
      body(
        ArrivedRequest(
          client: request.client, session: request.session, sequence: request.sequence,
          operationID: tagged.request, kind: request.kind, replyServer: -1,
          membershipID: request.membershipID, digest: request.digest, data: requests.data(tagged.request),
          contentOffset: RequestTable.contentOffset, authenticator: tags, connection: connection))
    }
  }

  /// Appends a request to the batch being built; false when it is too much.
  private func append(_ tagged: TaggedRequest, _ process: SimulatedProcess) -> Bool {
    let replica = process.replica
    let request = requests[tagged.request]
    if let slot = replica.storedRequest(
      client: request.client, session: request.session, sequence: request.sequence),
      requests.index(of: replica.data(of: slot)) == tagged.request
    {
      return replica.appendToBatch(slot)
    }
    return withArrived(tagged, .none) { replica.appendToBatch($0) }
  }

  private func acceptBatch(
    _ packet: Packet, _ sender: ReplicaID, _ host: SimulatedHost, _ process: SimulatedProcess
  ) {
    guard case .prePrepare(var prePrepare) = packet.message else { return }
    let replica = process.replica
    let accused = accusedClients(packet.payload, host)
    // A signature says the same to everybody: the primary should not have proposed it.
    guard accused.isEmpty || !plan.isSigned else {
      return inject(.invalid(.badAuthenticator, from: sender), host, process)
    }
    replica.beginBatch(fetched: !accused.isEmpty)
    for tagged in lists[packet.payload] where !append(tagged, process) {
      replica.abandonBatch()
      return inject(.invalid(.batchTooLarge, from: sender), host, process)
    }
    prePrepare.batch = replica.finishBatch().handle
    guard !accused.isEmpty else { return inject(.prePrepare(prePrepare, from: sender), host, process) }
    inject(.prePrepareRefused(prePrepare, from: sender), host, process)
    for client in accused {
      inject(
        .accuse(client: client, view: prePrepare.view, sequence: prePrepare.sequence, from: sender), host,
        process)
    }
  }

  /// Every client of the batch with a request that is not authentic here and not held already.
  private func accusedClients(_ list: Int32, _ host: SimulatedHost) -> [Int32] {
    var accused: [Int32] = []
    for tagged in lists[list] where !requests.isAuthentic(tagged, at: Int(host.id.rawValue)) {
      let request = requests[tagged.request]
      let held = host.replica.storedRequest(
        client: request.client, session: request.session, sequence: request.sequence)
      if let held, requests.index(of: host.replica.data(of: held)) == tagged.request { continue }
      if !accused.contains(request.client) { accused.append(request.client) }
    }
    return accused
  }

  private func traceDelivery(_ packet: Packet, _ host: SimulatedHost) {
    trace.note(
      .deliver, at: now, packet.to,
      packet.kind == .message || packet.kind == .prePrepare
        ? packet.message.fingerprint : packet.words.0 ^ packet.digest.words.0,
      UInt64(UInt32(bitPattern: packet.from)) | UInt64(packet.kind.rawValue) &<< 32,
      "\(host.name)|\(describe(packet)) from \(hosts[Int(packet.from)].name)")
  }

  func describe(_ packet: Packet) -> String {
    switch packet.kind {
    case .message:
      guard packet.payload >= 0 else { return packet.message.brief }
      return describe(statements[packet.payload])
    case .prePrepare: return packet.message.brief + " requests=\(lists[packet.payload].map(\.request))"
    case .forward: return "forward request=\(packet.words.0)"
    case .batch: return "batch d=\(short(packet.digest)) requests=\(lists[packet.payload].map(\.request))"
    case .statePart: return "state n\(packet.words.0) at=\(packet.words.1) next=\(packet.next)"
    case .request, .reply: return ""
    }
  }

  private func describe(_ statement: SignedStatement) -> String {
    func claims(_ claims: [Claim]) -> String {
      claims.map { "n\($0.sequence.rawValue):v\($0.view.rawValue):\(short($0.digest))" }.joined(
        separator: " ")
    }
    switch statement.statement {
    case .viewChange(let content):
      return "view-change v\(content.view.rawValue) of r\(content.replica.rawValue) "
        + "h=\(content.stable.sequence.rawValue) C=\(content.checkpoints.map(\.sequence.rawValue)) "
        + "P=[\(claims(content.prepared))] Q=[\(claims(content.prePrepared))]"
    case .newView(let content):
      return "new-view v\(content.view.rawValue) start=\(content.start.sequence.rawValue) "
        + "V=\(content.viewChanges.map(\.content.replica.rawValue)) X=\(content.digests.map(short))"
    }
  }
}
