// Load sessions against stub replicas over the memory transport, all on one event loop: everything between a
// due request and its completion but the kernel and the ordering.

import Channels
import LoadGenerator
import NIOCore
import NIOPosix
import PBFT
import ServiceClient
import Wire

/// Rounds in which every session sends one request and waits for its reply quorum. `run` is called from
/// outside the loop.
final class SessionRound: SessionsObserver, @unchecked Sendable {
  private let loop: any EventLoop
  private let sessions: ClientSessions
  private let stubs: [NullReplica]
  private let count: Int
  private var missing = 0
  private var before: UInt64 = 0
  private var meter: AllocationMeter?
  private var finished: EventLoopPromise<Int>?

  init(sessions count: Int) {
    self.count = count
    let keys = BenchmarkKeys()
    let loop = MultiThreadedEventLoopGroup(numberOfThreads: 1).next()
    self.loop = loop
    let ports = keys.replicas.map { _ in MemoryPort() }
    stubs = keys.replicas.indices.map { index in
      NullReplica(
        id: Int32(index),
        verifier: try! RequestVerifier(
          mode: .none, secrets: keys.secrets(of: index), replicas: keys.replicas, clientCapacity: count),
        replyBytes: 0, loop: loop)
    }
    for (stub, port) in zip(stubs, ports) { _ = try! stub.start(.memory(port), boss: loop).wait() }
    var configuration = SessionConfiguration(
      replicas: ports.map { .memory($0) }, quorums: Membership(replicas: keys.replicas, faults: 1)!.quorums)
    configuration.sessions = count
    configuration.connections = 4
    let signer = try! RequestSigner(
      mode: .none, secrets: keys.cluster.generatorSecrets, replicas: keys.replicas, clientCapacity: count)
    let settled = configuration
    sessions = try! loop.submit { ClientSessions(configuration: settled, signer: signer, loop: loop) }.wait()
    try! loop.flatSubmit { [self] in
      sessions.observer = self
      return sessions.connect()
    }.wait()
  }

  /// One round. Gives the bytes that the loop's thread allocated in it.
  func run() -> Int {
    let promise = loop.makePromise(of: Int.self)
    loop.execute { [self] in begin(promise) }
    return try! promise.futureResult.wait()
  }

  private func begin(_ promise: EventLoopPromise<Int>) {
    finished = promise
    missing = count
    let meter = meter ?? AllocationMeter()
    self.meter = meter
    before = meter.bytes
    let now = monotonicNanoseconds()
    let empty = UnsafeRawBufferPointer(start: nil, count: 0)
    for session in 0..<count {
      sessions.submit(
        session: session, content: empty, intended: now, deadline: now + 5_000_000_000, context: 0)
    }
  }

  func sessionsHaveCompletions(_ sessions: ClientSessions) {
    missing -= sessions.completions.count
    guard missing == 0, let promise = finished, let meter else { return }
    finished = nil
    promise.succeed(Int(meter.bytes &- before))
  }
}
