// The command that starts foreign replicas: what it is told, how its end is known, and that nothing of it is left.

import Foundation
import TestSupport
import Testing

@testable import Experiment

@Suite("Target command")
struct TargetCommandTests {
  private static let values = [
    (name: "n", value: "4"), (name: "maxbatchsize", value: "400"), (name: "useSignatures", value: "1"),
  ]

  @Test(
    "placeholders are filled, and the shell keeps what is its own",
    arguments: [
      ("start {n} {maxbatchsize}", "start 4 400"), ("{n}{n}", "44"), ("x", "x"), ("", ""), ("{", "{"),
      ("{unknown} {n", "{unknown} {n"),
      ("for i in {0..3}; do echo ${n}; done", "for i in {0..3}; do echo ${n}; done"),
      ("${MUSTER_N} {useSignatures}", "${MUSTER_N} 1"), ("{{n}}", "{4}"),
    ])
  func fills(text: String, filled: String) {
    #expect(TargetCommand.filled(text, Self.values) == filled)
  }

  /// Returns once the command has ended, with its exit code.
  private func end(_ command: TargetCommand) async throws -> Int {
    try await withLoops(1) { loops in
      try await eventually("the command ends", on: loops[0]) { command.exitCode != nil }
    }
    return try #require(command.exitCode)
  }

  @Test(
    "it is given its values in the environment as well, and an exit code other than 0 is told with its last words"
  )
  func isTold() async throws {
    let good = try TargetCommand("test \"$MUSTER_MAXBATCHSIZE-{n}\" = 400-4", values: Self.values)
    #expect(try await end(good) == 0)
    try good.check()
    await good.stop()
    let bad = try TargetCommand("echo first; echo no java here >&2; exit 3", values: Self.values)
    #expect(try await end(bad) == 3)
    let failure = #expect(throws: TargetFailure.self) { try bad.check() }
    #expect(failure?.description.contains("exit code 3") == true)
    #expect(failure?.description.contains("no java here") == true)
    await bad.stop()
  }

  @Test("it holds none of our descriptors: a listener of ours that is closed is closed")
  func holdsNothing() async throws {
    let descriptor = open("/dev/null", O_RDONLY)
    defer { close(descriptor) }
    let command = try TargetCommand(
      "test ! -e /proc/$$/fd/{n}", values: [(name: "n", value: "\(descriptor)")])
    #expect(try await end(command) == 0)
    await command.stop()
  }

  @Test("its whole process group is ended, what outlived the command included")
  func endsItsGroup() async throws {
    let folder = FileManager.default.temporaryDirectory.path + "/muster-group-\(UUID().uuidString)"
    let command = try TargetCommand(
      "sleep 1000 & echo $! > {n}; exit 0", values: [(name: "n", value: folder)])
    #expect(try await end(command) == 0)
    let text = try String(contentsOfFile: folder, encoding: .utf8)
    let child = try #require(pid_t(text.trimmingCharacters(in: .whitespacesAndNewlines)))
    #expect(kill(child, 0) == 0)
    await command.stop()
    // A process that nobody has waited for yet answers to signals still; its state says that it has ended.
    let status = try? String(contentsOfFile: "/proc/\(child)/status", encoding: .utf8)
    #expect(status.map { $0.contains("State:\tZ") } ?? true)
    unlink(folder)
  }
}

@Suite("Foreign replicas")
struct ForeignTargetTests {
  /// A configuration folder of BFT-SMaRt; removed with the value.
  private final class Folder {
    let path = FileManager.default.temporaryDirectory.path + "/muster-foreign-\(UUID().uuidString)"

    init(_ system: String, replicas: Int = 4) throws {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
      let hosts = (0..<replicas).map { "\($0) 127.0.0.1 \(11000 + 10 * $0) \(11001 + 10 * $0)\n" }.joined()
      try hosts.write(toFile: path + "/hosts.config", atomically: false, encoding: .utf8)
      try system.write(toFile: path + "/system.config", atomically: false, encoding: .utf8)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
  }

  private static let shipped = """
    system.servers.num = 4
    system.servers.f = 1
    system.totalordermulticast.maxbatchsize = 1024
    system.totalordermulticast.timeout = 3000
    system.communication.useSignatures = 1
    system.communication.defaultkeys = true
    """

  private func parameters(
    _ folder: Folder, _ stated: [ParameterKey: String] = [:]
  ) throws -> PointParameters {
    var texts: [ParameterKey: String] = [.protocol: "bftsmart", .hosts: folder.path]
    texts.merge(stated) { $1 }
    let parameters = try PointParameters(stating: texts)
    #expect(parameters.validate().isEmpty)
    return parameters
  }

  @Test("what system.config says is what the row will say")
  func resolves() throws {
    let folder = try Folder(Self.shipped)
    let target = try ForeignTarget(parameters(folder))
    #expect(target.resolved.batchSize == 1024 && target.resolved.requestTimeoutNanoseconds == 3_000_000_000)
    #expect(
      target.resolved.replicas == 4 && target.resolved.faults == 1 && target.resolved.transport == .remote)
    #expect(target.resolved.signatureMode == "sign:ecdsa-secp256k1" && target.resolved.service == .counter)
    #expect(target.speech.dialect == .master && !target.speech.useMACs && !target.speech.readOnlyRequests)
  }

  @Test("crash-only replicas have crash-only quorums")
  func crashOnly() throws {
    let folder = try Folder("system.servers.num = 3\nsystem.servers.f = 1\nsystem.bft = false\n", replicas: 3)
    let target = try ForeignTarget(parameters(folder))
    #expect(target.resolved.replicas == 3 && target.resolved.faults == 1)
    #expect(target.speech.quorums?.weakQuorum == 1 && target.speech.quorums?.quorum == 2)
    #expect(target.resolved.faultModel == .crash)
    let failure = #expect(throws: CommandFailure.self) {
      try ForeignTarget(parameters(folder, [.faultModel: "byzantine"]))
    }
    #expect(failure?.message.contains("system.bft = false") == true, "\(failure?.message ?? "")")
  }

  @Test("reads are refused where the replicas do not serve them")
  func reads() throws {
    let folder = try Folder(Self.shipped)
    let failure = #expect(throws: CommandFailure.self) {
      try ForeignTarget(parameters(folder, [.kind: "unordered"]))
    }
    #expect(failure?.code == .usage)
    #expect(
      failure?.message.hasPrefix("--kind unordered: expected system.optimizations.readonly_requests = true")
        == true)
    let serving = try Folder(Self.shipped + "\nsystem.optimizations.readonly_requests = true\n")
    #expect(try ForeignTarget(parameters(serving, [.kind: "unordered"])).speech.readOnlyRequests)
  }

  @Test("a flag that contradicts system.config is an error that names both; a target command makes it so")
  func contradicts() throws {
    let folder = try Folder(Self.shipped)
    let failure = #expect(throws: CommandFailure.self) {
      try ForeignTarget(parameters(folder, [.batchSize: "400"]))
    }
    #expect(failure?.code == .usage)
    #expect(failure?.message.contains("--batch-size contradicts") == true)
    #expect(failure?.message.contains("maxbatchsize = 1024") == true)
    _ = try ForeignTarget(parameters(folder, [.batchSize: "1024"]))
    let target = try ForeignTarget(
      parameters(folder, [.batchSize: "400", .signatures: "none", .targetCommand: "true"]))
    #expect(target.resolved.batchSize == 400 && target.resolved.signatureMode == "none")
    let values = Dictionary(uniqueKeysWithValues: target.commandValues.map { ($0.name, $0.value) })
    #expect(values["maxbatchsize"] == "400" && values["timeout"] == "3000" && values["useSignatures"] == "0")
    #expect(values["n"] == "4" && values["f"] == "1" && values["hosts"] == folder.path)
    #expect(values["bft"] == "true")
  }

  @Test("parties take blocks of client ids in turn, unless the replicas are started anew for each")
  func freshIDs() throws {
    let folder = try Folder(Self.shipped)
    let target = try ForeignTarget(parameters(folder, [.sessions: "100", .connections: "4"]))
    let firsts = (0..<8).map { _ in target.nextSpeech().firstClientID! }
    #expect(Set(firsts).count == 8 && firsts.allSatisfy { ($0 - 10_000) % 100 == 0 })
    let started = try ForeignTarget(parameters(folder, [.targetCommand: "true"]))
    #expect(started.nextSpeech().firstClientID == nil)
  }

  @Test(
    "what cannot be measured is refused in words",
    arguments: [
      ([.protocol: "bftsmart"], "--protocol bftsmart: expected the folder of their hosts.config"),
      (
        [.protocol: "bftsmart", .hosts: "x", .service: "log"], "--service log: expected one of counter, echo"
      ),
      ([.service: "echo"], "--service echo: expected one of log, counter, null"),
      ([.targetCommand: "true"], "--target-command true: expected none"),
    ] as [([ParameterKey: String], String)])
  func refuses(stated: [ParameterKey: String], words: String) throws {
    let errors = try PointParameters(stating: stated).validate().map(\.asFlag)
    #expect(errors.contains { $0.hasPrefix(words) }, "\(errors)")
  }

  @Test("nobody there by the deadline is said, port by port")
  func notReady() async throws {
    let folder = try Folder(Self.shipped)
    let target = try ForeignTarget(parameters(folder, [.targetCommand: "sleep 100"]))
    let command = try TargetCommand("echo starting; sleep 100", values: [])
    let failure = await #expect(throws: TargetFailure.self) {
      try await target.waitForPorts(command, until: Date(timeIntervalSinceNow: 0.3))
    }
    await command.stop()
    #expect(failure?.description.contains("127.0.0.1:11000") == true, "\(failure?.description ?? "")")
    #expect(failure?.description.contains("starting") == true)
    let failing = try TargetCommand("exit 7", values: [])
    let end = await #expect(throws: TargetFailure.self) {
      try await target.waitForPorts(failing, until: Date(timeIntervalSinceNow: 60))
    }
    #expect(end?.description.contains("exit code 7") == true)
    await failing.stop()
  }

  @Test("the microbenchmark's request is a payload and an empty signature, each behind its length")
  func microbenchmark() {
    #expect(
      ReplicatedService.microbenchmark.request(payloadBytes: 3) == [0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0])
    #expect(ReplicatedService.counter.request(payloadBytes: 9) == [0, 0, 0, 1])
    #expect(ReplicatedService.counter.probe(payloadBytes: 9) == [0, 0, 0, 0])
  }
}
