// Chance from a seed, in the small helpings a simulation needs. Nothing else in the module is random.

import Workload

/// Numbers that a seed reproduces.
struct Chance {
  private var generator: SeededGenerator

  init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

  /// 64 even bits.
  @inline(__always)
  mutating func bits() -> UInt64 { generator.next() }

  /// 0..<bound, all but even. Precondition: `bound` is at least 1 and below 2^32.
  @inline(__always)
  mutating func below(_ bound: Int) -> Int {
    Int(((generator.next() &>> 32) &* UInt64(bound)) &>> 32)
  }

  /// Any number of the range. Precondition: it has fewer than 2^32.
  @inline(__always)
  mutating func within(_ range: ClosedRange<Int>) -> Int {
    range.lowerBound &+ below(range.upperBound &- range.lowerBound &+ 1)
  }

  /// Nanoseconds in `0..<bound`; any bound up to 2^40.
  @inline(__always)
  mutating func nanoseconds(below bound: Int64) -> Int64 {
    guard bound > 0 else { return 0 }
    return Int64(generator.next() &>> 1) % bound
  }

  /// True in so many of 1,024 cases.
  @inline(__always)
  mutating func happens(_ share: Int) -> Bool { Int(generator.next() &>> 54) < share }

  /// One of the elements. Precondition: there is one.
  mutating func pick<Element>(_ elements: [Element]) -> Element { elements[below(elements.count)] }

  /// `count` different numbers of 0..<bound, ascending.
  mutating func choose(_ count: Int, of bound: Int) -> [Int] {
    var left = Array(0..<bound)
    for index in 0..<min(count, bound) {
      left.swapAt(index, index + below(bound - index))
    }
    return left.prefix(count).sorted()
  }
}

/// Mixes one word into a running 64-bit digest (FNV-1a over words, with a rotation so that high bits reach low ones).
@inline(__always)
func mixed(_ digest: UInt64, _ word: UInt64) -> UInt64 {
  let product = (digest ^ word) &* 0x9E37_79B9_7F4A_7C15
  return (product &<< 27 | product &>> 37) ^ (product &>> 29)
}
