// Signed statements by handle: the core's own, the kept ones, and those an event has just brought.
//
// Kept true here: a released handle stays readable until every effect that may name it has been taken, and
// for some time more, so that an owner may encode it at the end of its own turn.

/// The statements a core holds; at most two per replica and those not yet named in an event.
final class StatementStore {
  private var slots: [SignedStatement?] = []
  private var free: [UInt32] = []
  private var released: [StatementHandle] = []

  var count: Int { slots.count - free.count }

  func add(_ statement: SignedStatement) -> StatementHandle {
    if let index = free.popLast() {
      slots[Int(index)] = statement
      return StatementHandle(rawValue: index)
    }
    slots.append(statement)
    return StatementHandle(rawValue: UInt32(slots.count - 1))
  }

  subscript(handle: StatementHandle) -> SignedStatement {
    guard let statement = slots[Int(handle.rawValue)] else { preconditionFailure("a released statement") }
    return statement
  }

  func sign(_ handle: StatementHandle, _ signature: StatementSignature) {
    slots[Int(handle.rawValue)]?.signature = signature
  }

  /// Frees the handle when many more have been released. Releasing it again changes nothing.
  func release(_ handle: StatementHandle) {
    if !released.contains(handle) { released.append(handle) }
  }

  /// No effect waits: what was released long ago is gone.
  @inline(__always)
  func reclaim() {
    if released.count > StatementStore.afterlife { reclaimReleased() }
  }

  private func reclaimReleased() {
    let count = released.count - StatementStore.afterlife
    for handle in released.prefix(count) {
      slots[Int(handle.rawValue)] = nil
      free.append(handle.rawValue)
    }
    released.removeFirst(count)
  }

  /// Released statements that are still readable.
  static let afterlife = 32
}
