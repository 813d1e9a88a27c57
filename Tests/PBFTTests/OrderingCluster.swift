// A few ordering cores and the messages between them, in memory: every delivery is the test's to make, or a
// seeded schedule's (`RandomSchedule`).

import PBFT

/// A message on its way. Statements travel by content, for handles are local.
struct Flight: Hashable {
  var message: Message
  var from: Int
  var to: Int
  var statement: SignedStatement?
  /// The answer to a `fetchBatch`.
  var isBatch = false
}

extension Message {
  var isPrePrepare: Bool { if case .prePrepare = self { true } else { false } }
  var isPrepare: Bool { if case .prepare = self { true } else { false } }
  var isCommit: Bool { if case .commit = self { true } else { false } }
  var isCheckpoint: Bool { if case .checkpoint = self { true } else { false } }
  var isSuspect: Bool { if case .suspect = self { true } else { false } }
  var isViewChange: Bool { if case .viewChange = self { true } else { false } }
  var isNewView: Bool { if case .newView = self { true } else { false } }
  var isStatus: Bool { if case .status = self { true } else { false } }
  var isExecuted: Bool { if case .executed = self { true } else { false } }

  var sequence: SequenceNumber? {
    switch self {
    case .prePrepare(let message): message.sequence
    case .prepare(let message): message.sequence
    case .commit(let message): message.sequence
    case .checkpoint(let message): message.sequence
    case .executed(let message): message.sequence
    default: nil
    }
  }
}

/// A batch as the core sees it: a digest made from a number.
func digest(_ number: UInt64) -> Digest {
  var digest = Digest()
  digest.words = (number, ~number, number &* 0x9e37_79b9, 1)
  return digest
}

/// The digest of a batch that reconfigures.
func reconfiguration(_ number: UInt64) -> Digest {
  var digest = digest(number)
  digest.words.3 = 2
  return digest
}

struct Execution: Hashable {
  var sequence: SequenceNumber
  var digest: Digest
}

/// What a node has written, and what it can be restored from.
struct Disk {
  var stable = Checkpoint(sequence: .zero, digest: .zero)
  var view = View.zero
  var isActive = true
  var newView: SignedStatement?
  /// Everything executed, from 1 on.
  var executed: [Execution] = []
  /// Claims in the order written.
  var entries: [(claim: Claim, isPrepared: Bool)] = []
}

/// One core with what its owner does for it.
final class Node {
  var core: OrderingCore
  var executed: [Execution] = []
  var batches: [BatchHandle: Digest] = [:]
  /// State after the checkpoints taken or installed.
  var snapshots: [SequenceNumber: [Execution]] = [.zero: []]
  var timers: [OrderingTimer: Int64] = [:]
  var disk = Disk()
  var isUp = true

  init(_ core: OrderingCore) { self.core = core }
}

final class OrderingCluster {
  let configuration: OrderingConfiguration
  let membership: Membership
  var nodes: [Node]
  let period: UInt64
  var flights: [Flight] = []
  var now: Int64 = 0
  var discarded: [[BatchHandle]]
  var rejections: [[Rejection]]
  var stable: [[Checkpoint]]
  var diverged: [[Checkpoint]]
  var suspected: [[View]]
  var left: [[View]]
  var entered: [[View]]
  var transfers: [[Checkpoint]]
  var recovered: [Int]
  var accused: [[Int32]]
  var records: [[OrderingRecord]]
  var resendDelays: [[Int64]]
  var timerDelays: [[(timer: OrderingTimer, delay: Int64)]]
  /// What a faulty replica's state is off by.
  var damage: [UInt64]
  /// Whether transfers are answered at once; else the test does it.
  var transfersAtOnce = true
  var checkpointsAtOnce = true
  var delayedCheckpoints: [(node: Int, sequence: SequenceNumber)] = []
  private var nextHandle: UInt32 = 0

  init(
    replicas: Int, model: FaultModel = .byzantine, period: UInt64 = 4, multiplier: UInt64 = 4,
    viewChangePeriod: UInt64 = 0, nullRequest: Int64 = 0, started: Bool = true
  ) {
    let configuration = OrderingConfiguration(
      checkpointPeriod: period, logMultiplier: multiplier, suspectResendNanoseconds: 1_000,
      viewChangeTimeoutNanoseconds: 10_000, viewChangeResendNanoseconds: 3_000, healingNanoseconds: 500,
      nullRequestNanoseconds: nullRequest, requestTimeoutNanoseconds: 4_000,
      viewChangePeriod: viewChangePeriod)
    self.configuration = configuration
    let membership = Membership(count: replicas, model: model)
    self.membership = membership
    self.period = period
    nodes = membership.replicas.map {
      Node(OrderingCore(configuration: configuration, id: $0, membership: membership))
    }
    discarded = Array(repeating: [], count: replicas)
    rejections = Array(repeating: [], count: replicas)
    stable = Array(repeating: [], count: replicas)
    diverged = Array(repeating: [], count: replicas)
    suspected = Array(repeating: [], count: replicas)
    left = Array(repeating: [], count: replicas)
    entered = Array(repeating: [], count: replicas)
    transfers = Array(repeating: [], count: replicas)
    recovered = Array(repeating: 0, count: replicas)
    accused = Array(repeating: [], count: replicas)
    records = Array(repeating: [], count: replicas)
    resendDelays = Array(repeating: [], count: replicas)
    timerDelays = Array(repeating: [], count: replicas)
    damage = Array(repeating: 0, count: replicas)
    if started { for index in nodes.indices { give(.start(recovering: false), to: index) } }
  }

  var cores: [OrderingCore] { nodes.map(\.core) }
  var executed: [[Execution]] { nodes.map(\.executed) }
  var quorums: Quorums { membership.quorums }

  /// The primary of the first replica's view, or a given one, orders a batch with this digest.
  func propose(_ number: UInt64, by index: Int = 0) {
    propose(digest(number), by: index)
  }

  func propose(_ digest: Digest, by index: Int) {
    give(
      .propose(
        digest: digest, batch: newBatch(digest, at: index), isReconfiguration: digest.words.3 == 2),
      to: index)
  }

  func newHandle() -> BatchHandle {
    nextHandle += 1
    return BatchHandle(rawValue: nextHandle)
  }

  func newBatch(_ digest: Digest, at index: Int) -> BatchHandle {
    guard digest != .zero else { return .none }
    let handle = newHandle()
    nodes[index].batches[handle] = digest
    return handle
  }

  /// Hands a message to one replica as if its link had.
  func deliver(_ message: Message, from: Int, to: Int) {
    let sender = ReplicaID(Int32(from))
    if case .prePrepare(let prePrepare) = message {
      if prePrepare.batch != .none { nodes[to].batches[prePrepare.batch] = prePrepare.digest }
      give(
        .prePrepare(prePrepare, isReconfiguration: prePrepare.digest.words.3 == 2, from: sender), to: to)
    } else {
      give(.message(message, from: sender), to: to)
    }
  }

  func deliver(_ flight: Flight) {
    guard nodes[flight.to].isUp else { return }
    let sender = ReplicaID(Int32(flight.from))
    switch flight.message {
    case .prePrepare(var prePrepare):
      prePrepare.batch = newBatch(prePrepare.digest, at: flight.to)
      deliver(.prePrepare(prePrepare), from: flight.from, to: flight.to)
    case .viewChange:
      guard let statement = flight.statement else { return }
      give(.message(.viewChange(nodes[flight.to].core.admit(statement)), from: sender), to: flight.to)
    case .newView:
      guard let statement = flight.statement else { return }
      give(.message(.newView(nodes[flight.to].core.admit(statement)), from: sender), to: flight.to)
    case .fetchBatch(let digest):
      if flight.isBatch {
        let handle = newBatch(digest, at: flight.to)
        give(.batchFetched(digest, handle, isReconfiguration: digest.words.3 == 2), to: flight.to)
      } else if nodes[flight.to].batches.values.contains(digest) {
        flights.append(
          Flight(message: flight.message, from: flight.to, to: flight.from, isBatch: true))
      }
    default: deliver(flight.message, from: flight.from, to: flight.to)
    }
  }

  /// Delivers everything under way that `includes` and all that follows from it, first come first served.
  func deliver(where includes: (Flight) -> Bool = { _ in true }) {
    while let index = flights.firstIndex(where: includes) { deliver(flights.remove(at: index)) }
  }

  /// Delivers the last one under way first, until nothing is.
  func deliverInReverse() { while let flight = flights.popLast() { deliver(flight) } }

  func drop(where includes: (Flight) -> Bool) { flights.removeAll(where: includes) }

  /// Lets the earliest running timer of these expire, and says whether there was one.
  @discardableResult
  func expireNext(where includes: (Int, OrderingTimer) -> Bool = { _, _ in true }) -> Bool {
    var next: (node: Int, timer: OrderingTimer, due: Int64)?
    for index in nodes.indices where nodes[index].isUp {
      for timer in OrderingTimer.allCases {
        guard let due = nodes[index].timers[timer], includes(index, timer) else { continue }
        if next.map({ due < $0.due }) ?? true { next = (index, timer, due) }
      }
    }
    guard let next else { return false }
    now = max(now, next.due)
    expire(next.timer, of: next.node)
    return true
  }

  func expire(_ timer: OrderingTimer, of index: Int) {
    nodes[index].timers[timer] = nil
    give(.timeout(timer), to: index)
  }

  /// Delivers everything and lets timers expire, so many times.
  func settle(rounds: Int = 20, where includes: (Flight) -> Bool = { _ in true }) {
    for _ in 0..<rounds {
      deliver(where: includes)
      drop { !includes($0) }
      guard expireNext() else { return }
    }
    deliver(where: includes)
    drop { !includes($0) }
  }

  /// A quorum suspects the primary of the view in force.
  func suspectPrimary(where includes: (Flight) -> Bool = { _ in true }) {
    for index in nodes.indices where nodes[index].isUp { give(.suspectPrimary(accused: nil), to: index) }
    deliver(where: includes)
  }

  func give(_ event: OrderingCore.Event, to index: Int) {
    let core = nodes[index].core
    core.processEvent(event)
    while let effect = core.takeEffect() { run(effect, of: index) }
  }

  func stateDigest(of index: Int) -> Digest {
    var state = digest(damage[index])
    for execution in nodes[index].executed {
      state.words.0 = (state.words.0 ^ execution.digest.words.0) &* 0x1_0000_01b3
    }
    return state
  }

  func takeCheckpoint(_ sequence: SequenceNumber, of index: Int) {
    let node = nodes[index]
    node.snapshots[sequence] = node.executed
    give(.checkpointTaken(Checkpoint(sequence: sequence, digest: stateDigest(of: index))), to: index)
  }

  /// Installs the state of a checkpoint from any replica that has it; says whether there is one.
  @discardableResult
  func transfer(_ checkpoint: Checkpoint, to index: Int) -> Bool {
    for donor in nodes where donor !== nodes[index] && donor.isUp {
      guard let snapshot = donor.snapshots[checkpoint.sequence] else { continue }
      guard nodes[index].executed.count <= snapshot.count else { return false }
      nodes[index].executed = snapshot
      nodes[index].disk.executed = snapshot
      nodes[index].snapshots[checkpoint.sequence] = snapshot
      give(.stateTransferred(checkpoint), to: index)
      return true
    }
    return false
  }

  private func flight(_ message: Message, from index: Int, to other: Int) -> Flight {
    var flight = Flight(message: message, from: index, to: other)
    switch message {
    case .viewChange(let handle), .newView(let handle):
      flight.statement = nodes[index].core.statement(handle)
    default: break
    }
    return flight
  }

  private func run(_ effect: OrderingCore.Effect, of index: Int) {
    let node = nodes[index]
    switch effect {
    case .broadcast(let message):
      for other in nodes.indices where other != index {
        flights.append(flight(message, from: index, to: other))
      }
    case .send(let message, let peer):
      flights.append(flight(message, from: index, to: Int(peer.rawValue)))
    case .sign(let handle): give(.signed(handle, .none), to: index)
    case .execute(let sequence, _, let digest, let batch):
      precondition(Int(sequence.rawValue) == node.executed.count + 1, "a gap in the order")
      precondition(digest == .zero || node.batches[batch] == digest, "a batch that is not in hand")
      node.executed.append(Execution(sequence: sequence, digest: digest))
    case .takeCheckpoint(let sequence):
      if checkpointsAtOnce {
        takeCheckpoint(sequence, of: index)
      } else {
        node.snapshots[sequence] = node.executed
        delayedCheckpoints.append((index, sequence))
      }
    case .discard(let batch):
      precondition(node.batches.removeValue(forKey: batch) != nil, "a batch is discarded once")
      discarded[index].append(batch)
    case .stable(let checkpoint):
      stable[index].append(checkpoint)
      node.disk.stable = checkpoint
      node.disk.entries.removeAll { $0.claim.sequence <= checkpoint.sequence }
      node.snapshots = node.snapshots.filter { $0.key >= checkpoint.sequence }
    case .diverged(let checkpoint): diverged[index].append(checkpoint)
    case .suspected(let view): suspected[index].append(view)
    case .viewLeft(let view, _): left[index].append(view)
    case .viewEntered(let view, let isPrimary):
      precondition(isPrimary == (membership.primaryPosition(of: view) == index))
      entered[index].append(view)
    case .fetch(let digest):
      for other in nodes.indices where other != index {
        flights.append(Flight(message: .fetchBatch(digest), from: index, to: other))
      }
    case .transferState(let checkpoint):
      transfers[index].append(checkpoint)
      if transfersAtOnce { transfer(checkpoint, to: index) }
    case .recovered: recovered[index] += 1
    case .persist(let record): write(record, of: index)
    case .accusedByWeakQuorum(let client): accused[index].append(client)
    case .startTimer(let timer, let nanoseconds):
      if timer == .suspectResend { resendDelays[index].append(nanoseconds) }
      timerDelays[index].append((timer, nanoseconds))
      node.timers[timer] = now + nanoseconds
    case .stopTimer(let timer): node.timers[timer] = nil
    case .rejected(let rejection, _): rejections[index].append(rejection)
    }
  }

  private func write(_ record: OrderingRecord, of index: Int) {
    records[index].append(record)
    let node = nodes[index]
    switch record {
    case .prePrepared(let sequence, let view, let digest, let batch):
      precondition(digest == .zero || node.batches[batch] == digest)
      node.disk.entries.append((Claim(sequence: sequence, digest: digest, view: view), false))
    case .prepared(let sequence, let view, let digest):
      node.disk.entries.append((Claim(sequence: sequence, digest: digest, view: view), true))
    case .executed(let sequence, let digest, let batch):
      let isWritten = node.disk.entries.contains {
        $0.claim.sequence == sequence && $0.claim.digest == digest
      }
      precondition(digest == .zero || isWritten || node.batches[batch] == digest, "a batch not on disk")
      node.disk.executed.append(Execution(sequence: sequence, digest: digest))
    case .checkpoint: break
    case .viewLeft(let view):
      node.disk.view = view
      node.disk.isActive = false
      node.disk.newView = nil
    case .viewEntered(let handle):
      let statement = node.core.statement(handle)
      guard case .newView(let content) = statement.statement else { preconditionFailure() }
      node.disk.view = content.view
      node.disk.isActive = true
      node.disk.newView = statement
    }
  }

  // MARK: Crash and restart

  func crash(_ index: Int) {
    nodes[index].isUp = false
    nodes[index].timers = [:]
  }

  /// Comes up with what the disk says, or as one that has lost it.
  func restart(_ index: Int, recovering: Bool = false) {
    let node = nodes[index]
    let disk = node.disk
    node.core = OrderingCore(
      configuration: configuration, id: membership.replicas[index], membership: membership)
    node.batches = [:]
    node.timers = [:]
    node.isUp = true
    if recovering {
      node.disk = Disk()
      node.executed = []
      node.snapshots = [.zero: []]
    } else {
      node.executed = Array(disk.executed.prefix(Int(disk.stable.sequence.rawValue)))
      node.snapshots = [disk.stable.sequence: node.executed]
      var decisions: [OrderingState.Decision] = []
      var checkpoints: [Checkpoint] = []
      for execution in disk.executed.dropFirst(node.executed.count) {
        node.executed.append(execution)
        let isReconfiguration = execution.digest.words.3 == 2
        decisions.append(
          OrderingState.Decision(
            sequence: execution.sequence, digest: execution.digest,
            batch: newBatch(execution.digest, at: index), isReconfiguration: isReconfiguration))
        if execution.sequence.rawValue % period == 0 || isReconfiguration {
          node.snapshots[execution.sequence] = node.executed
          checkpoints.append(Checkpoint(sequence: execution.sequence, digest: stateDigest(of: index)))
        }
      }
      var named: Set<Execution> = []
      let entries = disk.entries.map { entry in
        let isNew =
          !entry.isPrepared
          && named.insert(Execution(sequence: entry.claim.sequence, digest: entry.claim.digest)).inserted
        return OrderingState.Entry(
          claim: entry.claim, isPrepared: entry.isPrepared,
          batch: isNew ? newBatch(entry.claim.digest, at: index) : .none,
          isReconfiguration: entry.claim.digest.words.3 == 2)
      }
      node.core.restore(
        OrderingState(
          view: disk.view, isActive: disk.isActive, newView: disk.newView, stable: disk.stable,
          decisions: decisions, checkpoints: checkpoints, entries: entries))
    }
    give(.start(recovering: recovering), to: index)
  }
}

func allEmpty<Element>(_ lists: [[Element]]) -> Bool { lists.allSatisfy { $0.isEmpty } }
