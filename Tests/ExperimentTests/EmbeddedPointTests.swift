// Points as `muster run` measures them, on real replicas in this process: every model of faults, every kind of request. What is
// looked at is what must hold on any machine: that every reply was right, and that none is missing.

import Logging
import Results
import Testing

@testable import Experiment

@Suite("Points on in-process replicas", .serialized)
struct EmbeddedPointTests {
  /// Measures 200 requests over memory, each followed for as long as a busy machine may need.
  private func measure(_ stated: [ParameterKey: String]) async throws -> PointResult {
    var texts: [ParameterKey: String] = [
      .transport: "memory", .arrival: "constant", .rate: "400", .sessions: "8", .connections: "2",
      .warmup: "100ms", .duration: "500ms", .drain: "40s",
    ]
    texts.merge(stated) { $1 }
    let parameters = try PointParameters(stating: texts)
    try #require(parameters.validate().isEmpty)
    let runner = EmbeddedPointRunner(logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    return try await runner.run(
      parameters, targetOpsPerSecond: 400, repeatIndex: 0, seed: 1, ceilingOpsPerSecond: nil, report: { _ in }
    )
  }

  private func expectAllAnswered(_ result: PointResult) {
    let row = result.row
    #expect(row.audit == .ok && row.violations == 0, "\(result.events.map(\.detail))")
    #expect(row.offered == 200 && row.answered == 200 && row.censored == 0 && row.errors == 0)
    // The requests of the warm-up are checked as well.
    #expect(row.checked == 240)
  }

  @Test(
    "crash-only replicas order with a majority",
    arguments: [("3", "log"), ("5", "log"), ("3", "counter"), ("1", "log")])
  func crashOnly(replicas: String, service: String) async throws {
    let result = try await measure([.faultModel: "crash", .replicas: replicas, .service: service])
    expectAllAnswered(result)
    #expect(result.row.viewChanges == 0)
  }

  @Test("two of three crash-only replicas go on when the primary is killed, and nothing is lost")
  func crashOnlyFailover() async throws {
    let result = try await measure([
      .faultModel: "crash", .replicas: "3", .requestTimeout: "200ms", .resend: "1s",
      .faultsScript: "at 200ms kill primary",
    ])
    expectAllAnswered(result)
    #expect(try #require(result.row.viewChanges) >= 1)
    #expect(result.events.contains { $0.kind == "fault" })
  }

  @Test("of crash-only replicas the primary alone is asked, and answers alone")
  func primaryAlone() async throws {
    let result = try await measure([.faultModel: "crash", .replicas: "3", .sendTo: "primary", .resend: "30s"])
    expectAllAnswered(result)
    #expect(result.row.retransmits == 0)
  }

  @Test(
    "reads are answered by a quorum and ordered by nobody",
    arguments: [
      ("log", "byzantine", "none"), ("counter", "byzantine", "sign:ed25519"), ("log", "crash", "hmac"),
    ])
  func reads(service: String, model: String, signatures: String) async throws {
    let result = try await measure([
      .kind: "unordered", .service: service, .faultModel: model, .signatures: signatures,
    ])
    expectAllAnswered(result)
    #expect(result.row.batchMean == nil)
  }
}
