// What a host can tell of its replica at one instant: for measurements, for the audit, for the admin query.

import Channels
import NIOCore
import PBFT
import Replication
import Wire

/// Something rare that happened in a replica, for the events of a run.
public struct HostEvent: Hashable, Sendable {
  public enum Kind: Hashable, Sendable {
    case suspected(View)
    case viewLeft(View, to: View)
    case viewEntered(View, isPrimary: Bool)
    case transferBegan(SequenceNumber)
    case transferEnded(SequenceNumber)
    case recovered
    /// A membership has begun; how long after its RECONFIG was executed here, nil where it was not.
    case membershipChanged(Membership, tookNanoseconds: Int64?)
  }

  public var kind: Kind
  /// On the clock of `monotonicNanoseconds`.
  public var instantNanoseconds: Int64

  /// So many are kept, the first ones.
  static let maximumCount = 4_096

  public init(kind: Kind, instantNanoseconds: Int64) {
    self.kind = kind
    self.instantNanoseconds = instantNanoseconds
  }
}

/// One replica at one instant.
public struct ReplicaSample: Sendable {
  public var id: ReplicaID
  public var status: ReplicaStatus
  public var host: HostCounters
  public var mesh: MeshCounters
  /// Of view changes signed and verified.
  public var statements: StatementCounters
  /// Zero without a data folder.
  public var durable: DurableCounters
  public var events: [HostEvent]
  /// Processor time the replica has used on its loop.
  public var cpuNanoseconds: Int64
  public var clientBytes: UInt64
  public var meshBytes: UInt64
  public var openConnections: Int
}

extension HostedReplica {
  /// Reads everything at once, on the replica's loop.
  public func sample() -> EventLoopFuture<ReplicaSample> {
    loop.submit { [self] in sampleOnLoop() }
  }

  func sampleOnLoop() -> ReplicaSample {
    let clientTraffic = clients.traffic
    let meshTraffic = mesh.traffic
    var host = counters
    host.skippedFrames = clients.skippedFrames
    host.malformedFrames = clients.malformedFrames
    host.droppedMessages = clients.senselessMessages
    host.acceptedConnections = clients.acceptedConnections
    host.closedConnections = clients.closedConnections
    return ReplicaSample(
      id: configuration.id, status: replica.status, host: host, mesh: mesh.counters,
      statements: notary.counters, durable: files?.counters ?? DurableCounters(), events: events,
      cpuNanoseconds: cpuNanoseconds, clientBytes: clientTraffic.sentBytes + clientTraffic.receivedBytes,
      meshBytes: meshTraffic.sentBytes + meshTraffic.receivedBytes, openConnections: clients.openConnections)
  }

  /// For each of the last memberships that have begun here: how long ago that was, n, f, and how long it took.
  private func membershipCounters(_ events: [HostEvent]) -> [StatusReport.Counter] {
    let now = monotonicNanoseconds()
    var counters: [StatusReport.Counter] = []
    for event in events {
      guard case .membershipChanged(let membership, let took) = event.kind else { continue }
      func counter(_ name: String, _ value: Int64) -> StatusReport.Counter {
        .init(name: "membership_\(membership.id)_\(name)", value: UInt64(max(0, value)))
      }
      counters.append(counter("age_ns", now - event.instantNanoseconds))
      counters.append(counter("n", Int64(membership.count)))
      counters.append(counter("f", Int64(membership.faults)))
      if let took { counters.append(counter("took_ns", took)) }
    }
    return counters.suffix(64)
  }

  /// The answer to ASK_STATUS.
  func statusReport() -> StatusReport {
    let sample = sampleOnLoop()
    let status = sample.status
    let replicaConfiguration = configuration.replica
    func setting(_ name: String, _ value: some CustomStringConvertible) -> StatusReport.Setting {
      StatusReport.Setting(name: name, value: "\(value)")
    }
    return StatusReport(
      replica: configuration.id, view: status.view, isActive: status.isActive,
      executedRequests: status.executedRequests, lastExecuted: status.lastExecuted,
      stableCheckpoint: status.stableCheckpoint.sequence, chain: status.chain,
      recentChain: status.recentChain.map { .init(sequence: $0.sequence, digest: $0.digest) },
      settings: [
        setting("protocol", replicaConfiguration.consenter == .pbft ? "pbft" : "noops"),
        setting("service", configuration.service),
        setting("reply_bytes", configuration.replyBytes),
        setting("n", replica.membership.count),
        setting("f", replica.membership.faults),
        setting("fault_model", "\(replica.membership.quorums.model)"),
        setting("membership", replica.membership.id),
        setting("signature_mode", configuration.signatureMode),
        setting("replica_auth", configuration.replicaAuthentication.rawValue),
        setting("batch_size", replicaConfiguration.batchSize),
        setting("batch_timeout_ns", replicaConfiguration.batchTimeoutNanoseconds),
        setting("request_timeout_ns", replicaConfiguration.requestTimeoutNanoseconds),
        setting("checkpoint_period", replicaConfiguration.checkpointPeriod),
        setting("log_size", replicaConfiguration.logSize),
        setting("readonly_requests", replicaConfiguration.readOnlyRequests),
        setting("durability", replicaConfiguration.durability.rawValue),
        setting("view_change_timeout_ns", replicaConfiguration.viewChangeTimeoutNanoseconds),
      ],
      counters: [
        .init(name: "batches_executed", value: status.counters.batchesExecuted),
        .init(name: "requests_refused", value: status.counters.requestsRefused),
        .init(name: "views_suspected", value: status.counters.viewsSuspected),
        .init(name: "verifications", value: sample.host.verifications),
        .init(name: "measured_verifications", value: sample.host.verification.samples),
        .init(name: "measured_verification_ns", value: sample.host.verification.nanoseconds),
        .init(name: "rejected_authenticators", value: sample.host.rejectedAuthenticators),
        .init(name: "shed_requests", value: sample.host.shedRequests),
        .init(name: "malformed_frames", value: sample.host.malformedFrames),
        .init(name: "skipped_frames", value: sample.host.skippedFrames),
        .init(name: "dropped_messages", value: sample.host.droppedMessages),
        .init(name: "waiting_requests", value: sample.host.waitingRequests),
        .init(name: "rejected_macs", value: sample.host.rejectedMACs),
        .init(name: "membership_changes", value: status.counters.membershipChanges),
        .init(name: "membership_behind", value: status.counters.membershipBehind),
        .init(
          name: "membership_ahead",
          value: status.counters.membershipAhead + status.counters.refused(.membershipAhead)),
        .init(name: "frames_sent", value: sample.mesh.framesSent),
        .init(name: "refused_hellos", value: sample.mesh.refusedHellos),
        .init(name: "refused_handshakes", value: sample.mesh.refusedHandshakes),
        .init(name: "failed_handshakes", value: sample.mesh.failedHandshakes),
        .init(name: "lost_links", value: sample.mesh.lostLinks),
        .init(name: "client_bytes", value: sample.clientBytes),
        .init(name: "replica_bytes", value: sample.meshBytes),
        .init(name: "cpu_ns", value: UInt64(max(0, sample.cpuNanoseconds))),
        .init(name: "pending_view", value: status.pendingView?.rawValue ?? status.view.rawValue),
        .init(name: "recovering", value: status.isRecovering ? 1 : 0),
        .init(name: "transferring", value: status.isTransferring ? 1 : 0),
        .init(name: "member", value: status.isMember ? 1 : 0),
        .init(name: "views_left", value: status.counters.viewsLeft),
        .init(name: "view_changes", value: status.counters.viewChanges),
        .init(name: "state_transfers", value: status.counters.transfersEnded),
        .init(name: "batches_fetched", value: status.counters.batchesFetched),
        .init(name: "statement_verifications", value: sample.statements.verifications),
        .init(name: "durable_bytes", value: sample.durable.bytesWritten),
        .init(name: "durable_commits", value: sample.durable.commits),
        .init(name: "durable_waited_ns", value: sample.durable.waitedNanoseconds),
      ] + membershipCounters(sample.events))
  }
}
