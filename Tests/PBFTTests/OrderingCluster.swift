// A few ordering cores and the messages between them, in memory: every delivery is the test's to make.

import PBFT

/// A message on its way.
struct Flight: Hashable {
  var message: Message
  var from: Int
  var to: Int
}

extension Message {
  var isPrePrepare: Bool { if case .prePrepare = self { true } else { false } }
  var isPrepare: Bool { if case .prepare = self { true } else { false } }
  var isCommit: Bool { if case .commit = self { true } else { false } }
  var isCheckpoint: Bool { if case .checkpoint = self { true } else { false } }
  var isSuspect: Bool { if case .suspect = self { true } else { false } }

  var sequence: SequenceNumber? {
    switch self {
    case .prePrepare(let message): message.sequence
    case .prepare(let message): message.sequence
    case .commit(let message): message.sequence
    case .checkpoint(let message): message.sequence
    case .suspect: nil
    }
  }
}

/// A batch as the core sees it: a digest made from a number.
func digest(_ number: UInt64) -> Digest {
  var digest = Digest()
  digest.words = (number, ~number, number &* 0x9e37_79b9, 1)
  return digest
}

struct Execution: Hashable {
  var sequence: SequenceNumber
  var digest: Digest
}

final class OrderingCluster {
  let cores: [OrderingCore]
  let period: UInt64
  var flights: [Flight] = []
  var executed: [[Execution]]
  var discarded: [[BatchHandle]]
  var rejections: [[Rejection]]
  var stable: [[Checkpoint]]
  var diverged: [[Checkpoint]]
  var suspected: [[View]]
  var abandonable: [[View]]
  var resendDelays: [[Int64]]
  /// What a faulty replica's state is off by.
  var damage: [UInt64]
  private var nextHandle: UInt32 = 0

  init(replicas: Int, model: FaultModel = .byzantine, period: UInt64 = 4, multiplier: UInt64 = 4) {
    let configuration = OrderingConfiguration(
      checkpointPeriod: period, logMultiplier: multiplier, suspectResendNanoseconds: 1_000)
    let membership = Membership(count: replicas, model: model)
    self.period = period
    cores = membership.replicas.map {
      OrderingCore(configuration: configuration, id: $0, membership: membership)
    }
    executed = Array(repeating: [], count: replicas)
    discarded = Array(repeating: [], count: replicas)
    rejections = Array(repeating: [], count: replicas)
    stable = Array(repeating: [], count: replicas)
    diverged = Array(repeating: [], count: replicas)
    suspected = Array(repeating: [], count: replicas)
    abandonable = Array(repeating: [], count: replicas)
    resendDelays = Array(repeating: [], count: replicas)
    damage = Array(repeating: 0, count: replicas)
    for index in cores.indices { give(.start, to: index) }
  }

  var quorums: Quorums { cores[0].membership.quorums }

  /// The primary of view 0 orders a batch with this digest.
  func propose(_ number: UInt64) {
    give(.propose(digest: digest(number), batch: newHandle()), to: 0)
  }

  func newHandle() -> BatchHandle {
    nextHandle += 1
    return BatchHandle(rawValue: nextHandle)
  }

  /// Hands a message to one replica as if its link had.
  func deliver(_ message: Message, from: Int, to: Int) {
    give(.message(message, from: ReplicaID(Int32(from))), to: to)
  }

  /// Delivers everything under way that `includes` and all that follows from it, first come first served.
  func deliver(where includes: (Flight) -> Bool = { _ in true }) {
    while let index = flights.firstIndex(where: includes) {
      let flight = flights.remove(at: index)
      deliver(localised(flight.message), from: flight.from, to: flight.to)
    }
  }

  /// Delivers the last one under way first, until nothing is.
  func deliverInReverse() {
    while let flight = flights.popLast() {
      deliver(localised(flight.message), from: flight.from, to: flight.to)
    }
  }

  func drop(where includes: (Flight) -> Bool) { flights.removeAll(where: includes) }

  /// A batch has another handle at each replica.
  private func localised(_ message: Message) -> Message {
    guard case .prePrepare(var prePrepare) = message else { return message }
    prePrepare.batch = newHandle()
    return .prePrepare(prePrepare)
  }

  func give(_ event: OrderingCore.Event, to index: Int) {
    cores[index].processEvent(event)
    while let effect = cores[index].takeEffect() { run(effect, of: index) }
  }

  private func run(_ effect: OrderingCore.Effect, of index: Int) {
    switch effect {
    case .broadcast(let message):
      for other in cores.indices where other != index {
        flights.append(Flight(message: message, from: index, to: other))
      }
    case .execute(let sequence, _, let digest, _):
      executed[index].append(Execution(sequence: sequence, digest: digest))
    case .takeCheckpoint(let sequence):
      var state = digest(damage[index])
      for execution in executed[index] {
        state.words.0 = (state.words.0 ^ execution.digest.words.0) &* 0x1_0000_01b3
      }
      give(.checkpointTaken(Checkpoint(sequence: sequence, digest: state)), to: index)
    case .discard(let batch): discarded[index].append(batch)
    case .stable(let checkpoint): stable[index].append(checkpoint)
    case .diverged(let checkpoint): diverged[index].append(checkpoint)
    case .suspected(let view): suspected[index].append(view)
    case .viewAbandonable(let view): abandonable[index].append(view)
    case .startTimer(.suspectResend, let nanoseconds): resendDelays[index].append(nanoseconds)
    case .rejected(let rejection, _): rejections[index].append(rejection)
    }
  }
}

func allEmpty<Element>(_ lists: [[Element]]) -> Bool { lists.allSatisfy { $0.isEmpty } }
