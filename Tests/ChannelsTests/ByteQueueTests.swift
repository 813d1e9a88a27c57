// The byte queue of every link, against a plain array.

import Channels
import Testing

@Suite("Byte queue")
struct ByteQueueTests {
  private func fill(_ queue: inout ByteQueue, _ bytes: [UInt8]) { bytes.withUnsafeBytes { queue.append($0) } }

  private func contents(_ queue: borrowing ByteQueue) -> [UInt8] { Array(queue.readableBytes) }

  @Test("bytes leave in the order in which they came, however the storage grows and slides")
  func keepsOrder() {
    var queue = ByteQueue(capacity: 64)
    var expected: [UInt8] = []
    var next: UInt8 = 0
    // Sizes that are no multiples of each other meet every alignment of head and tail.
    for step in 0..<2_000 {
      let arriving = (0..<(step * 37 % 101)).map { _ in
        next &+= 1
        return next
      }
      fill(&queue, arriving)
      expected += arriving
      let leaving = min(expected.count, step * 53 % 103)
      queue.consume(leaving)
      expected.removeFirst(leaving)
      #expect(queue.count == expected.count && queue.isEmpty == expected.isEmpty)
      if step % 50 == 0 { #expect(contents(queue) == expected) }
    }
    #expect(contents(queue) == expected)
  }

  @Test("reserved space counts as written only when it is committed")
  func reservesAndCommits() {
    var queue = ByteQueue(capacity: 64)
    fill(&queue, [1, 2])
    let space = queue.reserve(1_000)
    #expect(space.count == 1_000 && queue.count == 2)
    space[0] = 3
    queue.commit(1)
    #expect(contents(queue) == [1, 2, 3])
    // What was not committed is written over.
    fill(&queue, [4])
    #expect(contents(queue) == [1, 2, 3, 4])
  }

  @Test("storage that a burst has blown up is given back, and what waits stays")
  func shrinks() {
    var queue = ByteQueue(capacity: 64)
    fill(&queue, Array(repeating: 7, count: 100_000))
    queue.shrink(to: 128)
    #expect(queue.count == 100_000)
    queue.consume(99_990)
    queue.shrink(to: 128)
    #expect(contents(queue) == Array(repeating: 7, count: 10))
    fill(&queue, Array(repeating: 8, count: 500))
    #expect(contents(queue) == Array(repeating: 7, count: 10) + Array(repeating: 8, count: 500))
  }

  @Test("an emptied queue is as good as a new one")
  func empties() {
    var queue = ByteQueue()
    fill(&queue, [1, 2, 3])
    queue.removeAll()
    #expect(queue.count == 0)
    fill(&queue, [])
    #expect(queue.count == 0)
    fill(&queue, [4])
    #expect(contents(queue) == [4])
  }
}
