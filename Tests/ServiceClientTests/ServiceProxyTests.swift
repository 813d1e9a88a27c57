// The service proxy against replicas that answer as the test says: which replies decide, which errors are told, and
// what goes out.

import NIOCore
import PBFT
import ServiceClient
import TestSupport
import Testing
import Wire

@Suite("Service proxy: the reply quorum")
struct ReplyQuorumTests {
  @Test("f+1 equal replies decide, over memory and sockets", arguments: Transport.allCases)
  func weakQuorumDecides(transport: Transport) async throws {
    try await Stage.with(transport: transport) { stage in
      try await stage.withProxy { proxy in
        let value = Task { try await proxy.invokeOrdered([1]) }
        try await stage.stubs[2].reply(to: 0, [42])
        // Once its second, stale copy is counted, the first has been looked at; one reply decides nothing.
        try await stage.stubs[2].reply(to: 0, [42])
        try await eventually("the copy is counted", on: stage.loop) {
          try await proxy.counters().staleReplies == 1
        }
        try await stage.stubs[0].reply(to: 0, [42])
        #expect(try await value.value == [42])
      }
    }
  }

  @Test("a wrong value of one replica is masked, whether it comes first or between", arguments: [0, 1])
  func masksOneWrongValue(position: Int) async throws {
    try await Stage.with { stage in
      try await stage.withProxy { proxy in
        let value = Task { try await proxy.invokeOrdered([1]) }
        for turn in 0..<3 { try await stage.stubs[turn].reply(to: 0, turn == position ? [13] : [42]) }
        #expect(try await value.value == [42])
        #expect(try await proxy.counters().divergentReplies >= 1)
      }
    }
  }

  @Test("long values are compared as a whole")
  func comparesLongValues() async throws {
    try await Stage.with { stage in
      try await stage.withProxy { proxy in
        let right = [UInt8](repeating: 7, count: 100_000)
        let wrong = Array(right.dropLast()) + [8]
        let value = Task { try await proxy.invokeOrdered([1]) }
        try await stage.stubs[0].reply(to: 0, wrong)
        try await stage.stubs[1].reply(to: 0, right)
        try await stage.stubs[2].reply(to: 0, right)
        #expect(try await value.value == right)
      }
    }
  }

  @Test("null content, empty content and zero bytes are three different values")
  func tellsEmptinessApart() async throws {
    try await Stage.with { stage in
      try await stage.withProxy { proxy in
        let value = Task { try await proxy.invokeOrdered([1]) }
        try await stage.stubs[0].reply(to: 0, nil)
        try await stage.stubs[1].reply(to: 0, [0])
        try await stage.stubs[2].reply(to: 0, [])
        try await stage.stubs[3].reply(to: 0, [])
        #expect(try await value.value == [])
        #expect(try await proxy.counters().divergentReplies == 3)
      }
    }
  }

  @Test("a replica that answers under the ids of others counts once")
  func countsConnections() async throws {
    try await Stage.with { stage in
      try await stage.withProxy { proxy in
        let value = Task { try await proxy.invokeOrdered([1]) }
        for sender in Int32(0)..<4 { try await stage.stubs[3].reply(to: 0, [13], sender: sender) }
        try await eventually("all four are looked at", on: stage.loop) {
          try await proxy.counters().staleReplies == 3
        }
        try await stage.stubs[0].reply(to: 0, [42])
        try await stage.stubs[1].reply(to: 0, [42])
        #expect(try await value.value == [42])
      }
    }
  }

  @Test("when all replicas have answered differently the invocation has diverged")
  func diverges() async throws {
    try await Stage.with(script: Scripts.disagree) { stage in
      try await stage.withProxy { proxy in
        await #expect(throws: InvocationError.diverged) { try await proxy.invokeOrdered([1]) }
      }
    }
  }

  @Test("in hmac mode a reply without the replica's tag is counted and decides nothing")
  func refusesUntaggedReplies() async throws {
    try await Stage.with(script: Scripts.echo) { stage in
      try await stage.withProxy(mode: .hmac, timeoutSeconds: 0.2) { proxy in
        await #expect(throws: InvocationError.timedOut(afterSeconds: 0.2)) {
          try await proxy.invokeOrdered([1])
        }
        let counters = try await proxy.counters()
        #expect(counters.badReplyTags == 4)
      }
    }
  }

  @Test("a reply sent again after the replicas have moved is an answer like any other, and counted")
  func takesRepliesOfNewerMembership() async throws {
    try await Stage.with { stage in
      try await stage.withProxy { proxy in
        let value = Task { try await proxy.invokeOrdered([1]) }
        try await stage.stubs[0].reply(to: 0, [42], membershipID: 1)
        try await eventually("it is counted", on: stage.loop) {
          try await proxy.counters().newerMembership == 1
        }
        try await stage.stubs[1].reply(to: 0, [42])
        #expect(try await value.value == [42])
        #expect(try await proxy.membership().id == 0)
      }
    }
  }

  @Test("bytes that are no frame close that replica's connection, and the others decide")
  func survivesGarbage() async throws {
    try await Stage.with { stage in
      try await stage.withProxy { proxy in
        let value = Task { try await proxy.invokeOrdered([1]) }
        try await stage.stubs[0].untilSeen(1)
        let stub = stage.stubs[0]
        try await stub.loop.submit {
          stub.send([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], after: stub.requests[0])
        }.get()
        try await eventually("the connection is closed", on: stage.loop) {
          let counters = try await proxy.counters()
          return counters.malformedFrames == 1 && counters.lostLinks == 1
        }
        try await stage.stubs[1].reply(to: 0, [42])
        try await stage.stubs[2].reply(to: 0, [42])
        #expect(try await value.value == [42])
      }
    }
  }
}

@Suite("Service proxy: what it sends")
struct ProxyRequestTests {
  @Test("operation ids are a counter from 0, and ordered sequences too")
  func countsOperations() async throws {
    try await Stage.with(script: Scripts.echo) { stage in
      try await stage.withProxy { proxy in
        for number in 0..<70 { #expect(try await proxy.invokeOrdered([UInt8(number)]) == [UInt8(number)]) }
        let seen = try await stage.stubs[1].untilSeen(70)
        #expect(seen.map(\.header.operationID) == Array(0..<70))
        #expect(seen.map(\.header.sequence) == Array(0..<70))
        #expect(Set(seen.map(\.header.session)).count == 1)
        #expect(
          seen.allSatisfy { $0.header.sender == 10_000 && $0.header.kind == 0 && $0.header.replyServer == -1 }
        )
      }
    }
  }

  @Test("ordered and unordered requests have sequences of their own")
  func separatesSequences() async throws {
    try await Stage.with(script: Scripts.echo) { stage in
      try await stage.withProxy(adjust: { $0.readOnlyRequests = true }) { proxy in
        #expect(proxy.servesUnordered)
        for _ in 0..<2 {
          _ = try await proxy.invokeOrdered([1])
          _ = try await proxy.invokeUnordered([2])
        }
        let seen = try await stage.stubs[0].untilSeen(4)
        #expect(seen.map(\.header.kind) == [0, 1, 0, 1])
        #expect(seen.map(\.header.sequence) == [0, 0, 1, 1])
        #expect(seen.map(\.header.operationID) == [0, 1, 2, 3])
        #expect(try await proxy.counters().unorderedSentOrdered == 0)
      }
    }
  }

  @Test("without read-only requests an unordered one is sent ordered at once, and counted")
  func sendsUnorderedOrdered() async throws {
    try await Stage.with(script: Scripts.echo) { stage in
      try await stage.withProxy { proxy in
        #expect(!proxy.servesUnordered)
        _ = try await proxy.invokeOrdered([1])
        #expect(try await proxy.invokeUnordered([2]) == [2])
        let seen = try await stage.stubs[0].untilSeen(2)
        #expect(seen.map(\.header.kind) == [0, 0])
        #expect(seen.map(\.header.sequence) == [0, 1])
        #expect(try await proxy.counters().unorderedSentOrdered == 1)
      }
    }
  }

  @Test(
    "with read-only requests a quorum must agree, and a read without one is repeated as an ordered request")
  func repeatsReadsOrdered() async throws {
    let script: StubReplica.Script = { stub, request in
      if request.header.kind == 1 {
        stub.answer(request, [stub.id < 2 ? 1 : 2])
      } else {
        stub.answer(request, [9])
      }
    }
    try await Stage.with(script: script) { stage in
      try await stage.withProxy(adjust: { $0.readOnlyRequests = true }) { proxy in
        let value = try await proxy.invokeUnordered([0])
        let seen = try await stage.stubs[0].untilSeen(2)
        #expect(value == [9] && seen.map(\.header.kind) == [1, 0])
      }
    }
  }

  @Test("a resend repeats the first bytes, signature included")
  func resendsTheSameBytes() async throws {
    try await Stage.with { stage in
      // An ECDSA signature is another one each time it is made.
      try await stage.withProxy(mode: .sign(.ecdsaP256), adjust: { $0.resendNanoseconds = 5_000_000 }) {
        proxy in
        let value = Task { try await proxy.invokeOrdered([1, 2, 3]) }
        let seen = try await stage.stubs[0].untilSeen(3)
        #expect(Set(seen.map(\.frame)).count == 1)
        #expect(seen[0].frame.count > ClientFrame.byteCount(content: 3, signature: 0))
        try await stage.stubs[0].reply(to: 1, [5])
        try await stage.stubs[1].reply(to: 0, [5])
        #expect(try await value.value == [5])
        #expect(try await proxy.counters().retransmits >= 2)
      }
    }
  }

  @Test("a connection that comes back brings what is pending again", arguments: Transport.allCases)
  func resendsOnReconnecting(transport: Transport) async throws {
    try await Stage.with(transport: transport) { stage in
      try await stage.withProxy { proxy in
        let value = Task { try await proxy.invokeOrdered([1, 2, 3]) }
        for stub in stage.stubs {
          try await stub.untilSeen(1)
          try await stub.loop.submit { stub.hangUp() }.get()
        }
        // All before the first answer: two of them decide, and what is decided is not sent again.
        for stub in stage.stubs {
          let seen = try await stub.untilSeen(2)
          #expect(seen[0].frame == seen[1].frame && seen[1].connection == 1)
        }
        for stub in stage.stubs { try await stub.reply(to: 1, [5]) }
        #expect(try await value.value == [5])
        #expect(try await proxy.counters().lostLinks == 4)
      }
    }
  }
}

@Suite("Service proxy: what it tells")
struct ProxyErrorTests {
  @Test("no reply quorum in time is a typed error, and the session goes on under a fresh value")
  func timesOut() async throws {
    let script: StubReplica.Script = { stub, request in
      if request.content != [1] { stub.answer(request, request.content) }
    }
    try await Stage.with(script: script) { stage in
      try await stage.withProxy(timeoutSeconds: 0.25) { proxy in
        #expect(try await proxy.invokeOrdered([0]) == [0])
        await #expect(throws: InvocationError.timedOut(afterSeconds: 0.25)) {
          try await proxy.invokeOrdered([1])
        }
        #expect(try await proxy.invokeOrdered([2]) == [2])
        #expect(try await proxy.invokeOrdered([3]) == [3])
        let seen = try await stage.stubs[0].untilSeen(4)
        let sessions = seen.map(\.header.session)
        #expect(sessions[0] == sessions[1] && sessions[1] != sessions[2] && sessions[2] == sessions[3])
        #expect(seen.map(\.header.sequence) == [0, 1, 0, 1])
        #expect(seen.map(\.header.operationID) == [0, 1, 2, 3])
        // The answer to the one given up comes too late to mean anything.
        try await stage.stubs[0].reply(to: 1, [1])
        try await stage.stubs[1].reply(to: 1, [1])
        try await eventually("the late answers are counted", on: stage.loop) {
          try await proxy.counters().staleReplies >= 2
        }
        #expect(try await proxy.invokeOrdered([4]) == [4])
      }
    }
  }

  @Test("more invocations at a time than the session may have are refused, and the others go on")
  func refusesTooMany() async throws {
    try await Stage.with { stage in
      try await stage.withProxy(adjust: { $0.outstanding = 2 }) { proxy in
        // A session opens with its first answer.
        let opening = Task { try await proxy.invokeOrdered([0]) }
        for stub in stage.stubs[0..<2] { try await stub.reply(to: 0, [0]) }
        #expect(try await opening.value == [0])
        let first = Task { try await proxy.invokeOrdered([1]) }
        try await stage.stubs[0].untilSeen(2)
        let second = Task { try await proxy.invokeOrdered([2]) }
        try await stage.stubs[0].untilSeen(3)
        await #expect(throws: InvocationError.tooManyOutstanding(limit: 2)) {
          try await proxy.invokeOrdered([3])
        }
        // Answered out of order: each finds its own.
        for index in [2, 1] {
          for stub in stage.stubs[0..<2] { try await stub.reply(to: index, [UInt8(10 + index)]) }
        }
        #expect(try await first.value == [11])
        #expect(try await second.value == [12])
      }
    }
  }

  @Test("closing ends what is in flight and refuses what comes after")
  func closes() async throws {
    try await Stage.with { stage in
      try await stage.withProxy { proxy in
        let value = Task { try await proxy.invokeOrdered([1]) }
        try await stage.stubs[0].untilSeen(1)
        await proxy.close()
        await #expect(throws: InvocationError.closed) { try await value.value }
        await #expect(throws: InvocationError.closed) { try await proxy.invokeOrdered([2]) }
        await proxy.close()
      }
    }
  }

  @Test("too few replicas to connect to is an error that names them", arguments: Transport.allCases)
  func cannotConnect(transport: Transport) async throws {
    try await Stage.with(transport: transport) { stage in
      for stub in stage.stubs.dropFirst() { await stub.stop() }
      nonisolated(unsafe) let signer = try Stage.signer()
      let proxy = ServiceProxy(
        configuration: stage.configuration, signer: signer, loop: stage.loop,
        timeoutNanoseconds: 1_000_000_000)
      let error = await #expect(throws: InvocationError.self) {
        try await proxy.connect(timeout: .milliseconds(300))
      }
      guard case .notConnected(let problems) = error else {
        Issue.record("\(String(describing: error))")
        return await proxy.close()
      }
      #expect(problems.count == 3)
      await proxy.close()
    }
  }

  @Test("one replica that cannot be reached does not keep the others from deciding")
  func connectsWithoutOne() async throws {
    try await Stage.with(script: Scripts.echo) { stage in
      await stage.stubs[3].stop()
      nonisolated(unsafe) let signer = try Stage.signer()
      let proxy = ServiceProxy(
        configuration: stage.configuration, signer: signer, loop: stage.loop,
        timeoutNanoseconds: 120_000_000_000)
      try await proxy.connect()
      #expect(try await proxy.invokeOrdered([6]) == [6])
      await proxy.close()
    }
  }
}
