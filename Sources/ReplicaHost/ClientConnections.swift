// The replica's side of client connections: whole bursts decoded in place, requests given to the pure replica, replies
// appended to the connection on which that request came. A bad frame costs at most its connection, and is counted.

import Channels
import NIOCore
import Replication
import Wire

/// Receives what clients send. Calls come on the replica's loop.
protocol ClientConnectionsDelegate: AnyObject {
  /// A well-formed frame. False when it is to be counted as a message that makes no sense.
  func clients(_ clients: ClientConnections, frame: ClientFrameView, connection: ConnectionID) -> Bool
  func clientsBurstBegins(_ clients: ClientConnections)
  func clientsBurstEnded(_ clients: ClientConnections)
}

/// All client connections of one replica. Belongs to one event loop.
final class ClientConnections: LinkOwner, @unchecked Sendable {
  /// Senseless messages in one second after which a connection is closed.
  static let senselessPerSecond = 1_000
  private static let indexBits: UInt32 = 20

  private(set) var skippedFrames: UInt64 = 0
  private(set) var malformedFrames: UInt64 = 0
  private(set) var senselessMessages: UInt64 = 0
  private(set) var acceptedConnections: UInt64 = 0
  private(set) var closedConnections: UInt64 = 0

  private struct Entry {
    var link: Link?
    /// Counts the uses of the index, so that a reply never goes to a later connection under the same index.
    var generation: UInt32 = 0
    var isDirty = false
    var senseless = 0
    var senselessSince: Int64 = 0
  }

  private var entries: [Entry] = []
  private var freeIndices: [UInt32] = []
  private var dirty: [UInt32] = []
  /// Of the connections that are no more: counters of a run never fall.
  private var endedTraffic: (UInt64, UInt64, UInt64) = (0, 0, 0)
  private let maximumFrameBytes: Int
  private let queueLimitBytes: Int
  /// Owns this object, so it lives longer.
  private unowned(unsafe) let delegate: any ClientConnectionsDelegate

  init(maximumFrameBytes: Int, queueLimitBytes: Int, delegate: any ClientConnectionsDelegate) {
    self.maximumFrameBytes = maximumFrameBytes
    self.queueLimitBytes = queueLimitBytes
    self.delegate = delegate
  }

  var openConnections: Int { entries.count - freeIndices.count }

  /// Takes a new connection in.
  func accept(_ link: Link) -> any LinkOwner {
    acceptedConnections += 1
    guard entries.count < 1 << Self.indexBits || !freeIndices.isEmpty else {
      link.close(.overflow)
      return self
    }
    let index: UInt32
    if let free = freeIndices.popLast() {
      index = free
    } else {
      index = UInt32(entries.count)
      entries.append(Entry())
    }
    entries[Int(index)].link = link
    entries[Int(index)].senseless = 0
    link.number = index
    link.queueLimitBytes = queueLimitBytes
    return self
  }

  func linkClosed(_ link: Link, _ closure: LinkClosure) {
    let index = Int(link.number)
    guard index < entries.count, entries[index].link === link else { return }
    closedConnections += 1
    endedTraffic.0 += link.sentBytes
    endedTraffic.1 += link.receivedBytes
    endedTraffic.2 += link.flushes
    entries[index].link = nil
    entries[index].generation = (entries[index].generation + 1) & (1 << (32 - Self.indexBits) - 1)
    freeIndices.append(UInt32(index))
  }

  func link(_ link: Link, received bytes: UnsafeRawBufferPointer) -> Int {
    let index = link.number
    let connection = ConnectionID(rawValue: entries[Int(index)].generation << Self.indexBits | index)
    var offset = 0
    delegate.clientsBurstBegins(self)
    scan: while offset < bytes.count {
      switch ClientFrame.decode(
        UnsafeRawBufferPointer(rebasing: bytes[offset...]), maximumLength: maximumFrameBytes)
      {
      case .frame(let frame, let byteCount):
        offset += byteCount
        if delegate.clients(self, frame: frame, connection: connection) == false, countSenseless(link) {
          // What came before in this burst has its turn all the same.
          offset = bytes.count
        }
      case .incomplete:
        break scan
      case .skip(let byteCount):
        skippedFrames += 1
        link.skip(byteCount)
        break scan
      case .malformed(let error):
        malformedFrames += 1
        link.close(.malformed("\(error)"))
        break scan
      }
    }
    delegate.clientsBurstEnded(self)
    return offset
  }

  /// Counts a message without sense; true when the connection had too many of them and is closed.
  private func countSenseless(_ link: Link) -> Bool {
    senselessMessages += 1
    let index = Int(link.number)
    let now = monotonicNanoseconds()
    if now - entries[index].senselessSince > 1_000_000_000 {
      entries[index].senselessSince = now
      entries[index].senseless = 0
    }
    entries[index].senseless += 1
    guard entries[index].senseless > Self.senselessPerSecond else { return false }
    link.close(.malformed("more than \(Self.senselessPerSecond) senseless messages in a second"))
    return true
  }

  /// The link behind `connection` if it is still that connection, marked for the next flush.
  func linkForReply(_ connection: ConnectionID) -> Link? {
    let index = connection.rawValue & (1 << Self.indexBits - 1)
    guard Int(index) < entries.count else { return nil }
    return entries.withUnsafeMutableBufferPointer { entries in
      guard entries[Int(index)].generation == connection.rawValue >> Self.indexBits,
        let link = entries[Int(index)].link
      else { return nil }
      if !entries[Int(index)].isDirty {
        entries[Int(index)].isDirty = true
        dirty.append(index)
      }
      return link
    }
  }

  /// Sends what the turn has appended.
  func flush() {
    for index in dirty {
      entries[Int(index)].isDirty = false
      entries[Int(index)].link?.flush()
    }
    dirty.removeAll(keepingCapacity: true)
  }

  func closeAll() {
    for entry in entries { entry.link?.close() }
  }

  /// Bytes and flushes over all connections, those that have ended included.
  var traffic: (sentBytes: UInt64, receivedBytes: UInt64, flushes: UInt64) {
    var total = endedTraffic
    for entry in entries {
      guard let link = entry.link else { continue }
      total.0 += link.sentBytes
      total.1 += link.receivedBytes
      total.2 += link.flushes
    }
    return total
  }
}
