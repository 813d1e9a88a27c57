// From a scenario to the order in which its points run. Kept true: the order depends on the scenario and its
// seed only, and every point × repeat stands in it exactly once.

import Results

/// Vigna's SplitMix64: a small generator for orders, the same on every machine.
/// Source: Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014.
public struct SplitMix64: RandomNumberGenerator, Sendable {
  private var state: UInt64

  public init(seed: UInt64) { state = seed }

  public mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }
}

/// One run of one point.
public struct PlannedPoint: Sendable {
  public var parameters: PointParameters
  public var pointID: String
  /// Counted from 0.
  public var repeatIndex: Int
  /// Position in the order of the sweep, counted from 0.
  public var orderIndex: Int
  /// Seed of the arrival schedule and of whatever else is random in this run.
  public var seed: UInt64

  /// What names this run in the journal and in files.
  public var key: PointKey { PointKey(pointID: pointID, repeatIndex: repeatIndex) }
}

/// The runs of a sweep in their order.
public struct SweepPlan: Sendable {
  public var points: [PlannedPoint]

  /// Every point of `scenario` as often as it states, shuffled by its seed so that drift of the machine does
  /// not masquerade as an effect of an axis.
  public init(_ scenario: Scenario) {
    var points: [PlannedPoint] = []
    for repeatIndex in 0..<scenario.repeats {
      for point in scenario.points {
        let pointID = point.parameters.pointID
        points.append(
          PlannedPoint(
            parameters: point.parameters, pointID: pointID, repeatIndex: repeatIndex, orderIndex: 0,
            seed: pointSeed(sweepSeed: scenario.seed, pointID: pointID, repeatIndex: repeatIndex)))
      }
    }
    var generator = SplitMix64(seed: scenario.seed)
    // Fisher–Yates written out: the standard library does not promise that `shuffle` keeps its algorithm.
    for last in stride(from: points.count - 1, to: 0, by: -1) {
      points.swapAt(last, Int(generator.next() % UInt64(last + 1)))
    }
    for index in points.indices { points[index].orderIndex = index }
    self.points = points
  }
}
