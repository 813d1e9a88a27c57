import Foundation
import Testing

@testable import Simulation

@Suite("Simulation")
struct SimulationTests {
  /// Few seeds of each profile, in a debug build; many more run in `scripts/test` on a release build.
  @Test("no schedule of any profile fails", arguments: Profile.all.map(\.name), [4, 5, 7])
  func profiles(name: String, replicas: Int) throws {
    let profile = try #require(Profile.named(name))
    let cluster = SimulatedCluster()
    for seed in 0..<4 as Range<UInt64> {
      let outcome = cluster.run(seed: seed, profile: profile, replicas: replicas)
      #expect(outcome.breach == nil, "seed \(seed): \(outcome.breachText)")
    }
  }

  @Test(
    "a schedule is the same again, in a used cluster, and with lines kept", arguments: Profile.all.map(\.name)
  )
  func determinism(name: String) throws {
    let profile = try #require(Profile.named(name))
    let cluster = SimulatedCluster()
    let first = cluster.run(seed: 11, profile: profile, requests: 60)
    _ = cluster.run(seed: 12, profile: profile, requests: 60)
    let again = cluster.run(seed: 11, profile: profile, requests: 60, keepingLines: true)
    let fresh = SimulatedCluster().run(seed: 11, profile: profile, requests: 60)
    #expect(first.digest == again.digest && first.digest == fresh.digest)
    #expect(first.lines.isEmpty && !again.lines.isEmpty)
    #expect(first.events == again.events)
  }

  /// `Resources/digests.txt` was written by a release build; this one is not, mostly.
  @Test("debug and release builds give the same trace digest")
  func sameDigestInEveryBuild() throws {
    var recorded = "# Trace digests of a release build: seed, profile, replicas, digest (60 requests).\n"
    for line in try Resources.lines("digests.txt") {
      let fields = line.split(separator: " ")
      let profile = try #require(Profile.named(String(fields[1])))
      let outcome = SimulatedCluster().run(
        seed: UInt64(fields[0])!, profile: profile, replicas: Int(fields[2])!, requests: 60)
      let digest = String(outcome.digest, radix: 16)
      if Resources.isRecording {
        recorded += fields[0..<3].joined(separator: " ") + " \(digest)\n"
      } else {
        #expect(digest == fields[3], "\(line)")
      }
    }
    if Resources.isRecording {
      try recorded.write(to: Resources.source("digests.txt"), atomically: true, encoding: .utf8)
    }
  }

  @Test("schedules that once failed pass", arguments: try Resources.lines("pinned-seeds.txt"))
  func pinnedSeeds(line: String) throws {
    let fields = line.split(separator: " ", maxSplits: 3)
    let profile = try #require(Profile.named(String(fields[1])))
    let outcome = SimulatedCluster().run(
      seed: UInt64(fields[0])!, profile: profile, replicas: Int(fields[2])!)
    #expect(outcome.breach == nil, "\(line): \(outcome.breachText)")
  }

  @Test("golden traces", arguments: GoldenTrace.all)
  func goldenTraces(golden: GoldenTrace) throws {
    let profile = try #require(Profile.named(golden.profile))
    let outcome = SimulatedCluster().run(
      seed: golden.seed, profile: profile, requests: golden.requests, keepingLines: true)
    let text = outcome.lines.joined(separator: "\n") + "\n"
    if Resources.isRecording {
      try text.write(to: Resources.source(golden.name + ".txt"), atomically: true, encoding: .utf8)
      return
    }
    #expect(text == (try String(contentsOf: Resources.url(golden.name + ".txt"), encoding: .utf8)))
    for word in golden.words { #expect(text.contains(word)) }
  }
}

/// A schedule small enough to be read. Recorded again with MUSTER_UPDATE_GOLDEN=1 in the environment.
struct GoldenTrace: CustomTestStringConvertible {
  var name: String
  var seed: UInt64
  var profile: String
  var requests: Int
  var words: [String]

  var testDescription: String { name }

  static let all = [
    GoldenTrace(
      name: "normal-case", seed: 0, profile: "calm", requests: 3,
      words: ["pre-prepare v0 n1", "execute     n1 v0"]),
    GoldenTrace(
      name: "view-change", seed: 17, profile: "byzantine-primary", requests: 3,
      words: ["suspect     v0", "view-change v1", "new-view v1", "enter-view  v1"]),
    GoldenTrace(
      name: "state-transfer", seed: 95, profile: "partitions", requests: 12,
      words: ["transfer    begins", "fetch-state", "transfer    has"]),
  ]
}

enum Resources {
  /// Whether what is compared is written instead: after a change that is meant to change traces.
  static let isRecording = ProcessInfo.processInfo.environment["MUSTER_UPDATE_GOLDEN"] == "1"

  static func url(_ name: String) -> URL {
    URL(fileURLWithPath: Bundle.module.bundlePath + "/Resources/" + name)
  }

  /// In the source tree.
  static func source(_ name: String) -> URL {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Resources/\(name)")
  }

  /// The lines but for comments and empty ones.
  static func lines(_ name: String) throws -> [String] {
    try String(contentsOf: url(name), encoding: .utf8).split(separator: "\n")
      .filter { !$0.hasPrefix("#") && !$0.isEmpty }.map(String.init)
  }
}
