// Bytes between clients and replicas, between replicas, and in key files.

import FuzzDriver
import Wire

fuzz([
  // A client port's stream, BFT-SMaRt master.
  FuzzTarget("client-frame", longestInput: 512) {
    readClientFrames($0, .master, useMACs: false)
  } seeds: {
    $0.named { !$0.hasPrefix("v12") && ($0.contains("request") || $0.contains("reply")) }
  },
  // The same of v1.2; the first byte says whether there are MACs.
  FuzzTarget("client-frame-1.2", longestInput: 512) {
    guard let first = $0.first else { return }
    readClientFrames(.init(rebasing: $0[1...]), .v12, useMACs: first & 1 != 0)
  } seeds: {
    $0.named { $0.hasPrefix("v12") }.flatMap { [[0] + $0, [1] + $0] }
  },
  // A replica port's stream: hello, frames, and the messages in them.
  FuzzTarget("link-frame", longestInput: 1_024, readLinkStream) { _ in [linkStream] },
  // The messages of one authentic body; the first byte says which dialect requests are in.
  FuzzTarget("link-messages", longestInput: 1_024) {
    guard let first = $0.first else { return }
    readMessages(.init(rebasing: $0[1...]), first & 1 == 0 ? .master : .v12)
  } seeds: { _ in
    [[0] + messages, [1] + messages]
  },
  // A signed view change or new view.
  FuzzTarget("statement", longestInput: 2_048, readStatement) { _ in statements },
  // BFT-SMaRt's `View`, a file or the answer of a replica, and its answer to a RECONFIG.
  FuzzTarget("serialized-view", longestInput: 2_048, readView) {
    $0.named { $0.hasPrefix("view") || $0.contains("View") || $0.hasPrefix("reconfigure-reply") }
  },
  // A replica's answer to ASK_STATUS.
  FuzzTarget("status-report", longestInput: 512) {
    _ = try? StatusReport(decoding: $0)
  } seeds: { _ in
    [Array("muster-status 1\nreplica 0\nview 3\nactive 1\nsetting n 4\ncounter cpu_ns 7\n".utf8)]
  },
  // Lines of key files, keys and signatures in DER.
  FuzzTarget("keys", longestInput: 512, readKeys) {
    $0.named { $0.contains("pkcs8") || $0.contains("spki") } + keyFiles
  },
  // A certificate that a peer shows.
  FuzzTarget("certificate", longestInput: 1_024, readCertificate) { _ in [certificate] },
])
