// Where a core's effects wait until its owner takes them: memory that grows in place and is kept.

/// Effects in the order in which they must happen.
final class EffectQueue {
  @exclusivity(unchecked) private var effects: UnsafeMutablePointer<OrderingCore.Effect>
  @exclusivity(unchecked) private var capacity = 64
  @exclusivity(unchecked) private var head = 0
  @exclusivity(unchecked) private var end = 0

  init() { effects = .allocate(capacity: capacity) }

  deinit { effects.deallocate() }

  @inline(__always)
  var isEmpty: Bool { head == end }

  @inline(__always)
  func append(_ effect: OrderingCore.Effect) {
    if end == capacity { grow() }
    (effects + end).initialize(to: effect)
    end &+= 1
  }

  /// The first one, taken out; nil when there is none.
  @inline(__always)
  func takeFirst() -> OrderingCore.Effect? {
    guard head < end else { return nil }
    let first = effects[head]
    head &+= 1
    if head == end {
      head = 0
      end = 0
    }
    return first
  }

  @inline(never)
  private func grow() {
    let larger = UnsafeMutablePointer<OrderingCore.Effect>.allocate(capacity: capacity * 2)
    larger.moveInitialize(from: effects, count: end)
    effects.deallocate()
    effects = larger
    capacity *= 2
  }
}
