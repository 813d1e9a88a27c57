// Reading the textual forms, and refusing what is none of them.

import Testing

@testable import Workload

@Suite("Arrival process")
struct ArrivalProcessTests {
  @Test(
    "a textual form survives reading and writing",
    arguments: [
      "constant", "poisson", "burst:1", "burst:1000000", "ramp:0.5..2.0/30.0", "ramp:1.0..0.0/0.25",
      "step:1.0@0.0", "step:0.0@0.0,2.0@10.0,1.0@20.5",
    ])
  func roundTrip(text: String) throws {
    #expect(try ArrivalProcess.parse(text).get().description == text)
  }

  @Test("integers are accepted where fractions are")
  func integers() throws {
    let ramp = try #require(ArrivalProcess.Ramp(from: 1, to: 2, durationSeconds: 30))
    #expect(ArrivalProcess.parse("ramp:1..2/30") == .success(.ramp(ramp)))
  }

  @Test(
    "what is none of the forms is refused by naming them",
    arguments: ["", "Constant", "constant:", "poisson:3", "uniform", "trace", "trace:", ":"])
  func unknownForms(text: String) {
    #expect(ArrivalProcess.parse(text) == .failure(.unknown(text)))
    #expect(ArrivalProcessError.unknown(text).description.contains("burst:SIZE"))
  }

  @Test(
    "a known form with a bad argument is refused with the form that was expected",
    arguments: [
      "burst", "burst:", "burst:0", "burst:-1", "burst:1000001", "burst:1.5", "ramp", "ramp:1..2",
      "ramp:1/2", "ramp:0..0/5", "ramp:-1..2/5", "ramp:1..nan/5", "ramp:1..inf/5", "ramp:1..2/0",
      "ramp:1..2/3/4", "ramp:1..2..3/4", "step", "step:", "step:1", "step:1@1", "step:0@0", "step:1@0,2@0",
      "step:1@0,2@5,1@4", "step:1@0,", "step:-1@0", "step:1@0,nan@1", "step:1@0,1@nan",
    ])
  func badArguments(text: String) {
    guard case .failure(.malformed(let found, let expected)) = ArrivalProcess.parse(text) else {
      Issue.record("'\(text)' was accepted or refused for another reason")
      return
    }
    #expect(found == text)
    #expect(expected.hasPrefix(text.prefix(4)))
  }

  @Test("a trace is read line by line, comments and empty lines apart, from any origin")
  func traceIsRead() throws {
    let arrival = try ArrivalProcess.parse("trace:day.txt") { path in
      path == "day.txt" ? "# recorded\n1000\n\n 1500 # a pause\r\n1500\n3000\n" : nil
    }.get()
    guard case .trace(let trace) = arrival else {
      Issue.record("not a trace")
      return
    }
    #expect(trace.offsets == [0, 500, 500, 2000])
    #expect(trace.recordedRatePerSecond == 1.5e6)
    #expect(arrival.description == "trace:day.txt")
  }

  @Test("a trace that cannot be read or goes back in time is refused, naming file and line")
  func badTraces() {
    #expect(ArrivalProcess.parse("trace:none") == .failure(.unreadableTrace("none")))
    let bad = ["1\n2\nx": 3, "5\n4": 2, "-1\n4": 1, "3\n3": 2, "3": 1, "99999999999999999999": 1]
    for (text, line) in bad.sorted(by: { $0.key < $1.key }) {
      #expect(ArrivalProcess.parse("trace:t") { _ in text } == .failure(.malformedTrace("t", line: line)))
    }
    #expect(ArrivalProcessError.malformedTrace("t", line: 3).description.hasPrefix("t, line 3: expected"))
  }
}
