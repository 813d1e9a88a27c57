// What an earlier life has left in the data folder, read into a replica that has not started.

import Foundation
import Glibc
import Replication

enum DurableRecovery {
  /// Reads all segments and lets the replica take up what they say.
  ///
  /// - Returns: nil when there is nothing to read.
  /// - Throws: `DataFolderError` when a segment cannot be read: what it says may have been promised.
  static func read(_ folder: DataFolder, into replica: Replica) throws(DataFolderError) -> RecoveryReport? {
    guard !folder.segments.isEmpty else { return nil }
    var segments: [DurableSegment] = []
    for number in folder.segments {
      let path = folder.path + "/" + DataFolder.segmentName(number)
      do {
        let data = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped)
        segments.append(DurableSegment(number: number, bytes: Array(data)))
      } catch {
        throw DataFolderError(
          reason: .missing,
          description:
            "\(path): cannot be read: \(DataFolder.reason(error)); give this user access to the data folder")
      }
    }
    return replica.recover(from: DurableScan(segments))
  }
}
