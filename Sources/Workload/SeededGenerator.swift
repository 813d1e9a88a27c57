// The only source of chance in a workload: a seed in, the same numbers out, on every machine.

/// xoshiro256** (Blackman and Vigna, "Scrambled Linear Pseudorandom Number Generators", 2021), its 256-bit
/// state filled from a 64-bit seed by splitmix64, as its authors advise. Period 2²⁵⁶ − 1; not for secrets.
public struct SeededGenerator: RandomNumberGenerator, Sendable {
  @usableFromInline var state: (UInt64, UInt64, UInt64, UInt64)

  /// Equal seeds give equal sequences; any seed is good, 0 included.
  public init(seed: UInt64) {
    var filler = SplitMix64(state: seed)
    state = (filler.next(), filler.next(), filler.next(), filler.next())
  }

  init(state: (UInt64, UInt64, UInt64, UInt64)) { self.state = state }

  @inlinable
  public mutating func next() -> UInt64 {
    let product = state.1 &* 5
    let result = ((product << 7) | (product >> 57)) &* 9
    let shifted = state.1 << 17
    state.2 ^= state.0
    state.3 ^= state.1
    state.1 ^= state.2
    state.0 ^= state.3
    state.2 ^= shifted
    state.3 = (state.3 << 45) | (state.3 >> 19)
    return result
  }

  /// Uniform over the 2⁵³ multiples of 2⁻⁵³ in (0, 1].
  mutating func nextUnit() -> Double { Self.unit(next()) }

  /// The upper 53 bits, counted from 1: never 0, so the logarithm is finite.
  static func unit(_ bits: UInt64) -> Double { Double((bits >> 11) + 1) * 0x1p-53 }
}

/// splitmix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
struct SplitMix64: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
