import Hashing
import PBFT
import Replication
import Testing

@Suite("Services and replies")
struct ServiceTests {
  @Test("services are known by name and nothing else is")
  func names() {
    for name in Service.names { #expect(Service.make(name: name, replyBytes: 8) != nil) }
    #expect(Service.make(name: "kv", replyBytes: 0) == nil)
    #expect(Service.make(name: "null", replyBytes: -1) == nil)
    #expect(Service.make(name: "null", replyBytes: .max) == nil)
  }

  @Test("the counter adds, wraps and reads as BFT-SMaRt's does")
  func counter() {
    let cluster = ReplicaCluster(service: "counter") { $0.readOnlyRequests = true }
    let increments: [[UInt8]] = [
      [0, 0, 0, 5], [255, 255, 255, 255], [127, 255, 255, 255], [0, 0, 0, 9, 1, 2], [1, 2],
    ]
    for (sequence, content) in increments.enumerated() {
      cluster.submit(Request(client: 1, sequence: Int32(sequence), content: content))
      cluster.run()
    }
    cluster.submit(Request(client: 1, sequence: 0, kind: .unordered))
    cluster.run()
    #expect(
      cluster.answers[0].map(\.content)
        == [[0, 0, 0, 5], [0, 0, 0, 4], [128, 0, 0, 3], [128, 0, 0, 12], [], [128, 0, 0, 12]])
    #expect(cluster.agree)
  }

  @Test("the log answers with positions that rise by one, then filler")
  func log() {
    let cluster = ReplicaCluster(replyBytes: 5)
    cluster.submit(clients: 0..<10)
    cluster.run()
    #expect(cluster.answers[1].map(ReplicaCluster.position) == Array(1...10))
    #expect(cluster.answers[1].allSatisfy { $0.content.count == 21 && $0.content[16...] == [0, 0, 0, 0, 0] })
  }

  @Test("an unordered read of the log gives the current position and changes nothing")
  func unorderedLog() {
    let cluster = ReplicaCluster { $0.readOnlyRequests = true }
    cluster.submit(clients: 0..<3)
    cluster.run()
    for _ in 0..<3 { cluster.submit(Request(client: 77, kind: .unordered)) }
    cluster.run()
    #expect(cluster.answers[2].suffix(3).map(ReplicaCluster.position) == [3, 3, 3])
    #expect(cluster.answers[2].last?.kind == .unordered)
    #expect(cluster.counters(2).unorderedExecuted == 3)
    #expect(cluster.replicas[2].status.clients == 3, "the client table knows only ordered requests")
    // Of any membership and any sequence: nothing is remembered of it.
    cluster.submit(Request(client: 78, sequence: -5, kind: .unordered, membershipID: 9))
    cluster.run()
    #expect(cluster.counters(2).unorderedExecuted == 4)
  }

  @Test("null replies with as many zero bytes as it was told", arguments: [0, 1, 16, 1_024])
  func null(count: Int) {
    let cluster = ReplicaCluster(service: "null", replyBytes: count)
    cluster.submit(Request(client: 1))
    cluster.run()
    cluster.submit(Request(client: 1), connection: 2)
    cluster.run()
    let expected = [UInt8](repeating: 0, count: count)
    #expect(cluster.answers[3].map(\.content) == [expected, expected])
  }

  @Test("a hashed request is answered in full by the replica asked, and with the SHA-256 by all others")
  func hashedReplies() {
    let cluster = ReplicaCluster(service: "counter") { $0.readOnlyRequests = true }
    for kind in [RequestKind.orderedHashed, .unorderedHashed] {
      cluster.submit(Request(client: 1, kind: kind, replyServer: 2))
      cluster.run()
      // And again, from the cache.
      cluster.submit(Request(client: 1, kind: kind, replyServer: 2))
      cluster.run()
    }
    let digest = [0, 0, 0, 1].withUnsafeBytesOfBytes { Digest.sha256($0) }
    for index in cluster.replicas.indices {
      #expect(cluster.answers[index].count == 4)
      for answer in cluster.answers[index] {
        #expect(answer.content == (index == 2 ? [0, 0, 0, 1] : digest.withUnsafeBytes { Array($0) }))
      }
    }
  }

  @Test("replies carry what the client needs to match them")
  func replyFields() {
    let cluster = ReplicaCluster(membershipID: 2)
    cluster.submit(Request(client: -5, session: 123, sequence: 0, membershipID: 2))
    cluster.run()
    let answer = cluster.answers[1][0]
    #expect(answer.client == -5 && answer.session == 123 && answer.sequence == 0)
    #expect(answer.operationID == 1_000 && answer.membershipID == 2 && answer.kind == .ordered)
  }
}

extension [UInt8] {
  fileprivate func withUnsafeBytesOfBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    withUnsafeBytes(body)
  }
}
