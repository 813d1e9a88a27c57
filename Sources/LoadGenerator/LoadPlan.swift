// What one point's load is, and what comes out of it. All times are nanoseconds of the generator's monotonic clock; nothing
// here is read from another host's clock.

import Results
import Workload

/// What can be known of right replies, by service.
public enum ReplyAudit: Equatable, Sendable {
  case absent
  /// Replies are records of an append log; `base`: the position executed before the run.
  case log(base: UInt64)
  /// Replies are the values of a counter that each request increments by 1, whatever it was before.
  case counter
  /// Replies are the requests.
  case echo
}

/// The load of one point.
public struct LoadPlan: Sendable {
  /// How requests become due.
  public enum Pacing: Sendable {
    /// Request i is due at its intended time, whatever the replicas do.
    case open(ArrivalProcess, ratePerSecond: Double)
    /// Every session has one request in flight and sends again at once; only for probing capacity.
    case closed
  }

  public var pacing: Pacing
  public var seed: UInt64
  public var warmupNanoseconds: Int64 = 1_000_000_000
  public var measureNanoseconds: Int64 = 3_000_000_000
  /// D: how long each request is followed after its intended time.
  public var drainNanoseconds: Int64 = 5_000_000_000
  /// Content of each ordered request.
  public var content: [UInt8] = []
  /// Share of requests sent as unordered reads, 0 ... 1.
  public var unorderedFraction = 0.0
  /// What is checked of the replies.
  public var audit = ReplyAudit.absent
  /// Whether requests are signed on sending; the clock is then read for each.
  public var signsInline = false

  public init(pacing: Pacing, seed: UInt64) {
    self.pacing = pacing
    self.seed = seed
  }
}

/// One second of a run, counted from the first request's due time.
public struct LoadSecond: Sendable {
  public var offered = 0
  public var sent = 0
  public var answered = 0
  public var errors = 0
  public var inFlightAtEnd = 0
  public var latency = CoarseHistogram()
  public var lag = CoarseHistogram()
}

/// What a run of a plan showed.
public struct LoadOutcome: Sendable {
  /// Requests due in the measurement phase, and what became of them.
  public var offered = 0
  /// How many this seed's schedule makes due in it.
  public var scheduled = 0
  public var sent = 0
  public var answered = 0
  public var refused = 0
  public var starved = 0
  public var censored = 0
  public var errors = 0
  /// Reply quorums reached in the measurement phase, whenever the request was due.
  public var quorumsInWindow = 0
  public var retransmits: UInt64 = 0
  /// Over the whole run, warm-up and drain included.
  public var sentInAll: UInt64 = 0
  public var answeredInAll: UInt64 = 0
  public var latency = LatencyHistogram.nanoseconds()
  public var service = LatencyHistogram.nanoseconds()
  public var lag = LatencyHistogram.nanoseconds()
  public var censoredLatency = LatencyHistogram.nanoseconds()
  /// Actual send minus the later of intended time and the instant the session became free.
  public var generatorLag = LatencyHistogram.nanoseconds()
  public var seconds: [LoadSecond] = []
  /// Fifty equal bins over the measurement: requests answered and the sum of their latencies, by intended time.
  public var bins: [(answered: Int, latencySum: Double)] = Array(repeating: (0, 0), count: 50)
  /// Processor time of the generator's thread during the measurement.
  public var generatorCPUNanoseconds: Int64 = 0
  /// Mean processor time of signing or tagging a request during the measurement; nil when none was measured.
  public var signNanoseconds: Int?
  /// Length of the measurement as it was.
  public var measuredNanoseconds: Int64 = 0
  public var drainedNanoseconds: Int64 = 0
  public var violations = 0
  public var checked = 0
  public var firstViolation: String?
  /// Unordered reads and the like that took another way.
  public var unorderedSentOrdered: UInt64 = 0
  public var lostLinks: UInt64 = 0
  /// When the load began, on the generator's monotonic clock.
  public var startNanoseconds: Int64 = 0
  public var gaps = CompletionGaps()

  /// Quorums reached per second of the measurement.
  public var throughput: Double {
    measuredNanoseconds > 0 ? Double(quorumsInWindow) * 1e9 / Double(measuredNanoseconds) : 0
  }

  /// Share of one core that the generator's thread was busy.
  public var generatorBusy: Double {
    measuredNanoseconds > 0 ? Double(generatorCPUNanoseconds) / Double(measuredNanoseconds) : 0
  }
}

/// Counts in buckets of about 3 % width, 4 KiB in all: for one second of a series, where an HdrHistogram's reset would
/// disturb the generator.
public struct CoarseHistogram: Sendable {
  private static let subBucketBits = 5
  private var counts: [UInt32] = []
  public private(set) var total = 0
  public private(set) var maximum: Int64 = 0

  public init() {}

  private static func bucket(_ value: Int64) -> Int {
    let value = UInt64(max(0, value))
    if value < 1 << UInt64(subBucketBits) { return Int(value) }
    let exponent = 63 - value.leadingZeroBitCount - subBucketBits
    return (exponent + 1) << subBucketBits
      + Int((value >> UInt64(exponent)) & (1 << UInt64(subBucketBits) - 1))
  }

  private static func highest(_ bucket: Int) -> Int64 {
    let exponent = bucket >> subBucketBits
    let sub = Int64(bucket & (1 << subBucketBits - 1))
    if exponent == 0 { return sub }
    // Wraps only for the bucket that ends at Int64.max.
    return (sub + 1 << subBucketBits + 1) << Int64(exponent - 1) &- 1
  }

  public mutating func record(_ value: Int64) {
    if counts.isEmpty { counts = Array(repeating: 0, count: 60 << Self.subBucketBits) }
    counts[min(Self.bucket(value), counts.count - 1)] &+= 1
    total += 1
    maximum = max(maximum, value)
  }

  /// The value at quantile `q`, nil when nothing was recorded.
  public func quantile(_ q: Double) -> Int64? {
    guard total > 0 else { return nil }
    let rank = max(1, Int((q * Double(total)).rounded(.up)))
    var seen = 0
    for (bucket, count) in counts.enumerated() {
      seen += Int(count)
      if seen >= rank { return min(Self.highest(bucket), maximum) }
    }
    return maximum
  }
}
