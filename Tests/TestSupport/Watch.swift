// Waiting without sleeping: a condition on state that belongs to an event loop is looked at again each time that state
// changes. A limit that no healthy machine reaches turns a hang into a failure that says what never happened.

import Channels
import NIOCore
import NIOPosix

/// Something a test waited for did not happen.
public struct NeverHappened: Error, CustomStringConvertible {
  public let description: String

  public init(_ what: String) { description = "never happened: \(what)" }
}

/// Conditions on the state of one event loop.
public final class Watch: @unchecked Sendable {
  /// Far above anything a test needs; a busy machine may be slow.
  public static let limit = TimeAmount.seconds(60)

  public let loop: any EventLoop
  private var waiters: [(condition: () -> Bool, promise: EventLoopPromise<Void>)] = []

  public init(loop: any EventLoop) { self.loop = loop }

  /// The state has changed. On the loop.
  public func changed() {
    let (met, waiting) = (waiters.filter { $0.condition() }, waiters.filter { !$0.condition() })
    waiters = waiting
    for waiter in met { waiter.promise.succeed() }
  }

  /// Returns once `condition`, read on the loop, holds.
  public func until(_ what: String, _ condition: @escaping @Sendable () -> Bool) async throws {
    try await loop.flatSubmit { [self] () -> EventLoopFuture<Void> in
      if condition() { return loop.makeSucceededVoidFuture() }
      let promise = loop.makePromise(of: Void.self)
      waiters.append((condition, promise))
      let limit = loop.scheduleTask(in: Self.limit) { promise.fail(NeverHappened(what)) }
      promise.futureResult.whenComplete { _ in limit.cancel() }
      return promise.futureResult
    }.get()
  }
}

/// Asks again and again, for state that tells nobody of its changes. `ask` itself must take a turn of a loop or more.
public func eventually(_ what: String, on loop: any EventLoop, _ ask: () async throws -> Bool) async throws {
  let limit = NIODeadline.now() + Watch.limit
  while try await !ask() {
    guard NIODeadline.now() < limit else { throw NeverHappened(what) }
    // A pause on the loop's own clock, so that asking leaves the processor to those who answer.
    try await loop.scheduleTask(in: .milliseconds(2)) {}.futureResult.get()
  }
}

/// The ways in which two parties of a test are joined.
public enum Transport: String, CaseIterable, Sendable {
  case memory
  case sockets

  /// A place to listen at; over sockets a port of the loopback that nobody else gets.
  public func place() -> Endpoint {
    switch self {
    case .memory: .memory(MemoryPort())
    case .sockets: .socket(host: "127.0.0.1", port: LoopbackPorts.take())
    }
  }
}

extension Endpoint {
  /// How to reach a listener that was opened here and has got `port`.
  public func reached(at port: Int?) -> Endpoint {
    switch self {
    case .memory: self
    case .socket(let host, let asked): .socket(host: host, port: port ?? asked)
    }
  }
}

/// Runs `body` with event loops that are shut down afterwards, whatever happens.
public func withLoops<Result>(
  _ count: Int, _ body: ([any EventLoop]) async throws -> Result
) async throws -> Result {
  let group = MultiThreadedEventLoopGroup(numberOfThreads: count)
  do {
    let result = try await body(Array(group.makeIterator()))
    try await group.shutdownGracefully()
    return result
  } catch {
    try? await group.shutdownGracefully()
    throw error
  }
}
