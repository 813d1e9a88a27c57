// Numbers as people read them: no more digits than measured, ticks at round values, and a table that lines up.

import Results
import Testing

@testable import Analysis

@Suite("Figures, axes and the terminal's table")
struct FigureTests {
  @Test(
    "three significant digits, thousands separated",
    arguments: [
      (0, "0"), (0.001234, "0.00123"), (0.5199, "0.520"), (1.2345, "1.23"), (9.996, "10.0"), (99.95, "100"),
      (999.6, "1,000"), (1234, "1,230"), (1_234_567, "1,230,000"), (-1234, "-1,230"),
    ])
  func significant(value: Double, text: String) {
    #expect(Figure.significant(value) == text)
  }

  @Test(
    "latencies choose their unit after rounding",
    arguments: [
      (1, "1.00 ns"), (999, "999 ns"), (1000, "1.00 µs"), (312_345, "312 µs"), (999_499, "999 µs"),
      (999_600, "1.00 ms"),
      (98_300_000, "98.3 ms"), (1_200_000_000, "1.20 s"),
    ])
  func latency(nanoseconds: Int, text: String) {
    #expect(Figure.latency(nanoseconds) == text)
  }

  @Test("rates have four digits, small ones a decimal where they need it")
  func rates() {
    #expect(Figure.rate(123_456) == "123,500")
    #expect(Figure.rate(430) == "430")
    #expect(Figure.rate(614.83) == "614.8")
    #expect(Figure.percent(0.125) == "12.5 %")
    #expect(Figure.short(2_500_000) == "2.5M")
    #expect(Figure.shortLatency(5e8) == "500 ms")
  }

  @Test("a linear axis ends at a round tick above the highest value")
  func linearAxis() {
    let axis = Axis.linear(upTo: 153_000, count: 4, label: Figure.short)
    #expect(axis.ticks.map(\.label) == ["0", "50k", "100k", "150k", "200k"])
    #expect(axis.position(100_000, from: 0, to: 400) == 200)
    #expect(Axis.linear(upTo: 0, count: 4, label: Figure.short).upper == 1)
  }

  @Test("a logarithmic axis ends at 1, 2 or 5 and labels powers of ten when it is long")
  func logarithmicAxis() {
    let axis = Axis.logarithmic(covering: [0.6e6, 180e6], label: Figure.shortLatency)
    #expect(abs(axis.lower - 5e5) < 1 && abs(axis.upper - 2e8) < 1)
    #expect(axis.ticks.compactMap(\.label) == ["1 ms", "10 ms", "100 ms"])
    let short = Axis.logarithmic(covering: [1.5e6, 9e6], label: Figure.shortLatency)
    #expect(short.ticks.compactMap(\.label) == ["1 ms", "2 ms", "5 ms", "10 ms"])
    // Nothing to cover, or one value, is an axis all the same.
    for values in [[], [0, -1], [1e6]] as [[Double]] {
      let axis = Axis.logarithmic(covering: values, label: Figure.shortLatency)
      #expect(axis.upper / axis.lower >= 9)
    }
  }

  @Test("every further nine takes the same room")
  func ninesAxis() {
    let axis = Axis.nines(upTo: 0.9999)
    #expect(axis.ticks.compactMap(\.label) == ["50 %", "90 %", "99 %", "99.9 %", "99.99 %"])
    let places = [0.9, 0.99, 0.999, 0.9999].map { axis.position($0, from: 0, to: 100) }
    #expect(abs((places[1] - places[0]) - (places[3] - places[2])) < 1e-6)
    #expect(abs(places[3] - 100) < 1e-6)
  }

  @Test("the table lines up, has units, and explains what it marks")
  func table() {
    var first = ReportTests.point("none", 100, 0.5, 200_000, index: 0)
    first.lagP99Nanoseconds = 137_000
    var second = ReportTests.point("sign:ecdsa-p256", 1, 0.8, 6000, index: 1)
    second.voidReasons = [.censored, .starved]
    second.latencyP999Nanoseconds = 5_000_000_000
    second.latencyMaxNanoseconds = 5_000_000_000
    second.latencyBoundFromQuantile = 0.999
    #expect(
      ResultTable.text([first, second]) == """
        signatures       batch   target  throughput   p50   p99   p99.9     max  lag p99  CPU/req  audit  status
                                  ops/s       ops/s    ms    ms      ms      ms       ms       µs
        none               100  100,000      99,900  2.00  6.00    18.0    40.0    0.137     5.00  ok     valid
        sign:ecdsa-p256      1    4,800       4,795  5.00  15.0  ≥5,000  ≥5,000        –      167  ok     void: starved, censored

        starved: more than 1 % of due requests waited for a free session
        censored: a percentile that was asked for is only a lower bound
        ≥: requests without an answer after 5 s count with that time; the true value is at least this

        """)
  }

  @Test("a column for a parameter appears only where it differs")
  func differingParameters() {
    var rows = [
      ReportTests.point("none", 1, 0.5, 1000, index: 0), ReportTests.point("none", 1, 0.5, 1000, index: 1),
    ]
    #expect(!ResultTable.text(rows).contains("timeout"))
    rows[1].requestTimeoutMilliseconds = 500
    rows[1].repeatIndex = 1
    #expect(!ResultTable.text(rows).contains("durability"))
    rows[1].durability = "sync"
    #expect(ResultTable.text(rows).contains("durability"))
    #expect(ResultTable.text(rows).contains("timeout"))
    #expect(ResultTable.text(rows).contains("repeat"))
    #expect(ResultTable.text([]) == "")
    #expect(ResultTable.text([PointRow()]).contains("–"))
  }
}
