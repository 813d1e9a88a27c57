// Fabric's PBFT keys: their names, their values, and Go's durations.

import Channels
import Testing

@Suite("Fabric's configuration keys")
struct FabricConfigurationTests {
  @Test(
    "a duration is read as Go reads it",
    arguments: [
      ("2s", 2_000_000_000), ("500ms", 500_000_000), ("0", 0), ("0s", 0), ("1m30s", 90_000_000_000),
      ("1h15m30.918s", 4_530_918_000_000), ("1.5s", 1_500_000_000), (".5s", 500_000_000),
      ("1.s", 1_000_000_000),
      ("3us", 3_000), ("3µs", 3_000), ("3μs", 3_000), ("7ns", 7), ("+2s", 2_000_000_000), ("2.5ns", 2),
    ] as [(String, Int64)])
  func durationIsRead(text: String, nanoseconds: Int64) {
    #expect(GoDuration.nanoseconds(text) == nanoseconds)
  }

  @Test(
    "what is no duration is refused",
    arguments: [
      "", "2", "s", "-2s", "2 s", "2min", "2d", ".s", ".", "+", "1e3s", "9999999h", "2s3", "２s", "2S",
      "99999999999999999999s",
    ])
  func durationIsRefused(text: String) { #expect(GoDuration.nanoseconds(text) == nil) }

  @Test("a variable is named as Fabric names it, and a key whatever its capitals")
  func names() {
    #expect(FabricKey.requestTimeout.environmentName == "CORE_PBFT_GENERAL_TIMEOUT_REQUEST")
    #expect(FabricKey.replicas.environmentName == "CORE_PBFT_GENERAL_N")
    #expect(FabricKey.named("general.LogMultiplier") == .logMultiplier)
    #expect(FabricKey.named("general.n") == .replicas && FabricKey.named("general.x") == nil)
    #expect(Set(FabricKey.allCases.map(\.environmentName)).count == FabricKey.allCases.count)
    #expect(FabricKey.allCases.filter { !$0.hasEffect } == [.broadcastTimeout, .executorQueueSize])
  }

  @Test("the values of the file that Fabric ships are read")
  func shippedValues() throws {
    var configuration = FabricConfiguration()
    for (key, text) in [
      (.mode, "batch"), (.replicas, "4"), (.faults, "1"), (.checkpointPeriod, "10"), (.logMultiplier, "4"),
      (.batchSize, "500"), (.byzantine, "false"), (.viewChangePeriod, "0"), (.batchTimeout, "1s"),
      (.requestTimeout, "2s"), (.viewChangeTimeout, "2s"), (.viewChangeResend, "2s"), (.nullRequest, "0s"),
      (.broadcastTimeout, "1s"), (.executorQueueSize, "30"),
    ] as [(FabricKey, String)] {
      try configuration.state(key, text, place: "here")
    }
    #expect(configuration.keys == FabricKey.allCases)
    #expect(configuration.whole(.replicas) == 4 && configuration.whole(.batchSize) == 500)
    #expect(configuration.boolean(.byzantine) == false && configuration.nanoseconds(.nullRequest) == 0)
    #expect(configuration.nanoseconds(.requestTimeout) == 2_000_000_000)
    #expect(configuration.whole(.requestTimeout) == nil)
    #expect(configuration.statements[.batchSize]?.text == "500")
  }

  @Test(
    "a value that a key cannot have is refused",
    arguments: [
      (.mode, "sieve"), (.replicas, "0"), (.replicas, "four"), (.faults, "-1"), (.checkpointPeriod, "0"),
      (.logMultiplier, "1"), (.batchSize, "1.5"), (.byzantine, "yes"), (.requestTimeout, "2"),
      (.requestTimeout, "25h"), (.nullRequest, "-1s"),
    ] as [(FabricKey, String)])
  func badValues(key: FabricKey, text: String) {
    #expect(throws: FabricValueError(key: key, found: text)) {
      var configuration = FabricConfiguration()
      try configuration.state(key, text, place: "here")
    }
  }
}
