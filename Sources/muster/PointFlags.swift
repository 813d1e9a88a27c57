// The flags of one point. All are text here: `Experiment` reads a flag and the scenario key of the same name
// by the same code, so that a wrong value is reported alike wherever it stands.

import ArgumentParser
import Experiment

/// What is measured.
struct TargetFlags: ParsableArguments {
  @Option(
    name: .customLong("protocol"),
    help: help(
      "Ordering: pbft or noops (n = 1, f = 0); bftsmart or bftsmart-1.2 for replicas that are not ours.",
      "pbft",
      "name"))
  var orderingProtocol: String?

  @Option(
    help: help(
      "Service: log (audited), counter or null; of foreign replicas counter, echo or microbenchmark.",
      "log, of foreign replicas counter", "name"))
  var service: String?

  @Option(help: help("Replicas, n.", "4", "n"))
  var replicas: String?

  @Option(
    help: help(
      "Faults tolerated, f; n must be at least 3f + 1, or 2f + 1 of crashes.", "as many as n allows", "f"))
  var faults: String?

  @Option(
    help: help(
      "What a faulty replica may do: byzantine or crash (BFT-SMaRt's system.bft).", "byzantine", "name"))
  var faultModel: String?

  @Option(help: help("memory, loopback, or remote (then with --hosts).", "loopback", "name"))
  var transport: String?

  @Option(help: ArgumentHelp("Folder of hosts.config of running replicas; implies remote.", valueName: "dir"))
  var hosts: String?

  @Option(
    help: ArgumentHelp(
      "Starts foreign replicas before each point: a shell command with {n}, {f}, {bft}, {maxbatchsize}, "
        + "{timeout}, {useSignatures}, {signatures}, {service}, {replysize} and {hosts}, or MUSTER_N and so on in its environment.",
      valueName: "command"))
  var targetCommand: String?

  @Option(help: help("How long foreign replicas may take to answer.", "60s", "duration"))
  var readyTimeout: String?

  @Option(help: help("Event loops of in-process replicas.", "cores - 1, in signed modes cores", "count"))
  var loops: String?

  @Option(
    help: help(
      """
      Authentication of client requests: none, hmac, sign:ALG or verify-only:ALG with ALG of ed25519, ecdsa-p256, \
      ecdsa-secp256k1, rsa-1024, rsa-2048, rsa-1024-sha512, rsa-2048-sha512.
      """,
      "none", "mode"))
  var signatures: String?

  @Option(help: help("Authentication between replicas: hmac, tls or none.", "hmac", "mode"))
  var replicaAuth: String?

  @Option(help: help("Requests per batch at most.", "256", "count"))
  var batchSize: String?

  @Option(help: help("Longest wait for a batch to fill while others are in flight.", "2ms", "duration"))
  var batchTimeout: String?

  @Option(help: help("Replicas' request timer; 0s turns it off.", "2s", "duration"))
  var requestTimeout: String?

  @Option(help: help("How long a view change may take before the next view.", "2s", "duration"))
  var viewChangeTimeout: String?

  @Option(help: help("Batches per checkpoint, K.", "128", "count"))
  var checkpointPeriod: String?

  @Option(help: help("Log size L in checkpoint periods.", "4", "count"))
  var logMultiplier: String?

  @Option(
    help: help("What in-process replicas write before they vote: none, async or sync.", "none", "name"))
  var durability: String?

  @Option(
    help: ArgumentHelp(
      "Faults on the load's clock: 'at 2s kill primary; at 4s restart 0'.", valueName: "script"))
  var faultsScript: String?

  var statements: [ParameterKey: String?] {
    [
      .protocol: orderingProtocol, .service: service, .replicas: replicas, .faults: faults,
      .faultModel: faultModel, .transport: transport, .hosts: hosts, .targetCommand: targetCommand,
      .readyTimeout: readyTimeout, .loops: loops,
      .signatures: signatures, .replicaAuth: replicaAuth, .batchSize: batchSize,
      .batchTimeout: batchTimeout, .requestTimeout: requestTimeout, .viewChangeTimeout: viewChangeTimeout,
      .checkpointPeriod: checkpointPeriod, .logMultiplier: logMultiplier, .durability: durability,
      .faultsScript: faultsScript,
    ]
  }
}

/// What is offered to it.
struct WorkloadFlags: ParsableArguments {
  @Option(help: help("Offered load in requests per second.", "10000", "rate"))
  var rate: String?

  @Option(
    help: ArgumentHelp("Offered load as a share of a capacity probe, such as 0.45.", valueName: "share"))
  var rateShare: String?

  @Option(help: help("Arrival process: constant or poisson.", "poisson", "name"))
  var arrival: String?

  @Option(help: help("Client sessions.", "1000", "count"))
  var sessions: String?

  @Option(help: help("Connections per replica; equal to sessions: dedicated ones.", "16", "count"))
  var connections: String?

  @Option(help: help("Requests in flight per session, at most 32.", "1", "count"))
  var outstanding: String?

  @Option(
    help: help(
      "How requests are asked for: ordered, or unordered, which are reads that in-process replicas then serve and others "
        + "do with readonly_requests. Hashed replies are not for loads: see 'muster counter'.", "ordered",
      "kind"))
  var kind: String?

  @Option(
    help: help(
      "To whom a request goes at first: all, or primary and to all when there is no answer within --resend; primary is "
        + "for foreign replicas and --fault-model crash.", "all", "whom"))
  var sendTo: String?

  @Option(help: help("Bytes added to each request.", "0", "bytes"))
  var payload: String?

  @Option(help: help("Bytes added to each reply.", "0", "bytes"))
  var reply: String?

  @Option(help: help("When requests are signed: inline or ahead.", "inline", "form"))
  var signing: String?

  @Option(
    help: help("Clients' resend interval.", "the smaller of 4 x request timeout and drain / 2", "duration"))
  var resend: String?

  @Option(help: help("Client id of the first session.", "10000", "id"))
  var firstClientID: String?

  @Option(help: help("Audit every reply: on or off.", "on", "switch"))
  var audit: String?

  @Option(help: help("Load before the measurement.", "1s", "duration"))
  var warmup: String?

  @Option(help: help("Length of the measurement.", "10s", "duration"))
  var duration: String?

  @Option(
    help: help("How long each request is followed; ends early when all are answered.", "5s", "duration"))
  var drain: String?

  var statements: [ParameterKey: String?] {
    [
      .rate: rate, .rateShare: rateShare, .arrival: arrival, .sessions: sessions, .connections: connections,
      .outstanding: outstanding, .kind: kind, .sendTo: sendTo, .payload: payload, .reply: reply,
      .signing: signing, .resend: resend,
      .firstClientID: firstClientID, .audit: audit, .warmup: warmup, .duration: duration, .drain: drain,
    ]
  }
}

/// Help of an option whose default the library below decides.
private func help(_ text: String, _ standard: String, _ value: String) -> ArgumentHelp {
  ArgumentHelp("\(text) (default: \(standard))", valueName: value)
}
