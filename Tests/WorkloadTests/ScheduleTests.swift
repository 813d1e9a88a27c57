// Schedules against their definitions: exact where they are defined by a formula, by moments where by chance.

import Testing

@testable import Workload

/// The definition of constant arrivals, in integers: request `index` at `mantissa` × 10^-`decimals` per
/// second.
private func definition(_ index: Int, mantissa: UInt128, decimals: Int) -> Int64 {
  var numerator = UInt128(index) * 1_000_000_000
  for _ in 0..<decimals { numerator *= 10 }
  return Int64(numerator / mantissa)
}

@Suite("Schedule")
struct ScheduleTests {
  static let second: Int64 = 1_000_000_000
  static let shapes = [
    "constant", "poisson", "burst:7", "ramp:0.25..2/3", "ramp:2..0/3", "ramp:0..1/2",
    "step:0@0,3@1,0@2,1@2.5", "step:1@0,0@3", "trace:t",
  ]

  private func arrival(_ text: String) throws -> ArrivalProcess {
    try ArrivalProcess.parse(text) { _ in "10\n20\n25\n100\n" }.get()
  }

  @Test(
    "constant arrivals keep to the formula without drift over ten million requests",
    arguments: [(1.0, 1, 0), (30_000.0, 30_000, 0), (1_234.567, 1_234_567, 3), (299_999.9, 2_999_999, 1)])
  func constantIsExact(rate: Double, mantissa: Int, decimals: Int) {
    var schedule = Schedule(arrival: .constant, ratePerSecond: rate, seed: 0)
    var wrong = 0
    let last = 10_000_000
    for index in 0...last {
      let due = schedule.next()
      // The formula is slow without optimisation: enough to look at every 97th, and at both ends.
      if index % 97 == 0 || index < 1_000 || index == last {
        if due != definition(index, mantissa: UInt128(mantissa), decimals: decimals) { wrong += 1 }
      }
    }
    #expect(wrong == 0)
  }

  @Test("a rate means its decimal form, not the binary fraction beside it")
  func decimalRates() {
    var tenth = Schedule(arrival: .constant, ratePerSecond: 0.1, seed: 0)
    #expect((0..<4).map { _ in tenth.next() } == [0, 10 * Self.second, 20 * Self.second, 30 * Self.second])
    var third = Schedule(arrival: .constant, ratePerSecond: 3, seed: 0)
    #expect((0..<4).map { _ in third.next() } == [0, 333_333_333, 666_666_666, 1_000_000_000])
  }

  @Test(
    "the extremes of the supported rates neither trap nor go back",
    arguments: [1e-6, 1.2345678901234567e-6, 1e9])
  func extremeRates(rate: Double) throws {
    for text in Self.shapes + ["burst:1000000"] {
      var schedule = Schedule(arrival: try arrival(text), ratePerSecond: rate, seed: 1)
      var last: Int64 = 0
      for _ in 0..<20_000 {
        let due = schedule.next()
        #expect(due >= last)
        last = due
      }
    }
  }

  @Test("Poisson gaps have the mean, the variance and the tail of the exponential distribution")
  func poissonMoments() {
    let rate = 50_000.0
    let mean = 1e9 / rate
    let count = 2_000_000
    var schedule = Schedule(arrival: .poisson, ratePerSecond: rate, seed: 42)
    var previous: Int64 = 0
    var squares = 0.0
    var aboveMean = 0
    var aboveFiveMeans = 0
    for _ in 0..<count {
      let due = schedule.next()
      let gap = Double(due - previous)
      previous = due
      squares += (gap - mean) * (gap - mean)
      if gap > mean { aboveMean += 1 }
      if gap > 5 * mean { aboveFiveMeans += 1 }
    }
    let root = Double(count).squareRoot()
    // Six standard errors: those of the mean are 1, of the variance sqrt(8) (fourth moment 9), of shares
    // sqrt(p(1-p)).
    #expect(abs(Double(previous) / Double(count) / mean - 1) < 6 / root)
    #expect(abs(squares / Double(count) / (mean * mean) - 1) < 6 * 2.83 / root)
    #expect(abs(Double(aboveMean) / Double(count) - 0.367_879) < 6 * 0.4823 / root)
    #expect(abs(Double(aboveFiveMeans) / Double(count) - 0.006_738) < 6 * 0.0818 / root)
  }

  @Test("Poisson counts per interval have equal mean and variance, and neighbours do not know each other")
  func poissonCounts() {
    var schedule = Schedule(arrival: .poisson, ratePerSecond: 10_000, seed: 7)
    let bins = 20_000
    var counts = [Double](repeating: 0, count: bins)
    let binLength: Int64 = 1_000_000
    for _ in 0..<bins * 11 {
      let bin = Int(schedule.next() / binLength)
      if bin < bins { counts[bin] += 1 }
    }
    let mean = counts.reduce(0, +) / Double(bins)
    let variance = counts.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(bins)
    var covariance = 0.0
    for index in 1..<bins { covariance += (counts[index] - mean) * (counts[index - 1] - mean) }
    let root = Double(bins).squareRoot()
    #expect(abs(mean - 10) < 6 * 10.0.squareRoot() / root)
    #expect(abs(variance / mean - 1) < 6 * 1.45 / root)
    #expect(abs(covariance / Double(bins) / variance) < 6 / root)
  }

  @Test("rounding down to nanoseconds does not shorten the mean gap, even when gaps are a few nanoseconds")
  func poissonKeepsFractions() {
    var schedule = Schedule(arrival: .poisson, ratePerSecond: 4e8, seed: 3)
    let count = 1_000_000
    var last: Int64 = 0
    for _ in 0..<count { last = schedule.next() }
    #expect(abs(Double(last) / Double(count) / 2.5 - 1) < 0.006)
  }

  @Test("the same seed gives the same schedule, another seed another one")
  func seeds() throws {
    for text in Self.shapes {
      var first = Schedule(arrival: try arrival(text), ratePerSecond: 1_000, seed: 9)
      var second = first
      #expect((0..<5_000).allSatisfy { _ in first.next() == second.next() })
    }
    var one = Schedule(arrival: .poisson, ratePerSecond: 1_000, seed: 1)
    var other = Schedule(arrival: .poisson, ratePerSecond: 1_000, seed: 2)
    #expect((0..<10).map { _ in one.next() } != (0..<10).map { _ in other.next() })
  }

  @Test("a burst is due at once, and bursts keep the exact mean rate")
  func bursts() {
    var schedule = Schedule(arrival: .burst(size: 3), ratePerSecond: 7, seed: 0)
    for index in 0..<3_000 {
      #expect(schedule.next() == definition(index / 3 * 3, mantissa: 7, decimals: 0))
    }
  }

  @Test(
    "a ramp makes due what the integral of its rate says", arguments: ["ramp:0.25..2/3", "ramp:2..0.5/3"])
  func ramps(text: String) throws {
    guard case .ramp(let ramp) = try arrival(text) else { return }
    let rate = 1_000.0
    let schedule = Schedule(arrival: .ramp(ramp), ratePerSecond: rate, seed: 0)
    for tenths in 1...60 {
      let time = Double(tenths) / 10
      let climbing = min(time, 3)
      let whileClimbing = ramp.from * climbing + (ramp.to - ramp.from) * climbing * climbing / 6
      let expected = rate * (whileClimbing + ramp.to * (time - climbing))
      let count = schedule.dueCount(in: 0..<Int64((time * 1e9).rounded()))
      #expect(abs(Double(count) - expected) <= 1.001)
    }
  }

  @Test("a ramp down to nothing ends the schedule, and so does a last pause")
  func endlessPause() throws {
    for (text, count) in [("ramp:2..0/3", 3_000), ("step:1@0,0@3", 3_000)] {
      var schedule = Schedule(arrival: try arrival(text), ratePerSecond: 1_000, seed: 0)
      #expect(schedule.dueCount(in: 0..<Int64.max) == count)
      for _ in 0..<count { #expect(schedule.next() <= 3 * Self.second) }
      #expect(schedule.next() == .max)
      #expect(schedule.next() == .max)
    }
  }

  @Test("steps switch the rate at their instants, and nothing is due in a pause")
  func steps() throws {
    let schedule = Schedule(arrival: try arrival("step:0@0,3@1,0@2,1@2.5"), ratePerSecond: 1_000, seed: 0)
    #expect(schedule.dueCount(in: 0..<Self.second) == 0)
    #expect(schedule.dueCount(in: Self.second..<2 * Self.second) == 3_000)
    #expect(schedule.dueCount(in: 2 * Self.second..<2_500_000_000) == 0)
    #expect(schedule.dueCount(in: 2_500_000_000..<3_500_000_000) == 1_000)
  }

  @Test("a trace at its recorded rate is replayed as it was, then repeated after one mean gap")
  func traceIsReplayed() throws {
    guard case .trace(let trace) = try arrival("trace:t") else { return }
    var schedule = Schedule(arrival: .trace(trace), ratePerSecond: trace.recordedRatePerSecond, seed: 0)
    #expect((0..<8).map { _ in schedule.next() } == [0, 10, 15, 90, 120, 130, 135, 210])
    var slower = Schedule(arrival: .trace(trace), ratePerSecond: trace.recordedRatePerSecond / 2, seed: 0)
    #expect((0..<5).map { _ in slower.next() } == [0, 20, 30, 180, 240])
  }

  @Test("the due count of a window is what counting the schedule gives, however far it has been taken")
  func dueCounts() throws {
    let windows: [Range<Int64>] = [
      0..<1, 0..<0, 1..<2_000_000_000, 999_999_999..<1_000_000_001, 1_500_000_000..<4_100_000_000,
    ]
    for text in Self.shapes + ["burst:1000"] {
      var schedule = Schedule(arrival: try arrival(text), ratePerSecond: 997.3, seed: 4)
      var counted = [Int](repeating: 0, count: windows.count)
      // None of the shapes makes more than this due in five seconds; a schedule that stands still must not
      // hang.
      for _ in 0..<20_000 {
        let due = schedule.next()
        for index in windows.indices where windows[index].contains(due) { counted[index] += 1 }
      }
      #expect(windows.map { schedule.dueCount(in: $0) } == counted, "\(text)")
    }
  }

  @Test("due counts of adjoining windows add up, also where a request falls on the seam")
  func adjoiningWindows() {
    let schedule = Schedule(arrival: .constant, ratePerSecond: 1_000, seed: 0)
    #expect(schedule.dueCount(in: 0..<1_000_000) == 1)
    #expect(schedule.dueCount(in: 0..<1_000_001) == 2)
    #expect(schedule.dueCount(in: Self.second..<4 * Self.second) == 3_000)
    #expect(schedule.dueCount(in: 0..<Int64.max) == 9_223_372_036_855)
  }
}
