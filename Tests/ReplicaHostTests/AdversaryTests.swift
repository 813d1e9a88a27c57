// What an adversary in the place of a replica, or of a client, costs the others: requests are answered, each
// once and in one order, whatever it does. How long that takes is not judged here.

import Foundation
import NIOCore
import PBFT
import ReplicaHost
import Replication
import ServiceClient
import TestSupport
import Testing
import Wire

/// Replies of the log service to many clients, checked as the load generator's audit checks them.
private actor LogAudit {
  private var positions: Set<UInt64> = []
  private(set) var answered = 0
  private(set) var problems: [String] = []

  /// A client's reply; its positions rise. Returns the position.
  func note(_ reply: [UInt8], after last: UInt64, of client: Int32) -> UInt64 {
    let position = reply.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    answered += 1
    if position <= last { problems.append("client \(client): \(position) after \(last)") }
    if !positions.insert(position).inserted { problems.append("position \(position) twice") }
    return position
  }

  /// Every request has a position, and none is left over.
  func close(requests: Int) {
    if positions != Set((0..<requests).map { UInt64($0) + 1 }) {
      problems.append("\(positions.count) positions of \(requests) requests")
    }
  }
}

private func patient(_ configuration: inout HostConfiguration) {
  configuration.replica.requestTimeoutNanoseconds = 400_000_000
  configuration.replica.viewChangeTimeoutNanoseconds = 800_000_000
  configuration.replica.viewChangeResendNanoseconds = 200_000_000
  configuration.replica.checkpointPeriod = 8
}

extension LiveCluster {
  /// So many clients, each with one request at a time, all answered.
  fileprivate func load(clients: Range<Int32>, requests: Int, into audit: LogAudit) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for client in clients {
        group.addTask { [self] in
          try await withProxy(client: client, all: false) { proxy in
            var last: UInt64 = 0
            for _ in 0..<requests {
              let reply = try await proxy.invokeOrdered([1])
              last = await audit.note(reply, after: last, of: client)
            }
          }
        }
      }
      try await group.waitForAll()
    }
  }

  /// Waits until these replicas have executed so many requests, and compares what they have.
  fileprivate func expectAgreement(of indices: [Int], requests: UInt64) async throws {
    var chains: Set<[UInt64]> = []
    for index in indices {
      try await until("replica \(index) has executed all", at: index) {
        $0.status.executedRequests == requests
      }
      let status = try await sample(index).status
      let words = status.chain.words
      chains.insert([status.lastExecuted.rawValue, words.0, words.1, words.2, words.3])
    }
    #expect(chains.count == 1)
  }
}

@Suite("A live cluster with an adversary", .serialized)
struct AdversaryTests {
  /// What the first primary does, and whether it is left for that.
  struct Attack: CustomTestStringConvertible {
    var behaviour: AdversarialBehaviour
    /// The views that must, and that may, be left.
    var viewChanges: ClosedRange<UInt64>
    var testDescription: String { "\(behaviour)" }

    static let all = [
      Attack(behaviour: .silent, viewChanges: 1...8),
      Attack(behaviour: .censor(client: LiveCluster.firstClient), viewChanges: 1...8),
      Attack(behaviour: .equivocate, viewChanges: 0...8),
      Attack(behaviour: .delay(fraction: 0.9), viewChanges: 0...8),
      Attack(behaviour: .omit, viewChanges: 0...8),
    ]
  }

  @Test("an adversarial primary: every request is answered, once, in one order", arguments: Attack.all)
  func primary(attack: Attack) async throws {
    let plan = ClusterPlan(service: "log", adjust: patient, behaviours: [0: attack.behaviour])
    try await LiveCluster.with(plan) { cluster in
      let audit = LogAudit()
      let clients = LiveCluster.firstClient..<LiveCluster.firstClient + 4
      try await cluster.load(clients: clients, requests: 10, into: audit)
      await audit.close(requests: 40)
      #expect(await audit.answered == 40)
      #expect(await audit.problems == [])
      try await cluster.expectAgreement(of: [1, 2, 3], requests: 40)
      for index in 1...3 {
        let sample = try await cluster.sample(index)
        #expect(attack.viewChanges.contains(sample.status.view.rawValue), "replica \(index)")
        #expect(sample.status.counters.checkpointsDiverged == 0 && sample.statements.rejected == 0)
      }
    }
  }

  @Test(
    "an adversarial backup disturbs nobody: no view is left",
    arguments: [AdversarialBehaviour.silent, .equivocate, .censor(client: LiveCluster.firstClient)])
  func backup(behaviour: AdversarialBehaviour) async throws {
    let plan = ClusterPlan(
      service: "log",
      adjust: {
        patient(&$0)
        $0.replica.requestTimeoutNanoseconds = 10_000_000_000
      }, behaviours: [2: behaviour])
    try await LiveCluster.with(plan) { cluster in
      let audit = LogAudit()
      let clients = LiveCluster.firstClient..<LiveCluster.firstClient + 4
      try await cluster.load(clients: clients, requests: 25, into: audit)
      await audit.close(requests: 100)
      #expect(await audit.problems == [])
      try await cluster.expectAgreement(of: [0, 1, 3], requests: 100)
      for index in [0, 1, 3] { #expect(try await cluster.sample(index).status.view == .zero) }
    }
  }
}

@Suite("A client whose tags convince only some replicas", .serialized)
struct PartialTagTests {
  private static let attacker = LiveCluster.firstClient + 9

  /// An `hmac` request of the attacker whose tags are right at these replicas.
  private func frame(_ cluster: LiveCluster, sequence: Int32, valid: Set<Int>) throws -> [UInt8] {
    let signer = try cluster.signer(.hmac)
    let header = ClientFrameHeader(
      sender: Self.attacker, membershipID: 0, kind: 0, session: 7, sequence: sequence, operationID: sequence)
    var frame = Frame.bytes(header: header, content: [9])
    let unsigned = frame.count
    frame += [UInt8](repeating: 0, count: signer.maximumSignatureByteCount)
    let count = frame.withUnsafeMutableBytes { signer.sign($0) }
    #expect(count == frame.count && count - unsigned == 4 * 16)
    for replica in 0..<4 where !valid.contains(replica) { frame[unsigned + 16 * replica] ^= 0x5a }
    return frame
  }

  /// The attacker's requests between those of four others.
  private func attack(
    valid: Set<Int>, _ judge: (LiveCluster, _ executed: UInt64) async throws -> Void
  ) async throws {
    let plan = ClusterPlan(
      mode: .hmac, service: "log",
      adjust: {
        patient(&$0)
        $0.replica.requestTimeoutNanoseconds = 1_000_000_000
      })
    try await LiveCluster.with(plan) { cluster in
      var links: [PlainLink] = []
      for index in 0..<4 { links.append(try await cluster.connection(to: index)) }
      let audit = LogAudit()
      let clients = LiveCluster.firstClient..<LiveCluster.firstClient + 4
      for round in 0..<3 as Range<Int32> {
        let bytes = try frame(cluster, sequence: round, valid: valid)
        for link in links { try await link.send(bytes) }
        try await cluster.load(clients: clients, requests: 5, into: audit)
      }
      #expect(await audit.answered == 60)
      #expect(await audit.problems == [])
      try await judge(cluster, 60)
      for link in links { await link.close() }
    }
  }

  @Test("right at the primary alone: one view is left at most, and the client is refused from then on")
  func primaryAlone() async throws {
    try await attack(valid: [0]) { cluster, executed in
      for index in 0..<4 {
        try await cluster.until("replica \(index) refuses the client", at: index) {
          $0.status.refusedClients == 1
        }
      }
      try await cluster.expectAgreement(of: [0, 1, 2, 3], requests: executed)
      let before = try await cluster.sample(1).host.refusedRequests
      // What it sends with right tags is too late.
      let link = try await cluster.connection(to: 1)
      try await link.send(try frame(cluster, sequence: 0, valid: [0, 1, 2, 3]))
      try await cluster.until("its request is refused", at: 1) { $0.host.refusedRequests > before }
      await link.close()
      for index in 0..<4 {
        let status = try await cluster.sample(index).status
        #expect(status.counters.viewChanges <= 1 && status.counters.refused(.clientAccused) > 0)
      }
    }
  }

  @Test(
    "right at the primary and one backup: the others take its requests on their word, and no view is left")
  func enough() async throws {
    try await attack(valid: [0, 2]) { cluster, executed in
      try await cluster.expectAgreement(of: [0, 1, 2, 3], requests: executed + 3)
      for index in 0..<4 {
        let sample = try await cluster.sample(index)
        #expect(sample.status.view == .zero && sample.status.refusedClients == 0)
        #expect([0, 2].contains(index) || sample.host.rejectedAuthenticators > 0)
      }
    }
  }

  @Test(
    "wrong at the primary and right at two backups: they pass it on, and it is ordered without a view change")
  func passedOn() async throws {
    try await attack(valid: [1, 3]) { cluster, executed in
      try await cluster.expectAgreement(of: [0, 1, 2, 3], requests: executed + 3)
      for index in 0..<4 { #expect(try await cluster.sample(index).status.view == .zero) }
    }
  }
}
