// Sessions that are free and requests that wait for one.

import Testing

@testable import LoadGenerator

@Suite("Free sessions")
struct FreeSessionsTests {
  private func takeAll(_ free: inout FreeSessions) -> [Int] {
    var taken: [Int] = []
    while let session = free.take() { taken.append(session) }
    return taken
  }

  @Test(
    "every session is given out as often as it may have requests in flight",
    arguments: [(7, 1, 1), (7, 3, 2), (4, 4, 1)])
  func givesAll(sessions: Int, connections: Int, outstanding: Int) {
    var free = FreeSessions(sessions: sessions, connections: connections, outstanding: outstanding)
    #expect(free.count == sessions * outstanding)
    let taken = takeAll(&free)
    #expect(taken.sorted() == (0..<sessions).flatMap { Array(repeating: $0, count: outstanding) })
    #expect(free.count == 0)
  }

  @Test(
    "within a turn sessions of one connection are taken first, and the next turn takes the next connection")
  func staysOnAConnection() {
    var free = FreeSessions(sessions: 6, connections: 2, outstanding: 1)
    var taken = [free.take(), free.take(), free.take()]
    #expect(taken == [0, 2, 4])
    for session in [0, 2, 4] { free.give(session) }
    free.rotate()
    // When its connection has no more, the turn goes on with the next.
    taken = [free.take(), free.take(), free.take(), free.take()]
    #expect(taken == [1, 3, 5, 0])
  }

  @Test("the session that has been free for longest is next")
  func isFair() {
    var free = FreeSessions(sessions: 3, connections: 1, outstanding: 1)
    let first = free.take()
    #expect(first == 0)
    free.give(0)
    #expect(takeAll(&free) == [1, 2, 0])
    for session in [2, 0, 1] { free.give(session) }
    #expect(takeAll(&free) == [2, 0, 1])
  }
}

@Suite("Waiting requests")
struct WaitingRequestsTests {
  @Test("requests leave in the order in which they became due, while the queue grows and wraps")
  func keepsOrder() {
    var waiting = WaitingRequests(capacity: 1_000)
    var expected: [Int64] = []
    var due: Int64 = 0
    for step in 0..<500 {
      for _ in 0..<(step % 7) {
        due += 1
        let isTaken = waiting.append(due)
        #expect(isTaken)
        expected.append(due)
      }
      for _ in 0..<min(expected.count, step % 6) {
        #expect(waiting.first == expected.removeFirst())
        waiting.removeFirst()
      }
      #expect(waiting.count == expected.count && waiting.isEmpty == expected.isEmpty)
    }
    while let first = waiting.first {
      #expect(first == expected.removeFirst())
      waiting.removeFirst()
    }
    #expect(expected.isEmpty)
  }

  @Test("a full queue refuses, and takes again when there is room")
  func refusesWhenFull() {
    var waiting = WaitingRequests(capacity: 300)
    var taken: [Bool] = []
    for due in Int64(0)...300 { taken.append(waiting.append(due)) }
    #expect(taken == Array(repeating: true, count: 300) + [false])
    #expect(waiting.count == 300 && waiting.first == 0)
    waiting.removeFirst()
    taken = [waiting.append(301), waiting.append(302)]
    #expect(taken == [true, false])
    #expect(waiting.first == 1)
  }

  @Test("an empty queue has no first request")
  func startsEmpty() {
    let waiting = WaitingRequests(capacity: 1)
    #expect(waiting.isEmpty && waiting.first == nil)
  }
}

@Suite("The running median")
struct RunningMedianTests {
  @Test("it follows the middle of what it sees, and not a tail a thousand times as large")
  func followsTheMiddle() {
    var median = RunningMedian()
    for index in 0..<20_000 {
      median.add(index % 10 == 0 ? 2_000_000_000 : 1_500_000 + Int64(index % 7) * 100_000)
    }
    #expect((1_500_000...2_100_000).contains(median.value))
    for _ in 0..<3_000 { median.add(200_000) }
    #expect((190_000...210_000).contains(median.value))
  }

  @Test("it starts from nothing and never falls below it")
  func staysInRange() {
    var median = RunningMedian()
    #expect(median.value == 0)
    for _ in 0..<100 { median.add(0) }
    #expect(median.value == 0)
  }
}
