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

/// Monotonic time in nanoseconds, the clock of all latencies.
public func monotonicNanoseconds() -> Int64 {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

/// Shares the processor time of one loop's thread out to its owners: the clock is read only when the owner changes.
/// Belongs to the loop.
public final class LoopMeter: @unchecked Sendable {
  private var owners: [Int64] = []
  private var current = -1
  private var since: Int64 = 0

  public init() {}

  /// A new owner's number.
  public func addOwner() -> Int {
    owners.append(0)
    return owners.count - 1
  }

  /// What the thread does from now on is `owner`'s.
  public func enter(_ owner: Int) {
    guard owner != current else { return }
    let now = threadCPUNanoseconds()
    if current >= 0 { owners[current] += now - since }
    current = owner
    since = now
  }

  /// Nanoseconds of processor time `owner` has used so far.
  public func nanoseconds(of owner: Int) -> Int64 {
    var total = owners[owner]
    if owner == current { total += threadCPUNanoseconds() - since }
    return total
  }
}
