// One replica in the simulated world: the production replica with its event manager, a clock, a disk, a line out.
// What `HostedReplica` does with links and files, the cluster does with these.

import Events
import PBFT
import Replication

/// A packet that leaves at the end of its turn, once what it depends on is on disk.
struct Departure: BitwiseCopyable {
  var packet: Packet
  /// To every other replica; else to `packet.to`.
  var isBroadcast: Bool
}

final class SimulatedHost {
  let index: Int
  @exclusivity(unchecked) var id: ReplicaID
  /// The membership its configuration names.
  @exclusivity(unchecked) var firstMembership = Membership(count: 1)
  /// The process: what it consists of is kept here and used through the references below, which count nothing.
  @exclusivity(unchecked) private var process: (Replica, EventManager<Replica>, TimerFactory<Replica.Event>)?
  @exclusivity(unchecked) unowned(unsafe) private(set) var replica: Replica!
  @exclusivity(unchecked) unowned(unsafe) private(set) var manager: EventManager<Replica>!
  @exclusivity(unchecked) unowned(unsafe) private(set) var timers: TimerFactory<Replica.Event>!
  let disk = SimulatedDisk()
  @exclusivity(unchecked) var adversary: Adversary?

  /// Whether there is a process at all.
  @exclusivity(unchecked) var isUp = false
  /// Whether it has ever been started: a host added later has not.
  @exclusivity(unchecked) var wasStarted = false
  @exclusivity(unchecked) var pausedUntil: Int64 = 0
  @exclusivity(unchecked) var isTurnOpen = false
  /// When the timer event under way is due; `.max` = none.
  @exclusivity(unchecked) var armedAt = Int64.max
  /// The local clock: now + offset + now × drift / 1,024.
  @exclusivity(unchecked) var clockOffset: Int64 = 0
  @exclusivity(unchecked) var clockDrift: Int64 = 0
  /// Departures of this turn; of turns that wait for the disk; of turns the write in progress covers.
  @exclusivity(unchecked) var outbox: ContiguousArray<Departure> = []
  @exclusivity(unchecked) var waiting: ContiguousArray<Departure> = []
  @exclusivity(unchecked) var covered: ContiguousArray<Departure> = []
  @exclusivity(unchecked) var isWriting = false
  @exclusivity(unchecked) var writeNumber: UInt32 = 0
  /// Writes until it crashes; 0 = it does not.
  @exclusivity(unchecked) var writesUntilCrash = 0
  @exclusivity(unchecked) var crashLoss = CrashLoss.losesAll
  @exclusivity(unchecked) var crashesAfterWrite = false
  /// The crash has come in the middle of a turn: nothing of it has any effect any more.
  @exclusivity(unchecked) var isCrashing = false
  @exclusivity(unchecked) var signatures: ContiguousArray<(StatementHandle, StatementSignature)> = []
  /// Messages sent to replicas, for the rate at idle.
  @exclusivity(unchecked) var sent = 0
  @exclusivity(unchecked) var lastExecuted: UInt64 = 0
  @exclusivity(unchecked) var isRecovering = false
  @exclusivity(unchecked) var crashes = 0
  @exclusivity(unchecked) var viewsEntered = 0
  @exclusivity(unchecked) var transfers = 0

  init(index: Int) {
    self.index = index
    id = ReplicaID(Int32(index))
  }

  /// As it is before a schedule.
  func reset(id: ReplicaID, drift: Int64) {
    self.id = id
    endProcess()
    adversary = nil
    isUp = false
    wasStarted = false
    disk.format()
    clockOffset = 0
    clockDrift = drift
    crashes = 0
    sent = 0
    viewsEntered = 0
    transfers = 0
    lastExecuted = 0
    writesUntilCrash = 0
    forgetProcess()
  }

  func beginProcess(
    _ replica: Replica, _ manager: EventManager<Replica>, _ timers: TimerFactory<Replica.Event>
  ) {
    process = (replica, manager, timers)
    self.replica = replica
    self.manager = manager
    self.timers = timers
  }

  func endProcess() {
    replica = nil
    manager = nil
    timers = nil
    process = nil
  }

  /// What ends with the process.
  func forgetProcess() {
    pausedUntil = 0
    isTurnOpen = false
    armedAt = .max
    outbox.removeAll(keepingCapacity: true)
    waiting.removeAll(keepingCapacity: true)
    covered.removeAll(keepingCapacity: true)
    signatures.removeAll(keepingCapacity: true)
    isWriting = false
    writeNumber &+= 1
    isCrashing = false
    isRecovering = false
  }

  /// Whether what it does counts: neither Byzantine nor one of two twins.
  var isCorrect: Bool { adversary == nil }

  @inline(__always)
  func localTime(_ now: Int64) -> Instant {
    Instant(nanoseconds: now &+ clockOffset &+ (now &>> 10) &* clockDrift)
  }

  /// A time at or shortly before which the local clock shows `deadline`.
  @inline(__always)
  func globalTime(_ deadline: Instant, now: Int64) -> Int64 {
    let left = deadline.nanoseconds &- localTime(now).nanoseconds
    guard left > 0 else { return now &+ 1 }
    guard clockDrift != 0 else { return now &+ left }
    return now &+ max(1, left &- (left &>> 10) &* clockDrift)
  }

  /// The name in trace lines.
  var name: String { index == Int(id.rawValue) ? "r\(index)" : "r\(id.rawValue)'" }
}
