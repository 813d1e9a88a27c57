// A whole cluster in one thread under virtual time: production replicas, their disks, the network, the clients, and
// what a plan does to them. One object runs schedule after schedule and keeps its memory.

import Events
import Hashing
import PBFT
import Replication

/// How one schedule ended.
public struct SimulationOutcome: Sendable {
  public var seed: UInt64
  public var profile: String
  public var replicas: Int
  /// nil when nothing is wrong.
  public var breach: Breach?
  public var breachText = ""
  /// The same on every machine, in debug and in release, with and without lines.
  public var digest: UInt64
  public var lines: [String]
  public var virtualNanoseconds: Int64
  public var events: Int
  public var messages: Int
  public var operations: Int
  public var highestExecuted: UInt64
  public var viewChanges: Int
  public var transfers: Int
  public var crashes: Int
}

/// Runs schedules, one after the other. Confined to one thread.
public final class SimulatedCluster {
  let heap = EventHeap()
  let packets = PacketPool()
  let lists = RequestLists()
  let requests = RequestTable()
  let network = Network()
  @exclusivity(unchecked) var statements = SharedPool<SignedStatement>()
  @exclusivity(unchecked) var blobs = SharedPool<[UInt8]>()
  @exclusivity(unchecked) var plan: SimulationPlan
  /// Of the plan, where they are read all the time.
  @exclusivity(unchecked) var turnNanoseconds: Int64 = 0
  @exclusivity(unchecked) var diskMode = DiskMode.none
  @exclusivity(unchecked) var hostCount = 0
  @exclusivity(unchecked) var chance = Chance(seed: 0)
  @exclusivity(unchecked) var trace = Trace()
  @exclusivity(unchecked) var ledger = Ledger()
  @exclusivity(unchecked) var now: Int64 = 0
  let hosts: [SimulatedHost]
  /// The same, for what happens all the time: see `withHost`.
  private let hostReferences: UnsafeMutablePointer<Unmanaged<SimulatedHost>>
  @exclusivity(unchecked) var memberships: [Membership] = []
  /// The highest membership a replica has begun.
  @exclusivity(unchecked) var reachedMembership: Int32 = 0
  @exclusivity(unchecked) var clients: [SimulatedClient] = []
  @exclusivity(unchecked) var answers: ContiguousArray<AnswerRecord> = []
  @exclusivity(unchecked) var administratorClient = 0
  /// The step of the plan that has been asked for last, and how many may be by now.
  @exclusivity(unchecked) var reconfigurationInFlight: Int?
  @exclusivity(unchecked) var reconfigurationsDue = 0
  @exclusivity(unchecked) var equivocations: [Equivocation] = []
  /// Operations of correct clients that are due and not acknowledged.
  @exclusivity(unchecked) var unanswered = 0
  @exclusivity(unchecked) var sendsLeft = 0
  @exclusivity(unchecked) var nextSend = 0
  @exclusivity(unchecked) var isHealed = false
  /// What links lose in an episode, [from × mostHosts + to], as raw values of `PacketClass`.
  @exclusivity(unchecked) var isFiltering = false
  @exclusivity(unchecked) var blockedClasses: ContiguousArray<UInt16>
  @exclusivity(unchecked) var events = 0
  @exclusivity(unchecked) var messages = 0

  /// More events than this is a livelock.
  static let mostEvents = 1_000_000
  /// After everything is done: how long to settle, then how long to listen.
  static let settleNanoseconds: Int64 = 4_000_000_000
  static let listenNanoseconds: Int64 = 4_000_000_000
  /// Messages per replica that may be sent while listening.
  static let idleMessages = 24

  public init() {
    plan = SimulationPlan(seed: 0, profile: Profile.all[0], replicas: 4, requests: 0)
    blockedClasses = ContiguousArray(repeating: 0, count: Network.mostHosts * Network.mostHosts)
    hosts = (0..<Network.mostHosts).map { SimulatedHost(index: $0) }
    hostReferences = .allocate(capacity: Network.mostHosts)
    for (index, host) in hosts.enumerated() {
      (hostReferences + index).initialize(to: .passUnretained(host))
    }
  }

  deinit { hostReferences.deallocate() }

  /// A host without counting references to it: there are the same ones as long as there is a cluster.
  @inline(__always)
  func withHost<Result>(_ index: Int32, _ body: (SimulatedHost) -> Result) -> Result {
    precondition(index >= 0 && index < Network.mostHosts, "a host")
    return hostReferences[Int(index)]._withUnsafeGuaranteedRef(body)
  }

  /// Runs one schedule to its end, or to the first breach. Equal arguments give equal outcomes.
  public func run(
    seed: UInt64, profile: Profile, replicas: Int = 4, requests count: Int = 200, keepingLines: Bool = false
  ) -> SimulationOutcome {
    begin(SimulationPlan(seed: seed, profile: profile, replicas: replicas, requests: count), keepingLines)
    let deadline = plan.safetyNanoseconds + plan.livenessNanoseconds
    runUntilDone(deadline)
    if ledger.breach == nil, plan.expectsLiveness {
      if isDone { listenWhileIdle() } else { failLiveness() }
    }
    if ledger.breach == nil, plan.profile.name == "calm", plan.configuration.viewChangePeriod == 0,
      let host = hosts.first(where: { $0.viewsEntered > 0 })
    {
      ledger.fail(
        .needlessViewChange, at: now, "\(host.name) entered \(host.viewsEntered) views without a fault")
    }
    if ledger.breach == nil { checkCounts() }
    if ledger.breach == nil { ledger.close(at: now) }
    return end()
  }

  private func begin(_ plan: SimulationPlan, _ keepingLines: Bool) {
    self.plan = plan
    turnNanoseconds = plan.turnNanoseconds
    diskMode = plan.disk
    hostCount = plan.hosts
    heap.removeAll()
    packets.removeAll()
    lists.removeAll()
    requests.removeAll()
    statements.removeAll()
    blobs.removeAll()
    chance = Chance(seed: mixed(plan.seed, 0x5EED ^ UInt64(plan.replicas)))
    network.reset(plan.quality)
    trace.begin(keepingLines: keepingLines)
    ledger.reset()
    ledger.isChecking = plan.expectsSafety
    now = 0
    isHealed = false
    isFiltering = false
    events = 0
    messages = 0
    answers.removeAll(keepingCapacity: true)
    reconfigurationInFlight = nil
    equivocations.removeAll(keepingCapacity: true)
    drawMembershipsAhead()
    describePlan()
    for host in hosts {
      host.reset(id: ReplicaID(Int32(host.index)), drift: plan.clockDrift[host.index])
    }
    for index in 0..<plan.replicas { boot(hosts[index], as: ReplicaID(Int32(index)), in: memberships[0]) }
    if let position = plan.twinOf {
      boot(hosts[plan.replicas], as: ReplicaID(Int32(position)), in: memberships[0])
    }
    for (index, planned) in plan.timeline.enumerated() {
      heap.push(.fault, at: planned.time, subject: Int32(index))
    }
    resetClients()
  }

  /// All memberships the plan may reach, by their numbers.
  private func drawMembershipsAhead() {
    let first = (0..<Int32(plan.replicas)).map { ReplicaID($0) }
    memberships = [Membership(id: 0, replicas: first, faults: plan.faults)!]
    for (step, planned) in plan.memberships.enumerated() {
      memberships.append(
        Membership(
          id: Int32(step + 1), replicas: planned.replicas.map { ReplicaID($0) }, faults: planned.faults)!)
    }
    reachedMembership = 0
  }

  private func runUntilDone(_ deadline: Int64) {
    while ledger.breach == nil {
      guard heap.firstTime <= deadline, let event = heap.pop() else { return }
      step(event)
      if isHealed, sendsLeft == 0, unanswered == 0, events & 31 == 0 || heap.count == 0, isDone { return }
      if events > Self.mostEvents {
        return failLivelock()
      }
    }
  }

  @inline(__always)
  private func step(_ event: DueEvent) {
    events &+= 1
    now = event.time
    switch event.kind {
    case .deliver: deliver(event.subject, to: event.detail)
    case .timer: withHost(event.subject) { timerDue($0, event.time) }
    case .turnEnd:
      withHost(event.subject) { host in
        if host.isTurnOpen { host.withProcess { endTurn(host, $0) } }
      }
    case .diskDone: writeDone(hosts[Int(event.subject)], event.detail)
    case .clientDue: sendDue()
    case .clientResend: resendIfUnanswered(Int32(event.detail))
    case .fault: apply(plan.timeline[Int(event.subject)].fault)
    case .adversary: adversaryDue(hosts[Int(event.subject)])
    case .byzantineClient: actAsByzantine(Int(event.subject))
    case .resume: restart(hosts[Int(event.subject)])
    }
    if events & 255 == 0 { checkBounds() }
  }

  /// Nothing is executed but what some client asked for.
  private func checkCounts() {
    guard plan.expectsSafety else { return }
    for host in hosts where host.isUp && counts(host) {
      let executed = host.replica.status.executedRequests
      guard executed > UInt64(ledger.operations.count) else { continue }
      ledger.fail(
        .exactlyOnce, at: now,
        "\(host.name) has executed \(executed) requests of \(ledger.operations.count) operations")
    }
  }

  /// Whether every request is answered and every correct replica that is up has all of it.
  var isDone: Bool {
    guard isHealed, sendsLeft == 0, unanswered == 0, Int(reachedMembership) >= reconfigurationsDue
    else { return false }
    var highest: UInt64 = 0
    for host in hosts where host.isUp && counts(host) { highest = max(highest, host.lastExecuted) }
    for host in hosts where host.isUp && counts(host) && host.lastExecuted < highest { return false }
    return true
  }

  /// Whether the host must keep up: correct, and in the newest membership.
  func counts(_ host: SimulatedHost) -> Bool {
    host.isCorrect && plan.twinOf != Int(host.id.rawValue)
      && membership(reachedMembership).position(of: host.id) != nil
  }

  private func failLiveness() {
    var text = "\(unanswered) operations unanswered, \(sendsLeft) not sent"
    for host in hosts where host.wasStarted {
      text += "; \(host.name)"
      guard host.isUp else {
        text += " down"
        continue
      }
      let status = host.replica.status
      text +=
        " v\(status.view.rawValue)\(status.isActive ? "" : " inactive") e=\(status.lastExecuted.rawValue)"
      text += " h=\(status.stableCheckpoint.sequence.rawValue) waiting=\(status.storedRequests)"
      if host.isRecovering { text += " recovering" }
      if !host.isCorrect { text += " byzantine" }
    }
    ledger.fail(.liveness, at: now, text)
  }

  /// Lets the cluster settle, then counts what correct replicas still say.
  private func listenWhileIdle() {
    runUntil(now + Self.settleNanoseconds)
    guard ledger.breach == nil else { return }
    let before = hosts.map(\.sent)
    runUntil(now + Self.listenNanoseconds)
    guard ledger.breach == nil, plan.roles.allSatisfy(\.isEmpty), plan.twinOf == nil else { return }
    // What goes on at the slowest pace: null requests, and questions about what cannot be finished (a replica that has
    // left a view alone), sixteen times as far apart as the first.
    let heartbeat = plan.configuration.nullRequestNanoseconds
    let pace = 16 * min(plan.configuration.healingInterval, plan.configuration.viewChangeResendNanoseconds)
    let most =
      plan.hosts
      * (Self.idleMessages + Int(Self.listenNanoseconds / pace) * 4
        + (heartbeat > 0 ? Int(Self.listenNanoseconds / heartbeat) * 8 : 0))
    for host in hosts where host.isUp && host.isCorrect {
      let said = host.sent - before[host.index]
      if said > most {
        ledger.fail(.idleRate, at: now, "\(host.name) sent \(said) messages while idle")
      }
    }
  }

  private func runUntil(_ end: Int64) {
    while ledger.breach == nil, heap.firstTime <= end, let event = heap.pop() {
      step(event)
      if events > Self.mostEvents {
        return failLivelock()
      }
    }
    now = max(now, end)
  }

  private func failLivelock() {
    var text = "\(events) events, \(messages) messages and no end; next"
    for _ in 0..<8 {
      if let event = heap.pop() {
        if event.kind == .timer, let timers = hosts[Int(event.subject)].process?.timers {
          timers.advance(to: hosts[Int(event.subject)].localTime(event.time))
          if let fired = timers.takeFired() { text += " \(fired)" }
        }
        text += " \(event.kind)(\(event.subject)) in \(event.time - now) ns"
      }
    }
    ledger.fail(.livelock, at: now, text)
  }

  private func end() -> SimulationOutcome {
    let breach = ledger.breach
    trace.note(
      .end, at: now, 0, UInt64(ledger.highestExecuted), UInt64(events),
      "plan|\(breach.map { "\($0.rawValue): \(ledger.breachText)" } ?? "ok")")
    return SimulationOutcome(
      seed: plan.seed, profile: plan.profile.name, replicas: plan.replicas, breach: breach,
      breachText: ledger.breachText, digest: trace.digest, lines: trace.lines, virtualNanoseconds: now,
      events: events, messages: messages, operations: ledger.operations.count,
      highestExecuted: ledger.highestExecuted, viewChanges: hosts.map(\.viewsEntered).max() ?? 0,
      transfers: hosts.map(\.transfers).reduce(0, +), crashes: hosts.map(\.crashes).reduce(0, +))
  }

  /// The membership of that number, the last one when there is none.
  func membership(_ id: Int32) -> Membership {
    memberships[min(max(0, Int(id)), memberships.count - 1)]
  }

  private func describePlan() {
    guard trace.keepsLines else { return }
    let configuration = plan.configuration
    var text =
      "seed=\(plan.seed) profile=\(plan.profile.name) n=\(plan.replicas) f=\(plan.faults) "
      + "K=\(configuration.checkpointPeriod) L=\(configuration.logSize) batch=\(configuration.batchSize) "
      + "T=\(configuration.requestTimeoutNanoseconds / 1_000_000)ms disk=\(plan.disk.rawValue) "
      + "clients=\(plan.clients)x\(plan.outstanding) loss=\(plan.quality.lossShare)/1024"
    for host in plan.faulty {
      text += " faulty=r\(host)"
      if !plan.roles[host].isEmpty { text += "(\(plan.roles[host].names.joined(separator: ",")))" }
    }
    trace.describe(text)
  }
}
