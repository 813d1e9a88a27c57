// `muster reconfigure`: BFT-SMaRt's DefaultVMServices.

import ArgumentParser
import Experiment

struct ReconfigureCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reconfigure",
    abstract: "Add or remove replicas of a running cluster, or change f.",
    discussion: """
      Acts as the trusted party (system.ttp.id of system.config, which the replicas must know too) with its key, and \
      has the change ordered like any request. All changes of one command come about together. Prints the new view and \
      stores it in currentView of the folder, where BFT-SMaRt's clients and ours look first.

      A replica that is to be added needs keys ('muster keys --add') that all replicas know, and a line in its own \
      hosts.config; it may be started before or after: it waits until it is a member and fetches the state.

      Examples:

        muster reconfigure add 4:10.0.0.5:11000:11001 --config cluster
        muster reconfigure remove 0 --config cluster
        muster reconfigure add 5:10.0.0.6:11000:11001 add 6:10.0.0.7:11000:11001 f 2 --config cluster
      """)

  @Argument(
    help: ArgumentHelp("Any of: add ID:HOST:CLIENTPORT:REPLICAPORT, remove ID, f F.", valueName: "change"))
  var changes: [String] = []

  @OptionGroup var client: ClientFlags

  func run() async throws {
    let options = try ReconfigureOptions(client: client.options, changes: changes)
    print(try await Reconfiguration.run(options))
  }
}
