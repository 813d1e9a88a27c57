// `muster run`: one point, every parameter a flag.

import ArgumentParser
import Experiment

struct RunCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Measure one point and print its table.",
    discussion: """
      Examples:

        muster run --rate 100000 --transport memory --arrival constant --duration 6s
        muster run --rate 20000 --signatures hmac --batch-size 100
        muster run --rate 8000 --sessions 200 --connections 200
        muster run --hosts cluster --rate 2000 --sessions 100 --request-timeout 20s
        muster run --rate 5000 --durability sync --request-timeout 500ms \
          --faults-script 'at 4s kill primary; at 7s restart 0'

      Exit codes: 0 the point is valid, 5 it is void (the reason is printed), 64 usage, 66 missing input, \
      73 the output folder cannot be made.
      """)

  @OptionGroup(title: "Target") var target: TargetFlags
  @OptionGroup(title: "Workload") var workload: WorkloadFlags

  @Option(help: "Seed of the arrivals. (default: 1)")
  var seed: String?

  @Option(help: ArgumentHelp("Result folder. (default: results/<UTC time>-run)", valueName: "dir"))
  var out: String?

  func run() async throws {
    let stated = target.statements.merging(workload.statements) { first, _ in first }.compactMapValues { $0 }
    let scenario = try Scenario(point: stated, seed: seed)
    let outcome = try await Interruption.cancelling {
      try await Sweep.run(
        scenario, resume: false, folder: out, runner: measuringRunner(), console: .standardError, kind: .point
      )
    }
    print(outcome.table)
    if let failure = outcome.pointFailure { throw failure }
  }
}
