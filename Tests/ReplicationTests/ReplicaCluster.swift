// A few whole replicas, their clients and the messages between them, in memory and in virtual time. Every
// delivery is deterministic; a test says what is lost or held back.

import Events
import Hashing
import PBFT
import Replication

/// A request as a client makes it. Its bytes: seven big-endian integers, then the content.
struct Request: Hashable {
  var client: Int32
  var session: Int32 = 1
  var sequence: Int32 = 0
  var kind = RequestKind.ordered
  var membershipID: Int32 = 0
  var replyServer: Int32 = -1
  var content: [UInt8] = []
  var authenticator: [UInt8] = [7, 7, 7]

  var operationID: Int32 { sequence &+ 1_000 }

  static let contentOffset = 28

  var bytes: [UInt8] {
    let fields = [client, session, sequence, Int32(kind.rawValue), membershipID, replyServer, operationID]
    return fields.flatMap { field in withUnsafeBytes(of: field.bigEndian) { Array($0) } } + content
  }

  init(
    client: Int32, session: Int32 = 1, sequence: Int32 = 0, kind: RequestKind = .ordered,
    membershipID: Int32 = 0,
    replyServer: Int32 = -1, content: [UInt8] = [0, 0, 0, 1]
  ) {
    self.client = client
    self.session = session
    self.sequence = sequence
    self.kind = kind
    self.membershipID = membershipID
    self.replyServer = replyServer
    self.content = content
  }

  /// What `bytes` has made.
  init(bytes: [UInt8], authenticator: [UInt8]) {
    let fields = (0..<7).map { index in
      bytes[(index * 4)..<(index * 4 + 4)].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    }.map { Int32(bitPattern: $0) }
    self.init(
      client: fields[0], session: fields[1], sequence: fields[2],
      kind: RequestKind(rawValue: UInt8(fields[3]))!,
      membershipID: fields[4], replyServer: fields[5], content: Array(bytes[28...]))
    self.authenticator = authenticator
  }

  /// The request as the host hands it over.
  func withArrived<Result>(_ connection: ConnectionID, _ body: (ArrivedRequest) -> Result) -> Result {
    bytes.withUnsafeBytes { data in
      authenticator.withUnsafeBytes { tags in
        body(
          ArrivedRequest(
            client: client, session: session, sequence: sequence, operationID: operationID, kind: kind,
            replyServer: replyServer, membershipID: membershipID, digest: .sha256(data), data: data,
            contentOffset: Request.contentOffset, authenticator: tags, connection: connection))
      }
    }
  }
}

/// What travels between replicas; a pre-prepare takes its requests along.
enum Packet: Hashable {
  case message(Message)
  case prePrepare(PrePrepare, [Request])
  case forward(Request)

  var message: Message? { if case .message(let message) = self { message } else { nil } }
  var isPrePrepare: Bool { if case .prePrepare = self { true } else { false } }
  var isForward: Bool { if case .forward = self { true } else { false } }
  var isCommit: Bool { if case .message(.commit) = self { true } else { false } }
  var isCheckpoint: Bool { if case .message(.checkpoint) = self { true } else { false } }
  var isSuspect: Bool { if case .message(.suspect) = self { true } else { false } }
}

struct Flight: Hashable {
  var packet: Packet
  var from: Int
  var to: Int
}

struct Answer: Hashable {
  var client: Int32
  var session: Int32
  var sequence: Int32
  var operationID: Int32
  var membershipID: Int32
  var kind: RequestKind
  var content: [UInt8]
  var newest: ConnectionID
  var older: ConnectionID
}

struct Executed: Hashable {
  var sequence: SequenceNumber
  var requests: Int
}

final class ReplicaCluster {
  let replicas: [Replica]
  let managers: [EventManager<Replica>]
  let factories: [TimerFactory<Replica.Event>]
  private(set) var now = Instant.zero
  var flights: [Flight] = []
  var answers: [[Answer]]
  var executed: [[Executed]]
  var stable: [[SequenceNumber]]
  var suspected: [[View]]
  var forwarded: [[Request]]
  var proposals: [Int] = []
  /// Every effect in words, for comparing two runs.
  var trace: [String] = []
  /// What the network loses.
  var isLost: (Flight) -> Bool = { _ in false }

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
    let membership = Membership(
      id: membershipID, replicas: (0..<Int32(count)).map { ReplicaID($0) },
      faults: model.maximumFaults(replicas: count), model: model)!
    let factories = (0..<count).map { _ in TimerFactory<Replica.Event>() }
    let replicas = (0..<count).map { index in
      Replica(
        configuration: configuration, id: ReplicaID(Int32(index)), membership: membership,
        service: Service.make(name: service, replyBytes: replyBytes)!, timers: factories[index])
    }
    self.factories = factories
    self.replicas = replicas
    managers = replicas.indices.map { index in
      let manager = EventManager<Replica>(queueCapacity: 1_024, timers: factories[index])
      manager.setReceiver(replicas[index])
      manager.start()
      manager.inject(.start)
      return manager
    }
    answers = Array(repeating: [], count: count)
    executed = Array(repeating: [], count: count)
    stable = Array(repeating: [], count: count)
    suspected = Array(repeating: [], count: count)
    forwarded = Array(repeating: [], count: count)
  }

  // MARK: Clients

  /// A client's request reaches these replicas (all, unless said otherwise), each on the connection named.
  func submit(_ request: Request, to indices: [Int]? = nil, connection: UInt32 = 1) {
    for index in indices ?? Array(replicas.indices) {
      arrive(request, at: index, connection: ConnectionID(rawValue: connection))
    }
  }

  /// Sequences `sequences` of one session of each of `clients`, to all replicas.
  func submit(clients: Range<Int32>, session: Int32 = 1, sequences: ClosedRange<Int32> = 0...0) {
    for sequence in sequences {
      for client in clients { submit(Request(client: client, session: session, sequence: sequence)) }
    }
  }

  /// Does what a host does with a client's frame.
  @discardableResult
  func arrive(_ request: Request, at index: Int, connection: ConnectionID) -> Screening {
    let replica = replicas[index]
    let screening = replica.screen(
      client: request.client, session: request.session, sequence: request.sequence, kind: request.kind,
      forwarded: connection == .none)
    switch screening {
    case .unknown, .executed:
      request.withArrived(connection) { managers[index].inject(.request($0)) }
    case .stored(let slot):
      if Array(replica.data(of: slot)) == request.bytes {
        managers[index].inject(.resent(slot, connection: connection))
      }
    case .refused: break
    }
    return screening
  }

  // MARK: The network and time

  /// Ends every replica's turn and delivers what follows until nothing is under way but what `held` names.
  func run(holding held: (Flight) -> Bool = { _ in false }) {
    endTurns()
    while true {
      flights.removeAll { isLost($0) }
      let due = flights.filter { !held($0) }
      guard !due.isEmpty else { return }
      flights.removeAll { !held($0) }
      for flight in due {
        deliver(flight.packet, from: flight.from, to: flight.to)
        endTurn(flight.to)
      }
    }
  }

  func endTurns() { for index in replicas.indices { endTurn(index) } }

  func endTurn(_ index: Int) {
    managers[index].runTurn(at: now)
    managers[index].inject(.endOfTurn)
    runEffects(of: index)
  }

  /// Moves virtual time, timer by timer, and lets follow what follows.
  func advance(byNanoseconds nanoseconds: Int64) {
    let end = now + nanoseconds
    while let next = factories.compactMap(\.earliestDeadline).min(), next <= end {
      now = max(now, next)
      run()
    }
    now = end
    run()
  }

  func deliver(_ packet: Packet, from: Int, to: Int) {
    let replica = replicas[to]
    let sender = ReplicaID(Int32(from))
    switch packet {
    case .message(let message): managers[to].inject(.message(message, from: sender))
    case .forward(let request): arrive(request, at: to, connection: .none)
    case .prePrepare(var prePrepare, let requests):
      replica.beginBatch()
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
          managers[to].inject(.invalid(.batchTooLarge, from: sender))
          return
        }
      }
      prePrepare.batch = replica.finishBatch().handle
      managers[to].inject(.prePrepare(prePrepare, from: sender))
    }
  }

  // MARK: Effects

  private func request(_ slot: RequestSlot, of replica: Replica) -> Request {
    Request(bytes: Array(replica.data(of: slot)), authenticator: Array(replica.authenticator(of: slot)))
  }

  private func send(_ packet: Packet, from index: Int) {
    for other in replicas.indices where other != index {
      flights.append(Flight(packet: packet, from: index, to: other))
    }
  }

  private func runEffects(of index: Int) {
    let replica = replicas[index]
    for effect in replica.effects {
      switch effect {
      case .broadcast(.prePrepare(let prePrepare)):
        let requests = replica.requests(of: prePrepare.batch).map { request($0, of: replica) }
        proposals.append(requests.count)
        var sent = prePrepare
        sent.batch = .none
        send(.prePrepare(sent, requests), from: index)
        trace.append("\(index) \(sent)")
      case .broadcast(let message):
        send(.message(message), from: index)
        trace.append("\(index) \(message)")
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
      case .diverged, .viewAbandonable, .rejected: trace.append("\(index) \(effect)")
      }
    }
    replica.effectsDone()
  }

  // MARK: What can be seen

  func counters(_ index: Int) -> ReplicaCounters { replicas[index].counters }

  /// The position in the log that a reply reveals, 1 at first.
  static func position(_ answer: Answer) -> UInt64 {
    answer.content[0..<8].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
  }

  /// Whether all replicas have executed the same batches.
  var agree: Bool { Set(replicas.map { $0.status.chain }).count == 1 }
}

let milliseconds: Int64 = 1_000_000
