// Faults on the load's clock: what a script may say, and that it is refused before anything runs when it cannot be done.

import Experiment
import Results
import Testing

@Suite("Fault scripts")
struct FaultScriptTests {
  private func error(_ text: String) -> String {
    do {
      return "read \(try FaultScript(text))"
    } catch {
      return "\(error.found): expected \(error.expected)"
    }
  }

  private func problems(_ text: String, _ more: [ParameterKey: String] = [:]) -> [String] {
    do {
      return try PointParameters(stating: more.merging([.faultsScript: text]) { $1 }).validate().map(\.asFlag)
    } catch {
      return error.errors.map(\.asFlag)
    }
  }

  @Test("a script is statements of instant, action and replica")
  func isRead() throws {
    let script = try FaultScript("at 2s kill primary; at 4s restart 0;\nat 5s stop 1 ; at 6500ms resume 1;")
    #expect(script.faults.map(\.nanoseconds) == [2_000_000_000, 4_000_000_000, 5_000_000_000, 6_500_000_000])
    #expect(script.faults.map(\.action) == [.kill, .restart, .stop, .resume])
    #expect(script.faults.map(\.target) == [.primary, .replica(0), .replica(1), .replica(1)])
    #expect(script.description == "at 2s kill primary; at 4s restart 0; at 5s stop 1; at 6500ms resume 1")
    #expect(try FaultScript(script.description) == script)
  }

  @Test(
    "a statement that cannot be read is named with what was expected",
    arguments: [
      ("", "'': expected faults such as"), (" ; ", "' ; ': expected faults such as"),
      ("kill 0", "kill 0: expected 'at <duration> <action> <replica>'"),
      ("at 2s kill", "at 2s kill: expected 'at <duration> <action> <replica>'"),
      ("at 2 kill 0", "at 2 kill 0: expected a duration with its unit"),
      ("at 2s murder 0", "at 2s murder 0: expected one of kill, restart, stop, resume"),
      ("at 2s kill x", "at 2s kill x: expected a replica's id or primary"),
      ("at 2s kill -1", "at 2s kill -1: expected a replica's id or primary"),
      ("at 2s restart primary", "at 2s restart primary: expected a replica's id, because"),
      (
        "at 2s kill 0; at 1s kill 1",
        "at 1s kill 1: expected an instant not before that of the fault before, 2s"
      ),
    ])
  func isRefused(text: String, message: String) { #expect(error(text).hasPrefix(message), "\(error(text))") }

  @Test("what cannot be done to the target is refused")
  func impossible() {
    #expect(problems("at 2s kill primary; at 4s restart 0").isEmpty)
    #expect(problems("at 2s kill 1; at 4s restart 1; at 5s kill 1").isEmpty)
    #expect(
      problems("at 2s kill 4") == [
        "--faults-script at 2s kill 4: expected a replica from 0 to 3, or primary"
      ])
    #expect(
      problems("at 2s stop 1") == [
        "--faults-script at 2s stop 1: expected kill or restart, because replicas of this process cannot be frozen"
      ])
    #expect(problems("at 2s restart 1").first?.hasSuffix("a replica that was killed before: 1 runs") == true)
    #expect(problems("at 2s kill 1; at 3s kill 1").count == 1)
    #expect(
      problems("at 11s kill 1").first?.hasSuffix("an instant before the end of the measurement, 11s") == true)
    #expect(problems("at 2s kill 1", [.hosts: "cluster"]).count == 1)
  }

  @Test("a script is a parameter of the point: in its identity and its column, and no part of a probe")
  func isParameter() throws {
    let plain = try PointParameters(stating: [:])
    let point = try PointParameters(stating: [.faultsScript: "at 2s  kill 1;"])
    #expect(point.pointID != plain.pointID)
    #expect(point.capacityConfiguration == plain.capacityConfiguration)
    var row = PointRow()
    point.fill(&row, targetOpsPerSecond: 1)
    #expect(row.cell("fault_script") == "at 2s kill 1")
    plain.fill(&row, targetOpsPerSecond: 1)
    #expect(row.cell("fault_script") == "")
  }

  @Test("a scenario states it among the target's keys or as an axis, and is told where it is wrong")
  func inScenarios() throws {
    let scenario = try Scenario(
      yaml: """
        axes:
          faults_script: [at 2s kill primary, 'at 2s kill 1; at 4s restart 1']
        """, fileName: "s.yml")
    #expect(scenario.points.map(\.parameters.faultScript.faults.count) == [1, 2])
    let failure = #expect(throws: ScenarioError.self) {
      try Scenario(yaml: "target:\n  faults_script: at 2s kill 9\n", fileName: "s.yml")
    }
    #expect(
      failure?.description
        == "s.yml:2:18: faults_script: at 2s kill 9: expected a replica from 0 to 3, or primary")
  }

  @Test("durability and the view-change timeout are axes; unstated they leave identities as they were")
  func newAxes() throws {
    let plain = try PointParameters(stating: [:])
    for (key, text) in [(.durability, "sync"), (.viewChangeTimeout, "1s")] as [(ParameterKey, String)] {
      #expect(try PointParameters(stating: [key: text]).pointID != plain.pointID)
    }
    #expect(try PointParameters(stating: [.durability: "none"]).pointID == plain.pointID)
    #expect(plain.pointID == "be392e638cd3")
    var row = PointRow()
    try PointParameters(stating: [.durability: "async", .viewChangeTimeout: "1s"])
      .fill(&row, targetOpsPerSecond: 1)
    #expect(row.cell("durability") == "async" && row.cell("view_change_timeout_ms") == "1000")
  }
}
