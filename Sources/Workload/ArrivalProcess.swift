// The shapes an offered load can have, and their one textual form in flags, scenario files and result
// columns.

/// How the requests of a run are spread over time. The rate is given beside it, so the same shape serves
/// every rate.
public enum ArrivalProcess: Hashable, Sendable {
  /// Equal gaps: request i is due at i × 10⁹ / rate ns, rounded down.
  case constant
  /// Independent exponential gaps with mean 1 / rate.
  case poisson
  /// `size` requests due at the same instant, every size / rate seconds.
  case burst(size: Int)
  /// The rate goes linearly from one multiple of the base rate to another, then stays there.
  case ramp(Ramp)
  /// The rate jumps between multiples of the base rate at given times.
  case step([Step])
  /// Gaps recorded elsewhere, stretched to the rate and repeated when they end.
  case trace(Trace)

  /// A linear change of the rate.
  public struct Ramp: Hashable, Sendable {
    /// Multiples of the base rate at the beginning and at the end; not negative, not both 0.
    public let from: Double
    public let to: Double
    /// Length of the change; positive.
    public let durationSeconds: Double

    /// nil when a value is outside its bounds.
    public init?(from: Double, to: Double, durationSeconds: Double) {
      guard Self.factors.contains(from), Self.factors.contains(to), from > 0 || to > 0,
        Self.durations.contains(durationSeconds)
      else { return nil }
      self.from = from
      self.to = to
      self.durationSeconds = durationSeconds
    }

    static let factors = 0.0...1_000.0
    static let durations = 1e-9...1e6
  }

  /// One stretch of constant rate; it ends where the next one begins, the last one never.
  public struct Step: Hashable, Sendable {
    /// Multiple of the base rate, 0...1,000; 0 is a pause.
    public let factor: Double
    /// When the stretch begins, in seconds from the start of the run.
    public let startSeconds: Double

    public init(factor: Double, startSeconds: Double) {
      self.factor = factor
      self.startSeconds = startSeconds
    }
  }

  /// Times of recorded requests.
  public struct Trace: Hashable, Sendable {
    /// Where the trace came from, for its textual form.
    public let name: String
    /// Nanoseconds from the first request, never decreasing; at least two, the first 0, the last above 0.
    public let offsets: [Int64]

    /// Takes recorded times in nanoseconds from any origin; nil when there are fewer than two, when one is
    /// earlier than its predecessor or negative, or when all are the same.
    public init?(name: String, times: [Int64]) {
      guard (2...10_000_000).contains(times.count), times[0] >= 0, times[times.count - 1] > times[0]
      else { return nil }
      for index in 1..<times.count where times[index] < times[index - 1] { return nil }
      self.name = name
      offsets = times.map { $0 - times[0] }
    }

    /// The rate at which the trace was recorded, in requests per second; at this rate it is replayed as it
    /// was.
    public var recordedRatePerSecond: Double {
      Double(offsets.count - 1) * 1e9 / Double(offsets[offsets.count - 1])
    }
  }
}

/// Why a text names no arrival process; `description` says what was found and what was expected.
public enum ArrivalProcessError: Error, Equatable, Sendable, CustomStringConvertible {
  case unknown(String)
  case malformed(String, expected: String)
  case unreadableTrace(String)
  case malformedTrace(String, line: Int)

  public var description: String {
    switch self {
    case .unknown(let text):
      return "unknown arrival process '\(text)': expected \(ArrivalProcess.grammar)"
    case .malformed(let text, let expected):
      return "malformed arrival process '\(text)': expected \(expected)"
    case .unreadableTrace(let path):
      return "cannot read the trace '\(path)': expected a text file, one time in nanoseconds per line"
    case .malformedTrace(let path, let line):
      return "\(path), line \(line): expected a time in nanoseconds, not negative and not earlier than "
        + "the one before it, and at least two different times in all"
    }
  }
}

extension ArrivalProcess {
  /// All forms `parse` accepts, for help texts.
  public static let grammar =
    "constant, poisson, burst:SIZE, ramp:FROM..TO/SECONDS, step:FACTOR@SECOND,FACTOR@SECOND,... or trace:FILE"

  private static let burstForm = "burst:SIZE with SIZE in 1...1000000, such as burst:100"
  private static let rampForm =
    "ramp:FROM..TO/SECONDS, multiples of the rate (0...1000, not both 0) and the seconds between them, "
    + "such as ramp:0.5..2/30"
  private static let stepForm =
    "step:FACTOR@SECOND,..., multiples of the rate (0...1000, not all 0) and when each begins, ascending "
    + "from 0, such as step:1@0,2@10,1@20"

  /// Reads the textual form.
  ///
  /// - Parameters:
  ///   - text: one of `grammar`, exactly.
  ///   - readTrace: gives the text of the file that `trace:FILE` names, nil when it cannot be read. One time
  ///     in nanoseconds per line; empty lines and what follows a `#` are skipped. This module reads no files
  ///     itself.
  public static func parse(
    _ text: String, readTrace: (String) -> String? = { _ in nil }
  ) -> Result<ArrivalProcess, ArrivalProcessError> {
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    switch (parts[0], parts.count == 2 ? parts[1] : nil) {
    case ("constant", nil): return .success(.constant)
    case ("poisson", nil): return .success(.poisson)
    case ("burst", let argument): return parseBurst(argument ?? "", in: text)
    case ("ramp", let argument): return parseRamp(argument ?? "", in: text)
    case ("step", let argument): return parseSteps(argument ?? "", in: text)
    case ("trace", let path?) where !path.isEmpty: return parseTrace(String(path), readTrace: readTrace)
    default: return .failure(.unknown(text))
    }
  }

  private static func parseBurst(
    _ argument: Substring, in text: String
  ) -> Result<ArrivalProcess, ArrivalProcessError> {
    guard let size = Int(argument), (1...1_000_000).contains(size) else {
      return .failure(.malformed(text, expected: burstForm))
    }
    return .success(.burst(size: size))
  }

  private static func parseRamp(
    _ argument: Substring, in text: String
  ) -> Result<ArrivalProcess, ArrivalProcessError> {
    let halves = argument.split(separator: "/", omittingEmptySubsequences: false)
    let ends = halves[0].split(separator: "..", omittingEmptySubsequences: false)
    guard halves.count == 2, ends.count == 2, let from = Double(ends[0]), let to = Double(ends[1]),
      let seconds = Double(halves[1]), let ramp = Ramp(from: from, to: to, durationSeconds: seconds)
    else { return .failure(.malformed(text, expected: rampForm)) }
    return .success(.ramp(ramp))
  }

  private static func parseSteps(
    _ argument: Substring, in text: String
  ) -> Result<ArrivalProcess, ArrivalProcessError> {
    var steps: [Step] = []
    for item in argument.split(separator: ",", omittingEmptySubsequences: false) {
      let halves = item.split(separator: "@", omittingEmptySubsequences: false)
      guard halves.count == 2, let factor = Double(halves[0]), let start = Double(halves[1]) else {
        return .failure(.malformed(text, expected: stepForm))
      }
      steps.append(Step(factor: factor, startSeconds: start))
    }
    guard areValid(steps) else { return .failure(.malformed(text, expected: stepForm)) }
    return .success(.step(steps))
  }

  private static func parseTrace(
    _ path: String, readTrace: (String) -> String?
  ) -> Result<ArrivalProcess, ArrivalProcessError> {
    guard let content = readTrace(path) else { return .failure(.unreadableTrace(path)) }
    var times: [Int64] = []
    var lineNumber = 0
    for line in content.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) {
      lineNumber += 1
      let text = line.prefix { $0 != "#" }.filter { !$0.isWhitespace }
      if text.isEmpty { continue }
      guard let time = Int64(text), time >= times.last ?? 0 else {
        return .failure(.malformedTrace(path, line: lineNumber))
      }
      times.append(time)
    }
    guard let trace = Trace(name: path, times: times) else {
      return .failure(.malformedTrace(path, line: lineNumber))
    }
    return .success(.trace(trace))
  }

  /// Whether the steps begin at 0, ascend, have factors in 0...1,000 and at least one that sends anything.
  static func areValid(_ steps: [Step]) -> Bool {
    guard let first = steps.first, first.startSeconds == 0 else { return false }
    for index in steps.indices {
      let step = steps[index]
      guard Ramp.factors.contains(step.factor), step.startSeconds <= Ramp.durations.upperBound,
        index == 0 || step.startSeconds > steps[index - 1].startSeconds
      else { return false }
    }
    return steps.contains { $0.factor > 0 }
  }
}

extension ArrivalProcess: CustomStringConvertible {
  /// The form that `parse` reads back; of a trace, its name.
  public var description: String {
    switch self {
    case .constant: "constant"
    case .poisson: "poisson"
    case .burst(let size): "burst:\(size)"
    case .ramp(let ramp): "ramp:\(ramp.from)..\(ramp.to)/\(ramp.durationSeconds)"
    case .step(let steps):
      "step:" + steps.map { "\($0.factor)@\($0.startSeconds)" }.joined(separator: ",")
    case .trace(let trace): "trace:\(trace.name)"
    }
  }
}
