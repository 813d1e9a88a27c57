// The rows of events.csv for one run: faults, what they did to the flow of commits, and what the replicas noticed. Times
// count from the start of the load. A detail is words `key=value`, separated by spaces, for programs.

import LoadGenerator
import PBFT
import ReplicaHost
import Results
import Wire

/// Collects the rows of one run.
struct RunEvents {
  private(set) var rows: [EventRow] = []

  init() {}

  private mutating func add(_ nanoseconds: Int64, _ kind: String, replica: Int? = nil, _ detail: String = "")
  {
    // Microseconds are enough, and read well.
    let seconds = Double(nanoseconds / 1_000) / 1e6
    rows.append(
      EventRow(
        PointKey(pointID: "", repeatIndex: 0), timeSeconds: seconds, kind: kind, replica: replica,
        detail: detail))
  }

  /// The longest time without a commit as clients saw it, `outage`, of every run.
  mutating func addOutage(_ gaps: CompletionGaps) {
    guard let gap = gaps.longest else { return }
    add(gap.begin, "outage", Self.describe(gap))
  }

  /// Each fault, and the longest time without a commit between it and the next one as `fault_outage`.
  mutating func add(_ records: [FaultRecord], _ gaps: CompletionGaps) {
    for (index, record) in records.enumerated() {
      var detail = "action=\(record.fault.action.rawValue) target=\(record.fault.target)"
      detail += " due_ms=\(Self.milliseconds(record.fault.nanoseconds))"
      detail += " took_ms=\(Self.milliseconds(record.tookNanoseconds))"
      if let note = record.note { detail += " note='\(note)'" }
      add(record.nanoseconds, "fault", replica: record.replica, detail)
      let next = index + 1 < records.count ? records[index + 1].nanoseconds : Int64.max
      guard record.nanoseconds < next,
        let gap = gaps.longest(touching: record.nanoseconds..<next)
      else { continue }
      add(gap.begin, "fault_outage", replica: record.replica, "\(Self.describe(gap)) fault=\(index + 1)")
    }
  }

  /// What one replica noted.
  ///
  /// - Parameter start: of the load, on the clock of `events`.
  mutating func add(_ events: [HostEvent], of replica: Int, since start: Int64) {
    for event in events where event.instantNanoseconds >= start {
      let instant = event.instantNanoseconds - start
      switch event.kind {
      case .suspected(let view): add(instant, "suspect", replica: replica, "view=\(view.rawValue)")
      case .viewLeft(let view, let next):
        add(instant, "view_left", replica: replica, "view=\(view.rawValue) to=\(next.rawValue)")
      case .viewEntered(let view, let isPrimary):
        add(
          instant, "view_entered", replica: replica,
          "view=\(view.rawValue) role=\(isPrimary ? "primary" : "backup")")
      case .transferBegan(let sequence):
        add(instant, "transfer_began", replica: replica, "sequence=\(sequence.rawValue)")
      case .transferEnded(let sequence):
        add(instant, "transfer_ended", replica: replica, "sequence=\(sequence.rawValue)")
      case .recovered: add(instant, "recovered", replica: replica)
      case .membershipChanged(let membership, let took):
        var detail = "membership=\(membership.id) n=\(membership.count) f=\(membership.faults)"
        if let took { detail += " ms=\(Self.milliseconds(took))" }
        add(instant, "reconfigured", replica: replica, detail)
      }
    }
  }

  /// The memberships that a remote replica says have begun there since the start of the load.
  ///
  /// - Parameter elapsed: nanoseconds from that start to the report.
  mutating func add(membershipsOf report: StatusReport, elapsed: Int64) {
    let last = report.setting("membership").flatMap { Int32($0) } ?? 0
    for id in max(0, last - 63)...max(0, last) {
      func counter(_ name: String) -> Int64? {
        report.counters.first { $0.name == "membership_\(id)_\(name)" }.map { Int64(clamping: $0.value) }
      }
      guard let age = counter("age_ns"), age < elapsed, let n = counter("n"), let f = counter("f") else {
        continue
      }
      var detail = "membership=\(id) n=\(n) f=\(f)"
      if let took = counter("took_ns") { detail += " ms=\(Self.milliseconds(took))" }
      add(elapsed - age, "reconfigured", replica: Int(report.replica.rawValue), detail)
    }
  }

  /// In the order of their instants; rows of one instant stay as they were added.
  mutating func sort() {
    let order = rows.enumerated().sorted {
      ($0.element.timeSeconds, $0.offset) < ($1.element.timeSeconds, $1.offset)
    }
    rows = order.map(\.element)
  }

  private static func describe(_ gap: CompletionGaps.Gap) -> String {
    "ms=\(milliseconds(gap.nanoseconds)) until=\(gap.isOpen ? "end" : "commit")"
  }

  private static func milliseconds(_ nanoseconds: Int64) -> String {
    PointParameters.short(Double(nanoseconds / 1_000) / 1e3)
  }
}
