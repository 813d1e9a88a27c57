// A turn of an event loop: everything its sockets and tasks brought, then one end-of-turn in which proposals are made and
// links flushed. And the clock of a loop's thread, shared out to whoever used it.

import Glibc
import NIOCore

/// Calls `body` once at the end of the turn in which it was requested: after all that the loop had ready, before it sleeps.
public final class TurnEnd: @unchecked Sendable {
  private let loop: any EventLoop
  private var isRequested = false
  private let body: () -> Void
  private var task: (@Sendable () -> Void)!

  /// `body` runs on `loop`.
  public init(loop: any EventLoop, _ body: @escaping () -> Void) {
    self.loop = loop
    self.body = body
    task = { [unowned self] in
      self.isRequested = false
      self.body()
    }
  }

  /// Asks for an end of turn. On the loop only.
  public func request() {
    guard !isRequested else { return }
    isRequested = true
    loop.execute(task)
  }
}

/// Processor time of the calling thread, in nanoseconds.
public func threadCPUNanoseconds() -> Int64 {
  var time = timespec()
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

/// What a call of one kind costs its thread, from every 16th call: reading the thread's clock costs about as much as a MAC.
public struct SampledCost: Hashable, Sendable {
  /// Calls in all, and those of them that were measured.
  public private(set) var calls: UInt64 = 0
  public private(set) var samples: UInt64 = 0
  /// Processor time of the measured calls.
  public private(set) var nanoseconds: UInt64 = 0

  public init() {}

  @inline(__always)
  public mutating func measure<Result>(_ body: () -> Result) -> Result {
    calls += 1
    guard calls & 15 == 0 else { return body() }
    let begin = threadCPUNanoseconds()
    let result = body()
    nanoseconds += UInt64(max(0, threadCPUNanoseconds() - begin))
    samples += 1
    return result
  }

  /// Mean processor time of a call after `earlier`, in nanoseconds; nil when none was measured.
  public func mean(since earlier: SampledCost) -> Int? {
    guard samples > earlier.samples else { return nil }
    return Int((nanoseconds - earlier.nanoseconds) / (samples - earlier.samples))
  }
}

/// Monotonic time in nanoseconds, the clock of all latencies.
public func monotonicNanoseconds() -> Int64 {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

/// Shares the processor time of one loop's thread out to its owners: the clock is read only when the owner changes.
/// Belongs to the loop.
public final class LoopMeter: @unchecked Sendable {
  // Of fixed size, so that owners can be made elsewhere while the loop is already at work.
  private let owners: UnsafeMutablePointer<Int64>
  private let count: Int
  private var current = -1
  private var since: Int64 = 0

  /// A meter for owners 0 ..< `owners`.
  public init(owners count: Int) {
    self.count = count
    owners = .allocate(capacity: max(1, count))
    owners.initialize(repeating: 0, count: max(1, count))
  }

  deinit { owners.deallocate() }

  /// What the thread does from now on is `owner`'s.
  public func enter(_ owner: Int) {
    precondition((0..<count).contains(owner))
    guard owner != current else { return }
    let now = threadCPUNanoseconds()
    if current >= 0 { owners[current] += now - since }
    current = owner
    since = now
  }

  /// Nanoseconds of processor time `owner` has used so far.
  public func nanoseconds(of owner: Int) -> Int64 {
    precondition((0..<count).contains(owner))
    var total = owners[owner]
    if owner == current { total += threadCPUNanoseconds() - since }
    return total
  }
}
