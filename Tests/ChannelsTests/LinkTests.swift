// Links over memory, over sockets and over TLS keep the same promises: order, whole frames, one end.

import Channels
import Dispatch
import NIOCore
import PBFT
import TestSupport
import Testing
import Wire

/// The ways in which two ends are joined.
enum Way: String, CaseIterable, Sendable {
  case memory, sockets, tls

  var transport: Transport { self == .memory ? .memory : .sockets }

  /// TLS for replica `id` of a cluster of two.
  func security(of id: Int32) throws -> LinkTLS? {
    guard self == .tls else { return nil }
    let credentials = LinkAuthority.publiclyKnown(cluster: Self.cluster).issue(for: ReplicaID(rawValue: id))
    return try LinkTLS(credentials: credentials, cluster: Self.cluster)
  }

  static let cluster = ClusterID.random()
}

/// Two ends of one connection, each on a loop of its own.
private struct Connection {
  let near: PlainLink
  let far: PlainLink
  let listener: Listener

  /// `taking` is the rule of the far end.
  static func open(
    _ way: Way, _ loops: [any EventLoop], taking: @escaping PlainLink.Taking = { $1.count }
  ) async throws -> Connection {
    let far = PlainLink(loop: loops[1], taking: taking)
    let place = way.transport.place()
    let listener = try await Listener.open(
      place, boss: loops[1], worker: loops[1], security: try way.security(of: 0)
    ) { link in
      far.adopt(link)
      return far
    }.get()
    let near = try await PlainLink.connect(
      to: place.reached(at: listener.port), on: loops[0], security: try way.security(of: 1))
    try await far.watch.until("the connection is accepted") { far.link != nil }
    return Connection(near: near, far: far, listener: listener)
  }

  func close() async {
    listener.close()
    await near.close()
    await far.close()
  }

  /// Runs `body` over a connection of that kind.
  static func over(
    _ way: Way, taking: @escaping PlainLink.Taking = { $1.count },
    _ body: (Connection) async throws -> Void
  ) async throws {
    try await withLoops(2) { loops in
      let connection = try await open(way, loops, taking: taking)
      do {
        try await body(connection)
        await connection.close()
      } catch {
        await connection.close()
        throw error
      }
    }
  }
}

/// Holds a link no longer than others do.
private final class LinkWatch: LinkOwner, @unchecked Sendable {
  weak var link: Link?

  func link(_ link: Link, received bytes: UnsafeRawBufferPointer) -> Int { bytes.count }
  func linkClosed(_ link: Link, _ closure: LinkClosure) {}
}

@Suite("Links, over memory, sockets and TLS")
struct LinkTests {
  @Test("an end in memory that is closed goes, though the other end's loop is busy or gone")
  func memoryEndGoes() async throws {
    try await withLoops(2) { loops in
      let place = Transport.memory.place()
      let far = PlainLink(loop: loops[1])
      let listener = try await Listener.open(place, boss: loops[1], worker: loops[1]) { link in
        far.adopt(link)
        return far
      }.get()
      let near = LinkWatch()
      try await place.connect(on: loops[0], owner: near).map { near.link = $0 }.get()
      try await far.watch.until("the connection is accepted") { far.link != nil }
      try await far.send([1])
      let held = DispatchSemaphore(value: 0)
      loops[1].execute { held.wait() }
      defer { held.signal() }
      try await loops[0].submit { near.link?.close() }.get()
      try await eventually("nothing holds the closed end", on: loops[0]) { near.link == nil }
      listener.close()
    }
  }

  @Test("what is appended in a turn leaves in one flush and arrives in order", arguments: Way.allCases)
  func arrivesInOrder(way: Way) async throws {
    try await Connection.over(way) { connection in
      let sent = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
      for begin in stride(from: 0, to: sent.count, by: 20_000) {
        try await connection.near.on { end in
          for piece in stride(from: begin, to: begin + 20_000, by: 100) {
            sent[piece..<piece + 100].withUnsafeBytes { end.link.append($0) }
          }
          end.link.flush()
          // Nothing is left, so nothing leaves.
          end.link.flush()
        }
      }
      #expect(try await connection.far.untilTaken(sent.count) == sent)
      let flushes = try await connection.near.on { $0.link.flushes }
      let counted = try await connection.near.on { $0.link.sentBytes }
      let received = try await connection.far.on { $0.link.receivedBytes }
      #expect(flushes == 5 && counted == 100_000 && received == 100_000)
    }
  }

  @Test(
    "an IPv6 address is listened at and reached, and is in brackets before its port",
    .enabled(if: IPv6Loopback.isThere))
  func inet6() async throws {
    try await withLoops(1) { loops in
      let far = PlainLink(loop: loops[0])
      let listener = try await Listener.open(
        .socket(host: "::1", port: 0), boss: loops[0], worker: loops[0]
      ) { link in
        far.adopt(link)
        return far
      }.get()
      let place = Endpoint.socket(host: "::1", port: try #require(listener.port))
      #expect("\(place)" == "[::1]:\(listener.port!)")
      let near = try await PlainLink.connect(to: place, on: loops[0])
      try await near.send([1, 2, 3])
      #expect(try await far.untilTaken(3) == [1, 2, 3])
      listener.close()
      await near.close()
      #expect(try await far.untilClosed() == .peer)
    }
  }

  @Test("both directions are streams of their own", arguments: Way.allCases)
  func answersComeBack(way: Way) async throws {
    try await Connection.over(way) { connection in
      try await connection.near.send([1, 2, 3])
      #expect(try await connection.far.untilTaken(3) == [1, 2, 3])
      try await connection.far.send([4, 5])
      #expect(try await connection.near.untilTaken(2) == [4, 5])
    }
  }

  @Test("a part of a frame is presented again, with more behind it", arguments: Way.allCases)
  func presentsPartsAgain(way: Way) async throws {
    // Frames of ten bytes, whole ones only.
    try await Connection.over(way, taking: { $1.count - $1.count % 10 }) { connection in
      let sent = (0..<23).map { UInt8($0) }
      try await connection.near.send(Array(sent[..<7]))
      try await connection.far.watch.until("the part is presented") { connection.far.presented.count == 1 }
      try await connection.near.send(Array(sent[7..<9]))
      try await connection.far.watch.until("the part is presented again") {
        connection.far.presented.count == 2
      }
      try await connection.near.send(Array(sent[9...]))
      #expect(try await connection.far.untilTaken(20) == Array(sent[..<20]))
      let presented = try await connection.far.on { $0.presented }
      #expect(presented[0] == Array(sent[..<7]))
      #expect(presented[1] == Array(sent[..<9]))
      #expect(presented[2].starts(with: sent[..<10]))
    }
  }

  @Test("skipped bytes are dropped as they come, and never presented", arguments: Way.allCases)
  func skips(way: Way) async throws {
    let skipped = 300_000
    // The four bytes of a header announce what is to be skipped, the header included.
    let taking: PlainLink.Taking = { link, bytes in
      guard bytes.starts(with: [0xde, 0xad, 0xbe, 0xef]) else { return bytes.count }
      link.skip(skipped)
      return 0
    }
    try await Connection.over(way, taking: taking) { connection in
      try await connection.near.send([0xde, 0xad, 0xbe, 0xef])
      try await connection.far.watch.until("the header is presented") { connection.far.presented.count == 1 }
      for _ in 0..<3 { try await connection.near.send(Array(repeating: 0, count: 99_000)) }
      try await connection.near.send(Array(repeating: 0, count: skipped - 297_004) + [1, 2, 3])
      #expect(try await connection.far.untilTaken(3) == [1, 2, 3])
      let presented = try await connection.far.on { $0.presented.dropFirst().flatMap { $0 } }
      #expect(presented == [1, 2, 3])
    }
  }

  @Test("bytes behind a skipped frame in the same burst are presented", arguments: Way.allCases)
  func skipsWithinABurst(way: Way) async throws {
    let taking: PlainLink.Taking = { link, bytes in
      guard bytes[0] == 9 else { return bytes.count }
      link.skip(5)
      return 0
    }
    try await Connection.over(way, taking: taking) { connection in
      try await connection.near.send([9, 0, 0, 0, 0, 1, 2])
      #expect(try await connection.far.untilTaken(2) == [1, 2])
    }
  }

  @Test("closing tells each end once, after what was sent before", arguments: Way.allCases)
  func closesOnce(way: Way) async throws {
    try await Connection.over(way) { connection in
      try await connection.near.on { end in
        [UInt8]([1, 2, 3]).withUnsafeBytes { end.link.append($0) }
        end.link.flush()
        end.link.close()
        end.link.close(.overflow)
      }
      #expect(try await connection.near.untilClosed() == .local)
      #expect(try await connection.far.untilClosed() == .peer)
      let arrived = try await connection.far.on { $0.taken }
      #expect(arrived == [1, 2, 3])
      // Closing what is closed, from either end, is nothing, and sending on it goes nowhere.
      try await connection.far.on { $0.link.close() }
      try await connection.near.send([4])
      try await connection.far.on { _ in }
      try await connection.near.on { _ in }
      let nearEnds = try await connection.near.on { $0.closures }
      #expect(nearEnds == [.local])
      let farEnds = try await connection.far.on { $0.closures }
      #expect(farEnds == [.peer])
      let arrivedInAll = try await connection.far.on { $0.taken }
      #expect(arrivedInAll == [1, 2, 3])
    }
  }

  @Test("a link closed inside its own burst is presented no more", arguments: Way.allCases)
  func closesWithinABurst(way: Way) async throws {
    let taking: PlainLink.Taking = { link, bytes in
      link.close(.malformed("not a frame"))
      return 1
    }
    try await Connection.over(way, taking: taking) { connection in
      try await connection.near.send([1, 2, 3])
      #expect(try await connection.far.untilClosed() == .malformed("not a frame"))
      #expect(try await connection.near.untilClosed() == .peer)
      let presented = try await connection.far.on { $0.presented }
      #expect(presented == [[1, 2, 3]])
    }
  }

  @Test("a peer that does not read costs at most the limit of the queue", arguments: Way.allCases)
  func overflowCloses(way: Way) async throws {
    try await Connection.over(way) { connection in
      // The far end's loop does nothing while this is held.
      let held = DispatchSemaphore(value: 0)
      connection.far.loop.execute { held.wait() }
      defer { held.signal() }
      try await connection.near.on { $0.link.queueLimitBytes = 2 << 20 }
      let megabyte = [UInt8](repeating: 5, count: 1 << 20)
      var sent = 0
      while try await connection.near.on({ $0.closures.isEmpty }) {
        // The kernel holds a few megabytes of its own.
        try #require(sent < 256)
        try await connection.near.send(megabyte)
        sent += 1
      }
      #expect(try await connection.near.untilClosed() == .overflow)
      #expect(sent >= 2)
    }
  }

  @Test("nobody at an endpoint is an error, not a link", arguments: Transport.allCases)
  func refuses(transport: Transport) async throws {
    try await withLoops(1) { loops in
      // A port that was free a moment ago.
      let place = transport.place()
      let listener = try await Listener.open(place, boss: loops[0], worker: loops[0]) { _ in
        PlainLink(loop: loops[0])
      }.get()
      listener.close()
      try await loops[0].submit {}.get()
      await #expect(throws: (any Error).self) {
        _ = try await PlainLink.connect(to: place.reached(at: listener.port), on: loops[0])
      }
    }
  }
}
