import PBFT
import Testing

@testable import Replication

@Suite("Digest of the client table (decision record 19)")
struct ClientTableDigestTests {
  /// One execution: which client, in which session, what was replied.
  private struct Step {
    var client: Int32
    var session: Int32
    var sequence: Int32
    var reply: [UInt8]
  }

  private func apply(_ step: Step, to table: ClientTable, _ records: inout [Int32: Int]) {
    let index: Int
    if let known = records[step.client] {
      index = known
    } else {
      index = table.add(step.client)!
      records[step.client] = index
    }
    if step.sequence == 0 { table.begin(index, session: step.session) }
    step.reply.withUnsafeBufferPointer { bytes in
      withUnsafeTemporaryAllocation(byteCount: 256, alignment: 1) { scratch in
        scratch.copyBytes(from: bytes)
        table.finish(index, sequence: step.sequence, reply: scratch.baseAddress!, count: step.reply.count)
      }
    }
  }

  private func history(clients: Int32, rounds: Int32) -> [Step] {
    var steps: [Step] = []
    for round in 0..<rounds {
      for client in 0..<clients where (client &+ round) % 3 != 1 || round < 2 {
        // Replies of every size class in turn, growing and shrinking at each place.
        let count = Int((round * 7 + client) % 5) * 19
        let reply = (0..<count).map { UInt8(truncatingIfNeeded: $0 &+ Int(round)) }
        steps.append(Step(client: client, session: 0, sequence: 0, reply: reply))
      }
    }
    var next: [Int32: Int32] = [:]
    for index in steps.indices {
      let client = steps[index].client
      let position = next[client, default: 0]
      next[client] = position + 1
      steps[index].session = position / 50
      steps[index].sequence = position % 50
    }
    return steps
  }

  @Test(
    "it depends on what was executed, not on when or how often it was asked for", arguments: [1, 17, 300])
  func onlyTheState(clients: Int32) {
    let often = ClientTable(maximumClients: 1_000)
    let once = ClientTable(maximumClients: 1_000)
    var oftenRecords: [Int32: Int] = [:]
    var onceRecords: [Int32: Int] = [:]
    for (index, step) in history(clients: clients, rounds: 120).enumerated() {
      apply(step, to: often, &oftenRecords)
      apply(step, to: once, &onceRecords)
      if index % 37 == 0 { _ = often.digest() }
    }
    #expect(often.digest() == once.digest())
    #expect(often.digest() == once.digest(), "asking changes nothing")
  }

  @Test("any other reply, session, sequence or client gives another digest")
  func everythingCounts() {
    let base = history(clients: 3, rounds: 10)
    var digests: Set<Digest> = []
    for variant in 0..<6 {
      var steps = base
      let last = steps.count - 1
      switch variant {
      case 1: steps[last].reply = [1]
      case 2: steps[last].reply = Array(repeating: 3, count: 90)
      case 3: steps[last].sequence += 1
      case 4: steps.append(Step(client: 9, session: 0, sequence: 0, reply: []))
      case 5: for index in steps.indices where steps[index].client == 1 { steps[index].session += 1 }
      default: break
      }
      let table = ClientTable(maximumClients: 10)
      var records: [Int32: Int] = [:]
      for step in steps { apply(step, to: table, &records) }
      digests.insert(table.digest())
    }
    #expect(digests.count == 6)
  }

  @Test("replies of any size come back as they were, for the last 32 sequences")
  func repliesComeBack() {
    let table = ClientTable(maximumClients: 10)
    var records: [Int32: Int] = [:]
    let steps = history(clients: 2, rounds: 40)
    for step in steps { apply(step, to: table, &records) }
    for client in 0..<2 as Range<Int32> {
      let mine = steps.filter { $0.client == client }
      for (age, step) in mine.reversed().enumerated() {
        let reply = table.reply(records[client]!, sequence: step.sequence).map { Array($0) }
        #expect(reply == (age < 32 ? step.reply : nil))
      }
    }
  }
}
