// The generator's side of a point, the same for all targets: a loop of its own, its sessions, its keys.

import Channels
import Foundation
import LoadGenerator
import NIOCore
import NIOPosix
import PBFT
import ServiceClient
import Wire
import Workload

/// Something about the target that kept a point from being measured; concerns this point only.
struct TargetFailure: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

/// A generator, ready to run one load. Stopped by `stop`, whatever happened before.
final class GeneratorParty: Sendable {
  /// How long the sessions' connections may take to come up.
  static let connectTimeoutSeconds = 20.0

  let loop: any EventLoop
  let sessions: ClientSessions
  private let group: MultiThreadedEventLoopGroup

  /// What else of the target the sessions must know.
  struct Speech: Sendable {
    var dialect = ClientDialect.master
    /// v1.2: whether frames carry MACs.
    var useMACs = false
    var readOnlyRequests = false
    /// nil for n, f and the fault model of the point.
    var quorums: Quorums?
    var membershipID: Int32 = 0
    /// nil for that of the point.
    var firstClientID: Int32?
  }

  /// - Parameters:
  ///   - endpoints: the client endpoints of the replicas, by position.
  ///   - secrets: with which the sessions sign and check.
  init(
    _ parameters: PointParameters, endpoints: [Endpoint], replicaIDs: [ReplicaID], secrets: GeneratorSecrets,
    speech: Speech = Speech()
  ) throws {
    let ends = parameters.transport == .memory ? 0 : (parameters.transport == .loopback ? 2 : 1)
    try Descriptors.require(
      parameters.connections * endpoints.count * ends,
      for: "\(parameters.connections) connections per replica")
    group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    loop = group.next()
    loop.execute { ThreadPriority.setGenerator() }
    guard
      let quorums = speech.quorums
        ?? Quorums(
          replicas: parameters.replicas, faults: parameters.faults, model: parameters.faultModel)
    else {
      throw TargetFailure("\(parameters.replicas) replicas do not tolerate \(parameters.faults) faults")
    }
    var configuration = SessionConfiguration(replicas: endpoints, quorums: quorums, replicaIDs: replicaIDs)
    configuration.membershipID = speech.membershipID
    configuration.dialect = speech.dialect
    configuration.useMACs = speech.useMACs
    configuration.connections = parameters.connections
    configuration.sessions = parameters.sessions
    configuration.firstClientID = speech.firstClientID ?? Int32(parameters.firstClientID)
    configuration.outstanding = parameters.outstanding
    configuration.resendNanoseconds = parameters.resendNanoseconds
    if parameters.sendTo == .primary {
      configuration.sendTargets = .primaryFirst(delayNanoseconds: parameters.resendNanoseconds)
    }
    configuration.readOnlyRequests = speech.readOnlyRequests
    let mode = try SignatureMode(name: parameters.signatureMode)
    let signer = try RequestSigner(
      mode: mode, secrets: secrets, replicas: replicaIDs, clientCapacity: parameters.sessions)
    // Keys are derived before the clock runs: the first request of a session is a request like any other.
    for index in 0..<parameters.sessions {
      signer.prepare(client: configuration.firstClientID &+ Int32(index))
    }
    nonisolated(unsafe) let handed = signer
    sessions = ClientSessions(configuration: configuration, signer: handed, loop: loop)
    sessions.prepareKeys()
    if mode == .hmac {
      // Tags are one per replica, so that another membership needs another signer.
      sessions.signerOf = { replicas in
        try? RequestSigner(
          mode: mode, secrets: secrets, replicas: replicas, clientCapacity: parameters.sessions)
      }
    }
  }

  /// Opens all connections; a replica that cannot be reached is named.
  func connect() async throws {
    let ready = loop.flatSubmit { [sessions] in sessions.connect() }
    let promise = loop.makePromise(of: Void.self)
    ready.cascade(to: promise)
    let timeout = loop.scheduleTask(in: .nanoseconds(Int64(Self.connectTimeoutSeconds * 1e9))) { [sessions] in
      let problems = sessions.connectionProblems
      promise.fail(TargetFailure("cannot connect to every replica: " + problems.joined(separator: "; ")))
    }
    defer { timeout.cancel() }
    try await promise.futureResult.get()
  }

  /// Makes and signs what `plan` is going to send, and a reserve for sessions that get more than their share.
  /// - Returns: the processor time it took, in seconds.
  func signAhead(_ plan: LoadPlan) async throws -> Double {
    guard case .open(_, let rate) = plan.pacing else { return 0 }
    let seconds = Double(plan.warmupNanoseconds + plan.measureNanoseconds) / 1e9
    let perSession = Int((rate * seconds / Double(sessions.configuration.sessions) * 1.2).rounded(.up)) + 8
    let nanoseconds = try await loop.submit { [sessions] in
      plan.content.withUnsafeBytes { sessions.signAhead(requests: perSession, content: $0) }
    }.get()
    return Double(nanoseconds) / 1e9
  }

  /// Runs the load of one point: all that is to be said of it before its target is asked for its account.
  ///
  /// - Parameters:
  ///   - auditBase: the position of the target's log before the load.
  ///   - report: is told of each second, and that the load has ended.
  func measure(
    _ parameters: PointParameters, rate: Double, seed: UInt64, ceiling: Double?, auditBase: UInt64 = 0,
    report: @escaping @Sendable (LiveStatus) -> Void, onStart: @escaping @Sendable (Int64) -> Void = { _ in },
    onMeasurement: @escaping @Sendable (Bool) -> Void = { _ in }
  ) async throws -> PointMeasurement {
    let plan = parameters.plan(rate: rate, seed: seed, auditBase: auditBase)
    let signAheadSeconds = parameters.signing == .ahead ? try await signAhead(plan) : nil
    let started = Date()
    let outcome = try await run(
      plan, onStart: onStart, onMeasurement: onMeasurement,
      onSecond: { report(.second($0, $1, parameters)) })
    var measurement = PointMeasurement(
      parameters: parameters, rate: rate, ceiling: ceiling, outcome: outcome, started: started,
      ended: Date(), isAudited: parameters.audit && parameters.service.isAuditable)
    measurement.signAheadSeconds = signAheadSeconds
    report(LiveStatus(phase: .audit))
    return measurement
  }

  /// Runs `plan` to its end, or stops waiting when the task is cancelled.
  func run(
    _ plan: LoadPlan, onStart: @escaping @Sendable (Int64) -> Void = { _ in },
    onMeasurement: @escaping @Sendable (Bool) -> Void = { _ in },
    onSecond: @escaping @Sendable (Int, LoadSecond) -> Void = { _, _ in }
  ) async throws -> LoadOutcome {
    let generator = OpenLoop(plan: plan, sessions: sessions)
    generator.onStart = onStart
    generator.onMeasurement = onMeasurement
    generator.onSecond = onSecond
    let outcome = try await withTaskCancellationHandler {
      try await generator.run().get()
    } onCancel: {
      generator.cancel()
    }
    try Task.checkCancellation()
    return outcome
  }

  /// How many new memberships of the replicas the sessions have followed.
  func moves() async throws -> UInt64 {
    try await loop.submit { [sessions] in sessions.counters.membershipsAdopted }.get()
  }

  func stop() async {
    try? await loop.submit { [sessions] in sessions.close() }.get()
    try? await group.shutdownGracefully()
  }
}

extension ReplicatedService {
  /// Whether its replies can be checked.
  var isAuditable: Bool {
    switch self {
    case .log, .counter, .echo: true
    case .null, .microbenchmark: false
    }
  }

  /// The content of each request.
  func request(payloadBytes: Int) -> [UInt8] {
    let payload = [UInt8](repeating: 0, count: payloadBytes)
    switch self {
    case .log, .null, .echo: return payload
    case .counter: return [0, 0, 0, 1]
    case .microbenchmark:
      // The payload and a signature of its own, each behind its length; the signature is empty.
      return withUnsafeBytes(of: Int32(payloadBytes).bigEndian) { Array($0) } + payload + [0, 0, 0, 0]
    }
  }

  /// A request that changes nothing where there is such a one: asked before a load to see that replicas answer.
  func probe(payloadBytes: Int) -> [UInt8] {
    self == .counter ? [0, 0, 0, 0] : request(payloadBytes: payloadBytes)
  }
}

extension PointParameters {
  /// What sessions must know of in-process replicas.
  var embeddedSpeech: GeneratorParty.Speech {
    var speech = GeneratorParty.Speech()
    speech.readOnlyRequests = kind.isUnordered
    return speech
  }

  /// The load this point states, at `rate` requests per second (nil = closed loop).
  func plan(rate: Double?, seed: UInt64, auditBase: UInt64?) -> LoadPlan {
    let pacing: LoadPlan.Pacing
    if let rate {
      pacing = .open(arrival, ratePerSecond: rate)
    } else {
      pacing = .closed
    }
    var plan = LoadPlan(pacing: pacing, seed: seed)
    plan.warmupNanoseconds = warmupNanoseconds
    plan.measureNanoseconds = measureNanoseconds
    plan.drainNanoseconds = drainNanoseconds
    plan.content = service.request(payloadBytes: payloadBytes)
    plan.unorderedFraction = kind.isUnordered ? 1 : 0
    if audit, let auditBase {
      switch service {
      case .log: plan.audit = .log(base: auditBase)
      case .counter: plan.audit = .counter
      case .echo: plan.audit = .echo
      case .null, .microbenchmark: break
      }
    }
    plan.signsInline = signsInline
    return plan
  }
}
