// Replica processes driven as if they were somebody else's: by their configuration folder and their clients' protocol alone, in
// both dialects; and the counter client in every kind, signature and dialect.

import Foundation
import TestSupport
import Testing

@Suite("Foreign replicas, over processes", .serialized, .timeLimit(.minutes(5)))
struct ForeignProcessTests {
  @Test(
    "a counter cluster is measured from outside, and every value is audited",
    arguments: ["bftsmart", "bftsmart-1.2"])
  func measures(name: String) async throws {
    try await ProcessStage.with { stage in
      let dialect = name == "bftsmart" ? "master" : "1.2"
      _ = try await stage.startCluster("--service", "counter", "--dialect", dialect)
      for connections in ["2", "20"] {
        let result = stage.folder + "/result-\(connections)"
        let point = try await stage.run(
          "run", "--protocol", name, "--hosts", stage.folder, "--rate", "300", "--arrival", "constant",
          "--sessions", "20", "--connections", connections, "--warmup", "300ms", "--duration", "1s", "--out",
          result)
        // A busy machine may make it void; wrong it must never be.
        #expect(point.exitCode == 0 || point.exitCode == 5, "\(point.errors)")
        let points = try CSVRows(path: result + "/points.csv")
        #expect(try points.text("audit") == "ok", "\(point.output) \(point.errors)")
        #expect(try points.text("protocol") == name && points.text("service") == "counter")
        #expect(try points.number("offered") == 300 && points.number("violations") == 0)
        #expect(try points.number("answered") + points.number("censored") == 300)
        #expect(try points.text("view_changes").isEmpty)
      }
    }
  }

  @Test("a target command starts the replicas for the point and is ended after it")
  func startsThem() async throws {
    try await ProcessStage.with { stage in
      _ = try await stage.startCluster("--service", "counter")
      let marks = stage.folder + "/marks"
      let point = try await stage.run(
        "run", "--protocol", "bftsmart", "--hosts", stage.folder, "--rate", "200", "--sessions", "10",
        "--connections", "2", "--warmup", "200ms", "--duration", "500ms", "--batch-size", "77", "--out",
        stage.folder + "/result", "--target-command",
        "echo {maxbatchsize} $MUSTER_N >> \(marks); trap 'echo ended >> \(marks); exit 0' TERM; sleep 600 & wait"
      )
      #expect(point.exitCode == 0 || point.exitCode == 5, "\(point.errors)")
      #expect(try String(contentsOfFile: marks, encoding: .utf8) == "77 4\nended\n")
      let failing = try await stage.run(
        "run", "--protocol", "bftsmart", "--hosts", stage.folder, "--rate", "200", "--out",
        stage.folder + "/failed", "--target-command", "echo out of luck; exit 9")
      #expect(failing.errors.contains("exit code 9") && failing.errors.contains("out of luck"))
    }
  }

  @Test(
    "the counter client in every kind prints BFT-SMaRt's lines",
    arguments: ["ordered", "unordered", "ordered-hashed", "unordered-hashed"])
  func kinds(kind: String) async throws {
    try await ProcessStage.with { stage in
      try stage.write("system.config", "system.optimizations.readonly_requests = true\n")
      _ = try await stage.startCluster("--service", "counter")
      let counted = try await stage.run(
        "counter", "--id", "1001", "--increment", "2", "--operations", "2", "--config", stage.folder)
      #expect(counted.output.hasSuffix("Invocation 1, returned value: 4\n"), "\(counted.errors)")
      let more = try await stage.run(
        "counter", "--id", "1002", "--increment", "3", "--operations", "2", "--config", stage.folder,
        "--kind", kind)
      // An unordered request changes nothing.
      let values = kind.hasPrefix("unordered") ? (4, 4) : (7, 10)
      #expect(more.exitCode == 0, "\(more.errors)")
      #expect(
        more.output
          == "Invocation 0, returned value: \(values.0)\nInvocation 1, returned value: \(values.1)\n")
    }
  }

  @Test(
    "the counter client signs with each algorithm, and speaks v1.2 with MACs",
    arguments: [
      ("master", "sign:ecdsa-secp256k1"), ("master", "sign:ecdsa-p256"), ("master", "sign:rsa-2048"),
      ("1.2", "none"), ("1.2", "sign:rsa-2048-sha512"),
    ])
  func signs(dialect: String, mode: String) async throws {
    try await ProcessStage.with { stage in
      try stage.write("system.config", "system.communication.defaultkeys = true\n")
      _ = try await stage.startCluster("--service", "counter", "--dialect", dialect, "--signatures", mode)
      try await stage.count(
        1001, operations: 3, expecting: 3, ["--dialect", dialect, "--signatures", mode])
    }
  }
}
