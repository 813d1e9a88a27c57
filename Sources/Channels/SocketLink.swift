// A link over a SwiftNIO channel: the channel's only handler, or the one behind TLS. Bursts are decoded straight from the
// buffers the kernel filled; one write and one flush per turn leave, with no promise.

import Glibc
import NIOCore
import NIOPosix
import NIOSSL
import PBFT

/// A link over TCP.
final class SocketLink: Link, ChannelInboundHandler, @unchecked Sendable {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private var context: ChannelHandlerContext?
  private var closing: LinkClosure?
  private var partial = ByteQueue()
  private var outgoing = ByteBuffer()
  /// What encrypts; nil on plain links.
  private var tls: NIOSSLHandler?

  private var accept: (@Sendable (Link) -> any LinkOwner)?

  /// The accepting end of a connection: `accept` names its owner once the channel can be written to.
  convenience init(loop: any EventLoop, accept: @escaping @Sendable (Link) -> any LinkOwner) {
    self.init(loop: loop, owner: UnclaimedLinkOwner.shared)
    self.accept = accept
  }

  /// The peer is known before the link joins its channel.
  func securedBy(_ handler: NIOSSLHandler, peer: ReplicaID) {
    tls = handler
    self.peer = peer
  }

  func channelActive(context: ChannelHandlerContext) {
    SocketOptions.calmLoopback(context.channel)
    if let accept {
      self.accept = nil
      owner = accept(self)
    }
    context.fireChannelActive()
  }

  /// Above this many bytes waiting in the channel, flushes look at the queue limit.
  static let highWaterBytes = 1 << 20

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  func handlerRemoved(context: ChannelHandlerContext) {
    self.context = nil
    tls = nil
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !isClosed, closing == nil else { return }
    let buffer = unwrapInboundIn(data)
    countReceived(buffer.readableBytes)
    if partial.isEmpty {
      buffer.withUnsafeReadableBytes { bytes in
        let consumed = deliver(bytes)
        if consumed < bytes.count { partial.append(UnsafeRawBufferPointer(rebasing: bytes[consumed...])) }
      }
    } else {
      buffer.withUnsafeReadableBytes { partial.append($0) }
      let consumed = deliver(partial.readableBytes)
      partial.consume(consumed)
      if partial.isEmpty { partial.shrink(to: 64 << 10) }
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    finish(closing ?? .peer)
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    if closing == nil { closing = closure(error) }
    end(context)
  }

  private func closure(_ error: any Error) -> LinkClosure {
    guard tls != nil, !(error is IOError) else { return .failed("\(error)") }
    let refusal = LinkRefusal(error)
    return refusal == .ended ? .peer : .refused(refusal)
  }

  private func end(_ context: ChannelHandlerContext) {
    if let tls { context.closeBelow(tls) } else { context.close(promise: nil) }
  }

  override func transmit() {
    guard let context, closing == nil else {
      output.removeAll()
      return
    }
    if !context.channel.isWritable, exceedsLimit(context.channel) {
      output.removeAll()
      close(.overflow)
      return
    }
    // The channel lets go of the buffer once the kernel has taken it, usually before the flush returns: then
    // clearing keeps the storage.
    outgoing.clear(minimumCapacity: output.count)
    outgoing.writeBytes(output.readableBytes)
    output.removeAll()
    if outgoing.capacity > 1 << 20 { output.shrink(to: 64 << 10) }
    context.writeAndFlush(wrapOutboundOut(outgoing), promise: nil)
  }

  private func exceedsLimit(_ channel: any Channel) -> Bool {
    guard let options = channel.syncOptions,
      let waiting = try? options.getOption(.bufferedWritableBytes)
    else { return false }
    return waiting + output.count > queueLimitBytes
  }

  override func close(_ closure: LinkClosure = .local) {
    guard !isClosed, closing == nil else { return }
    closing = closure
    if let context {
      end(context)
    } else {
      finish(closure)
    }
  }
}

/// Options every TCP channel of ours has: no Nagle delay, keep-alive, bounded write buffers.
enum SocketOptions {
  static func apply(to channel: any Channel) throws {
    guard let options = channel.syncOptions else { return }
    try options.setOption(.tcpOption(.tcp_nodelay), value: 1)
    try options.setOption(.socketOption(.so_keepalive), value: 1)
    try options.setOption(
      .writeBufferWaterMark,
      value: .init(low: SocketLink.highWaterBytes / 2, high: SocketLink.highWaterBytes))
    try options.setOption(
      .recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 2048, initial: 8192, maximum: 1 << 18))
  }

  /// Takes TCP's Reno on the loopback, which nothing congests. BBR, a common default, lets a connection send next to
  /// nothing for 200 ms every ten seconds to measure the round trip: stalls of 50 to 140 ms that are not the replicas'.
  /// Between hosts the machine's own choice stays.
  static func calmLoopback(_ channel: any Channel) {
    guard let address = channel.remoteAddress, address.isLoopback,
      let provider = channel as? any SocketOptionProvider
    else { return }
    var name: (UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0)
    withUnsafeMutableBytes(of: &name) { $0.copyBytes(from: "reno".utf8) }
    // A kernel that does not offer it keeps what it has.
    _ = provider.unsafeSetSocketOption(
      level: .tcp, name: NIOBSDSocket.Option(rawValue: TCP_CONGESTION), value: name)
  }
}

extension SocketAddress {
  /// Whether it is in 127.0.0.0/8 or ::1.
  var isLoopback: Bool {
    switch self {
    case .v4(let address): return address.address.sin_addr.s_addr & UInt32(0xff).littleEndian == 127
    case .v6(let address):
      return withUnsafeBytes(of: address.address.sin6_addr) {
        $0.dropLast().allSatisfy { $0 == 0 } && $0.last == 1
      }
    case .unixDomainSocket: return true
    }
  }
}
