// swift-tools-version: 6.2
// Whatever reads bytes from outside, fed with what nobody would send. A package of its own, built by `scripts/fuzz` with
// what libFuzzer needs to see which way an input went. Three programs, because the fuzzer looks at all counters of a
// program after each input: the fewer, the more inputs.
import PackageDescription

// Decoders that can be inlined are compiled here, so this is instrumented as well.
let settings: [SwiftSetting] = [
  .unsafeFlags(["-enforce-exclusivity=unchecked", "-enable-testing", "-sanitize=fuzzer"])
]

func program(_ name: String, _ product: String) -> Target {
  .executableTarget(
    name: name, dependencies: ["FuzzDriver", .product(name: product, package: "muster")], path: name,
    swiftSettings: settings, linkerSettings: [.linkedLibrary("stdc++")])
}

let package = Package(
  name: "muster-fuzzing",
  platforms: [.macOS(.v15)],
  dependencies: [.package(name: "muster", path: "../..")],
  targets: [
    .systemLibrary(name: "CFuzzer", path: "CFuzzer"),
    .target(name: "FuzzDriver", dependencies: ["CFuzzer"], path: "FuzzDriver"),
    program("fuzz-wire", "WireModules"),
    program("fuzz-replica", "ReplicaModules"),
    program("fuzz-files", "FileModules"),
  ]
)
