// Parameters of a point: how they are written, what is refused and in which words, and what makes two points
// one.

import Experiment
import Results
import Testing

@Suite("Durations")
struct DurationTests {
  @Test(
    "a duration is a number with its unit",
    arguments: [
      ("2s", 2_000_000_000), ("500ms", 500_000_000), ("2ms", 2_000_000), ("1.5s", 1_500_000_000), ("0s", 0),
      ("3us", 3000), ("7ns", 7), ("2min", 120_000_000_000), ("2 s", 2_000_000_000), ("0.25ms", 250_000),
    ] as [(String, Int64)])
  func isRead(text: String, nanoseconds: Int64) {
    #expect(DurationText.nanoseconds(text) == nanoseconds)
  }

  @Test(
    "whatever else is refused",
    arguments: [
      "2", "", "s", "ms", "-1s", "1.s", ".5s", "1.5ns", "2h", "2sec", "0x10s", "1e3ms", "９s", "1..5s",
      "1.5.5s",
      "99999999999999999999s", "9223372036854775807s",
    ])
  func isRefused(text: String) {
    #expect(DurationText.nanoseconds(text) == nil)
  }

  @Test("a duration is written in the largest unit that divides it and reads back")
  func isWritten() {
    #expect(DurationText.text(2_000_000_000) == "2s")
    #expect(DurationText.text(1_500_000_000) == "1500ms")
    #expect(DurationText.text(0) == "0s")
    for value: Int64 in [1, 999, 1000, 1001, 5_000_000, 60_000_000_000] {
      #expect(DurationText.nanoseconds(DurationText.text(value)) == value)
    }
  }
}

@Suite("Parameters of a point")
struct ParameterTests {
  private func errors(_ stated: [ParameterKey: String]) -> [String] {
    do {
      return try PointParameters(stating: stated).validate().map(\.asFlag)
    } catch {
      return error.errors.map(\.asFlag)
    }
  }

  @Test("Muster's defaults are a point that can be run")
  func defaultsAreValid() {
    #expect(PointParameters().validate().isEmpty)
    #expect(PointParameters().batchSize == 256)
    #expect(PointParameters().logSize == 512)
  }

  @Test("a value outside its range is refused in words that name the flag, the value and what was expected")
  func badValuesAreNamed() {
    #expect(errors([.rate: "0"]) == ["--rate 0: expected more than 0 requests per second"])
    #expect(errors([.rate: "nan"]) == ["--rate nan: expected more than 0 requests per second"])
    #expect(errors([.rate: "inf"]) == ["--rate inf: expected more than 0 requests per second"])
    #expect(errors([.outstanding: "33"]) == ["--outstanding 33: expected a whole number from 1 to 32"])
    #expect(errors([.batchSize: "0"]) == ["--batch-size 0: expected a whole number from 1 to 65536"])
    #expect(errors([.audit: "yes"]) == ["--audit yes: expected on or off"])
    #expect(errors([.transport: "udp"]) == ["--transport udp: expected one of memory, loopback, remote"])
    #expect(
      errors([.signatures: "rsa"]) == [
        "--signatures rsa: expected none, hmac, sign:<algorithm> or verify-only:<algorithm>, where the algorithm is one of "
          + "ed25519, ecdsa-p256, ecdsa-secp256k1, rsa-1024, rsa-2048, rsa-1024-sha512, rsa-2048-sha512"
      ])
    #expect(
      errors([.drain: "5"]) == [
        "--drain 5: expected a duration with its unit, such as 500ms or 2s (units: ns, us, ms, s, min)"
      ])
  }

  @Test("parameters that contradict each other are refused")
  func contradictionsAreNamed() {
    #expect(
      errors([.replicas: "3", .faults: "1"]) == [
        "--replicas 3: expected at least 3f + 1 = 4 replicas to tolerate 1 faults"
      ])
    #expect(
      errors([.sessions: "8", .connections: "9"]) == [
        "--connections 9: expected from 1 to the number of sessions, 8"
      ])
    #expect(
      errors([.protocol: "noops", .replicas: "4"]) == [
        "--replicas 4: expected 1, because noops does not agree on an order"
      ])
    #expect(
      errors([.transport: "remote"]) == ["--transport remote: expected a hosts folder with it (--hosts)"])
    #expect(
      errors([.hosts: "here", .transport: "memory"]) == [
        "--hosts here: expected no hosts folder, because transport is memory"
      ])
    #expect(
      errors([.replicaAuth: "tls", .transport: "memory"]) == [
        "--replica-auth tls: expected none or hmac with transport memory, where no byte leaves the process; TLS needs sockets"
      ])
    #expect(errors([.replicaAuth: "tls", .transport: "loopback"]) == [])
    #expect(
      errors([.rate: "5", .rateShare: "0.5"]) == [
        "--rate-share 0.5: expected either rate or rate_share, not both"
      ])
    #expect(errors([.firstClientID: "2147483647", .sessions: "2", .connections: "1"]).count == 1)
    #expect(
      errors([.firstClientID: "2"]) == [
        "--first-client-id 2: expected at least 4, because smaller ids are those of replicas"
      ])
    #expect(errors([.requestTimeout: "1500us"]).count == 1)
  }

  @Test("replicas that may only crash are fewer for the same f")
  func crashModel() throws {
    let three = try PointParameters(stating: [.faultModel: "crash", .replicas: "3"])
    #expect(three.faults == 1 && three.validate().isEmpty)
    #expect(try PointParameters(stating: [.faultModel: "crash"]).faults == 1)
    #expect(
      errors([.faultModel: "crash", .replicas: "4", .faults: "2"]) == [
        "--replicas 4: expected at least 2f + 1 = 5 replicas to tolerate 2 crashes"
      ])
    #expect(errors([.faultModel: "cft"]) == ["--fault-model cft: expected one of byzantine, crash"])
  }

  @Test("how and to whom requests go is refused where nobody could answer")
  func requestKinds() {
    #expect(errors([.kind: "unordered"]) == [])
    #expect(
      errors([.kind: "ordered-hashed"]) == ["--kind ordered-hashed: expected one of ordered, unordered"])
    #expect(
      errors([.kind: "unordered", .signatures: "sign:ed25519", .signing: "ahead"]) == [
        "--signing ahead: expected inline with kind unordered: only ordered requests are signed ahead"
      ])
    #expect(errors([.sendTo: "primary"]).first?.hasPrefix("--send-to primary: expected all: several") == true)
    #expect(errors([.sendTo: "primary", .faultModel: "crash"]) == [])
    #expect(errors([.sendTo: "primary", .protocol: "noops"]) == [])
    #expect(errors([.sendTo: "primary", .protocol: "bftsmart", .hosts: "library"]) == [])
    #expect(
      errors([.sendTo: "primary", .faultModel: "crash", .kind: "unordered"]) == [
        "--send-to primary: expected all with kind unordered: a quorum must be asked for a read"
      ])
    #expect(errors([.sendTo: "one"]) == ["--send-to one: expected one of all, primary"])
  }

  @Test("every mistake is reported at once")
  func allMistakesAreReported() {
    #expect(errors([.rate: "0", .sessions: "none", .warmup: "1"]).count == 3)
  }

  @Test("what is not stated follows from what is")
  func unstatedFollows() throws {
    #expect(try PointParameters(stating: [.replicas: "7"]).faults == 2)
    let noops = try PointParameters(stating: [.protocol: "noops"])
    #expect(noops.replicas == 1 && noops.faults == 0 && noops.validate().isEmpty)
    let remote = try PointParameters(stating: [.hosts: "cluster"])
    #expect(remote.transport == .remote && remote.validate().isEmpty)
    #expect(remote.stated == [.hosts])
  }

  @Test("the resend interval is the smaller of four request timeouts and half the drain")
  func resendFollows() throws {
    #expect(try PointParameters(stating: [:]).resendNanoseconds == 2_500_000_000)
    #expect(try PointParameters(stating: [.requestTimeout: "100ms"]).resendNanoseconds == 400_000_000)
    #expect(try PointParameters(stating: [.requestTimeout: "0s"]).resendNanoseconds == 2_500_000_000)
    #expect(try PointParameters(stating: [.resend: "7ms"]).resendNanoseconds == 7_000_000)
  }
}

@Suite("Identity of a point")
struct IdentityTests {
  private func id(_ stated: [ParameterKey: String]) throws -> String {
    try PointParameters(stating: stated).pointID
  }

  @Test("an identity is twelve hexadecimal digits and does not change")
  func isStable() throws {
    let identity = try id([.rate: "5000"])
    #expect(identity.count == 12 && identity.allSatisfy(\.isHexDigit))
    #expect(try id([.rate: "5000.0", .replicas: "4", .batchSize: "256"]) == identity)
    #expect(try id([.rate: "5000", .faultModel: "byzantine", .kind: "ordered", .sendTo: "all"]) == identity)
  }

  @Test(
    "every parameter of the point changes it",
    arguments: [
      (.protocol, "noops"), (.service, "null"), (.transport, "memory"), (.replicas, "7"), (.loops, "1"),
      (.signatures, "hmac"), (.replicaAuth, "none"), (.batchSize, "1"), (.batchTimeout, "1ms"),
      (.requestTimeout, "1s"), (.resend, "1s"), (.checkpointPeriod, "64"), (.logMultiplier, "8"),
      (.sessions, "999"), (.connections, "15"), (.outstanding, "2"), (.arrival, "constant"), (.rate, "1"),
      (.rateShare, "0.5"), (.payload, "1"), (.reply, "1"), (.audit, "off"), (.faultModel, "crash"),
      (.kind, "unordered"), (.sendTo, "primary"),
    ] as [(ParameterKey, String)])
  func everyParameterCounts(key: ParameterKey, text: String) throws {
    #expect(try id([key: text]) != id([:]))
  }

  @Test(
    "phases, client ids and folders do not",
    arguments: [
      (.warmup, "2s"), (.duration, "1s"), (.firstClientID, "20000"),
    ] as [(ParameterKey, String)])
  func otherParametersDoNotCount(key: ParameterKey, text: String) throws {
    #expect(try id([key: text]) == id([:]))
  }

  @Test("a relative rate counts as its share, whatever the probe found")
  func shareCounts() throws {
    #expect(try id([.rateShare: "0.1"]) == id([.rateShare: "0.10"]))
    #expect(try id([.rateShare: "0.1"]) != id([.rate: "0.1"]))
  }

  @Test("points that differ in rate, arrival or timers only share their capacity probe")
  func capacityIsShared() throws {
    let plain = try PointParameters(stating: [.rateShare: "0.1"]).capacityConfiguration
    for stated: [ParameterKey: String] in [
      [.rateShare: "0.8"], [.rateShare: "0.1", .requestTimeout: "5s"], [.rateShare: "0.1", .resend: "1s"],
      [.rateShare: "0.1", .arrival: "constant"],
    ] {
      #expect(try PointParameters(stating: stated).capacityConfiguration == plain)
    }
    for stated: [ParameterKey: String] in [
      [.batchSize: "1"], [.signatures: "hmac"], [.audit: "off"], [.replicas: "7"],
    ] {
      #expect(try PointParameters(stating: stated).capacityConfiguration != plain)
    }
  }

  @Test("the parameter columns of a row say what was resolved")
  func columnsAreFilled() throws {
    var row = PointRow()
    row.loops = 3
    try PointParameters(stating: [.rateShare: "0.25", .batchTimeout: "1500us", .warmup: "500ms"])
      .fill(&row, targetOpsPerSecond: 1234.5)
    #expect(row.cell("batch_timeout_us") == "1500")
    #expect(row.cell("request_timeout_ms") == "2000")
    #expect(row.cell("resend_ms") == "2500")
    #expect(row.cell("log_size") == "512")
    #expect(row.cell("loops") == "3")
    #expect(row.cell("rate_share") == "0.25")
    #expect(row.cell("target_ops_s") == "1234.5")
    #expect(row.cell("warmup_s") == "0.5")
    #expect(row.cell("replica_auth") == "hmac")
  }

  @Test("seeds differ per point and repeat, and come back")
  func seedsComeBack() {
    let seed = pointSeed(sweepSeed: 1, pointID: "0123456789ab", repeatIndex: 0)
    #expect(pointSeed(sweepSeed: 1, pointID: "0123456789ab", repeatIndex: 0) == seed)
    #expect(pointSeed(sweepSeed: 1, pointID: "0123456789ab", repeatIndex: 1) != seed)
    #expect(pointSeed(sweepSeed: 2, pointID: "0123456789ab", repeatIndex: 0) != seed)
    #expect(pointSeed(sweepSeed: 1, pointID: "0123456789ac", repeatIndex: 0) != seed)
    #expect(seed < 1 << 53)
  }
}

@Suite("Options of commands")
struct OptionTests {
  @Test("client ids are a range with both ends")
  func clientsAreRead() throws {
    #expect(try KeyOptions.clients("10000..10999") == 10_000...10_999)
    #expect(try KeyOptions.clients("7..7") == 7...7)
    for text in ["5", "5..1", "..", "1..", "..1", "1...2", "a..b", "-1..5", "1..99999999999"] {
      #expect(throws: CommandFailure.self, "\(text)") { try KeyOptions.clients(text) }
    }
  }

  @Test("an option of a replica that was not stated stays open")
  func unstatedStaysOpen() throws {
    let options = try ReplicaOptions(
      id: 2, configDirectory: "c", stating: [.batchSize: "7", .requestTimeout: "1s"])
    #expect(options.batchSize == 7 && options.requestTimeoutNanoseconds == 1_000_000_000)
    #expect(options.service == nil && options.signatureMode == nil && options.checkpointPeriod == nil)
    #expect(throws: ParameterErrors.self) {
      try ReplicaOptions(id: 2, configDirectory: "c", stating: [.batchSize: "0"])
    }
  }
}
