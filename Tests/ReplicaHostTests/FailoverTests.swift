// What a cluster survives: the end of its primary, replicas that begin again with nothing, with their log, or with a part of
// it, and the end of all of them.

import Foundation
import NIOCore
import PBFT
import ReplicaHost
import Replication
import ServiceClient
import TestSupport
import Testing
import Wire

/// Replicas that notice soon that something stands still.
private func brisk(_ configuration: inout HostConfiguration) {
  configuration.replica.requestTimeoutNanoseconds = 200_000_000
  configuration.replica.viewChangeTimeoutNanoseconds = 400_000_000
  configuration.replica.viewChangeResendNanoseconds = 100_000_000
  configuration.replica.healingNanoseconds = 50_000_000
  configuration.replica.checkpointPeriod = 8
  configuration.replica.logMultiplier = 2
}

@Suite("Failover of a live cluster", .serialized)
struct FailoverTests {
  @Test("the primary ends, the next one takes over, and no request is lost", arguments: Transport.allCases)
  func primaryEnds(transport: Transport) async throws {
    try await LiveCluster.with(ClusterPlan(transport: transport, adjust: brisk)) { cluster in
      try await cluster.withProxy { proxy in
        for sum in Int32(1)...5 { try await proxy.add(1, expecting: sum) }
        try await cluster.stop(0)
        for sum in Int32(6)...30 { try await proxy.add(1, expecting: sum) }
        // Two replicas in turn: the primary of view 1 ends as well, once the first is back.
        try await cluster.start(0, recovering: true)
        try await cluster.until("replica 0 has caught up", at: 0) {
          $0.status.executedRequests >= 24 && $0.status.view >= View(1)
        }
      }
      for index in 1...3 {
        let sample = try await cluster.sample(index)
        #expect(sample.status.view == View(1) && sample.status.isActive)
        #expect(sample.status.counters.viewChanges == 1 && sample.statements.verifications >= 2)
        #expect(sample.statements.rejected == 0)
      }
    }
  }

  @Test(
    "a replica that lost everything takes over the others' state and votes again",
    arguments: Transport.allCases)
  func catchesUp(transport: Transport) async throws {
    let plan = ClusterPlan(
      transport: transport,
      adjust: {
        brisk(&$0)
        // What it has missed does not wait for it.
        $0.peerWaitingLimitBytes = 2_048
      })
    try await LiveCluster.with(plan) { cluster in
      try await cluster.withProxy { proxy in
        try await proxy.add(1, expecting: 1)
        try await cluster.stop(3)
        // More than a log of batches.
        for sum in Int32(2)...60 { try await proxy.add(1, expecting: sum) }
        try await cluster.start(3, recovering: true)
        try await cluster.until("replica 3 has taken a state over", at: 3) {
          $0.status.counters.transfersEnded >= 1 && $0.status.executedRequests >= 40
        }
        // It votes again once a checkpoint is stable beyond all it may have voted for.
        var sum: Int32 = 60
        try await eventually("replica 3 votes again", on: cluster.loop) {
          sum += 1
          try await proxy.add(1, expecting: sum)
          return try await !cluster.sample(3).status.isRecovering
        }
        // Then another one may be missing.
        try await cluster.stop(2)
        for _ in 0..<20 {
          sum += 1
          try await proxy.add(1, expecting: sum)
        }
        try await cluster.until("both have executed all", at: 3) { $0.status.executedRequests == UInt64(sum) }
      }
      let samples = [try await cluster.sample(1).status, try await cluster.sample(3).status]
      #expect(samples[0].lastExecuted == samples[1].lastExecuted && samples[0].chain == samples[1].chain)
    }
  }

  @Test(
    "under sync all replicas end at once, and everything acknowledged is there afterwards",
    arguments: [false, true])
  func allEnd(cleanly: Bool) async throws {
    try await withFolder { folder in
      try await LiveCluster.with(ClusterPlan(adjust: brisk, dataFolder: folder)) { cluster in
        var sum: Int32 = 0
        for life in 0..<3 {
          try await cluster.withProxy(client: LiveCluster.firstClient + Int32(life)) { proxy in
            for _ in 0..<25 {
              sum += 1
              try await proxy.add(1, expecting: sum)
            }
          }
          for index in 0..<4 { try await cluster.stop(index, cleanly: cleanly) }
          for index in 0..<4 {
            try await cluster.start(index)
            #expect(try await !cluster.sample(index).status.isRecovering)
          }
          for host in cluster.hosts { try await host!.allConnected().get() }
        }
        try await cluster.withProxy(client: LiveCluster.firstClient + 9) { proxy in
          try await proxy.read(expecting: 75)
        }
        for index in 0..<4 {
          try await cluster.until("replica \(index) has everything, on disk as well", at: index) {
            $0.status.executedRequests == 76 && $0.durable.commits > 0
          }
        }
      }
    }
  }

  @Test("a replica whose log was damaged begins as one that may have forgotten, and is whole again")
  func damagedLog() async throws {
    try await withFolder { folder in
      try await LiveCluster.with(ClusterPlan(adjust: brisk, dataFolder: folder)) { cluster in
        try await cluster.withProxy { proxy in
          for sum in Int32(1)...10 { try await proxy.add(1, expecting: sum) }
          try await cluster.stop(3)
          let path = folder + "/replica3"
          let name = try #require(
            try FileManager.default.contentsOfDirectory(atPath: path).filter { $0.hasPrefix("log-") }.max())
          var bytes = try Data(contentsOf: URL(fileURLWithPath: path + "/" + name))
          let last = try #require(bytes.lastIndex { $0 != 0 })
          bytes[last] ^= 1
          try bytes.write(to: URL(fileURLWithPath: path + "/" + name))
          try await cluster.start(3)
          #expect(try await cluster.sample(3).status.isRecovering)
          #expect(try String(contentsOfFile: path + "/running", encoding: .utf8) == "lost\n")
          var sum: Int32 = 10
          try await eventually("replica 3 votes again", on: cluster.loop) {
            sum += 1
            try await proxy.add(1, expecting: sum)
            return try await !cluster.sample(3).status.isRecovering
          }
          try await eventually("its folder says so", on: cluster.loop) {
            sum += 1
            try await proxy.add(1, expecting: sum)
            return try String(contentsOfFile: path + "/running", encoding: .utf8) == "sync\n"
          }
        }
      }
    }
  }

  @Test("a disk that takes no more stops its replica with a reason, and the others go on")
  func fullDisk() async throws {
    try await withFolder { folder in
      try await LiveCluster.with(ClusterPlan(adjust: brisk, dataFolder: folder)) { cluster in
        try await cluster.withProxy { proxy in
          try await proxy.add(1, expecting: 1)
          // No segment can be made any more: the folder is away.
          try FileManager.default.moveItem(atPath: folder + "/replica3", toPath: folder + "/away")
          let failing = cluster.hosts[3]!
          var sum: Int32 = 1
          let reason = Task { try await failing.failed().get() }
          // Large requests fill the segment until the next one is due.
          try await eventually("replica 3 stops", on: cluster.loop) {
            sum += 1
            let content = increment(1) + [UInt8](repeating: 7, count: 200_000)
            _ = try? await proxy.invokeOrdered(content)
            return try await cluster.sample(3).status.logSegment > 1
          }
          let text = try await reason.value
          #expect(text.contains("/replica3/log-") && text.contains("No such file or directory"))
          #expect(text.contains("replica 3 has stopped, and nothing it acknowledged is lost"))
          _ = try await proxy.invokeOrdered(increment(0))
        }
      }
    }
  }
}
