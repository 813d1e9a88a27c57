// A replica's data folder: whose it is, how its last life ended, and its log segments. Kept true: a folder is made once,
// belongs to one replica of one cluster, and what was promised in an earlier life is never forgotten silently
// (decision record 18).
//
//   formatted          cluster and replica; made by --format
//   running            the durability; `lost` while what was promised earlier is not known; `starting` before the
//                      first records of a first life are on disk. There while a replica runs and after a crash
//   stopped            the same after a clean stop
//   log-<16 digits>    segments of the durable log, by number

import Foundation
import Glibc
import PBFT
import Replication
import Wire

/// Why a replica cannot start on its data folder, and what to do about it.
public struct DataFolderError: Error, Hashable, Sendable, CustomStringConvertible {
  public enum Reason: Hashable, Sendable {
    /// Something that must be there is not.
    case missing
    /// What is there belongs to somebody else, or exists already.
    case refused
    /// The operating system refused.
    case notWritable
  }

  public var reason: Reason
  public var description: String
}

/// How a replica begins on its folder.
enum EarlierLife: Equatable {
  /// There never was one that voted.
  case none
  /// What it promised is in the segments, all of it if they are read without damage.
  case logged
  /// It may have promised what is not written anywhere.
  case lost
}

/// What the marker of a running replica says.
enum RunningState {
  /// Nothing has been promised yet: a first life whose first records are not on disk.
  case starting
  /// What was promised in an earlier life is not known.
  case lost
  case running(Durability)

  fileprivate var text: String {
    switch self {
    case .starting: "starting"
    case .lost: "lost"
    case .running(let durability): durability.rawValue
    }
  }
}

/// A data folder in use.
struct DataFolder {
  let path: String
  let earlier: EarlierLife
  /// Numbers of the segments, ascending.
  let segments: [UInt64]

  static func segmentName(_ number: UInt64) -> String {
    let digits = String(number, radix: 16)
    return "log-" + String(repeating: "0", count: 16 - digits.count) + digits
  }

  static func segmentNumber(_ name: String) -> UInt64? {
    guard name.count == 20, name.hasPrefix("log-") else { return nil }
    let number = UInt64(name.dropFirst(4), radix: 16)
    return number.flatMap { segmentName($0) == name ? $0 : nil }
  }

  /// Makes the folder if it is to be made, and checks whose it is.
  ///
  /// - Parameters:
  ///   - path: the folder of this replica.
  ///   - format: whether to make it; it must not exist yet.
  ///   - durability: under `sync` a folder must be there or be made; otherwise a missing one is made.
  static func open(
    path: String, replica: ReplicaID, cluster: ClusterID, durability: Durability, format: Bool
  ) throws(DataFolderError) -> DataFolder {
    let identity = "muster data 1\ncluster \(cluster)\nreplica \(replica.rawValue)\n"
    let isThere = FileManager.default.fileExists(atPath: path + "/formatted")
    if format || (!isThere && durability != .sync) {
      guard !isThere else {
        throw DataFolderError(
          reason: .refused,
          description:
            "\(path): already formatted; start without --format, or, if its data is to be given up, "
            + "remove the folder and start with --format and --recovering")
      }
      try make(path, identity)
    } else if !isThere {
      throw DataFolderError(
        reason: .missing,
        description:
          "\(path): no data of replica \(replica.rawValue). If it has never run, start it once with --format "
          + "--cluster \(cluster); if its disk was lost, restore it, or add --recovering to that: then it "
          + "follows the others and abstains until what it has promised is history")
    }
    let found = try read(path, "formatted")
    guard found == identity else {
      throw DataFolderError(
        reason: .refused,
        description:
          "\(path): belongs to \(summary(found)), expected cluster \(cluster) replica \(replica.rawValue); give "
          + "--config its own folder, or remove the data folder and start with --format --cluster \(cluster)")
    }
    let segments = segments(in: path)
    return DataFolder(path: path, earlier: try earlierLife(path, durability, segments), segments: segments)
  }

  private static func make(_ path: String, _ identity: String) throws(DataFolderError) {
    do {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch {
      throw DataFolderError(
        reason: .notWritable, description: "\(path): cannot make the data folder: \(reason(error))")
    }
    // What a removed marker left behind is of no life we know of.
    for number in segments(in: path) { unlink(path + "/" + segmentName(number)) }
    for name in ["running", "stopped"] { unlink(path + "/" + name) }
    try write(path, "formatted", identity)
  }

  /// What the markers say of the last life.
  private static func earlierLife(
    _ path: String, _ durability: Durability, _ segments: [UInt64]
  ) throws(DataFolderError) -> EarlierLife {
    let crashed = FileManager.default.fileExists(atPath: path + "/running")
    let stopped = FileManager.default.fileExists(atPath: path + "/stopped")
    guard crashed || stopped else { return segments.isEmpty ? .none : .logged }
    let text = try read(path, crashed ? "running" : "stopped").trimmingCharacters(in: .whitespacesAndNewlines)
    switch (text, crashed) {
    case ("starting", _):
      // Under `sync` nothing has been said before the first records were on disk, and then it no longer says this.
      return .none
    case ("none", false):
      // Without a log a clean stop is all there is; only a replica that promises to keep everything wants more.
      return durability == .none ? .none : .lost
    case ("none", true): return .lost
    case ("sync", _), ("async", false):
      // Under `none` nothing is kept up to date, so what is there is not taken up either.
      return segments.isEmpty || durability == .none ? .lost : .logged
    default:
      return .lost
    }
  }

  /// Says that a replica runs here, and with it what is to be thought if it does not say otherwise.
  static func markRunning(_ path: String, _ state: RunningState) throws(DataFolderError) {
    try write(path, "running", "\(state.text)\n")
    unlink(path + "/stopped")
    _ = syncFolder(path)
  }

  /// Says that everything is in order. After the last byte of the log is on disk.
  static func markStopped(_ path: String) {
    guard rename(path + "/running", path + "/stopped") == 0 else { return }
    _ = syncFolder(path)
  }

  static func segments(in path: String) -> [UInt64] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    return names.compactMap(segmentNumber).sorted()
  }

  /// Makes new and removed names of the folder durable; 0 or an errno.
  static func syncFolder(_ path: String) -> Int32 {
    let descriptor = Glibc.open(path, O_RDONLY | O_DIRECTORY)
    guard descriptor >= 0 else { return errno }
    defer { close(descriptor) }
    return fsync(descriptor) == 0 ? 0 : errno
  }

  private static func write(_ path: String, _ name: String, _ text: String) throws(DataFolderError) {
    let target = path + "/" + name
    let descriptor = Glibc.open(target + ".new", O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    var failure = descriptor < 0 ? errno : 0
    if descriptor >= 0 {
      let bytes = Array(text.utf8)
      if Glibc.write(descriptor, bytes, bytes.count) != bytes.count { failure = errno }
      if failure == 0, fsync(descriptor) != 0 { failure = errno }
      close(descriptor)
    }
    if failure == 0, rename(target + ".new", target) != 0 { failure = errno }
    if failure == 0 { failure = syncFolder(path) }
    guard failure == 0 else {
      throw DataFolderError(
        reason: .notWritable,
        description: "\(target): cannot be written: \(String(cString: strerror(failure)))")
    }
  }

  private static func read(_ path: String, _ name: String) throws(DataFolderError) -> String {
    guard let text = try? String(contentsOfFile: path + "/" + name, encoding: .utf8) else {
      throw DataFolderError(
        reason: .missing, description: "\(path)/\(name): cannot be read; expected a file that --format makes")
    }
    return text
  }

  private static func summary(_ text: String) -> String {
    let lines = text.split(separator: "\n").dropFirst()
    return lines.isEmpty ? "nobody known" : lines.prefix(2).joined(separator: " ")
  }

  /// The operating system's words.
  static func reason(_ error: any Error) -> String {
    let underlying = (error as NSError).userInfo[NSUnderlyingErrorKey] as? NSError
    if let underlying, underlying.domain == NSPOSIXErrorDomain {
      return String(cString: strerror(Int32(underlying.code)))
    }
    return "\(error)"
  }
}
