// The root command and the one place where errors become text and exit codes.
// Kept true: help goes to standard output with exit 0; every error is one line `error: …` on standard error.

import ArgumentParser
import Experiment
import Foundation

struct Muster: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "muster",
    abstract: "Measure Byzantine fault-tolerant replication under an open-loop load.",
    discussion: """
      Start with the default sweep, three minutes on two cores:

        muster sweep

      Exit codes: 0 done, 1 a sweep with failed points, 2 a failed schedule, 5 a void point, 64 usage, \
      66 missing input, 69 something needed does not answer, 73 output cannot be made, 130 interrupted.
      """,
    subcommands: [
      SweepCommand.self, RunCommand.self, ReplicaCommand.self, KeysCommand.self, ReconfigureCommand.self,
      CounterCommand.self, ReportCommand.self, SimulateCommand.self,
    ])
}

enum CommandLineEntry {
  /// Runs the command that `arguments` name and returns the exit code of the process.
  static func run(_ arguments: [String]) async -> Int32 {
    do {
      var command = try Muster.parseAsRoot(arguments)
      if var asynchronous = command as? any AsyncParsableCommand {
        try await asynchronous.run()
      } else {
        try command.run()
      }
      return 0
    } catch {
      return report(error, arguments)
    }
  }

  private static func report(_ error: any Error, _ arguments: [String]) -> Int32 {
    switch error {
    case let failure as CommandFailure:
      say("error: \(failure.message)")
      return failure.code.rawValue
    case let errors as ParameterErrors:
      for error in errors.errors { say("error: \(error.asFlag)") }
      return CommandFailure.Code.usage.rawValue
    case let code as ExitCode:
      return code.rawValue
    default:
      let code = Muster.exitCode(for: error)
      if code.isSuccess {
        print(Muster.fullMessage(for: error))
      } else {
        let names = Muster.configuration.subcommands.map { $0._commandName }
        let command = arguments.first.flatMap { names.contains($0) ? "muster \($0)" : nil } ?? "muster"
        say("error: \(Muster.message(for: error)) (see '\(command) --help')")
      }
      return code.rawValue
    }
  }

  /// Writes one line to standard error.
  static func say(_ line: String) {
    FileHandle.standardError.write(Data((line + "\n").utf8))
  }
}
