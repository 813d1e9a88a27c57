// A few whole replicas, their clients, disks and the messages between them, in memory and in virtual time.
// Every delivery is deterministic; a test says what is lost or held back, who lies, and who is restarted
// with which disk.

import Events
import Hashing
import PBFT
import Replication

final class ReplicaCluster {
  private(set) var replicas: [Replica] = []
  private(set) var managers: [EventManager<Replica>] = []
  private(set) var factories: [TimerFactory<Replica.Event>] = []
  private(set) var now = Instant.zero
  let configuration: ReplicaConfiguration
  let initialMembership: Membership
  private let service: Service
  var flights: [Flight] = []
  var answers: [[Answer]]
  var executed: [[Executed]]
  var stable: [[SequenceNumber]]
  var suspected: [[View]]
  var entered: [[View]]
  var forwarded: [[Request]]
  var transfers: [[SequenceNumber]]
  var recovered: [Bool]
  /// What each replica has on disk.
  var disks: [[DurableSegment]]
  var proposals: [Int] = []
  /// Every effect in words, for comparing two runs.
  var trace: [String] = []
  /// What the network loses.
  var isLost: (Flight) -> Bool = { _ in false }
  /// What the network makes of a packet: a faulty sender is written here.
  var altered: (Flight) -> Packet = { $0.packet }
  /// Requests whose authenticator this replica finds wrong.
  var isForged: (Request, _ replica: Int) -> Bool = { _, _ in false }
  /// Replicas that are down.
  private(set) var isDown: Set<Int> = []
  /// Zero bytes after the last record on disk.
  static let trailingZeros = 64

  /// Replicas beyond the membership of `replicas` are made by `add`.
  init(
    replicas count: Int = 4, model: FaultModel = .byzantine, membershipID: Int32 = 0, service: String = "log",
    replyBytes: Int = 0, _ change: (inout ReplicaConfiguration) -> Void = { _ in }
  ) {
    var configuration = ReplicaConfiguration()
    configuration.batchSize = 4
    configuration.checkpointPeriod = 4
    configuration.maximumClients = 1_000
    change(&configuration)
    precondition(configuration.validate().isEmpty, "\(configuration.validate())")
    self.configuration = configuration
    initialMembership = Membership(
      id: membershipID, replicas: (0..<Int32(count)).map { ReplicaID($0) },
      faults: model.maximumFaults(replicas: count), model: model)!
    self.service = Service.make(name: service, replyBytes: replyBytes)!
    answers = []
    executed = []
    stable = []
    suspected = []
    entered = []
    forwarded = []
    transfers = []
    recovered = []
    disks = []
    for _ in 0..<count { add(initialMembership) }
  }

  // MARK: Replicas

  /// One more replica, fresh, that begins with this membership.
  func add(_ membership: Membership) {
    answers.append([])
    executed.append([])
    stable.append([])
    suspected.append([])
    entered.append([])
    forwarded.append([])
    transfers.append([])
    recovered.append(false)
    disks.append([])
    make(replicas.count, membership)
    managers[managers.count - 1].inject(.start(recovering: false))
    runEffects(of: replicas.count - 1)
  }

  private func make(_ index: Int, _ membership: Membership) {
    let factory = TimerFactory<Replica.Event>()
    factory.advance(to: now)
    let replica = Replica(
      configuration: configuration, id: ReplicaID(Int32(index)), membership: membership, service: service,
      timers: factory)
    let manager = EventManager<Replica>(queueCapacity: 1_024, timers: factory)
    manager.setReceiver(replica)
    manager.start()
    if index == replicas.count {
      replicas.append(replica)
      managers.append(manager)
      factories.append(factory)
    } else {
      replicas[index] = replica
      managers[index] = manager
      factories[index] = factory
    }
  }

  /// The replica stops and loses its memory.
  func crash(_ index: Int) {
    isDown.insert(index)
    flights.removeAll { $0.from == index || $0.to == index }
  }

  /// The replica begins again with what is on its disk; `recovering` as a host would find it by its marker.
  @discardableResult
  func restart(_ index: Int, recovering: Bool = false) -> RecoveryReport {
    crash(index)
    isDown.remove(index)
    make(index, initialMembership)
    executed[index] = []
    let report = replicas[index].recover(from: DurableScan(disks[index]))
    managers[index].inject(.start(recovering: recovering || !report.mayVote))
    runEffects(of: index)
    return report
  }

  // MARK: Clients

  /// A client's request reaches these replicas (all, unless said otherwise), each on the connection named.
  func submit(_ request: Request, to indices: [Int]? = nil, connection: UInt32 = 1) {
    for index in indices ?? Array(replicas.indices) where !isDown.contains(index) {
      arrive(request, at: index, connection: ConnectionID(rawValue: connection))
    }
  }

  /// Sequences `sequences` of one session of each of `clients`, to all replicas.
  func submit(
    clients: Range<Int32>, session: Int32 = 1, sequences: ClosedRange<Int32> = 0...0, to indices: [Int]? = nil
  ) {
    for sequence in sequences {
      for client in clients {
        submit(Request(client: client, session: session, sequence: sequence), to: indices)
      }
    }
  }

  /// Does what a host does with a client's frame.
  @discardableResult
  func arrive(
    _ request: Request, at index: Int, connection: ConnectionID, forwarder: ReplicaID? = nil
  ) -> Screening {
    let replica = replicas[index]
    let screening = replica.screen(
      client: request.client, session: request.session, sequence: request.sequence, kind: request.kind,
      forwarded: connection == .none)
    switch screening {
    case .unknown where isForged(request, index) && !isVouched(request, at: index, by: forwarder): break
    case .unknown, .executed:
      request.withArrived(connection) { managers[index].inject(.request($0)) }
    case .stored(let slot):
      if Array(replica.data(of: slot)) == request.bytes {
        managers[index].inject(.resent(slot, connection: connection))
      }
    case .refused: break
    }
    runEffects(of: index)
    return screening
  }

  private func isVouched(_ request: Request, at index: Int, by forwarder: ReplicaID?) -> Bool {
    guard let forwarder else { return false }
    return request.bytes.withUnsafeBytes { replicas[index].isVouched(.sha256($0), by: forwarder) }
  }

  // MARK: The network and time

  /// Ends every replica's turn and delivers what follows until nothing is under way but what `held` names.
  func run(holding held: (Flight) -> Bool = { _ in false }) {
    endTurns()
    var rounds = 0
    while true {
      flights.removeAll { isLost($0) || isDown.contains($0.to) || isDown.contains($0.from) }
      let due = flights.filter { !held($0) }
      guard !due.isEmpty else { return }
      rounds += 1
      precondition(rounds < 10_000, "messages without end")
      flights.removeAll { !held($0) }
      for flight in due {
        deliver(altered(flight), from: flight.from, to: flight.to, membershipID: flight.membershipID)
        endTurn(flight.to)
      }
    }
  }

  /// An event that only hosts bring about.
  func inject(_ event: Replica.Event, to index: Int) {
    managers[index].inject(event)
    runEffects(of: index)
  }

  func endTurns() { for index in replicas.indices { endTurn(index) } }

  func endTurn(_ index: Int) {
    guard !isDown.contains(index) else { return }
    managers[index].runTurn(at: now)
    runEffects(of: index)
    managers[index].inject(.endOfTurn)
    runEffects(of: index)
  }

  /// Moves virtual time, timer by timer, and lets follow what follows.
  func advance(byNanoseconds nanoseconds: Int64, holding held: (Flight) -> Bool = { _ in false }) {
    let end = now + nanoseconds
    while let next = nextDeadline, next <= end {
      now = max(now, next)
      run(holding: held)
    }
    now = end
    run(holding: held)
  }

  private var nextDeadline: Instant? {
    factories.indices.filter { !isDown.contains($0) }.compactMap { factories[$0].earliestDeadline }.min()
  }

  func deliver(_ packet: Packet, from: Int, to: Int, membershipID: Int32? = nil) {
    guard !isDown.contains(to) else { return }
    let replica = replicas[to]
    let sender = ReplicaID(Int32(from))
    defer { runEffects(of: to) }
    if let membershipID, membershipID != replica.membership.id, !packet.isOfAnyMembership {
      managers[to].inject(.otherMembership(membershipID, from: sender))
      return
    }
    switch packet {
    case .message(let message): managers[to].inject(.message(message, from: sender))
    case .forward(let request): arrive(request, at: to, connection: .none, forwarder: sender)
    case .prePrepare(var prePrepare, let requests):
      let forged = requests.filter { isForged($0, to) && !isHeld($0, at: to) }
      guard let batch = build(requests, at: to, from: sender, fetched: !forged.isEmpty) else { return }
      prePrepare.batch = batch
      guard !forged.isEmpty else { return managers[to].inject(.prePrepare(prePrepare, from: sender)) }
      managers[to].inject(.prePrepareRefused(prePrepare, from: sender))
      for request in forged {
        managers[to].inject(
          .accuse(
            client: request.client, view: prePrepare.view, sequence: prePrepare.sequence, from: sender))
      }
    case .batch(let digest, let requests):
      guard let batch = build(requests, at: to, from: sender, fetched: true) else { return }
      managers[to].inject(.fetchedBatch(digest, batch, from: sender))
    case .viewChange(let signed), .newView(let signed):
      guard isAuthentic(signed, from: sender) else {
        managers[to].inject(.invalid(.badAuthenticator, from: sender))
        return
      }
      let handle = replica.admit(signed)
      managers[to].inject(
        .message(packet.isViewChange ? .viewChange(handle) : .newView(handle), from: sender))
    case .statePart(let checkpoint, let position, let next, let bytes):
      bytes.withUnsafeBytes {
        managers[to].inject(
          .statePart(
            StatePart(checkpoint: checkpoint, position: position, next: next, bytes: $0), from: sender))
      }
    }
  }

  /// Whether the replica holds exactly this request, which it has found authentic then.
  private func isHeld(_ request: Request, at index: Int) -> Bool {
    let replica = replicas[index]
    guard
      let slot = replica.storedRequest(
        client: request.client, session: request.session, sequence: request.sequence)
    else { return false }
    return Array(replica.data(of: slot)) == request.bytes
  }

  private func build(_ requests: [Request], at index: Int, from sender: ReplicaID, fetched: Bool)
    -> BatchHandle?
  {
    let replica = replicas[index]
    replica.beginBatch(fetched: fetched)
    for request in requests {
      let appended: Bool
      if let slot = replica.storedRequest(
        client: request.client, session: request.session, sequence: request.sequence),
        Array(replica.data(of: slot)) == request.bytes
      {
        appended = replica.appendToBatch(slot)
      } else {
        appended = request.withArrived(.none) { replica.appendToBatch($0) }
      }
      guard appended else {
        replica.abandonBatch()
        managers[index].inject(.invalid(.batchTooLarge, from: sender))
        return nil
      }
    }
    return replica.finishBatch().handle
  }

  // MARK: Signatures

  /// A keyed hash stands for a signature.
  static func sign(_ statement: Statement, by replica: ReplicaID) -> StatementSignature {
    var bytes: [UInt8] = []
    StatementCoding.encode(statement, into: &bytes)
    bytes += withUnsafeBytes(of: replica.rawValue) { Array($0) }
    let digest = bytes.withUnsafeBytes { Digest.sha256($0) }
    return StatementSignature(low: digest, high: digest)
  }

  private func isAuthentic(_ signed: SignedStatement, from sender: ReplicaID) -> Bool {
    switch signed.statement {
    case .viewChange(let content):
      return ReplicaCluster.sign(signed.statement, by: content.replica) == signed.signature
    case .newView(let content):
      for inner in content.viewChanges {
        let statement = Statement.viewChange(inner.content)
        guard ReplicaCluster.sign(statement, by: inner.content.replica) == inner.signature else {
          return false
        }
      }
      let membership = replicas[Int(sender.rawValue)].membership
      let primary = membership.primary(of: content.view)
      return ReplicaCluster.sign(signed.statement, by: primary) == signed.signature
    }
  }

  // MARK: Effects

  private func request(_ slot: RequestSlot, of replica: Replica) -> Request {
    Request(bytes: Array(replica.data(of: slot)), authenticator: Array(replica.authenticator(of: slot)))
  }

  private func packet(_ message: Message, of replica: Replica) -> Packet {
    switch message {
    case .prePrepare(var prePrepare):
      let requests = replica.requests(of: prePrepare.batch).map { request($0, of: replica) }
      prePrepare.batch = .none
      return .prePrepare(prePrepare, requests)
    case .viewChange(let handle): return .viewChange(replica.statement(handle))
    case .newView(let handle): return .newView(replica.statement(handle))
    default: return .message(message)
    }
  }

  private func send(_ packet: Packet, from index: Int, to receiver: ReplicaID? = nil) {
    let others = receiver.map { [$0] } ?? replicas[index].membership.replicas
    for other in others where Int(other.rawValue) != index && Int(other.rawValue) < replicas.count {
      flights.append(
        Flight(
          packet: packet, from: index, to: Int(other.rawValue), membershipID: replicas[index].membership.id))
    }
  }

  /// Runs what the replica has decided; a statement to be signed is signed before anything else happens.
  func runEffects(of index: Int) {
    let replica = replicas[index]
    while !replica.effects.isEmpty {
      var signatures: [(StatementHandle, StatementSignature)] = []
      for effect in replica.effects {
        if case .sign(let handle) = effect {
          let signature = ReplicaCluster.sign(replica.statement(handle).statement, by: replica.id)
          signatures.append((handle, signature))
        } else {
          run(effect, of: index)
        }
      }
      replica.effectsDone()
      for (handle, signature) in signatures { replica.processEvent(.signed(handle, signature)) }
    }
  }

  private func run(_ effect: Replica.Effect, of index: Int) {
    let replica = replicas[index]
    switch effect {
    case .broadcast(let message):
      let packet = packet(message, of: replica)
      if case .prePrepare(_, let requests) = packet { proposals.append(requests.count) }
      send(packet, from: index)
      trace.append("\(index) \(packet)")
    case .send(let message, let receiver):
      send(packet(message, of: replica), from: index, to: receiver)
      trace.append("\(index) to \(receiver) \(packet(message, of: replica))")
    case .sendBatch(let handle, let digest, let receiver):
      let requests = replica.requests(of: handle).map { request($0, of: replica) }
      send(.batch(digest, requests), from: index, to: receiver)
    case .sendState(let excerpt, let receiver):
      let bytes = Array(replica.stateBytes(excerpt))
      send(
        .statePart(excerpt.checkpoint, position: excerpt.position, next: excerpt.next, bytes: bytes),
        from: index, to: receiver)
    case .reply(let reply):
      let answer = Answer(
        client: reply.client, session: reply.session, sequence: reply.sequence,
        operationID: reply.operationID,
        membershipID: reply.membershipID, kind: reply.kind, content: Array(replica.replyContent(reply)),
        newest: reply.connections.0, older: reply.connections.1)
      answers[index].append(answer)
      trace.append("\(index) \(answer)")
    case .forward(let slot):
      let request = request(slot, of: replica)
      forwarded[index].append(request)
      send(.forward(request), from: index)
      trace.append("\(index) forward \(request)")
    case .executed(let sequence, _, let requests):
      executed[index].append(Executed(sequence: sequence, requests: requests))
      trace.append("\(index) executed \(sequence) \(requests)")
    case .stable(let sequence): stable[index].append(sequence)
    case .suspected(let view): suspected[index].append(view)
    case .viewEntered(let view, _): entered[index].append(view)
    case .transferEnded(let sequence): transfers[index].append(sequence)
    case .recovered: recovered[index] = true
    case .rotate(let segment):
      // Everything of a turn is on disk at once here, so older segments can go when the base is complete.
      disks[index].append(
        DurableSegment(number: segment, bytes: Array(repeating: 0, count: ReplicaCluster.trailingZeros)))
      if disks[index].count > 2 { disks[index].removeFirst() }
    case .persist(let offset, let count):
      let place = disks[index].count - 1
      disks[index][place].bytes.removeLast(ReplicaCluster.trailingZeros)
      disks[index][place].bytes += Array(replica.durableBytes(offset: offset, count: count))
      disks[index][place].bytes += Array(repeating: 0, count: ReplicaCluster.trailingZeros)
    case .sign: preconditionFailure("signed above")
    case .diverged, .rejected, .viewLeft, .transferBegan, .membershipDecided, .membershipChanged,
      .clientRefused:
      trace.append("\(index) \(effect)")
    }
  }

  // MARK: What can be seen

  func counters(_ index: Int) -> ReplicaCounters { replicas[index].counters }

  /// The position in the log that a reply reveals, 1 at first.
  static func position(_ answer: Answer) -> UInt64 {
    answer.content[0..<8].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
  }

  /// Whether all replicas that are up have executed the same batches.
  var agree: Bool {
    Set(replicas.indices.filter { !isDown.contains($0) }.map { replicas[$0].status.chain }).count == 1
  }

  /// Whether no two replicas have ever had different chains at the same number.
  var neverDiverged: Bool {
    var known: [SequenceNumber: Digest] = [:]
    for replica in replicas {
      for link in replica.status.recentChain {
        if let other = known[link.sequence], other != link.digest { return false }
        known[link.sequence] = link.digest
      }
    }
    return true
  }
}

let milliseconds: Int64 = 1_000_000

/// SHA-256 over count and request digests.
func batchDigest(_ requests: [Request]) -> Digest {
  var hasher = SHA256Hasher()
  hasher.update(bigEndian: UInt32(requests.count))
  for request in requests { request.bytes.withUnsafeBytes { hasher.update(Digest.sha256($0)) } }
  return hasher.finalize()
}
