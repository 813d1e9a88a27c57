// What clients may send and what becomes of it: bad frames cost at most their connection and are counted; replies go
// where that request came from; a request is executed once however often it comes.

import NIOCore
import PBFT
import ReplicaHost
import TestSupport
import Testing
import Wire

private let statusReply = ClientMessageKind.statusReply.rawValue

@Suite("Bad frames")
struct BadFrameTests {
  /// The cluster still serves clients.
  private func expectService(_ cluster: LiveCluster) async throws {
    try await cluster.withProxy(client: LiveCluster.firstClient + 5) { proxy in
      try await proxy.add(1, expecting: 1)
    }
  }

  @Test(
    "lengths that contradict each other close their connection and no other",
    arguments: Transport.allCases, [0, 4, 33, 41])
  func inconsistentLengths(transport: Transport, offset: Int) async throws {
    try await LiveCluster.with(ClusterPlan(transport: transport)) { cluster in
      let good = try await cluster.connection(to: 0)
      let bad = try await cluster.connection(to: 0)
      var frame = cluster.request(sequence: 0)
      // One of len, dlen, content length, slen becomes negative.
      frame[offset] = 0xff
      try await bad.send(frame)
      #expect(try await bad.untilClosed() == .peer)
      try await good.send(LiveCluster.askStatus)
      #expect(try await good.untilFrames(1).count == 1)
      let sample = try await cluster.sample(0)
      #expect(sample.host.malformedFrames == 1 && sample.status.counters.requestsArrived == 0)
      try await cluster.until("the connection is forgotten", at: 0) { $0.openConnections == 1 }
      try await expectService(cluster)
      await good.close()
    }
  }

  @Test(
    "a frame above the limit is skipped and counted, and the connection goes on",
    arguments: Transport.allCases)
  func oversizedFrames(transport: Transport) async throws {
    let plan = ClusterPlan(transport: transport, adjust: { $0.maximumRequestFrameBytes = 1_024 })
    try await LiveCluster.with(plan) { cluster in
      let link = try await cluster.connection(to: 0)
      let large = cluster.request(sequence: 0, content: Array(repeating: 0, count: 200_000))
      // In pieces, and with the next frame in the last one's burst.
      try await link.send(Array(large[..<3]))
      try await link.send(Array(large[3..<60_000]))
      try await link.send(Array(large[60_000...]) + LiveCluster.askStatus)
      #expect(try await link.untilFrames(1).map(\.header.kind) == [statusReply])
      let sample = try await cluster.sample(0)
      #expect(sample.host.skippedFrames == 1 && sample.host.requestFrames == 0)
      #expect(sample.host.malformedFrames == 0)
      await link.close()
    }
  }

  @Test(
    "messages of an unknown type are dropped and counted, and the connection is kept",
    arguments: [2, 5, 9, 255])
  func unknownTypes(kind: UInt8) async throws {
    try await LiveCluster.with { cluster in
      let link = try await cluster.connection(to: 0)
      for _ in 0..<3 { try await link.send(cluster.request(sequence: 0, kind: kind)) }
      try await link.send(LiveCluster.askStatus)
      #expect(try await link.untilFrames(1).map(\.header.kind) == [statusReply])
      #expect(try await cluster.sample(0).host.droppedMessages == 3)
      await link.close()
    }
  }

  @Test(
    "more than a thousand senseless messages in a second close their connection",
    arguments: Transport.allCases)
  func senselessMessages(transport: Transport) async throws {
    try await LiveCluster.with(ClusterPlan(transport: transport)) { cluster in
      let link = try await cluster.connection(to: 0)
      // Far more than it takes, so that a second's end between two of them changes nothing.
      let frame = cluster.request(sequence: 0, kind: 99)
      try await link.send(Array(repeatElement(frame, count: 5_000).joined()))
      // What it left unread makes the kernel reset the connection rather than end it.
      #expect(try await link.untilClosed() != .local)
      let sample = try await cluster.sample(0)
      #expect((1_001..<5_000).contains(sample.host.droppedMessages))
      try await expectService(cluster)
    }
  }

  @Test("what came before the senseless messages of a burst is served all the same")
  func servesWhatCameBefore() async throws {
    try await LiveCluster.with { cluster in
      let link = try await cluster.connection(to: 0)
      let frame = cluster.request(sequence: 0, kind: 99)
      try await link.send(cluster.request(sequence: 0) + Array(repeatElement(frame, count: 5_000).joined()))
      #expect(try await link.untilClosed() == .peer)
      try await cluster.until("the request is executed", at: 0) { $0.status.executedRequests == 1 }
    }
  }

  @Test("a frame that never ends keeps nothing but its bytes from being read")
  func unfinishedFrames() async throws {
    try await LiveCluster.with(ClusterPlan(transport: .sockets)) { cluster in
      let link = try await cluster.connection(to: 0)
      try await link.send(Array(cluster.request(sequence: 0).dropLast()))
      try await expectService(cluster)
      await link.close()
      try await cluster.until("the connection is forgotten", at: 0) { $0.openConnections == 0 }
      #expect(try await cluster.sample(0).host.malformedFrames == 0)
    }
  }

  @Test("negative sequences and requests to reconfigure are refused and counted")
  func refusedRequests() async throws {
    try await LiveCluster.with { cluster in
      let link = try await cluster.connection(to: 0)
      try await link.send(cluster.request(sequence: -1))
      try await link.send(cluster.request(sequence: 0, kind: ClientMessageKind.reconfigure.rawValue))
      try await link.send(cluster.request(sequence: 0, kind: ClientMessageKind.unordered.rawValue))
      try await link.send(LiveCluster.askStatus)
      #expect(try await link.untilFrames(1).map(\.header.kind) == [statusReply])
      let sample = try await cluster.sample(0)
      #expect(sample.host.refusedRequests == 3 && sample.status.counters.requestsRefused == 3)
      await link.close()
    }
  }
}

@Suite("Replies")
struct ReplyRoutingTests {
  @Test("a reply goes to the connection on which that request came", arguments: Transport.allCases)
  func followsTheRequest(transport: Transport) async throws {
    try await LiveCluster.with(ClusterPlan(transport: transport)) { cluster in
      let first = try await cluster.connection(to: 0)
      let second = try await cluster.connection(to: 0)
      // One client, one session, two connections.
      try await first.send(cluster.request(sequence: 0))
      #expect(value(try await first.untilFrames(1)[0].content) == 1)
      try await second.send(cluster.request(sequence: 1))
      #expect(value(try await second.untilFrames(1)[0].content) == 2)
      try await first.send(cluster.request(sequence: 2))
      let frames = try await first.untilFrames(2)
      #expect(frames.map { value($0.content) } == [1, 3])
      #expect(frames.map(\.header.sequence) == [0, 2] && frames.allSatisfy { $0.header.sender == 0 })
      // What comes last on the second connection comes right after its only reply.
      try await second.send(LiveCluster.askStatus)
      #expect(try await second.untilFrames(2).map(\.header.kind) == [0, statusReply])
      await first.close()
      await second.close()
    }
  }

  @Test(
    "a request that comes again is answered from the cache and executed once", arguments: Transport.allCases)
  func answersDuplicates(transport: Transport) async throws {
    try await LiveCluster.with(ClusterPlan(transport: transport)) { cluster in
      let first = try await cluster.connection(to: 0)
      let request = cluster.request(sequence: 0)
      try await first.send(request)
      _ = try await first.untilFrames(1)
      try await first.send(request)
      let onFirst = try await first.untilFrames(2).map { value($0.content) }
      #expect(onFirst == [1, 1])
      // Another connection gets the answer there.
      let second = try await cluster.connection(to: 0)
      try await second.send(request)
      let onSecond = try await second.untilFrames(1).map { value($0.content) }
      #expect(onSecond == [1])
      let stillOnFirst = try await first.on { $0.frames().count }
      #expect(stillOnFirst == 2)
      // A backup that never saw the client's own frame answers from its cache too.
      try await cluster.until("replica 2 has executed it", at: 2) { $0.status.executedRequests == 1 }
      let third = try await cluster.connection(to: 2)
      try await third.send(request)
      let answer = try await third.untilFrames(1)[0]
      #expect(value(answer.content) == 1 && answer.header.sender == 2)
      let sample = try await cluster.sample(0)
      #expect(sample.status.executedRequests == 1 && sample.status.counters.repliesResent == 2)
      for link in [first, second, third] { await link.close() }
    }
  }

  @Test("other bytes under an executed sequence change nothing")
  func ignoresOtherBytes() async throws {
    try await LiveCluster.with { cluster in
      let link = try await cluster.connection(to: 0)
      try await link.send(cluster.request(sequence: 0))
      _ = try await link.untilFrames(1)
      try await link.send(cluster.request(sequence: 0, content: increment(100)))
      try await link.send(cluster.request(sequence: 1, content: increment(1)))
      let sums = try await link.untilFrames(3).map { value($0.content) }
      #expect(sums == [1, 1, 2])
      await link.close()
    }
  }

  @Test("requests of a session that come out of order are executed in order")
  func restoresOrder() async throws {
    try await LiveCluster.with { cluster in
      let link = try await cluster.connection(to: 0)
      // A session may begin anywhere; from then on it has no gaps.
      try await link.send(cluster.request(sequence: 0))
      _ = try await link.untilFrames(1)
      try await link.send(cluster.request(sequence: 2, content: increment(20)))
      try await link.send(cluster.request(sequence: 1, content: increment(10)))
      let frames = try await link.untilFrames(3)
      #expect(frames.map(\.header.sequence) == [0, 1, 2])
      #expect(frames.map { value($0.content) } == [1, 11, 31])
      await link.close()
    }
  }
}
