// `muster replica`: one replica process.

import ArgumentParser
import Experiment

struct ReplicaCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "replica",
    abstract: "Run one replica of a cluster that its configuration folder describes.",
    discussion: """
      Reads hosts.config and system.config from the folder, and keys/ (see 'muster keys'). Flags win over \
      system.config, which wins over Muster's defaults. Prints one line beginning 'ready' once it serves \
      clients and a quorum of its peers is connected; stops cleanly on SIGTERM.

      Examples:

        muster replica --id 0 --config cluster
        muster replica --id 1 --config cluster --service counter --batch-size 100
      """)

  @Option(help: "Id of this replica in hosts.config.")
  var id: String

  @Option(help: ArgumentHelp("Folder of hosts.config, system.config and keys/.", valueName: "dir"))
  var config: String

  @Option(help: ArgumentHelp("Service: log (audited), counter or null. (default: log)", valueName: "name"))
  var service: String?

  @Option(
    name: .customLong("protocol"),
    help: ArgumentHelp("Ordering: pbft or noops (n = 1, f = 0). (default: pbft)", valueName: "name"))
  var orderingProtocol: String?

  @Option(help: ArgumentHelp("Authentication of client requests. (default: none)", valueName: "mode"))
  var signatures: String?

  @Option(
    help: ArgumentHelp("Authentication between replicas: hmac or none. (default: hmac)", valueName: "mode"))
  var replicaAuth: String?

  @Option(help: ArgumentHelp("Requests per batch at most. (default: 256)", valueName: "count"))
  var batchSize: String?

  @Option(help: ArgumentHelp("Longest wait for a batch to fill. (default: 2ms)", valueName: "duration"))
  var batchTimeout: String?

  @Option(help: ArgumentHelp("Request timer; 0s turns it off. (default: 2s)", valueName: "duration"))
  var requestTimeout: String?

  @Option(help: ArgumentHelp("Batches per checkpoint, K. (default: 128)", valueName: "count"))
  var checkpointPeriod: String?

  @Option(help: ArgumentHelp("Log size L in checkpoint periods. (default: 4)", valueName: "count"))
  var logMultiplier: String?

  @Option(help: ArgumentHelp("Bytes added to each reply. (default: 0)", valueName: "bytes"))
  var reply: String?

  func run() async throws {
    let stated: [ParameterKey: String?] = [
      .service: service, .protocol: orderingProtocol, .signatures: signatures, .replicaAuth: replicaAuth,
      .batchSize: batchSize, .batchTimeout: batchTimeout, .requestTimeout: requestTimeout,
      .checkpointPeriod: checkpointPeriod, .logMultiplier: logMultiplier, .reply: reply,
    ]
    let id = try FlagText.whole("--id", id, 0...Int(Int32.max))
    try await ReplicaProcess.run(
      ReplicaOptions(id: id, configDirectory: config, stating: stated.compactMapValues { $0 }))
  }
}
