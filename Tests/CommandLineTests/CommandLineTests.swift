// The command line as its user meets it: the built binary, its help texts against text files, its errors and
// exit codes. To renew the help texts after a change that is meant: MUSTER_UPDATE_GOLDEN=1 swift test
// --filter CommandLineTests

import Foundation
import Testing

/// One run of the built binary.
struct Invocation {
  var exitCode: Int32
  var output: String
  var errors: String

  /// Runs `muster` with `arguments` in `folder`, waiting for its end.
  static func muster(_ arguments: String..., in folder: String = NSTemporaryDirectory()) throws -> Invocation
  {
    let scratch = NSTemporaryDirectory() + "muster-cli-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: scratch) }
    // Files, not pipes: a pipe that fills up while the other one is read would never end.
    let paths = ["out", "err"].map { scratch + "/" + $0 }
    for path in paths { try Data().write(to: URL(fileURLWithPath: path)) }
    let process = Process()
    process.executableURL = try binary()
    process.arguments = arguments
    process.currentDirectoryURL = URL(fileURLWithPath: folder)
    process.environment = ProcessInfo.processInfo.environment.merging(["COLUMNS": "80"]) { $1 }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle(forWritingAtPath: paths[0])
    process.standardError = FileHandle(forWritingAtPath: paths[1])
    try process.run()
    process.waitUntilExit()
    let texts = try paths.map { try String(contentsOfFile: $0, encoding: .utf8) }
    // A signal would mean that the process trapped.
    try #require(process.terminationReason == .exit, "\(texts[1])")
    return Invocation(exitCode: process.terminationStatus, output: texts[0], errors: texts[1])
  }

  /// The binary lies beside the test bundle.
  private static func binary() throws -> URL {
    let bundle = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let candidates = [bundle, CommandLine.arguments[0], Bundle.module.bundlePath].map {
      URL(fileURLWithPath: $0).deletingLastPathComponent().appendingPathComponent("muster")
    }
    return try #require(candidates.first { FileManager.default.isExecutableFile(atPath: $0.path) })
  }
}

@Suite("Help")
struct HelpTests {
  @Test(
    "the help text of each command is the one in its file",
    arguments: ["muster", "sweep", "run", "replica", "keys", "reconfigure", "counter", "report", "simulate"])
  func helpIsGolden(command: String) throws {
    let invocation =
      command == "muster" ? try Invocation.muster("--help") : try Invocation.muster(command, "--help")
    #expect(invocation.exitCode == 0)
    #expect(invocation.errors == "")
    if ProcessInfo.processInfo.environment["MUSTER_UPDATE_GOLDEN"] == "1" {
      let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
        "Resources")
      try invocation.output.write(
        to: folder.appendingPathComponent("\(command).txt"), atomically: true, encoding: .utf8)
      return
    }
    let golden = Bundle.module.bundlePath + "/Resources/\(command).txt"
    #expect(try invocation.output == String(contentsOfFile: golden, encoding: .utf8))
  }

  @Test("no arguments show the help")
  func nothingShowsHelp() throws {
    let invocation = try Invocation.muster()
    #expect(invocation.exitCode == 0)
    #expect(invocation.output == (try Invocation.muster("--help").output))
  }

  @Test("the default scenario can be printed, changed and run again")
  func scenarioIsPrinted() throws {
    let printed = try Invocation.muster("sweep", "--print-scenario")
    #expect(printed.exitCode == 0 && printed.output.contains("\naxes:\n"))
    try inFolder { folder in
      try printed.output.write(toFile: folder + "/copy.yml", atomically: true, encoding: .utf8)
      let again = try Invocation.muster("sweep", "copy.yml", "--print-scenario", in: folder)
      #expect(again.exitCode == 0 && again.output == printed.output)
    }
  }
}

@Suite("Errors of the command line")
struct ErrorTests {
  private func expect(
    _ invocation: Invocation, _ code: Int32, _ message: String, location: SourceLocation = #_sourceLocation
  ) {
    #expect(invocation.exitCode == code, sourceLocation: location)
    #expect(invocation.errors == "error: \(message)\n", sourceLocation: location)
    #expect(invocation.output == "", sourceLocation: location)
  }

  @Test("an unknown flag or command is wrong usage")
  func unknownWords() throws {
    expect(try .muster("run", "--frobnicate"), 64, "Unknown option '--frobnicate' (see 'muster run --help')")
    expect(try .muster("frobnicate"), 64, "Unexpected argument 'frobnicate' (see 'muster --help')")
    expect(
      try .muster("replica", "--id", "0"), 64,
      "Missing expected argument '--config <dir>' (see 'muster replica --help')")
  }

  @Test("a wrong value names its flag and what was expected")
  func wrongValues() throws {
    expect(try .muster("run", "--rate", "0"), 64, "--rate 0: expected more than 0 requests per second")
    expect(
      try .muster("run", "--replicas", "3", "--faults", "1"), 64,
      "--replicas 3: expected at least 3f + 1 = 4 replicas to tolerate 1 faults")
    expect(
      try .muster("run", "--protocol", "noops", "--replicas", "4"), 64,
      "--replicas 4: expected 1, because noops does not agree on an order")
    expect(
      try .muster("run", "--duration", "5"), 64,
      "--duration 5: expected a duration with its unit, such as 500ms or 2s (units: ns, us, ms, s, min)")
    expect(
      try .muster("run", "--seed", "x"), 64,
      "--seed x: expected a whole number from 0 to 18446744073709551615")
    expect(
      try .muster("replica", "--id", "0", "--config", ".", "--batch-size", "0"), 64,
      "--batch-size 0: expected a whole number from 1 to 65536")
    expect(
      try .muster("counter", "--id", "1001", "--increment", "one", "--config", "."), 64,
      "--increment one: expected a whole number from -2147483648 to 2147483647")
    expect(
      try .muster("keys", "--config", ".", "--clients", "5"), 64,
      "--clients 5: expected a range of client ids such as 10000..10999, first <= last, both included")
    expect(
      try .muster("keys", "--config", ".", "--add", "4,4"), 64,
      "--add 4,4: expected replica ids, each once, separated by commas")
    expect(try .muster("keys", "--config", "."), 64, "expected --clients a..b, or --add with replica ids")
    expect(
      try .muster("reconfigure", "add", "4:host:1", "--config", "."), 64,
      "add 4:host:1: expected ID:HOST:CLIENTPORT:REPLICAPORT with two ports in 1...65535, as in 4:10.0.0.5:11000:11001"
    )
    expect(
      try .muster("reconfigure", "grow", "4", "--config", "."), 64,
      "grow: expected add ID:HOST:CLIENTPORT:REPLICAPORT, remove ID or f F")
    expect(
      try .muster("sweep", "--resume"), 64, "--resume: expected --out DIR with it, the folder to go on in")
  }

  @Test("each of several wrong values has its line")
  func severalWrongValues() throws {
    let invocation = try Invocation.muster("run", "--rate", "0", "--sessions", "none")
    #expect(invocation.exitCode == 64)
    #expect(invocation.errors.split(separator: "\n").count == 2)
  }

  @Test("a scenario that cannot be read is a missing input")
  func missingScenario() throws {
    expect(
      try .muster("sweep", "no-such.yml"), 66, "no-such.yml: cannot be read: expected a scenario file in YAML"
    )
  }

  @Test("a scenario with a mistake names file, line, column and what was expected")
  func wrongScenario() throws {
    try inFolder { folder in
      try "name: bad\ntarget:\n  batch_size: none\n"
        .write(toFile: folder + "/bad.yml", atomically: true, encoding: .utf8)
      expect(
        try .muster("sweep", "bad.yml", in: folder), 64,
        "bad.yml:3:15: batch_size: none: expected a whole number from 1 to 65536")
    }
  }

  @Test("an output folder that cannot be made ends with 73 before anything is measured")
  func impossibleOutput() throws {
    for command in [["run", "--rate", "1"], ["sweep"]] {
      let invocation = try Invocation.muster(command[0], "--out", "/dev/null/results")
      #expect(invocation.exitCode == 73)
      #expect(invocation.errors.hasPrefix("error: cannot create /dev/null/results: "))
    }
  }

  @Test("a result folder that is not there is a missing input")
  func missingResult() throws {
    expect(try .muster("report", "no-such-folder"), 66, "no-such-folder does not exist")
    expect(
      try .muster("sweep", "--resume", "--out", "no-such-folder"), 66, "no-such-folder does not exist")
  }
}

/// Runs `body` with a folder of its own that is removed afterwards.
private func inFolder(_ body: (String) throws -> Void) throws {
  let folder = NSTemporaryDirectory() + "muster-cli-\(UUID().uuidString)"
  try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(atPath: folder) }
  try body(folder)
}
