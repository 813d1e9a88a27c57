// The flags of commands that act as one client of a cluster.

import ArgumentParser
import Experiment

struct ClientFlags: ParsableArguments {
  @Option(
    help: ArgumentHelp("Folder of hosts.config, system.config and keys, or with config/.", valueName: "dir"))
  var config: String

  @Option(
    help: ArgumentHelp("Authentication of requests. (default: as system.config says)", valueName: "mode"))
  var signatures: String?

  @Option(
    help: ArgumentHelp(
      "Client frames of BFT-SMaRt: master or 1.2. (default: as the columns of hosts.config say)",
      valueName: "name"))
  var dialect: String?

  var options: ClientOptions {
    get throws { try ClientOptions(configDirectory: config, signatures: signatures, dialect: dialect) }
  }
}
