// The kinds of invocation beyond the plain one: hashed replies, replies the application compares, invocations without waiting,
// the primary first, and both quorum formulas.

import NIOCore
import PBFT
import ServiceClient
import TestSupport
import Testing
import Wire

extension Scripts {
  /// What a replica of `hash` answers `request` with: the whole reply if it is asked for it, else its hash.
  static func hashed(
    _ stub: StubReplica, _ request: SeenRequest, _ content: [UInt8], by hash: ReplyHash = .sha256
  ) -> [UInt8] {
    let isHashed = request.header.kind == 6 || request.header.kind == 7
    guard isHashed, request.header.replyServer != stub.id else { return content }
    return [UInt8](unsafeUninitializedCapacity: hash.byteCount) { output, count in
      count = content.withUnsafeBytes { hash.write(hashOf: $0, into: UnsafeMutableRawBufferPointer(output)) }
    }
  }
}

@Suite("Hashed replies")
struct HashedReplyTests {
  static let long = [UInt8](repeating: 7, count: 10_000)

  @Test(
    "one whole reply and hashes of the others decide, in each kind and dialect",
    arguments: [InvocationKind.orderedHashed, .unorderedHashed], ClientDialect.allCases)
  func decides(kind: InvocationKind, dialect: ClientDialect) async throws {
    let script: StubReplica.Script = { stub, request in
      stub.answer(request, Scripts.hashed(stub, request, Self.long, by: dialect.replyHash))
    }
    try await Stage.with(dialect: dialect, script: script) { stage in
      try await stage.withProxy(adjust: { $0.readOnlyRequests = true }) { proxy in
        for _ in 0..<5 { #expect(try await proxy.invoke([1], kind: kind) == Self.long) }
        let seen = try await stage.stubs[0].untilSeen(5)
        let isPlain = kind == .orderedHashed && dialect == .v12
        let expected: UInt8 = isPlain ? 0 : (kind == .orderedHashed ? 7 : 6)
        #expect(seen.allSatisfy { $0.header.kind == expected })
        #expect(seen.map(\.header.sequence) == Array(0..<5))
        // The whole reply is asked of one after the other.
        #expect(isPlain || Set(seen.map(\.header.replyServer)) == [0, 1, 2, 3])
        #expect(try await proxy.counters().hashedSentPlain == (isPlain ? 5 : 0))
      }
    }
  }

  @Test("hashes alone decide nothing; the whole reply of the one that was asked does")
  func waitsForTheWhole() async throws {
    try await Stage.with { stage in
      try await stage.withProxy(adjust: { $0.hashedPatienceNanoseconds = 60_000_000_000 }) { proxy in
        let value = Task { try await proxy.invokeOrderedHashed([1]) }
        let request = try await stage.stubs[0].untilSeen(1)[0]
        let server = Int(request.header.replyServer)
        let others = stage.stubs.filter { Int($0.id) != server }
        for stub in others {
          try await stub.untilSeen(1)
          try await stub.loop.submit {
            stub.answer(request, Scripts.hashed(stub, request, Self.long))
            // Once this copy is counted, the first has been looked at.
            stub.answer(request, Scripts.hashed(stub, request, Self.long))
          }.get()
        }
        try await eventually("the copies are counted", on: stage.loop) {
          try await proxy.counters().staleReplies == 3
        }
        try await stage.stubs[server].reply(to: 0, Self.long)
        #expect(try await value.value == Self.long)
      }
    }
  }

  @Test("a wrong whole reply is not taken, and another replica is asked under the same session and sequence")
  func asksAnother() async throws {
    let script: StubReplica.Script = { stub, request in
      // Replica 2 lies whenever it is asked for the whole.
      let lies = request.header.replyServer == 2 && stub.id == 2
      stub.answer(request, lies ? [6, 6, 6] : Scripts.hashed(stub, request, Self.long))
    }
    try await Stage.with(script: script) { stage in
      try await stage.withProxy(adjust: { $0.hashedPatienceNanoseconds = 1_000_000 }) { proxy in
        for _ in 0..<4 {
          let value = try await proxy.invokeOrderedHashed([1])
          #expect(value == Self.long)
        }
        #expect(try await proxy.counters().replyServersChanged >= 1)
        for stub in stage.stubs {
          let seen = try await stub.seen()
          #expect(Set(seen.map(\.header.session)).count == 1)
          let again = seen.filter { $0.header.sequence == 2 }
          if again.count > 1 {
            #expect(Set(again.map(\.header.operationID)).count == 1 && again.last?.header.replyServer != 2)
          }
        }
      }
    }
  }

  @Test("the replica that was to send the whole reply keeps silent: another one is asked")
  func silentReplyServer() async throws {
    let script: StubReplica.Script = { stub, request in
      if stub.id != 1 { stub.answer(request, Scripts.hashed(stub, request, Self.long)) }
    }
    try await Stage.with(script: script) { stage in
      try await stage.withProxy(adjust: { $0.hashedPatienceNanoseconds = 1_000_000 }) { proxy in
        for _ in 0..<4 {
          let value = try await proxy.invokeOrderedHashed([1])
          #expect(value == Self.long)
        }
        #expect(try await proxy.counters().replyServersChanged >= 1)
      }
    }
  }

  @Test("wrong hashes of f replicas are masked")
  func masksWrongHash() async throws {
    let script: StubReplica.Script = { stub, request in
      let right = Scripts.hashed(stub, request, Self.long)
      stub.answer(request, stub.id == 0 ? right.map { $0 ^ 1 } : right)
    }
    try await Stage.with(script: script) { stage in
      try await stage.withProxy(adjust: { $0.hashedPatienceNanoseconds = 1_000_000 }) { proxy in
        for _ in 0..<4 {
          let value = try await proxy.invokeOrderedHashed([1])
          #expect(value == Self.long)
        }
      }
    }
  }
}

@Suite("Replies that the application compares")
struct ComparedReplyTests {
  @Test("equal is what the comparator says, and the extractor sees all that are")
  func comparesAndExtracts() async throws {
    // Each replica adds its own time to the same value.
    let script: StubReplica.Script = { stub, request in
      stub.answer(request, stub.id == 1 ? [13, 1] : [42, UInt8(10 * stub.id)])
    }
    try await Stage.with(script: script) { stage in
      try await stage.withProxy { proxy in
        await #expect(throws: InvocationError.diverged) { try await proxy.invokeOrdered([1]) }
        let latest = try await proxy.invoke([1], comparing: { $0[0] == $1[0] }) { replies in
          (value: replies[0][0], times: replies.map { $0[1] }.sorted())
        }
        #expect(latest.value == 42 && latest.times.count == 2)
      }
    }
  }

  @Test("no reply quorum by the comparator is a typed error; what the extractor throws is told")
  func throwsErrors() async throws {
    struct Refused: Error {}
    try await Stage.with(script: Scripts.echo) { stage in
      try await stage.withProxy { proxy in
        await #expect(throws: InvocationError.diverged) {
          try await proxy.invoke([1], comparing: { _, _ in false }, extracting: { $0.count })
        }
        await #expect(throws: Refused.self) {
          try await proxy.invoke([1], comparing: ==, extracting: { _ in throw Refused() })
        }
        let value = try await proxy.invokeOrdered([2])
        #expect(value == [2])
      }
    }
  }

  @Test("a compared read without quorum is repeated ordered")
  func repeatsOrdered() async throws {
    let script: StubReplica.Script = { stub, request in
      stub.answer(request, request.header.kind == 1 ? [UInt8(stub.id)] : [9])
    }
    try await Stage.with(script: script) { stage in
      try await stage.withProxy(adjust: { $0.readOnlyRequests = true }) { proxy in
        let value = try await proxy.invoke([1], kind: .unordered, comparing: ==, extracting: { $0.last! })
        #expect(value == [9])
      }
    }
  }
}

@Suite("Many invocations and many clients")
struct AsynchronousInvocationTests {
  /// Collects results; belongs to the proxy's loop.
  private final class Results: @unchecked Sendable {
    let watch: Watch
    var values: [Result<[UInt8], InvocationError>] = []
    init(_ loop: any EventLoop) { watch = Watch(loop: loop) }
  }

  @Test("invocations without waiting end with the quorum's content, each once, and a limit is told")
  func withoutWaiting() async throws {
    try await Stage.with(script: Scripts.echo) { stage in
      try await stage.withProxy(adjust: { $0.outstanding = 8 }) { proxy in
        let results = Results(stage.loop)
        // In one turn of the loop, so that no answer comes between them.
        try await stage.loop.submit {
          for number in UInt8(0)..<9 {
            proxy.invokeAsynchronously([number]) {
              results.values.append($0)
              results.watch.changed()
            }
          }
        }.get()
        try await results.watch.until("nine results") { results.values.count == 9 }
        let values = try await stage.loop.submit { results.values }.get()
        let contents = values.compactMap { try? $0.get() }.sorted { $0[0] < $1[0] }
        #expect(contents == (UInt8(0)..<8).map { [$0] })
        #expect(values.contains(.failure(.tooManyOutstanding(limit: 8))))
        // A session that no replica has answered yet sends one request only; the order is that of the calls.
        let seen = try await stage.stubs[0].untilSeen(8)
        #expect(seen.map(\.header.sequence) == Array(0..<8))
        #expect(seen.map { $0.content! } == (UInt8(0)..<8).map { [$0] })
      }
    }
  }

  @Test("a session sends one request until it is answered, and then as many as it may")
  func opens() async throws {
    try await Stage.with { stage in
      try await stage.withProxy(adjust: { $0.outstanding = 4 }) { proxy in
        let values = (UInt8(0)..<4).map { number in Task { try await proxy.invokeOrdered([number]) } }
        let first = try await stage.stubs[0].untilSeen(1)
        // A question of another kind has gone through the same loop: nothing else was on its way.
        #expect(try await proxy.isReady() && first.count == 1)
        for stub in stage.stubs[0..<2] { try await stub.reply(to: 0, first[0].content) }
        let rest = try await stage.stubs[0].untilSeen(4)
        for index in 1..<4 {
          for stub in stage.stubs[0..<2] { try await stub.reply(to: index, rest[index].content) }
        }
        for (number, value) in values.enumerated() { #expect(try await value.value == [UInt8(number)]) }
      }
    }
  }

  @Test("several clients share a loop, each with its own id and session", arguments: Transport.allCases)
  func severalClients(transport: Transport) async throws {
    try await Stage.with(transport: transport, script: Scripts.echo) { stage in
      var proxies: [ServiceProxy] = []
      for client in Int32(600)..<605 {
        var configuration = stage.configuration
        configuration.firstClientID = client
        nonisolated(unsafe) let signer = try Stage.signer()
        let proxy = ServiceProxy(
          configuration: configuration, signer: signer, loop: stage.loop, timeoutNanoseconds: 120_000_000_000)
        try await proxy.connect(forAll: true)
        proxies.append(proxy)
      }
      for (index, proxy) in proxies.enumerated() {
        #expect(try await proxy.invokeOrdered([UInt8(index)]) == [UInt8(index)])
        #expect(try await proxy.isReady())
      }
      let seen = try await stage.stubs[3].untilSeen(5)
      #expect(Set(seen.map(\.header.sender)) == Set(600..<605))
      #expect(Set(seen.map(\.header.session)).count == 5 && seen.allSatisfy { $0.header.sequence == 0 })
      for proxy in proxies { await proxy.close() }
    }
  }
}

@Suite("The primary first")
struct PrimaryFirstTests {
  @Test("a session's first request goes to all, the next to one replica, and to all when that does not do")
  func spreads() async throws {
    let script: StubReplica.Script = { stub, request in stub.answer(request, request.content) }
    try await Stage.with(script: script) { stage in
      try await stage.withProxy(
        adjust: { $0.sendTargets = .primaryFirst(delayNanoseconds: 2_000_000) }
      ) { proxy in
        #expect(try await proxy.invokeOrdered([0]) == [0])
        for stub in stage.stubs { try await stub.untilSeen(1) }
        #expect(try await proxy.counters().spreadRequests == 0)
        // One answer is no quorum: the others get it after the delay.
        #expect(try await proxy.invokeOrdered([1]) == [1])
        for stub in stage.stubs { try await stub.untilSeen(2) }
        #expect(try await stage.stubs[0].untilSeen(2)[1].frame == stage.stubs[3].untilSeen(2)[1].frame)
        #expect(try await proxy.counters().spreadRequests == 1)
      }
    }
  }
}

@Suite("Reply quorums")
struct ReplyQuorumFormulaTests {
  @Test(
    "f+1, or a quorum where unordered requests are served; crash-only 1, or a majority",
    arguments: [
      (4, 1, FaultModel.byzantine, false, ClientDialect.master, 2),
      (4, 1, .byzantine, true, .master, 3), (7, 2, .byzantine, false, .master, 3),
      (7, 2, .byzantine, true, .master, 5), (6, 1, .byzantine, true, .master, 4),
      (4, 1, .byzantine, false, .v12, 3), (7, 2, .byzantine, false, .v12, 5),
      (3, 1, .crash, false, .master, 1), (3, 1, .crash, true, .master, 2), (5, 2, .crash, true, .master, 3),
      (5, 2, .crash, false, .v12, 3),
    ] as [(Int, Int, FaultModel, Bool, ClientDialect, Int)])
  func formula(
    replicas: Int, faults: Int, model: FaultModel, readOnly: Bool, dialect: ClientDialect, quorum: Int
  ) {
    var configuration = SessionConfiguration(
      replicas: [], quorums: Quorums(replicas: replicas, faults: faults, model: model)!)
    configuration.readOnlyRequests = readOnly
    configuration.dialect = dialect
    #expect(configuration.replyQuorum == quorum)
  }
}

@Suite("Clients of v1.2")
struct Dialect12ClientTests {
  @Test(
    "requests and replies bear MACs, and three equal replies of four decide", arguments: Transport.allCases)
  func invokes(transport: Transport) async throws {
    try await Stage.with(transport: transport, dialect: .v12, useMACs: true, script: Scripts.echo) { stage in
      try await stage.withProxy { proxy in
        #expect(proxy.servesUnordered)
        #expect(try await proxy.invokeOrdered([5]) == [5])
        #expect(try await proxy.invokeUnordered([6]) == [6])
        for stub in stage.stubs { try await stub.untilSeen(2) }
        // The frames differ in nothing but their MACs.
        let first = try await stage.stubs[0].seen()[0].frame
        let second = try await stage.stubs[1].seen()[0].frame
        #expect(first[..<45] == second[..<45] && first != second)
      }
    }
  }

  @Test("a reply under the MAC of another replica is counted and decides nothing")
  func refusesWrongMACs() async throws {
    try await Stage.with(dialect: .v12, useMACs: true) { stage in
      try await stage.withProxy { proxy in
        let value = Task { try await proxy.invokeOrdered([5]) }
        let liar = stage.stubs[3]
        let request = try await liar.untilSeen(1)[0]
        try await liar.loop.submit { liar.answer(request, [13], sealedAs: 2) }.get()
        try await eventually("it is counted", on: stage.loop) {
          try await proxy.counters().badReplyTags == 1
        }
        for stub in stage.stubs[0..<3] { try await stub.reply(to: 0, [5]) }
        #expect(try await value.value == [5])
      }
    }
  }
}
