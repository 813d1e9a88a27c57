// A dialer keeps its link alive: it connects when somebody comes to listen, and again after each loss.

import Channels
import NIOCore
import TestSupport
import Testing

/// What a dialer tells. Its state belongs to the loop.
private final class Caller: DialerClient, @unchecked Sendable {
  let watch: Watch
  var opened = 0
  var lost: [LinkClosure] = []
  var received: [UInt8] = []

  init(loop: any EventLoop) { watch = Watch(loop: loop) }

  func dialer(_ dialer: Dialer, opened link: Link) {
    opened += 1
    dialer.peerIsGood()
    watch.changed()
  }

  func dialer(_ dialer: Dialer, received bytes: UnsafeRawBufferPointer) -> Int {
    received.append(contentsOf: bytes)
    watch.changed()
    return bytes.count
  }

  func dialer(_ dialer: Dialer, lost link: Link, _ closure: LinkClosure) {
    lost.append(closure)
    watch.changed()
  }
}

/// A listener that can go and come back at the same address.
private final class Party: @unchecked Sendable {
  let loop: any EventLoop
  var place: Endpoint
  var listener: Listener?
  var ends: [PlainLink] = []

  init(_ transport: Transport, loop: any EventLoop) {
    self.loop = loop
    place = transport.place()
  }

  func arrive() async throws {
    let opened = try await Listener.open(place, boss: loop, worker: loop) { [self] link in
      let end = PlainLink(loop: loop)
      end.adopt(link)
      ends.append(end)
      return end
    }.get()
    listener = opened
    place = place.reached(at: opened.port)
  }

  /// Waits for the accepted end: the caller may see its own open before.
  func untilAccepted() async throws {
    try await eventually("the link is accepted", on: loop) { [self] in
      try await loop.submit { [self] in !ends.isEmpty }.get()
    }
  }

  /// Stops listening and closes what was accepted.
  func leave() async throws {
    listener?.close()
    try await loop.submit { [self] in
      for end in ends { end.link.close() }
      ends = []
    }.get()
  }
}

@Suite("Dialer")
struct DialerTests {
  @Test(
    "a lost link is made again when the listener is back, as often as it takes", arguments: Transport.allCases
  )
  func reconnects(transport: Transport) async throws {
    try await withLoops(2) { loops in
      let party = Party(transport, loop: loops[1])
      try await party.arrive()
      let caller = Caller(loop: loops[0])
      let dialer = Dialer(endpoint: party.place, loop: loops[0], number: 7, client: caller)
      try await loops[0].submit { dialer.start() }.get()
      for round in 1...3 {
        try await caller.watch.until("link \(round) is up") { caller.opened == round }
        let number = try await loops[0].submit { dialer.link?.number }.get()
        #expect(number == 7)
        try await party.untilAccepted()
        try await party.leave()
        try await caller.watch.until("link \(round) is lost") { caller.lost.count == round }
        let isDown = try await loops[0].submit { dialer.link == nil }.get()
        #expect(isDown)
        let failures = try await loops[0].submit { dialer.failures }.get()
        #expect(failures >= UInt64(round))
        try await party.arrive()
      }
      try await caller.watch.until("the link is up again") { caller.opened == 4 }
      try await loops[0].submit { dialer.stop() }.get()
      try await caller.watch.until("the link is down") { caller.lost.count == 4 }
      let lastLoss = try await loops[0].submit { caller.lost.last }.get()
      #expect(lastLoss == .local)
      try await party.leave()
    }
  }

  @Test(
    "refused attempts are counted with their reason, until somebody listens", arguments: Transport.allCases)
  func waitsForAListener(transport: Transport) async throws {
    try await withLoops(2) { loops in
      let party = Party(transport, loop: loops[1])
      try await party.arrive()
      try await party.leave()
      let caller = Caller(loop: loops[0])
      let dialer = Dialer(endpoint: party.place, loop: loops[0], number: 0, client: caller)
      try await loops[0].submit { dialer.start() }.get()
      try await eventually("an attempt fails", on: loops[0]) {
        try await loops[0].submit { dialer.failures >= 2 && dialer.lastFailure != nil }.get()
      }
      let opened = try await loops[0].submit { caller.opened }.get()
      #expect(opened == 0)
      try await party.arrive()
      try await caller.watch.until("the link is up") { caller.opened == 1 }
      try await loops[0].submit { dialer.stop() }.get()
      try await caller.watch.until("the link is down") { caller.lost.count == 1 }
      try await party.leave()
    }
  }

  @Test("a stopped dialer makes no link", arguments: Transport.allCases)
  func staysStopped(transport: Transport) async throws {
    try await withLoops(2) { loops in
      let party = Party(transport, loop: loops[1])
      try await party.arrive()
      let caller = Caller(loop: loops[0])
      let dialer = Dialer(endpoint: party.place, loop: loops[0], number: 0, client: caller)
      try await loops[0].submit {
        dialer.start()
        // The attempt is under way; its link must not outlive the stop.
        dialer.stop()
        dialer.start()
      }.get()
      // A connection made later goes the whole way, so the one before it has been decided.
      let later = try await PlainLink.connect(to: party.place, on: loops[0])
      let madeNone = try await loops[0].submit { caller.opened == 0 && dialer.link == nil }.get()
      #expect(madeNone)
      await later.close()
      try await party.leave()
    }
  }
}
