// Where a party listens and how it is reached: TCP or memory behind one name, so that replicas and clients are written
// once for all transports.

import NIOCore
import NIOPosix

/// An address to listen on or to connect to.
public enum Endpoint: Sendable, CustomStringConvertible {
  case socket(host: String, port: Int)
  case memory(MemoryPort)

  public var description: String {
    switch self {
    case .socket(let host, let port): return host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    case .memory: return "memory"
    }
  }

  /// Nobody listens at a memory endpoint.
  public struct NobodyListens: Error, CustomStringConvertible {
    public var description: String { "nobody listens at this memory endpoint" }
  }

  /// Opens a link to this endpoint on `loop`. The future fails when the connection is refused or does not come about
  /// within `timeout`, with a `LinkRefusal` where TLS is the reason.
  ///
  /// - Parameter security: TLS for the link; only over sockets.
  public func connect(
    on loop: any EventLoop, owner: any LinkOwner & Sendable, timeout: TimeAmount = .seconds(10),
    security: LinkTLS? = nil
  ) -> EventLoopFuture<Link> {
    switch self {
    case .memory(let port):
      precondition(security == nil, "there is no TLS in memory")
      return loop.submit {
        guard let link = port.connect(loop: loop, owner: owner) else { throw NobodyListens() }
        return link
      }
    case .socket(let host, let port):
      if let security {
        return Self.connect(
          to: host, port: port, on: loop, owner: owner, timeout: timeout, security: security)
      }
      return ClientBootstrap(group: loop)
        .connectTimeout(timeout)
        .channelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            try SocketOptions.apply(to: channel)
            try channel.pipeline.syncOperations.addHandler(SocketLink(loop: channel.eventLoop, owner: owner))
          }
        }
        .connect(host: host, port: port)
        .flatMapThrowing { channel in
          try channel.pipeline.syncOperations.handler(type: SocketLink.self)
        }
    }
  }

  private static func connect(
    to host: String, port: Int, on loop: any EventLoop, owner: any LinkOwner & Sendable, timeout: TimeAmount,
    security: LinkTLS
  ) -> EventLoopFuture<Link> {
    let promise = loop.makePromise(of: Link.self)
    ClientBootstrap(group: loop)
      .connectTimeout(timeout)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try SocketOptions.apply(to: channel)
          let link = SocketLink(loop: channel.eventLoop, owner: owner)
          try security.install(in: channel, link: link, isDialling: true) { result in
            switch result {
            case .success(let link): promise.succeed(link)
            case .failure(let refusal): promise.fail(refusal)
            }
          }
        }
      }
      .connect(host: host, port: port)
      .whenFailure { promise.fail($0) }
    return promise.futureResult
  }
}

/// A place where links come in. `close` stops accepting; links that exist go on.
public final class Listener: Sendable {
  private enum Kind {
    case socket(any Channel)
    case memory(MemoryPort)
  }

  private let kind: Kind
  /// The TCP port in use (also when 0 was asked for); nil in memory.
  public let port: Int?

  private init(_ kind: Kind, port: Int?) {
    self.kind = kind
    self.port = port
  }

  /// Listens at `endpoint`. Connections are accepted on `boss` and live on `worker`, where `accept` names their owner.
  ///
  /// - Parameters:
  ///   - security: TLS for the links; only over sockets. Then `accept` is called once the peer has proved who it is.
  ///   - refused: is told on `worker` of connections that TLS has refused, and from which address they came.
  public static func open(
    _ endpoint: Endpoint, boss: any EventLoopGroup, worker: any EventLoop, backlog: Int32 = 1024,
    security: LinkTLS? = nil, refused: @escaping @Sendable (LinkRefusal, String) -> Void = { _, _ in },
    accept: @escaping @Sendable (Link) -> any LinkOwner
  ) -> EventLoopFuture<Listener> {
    switch endpoint {
    case .memory(let port):
      precondition(security == nil, "there is no TLS in memory")
      port.listen(.init(loop: worker, accept: accept))
      return worker.makeSucceededFuture(Listener(.memory(port), port: nil))
    case .socket(let host, let port):
      let handshakes = HandshakeCount()
      return ServerBootstrap(group: boss, childGroup: worker)
        .serverChannelOption(.backlog, value: backlog)
        .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
        .childChannelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            try SocketOptions.apply(to: channel)
            let link = SocketLink(loop: channel.eventLoop, accept: accept)
            guard let security else { return try channel.pipeline.syncOperations.addHandler(link) }
            let address = channel.remoteAddress?.ipAddress ?? "an unknown address"
            guard handshakes.begin() else {
              refused(.tooMany, address)
              throw LinkRefusal.tooMany
            }
            try security.install(in: channel, link: link, isDialling: false) { result in
              handshakes.end()
              if case .failure(let refusal) = result { refused(refusal, address) }
            }
          }
        }
        .bind(host: host, port: port)
        .map { Listener(.socket($0), port: $0.localAddress?.port) }
    }
  }

  public func close() {
    switch kind {
    case .socket(let channel): channel.close(promise: nil)
    case .memory(let port): port.listen(nil)
    }
  }
}

/// Connections of one listener that are proving who they are. Belongs to the listener's worker.
private final class HandshakeCount: @unchecked Sendable {
  private var count = 0

  /// Whether one more may begin.
  func begin() -> Bool {
    guard count < LinkTLS.handshakesLimit else { return false }
    count += 1
    return true
  }

  func end() { count -= 1 }
}
