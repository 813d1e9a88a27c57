// The CSV files: their columns are a promise to every script that reads them, and a killed run must leave
// whole rows.

import Foundation
import Testing

@testable import Results

@Suite("CSV files")
struct CSVTests {
  private let folder = TemporaryFolder()

  @Test("points.csv has exactly the documented columns in their order")
  func pointColumns() {
    let documented = """
      schema_version,sweep_id,point_id,repeat,order_index,status,void_reason,audit,git_sha,git_dirty,build_mode,seed,\
      started_utc,protocol,service,transport,n,f,cores,loops,signature_mode,signing,replica_auth,batch_size,\
      batch_timeout_us,request_timeout_ms,view_change_timeout_ms,resend_ms,checkpoint_period,log_size,durability,\
      sessions,connections,outstanding,arrival,payload_bytes,reply_bytes,unordered_fraction,fault_script,rate_share,\
      target_ops_s,offered,sent,answered,refused,starved,censored,errors,retransmits,throughput_ops_s,\
      throughput_ci_lo,throughput_ci_hi,lat_mean_ns,lat_p50_ns,lat_p90_ns,lat_p95_ns,lat_p99_ns,lat_p999_ns,\
      lat_p9999_ns,lat_max_ns,lat_p99_ci_lo_ns,lat_p99_ci_hi_ns,lat_bound_from_q,svc_p50_ns,svc_p99_ns,lag_p50_ns,\
      lag_p99_ns,lag_p999_ns,warmup_s,measure_s,drain_s,stationarity,gen_cpu_cores,replica_cpu_cores_mean,\
      replica_cpu_cores_primary,cpu_ns_per_req,replica_cpu_ns_per_req,sign_ahead_cpu_s,rss_bytes_max,\
      allocated_bytes_per_req,msgs_per_req,bytes_per_req,signs_per_req,verifies_per_req,batch_mean,view_changes,\
      bound_ops_s,ratio_to_limit,limited_by,steal_share,violations,checked,fault_model,send_to,sign_ns,verify_ns
      """
    #expect(PointRow.header == documented)
  }

  @Test("the other files have exactly the documented columns in their order")
  func otherColumns() {
    #expect(QuantileRow.header == "point_id,repeat,metric,q,value_ns,ci_lo_ns,ci_hi_ns,count,bound")
    #expect(
      SeriesRow.header
        == "point_id,repeat,rank,t_s,phase,offered,sent,answered,errors,in_flight,lat_p50_ns,lat_p99_ns,"
        + "lat_max_ns,lag_p99_ns,commits,view,primary")
    #expect(EventRow.header == "point_id,repeat,t_s,kind,replica,detail")
    #expect(ResourceRow.header == "point_id,repeat,t_s,process,role,metric,value")
  }

  @Test("a row reads back as it was written, whatever its text holds")
  func roundTrip() throws {
    var row = PointRow()
    row.sweepID = "a,b \"quoted\"\r\nsecond line"
    row.pointID = "0123456789ab"
    row.repeatIndex = 3
    row.status = .void
    row.voidReasons = [.notStationary, .starved]
    row.audit = .failed
    row.gitDirty = true
    row.seed = .max
    row.started = Date(timeIntervalSince1970: 1_790_000_000.123)
    row.signatureMode = "sign:ecdsa-p256"
    row.batchSize = 100
    row.rateShare = 0.45
    row.targetOperationsPerSecond = 106_200
    row.throughputOperationsPerSecond = 106_123.333_333_333_33
    row.latencyP99Nanoseconds = 2_750_000
    row.latencyBoundFromQuantile = 0.9999
    row.stationarity = .notStationary
    let path = folder.file("points.csv")
    let writer = try CSVWriter<PointRow>(creating: path)
    writer.append(PointRow())
    writer.append(row)
    try writer.close()
    #expect(try CSVReader<PointRow>.rows(at: path) == [PointRow(), row])
    #expect(row.cell("void_reason") == "starved;not_stationary")
    #expect(row.cell("started_utc") == "2026-09-21T14:13:20.123Z")
    #expect(row.cell("lat_p90_ns") == "")
  }

  @Test("a cell is quoted when it must be and only then")
  func quoting() {
    let key = PointKey(pointID: "p", repeatIndex: 0)
    #expect(EventRow(key, timeSeconds: 1.5, kind: "fault", detail: "a;b c").record == "p,0,1.5,fault,,a;b c")
    #expect(
      EventRow(key, timeSeconds: 2, kind: "a,b", replica: 1, detail: "say \"x\"\nthen").record
        == "p,0,2.0,\"a,b\",1,\"say \"\"x\"\"\nthen\"")
  }

  @Test("a number that is not finite is not available")
  func notFinite() {
    var row = PointRow()
    row.throughputOperationsPerSecond = .nan
    #expect(row.cell("throughput_ops_s") == "")
  }

  @Test("void reasons are written in deciding order without repetition")
  func voidReasons() {
    let reasons = VoidReasons([.censored, .auditFailed, .censored])
    #expect(reasons.cellText == "audit_failed;censored")
    #expect(reasons.first == .auditFailed)
    #expect(VoidReasons(cellText: "starved;generator_limited")?.cellText == "generator_limited;starved")
    #expect(VoidReasons(cellText: "bad") == nil)
    #expect(VoidReasons(cellText: "")?.isEmpty == true)
    #expect(VoidReasons(VoidReason.allCases).ordered == VoidReason.allCases)
  }

  @Test("the parameter text ignores repeat, seed and build, and states a relative rate by its share")
  func parameterText() {
    var first = PointRow()
    first.rateShare = 0.45
    first.targetOperationsPerSecond = 1000
    var second = first
    second.repeatIndex = 4
    second.seed = 9
    second.buildMode = "debug"
    second.targetOperationsPerSecond = 1200
    #expect(first.parameterText == second.parameterText)
    #expect(first.parameterText.hasSuffix("fault_script=\nrate_share=0.45\n"))
    second.rateShare = nil
    #expect(second.parameterText.hasSuffix("fault_script=\ntarget_ops_s=1200.0\n"))
    #expect(first.parameterText.hasPrefix("protocol=\nservice=\n"))
    // What came after the first schema counts where it is not what it was before.
    second.faultModel = "crash"
    #expect(second.parameterText.hasSuffix("fault_script=\ntarget_ops_s=1200.0\nfault_model=crash\n"))
  }

  // MARK: Reading

  private static let header = "point_id,repeat,t_s,kind,replica,detail\n"

  @Test(
    "what is not a row is refused with its file and line",
    arguments: [
      ("p,0,1.0,fault,,\np,0,x,fault,,\n", 3, "t_s is \"x\", expected a number"),
      ("p,0,1.0,fault,\n", 2, "5 cells, expected 6"),
      ("p,0,1.0,fault,,\"a\nb\"\np,one,1.0,fault,,\n", 4, "repeat is \"one\", expected an integer"),
      ("p,0,1.0,\"fault\"s,,\n", 2, "text after a closing quote"),
      ("p,0,1.0,fau\"lt,,\n", 2, "a quote inside an unquoted cell"),
    ])
  func refusesBadRows(body: String, line: Int, reason: String) {
    #expect(throws: ResultFileError.malformed(path: "events.csv", line: line, reason: reason)) {
      try CSVReader<EventRow>.contents(of: Array((Self.header + body).utf8), path: "events.csv")
    }
  }

  @Test("a header of other columns is refused")
  func refusesOtherHeader() {
    let error = ResultFileError.malformed(
      path: "f", line: 1, reason: "column 2 is \"rank\", expected \"repeat\"")
    #expect(throws: error) { try CSVReader<EventRow>.contents(of: Array("point_id,rank\n".utf8), path: "f") }
    #expect(throws: ResultFileError.malformed(path: "f", line: 1, reason: "the header is missing")) {
      try CSVReader<EventRow>.contents(of: [], path: "f")
    }
  }

  @Test("files of an earlier and of a later schema are read")
  func otherSchemas() throws {
    let earlier = "point_id,repeat,t_s\np,1,2.5\n"
    #expect(
      try CSVReader<EventRow>.contents(of: Array(earlier.utf8), path: "f").rows.first?.timeSeconds == 2.5)
    let later = "point_id,repeat,t_s,kind,replica,detail,colour\np,1,2.5,fault,,,red\n"
    #expect(try CSVReader<EventRow>.contents(of: Array(later.utf8), path: "f").rows.first?.kind == "fault")
  }

  @Test("line ends and byte order mark of a spreadsheet are accepted")
  func spreadsheet() throws {
    let text = "\u{FEFF}point_id,repeat,t_s\r\np,1,2.5\r\n"
    #expect(try CSVReader<EventRow>.contents(of: Array(text.utf8), path: "f").rows.count == 1)
  }

  // MARK: Recovery

  @Test("a file cut anywhere is read up to its last whole row, and reopening cuts the rest")
  func tornTail() throws {
    let key = PointKey(pointID: "p", repeatIndex: 0)
    let rows = [
      EventRow(key, timeSeconds: 1, kind: "one", detail: "plain"),
      EventRow(key, timeSeconds: 2, kind: "two", detail: "a \"quoted\"\nline"),
      EventRow(key, timeSeconds: 3, kind: "three", detail: "x,y"),
    ]
    let header = EventRow.header + "\n"
    let whole = header + rows.map { $0.record + "\n" }.joined()
    let ends = rows.indices.map { (header + rows[...$0].map { $0.record + "\n" }.joined()).utf8.count }
    for cut in 0...whole.utf8.count {
      let name = "events-\(cut).csv"
      let path = try folder.write(String(decoding: whole.utf8.prefix(cut), as: UTF8.self), to: name)
      let expected = rows.prefix(ends.filter { $0 <= cut }.count)
      if cut >= header.utf8.count {
        let contents = try CSVReader<EventRow>.contents(at: path)
        #expect(contents.rows == Array(expected))
        #expect(contents.hasTornTail == (cut != header.utf8.count && !ends.contains(cut)))
      }
      let writer = try CSVWriter<EventRow>(reopening: path)
      writer.append(rows[0])
      try writer.close()
      #expect(try CSVReader<EventRow>.rows(at: path) == expected + [rows[0]])
    }
  }

  @Test("a file of another schema is not appended to")
  func reopensOwnSchemaOnly() throws {
    let path = try folder.write("point_id,repeat\np,1\n", to: "events.csv")
    #expect(
      throws: ResultFileError.malformed(path: path, line: 1, reason: "the header is not that of this version")
    ) { try CSVWriter<EventRow>(reopening: path) }
    #expect(try folder.text("events.csv") == "point_id,repeat\np,1\n")
  }

  @Test("errors of writing name the path and count as output errors")
  func writingErrors() throws {
    let path = folder.file("events.csv")
    let writer = try CSVWriter<EventRow>(creating: path)
    #expect(throws: ResultFileError.occupied(path: path)) { try CSVWriter<EventRow>(creating: path) }
    #expect(throws: ResultFileError.busy(path: path)) { try CSVWriter<EventRow>(reopening: path) }
    try writer.close()
    try writer.close()
    writer.append(EventRow())
    let error = #expect(throws: ResultFileError.self) { try writer.flush() }
    #expect(error == .cannotWrite(path: path, reason: "the file is closed"))
    #expect(error?.isOutput == true)
    let below = path + "/events.csv"
    #expect(throws: ResultFileError.cannotCreate(path: below, reason: "Not a directory")) {
      try CSVWriter<EventRow>(creating: below)
    }
    let missing = #expect(throws: ResultFileError.self) {
      try CSVReader<EventRow>.rows(at: folder.file("nothing.csv"))
    }
    #expect(missing?.isOutput == false)
  }
}
