// Requests beyond what the pure replica takes of one client at once: it holds 32 of each, and BFT-SMaRt's asynchronous
// clients send hundreds without waiting. They wait here, unverified, until their turn comes near. So do requests that name
// a newer membership than this replica's, which others have begun a moment earlier.
//
// Kept true here: at most so many per client as `useControlFlow` says, and so many bytes in all; what does not fit is
// refused and counted; what a connection has left here goes with it.

import Channels
import Replication
import Wire

/// Belongs to its replica's loop.
final class WaitingRequests {
  /// Bytes of all that waits.
  static let limitBytes = 64 << 20

  private struct Frame {
    var connection: ConnectionID
    var session: Int32
    var sequence: Int32
    /// It has come in a batch meanwhile, which has been told the connection.
    var isInBatch = false
    var data: [UInt8]
    var signature: [UInt8]

    var byteCount: Int { data.count + signature.count }
  }

  /// Clients with something here, in the order in which they began to wait.
  private var clients: [Int32] = []
  private var frames: [Int32: [Frame]] = [:]
  private var byteCount = 0
  private let perClient: Int
  private let dialect: ClientDialect

  init(perClient: Int, dialect: ClientDialect) {
    self.perClient = perClient
    self.dialect = dialect
  }

  var isEmpty: Bool { clients.isEmpty }
  /// Requests of all clients.
  var count: Int { frames.values.reduce(0) { $0 + $1.count } }

  /// Keeps a copy of the frame; false when there is no room for it.
  func keep(_ frame: ClientFrameView, _ connection: ConnectionID) -> Bool {
    let client = frame.client
    let kept = Frame(
      connection: connection, session: frame.session, sequence: frame.sequence, data: Array(frame.data),
      signature: Array(frame.signature))
    guard frames[client]?.count ?? 0 < perClient, byteCount + kept.byteCount <= Self.limitBytes else {
      return false
    }
    if frames[client] == nil { clients.append(client) }
    frames[client, default: []].append(kept)
    byteCount += kept.byteCount
    return true
  }

  /// The connection of a request that has come in a batch while it waits here, `.none` where it does not: its reply goes
  /// there as soon as the batch is executed.
  func connection(of frame: ClientFrameView) -> ConnectionID {
    guard !clients.isEmpty, let waiting = frames[frame.client],
      let index = waiting.firstIndex(where: {
        $0.sequence == frame.sequence && $0.session == frame.session && $0.data.elementsEqual(frame.data)
      })
    else { return .none }
    frames[frame.client]?[index].isInBatch = true
    return waiting[index].connection
  }

  /// Offers each client's requests in their order, until one is not taken.
  ///
  /// - Parameter take: is told as well whether the request has come in a batch; false when it has to wait on.
  func offer(_ take: (ClientFrameView, ConnectionID, _ isInBatch: Bool) -> Bool) {
    for client in clients {
      guard let waiting = frames[client] else { continue }
      var taken = 0
      while taken < waiting.count {
        let frame = waiting[taken]
        let isTaken = frame.data.withUnsafeBytes { data in
          frame.signature.withUnsafeBytes { signature in
            // They have been decoded before.
            guard
              case .success(let view) = ClientFrame.view(data: data, signature: signature, dialect: dialect)
            else { preconditionFailure("a request that waits has been decoded") }
            return take(view, frame.connection, frame.isInBatch)
          }
        }
        guard isTaken else { break }
        byteCount -= frame.byteCount
        taken += 1
      }
      frames[client] = taken == waiting.count ? nil : Array(waiting[taken...])
    }
    clients.removeAll { frames[$0] == nil }
  }

  /// Forgets what has come on connections that are gone.
  func forget(unless isOpen: (ConnectionID) -> Bool) {
    for client in clients {
      let left = frames[client, default: []].filter { isOpen($0.connection) }
      frames[client] = left.isEmpty ? nil : left
    }
    clients.removeAll { frames[$0] == nil }
    byteCount = frames.values.reduce(0) { $0 + $1.reduce(0) { $0 + $1.byteCount } }
  }
}
