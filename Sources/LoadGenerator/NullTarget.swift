// Replicas that order nothing: same transport and frames, replies authenticated as those of real ones, and an answer at
// once. What the generator reaches against them is its own ceiling. They do not verify requests: on two cores that would
// make the ceiling of a signed mode the stubs' and not the generator's.

import Channels
import NIOCore
import Wire

/// One stub replica. Belongs to its event loop.
public final class NullReplica: LinkOwner, @unchecked Sendable {
  private let id: Int32
  /// Tags the replies where the mode has tags.
  private let verifier: RequestVerifier
  private let replyContent: [UInt8]
  private let dialect: ClientDialect
  /// Seals replies where v1.2's frames have MACs; those of requests are not checked, as signatures are not.
  private let channelKeys: ChannelKeys12?
  private let loop: any EventLoop
  private var links: [ObjectIdentifier: Link] = [:]
  private var dirty: [Link] = []
  private var turn: TurnEnd!
  private var listener: Listener?

  /// - Parameters:
  ///   - replyBytes: added to the 16 bytes of the record.
  ///   - channelKeys: of v1.2 with MACs; nil without.
  public init(
    id: Int32, verifier: RequestVerifier, replyBytes: Int, dialect: ClientDialect = .master,
    channelKeys: ChannelKeys12? = nil, loop: any EventLoop
  ) {
    self.id = id
    self.verifier = verifier
    self.dialect = dialect
    self.channelKeys = channelKeys
    self.loop = loop
    replyContent = Array(repeating: 0, count: 16 + replyBytes)
    turn = TurnEnd(loop: loop) { [unowned self] in
      for link in dirty { link.flush() }
      dirty.removeAll(keepingCapacity: true)
    }
  }

  /// Listens at `endpoint`; the future gives the TCP port, nil in memory.
  public func start(_ endpoint: Endpoint, boss: any EventLoopGroup) -> EventLoopFuture<Int?> {
    Listener.open(endpoint, boss: boss, worker: loop) { [self] link in
      links[ObjectIdentifier(link)] = link
      return self
    }.hop(to: loop).map { [self] in
      listener = $0
      return $0.port
    }
  }

  public func stop() -> EventLoopFuture<Void> {
    loop.submit { [self] in
      listener?.close()
      for link in links.values { link.close() }
      links.removeAll()
    }
  }

  public func linkClosed(_ link: Link, _ closure: LinkClosure) { links[ObjectIdentifier(link)] = nil }

  public func link(_ link: Link, received bytes: UnsafeRawBufferPointer) -> Int {
    var offset = 0
    scan: while offset < bytes.count {
      let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
      guard
        case .frame(let frame, let byteCount) = ClientFrame.decode(
          rest, maximumLength: 64 << 20, dialect: dialect, useMACs: channelKeys != nil)
      else { break scan }
      offset += byteCount
      answer(frame, on: link)
    }
    return offset
  }

  /// The record is a function of the request alone, so that all stubs give the same one without agreeing.
  private func answer(_ frame: ClientFrameView, on link: Link) {
    if !link.needsFlush {
      dirty.append(link)
      turn.request()
    }
    let capacity = ClientFrame.byteCount(
      content: replyContent.count, signature: verifier.replyTagByteCount, dialect: dialect,
      useMACs: channelKeys != nil)
    let output = link.reserve(capacity)
    var header = frame.header
    header.sender = id
    header.replyServer = -1
    replyContent.withUnsafeBytes {
      _ = ClientFrame.encode(
        into: output, header: header, content: $0, dialect: dialect, useMACs: channelKeys != nil)
    }
    let record = (UInt64(UInt32(bitPattern: frame.client)), UInt64(UInt32(bitPattern: frame.sequence)))
    output.storeBytes(
      of: record, toByteOffset: ClientFrame.dataOffset + dialect.contentOffset, as: (UInt64, UInt64).self)
    channelKeys?.seal(output, client: frame.client, replica: id)
    link.commit(verifier.tagReply(output, to: frame.client))
  }
}
