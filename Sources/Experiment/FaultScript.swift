// Faults on the load's clock: what happens to which replica when, as a scenario or `--faults-script` states it. Kept true:
// a script reads back from its own text; instants never go back; what cannot be done to a target is refused before
// anything runs.

/// A list of faults, in the order of their instants.
public struct FaultScript: Equatable, Sendable, CustomStringConvertible {
  /// What is done to a replica.
  public enum Action: String, CaseIterable, Sendable {
    /// Ends it at once, as a crash would.
    case kill
    /// Starts it again, with what it had written.
    case restart
    /// Freezes its process.
    case stop
    /// Lets a frozen process go on.
    case resume
  }

  /// To whom.
  public enum Target: Equatable, Sendable, CustomStringConvertible {
    case replica(Int)
    /// The primary of the view in force at that instant.
    case primary

    public var description: String {
      switch self {
      case .replica(let id): "\(id)"
      case .primary: "primary"
      }
    }
  }

  public struct Fault: Equatable, Sendable, CustomStringConvertible {
    /// Since the start of the load, warm-up included.
    public var nanoseconds: Int64
    public var action: Action
    public var target: Target

    public var description: String { "at \(DurationText.text(nanoseconds)) \(action.rawValue) \(target)" }
  }

  public private(set) var faults: [Fault]

  /// The most faults of one script.
  public static let maximumFaults = 256

  /// What to write, for error messages and help.
  public static let expectation =
    "faults such as 'at 2s kill primary; at 4s restart 0' (kill, restart, stop, resume; a replica's id or primary)"

  /// No faults.
  public init() { faults = [] }

  public var isEmpty: Bool { faults.isEmpty }

  public var description: String { faults.map(\.description).joined(separator: "; ") }

  /// Reads `at <duration> <action> <replica>` statements, separated by `;`.
  /// - Throws: the statement that cannot be read and what was expected of it.
  public init(_ text: String) throws(FaultScriptError) {
    self.init()
    for statement in text.split(whereSeparator: { $0 == ";" || $0.isNewline }) {
      let words = statement.split(whereSeparator: \.isWhitespace).map { String($0) }
      if words.isEmpty { continue }
      try append(words)
    }
    guard !faults.isEmpty else { throw FaultScriptError(found: "'\(text)'", expected: Self.expectation) }
  }

  private mutating func append(_ words: [String]) throws(FaultScriptError) {
    let found = words.joined(separator: " ")
    guard words.count == 4, words[0] == "at" else {
      throw FaultScriptError(found: found, expected: "'at <duration> <action> <replica>'")
    }
    guard let instant = DurationText.nanoseconds(words[1]) else {
      throw FaultScriptError(found: found, expected: DurationText.expectation)
    }
    guard let action = Action(rawValue: words[2]) else {
      let names = Action.allCases.map(\.rawValue).joined(separator: ", ")
      throw FaultScriptError(found: found, expected: "one of \(names)")
    }
    let target: Target
    if words[3] == "primary" {
      target = .primary
    } else if let id = Int(words[3]), (0...Int(Int32.max)).contains(id) {
      target = .replica(id)
    } else {
      throw FaultScriptError(found: found, expected: "a replica's id or primary")
    }
    if target == .primary, action == .restart || action == .resume {
      throw FaultScriptError(
        found: found, expected: "a replica's id, because the primary is a replica that runs")
    }
    if let last = faults.last, instant < last.nanoseconds {
      throw FaultScriptError(
        found: found,
        expected: "an instant not before that of the fault before, \(DurationText.text(last.nanoseconds))")
    }
    guard faults.count < Self.maximumFaults else {
      throw FaultScriptError(found: found, expected: "at most \(Self.maximumFaults) faults")
    }
    faults.append(Fault(nanoseconds: instant, action: action, target: target))
  }

  /// What is wrong with the script for such a target, nil when it can be run.
  ///
  /// - Parameters:
  ///   - replicas: their number; ids are below it.
  ///   - transport: replicas of this process cannot be frozen, and those of others are not ours to kill.
  ///   - end: of the measurement, in nanoseconds since the start of the load.
  func problem(replicas: Int, transport: Transport, until end: Int64) -> FaultScriptError? {
    var down: Set<Int> = []
    // Whoever was primary may be down as well.
    var unknownDown = false
    for fault in faults {
      func wrong(_ expected: String) -> FaultScriptError {
        FaultScriptError(found: fault.description, expected: expected)
      }
      if transport == .remote {
        return wrong("no faults script, because remote replicas are not ours to stop")
      }
      if fault.action == .stop || fault.action == .resume {
        return wrong("kill or restart, because replicas of this process cannot be frozen")
      }
      if fault.nanoseconds >= end {
        return wrong("an instant before the end of the measurement, \(DurationText.text(end))")
      }
      switch (fault.action, fault.target) {
      case (_, .replica(let id)) where id >= replicas:
        return wrong("a replica from 0 to \(replicas - 1), or primary")
      case (.kill, .replica(let id)):
        if !down.insert(id).inserted { return wrong("a replica that runs: \(id) has been killed before") }
      case (.restart, .replica(let id)):
        if down.remove(id) == nil, !unknownDown {
          return wrong("a replica that was killed before: \(id) runs")
        }
      case (.kill, .primary): unknownDown = true
      default: break
      }
    }
    return nil
  }
}

/// A statement of a script that cannot be read or done.
public struct FaultScriptError: Error, Equatable, Sendable {
  /// The statement as it was written.
  public var found: String
  public var expected: String
}
