// Times without commits, as the generator sees them.

import LoadGenerator
import Testing

@Suite("Pauses between reply quorums")
struct CompletionGapTests {
  private func gaps(_ instants: [Int64]) -> CompletionGaps {
    var gaps = CompletionGaps()
    for instant in instants { gaps.answered(at: instant * 1_000_000) }
    return gaps
  }

  private func gap(_ begin: Int64, _ end: Int64, isOpen: Bool = false) -> CompletionGaps.Gap {
    CompletionGaps.Gap(begin: begin * 1_000_000, end: end * 1_000_000, isOpen: isOpen)
  }

  @Test("the longest pause is from the last quorum before it to the first one after it")
  func longest() {
    #expect(gaps([]).longest == nil)
    #expect(gaps([5, 7, 30, 31]).longest == gap(7, 30))
    #expect(gaps([40, 41]).longest == gap(0, 40), "the time before the first quorum counts")
    #expect(gaps([5, 5, 5]).longest == gap(0, 5))
  }

  @Test("pauses from 10 ms on are kept; the longest that touches a span of time is found")
  func noticeable() {
    let gaps = gaps([5, 20, 29, 60, 61, 90])
    #expect(gaps.noticeable == [gap(5, 20), gap(29, 60), gap(61, 90)])
    #expect(gaps.longest(touching: 0..<25_000_000) == gap(5, 20))
    #expect(gaps.longest(touching: 30_000_000..<100_000_000) == gap(29, 60))
    #expect(gaps.longest(touching: 62_000_000..<70_000_000) == gap(61, 90))
    #expect(gaps.longest(touching: 21_000_000..<28_000_000) == nil)
  }

  @Test("a run that ends with requests given up ends in an open pause; one that is answered does not")
  func openEnd() {
    var silent = gaps([5, 6])
    silent.gaveUp()
    silent.end(at: 500_000_000)
    #expect(silent.longest == gap(6, 500, isOpen: true))
    var answered = gaps([5, 6])
    answered.gaveUp()
    answered.answered(at: 7_000_000)
    answered.end(at: 500_000_000)
    #expect(answered.longest == gap(0, 5))
  }

  @Test("what is kept is bounded")
  func bounded() {
    var gaps = CompletionGaps()
    for index in 1...10_000 { gaps.answered(at: Int64(index) * 20_000_000) }
    gaps.answered(at: 10_001 * 20_000_000 + 1)
    #expect(gaps.noticeable.count == CompletionGaps.mostKept)
    #expect(gaps.longest?.nanoseconds == 20_000_001)
  }
}
