// Files that people write or that a run has left.

import Channels
import FuzzDriver

fuzz([
  FuzzTarget("hosts-config", longestInput: 256) {
    _ = try? HostsConfiguration(text: String(decoding: $0, as: UTF8.self))
  } seeds: { _ in
    [Array("# id host port port\n0 127.0.0.1 11000 11001\n1 localhost 11010 11011\n7002 h 1 2\n".utf8)]
  },
  FuzzTarget("system-config", longestInput: 256) {
    _ = try? SystemConfiguration(text: String(decoding: $0, as: UTF8.self))
  } seeds: { _ in
    [
      Array("system.servers.num = 4\nsystem.servers.f = 1\nsystem.bft = true\n".utf8),
      Array("system.initial.view = 0,1,2,3\nsystem.communication.useSignatures = 1 # yes\n".utf8),
    ]
  },
  // A histogram as logs hold it; the first byte says whether it is compressed.
  FuzzTarget("histogram", longestInput: 512, readHistogram) { _ in histograms },
])
