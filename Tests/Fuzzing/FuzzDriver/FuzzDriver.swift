// The command line of a fuzzing program, and the way into libFuzzer.
//
//   PROGRAM list                       the targets, one a line
//   PROGRAM seeds TARGET DIR GOLDEN    writes inputs to begin with; GOLDEN: recorded frames as hexadecimal files
//   PROGRAM TARGET [libFuzzer's flags and folders]

import CFuzzer
import Foundation

/// A decoder under attack.
public struct FuzzTarget {
  public let name: String
  /// Long enough for what is worth reading, short enough to be quick.
  public let longestInput: Int
  /// Reads an input. A trap ends the run, and so does a value that does not survive being written and read again.
  public let body: (UnsafeRawBufferPointer) -> Void
  /// Inputs to begin with.
  public let seeds: (GoldenFrames) -> [[UInt8]]

  public init(
    _ name: String, longestInput: Int, _ body: @escaping (UnsafeRawBufferPointer) -> Void,
    seeds: @escaping (GoldenFrames) -> [[UInt8]]
  ) {
    self.name = name
    self.longestInput = longestInput
    self.body = body
    self.seeds = seeds
  }
}

/// Frames recorded from BFT-SMaRt, as hexadecimal files.
public struct GoldenFrames {
  let folder: String

  /// The bytes of the files with such names.
  public func named(_ isWanted: (String) -> Bool) -> [[UInt8]] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return names.sorted().filter { $0.hasSuffix(".hex") && isWanted($0) }.compactMap { name in
      guard let text = try? String(contentsOfFile: folder + "/" + name, encoding: .utf8) else { return nil }
      let digits = text.compactMap(\.hexDigitValue).map { UInt8($0) }
      return stride(from: 0, to: digits.count - 1, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }
  }
}

/// What every input is given to: libFuzzer calls a function of C, which has no context.
nonisolated(unsafe) private var body: (UnsafeRawBufferPointer) -> Void = { _ in }

/// Does what the command line says.
public func fuzz(_ targets: [FuzzTarget]) -> Never {
  let arguments = CommandLine.arguments
  let names = targets.map(\.name).joined(separator: ", ")
  guard arguments.count >= 2 else { fail("expected list, seeds or one of \(names)") }
  switch arguments[1] {
  case "list":
    for target in targets { print(target.name) }
    exit(0)
  case "seeds":
    guard arguments.count == 5, let target = targets.first(where: { $0.name == arguments[2] }) else {
      fail("expected: seeds TARGET DIR GOLDEN, TARGET one of \(names)")
    }
    write(target.seeds(GoldenFrames(folder: arguments[4])), to: arguments[3])
    exit(0)
  default:
    guard let target = targets.first(where: { $0.name == arguments[1] }) else {
      fail("\(arguments[1]): expected list, seeds or one of \(names)")
    }
    run(target, arguments)
  }
}

private func fail(_ message: String) -> Never {
  FileHandle.standardError.write(Data("error: \(message)\n".utf8))
  exit(64)
}

private func write(_ seeds: [[UInt8]], to folder: String) {
  for (index, seed) in seeds.enumerated() {
    let path = "\(folder)/seed\(index)"
    guard FileManager.default.createFile(atPath: path, contents: Data(seed)) else {
      fail("\(path): cannot be written")
    }
  }
}

private func run(_ target: FuzzTarget, _ arguments: [String]) -> Never {
  body = target.body
  var flags = ([arguments[0], "-max_len=\(target.longestInput)"] + arguments[2...]).map { strdup($0) }
  flags.append(nil)
  var count = CInt(flags.count - 1)
  let code = flags.withUnsafeMutableBufferPointer { buffer in
    var base: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = buffer.baseAddress
    return LLVMFuzzerRunDriver(&count, &base) { bytes, count in
      body(UnsafeRawBufferPointer(start: bytes, count: count))
      return 0
    }
  }
  exit(code)
}
