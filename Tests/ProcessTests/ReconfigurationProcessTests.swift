// Replica processes whose membership changes while a client counts: a fifth joins, the primary leaves, f changes; and a
// cluster of three that tolerates crashes only.

import Foundation
import Glibc
import TestSupport
import Testing

@Suite("Memberships of processes", .serialized, .timeLimit(.minutes(3)))
struct ReconfigurationProcessTests {
  private static let flags = ["--service", "counter", "--durability", "none", "--request-timeout", "1s"]
  private static let system = """
    system.servers.num = 4
    system.servers.f = 1
    system.ttp.id = 7002

    """

  /// The folder of a cluster of four with a line for a fifth, and its processes.
  private func startFour(_ stage: ProcessStage) async throws -> [MusterProcess] {
    try stage.write("system.config", Self.system)
    let keys = try await stage.run("keys", "--config", stage.folder, "--clients", "1001..1009")
    try #require(keys.exitCode == 0, "\(keys.errors)")
    let replicas = try (0..<4).map { try stage.startReplica($0, Self.flags) }
    try await stage.untilReady(replicas)
    return replicas
  }

  private func address(_ stage: ProcessStage, _ id: Int) -> String {
    "\(id):127.0.0.1:\(stage.ports[id].client):\(stage.ports[id].replica)"
  }

  private func reconfigure(_ stage: ProcessStage, _ words: String..., expecting text: String) async throws {
    let end = await (try stage.start(["reconfigure"] + words + ["--config", stage.folder])).end()
    #expect(end.exitCode == 0, "\(end.errors)")
    #expect(end.output.hasPrefix("membership \(text)"), "\(end.output)")
    #expect(end.output.contains("stored in \(stage.folder)/currentView"))
  }

  @Test("a fifth replica joins, the primary leaves and f changes while a client counts without an error")
  func changes() async throws {
    try await ProcessStage.with(replicas: 5) { stage in
      let replicas = try await startFour(stage)
      let operations = 2_000
      let counting = try stage.start(
        "counter", "--id", "1001", "--increment", "1", "--operations", "\(operations)", "--config",
        stage.folder)

      let added = try await stage.run("keys", "--config", stage.folder, "--add", "4")
      #expect(added.exitCode == 0, "\(added.errors)")
      let fifth = try stage.startReplica(4, Self.flags)
      try await reconfigure(stage, "add", address(stage, 4), expecting: "1: replicas 0 (127.0.0.1:")
      try await stage.untilReady([fifth])
      #expect(fifth.output.hasPrefix("ready id=4 n=5 f=1 "))
      #expect(fifth.errors.contains("is not in membership 0 (replicas 0, 1, 2, 3): waits until it is added"))

      try await reconfigure(stage, "remove", "0", expecting: "2: replicas 1 (127.0.0.1:")
      try await withLoops(1) { loops in
        try await eventually("replica 0 says that it is no member", on: loops[0]) {
          replicas[0].errors.contains("membership 2: replicas 1, 2, 3, 4, f = 1; this replica is no member")
        }
      }
      replicas[0].signal(SIGTERM)
      #expect(await replicas[0].end().exitCode == 0)
      try await reconfigure(stage, "f", "0", expecting: "3: replicas 1 (127.0.0.1:")
      try await reconfigure(stage, "f", "1", expecting: "4: replicas 1 (127.0.0.1:")

      let counted = await counting.end()
      #expect(counted.exitCode == 0, "\(counted.errors)")
      #expect(counted.output.hasSuffix("Invocation \(operations - 1), returned value: \(operations)\n"))
      // Who comes later begins with the stored view; the newcomer is needed for a quorum when another one fails.
      replicas[1].signal(SIGKILL)
      let later = try await stage.run(
        "counter", "--id", "1002", "--increment", "1", "--operations", "3", "--config", stage.folder)
      #expect(later.exitCode == 0, "\(later.errors)")
      #expect(later.output.hasSuffix("Invocation 2, returned value: \(operations + 3)\n"))
    }
  }

  @Test("changes that cannot be are refused with their reason")
  func refusals() async throws {
    try await ProcessStage.with(replicas: 5) { stage in
      _ = try await startFour(stage)
      let cases: [([String], Int32, String)] = [
        (
          ["remove", "9"], 64,
          "the replicas refuse: replica 9 is no member; in force is membership 0: replicas 0 ("
        ),
        (["remove", "3"], 64, "3 replicas do not tolerate f = 1"),
        (["f", "2"], 64, "4 replicas do not tolerate f = 2"),
        (["add", address(stage, 3)], 64, "replica 3 is a member already"),
        (["add", "4:host"], 64, "expected ID:HOST:CLIENTPORT:REPLICAPORT"),
        (["grow"], 64, "grow: expected add ID:HOST:CLIENTPORT:REPLICAPORT, remove ID or f F"),
        ([], 64, "expected at least one change"),
      ]
      for (words, code, text) in cases {
        let end = await (try stage.start(["reconfigure"] + words + ["--config", stage.folder])).end()
        #expect(end.exitCode == code && end.errors.contains(text), "\(words): \(end.errors)")
      }
      #expect(!FileManager.default.fileExists(atPath: stage.folder + "/currentView"))
      let again = try await stage.run("keys", "--config", stage.folder, "--add", "3")
      #expect(again.exitCode == 73 && again.errors.contains("replica3.key: exists already"))
      try stage.write("system.config", "system.servers.num = 4\n")
      let nobody = try await stage.run("reconfigure", "f", "1", "--config", stage.folder)
      #expect(nobody.exitCode == 64 && nobody.errors.contains("expected system.ttp.id"))
    }
  }

  @Test(
    "replicas at IPv6 addresses find each other, and clients find them by the view that they store",
    .enabled(if: IPv6Loopback.isThere))
  func inet6() async throws {
    try await ProcessStage.with(host: "::1") { stage in
      try stage.write("system.config", "system.ttp.id = 7002\n")
      _ = try await stage.startCluster("--service", "counter")
      let changed = try await stage.run("reconfigure", "f", "0", "--config", stage.folder)
      #expect(changed.exitCode == 0, "\(changed.errors)")
      #expect(changed.output.contains("0 ([::1]:\(stage.ports[0].client))"), "\(changed.output)")
      let counted = try await stage.run(
        "counter", "--id", "1001", "--increment", "2", "--operations", "2", "--config", stage.folder)
      #expect(counted.exitCode == 0, "\(counted.errors)")
      #expect(counted.output.hasSuffix("Invocation 1, returned value: 4\n"))
    }
  }

  @Test("three replicas that may only crash go on with two of them, whichever the third is")
  func crashModel() async throws {
    try await ProcessStage.with(replicas: 3) { stage in
      try stage.write("system.config", "system.servers.num = 3\nsystem.servers.f = 1\nsystem.bft = false\n")
      var replicas = try await stage.startCluster("--service", "counter", "--request-timeout", "500ms")
      #expect(replicas[0].output.hasPrefix("ready id=0 n=3 f=1 "))
      try await stage.count(1001, operations: 5, expecting: 5)
      replicas[2].signal(SIGKILL)
      _ = await replicas[2].end()
      try await stage.count(1002, operations: 5, expecting: 10)
      replicas[2] = try stage.startReplica(2, ["--service", "counter", "--request-timeout", "500ms"])
      try await stage.untilReady([replicas[2]])
      try await stage.count(1003, operations: 5, expecting: 15)
      try await expectPoint(stage)
      replicas[0].signal(SIGTERM)
      _ = await replicas[0].end()
      let last = try await stage.run(
        "counter", "--id", "1004", "--increment", "1", "--operations", "5", "--config", stage.folder)
      #expect(last.exitCode == 0, "\(last.errors)")
    }
  }

  /// A load that the primary alone is asked to bear; every reply is audited.
  private func expectPoint(_ stage: ProcessStage) async throws {
    let result = stage.folder + "/result"
    let point = try await stage.run(
      "run", "--hosts", stage.folder, "--send-to", "primary", "--rate", "200", "--arrival", "constant",
      "--sessions", "10", "--connections", "2", "--warmup", "200ms", "--duration", "500ms", "--out", result)
    // A busy machine may make it void; wrong it must never be.
    #expect(point.exitCode == 0 || point.exitCode == 5, "\(point.errors)")
    let points = try CSVRows(path: result + "/points.csv")
    #expect(try points.text("audit") == "ok", "\(point.output) \(point.errors)")
    #expect(try points.text("fault_model") == "crash" && points.text("send_to") == "primary")
    #expect(try points.number("answered") + points.number("censored") == 100)
    #expect(try points.number("violations") == 0)
    let other = try await stage.run(
      "run", "--hosts", stage.folder, "--fault-model", "byzantine", "--rate", "200", "--out",
      result + "-other")
    #expect(other.exitCode == 64 && other.errors.contains("--fault-model contradicts the replicas"))
    let reads = try await stage.run(
      "run", "--hosts", stage.folder, "--kind", "unordered", "--rate", "200", "--out", result + "-reads")
    #expect(reads.exitCode == 64 && reads.errors.contains("readonly_requests = true"), "\(reads.errors)")
  }
}
