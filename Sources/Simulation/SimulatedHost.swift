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

/// What a started host runs. Constants of one object: a turn looks it up once and hands it on, and its parts count no
/// references.
final class SimulatedProcess {
  let replica: Replica
  let manager: EventManager<Replica>
  let timers: TimerFactory<Replica.Event>

  init(_ replica: Replica, _ manager: EventManager<Replica>, _ timers: TimerFactory<Replica.Event>) {
    self.replica = replica
    self.manager = manager
    self.timers = timers
  }
}

final class SimulatedHost {
  let index: Int
  @exclusivity(unchecked) var id: ReplicaID
  /// The membership its configuration names.
  @exclusivity(unchecked) var firstMembership = Membership(count: 1)
  /// nil while it is down.
  @exclusivity(unchecked) var process: SimulatedProcess? {
    didSet { if let process { running = process } }
  }
  /// The last process, kept when it ends: a crash may come in the middle of a turn.
  @exclusivity(unchecked) private var running: SimulatedProcess? {
    didSet { processReference = running.map { .passUnretained($0) } }
  }
  @exclusivity(unchecked) private var processReference: Unmanaged<SimulatedProcess>?
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
  /// Once something of this has left, it crashes, for so long; and whether it has.
  @exclusivity(unchecked) var lastWords: PacketClass = []
  @exclusivity(unchecked) var hasSpoken = false
  @exclusivity(unchecked) var downNanoseconds: Int64 = 0
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
    process = nil
    running = nil
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
    lastWords = []
    hasSpoken = false
    forgetProcess()
  }

  /// The process of a host that is up, without counting references to it.
  @inline(__always)
  func withProcess<Result>(_ body: (SimulatedProcess) -> Result) -> Result {
    processReference.unsafelyUnwrapped._withUnsafeGuaranteedRef(body)
  }

  /// The replica of a host that is up.
  var replica: Replica { process!.replica }

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
