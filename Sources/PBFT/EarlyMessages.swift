// Messages of views to come, kept within a bound until the view is entered, so that a replica that enters
// late loses no votes.

/// A vote or pre-prepare of a later view.
struct EarlyMessage {
  enum Content {
    case prePrepare(PrePrepare, isReconfiguration: Bool)
    case prepare(Prepare)
    case commit(Commit)
  }
  var content: Content
  var position: Int

  var view: View {
    switch content {
    case .prePrepare(let message, _): message.view
    case .prepare(let message): message.view
    case .commit(let message): message.view
    }
  }
}

/// The kept messages in the order of their arrival: so many votes per sender, so many pre-prepares in all.
struct EarlyMessages {
  static let votesPerSender = 64
  static let prePrepares = 8

  private(set) var messages = ContiguousArray<EarlyMessage>()
  private var votes: ContiguousArray<Int>
  private var prePrepares = 0

  init(replicas: Int) { votes = ContiguousArray(repeating: 0, count: replicas) }

  /// False when there is no room.
  mutating func add(_ message: EarlyMessage) -> Bool {
    if case .prePrepare = message.content {
      guard prePrepares < EarlyMessages.prePrepares else { return false }
      prePrepares += 1
    } else {
      guard votes[message.position] < EarlyMessages.votesPerSender else { return false }
      votes[message.position] += 1
    }
    messages.append(message)
    return true
  }

  /// Takes out everything up to this view.
  mutating func take(through view: View) -> ContiguousArray<EarlyMessage> {
    guard !messages.isEmpty else { return [] }
    let taken = messages.filter { !(view < $0.view) }
    messages.removeAll { !(view < $0.view) }
    for message in taken {
      if case .prePrepare = message.content {
        prePrepares -= 1
      } else {
        votes[message.position] -= 1
      }
    }
    return ContiguousArray(taken)
  }
}
