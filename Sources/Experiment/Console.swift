// Where progress goes. Kept true: on a terminal there is one line that is updated, elsewhere there are whole
// lines and no control characters; nothing is written from two threads at once.

import Foundation
import Synchronization

/// A place for lines that people read while a command runs.
public struct Console: Sendable {
  /// Whether a line can be overwritten.
  public var isTerminal: Bool
  /// Characters per line, for a terminal.
  public var width: Int
  /// Writes text as it is.
  public var write: @Sendable (String) -> Void

  public init(isTerminal: Bool, width: Int = 80, write: @escaping @Sendable (String) -> Void) {
    self.isTerminal = isTerminal
    self.width = width
    self.write = write
  }

  /// Standard error of this process.
  public static var standardError: Console {
    var size = winsize()
    let known = ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 20
    let isTerminal = isatty(STDERR_FILENO) == 1 && ProcessInfo.processInfo.environment["TERM"] != "dumb"
    return Console(isTerminal: isTerminal, width: known ? Int(size.ws_col) : 80) { text in
      FileHandle.standardError.write(Data(text.utf8))
    }
  }

  /// Says nothing.
  public static let silent = Console(isTerminal: false) { _ in }
}

/// The progress of a sweep: how many points are done, what is going on, and how long it will take.
final class SweepProgress: Sendable {
  private struct State {
    var done: Int
    var activity = ""
    var secondsLeft: Double?
    var lastUpdate: Int64 = .min
    var lineIsOpen = false
  }

  private let total: Int
  private let console: Console
  /// Monotonic nanoseconds.
  private let clock: @Sendable () -> Int64
  private let state: Mutex<State>

  /// The updating line changes at most this often.
  private static let updateNanoseconds: Int64 = 200_000_000

  init(total: Int, done: Int, console: Console, clock: @escaping @Sendable () -> Int64) {
    self.total = total
    self.console = console
    self.clock = clock
    state = Mutex(State(done: done))
  }

  /// Says what is going on now.
  func begin(_ activity: String, secondsLeft: Double?) {
    state.withLock { state in
      state.activity = activity
      state.secondsLeft = secondsLeft
      guard console.isTerminal else { return }
      draw(&state, detail: "")
    }
  }

  /// Says how far the running point is; callable from any thread and as often as wanted.
  func report(_ status: LiveStatus) {
    guard console.isTerminal else { return }
    state.withLock { state in
      let now = clock()
      guard state.lastUpdate == .min || now - state.lastUpdate >= Self.updateNanoseconds else { return }
      state.lastUpdate = now
      let elapsed = Double(status.elapsedNanoseconds) / 1e9
      let seconds = PointParameters.short((elapsed * 10).rounded() / 10)
      let detail = ", \(status.phase.rawValue) \(seconds) s, \(status.answered) answered"
      draw(&state, detail: detail, elapsed: elapsed)
    }
  }

  /// Says that one thing is done: a point counts, a probe or calibration does not.
  func finish(_ text: String, countsAsPoint: Bool) {
    state.withLock { state in
      if countsAsPoint { state.done += 1 }
      if console.isTerminal {
        draw(&state, detail: "")
      } else {
        let left = state.done < total ? Self.left(state.secondsLeft) : ""
        console.write("[\(state.done)/\(total)] \(text)\(left)\n")
      }
    }
  }

  /// Says something that stays.
  func note(_ text: String) {
    state.withLock { state in
      clear(&state)
      console.write(text + "\n")
    }
  }

  /// Leaves the terminal as it was found.
  func end() {
    state.withLock { clear(&$0) }
  }

  /// The time left comes first, since a narrow terminal cuts the end.
  private func draw(_ state: inout State, detail: String, elapsed: Double = 0) {
    let left = state.done < total ? Self.left(state.secondsLeft.map { max(0, $0 - elapsed) }) : ""
    let line = "[\(state.done)/\(total)\(left)] \(state.activity)\(detail)"
    console.write("\r\u{1B}[K" + String(line.prefix(console.width - 1)))
    state.lineIsOpen = true
  }

  private func clear(_ state: inout State) {
    if state.lineIsOpen { console.write("\r\u{1B}[K") }
    state.lineIsOpen = false
  }

  private static func left(_ seconds: Double?) -> String {
    guard let seconds else { return "" }
    let whole = Int(seconds.rounded(.up))
    if whole >= 3600 { return ", \(whole / 3600) h \(whole % 3600 / 60) min left" }
    return whole >= 60 ? ", \(whole / 60) min \(whole % 60) s left" : ", \(whole) s left"
  }
}

/// How long the rest of a sweep will take, from what the finished part took.
struct TimeEstimate {
  private struct Mean {
    var sum = 0.0
    var count = 0
    let assumed: Double
    var value: Double { count == 0 ? assumed : sum / Double(count) }
    mutating func add(_ seconds: Double) {
      sum += seconds
      count += 1
    }
  }

  /// What a point takes beyond its warm-up and measurement.
  private var overhead = Mean(assumed: 0.5)
  private var probe = Mean(assumed: 2)
  private var calibration = Mean(assumed: 3)

  mutating func pointTook(_ seconds: Double, _ parameters: PointParameters) {
    overhead.add(max(0, seconds - Self.phases(parameters)))
  }

  mutating func probeTook(_ seconds: Double) { probe.add(seconds) }

  mutating func calibrationTook(_ seconds: Double) { calibration.add(seconds) }

  /// Seconds for `points`, with what they need that is not known yet.
  func seconds(points: some Sequence<PlannedPoint>, probes: Int, calibrations: Int) -> Double {
    var sum = Double(probes) * probe.value + Double(calibrations) * calibration.value
    for point in points { sum += Self.phases(point.parameters) + overhead.value }
    return sum
  }

  private static func phases(_ parameters: PointParameters) -> Double {
    Double(parameters.warmupNanoseconds + parameters.measureNanoseconds) / 1e9
  }
}
