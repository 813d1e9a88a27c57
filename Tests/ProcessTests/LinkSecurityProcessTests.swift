// Replica processes over TLS, with the certificates that `muster keys` makes, and those that cannot start with theirs.

import Foundation
import Testing

@Suite("Replica processes over TLS", .serialized, .timeLimit(.minutes(2)))
struct LinkSecurityProcessTests {
  @Test("four replicas order over TLS, version by version", arguments: ["TLSv1.2", "TLSv1.3"])
  func ordersOverTLS(version: String) async throws {
    try await ProcessStage.with { stage in
      try stage.write("system.config", "system.ssltls.protocol_version = \(version)\n")
      let replicas = try await stage.startCluster("--service", "counter", "--replica-auth", "tls")
      let counted = try await stage.run(
        "counter", "--id", "1001", "--increment", "2", "--operations", "3", "--config", stage.folder)
      #expect(counted.exitCode == 0 && counted.output.hasSuffix("Invocation 2, returned value: 6\n"))
      for replica in replicas { replica.signal(SIGTERM) }
      for replica in replicas { #expect(await replica.end().exitCode == 0) }
    }
  }

  @Test("a replica whose certificate is missing, another's or exposed says so and does not start")
  func badCertificates() async throws {
    try await ProcessStage.with { stage in
      #expect(try await stage.run("keys", "--config", stage.folder, "--clients", "1..2").exitCode == 0)
      let keys = stage.folder + "/keys"
      func start(_ id: Int) async throws -> MusterProcess.End {
        await (try stage.startReplica(id, try stage.formatFlags() + ["--replica-auth", "tls"])).end()
      }
      try FileManager.default.removeItem(atPath: keys + "/tls0.pem")
      let missing = try await start(0)
      #expect(missing.exitCode == 66 && missing.errors.contains("\(keys)/tls0.pem: no such file"))
      try FileManager.default.copyItem(atPath: keys + "/tls1.pem", toPath: keys + "/tls0.pem")
      let other = try await start(0)
      #expect(other.exitCode == 64 && other.errors.contains("it is that of replica 1"))
      try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: keys + "/tls1.key")
      let exposed = try await start(1)
      #expect(exposed.exitCode == 64 && exposed.errors.contains("mode 644 lets others read a secret"))
      try FileManager.default.removeItem(atPath: keys + "/tls2.key")
      try FileManager.default.copyItem(atPath: keys + "/tls3.key", toPath: keys + "/tls2.key")
      let mixed = try await start(2)
      #expect(mixed.exitCode == 64 && mixed.errors.contains("\(keys)/tls2.pem: TLS cannot be set up"))
    }
  }

  @Test("versions and cipher suites that there are not are wrong usage, named by key")
  func badConfiguration() async throws {
    try await ProcessStage.with(replicas: 1) { stage in
      #expect(try await stage.run("keys", "--config", stage.folder, "--clients", "1..2").exitCode == 0)
      for (line, expected) in [
        (
          "system.ssltls.protocol_version = SSLv3", "system.ssltls.protocol_version = SSLv3: expected TLSv1.2"
        ),
        (
          "system.ssltls.enabled_ciphers = TLS_ECDHE_ECDSA_WITH_NULL_SHA",
          "system.ssltls.enabled_ciphers: TLS_ECDHE_ECDSA_WITH_NULL_SHA: expected some of"
        ),
      ] {
        try stage.write("system.config", line + "\n")
        let end = await (try stage.startReplica(0, try stage.formatFlags() + ["--replica-auth", "tls"])).end()
        #expect(end.exitCode == 64 && end.errors.contains(expected))
      }
    }
  }
}
