// What the generator concludes from a run: coarse quantiles, stationarity, its own ceiling and the lag rule.

import Results
import TestSupport
import Testing

@testable import LoadGenerator

@Suite("Coarse histogram")
struct CoarseHistogramTests {
  @Test(
    "quantiles are never below the true value and at most a bucket above it",
    arguments: [1, 40, 3_000, 1_000_000_000])
  func quantiles(scale: Int64) throws {
    var chance = SplitMix(state: 3)
    var histogram = CoarseHistogram()
    var values = (0..<5_000).map { _ in Int64.random(in: 0...scale * 100, using: &chance) }
    for value in values { histogram.record(value) }
    values.sort()
    for q in [0.01, 0.5, 0.9, 0.99, 0.999] {
      let truth = values[Int((q * 5_000).rounded(.up)) - 1]
      let found = try #require(histogram.quantile(q))
      #expect(found >= truth && Double(found) <= Double(truth) * 1.033 + 1)
    }
    #expect(histogram.quantile(1) == values.last)
    #expect(histogram.total == 5_000 && histogram.maximum == values.last)
  }

  @Test("small values are exact")
  func smallValues() {
    var histogram = CoarseHistogram()
    for value in Int64(0)..<32 { histogram.record(value) }
    for rank in 1...32 { #expect(histogram.quantile(Double(rank) / 32) == Int64(rank - 1)) }
  }

  @Test("nothing recorded has no quantile, and values out of range are taken in at the ends")
  func extremes() {
    var histogram = CoarseHistogram()
    #expect(histogram.quantile(0.5) == nil)
    histogram.record(-5)
    #expect(histogram.quantile(0.5) == 0)
    histogram.record(.max)
    #expect(histogram.total == 2 && histogram.maximum == .max)
    #expect(histogram.quantile(1) == .max)
  }
}

@Suite("Stationarity")
struct StationarityTests {
  /// Fifty bins of `answered` requests with mean latency `mean`, each a function of the bin.
  private func bins(
    answered: (Int) -> Int = { _ in 1_000 }, mean: (Int) -> Double
  ) -> [(answered: Int, latencySum: Double)] {
    (0..<50).map { (answered($0), Double(answered($0)) * mean($0)) }
  }

  @Test("noise around a level is stationary", arguments: 1...20)
  func noiseIsStationary(seed: UInt64) {
    var chance = SplitMix(state: seed)
    let noise = (0..<50).map { _ in Double.random(in: 0.5...1.5, using: &chance) }
    let counts = (0..<50).map { _ in Int.random(in: 950...1_050, using: &chance) }
    let verdict = StationarityTest.judge(
      bins(answered: { counts[$0] }, mean: { 1e6 * noise[$0] }), seconds: 10)
    #expect(verdict.verdict == .stationary && verdict.drift == nil)
  }

  @Test("one outlier of any size is not a trend")
  func outliersAreNoTrend() {
    let verdict = StationarityTest.judge(
      bins(mean: { $0 == 40 ? 1e9 : 1e6 + Double($0 * 7919 % 50) }), seconds: 10)
    #expect(verdict.verdict == .stationary)
  }

  @Test("a latency that grows or falls over the measurement is caught", arguments: [0.03, -0.015])
  func trendsAreCaught(slope: Double) {
    var chance = SplitMix(state: 5)
    let noise = (0..<50).map { _ in Double.random(in: 0.9...1.1, using: &chance) }
    let verdict = StationarityTest.judge(
      bins(mean: { 1e6 * (1 + slope * Double($0)) * noise[$0] }), seconds: 10)
    #expect(verdict.verdict == .notStationary)
    #expect(verdict.drift?.hasPrefix("mean latency changes by") == true)
  }

  @Test("a step of the latency in the middle is caught")
  func stepsAreCaught() {
    var chance = SplitMix(state: 6)
    let noise = (0..<50).map { _ in Double.random(in: 0.9...1.1, using: &chance) }
    let verdict = StationarityTest.judge(bins(mean: { ($0 < 25 ? 1e6 : 4e6) * noise[$0] }), seconds: 10)
    #expect(verdict.verdict == .notStationary)
  }

  @Test("a throughput that sinks is caught while latencies stay")
  func sinkingThroughputIsCaught() {
    let verdict = StationarityTest.judge(
      bins(answered: { 1_000 - 8 * $0 }, mean: { 1e6 + Double($0 * 7919 % 50) }), seconds: 10)
    #expect(verdict.verdict == .notStationary)
    #expect(verdict.drift?.hasPrefix("answers per bin change by") == true)
  }

  @Test("a trend that is significant and small is noise of the machine")
  func smallTrendsPass() {
    let verdict = StationarityTest.judge(bins(mean: { 1e6 * (1 + 0.002 * Double($0)) }), seconds: 10)
    #expect(verdict.verdict == .stationary)
  }

  @Test("what is short, faulty on purpose or hardly divided is not judged")
  func someAreNotJudged() {
    let growing = bins(mean: { 1e6 * Double($0 + 1) })
    #expect(StationarityTest.judge(growing, seconds: 4.99).verdict == .notJudged)
    #expect(StationarityTest.judge(growing, seconds: 10, hasFaults: true).verdict == .notJudged)
    #expect(StationarityTest.judge(Array(growing.prefix(9)), seconds: 10).verdict == .notJudged)
    #expect(StationarityTest.judge(growing, seconds: 5).verdict == .notStationary)
  }

  @Test("a measurement without any answer is judged without a trap")
  func emptyBins() {
    #expect(
      StationarityTest.judge(bins(answered: { _ in 0 }, mean: { _ in 0 }), seconds: 10).verdict == .stationary
    )
  }
}

@Suite("The generator's ceiling")
struct CeilingTests {
  @Test(
    "the highest rate that holds is found to within the refinement",
    arguments: [1_000.0, 1_900, 70_000, 999_999])
  func findsTheCeiling(truth: Double) async throws {
    let found = try #require(try await CeilingSearch.ceiling(start: 1_000, refinements: 3) { $0 <= truth })
    #expect(found <= truth && truth < found * 1.1)
  }

  @Test("a rate counts as too high only when all its trials fail")
  func toleratesDelays() async throws {
    var trials: [Double: Int] = [:]
    let found = try await CeilingSearch.ceiling(start: 1_000, refinements: 0) { rate in
      trials[rate, default: 0] += 1
      return rate <= 4_000 && trials[rate]! == 3
    }
    #expect(found == 4_000)
    #expect(trials == [1_000: 3, 2_000: 3, 4_000: 3, 8_000: 5, 16_000: 5])
  }

  @Test("one rate that fails between two that hold does not end the search")
  func passesOverOneRate() async throws {
    let found = try await CeilingSearch.ceiling(start: 1_000, refinements: 0) { $0 == 1_000 || $0 == 4_000 }
    #expect(found == 4_000)
    #expect(try await CeilingSearch.ceiling(start: 1_000, refinements: 0) { $0 == 2_000 } == 2_000)
  }

  @Test("a machine too busy for any rate has no ceiling")
  func givesUp() async throws {
    #expect(try await CeilingSearch.ceiling(start: 1_000) { _ in false } == nil)
  }

  @Test("the search ends at the highest rate, and a failing trial ends it")
  func ends() async throws {
    var tried: [Double] = []
    let found = try await CeilingSearch.ceiling(start: 1_000, refinements: 0, highest: 10_000) {
      tried.append($0)
      return true
    }
    #expect(found == 8_000 && tried == [1_000, 2_000, 4_000, 8_000])
    await #expect(throws: CancellationError.self) {
      try await CeilingSearch.ceiling(start: 1_000) { _ in throw CancellationError() }
    }
  }
}

@Suite("The generator's rule")
struct GeneratorRuleTests {
  private func violation(
    lag: Int?, p50: Int? = 1_000_000, busy: Int64 = 0, ceiling: Double? = nil, rate: Double? = nil
  ) -> String? {
    var outcome = LoadOutcome()
    outcome.measuredNanoseconds = 1_000
    outcome.generatorCPUNanoseconds = busy
    return GeneratorRule.violation(
      outcome, latencyP50Nanoseconds: p50, lagNanoseconds: lag, quantile: "p99", ceiling: ceiling, rate: rate)
  }

  @Test("lag is allowed up to a quarter of the median latency, and always up to 250 µs")
  func boundsLag() {
    #expect(violation(lag: 250_000) == nil)
    #expect(violation(lag: 250_001)?.contains("lag p99 250 µs") == true)
    #expect(violation(lag: 900_000, p50: 4_000_000) == nil)
    #expect(violation(lag: 1_100_000, p50: 4_000_000) != nil)
    #expect(violation(lag: nil, p50: nil) == nil)
    #expect(violation(lag: 300_000, p50: nil) != nil)
  }

  @Test("a busy core and a rate above the ceiling are violations of their own")
  func boundsTheRest() {
    #expect(violation(lag: 0, busy: 900) == nil)
    #expect(violation(lag: 0, busy: 901)?.contains("busy 90 %") == true)
    #expect(violation(lag: 0, ceiling: 100, rate: 100) == nil)
    #expect(violation(lag: 0, ceiling: 100, rate: 101)?.contains("ceiling of 100") == true)
    #expect(violation(lag: 0, ceiling: nil, rate: 101) == nil)
  }
}
