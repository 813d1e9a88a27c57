// `muster sweep`: all points of a scenario, resumable.

import ArgumentParser
import Experiment
import Logging

struct SweepCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sweep",
    abstract: "Measure all points of a scenario and write CSV, histograms and a report.",
    discussion: """
      Examples:

        muster sweep
        muster sweep --print-scenario > mine.yml
        muster sweep mine.yml --out results/mine
        muster sweep --resume --out results/mine

      A sweep that was stopped or killed goes on with --resume: only the point in progress is measured \
      again. Exit codes: 0 all points finished (void ones included), 1 when any failed its audit or its \
      target, 64 usage, 66 missing input, 73 the output folder cannot be made, 130 interrupted.
      """)

  @Argument(help: "Scenario file in YAML. Without it the embedded default scenario.")
  var scenario: String?

  @Option(help: ArgumentHelp("Result folder. (default: results/<UTC time>-<name>)", valueName: "dir"))
  var out: String?

  @Flag(help: "Go on with the sweep in the folder given by --out; its own scenario needs no file.")
  var resume = false

  @Flag(help: "Print the scenario that would run and stop.")
  var printScenario = false

  func run() async throws {
    if resume, out == nil {
      throw CommandFailure.usage("--resume: expected --out DIR with it, the folder to go on in")
    }
    let loaded = try Scenario.load(path: scenario, resuming: resume ? out : nil)
    if printScenario {
      print(loaded.text, terminator: "")
      return
    }
    let outcome = try await Interruption.cancelling {
      try await Sweep.run(
        loaded, resume: resume, folder: out, runner: measuringRunner(), console: .standardError, kind: .sweep)
    }
    print(outcome.table)
    if let failure = outcome.sweepFailure { throw failure }
  }
}

/// The runner of real points.
func measuringRunner() -> some PointRunning {
  let logger = Logger(label: "muster")
  return TransportRunner(
    embedded: EmbeddedPointRunner(logger: logger), remote: RemotePointRunner(logger: logger))
}
