// The checkers: they observe what correct replicas execute and answer and what correct clients accept, and never
// steer. Kept true here: the first breach is kept with the time at which it was seen.

import PBFT

/// What a schedule may fail by.
public enum Breach: String, Sendable, CaseIterable {
  /// Two correct replicas have different digest chains.
  case agreement
  /// An operation has two positions in the log, or a position two operations.
  case exactlyOnce = "exactly-once"
  /// An operation was ordered before one that had been answered when it was invoked.
  case linearizability
  /// What was acknowledged is not in the log in the end.
  case lostOperation = "lost-operation"
  /// A buffer is longer than its bound.
  case bounds
  /// Replicas talk though nothing is to be said.
  case idleRate = "idle-rate"
  /// Not done within the bound after everything healed, or a replica stays behind.
  case liveness
  /// A view was left though nothing was wrong.
  case needlessViewChange = "needless-view-change"
  /// Events without end.
  case livelock
}

/// What a client wants done once: a client, session and sequence, whatever bytes it sends.
struct OperationRecord: BitwiseCopyable {
  var client: Int32
  var session: Int32
  var sequence: Int32
  /// The request to be sent now.
  var request: Int32
  /// The highest position acknowledged anywhere when it was invoked.
  var invokedAfter: UInt64 = 0
  /// The position a correct replica or a quorum has told; 0 = none yet.
  var position: UInt64 = 0
  var chain: UInt64 = 0
  var isAcknowledged = false
  var isOfByzantineClient = false
  var resends: UInt8 = 0
}

/// One replica's answer to an operation, as the client keeps it.
struct AnswerRecord: BitwiseCopyable {
  var position: UInt64 = 0
  var chain: UInt64 = 0
  /// -1 = none; else the membership of the answer, with an empty content the one to move to.
  var membershipID: Int32 = -1
  var isEmpty = false
}

struct Ledger {
  /// H_k of each batch k that a correct replica was seen to end an event with.
  private var chains: ContiguousArray<Digest> = []
  private(set) var operations: ContiguousArray<OperationRecord> = []
  /// The operation at each position, -1 = not known.
  private var positions: ContiguousArray<Int32> = []
  private var positionChains: ContiguousArray<UInt64> = []
  private(set) var highestAcknowledged: UInt64 = 0
  private(set) var highestSeen: UInt64 = 0
  private(set) var highestExecuted: UInt64 = 0
  private(set) var breach: Breach?
  private(set) var breachText = ""
  private(set) var breachTime: Int64 = 0
  var isChecking = true

  mutating func reset() {
    chains.removeAll(keepingCapacity: true)
    operations.removeAll(keepingCapacity: true)
    positions.removeAll(keepingCapacity: true)
    positionChains.removeAll(keepingCapacity: true)
    highestAcknowledged = 0
    highestSeen = 0
    highestExecuted = 0
    breach = nil
    breachText = ""
    breachTime = 0
    isChecking = true
  }

  mutating func fail(_ kind: Breach, at time: Int64, _ text: String) {
    guard breach == nil else { return }
    breach = kind
    breachText = text
    breachTime = time
  }

  /// A correct replica has executed up to `sequence` and has this chain.
  @inline(__always)
  mutating func executed(_ sequence: UInt64, chain: Digest, by host: Int32, at time: Int64) {
    guard isChecking else { return }
    let index = Int(sequence)
    while chains.count <= index { chains.append(.zero) }
    if sequence > highestExecuted { highestExecuted = sequence }
    if chains[index] == .zero {
      chains[index] = chain
    } else if chains[index] != chain {
      fail(
        .agreement, at: time,
        "r\(host) has chain \(short(chain)) after n\(sequence), another replica \(short(chains[index]))")
    }
  }

  mutating func begin(
    client: Int32, session: Int32, sequence: Int32, isByzantine: Bool
  ) -> Int32 {
    operations.append(
      OperationRecord(
        client: client, session: session, sequence: sequence, request: -1, invokedAfter: highestAcknowledged,
        isOfByzantineClient: isByzantine))
    return Int32(operations.count - 1)
  }

  @inline(__always)
  mutating func setRequest(_ request: Int32, of operation: Int32) {
    operations[Int(operation)].request = request
  }

  @inline(__always)
  mutating func countResend(of operation: Int32) -> Int {
    if operations[Int(operation)].resends < 4 { operations[Int(operation)].resends += 1 }
    return Int(operations[Int(operation)].resends)
  }

  /// A correct replica has told this position for the operation.
  @inline(__always)
  mutating func told(_ operation: Int32, position: UInt64, chain: UInt64, at time: Int64) {
    guard isChecking else { return }
    let known = operations[Int(operation)].position
    if known == 0 {
      operations[Int(operation)].position = position
      operations[Int(operation)].chain = chain
    } else if known != position || operations[Int(operation)].chain != chain {
      return fail(
        .exactlyOnce, at: time, "operation \(name(operation)) has positions \(known) and \(position)")
    }
    guard position > 0, position < 1 << 20 else {
      return fail(.exactlyOnce, at: time, "operation \(name(operation)) has position \(position)")
    }
    while positions.count <= Int(position) {
      positions.append(-1)
      positionChains.append(0)
    }
    if position > highestSeen { highestSeen = position }
    let holder = positions[Int(position)]
    if holder < 0 {
      positions[Int(position)] = operation
      positionChains[Int(position)] = chain
    } else if holder != operation {
      fail(.exactlyOnce, at: time, "position \(position) holds \(name(holder)) and \(name(operation))")
    }
  }

  /// A correct client has f+1 equal answers.
  mutating func acknowledge(_ operation: Int32, position: UInt64, chain: UInt64, at time: Int64) {
    operations[Int(operation)].isAcknowledged = true
    guard isChecking else { return }
    told(operation, position: position, chain: chain, at: time)
    if position <= operations[Int(operation)].invokedAfter {
      fail(
        .linearizability, at: time,
        "operation \(name(operation)) has position \(position), but \(operations[Int(operation)].invokedAfter) "
          + "had been acknowledged before it was invoked")
    }
    if position > highestAcknowledged { highestAcknowledged = position }
  }

  /// In the end: every correct client's operation has a position of its own, and, unless a Byzantine client may have
  /// taken one, no position is left over.
  mutating func close(at time: Int64) {
    guard isChecking else { return }
    var known = 0
    var byzantine = 0
    for operation in operations {
      if operation.isOfByzantineClient { byzantine += 1 } else { known += 1 }
    }
    if highestSeen > UInt64(known + byzantine) {
      fail(.exactlyOnce, at: time, "the log has \(highestSeen) entries of \(known + byzantine) operations")
    }
    for index in operations.indices where operations[index].isAcknowledged {
      let position = Int(operations[index].position)
      if positions[position] != Int32(index) {
        fail(.lostOperation, at: time, "operation \(name(Int32(index))) is not at position \(position)")
      }
    }
  }

  func name(_ operation: Int32) -> String {
    let record = operations[Int(operation)]
    return "c\(record.client)/\(record.session)/\(record.sequence)"
  }

  /// The chain a correct replica was seen to have after this batch; nil when none was.
  func chain(at sequence: UInt64) -> Digest? {
    guard Int(sequence) < chains.count, chains[Int(sequence)] != .zero else { return nil }
    return chains[Int(sequence)]
  }
}
