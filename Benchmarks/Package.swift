// swift-tools-version: 6.2
// The hot paths, measured by themselves. A package of its own, so that nobody who builds Muster builds the
// benchmark library. From the project's root; a table for each path, then whether any of them has begun to
// allocate:
//
//   swift package --package-path Benchmarks benchmark
//   swift package --package-path Benchmarks benchmark thresholds check --path Benchmarks/Thresholds
//
// Thresholds are on bytes allocated and on nothing else. To write them anew after a change that is meant:
//
//   MUSTER_BENCHMARK_EXACT=1 swift package --package-path Benchmarks --allow-writing-to-package-directory \
//     benchmark thresholds update --path Benchmarks/Thresholds

import PackageDescription

let package = Package(
  name: "muster-benchmarks",
  platforms: [.macOS(.v15)],
  dependencies: [
    .package(name: "muster", path: ".."),
    // Without its traits the library interposes nothing: the allocator measured is the one that muster links.
    .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.1", traits: []),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
  ],
  targets: [
    .executableTarget(
      name: "HotPaths",
      dependencies: [
        .product(name: "Benchmark", package: "benchmark"),
        .product(name: "HotPathModules", package: "muster"),
        .product(name: "CJemalloc", package: "muster"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
      ],
      path: "HotPaths",
      swiftSettings: [.unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release))],
      plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")])
  ]
)
