// A seeded schedule over an ordering cluster: messages delayed, reordered, lost and doubled, replicas
// crashing, forgetting and lying within f, then a healed cluster that has to finish.

import PBFT

struct Generator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
    return value ^ (value >> 31)
  }

  mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
  mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
}

final class RandomSchedule {
  private enum Step {
    case flight(Flight)
    case checkpoint(node: Int, sequence: SequenceNumber, life: Int)
    case transfer(node: Int, life: Int)
    case restart(node: Int, forgets: Bool)
  }

  let seed: UInt64
  let cluster: OrderingCluster
  private var random: Generator
  private var queue: [(due: Int64, order: Int, step: Step)] = []
  private var order = 0
  private var decided: [Digest] = []
  private var checked: [Int]
  private var lives: [Int]
  private var loss = 0
  private var doubling = 0
  private var refusal = 0
  private var slowest: Int64 = 1
  private var cut: Set<Int> = []
  private var liars: Set<Int> = []
  private var down: Set<Int> = []
  private var lastMove: [Int64]
  private var lastExecuted: [UInt64]
  private var nextBatch: UInt64 = 1
  private var lastProposal: Int64 = 0
  private var isHealed = false
  var isVerbose = false
  private(set) var failure: String?
  private(set) var steps = 0

  init(seed: UInt64, replicas: Int) {
    self.seed = seed
    random = Generator(state: seed &* 0x1000_0001 &+ UInt64(replicas))
    let multiplier = UInt64(2 + random.below(3))
    cluster = OrderingCluster(
      replicas: replicas, period: UInt64(1 + random.below(4)), multiplier: multiplier,
      viewChangePeriod: random.chance(20) ? UInt64(1 + random.below(3)) : 0,
      nullRequest: random.chance(20) ? 2_000 : 0)
    cluster.transfersAtOnce = false
    cluster.checkpointsAtOnce = random.chance(50)
    checked = Array(repeating: 0, count: replicas)
    lives = Array(repeating: 0, count: replicas)
    lastMove = Array(repeating: 0, count: replicas)
    lastExecuted = Array(repeating: 0, count: replicas)
    loss = random.chance(70) ? random.below(30) : 0
    doubling = random.below(15)
    refusal = random.chance(20) ? random.below(30) : 0
    slowest = Int64(1 + random.below(400))
    if random.chance(30) {
      while liars.count < cluster.quorums.faults { liars.insert(random.below(replicas)) }
    }
  }

  private var faulty: Int {
    var count = down.union(liars).count
    for index in cluster.nodes.indices where cluster.nodes[index].isUp && !down.contains(index) {
      if cluster.nodes[index].core.isRecovering { count += 1 }
    }
    return count
  }

  /// A line about what went wrong, nil when nothing did.
  func run() -> String? {
    collect()
    let chaosEnds: Int64 = 30_000
    while failure == nil, cluster.now < chaosEnds, steps < 60_000 {
      if random.chance(2) { disturb() }
      step()
    }
    heal()
    let goal = UInt64(decided.count) + 3 * cluster.period * cluster.configuration.logMultiplier
    let end = cluster.now + 3_000_000
    while failure == nil {
      step()
      let live = cluster.nodes.indices.filter { !liars.contains($0) }
      if live.allSatisfy({ cluster.nodes[$0].executed.count >= Int(goal) }) { break }
      if cluster.now > end || steps > 1_500_000 {
        failure = "no progress: \(describe())"
      }
    }
    return failure.map { "seed \(seed) n \(cluster.nodes.count): \($0)" }
  }

  func describe() -> String {
    cluster.nodes.indices.map { index in
      let core = cluster.nodes[index].core
      let state =
        (core.isActive ? "" : "-") + (core.isRecovering ? "R" : "") + (core.isFetchingState ? "T" : "")
        + (liars.contains(index) ? "L" : "")
      let numbers = [
        core.stableCheckpoint.sequence, core.lastExecuted, core.lastProposed,
        core.certifiedCheckpoint.sequence,
      ]
      return "\(index)[v\(core.view.rawValue)\(state) h x p c \(numbers.map(\.rawValue))]"
    }.joined(separator: " ") + " t\(cluster.now)"
  }

  private func push(_ step: Step, after delay: Int64) {
    order += 1
    queue.append((cluster.now + delay, order, step))
    var child = queue.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard precedes(child, parent) else { break }
      queue.swapAt(child, parent)
      child = parent
    }
  }

  private func precedes(_ left: Int, _ right: Int) -> Bool {
    queue[left].due != queue[right].due
      ? queue[left].due < queue[right].due : queue[left].order < queue[right].order
  }

  private func pop() -> Step {
    let first = queue[0]
    cluster.now = max(cluster.now, first.due)
    let last = queue.removeLast()
    if !queue.isEmpty {
      queue[0] = last
      var parent = 0
      while true {
        var best = parent
        for child in [2 * parent + 1, 2 * parent + 2] where child < queue.count && precedes(child, best) {
          best = child
        }
        if best == parent { break }
        queue.swapAt(best, parent)
        parent = best
      }
    }
    return first.step
  }

  private func step() {
    steps += 1
    if isVerbose, steps % 200 == 0 { print(describe()) }
    propose()
    suspect()
    var timer: (node: Int, timer: OrderingTimer, due: Int64)?
    for index in cluster.nodes.indices where cluster.nodes[index].isUp {
      for (kind, due) in cluster.nodes[index].timers {
        if let known = timer,
          (known.due, known.node, known.timer.rawValue) < (due, index, kind.rawValue)
        {
          continue
        }
        timer = (index, kind, due)
      }
    }
    if let timer, queue.first.map({ timer.due <= $0.due }) ?? true, timer.due <= cluster.now + 100 {
      cluster.now = max(cluster.now, timer.due)
      cluster.expire(timer.timer, of: timer.node)
    } else if let first = queue.first, first.due <= cluster.now + 100 {
      perform(pop())
    } else {
      cluster.now += 100
    }
    collect()
  }

  private func perform(_ step: Step) {
    switch step {
    case .flight(let flight):
      if case .prePrepare(var refused) = flight.message, cluster.nodes[flight.to].isUp, random.chance(refusal)
      {
        refused.batch =
          refused.digest == .zero || random.chance(300)
          ? .none : cluster.newBatch(refused.digest, at: flight.to)
        let isReconfiguration = refused.digest.words.3 == 2
        let sender = ReplicaID(Int32(flight.from))
        cluster.give(
          .prePrepareRefused(refused, isReconfiguration: isReconfiguration, from: sender), to: flight.to)
      } else {
        cluster.deliver(flight)
      }
    case .checkpoint(let node, let sequence, let life):
      guard lives[node] == life, cluster.nodes[node].isUp,
        let snapshot = cluster.nodes[node].snapshots[sequence]
      else { return }
      let executed = cluster.nodes[node].executed
      cluster.nodes[node].executed = snapshot
      let state = cluster.stateDigest(of: node)
      cluster.nodes[node].executed = executed
      guard sequence > cluster.nodes[node].core.stableCheckpoint.sequence else { return }
      cluster.give(.checkpointTaken(Checkpoint(sequence: sequence, digest: state)), to: node)
    case .transfer(let node, let life):
      guard lives[node] == life, cluster.nodes[node].core.isFetchingState,
        let target = cluster.transfers[node].last
      else { return }
      if !isHealed, random.chance(30) || !cluster.transfer(target, to: node) {
        cluster.give(.stateTransferFailed, to: node)
      } else if isHealed, !cluster.transfer(target, to: node) {
        cluster.give(.stateTransferFailed, to: node)
      }
    case .restart(let node, let forgets): restart(node, forgets)
    }
  }

  private func restart(_ node: Int, _ forgets: Bool) {
    guard down.contains(node) else { return }
    down.remove(node)
    lives[node] += 1
    checked[node] = 0
    cluster.restart(node, recovering: forgets)
  }

  /// What the cores have said goes on its way; what they have executed is compared.
  private func collect() {
    for flight in cluster.flights {
      if cut.contains(flight.from) != cut.contains(flight.to) { continue }
      if random.chance(loss) { continue }
      var flight = flight
      if liars.contains(flight.from), random.chance(15) { flight = lie(flight) }
      push(.flight(flight), after: Int64(1 + random.below(Int(slowest))))
      if random.chance(doubling) { push(.flight(flight), after: Int64(1 + random.below(1_000))) }
    }
    cluster.flights.removeAll(keepingCapacity: true)
    for (node, sequence) in cluster.delayedCheckpoints {
      push(.checkpoint(node: node, sequence: sequence, life: lives[node]), after: Int64(random.below(300)))
    }
    cluster.delayedCheckpoints.removeAll(keepingCapacity: true)
    for index in cluster.nodes.indices {
      if cluster.nodes[index].core.isFetchingState, !pendingTransfer.contains(index) {
        pendingTransfer.insert(index)
        push(.transfer(node: index, life: lives[index]), after: Int64(10 + random.below(500)))
      } else if !cluster.nodes[index].core.isFetchingState {
        pendingTransfer.remove(index)
      }
      guard !liars.contains(index) else { continue }
      let executed = cluster.nodes[index].executed
      while checked[index] < executed.count {
        let place = checked[index]
        if place < decided.count {
          if decided[place] != executed[place].digest {
            failure = "disagreement at \(place + 1) of replica \(index): \(describe())"
          }
        } else {
          decided.append(executed[place].digest)
        }
        checked[index] += 1
      }
      if cluster.nodes[index].batches.count > 400 {
        failure = "\(cluster.nodes[index].batches.count) batches"
      }
    }
  }

  private var pendingTransfer: Set<Int> = []

  private func propose() {
    guard cluster.now >= lastProposal + 40 else { return }
    lastProposal = cluster.now
    for index in cluster.nodes.indices where cluster.nodes[index].isUp && cluster.nodes[index].core.canPropose
    {
      guard isHealed || random.chance(70) else { continue }
      // At times an old batch once more.
      let number = random.chance(3) ? nextBatch / 2 + 1 : nextBatch
      nextBatch += 1
      // Reconfigurations that execution refuses: the cores go on after their checkpoints.
      cluster.propose(number % 37 == 0 ? reconfiguration(number) : digest(number), by: index)
    }
  }

  /// The request timer: there are always requests.
  private func suspect() {
    for index in cluster.nodes.indices where cluster.nodes[index].isUp {
      let executed = cluster.nodes[index].core.lastExecuted.rawValue
      if executed != lastExecuted[index] || !cluster.nodes[index].core.isActive {
        lastExecuted[index] = executed
        lastMove[index] = cluster.now
      } else if cluster.now > lastMove[index] + 6_000 {
        lastMove[index] = cluster.now
        cluster.give(.suspectPrimary(accused: nil), to: index)
      }
    }
  }

  private func disturb() {
    let index = random.below(cluster.nodes.count)
    switch random.below(6) {
    case 0, 1:
      guard faulty < cluster.quorums.faults, !down.contains(index), !liars.contains(index) else { return }
      guard !cluster.nodes[index].core.isRecovering else { return }
      down.insert(index)
      pendingTransfer.remove(index)
      cluster.crash(index)
      lives[index] += 1
      push(
        .restart(node: index, forgets: random.chance(25)), after: Int64(1 + random.below(12_000)))
    case 2: cut = [index]
    case 3: cut = [index, random.below(cluster.nodes.count)]
    case 4: cut = []
    default:
      // The whole cluster loses its power.
      guard random.chance(10) else { return }
      for node in cluster.nodes.indices where cluster.nodes[node].isUp && !liars.contains(node) {
        guard !cluster.nodes[node].core.isRecovering else { continue }
        lives[node] += 1
        checked[node] = 0
        pendingTransfer.remove(node)
        cluster.crash(node)
        cluster.restart(node)
      }
    }
  }

  private func heal() {
    isHealed = true
    cut = []
    loss = 0
    doubling = 0
    refusal = 0
    slowest = min(slowest, 50)
    for node in down.sorted() { restart(node, false) }
  }

  private func lie(_ flight: Flight) -> Flight {
    var flight = flight
    let wrong = digest(1_000_000 + UInt64(random.below(5)))
    switch flight.message {
    case .prePrepare(var message):
      message.digest = wrong
      flight.message = .prePrepare(message)
    case .prepare(var message):
      message.digest = wrong
      flight.message = .prepare(message)
    case .commit(var message):
      message.digest = wrong
      flight.message = .commit(message)
    case .checkpoint(var message):
      message.digest = wrong
      message.sequence.rawValue &+= cluster.period * UInt64(random.below(8))
      flight.message = .checkpoint(message)
    case .executed(var message):
      message.digest = wrong
      flight.message = .executed(message)
    case .status(var message):
      message.executed.rawValue &+= 100
      message.stable.rawValue &+= 50
      message.view.rawValue &+= UInt64(random.below(3))
      flight.message = .status(message)
    case .viewChange:
      guard case .viewChange(var change)? = flight.statement?.statement else { break }
      switch random.below(4) {
      case 0: change.prepared = []
      case 1: change.prePrepared = []
      case 2:
        for index in change.prepared.indices { change.prepared[index].digest = wrong }
        for index in change.prePrepared.indices { change.prePrepared[index].digest = wrong }
      default:
        change.stable = Checkpoint(
          sequence: SequenceNumber(change.stable.sequence.rawValue + 4), digest: wrong)
      }
      flight.statement = SignedStatement(statement: .viewChange(change), signature: .none)
    case .newView:
      guard case .newView(var content)? = flight.statement?.statement else { break }
      if content.digests.isEmpty { content.digests = [wrong] } else { content.digests[0] = wrong }
      flight.statement = SignedStatement(statement: .newView(content), signature: .none)
    default: break
    }
    return flight
  }
}
