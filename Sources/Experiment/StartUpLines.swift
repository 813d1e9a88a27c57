// What a replica says of itself when it has begun to listen: the lines that users of BFT-SMaRt look for, under the names that
// BFT-SMaRt gives them, so that what watches its log finds them here too. They go to standard error, as all that is logged.

import Channels
import PBFT
import Wire

extension ResolvedReplicaSettings {
  /// One line per fact.
  func startUpLines(_ membership: Membership, _ host: HostsConfiguration.Host) -> [String] {
    var lines = [
      "ID = \(host.replica.rawValue)",
      "N = \(membership.count)",
      "F = \(membership.faults)\(faultModel.value == .crash ? " (crashes only)" : "")",
      "Port (client <-> server) = \(host.clientPort)",
      "Port (server <-> server) = \(host.replicaPort)",
      "requestTimeout = \(requestTimeoutNanoseconds.value / 1_000_000)",
      "maxBatch = \(batchSize.value)",
    ]
    switch signatureMode.value {
    case .none: lines.append("Using no signatures (signed requests are refused)")
    case .hmac: lines.append("Using MACs (hmac)")
    case .sign: lines.append("Using Signatures (\(signatureMode.value))")
    case .verifyOnly: lines.append("Using benchmark signature verification (\(signatureMode.value))")
    }
    if dialect.value == .v12 { lines.append("Clients of v1.2, \(usesMACs.value ? "with" : "without") MACs") }
    lines.append("Binded replica to IP address \(bindHost.value)")
    lines.append("Links between replicas: \(replicaAuthentication.value.rawValue)")
    return lines
  }
}
