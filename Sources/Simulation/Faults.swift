// What the plan does to the cluster when its time has come.

import PBFT
import Replication

extension SimulatedCluster {
  func apply(_ fault: Fault) {
    switch fault {
    case .crash(let host, let loss, let damage):
      crash(hosts[host], loss)
      if let damage {
        hosts[host].disk.damage(damage, &chance)
        note(host, 1, "damage \(damage)")
      }
    case .crashAtWrite(let host, let writes, let loss, let isAfter):
      guard hosts[host].isUp else { return }
      hosts[host].writesUntilCrash = writes
      hosts[host].crashLoss = loss
      hosts[host].crashesAfterWrite = isAfter
    case .restart(let host): restart(hosts[host])
    case .cut(let from, let to, let isCut):
      guard !isHealed || !isCut else { return }
      network.cut(from: from, to: to, isCut)
      note(from, UInt64(to) << 8 | (isCut ? 2 : 3), "\(isCut ? "cut" : "join") r\(from) to r\(to)")
    case .clog(let from, let to, let nanoseconds):
      guard !isHealed else { return }
      network.clog(from: from, to: to, until: now + nanoseconds)
      note(from, UInt64(to) << 8 | 4, "clog r\(from) to r\(to) for \(nanoseconds / 1_000) us")
    case .pause(let host, let nanoseconds):
      guard hosts[host].isUp, !isHealed else { return }
      hosts[host].pausedUntil = now + nanoseconds
      note(host, 5, "pause r\(host) for \(nanoseconds / 1_000) us")
    case .jumpClock(let host, let nanoseconds):
      hosts[host].clockOffset += nanoseconds
      note(host, 6, "clock of r\(host) jumps by \(nanoseconds / 1_000) us")
      if let process = hosts[host].process { endTurn(hosts[host], process) }
    case .fillDisk(let host, let isFull):
      hosts[host].disk.isFull = isFull
      note(host, isFull ? 7 : 8, "disk of r\(host) \(isFull ? "full" : "has room")")
      if !isFull { restart(hosts[host]) }
    case .reconfigure(let step): reconfigure(step)
    case .filter(let index):
      guard !isHealed else { return }
      apply(plan.filters[index])
      note(0, 12, "links let through only a part")
    case .passAll:
      isFiltering = false
      note(0, 13, "links let everything through")
    case .dieAfter(let host, let words, let loss, let nanoseconds):
      guard hosts[host].isUp, !isHealed else { return }
      hosts[host].lastWords = words
      hosts[host].crashLoss = loss
      hosts[host].downNanoseconds = nanoseconds
    case .cutPower(let loss):
      note(0, 14, "power is cut")
      cutPower(loss)
    case .heal: heal()
    }
  }

  private func note(_ host: Int, _ what: UInt64, _ text: @autoclosure () -> String) {
    trace.note(.fault, at: now, Int32(host), what, 0, "plan|\(text())")
  }

  /// The process is gone, with everything that had not left yet.
  func crash(_ host: SimulatedHost, _ loss: CrashLoss) {
    guard host.isUp else { return }
    trace.note(.crash, at: now, Int32(host.index), UInt64(loss.rawValue), 0, "\(host.name)|\(loss)")
    for departure in host.outbox { release(departure.packet) }
    for departure in host.waiting { release(departure.packet) }
    for departure in host.covered { release(departure.packet) }
    host.disk.crash(loss, &chance)
    host.isUp = false
    host.crashes += 1
    host.writesUntilCrash = 0
    host.lastWords = []
    host.hasSpoken = false
    host.process = nil
    host.forgetProcess()
  }

  func restart(_ host: SimulatedHost) {
    guard host.wasStarted, !host.isUp else { return }
    trace.note(.restart, at: now, Int32(host.index), UInt64(host.crashes), 0, "\(host.name)|")
    start(host, recovering: false)
  }

  /// From now on the network is good and everyone who is not to stay down is up.
  private func heal() {
    isHealed = true
    isFiltering = false
    trace.note(.fault, at: now, 0, 9, 0, "plan|everything heals")
    var quality = plan.quality
    quality.lossShare = 0
    quality.duplicateShare = 0
    quality.tailShare = 0
    network.reset(quality)
    for host in hosts where host.wasStarted {
      host.pausedUntil = 0
      host.disk.isFull = false
      host.writesUntilCrash = 0
      host.lastWords = []
      let staysDown = plan.profile.staysDown && plan.faulty.first == host.index && plan.seed & 1 == 0
      if !host.isUp, !staysDown, !plan.profile.isBeyondFaults { restart(host) }
    }
  }

  /// The administrator asks for the next membership of the plan once the one before is in force; replicas that are new
  /// in it are started.
  private func reconfigure(_ step: Int) {
    reconfigurationsDue = step + 1
    reconfigureNext()
  }

  func reconfigureNext() {
    let step = Int(reachedMembership)
    guard step < reconfigurationsDue, reconfigurationInFlight != step else { return }
    reconfigurationInFlight = step
    let planned = memberships[step + 1]
    note(step, 10, "membership \(planned.replicas.map(\.rawValue)) f=\(planned.faults) is asked for")
    for replica in planned.replicas where !hosts[Int(replica.rawValue)].wasStarted {
      boot(hosts[Int(replica.rawValue)], as: replica, in: planned)
    }
    let client = administratorClient
    let present = memberships[step]
    let change = ReconfigureRequest(
      sender: Self.administrator,
      adding: planned.replicas.filter { present.position(of: $0) == nil }.map {
        MemberAddress(replica: $0, host: "replica\($0.rawValue)", clientPort: 1, replicaPort: 2)!
      },
      removing: present.replicas.filter { planned.position(of: $0) == nil }, faults: planned.faults,
      membership: present.id)
    clients[client].membershipID = Int32(step)
    let operation = ledger.begin(
      client: Int32(client), session: 1, sequence: clients[client].nextSequence, isByzantine: true)
    addAnswers()
    clients[client].nextSequence += 1
    issue(operation, content: change.encoded, kind: .reconfigure)
  }
}
