// What a host can tell of its replica at one instant: for measurements, for the audit, for the admin query.

import Channels
import NIOCore
import PBFT
import Replication
import Wire

/// One replica at one instant.
public struct ReplicaSample: Sendable {
  public var id: ReplicaID
  public var status: ReplicaStatus
  public var host: HostCounters
  public var mesh: MeshCounters
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
      cpuNanoseconds: cpuNanoseconds, clientBytes: clientTraffic.sentBytes + clientTraffic.receivedBytes,
      meshBytes: meshTraffic.sentBytes + meshTraffic.receivedBytes, openConnections: clients.openConnections)
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
        setting("n", configuration.membership.count),
        setting("f", configuration.membership.faults),
        setting("membership", configuration.membership.id),
        setting("signature_mode", configuration.signatureMode),
        setting("replica_auth", configuration.replicaAuthentication.rawValue),
        setting("batch_size", replicaConfiguration.batchSize),
        setting("batch_timeout_ns", replicaConfiguration.batchTimeoutNanoseconds),
        setting("request_timeout_ns", replicaConfiguration.requestTimeoutNanoseconds),
        setting("checkpoint_period", replicaConfiguration.checkpointPeriod),
        setting("log_size", replicaConfiguration.logSize),
        setting("readonly_requests", replicaConfiguration.readOnlyRequests),
      ],
      counters: [
        .init(name: "batches_executed", value: status.counters.batchesExecuted),
        .init(name: "requests_refused", value: status.counters.requestsRefused),
        .init(name: "views_suspected", value: status.counters.viewsSuspected),
        .init(name: "verifications", value: sample.host.verifications),
        .init(name: "rejected_authenticators", value: sample.host.rejectedAuthenticators),
        .init(name: "malformed_frames", value: sample.host.malformedFrames),
        .init(name: "skipped_frames", value: sample.host.skippedFrames),
        .init(name: "dropped_messages", value: sample.host.droppedMessages),
        .init(name: "frames_sent", value: sample.mesh.framesSent),
        .init(name: "client_bytes", value: sample.clientBytes),
        .init(name: "replica_bytes", value: sample.meshBytes),
        .init(name: "cpu_ns", value: UInt64(max(0, sample.cpuNanoseconds))),
      ])
  }
}
