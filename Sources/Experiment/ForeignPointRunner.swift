// Points on replicas that are not ours: BFT-SMaRt's own, or whatever speaks to its clients. They are measured from outside
// alone: nothing is asked of them but their service, so what only replicas know stays empty.

import Foundation
import LoadGenerator
import Logging
import Results
import Workload

/// Points on foreign replicas; by its command they are started anew for each.
struct ForeignPointRunner: PointRunning {
  func probeCapacity(_ parameters: PointParameters) async throws -> Double {
    let target = try ForeignTarget(parameters)
    return try await CapacityProbing.probe(target.resolved) { plan in
      try await with(target) { party in try await party.run(plan) }
    }
  }

  func calibrate(_ parameters: PointParameters) async throws -> Double? {
    let target = try ForeignTarget(parameters)
    return try await GeneratorCalibration.ceiling(target.resolved, target.speech)
  }

  func run(
    _ parameters: PointParameters, targetOpsPerSecond: Double, repeatIndex: Int, seed: UInt64,
    ceilingOpsPerSecond: Double?, report: @escaping @Sendable (LiveStatus) -> Void
  ) async throws -> PointResult {
    report(LiveStatus(phase: .starting))
    let target = try ForeignTarget(parameters)
    let resolved = target.resolved
    return try await with(target) { party in
      var measurement = try await party.measure(
        resolved, rate: targetOpsPerSecond, seed: seed, ceiling: ceilingOpsPerSecond, report: report)
      let moves = try await party.moves()
      if moves > 0 {
        measurement.audit.remarks.append(
          "the sessions followed the replicas through \(moves) new memberships")
      }
      var result = measurement.result()
      result.row.viewChanges = nil
      result.resolved = resolved
      return result
    }
  }

  /// Starts the replicas if there is a command for it, waits until they answer, runs `body`, and ends them again.
  private func with<Result>(
    _ target: ForeignTarget, _ body: (GeneratorParty) async throws -> Result
  ) async throws -> Result {
    let deadline = Date(timeIntervalSinceNow: Double(target.resolved.readyTimeoutNanoseconds) / 1e9)
    let command = try target.resolved.targetCommand.map {
      try TargetCommand($0, values: target.commandValues)
    }
    return try await closing({ await command?.stop() }) {
      try await target.waitForPorts(command, until: deadline)
      let party = try GeneratorParty(
        target.resolved, endpoints: target.endpoints, replicaIDs: target.replicaIDs, secrets: target.secrets,
        speech: target.nextSpeech())
      return try await closing(party.stop) {
        try await party.connect()
        let content = target.resolved.service.probe(payloadBytes: target.resolved.payloadBytes)
        try await party.probe(content, until: deadline, command)
        return try await body(party)
      }
    }
  }
}
