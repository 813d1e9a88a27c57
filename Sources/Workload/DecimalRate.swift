// A rate as the fraction its reader means, so that the time of request i needs no rounding but the last.

/// A positive rate as `mantissa × 10^exponent`, exactly the shortest decimal that names the given `Double`.
///
/// That is what was typed: 0.1 means one tenth here, not the binary fraction next to it, and request 1 at
/// that rate is due after 10,000,000,000 ns instead of 9,999,999,999.
struct DecimalRate: Equatable {
  /// At most 17 digits.
  var mantissa: UInt64
  var exponent: Int

  /// Precondition: `rate` is finite and positive.
  init(_ rate: Double) {
    precondition(rate.isFinite && rate > 0)
    mantissa = 0
    exponent = 0
    var digitsAfterPoint = 0
    var pastPoint = false
    // The shortest description is digits, an optional point with digits, and an optional exponent: "12.5",
    // "1e-06".
    let text = rate.description.utf8
    let digits = text.prefix { $0 != UInt8(ascii: "e") }
    for character in digits {
      if character == UInt8(ascii: ".") {
        pastPoint = true
      } else {
        mantissa = mantissa * 10 + UInt64(character - UInt8(ascii: "0"))
        if pastPoint { digitsAfterPoint += 1 }
      }
    }
    if digits.count < text.count {
      exponent = Int(Substring(text.dropFirst(digits.count + 1)))!
    }
    exponent -= digitsAfterPoint
    while mantissa % 10 == 0 {
      mantissa /= 10
      exponent += 1
    }
  }
}

/// Multiples of an exact period, one after the other: `floor(k × numerator / denominator)` for k = 0, 1, 2, …
///
/// The remainder is carried as an integer, so the k-th value has no error but its own floor, however large k
/// becomes; no division after the initializer.
struct ExactPeriod {
  /// Nanoseconds of one period, as a fraction.
  let numerator: UInt128
  let denominator: UInt64
  private let wholeStep: Int64
  private let remainderStep: UInt64
  private var remainder: UInt64 = 0
  /// The current multiple, in whole nanoseconds; stays at `Int64.max` once it would pass it.
  private(set) var nanoseconds: Int64 = 0

  /// The time `requests` requests take at `ratePerSecond`.
  ///
  /// Precondition: the rate is within `Schedule.supportedRates` and `requests` within 1...10⁷, which keeps
  /// the numerator below 2¹²⁸.
  init(ratePerSecond: Double, requests: Int) {
    precondition(Schedule.supportedRates.contains(ratePerSecond) && (1...10_000_000).contains(requests))
    let rate = DecimalRate(ratePerSecond)
    // 10⁹ ns / (mantissa × 10^exponent); the supported rates keep the exponent within -22...9.
    var numerator = UInt128(requests)
    for _ in 0..<(9 - rate.exponent) { numerator *= 10 }
    let (whole, rest) = numerator.quotientAndRemainder(dividingBy: UInt128(rate.mantissa))
    self.numerator = numerator
    denominator = rate.mantissa
    wholeStep = Int64(clamping: whole)
    remainderStep = UInt64(rest)
  }

  /// Goes to the next multiple.
  mutating func advance() {
    var step = wholeStep
    // Both are below the denominator, which has at most 17 digits: the sum fits.
    remainder += remainderStep
    if remainder >= denominator {
      remainder -= denominator
      step &+= 1
    }
    let (sum, overflow) = nanoseconds.addingReportingOverflow(step)
    nanoseconds = overflow ? .max : sum
  }

  /// How many multiples, from the 0-th on, lie before `instant` nanoseconds: floor(x) < instant exactly if x
  /// < instant.
  func multiples(before instant: Int64) -> Int {
    guard instant > 0 else { return 0 }
    // Below 2⁶³ × 10¹⁷ < 2¹²⁰.
    let scaled = UInt128(instant) * UInt128(denominator)
    return Int(clamping: (scaled + numerator - 1) / numerator)
  }
}
