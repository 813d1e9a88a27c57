// Four pure replicas and a network that is four arrays. It does what a host does, less the bytes: it screens
// requests, interns the batch of a pre-prepare from what each replica holds, and ends each turn. Kept true:
// after the first rounds it allocates nothing itself, so that whatever is counted was allocated by a replica.

import Benchmark
import Events
import Hashing
import PBFT
import Replication
import Wire

final class PureCluster {
  private struct Flight {
    var message: Message
    var sender: Int
  }

  private let replicas: [Replica]
  private let managers: [EventManager<Replica>]
  private let requestCount: Int
  private let frameByteCount = ClientFrame.minimumDataByteCount
  private let frames: UnsafeMutableRawBufferPointer
  private let frame = UnsafeMutableRawBufferPointer.allocate(
    byteCount: ClientFrame.byteCount(content: 0, signature: 0), alignment: 16)
  private let digests: UnsafeMutablePointer<Digest>
  /// For each replica what has been sent to it, and what it is being given.
  private let inboxes: [UnsafeMutablePointer<Flight>]
  private let inboxCounts: UnsafeMutablePointer<Int>
  private let current: UnsafeMutablePointer<Flight>
  private static let inboxCapacity = 1_024
  private let noBytes = UnsafeRawBufferPointer(start: nil, count: 0)
  private var sequence: Int32 = -1
  private var now = Instant.zero
  private var replies = 0

  /// Batches from one checkpoint to the next.
  let checkpointPeriod: Int

  init(requestsPerBatch: Int) {
    requestCount = requestsPerBatch
    var configuration = ReplicaConfiguration()
    configuration.batchSize = requestsPerBatch
    // No deadline belongs to this measurement.
    configuration.requestTimeoutNanoseconds = 0
    checkpointPeriod = configuration.checkpointPeriod
    let ids = (0..<4 as Range<Int32>).map { ReplicaID(rawValue: $0) }
    let membership = Membership(replicas: ids, faults: 1)!
    let timers = ids.map { _ in TimerFactory<Replica.Event>() }
    let replicas = ids.indices.map { index in
      Replica(
        configuration: configuration, id: ids[index], membership: membership,
        service: .make(name: "log", replyBytes: 0)!, timers: timers[index])
    }
    self.replicas = replicas
    managers = replicas.indices.map { index in
      let manager = EventManager<Replica>(queueCapacity: 16, timers: timers[index])
      manager.setReceiver(replicas[index])
      manager.start()
      manager.inject(.start(recovering: false))
      return manager
    }
    frames = .allocate(byteCount: requestsPerBatch * frameByteCount, alignment: 16)
    digests = .allocate(capacity: requestsPerBatch)
    inboxes = replicas.map { _ in .allocate(capacity: Self.inboxCapacity) }
    inboxCounts = .allocate(capacity: replicas.count)
    inboxCounts.initialize(repeating: 0, count: replicas.count)
    current = .allocate(capacity: Self.inboxCapacity)
  }

  /// Writes and hashes the next request of each client.
  func prepareBatch() {
    sequence += 1
    now = now + 1_000_000
    for index in 0..<requestCount {
      ClientFrame.encode(
        into: frame,
        header: ClientFrameHeader(
          sender: Int32(index), membershipID: 0, kind: 0, session: 1, sequence: sequence,
          operationID: sequence),
        content: noBytes)
      let data = ClientFrame.data(ofEncoded: frame)
      UnsafeMutableRawBufferPointer(rebasing: frames[(index * frameByteCount)...]).copyMemory(from: data)
      (digests + index).initialize(to: .sha256(data))
    }
  }

  /// Brings the batch prepared to all replicas and lets follow what follows, until all have replied to all.
  func runBatch() {
    replies = 0
    for index in replicas.indices { arrive(at: index) }
    var isQuiet = false
    while !isQuiet {
      isQuiet = true
      for index in replicas.indices where inboxCounts[index] > 0 {
        isQuiet = false
        deliver(to: index)
      }
    }
    precondition(replies == replicas.count * requestCount, "\(replies) replies to \(requestCount) requests")
  }

  private func arrive(at index: Int) {
    let replica = replicas[index]
    managers[index].runTurn(at: now)
    for request in 0..<requestCount {
      let client = Int32(request)
      guard case .unknown = replica.screen(client: client, session: 1, sequence: sequence, kind: .ordered)
      else {
        fatalError("a request is refused or known")
      }
      let data = UnsafeRawBufferPointer(
        rebasing: frames[(request * frameByteCount)..<((request + 1) * frameByteCount)])
      managers[index].inject(
        .request(arrived(client, data, digests[request], connection: ConnectionID(rawValue: 1))))
    }
    endTurn(index)
  }

  private func arrived(
    _ client: Int32, _ data: UnsafeRawBufferPointer, _ digest: Digest, connection: ConnectionID
  ) -> ArrivedRequest {
    ArrivedRequest(
      client: client, session: 1, sequence: sequence, operationID: sequence, kind: .ordered, replyServer: -1,
      membershipID: 0, digest: digest, data: data, contentOffset: ClientFrame.contentOffset,
      authenticator: noBytes,
      connection: connection)
  }

  /// One turn: everything that waits for this replica, then the end of the turn.
  private func deliver(to index: Int) {
    let count = inboxCounts[index]
    current.update(from: inboxes[index], count: count)
    inboxCounts[index] = 0
    managers[index].runTurn(at: now)
    for position in 0..<count {
      let flight = current[position]
      let sender = ReplicaID(rawValue: Int32(flight.sender))
      if case .prePrepare(let prePrepare) = flight.message {
        managers[index].inject(
          .prePrepare(interned(prePrepare, from: flight.sender, at: index), from: sender))
      } else {
        managers[index].inject(.message(flight.message, from: sender))
      }
    }
    endTurn(index)
  }

  /// The pre-prepare with the receiver's own batch, made of the requests it holds.
  private func interned(_ prePrepare: PrePrepare, from sender: Int, at index: Int) -> PrePrepare {
    let replica = replicas[index]
    replica.beginBatch()
    for slot in replicas[sender].requests(of: prePrepare.batch) {
      let data = replicas[sender].data(of: slot)
      let client: Int32 = Int32(bigEndian: data.loadUnaligned(as: Int32.self))
      guard let held = replica.storedRequest(client: client, session: 1, sequence: sequence),
        replica.appendToBatch(held)
      else { fatalError("a request of the batch is not held") }
    }
    var received = prePrepare
    received.batch = replica.finishBatch().handle
    return received
  }

  private func endTurn(_ index: Int) {
    managers[index].inject(.endOfTurn)
    let replica = replicas[index]
    for effect in replica.effects {
      switch effect {
      case .broadcast(let message):
        for other in replicas.indices where other != index {
          precondition(inboxCounts[other] < Self.inboxCapacity)
          (inboxes[other] + inboxCounts[other]).initialize(to: Flight(message: message, sender: index))
          inboxCounts[other] += 1
        }
      case .reply: replies += 1
      case .executed, .stable: break
      // The last votes of a batch come after the checkpoint that it completes.
      case .rejected(.belowWindow, _): break
      default: fatalError("not of the normal case: \(effect)")
      }
    }
    replica.effectsDone()
  }
}
