// Where in-process replicas write while a point runs: a folder of its own, gone with the cluster.

import Foundation
import PBFT

/// A folder for the data of the replicas of one cluster.
struct TemporaryDataFolder: Sendable {
  let directory: String

  /// Makes it in the folder for temporary files (`TMPDIR`).
  init() throws {
    directory = NSTemporaryDirectory() + "muster-data-\(UUID().uuidString)"
    do {
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    } catch {
      throw CommandFailure(
        .cannotCreate, "cannot create \(directory) for the replicas' data: \(error.localizedDescription)")
    }
  }

  /// Of one replica.
  func path(of replica: ReplicaID) -> String { "\(directory)/replica\(replica.rawValue)" }

  /// What a reader of the figures should know about the disk; nil when nothing.
  var remark: String? {
    guard let mounts = try? String(contentsOfFile: "/proc/mounts", encoding: .utf8),
      Self.fileSystem(of: directory, mounts: mounts) == "tmpfs"
    else { return nil }
    return "\(directory) is in memory (tmpfs), so that writing it costs next to nothing; set TMPDIR to a disk"
  }

  /// The type of the file system that holds `path`: of the longest mount point above it.
  static func fileSystem(of path: String, mounts: String) -> String? {
    var best: (length: Int, type: String)?
    for line in mounts.split(separator: "\n") {
      let words = line.split(separator: " ")
      guard words.count > 2 else { continue }
      let point = words[1]
      guard point == "/" || path == point || path.hasPrefix(point + "/") else { continue }
      if point.count >= best?.length ?? 0 { best = (point.count, String(words[2])) }
    }
    return best?.type
  }

  func remove() { try? FileManager.default.removeItem(atPath: directory) }
}
