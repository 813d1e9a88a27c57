// Replies that rest on records not yet on disk. They are whole frames in one run of bytes, kept in the order of their
// writing, and go to their connections when the disk has what they rest on.

import Channels
import Replication

/// Belongs to its replica's loop.
final class HeldReplies {
  /// More than this is not held: the clients ask again.
  static let limitBytes = 256 << 20

  private struct Entry {
    var connection: ConnectionID
    var byteCount: Int
  }

  private var bytes = ByteQueue(capacity: 64 << 10)
  private var entries: [Entry] = []

  /// Frames held.
  var count: Int { entries.count }

  /// Takes a frame of at most `capacity` bytes that `fill` writes; it returns how many it wrote. False when there is no
  /// room.
  func write(
    _ capacity: Int, to connection: ConnectionID, _ fill: (UnsafeMutableRawBufferPointer) -> Int
  ) -> Bool {
    guard bytes.count + capacity <= Self.limitBytes else { return false }
    let written = fill(bytes.reserve(capacity))
    bytes.commit(written)
    entries.append(Entry(connection: connection, byteCount: written))
    return true
  }

  /// Gives the first `count` frames to their connections, as far as those still exist.
  func release(_ count: Int, to clients: ClientChannels) {
    guard count > 0 else { return }
    for entry in entries[..<count] {
      if let link = clients.linkForReply(entry.connection) {
        link.append(UnsafeRawBufferPointer(rebasing: bytes.readableBytes[..<entry.byteCount]))
      }
      bytes.consume(entry.byteCount)
    }
    entries.removeFirst(count)
    if bytes.isEmpty { bytes.shrink(to: 4 << 20) }
  }

  func removeAll() {
    bytes.removeAll()
    entries.removeAll()
  }
}
