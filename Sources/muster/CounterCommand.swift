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
      """)

  @Option(help: "Client id; not that of a replica.")
  var id: String

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("What each operation adds; 0 reads unordered.", valueName: "n"))
  var increment: String

  @Option(help: ArgumentHelp("Number of operations. (default: 1000)", valueName: "m"))
  var operations: String?

  @Option(help: ArgumentHelp("Folder of hosts.config, system.config and keys/.", valueName: "dir"))
  var config: String

  @Option(
    help: ArgumentHelp("Authentication of requests. (default: as system.config says)", valueName: "mode"))
  var signatures: String?

  func run() async throws {
    let parameters = try PointParameters(stating: signatures.map { [.signatures: $0] } ?? [:])
    try await CounterClient.run(
      CounterOptions(
        id: FlagText.whole("--id", id, 0...Int(Int32.max)),
        increment: Int32(FlagText.whole("--increment", increment, Int(Int32.min)...Int(Int32.max))),
        operations: FlagText.whole("--operations", operations ?? "1000", 1...Int(Int32.max)),
        configDirectory: config, signatureMode: signatures == nil ? nil : parameters.signatureMode))
  }
}
