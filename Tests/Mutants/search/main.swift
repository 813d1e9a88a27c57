// The search of `scripts/mutants`: seeds from a start on, all profiles in turn, until a schedule fails or time is up.
//
//   search START SECONDS     prints `found SCHEDULES SECONDS SEED PROFILE BREACH` or `missed SCHEDULES SECONDS`; exit 0
//
// A trap counts as found: the handler prints the same line with the breach `trap`.

import Foundation
import Simulation

guard CommandLine.arguments.count == 3, let start = UInt64(CommandLine.arguments[1]),
  let limit = Double(CommandLine.arguments[2])
else {
  print("usage: search START SECONDS")
  exit(64)
}
let begin = ContinuousClock.now
nonisolated(unsafe) var schedules = 0
nonisolated(unsafe) var seed = start

func seconds() -> Double {
  let duration = ContinuousClock.now - begin
  return Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
}

for number in [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGABRT] {
  signal(number) { _ in
    // Not safe in a handler by the book; the process is over anyway, and the line is all that is wanted of it.
    print("found \(schedules + 1) \(seconds()) \(seed) \(Profile.turn(of: seed).name) trap")
    exit(0)
  }
}
let sizes = [4, 4, 5, 7]
let cluster = SimulatedCluster()
while seconds() < limit {
  let outcome = cluster.run(
    seed: seed, profile: Profile.turn(of: seed), replicas: sizes[Int(seed / 13 % UInt64(sizes.count))])
  schedules += 1
  if let breach = outcome.breach {
    print("found \(schedules) \(seconds()) \(seed) \(outcome.profile) \(breach.rawValue)")
    exit(0)
  }
  seed += 1
}
print("missed \(schedules) \(seconds())")
