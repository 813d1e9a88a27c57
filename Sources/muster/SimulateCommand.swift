// `muster simulate`: seeded schedules of a whole cluster under faults.

import ArgumentParser
import Experiment
import Simulation

struct SimulateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "simulate",
    abstract: "Run seeded schedules of a whole cluster under faults and check every one of them.",
    discussion: """
      A schedule is a cluster of production replicas in virtual time, 200 requests, and the faults of a profile; \
      equal seeds give equal schedules. Profiles: \(Profile.all.map(\.name).joined(separator: ", ")). Without \
      --profile the seeds take turns at them.

      Checked: agreement, exactly once, linearizability, no acknowledged operation lost, bounded buffers, \
      rest when nothing is to do, and that everything is done once the faults have healed.

      A trace has one line per event: virtual time in microseconds, who (r0 a replica, r0' its twin, c1000 a \
      client, plan the schedule), the event, and what it is about.

      Examples:

        muster simulate --seeds 0..99999
        muster simulate --seeds 0..9999 --profile byzantine-votes --replicas 7
        muster simulate --trace 17 --profile crash

      Exit codes: 0 nothing found, 2 a schedule failed, 64 usage.
      """)

  @Option(help: ArgumentHelp("Seeds, both included. (default: 0..999)", valueName: "a..b"))
  var seeds: String?

  @Option(help: ArgumentHelp("Replicas, 4 to 13; f is the most they tolerate. (default: 4)", valueName: "n"))
  var replicas: String?

  @Option(help: ArgumentHelp("Profile of faults. (default: all take turns)", valueName: "name"))
  var profile: String?

  @Option(help: ArgumentHelp("Print the events of one schedule.", valueName: "seed"))
  var trace: String?

  @Option(help: ArgumentHelp("Requests of correct clients per schedule. (default: 200)", valueName: "count"))
  var requests: String?

  @Option(help: ArgumentHelp("Threads. (default: one per core)", valueName: "count"))
  var workers: String?

  func run() throws {
    var search = SimulationSearch(
      seeds: try Self.seeds(seeds ?? "0..999"),
      replicas: try FlagText.whole("--replicas", replicas ?? "4", 4...13),
      requests: try FlagText.whole("--requests", requests ?? "200", 1...10_000))
    if let profile {
      guard let known = Profile.named(profile) else {
        throw CommandFailure.usage(
          "--profile \(profile): expected one of \(Profile.all.map(\.name).joined(separator: ", "))")
      }
      search.profile = known
    }
    if let workers { search.workers = try FlagText.whole("--workers", workers, 1...256) }
    if let trace {
      guard let seed = UInt64(trace) else {
        throw CommandFailure.usage("--trace \(trace): expected a seed, a whole number from 0")
      }
      let outcome = search.trace(seed: seed)
      for line in outcome.lines { print(line) }
      print("# digest \(String(outcome.digest, radix: 16))")
      if outcome.breach != nil { throw ExitCode(2) }
      return
    }
    let result = search.run(console: .standardError)
    print(result.summary)
    if result.failures > 0 { throw ExitCode(2) }
  }

  /// Reads `A..B`, both included, or one seed.
  static func seeds(_ text: String) throws(CommandFailure) -> ClosedRange<UInt64> {
    let parts = text.split(separator: ".", omittingEmptySubsequences: true).map { UInt64($0) }
    let isRange = text.contains("..") && parts.count == 2
    guard isRange || (parts.count == 1 && !text.contains(".")), let first = parts.first ?? nil,
      let last = parts.last ?? nil, first <= last, last < .max
    else {
      throw .usage("--seeds \(text): expected a range of seeds such as 0..9999, first <= last, both included")
    }
    return first...last
  }
}
