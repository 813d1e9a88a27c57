// Scenarios: what a file may say, and that whatever is wrong in it is reported with its place.

import Experiment
import Foundation
import Testing

@Suite("Scenario files")
struct ScenarioTests {
  private func read(_ yaml: String) throws -> Scenario {
    try Scenario(yaml: yaml, fileName: "s.yml")
  }

  private func error(_ yaml: String) -> String {
    do {
      let scenario = try read(yaml)
      return "read \(scenario.points.count) points"
    } catch {
      return "\(error)"
    }
  }

  @Test("axes in one entry are crossed, the last one varying fastest")
  func axesAreCrossed() throws {
    let scenario = try read(
      """
      axes:
        signatures: [none, hmac]
        batch_size: [1, 100]
      """)
    #expect(scenario.points.map(\.parameters.signatureMode) == ["none", "none", "hmac", "hmac"])
    #expect(scenario.points.map(\.parameters.batchSize) == [1, 100, 1, 100])
  }

  @Test("entries of axes are listed, and win over target and workload")
  func entriesAreListed() throws {
    let scenario = try read(
      """
      name: mine
      seed: 7
      repeats: 3
      warmup: 500ms
      target: {batch_size: 8, transport: memory}
      workload: {rate: 2_000}
      axes:
        - batch_size: 16
        - rate_share: [0.5, 0.9]
      """)
    #expect(scenario.name == "mine" && scenario.seed == 7 && scenario.repeats == 3)
    #expect(scenario.points.map(\.parameters.batchSize) == [16, 8, 8])
    #expect(scenario.points.map(\.parameters.rate) == [.absolute(2000), .share(0.5), .share(0.9)])
    #expect(scenario.points.allSatisfy { $0.parameters.warmupNanoseconds == 500_000_000 })
    #expect(scenario.points.allSatisfy { $0.parameters.transport == .memory })
  }

  @Test("a scenario without axes is one point")
  func onePoint() throws {
    #expect(try read("workload: {rate: 10}").points.map(\.parameters.rate) == [.absolute(10)])
  }

  @Test("the default scenario is six configurations at five loads and two more request timeouts")
  func defaultScenario() throws {
    let scenario = try Scenario.embedded()
    #expect(scenario.points.count == 32)
    #expect(Set(scenario.points.map(\.parameters.capacityConfiguration)).count == 6)
    #expect(Set(scenario.points.map(\.parameters.pointID)).count == 32)
    #expect(scenario.points.filter { $0.parameters.requestTimeoutNanoseconds != 2_000_000_000 }.count == 2)
    #expect(scenario.points.allSatisfy { $0.parameters.measureNanoseconds == 3_000_000_000 })
    #expect(scenario.points.allSatisfy { $0.parameters.validate().isEmpty })
    let seconds = scenario.points.reduce(0.0) {
      $0 + Double($1.parameters.warmupNanoseconds + $1.parameters.measureNanoseconds) / 1e9
    }
    #expect(seconds < 140, "three minutes in all, with what each point takes besides")
  }

  @Test("a mistake is reported with file, line, column and what was expected")
  func mistakesHaveAPlace() {
    #expect(
      error("seed: 1\nrepeat: 2").hasPrefix(
        "s.yml:2:1: the scenario: unknown key 'repeat': expected one of name, "))
    #expect(
      error("axes:\n  batch_size: [1, 0]")
        == "s.yml:2:19: batch_size: 0: expected a whole number from 1 to 65536")
    #expect(
      error("target:\n  batchsize: 1").hasPrefix(
        "s.yml:2:3: target: unknown key 'batchsize': expected one of "))
    #expect(error("workload:\n  batch_size: 1").hasPrefix("s.yml:2:3: workload: unknown key 'batch_size'"))
    #expect(
      error("duration: 3")
        == "s.yml:1:11: duration: 3: expected a duration with its unit, such as 500ms or 2s "
        + "(units: ns, us, ms, s, min)")
    #expect(error("repeats: 0") == "s.yml:1:10: repeats: 0: expected a whole number from 1 to 1000")
    #expect(error("seed: -1").hasPrefix("s.yml:1:7: seed: -1: expected a whole number"))
    #expect(error("name: a/b").hasPrefix("s.yml:1:7: name: a/b: expected"))
    #expect(error("- 1").hasPrefix("s.yml:1:1: the scenario: expected a mapping with the keys name, seed"))
    #expect(error("").hasPrefix("s.yml:1:1: expected a mapping with the keys"))
    #expect(error("axes: 5").hasPrefix("s.yml:1:7: axes: expected a mapping"))
    #expect(error("axes:\n  batch_size: []") == "s.yml:2:15: batch_size: expected at least one value")
    #expect(error("workload: {rate: [1, 2]}") == "s.yml:1:18: rate: expected a single value")
    #expect(error("target:\n  service:") == "s.yml:2:11: service: expected a value")
  }

  @Test("text that is not YAML is reported with its place")
  func notYAML() {
    #expect(error("axes: [1, 2").hasPrefix("s.yml:"))
    #expect(error("a: b: c").hasPrefix("s.yml:1:5: expected YAML: "))
    #expect(error("seed: 1\nseed: 2").contains("expected each key once, found twice: "))
    #expect(error("seed: \u{7}").hasPrefix("s.yml:"))
  }

  @Test("a rule between two parameters is reported where the stated one stands")
  func rulesHaveAPlace() {
    #expect(
      error("target:\n  replicas: 3\n  faults: 1")
        == "s.yml:2:13: replicas: 3: expected at least 3f + 1 = 4 replicas to tolerate 1 faults")
    #expect(error("target:\n  faults: 2").hasPrefix("s.yml:2:11: replicas: 4: expected at least 3f + 1 = 7"))
    #expect(
      error("workload: {sessions: 4}")
        == "s.yml:1:22: connections: 16: expected from 1 to the number of sessions, 4")
  }

  @Test("both forms of a rate in one place contradict each other")
  func twoRates() {
    #expect(
      error("workload: {rate: 1, rate_share: 0.1}").contains("expected either rate or rate_share, not both"))
    #expect(
      error("axes: {rate: 1, rate_share: 0.1}").contains("expected either rate or rate_share, not both"))
  }

  @Test("a point that is listed twice is refused, and so is an endless list")
  func duplicatesAreRefused() {
    #expect(
      error("axes:\n  - batch_size: 1\n  - batch_size: [2, 1]").contains("is listed twice, first at 2:5"))
    #expect(error("axes: {batch_size: [1, 1]}").contains("is listed twice"))
    let many = (1...101).map(String.init).joined(separator: ", ")
    #expect(
      error("axes: {batch_size: [\(many)], payload: [\(many)]}").contains("expected at most 10000 points"))
  }

  @Test("a file that cannot be read is a missing input; a wrong one is wrong usage")
  func filesAreRead() throws {
    #expect(
      throws: CommandFailure(.missingInput, "no/such.yml: cannot be read: expected a scenario file in YAML")
    ) {
      try Scenario(path: "no/such.yml")
    }
    try inTemporaryFolder { folder in
      let path = folder + "/bad.yml"
      try "seed: x".write(toFile: path, atomically: true, encoding: .utf8)
      let failure = #expect(throws: CommandFailure.self) { try Scenario(path: path) }
      #expect(failure?.code == .usage)
      #expect(failure?.message.hasPrefix("\(path):1:7: seed: x: expected") == true)
    }
  }

  @Test("the flags of one point make a scenario whose text reads back as the same point")
  func flagsReadBack() throws {
    let stated: [ParameterKey: String] = [
      .rate: "500", .signatures: "sign:ecdsa-p256", .duration: "2s", .hosts: "a folder/it's", .payload: "10",
    ]
    let scenario = try Scenario(point: stated, seed: "9")
    let again = try Scenario(yaml: scenario.text, fileName: "again")
    #expect(again.seed == 9 && again.name == "run")
    #expect(again.points.map(\.parameters) == scenario.points.map(\.parameters))
    #expect(throws: ParameterErrors.self) { try Scenario(point: [.rate: "0"], seed: nil) }
    #expect(throws: CommandFailure.self) { try Scenario(point: [:], seed: "-1") }
  }
}

@Suite("Order of a sweep")
struct SweepPlanTests {
  private func scenario(seed: UInt64, repeats: Int = 2) throws -> Scenario {
    try Scenario(
      yaml: "seed: \(seed)\nrepeats: \(repeats)\naxes: {batch_size: [1, 2, 3, 4, 5, 6, 7, 8]}",
      fileName: "s.yml")
  }

  @Test("every point stands in the plan once per repeat")
  func everyPointOnce() throws {
    let plan = SweepPlan(try scenario(seed: 1))
    #expect(plan.points.count == 16)
    #expect(Set(plan.points.map(\.key)).count == 16)
    #expect(plan.points.map(\.orderIndex) == Array(0..<16))
    #expect(Set(plan.points.map(\.seed)).count == 16)
  }

  @Test("the same seed gives the same order, another seed another one")
  func orderFollowsTheSeed() throws {
    let first = SweepPlan(try scenario(seed: 1)).points.map(\.key)
    #expect(SweepPlan(try scenario(seed: 1)).points.map(\.key) == first)
    #expect(SweepPlan(try scenario(seed: 2)).points.map(\.key) != first)
  }

  @Test("the order is not that of the file")
  func orderIsShuffled() throws {
    let batches = SweepPlan(try scenario(seed: 1, repeats: 1)).points.map(\.parameters.batchSize)
    #expect(batches != batches.sorted())
  }

  @Test("the generator gives SplitMix64's published numbers")
  func generatorIsSplitMix() {
    var generator = SplitMix64(seed: 1_234_567)
    #expect(
      [generator.next(), generator.next(), generator.next()] == [
        6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
      ])
  }
}
