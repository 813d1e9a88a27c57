// Four replica processes as a user starts them, the counter client, audited load, and a primary that is stopped for a
// second: its stall is charged to every request that was due meanwhile.

import Channels
import Glibc
import NIOCore
import ServiceClient
import TestSupport
import Testing

@Suite("Replica processes", .serialized, .timeLimit(.minutes(3)))
struct ClusterProcessTests {
  @Test(
    "keys, four replicas and a counter client that prints BFT-SMaRt's lines; SIGTERM ends replicas with 0")
  func countsAcrossProcesses() async throws {
    try await ProcessStage.with { stage in
      let replicas = try await stage.startCluster("--service", "counter")
      for (id, replica) in replicas.enumerated() {
        #expect(
          replica.output.hasPrefix("ready id=\(id) n=4 f=1 clients=127.0.0.1:\(stage.ports[id].client) "))
      }
      let counted = try await stage.run(
        "counter", "--id", "1001", "--increment", "2", "--operations", "3", "--config", stage.folder)
      #expect(counted.exitCode == 0)
      #expect(
        counted.output == """
          Invocation 0, returned value: 2
          Invocation 1, returned value: 4
          Invocation 2, returned value: 6

          """)
      let read = try await stage.run(
        "counter", "--id", "1001", "--increment", "0", "--operations", "1", "--config", stage.folder)
      #expect(read.exitCode == 0 && read.output == "Invocation 0, returned value: 6\n")
      #expect(read.errors.contains("unordered requests are off"))
      for replica in replicas { replica.signal(SIGTERM) }
      for replica in replicas {
        let end = await replica.end()
        #expect(end.exitCode == 0 && end.output.split(separator: "\n").count == 1)
      }
    }
  }

  @Test("under sync every process is killed at once, and what was acknowledged is there afterwards")
  func survivesTheEndOfAll() async throws {
    try await ProcessStage.with { stage in
      var replicas = try await stage.startCluster("--service", "counter", "--request-timeout", "500ms")
      var sum = 0
      for life in 1...3 {
        let counted = try await stage.run(
          "counter", "--id", "100\(life)", "--increment", "2", "--operations", "5", "--config", stage.folder)
        sum += 10
        #expect(counted.exitCode == 0, "\(counted.errors)")
        #expect(counted.output.hasSuffix("Invocation 4, returned value: \(sum)\n"))
        for replica in replicas { replica.signal(SIGKILL) }
        for replica in replicas { _ = await replica.end() }
        replicas = try stage.ports.indices.map {
          try stage.startReplica($0, ["--service", "counter", "--request-timeout", "500ms"])
        }
        try await stage.untilReady(replicas)
      }
    }
  }

  @Test("the primary's process is killed, the others go on, and it comes back")
  func survivesThePrimary() async throws {
    try await ProcessStage.with { stage in
      let replicas = try await stage.startCluster("--service", "counter", "--request-timeout", "500ms")
      try await stage.count(1001, operations: 5, expecting: 5)
      replicas[0].signal(SIGKILL)
      try await stage.count(1002, operations: 5, expecting: 10)
      let back = try stage.startReplica(0, ["--service", "counter", "--request-timeout", "500ms"])
      try await stage.untilReady([back])
      try await stage.count(1003, operations: 5, expecting: 15)
      try await withLoops(1) { loops in
        let endpoint = Endpoint.socket(host: "127.0.0.1", port: stage.ports[0].client)
        try await eventually("replica 0 has caught up", on: loops[0]) {
          try await StatusQuery.ask(endpoint, on: loops[0]).get().executedRequests == 15
        }
      }
    }
  }

  @Test("signed requests are counted by processes that know the clients' keys")
  func countsSignedRequests() async throws {
    try await ProcessStage.with { stage in
      _ = try await stage.startCluster("--service", "counter", "--signatures", "sign:ecdsa-p256")
      let counted = try await stage.run(
        "counter", "--id", "10003", "--increment", "1", "--operations", "2", "--config", stage.folder,
        "--signatures", "sign:ecdsa-p256")
      #expect(counted.exitCode == 0)
      #expect(counted.output.hasSuffix("Invocation 1, returned value: 2\n"))
    }
  }

  @Test("a point on four replica processes is audited, and a flag that contradicts them is an error")
  func measuresAPoint() async throws {
    try await ProcessStage.with { stage in
      _ = try await stage.startCluster("--batch-size", "20")
      let point = try await stage.run(
        "run", "--hosts", stage.folder, "--rate", "300", "--arrival", "constant", "--sessions", "20",
        "--connections", "2", "--warmup", "300ms", "--duration", "1s", "--out", stage.folder + "/result")
      // A busy machine may make it void; wrong it must never be.
      #expect(point.exitCode == 0 || point.exitCode == 5, "\(point.errors)")
      let points = try CSVRows(path: stage.folder + "/result/points.csv")
      #expect(points.rows.count == 1)
      #expect(try points.text("audit") == "ok")
      #expect(try points.text("transport") == "remote" && points.text("batch_size") == "20")
      #expect(try points.number("offered") == 300)
      #expect(try points.number("answered") + points.number("censored") == 300)
      #expect(try points.number("checked") >= points.number("answered"))
      #expect(try points.number("violations") == 0)
      let wrong = try await stage.run(
        "run", "--hosts", stage.folder, "--rate", "300", "--batch-size", "21", "--out",
        stage.folder + "/other")
      #expect(wrong.exitCode == 64)
      #expect(wrong.errors.contains("--batch-size contradicts the replicas"))
    }
  }

  @Test(
    "a primary stopped for a second delays what is due meanwhile: response times show it, service times do not"
  )
  func stalledPrimaryIsSeen() async throws {
    try await ProcessStage.with { stage in
      let replicas = try await stage.startCluster("--request-timeout", "20s")
      // Ten sessions of 500 requests a second: what is under way when the primary stops is half a percent of all, so
      // that the service time's p99 is that of requests the stall did not meet.
      let load = try stage.start(
        "run", "--hosts", stage.folder, "--rate", "500", "--arrival", "constant", "--sessions", "10",
        "--connections", "2", "--warmup", "500ms", "--duration", "4s", "--request-timeout", "20s",
        "--out", stage.folder + "/result")
      let primary = replicas[0]
      try await withLoops(1) { loops in
        let backup = Endpoint.socket(host: "127.0.0.1", port: stage.ports[1].client)
        try await eventually("the measurement is under way", on: loops[0]) {
          try await StatusQuery.ask(backup, on: loops[0]).get().executedRequests > 750
        }
        primary.signal(SIGSTOP)
        // The stall is the experiment: no condition to wait for.
        try await loops[0].scheduleTask(in: .seconds(1)) {}.futureResult.get()
        primary.signal(SIGCONT)
      }
      let end = await load.end()
      #expect(end.exitCode == 0 || end.exitCode == 5, "\(end.errors)")
      let points = try CSVRows(path: stage.folder + "/result/points.csv")
      #expect(try points.text("audit") == "ok")
      #expect(try points.number("offered") == 2_000)
      #expect(try points.number("answered") + points.number("censored") == 2_000)
      let response = try points.number("lat_p99_ns")
      let service = try points.number("svc_p99_ns")
      #expect(response > 500e6)
      #expect(service < response / 2)
      // Those that had no session are in the count.
      #expect(try points.number("starved") > 300)
      #expect(try points.text("void_reason").contains("starved"))
    }
  }
}

@Suite("Replica processes that cannot run", .timeLimit(.minutes(1)))
struct FailingProcessTests {
  @Test("a port in use is wrong usage and names address and reason")
  func portInUse() async throws {
    try await ProcessStage.with(replicas: 1) { stage in
      let held = try HeldPort()
      try stage.write("hosts.config", "0 127.0.0.1 \(held.port) \(stage.ports[0].replica)\n")
      #expect(try await stage.run("keys", "--config", stage.folder, "--clients", "1..2").exitCode == 0)
      let end = try await stage.startReplica(0, stage.formatFlags()).end()
      #expect(end.exitCode == 64 && end.output == "")
      #expect(
        end.errors.contains("cannot listen on 127.0.0.1, ports \(held.port) and \(stage.ports[0].replica)"))
      #expect(end.errors.contains("Address already in use"))
    }
  }

  @Test(
    "a bad line of hosts.config is wrong usage, named by file and line",
    arguments: ["replica", "keys", "counter"])
  func badLine(command: String) async throws {
    try await ProcessStage.with { stage in
      try stage.write("hosts.config", "# replicas\n0 127.0.0.1 11000 11001\n1 127.0.0.1 http 11011\n")
      let flags = [
        "replica": ["--id", "0"], "keys": ["--clients", "1..2"],
        "counter": ["--id", "1001", "--increment", "1"],
      ]
      let end = await (try stage.start([command] + flags[command]! + ["--config", stage.folder])).end()
      #expect(end.exitCode == 64 && end.output == "")
      #expect(
        end.errors.contains("\(stage.folder)/hosts.config:3: expected a port in 1...65535, found 'http'"))
    }
  }

  @Test("a replica without keys is a missing input, and so is a folder without hosts.config")
  func missingInput() async throws {
    try await ProcessStage.with(replicas: 1) { stage in
      let keyless = try await stage.run("replica", "--id", "0", "--config", stage.folder)
      #expect(keyless.exitCode == 66 && keyless.errors.contains("\(stage.folder)/keys"))
      let hostless = try await stage.run("replica", "--id", "0", "--config", stage.folder + "/nowhere")
      #expect(hostless.exitCode == 66 && hostless.errors.contains("/nowhere"))
    }
  }

  @Test("a replica without data, of another cluster, or made twice is refused, and told what to do")
  func refusesWrongData() async throws {
    try await ProcessStage.with(replicas: 1) { stage in
      #expect(try await stage.run("keys", "--config", stage.folder, "--clients", "1..2").exitCode == 0)
      let flags = try stage.formatFlags()
      let missing = await (try stage.startReplica(0)).end()
      #expect(missing.exitCode == 66 && missing.output == "")
      #expect(missing.errors.contains("\(stage.folder)/data/replica0: no data of replica 0"))
      #expect(missing.errors.contains("start it once with --format --cluster \(flags[2])"))
      let other = String(repeating: "0", count: 32)
      let wrong = await (try stage.startReplica(0, ["--format", "--cluster", other])).end()
      #expect(wrong.exitCode == 66 && wrong.errors.contains("are of cluster \(flags[2])"))
      let bare = await (try stage.startReplica(0, ["--format"])).end()
      #expect(bare.exitCode == 64 && bare.errors.contains("expected --cluster as well"))
      let first = try stage.startReplica(0, flags)
      try await stage.untilReady([first])
      first.signal(SIGTERM)
      #expect(await first.end().exitCode == 0)
      let again = await (try stage.startReplica(0, flags)).end()
      #expect(again.exitCode == 66 && again.errors.contains("already formatted; start without --format"))
      let second = try stage.startReplica(0)
      try await stage.untilReady([second])
      #expect(second.output.contains("durability=sync"))
    }
  }

  @Test("a replica id that hosts.config does not have is wrong usage")
  func unknownReplica() async throws {
    try await ProcessStage.with { stage in
      let end = try await stage.run("replica", "--id", "4", "--config", stage.folder)
      #expect(end.exitCode == 64 && end.errors.contains("--id 4: expected one of the replicas of"))
    }
  }

  @Test("keys are never overwritten")
  func keysStay() async throws {
    try await ProcessStage.with { stage in
      let first = try await stage.run("keys", "--config", stage.folder, "--clients", "1..2")
      let second = try await stage.run("keys", "--config", stage.folder, "--clients", "1..2")
      #expect(first.exitCode == 0 && second.exitCode == 73)
    }
  }

  @Test(
    "a replica that waits for its peers ends cleanly on SIGTERM and on SIGINT", arguments: [SIGTERM, SIGINT])
  func stopsWhileAlone(signal: Int32) async throws {
    try await ProcessStage.with { stage in
      #expect(try await stage.run("keys", "--config", stage.folder, "--clients", "1..2").exitCode == 0)
      let replica = try stage.startReplica(0, stage.formatFlags())
      try await withLoops(1) { loops in
        let endpoint = Endpoint.socket(host: "127.0.0.1", port: stage.ports[0].client)
        try await eventually("the replica listens", on: loops[0]) {
          (try? await StatusQuery.ask(endpoint, on: loops[0]).get()) != nil
        }
      }
      replica.signal(signal)
      let end = await replica.end()
      // It never was ready, so it never said so.
      #expect(end.exitCode == 0 && end.output == "")
    }
  }

  @Test("load on replicas that are not there is unavailable, and says who does not answer")
  func nobodyThere() async throws {
    try await ProcessStage.with { stage in
      let end = try await stage.run(
        "run", "--hosts", stage.folder, "--rate", "10", "--out", stage.folder + "/result")
      #expect(end.exitCode == 69 || end.exitCode == 5, "\(end.errors)")
      #expect(end.errors.contains("127.0.0.1:"))
    }
  }
}
