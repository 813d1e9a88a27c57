// Entry of the command line: parse, run, and turn whatever goes wrong into one line and an exit code.

import Experiment
import Foundation
import Logging

// Standard output carries results only; what is logged goes to standard error.
LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
exit(await CommandLineEntry.run(Array(CommandLine.arguments.dropFirst())))
