// SIGINT and SIGTERM end a long command in an orderly way. Kept true: the first signal cancels the work,
// which then puts its files in order; a second one ends the process at once.

import Dispatch
import Foundation
import Synchronization

/// Runs work that the user may interrupt.
public enum Interruption {
  /// Runs `work` in a task of its own that SIGINT or SIGTERM cancels.
  /// - Throws: what `work` throws.
  public static func cancelling<Value: Sendable>(
    _ work: @escaping @Sendable () async throws -> Value
  ) async throws -> Value {
    let task = Task { try await work() }
    let counter = SignalCounter()
    let sources = [SIGINT, SIGTERM].map { number in
      // Ignored first: otherwise the default action ends the process before the source sees the signal.
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler {
        if counter.next() == 1 { task.cancel() } else { _exit(CommandFailure.Code.interrupted.rawValue) }
      }
      source.resume()
      return source
    }
    defer {
      for source in sources { source.cancel() }
      signal(SIGINT, SIG_DFL)
      signal(SIGTERM, SIG_DFL)
    }
    return try await task.value
  }
}

/// How many signals have come.
private final class SignalCounter: Sendable {
  private let count = Mutex(0)

  func next() -> Int {
    count.withLock {
      $0 += 1
      return $0
    }
  }
}
