// `muster keys`: the keys of a cluster.

import ArgumentParser
import Experiment

struct KeysCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "keys",
    abstract: "Write the keys of a cluster and of its clients.",
    discussion: """
      Writes DIR/keys/: cluster.id, replicas.pub, replica<id>.key for each replica of the configuration, \
      clients.secret and clients.pub, readable by their owner only; nothing is overwritten. Give each \
      replica its own key file, cluster.id and the two .pub files, and the machine that generates load \
      clients.secret.

      Example:

        muster keys --config cluster --clients 10000..10999
      """)

  @Option(help: ArgumentHelp("Folder of hosts.config.", valueName: "dir"))
  var config: String

  @Option(help: ArgumentHelp("Client ids, both included.", valueName: "a..b"))
  var clients: String

  func run() throws {
    let options = KeyOptions(configDirectory: config, clients: try KeyOptions.clients(clients))
    print(try KeyProvisioning.write(options))
  }
}
