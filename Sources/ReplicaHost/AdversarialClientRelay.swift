// The client connections of an adversary: each a real link and one in memory to the replica inside, with frames passed
// between them, or not.

import Channels
import NIOCore
import Replication
import Wire

/// All client connections of one adversary. Belongs to one event loop.
final class AdversarialClientRelay: @unchecked Sendable {
  fileprivate let behaviour: AdversarialBehaviour
  /// As the links outside have it: what the status says.
  fileprivate let authentication: ReplicaAuthentication
  fileprivate let inside: MemoryPort
  fileprivate let loop: any EventLoop
  fileprivate let frames: ClientChannelsConfiguration
  /// Of the MACs in v1.2; the adversary's own.
  fileprivate let channelKeys: ChannelKeys12?
  fileprivate var pairs: [ObjectIdentifier: RelayedConnection] = [:]

  init(
    behaviour: AdversarialBehaviour, authentication: ReplicaAuthentication, inside: MemoryPort,
    loop: any EventLoop, frames: ClientChannelsConfiguration
  ) {
    self.behaviour = behaviour
    self.authentication = authentication
    self.inside = inside
    self.loop = loop
    self.frames = frames
    channelKeys = frames.usesMACs ? ChannelKeys12(capacity: 16) : nil
  }

  /// The owner of a new connection.
  func accept(_ link: Link) -> any LinkOwner {
    let pair = RelayedConnection(link, relay: self)
    pairs[ObjectIdentifier(pair)] = pair
    pair.connect()
    return pair
  }

  func stop() {
    for pair in pairs.values { pair.close() }
  }

  /// Whether a client's frame reaches the replica.
  fileprivate func lets(_ frame: ClientFrameView) -> Bool {
    guard case .censor(let client) = behaviour, RequestKind(rawValue: frame.kind) != nil else { return true }
    return frame.client != client
  }
}

/// One connection and its other half.
private final class RelayedConnection: LinkOwner, @unchecked Sendable {
  private unowned let relay: AdversarialClientRelay
  private let outside: Link
  private var inside: Link?
  /// What the client sent before the other half was there.
  private var early: [UInt8] = []
  private var isClosed = false
  /// Who sent the last frame.
  private var client: Int32 = 0

  init(_ outside: Link, relay: AdversarialClientRelay) {
    self.outside = outside
    self.relay = relay
  }

  func connect() {
    Endpoint.memory(relay.inside).connect(on: relay.loop, owner: self).whenComplete { [self] result in
      guard case .success(let link) = result, !isClosed else {
        if case .success(let link) = result { link.close() }
        return close()
      }
      inside = link
      early.withUnsafeBytes { link.append($0) }
      early = []
      link.flush()
    }
  }

  func close() {
    guard !isClosed else { return }
    isClosed = true
    outside.close()
    inside?.close()
    relay.pairs[ObjectIdentifier(self)] = nil
  }

  func linkClosed(_ link: Link, _ closure: LinkClosure) { close() }

  func link(_ link: Link, received bytes: UnsafeRawBufferPointer) -> Int {
    let isFromClient = link === outside
    var offset = 0
    while offset < bytes.count {
      let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
      switch ClientFrame.decode(
        rest, maximumLength: relay.frames.maximumFrameBytes, dialect: relay.frames.dialect,
        useMACs: relay.frames.usesMACs)
      {
      case .frame(let frame, let byteCount):
        let whole = UnsafeRawBufferPointer(rebasing: rest[..<byteCount])
        if isFromClient { take(frame, whole) } else { answer(frame, whole) }
        offset += byteCount
        continue
      case .incomplete: break
      case .skip, .malformed:
        close()
        return bytes.count
      }
      break
    }
    if isFromClient { inside?.flush() } else { outside.flush() }
    return offset
  }

  private func take(_ frame: ClientFrameView, _ bytes: UnsafeRawBufferPointer) {
    client = frame.client
    guard relay.lets(frame) else { return }
    if let inside {
      inside.append(bytes)
    } else if early.count + bytes.count <= outside.queueLimitBytes {
      early.append(contentsOf: bytes)
    }
  }

  private func answer(_ frame: ClientFrameView, _ bytes: UnsafeRawBufferPointer) {
    guard frame.kind == ClientMessageKind.statusReply.rawValue else {
      if relay.behaviour != .silent { outside.append(bytes) }
      return
    }
    // The replica inside is of another opinion about its links than the world outside.
    let content = frame.content ?? UnsafeRawBufferPointer(start: nil, count: 0)
    guard var report = try? StatusReport(decoding: content) else { return outside.append(bytes) }
    report.settings = report.settings.map { setting in
      setting.name == "replica_auth"
        ? StatusReport.Setting(name: setting.name, value: relay.authentication.rawValue) : setting
    }
    report.settings.append(StatusReport.Setting(name: "byzantine", value: "\(relay.behaviour)"))
    report.encode().withUnsafeBytes { content in
      let frames = relay.frames
      let capacity = ClientFrame.byteCount(
        content: content.count, signature: 0, dialect: frames.dialect, useMACs: frames.usesMACs)
      let answer = outside.reserve(capacity)
      let count = ClientFrame.encode(
        into: answer, header: frame.header, content: content, dialect: frames.dialect,
        useMACs: frames.usesMACs)
      // The client is not in a reply: whoever asked last.
      relay.channelKeys?.seal(answer, client: client, replica: frame.sender)
      outside.commit(count)
    }
  }
}
