// One end of a connection in the hands of a test: it keeps what comes, byte for byte, and why it ended.

import Channels
import NIOCore
import Wire

/// Owner of one link. Its state belongs to its loop.
public final class PlainLink: LinkOwner, @unchecked Sendable {
  public typealias Taking = (Link, UnsafeRawBufferPointer) -> Int

  public let watch: Watch
  public private(set) var link: Link!
  /// What was presented, call by call, and the bytes taken of all of it.
  public private(set) var presented: [[UInt8]] = []
  public private(set) var taken: [UInt8] = []
  public private(set) var closures: [LinkClosure] = []
  private let taking: Taking

  public var loop: any EventLoop { watch.loop }

  /// `taking` decides how many of the bytes presented are taken; by default all.
  public init(loop: any EventLoop, taking: @escaping Taking = { $1.count }) {
    watch = Watch(loop: loop)
    self.taking = taking
  }

  /// An end that connects to `endpoint`.
  public static func connect(
    to endpoint: Endpoint, on loop: any EventLoop, security: LinkTLS? = nil,
    taking: @escaping Taking = { $1.count }
  ) async throws -> PlainLink {
    let end = PlainLink(loop: loop, taking: taking)
    try await endpoint.connect(on: loop, owner: end, security: security).map { end.adopt($0) }.get()
    return end
  }

  /// Takes the link that this object owns. On the loop.
  public func adopt(_ link: Link) {
    self.link = link
    watch.changed()
  }

  public func link(_ link: Link, received bytes: UnsafeRawBufferPointer) -> Int {
    presented.append(Array(bytes))
    let count = taking(link, bytes)
    taken.append(contentsOf: bytes[..<count])
    watch.changed()
    return count
  }

  public func linkClosed(_ link: Link, _ closure: LinkClosure) {
    closures.append(closure)
    watch.changed()
  }

  /// Reads or changes the state on its loop.
  public func on<Result: Sendable>(_ body: @escaping @Sendable (PlainLink) throws -> Result) async throws
    -> Result
  {
    try await loop.submit { [self] in try body(self) }.get()
  }

  /// Sends `bytes` in one flush.
  public func send(_ bytes: [UInt8]) async throws {
    try await on { end in
      bytes.withUnsafeBytes { end.link.append($0) }
      end.link.flush()
    }
  }

  public func untilTaken(_ count: Int) async throws -> [UInt8] {
    try await watch.until("\(count) bytes are taken") { [self] in taken.count >= count }
    return try await on { $0.taken }
  }

  /// Returns why the link ended, once it has.
  public func untilClosed() async throws -> LinkClosure {
    try await watch.until("the link ends") { [self] in !closures.isEmpty }
    return try await on { $0.closures[0] }
  }

  /// The whole client frames taken so far, as header and content.
  public func frames() -> [(header: ClientFrameHeader, content: [UInt8]?)] {
    var frames: [(header: ClientFrameHeader, content: [UInt8]?)] = []
    taken.withUnsafeBytes { bytes in
      var offset = 0
      while offset < bytes.count,
        case .frame(let view, let byteCount) = ClientFrame.decode(
          UnsafeRawBufferPointer(rebasing: bytes[offset...]), maximumLength: ClientFrame.hardLimit)
      {
        frames.append((view.header, view.content.map { Array($0) }))
        offset += byteCount
      }
    }
    return frames
  }

  /// Returns once `count` client frames have come.
  public func untilFrames(_ count: Int) async throws -> [(header: ClientFrameHeader, content: [UInt8]?)] {
    try await watch.until("\(count) frames come") { [self] in frames().count >= count }
    return try await on { $0.frames() }
  }

  public func close() async {
    try? await on { $0.link?.close() }
  }
}
