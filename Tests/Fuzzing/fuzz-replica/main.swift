// Bytes that the pure replica reads: states of donors, logs, and reconfigurations.

import FuzzDriver

fuzz([
  // A donor's state.
  FuzzTarget("state", longestInput: 1_024, readState) { _ in [stateOfNothing] },
  // Log files as they are.
  FuzzTarget("durable-scan", longestInput: 1_024, scanSegments) { _ in
    [[0, 40] + [UInt8](repeating: 0, count: 40) + recordsOfAFreshReplica().prefix(900)]
  },
  // Log files whose records have right checksums, up to a replica that has recovered from them.
  FuzzTarget("durable-recovery", longestInput: 1_024, recover) { _ in [recordsOfAFreshReplica()] },
  // What is ordered as RECONFIG, and its result in the client table.
  FuzzTarget("reconfiguration", longestInput: 2_048, readReconfiguration) {
    [reconfigureRequest] + $0.named { $0.hasPrefix("reconfigure-request") }
  },
])
