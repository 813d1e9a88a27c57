// Replicas of BFT-SMaRt as a target: what their configuration folder says of them, since they answer no questions; whether
// they answer requests; and client ids that they have not seen lately.

import Channels
import Foundation
import NIOCore
import NIOPosix
import PBFT
import ServiceClient
import Synchronization
import Wire

/// Foreign replicas, by their configuration folder.
struct ForeignTarget: Sendable {
  let folder: ClusterFolder
  let secrets: GeneratorSecrets
  /// The parameters with everything that the folder decides as it decides it.
  let resolved: PointParameters
  let speech: GeneratorParty.Speech

  var endpoints: [Endpoint] { folder.clientEndpoints }
  var replicaIDs: [ReplicaID] { folder.membership.replicas }

  /// Reads the folder. Without a target command the replicas run already as their system.config says, and a flag that says
  /// otherwise is an error; with one, what is stated is what the command is to make of them.
  init(_ parameters: PointParameters) throws {
    guard let directory = parameters.hostsDirectory, let dialect = parameters.orderingProtocol.foreignDialect
    else {
      throw CommandFailure.usage(
        "--protocol \(parameters.orderingProtocol.rawValue): expected --hosts DIR, the folder of hosts.config"
      )
    }
    let starts = parameters.targetCommand != nil
    func stated<Value>(_ key: ParameterKey, _ value: Value) -> Value? {
      starts && parameters.stated.contains(key) ? value : nil
    }
    let folder = try ClusterFolder(
      directory, replicas: stated(.replicas, parameters.replicas), faults: stated(.faults, parameters.faults),
      model: stated(.faultModel, parameters.faultModel), dialect: dialect)
    try folder.requireService(of: parameters.kind)
    var resolved = parameters
    resolved.transport = .remote
    func settle<Value: Equatable>(
      _ key: ParameterKey, _ path: WritableKeyPath<PointParameters, Value>, _ value: Value?, as text: String
    ) throws {
      guard let value, !(starts && parameters.stated.contains(key)) else { return }
      if parameters.stated.contains(key), parameters[keyPath: path] != value {
        throw CommandFailure.usage(
          "\(key.flag) contradicts \(folder.directory)/system.config, which says \(text); expected the same value, no "
            + "flag, or --target-command, which restarts the replicas with it")
      }
      resolved[keyPath: path] = value
    }
    let system = folder.system
    try settle(.replicas, \.replicas, folder.membership.count, as: "n = \(folder.membership.count)")
    try settle(.faults, \.faults, folder.membership.faults, as: "f = \(folder.membership.faults)")
    let model = folder.membership.quorums.model
    try settle(.faultModel, \.faultModel, model, as: "system.bft = \(model == .byzantine)")
    let batch = system.maximumBatchSize
    try settle(.batchSize, \.batchSize, batch, as: "maxbatchsize = \(batch ?? 0)")
    let timeout = system.requestTimeoutMilliseconds.map { Int64($0) * 1_000_000 }
    try settle(
      .requestTimeout, \.requestTimeoutNanoseconds, timeout,
      as: "timeout = \(system.requestTimeoutMilliseconds ?? 0)")
    let mode = try folder.statedSignatureMode()
    try settle(.signatures, \.signatureMode, mode?.description, as: "\(mode?.description ?? "none")")
    try settle(
      .checkpointPeriod, \.checkpointPeriod, system.checkpointPeriod,
      as: "checkpoint_period = \(system.checkpointPeriod ?? 0)")
    resolved.stated = parameters.stated
    let settledMode = try SignatureMode(name: resolved.signatureMode)
    guard settledMode != .hmac else {
      throw CommandFailure.usage(
        "--signatures hmac: expected none, sign:… or verify-only:…, as BFT-SMaRt has them")
    }
    secrets = try folder.clientSecrets(settledMode, of: resolved.clientIDs)
    speech = folder.speech
    self.folder = folder
    self.resolved = resolved
  }

  /// What a target command is told, by the names of system.config where there are such.
  var commandValues: [(name: String, value: String)] {
    let use: Int
    switch try? SignatureMode(name: resolved.signatureMode) {
    case .sign?: use = 1
    case .verifyOnly?: use = 2
    default: use = 0
    }
    return [
      ("n", "\(resolved.replicas)"), ("f", "\(resolved.faults)"),
      ("bft", "\(resolved.faultModel == .byzantine)"), ("maxbatchsize", "\(resolved.batchSize)"),
      ("timeout", "\(resolved.requestTimeoutNanoseconds / 1_000_000)"), ("useSignatures", "\(use)"),
      ("signatures", resolved.signatureMode), ("service", resolved.service.rawValue),
      ("replysize", "\(resolved.replyBytes)"), ("hosts", folder.directory),
    ]
  }

  // MARK: Client ids

  /// Blocks of client ids after which those of the first are used again.
  private static let idBlocks: Int32 = 8
  private static let nextBlock = Mutex<Int32>(0)

  /// What the next party of this target is told. A BFT-SMaRt replica answers a client on the connection on which it first
  /// heard of it for as long as that is open, so a party does not take the ids of one that has just left: where any id will
  /// do, it takes the next block of them. Ids with key files of their own, and replicas just started, keep theirs.
  func nextSpeech() -> GeneratorParty.Speech {
    var speech = speech
    let signs = resolved.signatureMode.hasPrefix("sign:") && !folder.usesDefaultKeys
    guard resolved.targetCommand == nil, !signs else { return speech }
    let block = Self.nextBlock.withLock { next in
      defer { next = (next + 1) % Self.idBlocks }
      return next
    }
    let first = resolved.firstClientID + Int(block) * resolved.sessions
    if first + resolved.sessions - 1 <= Int(Int32.max) { speech.firstClientID = Int32(first) }
    return speech
  }

  // MARK: Readiness

  /// Waits until every replica accepts connections.
  ///
  /// - Throws: `TargetFailure` when the command fails, or the deadline passes, with what is missing.
  func waitForPorts(_ command: TargetCommand?, until deadline: Date) async throws {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    try await closing({ try? await group.shutdownGracefully() }) {
      var missing = endpoints
      var reasons: [String] = []
      while true {
        try command?.check()
        (missing, reasons) = try await Self.closed(missing, on: group.next())
        if missing.isEmpty { return }
        guard Date() < deadline else {
          throw TargetFailure(
            "not ready within \(DurationText.text(resolved.readyTimeoutNanoseconds)): "
              + reasons.joined(separator: "; ") + (command?.saying ?? ""))
        }
        try await Task.sleep(for: .milliseconds(100))
      }
    }
  }

  /// Those of `endpoints` that accept no connection now, and why.
  private static func closed(
    _ endpoints: [Endpoint], on loop: any EventLoop
  ) async throws -> ([Endpoint], [String]) {
    var closed: [Endpoint] = []
    var reasons: [String] = []
    for endpoint in endpoints {
      do {
        let link = try await endpoint.connect(on: loop, owner: Visitor(), timeout: .seconds(2)).get()
        try await loop.submit { link.close() }.get()
      } catch {
        closed.append(endpoint)
        reasons.append("\(endpoint): \(error)")
      }
    }
    return (closed, reasons)
  }

  /// Opens a connection and says nothing.
  private final class Visitor: LinkOwner, Sendable {
    func link(_ link: Link, received bytes: UnsafeRawBufferPointer) -> Int { bytes.count }
    func linkClosed(_ link: Link, _ closure: LinkClosure) {}
  }
}

extension GeneratorParty {
  /// Asks one ordered request of session 0 until it is answered: replicas that accept connections may still be far from
  /// serving, or configured in another way than their clients.
  ///
  /// - Throws: `TargetFailure` when there is no answer by `deadline`.
  func probe(_ content: [UInt8], until deadline: Date, _ command: TargetCommand?) async throws {
    while true {
      try command?.check()
      let left = deadline.timeIntervalSinceNow
      let outcome = try await ask(content, seconds: min(5, max(1, left)))
      if outcome == .answered { return }
      guard Date() < deadline else {
        let what =
          outcome == .diverged
          ? "the replicas answer one request differently; is their service the one that --service names?"
          : "the replicas accept connections and answer no request"
        throw TargetFailure(
          what + "; useSignatures, keys, readonly_requests and the dialect must be theirs (system.config)")
      }
    }
  }

  private func ask(_ content: [UInt8], seconds: Double) async throws -> Outcome {
    let witness = ProbeWitness(loop)
    let answer = loop.flatSubmit { [sessions] in
      sessions.observer = witness
      let now = monotonicNanoseconds()
      _ = content.withUnsafeBytes {
        sessions.submit(
          session: 0, content: $0, intended: now, deadline: now + Int64(seconds * 1e9), context: 0)
      }
      return witness.promise.futureResult
    }
    let ticker = loop.scheduleRepeatedTask(initialDelay: .milliseconds(5), delay: .milliseconds(5)) {
      [sessions] _ in
      sessions.advance(to: monotonicNanoseconds())
    }
    defer { ticker.cancel() }
    let outcome = try await answer.get()
    // The sessions hold their observer weakly.
    withExtendedLifetime(witness) {}
    try Task.checkCancellation()
    return outcome
  }
}

/// Hears how the one request of a probe ended.
private final class ProbeWitness: SessionsObserver, @unchecked Sendable {
  let promise: EventLoopPromise<Outcome>

  init(_ loop: any EventLoop) { promise = loop.makePromise() }

  func sessionsHaveCompletions(_ sessions: ClientSessions) {
    guard let first = sessions.completions.first else { return }
    sessions.observer = nil
    promise.succeed(first.outcome)
  }
}
