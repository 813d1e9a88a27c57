// What a schedule is, drawn once from its seed: the cluster's parameters, who is faulty and how, when what breaks and
// heals, when which client sends. The run itself then only draws delays and an adversary's choices.

import PBFT
import Replication

/// One thing the plan does to the cluster. Hosts are positions in the list of hosts.
enum Fault {
  case crash(host: Int, loss: CrashLoss, damage: DiskDamage?)
  /// At the host's so-and-so-many next write, before or after it takes place.
  case crashAtWrite(host: Int, writes: Int, loss: CrashLoss, isAfter: Bool)
  case restart(host: Int)
  case cut(from: Int, to: Int, isCut: Bool)
  case clog(from: Int, to: Int, nanoseconds: Int64)
  case pause(host: Int, nanoseconds: Int64)
  case jumpClock(host: Int, nanoseconds: Int64)
  case fillDisk(host: Int, isFull: Bool)
  /// The administrator asks for the next membership of the plan.
  case reconfigure(step: Int)
  /// From now on links let through what the plan's filter of this number says.
  case filter(Int)
  case passAll
  /// The host crashes right after it has sent something of this kind, and comes back by itself.
  case dieAfter(host: Int, words: PacketClass, loss: CrashLoss, downNanoseconds: Int64)
  /// All hosts crash at once.
  case cutPower(loss: CrashLoss)
  /// The end of the safety phase: everything that can heal does.
  case heal
}

struct PlannedFault {
  var time: Int64
  var fault: Fault
}

/// A membership to be reached by a reconfiguration.
struct PlannedMembership {
  var replicas: [Int32]
  var faults: Int
}

struct PlannedSend {
  var time: Int64
  var client: Int
}

/// One schedule before it runs. A class so that reading one of its many values copies nothing; never changed once drawn.
final class SimulationPlan {
  let seed: UInt64
  let profile: Profile
  /// Replicas of the first membership, and the faults tolerated.
  let replicas: Int
  let faults: Int
  var configuration = ReplicaConfiguration()
  var disk = DiskMode.none
  var quality = LinkQuality()
  /// How long a host gathers before it ends a turn; 0 = each arrival is a turn.
  var turnNanoseconds: Int64 = 0
  var diskNanoseconds: Int64 = 200_000
  var clients = 0
  var outstanding = 1
  /// Whether clients sign, so that all replicas find a request authentic or none does; else each has a tag of its own.
  var isSigned = false
  /// Ascending by time.
  var sends: [PlannedSend] = []
  var clientResendNanoseconds: Int64 = 120_000_000
  /// Share of requests after which a client begins a new session.
  var sessionShare = 0
  var byzantineClients = 0
  /// The replica that a client's requests never reach, one for each client; -1 = none. The others pass them on.
  var unreachable: [Int32] = []
  /// Hosts that are faulty throughout, ascending; the others only crash without losing anything, or are cut off.
  var faulty: [Int] = []
  var roles: [AdversaryRoles] = []
  /// Position of the replica that has a twin; the twin is host `replicas`.
  var twinOf: Int?
  var memberships: [PlannedMembership] = []
  var timeline: [PlannedFault] = []
  /// What links let through in the episodes, and when these begin.
  var filters: [LinkFilter] = []
  var episodes: [Int64] = []
  /// Parts per 1,024 by which each host's clock is fast.
  var clockDrift: [Int64] = []
  /// The end of the safety phase.
  var safetyNanoseconds: Int64 = 0
  /// How long after it everything must be done.
  var livenessNanoseconds: Int64 = 60_000_000_000
  /// Whether all must be done in the end.
  var expectsLiveness = true
  /// Whether agreement and the rest is checked; false when more than f are Byzantine.
  var expectsSafety = true

  /// The hosts there will ever be: replicas, a twin, replicas added later.
  private(set) var hosts = 0

  init(seed: UInt64, profile: Profile, replicas: Int, requests: Int) {
    self.seed = seed
    self.profile = profile
    self.replicas = replicas
    faults = FaultModel.byzantine.maximumFaults(replicas: replicas)
    var salt = mixed(seed, UInt64(replicas))
    for byte in profile.name.utf8 { salt = mixed(salt, UInt64(byte)) }
    var chance = Chance(seed: salt)
    drawCluster(&chance)
    drawFaulty(&chance)
    hosts = replicas + (twinOf == nil ? 0 : 1)
    for planned in memberships { hosts = max(hosts, Int(planned.replicas.max()!) + 1) }
    drawTimeline(&chance)
    drawSends(requests, &chance)
    unreachable = Array(repeating: -1, count: clients)
    if profile.cutsClientsOff, chance.happens(768) {
      for client in 0..<clients where chance.happens(512) {
        unreachable[client] = Int32(chance.below(replicas))
      }
    }
    timeline.append(PlannedFault(time: safetyNanoseconds, fault: .heal))
    timeline.sort { $0.time < $1.time }
  }

  private func drawCluster(_ chance: inout Chance) {
    configuration.batchSize = chance.within(1...8)
    configuration.batchTimeoutNanoseconds = Int64(chance.within(200...2_000)) * 1_000
    configuration.requestTimeoutNanoseconds = Int64(chance.within(60...150)) * 1_000_000
    configuration.checkpointPeriod = chance.pick([2, 4, 4, 8, 8, 16])
    configuration.logMultiplier = chance.within(2...4)
    configuration.maximumRequestBytes = 512
    configuration.maximumBatchRequests = 16
    configuration.maximumBatchBytes = 1 << 13
    configuration.maximumStoredRequests = 256
    configuration.maximumHeldRequests = 2_048
    configuration.maximumHeldBytes = 1 << 20
    configuration.maximumClients = 64
    configuration.lookupSalt = chance.bits()
    let timeout = configuration.requestTimeoutNanoseconds
    configuration.viewChangeTimeoutNanoseconds = Int64(chance.within(50...150)) * 1_000_000
    configuration.viewChangeResendNanoseconds = Int64(chance.within(30...90)) * 1_000_000
    configuration.healingNanoseconds = Int64(chance.within(5...30)) * 1_000_000
    configuration.suspectResendNanoseconds = timeout / 2
    configuration.stateTransferTimeoutNanoseconds = Int64(chance.within(10...60)) * 1_000_000
    if chance.happens(128) { configuration.viewChangePeriod = chance.within(1...3) }
    if chance.happens(128) {
      configuration.nullRequestNanoseconds = Int64(chance.within(40...200)) * 1_000_000
    }
    configuration.administrator = SimulatedCluster.administrator
    disk = chance.pick(profile.disk)
    configuration.durability =
      switch disk {
      case .none: .none
      case .async: .async
      case .sync: .sync
      }
    turnNanoseconds = chance.pick([0, 0, 50_000, 300_000])
    diskNanoseconds = chance.pick([20_000, 200_000, 2_000_000])
    clients = chance.within(4...12)
    outstanding = chance.pick([1, 1, 2, 4])
    sessionShare = chance.pick([0, 0, 30, 100])
    isSigned = chance.happens(512)
    byzantineClients = profile.byzantineClients > 0 ? chance.within(1...profile.byzantineClients) : 0
    quality.lossShare = chance.below(profile.mostLossShare + 1)
    quality.duplicateShare = chance.below(profile.mostDuplicateShare + 1)
    quality.tailShare = chance.below(profile.mostTailShare + 1)
    quality.isInOrder = !(profile.reorders && chance.happens(768))
    quality.delaySpreadNanoseconds = Int64(chance.pick([100, 400, 2_000])) * 1_000
    let spans: [Int64] = profile.name == "calm" ? [200, 400] : [500, 900, 1_500]
    safetyNanoseconds = chance.pick(spans) * 1_000_000
    if profile.hasEpisodes { drawImpatience(&chance) }
  }

  private func drawFaulty(_ chance: inout Chance) {
    clockDrift = Array(repeating: 0, count: Network.mostHosts)
    if profile.skewsClocks {
      for host in 0..<replicas { clockDrift[host] = Int64(chance.within(0...60)) - 30 }
    }
    roles = Array(repeating: [], count: Network.mostHosts)
    let beyond = profile.isBeyondFaults ? 1 + chance.below(2) : 0
    var isByzantine = !profile.roles.isEmpty && !(profile.isBeyondFaults && chance.happens(512))
    var hasTwin = profile.twins
    if profile.hasEpisodes {
      // One kind of faulty replica each: liars, mostly, or twins, or some that at most stay down.
      let kind = chance.below(8)
      isByzantine = kind < 5
      hasTwin = kind == 5
    }
    let count = min(replicas, faults + beyond)
    faulty = chance.choose(count, of: replicas)
    if isByzantine {
      // The first primary is faulty more often than its turn.
      if !faulty.isEmpty, !faulty.contains(0), chance.happens(512) { faulty[0] = 0 }
      for host in faulty {
        for _ in 0..<chance.within(profile.hasEpisodes ? 2...4 : 1...3) {
          roles[host].insert(chance.pick(profile.roles))
        }
      }
    }
    if hasTwin, let host = faulty.first { twinOf = host }
    if profile.isBeyondFaults {
      expectsLiveness = false
      // It may never be done, and be busy all the time.
      livenessNanoseconds = 10_000_000_000
      expectsSafety = !isByzantine
    }
    if profile.damagesInEpisodes {
      // More may be forgetful than may be faulty: then nobody votes who should not, and perhaps nobody else.
      expectsLiveness = false
      livenessNanoseconds = 2_000_000_000
    }
    if profile.changesMembership { drawMemberships(&chance) }
  }

  private func drawMemberships(_ chance: inout Chance) {
    faulty = []
    var present = (0..<Int32(replicas)).map { $0 }
    var next = Int32(replicas)
    for _ in 0..<chance.within(1...3) {
      if present.count > 4, chance.happens(512) {
        present.remove(at: chance.below(present.count))
      } else {
        present.append(next)
        next += 1
      }
      let faults = FaultModel.byzantine.maximumFaults(replicas: present.count)
      memberships.append(PlannedMembership(replicas: present, faults: faults))
    }
    for step in memberships.indices {
      let time = safetyNanoseconds * Int64(step + 1) / Int64(memberships.count + 1)
      timeline.append(PlannedFault(time: time, fault: .reconfigure(step: step)))
    }
  }

  /// A time in the safety phase.
  private func anyTime(_ chance: inout Chance) -> Int64 {
    chance.nanoseconds(below: safetyNanoseconds * 7 / 8)
  }

  private func drawTimeline(_ chance: inout Chance) {
    func count(_ most: Int) -> Int { most > 0 ? chance.below(most + 1) : 0 }
    func add(_ time: Int64, _ fault: Fault) { timeline.append(PlannedFault(time: time, fault: fault)) }
    let hosts = self.hosts
    for _ in 0..<count(profile.mostCuts) {
      let time = anyTime(&chance)
      let length = chance.nanoseconds(below: safetyNanoseconds / 2)
      let links = drawCut(hosts, &chance)
      for (from, to) in links {
        add(time, .cut(from: from, to: to, isCut: true))
        add(time + length, .cut(from: from, to: to, isCut: false))
      }
    }
    for _ in 0..<count(profile.mostClogs) {
      let time = anyTime(&chance)
      let length = chance.nanoseconds(below: 300_000_000)
      let victim = chance.below(hosts)
      for other in 0..<hosts where other != victim && chance.happens(768) {
        add(time, .clog(from: other, to: victim, nanoseconds: length))
        if chance.happens(512) { add(time, .clog(from: victim, to: other, nanoseconds: length)) }
      }
    }
    for _ in 0..<count(profile.mostPauses) {
      let length = chance.nanoseconds(below: 400_000_000)
      add(anyTime(&chance), .pause(host: chance.below(hosts), nanoseconds: length))
    }
    if profile.skewsClocks, chance.happens(512) {
      let length = chance.nanoseconds(below: 10_000_000_000)
      add(anyTime(&chance), .jumpClock(host: chance.below(hosts), nanoseconds: length))
    }
    for _ in 0..<count(profile.mostCrashes) { drawCrash(&chance) }
    if profile.hasEpisodes { drawEpisodes(&chance) }
    if profile.staysDown, chance.happens(512), let host = faulty.first, roles[host].isEmpty, twinOf == nil {
      add(anyTime(&chance), .crash(host: host, loss: .losesAll, damage: nil))
    }
    if profile.damagesDisks, let host = faulty.first, chance.happens(256) {
      let time = anyTime(&chance)
      add(time, .fillDisk(host: host, isFull: true))
      add(time + chance.nanoseconds(below: 300_000_000), .fillDisk(host: host, isFull: false))
    }
    if profile.isBeyondFaults, expectsSafety {
      for host in faulty { add(anyTime(&chance), .crash(host: host, loss: .losesAll, damage: nil)) }
    }
  }

  /// A crash of a faulty host may cost it what it wrote; all others lose at most what was not synchronised yet, whole
  /// writes at a time, so that what is left is sound.
  private func drawCrash(_ chance: inout Chance) {
    let forgets = profile.damagesDisks && !faulty.isEmpty && chance.happens(640)
    let host: Int
    var loss = CrashLoss.losesAll
    var damage: DiskDamage?
    if forgets || disk != .sync {
      guard let victim = faulty.first else { return }
      host = victim
      loss = chance.pick(CrashLoss.allCases)
      if chance.happens(512) { damage = chance.pick(DiskDamage.allCases) }
    } else {
      host = chance.below(replicas)
      loss = chance.pick([.keepsAll, .losesAll, .keepsSomeWrites])
    }
    let time = anyTime(&chance)
    let down = 5_000_000 + chance.nanoseconds(below: chance.happens(512) ? 60_000_000 : 500_000_000)
    if disk == .sync, damage == nil, chance.happens(512) {
      let writes = 1 + chance.below(12)
      timeline.append(
        PlannedFault(
          time: time,
          fault: .crashAtWrite(host: host, writes: writes, loss: loss, isAfter: chance.happens(512))))
      timeline.append(PlannedFault(time: time + 50_000_000 + down, fault: .restart(host: host)))
    } else {
      timeline.append(PlannedFault(time: time, fault: .crash(host: host, loss: loss, damage: damage)))
      timeline.append(PlannedFault(time: time + down, fault: .restart(host: host)))
    }
  }

  /// The links of one cut: a host alone, two halves, one direction, or a few links.
  private func drawCut(_ hosts: Int, _ chance: inout Chance) -> [(Int, Int)] {
    var links: [(Int, Int)] = []
    switch chance.below(5) {
    case 0:
      let alone = chance.below(hosts)
      for other in 0..<hosts where other != alone { links += [(alone, other), (other, alone)] }
    case 1:
      let side = (0..<hosts).map { _ in chance.happens(512) }
      for from in 0..<hosts { for to in 0..<hosts where side[from] != side[to] { links.append((from, to)) } }
    case 2:
      let mute = chance.below(hosts)
      for other in 0..<hosts where other != mute { links.append((mute, other)) }
    case 3:
      let deaf = chance.below(hosts)
      for other in 0..<hosts where other != deaf { links.append((other, deaf)) }
    default:
      for from in 0..<hosts {
        for to in 0..<hosts where from != to && chance.happens(256) { links.append((from, to)) }
      }
    }
    return links
  }

  /// Bursts over the safety phase, and a last part after it.
  private func drawSends(_ requests: Int, _ chance: inout Chance) {
    let bursts = chance.within(4...20)
    var starts = (0..<bursts).map { _ in chance.nanoseconds(below: safetyNanoseconds) }
    for index in starts.indices where !episodes.isEmpty { starts[index] = chance.pick(episodes) }
    let later = requests * chance.within(10...40) / 100
    sends.reserveCapacity(requests)
    for index in 0..<requests {
      let client = chance.below(clients)
      let start =
        index < later
        ? safetyNanoseconds + chance.nanoseconds(below: 400_000_000) : starts[chance.below(bursts)]
      sends.append(PlannedSend(time: start + chance.nanoseconds(below: 4_000_000), client: client))
    }
    sends.sort { $0.time < $1.time }
  }
}
