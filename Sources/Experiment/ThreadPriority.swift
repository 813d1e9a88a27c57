// Where replicas and generator share cores, the generator gets its turn in time, so that what is measured is the replicas
// and not the scheduler's choice between the two.

import CScheduling
import Foundation

/// Priorities of the loops' threads.
enum ThreadPriority {
  private static let raised: Int32 = -15
  private static let lowered: Int32 = 10
  /// Linux's scheduler lets a thread of a shorter slice interrupt one of the usual milliseconds.
  private static let sliceNanoseconds: UInt64 = 100_000

  /// Whether this process may raise the priority of its threads (CAP_SYS_NICE).
  static let mayRaise: Bool = {
    let own = getpriority(ofThread, 0)
    guard setpriority(ofThread, 0, own - 1) == 0 else { return false }
    setpriority(ofThread, 0, own)
    return true
  }()

  /// For the generator's thread: before the replicas and whatever else the machine does.
  static func setGenerator() {
    _ = muster_set_slice(mayRaise ? raised : getpriority(ofThread, 0), sliceNanoseconds)
  }

  /// For the threads of in-process replicas: behind the generator's, where that cannot be raised.
  static func setReplicas() {
    if !mayRaise { setpriority(ofThread, 0, lowered) }
  }

  /// On Linux "process 0" is the calling thread.
  private static var ofThread: __priority_which_t { __priority_which_t(PRIO_PROCESS.rawValue) }
}
