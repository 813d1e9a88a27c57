// Which value range each slot of an HdrHistogram's count array stands for. The histogram package keeps its
// array to itself and offers (value, count) pairs; encodings speak of slots, so the mapping is kept here. It
// follows the reference implementation (org.HdrHistogram.AbstractHistogram) and is checked against the
// package in tests.

import Histogram

/// Latencies and lags in nanoseconds. All of a run share one layout, so that merging adds counts slot by
/// slot.
public typealias LatencyHistogram = Histogram<UInt64>

extension Histogram where Count == UInt64 {
  /// 1 ns to 1 hour at three significant digits, 275 KiB. A larger value is not recorded and `record` says
  /// false.
  public static func nanoseconds() -> LatencyHistogram {
    LatencyHistogram(
      lowestDiscernibleValue: 1, highestTrackableValue: 3_600_000_000_000,
      numberOfSignificantValueDigits: .three)
  }
}

/// The slots of a histogram of given resolution.
struct HistogramLayout: Equatable {
  let unitMagnitude: Int
  let subBucketHalfCountMagnitude: Int
  /// Slots needed for the highest trackable value.
  let slotCount: Int

  private var subBucketHalfCount: Int { 1 << subBucketHalfCountMagnitude }
  private var subBucketMask: UInt64 { UInt64(2 * subBucketHalfCount - 1) << UInt64(unitMagnitude) }

  /// Nil when the parameters are not those of a histogram.
  init?(lowestDiscernible: UInt64, highestTrackable: UInt64, significantDigits: Int) {
    guard lowestDiscernible >= 1, highestTrackable <= UInt64(Int64.max),
      highestTrackable / 2 >= lowestDiscernible, (0...5).contains(significantDigits)
    else { return nil }
    var singleUnitResolution = 2
    for _ in 0..<significantDigits { singleUnitResolution *= 10 }
    var magnitude = 1
    while 1 << magnitude < singleUnitResolution { magnitude += 1 }
    unitMagnitude = lowestDiscernible.bitWidth - 1 - lowestDiscernible.leadingZeroBitCount
    subBucketHalfCountMagnitude = magnitude - 1
    guard unitMagnitude + magnitude <= 62 else { return nil }
    var bucketCount = 1
    var untrackable = UInt64(1) << UInt64(magnitude + unitMagnitude)
    while untrackable <= highestTrackable {
      bucketCount += 1
      if untrackable > UInt64.max / 2 { break }
      untrackable <<= 1
    }
    slotCount = (bucketCount + 1) << subBucketHalfCountMagnitude
  }

  init(_ histogram: LatencyHistogram) {
    // The histogram exists, so its parameters are those of a histogram.
    self.init(
      lowestDiscernible: histogram.lowestDiscernibleValue, highestTrackable: histogram.highestTrackableValue,
      significantDigits: Int(histogram.numberOfSignificantValueDigits.rawValue))!
  }

  /// The slot that counts `value`; may lie beyond `slotCount`.
  func slot(of value: UInt64) -> Int {
    let bucket =
      63 - (value | subBucketMask).leadingZeroBitCount - unitMagnitude - subBucketHalfCountMagnitude
    let subBucket = Int(value >> UInt64(bucket + unitMagnitude))
    return ((bucket + 1) << subBucketHalfCountMagnitude) + subBucket - subBucketHalfCount
  }

  /// The lowest value that `slot` counts.
  func lowestValue(ofSlot slot: Int) -> UInt64 {
    UInt64(subBucket(ofSlot: slot)) << UInt64(bucket(ofSlot: slot) + unitMagnitude)
  }

  /// The highest value that `slot` counts.
  func highestValue(ofSlot slot: Int) -> UInt64 { lowestValue(ofSlot: slot) + (width(ofSlot: slot) - 1) }

  /// The number of values that `slot` counts.
  func width(ofSlot slot: Int) -> UInt64 {
    1 << UInt64(bucket(ofSlot: slot) + unitMagnitude)
  }

  private func bucket(ofSlot slot: Int) -> Int {
    max(0, (slot >> subBucketHalfCountMagnitude) - 1)
  }

  private func subBucket(ofSlot slot: Int) -> Int {
    let inHalf = slot & (subBucketHalfCount - 1)
    return slot < subBucketHalfCount ? inHalf : inHalf + subBucketHalfCount
  }
}

extension Histogram where Count == UInt64 {
  /// Calls `body` with every slot that counts something, ascending, and its count. The package's own iterator also adds
  /// up count times value and traps where that leaves 64 bits, which a merged or a damaged file can do.
  func forEachRecordedSlot(_ layout: HistogramLayout, _ body: (_ slot: Int, _ count: UInt64) -> Void) {
    var rest = totalCount
    var slot = 0
    while rest > 0, slot < layout.slotCount {
      let count = countForValue(layout.lowestValue(ofSlot: slot))
      if count > 0 {
        body(slot, count)
        rest -= Swift.min(rest, count)
      }
      slot += 1
    }
  }
}
