// swift-tools-version: 6.2
import PackageDescription

/// CI builds with MUSTER_STRICT=1: every warning in our own modules is an error there.
let strict = Context.environment["MUSTER_STRICT"] == "1"
/// Exclusivity is checked in debug builds, where the tests run; in release builds its dynamic checks cost a tenth of the
/// hot path.
let settings: [SwiftSetting] =
  [.unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release))]
  + (strict ? [.treatAllWarnings(as: .error)] : [])
/// `scripts/fuzz` builds what reads bytes from outside so that the fuzzer sees which way an input went.
let fuzzedModules: Set = ["Hashing", "Replication", "Wire", "Channels", "Results"]
let isFuzzed = Context.environment["MUSTER_FUZZ"] == "1"

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioTLS = Target.Dependency.product(name: "NIOTLS", package: "swift-nio")
let nioSSL = Target.Dependency.product(name: "NIOSSL", package: "swift-nio-ssl")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let x509 = Target.Dependency.product(name: "X509", package: "swift-certificates")
let histogram = Target.Dependency.product(name: "Histogram", package: "hdrhistogram-swift")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")

/// A module of the house; the edges it may have are listed in `Tests/TidyTests`.
func module(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .target(
    name: name, dependencies: dependencies,
    swiftSettings: settings
      + (isFuzzed ? [.unsafeFlags(["-enable-testing"])] : [])
      + (isFuzzed && fuzzedModules.contains(name) ? [.unsafeFlags(["-sanitize=fuzzer"])] : []))
}

func suite(_ name: String, _ dependencies: [Target.Dependency], resources: [Resource] = []) -> Target {
  .testTarget(name: name, dependencies: dependencies, resources: resources, swiftSettings: settings)
}

let package = Package(
  name: "muster",
  platforms: [.macOS(.v15)],
  products: [
    .executable(name: "muster", targets: ["muster"]),
    // What the package in `Benchmarks` measures; nothing here promises a stable interface.
    .library(
      name: "HotPathModules",
      targets: [
        "Events", "PBFT", "Workload", "Results", "Hashing", "Replication", "Wire", "Channels",
        "ServiceClient",
        "LoadGenerator",
      ]),
    // What `scripts/fuzz` feeds with bytes, from the package in `Tests/Fuzzing`.
    .library(name: "WireModules", targets: ["PBFT", "Hashing", "Wire"]),
    .library(name: "ReplicaModules", targets: ["Events", "PBFT", "Hashing", "Replication"]),
    .library(name: "FileModules", targets: ["PBFT", "Channels", "Results"]),
    .library(name: "CJemalloc", targets: ["CJemalloc"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
    .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
  ],
  targets: [
    .systemLibrary(name: "CJemalloc", providers: [.apt(["libjemalloc-dev"])]),
    .systemLibrary(name: "CLibcrypto", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CSecp256k1", providers: [.apt(["libsecp256k1-dev"])]),
    .systemLibrary(name: "CZlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "CProcess"),

    module("Events", []),
    module("PBFT", ["Events"]),
    module("Workload", []),
    module("Results", [histogram, "CZlib"]),
    module("Hashing", ["PBFT", "CLibcrypto"]),
    module("Replication", ["Events", "PBFT", "Hashing"]),
    module("Simulation", ["Events", "PBFT", "Workload", "Hashing", "Replication"]),
    module("Wire", ["PBFT", "Hashing", "CLibcrypto", "CSecp256k1", nioCore, crypto, x509]),
    module("Channels", ["PBFT", "Wire", "Hashing", nioCore, nioPosix, nioTLS, nioSSL, logging, crypto]),
    module(
      "ReplicaHost",
      ["Events", "PBFT", "Hashing", "Replication", "Wire", "Channels", nioCore, nioPosix, logging]),
    module("ServiceClient", ["PBFT", "Hashing", "Wire", "Channels", nioCore, nioPosix, logging]),
    module(
      "LoadGenerator",
      [
        "Workload", "Results", "PBFT", "Hashing", "Wire", "Channels", "ServiceClient", nioCore, nioPosix,
        histogram,
      ]),
    module("Analysis", ["Results", histogram]),
    module(
      "Experiment",
      [
        "Events", "PBFT", "Workload", "Results", "Hashing", "Replication", "Wire", "Channels", "ReplicaHost",
        "ServiceClient", "LoadGenerator", "Analysis", "CJemalloc", "CProcess", nioCore, nioPosix,
        histogram, yams, logging,
      ]),
    .executableTarget(
      name: "muster", dependencies: ["Experiment", "Simulation", "CJemalloc", arguments, logging],
      swiftSettings: settings),

    suite("TidyTests", []),
    suite("EventsTests", ["Events"]),
    suite("WorkloadTests", ["Workload"]),
    suite("PBFTTests", ["PBFT", "Events"]),
    suite("ReplicationTests", ["Replication", "PBFT", "Events", "Hashing"]),
    suite(
      "SimulationTests", ["Simulation", "Replication", "PBFT"], resources: [.copy("Resources")]),
    suite("WireTests", ["Wire", "PBFT", "Hashing", crypto], resources: [.copy("Resources")]),
    .target(
      name: "TestSupport", dependencies: ["Channels", "Wire", "PBFT", nioCore, nioPosix],
      path: "Tests/TestSupport", swiftSettings: settings),
    suite("ChannelsTests", ["Channels", "Wire", "PBFT", "TestSupport", nioCore, nioPosix]),
    suite(
      "ServiceClientTests",
      ["ServiceClient", "Channels", "Wire", "PBFT", "TestSupport", nioCore, nioPosix]),
    suite(
      "LoadGeneratorTests",
      [
        "LoadGenerator", "Workload", "Results", "ServiceClient", "Channels", "Wire", "PBFT", "TestSupport",
        nioCore, nioPosix, histogram,
      ]),
    suite(
      "ReplicaHostTests",
      [
        "ReplicaHost", "Replication", "ServiceClient", "Channels", "Wire", "Hashing", "PBFT", "TestSupport",
        nioCore, nioPosix, logging,
      ]),
    suite("ProcessTests", ["muster", "ServiceClient", "Channels", "TestSupport", nioCore]),
    suite("ResultsTests", ["Results", histogram]),
    suite("AnalysisTests", ["Analysis", "Results", histogram]),
    suite(
      "ExperimentTests",
      [
        "Experiment", "Results", "Channels", "ReplicaHost", "LoadGenerator", "PBFT", "Wire", "Replication",
        "TestSupport", nioCore, logging,
      ],
      resources: [.copy("Resources")]),
    suite("CommandLineTests", ["muster"], resources: [.copy("Resources")]),
  ]
)
