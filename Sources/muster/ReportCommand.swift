// `muster report`: the report of a result folder.

import ArgumentParser
import Experiment

struct ReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report",
    abstract: "Write report.html for a result folder.",
    discussion: """
      The report is one self-contained file: throughput and latency per signature mode, void points hollow, \
      and the table of all points.

      Example:

        muster report results/mine
      """)

  @Argument(help: ArgumentHelp("Result folder of a sweep or a run.", valueName: "dir"))
  var folder: String

  func run() throws {
    print(try FolderReport.write(folder: folder))
  }
}
