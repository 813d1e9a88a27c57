// Episodes: how agreement is torn apart so that view changes have something to decide. Each lets the three phases reach
// different replicas, then lets a view change happen without some of them. What an episode does is drawn with the plan;
// the run only looks up what a link lets through.

import PBFT

/// What links let through for a while. Hosts are positions in the list of hosts.
struct LinkFilter {
  /// Lost on every link.
  var blocked: PacketClass = []
  /// Lost at the host, beside that.
  var blockedAt: [PacketClass]
  /// Hosts that nothing reaches or leaves, one bit each.
  var isolated: UInt32 = 0
  /// Lost on single links.
  var links: [(from: Int, to: Int, blocked: PacketClass)] = []

  init(hosts: Int) { blockedAt = Array(repeating: [], count: hosts) }

  func blocked(from: Int, to: Int) -> PacketClass {
    guard isolated & (1 << UInt32(from) | 1 << UInt32(to)) == 0 else { return .betweenReplicas }
    var lost = blocked.union(blockedAt[to])
    for link in links where link.from == from && link.to == to { lost.formUnion(link.blocked) }
    return lost
  }
}

extension SimulationPlan {
  /// Timeouts short enough for many views in one schedule, and a network and a disk that are quick beside them.
  func drawImpatience(_ chance: inout Chance) {
    func milliseconds(_ range: ClosedRange<Int>) -> Int64 { Int64(chance.within(range)) * 1_000_000 }
    configuration.batchSize = chance.pick([1, 1, 2, 4])
    configuration.batchTimeoutNanoseconds = Int64(chance.within(100...600)) * 1_000
    configuration.requestTimeoutNanoseconds = milliseconds(12...30)
    configuration.viewChangeTimeoutNanoseconds = milliseconds(10...30)
    configuration.viewChangeResendNanoseconds = milliseconds(6...20)
    configuration.healingNanoseconds = milliseconds(4...10)
    configuration.suspectResendNanoseconds = configuration.requestTimeoutNanoseconds / 2
    configuration.nullRequestNanoseconds = 0
    quality.delaySpreadNanoseconds = Int64(chance.pick([100, 400])) * 1_000
    quality.tailShare = 0
    turnNanoseconds = chance.pick([0, 0, 50_000])
    diskNanoseconds = chance.pick([20_000, 200_000])
    outstanding = chance.pick([1, 2, 4])
    safetyNanoseconds = Int64(chance.pick([300, 500, 700])) * 1_000_000
    clientResendNanoseconds = 60_000_000
  }

  /// Episodes one after the other over the safety phase. Requests come when they begin.
  func drawEpisodes(_ chance: inout Chance) {
    var time = 2_000_000 + chance.nanoseconds(below: 20_000_000)
    var alonePrepared: Int?
    while time < safetyNanoseconds * 7 / 8 {
      episodes.append(time)
      var split = LinkFilter(hosts: hosts)
      let reached = drawReach(&split, &alonePrepared, &chance)
      if chance.happens(768) { split.blocked.formUnion([.healing, .state]) }
      if chance.happens(256) { split.blocked.formUnion(.checkpoint) }
      if chance.happens(256) { drawOddLinks(&split, &chance) }
      add(split, at: time)
      if profile.diesInEpisodes { drawLastWords(time, &chance) }
      time += Int64(chance.pick([1, 2, 4, 8])) * 1_000_000

      var change = LinkFilter(hosts: hosts)
      if chance.happens(896) {
        // Whoever has got furthest is not heard, mostly.
        let alone = chance.happens(896) ? reached : chance.below(replicas)
        change.isolated = 1 << UInt32(alone)
      }
      if chance.happens(768) { change.blocked = [.prePrepare, .prepare, .commit, .healing, .state] }
      add(change, at: time)
      if profile.cutsPower, chance.happens(192) {
        let cut = time - chance.nanoseconds(below: 2_000_000)
        timeline.append(
          PlannedFault(
            time: cut, fault: .cutPower(loss: chance.pick([.keepsAll, .losesAll, .keepsSomeWrites]))))
      }
      if profile.damagesInEpisodes, chance.happens(512) { drawDamage(time, &chance) }
      if profile.diesInEpisodes, chance.happens(384) {
        time += configuration.requestTimeoutNanoseconds * Int64(chance.within(6...12)) / 8
        drawBridge(from: reached, since: time, &chance)
        time += 3_000_000 + chance.nanoseconds(below: 12_000_000)
      } else {
        time += configuration.requestTimeoutNanoseconds * Int64(chance.within(8...20)) / 8
      }
      guard chance.happens(512) else { continue }
      timeline.append(PlannedFault(time: time, fault: .passAll))
      time += chance.nanoseconds(below: 40_000_000)
    }
  }

  private func add(_ filter: LinkFilter, at time: Int64) {
    timeline.append(PlannedFault(time: time, fault: .filter(filters.count)))
    filters.append(filter)
  }

  /// How many of the three phases come to each host. Returns a host that gets most of them.
  ///
  /// - Parameter alonePrepared: the host that alone may have prepared in the episode before; it is likely to prepare
  ///   something else in this one, which commits at one other.
  private func drawReach(
    _ filter: inout LinkFilter, _ alonePrepared: inout Int?, _ chance: inout Chance
  ) -> Int {
    var style = chance.below(5)
    let special = chance.below(hosts)
    let former = alonePrepared
    if let former, former != special, chance.happens(640) { style = 5 }
    alonePrepared = style == 3 ? special : nil
    var best = (host: special, reach: -1)
    for host in 0..<hosts {
      let reach: Int
      switch style {
      case 5: reach = host == special ? 3 : host == former ? 2 : 1
      case 0: reach = chance.within(0...3)
      case 1: reach = chance.within(1...3)
      case 2: reach = host == special ? 3 : chance.within(1...2)
      case 3: reach = host == special ? 2 : chance.within(0...1)
      default: reach = host == special ? 3 : 2
      }
      if reach > best.reach { best = (host, reach) }
      switch reach {
      case 0: filter.blockedAt[host] = .ordering
      case 1: filter.blockedAt[host] = [.prepare, .commit]
      case 2: filter.blockedAt[host] = .commit
      default: break
      }
    }
    return min(best.host, replicas - 1)
  }

  /// One that has asked for the next view and crashed meets the one that got furthest in the view before, and neither
  /// hears of the next.
  private func drawBridge(from reached: Int, since time: Int64, _ chance: inout Chance) {
    let other = (reached + chance.within(1...(replicas - 1))) % replicas
    timeline.append(
      PlannedFault(
        time: time - configuration.requestTimeoutNanoseconds / 2,
        fault: .dieAfter(
          host: other, words: .viewChange, loss: .keepsAll,
          downNanoseconds: 100_000 + chance.nanoseconds(below: 6_000_000))))
    var bridge = LinkFilter(hosts: hosts)
    for host in [reached, other] { bridge.blockedAt[host] = [.suspect, .viewChange, .newView] }
    for host in 0..<hosts where host != reached && host != other && !faulty.contains(host) && host < replicas
    {
      bridge.links += [(host, reached, .betweenReplicas), (reached, host, .betweenReplicas)]
    }
    add(bridge, at: time)
  }

  private func drawOddLinks(_ filter: inout LinkFilter, _ chance: inout Chance) {
    for _ in 0..<chance.within(1...4) {
      let from = chance.below(hosts)
      let to = chance.below(hosts)
      filter.links.append((from, to, PacketClass(rawValue: UInt16(chance.below(32)))))
    }
  }

  /// Hosts that crash right after having said something, and come back soon; nothing they had to keep is lost.
  private func drawLastWords(_ time: Int64, _ chance: inout Chance) {
    guard disk == .sync else { return }
    let victims = chance.choose(chance.pick([0, 1, 1, 2, replicas]), of: replicas)
    for host in victims {
      let words: PacketClass = chance.pick([
        .prepare, .prepare, .commit, .commit, .viewChange, .viewChange, .prePrepare, .checkpoint,
      ])
      timeline.append(
        PlannedFault(
          time: time,
          fault: .dieAfter(
            host: host, words: words, loss: chance.pick([.keepsAll, .losesAll, .keepsSomeWrites]),
            downNanoseconds: 100_000
              + chance.nanoseconds(below: chance.pick([500_000, 4_000_000, 20_000_000])))))
    }
  }

  /// A crash that costs a host what it had written down, whether or not it is one of the faulty ones: who knows that it
  /// has forgotten abstains, and endangers nobody.
  private func drawDamage(_ time: Int64, _ chance: inout Chance) {
    let host = chance.below(replicas)
    guard roles[host].isEmpty, twinOf != host else { return }
    let damage: DiskDamage? = disk == .sync ? chance.pick(DiskDamage.allCases) : nil
    let crash = time - chance.nanoseconds(below: 3_000_000)
    timeline.append(
      PlannedFault(
        time: crash, fault: .crash(host: host, loss: chance.pick(CrashLoss.allCases), damage: damage)))
    timeline.append(
      PlannedFault(time: crash + 100_000 + chance.nanoseconds(below: 5_000_000), fault: .restart(host: host)))
  }
}

extension SimulatedCluster {
  func apply(_ filter: LinkFilter) {
    isFiltering = true
    for from in 0..<plan.hosts {
      for to in 0..<plan.hosts {
        blockedClasses[from * Network.mostHosts + to] = filter.blocked(from: from, to: to).rawValue
      }
    }
  }

  /// Whether the link loses such packets now.
  @inline(__always)
  func isBlocked(_ packet: Packet, to destination: Int32) -> Bool {
    guard isFiltering else { return false }
    let link = Int(packet.from) &* Network.mostHosts &+ Int(destination)
    return blockedClasses[link] & packet.packetClass.rawValue != 0
  }

  /// The host has said its last words, if it has any.
  @inline(__always)
  func note(_ packet: Packet, leaving host: SimulatedHost) {
    guard !host.lastWords.isEmpty, host.lastWords.contains(packet.packetClass) else { return }
    host.hasSpoken = true
  }

  /// After what has left: the host crashes if those were its last words, and comes back after a while.
  @inline(__always)
  func dieIfSpoken(_ host: SimulatedHost) -> Bool {
    guard host.hasSpoken else { return false }
    die(host)
    return true
  }

  @inline(never)
  private func die(_ host: SimulatedHost) {
    let down = host.downNanoseconds
    crash(host, host.crashLoss)
    heap.push(.resume, at: now + down, subject: Int32(host.index))
  }

  /// All hosts crash at once and come back one by one.
  func cutPower(_ loss: CrashLoss) {
    guard !isHealed else { return }
    for host in hosts where host.isUp {
      crash(host, loss)
      heap.push(
        .resume, at: now + 100_000 + chance.nanoseconds(below: 10_000_000), subject: Int32(host.index))
    }
  }
}
