// Requests whose signatures are still to be verified. A signature costs as much as a hundred requests do otherwise, so what
// a burst brings is verified in shares, and what peers say comes between them: under overload ordering goes on, and work
// for requests that nobody waits for any more is not done.
//
// Kept true here: first in, first out; bounded in bytes; nothing that a client has given up for a new session is verified;
// what comes on one connection, unproven as it is, changes nothing for another.

import Channels
import PBFT
import Replication
import Wire

/// Frames of clients in the order in which they came. Belongs to the replica's loop.
final class UnverifiedRequests {
  /// Signatures verified in a turn for clients: one to three milliseconds of work.
  static let perTurn = 32
  static let limitBytes = 16 << 20
  /// Clients whose sessions are told apart; of others everything waits for its turn.
  static let clientLimit = 65_536

  private struct Head {
    var connection: ConnectionID
    var arrivedAt: Int64
    var dataCount: Int32
    var signatureCount: Int32

    var byteCount: Int { MemoryLayout<Head>.size + Int(dataCount) + Int(signatureCount) }
  }

  private struct ConnectionClient: Hashable {
    var connection: UInt32
    var client: Int32
  }

  private let dialect: ClientDialect
  private var bytes = ByteQueue(capacity: 64 << 10)
  /// The session that each client of a connection has begun last, of those with a request here; emptied with the queue.
  private var sessions: [ConnectionClient: Int32] = [:]
  private(set) var count = 0
  /// Signatures that may still be verified in this turn.
  var share = perTurn

  init(dialect: ClientDialect) { self.dialect = dialect }

  var isEmpty: Bool { count == 0 }

  /// Keeps a copy of the request; false when there is no room.
  func append(_ frame: ClientFrameView, _ connection: ConnectionID, now: Int64) -> Bool {
    let head = Head(
      connection: connection, arrivedAt: now, dataCount: Int32(frame.data.count),
      signatureCount: Int32(frame.signature.count))
    guard bytes.count + head.byteCount <= Self.limitBytes else { return false }
    withUnsafeBytes(of: head) { bytes.append($0) }
    bytes.append(frame.data)
    bytes.append(frame.signature)
    count += 1
    let client = ConnectionClient(connection: connection.rawValue, client: frame.client)
    if sessions.count < Self.clientLimit || sessions[client] != nil { sessions[client] = frame.session }
    return true
  }

  /// Takes the next request that is still of use: given to `body`, whose view is valid during the call. Those before it
  /// that came before `oldest` or that their client has given up are dropped.
  ///
  /// - Returns: how many were dropped.
  func takeNext(
    notBefore oldest: Int64, _ body: (ClientFrameView, ConnectionID) -> Void
  ) -> Int {
    var dropped = 0
    while count > 0 {
      let held = bytes.readableBytes
      let head = held.loadUnaligned(as: Head.self)
      let data = UnsafeRawBufferPointer(
        rebasing: held[MemoryLayout<Head>.size..<MemoryLayout<Head>.size + Int(head.dataCount)])
      let signature = UnsafeRawBufferPointer(
        rebasing: held[MemoryLayout<Head>.size + Int(head.dataCount)..<head.byteCount])
      guard case .success(let frame) = ClientFrame.view(data: data, signature: signature, dialect: dialect)
      else { preconditionFailure("a frame that was decoded before") }
      let client = ConnectionClient(connection: head.connection.rawValue, client: frame.client)
      let isOfUse =
        head.arrivedAt >= oldest && sessions[client, default: frame.session] == frame.session
      if isOfUse { body(frame, head.connection) } else { dropped += 1 }
      bytes.consume(head.byteCount)
      count -= 1
      if count == 0 {
        sessions.removeAll(keepingCapacity: true)
        bytes.shrink(to: 1 << 20)
      }
      if isOfUse { break }
    }
    return dropped
  }
}
