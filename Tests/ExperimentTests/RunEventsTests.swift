// The rows of events.csv that a run leaves, and where the replicas' data goes.

@testable import Experiment
import LoadGenerator
import PBFT
import ReplicaHost
import Results
import Testing

@Suite("Events of a run")
struct RunEventsTests {
  private func gaps(_ instants: [Int64]) -> CompletionGaps {
    var gaps = CompletionGaps()
    for instant in instants { gaps.answered(at: instant * 1_000_000) }
    return gaps
  }

  private func record(_ script: String, at milliseconds: Int64, _ replica: Int?, note: String? = nil) throws
    -> FaultRecord
  {
    FaultRecord(
      fault: try FaultScript(script).faults[0], nanoseconds: milliseconds * 1_000_000, replica: replica,
      note: note)
  }

  private func lines(_ events: RunEvents) -> [String] {
    events.rows.map { "\($0.timeSeconds) \($0.kind) \($0.replica.map { "\($0)" } ?? "-") \($0.detail)" }
  }

  @Test("every run tells its longest time without commits")
  func outage() {
    var events = RunEvents()
    events.addOutage(gaps([3, 600, 601]))
    #expect(lines(events) == ["0.003 outage - ms=597 until=commit"])
    var none = RunEvents()
    none.addOutage(gaps([]))
    #expect(none.rows.isEmpty)
  }

  @Test("each fault stands with the time without commits that followed it")
  func faults() throws {
    var events = RunEvents()
    let records = [
      try record("at 20ms kill primary", at: 21, 0),
      try record("at 100ms restart 0", at: 101, 0, note: "ran already"),
    ]
    events.add(records, gaps([19, 20, 90, 91, 130, 131]))
    #expect(
      lines(events) == [
        "0.021 fault 0 action=kill target=primary due_ms=20 took_ms=0",
        "0.02 fault_outage 0 ms=70 until=commit fault=1",
        "0.101 fault 0 action=restart target=0 due_ms=100 took_ms=0 note='ran already'",
        "0.091 fault_outage 0 ms=39 until=commit fault=2",
      ])
  }

  @Test("what replicas note is told from the start of the load on, and rows are in the order of time")
  func replicas() {
    var events = RunEvents()
    let view = View(rawValue: 1)
    events.add(
      [
        HostEvent(kind: .recovered, instantNanoseconds: 900),
        HostEvent(kind: .suspected(.zero), instantNanoseconds: 5_001_000),
        HostEvent(kind: .viewLeft(.zero, to: view), instantNanoseconds: 3_001_000),
        HostEvent(kind: .viewEntered(view, isPrimary: true), instantNanoseconds: 4_001_000),
      ], of: 2, since: 1_000)
    events.sort()
    #expect(
      lines(events) == [
        "0.003 view_left 2 view=0 to=1", "0.004 view_entered 2 view=1 role=primary", "0.005 suspect 2 view=0",
      ])
  }
}

@Suite("Data of in-process replicas")
struct TemporaryDataFolderTests {
  @Test("the file system of a path is that of the longest mount point above it")
  func fileSystems() {
    let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/vdb /tmpdir xfs rw 0 0\n"
    #expect(TemporaryDataFolder.fileSystem(of: "/tmp/a", mounts: mounts) == "tmpfs")
    #expect(TemporaryDataFolder.fileSystem(of: "/tmpdir/a", mounts: mounts) == "xfs")
    #expect(TemporaryDataFolder.fileSystem(of: "/home", mounts: mounts) == "ext4")
    #expect(TemporaryDataFolder.fileSystem(of: "/home", mounts: "") == nil)
  }
}
