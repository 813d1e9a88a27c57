// What makes two points the same point. Kept true: an identity depends only on what a scenario states, never
// on the machine, the build, the seed, a probed value or the repeat, so that points of two results can be
// matched.

import Hashing
import PBFT
import Results

extension PointParameters {
  /// The first 12 hexadecimal digits of SHA-256 over the parameters as stated: `PointRow.parameterText` of a
  /// row that holds nothing but them, where what the runner decides if it is not stated (loops, timers) is
  /// empty and the number of cores, which is the machine's, is 0.
  public var pointID: String {
    var text = statedRow.parameterText
    // The audit belongs to the measurement and has no parameter column, but a point without it is another
    // point.
    if !audit { text += "audit=off\n" }
    return text.withUTF8 { String(Digest.sha256(UnsafeRawBufferPointer($0)).hexadecimal.prefix(12)) }
  }

  /// Names what a capacity probe of this point would measure: all but the offered rate and its arrival, and
  /// but the timers (request timeout, view-change timeout, resend), which do nothing in a closed loop without
  /// faults, and but the faults, which a probe does not have. So points that differ in these only are offered
  /// the same rate and can be compared.
  public var capacityConfiguration: String {
    var row = statedRow
    row.arrival = ""
    row.requestTimeoutMilliseconds = nil
    row.viewChangeTimeoutMilliseconds = nil
    row.resendMilliseconds = nil
    row.faultScript = nil
    row.rateShare = nil
    row.targetOperationsPerSecond = 0
    let text = row.parameterText.split(separator: "\n")
      .filter { !$0.hasSuffix("=") && !$0.hasPrefix("cores=") && !$0.hasPrefix("target_ops_s=") }
      .joined(separator: " ")
    return audit ? text : text + " audit=off"
  }

  /// Fills the parameter columns of `row`, with what was not stated as it was resolved.
  ///
  /// - Parameters:
  ///   - row: keeps its measured columns; the number of loops only changes where it was stated.
  ///   - targetOpsPerSecond: the rate offered, a share already resolved.
  public func fill(_ row: inout PointRow, targetOpsPerSecond: Double) {
    fillStated(&row)
    row.viewChangeTimeoutMilliseconds = Int(viewChangeTimeoutNanoseconds / 1_000_000)
    row.resendMilliseconds = Int(resendNanoseconds / 1_000_000)
    row.targetOperationsPerSecond = targetOpsPerSecond
    row.warmupSeconds = Double(warmupNanoseconds) / 1e9
    row.measureSeconds = Double(measureNanoseconds) / 1e9
    row.drainSeconds = Double(drainNanoseconds) / 1e9
  }

  private var statedRow: PointRow {
    var row = PointRow()
    fillStated(&row)
    return row
  }

  private func fillStated(_ row: inout PointRow) {
    row.protocolName = orderingProtocol.rawValue
    row.service = service.rawValue
    row.transport = transport.rawValue
    row.replicas = replicas
    row.faults = faults
    row.faultModel = faultModel.name
    if let loops { row.loops = loops }
    row.signatureMode = signatureMode
    row.signing = signing.rawValue
    row.replicaAuthentication = replicaAuthentication.rawValue
    row.batchSize = batchSize
    row.batchTimeoutMicroseconds = Int(batchTimeoutNanoseconds / 1000)
    row.requestTimeoutMilliseconds = Int(requestTimeoutNanoseconds / 1_000_000)
    // Only where it was stated, as resend: identities from before there was a view change stay what they are.
    if stated.contains(.viewChangeTimeout) {
      row.viewChangeTimeoutMilliseconds = Int(viewChangeTimeoutNanoseconds / 1_000_000)
    }
    row.resendMilliseconds = statedResendNanoseconds.map { Int($0 / 1_000_000) }
    row.checkpointPeriod = checkpointPeriod
    row.logSize = logSize
    row.durability = durability.rawValue
    row.faultScript = faultScript.isEmpty ? nil : faultScript.description
    row.sessions = sessions
    row.connections = connections
    row.outstanding = outstanding
    row.unorderedFraction = kind.isUnordered ? 1 : 0
    row.sendTo = sendTo.rawValue
    row.arrival = arrival.description
    row.payloadBytes = payloadBytes
    row.replyBytes = replyBytes
    row.rateShare = rateShare
    row.targetOperationsPerSecond = statedRate ?? 0
  }

  /// A short text for people that tells this point from the others of a sweep.
  public var summary: String {
    let load =
      switch rate {
      case .absolute(let rate): "\(Self.short(rate))/s"
      case .share(let share): "\(Self.short(share * 100)) % of capacity"
      }
    var text = "\(configurationSummary) \(load)"
    if requestTimeoutNanoseconds != PointParameters().requestTimeoutNanoseconds {
      text += " request timeout \(DurationText.text(requestTimeoutNanoseconds))"
    }
    if !faultScript.isEmpty { text += " faults '\(faultScript)'" }
    return text
  }

  /// The same without the load, for probes.
  public var configurationSummary: String {
    let name = orderingProtocol == .pbft ? "" : "\(orderingProtocol.rawValue) "
    let disk = durability == .none ? "" : " durability \(durability.rawValue)"
    let model = faultModel == .byzantine ? "" : " \(faultModel.name)"
    let requests = kind == .ordered ? "" : " \(kind.rawValue)"
    let targets = sendTo == .all ? "" : " to the \(sendTo.rawValue)"
    return
      "\(name)\(transport.rawValue) n=\(replicas)\(model) \(signatureMode) batch \(batchSize)\(requests)\(targets)\(disk)"
  }

  /// A number for people: no exponent, no trailing `.0`, at most six decimals.
  static func short(_ value: Double) -> String {
    let rounded = (value * 1e6).rounded() / 1e6
    if rounded == rounded.rounded(), rounded.magnitude < 1e15 { return String(Int64(rounded)) }
    return String(rounded)
  }
}

/// The seed of one run of a point: different for each point and repeat, the same whenever the sweep is run
/// again.
///
/// - Parameters:
///   - sweepSeed: the seed stated for the sweep.
///   - pointID: the point's identity.
///   - repeatIndex: counted from 0.
public func pointSeed(sweepSeed: UInt64, pointID: String, repeatIndex: Int) -> UInt64 {
  var text = "\(sweepSeed)/\(pointID)/\(repeatIndex)"
  return text.withUTF8 { bytes in
    let digest = Digest.sha256(UnsafeRawBufferPointer(bytes))
    // 53 bits, so that the seed survives tools that read CSV integers as doubles.
    return UInt64(bigEndian: digest.words.0) >> 11
  }
}
