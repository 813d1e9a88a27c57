// How a command says that it cannot do what it was asked: one line for people and the exit code of
// sysexits(3). Kept true: every failure that a user can cause is one of these, and none of them is a trap.

/// A failure to be shown as one line, `error: <message>`, and to end the process with `code`.
public struct CommandFailure: Error, Equatable, Sendable, CustomStringConvertible {
  /// The exit codes of `muster`; the numbers from 64 on are those of `sysexits.h`.
  public enum Code: Int32, Sendable {
    /// A sweep that finished with points that failed their audit or their target.
    case failedPoints = 1
    /// A single point that was measured and is void.
    case voidPoint = 5
    /// Wrong usage: flags, values, or the text of a scenario (EX_USAGE).
    case usage = 64
    /// An input that is missing or cannot be read (EX_NOINPUT).
    case missingInput = 66
    /// A replica or an operating system service that is needed and does not answer (EX_UNAVAILABLE).
    case unavailable = 69
    /// An output that cannot be made (EX_CANTCREAT).
    case cannotCreate = 73
    /// Ended by SIGINT after having put everything in order.
    case interrupted = 130
  }

  public var code: Code
  public var message: String

  public init(_ code: Code, _ message: String) {
    self.code = code
    self.message = message
  }

  /// The shortest way to say a usage failure.
  public static func usage(_ message: String) -> CommandFailure { CommandFailure(.usage, message) }

  public var description: String { message }
}

/// A position in a text file, both counted from 1.
public struct TextPosition: Equatable, Sendable, CustomStringConvertible {
  public var line: Int
  public var column: Int

  public init(line: Int, column: Int) {
    self.line = line
    self.column = column
  }

  public var description: String { "\(line):\(column)" }
}
