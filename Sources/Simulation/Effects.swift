// What replicas decide becomes packets, bytes on disks and entries of the ledger.

import Hashing
import PBFT
import Replication

extension SimulatedCluster {
  /// Runs everything the last event has decided, and what answering it decides.
  @inline(__always)
  func runEffects(_ host: SimulatedHost, _ process: SimulatedProcess) {
    if !process.replica.effects.isEmpty { runAllEffects(host, process) }
  }

  @inline(never)
  private func runAllEffects(_ host: SimulatedHost, _ process: SimulatedProcess) {
    let replica = process.replica
    while !replica.effects.isEmpty {
      for effect in replica.effects { run(effect, host, replica) }
      replica.effectsDone()
      guard !host.signatures.isEmpty else { return }
      for index in host.signatures.indices {
        let (handle, signature) = host.signatures[index]
        replica.processEvent(.signed(handle, signature))
      }
      host.signatures.removeAll(keepingCapacity: true)
    }
  }

  private func run(_ effect: Replica.Effect, _ host: SimulatedHost, _ replica: Replica) {
    if host.isCrashing { return }
    switch effect {
    case .broadcast(let message): append(message, to: -1, host, replica)
    case .send(let message, let id): forEachHost(of: id) { append(message, to: $0, host, replica) }
    case .sign(let handle):
      let seal = StatementSeals.seal(replica.statement(handle).statement, by: host.id)
      host.signatures.append((handle, seal))
    case .sendBatch(let batch, let digest, let id):
      guard !replica.requests(of: batch).isEmpty else { return }
      let list = gather(batch, replica)
      var packet = packet(.batch, host, replica)
      packet.payload = list
      packet.digest = digest
      forEachHost(of: id) { leave(packet, to: $0, host) }
      lists.release(list)
    case .sendState(let excerpt, let id):
      let blob = blobs.add(Array(replica.stateBytes(excerpt)))
      var packet = packet(.statePart, host, replica)
      packet.payload = blob
      packet.digest = excerpt.checkpoint.digest
      packet.words = (excerpt.checkpoint.sequence.rawValue, excerpt.position)
      packet.next = excerpt.next
      forEachHost(of: id) { leave(packet, to: $0, host) }
      blobs.release(blob)
    case .persist(let offset, let count): write(replica.durableBytes(offset: offset, count: count), host)
    case .rotate(let segment): host.disk.beginSegment(segment)
    case .reply(let reply): answer(reply, host, replica)
    case .forward(let slot):
      guard let tagged = tagged(replica.data(of: slot), replica.authenticator(of: slot)) else {
        return
      }
      var packet = packet(.forward, host, replica)
      packet.words = (UInt64(tagged.request), tagged.tags)
      leave(packet, to: -1, host)
    case .executed(let sequence, let view, let count):
      trace.note(
        .execute, at: now, Int32(host.index), sequence.rawValue, view.rawValue ^ UInt64(count) &<< 32,
        "\(host.name)|n\(sequence.rawValue) v\(view.rawValue) requests=\(count)")
    default: observe(effect, host, replica)
    }
  }

  /// Effects that only say something.
  private func observe(_ effect: Replica.Effect, _ host: SimulatedHost, _ replica: Replica) {
    let index = Int32(host.index)
    switch effect {
    case .stable(let sequence):
      trace.note(.stable, at: now, index, sequence.rawValue, 0, "\(host.name)|n\(sequence.rawValue)")
    case .diverged(let sequence):
      trace.note(.diverge, at: now, index, sequence.rawValue, 0, "\(host.name)|n\(sequence.rawValue)")
      if host.isCorrect, plan.twinOf != Int(host.id.rawValue), plan.expectsSafety {
        ledger.fail(
          .agreement, at: now, "\(host.name) says that its state at n\(sequence.rawValue) is damaged")
      }
    case .suspected(let view):
      trace.note(.suspect, at: now, index, view.rawValue, 0, "\(host.name)|v\(view.rawValue)")
    case .viewLeft(let view, let next):
      trace.note(
        .leave, at: now, index, view.rawValue, next.rawValue,
        "\(host.name)|v\(view.rawValue) to v\(next.rawValue)")
    case .viewEntered(let view, let isPrimary):
      host.viewsEntered += 1
      trace.note(
        .enter, at: now, index, view.rawValue, isPrimary ? 1 : 0,
        "\(host.name)|v\(view.rawValue)\(isPrimary ? " primary" : "")")
    case .transferBegan(let sequence):
      trace.note(.transfer, at: now, index, sequence.rawValue, 1, "\(host.name)|begins n\(sequence.rawValue)")
    case .transferEnded(let sequence):
      host.transfers += 1
      trace.note(.transfer, at: now, index, sequence.rawValue, 2, "\(host.name)|has n\(sequence.rawValue)")
    case .recovered:
      host.isRecovering = false
      trace.note(.recover, at: now, index, 0, 0, "\(host.name)|votes again")
    case .membershipChanged(let id):
      reachedMembership = max(reachedMembership, id)
      reconfigureNext()
      trace.note(
        .membership, at: now, index, UInt64(UInt32(bitPattern: id)), 0,
        "\(host.name)|membership=\(id) replicas=\(replica.membership.replicas.map(\.rawValue))")
    case .clientRefused(let id): refused(id, by: host)
    default: break
    }
  }

  // MARK: Packets

  @inline(__always)
  private func packet(_ kind: PacketKind, _ host: SimulatedHost, _ replica: Replica) -> Packet {
    var packet = Packet(kind, from: Int32(truncatingIfNeeded: host.index), to: -1)
    packet.membershipID = replica.membership.id
    return packet
  }

  private func forEachHost(of id: ReplicaID, _ body: (Int) -> Void) {
    body(Int(id.rawValue))
    if let position = plan.twinOf, position == Int(id.rawValue) { body(plan.replicas) }
  }

  /// Sends a message to one host, or with -1 to all.
  private func append(
    _ message: Message, to destination: Int, _ host: SimulatedHost, _ replica: Replica
  ) {
    var packet = packet(.message, host, replica)
    packet.message = message
    switch message {
    case .prePrepare(let prePrepare):
      var sent = prePrepare
      sent.batch = .none
      packet.kind = .prePrepare
      packet.message = .prePrepare(sent)
      packet.payload = gather(prePrepare.batch, replica)
      leave(packet, to: destination, host)
      lists.release(packet.payload)
    case .viewChange(let handle), .newView(let handle):
      packet.payload = statements.add(replica.statement(handle))
      leave(packet, to: destination, host)
      statements.release(packet.payload)
    default: leave(packet, to: destination, host)
    }
  }

  /// The requests of a batch as a list with one reference.
  private func gather(_ batch: BatchHandle, _ replica: Replica) -> Int32 {
    let list = lists.make()
    for slot in replica.requests(of: batch) {
      if let tagged = tagged(replica.data(of: slot), replica.authenticator(of: slot)) {
        lists.append(tagged, to: list)
      }
    }
    return list
  }

  func tagged(_ data: UnsafeRawBufferPointer, _ authenticator: UnsafeRawBufferPointer) -> TaggedRequest? {
    guard let request = requests.index(of: data) else { return nil }
    let tags = authenticator.count >= 8 ? authenticator.loadUnaligned(as: UInt64.self) : 0
    return TaggedRequest(request: request, tags: tags)
  }

  func retain(_ packet: Packet) {
    guard packet.payload >= 0 else { return }
    switch packet.kind {
    case .prePrepare, .batch: lists.retain(packet.payload)
    case .message: statements.retain(packet.payload)
    case .statePart: blobs.retain(packet.payload)
    case .forward, .request, .reply: break
    }
  }

  /// Queues a packet for the end of the turn, with a reference of its own.
  private func leave(_ packet: Packet, to destination: Int, _ host: SimulatedHost) {
    retain(packet)
    var packet = packet
    packet.to = Int32(destination)
    host.outbox.append(Departure(packet: packet, isBroadcast: destination < 0))
  }

  private func answer(_ reply: Reply, _ host: SimulatedHost, _ replica: Replica) {
    let content = replica.replyContent(reply)
    var packet = Packet(.reply, from: Int32(host.index), to: 0)
    packet.next = UInt64(UInt32(bitPattern: reply.operationID))
    packet.membershipID = reply.membershipID
    packet.byteCount = Int16(content.count)
    if content.count >= 16 { packet.words = content.loadUnaligned(as: (UInt64, UInt64).self) }
    check(reply, packet, host)
    if reply.connections.0 != .none {
      packet.to = Int32(bitPattern: reply.connections.0.rawValue)
      host.outbox.append(Departure(packet: packet, isBroadcast: false))
    }
    if reply.connections.1 != .none {
      packet.to = Int32(bitPattern: reply.connections.1.rawValue)
      host.outbox.append(Departure(packet: packet, isBroadcast: false))
    }
  }

  /// What a correct replica answers is what it has done.
  private func check(_ reply: Reply, _ packet: Packet, _ host: SimulatedHost) {
    guard packet.byteCount >= 16, host.isCorrect, plan.twinOf != Int(host.id.rawValue) else { return }
    let request = requests[reply.operationID]
    guard request.client != Self.administrator else { return }
    ledger.told(
      request.operation, position: UInt64(bigEndian: packet.words.0), chain: packet.words.1, at: now)
  }

  // MARK: Disks

  private func write(_ bytes: UnsafeRawBufferPointer, _ host: SimulatedHost) {
    if host.writesUntilCrash > 0 {
      host.writesUntilCrash -= 1
      if host.writesUntilCrash == 0 {
        host.isCrashing = true
        guard host.crashesAfterWrite else { return }
      }
    }
    if !host.disk.write(bytes) {
      // A replica that cannot write must not go on as if it had.
      host.isCrashing = true
      host.crashLoss = .losesAll
    }
  }

  // MARK: The line out

  /// Everything queued leaves, past the adversary if there is one.
  func send(_ departures: inout ContiguousArray<Departure>, _ host: SimulatedHost) {
    if departures.isEmpty { return }
    for index in departures.indices {
      let departure = departures[index]
      note(departure.packet, leaving: host)
      if departure.isBroadcast, host.adversary == nil {
        transmitToOthers(departure.packet, host)
      } else if departure.isBroadcast {
        for other in 0..<hostCount where other != host.index && hosts[other].id != host.id {
          var packet = departure.packet
          packet.to = Int32(truncatingIfNeeded: other)
          dispatch(packet, host)
        }
      } else {
        dispatch(departure.packet, host)
      }
      release(departure.packet)
    }
    departures.removeAll(keepingCapacity: true)
  }

  @inline(__always)
  private func dispatch(_ packet: Packet, _ host: SimulatedHost) {
    if let adversary = host.adversary {
      adversary.send(packet, host, self)
    } else {
      transmit(packet, afterNanoseconds: 0)
    }
  }

  /// Puts a packet on its way; what it refers to is kept until it has arrived.
  func transmit(_ packet: Packet, afterNanoseconds delay: Int64) {
    if packet.kind == .reply {
      let arrival = network.clientPassage(at: now + delay, &chance)
      if arrival >= 0 {
        heap.push(
          .deliver, at: arrival, subject: packets.add(packet), detail: UInt32(bitPattern: packet.to))
      }
      return
    }
    guard hosts[Int(packet.to)].wasStarted else { return }
    var place: Int32 = -1
    transmit(packet, to: packet.to, afterNanoseconds: delay, sharing: &place)
  }

  /// To every other replica, as one packet.
  private func transmitToOthers(_ packet: Packet, _ host: SimulatedHost) {
    var place: Int32 = -1
    for other in 0..<hostCount
    where other != host.index && hosts[other].wasStarted && hosts[other].id != host.id {
      transmit(packet, to: Int32(truncatingIfNeeded: other), afterNanoseconds: 0, sharing: &place)
    }
  }

  @inline(__always)
  private func transmit(
    _ packet: Packet, to destination: Int32, afterNanoseconds delay: Int64, sharing place: inout Int32
  ) {
    hosts[Int(packet.from)].sent += 1
    messages &+= 1
    let passage =
      isBlocked(packet, to: destination)
      ? Passage() : network.passage(from: packet.from, to: destination, at: now &+ delay, &chance)
    guard passage.first >= 0 else {
      return trace.note(
        .lose, at: now, destination, packet.message.fingerprint, UInt64(UInt32(bitPattern: packet.from)),
        "\(hosts[Int(destination)].name)|\(describe(packet)) from \(hosts[Int(packet.from)].name)")
    }
    retain(packet)
    let detail = UInt32(bitPattern: destination)
    heap.push(
      .deliver, at: passage.first, subject: packets.add(packet, sharing: &place), detail: detail)
    if passage.second >= 0 {
      retain(packet)
      heap.push(
        .deliver, at: passage.second, subject: packets.add(packet, sharing: &place), detail: detail)
    }
  }
}
