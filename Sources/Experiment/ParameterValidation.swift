// What must hold between the parameters of one point, beyond the range of each. Kept true: a point that
// validates can be run; whatever is refused names one key, its value and what was expected.

import PBFT
import Wire

/// The names of the ways to authenticate client requests.
enum SignatureModes {
  /// Every name, in the order in which help lists them.
  static let names = SignatureMode.allCases.map(\.description)

  /// Whether `name` names a signature mode.
  static func accepts(_ name: String) -> Bool { names.contains(name) }
}

extension PointParameters {
  /// Everything that is wrong with these parameters, empty when the point can be run.
  public func validate() -> [ParameterError] {
    var checks = Checks()
    validateTarget(&checks)
    validateMembership(&checks)
    validateReplicas(&checks)
    validateLoad(&checks)
    validateRequests(&checks)
    validateDurations(&checks)
    return checks.errors
  }

  private struct Checks {
    var errors: [ParameterError] = []

    /// Notes that `key` may not be `value` unless `condition` holds.
    mutating func require(
      _ condition: Bool, _ key: ParameterKey, _ value: some CustomStringConvertible, _ expected: String? = nil
    ) {
      if !condition { errors.append(ParameterError(key, value.description, expected)) }
    }
  }

  private func validateTarget(_ checks: inout Checks) {
    if orderingProtocol.isForeign {
      checks.require(
        transport == .remote && hostsDirectory != nil, .protocol, orderingProtocol.rawValue,
        "the folder of their hosts.config with it (\(ParameterKey.hosts.flag))")
      checks.require(
        [.counter, .echo, .microbenchmark].contains(service), .service, service.rawValue,
        "one of counter, echo, microbenchmark with protocol \(orderingProtocol.rawValue)")
    } else {
      checks.require(
        service.isOurs, .service, service.rawValue,
        "one of log, counter, null: \(service.rawValue) needs foreign replicas (protocol bftsmart, bftsmart-1.2)"
      )
      checks.require(
        targetCommand == nil, .targetCommand, targetCommand ?? "",
        "none, because it starts foreign replicas (protocol bftsmart, bftsmart-1.2)")
    }
  }

  private func validateMembership(_ checks: inout Checks) {
    checks.require((1...Self.maximumReplicas).contains(replicas), .replicas, replicas)
    checks.require(faults >= 0, .faults, faults)
    // Whether foreign replicas are crash-only is in their system.config, which decides there.
    if faults >= 0, !orderingProtocol.isForeign {
      let needed: (formula: String, count: Int, faults: String) =
        switch faultModel {
        case .byzantine: ("3f + 1", 3 * faults + 1, "faults")
        case .crash: ("2f + 1", 2 * faults + 1, "crashes")
        }
      checks.require(
        replicas >= needed.count, .replicas, replicas,
        "at least \(needed.formula) = \(needed.count) replicas to tolerate \(faults) \(needed.faults)")
    }
    if orderingProtocol == .noops {
      checks.require(replicas == 1, .replicas, replicas, "1, because noops does not agree on an order")
      checks.require(faults == 0, .faults, faults, "0, because noops does not agree on an order")
    }
    if transport == .remote {
      checks.require(
        hostsDirectory != nil, .transport, "remote", "a hosts folder with it (\(ParameterKey.hosts.flag))")
    } else if let hostsDirectory {
      checks.require(
        false, .hosts, hostsDirectory, "no hosts folder, because transport is \(transport.rawValue)")
    }
    checks.require(
      replicaAuthentication != .tls || transport != .memory, .replicaAuth, "tls",
      "none or hmac with transport memory, where no byte leaves the process; TLS needs sockets")
  }

  private func validateReplicas(_ checks: inout Checks) {
    checks.require(SignatureModes.accepts(signatureMode), .signatures, signatureMode)
    checks.require(
      signing == .inline || signatureMode != "none", .signing, signing.rawValue,
      "inline, because there is nothing to sign ahead with signatures none")
    checks.require(
      signing == .inline || outstanding == 1, .signing, signing.rawValue,
      "inline with more than one request outstanding per session: their order is not known ahead")
    checks.require((1...65_536).contains(batchSize), .batchSize, batchSize)
    checks.require((1...1_000_000).contains(checkpointPeriod), .checkpointPeriod, checkpointPeriod)
    checks.require((2...1024).contains(logMultiplier), .logMultiplier, logMultiplier)
    if let loops { checks.require((1...1024).contains(loops), .loops, loops) }
    if let problem = faultScript.problem(
      replicas: replicas, transport: transport, until: warmupNanoseconds + measureNanoseconds)
    {
      checks.require(false, .faultsScript, problem.found, problem.expected)
    }
  }

  private func validateLoad(_ checks: inout Checks) {
    switch rate {
    case .absolute(let rate): checks.require(rate > 0 && rate <= 1e9, .rate, rate)
    case .share(let share): checks.require(share > 0 && share <= 10, .rateShare, share)
    }
    checks.require((1...1_000_000).contains(sessions), .sessions, sessions)
    checks.require(
      connections >= 1 && connections <= sessions, .connections, connections,
      "from 1 to the number of sessions, \(sessions)")
    checks.require((1...Self.maximumOutstanding).contains(outstanding), .outstanding, outstanding)
    checks.require((0...Self.maximumAddedBytes).contains(payloadBytes), .payload, payloadBytes)
    checks.require((0...Self.maximumAddedBytes).contains(replyBytes), .reply, replyBytes)
    let lastClient = firstClientID.addingReportingOverflow(max(0, sessions - 1))
    checks.require(
      firstClientID >= 0 && !lastClient.overflow && lastClient.partialValue <= Int(Int32.max), .firstClientID,
      firstClientID)
    checks.require(
      firstClientID >= replicas, .firstClientID, firstClientID,
      "at least \(replicas), because smaller ids are those of replicas")
  }

  private func validateRequests(_ checks: inout Checks) {
    checks.require(Self.kinds.contains(kind), .kind, kind.rawValue)
    checks.require(
      !kind.isUnordered || signing == .inline, .signing, signing.rawValue,
      "inline with kind \(kind.rawValue): only ordered requests are signed ahead")
    // What remote replicas of ours tolerate is known when they have been asked.
    if transport != .remote || orderingProtocol.isForeign, let expected = sendToProblem(servesReads: false) {
      checks.require(false, .sendTo, sendTo.rawValue, expected)
    }
  }

  /// What `send_to` would have to be; nil when it can be what it is.
  ///
  /// - Parameter servesReads: whether the replicas have `readonly_requests`, with which a majority answers.
  func sendToProblem(servesReads: Bool) -> String? {
    guard sendTo == .primary else { return nil }
    if kind.isUnordered { return "all with kind \(kind.rawValue): a quorum must be asked for a read" }
    // Ours answer a request on the connections on which it came, and BFT-SMaRt's wherever its client is.
    if orderingProtocol.isForeign || replicas == 1 { return nil }
    if faultModel == .crash, !servesReads { return nil }
    return "all: several replicas must answer, and ours answer only who asks them; one answer is enough with "
      + "fault_model crash and without readonly_requests"
  }

  private func validateDurations(_ checks: inout Checks) {
    func duration(_ nanoseconds: Int64, _ key: ParameterKey, atLeast minimum: Int64, _ expected: String) {
      checks.require(nanoseconds >= minimum, key, DurationText.text(nanoseconds), expected)
    }
    duration(batchTimeoutNanoseconds, .batchTimeout, atLeast: 0, "0s or more")
    checks.require(
      batchTimeoutNanoseconds % 1000 == 0, .batchTimeout, DurationText.text(batchTimeoutNanoseconds),
      "a whole number of microseconds")
    duration(requestTimeoutNanoseconds, .requestTimeout, atLeast: 0, "0s (off) or more")
    checks.require(
      requestTimeoutNanoseconds % 1_000_000 == 0, .requestTimeout,
      DurationText.text(requestTimeoutNanoseconds),
      "a whole number of milliseconds")
    duration(viewChangeTimeoutNanoseconds, .viewChangeTimeout, atLeast: 1_000_000, "1ms or more")
    checks.require(
      viewChangeTimeoutNanoseconds % 1_000_000 == 0, .viewChangeTimeout,
      DurationText.text(viewChangeTimeoutNanoseconds), "a whole number of milliseconds")
    duration(resendNanoseconds, .resend, atLeast: 1_000_000, "1ms or more")
    if let statedResendNanoseconds {
      checks.require(
        statedResendNanoseconds % 1_000_000 == 0, .resend, DurationText.text(statedResendNanoseconds),
        "a whole number of milliseconds")
    }
    duration(readyTimeoutNanoseconds, .readyTimeout, atLeast: 1_000_000_000, "1s or more")
    duration(warmupNanoseconds, .warmup, atLeast: 0, "0s or more")
    duration(measureNanoseconds, .duration, atLeast: 100_000_000, "100ms or more")
    duration(drainNanoseconds, .drain, atLeast: 10_000_000, "10ms or more")
  }
}
