// Clients that follow the replicas: which answers make them believe in a new membership, what happens to their connections,
// and what to requests under way.

import Channels
import NIOCore
import PBFT
import ServiceClient
import TestSupport
import Testing
import Wire

extension Stage {
  /// The View with these stubs' addresses.
  func view(_ id: Int32, of replicas: [Int], faults: Int32 = 1) throws -> SerializedView {
    let addresses = try replicas.map { replica in
      guard case .socket(let host, let port) = endpoints[replica] else { throw WireError.frameLength(0) }
      return try #require(
        SerializedView.Address(replica: ReplicaID(Int32(replica)), host: host, port: UInt16(port)))
    }
    return try #require(SerializedView(id: id, faults: faults, addresses: addresses))
  }
}

/// Stubs that were told of a new membership at some point.
private final class Reconfigurable: @unchecked Sendable {
  /// Belongs to the stubs' loop.
  var view: SerializedView?

  /// As a replica does: a request of an older membership is answered with the present one, any other with its content.
  var script: StubReplica.Script {
    { [self] stub, request in
      if let view, request.header.membershipID < view.id {
        stub.answer(request, view.encoded, membershipID: view.id)
      } else {
        stub.answer(request, request.content, membershipID: view?.id ?? 0)
      }
    }
  }
}

@Suite("Following the replicas to a new membership")
struct MembershipAdoptionTests {
  @Test("a replica joins, one leaves, f changes: the client follows, and its request is sent anew")
  func follows() async throws {
    let cluster = Reconfigurable()
    try await Stage.with(transport: .sockets, replicas: 8, script: cluster.script) { stage in
      try await stage.withProxy { proxy in
        #expect(try await proxy.invokeOrdered([1]) == [1])
        // Replica 0 leaves, 4 joins.
        let next = try stage.view(1, of: [1, 2, 3, 4])
        try await stage.stubs[0].loop.submit { cluster.view = next }.get()
        #expect(try await proxy.invokeOrdered([2]) == [2])
        var membership = try await proxy.membership()
        #expect(membership.id == 1 && membership.replicas.map(\.rawValue) == [1, 2, 3, 4])
        #expect(try await proxy.invokeOrdered([3]) == [3])
        try await eventually("the new replica is connected", on: stage.loop) {
          _ = try await proxy.invokeOrdered([4])
          return try await stage.stubs[4].seen().contains { $0.content == [4] }
        }
        // The one that has left hears nothing any more.
        let left = try await stage.stubs[0].seen()
        #expect(left.allSatisfy { $0.header.membershipID == 0 } && !left.contains { $0.content == [3] })
        let counters = try await proxy.counters()
        #expect(counters.membershipsAdopted == 1 && counters.reissuedRequests == 1)
        let seen = try await stage.stubs[1].seen().filter { $0.content == [2] }
        #expect(seen.map(\.header.membershipID) == [0, 1])
        // It was not executed, so it may come under another session; a new one is taken from its first sequence on.
        #expect(seen[0].header.session != seen[1].header.session && seen[1].header.sequence == 0)
        #expect(seen[0].header.operationID != seen[1].header.operationID)

        let larger = try stage.view(2, of: [1, 2, 3, 4, 5, 6, 7], faults: 2)
        try await stage.stubs[0].loop.submit { cluster.view = larger }.get()
        #expect(try await proxy.invokeOrdered([5]) == [5])
        membership = try await proxy.membership()
        #expect(membership.id == 2 && membership.faults == 2 && membership.replicas.count == 7)
      }
    }
  }

  @Test("one replica cannot make the client believe in a membership, however often it says so")
  func needsWeakQuorum() async throws {
    try await Stage.with(transport: .sockets, replicas: 8) { stage in
      try await stage.withProxy { proxy in
        let value = Task { try await proxy.invokeOrdered([1]) }
        let bad = try stage.view(9, of: [4, 5, 6, 7]).encoded
        for sender in Int32(0)..<4 {
          try await stage.stubs[3].reply(to: 0, bad, sender: sender, membershipID: 9)
        }
        try await eventually("all four are looked at", on: stage.loop) {
          try await proxy.counters().newerMembership == 4
        }
        #expect(try await proxy.membership().id == 0)
        // Another view from another replica is no second voice for it.
        let other = try stage.view(8, of: [4, 5, 6, 7]).encoded
        try await stage.stubs[2].reply(to: 0, other, membershipID: 8)
        try await eventually("it is looked at", on: stage.loop) {
          try await proxy.counters().newerMembership == 5
        }
        #expect(try await proxy.membership().id == 0)
        try await stage.stubs[0].reply(to: 0, [42])
        try await stage.stubs[1].reply(to: 0, [42])
        #expect(try await value.value == [42])
        for stub in stage.stubs[4...] { #expect(try await stub.seen().isEmpty) }
      }
    }
  }

  @Test("a request executed before the replicas moved is not sent anew; those after it wait for its outcome")
  func settlesBeforeGoingOn() async throws {
    try await Stage.with(transport: .sockets, replicas: 5) { stage in
      try await stage.withProxy(adjust: { $0.outstanding = 4 }) { proxy in
        let opening = Task { try await proxy.invokeOrdered([0]) }
        for stub in stage.stubs[0..<2] { try await stub.reply(to: 0, [0]) }
        #expect(try await opening.value == [0])
        let next = try stage.view(1, of: [0, 1, 2, 3, 4]).encoded
        let first = Task { try await proxy.invokeOrdered([1]) }
        try await stage.stubs[0].untilSeen(2)
        let second = Task { try await proxy.invokeOrdered([2]) }
        let seen = try await stage.stubs[0].untilSeen(3)
        let place = [1: seen[1].content == [1] ? 1 : 2, 2: seen[1].content == [1] ? 2 : 1]
        // The second was not executed; of the first nothing is known yet.
        for stub in stage.stubs[0..<2] { try await stub.reply(to: place[2]!, next, membershipID: 1) }
        try await eventually("the client has moved", on: stage.loop) {
          let counters = try await proxy.counters()
          return counters.membershipsAdopted == 1 && counters.reissuedRequests == 1
        }
        let third = Task { try await proxy.invokeOrdered([3]) }
        #expect(try await proxy.isReady() || true)
        #expect(try await stage.stubs[0].seen().count == 3)
        // Its answer was sent after the move, so it comes under the new id.
        for stub in stage.stubs[0..<2] { try await stub.reply(to: place[1]!, [11], membershipID: 1) }
        #expect(try await first.value == [11])
        // Now the session goes on under a fresh value: one request until it is answered, then the next.
        let anew = try await stage.stubs[0].untilSeen(4)[3]
        #expect(anew.content == [2] && anew.header.sequence == 0 && anew.header.membershipID == 1)
        for stub in stage.stubs[0..<2] { try await stub.reply(to: 3, [12]) }
        #expect(try await second.value == [12])
        let last = try await stage.stubs[0].untilSeen(5)[4]
        #expect(
          last.content == [3] && last.header.sequence == 1 && last.header.session == anew.header.session)
        for stub in stage.stubs[0..<2] { try await stub.reply(to: 4, [13]) }
        #expect(try await third.value == [13])
      }
    }
  }

  @Test("a replica that moves to another address is dialled there")
  func changesAddress() async throws {
    let cluster = Reconfigurable()
    try await Stage.with(transport: .sockets, replicas: 5, script: cluster.script) { stage in
      try await stage.withProxy { proxy in
        #expect(try await proxy.invokeOrdered([1]) == [1])
        guard case .socket(let host, let port) = stage.endpoints[4] else { return }
        let stays = try stage.view(1, of: [0, 1, 2]).addresses
        let moved = try #require(
          SerializedView.Address(replica: ReplicaID(3), host: host, port: UInt16(port)))
        let next = try #require(SerializedView(id: 1, faults: 1, addresses: stays + [moved]))
        try await stage.stubs[0].loop.submit { cluster.view = next }.get()
        #expect(try await proxy.invokeOrdered([2]) == [2])
        try await eventually("it is reached at its new address", on: stage.loop) {
          _ = try await proxy.invokeOrdered([3])
          return try await stage.stubs[4].seen().contains { $0.content == [3] }
        }
        #expect(try await !stage.stubs[3].seen().contains { $0.content == [3] })
      }
    }
  }

  @Test("a View that is no newer than the request is no answer, even from f+1 replicas under a newer id")
  func ignoresOldViews() async throws {
    try await Stage.with(transport: .sockets) { stage in
      try await stage.withProxy { proxy in
        let value = Task { try await proxy.invokeOrdered([1]) }
        let old = try stage.view(0, of: [0, 1, 2, 3]).encoded
        for stub in stage.stubs[0..<3] { try await stub.reply(to: 0, old, membershipID: 1) }
        try await eventually("they are looked at", on: stage.loop) {
          try await proxy.counters().newerMembership == 3
        }
        #expect(try await proxy.membership().id == 0)
        for stub in stage.stubs[0..<2] { try await stub.reply(to: 0, [42]) }
        #expect(try await value.value == [42])
      }
    }
  }

  @Test("a View that describes no membership is refused, counted, and changes nothing")
  func refusesImpossible() async throws {
    try await Stage.with(transport: .sockets) { stage in
      try await stage.withProxy { proxy in
        let value = Task { try await proxy.invokeOrdered([1]) }
        // Four replicas do not tolerate two faults.
        let bad = try stage.view(1, of: [0, 1, 2, 3], faults: 2).encoded
        for stub in stage.stubs[0..<2] { try await stub.reply(to: 0, bad, membershipID: 1) }
        try await eventually("it is refused", on: stage.loop) {
          try await proxy.counters().membershipsRefused == 1
        }
        #expect(try await proxy.membership().id == 0)
        for stub in stage.stubs[2..<4] { try await stub.reply(to: 0, [42]) }
        #expect(try await value.value == [42])
      }
    }
  }
}
