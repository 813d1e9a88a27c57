// The clients of a schedule. Correct ones send to all replicas, wait for f+1 equal answers, send again with patience,
// and begin a new session now and then; Byzantine ones do what reliability A3 lists.

import PBFT
import Replication

struct SimulatedClient {
  let id: Int32
  var session: Int32 = 1
  var nextSequence: Int32 = 0
  /// Requests due and not sent yet.
  var backlog = 0
  var inFlight = 0
  /// The operations in flight.
  var pending: [Int32] = []
  /// Whether it is refused for what a Byzantine primary did in its name.
  var isFramed = false
  /// Whether a request of the session has been answered.
  var isSessionOpen = false
  var membershipID: Int32 = 0
  /// Of a Byzantine client: its requests so far.
  var made: [Int32] = []
  /// Operations of a Byzantine client by session and sequence, as (session, sequence, operation).
  var operations: [(Int32, Int32, Int32)] = []
}

extension SimulatedCluster {
  static let firstClient: Int32 = 1_000
  static let administrator: Int32 = 900
  static let replicasOfAnswers = 24

  func resetClients() {
    clients.removeAll(keepingCapacity: true)
    for index in 0..<plan.clients { clients.append(SimulatedClient(id: Self.firstClient + Int32(index))) }
    for index in 0..<plan.byzantineClients {
      clients.append(SimulatedClient(id: Self.firstClient + 500 + Int32(index)))
    }
    administratorClient = clients.count
    clients.append(SimulatedClient(id: Self.administrator))
    reconfigurationsDue = 0
    unanswered = 0
    nextSend = 0
    sendsLeft = plan.sends.count
    for index in 0..<plan.byzantineClients {
      heap.push(.byzantineClient, at: 1_000_000, subject: Int32(plan.clients + index))
    }
    if let first = plan.sends.first { heap.push(.clientDue, at: first.time, subject: 0) }
  }

  /// The next request of the plan is due; the one after it is put in.
  func sendDue() {
    let send = plan.sends[nextSend]
    nextSend += 1
    sendsLeft -= 1
    if nextSend < plan.sends.count {
      heap.push(.clientDue, at: max(now, plan.sends[nextSend].time), subject: 0)
    }
    clients[send.client].backlog += 1
    guard !clients[send.client].isFramed else { return }
    unanswered += 1
    pump(send.client)
  }

  /// f+1 replicas refuse a client for ever. With tags a Byzantine primary can bring that upon a correct client, whose
  /// operations are not waited for then; nothing else may.
  func refused(_ id: Int32, by host: SimulatedHost) {
    guard let client = clients.firstIndex(where: { $0.id == id }), host.isCorrect else { return }
    trace.note(
      .fault, at: now, Int32(host.index), 11, UInt64(UInt32(bitPattern: id)), "\(host.name)|refuses c\(id)")
    guard client < plan.clients, !clients[client].isFramed else { return }
    let mayBeFramed = !plan.isSigned && plan.roles.contains { $0.contains(.forgingBatches) }
    if !mayBeFramed, plan.expectsLiveness {
      ledger.fail(.liveness, at: now, "\(host.name) refuses the correct client c\(id)")
    }
    clients[client].isFramed = true
    unanswered -= clients[client].backlog + clients[client].inFlight
    clients[client].backlog = 0
    clients[client].inFlight = 0
    clients[client].pending = []
  }

  /// Sends what the client may send.
  func pump(_ client: Int) {
    while clients[client].backlog > 0, clients[client].inFlight < plan.outstanding {
      // Any sequence may begin a session (decision record 6 e): the first is answered before the second is sent.
      if clients[client].nextSequence > 0, !clients[client].isSessionOpen, clients[client].inFlight > 0 {
        return
      }
      // Replies are remembered for 32 sequences: no request runs further ahead of one that is not answered.
      if clients[client].inFlight > 0, clients[client].nextSequence - lowestInFlight(client) >= 24 { return }
      if clients[client].inFlight == 0, clients[client].nextSequence > 0, plan.sessionShare > 0,
        chance.happens(plan.sessionShare)
      {
        clients[client].session += 1
        clients[client].nextSequence = 0
        clients[client].isSessionOpen = false
      }
      clients[client].backlog -= 1
      clients[client].inFlight += 1
      let sequence = clients[client].nextSequence
      clients[client].nextSequence += 1
      let operation = ledger.begin(
        client: Int32(client), session: clients[client].session, sequence: sequence, isByzantine: false)
      addAnswers()
      clients[client].pending.append(operation)
      issue(operation, content: nil)
    }
  }

  /// The lowest sequence of the client that is not answered. Precondition: there is one.
  private func lowestInFlight(_ client: Int) -> Int32 {
    var lowest = Int32.max
    for operation in clients[client].pending {
      lowest = min(lowest, ledger.operations[Int(operation)].sequence)
    }
    return lowest
  }

  func addAnswers() {
    answers.append(contentsOf: repeatElement(AnswerRecord(), count: Self.replicasOfAnswers))
  }

  /// Makes the request of an operation under the client's membership and sends it.
  func issue(_ operation: Int32, content: [UInt8]?, kind: RequestKind = .ordered) {
    let record = ledger.operations[Int(operation)]
    let client = clients[Int(record.client)]
    let bytes = content ?? [0, 0, 0, 1]
    let request = bytes.withUnsafeBytes {
      requests.make(
        client: client.id, session: record.session, sequence: record.sequence, kind: kind,
        membershipID: client.membershipID, operation: operation, authorised: RequestTable.allTags, content: $0
      )
    }
    ledger.setRequest(request, of: operation)
    trace.note(
      .request, at: now, record.client, UInt64(request), UInt64(UInt32(bitPattern: record.sequence)),
      "c\(client.id)|session=\(record.session) sequence=\(record.sequence) request=\(request)")
    sendRequest(request, of: Int(record.client))
    scheduleResend(operation, 1)
  }

  private func scheduleResend(_ operation: Int32, _ factor: Int64) {
    let patience = plan.clientResendNanoseconds * factor
    heap.push(
      .clientResend, at: now + patience + chance.nanoseconds(below: patience / 4),
      subject: ledger.operations[Int(operation)].client, detail: UInt32(operation))
  }

  /// To every replica there is.
  private func sendRequest(_ request: Int32, of client: Int) {
    var packet = Packet(.request, from: Int32(client), to: -1)
    packet.words = (UInt64(request), RequestTable.allTags)
    var place: Int32 = -1
    let unreachable = client < plan.unreachable.count ? Int(plan.unreachable[client]) : -1
    for index in 0..<hostCount where hosts[index].wasStarted && index != unreachable {
      let arrival = network.clientPassage(at: now, &chance)
      guard arrival >= 0 else { continue }
      heap.push(
        .deliver, at: arrival, subject: packets.add(packet, sharing: &place), detail: UInt32(index))
    }
  }

  private func sendRequest(_ request: Int32, tags: UInt64, of client: Int, to host: Int) {
    let arrival = network.clientPassage(at: now, &chance)
    guard arrival >= 0 else { return }
    var packet = Packet(.request, from: Int32(client), to: Int32(host))
    packet.words = (UInt64(request), tags)
    heap.push(.deliver, at: arrival, subject: packets.add(packet), detail: UInt32(host))
  }

  func resendIfUnanswered(_ operation: Int32) {
    let record = ledger.operations[Int(operation)]
    guard !record.isAcknowledged, !clients[Int(record.client)].isFramed else { return }
    if record.client == Int32(administratorClient), requests[record.request].membershipID < reachedMembership
    {
      return
    }
    sendRequest(record.request, of: Int(record.client))
    scheduleResend(operation, 1 << Int64(ledger.countResend(of: operation)))
  }

  // MARK: Answers

  /// A replica's answer reaches its client.
  func receiveAnswer(_ packet: Packet) {
    let request = Int32(truncatingIfNeeded: packet.next)
    guard request >= 0, Int(request) < requests.count else { return }
    let operation = requests[request].operation
    let record = ledger.operations[Int(operation)]
    guard !record.isOfByzantineClient, !record.isAcknowledged, !clients[Int(record.client)].isFramed else {
      return
    }
    let place = Int(operation) * Self.replicasOfAnswers + Int(hosts[Int(packet.from)].id.rawValue)
    answers[place] = AnswerRecord(
      position: UInt64(bigEndian: packet.words.0), chain: packet.words.1, membershipID: packet.membershipID,
      isEmpty: packet.byteCount < 16)
    let answer = answers[place]
    var equal = 0
    for replica in 0..<hostCount {
      let other = answers[Int(operation) * Self.replicasOfAnswers + replica]
      guard other.membershipID >= 0, other.isEmpty == answer.isEmpty else { continue }
      if answer.isEmpty {
        if other.membershipID == answer.membershipID { equal += 1 }
      } else if other.position == answer.position, other.chain == answer.chain {
        equal += 1
      }
    }
    let client = Int(record.client)
    let membershipID = clients[client].membershipID
    guard equal >= membership(membershipID).quorums.weakQuorum else { return }
    if answer.isEmpty {
      moveToMembership(answer.membershipID, operation, client)
    } else {
      accept(operation, answer, client)
    }
  }

  private func accept(_ operation: Int32, _ answer: AnswerRecord, _ client: Int) {
    trace.note(
      .answer, at: now, Int32(client), UInt64(operation), answer.position,
      "c\(clients[client].id)|operation=\(ledger.name(operation)) position=\(answer.position)")
    ledger.acknowledge(operation, position: answer.position, chain: answer.chain, at: now)
    if let place = clients[client].pending.firstIndex(of: operation) {
      clients[client].pending.remove(at: place)
    }
    clients[client].isSessionOpen = true
    clients[client].inFlight -= 1
    unanswered -= 1
    pump(client)
  }

  /// f+1 replicas say that the membership is another one: the operation was not executed, and is sent under that one.
  private func moveToMembership(_ membershipID: Int32, _ operation: Int32, _ client: Int) {
    let asked = requests[ledger.operations[Int(operation)].request].membershipID
    guard membershipID > asked, membershipID < Int32(memberships.count) else { return }
    clients[client].membershipID = max(clients[client].membershipID, membershipID)
    let start = Int(operation) * Self.replicasOfAnswers
    for place in start..<start + Self.replicasOfAnswers { answers[place] = AnswerRecord() }
    issueAgain(operation)
  }

  private func issueAgain(_ operation: Int32) {
    let record = ledger.operations[Int(operation)]
    let client = clients[Int(record.client)]
    let bytes: [UInt8] = [0, 0, 0, 1]
    let request = bytes.withUnsafeBytes {
      requests.make(
        client: client.id, session: record.session, sequence: record.sequence, kind: .ordered,
        membershipID: client.membershipID, operation: operation, authorised: RequestTable.allTags, content: $0
      )
    }
    ledger.setRequest(request, of: operation)
    sendRequest(request, of: Int(record.client))
  }

  // MARK: Byzantine clients

  /// One act of a Byzantine client, and the time of the next.
  func actAsByzantine(_ index: Int) {
    guard now < plan.safetyNanoseconds + 2_000_000_000 else { return }
    let present = hosts.filter(\.wasStarted).map(\.index)
    var request: Int32
    switch chance.below(8) {
    case 0 where !clients[index].made.isEmpty:
      // An old request again, under the tags it had.
      request = chance.pick(clients[index].made)
    case 1:
      request = makeByzantine(index, sequence: chance.pick([.max, -1, .min, 1_000, 33, 64]))
    case 2:
      clients[index].session += 1
      clients[index].nextSequence = 0
      request = makeByzantine(index, sequence: 0)
    case 3 where !clients[index].made.isEmpty:
      // Another operation under a sequence in use.
      let other = requests[chance.pick(clients[index].made)]
      request = makeByzantine(index, session: other.session, sequence: other.sequence)
    default:
      request = makeByzantine(index, sequence: clients[index].nextSequence)
      clients[index].nextSequence += 1
    }
    let isSplit = chance.happens(256)
    let tags = plan.isSigned || chance.happens(512) ? RequestTable.allTags : chance.bits()
    let other = isSplit ? makeByzantine(index, sequence: requests[request].sequence) : request
    for host in present where chance.happens(820) {
      sendRequest(chance.happens(512) ? request : other, tags: tags, of: index, to: host)
    }
    heap.push(
      .byzantineClient, at: now + 2_000_000 + chance.nanoseconds(below: 120_000_000), subject: Int32(index))
  }

  private func makeByzantine(_ index: Int, session: Int32? = nil, sequence: Int32) -> Int32 {
    let session = session ?? clients[index].session
    let operation: Int32
    if let known = clients[index].operations.first(where: { $0.0 == session && $0.1 == sequence }) {
      operation = known.2
    } else {
      operation = ledger.begin(
        client: Int32(index), session: session, sequence: sequence, isByzantine: true)
      addAnswers()
      clients[index].operations.append((session, sequence, operation))
    }
    let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: requests.count), count: 1 + chance.below(12))
    let isWhole = chance.happens(512)
    let authorised = isWhole ? RequestTable.allTags : plan.isSigned ? 0 : chance.bits()
    let request = bytes.withUnsafeBytes {
      requests.make(
        client: clients[index].id, session: session, sequence: sequence, kind: .ordered,
        membershipID: clients[index].membershipID, operation: operation, authorised: authorised, content: $0)
    }
    clients[index].made.append(request)
    trace.note(
      .request, at: now, Int32(index), UInt64(request), UInt64(UInt32(bitPattern: sequence)),
      "c\(clients[index].id)|byzantine session=\(session) sequence=\(sequence) request=\(request)")
    return request
  }
}
