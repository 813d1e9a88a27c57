// Where replicas and generator share cores, the generator gets its turn in time, so that what is measured is the replicas
// and not the scheduler's choice between the two.

import Foundation

/// Priorities of the loops' threads.
enum ThreadPriority {
  private static let raised: Int32 = -15
  private static let lowered: Int32 = 10

  /// Whether this process may raise the priority of its threads (CAP_SYS_NICE).
  static let mayRaise: Bool = {
    let own = getpriority(ofThread, 0)
    guard setpriority(ofThread, 0, own - 1) == 0 else { return false }
    setpriority(ofThread, 0, own)
    return true
  }()

  /// For the generator's thread: before the replicas and whatever else the machine does. As a real-time thread of the lowest
  /// priority, or where the machine has none to give, by its niceness.
  static func setGenerator() {
    _ = raisedSession
    var lowest = sched_param(sched_priority: sched_get_priority_min(SCHED_FIFO))
    if pthread_setschedparam(pthread_self(), SCHED_FIFO, &lowest) != 0, mayRaise {
      setpriority(ofThread, 0, raised)
    }
  }

  /// For the threads of in-process replicas: behind the generator's, where that cannot be raised.
  static func setReplicas() {
    if !mayRaise { setpriority(ofThread, 0, lowered) }
  }

  /// Raises the session of this process until the process ends. Linux shares the cores out between sessions first
  /// (autogroup), and threads' priorities count within one only: without this a stranger's thread gets half a core,
  /// however high ours are, and nearly all of the core that the generator is not on.
  private static let raisedSession: Bool = {
    guard mayRaise, let own = sessionNice, own > raised, setSessionNice(raised) else { return false }
    niceToRestore = own
    atexit { _ = setSessionNice(niceToRestore) }
    return true
  }()

  nonisolated(unsafe) private static var niceToRestore: Int32 = 0
  private static let sessionPath = "/proc/self/autogroup"

  /// The priority of the session, from "/autogroup-49 nice 0"; nil where Linux does not group by sessions.
  private static var sessionNice: Int32? {
    guard let text = try? String(contentsOfFile: sessionPath, encoding: .utf8) else { return nil }
    return text.split(whereSeparator: \.isWhitespace).last.flatMap { Int32($0) }
  }

  private static func setSessionNice(_ nice: Int32) -> Bool {
    guard let file = fopen(sessionPath, "w") else { return false }
    fputs("\(nice)", file)
    return fclose(file) == 0
  }

  /// On Linux "process 0" is the calling thread.
  private static var ofThread: __priority_which_t { __priority_which_t(PRIO_PROCESS.rawValue) }
}
