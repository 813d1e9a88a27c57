// Points on replicas of other processes or hosts, as their hosts.config names them. They are asked before and after each
// point what they run and what they executed; a flag that contradicts their setting is an error.

import Channels
import Foundation
import LoadGenerator
import Logging
import NIOCore
import NIOPosix
import PBFT
import Results
import ServiceClient
import Wire

/// Points on remote Muster replicas.
public struct RemotePointRunner: PointRunning {
  private let logger: Logger

  public init(logger: Logger) { self.logger = logger }

  public func probeCapacity(_ parameters: PointParameters) async throws -> Double {
    if parameters.orderingProtocol.isForeign {
      return try await ForeignPointRunner().probeCapacity(parameters)
    }
    let target = try await RemoteTarget.inspect(parameters)
    return try await CapacityProbing.probe(target.resolved) { plan in
      try await CapacityProbing.run(
        plan, target.resolved, endpoints: target.folder.clientEndpoints,
        ids: target.folder.membership.replicas,
        secrets: target.secrets, speech: target.folder.speech)
    }
  }

  public func calibrate(_ parameters: PointParameters) async throws -> Double? {
    if parameters.orderingProtocol.isForeign { return try await ForeignPointRunner().calibrate(parameters) }
    let target = try await RemoteTarget.inspect(parameters)
    return try await GeneratorCalibration.ceiling(target.resolved, target.folder.speech)
  }

  public func run(
    _ parameters: PointParameters, targetOpsPerSecond: Double, repeatIndex: Int, seed: UInt64,
    ceilingOpsPerSecond: Double?, report: @escaping @Sendable (LiveStatus) -> Void
  ) async throws -> PointResult {
    if parameters.orderingProtocol.isForeign {
      return try await ForeignPointRunner().run(
        parameters, targetOpsPerSecond: targetOpsPerSecond, repeatIndex: repeatIndex, seed: seed,
        ceilingOpsPerSecond: ceilingOpsPerSecond, report: report)
    }
    report(LiveStatus(phase: .starting))
    let target = try await RemoteTarget.inspect(parameters)
    let resolved = target.resolved
    let before = target.statuses.map { ReplicaAccount($0) }
    let party = try GeneratorParty(
      resolved, endpoints: target.folder.clientEndpoints, replicaIDs: target.folder.membership.replicas,
      secrets: target.secrets, speech: target.folder.speech)
    return try await closing(party.stop) {
      try await party.connect()
      let base = before.map(\.executedRequests).max() ?? 0
      var measurement = try await party.measure(
        resolved, rate: targetOpsPerSecond, seed: seed, ceiling: ceilingOpsPerSecond, auditBase: base,
        report: report)
      let outcome = measurement.outcome
      do {
        let after = try await settled(target.asNow, on: party.loop)
        let elapsed = monotonicNanoseconds() - outcome.startNanoseconds
        for report in after.reports { measurement.events.add(membershipsOf: report, elapsed: elapsed) }
        measurement.audit = TargetAudit.comparing(
          before: before, after: after.reports.map { ReplicaAccount($0) }, outcome: outcome,
          ofReads: resolved.kind.isUnordered)
        measurement.audit.remarks += after.silent.map { "no status after the run: \($0)" }
      } catch {
        measurement.targetFailure = "no status after the run: \(error)"
        measurement.isAudited = false
      }
      var result = measurement.result()
      result.resolved = resolved
      return result
    }
  }

  /// The replicas that answer once they have executed equally far, or after two seconds as they are. As many as are
  /// allowed to fail may be silent.
  private func settled(_ target: RemoteTarget, on loop: any EventLoop) async throws -> RemoteTarget.Answers {
    let needed = target.resolved.replicas - target.resolved.faults
    var answers = try await target.askOnce(on: loop, atLeast: needed)
    for _ in 0..<40 where Set(answers.reports.map(\.lastExecuted)).count > 1 {
      try await Task.sleep(for: .milliseconds(50))
      answers = try await target.askOnce(on: loop, atLeast: needed)
    }
    return answers
  }
}

/// Remote replicas as they present themselves.
struct RemoteTarget: Sendable {
  let folder: ClusterFolder
  let statuses: [StatusReport]
  let secrets: GeneratorSecrets
  /// The parameters with everything the replicas decide as they decide it.
  let resolved: PointParameters

  /// With the members of now, as far as the folder has been given their view: the membership may have changed.
  var asNow: RemoteTarget {
    guard let now = try? ClusterFolder(folder.directory, dialect: folder.dialect) else { return self }
    return RemoteTarget(folder: now, statuses: statuses, secrets: secrets, resolved: resolved)
  }

  /// Asks every replica of `parameters.hostsDirectory` and compares their settings with what was stated.
  static func inspect(_ parameters: PointParameters) async throws -> RemoteTarget {
    guard let directory = parameters.hostsDirectory else {
      throw CommandFailure.usage(
        "--transport remote: expected --hosts DIR, the folder that holds hosts.config")
    }
    let folder = try ClusterFolder(directory)
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let statuses: [StatusReport]
    do {
      statuses = try await ask(folder, on: group.next())
      try? await group.shutdownGracefully()
    } catch {
      try? await group.shutdownGracefully()
      throw CommandFailure(.unavailable, "a replica of \(directory)/hosts.config does not answer: \(error)")
    }
    let resolved = try resolve(parameters, folder, statuses)
    let mode = try SignatureMode(name: resolved.signatureMode)
    let secrets = try folder.clientSecrets(mode, of: resolved.clientIDs)
    return RemoteTarget(folder: folder, statuses: statuses, secrets: secrets, resolved: resolved)
  }

  /// What the replicas say of themselves, and who does not.
  struct Answers: Sendable {
    var reports: [StatusReport] = []
    /// Why there is no answer, one line each.
    var silent: [String] = []
  }

  /// Asks every replica once more; some may be gone.
  /// - Throws: `TargetFailure` when fewer than `needed` answer.
  func askOnce(on loop: any EventLoop, atLeast needed: Int) async throws -> Answers {
    let results = try await EventLoopFuture.whenAllComplete(
      Self.questions(folder, on: loop, timeout: .seconds(2)), on: loop
    ).get()
    var answers = Answers()
    for result in results {
      switch result {
      case .success(let report): answers.reports.append(report)
      case .failure(let error): answers.silent.append("\(error)")
      }
    }
    guard answers.reports.count >= needed else { throw TargetFailure(answers.silent.joined(separator: "; ")) }
    return answers
  }

  private static func ask(_ folder: ClusterFolder, on loop: any EventLoop) async throws -> [StatusReport] {
    try await EventLoopFuture.whenAllSucceed(questions(folder, on: loop, timeout: .seconds(5)), on: loop)
      .get()
  }

  private static func questions(
    _ folder: ClusterFolder, on loop: any EventLoop, timeout: TimeAmount
  ) -> [EventLoopFuture<StatusReport>] {
    zip(folder.clientEndpoints, folder.membership.replicas).map { endpoint, replica in
      StatusQuery.ask(
        endpoint, on: loop, dialect: folder.dialect, sealedFor: folder.usesMACs ? replica : nil,
        timeout: timeout)
    }
  }

  /// Takes over what the replicas say; what was stated otherwise is an error that names the flag and both values.
  private static func resolve(
    _ parameters: PointParameters, _ folder: ClusterFolder, _ statuses: [StatusReport]
  ) throws -> PointParameters {
    var resolved = parameters
    let stated = parameters.stated
    for (key, name) in settings {
      let values = Set(statuses.compactMap { $0.setting(name) })
      guard let value = values.first else { continue }
      guard values.count == 1 else {
        throw CommandFailure.usage(
          "the replicas differ in \(name): \(values.sorted().joined(separator: ", "))")
      }
      var asStated = PointParameters()
      try asStated.set(key, to: text(value, name))
      var fromReplicas = parameters
      try fromReplicas.set(key, to: text(value, name))
      fromReplicas.stated = stated
      if stated.contains(key), fromReplicas != parameters {
        throw CommandFailure.usage(
          "\(key.flag) contradicts the replicas, whose \(name) is \(value); expected the same value or no flag"
        )
      }
      try resolved.set(key, to: text(value, name))
    }
    resolved.stated = stated
    resolved.transport = .remote
    let servesReads = folder.speech.readOnlyRequests || folder.dialect == .v12
    if let expected = resolved.sendToProblem(servesReads: servesReads) {
      throw CommandFailure.usage(ParameterError(.sendTo, resolved.sendTo.rawValue, expected).asFlag)
    }
    try folder.requireService(of: resolved.kind)
    if let value = statuses.first?.setting("log_size"), let size = Int(value) {
      resolved.logMultiplier = size / max(1, resolved.checkpointPeriod)
    }
    return resolved
  }

  /// Parameters that the replicas decide, with the names of their settings.
  private static let settings: [(ParameterKey, String)] = [
    (.protocol, "protocol"), (.service, "service"), (.replicas, "n"), (.faults, "f"),
    (.faultModel, "fault_model"),
    (.signatures, "signature_mode"), (.replicaAuth, "replica_auth"), (.batchSize, "batch_size"),
    (.batchTimeout, "batch_timeout_ns"), (.requestTimeout, "request_timeout_ns"),
    (.viewChangeTimeout, "view_change_timeout_ns"), (.checkpointPeriod, "checkpoint_period"),
    (.durability, "durability"), (.reply, "reply_bytes"),
  ]

  private static func text(_ value: String, _ name: String) -> String {
    name.hasSuffix("_ns") ? value + "ns" : value
  }
}
