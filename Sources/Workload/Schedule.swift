// Intended send times. A schedule is a pure function of arrival process, rate and seed: it knows no clock,
// and nothing that happens in a run can move a request. Times are computed from integers or from the start of
// the run, never by adding up rounded intervals, so a schedule does not drift.

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The due times of a run's requests, one after the other, as nanoseconds from the start t0 of the load.
///
/// A value: a copy continues on its own. Equal arguments give equal schedules (Poisson gaps go through the C
/// library's logarithm, which may differ in its last bit between libraries).
public struct Schedule: Sendable {
  /// Requests per second a schedule can be made for.
  public static let supportedRates = 1e-6...1e9

  public let arrival: ArrivalProcess
  /// Requests per second; for ramps and steps the base rate their factors multiply. Its shortest decimal form
  /// is taken as exact, so 0.1 means one tenth.
  public let ratePerSecond: Double
  public let seed: UInt64

  private let shape: Shape
  private var period: ExactPeriod
  private var generator: SeededGenerator
  /// Index of the next request, within the burst or the trace's round for those.
  private var index = 0
  /// Whole nanoseconds, and the rest below one, of the last Poisson arrival.
  private var lastArrival: Int64 = 0
  private var lastArrivalRest = 0.0
  private let meanGapNanoseconds: Double
  /// One entry per step; one for the stretch after a ramp.
  private let stretches: [Stretch]
  private var stretch = 0
  /// A trace's offsets at this schedule's rate.
  private let offsets: [Int64]

  /// What `next()` switches over: no payload to copy or retain.
  private enum Shape { case constant, poisson, burst, ramp, step, trace }

  /// A part of constant rate: request i is due at start + (i − requestsBefore) × gap.
  private struct Stretch {
    var startNanoseconds: Double
    var requestsBefore: Double
    /// Infinite for a pause.
    var gapNanoseconds: Double
  }

  /// A schedule standing before its first request.
  ///
  /// Precondition: the rate is within `supportedRates`, and the arrival process within the bounds `parse`
  /// keeps to.
  public init(arrival: ArrivalProcess, ratePerSecond: Double, seed: UInt64) {
    precondition(Self.supportedRates.contains(ratePerSecond), "rate outside \(Self.supportedRates)")
    self.arrival = arrival
    self.ratePerSecond = ratePerSecond
    self.seed = seed
    generator = SeededGenerator(seed: seed)
    meanGapNanoseconds = 1e9 / ratePerSecond
    var requestsPerPeriod = 1
    var stretches: [Stretch] = []
    var offsets: [Int64] = []
    switch arrival {
    case .constant: shape = .constant
    case .poisson: shape = .poisson
    case .burst(let size):
      precondition((1...1_000_000).contains(size), "burst size outside 1...1,000,000")
      shape = .burst
      requestsPerPeriod = size
    case .ramp(let ramp):
      shape = .ramp
      stretches = [Self.stretch(after: ramp, ratePerSecond: ratePerSecond)]
    case .step(let steps):
      precondition(ArrivalProcess.areValid(steps), "steps begin at 0, ascend, and one of them sends")
      shape = .step
      stretches = Self.stretches(steps, ratePerSecond: ratePerSecond)
    case .trace(let trace):
      shape = .trace
      let stretching = trace.recordedRatePerSecond / ratePerSecond
      offsets = trace.offsets.map { Self.nanoseconds((Double($0) * stretching).rounded()) }
      // A round ends one mean gap after its last request: so many requests take exactly as long as at the
      // rate.
      requestsPerPeriod = offsets.count
    }
    self.stretches = stretches
    self.offsets = offsets
    period = ExactPeriod(ratePerSecond: ratePerSecond, requests: requestsPerPeriod)
  }

  /// The due time of the next request, in nanoseconds from t0; never earlier than the one before.
  ///
  /// `Int64.max` means never: the schedule is over, or past the end of 64-bit time. About 10 ns or less, no
  /// allocation.
  public mutating func next() -> Int64 {
    switch shape {
    case .constant:
      let due = period.nanoseconds
      period.advance()
      return due
    case .poisson: return nextPoisson()
    case .burst: return nextInBurst()
    case .ramp: return nextInRamp()
    case .step: return nextInStep()
    case .trace: return nextInTrace()
    }
  }

  /// How many requests this schedule makes due in a window of nanoseconds from t0, whatever has been taken
  /// from it.
  ///
  /// O(1) for constant and burst arrivals; otherwise as long as `next()` takes for all requests up to the
  /// window's end.
  public func dueCount(in window: Range<Int64>) -> Int {
    switch arrival {
    case .constant:
      return period.multiples(before: window.upperBound) - period.multiples(before: window.lowerBound)
    case .burst(let size):
      let bursts = period.multiples(before: window.upperBound) - period.multiples(before: window.lowerBound)
      return bursts * size
    case .poisson, .ramp, .step, .trace:
      var schedule = Schedule(arrival: arrival, ratePerSecond: ratePerSecond, seed: seed)
      var count = 0
      while true {
        let due = schedule.next()
        guard due < window.upperBound else { return count }
        if due >= window.lowerBound { count += 1 }
      }
    }
  }

  private mutating func nextPoisson() -> Int64 {
    // The part below a nanosecond is carried over, so that rounding down does not shorten the mean gap.
    let gap = -log(generator.nextUnit()) * meanGapNanoseconds + lastArrivalRest
    // At most 37 mean gaps of 10¹⁵ ns: within Int64.
    let whole = Int64(gap)
    lastArrivalRest = gap - Double(whole)
    let (sum, overflow) = lastArrival.addingReportingOverflow(whole)
    lastArrival = overflow ? .max : sum
    return lastArrival
  }

  private mutating func nextInBurst() -> Int64 {
    guard case .burst(let size) = arrival else { return .max }
    let due = period.nanoseconds
    index += 1
    if index == size {
      index = 0
      period.advance()
    }
    return due
  }

  /// Solves N(t) = i for the time t, N(t) = rate × (from × t + (to − from) × t² / (2 × duration)) being the
  /// requests made due until t; in the form that loses no digits when `from` and `to` are close.
  private mutating func nextInRamp() -> Int64 {
    guard case .ramp(let ramp) = arrival else { return .max }
    let request = Double(index)
    index += 1
    let after = stretches[0]
    guard request < after.requestsBefore else { return keepOrder(due(request, in: after)) }
    guard request > 0 else { return 0 }
    let slope = (ramp.to - ramp.from) / ramp.durationSeconds
    // Negative only by rounding, at the very end of a ramp down to 0.
    let root = max(0, ramp.from * ramp.from + 2 * slope * request / ratePerSecond).squareRoot()
    return keepOrder(Self.nanoseconds(2 * meanGapNanoseconds * request / (ramp.from + root)))
  }

  private mutating func nextInStep() -> Int64 {
    let request = Double(index)
    while stretch + 1 < stretches.count, request >= stretches[stretch + 1].requestsBefore { stretch += 1 }
    index += 1
    return keepOrder(due(request, in: stretches[stretch]))
  }

  private mutating func nextInTrace() -> Int64 {
    if index == offsets.count {
      period.advance()
      index = 0
    }
    let (due, overflow) = period.nanoseconds.addingReportingOverflow(offsets[index])
    index += 1
    return keepOrder(overflow ? .max : due)
  }

  private func due(_ request: Double, in stretch: Stretch) -> Int64 {
    // A pause that another stretch follows is passed over by its requestsBefore; this is one without an end.
    guard stretch.gapNanoseconds.isFinite else { return .max }
    let passed = request - stretch.requestsBefore
    return Self.nanoseconds(stretch.startNanoseconds + passed * stretch.gapNanoseconds)
  }

  /// Guards the order of times where floating point meets the seams of a shape.
  private mutating func keepOrder(_ due: Int64) -> Int64 {
    lastArrival = max(lastArrival, due)
    return lastArrival
  }

  private static func stretch(after ramp: ArrivalProcess.Ramp, ratePerSecond: Double) -> Stretch {
    Stretch(
      startNanoseconds: ramp.durationSeconds * 1e9,
      requestsBefore: ratePerSecond * ramp.durationSeconds * (ramp.from + ramp.to) / 2,
      gapNanoseconds: 1e9 / (ratePerSecond * ramp.to))
  }

  private static func stretches(_ steps: [ArrivalProcess.Step], ratePerSecond: Double) -> [Stretch] {
    var stretches: [Stretch] = []
    var requests = 0.0
    for index in steps.indices {
      let rate = ratePerSecond * steps[index].factor
      stretches.append(
        Stretch(
          startNanoseconds: steps[index].startSeconds * 1e9, requestsBefore: requests,
          gapNanoseconds: 1e9 / rate))
      if index + 1 < steps.count {
        requests += rate * (steps[index + 1].startSeconds - steps[index].startSeconds)
      }
    }
    return stretches
  }

  /// Rounds down; `Int64.max` for what is beyond it.
  private static func nanoseconds(_ value: Double) -> Int64 {
    value < 0x1p63 ? Int64(value) : .max
  }
}
