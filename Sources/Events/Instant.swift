// Time as the core sees it: a number handed in with each turn. Nothing here reads a clock.

/// A point on the host's monotonic time line, or on a simulation's virtual one; only differences have a
/// meaning.
///
/// Arithmetic saturates instead of trapping, so that "now plus a very long timeout" is simply
/// `distantFuture`.
public struct Instant: Comparable, Hashable, Sendable {
  /// Nanoseconds since the origin of the time line.
  public var nanoseconds: Int64

  @inlinable
  public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  /// The origin of the time line, where virtual time begins.
  @inlinable
  public static var zero: Instant { Instant(nanoseconds: 0) }

  /// Later than, or the same as, every other instant.
  @inlinable
  public static var distantFuture: Instant { Instant(nanoseconds: .max) }

  @inlinable
  public static func < (left: Instant, right: Instant) -> Bool { left.nanoseconds < right.nanoseconds }

  /// The instant `nanoseconds` later (earlier when negative), at most `distantFuture`.
  @inlinable
  public static func + (instant: Instant, nanoseconds: Int64) -> Instant {
    let (sum, overflow) = instant.nanoseconds.addingReportingOverflow(nanoseconds)
    guard overflow else { return Instant(nanoseconds: sum) }
    return Instant(nanoseconds: nanoseconds < 0 ? .min : .max)
  }

  /// Nanoseconds from `right` to `left`; negative when `left` is the earlier one. Saturates at the ends of
  /// `Int64`.
  @inlinable
  public static func - (left: Instant, right: Instant) -> Int64 {
    let (difference, overflow) = left.nanoseconds.subtractingReportingOverflow(right.nanoseconds)
    guard overflow else { return difference }
    return left < right ? .min : .max
  }
}

extension Instant: CustomStringConvertible {
  /// The nanoseconds with their unit, for trace lines and failed expectations.
  public var description: String { "\(nanoseconds) ns" }
}
