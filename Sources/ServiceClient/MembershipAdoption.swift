// Following the replicas from one membership to the next. A new one is adopted when f+1 replicas describe it alike, each on
// its own connection. A request that f+1 replicas have answered with "your view is old" was not executed and never will be:
// it is sent anew under the new membership. Of any other request under way nothing is known: its answers are waited for.

import Channels
import NIOCore
import PBFT
import Wire

/// What each replica of the present membership says that the next one is: its newest word.
struct ViewVotes {
  private var votes: [(position: Int, view: SerializedView)] = []

  /// Notes what the replica at `position` says; returns how many say the same.
  mutating func add(_ view: SerializedView, from position: Int) -> Int {
    votes.removeAll { $0.position == position }
    votes.append((position, view))
    return votes.count { $0.view == view }
  }

  mutating func removeAll() { votes.removeAll() }
}

extension ClientSessions {
  /// A reply that a replica sent under a newer membership than that of its request.
  ///
  /// - Returns: whether that is all there is to it. A reply that is no description of a membership is an answer like any
  ///   other: the request was executed before the replicas moved.
  func handleNewerMembership(_ frame: ClientFrameView, _ slot: Int32, _ position: Int, now: Int64) -> Bool {
    guard let content = frame.content, let learned = try? SerializedView(decoding: content) else {
      return false
    }
    // A View is never a service's answer; one that is no newer than the request says nothing.
    guard learned.id > operations[Int(slot)].membershipID else { return true }
    let operation = operations + Int(slot)
    operation.pointee.outdated |= UInt64(1) << UInt64(position)
    if learned.id > membershipID, views.add(learned, from: position) >= quorums.weakQuorum {
      adopt(learned, now: now)
    }
    if operation.pointee.isActive, membershipID > operation.pointee.membershipID,
      operation.pointee.outdated.nonzeroBitCount >= Int(operation.pointee.weakNeeded)
    {
      reissue(slot, now: now)
    }
    return true
  }

  // MARK: The membership

  private func adopt(_ next: SerializedView, now: Int64) {
    views.removeAll()
    guard let membership = next.membership(model: quorums.model) else {
      counters.membershipsRefused += 1
      return
    }
    let ids = next.replicas
    if let signerOf {
      guard let signer = signerOf(ids) else {
        counters.membershipsRefused += 1
        return
      }
      self.signer = signer
    }
    let before = replicaIDs
    let places = before.map { id in ids.firstIndex(of: id) }
    moveConnections(to: next, places)
    quorums = membership.quorums
    membershipID = next.id
    counters.membershipsAdopted += 1
    for slot in 0..<slotCount where operations[slot].isActive && !operations[slot].isParked {
      remap(operations + slot, places)
      guard operations[slot].isOrdered, !operations[slot].isUnsettled else { continue }
      operations[slot].isUnsettled = true
      sessions[Int(operations[slot].session)].unsettled += 1
    }
    for slot in divergent.keys {
      for index in divergent[slot]!.indices {
        divergent[slot]![index].replicas = Self.remapped(divergent[slot]![index].replicas, places)
      }
    }
    observer?.sessionsHaveMoved(self)
  }

  /// Keeps the links to replicas that stay where they are, gives up the others, and dials those that are new.
  private func moveConnections(to next: SerializedView, _ places: [Int?]) {
    prepareForMembership()
    let old = dialers
    let oldCount = replicaCount
    let oldEndpoints = endpoints
    let oldIDs = replicaIDs
    replicaIDs = next.replicas
    replicaCount = replicaIDs.count
    endpoints = next.addresses.map { address in
      let known = oldIDs.firstIndex(of: address.replica).map { oldEndpoints[$0] }
      return Self.endpoint(of: address, known: known)
    }
    for index in seats.indices where seats[index].position >= 0 {
      let place = places[Int(seats[index].position)]
      let stays = place.map { endpoints[$0].isSame(as: oldEndpoints[Int(seats[index].position)]) } ?? false
      seats[index].position = stays ? Int32(place!) : -1
    }
    dialers.removeAll(keepingCapacity: true)
    for connection in 0..<configuration.connections {
      for position in 0..<replicaCount {
        if let before = oldIDs.firstIndex(of: replicaIDs[position]),
          endpoints[position].isSame(as: oldEndpoints[before])
        {
          dialers.append(old[connection * oldCount + before])
        } else {
          let dialer = takeSeat(position, connection)
          dialers.append(dialer)
          dialer.start()
        }
      }
    }
    for dialer in old where !dialers.contains(where: { $0 === dialer }) { dialer.stop() }
  }

  /// Where a member is reached. Replicas in memory have no address: what is known of them stays.
  private static func endpoint(of member: SerializedView.Address, known: Endpoint?) -> Endpoint {
    if let known, case .memory = known { return known }
    return .socket(host: member.host, port: Int(member.port))
  }

  private func remap(_ operation: UnsafeMutablePointer<Operation>, _ places: [Int?]) {
    operation.pointee.answered = Self.remapped(operation.pointee.answered, places)
    operation.pointee.matching = Self.remapped(operation.pointee.matching, places)
    operation.pointee.outdated = Self.remapped(operation.pointee.outdated, places)
    operation.pointee.asked = Self.remapped(operation.pointee.asked, places)
    if operation.pointee.replyServer >= 0 {
      operation.pointee.replyServer = places[Int(operation.pointee.replyServer)].map { Int32($0) } ?? -1
    }
  }

  /// A set of replicas by their new positions; those that have left are no longer in it.
  private static func remapped(_ set: UInt64, _ places: [Int?]) -> UInt64 {
    var old = ReplicaSet()
    old.bits = set
    var new: UInt64 = 0
    while let position = old.popFirst() {
      if position < places.count, let place = places[position] { new |= UInt64(1) << UInt64(place) }
    }
    return new
  }

  // MARK: Requests

  /// Sends a request anew that was not executed: its session's others under way are waited for first, since the session
  /// goes on under a fresh value (a BFT-SMaRt replica has taken its old sequence for spent).
  private func reissue(_ slot: Int32, now: Int64) {
    let operation = operations + Int(slot)
    counters.reissuedRequests += 1
    divergent[slot] = nil
    if compared[slot] != nil { compared[slot]!.replies.removeAll() }
    guard operation.pointee.isOrdered else {
      prepare(operation, slot)
      encodeAgain(operation)
      launch(operation)
      return arm(slot, now: now)
    }
    let session = Int(operation.pointee.session)
    sessions[session].mustRenew = true
    park(slot)
    arm(slot, now: now)
    settle(slot, now: now)
  }

  /// An operation of an older membership has its outcome, or will be sent anew; after the last one the session goes on.
  func settle(_ slot: Int32, now: Int64) {
    let operation = operations + Int(slot)
    operation.pointee.isUnsettled = false
    let session = Int(operation.pointee.session)
    sessions[session].unsettled -= 1
    guard sessions[session].unsettled == 0 else { return }
    if sessions[session].mustRenew { renew(session) }
    release(session, now: now)
  }
}

extension Endpoint {
  /// Whether both lead to the same place, as far as their text tells.
  func isSame(as other: Endpoint) -> Bool {
    switch (self, other) {
    case (.socket(let host, let port), .socket(let otherHost, let otherPort)):
      func settled(_ host: String) -> String { host == "localhost" ? "127.0.0.1" : host }
      return port == otherPort && settled(host) == settled(otherHost)
    case (.memory(let port), .memory(let otherPort)): return port === otherPort
    case (.socket, .memory), (.memory, .socket): return false
    }
  }
}
