// The open loop against a stub replica: every request that was due is accounted for, and a stall of the target is
// charged to all requests that were due meanwhile, not only to those that were on their way.

import Channels
import NIOCore
import PBFT
import Results
import ServiceClient
import TestSupport
import Testing
import Wire
import Workload

@testable import LoadGenerator

private let millisecond: Int64 = 1_000_000

/// A replica alone (n = 1, f = 0) that keeps an append log: answers at once, never, or not for a while. Its state
/// belongs to the stub's loop.
private final class LogTarget: @unchecked Sendable {
  enum Behaviour {
    case answering
    case silent
    /// Answers nothing from request number `after` on until the stall is over, then everything.
    case stalling(after: Int, nanoseconds: Int64)
  }

  private let behaviour: Behaviour
  private var position: UInt64 = 0
  private var held: [SeenRequest] = []
  private var hasStalled = false
  private var isStalled = false

  init(_ behaviour: Behaviour) { self.behaviour = behaviour }

  func serve(_ stub: StubReplica, _ request: SeenRequest) {
    switch behaviour {
    case .silent: return
    case .answering: answer(stub, request)
    case .stalling(let after, let nanoseconds):
      if !hasStalled, stub.requests.count > after {
        hasStalled = true
        isStalled = true
        stub.loop.scheduleTask(in: .nanoseconds(nanoseconds)) { [self] in
          isStalled = false
          for request in held { answer(stub, request) }
        }
      }
      if isStalled { held.append(request) } else { answer(stub, request) }
    }
  }

  private func answer(_ stub: StubReplica, _ request: SeenRequest) {
    position += 1
    let record = withUnsafeBytes(of: (position.bigEndian, UInt64(0))) { Array($0) }
    stub.answer(request, record)
  }
}

/// Runs `plan` against a target of that behaviour.
private func run(
  _ plan: LoadPlan, against behaviour: LogTarget.Behaviour, sessions count: Int, outstanding: Int = 1,
  prepare: (OpenLoop) -> Void = { _ in }
) async throws -> LoadOutcome {
  try await withLoops(2) { loops in
    let target = LogTarget(behaviour)
    let stub = StubReplica(id: 0, loop: loops[1]) { target.serve($0, $1) }
    let endpoint = try await stub.start(.memory(MemoryPort()))
    var configuration = SessionConfiguration(replicas: [endpoint], quorums: Quorums(replicas: 1, faults: 0)!)
    configuration.sessions = count
    configuration.connections = 2
    configuration.outstanding = outstanding
    let ids = [ReplicaID(0)]
    nonisolated(unsafe) let signer = try RequestSigner(
      mode: .none, secrets: ClusterKeys.publiclyKnown(replicas: ids).generatorSecrets, replicas: ids,
      clientCapacity: count)
    let sessions = ClientSessions(configuration: configuration, signer: signer, loop: loops[0])
    try await loops[0].flatSubmit { sessions.connect() }.get()
    let generator = OpenLoop(plan: plan, sessions: sessions)
    prepare(generator)
    do {
      let outcome = try await generator.run().get()
      try await loops[0].submit { sessions.close() }.get()
      await stub.stop()
      return outcome
    } catch {
      try await loops[0].submit { sessions.close() }.get()
      await stub.stop()
      throw error
    }
  }
}

private func plan(
  _ arrival: ArrivalProcess = .constant, rate: Double, warmup: Int64 = 0, measure: Int64, drain: Int64
) -> LoadPlan {
  var plan = LoadPlan(pacing: .open(arrival, ratePerSecond: rate), seed: 1)
  plan.warmupNanoseconds = warmup * millisecond
  plan.measureNanoseconds = measure * millisecond
  plan.drainNanoseconds = drain * millisecond
  plan.audit = .log(base: 0)
  return plan
}

/// Seconds that a run's callbacks told. Written on the generator's loop, read after the run.
private final class Told: @unchecked Sendable {
  var seconds: [(Int, LoadSecond)] = []
  var phases: [Bool] = []
}

@Suite("Open loop: accounts")
struct OpenLoopAccountTests {
  /// What holds of every outcome, whatever happened.
  private func expectAccounts(_ outcome: LoadOutcome, location: SourceLocation = #_sourceLocation) {
    #expect(outcome.offered == outcome.scheduled, sourceLocation: location)
    #expect(outcome.offered == outcome.answered + outcome.censored, sourceLocation: location)
    #expect(outcome.latency.totalCount == UInt64(outcome.offered), sourceLocation: location)
    #expect(outcome.censoredLatency.totalCount == UInt64(outcome.censored), sourceLocation: location)
    #expect(outcome.service.totalCount == UInt64(outcome.answered), sourceLocation: location)
    #expect(outcome.lag.totalCount == UInt64(outcome.sent), sourceLocation: location)
    #expect(outcome.generatorLag.totalCount == UInt64(outcome.sent), sourceLocation: location)
    #expect(outcome.refused + outcome.errors <= outcome.censored, sourceLocation: location)
    #expect(outcome.bins.reduce(0) { $0 + $1.answered } == outcome.answered, sourceLocation: location)
    #expect(outcome.seconds.reduce(0) { $0 + UInt64($1.sent) } == outcome.sentInAll, sourceLocation: location)
    #expect(
      outcome.seconds.reduce(0) { $0 + UInt64($1.answered) } == outcome.answeredInAll,
      sourceLocation: location)
  }

  @Test(
    "every request that was due in the measurement is answered or censored, and audited",
    arguments: [ArrivalProcess.constant, .poisson, .burst(size: 50)])
  func accountsAddUp(arrival: ArrivalProcess) async throws {
    let told = Told()
    let outcome = try await run(
      plan(arrival, rate: 2_000, warmup: 200, measure: 500, drain: 20_000), against: .answering, sessions: 64
    ) { generator in
      generator.onSecond = { told.seconds.append(($0, $1)) }
      generator.onMeasurement = { told.phases.append($0) }
    }
    expectAccounts(outcome)
    #expect(arrival == .poisson ? (800...1_200).contains(outcome.offered) : outcome.offered == 1_000)
    #expect(outcome.answered == outcome.offered && outcome.sent == outcome.offered)
    #expect(outcome.sentInAll == outcome.answeredInAll && outcome.sentInAll > UInt64(outcome.sent))
    #expect(outcome.violations == 0 && outcome.checked == Int(outcome.answeredInAll))
    #expect(outcome.measuredNanoseconds == 500 * millisecond)
    #expect(outcome.quorumsInWindow > 0 && outcome.throughput > 0 && outcome.generatorCPUNanoseconds > 0)
    #expect(told.phases == [true, false])
    #expect(told.seconds.map(\.0) == Array(0..<told.seconds.count))
    #expect(told.seconds.reduce(0) { $0 + UInt64($1.1.sent) } == outcome.sentInAll)
  }

  @Test("a response time is never below the service time and the lag that are parts of it")
  func relatesTimes() async throws {
    let outcome = try await run(
      plan(rate: 1_000, measure: 300, drain: 20_000), against: .answering, sessions: 8)
    expectAccounts(outcome)
    for percentile in [50.0, 90, 99, 100] {
      let response = outcome.latency.valueAtPercentile(percentile)
      #expect(response >= outcome.service.valueAtPercentile(percentile))
      #expect(response >= outcome.lag.valueAtPercentile(percentile))
      #expect(outcome.lag.valueAtPercentile(percentile) >= outcome.generatorLag.valueAtPercentile(percentile))
    }
  }

  @Test("a target that never answers leaves every request censored, with the value D")
  func silenceIsCensored() async throws {
    let outcome = try await run(
      plan(rate: 200, measure: 300, drain: 400), against: .silent, sessions: 10)
    expectAccounts(outcome)
    #expect(outcome.offered == 60 && outcome.censored == 60 && outcome.answered == 0)
    #expect(outcome.quorumsInWindow == 0 && outcome.throughput == 0 && outcome.answeredInAll == 0)
    // Ten are on their way, the others wait for their sessions.
    #expect(outcome.starved >= 50 && outcome.refused == 0)
    for value in [outcome.latency.min, outcome.latency.max] {
      #expect(abs(Double(value) - 400e6) <= 400e6 * 0.001)
    }
    #expect(outcome.service.totalCount == 0)
  }

  @Test("what the queue has no room for is refused, counted, and censored like the rest")
  func refusesBeyondTheQueue() async throws {
    // All are due at once: one has the session, 1,024 wait.
    let outcome = try await run(
      plan(.burst(size: 3_000), rate: 10, measure: 100, drain: 100), against: .silent, sessions: 1)
    expectAccounts(outcome)
    #expect(outcome.offered == 3_000 && outcome.censored == 3_000)
    #expect(outcome.starved == 1_024 && outcome.refused == 3_000 - 1_025)
  }

  @Test("a request that waits for a session is starved, and is sent as soon as one is free")
  func starvedRequestsAreSent() async throws {
    let outcome = try await run(
      plan(.burst(size: 500), rate: 1_000, measure: 400, drain: 20_000), against: .answering, sessions: 5)
    expectAccounts(outcome)
    #expect(outcome.offered == 500 && outcome.answered == 500 && outcome.sent == 500)
    #expect(outcome.starved == 495)
    #expect(outcome.violations == 0)
  }

  @Test("a session has as many requests in flight as it may")
  func usesOutstanding() async throws {
    let outcome = try await run(
      plan(.burst(size: 64), rate: 100, measure: 200, drain: 20_000), against: .answering, sessions: 2,
      outstanding: 32)
    expectAccounts(outcome)
    #expect(
      outcome.offered == 64 && outcome.answered == 64 && outcome.starved == 0 && outcome.violations == 0)
  }

  @Test("a share of the requests is sent as reads, ordered where reads are not served")
  func sendsReads() async throws {
    var plan = plan(rate: 1_000, measure: 400, drain: 20_000)
    plan.unorderedFraction = 0.25
    let outcome = try await run(plan, against: .answering, sessions: 16)
    expectAccounts(outcome)
    #expect(outcome.offered == 400 && outcome.unorderedSentOrdered == 100)
  }

  @Test("a closed loop keeps every session busy until the measurement ends")
  func closedLoop() async throws {
    var plan = LoadPlan(pacing: .closed, seed: 1)
    plan.warmupNanoseconds = 50 * millisecond
    plan.measureNanoseconds = 200 * millisecond
    plan.drainNanoseconds = 20_000 * millisecond
    plan.audit = .log(base: 0)
    let outcome = try await run(plan, against: .answering, sessions: 4)
    #expect(outcome.scheduled == 0)
    #expect(outcome.offered == outcome.answered + outcome.censored && outcome.censored == 0)
    #expect(outcome.sentInAll == outcome.answeredInAll && outcome.answered > 4)
    #expect(outcome.violations == 0)
  }

  @Test("a cancelled run ends with a cancellation")
  func cancels() async throws {
    await #expect(throws: CancellationError.self) {
      try await run(plan(rate: 100, measure: 600_000, drain: 1_000), against: .answering, sessions: 4) {
        $0.onMeasurement = { [generator = $0] begins in if begins { generator.cancel() } }
      }
    }
  }
}

@Suite("Open loop: coordinated omission")
struct CoordinatedOmissionTests {
  @Test(
    "a stall is in the response time of all that was due meanwhile, and in the service time of what was under way"
  )
  func stallIsCharged() async throws {
    let stall = 300 * millisecond
    let outcome = try await run(
      plan(rate: 500, measure: 1_200, drain: 20_000),
      against: .stalling(after: 200, nanoseconds: stall), sessions: 3)
    #expect(outcome.offered == 600 && outcome.answered == 600 && outcome.censored == 0)
    let response = outcome.latency.valueAtPercentile(99)
    let service = outcome.service.valueAtPercentile(99)
    #expect(response >= UInt64(stall / 2))
    #expect(service < response)
    // Three requests were under way; their service time has seen the stall too.
    #expect(outcome.service.max >= UInt64(stall) * 9 / 10)
    // A quarter of the second's requests were due during the stall and had no session.
    #expect(outcome.starved > 100 && outcome.violations == 0)
    #expect(outcome.generatorLag.valueAtPercentile(50) < outcome.lag.max)
  }
}

@Suite("Null target")
struct NullTargetTests {
  @Test(
    "stubs that order nothing answer authenticated requests alike, in every mode",
    arguments: SignatureMode.allCases)
  func answers(mode: SignatureMode) async throws {
    try await withLoops(2) { loops in
      let ids = (0..<4).map { ReplicaID($0) }
      let keys = ClusterKeys.generate(replicas: ids)
      let clients = keys.clientPublicKeys(10_000...10_007, mode: mode)
      var stubs: [NullReplica] = []
      var endpoints: [Endpoint] = []
      for id in ids {
        nonisolated(unsafe) let verifier = try RequestVerifier(
          mode: mode, secrets: keys.replicaSecrets(of: id, clients: clients)!, replicas: ids,
          clientCapacity: 8)
        let stub = NullReplica(id: id.rawValue, verifier: verifier, replyBytes: 5, loop: loops[1])
        let place = Endpoint.memory(MemoryPort())
        endpoints.append(place.reached(at: try await stub.start(place, boss: loops[1]).get()))
        stubs.append(stub)
      }
      var configuration = SessionConfiguration(replicas: endpoints, quorums: Quorums(replicas: 4, faults: 1)!)
      configuration.sessions = 8
      nonisolated(unsafe) let signer = try RequestSigner(
        mode: mode, secrets: keys.generatorSecrets, replicas: ids, clientCapacity: 8)
      let sessions = ClientSessions(configuration: configuration, signer: signer, loop: loops[0])
      try await loops[0].flatSubmit { sessions.connect() }.get()
      var load = plan(rate: 200, measure: 200, drain: 20_000)
      load.audit = .absent
      let outcome = try await OpenLoop(plan: load, sessions: sessions).run().get()
      #expect(outcome.offered == 40 && outcome.answered == 40 && outcome.checked == 0)
      try await loops[0].submit { sessions.close() }.get()
      for stub in stubs { try await stub.stop().get() }
    }
  }
}
