// The report of a result folder, as `muster report` writes it.

import Analysis
import Results

/// Writing `report.html`.
public enum FolderReport {
  /// Writes the report of the result in `folder` and returns where it is and the table of its points.
  /// - Throws: `CommandFailure` with code 66 when there is no result, 73 when the report cannot be written.
  public static func write(folder: String) throws -> String {
    do {
      let folder = try ResultFolder.open(folder)
      try folder.writeReport(Report.html(from: folder))
      let rows = try folder.rows(folder.points, of: PointRow.self)
      return "\(ResultTable.text(rows))\nreport: \(folder.report)"
    } catch {
      throw CommandFailure.forResultFiles(error)
    }
  }
}
