// The house as data: which module may import which. ARCHITECTURE.md shows the same table to people; a change
// of an edge changes both, in the commit that needs it.

/// One row: a module of the house and everything its files may import.
struct ModuleRule {
  let name: String
  /// Modules of the house, all of them in rows above.
  let house: [String]
  /// Modules from elsewhere; a name that ends in `*` stands for all names beginning like it.
  let packages: [String]
  /// Whether the module is part of the pure core: no clock, no chance, no `async`, no existential, no
  /// Foundation.
  let isPure: Bool

  init(_ name: String, house: [String] = [], packages: [String] = [], isPure: Bool = false) {
    self.name = name
    self.house = house
    self.packages = packages
    self.isPure = isPure
  }

  /// Whether a file of this module may say `import other`.
  func permits(_ other: String) -> Bool {
    if house.contains(other) { return true }
    return packages.contains { pattern in
      pattern.hasSuffix("*") ? other.hasPrefix(pattern.dropLast()) : other == pattern
    }
  }
}

/// The rows, from the ground floor up.
let importTable: [ModuleRule] = [
  ModuleRule("Events", isPure: true),
  ModuleRule("PBFT", house: ["Events"], isPure: true),
  ModuleRule("Workload", packages: cLibrary, isPure: true),
  ModuleRule("Results", packages: everyday + ["CZlib"]),
  ModuleRule("Hashing", house: ["PBFT"], packages: ["CLibcrypto"], isPure: true),
  ModuleRule("Replication", house: ["Events", "PBFT", "Hashing"], isPure: true),
  ModuleRule(
    "Simulation", house: ["Events", "PBFT", "Workload", "Hashing", "Replication"], isPure: true),
  ModuleRule(
    "Wire", house: ["PBFT", "Hashing"],
    packages: everyday + ["NIOCore", "Crypto", "X509", "CLibcrypto", "CSecp256k1"]),
  ModuleRule("Channels", house: ["PBFT", "Hashing", "Wire"], packages: everyday + ["NIO*", "Crypto"]),
  ModuleRule(
    "ReplicaHost", house: ["Events", "PBFT", "Hashing", "Replication", "Wire", "Channels"],
    packages: everyday + ["NIO*", "Crypto"]),
  ModuleRule("ServiceClient", house: ["PBFT", "Hashing", "Wire", "Channels"], packages: everyday + ["NIO*"]),
  ModuleRule(
    "LoadGenerator", house: ["PBFT", "Workload", "Results", "Hashing", "Wire", "Channels", "ServiceClient"],
    packages: everyday + ["NIO*", "Crypto"]),
  ModuleRule("Analysis", house: ["Results"], packages: everyday),
  ModuleRule(
    "Experiment",
    house: [
      "Events", "PBFT", "Workload", "Results", "Hashing", "Replication", "Wire", "Channels", "ReplicaHost",
      "ServiceClient", "LoadGenerator", "Analysis",
    ],
    packages: everyday + ["NIO*", "Crypto", "Yams", "CJemalloc", "CProcess"]),
  ModuleRule(
    "muster",
    house: [
      "Events", "PBFT", "Workload", "Results", "Hashing", "Replication", "Wire", "Channels", "ReplicaHost",
      "ServiceClient", "LoadGenerator", "Analysis", "Experiment", "Simulation",
    ],
    packages: everyday + ["NIO*", "Crypto", "Yams", "CJemalloc", "ArgumentParser"]),
]

private let cLibrary = ["Glibc", "Musl", "Darwin"]

/// What any module outside the pure core may use.
private let everyday =
  cLibrary + [
    "Foundation", "FoundationEssentials", "Dispatch", "Synchronization", "SystemPackage", "Atomics",
    "Collections", "DequeModule", "HeapModule", "OrderedCollections", "Logging", "Metrics", "Histogram",
  ]
