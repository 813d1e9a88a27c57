// The columns of points.csv, in file order: header, writer and reader all follow this list. New columns go to
// the end, and the schema version counts them.

extension PointRow {
  public static let columns: [CSVColumn<PointRow>] =
    identityColumns + parameterColumns + countColumns + latencyColumns + resourceColumns
    + laterParameterColumns + laterResourceColumns

  private static let identityColumns: [CSVColumn<PointRow>] = [
    .init("schema_version", \.schemaVersion),
    .init("sweep_id", \.sweepID),
    .init("point_id", \.pointID),
    .init("repeat", \.repeatIndex),
    .init("order_index", \.orderIndex),
    .init("status", \.status),
    .init("void_reason", \.voidReasons),
    .init("audit", \.audit),
    .init("git_sha", \.gitSHA),
    .init("git_dirty", \.gitDirty),
    .init("build_mode", \.buildMode),
    .init("seed", \.seed),
    .init("started_utc", \.started),
  ]

  private static let parameterColumns: [CSVColumn<PointRow>] = [
    .init("protocol", \.protocolName),
    .init("service", \.service),
    .init("transport", \.transport),
    .init("n", \.replicas),
    .init("f", \.faults),
    .init("cores", \.cores),
    .init("loops", \.loops),
    .init("signature_mode", \.signatureMode),
    .init("signing", \.signing),
    .init("replica_auth", \.replicaAuthentication),
    .init("batch_size", \.batchSize),
    .init("batch_timeout_us", \.batchTimeoutMicroseconds),
    .init("request_timeout_ms", \.requestTimeoutMilliseconds),
    .init("view_change_timeout_ms", \.viewChangeTimeoutMilliseconds),
    .init("resend_ms", \.resendMilliseconds),
    .init("checkpoint_period", \.checkpointPeriod),
    .init("log_size", \.logSize),
    .init("durability", \.durability),
    .init("sessions", \.sessions),
    .init("connections", \.connections),
    .init("outstanding", \.outstanding),
    .init("arrival", \.arrival),
    .init("payload_bytes", \.payloadBytes),
    .init("reply_bytes", \.replyBytes),
    .init("unordered_fraction", \.unorderedFraction),
    .init("fault_script", \.faultScript),
    .init("rate_share", \.rateShare),
    .init("target_ops_s", \.targetOperationsPerSecond),
  ]

  private static let countColumns: [CSVColumn<PointRow>] = [
    .init("offered", \.offered),
    .init("sent", \.sent),
    .init("answered", \.answered),
    .init("refused", \.refused),
    .init("starved", \.starved),
    .init("censored", \.censored),
    .init("errors", \.errors),
    .init("retransmits", \.retransmits),
    .init("throughput_ops_s", \.throughputOperationsPerSecond),
    .init("throughput_ci_lo", \.throughputIntervalLow),
    .init("throughput_ci_hi", \.throughputIntervalHigh),
  ]

  private static let latencyColumns: [CSVColumn<PointRow>] = [
    .init("lat_mean_ns", \.latencyMeanNanoseconds),
    .init("lat_p50_ns", \.latencyP50Nanoseconds),
    .init("lat_p90_ns", \.latencyP90Nanoseconds),
    .init("lat_p95_ns", \.latencyP95Nanoseconds),
    .init("lat_p99_ns", \.latencyP99Nanoseconds),
    .init("lat_p999_ns", \.latencyP999Nanoseconds),
    .init("lat_p9999_ns", \.latencyP9999Nanoseconds),
    .init("lat_max_ns", \.latencyMaxNanoseconds),
    .init("lat_p99_ci_lo_ns", \.latencyP99IntervalLowNanoseconds),
    .init("lat_p99_ci_hi_ns", \.latencyP99IntervalHighNanoseconds),
    .init("lat_bound_from_q", \.latencyBoundFromQuantile),
    .init("svc_p50_ns", \.serviceP50Nanoseconds),
    .init("svc_p99_ns", \.serviceP99Nanoseconds),
    .init("lag_p50_ns", \.lagP50Nanoseconds),
    .init("lag_p99_ns", \.lagP99Nanoseconds),
    .init("lag_p999_ns", \.lagP999Nanoseconds),
    .init("warmup_s", \.warmupSeconds),
    .init("measure_s", \.measureSeconds),
    .init("drain_s", \.drainSeconds),
    .init("stationarity", \.stationarity),
  ]

  private static let resourceColumns: [CSVColumn<PointRow>] = [
    .init("gen_cpu_cores", \.generatorCPUCores),
    .init("replica_cpu_cores_mean", \.replicaCPUCoresMean),
    .init("replica_cpu_cores_primary", \.replicaCPUCoresPrimary),
    .init("cpu_ns_per_req", \.cpuNanosecondsPerRequest),
    .init("replica_cpu_ns_per_req", \.replicaCPUNanosecondsPerRequest),
    .init("sign_ahead_cpu_s", \.signAheadCPUSeconds),
    .init("rss_bytes_max", \.residentBytesMax),
    .init("allocated_bytes_per_req", \.allocatedBytesPerRequest),
    .init("msgs_per_req", \.messagesPerRequest),
    .init("bytes_per_req", \.bytesPerRequest),
    .init("signs_per_req", \.signaturesPerRequest),
    .init("verifies_per_req", \.verificationsPerRequest),
    .init("batch_mean", \.batchMean),
    .init("view_changes", \.viewChanges),
    .init("bound_ops_s", \.boundOperationsPerSecond),
    .init("ratio_to_limit", \.ratioToLimit),
    .init("limited_by", \.limitedBy),
    .init("steal_share", \.stealShare),
    .init("violations", \.violations),
    .init("checked", \.checked),
  ]

  /// Parameters that came after the first schema; rows of that one have their defaults.
  private static let laterParameterColumns: [CSVColumn<PointRow>] = [
    .init("fault_model", \.faultModel),
    .init("send_to", \.sendTo),
  ]

  private static let laterResourceColumns: [CSVColumn<PointRow>] = [
    .init("sign_ns", \.signNanoseconds),
    .init("verify_ns", \.verifyNanoseconds),
  ]

  /// The names of the parameter columns, in file order.
  public static var parameterNames: [String] { (parameterColumns + laterParameterColumns).map(\.name) }

  /// The parameters as the scenario states them, one `column=cell` line each: `protocol` to `fault_script`,
  /// then the share of the capacity probe where the rate is relative, else the rate, then what came later and is not at
  /// its default, so that a point keeps its identity. Rows of two results with equal text are the same point; its digest is
  /// the point id.
  public var parameterText: String {
    var text = ""
    for column in Self.parameterColumns {
      switch column.name {
      case "rate_share" where rateShare == nil: continue
      case "target_ops_s" where rateShare != nil: continue
      default: text += "\(column.name)=\(column.text(self))\n"
      }
    }
    let standard = PointRow()
    for column in Self.laterParameterColumns where column.text(self) != column.text(standard) {
      text += "\(column.name)=\(column.text(self))\n"
    }
    return text
  }
}
