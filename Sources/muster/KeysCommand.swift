// `muster keys`: the keys of a cluster.

import ArgumentParser
import Experiment

struct KeysCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "keys",
    abstract: "Write the keys of a cluster and of its clients.",
    discussion: """
      Writes DIR/keys/: cluster.id, replicas.pub, replica<id>.key for each replica of the configuration, \
      clients.secret and clients.pub, and the certificates of --replica-auth tls: tls-ca.pem, \
      tls-ca.key, tls<id>.pem and tls<id>.key. All are readable by their owner only; nothing is \
      overwritten. Give each replica its own key files, cluster.id, tls-ca.pem and the two .pub files, \
      and the machine that generates load clients.secret; keep tls-ca.key where keys are made.

      With --layout bftsmart it writes what BFT-SMaRt's key loaders read instead: publickey<id> and \
      privatekey<id> in keysECDSA/, keysRSA/ or keysSunEC/, for the replicas, the trusted party and the clients. \
      RSA pairs take long to make: there all ids share one.

      Examples:

        muster keys --config cluster --clients 10000..10999
        muster keys --config cluster --add 4
        muster keys --config bft/config --clients 1001..1020 --layout bftsmart --loader ECDSA
      """)

  @Option(help: ArgumentHelp("Folder of hosts.config.", valueName: "dir"))
  var config: String

  @Option(help: ArgumentHelp("Client ids, both included.", valueName: "a..b"))
  var clients: String?

  @Option(
    help: ArgumentHelp("Adds keys of replicas that are to join, and changes no others.", valueName: "id,..."))
  var add: String?

  @Option(help: ArgumentHelp("Which files: muster or bftsmart. (default: muster)", valueName: "name"))
  var layout: String?

  @Option(
    help: ArgumentHelp(
      "BFT-SMaRt's loader: ECDSA, RSA or SunEC. (default: as system.config, else ECDSA)", valueName: "name"))
  var loader: String?

  @Option(
    help: ArgumentHelp(
      "Keys of the loader: ecdsa-p256, ecdsa-secp256k1, rsa-1024 or rsa-2048. (default: ecdsa-p256 or rsa-2048)",
      valueName: "name"))
  var algorithm: String?

  func run() throws {
    if let add {
      guard clients == nil, layout == nil, loader == nil, algorithm == nil else {
        throw CommandFailure.usage("--add \(add): expected no other flag but --config")
      }
      return print(try KeyProvisioning.add(KeyProvisioning.replicas(add), configDirectory: config))
    }
    guard let clients else {
      throw CommandFailure.usage("expected --clients a..b, or --add with replica ids")
    }
    let options = try KeyOptions(
      configDirectory: config, clients: clients, layout: layout, loader: loader, algorithm: algorithm)
    print(try KeyProvisioning.write(options))
  }
}
