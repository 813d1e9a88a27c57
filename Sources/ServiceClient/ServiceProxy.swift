// The application's way to the replicated service: BFT-SMaRt's service proxy with an asynchronous interface. One session;
// several invocations may be in flight, and each ends with the reply quorum's content or with a typed error.

import Channels
import NIOCore
import PBFT
import Wire

/// Why an invocation has no result.
public enum InvocationError: Error, Equatable, CustomStringConvertible {
  /// The timeout passed without a reply quorum. Whether the request was executed is unknown.
  case timedOut(afterSeconds: Double)
  /// Every replica answered and no reply quorum agreed.
  case diverged
  /// More invocations are in flight than the session may have.
  case tooManyOutstanding(limit: Int)
  /// Too few replicas can be reached for a reply quorum.
  case notConnected([String])
  /// The proxy has been closed.
  case closed

  public var description: String {
    switch self {
    case .timedOut(let seconds):
      return "no reply quorum within \(seconds) s; whether the request was executed is unknown"
    case .diverged: return "the replicas answered differently and no reply quorum agreed"
    case .tooManyOutstanding(let limit): return "\(limit) invocations are in flight, the session's limit"
    case .notConnected(let problems):
      return "too few replicas can be reached: " + problems.joined(separator: "; ")
    case .closed: return "the service proxy is closed"
    }
  }
}

/// A client of the replicated service. Safe to use from any task.
public final class ServiceProxy: SessionsObserver, @unchecked Sendable {
  private let loop: any EventLoop
  private let sessions: ClientSessions
  private let timeoutNanoseconds: Int64
  private var waiting: [UInt64: CheckedContinuation<[UInt8], any Error>] = [:]
  private var nextInvocation: UInt64 = 0
  private var isClosed = false
  private var ticker: RepeatedTask?

  /// - Parameters:
  ///   - configuration: replicas and quorums; `sessions` and `connections` are 1 for a proxy.
  ///   - timeoutNanoseconds: BFT-SMaRt's `system.client.invokeOrderedTimeout`.
  public init(
    configuration: SessionConfiguration, signer: RequestSigner, loop: any EventLoop, timeoutNanoseconds: Int64
  ) {
    var configuration = configuration
    configuration.sessions = 1
    configuration.connections = 1
    self.loop = loop
    self.timeoutNanoseconds = timeoutNanoseconds
    sessions = ClientSessions(configuration: configuration, signer: signer, loop: loop)
    sessions.observer = self
  }

  /// Connects to the replicas; returns once enough for a reply quorum are reached (all, when `forAll`), or throws
  /// `notConnected` after `timeout`.
  public func connect(timeout: TimeAmount = .seconds(10), forAll: Bool = false) async throws {
    let all = try await loop.submit { [self] in
      let ready = sessions.connect()
      ticker = loop.scheduleRepeatedTask(initialDelay: .milliseconds(2), delay: .milliseconds(2)) {
        [weak self] _ in
        self?.sessions.advance(to: monotonicNanoseconds())
      }
      return ready
    }.get()
    let deadline = NIODeadline.now() + timeout
    let promise = loop.makePromise(of: Void.self)
    all.cascade(to: promise)
    let needed = forAll ? sessions.configuration.replicas.count : sessions.configuration.replyQuorum
    let poll = loop.scheduleRepeatedTask(initialDelay: .milliseconds(5), delay: .milliseconds(5)) {
      [self] task in
      if !forAll, NIODeadline.now() + .milliseconds(1) > deadline - timeout + .milliseconds(200),
        sessions.reachableReplicas >= needed
      {
        promise.succeed()
        task.cancel()
      } else if NIODeadline.now() > deadline {
        promise.fail(InvocationError.notConnected(sessions.connectionProblems))
        task.cancel()
      }
    }
    defer { poll.cancel() }
    try await promise.futureResult.get()
  }

  /// Has the request ordered and executed by the replicas; returns the content that a reply quorum agrees on.
  /// - Throws: `InvocationError`.
  public func invokeOrdered(_ content: [UInt8]) async throws -> [UInt8] {
    try await invoke(content, unordered: false)
  }

  /// Reads without ordering where the replicas serve that (`readonly_requests`), otherwise ordered at once. An unordered
  /// read on which no quorum agrees, or that times out, is repeated as an ordered request.
  /// - Throws: `InvocationError`.
  public func invokeUnordered(_ content: [UInt8]) async throws -> [UInt8] {
    do {
      return try await invoke(content, unordered: true)
    } catch let error as InvocationError where sessions.configuration.readOnlyRequests {
      switch error {
      case .diverged, .timedOut: return try await invoke(content, unordered: false)
      default: throw error
      }
    }
  }

  /// Whether unordered invocations are served as such.
  public var servesUnordered: Bool { sessions.configuration.readOnlyRequests }

  /// What did not go straight so far.
  public func counters() async throws -> SessionCounters {
    try await loop.submit { [self] in sessions.counters }.get()
  }

  /// Closes the connections; invocations in flight end with `closed`.
  public func close() async {
    try? await loop.submit { [self] in
      isClosed = true
      ticker?.cancel()
      sessions.close()
      let left = waiting
      waiting.removeAll()
      for continuation in left.values { continuation.resume(throwing: InvocationError.closed) }
    }.get()
    // What the loop has queued for the sessions, an end of turn perhaps, comes before this.
    try? await loop.submit {}.get()
  }

  private func invoke(_ content: [UInt8], unordered: Bool) async throws -> [UInt8] {
    try await withCheckedThrowingContinuation { continuation in
      loop.execute { [self] in
        let limit = sessions.configuration.outstanding
        if isClosed {
          continuation.resume(throwing: InvocationError.closed)
        } else if waiting.count >= limit {
          continuation.resume(throwing: InvocationError.tooManyOutstanding(limit: limit))
        } else if sessions.reachableReplicas == 0 {
          continuation.resume(throwing: InvocationError.notConnected(sessions.connectionProblems))
        } else {
          nextInvocation += 1
          waiting[nextInvocation] = continuation
          let now = monotonicNanoseconds()
          _ = content.withUnsafeBytes {
            sessions.submit(
              session: 0, content: $0, intended: now, deadline: now + timeoutNanoseconds,
              context: nextInvocation,
              unordered: unordered)
          }
        }
      }
    }
  }

  public func sessionsHaveCompletions(_ sessions: ClientSessions) {
    for completion in sessions.completions {
      guard let continuation = waiting.removeValue(forKey: completion.context) else { continue }
      switch completion.outcome {
      case .answered: continuation.resume(returning: Array(sessions.content(of: completion)))
      case .unknown:
        continuation.resume(
          throwing: InvocationError.timedOut(afterSeconds: Double(timeoutNanoseconds) / 1_000_000_000))
      case .diverged: continuation.resume(throwing: InvocationError.diverged)
      }
    }
  }
}
