// Carries out a fault script on the load's clock. Kept true: a fault happens once, at its instant or as soon after it as
// the fault before is done, and is recorded with the instant at which it began; nothing happens after the load.

import Channels
import Foundation
import ReplicaHost
import Results
import Synchronization

/// A fault that has happened.
struct FaultRecord: Sendable {
  var fault: FaultScript.Fault
  /// When it began, in nanoseconds since the start of the load.
  var nanoseconds: Int64
  /// How long it took; a restarted replica reads its log first.
  var tookNanoseconds: Int64 = 0
  /// To whom; nil when nobody could be found.
  var replica: Int?
  /// What else is to be said.
  var note: String?
  /// Whether the target should have done it and did not.
  var hasFailed = false
}

/// Runs one script against one cluster.
final class FaultInjector: Sendable {
  private let script: FaultScript
  private let cluster: EmbeddedCluster
  private let task = Mutex<Task<[FaultRecord], Never>?>(nil)

  init(_ script: FaultScript, cluster: EmbeddedCluster) {
    self.script = script
    self.cluster = cluster
  }

  /// Called once, when the load begins.
  ///
  /// - Parameter start: on the monotonic clock; the script's instants count from it.
  func begin(at start: Int64) {
    guard !script.isEmpty else { return }
    let running = Task { [script, cluster] in await Self.run(script, cluster, start) }
    task.withLock { $0 = running }
  }

  /// Ends the script, done or not, and tells what has happened.
  func end() async -> [FaultRecord] {
    guard let running = task.withLock({ $0 }) else { return [] }
    running.cancel()
    return await running.value
  }

  private static func run(_ script: FaultScript, _ cluster: EmbeddedCluster, _ start: Int64) async
    -> [FaultRecord]
  {
    var records: [FaultRecord] = []
    for fault in script.faults {
      let wait = start + fault.nanoseconds - monotonicNanoseconds()
      if wait > 0 { try? await Task.sleep(nanoseconds: UInt64(wait)) }
      if Task.isCancelled { break }
      var record = FaultRecord(fault: fault, nanoseconds: monotonicNanoseconds() - start)
      await carryOut(&record, cluster)
      record.tookNanoseconds = monotonicNanoseconds() - start - record.nanoseconds
      records.append(record)
    }
    return records
  }

  private static func carryOut(_ record: inout FaultRecord, _ cluster: EmbeddedCluster) async {
    switch record.fault.target {
    case .replica(let id): record.replica = id
    case .primary: record.replica = await cluster.primary()
    }
    guard let replica = record.replica else {
      record.note = "no replica runs"
      return
    }
    do {
      switch record.fault.action {
      case .kill:
        if try await !cluster.kill(replica) { record.note = "did not run" }
      case .restart:
        if try await !cluster.restart(replica) { record.note = "ran already" }
      case .stop, .resume:
        record.note = "not for replicas of this process"
      }
    } catch {
      record.note = "failed: \(error)"
      record.hasFailed = true
    }
  }
}
