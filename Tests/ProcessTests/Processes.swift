// Real processes of the built binary and the folders they live in. Whatever a test does, every process it started is
// ended by its own id before the test ends.

import Foundation
import Glibc
import TestSupport
import Testing

/// One process of `muster`.
final class MusterProcess: @unchecked Sendable {
  /// How it ended.
  struct End {
    /// -1 when a signal that it did not handle ended it.
    var exitCode: Int32
    var output: String
    var errors: String
  }

  private let process = Process()
  private let folder: String
  private let ended: AsyncStream<Void>

  /// Starts `muster` with `arguments`; its output goes to files, so that nothing fills up.
  init(_ arguments: [String]) throws {
    folder = NSTemporaryDirectory() + "muster-process-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let (stream, continuation) = AsyncStream<Void>.makeStream()
    ended = stream
    process.executableURL = try Self.binary()
    process.arguments = arguments
    process.currentDirectoryURL = URL(fileURLWithPath: folder)
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = try file("out")
    process.standardError = try file("err")
    process.terminationHandler = { _ in continuation.finish() }
    try process.run()
  }

  deinit { try? FileManager.default.removeItem(atPath: folder) }

  /// The binary lies beside the test bundle.
  private static func binary() throws -> URL {
    let bundle = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let candidates = [bundle, CommandLine.arguments[0]].map {
      URL(fileURLWithPath: $0).deletingLastPathComponent().appendingPathComponent("muster")
    }
    return try #require(candidates.first { FileManager.default.isExecutableFile(atPath: $0.path) })
  }

  private func file(_ name: String) throws -> FileHandle {
    let path = folder + "/" + name
    try Data().write(to: URL(fileURLWithPath: path))
    return try #require(FileHandle(forWritingAtPath: path))
  }

  private func text(_ name: String) -> String {
    (try? String(contentsOfFile: folder + "/" + name, encoding: .utf8)) ?? ""
  }

  var output: String { text("out") }
  var errors: String { text("err") }

  /// Sends a signal to this process and no other.
  func signal(_ number: Int32) {
    if process.isRunning { kill(process.processIdentifier, number) }
  }

  /// Waits for the end.
  func end() async -> End {
    for await _ in ended {}
    // Set by Foundation just before it tells of the end.
    let isExit = process.terminationReason == .exit
    return End(exitCode: isExit ? process.terminationStatus : -1, output: output, errors: errors)
  }

  /// Ends the process whatever it is doing, stopped ones included.
  func destroy() async {
    signal(SIGKILL)
    await withTaskCancellationShield { for await _ in self.ended {} }
  }
}

/// Runs `body` even in a task that has been cancelled.
private func withTaskCancellationShield(_ body: @escaping @Sendable () async -> Void) async {
  await Task.detached(operation: body).value
}

/// A configuration folder and the processes of a test.
final class ProcessStage: @unchecked Sendable {
  let folder: String
  let ports: [(client: Int, replica: Int)]
  private var processes: [MusterProcess] = []

  private init(replicas: Int, host: String) throws {
    folder = NSTemporaryDirectory() + "muster-stage-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let free = (0..<2 * replicas).map { _ in LoopbackPorts.take() }
    ports = (0..<replicas).map { (free[2 * $0], free[2 * $0 + 1]) }
    let lines = ports.enumerated().map { "\($0) \(host) \($1.client) \($1.replica)" }
    try write("hosts.config", lines.joined(separator: "\n") + "\n")
  }

  /// Runs `body` with a folder for a cluster; afterwards all processes of the stage have ended and the folder is gone.
  static func with(
    replicas: Int = 4, host: String = "127.0.0.1", _ body: (ProcessStage) async throws -> Void
  ) async throws {
    let stage = try ProcessStage(replicas: replicas, host: host)
    do {
      try await body(stage)
      await stage.clear()
    } catch {
      await stage.clear()
      throw error
    }
  }

  private func clear() async {
    for process in processes { await process.destroy() }
    try? FileManager.default.removeItem(atPath: folder)
  }

  func write(_ name: String, _ text: String) throws {
    try text.write(toFile: folder + "/" + name, atomically: true, encoding: .utf8)
  }

  /// Starts `muster`.
  func start(_ arguments: String...) throws -> MusterProcess { try start(arguments) }

  func start(_ arguments: [String]) throws -> MusterProcess {
    let process = try MusterProcess(arguments)
    processes.append(process)
    return process
  }

  /// Runs `muster` to its end.
  func run(_ arguments: String...) async throws -> MusterProcess.End {
    await (try start(arguments)).end()
  }

  /// What makes a replica's data folder: the flags of a first start, after `keys`.
  func formatFlags() throws -> [String] {
    let cluster = try String(contentsOfFile: folder + "/keys/cluster.id", encoding: .utf8)
    return ["--format", "--cluster", cluster.trimmingCharacters(in: .whitespacesAndNewlines)]
  }

  /// Starts a replica that has been made before.
  func startReplica(_ id: Int, _ flags: [String] = []) throws -> MusterProcess {
    try start(["replica", "--id", "\(id)", "--config", folder] + flags)
  }

  /// Makes keys and starts all replicas; returns once each of them is ready.
  func startCluster(_ flags: String...) async throws -> [MusterProcess] {
    let keys = try await run("keys", "--config", folder, "--clients", "10000..10009")
    try #require(keys.exitCode == 0, "\(keys.errors)")
    var replicas: [MusterProcess] = []
    for id in ports.indices { replicas.append(try startReplica(id, formatFlags() + flags)) }
    try await untilReady(replicas)
    return replicas
  }

  /// Runs the counter client, which increments by 1; its last value is `sum`.
  func count(
    _ client: Int, operations: Int, expecting sum: Int, _ flags: [String] = [],
    at place: SourceLocation = #_sourceLocation
  ) async throws {
    let process = try start(
      [
        "counter", "--id", "\(client)", "--increment", "1", "--operations", "\(operations)", "--config",
        folder,
      ]
        + flags)
    let counted = await process.end()
    #expect(counted.exitCode == 0, "\(counted.errors)", sourceLocation: place)
    #expect(
      counted.output.hasSuffix("Invocation \(operations - 1), returned value: \(sum)\n"), "\(counted.output)",
      sourceLocation: place)
  }

  /// Returns once each of the replicas is ready.
  func untilReady(_ replicas: [MusterProcess]) async throws {
    try await withLoops(1) { loops in
      for replica in replicas {
        try await eventually("a replica is ready: \(replica.errors)", on: loops[0]) {
          replica.output.hasPrefix("ready ") && replica.output.hasSuffix("\n")
        }
      }
    }
  }
}

/// A port that this process listens on until the object goes.
final class HeldPort {
  let port: Int
  private let descriptor: Int32

  init() throws {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let result = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, length) + listen(descriptor, 1) + getsockname(descriptor, $0, &length)
      }
    }
    port = Int(UInt16(bigEndian: address.sin_port))
    self.descriptor = descriptor
    try #require(result == 0 && port != 0)
  }

  deinit { close(descriptor) }
}

/// The rows of a CSV file whose cells have no commas.
struct CSVRows {
  private let names: [String]
  let rows: [[String]]

  init(path: String) throws {
    let lines = try String(contentsOfFile: path, encoding: .utf8).split(whereSeparator: \.isNewline)
    let cells = lines.map { $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init) }
    names = try #require(cells.first)
    rows = Array(cells.dropFirst())
  }

  func text(_ name: String, row: Int = 0) throws -> String {
    rows[row][try #require(names.firstIndex(of: name))]
  }

  func number(_ name: String, row: Int = 0) throws -> Double {
    try #require(Double(try text(name, row: row)))
  }
}
