import PBFT
import Replication
import Testing

private let outOfBounds: [(Int32, Refusal)] = [
  (-1, .negativeSequence), (65, .tooFarAhead), (.max, .tooFarAhead), (.min, .negativeSequence),
]

@Suite("Request store and arrival")
struct StoreTests {
  private func refusal(_ screening: Screening) -> Refusal? {
    if case .refused(let refusal) = screening { return refusal }
    return nil
  }

  private let connection = ConnectionID(rawValue: 1)

  @Test("one client has at most 32 requests waiting; others are not touched")
  func clientQuota() {
    let cluster = ReplicaCluster { $0.batchSize = 1_000 }
    for sequence in 0..<40 as Range<Int32> { cluster.submit(Request(client: 1, sequence: sequence), to: [0]) }
    #expect(cluster.replicas[0].status.storedRequests == 32)
    #expect(cluster.counters(0).refused(.clientQuota) == 8)
    cluster.arrive(Request(client: 1, sequence: 32), at: 0, connection: .none)
    #expect(cluster.replicas[0].status.storedRequests == 33, "another replica vouches that its client waits")
    #expect(refusal(cluster.arrive(Request(client: 2), at: 0, connection: connection)) == nil)
  }

  @Test("requests in batches do not count as waiting")
  func quotaAfterProposal() {
    let cluster = ReplicaCluster { $0.batchSize = 32 }
    cluster.isLost = { _ in true }
    for sequence in 0..<60 as Range<Int32> { cluster.submit(Request(client: 1, sequence: sequence), to: [0]) }
    #expect(cluster.counters(0).requestsProposed == 32)
    #expect(cluster.replicas[0].status.storedRequests == 28)
  }

  @Test("a full store sheds what comes, counts it, and keeps room for what other replicas forward")
  func storeFull() {
    let cluster = ReplicaCluster {
      $0.batchSize = 1_000
      $0.maximumStoredRequests = 80
    }
    for client in 0..<100 as Range<Int32> { cluster.submit(Request(client: client), to: [1]) }
    #expect(cluster.replicas[1].status.storedRequests == 80)
    #expect(cluster.counters(1).refused(.storeFull) == 20)
    for client in 100..<120 as Range<Int32> {
      cluster.arrive(Request(client: client), at: 1, connection: .none)
    }
    #expect(cluster.replicas[1].status.storedRequests == 90)
    #expect(cluster.counters(1).refused(.storeFull) == 30)
  }

  @Test("bytes are bounded, and idle memory of one size serves another")
  func byteBound() {
    let cluster = ReplicaCluster(replicas: 1) {
      $0.batchSize = 1
      $0.checkpointPeriod = 1
      $0.maximumRequestBytes = 8_192
      $0.maximumBatchBytes = 16_384
      $0.maximumHeldBytes = 16_384
      $0.maximumStoredRequests = 64
      $0.maximumHeldRequests = 64
    }
    var sequence: Int32 = 0
    // Small, large, small again, each phase with all the memory there is.
    for size in [20, 3_000, 20, 7_000, 200] {
      for _ in 0..<100 {
        cluster.submit(Request(client: 1, sequence: sequence, content: Array(repeating: 9, count: size)))
        cluster.run()
        sequence += 1
      }
    }
    #expect(cluster.replicas[0].status.executedRequests == 500)
    #expect(cluster.replicas[0].status.heldBytes == 0)
    #expect(refusal(cluster.arrive(big(9_000, sequence), at: 0, connection: connection)) == nil)
    #expect(cluster.counters(0).refused(.tooLarge) == 1)
  }

  private func big(_ size: Int, _ sequence: Int32) -> Request {
    Request(client: 1, sequence: sequence, content: Array(repeating: 9, count: size))
  }

  @Test("when all bytes are held, more is shed until a checkpoint is stable")
  func bytesShed() {
    let cluster = ReplicaCluster {
      $0.batchSize = 1_000
      $0.maximumRequestBytes = 1_024
      $0.maximumBatchBytes = 4_096
      $0.maximumHeldBytes = 8_192
    }
    for client in 0..<20 as Range<Int32> {
      cluster.submit(Request(client: client, content: Array(repeating: 1, count: 900)), to: [2])
    }
    #expect(cluster.replicas[2].status.heldBytes == 8_192)
    #expect(cluster.replicas[2].status.storedRequests == 8)
    #expect(cluster.counters(2).refused(.storeFull) == 12)
  }

  @Test("a request that comes again is held once and remembers the two newest connections")
  func resent() {
    let cluster = ReplicaCluster()
    for connection in [1, 2, 2, 3] as [UInt32] { cluster.submit(Request(client: 1), connection: connection) }
    #expect(cluster.replicas[0].status.heldRequests == 1)
    #expect(cluster.counters(0).requestsResent == 3)
    cluster.run()
    #expect(cluster.answers[0].map(\.newest.rawValue) == [3])
    #expect(cluster.answers[0].map(\.older.rawValue) == [2])
  }

  @Test("the first bytes of a sequence are the ones that are ordered")
  func firstBytesStay() {
    let cluster = ReplicaCluster(service: "counter")
    cluster.submit(Request(client: 1, content: [0, 0, 0, 5]))
    cluster.submit(Request(client: 1, content: [0, 0, 0, 9]))
    cluster.run()
    #expect(cluster.answers[0].map(\.content) == [[0, 0, 0, 5]])
  }

  @Test("sequences below zero and far ahead are refused", arguments: outOfBounds)
  func sequenceBounds(sequence: Int32, expected: Refusal) {
    let cluster = ReplicaCluster()
    cluster.submit(Request(client: 1, sequence: 0))
    cluster.run()
    let screening = cluster.arrive(Request(client: 1, sequence: sequence), at: 0, connection: connection)
    #expect(refusal(screening) == expected)
    #expect(refusal(cluster.arrive(Request(client: 1, sequence: 64), at: 0, connection: connection)) == nil)
  }

  @Test("what an abandoned session left does not stand in the way of the next one")
  func abandonedSession() {
    let cluster = ReplicaCluster()
    // Session 1 is never executed; its second request waits for what never comes.
    cluster.submit(Request(client: 1, session: 1, sequence: 0), to: [1])
    cluster.submit(Request(client: 1, session: 1, sequence: 3), to: [1])
    cluster.run()
    #expect(cluster.replicas[1].status.storedRequests == 2)
    for sequence in 0...4 as ClosedRange<Int32> {
      cluster.submit(Request(client: 1, session: 2, sequence: sequence))
      cluster.run()
    }
    #expect(cluster.replicas[1].status.executedRequests == cluster.replicas[0].status.executedRequests)
    #expect(cluster.answers[1].map(\.sequence) == [0, 1, 2, 3, 4])
    #expect(cluster.replicas[1].status.storedRequests == 0)
  }

  @Test("a client's new session takes the place of what an older one left, if the client itself brings it")
  func placeTaken() {
    let cluster = ReplicaCluster()
    let newer = Request(client: 1, session: 2, sequence: 64)
    cluster.submit(Request(client: 1, session: 1, sequence: 0), to: [1])
    #expect(refusal(cluster.arrive(newer, at: 1, connection: .none)) == .placeTaken)
    #expect(refusal(cluster.arrive(newer, at: 1, connection: connection)) == nil)
    #expect(cluster.replicas[1].status.storedRequests == 1)
    #expect(cluster.replicas[1].storedRequest(client: 1, session: 2, sequence: 64) != nil)
    // Of the session in progress, it does not: the other one is newer.
    cluster.submit(Request(client: 2, session: 1, sequence: 0))
    cluster.run()
    cluster.submit(Request(client: 2, session: 2, sequence: 66), to: [1])
    let late = Request(client: 2, session: 1, sequence: 2)
    #expect(refusal(cluster.arrive(late, at: 1, connection: connection)) == .placeTaken)
  }

  @Test("reconfiguration and, unless they are on, unordered requests are refused and counted")
  func kinds() {
    let cluster = ReplicaCluster()
    cluster.submit(Request(client: 1, kind: .reconfigure))
    cluster.submit(Request(client: 1, kind: .unordered))
    cluster.submit(Request(client: 1, kind: .unorderedHashed))
    cluster.run()
    #expect(cluster.counters(0).refused(.reconfigurationUnsupported) == 1)
    #expect(cluster.counters(0).refused(.unorderedDisabled) == 2)
    #expect(cluster.answers[0].isEmpty)
  }

  @Test("strangers whose requests are forgotten leave nothing behind and hide nobody")
  func strangers() {
    let cluster = ReplicaCluster {
      $0.batchSize = 1_000
      $0.maximumStoredRequests = 800
      $0.maximumHeldRequests = 800
    }
    let residents = (0..<200).map { Request(client: $0 * 7) }
    for request in residents { cluster.submit(request, to: [2]) }
    // Requests of 6,000 clients in batches that are rejected, many at a time.
    for round in 0..<20 as Range<Int32> {
      let requests = (0..<300).map { Request(client: 100_000 + round * 300 + $0) }
      let prePrepare = PrePrepare(view: .zero, sequence: SequenceNumber(1), digest: .zero, batch: .none)
      cluster.deliver(.prePrepare(prePrepare, requests), from: 0, to: 2)
    }
    #expect(cluster.counters(2).rejected(.digestMismatch) == 20)
    #expect(cluster.replicas[2].status.heldRequests == 200)
    for request in residents {
      #expect(cluster.replicas[2].storedRequest(client: request.client, session: 1, sequence: 0) != nil)
    }
    for request in residents { cluster.submit(request) }
    cluster.run()
    #expect(cluster.agree && cluster.replicas[2].status.executedRequests == 200)
    #expect(cluster.replicas[2].status.clients == 200)
  }

  @Test("memory that small requests have used serves large ones")
  func idleMemoryIsReused() {
    let cluster = ReplicaCluster {
      $0.batchSize = 100
      $0.checkpointPeriod = 1
      $0.maximumRequestBytes = 4_096
      $0.maximumBatchBytes = 8_192
      $0.maximumHeldBytes = 8_192
      $0.maximumStoredRequests = 100
      $0.maximumHeldRequests = 100
    }
    for (session, size) in [4, 3_000, 4, 200].enumerated() {
      let count: Int32 = size > 1_000 ? 2 : size > 100 ? 16 : 100
      for client in 0..<count {
        cluster.submit(
          Request(client: client, session: Int32(session), content: Array(repeating: 1, count: size)))
      }
      #expect(cluster.replicas[3].status.heldRequests == Int(count))
      cluster.run()
      #expect(cluster.replicas[3].status.heldRequests == 0)
    }
    #expect(cluster.agree)
    #expect(cluster.counters(0).requestsRefused == 0)
  }

  @Test("a released slot and a discarded batch read as empty")
  func releasedReadsEmpty() {
    let replica = ReplicaCluster(replicas: 1).replicas[0]
    #expect(replica.data(of: RequestSlot(rawValue: 0)).isEmpty)
    #expect(replica.authenticator(of: RequestSlot(rawValue: 12_345_678)).isEmpty)
    #expect(replica.requests(of: BatchHandle(rawValue: 3)).isEmpty)
    #expect(replica.requests(of: .none).isEmpty)
  }

  @Test("what is held reads as it came")
  func heldReadsAsItCame() throws {
    let cluster = ReplicaCluster()
    let request = Request(client: 6, sequence: 2, content: [1, 2, 3, 4, 5])
    cluster.submit(request, to: [1])
    let slot = try #require(cluster.replicas[1].storedRequest(client: 6, session: 1, sequence: 2))
    #expect(Array(cluster.replicas[1].data(of: slot)) == request.bytes)
    #expect(Array(cluster.replicas[1].authenticator(of: slot)) == request.authenticator)
    #expect(cluster.replicas[1].contentOffset(of: slot) == Request.contentOffset)
    #expect(cluster.replicas[1].storedRequest(client: 6, session: 2, sequence: 2) == nil)
    #expect(cluster.replicas[1].storedRequest(client: 6, session: 1, sequence: -62) == nil)
  }

  @Test("a bad configuration is named, a good one is not")
  func configuration() {
    #expect(ReplicaConfiguration().validate().isEmpty)
    var bad = ReplicaConfiguration()
    bad.batchSize = 0
    bad.logMultiplier = 1
    bad.maximumOutstandingPerClient = 33
    bad.requestTimeoutNanoseconds = -1
    #expect(bad.validate().count == 4)
    for extreme in [Int.min, -1, 0, 1 << 40, Int.max] {
      bad = ReplicaConfiguration()
      bad.batchSize = extreme
      bad.checkpointPeriod = extreme
      bad.logMultiplier = extreme
      bad.maximumRequestBytes = extreme
      bad.maximumBatchRequests = extreme
      bad.maximumBatchBytes = extreme
      bad.maximumStoredRequests = extreme
      bad.maximumHeldRequests = extreme
      bad.maximumHeldBytes = extreme
      #expect(bad.validate().count >= 8)
    }
  }
}
