// `muster replica`: one replica process.

import ArgumentParser
import Experiment

struct ReplicaCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "replica",
    abstract: "Run one replica of a cluster that its configuration folder describes.",
    discussion: """
      Reads hosts.config, system.config and config.yaml from the folder, and keys/ (see 'muster keys'). Flags win \
      over the environment (CORE_PBFT_...), which wins over config.yaml, system.config and Muster's defaults. \
      Prints one line beginning 'ready' once it serves clients and a quorum of its peers is connected; stops cleanly \
      on SIGTERM.

      What it promises is kept in data/replica<id>/ of the folder, made once with --format; the cluster id is in \
      keys/cluster.id. Without data and without --format a replica with durability sync refuses (exit 66). After a \
      lost disk, or a crash with async or none, it follows the others and abstains until that is history.

      With an id that is no member it waits until 'muster reconfigure add' has made it one. A membership in currentView \
      of the folder, stored after such a change, wins over hosts.config and system.config.

      Examples:

        muster replica --id 0 --config cluster --format --cluster $(cat cluster/keys/cluster.id)
        muster replica --id 0 --config cluster
        muster replica --id 1 --config cluster --durability none --service counter --batch-size 100
      """)

  @Option(help: "Id of this replica in hosts.config.")
  var id: String

  @Option(
    help: ArgumentHelp("Folder of hosts.config, system.config and keys, or with config/.", valueName: "dir"))
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
    help: ArgumentHelp(
      "Authentication between replicas: hmac, tls or none. (default: hmac)", valueName: "mode"))
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

  @Option(
    help: ArgumentHelp(
      "Longest wait for a new view; doubles while views fail. (default: 2s)", valueName: "duration"))
  var viewChangeTimeout: String?

  @Option(
    help: ArgumentHelp("Pause before a view change is sent again. (default: 2s)", valueName: "duration"))
  var viewChangeResend: String?

  @Option(
    help: ArgumentHelp(
      "An idle primary orders nothing so often; 0s turns it off. (default: 0s)", valueName: "duration"))
  var nullRequest: String?

  @Option(
    help: ArgumentHelp(
      "Checkpoint periods per view, then the primary rotates; 0 never. (default: 0)", valueName: "count"))
  var viewChangePeriod: String?

  @Option(
    help: ArgumentHelp(
      "What is on disk before it is sent: sync (all), async or none. (default: sync)", valueName: "mode"))
  var durability: String?

  @Flag(help: "Make the data folder; for the first start of this replica, needs --cluster.")
  var format = false

  @Flag(help: "Its data is lost: follow the others, and abstain until what it has promised is history.")
  var recovering = false

  @Option(help: ArgumentHelp("The cluster id, as in keys/cluster.id; must be equal to it.", valueName: "hex"))
  var cluster: String?

  @Option(
    help: ArgumentHelp(
      "Misbehave: omit, silent, equivocate, censor:<client>, delay:<fraction> or pace:<fraction>.",
      valueName: "how"))
  var byzantine: String?

  @Option(
    help: ArgumentHelp(
      "Client frames: master or 1.2. (default: 1.2 if hosts.config has three columns, else master)",
      valueName: "series"))
  var dialect: String?

  @Flag(help: "Print the resolved configuration and where each value comes from, and exit.")
  var printConfig = false

  func run() async throws {
    let stated: [ParameterKey: String?] = [
      .service: service, .protocol: orderingProtocol, .signatures: signatures, .replicaAuth: replicaAuth,
      .batchSize: batchSize, .batchTimeout: batchTimeout, .requestTimeout: requestTimeout,
      .checkpointPeriod: checkpointPeriod, .logMultiplier: logMultiplier, .reply: reply,
      .viewChangeTimeout: viewChangeTimeout, .durability: durability,
    ]
    let own: [ReplicaOptions.OwnKey: String?] = [
      .viewChangeResend: viewChangeResend, .nullRequest: nullRequest, .viewChangePeriod: viewChangePeriod,
      .byzantine: byzantine, .dialect: dialect,
    ]
    let id = try FlagText.whole("--id", id, 0...Int(Int32.max))
    let options = try ReplicaOptions(
      id: id, configDirectory: config, stating: stated.compactMapValues { $0 },
      own: own.compactMapValues { $0 })
    if printConfig {
      print(try ReplicaProcess.configuration(options), terminator: "")
    } else {
      try await ReplicaProcess.run(
        options, start: ReplicaStart(formats: format, cluster: cluster, recovers: recovering))
    }
  }
}
