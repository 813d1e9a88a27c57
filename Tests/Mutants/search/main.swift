// The search of `scripts/mutants`: seeds from a start on until a schedule fails or time is up, over all profiles in turn, or
// those named.
//
//   search START SECONDS [PROFILE,PROFILE...|all [REPLICAS]]
//       prints `found SCHEDULES SECONDS SEED PROFILE BREACH` or `missed SCHEDULES SECONDS`; exit 0
//
// A trap counts as found: the handler prints the same line with the breach `trap`.

import Foundation
import Simulation

let arguments = CommandLine.arguments
guard (3...5).contains(arguments.count), let start = UInt64(arguments[1]), let limit = Double(arguments[2])
else {
  print("usage: search START SECONDS [PROFILE,PROFILE...|all [REPLICAS]]")
  exit(64)
}
let named =
  arguments.count < 4 || arguments[3] == "all"
  ? [] : arguments[3].split(separator: ",").map { Profile.named(String($0)) }
guard named.allSatisfy({ $0 != nil }) else {
  print("search: \(arguments[3]): expected profiles of \(Profile.all.map(\.name))")
  exit(64)
}
let profiles = named.isEmpty ? Profile.all : named.compactMap { $0 }
let begin = ContinuousClock.now
nonisolated(unsafe) var schedules = 0
nonisolated(unsafe) var seed = start

func seconds() -> Double {
  let duration = ContinuousClock.now - begin
  return Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
}

func profile(of seed: UInt64) -> Profile { profiles[Int(seed % UInt64(profiles.count))] }

for number in [SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGABRT] {
  signal(number) { _ in
    // Not safe in a handler by the book; the process is over anyway, and the line is all that is wanted of it.
    print("found \(schedules + 1) \(seconds()) \(seed) \(profile(of: seed).name) trap")
    exit(0)
  }
}
let sizes = arguments.count < 5 ? [4, 4, 5, 7] : [Int(arguments[4]) ?? 4]
let cluster = SimulatedCluster()
while seconds() < limit {
  let outcome = cluster.run(
    seed: seed, profile: profile(of: seed),
    replicas: sizes[Int(seed / UInt64(profiles.count) % UInt64(sizes.count))])
  schedules += 1
  if let breach = outcome.breach {
    print("found \(schedules) \(seconds()) \(seed) \(outcome.profile) \(breach.rawValue)")
    exit(0)
  }
  seed += 1
}
print("missed \(schedules) \(seconds())")
