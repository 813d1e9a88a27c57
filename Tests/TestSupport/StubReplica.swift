// Replicas that do as a test tells them: they keep every request they see and answer what, when and as whom they are told.

import Channels
import NIOCore
import PBFT
import Wire

/// A request as it came.
public struct SeenRequest: Sendable {
  public var header: ClientFrameHeader
  public var content: [UInt8]?
  /// The whole frame, signature included.
  public var frame: [UInt8]
  /// Which connection of the stub it came on, counted from 0 in order of acceptance.
  public var connection: Int
}

/// One scripted replica. Belongs to its loop.
public final class StubReplica: LinkOwner, @unchecked Sendable {
  public typealias Script = @Sendable (StubReplica, SeenRequest) -> Void

  public let id: Int32
  public let watch: Watch
  public private(set) var requests: [SeenRequest] = []

  private let dialect: ClientDialect
  /// v1.2 with MACs: those of requests are checked, as a replica does, and replies are sealed.
  private let channelKeys: ChannelKeys12?
  private let script: Script
  private var links: [Link] = []
  private var listener: Listener?

  public var loop: any EventLoop { watch.loop }

  /// `script` is called on the loop for each request.
  public init(
    id: Int32, loop: any EventLoop, dialect: ClientDialect = .master, useMACs: Bool = false,
    script: @escaping Script
  ) {
    self.id = id
    self.dialect = dialect
    channelKeys = useMACs ? ChannelKeys12(capacity: 64) : nil
    self.script = script
    watch = Watch(loop: loop)
  }

  /// Listens at `endpoint`; returns how clients reach it.
  public func start(_ endpoint: Endpoint) async throws -> Endpoint {
    let opened = try await Listener.open(endpoint, boss: loop, worker: loop) { [self] link in
      link.number = UInt32(links.count)
      links.append(link)
      return self
    }.get()
    return try await loop.submit { [self] in
      listener = opened
      return endpoint.reached(at: opened.port)
    }.get()
  }

  public func stop() async {
    try? await loop.submit { [self] in
      listener?.close()
      hangUp()
    }.get()
  }

  /// Closes all connections and goes on listening. On the loop.
  public func hangUp() {
    for link in links { link.close() }
  }

  /// Answers `request` with `content` on the connection it came on. On the loop.
  ///
  /// - Parameters:
  ///   - sender: under which id, by default the own one.
  ///   - membershipID: by default that of the request.
  ///   - tag: what stands in the signature field.
  ///   - sealedAs: with MACs: the replica whose MAC it bears, by default the own one.
  public func answer(
    _ request: SeenRequest, _ content: [UInt8]?, sender: Int32? = nil, membershipID: Int32? = nil,
    tag: [UInt8] = [], sealedAs: Int32? = nil
  ) {
    var header = request.header
    header.sender = sender ?? id
    header.membershipID = membershipID ?? header.membershipID
    header.replyServer = -1
    var frame = Frame.bytes(
      header: header, content: content, signature: tag, dialect: dialect, useMACs: channelKeys != nil)
    frame.withUnsafeMutableBytes {
      channelKeys?.seal($0, client: request.header.sender, replica: sealedAs ?? id)
    }
    frame.withUnsafeBytes { links[request.connection].append($0) }
    links[request.connection].flush()
  }

  /// Sends bytes that need not be a frame, on the connection of `request`. On the loop.
  public func send(_ bytes: [UInt8], after request: SeenRequest) {
    bytes.withUnsafeBytes { links[request.connection].append($0) }
    links[request.connection].flush()
  }

  public func link(_ link: Link, received bytes: UnsafeRawBufferPointer) -> Int {
    var offset = 0
    while case .frame(let view, let byteCount) = ClientFrame.decode(
      UnsafeRawBufferPointer(rebasing: bytes[offset...]), maximumLength: ClientFrame.hardLimit,
      dialect: dialect, useMACs: channelKeys != nil)
    {
      let request = SeenRequest(
        header: view.header, content: view.content.map { Array($0) },
        frame: Array(bytes[offset..<offset + byteCount]), connection: Int(link.number))
      offset += byteCount
      let isAuthentic =
        channelKeys?.isAuthentic(view.mac, of: view.data, client: view.client, replica: id) ?? true
      if isAuthentic {
        requests.append(request)
        script(self, request)
      }
      if offset == bytes.count { break }
    }
    watch.changed()
    return offset
  }

  public func linkClosed(_ link: Link, _ closure: LinkClosure) { watch.changed() }

  /// Returns once `count` requests have come, resent ones included, and what they are.
  @discardableResult
  public func untilSeen(_ count: Int) async throws -> [SeenRequest] {
    try await watch.until("replica \(id) sees \(count) requests") { [self] in requests.count >= count }
    return try await seen()
  }

  /// What has come so far.
  public func seen() async throws -> [SeenRequest] {
    try await loop.submit { [self] in requests }.get()
  }

  /// Answers the request number `index` from any task.
  public func reply(
    to index: Int, _ content: [UInt8]?, sender: Int32? = nil, membershipID: Int32? = nil, tag: [UInt8] = []
  ) async throws {
    try await untilSeen(index + 1)
    try await loop.submit { [self] in
      answer(requests[index], content, sender: sender, membershipID: membershipID, tag: tag)
    }.get()
  }
}

/// Frames as bytes.
public enum Frame {
  public static func bytes(
    header: ClientFrameHeader, content: [UInt8]?, signature: [UInt8] = [], dialect: ClientDialect = .master,
    useMACs: Bool = false
  ) -> [UInt8] {
    let total = ClientFrame.byteCount(
      content: content?.count ?? 0, signature: signature.count, dialect: dialect, useMACs: useMACs)
    var frame = [UInt8](repeating: 0, count: total)
    frame.withUnsafeMutableBytes { output in
      (content ?? []).withUnsafeBytes {
        _ = ClientFrame.encode(
          into: output, header: header, content: content == nil ? nil : $0,
          signatureByteCount: signature.count, dialect: dialect, useMACs: useMACs)
      }
    }
    frame.replaceSubrange((total - signature.count)..., with: signature)
    return frame
  }
}
