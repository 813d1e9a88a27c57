// The generators against their authors' reference sequences.

import Testing

@testable import Workload

@Suite("Seeded generator")
struct SeededGeneratorTests {
  @Test("splitmix64 gives the reference sequence of seed 1234567")
  func splitMixReference() {
    var generator = SplitMix64(state: 1_234_567)
    let expected: [UInt64] = [
      6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
      4_593_380_528_125_082_431, 16_408_922_859_458_223_821,
    ]
    #expect((0..<5).map { _ in generator.next() } == expected)
  }

  @Test("xoshiro256** gives the reference sequence of state 1, 2, 3, 4")
  func xoshiroReference() {
    var generator = SeededGenerator(state: (1, 2, 3, 4))
    let expected: [UInt64] = [
      11_520, 0, 1_509_978_240, 1_215_971_899_390_074_240, 1_216_172_134_540_287_360,
      607_988_272_756_665_600, 16_172_922_978_634_559_625, 8_476_171_486_693_032_832,
      10_595_114_339_597_558_777, 2_904_607_092_377_533_576,
    ]
    #expect((0..<10).map { _ in generator.next() } == expected)
  }

  @Test("unit numbers lie in (0, 1] with the mean and variance of the uniform distribution")
  func unitNumbers() {
    var generator = SeededGenerator(seed: 5)
    let count = 200_000
    var sum = 0.0
    var squares = 0.0
    for _ in 0..<count {
      let value = generator.nextUnit()
      #expect(value > 0 && value <= 1)
      sum += value
      squares += value * value
    }
    let mean = sum / Double(count)
    // Six standard errors: 6 × sqrt(1/12 / count).
    #expect(abs(mean - 0.5) < 0.004)
    #expect(abs(squares / Double(count) - mean * mean - 1.0 / 12) < 0.002)
  }

  @Test("the least unit number is not 0, and the greatest is 1")
  func unitBounds() {
    #expect(SeededGenerator.unit(0) == 0x1p-53)
    #expect(SeededGenerator.unit(.max) == 1)
  }
}
