// The replica's side of client connections: whole bursts decoded in place, requests given to a receiver, replies appended
// to the connection on which that request came. A bad frame costs at most its connection, and is counted.
//
// Kept true here: a channel is named by an id that is never used for another one; what is said to a channel that is gone
// goes nowhere; nothing is registered for a client but by its own first frame.

import Channels
import NIOCore
import Replication
import Wire

/// What client channels are told.
public struct ClientChannelsConfiguration: Sendable {
  /// Largest `len` of a frame that is read; larger ones are skipped and counted (`maxRequestSize`).
  public var maximumFrameBytes = ClientFrame.hardLimit
  /// Bytes that may wait for a client that does not read.
  public var queueLimitBytes = 16 << 20
  public var dialect = ClientDialect.master
  /// Whether frames carry a MAC block (v1.2's `useMACs`); checking it is the receiver's business.
  public var usesMACs = false

  public init() {}
}

/// Takes what clients send (BFT-SMaRt's `RequestReceiver`). Calls come on the channels' loop.
public protocol RequestReceiver: AnyObject {
  /// A well-formed frame; its memory is valid during the call only. False when it is to be counted as a message that makes
  /// no sense.
  func channels(_ channels: ClientChannels, received frame: ClientFrameView, on channel: ConnectionID) -> Bool
  /// The frames of one read are about to be handed over.
  func channelsBurstBegins(_ channels: ClientChannels)
  /// They have been.
  func channelsBurstEnded(_ channels: ClientChannels)
}

/// One channel's step in life.
public enum ClientChannelEvent: Hashable, Sendable {
  /// A client has connected; which one is not known yet.
  case active
  /// Its first frame names this client.
  case registered(client: Int32)
  /// It is closed, by either side, and was this client's.
  case inactive(client: Int32?)
  /// It is being closed because of this; `inactive` follows.
  case error(client: Int32?, reason: String)
}

/// Is told of the life of client channels. Calls come on the channels' loop.
public protocol ClientChannelObserver: AnyObject {
  func channel(_ channel: ConnectionID, _ event: ClientChannelEvent)
}

/// All client connections of one replica. Belongs to one event loop.
///
/// Source: BFT-SMaRt's `CommunicationSystemServerSide`: a listener, `getClients`, `send`, `setRequestReceiver`, `shutdown`.
public final class ClientChannels: LinkOwner, @unchecked Sendable {
  /// Senseless messages in one second after which a connection is closed.
  static let senselessPerSecond = 1_000
  private static let indexBits: UInt32 = 20

  public private(set) var skippedFrames: UInt64 = 0
  public private(set) var malformedFrames: UInt64 = 0
  public private(set) var senselessMessages: UInt64 = 0
  public private(set) var acceptedConnections: UInt64 = 0
  public private(set) var closedConnections: UInt64 = 0
  /// Told of every channel from now on.
  public weak var observer: (any ClientChannelObserver)?

  private struct Entry {
    var link: Link?
    /// Counts the uses of the index, so that a reply never goes to a later connection under the same index.
    var generation: UInt32 = 0
    /// The sender of the first frame.
    var client: Int32?
    var isDirty = false
    var senseless = 0
    var senselessSince: Int64 = 0
  }

  private let configuration: ClientChannelsConfiguration
  private var entries: [Entry] = []
  private var freeIndices: [UInt32] = []
  private var dirty: [UInt32] = []
  /// The open channels of each client, in the order of their first frames.
  private var registered: [Int32: [ConnectionID]] = [:]
  private var listeners: [Listener] = []
  private var isShutDown = false
  /// Of the connections that are no more: counters of a run never fall.
  private var endedTraffic: (UInt64, UInt64, UInt64) = (0, 0, 0)
  /// Owns this object, so it lives longer.
  private unowned(unsafe) let receiver: any RequestReceiver

  /// - Parameter receiver: must live as long as the channels.
  public init(configuration: ClientChannelsConfiguration, receiver: any RequestReceiver) {
    self.configuration = configuration
    self.receiver = receiver
  }

  // MARK: Life

  /// Listens for clients, whose connections live on `loop`. Fails when the address cannot be listened on.
  public func listen(
    at endpoint: Endpoint, boss: any EventLoopGroup, loop: any EventLoop, backlog: Int32 = 1024
  ) -> EventLoopFuture<Listener> {
    Listener.open(endpoint, boss: boss, worker: loop, backlog: backlog) { [self] in accept($0) }
      .hop(to: loop)
      .map { [self] listener in
        if isShutDown { listener.close() } else { listeners.append(listener) }
        return listener
      }
  }

  /// Stops listening and closes every channel. Idempotent.
  public func shutdown() {
    isShutDown = true
    for listener in listeners { listener.close() }
    listeners.removeAll()
    for entry in entries { entry.link?.close() }
  }

  public var openConnections: Int { entries.count - freeIndices.count }

  /// Takes a new connection in.
  func accept(_ link: Link) -> any LinkOwner {
    acceptedConnections += 1
    guard !isShutDown, entries.count < 1 << Self.indexBits || !freeIndices.isEmpty else {
      link.close(isShutDown ? .local : .overflow)
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
    entries[Int(index)].client = nil
    entries[Int(index)].senseless = 0
    link.number = index
    link.queueLimitBytes = configuration.queueLimitBytes
    observer?.channel(id(index), .active)
    return self
  }

  public func linkClosed(_ link: Link, _ closure: LinkClosure) {
    let index = Int(link.number)
    guard index < entries.count, entries[index].link === link else { return }
    let channel = id(UInt32(index))
    let client = entries[index].client
    if let client {
      registered[client]?.removeAll { $0 == channel }
      if registered[client]?.isEmpty == true { registered[client] = nil }
    }
    closedConnections += 1
    endedTraffic.0 += link.sentBytes
    endedTraffic.1 += link.receivedBytes
    endedTraffic.2 += link.flushes
    entries[index].link = nil
    entries[index].generation = (entries[index].generation + 1) & (1 << (32 - Self.indexBits) - 1)
    freeIndices.append(UInt32(index))
    guard let observer else { return }
    if let reason = closure.fault { observer.channel(channel, .error(client: client, reason: reason)) }
    observer.channel(channel, .inactive(client: client))
  }

  @inline(__always)
  private func id(_ index: UInt32) -> ConnectionID {
    ConnectionID(rawValue: entries[Int(index)].generation << Self.indexBits | index)
  }

  // MARK: Receiving

  public func link(_ link: Link, received bytes: UnsafeRawBufferPointer) -> Int {
    let channel = id(link.number)
    var offset = 0
    receiver.channelsBurstBegins(self)
    scan: while offset < bytes.count {
      switch ClientFrame.decode(
        UnsafeRawBufferPointer(rebasing: bytes[offset...]), maximumLength: configuration.maximumFrameBytes,
        dialect: configuration.dialect, useMACs: configuration.usesMACs)
      {
      case .frame(let frame, let byteCount):
        offset += byteCount
        if entries[Int(link.number)].client == nil { register(frame.client, channel, link.number) }
        if receiver.channels(self, received: frame, on: channel) == false, countSenseless(link) {
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
    receiver.channelsBurstEnded(self)
    return offset
  }

  private func register(_ client: Int32, _ channel: ConnectionID, _ index: UInt32) {
    entries[Int(index)].client = client
    registered[client, default: []].append(channel)
    observer?.channel(channel, .registered(client: client))
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

  // MARK: Sending

  /// The clients with an open channel, ascending; each by the first frame of its channel, so of sessions that share one
  /// channel only the first is here.
  public func clients() -> [Int32] { registered.keys.sorted() }

  /// The newest open channel of a client; nil when it has none.
  public func channel(of client: Int32) -> ConnectionID? { registered[client]?.last }

  /// Sends one message to each of `clients`, on its newest channel, at the end of the turn or with `flush()`.
  ///
  /// - Parameters:
  ///   - content: nil is BFT-SMaRt's null content.
  ///   - finish: signs or tags the frame in place; it has room for `tailByteCount` more bytes and the result is its length.
  /// - Returns: those that could not be reached.
  @discardableResult
  public func send(
    _ header: ClientFrameHeader, content: UnsafeRawBufferPointer?, to clients: [Int32],
    tailByteCount: Int = 0,
    finish: (_ frame: UnsafeMutableRawBufferPointer, _ client: Int32) -> Int = { frame, _ in
      ClientFrame.setSignatureByteCount(0, inEncoded: frame)
    }
  ) -> [Int32] {
    clients.filter { client in
      guard let channel = channel(of: client), let link = linkForReply(channel) else { return true }
      let capacity = ClientFrame.byteCount(
        content: content?.count ?? 0, signature: tailByteCount, dialect: configuration.dialect,
        useMACs: configuration.usesMACs)
      let frame = link.reserve(capacity)
      ClientFrame.encode(
        into: frame, header: header, content: content, dialect: configuration.dialect,
        useMACs: configuration.usesMACs)
      link.commit(finish(frame, client))
      return false
    }
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

  /// Whether this channel is open.
  public func isOpen(_ channel: ConnectionID) -> Bool {
    let index = Int(channel.rawValue & (1 << Self.indexBits - 1))
    return index < entries.count && entries[index].link != nil
      && entries[index].generation == channel.rawValue >> Self.indexBits
  }

  /// Sends what the turn has appended.
  public func flush() {
    for index in dirty {
      entries[Int(index)].isDirty = false
      entries[Int(index)].link?.flush()
    }
    dirty.removeAll(keepingCapacity: true)
  }

  /// Bytes and flushes over all connections, those that have ended included.
  public var traffic: (sentBytes: UInt64, receivedBytes: UInt64, flushes: UInt64) {
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

extension LinkClosure {
  /// Why the link ended, unless it ended in good order.
  fileprivate var fault: String? {
    switch self {
    case .local, .peer: nil
    case .malformed(let reason), .failed(let reason): reason
    case .overflow: "it does not read"
    case .refused(let refusal): "\(refusal)"
    }
  }
}
