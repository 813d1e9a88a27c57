// The bytes of a state at a checkpoint, as donors send it and the durable log keeps it.
//
//   magic u32 | sequence u64 | chain 32 | requests u64 | membership id i32, f u32, fault model u8, n u32,
//   ids i32 | addresses (`MemberAddresses`) | service count u16, state | clients u64 | root 32 | per client in the order of their first
//   execution: id i32 | sessions u8 | (session i32, last sequence i32), the oldest first | replies u8 |
//   (sequence i32, count u32, bytes), ascending
//
// All integers are big-endian. Kept true here: the same state has the same bytes everywhere; what is read is
// believed only when its digest is the one a certified checkpoint names; nothing is allocated by a length
// that is only claimed.

import PBFT

enum StateCoding {
  private static let magic: UInt32 = 0x4d53_5432

  static func encode(_ header: StateHeader, _ table: ClientTable) -> [UInt8] {
    var output: [UInt8] = []
    output.reserveCapacity(512 + table.count * 64)
    output.put(magic)
    output.put(header.sequence.rawValue)
    output.put(header.chain)
    output.put(header.requests)
    output.put(header.membership.id)
    output.put(UInt32(header.membership.faults))
    output.put(header.membership.quorums.model.rawValue)
    output.put(UInt32(header.membership.count))
    for replica in header.membership.replicas { output.put(replica.rawValue) }
    MemberAddresses.encode(header.addresses, into: &output)
    let service = header.service.encodedState
    output.put(UInt16(service.count))
    output.append(contentsOf: service)
    output.put(UInt64(header.clients))
    output.put(header.root)
    precondition(table.count == header.clients, "the image is that of its header")
    for index in 0..<table.count { table.encode(index, into: &output) }
    return output
  }

  /// The header at the beginning of `bytes`, and how many they are; nil when it is none. `service`: of the
  /// kind and with the parameters of this replica.
  static func header(
    _ bytes: UnsafeRawBufferPointer, service: Service
  ) -> (header: StateHeader, byteCount: Int)? {
    var reader = ByteReader(bytes)
    guard reader.integer(UInt32.self) == magic, let sequence = reader.integer(UInt64.self),
      let chain = reader.digest(), let requests = reader.integer(UInt64.self),
      let membershipID = reader.integer(Int32.self),
      let faults = reader.integer(UInt32.self), faults < UInt32(Quorums.maximumReplicas),
      let model = reader.integer(UInt8.self).flatMap(FaultModel.init(rawValue:)),
      let count = reader.integer(UInt32.self), count <= UInt32(Quorums.maximumReplicas)
    else { return nil }
    var replicas: [ReplicaID] = []
    for _ in 0..<count {
      guard let replica = reader.integer(Int32.self) else { return nil }
      // One state, one encoding: the ids are those of a membership, which are ascending.
      if let last = replicas.last, last.rawValue >= replica { return nil }
      replicas.append(ReplicaID(replica))
    }
    var installed = service
    guard
      let membership = Membership(id: membershipID, replicas: replicas, faults: Int(faults), model: model),
      let addresses = MemberAddresses.decode(&reader, of: membership.replicas),
      let serviceCount = reader.integer(UInt16.self), let state = reader.take(Int(serviceCount)),
      installed.install(state),
      let clients = reader.integer(UInt64.self), clients <= 1 << 24, let root = reader.digest()
    else { return nil }
    let header = StateHeader(
      sequence: SequenceNumber(sequence), chain: chain, requests: requests, service: installed,
      membership: membership, addresses: addresses, clients: Int(clients), root: root)
    return (header, reader.offset)
  }

  /// No honest state with this header has more bytes.
  static func maximumByteCount(_ header: StateHeader) -> Int {
    let reply = 8 + header.service.maximumReplyByteCount
    let client = 6 + ClientTable.sessionsRemembered * 8 + ClientTable.repliesRemembered * reply
    // One client has replies to RECONFIGs.
    let changes = ClientTable.repliesRemembered * (8 + ReconfigurationResult.maximumByteCount)
    return 4_096 + ReconfigurationResult.maximumByteCount + header.clients * client + changes
  }

  /// The client table from `offset` to the end of `bytes`; nil when it is not that of the header.
  static func table(
    _ bytes: UnsafeRawBufferPointer, from offset: Int, _ header: StateHeader, maximumClients: Int
  ) -> ClientTable? {
    guard header.clients <= maximumClients, offset <= bytes.count else { return nil }
    let table = ClientTable(maximumClients: maximumClients)
    var reader = ByteReader(UnsafeRawBufferPointer(rebasing: bytes[offset...]))
    let longest = max(header.service.maximumReplyByteCount, ReconfigurationResult.maximumByteCount)
    for _ in 0..<header.clients {
      guard table.decode(&reader, longestReply: longest) else { return nil }
    }
    guard reader.isAtEnd, table.root(changes: nil) == header.root else { return nil }
    table.forgetChanges()
    return table
  }
}

extension ClientTable {
  /// The last executed sequence of the session `age` before the current one.
  private func session(_ index: Int, age: UInt32) -> SessionEntry {
    let record = records[index].pointee
    let remembered = UInt32(ClientTable.sessionsRemembered)
    var entry = sessions[index][Int((record.sessionsBegun &- 1 &- age) % remembered)]
    if age == 0 { entry.lastSequence = record.lastSequence }
    return entry
  }

  private func sessionCount(_ index: Int) -> UInt32 {
    min(records[index].pointee.sessionsBegun, UInt32(ClientTable.sessionsRemembered))
  }

  /// The replies kept of the current session, ascending.
  @inline(__always)
  private func forEachReply(
    _ index: Int, above: Int32, _ body: (UnsafeMutablePointer<CachedReply>) -> Void
  ) {
    let last = records[index].pointee.lastSequence
    for age in (0..<Int32(ClientTable.repliesRemembered)).reversed() where age <= last && last &- age > above
    {
      let cached = replies[index] + Int((last &- age) & Int32(ClientTable.repliesRemembered - 1))
      guard cached.pointee.sequence == last &- age, cached.pointee.count >= 0 else { continue }
      body(cached)
    }
  }

  func encode(_ index: Int, into output: inout [UInt8]) {
    output.put(records[index].pointee.client)
    let count = sessionCount(index)
    output.put(UInt8(count))
    for age in (0..<count).reversed() {
      let entry = session(index, age: age)
      output.put(entry.session)
      output.put(entry.lastSequence)
    }
    var replyCount: UInt8 = 0
    forEachReply(index, above: -1) { _ in replyCount += 1 }
    output.put(replyCount)
    forEachReply(index, above: -1) { cached in
      output.put(cached.pointee.sequence)
      output.put(UInt32(cached.pointee.count))
      output.append(contentsOf: ClientTable.content(cached))
    }
  }

  /// Adds one client; false when the bytes are not of one.
  func decode(_ reader: inout ByteReader, longestReply: Int) -> Bool {
    guard let client = reader.integer(Int32.self), let sessionCount = reader.integer(UInt8.self),
      (1...UInt8(ClientTable.sessionsRemembered)).contains(sessionCount), let index = add(client)
    else { return false }
    var last: Int32 = -1
    for _ in 0..<sessionCount {
      guard let session = reader.integer(Int32.self), let sequence = reader.integer(Int32.self), sequence >= 0
      else { return false }
      begin(index, session: session)
      records[index].pointee.lastSequence = sequence
      last = sequence
    }
    guard let replyCount = reader.integer(UInt8.self), replyCount <= UInt8(ClientTable.repliesRemembered)
    else { return false }
    for remaining in (0..<Int32(replyCount)).reversed() {
      guard let sequence = reader.integer(Int32.self), sequence == last &- remaining, sequence >= 0,
        let count = reader.integer(UInt32.self), count <= UInt32(longestReply),
        let content = reader.take(Int(count))
      else { return false }
      withUnsafeTemporaryAllocation(byteCount: max(CachedReply.inPlace, content.count), alignment: 16) {
        scratch in
        scratch.copyMemory(from: content)
        finish(index, sequence: sequence, reply: scratch.baseAddress.unsafelyUnwrapped, count: content.count)
      }
    }
    records[index].pointee.lastSequence = last
    touch(index)
    return true
  }

  // MARK: Changes of a period

  /// Writes down what has changed of a client since this was done last: index, client, sessions begun, last
  /// sequence, sessions if one has begun, new replies. Local memory order.
  @inline(__always)
  func writeChange(_ index: Int, into output: PlainBuffer<UInt8>) {
    let record = records[index]
    let hasBegun = record.pointee.sessionsBegun != record.pointee.savedBegun
    let count = hasBegun ? sessionCount(index) : 0
    output.put(UInt32(truncatingIfNeeded: index))
    output.put(record.pointee.client)
    output.put(record.pointee.sessionsBegun)
    output.put(record.pointee.lastSequence)
    output.put(count)
    for age in (0..<count).reversed() { output.put(session(index, age: age)) }
    let above = hasBegun ? -1 : record.pointee.savedSequence
    var replyCount: UInt32 = 0
    forEachReply(index, above: above) { _ in replyCount &+= 1 }
    output.put(replyCount)
    forEachReply(index, above: above) { cached in
      output.put(cached.pointee.sequence)
      output.put(cached.pointee.count)
      output.put(ClientTable.content(cached), paddedTo: CachedReply.inPlace)
    }
    record.pointee.savedBegun = record.pointee.sessionsBegun
    record.pointee.savedSequence = record.pointee.lastSequence
  }

  /// Applies changes that another table has written.
  func apply(_ changes: UnsafeRawBufferPointer) {
    var offset = 0
    func take<Value: BitwiseCopyable>(_: Value.Type) -> Value {
      defer { offset += MemoryLayout<Value>.size }
      return changes.loadUnaligned(fromByteOffset: offset, as: Value.self)
    }
    while offset < changes.count {
      let index = Int(take(UInt32.self))
      let client = take(Int32.self)
      let begun = take(UInt32.self)
      let last = take(Int32.self)
      let sessionCount = take(UInt32.self)
      if index == count { precondition(add(client) == index, "an image has the clients of its table") }
      let record = records[index]
      precondition(record.pointee.client == client, "an image has the clients of its table")
      for age in (0..<sessionCount).reversed() {
        let entry = take(SessionEntry.self)
        let remembered = UInt32(ClientTable.sessionsRemembered)
        sessions[index][Int((begun &- 1 &- age) % remembered)] = entry
        record.pointee.session = entry.session
      }
      // Only together with all sessions: where they are may differ between a table and one read from its
      // bytes.
      if sessionCount > 0 {
        record.pointee.sessionsBegun = begun
        forgetReplies(index)
      }
      let replyCount = take(UInt32.self)
      for _ in 0..<replyCount {
        let sequence = take(Int32.self)
        let count = Int(take(Int32.self))
        keep(index, sequence, changes.baseAddress.unsafelyUnwrapped + offset, count)
        offset += max(count, CachedReply.inPlace)
      }
      record.pointee.lastSequence = last
    }
  }
}
