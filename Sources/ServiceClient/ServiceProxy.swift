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

/// A client of the replicated service; any number of them may share a loop, each with a client id of its own. Safe to use
/// from any task.
public final class ServiceProxy: SessionsObserver, @unchecked Sendable {
  /// What ends an invocation, on the loop.
  private typealias Ending = (Result<[UInt8], InvocationError>, _ equal: [[UInt8]]) -> Void

  private let loop: any EventLoop
  private let sessions: ClientSessions
  private let timeoutNanoseconds: Int64
  private var waiting: [UInt64: Ending] = [:]
  private var nextInvocation: UInt64 = 0
  private var isClosed = false
  private var ticker: RepeatedTask?

  /// - Parameters:
  ///   - configuration: replicas and quorums; `sessions` and `connections` are 1 for a proxy.
  ///   - timeoutNanoseconds: BFT-SMaRt's `system.client.invokeOrderedTimeout`.
  ///   - signerOf: makes the signer of another membership, where the signature mode depends on it (`hmac`).
  public init(
    configuration: SessionConfiguration, signer: RequestSigner, loop: any EventLoop,
    timeoutNanoseconds: Int64,
    signerOf: ((_ replicas: [ReplicaID]) -> RequestSigner?)? = nil
  ) {
    var configuration = configuration
    configuration.sessions = 1
    configuration.connections = 1
    self.loop = loop
    self.timeoutNanoseconds = timeoutNanoseconds
    sessions = ClientSessions(configuration: configuration, signer: signer, loop: loop)
    sessions.observer = self
    sessions.signerOf = signerOf
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

  /// Whether a reply quorum of the present membership can be reached.
  public func isReady() async throws -> Bool {
    try await loop.submit { [self] in sessions.isReady }.get()
  }

  /// The membership the proxy believes in: its id, its replicas, f. It follows the replicas.
  public func membership() async throws -> (id: Int32, replicas: [ReplicaID], faults: Int) {
    try await loop.submit { [self] in
      (sessions.membershipID, sessions.replicaIDs, sessions.quorums.faults)
    }.get()
  }

  // MARK: Invocations

  /// Has the request ordered and executed by the replicas; returns the content that a reply quorum agrees on.
  /// - Throws: `InvocationError`.
  public func invokeOrdered(_ content: [UInt8]) async throws -> [UInt8] {
    try await invoke(content, kind: .ordered)
  }

  /// Reads without ordering where the replicas serve that (`readonly_requests`), otherwise ordered at once. An unordered
  /// read on which no quorum agrees, or that times out, is repeated as an ordered request.
  /// - Throws: `InvocationError`.
  public func invokeUnordered(_ content: [UInt8]) async throws -> [UInt8] {
    try await invoke(content, kind: .unordered)
  }

  /// As `invokeOrdered`, but only one replica sends the reply and the others its hash. If that replica keeps silent,
  /// another one is asked under the same session and sequence.
  /// - Throws: `InvocationError`.
  public func invokeOrderedHashed(_ content: [UInt8]) async throws -> [UInt8] {
    try await invoke(content, kind: .orderedHashed)
  }

  /// As `invokeUnordered`, but only one replica sends the reply and the others its hash.
  /// - Throws: `InvocationError`.
  public func invokeUnorderedHashed(_ content: [UInt8]) async throws -> [UInt8] {
    try await invoke(content, kind: .unorderedHashed)
  }

  /// Any kind of invocation; an unordered one without quorum is repeated ordered.
  /// - Throws: `InvocationError`.
  public func invoke(_ content: [UInt8], kind: InvocationKind) async throws -> [UInt8] {
    let result = await once(content, kind)
    guard case .failure(let error) = result, isRepeatedOrdered(kind, error) else { return try result.get() }
    return try await once(content, kind.isHashed ? .orderedHashed : .ordered).get()
  }

  /// Has a change of the membership ordered; `content` is a `ReconfigureRequest`, the client the trusted third party.
  /// - Throws: `InvocationError`.
  public func invokeReconfiguration(_ content: [UInt8]) async throws -> [UInt8] {
    try await invoke(content, kind: .reconfiguration)
  }

  /// An invocation whose replies the application compares and turns into a value (BFT-SMaRt's `Comparator` and
  /// `Extractor`). `areEqual` runs on the proxy's loop.
  ///
  /// - Parameters:
  ///   - kind: ordered or unordered; hashed replies cannot be compared and are asked for whole.
  ///   - areEqual: whether two replies mean the same.
  ///   - extract: makes the value from the equal replies, a reply quorum of them or more, the last to come last.
  /// - Throws: `InvocationError`, or what `extract` throws.
  public func invoke<Value: Sendable>(
    _ content: [UInt8], kind: InvocationKind = .ordered,
    comparing areEqual: @escaping @Sendable (_ left: [UInt8], _ right: [UInt8]) -> Bool,
    extracting extract: @escaping @Sendable (_ replies: [[UInt8]]) throws -> Value
  ) async throws -> Value {
    let plain: InvocationKind = kind.isUnordered ? .unordered : .ordered
    var result = await equalReplies(content, plain, areEqual)
    if case .failure(let error) = result, isRepeatedOrdered(plain, error) {
      result = await equalReplies(content, .ordered, areEqual)
    }
    return try extract(try result.get())
  }

  /// An invocation without waiting: `whenDone` is called once, on the proxy's loop, with what the reply quorum agreed on or
  /// with why there is nothing (BFT-SMaRt's `AsynchServiceProxy`, whose application must count replies itself). As many may
  /// be in flight as `outstanding` says.
  public func invokeAsynchronously(
    _ content: [UInt8], kind: InvocationKind = .ordered,
    whenDone: @escaping @Sendable (Result<[UInt8], InvocationError>) -> Void
  ) {
    loop.execute { [self] in begin(content, kind) { result, _ in whenDone(result) } }
  }

  /// Whether unordered invocations are served as such.
  public var servesUnordered: Bool { sessions.configuration.servesUnordered }

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
      for ending in left.values { ending(.failure(.closed), []) }
    }.get()
    // What the loop has queued for the sessions, an end of turn perhaps, comes before this.
    try? await loop.submit {}.get()
  }

  // MARK: On the loop

  private func once(_ content: [UInt8], _ kind: InvocationKind) async -> Result<[UInt8], InvocationError> {
    await withCheckedContinuation { continuation in
      loop.execute { [self] in begin(content, kind) { result, _ in continuation.resume(returning: result) } }
    }
  }

  private func equalReplies(
    _ content: [UInt8], _ kind: InvocationKind, _ areEqual: @escaping @Sendable ([UInt8], [UInt8]) -> Bool
  ) async -> Result<[[UInt8]], InvocationError> {
    await withCheckedContinuation { continuation in
      loop.execute { [self] in
        begin(content, kind, comparator: areEqual) { result, equal in
          continuation.resume(returning: result.map { _ in equal })
        }
      }
    }
  }

  /// Whether an unordered invocation that ended so is worth an ordered one.
  private func isRepeatedOrdered(_ kind: InvocationKind, _ error: InvocationError) -> Bool {
    guard kind.isUnordered, servesUnordered else { return false }
    switch error {
    case .timedOut, .diverged: return true
    case .tooManyOutstanding, .notConnected, .closed: return false
    }
  }

  private func begin(
    _ content: [UInt8], _ kind: InvocationKind, comparator: ReplyComparator? = nil, _ ending: @escaping Ending
  ) {
    let limit = sessions.configuration.outstanding
    if isClosed { return ending(.failure(.closed), []) }
    if waiting.count >= limit { return ending(.failure(.tooManyOutstanding(limit: limit)), []) }
    if sessions.reachableReplicas == 0 {
      return ending(.failure(.notConnected(sessions.connectionProblems)), [])
    }
    nextInvocation += 1
    waiting[nextInvocation] = ending
    let now = monotonicNanoseconds()
    _ = content.withUnsafeBytes {
      sessions.submit(
        session: 0, content: $0, intended: now, deadline: now + timeoutNanoseconds, context: nextInvocation,
        kind: kind, comparator: comparator)
    }
  }

  public func sessionsHaveCompletions(_ sessions: ClientSessions) {
    for completion in sessions.completions {
      let equal = sessions.takeDecided(of: completion)
      guard let ending = waiting.removeValue(forKey: completion.context) else { continue }
      switch completion.outcome {
      case .answered: ending(.success(Array(sessions.content(of: completion))), equal)
      case .unknown:
        ending(.failure(.timedOut(afterSeconds: Double(timeoutNanoseconds) / 1_000_000_000)), [])
      case .diverged: ending(.failure(.diverged), [])
      }
    }
  }
}
