// A live cluster whose membership changes while its clients go on: each of their requests is executed once, and they find the
// new members by themselves.

import NIOCore
import PBFT
import ReplicaHost
import Replication
import ServiceClient
import TestSupport
import Testing
import Wire

/// How many increments have been answered, until it is enough.
private actor Progress {
  private(set) var answered: Int32 = 0
  private(set) var isOver = false

  func note() { answered += 1 }
  func end() { isOver = true }
}

@Suite("The membership of a live cluster", .serialized)
struct LiveMembershipTests {
  private static let party: Int32 = 7_002

  /// Four members of six replicas, each of which is told whom the trusted party is.
  private static func plan() -> ClusterPlan {
    var plan = ClusterPlan(transport: .sockets, count: 6, starting: [0, 1, 2, 3])
    plan.members = 4
    plan.hasKnownPorts = true
    return plan
  }

  private static func pair(_ cluster: LiveCluster) throws -> ClientKeyPair {
    try #require(cluster.keys.generatorSecrets.pairs.pair(.ed25519, of: party))
  }

  /// Has the trusted party ask for a change of the membership of this id; returns the view it is told.
  private func change(
    _ cluster: LiveCluster, _ id: Int32, adding: [Int] = [], removing: [Int] = [], faults: Int? = nil
  ) async throws -> SerializedView {
    var request = ReconfigureRequest(
      sender: Self.party, adding: adding.compactMap { cluster.address(of: $0) },
      removing: removing.map { ReplicaID(Int32($0)) }, faults: faults, membership: id)
    request.signature = SigningKey(.ed25519, try Self.pair(cluster)).signature(of: request.signedText)
    var reply: [UInt8] = []
    try await cluster.withProxy(client: Self.party, all: false) { proxy in
      reply = try await proxy.invokeReconfiguration(request.encoded)
    }
    return try reply.withUnsafeBytes { try ReconfigureReply(decoding: $0).view }
  }

  /// Waits until these are the members, as each of them has it, and a few more requests have been answered since.
  private func settle(
    _ cluster: LiveCluster, _ members: [Int], id: Int32, faults: Int, _ progress: Progress
  ) async throws {
    for index in members {
      try await cluster.until("replica \(index) is a member of membership \(id)", at: index) {
        $0.status.membershipID == id && $0.status.isMember
      }
    }
    let before = await progress.answered
    try await eventually("clients go on in membership \(id)", on: cluster.loop) {
      await progress.answered >= before + 30
    }
  }

  @Test("replicas are added and removed, the first primary too, and f changes, while clients go on")
  func changes() async throws {
    var plan = Self.plan()
    plan.adjust = { configuration in
      configuration.replica.requestTimeoutNanoseconds = 5_000_000_000
      configuration.replica.healingNanoseconds = 50_000_000
      configuration.replica.checkpointPeriod = 8
      configuration.replica.administrator = Self.party
    }
    // The key of the trusted party is the cluster's, which is made with it.
    plan.trustedClient = Self.party
    try await LiveCluster.with(plan) { cluster in
      let progress = Progress()
      try await withThrowingTaskGroup(of: Void.self) { group in
        for client in LiveCluster.firstClient..<LiveCluster.firstClient + 3 {
          group.addTask {
            try await cluster.withProxy(client: client) { proxy in
              var isLast = false
              while !isLast {
                isLast = await progress.isOver
                _ = try await proxy.invokeOrdered(increment(1))
                await progress.note()
              }
              let known = try await proxy.membership()
              #expect(known.id == 4 && known.replicas == [1, 2, 3, 4].map { ReplicaID($0) })
            }
          }
        }
        try await settle(cluster, [0, 1, 2, 3], id: 0, faults: 1, progress)

        try await cluster.start(4)
        let added = try await change(cluster, 0, adding: [4])
        #expect(added.id == 1 && added.replicas == (0..<5).map { ReplicaID($0) })
        try await settle(cluster, [0, 1, 2, 3, 4], id: 1, faults: 1, progress)

        // The primary of every first view so far.
        let removed = try await change(cluster, 1, removing: [0])
        #expect(removed.replicas == [1, 2, 3, 4].map { ReplicaID($0) })
        try await settle(cluster, [1, 2, 3, 4], id: 2, faults: 1, progress)
        try await cluster.until("replica 0 knows that it is none", at: 0) { !$0.status.isMember }
        try await cluster.stop(0)

        let without = try await change(cluster, 2, faults: 0)
        #expect(without.faults == 0)
        try await settle(cluster, [1, 2, 3, 4], id: 3, faults: 0, progress)
        let again = try await change(cluster, 3, faults: 1)
        #expect(again.faults == 1)
        try await settle(cluster, [1, 2, 3, 4], id: 4, faults: 1, progress)

        // What was asked of an earlier membership is not done again.
        let refused = try await change(cluster, 1, removing: [2])
        #expect(refused.id == 4)
        await progress.end()
        try await group.waitForAll()
      }
      let answered = await progress.answered
      try await cluster.withProxy(client: LiveCluster.firstClient + 8, all: false) { proxy in
        try await proxy.add(0, expecting: answered)
      }
      var chains: Set<[UInt64]> = []
      for index in 1...4 {
        // Every increment, and the last reading.
        try await cluster.until("replica \(index) has executed all", at: index) {
          $0.status.executedRequests == UInt64(answered) + 1
        }
        let status = try await cluster.sample(index).status
        let words = status.chain.words
        chains.insert([status.lastExecuted.rawValue, words.0, words.1, words.2, words.3])
        #expect(status.counters.viewChanges == 0, "replica \(index)")
      }
      #expect(chains.count == 1)
    }
  }
}
