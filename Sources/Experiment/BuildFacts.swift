// What a run can say about the binary it is and where it came from, for run.json and the build columns.
// Kept true: nothing here can fail a run; what cannot be found out stays nil or is left out.

import CJemalloc
import Foundation
import Results

/// The build and the machine of this process.
struct BuildFacts: Sendable {
  var build: BuildIdentity
  var allocator: String
  /// Resolved version by package.
  var libraries: [String: String]
  var environment: HostEnvironment

  /// Read at its first use. The revision is that of the checkout the binary was built in, as it then is.
  static let ofThisProcess = read()

  private static func read() -> BuildFacts {
    let checkout = Self.checkout()
    let revision = checkout.flatMap { git($0, ["rev-parse", "HEAD"]) }
    let changes = checkout.flatMap { git($0, ["status", "--porcelain", "--untracked-files=no"]) }
    return BuildFacts(
      build: BuildIdentity(
        mode: mode, gitRevision: revision, gitDirty: revision == nil ? nil : changes.map { !$0.isEmpty },
        compiler: compiler),
      allocator: allocator, libraries: checkout.map(libraries) ?? [:], environment: EnvironmentProbe().read())
  }

  private static var mode: String {
    #if DEBUG
      "debug"
    #else
      "release"
    #endif
  }

  private static var compiler: String {
    #if compiler(>=6.4)
      "Swift 6.4 or later"
    #elseif compiler(>=6.3)
      "Swift 6.3"
    #else
      "Swift 6.2"
    #endif
  }

  private static var allocator: String {
    var version: UnsafePointer<CChar>?
    var byteCount = MemoryLayout<UnsafePointer<CChar>?>.size
    guard mallctl("version", &version, &byteCount, nil, 0) == 0, let version else { return "jemalloc" }
    return "jemalloc " + String(cString: version)
  }

  /// The folder that holds the `.build` in which this binary lies.
  private static func checkout() -> String? {
    guard let path = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe") else {
      return nil
    }
    let components = path.split(separator: "/")
    guard let build = components.lastIndex(where: { $0.hasPrefix(".build") }) else { return nil }
    return "/" + components[..<build].joined(separator: "/")
  }

  private static func git(_ folder: String, _ arguments: [String]) -> String? {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["git", "-C", folder] + arguments
    let output = Pipe()
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    process.standardInput = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return nil }
    let data = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { return nil }
    return String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
  }

  private static func libraries(_ folder: String) -> [String: String] {
    struct Resolved: Decodable {
      struct Pin: Decodable {
        struct State: Decodable { var version: String? }
        var identity: String
        var state: State
      }
      var pins: [Pin]
    }
    guard let data = FileManager.default.contents(atPath: folder + "/Package.resolved"),
      let resolved = try? JSONDecoder().decode(Resolved.self, from: data)
    else { return [:] }
    var versions: [String: String] = [:]
    for pin in resolved.pins { versions[pin.identity] = pin.state.version }
    return versions
  }
}
