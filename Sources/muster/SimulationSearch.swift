// Schedules on all cores: each worker runs one seed after the other in a cluster of its own, so nothing is shared but the
// next seed and the tally. Kept true: a schedule that traps the process is named, with the command that replays it.

import Experiment
import Foundation
import Simulation
import Synchronization

/// What a search has found.
struct SearchResult {
  var summary: String
  var failures: Int
}

struct SimulationSearch {
  var seeds: ClosedRange<UInt64>
  var replicas: Int
  var requests: Int
  /// nil: all take turns.
  var profile: Profile?
  var workers = ProcessInfo.processInfo.activeProcessorCount
  /// After so many failures the search ends.
  static let mostFailures = 20

  init(seeds: ClosedRange<UInt64>, replicas: Int, requests: Int) {
    self.seeds = seeds
    self.replicas = replicas
    self.requests = requests
  }

  /// The command that runs this seed again.
  func replayCommand(_ seed: UInt64) -> String {
    var text = "muster simulate --trace \(seed) --profile \((profile ?? Profile.turn(of: seed)).name)"
    if replicas != 4 { text += " --replicas \(replicas)" }
    if requests != 200 { text += " --requests \(requests)" }
    return text
  }

  func trace(seed: UInt64) -> SimulationOutcome {
    TrapReport.install(workers: 1, search: self)
    TrapReport.begins(seed, worker: 0)
    return outcome(of: seed, in: SimulatedCluster(), keepingLines: true)
  }

  private func outcome(
    of seed: UInt64, in cluster: SimulatedCluster, keepingLines: Bool
  ) -> SimulationOutcome {
    cluster.run(
      seed: seed, profile: profile ?? Profile.turn(of: seed), replicas: replicas, requests: requests,
      keepingLines: keepingLines)
  }

  /// Runs all seeds, or until enough have failed; says how far it is every two seconds.
  func run(console: Console) -> SearchResult {
    let count = seeds.upperBound - seeds.lowerBound + 1
    let workers = max(1, min(workers, Int(clamping: count)))
    TrapReport.install(workers: workers, search: self)
    let next = Atomic<UInt64>(seeds.lowerBound)
    let tally = Mutex(SearchTally(total: count))
    let search = self
    DispatchQueue.concurrentPerform(iterations: workers) { worker in
      let cluster = SimulatedCluster()
      while true {
        let seed = next.wrappingAdd(1, ordering: .relaxed).oldValue
        guard seed <= search.seeds.upperBound, tally.withLock({ $0.failures < Self.mostFailures }) else {
          return
        }
        TrapReport.begins(seed, worker: worker)
        let outcome = search.outcome(of: seed, in: cluster, keepingLines: false)
        tally.withLock { $0.add(outcome, command: search.replayCommand(seed), console) }
      }
    }
    return tally.withLock { SearchResult(summary: $0.summary, failures: $0.failures) }
  }
}

/// What has been run so far.
private struct SearchTally {
  let total: UInt64
  var done: UInt64 = 0
  var failures = 0
  private var events = 0
  private var views = 0
  private var transfers = 0
  private var crashes = 0
  private let start = ContinuousClock.now
  private var lastSaid = ContinuousClock.now

  init(total: UInt64) { self.total = total }

  private var seconds: Double {
    let duration = ContinuousClock.now - start
    return Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
  }

  mutating func add(_ outcome: SimulationOutcome, command: String, _ console: Console) {
    done += 1
    events += outcome.events
    views += outcome.viewChanges
    transfers += outcome.transfers
    crashes += outcome.crashes
    if let breach = outcome.breach {
      failures += 1
      console.write("seed \(outcome.seed) \(outcome.profile): \(breach.rawValue): \(outcome.breachText)\n")
      console.write("  \(command)\n")
    }
    let now = ContinuousClock.now
    guard now - lastSaid > .seconds(2) else { return }
    lastSaid = now
    console.write("[\(done)/\(total)] \(Int(Double(done) / seconds)) schedules/s, \(failures) failed\n")
  }

  var summary: String {
    let rate = done == 0 ? 0 : Double(done) / max(seconds, 1e-9)
    return "\(done) schedules, \(failures) failed, \(Int(rate)) schedules/s, "
      + "\(events / Int(max(1, done))) events each, \(views) view changes, \(transfers) state transfers, "
      + "\(crashes) crashes"
  }
}

/// Names the schedules under way when the process traps. Everything it needs is there before.
private enum TrapReport {
  nonisolated(unsafe) private static var underWay: UnsafeMutablePointer<UInt64>?
  nonisolated(unsafe) private static var count = 0
  nonisolated(unsafe) private static var tail: UnsafeMutablePointer<CChar>?

  static func install(workers: Int, search: SimulationSearch) {
    if underWay != nil { return }
    let slots = UnsafeMutablePointer<UInt64>.allocate(capacity: workers)
    slots.initialize(repeating: .max, count: workers)
    var rest = search.profile.map { " --profile \($0.name)" } ?? ""
    if search.replicas != 4 { rest += " --replicas \(search.replicas)" }
    if search.requests != 200 { rest += " --requests \(search.requests)" }
    tail = strdup(rest + "\n")
    count = workers
    underWay = slots
    for number in [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGABRT] {
      signal(number) { _ in TrapReport.report() }
    }
  }

  static func begins(_ seed: UInt64, worker: Int) { underWay?[worker] = seed }

  /// Only calls that a signal handler may make.
  private static func report() {
    guard let underWay, let tail else { _exit(2) }
    say("a schedule under way has trapped; one of:\n")
    for worker in 0..<count where underWay[worker] != .max {
      say("  muster simulate --seeds ")
      var digits: (UInt64, UInt64, UInt64) = (0, 0, 0)
      withUnsafeMutableBytes(of: &digits) { buffer in
        var place = buffer.count
        var rest = underWay[worker]
        repeat {
          place -= 1
          buffer[place] = UInt8(48 + rest % 10)
          rest /= 10
        } while rest > 0
        _ = write(STDERR_FILENO, buffer.baseAddress! + place, buffer.count - place)
      }
      _ = write(STDERR_FILENO, tail, strlen(tail))
    }
    _exit(2)
  }

  private static func say(_ text: StaticString) {
    _ = write(STDERR_FILENO, text.utf8Start, text.utf8CodeUnitCount)
  }
}
