// Sessions for load: dealt over connections, each with its own identity, their outcomes as completions.

import Channels
import NIOCore
import ServiceClient
import TestSupport
import Testing

/// Keeps what the sessions tell. Belongs to their loop.
private final class Ledger: SessionsObserver, @unchecked Sendable {
  struct Entry: Sendable {
    var outcome: Outcome
    var session: Int32
    var sequence: Int32
    var context: UInt64
    var content: [UInt8]
    var isUnordered: Bool
    var isLater: Bool
  }

  let watch: Watch
  var entries: [Entry] = []

  init(loop: any EventLoop) { watch = Watch(loop: loop) }

  func sessionsHaveCompletions(_ sessions: ClientSessions) {
    for completion in sessions.completions {
      entries.append(
        Entry(
          outcome: completion.outcome, session: completion.session, sequence: completion.sequence,
          context: completion.context, content: Array(sessions.content(of: completion)),
          isUnordered: completion.isUnordered, isLater: completion.completed >= completion.sent))
    }
    watch.changed()
  }

  func until(_ count: Int) async throws -> [Entry] {
    try await watch.until("\(count) outcomes") { [self] in entries.count >= count }
    return try await watch.loop.submit { [self] in entries }.get()
  }
}

@Suite("Client sessions")
struct ClientSessionsTests {
  /// Runs `body` with connected sessions before echoing stubs.
  private func withSessions(
    _ stage: Stage, _ adjust: (inout SessionConfiguration) -> Void,
    _ body: (ClientSessions, Ledger) async throws -> Void
  ) async throws {
    var configuration = stage.configuration
    adjust(&configuration)
    nonisolated(unsafe) let signer = try Stage.signer(.sign(.ecdsaP256))
    let sessions = ClientSessions(configuration: configuration, signer: signer, loop: stage.loop)
    let ledger = Ledger(loop: stage.loop)
    do {
      try await stage.loop.flatSubmit {
        sessions.observer = ledger
        return sessions.connect()
      }.get()
      try await body(sessions, ledger)
    } catch {
      try? await stage.loop.submit { sessions.close() }.get()
      throw error
    }
    try await stage.loop.submit { sessions.close() }.get()
  }

  /// Submits one request on the loop.
  private func submit(
    _ sessions: ClientSessions, _ session: Int, _ content: [UInt8], context: UInt64 = 0,
    deadline: Int64 = .max, kind: InvocationKind = .ordered
  ) async throws {
    try await sessions.loop.submit {
      _ = content.withUnsafeBytes {
        sessions.submit(
          session: session, content: $0, intended: monotonicNanoseconds(), deadline: deadline,
          context: context,
          kind: kind)
      }
    }.get()
  }

  @Test("sessions are dealt over the connections, each with its own client id and session value")
  func dealsSessions() async throws {
    try await Stage.with(script: Scripts.echo) { stage in
      try await withSessions(
        stage,
        {
          $0.sessions = 6
          $0.connections = 3
          $0.firstClientID = 500
        }
      ) { sessions, ledger in
        for session in 0..<6 {
          try await submit(sessions, session, [UInt8(session)], context: UInt64(session))
        }
        let entries = try await ledger.until(6)
        #expect(entries.allSatisfy { $0.outcome == .answered && $0.isLater })
        #expect(entries.allSatisfy { $0.content == [UInt8($0.session)] && $0.context == UInt64($0.session) })
        let seen = try await stage.stubs[2].untilSeen(6)
        #expect(Set(seen.map(\.header.sender)) == Set(500..<506))
        #expect(Set(seen.map(\.header.session)).count == 6)
        for connection in 0..<3 {
          let clients = seen.filter { $0.connection == connection }.map { Int($0.header.sender - 500) % 3 }
          #expect(clients.count == 2 && Set(clients).count == 1)
        }
        let inFlight = try await stage.loop.submit { sessions.inFlight }.get()
        #expect(inFlight == 0)
      }
    }
  }

  @Test("a request that is given up is unknown, and only its own session takes a fresh value")
  func givesUp() async throws {
    let script: StubReplica.Script = { stub, request in
      if request.content != [0] { stub.answer(request, request.content) }
    }
    try await Stage.with(script: script) { stage in
      try await withSessions(stage, { $0.sessions = 2 }) { sessions, ledger in
        try await submit(sessions, 0, [0], context: 7, deadline: monotonicNanoseconds() + 1_000_000)
        try await submit(sessions, 1, [1])
        try await stage.stubs[0].untilSeen(2)
        let entries = try await ledger.until(1)
        #expect(entries[0].session == 1 && entries[0].outcome == .answered)
        // Time passes: a minute at once.
        try await stage.loop.submit { sessions.advance(to: monotonicNanoseconds() + 60_000_000_000) }.get()
        let lost = try await ledger.until(2)[1]
        #expect(lost.outcome == .unknown && lost.session == 0 && lost.context == 7 && lost.content.isEmpty)
        try await submit(sessions, 0, [2])
        try await submit(sessions, 1, [3])
        #expect(try await ledger.until(4).count == 4)
        let seen = try await stage.stubs[0].untilSeen(4)
        func values(_ client: Int32) -> [Int32] {
          seen.filter { $0.header.sender == client }.map(\.header.session)
        }
        #expect(Set(values(10_000)).count == 2 && Set(values(10_001)).count == 1)
      }
    }
  }

  @Test("requests signed ahead are those that submitting would have made, and the rest is signed late")
  func signsAhead() async throws {
    try await Stage.with(script: Scripts.echo) { stage in
      try await withSessions(stage, { $0.sessions = 2 }) { sessions, ledger in
        let content: [UInt8] = [1, 2, 3]
        _ = try await stage.loop.submit {
          content.withUnsafeBytes { sessions.signAhead(requests: 2, content: $0) }
        }.get()
        for round in 0..<3 {
          for session in 0..<2 { try await submit(sessions, session, content) }
          let entries = try await ledger.until(2 * (round + 1))
          #expect(entries.allSatisfy { $0.outcome == .answered && $0.content == content })
        }
        let seen = try await stage.stubs[0].untilSeen(6)
        for client in [10_000, 10_001] as [Int32] {
          #expect(seen.filter { $0.header.sender == client }.map(\.header.sequence) == [0, 1, 2])
        }
        #expect(Set(seen.map(\.header.operationID)).count == 6)
        let signedLate = try await stage.loop.submit { sessions.counters.signedLate }.get()
        #expect(signedLate == 2)
      }
    }
  }
}
