// Points on replicas that are not ours: scripted ones that speak BFT-SMaRt's frames and do what its demonstration services do,
// found by their configuration folder. Each service is measured to the end with the audit that fits it, and one that lies is
// found.

import Channels
import Foundation
import NIOCore
import PBFT
import Results
import TestSupport
import Testing
import Wire

@testable import Experiment

/// What the demonstrations of BFT-SMaRt do with a request, replica by replica. Belongs to the replicas' loop.
private final class DemonstrationServices: @unchecked Sendable {
  enum Kind: Sendable {
    case counter, echo, microbenchmark
    /// Lies alike on all replicas, so that a reply quorum agrees.
    case stuckCounter, forgetfulEcho
  }

  let kind: Kind
  private let replyBytes: Int
  private var values: [Int32: Int32] = [:]

  init(_ kind: Kind, replyBytes: Int) {
    self.kind = kind
    self.replyBytes = replyBytes
  }

  /// nil keeps silent, as a Java replica does whose service throws.
  func execute(_ content: [UInt8], at replica: Int32, isUnordered: Bool) -> [UInt8]? {
    switch kind {
    case .counter, .stuckCounter:
      guard content.count == 4 else { return nil }
      let increment = content.withUnsafeBytes { Int32(bigEndian: $0.loadUnaligned(as: Int32.self)) }
      var value = values[replica] ?? 1_000
      if !isUnordered, kind == .counter || value < 1_005 { value &+= increment }
      values[replica] = value
      return withUnsafeBytes(of: value.bigEndian) { Array($0) }
    case .echo: return content
    case .forgetfulEcho: return Array(content.dropLast())
    case .microbenchmark:
      // ThroughputLatencyServer reads a length and as many bytes, and both once more.
      var rest = content[...]
      for _ in 0..<2 {
        guard rest.count >= 4 else { return nil }
        let length = rest.prefix(4).reduce(0) { $0 << 8 | Int($1) }
        guard rest.count - 4 >= length else { return nil }
        rest = rest.dropFirst(4 + length)
      }
      return rest.isEmpty ? (0..<replyBytes).map { UInt8(truncatingIfNeeded: $0) } : nil
    }
  }
}

/// Scripted replicas and the configuration folder that leads to them.
private struct ForeignStage {
  let folder: String
  let stubs: [StubReplica]

  /// Runs `body` with replicas that all run the same service.
  static func with(
    _ kind: DemonstrationServices.Kind, replicas: Int = 4, dialect: ClientDialect = .master,
    system: String = "", replyBytes: Int = 0, _ body: (ForeignStage) async throws -> Void
  ) async throws {
    let folder = FileManager.default.temporaryDirectory.path + "/muster-foreign-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try system.write(toFile: folder + "/system.config", atomically: false, encoding: .utf8)
    try await withLoops(1) { loops in
      let services = DemonstrationServices(kind, replyBytes: replyBytes)
      let script: StubReplica.Script = { stub, request in
        let isUnordered = request.header.kind == ClientMessageKind.unordered.rawValue
        if let reply = services.execute(request.content ?? [], at: stub.id, isUnordered: isUnordered) {
          stub.answer(request, reply)
        }
      }
      var lines = ""
      var stubs: [StubReplica] = []
      for id in 0..<Int32(replicas) {
        let stub = StubReplica(
          id: id, loop: loops[0], dialect: dialect, useMACs: dialect == .v12, script: script)
        if case .socket(let host, let port) = try await stub.start(Transport.sockets.place()) {
          lines += "\(id) \(host) \(port) \(LoopbackPorts.take())\n"
        }
        stubs.append(stub)
      }
      try lines.write(toFile: folder + "/hosts.config", atomically: false, encoding: .utf8)
      let stage = ForeignStage(folder: folder, stubs: stubs)
      do {
        try await body(stage)
      } catch {
        for stub in stubs { await stub.stop() }
        throw error
      }
      for stub in stubs { await stub.stop() }
    }
  }

  /// Measures 100 requests. All go over one connection to each replica: scripted replicas agree on no order.
  func measure(_ stated: [ParameterKey: String]) async throws -> PointRow {
    var texts: [ParameterKey: String] = [
      .protocol: "bftsmart", .hosts: folder, .arrival: "constant", .rate: "400", .sessions: "8",
      .connections: "1", .warmup: "50ms", .duration: "250ms", .drain: "40s", .resend: "30s",
    ]
    texts.merge(stated) { $1 }
    let parameters = try PointParameters(stating: texts)
    try #require(parameters.validate().isEmpty, "\(parameters.validate())")
    return try await ForeignPointRunner().run(
      parameters, targetOpsPerSecond: 400, repeatIndex: 0, seed: 1, ceilingOpsPerSecond: nil, report: { _ in }
    ).row
  }
}

@Suite("Points on BFT-SMaRt's services", .serialized)
struct ForeignPointTests {
  private func expectAllAnswered(_ row: PointRow) {
    #expect(row.offered == 100 && row.answered == 100 && row.censored == 0 && row.errors == 0)
  }

  @Test(
    "a counter and an echo are audited, in both dialects",
    arguments: [
      ("bftsmart", "counter", "0"), ("bftsmart", "echo", "100"), ("bftsmart-1.2", "counter", "0"),
      ("bftsmart-1.2", "echo", "0"),
    ])
  func audited(name: String, service: String, payload: String) async throws {
    try await ForeignStage.with(
      service == "echo" ? .echo : .counter, dialect: name == "bftsmart" ? .master : .v12
    ) { stage in
      let row = try await stage.measure([.protocol: name, .service: service, .payload: payload])
      expectAllAnswered(row)
      #expect(row.audit == .ok && row.violations == 0 && row.checked == 120)
    }
  }

  @Test(
    "the microbenchmark gets its two lengths, and what it answers is taken as it is",
    arguments: [("bftsmart", "0"), ("bftsmart", "1024"), ("bftsmart-1.2", "100")])
  func microbenchmark(name: String, payload: String) async throws {
    try await ForeignStage.with(
      .microbenchmark, dialect: name == "bftsmart" ? .master : .v12, replyBytes: 512
    ) { stage in
      let row = try await stage.measure([.protocol: name, .service: "microbenchmark", .payload: payload])
      expectAllAnswered(row)
      #expect(row.audit == .absent && row.violations == nil)
      let seen = try await stage.stubs[0].seen()
      #expect(seen.allSatisfy { $0.content?.count == 8 + Int(payload)! })
    }
  }

  @Test("replicas that agree on a wrong answer are found")
  func lies() async throws {
    try await ForeignStage.with(.stuckCounter) { stage in
      let row = try await stage.measure([.service: "counter"])
      #expect(row.audit == .failed && row.voidReasons.first == .auditFailed)
    }
    try await ForeignStage.with(.forgetfulEcho) { stage in
      let row = try await stage.measure([.service: "echo", .payload: "16"])
      #expect(row.audit == .failed && row.violations == 120)
    }
  }

  @Test(
    "reads are served unordered where the folder says so, in v1.2 always",
    arguments: [("bftsmart", "system.optimizations.readonly_requests = true\n"), ("bftsmart-1.2", "")])
  func reads(name: String, system: String) async throws {
    try await ForeignStage.with(.counter, dialect: name == "bftsmart" ? .master : .v12, system: system) {
      stage in
      let row = try await stage.measure([.protocol: name, .kind: "unordered"])
      expectAllAnswered(row)
      #expect(row.audit == .ok && row.violations == 0)
      // But for the probe before the load, which is ordered.
      let kinds = try await stage.stubs[3].seen().map(\.header.kind)
      #expect(
        kinds.count == 121 && kinds.dropFirst().allSatisfy { $0 == ClientMessageKind.unordered.rawValue })
    }
  }

  @Test("of replicas that may only crash the primary alone is asked, after each session's first request")
  func primaryAlone() async throws {
    // A counter of which only some requests are heard would be another one.
    try await ForeignStage.with(
      .echo, replicas: 3, system: "system.servers.num = 3\nsystem.servers.f = 1\nsystem.bft = false\n"
    ) { stage in
      let row = try await stage.measure([.service: "echo", .payload: "16", .sendTo: "primary"])
      expectAllAnswered(row)
      #expect(row.audit == .ok && row.violations == 0)
      for stub in stage.stubs { try await stub.untilSeen(8) }
      let counts = try await [stage.stubs[0].seen().count, stage.stubs[1].seen().count]
      // The probe is the first request of session 0.
      #expect(counts == [121, 8])
    }
  }
}
