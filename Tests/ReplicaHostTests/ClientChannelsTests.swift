// Client channels as an application of BFT-SMaRt knows them: who is connected, what they send, answers to them by their ids,
// and the life of each channel.

import Channels
import NIOCore
import PBFT
import ReplicaHost
import Replication
import TestSupport
import Testing
import Wire

/// Keeps what it is told, and answers nothing.
private final class Office: RequestReceiver, ClientChannelObserver, @unchecked Sendable {
  let watch: Watch
  private(set) var received: [(client: Int32, sequence: Int32, channel: ConnectionID)] = []
  private(set) var events: [(channel: ConnectionID, event: ClientChannelEvent)] = []
  var channels: ClientChannels!

  init(_ loop: any EventLoop, _ configuration: ClientChannelsConfiguration) {
    watch = Watch(loop: loop)
    channels = ClientChannels(configuration: configuration, receiver: self)
    channels.observer = self
  }

  func channels(_ channels: ClientChannels, received frame: ClientFrameView, on channel: ConnectionID) -> Bool
  {
    received.append((frame.client, frame.sequence, channel))
    watch.changed()
    return frame.kind != 99
  }

  func channelsBurstBegins(_ channels: ClientChannels) {}
  func channelsBurstEnded(_ channels: ClientChannels) {}

  func channel(_ channel: ConnectionID, _ event: ClientChannelEvent) {
    events.append((channel, event))
    watch.changed()
  }

  func on<Result: Sendable>(_ body: @escaping @Sendable (Office) throws -> Result) async throws -> Result {
    try await watch.loop.submit { [self] in try body(self) }.get()
  }
}

private func frame(_ client: Int32, _ sequence: Int32, kind: UInt8 = 0, signature: [UInt8] = []) -> [UInt8] {
  Frame.bytes(
    header: ClientFrameHeader(
      sender: client, membershipID: 0, kind: kind, session: 1, sequence: sequence, operationID: sequence),
    content: [1], signature: signature)
}

@Suite("Client channels")
struct ClientChannelsTests {
  /// Runs `body` with channels that listen on a loop of their own, and a loop for clients.
  private func with(
    _ transport: Transport, _ configuration: ClientChannelsConfiguration = ClientChannelsConfiguration(),
    _ body: (Office, Endpoint, any EventLoop) async throws -> Void
  ) async throws {
    try await withLoops(2) { loops in
      let office = Office(loops[0], configuration)
      let place = transport.place()
      let listener = try await office.channels.listen(at: place, boss: loops[0], loop: loops[0]).get()
      do {
        try await body(office, place.reached(at: listener.port), loops[1])
      } catch {
        try await office.on { $0.channels.shutdown() }
        throw error
      }
      try await office.on { $0.channels.shutdown() }
      try await loops[0].submit {}.get()
      try await loops[1].submit {}.get()
    }
  }

  @Test("a client is known by its first frame, and gone with its channel", arguments: Transport.allCases)
  func lives(transport: Transport) async throws {
    try await with(transport) { office, place, loop in
      let link = try await PlainLink.connect(to: place, on: loop)
      try await office.watch.until("the channel is active") { office.events.count == 1 }
      #expect(try await office.on { $0.channels.clients() } == [])
      try await link.send(frame(7, 0) + frame(8, 0) + frame(7, 1))
      try await office.watch.until("all is received") { office.received.count == 3 }
      #expect(try await office.on { $0.channels.clients() } == [7])
      #expect(try await office.on { $0.received.map(\.client) } == [7, 8, 7])
      await link.close()
      try await office.watch.until("the channel is inactive") { office.events.count == 3 }
      let events = try await office.on { $0.events.map(\.event) }
      #expect(events == [.active, .registered(client: 7), .inactive(client: 7)])
      #expect(try await office.on { Set($0.events.map(\.channel)).count } == 1)
      #expect(try await office.on { $0.channels.clients() } == [])
    }
  }

  @Test("answers reach clients by their ids, on their newest channel, and who is away is named")
  func sends() async throws {
    try await with(.sockets) { office, place, loop in
      let old = try await PlainLink.connect(to: place, on: loop)
      try await old.send(frame(7, 0))
      try await office.watch.until("the first is there") { office.received.count == 1 }
      let new = try await PlainLink.connect(to: place, on: loop)
      try await new.send(frame(7, 0))
      try await office.watch.until("the second is there") { office.received.count == 2 }
      func send(_ clients: [Int32]) async throws -> [Int32] {
        try await office.on { office in
          let header = ClientFrameHeader(
            sender: 3, membershipID: 0, kind: 0, session: 1, sequence: 5, operationID: 5)
          let unreached = [UInt8]([9, 9]).withUnsafeBytes {
            office.channels.send(header, content: $0, to: clients)
          }
          office.channels.flush()
          return unreached
        }
      }
      #expect(try await send([7, 8]) == [8])
      let frames = try await new.untilFrames(1)
      #expect(frames[0].header.sender == 3 && frames[0].header.sequence == 5 && frames[0].content == [9, 9])
      await new.close()
      try await office.watch.until("the second has gone") { office.channels.openConnections == 1 }
      #expect(try await send([7]) == [])
      #expect(try await old.untilFrames(1).count == 1)
      await old.close()
      try await office.watch.until("nobody is there") { office.channels.openConnections == 0 }
      #expect(try await send([7]) == [7])
    }
  }

  @Test("a channel that is closed for what came on it says why, and then that it is inactive")
  func errors() async throws {
    try await with(.sockets) { office, place, loop in
      let link = try await PlainLink.connect(to: place, on: loop)
      var bad = frame(7, 1)
      bad[4] = 0xff
      try await link.send(frame(7, 0) + bad)
      try await office.watch.until("the channel is inactive") { office.events.count == 4 }
      let events = try await office.on { $0.events.map(\.event) }
      guard case .error(client: 7, let reason) = events[2] else { return #expect(Bool(false), "\(events)") }
      #expect(!reason.isEmpty && events[3] == .inactive(client: 7))
      #expect(try await office.on { $0.channels.malformedFrames } == 1)
    }
  }

  @Test("shutting down closes what is open and what still comes", arguments: Transport.allCases)
  func shutsDown(transport: Transport) async throws {
    try await with(transport) { office, place, loop in
      let link = try await PlainLink.connect(to: place, on: loop)
      try await link.send(frame(7, 0))
      try await office.watch.until("it is received") { office.received.count == 1 }
      try await office.on { $0.channels.shutdown() }
      try await office.on { $0.channels.shutdown() }
      #expect(try await link.untilClosed() == .peer)
      await #expect(throws: (any Error).self) {
        let late = try await PlainLink.connect(to: place, on: loop)
        _ = try await late.untilClosed()
        throw ChannelError.alreadyClosed
      }
    }
  }
}

@Suite("What replicas answer to BFT-SMaRt's clients")
struct ClientAnswerTests {
  private func frame(
    _ cluster: LiveCluster, viewID: Int32 = 0, sequence: Int32, kind: ClientMessageKind = .ordered,
    replyServer: Int32 = -1, content: [UInt8] = [0, 0, 0, 1]
  ) -> [UInt8] {
    Frame.bytes(
      header: ClientFrameHeader(
        sender: LiveCluster.firstClient, membershipID: viewID, kind: kind.rawValue, session: 1,
        sequence: sequence,
        operationID: sequence, replyServer: replyServer),
      content: content)
  }

  @Test(
    "an older view is answered with the serialized one in force, the same bytes everywhere; a newer one not at all"
  )
  func views() async throws {
    var plan = ClusterPlan(transport: .sockets)
    plan.hasKnownPorts = true
    try await LiveCluster.with(plan) { cluster in
      var answers: Set<[UInt8]> = []
      for index in 0..<4 {
        let link = try await cluster.connection(to: index)
        try await link.send(frame(cluster, viewID: 1, sequence: 0) + frame(cluster, viewID: -1, sequence: 0))
        let reply = try await link.untilFrames(1)[0]
        #expect(
          reply.header.membershipID == 0 && reply.header.kind == 0 && reply.header.sender == Int32(index))
        answers.insert(try #require(reply.content))
        #expect(try await cluster.sample(index).status.counters.membershipBehind == 1)
        await link.close()
      }
      #expect(answers.count == 1)
      let view = try answers.first!.withUnsafeBytes { try SerializedView(decoding: $0) }
      #expect(view.id == 0 && view.faults == 1 && view.replicas == cluster.membership.replicas)
      for index in 0..<4 {
        #expect(view.address(of: ReplicaID(Int32(index)))?.port == cluster.address(of: index)?.clientPort)
      }
      try await cluster.withProxy { try await $0.add(1, expecting: 1) }
    }
  }

  @Test(
    "of a hashed request only the replica asked for sends the reply, the others its hash",
    arguments: [false, true])
  func hashes(is512: Bool) async throws {
    let plan = ClusterPlan(adjust: { $0.replica.hashedReplies = is512 ? .sha512 : .sha256 })
    try await LiveCluster.with(plan) { cluster in
      var links: [PlainLink] = []
      for index in 0..<4 {
        let link = try await cluster.connection(to: index)
        try await link.send(frame(cluster, sequence: 0, kind: .orderedHashed, replyServer: 2))
        links.append(link)
      }
      let hash = is512 ? ReplyHash.sha512 : .sha256
      var digest = [UInt8](repeating: 0, count: hash.byteCount)
      [UInt8]([0, 0, 0, 1]).withUnsafeBytes { content in
        digest.withUnsafeMutableBytes { _ = hash.write(hashOf: content, into: $0) }
      }
      for (index, link) in links.enumerated() {
        let reply = try await link.untilFrames(1)[0]
        #expect(
          reply.header.kind == ClientMessageKind.orderedHashed.rawValue && reply.header.replyServer == -1)
        #expect(reply.content == (index == 2 ? [0, 0, 0, 1] : digest))
      }
      // Asked again for another replica's reply: from the cache.
      for (index, link) in links.enumerated() {
        try await link.send(frame(cluster, sequence: 0, kind: .orderedHashed, replyServer: 0))
        let reply = try await link.untilFrames(2)[1]
        #expect(reply.content == (index == 0 ? [0, 0, 0, 1] : digest))
        await link.close()
      }
    }
  }

  @Test("unordered requests are answered from the present state, whatever their sequence and view")
  func unordered() async throws {
    let plan = ClusterPlan(adjust: { $0.replica.readOnlyRequests = true })
    try await LiveCluster.with(plan) { cluster in
      try await cluster.withProxy(readOnly: true) { try await $0.add(5, expecting: 5) }
      try await cluster.until("replica 1 has it", at: 1) { $0.status.executedRequests == 1 }
      let link = try await cluster.connection(to: 1)
      for (sequence, viewID) in [(0, 0), (0, 0), (-5, 0), (9, 4)] as [(Int32, Int32)] {
        try await link.send(
          frame(cluster, viewID: viewID, sequence: sequence, kind: .unordered, content: [0, 0, 0, 0]))
      }
      try await link.send(
        frame(cluster, sequence: 1, kind: .unorderedHashed, replyServer: 0, content: [0, 0, 0, 0]))
      let replies = try await link.untilFrames(5)
      #expect(replies[..<4].allSatisfy { $0.content == [0, 0, 0, 5] })
      #expect(replies[4].content?.count == 32)
      #expect(try await cluster.sample(1).status.counters.unorderedExecuted == 5)
      await link.close()
    }
  }

  @Test("hundreds of requests that one session sends at once are all executed, in order")
  func pipelines() async throws {
    try await LiveCluster.with { cluster in
      var links: [PlainLink] = []
      let all = (0..<300 as Range<Int32>).flatMap { frame(cluster, sequence: $0) }
      // The primary last: a replica remembers 32 replies of a client, and one that hears of a request later has none for it.
      for index in [1, 2, 3, 0] {
        let link = try await cluster.connection(to: index)
        try await link.send(all)
        try await cluster.until("they are there", at: index) { $0.host.requestFrames == 300 }
        links.append(link)
      }
      try await eventually("each is answered by a reply quorum", on: cluster.loop) {
        var answers = [Int](repeating: 0, count: 300)
        for link in links {
          let replies = try await link.untilFrames(0)
          for reply in replies { answers[Int(reply.header.sequence)] += 1 }
        }
        return answers.allSatisfy { $0 >= 2 }
      }
      for link in links {
        let replies = try await link.untilFrames(0)
        #expect(replies.allSatisfy { $0.content == bytes(of: $0.header.sequence + 1) })
      }
      let sample = try await cluster.sample(0)
      #expect(sample.host.waitingRequests > 0 && sample.host.refusedRequests == 0)
      for link in links { await link.close() }
    }
  }

  private func bytes(of number: Int32) -> [UInt8] {
    withUnsafeBytes(of: number.bigEndian) { Array($0) }
  }

  @Test(
    "beyond useControlFlow requests of a client are refused and counted, and nothing of a gone client stays")
  func controlFlow() async throws {
    let plan = ClusterPlan(adjust: { $0.pendingPerClient = 10 })
    try await LiveCluster.with(plan) { cluster in
      let link = try await cluster.connection(to: 1)
      // Only a backup has them, and with its timer off it forwards none.
      for sequence in 1..<100 as Range<Int32> { try await link.send(frame(cluster, sequence: sequence)) }
      try await cluster.until("the rest is refused", at: 1) { $0.host.refusedRequests >= 50 }
      let sample = try await cluster.sample(1)
      #expect(sample.host.waitingRequests == 10 && sample.host.requestFrames == 99)
      await link.close()
    }
  }

  @Test("v1.2: requests carry a MAC or are dropped and counted, and replies carry one")
  func version12() async throws {
    let plan = ClusterPlan(
      transport: .sockets,
      adjust: {
        $0.dialect = .v12
        $0.usesMACs = true
      })
    try await LiveCluster.with(plan) { cluster in
      let keys = ChannelKeys12(capacity: 16)
      func request(_ sequence: Int32, to index: Int, breaking: Bool = false) -> [UInt8] {
        let content: [UInt8] = [0, 0, 0, 1]
        var frame = [UInt8](
          repeating: 0,
          count: ClientFrame.byteCount(content: 4, signature: 0, dialect: .v12, useMACs: true))
        frame.withUnsafeMutableBytes { frame in
          content.withUnsafeBytes {
            _ = ClientFrame.encode(
              into: frame,
              header: ClientFrameHeader(
                sender: 1_001, membershipID: 0, kind: 0, session: 1, sequence: sequence, operationID: sequence
              ),
              content: $0, dialect: .v12, useMACs: true)
          }
          keys.seal(frame, client: 1_001, replica: Int32(index))
          if breaking { frame[ClientFrame.macOffset(ofEncoded: frame)!] ^= 1 }
        }
        return frame
      }
      var links: [PlainLink] = []
      for index in 0..<4 {
        let link = try await cluster.connection(to: index)
        try await link.send(request(0, to: index, breaking: true) + request(0, to: index))
        links.append(link)
      }
      for (index, link) in links.enumerated() {
        let byteCount = ClientFrame.byteCount(content: 4, signature: 0, dialect: .v12, useMACs: true)
        let bytes = try await link.untilTaken(byteCount)
        bytes.withUnsafeBytes { bytes in
          guard
            case .frame(let reply, _) = ClientFrame.decode(
              bytes, maximumLength: ClientFrame.hardLimit, dialect: .v12, useMACs: true)
          else { return #expect(Bool(false), "a reply in v1.2's frame") }
          #expect(reply.content.map { Array($0) } == [0, 0, 0, 1])
          #expect(keys.isAuthentic(reply.mac, of: reply.data, client: 1_001, replica: Int32(index)))
        }
        #expect(try await cluster.sample(index).host.rejectedMACs == 1)
        await link.close()
      }
    }
  }
}
