import Hashing
import PBFT
import Testing

@testable import Replication

/// What a replica has said of one slot in one view, to see whether it ever says something else.
private struct Vote: Hashable {
  var replica: Int
  var kind: Int
  var view: View
  var sequence: SequenceNumber
}

@Suite("The durable log and beginning again from it (decision record 18)")
struct DurabilityTests {
  private func cluster(
    replicas: Int = 4, _ change: (inout ReplicaConfiguration) -> Void = { _ in }
  ) -> ReplicaCluster {
    impatient(replicas: replicas) {
      $0.durability = .sync
      $0.cluster = ClusterIdentity(high: 7, low: 9)
      change(&$0)
    }
  }

  private func load(_ cluster: ReplicaCluster, from first: Int32, count: Int32) {
    for sequence in first..<(first + count) {
      cluster.submit(clients: 0..<4, sequences: sequence...sequence)
      cluster.run()
    }
  }

  @Test("a clean log gives back state, view and claims; the replica votes at once and goes on")
  func clean() {
    let cluster = cluster()
    load(cluster, from: 0, count: 11)
    let before = cluster.replicas[2].status
    let report = cluster.restart(2)
    #expect(report.mayVote)
    #expect(cluster.replicas[2].lastLink == ChainLink(sequence: before.lastExecuted, digest: before.chain))
    #expect(cluster.replicas[2].status.stableCheckpoint == before.stableCheckpoint)
    #expect(!cluster.replicas[2].status.isRecovering)
    cluster.crash(1)
    load(cluster, from: 11, count: 10)
    #expect(cluster.agree)
    #expect(cluster.replicas[2].status.executedRequests == 84)
  }

  @Test(
    "all replicas lose power at once: nothing that was acknowledged is lost, and nothing is executed twice")
  func allRestart() {
    for batches in [1, 3, 4, 5, 17, 30] as [Int32] {
      let cluster = cluster()
      load(cluster, from: 0, count: batches)
      // One more that is prepared, but executed nowhere.
      cluster.submit(clients: 0..<4, sequences: batches...batches)
      cluster.run(holding: { $0.packet.isCommit })
      for index in 0..<4 { #expect(cluster.restart(index).mayVote) }
      cluster.advance(byNanoseconds: 2_000 * milliseconds)
      let executed = cluster.replicas[0].status.executedRequests
      #expect(executed >= UInt64(batches) * 4, "\(batches) batches")
      for sequence in 0...batches { cluster.submit(clients: 0..<4, sequences: sequence...sequence) }
      cluster.run()
      cluster.advance(byNanoseconds: 3_000 * milliseconds)
      for replica in cluster.replicas {
        #expect(replica.status.executedRequests == UInt64(batches + 1) * 4, "\(batches) batches")
      }
      #expect(cluster.agree && cluster.neverDiverged)
    }
  }

  @Test("W12: the view survives: a replica restarted in a later view, or between two, is where it was")
  func viewIsPersisted() {
    let cluster = cluster()
    load(cluster, from: 0, count: 2)
    cluster.crash(0)
    load(cluster, from: 2, count: 1)
    cluster.advance(byNanoseconds: 1_000 * milliseconds)
    #expect(cluster.replicas[2].view == View(1))
    #expect(cluster.restart(2).view == View(1))
    #expect(cluster.replicas[2].status.isActive)
    // Between two views: the NEW-VIEW never comes.
    cluster.isLost = { $0.packet.isNewView || $0.packet.isPrePrepare }
    load(cluster, from: 3, count: 1)
    for _ in 0..<100 where cluster.replicas[2].status.pendingView == nil {
      cluster.advance(byNanoseconds: 10 * milliseconds)
    }
    let pending = cluster.replicas[2].status.pendingView
    #expect(pending != nil)
    #expect(cluster.restart(2).view == pending)
    #expect(cluster.replicas[2].status.pendingView == pending)
    cluster.isLost = { _ in false }
    cluster.advance(byNanoseconds: 3_000 * milliseconds)
    for index in 1...3 { #expect(cluster.replicas[index].status.executedRequests == 16) }
    #expect(cluster.agree)
  }

  @Test("whatever happens to the log, a replica never gives a second, different vote", arguments: 0..<8)
  func neverASecondVote(damage: Int) {
    for victim in 1...3 {
      let cluster = cluster()
      var votes: [Vote: Digest] = [:]
      var second = 0
      cluster.altered = { flight in
        switch flight.packet {
        case .message(.prepare(let prepare)):
          let vote = Vote(replica: flight.from, kind: 0, view: prepare.view, sequence: prepare.sequence)
          if let said = votes[vote], said != prepare.digest { second += 1 }
          votes[vote] = prepare.digest
        case .message(.commit(let commit)):
          let vote = Vote(replica: flight.from, kind: 1, view: commit.view, sequence: commit.sequence)
          if let said = votes[vote], said != commit.digest { second += 1 }
          votes[vote] = commit.digest
        case .message(.checkpoint(let checkpoint)):
          let vote = Vote(replica: flight.from, kind: 2, view: .zero, sequence: checkpoint.sequence)
          if let said = votes[vote], said != checkpoint.digest { second += 1 }
          votes[vote] = checkpoint.digest
        default: break
        }
        return flight.packet
      }
      load(cluster, from: 0, count: 9)
      // Votes are given that decide nothing yet.
      cluster.submit(clients: 0..<4, sequences: 9...9)
      cluster.run(holding: { $0.packet.isCommit })
      cluster.flights.removeAll()
      cluster.crash(victim)
      harm(&cluster.disks[victim], damage)
      let report = cluster.restart(victim)
      #expect(report.mayVote == (damage == 0), "damage \(damage)")
      #expect(cluster.replicas[victim].status.isRecovering == !report.mayVote)
      // The primary says something else of the slot of the victim's last votes.
      let lie = [Request(client: 60)]
      let prePrepare = PrePrepare(
        view: .zero, sequence: SequenceNumber(10), digest: batchDigest(lie), batch: .none)
      cluster.deliver(.prePrepare(prePrepare, lie), from: 0, to: victim, membershipID: 0)
      cluster.run()
      cluster.advance(byNanoseconds: 1_000 * milliseconds)
      load(cluster, from: 10, count: 20)
      cluster.advance(byNanoseconds: 5_000 * milliseconds)
      #expect(second == 0, "damage \(damage) of \(victim)")
      #expect(cluster.neverDiverged)
      // One that has lost its vote takes the other batch's request for a client's, and passes it on.
      let executed = cluster.replicas[victim].status.executedRequests
      #expect((120...(damage == 0 ? 120 : 121)).contains(executed), "damage \(damage) of \(victim)")
      #expect(!cluster.replicas[victim].status.isRecovering, "damage \(damage) of \(victim)")
      #expect(cluster.agree)
    }
  }

  /// 0 leaves the log as it is.
  private func harm(_ disk: inout [DurableSegment], _ damage: Int) {
    let last = disk.count - 1
    let end = (disk[last].bytes.lastIndex { $0 != 0 } ?? 0) + 1
    switch damage {
    // Torn: the end of its last record is zeros.
    case 1: disk[last].bytes[(end - 20)..<end] = ArraySlice(repeating: 0, count: 20)
    case 2: disk[last].bytes.removeLast(disk[last].bytes.count - end + 5)  // truncated within a record
    case 3: disk[last].bytes.removeLast(ReplicaCluster.trailingZeros)  // shorter than it was made
    case 4: disk[last].bytes[end / 2] ^= 4  // one bit, in the middle
    case 5: disk[last].bytes[60] ^= 1  // one bit, in the base
    case 6: disk.removeAll()  // missing; a host that knows of an earlier start says so
    case 7: disk[last].bytes[end + 20] = 9  // something after the end
    default: break
    }
    if damage == 6 { disk = [DurableSegment(number: 1, bytes: [1])] }
  }

  @Test("a missing newest segment is found out by what the older one says")
  func missingSegment() {
    let cluster = cluster()
    load(cluster, from: 0, count: 5)
    cluster.replicas[1].beginSegment()
    cluster.runEffects(of: 1)
    #expect(cluster.disks[1].count == 2)
    load(cluster, from: 5, count: 1)
    cluster.disks[1].removeLast()
    #expect(DurableScan(cluster.disks[1]).verdict == .damaged)
    #expect(!cluster.restart(1).mayVote)
    load(cluster, from: 6, count: 20)
    cluster.advance(byNanoseconds: 3_000 * milliseconds)
    #expect(cluster.agree && cluster.recovered[1])
  }

  @Test("a segment that was only begun leaves the older one in force")
  func begunSegment() {
    let cluster = cluster()
    load(cluster, from: 0, count: 6)
    let older = cluster.disks[1]
    cluster.replicas[1].beginSegment()
    cluster.runEffects(of: 1)
    let (records, _) = DurableScan.read(cluster.disks[1][1])
    #expect(records.first?.kind == .base && records.last?.kind == .baseEnd)
    for kept in 0..<records.count {
      // The file ends, cleanly, after each record of the base but the last.
      let end = kept == 0 ? 0 : records[kept - 1].offset + records[kept - 1].count
      var disk = cluster.disks[1]
      disk[1].bytes.replaceSubrange(end..., with: Array(repeating: 0, count: 64))
      let scan = DurableScan(disk)
      #expect(scan.verdict == .clean && scan.highestSegment == 2)
      #expect(scan.records.count >= DurableScan(older).records.count)
    }
  }

  @Test("a restart while recovering is still recovering")
  func recoveringTwice() {
    let cluster = cluster()
    load(cluster, from: 0, count: 3)
    cluster.disks[3] = []
    cluster.restart(3, recovering: true)
    #expect(cluster.replicas[3].status.isRecovering)
    let report = cluster.restart(3)
    #expect(!report.mayVote, "its log is whole and says that votes before it are not known")
    load(cluster, from: 3, count: 30)
    cluster.advance(byNanoseconds: 3_000 * milliseconds)
    #expect(cluster.recovered[3])
    #expect(cluster.restart(3).mayVote)
    #expect(cluster.agree)
  }

  @Test("a log of another replica or cluster is not taken")
  func strangers() {
    let cluster = cluster()
    load(cluster, from: 0, count: 6)
    cluster.disks[1] = cluster.disks[2]
    let report = cluster.restart(1)
    #expect(!report.mayVote && report.stable.sequence == .zero)
  }

  @Test("the log is written anew when it has grown; recovery needs the newest segment alone")
  func rotation() {
    let cluster = cluster { $0.maximumBatchBytes = 4 << 20 }
    for sequence in 0..<40 as Range<Int32> {
      cluster.submit(
        Request(client: 1, sequence: sequence, content: Array(repeating: UInt8(sequence), count: 300_000)))
      cluster.run()
    }
    #expect(cluster.counters(1).segmentsBegun > 1)
    #expect(cluster.disks[1].map(\.bytes.count).max()! < 12 << 20)
    cluster.disks[1].removeFirst(cluster.disks[1].count - 1)
    #expect(cluster.restart(1).mayVote)
    cluster.advance(byNanoseconds: 2_000 * milliseconds)
    #expect(cluster.agree)
  }

  @Test("the state of a transfer is durable: a restart right after it begins there")
  func afterTransfer() {
    let cluster = cluster { $0.logMultiplier = 2 }
    cluster.isLost = { $0.from == 3 || $0.to == 3 }
    load(cluster, from: 0, count: 30)
    cluster.isLost = { _ in false }
    load(cluster, from: 30, count: 2)
    cluster.advance(byNanoseconds: 2_000 * milliseconds)
    #expect(!cluster.transfers[3].isEmpty)
    let report = cluster.restart(3)
    #expect(report.mayVote && report.stable.sequence >= cluster.transfers[3][0])
    load(cluster, from: 32, count: 5)
    cluster.advance(byNanoseconds: 2_000 * milliseconds)
    #expect(cluster.agree)
  }

  @Test(
    "A2: restarts and a replay of all old requests execute nothing (BFT-SMaRt #63, SmartBFT #168)"
  )
  func replayAfterRestart() {
    let cluster = cluster()
    for round in 0..<4 {
      load(cluster, from: Int32(round) * 5, count: 5)
      for index in 0..<4 { cluster.restart((index + round) % 4) }
      cluster.advance(byNanoseconds: 1_000 * milliseconds)
      for sequence in 0..<(Int32(round) * 5 + 5) {
        cluster.submit(clients: 0..<4, sequences: sequence...sequence)
      }
      cluster.run()
      cluster.advance(byNanoseconds: 1_000 * milliseconds)
      for replica in cluster.replicas { #expect(replica.status.executedRequests == UInt64(round + 1) * 20) }
    }
    #expect(cluster.agree && cluster.neverDiverged)
  }

  @Test(
    "a disk that changes bytes is found out, costs no agreement, and the replica votes again",
    arguments: 1...6)
  func changedBytes(seed: Int) {
    let cluster = cluster()
    load(cluster, from: 0, count: 6)
    var chance = DiskChance(state: UInt64(seed))
    var executed: Int32 = 6
    for _ in 0..<10 {
      let last = cluster.disks[1].count - 1
      for _ in 0...chance.next(3) {
        cluster.disks[1][last].bytes[chance.next(cluster.disks[1][last].bytes.count)] ^=
          UInt8(1 + chance.next(255))
      }
      #expect(!cluster.restart(1).mayVote)
      #expect(cluster.neverDiverged)
      load(cluster, from: executed, count: 20)
      executed += 20
      cluster.advance(byNanoseconds: 2_000 * milliseconds)
      #expect(cluster.agree && cluster.neverDiverged)
      #expect(cluster.replicas[1].status.executedRequests == UInt64(executed) * 4)
      #expect(!cluster.replicas[1].status.isRecovering)
    }
  }

  /// A checksum finds damage, not forgery: whoever can write the log with right checksums has the replica, which then
  /// counts as Byzantine. So nothing is expected of such bytes but that they trap nothing.
  @Test("no bytes whatever trap the scan or the recovery, right checksums or not", arguments: 1...6)
  func anyBytes(seed: Int) {
    let cluster = cluster()
    load(cluster, from: 0, count: 6)
    let whole = cluster.disks[1]
    var chance = DiskChance(state: UInt64(seed))
    var taken = 0
    for _ in 0..<60 {
      var disk = whole
      let last = disk.count - 1
      if chance.next(2) == 0 {
        for _ in 0...chance.next(3) {
          disk[last].bytes[chance.next(disk[last].bytes.count)] = UInt8(chance.next(256))
        }
      }
      if chance.next(3) == 0 { disk[last].bytes.removeLast(chance.next(disk[last].bytes.count)) }
      if let record = DurableScan.read(disk[last]).records.randomlyChosen(chance.next(1 << 20)) {
        if record.count > 0 { disk[last].bytes[record.offset + chance.next(record.count)] ^= 1 }
        reseal(&disk[last], record)
      }
      cluster.disks[1] = disk
      let report = cluster.restart(1)
      if report.batchesReplayed > 0 || report.claims > 0 { taken += 1 }
    }
    // Some of it gets as far as being executed and restored.
    #expect(taken > 0)
  }

  private func reseal(_ segment: inout DurableSegment, _ record: DurableScan.Record) {
    let checksum = segment.bytes.withUnsafeBytes {
      DurableFrame.checksum(
        segment: segment.number, kind: record.kind.rawValue,
        UnsafeRawBufferPointer(rebasing: $0[record.offset..<(record.offset + record.count)]))
    }
    withUnsafeBytes(of: checksum) {
      segment.bytes.replaceSubrange((record.offset - 8)..<record.offset, with: $0)
    }
  }
}

/// Numbers that a seed reproduces.
private struct DiskChance {
  var state: UInt64

  mutating func next(_ bound: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int((state >> 33) % UInt64(bound))
  }
}

extension Array {
  fileprivate func randomlyChosen(_ number: Int) -> Element? { isEmpty ? nil : self[number % count] }
}
