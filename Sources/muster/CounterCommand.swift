// `muster counter`: BFT-SMaRt's CounterClient.

import ArgumentParser
import Experiment

struct CounterCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "counter",
    abstract: "Increment the counter of a cluster, one operation after the other.",
    discussion: """
      Examples:

        muster counter --id 1001 --increment 1 --config cluster
        muster counter --id 1001 --increment 0 --operations 10 --config cluster
        muster counter --id 1001 --increment 1 --config library/config --kind ordered-hashed
        muster counter --id 1001 --increment 1 --config library-v1.2/config --dialect 1.2
      """)

  @Option(help: "Client id; not that of a replica.")
  var id: String

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("What each operation adds; 0 reads unordered.", valueName: "n"))
  var increment: String

  @Option(help: ArgumentHelp("Number of operations. (default: 1000)", valueName: "m"))
  var operations: String?

  @Option(
    help: ArgumentHelp(
      "How each operation is asked for: ordered, unordered, ordered-hashed or unordered-hashed. "
        + "(default: ordered; unordered for increment 0)", valueName: "kind"))
  var kind: String?

  @OptionGroup var client: ClientFlags

  func run() async throws {
    try await CounterClient.run(
      CounterOptions(
        id: FlagText.whole("--id", id, 0...Int(Int32.max)),
        increment: Int32(FlagText.whole("--increment", increment, Int(Int32.min)...Int(Int32.max))),
        operations: FlagText.whole("--operations", operations ?? "1000", 1...Int(Int32.max)),
        kind: kind.map { try CounterOptions.kind($0) }, client: client.options))
  }
}
