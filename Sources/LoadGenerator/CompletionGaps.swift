// The pauses between reply quorums, which are the times without commits as clients see them. Kept true: a pause counts
// from the last quorum before it to the first one after it, whoever was waiting; what ends with the run is marked.

/// Pauses between reply quorums of one run. Times are nanoseconds since the start of the load.
public struct CompletionGaps: Sendable, Equatable {
  /// No quorum between the two instants.
  public struct Gap: Sendable, Equatable {
    public var begin: Int64
    public var end: Int64
    /// Whether the run ended, with requests unanswered, before the next quorum.
    public var isOpen: Bool

    public init(begin: Int64, end: Int64, isOpen: Bool = false) {
      self.begin = begin
      self.end = end
      self.isOpen = isOpen
    }

    public var nanoseconds: Int64 { end - begin }
  }

  /// Pauses this long are kept, each for itself.
  public static let noticeableNanoseconds: Int64 = 10_000_000
  /// So many of them at most; then only the longest is still looked for.
  public static let mostKept = 4_096

  public private(set) var longest: Gap?
  /// The noticeable pauses in their order.
  public private(set) var noticeable: [Gap] = []
  private var last: Int64 = 0
  private var hasUnanswered = false

  public init() {}

  /// Notes a quorum.
  public mutating func answered(at instant: Int64) {
    hasUnanswered = false
    guard instant > last else { return }
    note(Gap(begin: last, end: instant))
    last = instant
  }

  /// Notes a request that was given up.
  public mutating func gaveUp() { hasUnanswered = true }

  /// Notes the end of the run.
  public mutating func end(at instant: Int64) {
    if hasUnanswered, instant > last { note(Gap(begin: last, end: instant, isOpen: true)) }
  }

  private mutating func note(_ gap: Gap) {
    if gap.nanoseconds > longest?.nanoseconds ?? -1 { longest = gap }
    if gap.nanoseconds >= Self.noticeableNanoseconds, noticeable.count < Self.mostKept {
      noticeable.append(gap)
    }
  }

  /// The longest pause that has a part in `instants`, nil when none was noticeable.
  public func longest(touching instants: Range<Int64>) -> Gap? {
    noticeable.filter { $0.end > instants.lowerBound && $0.begin < instants.upperBound }
      .max { $0.nanoseconds < $1.nanoseconds }
  }
}
