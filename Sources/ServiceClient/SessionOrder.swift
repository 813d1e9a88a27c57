// What may not go out yet waits within its session: a session value that no replica has answered has one ordered request under
// way, none runs 32 sequences ahead of one without outcome, and after a change of the membership what is under way comes first.

import Channels
import Wire

extension ClientSessions {
  /// Lets an operation wait until its session may send it.
  func park(_ slot: Int32) {
    let operation = operations + Int(slot)
    operation.pointee.isParked = true
    operation.pointee.nextParked = -1
    // Nothing that comes can be an answer to it.
    operation.pointee.operationID &+= Int32(slotCount)
    operation.pointee.answered = ~0
    operation.pointee.replyServer = -1
    let session = Int(operation.pointee.session)
    guard sessions[session].firstParked >= 0 else {
      sessions[session].firstParked = slot
      return
    }
    var last = sessions[session].firstParked
    while operations[Int(last)].nextParked >= 0 { last = operations[Int(last)].nextParked }
    operations[Int(last)].nextParked = slot
  }

  /// Takes an operation out of those that wait.
  func unpark(_ slot: Int32) {
    let operation = operations + Int(slot)
    operation.pointee.isParked = false
    let session = Int(operation.pointee.session)
    if sessions[session].firstParked == slot {
      sessions[session].firstParked = operation.pointee.nextParked
      return
    }
    var before = sessions[session].firstParked
    while before >= 0, operations[Int(before)].nextParked != slot {
      before = operations[Int(before)].nextParked
    }
    precondition(before >= 0, "a parked operation stands in its session's list")
    operations[Int(before)].nextParked = operation.pointee.nextParked
  }

  /// Sends what waits in the session as far as it may be sent, in the order in which it came.
  func release(_ session: Int, now: Int64) {
    while sessions[session].firstParked >= 0, sessions[session].maySend {
      let slot = sessions[session].firstParked
      let operation = operations + Int(slot)
      unpark(slot)
      prepare(operation, slot)
      encodeAgain(operation)
      operation.pointee.sent = monotonicNanoseconds()
      launch(operation)
      arm(slot, now: operation.pointee.sent)
    }
  }
}
