// Fabric's PBFT settings by their names in its config.yaml, as that file or the environment states them. Which value wins
// over flags, system.config and defaults is decided by whoever reads this.

/// One key of Fabric v0.6's `consensus/pbft/config.yaml`, by its full name.
public enum FabricKey: String, CaseIterable, Hashable, Sendable {
  case mode = "general.mode"
  case replicas = "general.N"
  case faults = "general.f"
  case checkpointPeriod = "general.K"
  case logMultiplier = "general.logmultiplier"
  case batchSize = "general.batchsize"
  case byzantine = "general.byzantine"
  case viewChangePeriod = "general.viewchangeperiod"
  case batchTimeout = "general.timeout.batch"
  case requestTimeout = "general.timeout.request"
  case viewChangeTimeout = "general.timeout.viewchange"
  case viewChangeResend = "general.timeout.resendviewchange"
  case nullRequest = "general.timeout.nullrequest"
  case broadcastTimeout = "general.timeout.broadcast"
  case executorQueueSize = "executor.queuesize"

  /// The environment variable that overrides the file: `CORE_PBFT_` and the key in capitals, `_` for `.`.
  public var environmentName: String {
    FabricConfiguration.environmentPrefix
      + String(rawValue.uppercased().map { $0 == "." ? "_" : $0 })
  }

  /// The key that is called `name`, whatever its capitals, as Fabric's reader has it.
  public static func named(_ name: String) -> FabricKey? { byName[name.lowercased()] }

  private static let byName = Dictionary(
    uniqueKeysWithValues: allCases.map { ($0.rawValue.lowercased(), $0) })

  /// Whether the value changes anything here: sending never waits, and batches are executed as they commit.
  public var hasEffect: Bool { self != .broadcastTimeout && self != .executorQueueSize }

  fileprivate enum Form {
    case mode
    case whole(ClosedRange<Int>)
    case boolean
    case duration
  }

  fileprivate var form: Form {
    switch self {
    case .mode: .mode
    case .replicas: .whole(1...64)
    case .faults: .whole(0...63)
    case .checkpointPeriod: .whole(1...65_536)
    // Fabric panics below 2.
    case .logMultiplier: .whole(2...64)
    case .batchSize: .whole(1...65_536)
    case .viewChangePeriod: .whole(0...1_000_000)
    case .executorQueueSize: .whole(0...Int(Int32.max))
    case .byzantine: .boolean
    case .batchTimeout, .requestTimeout, .viewChangeTimeout, .viewChangeResend, .nullRequest,
      .broadcastTimeout:
      .duration
    }
  }

  /// What a value must be, as errors say it.
  public var expected: String {
    switch form {
    case .mode: "batch"
    case .whole(let range): "a whole number in \(range.lowerBound)...\(range.upperBound)"
    case .boolean: "true or false"
    case .duration: "a duration such as 2s, 500ms or 1m30s"
    }
  }
}

/// The text given for a key is not what the key must have.
public struct FabricValueError: Error, Hashable, Sendable {
  public let key: FabricKey
  public let found: String

  public init(key: FabricKey, found: String) {
    self.key = key
    self.found = found
  }
}

/// What one source states about Fabric's settings; nil where it says nothing.
public struct FabricConfiguration: Hashable, Sendable {
  /// How the names of the environment variables begin.
  public static let environmentPrefix = "CORE_PBFT_"

  /// A value as it was written.
  public struct Statement: Hashable, Sendable {
    public let text: String
    /// Where it stands: `config.yaml:12`, or the name of an environment variable.
    public let place: String
    fileprivate let value: Value
  }

  fileprivate enum Value: Hashable, Sendable {
    case mode
    case whole(Int)
    case boolean(Bool)
    case nanoseconds(Int64)
  }

  /// What is stated, by key.
  public private(set) var statements: [FabricKey: Statement] = [:]

  /// Nothing stated.
  public init() {}

  /// Takes the value of one key, replacing an earlier one.
  public mutating func state(_ key: FabricKey, _ text: String, place: String) throws(FabricValueError) {
    guard let value = Self.parse(text, as: key.form) else { throw FabricValueError(key: key, found: text) }
    statements[key] = Statement(text: text, place: place, value: value)
  }

  /// The keys stated, in the order of Fabric's file.
  public var keys: [FabricKey] { FabricKey.allCases.filter { statements[$0] != nil } }

  public func whole(_ key: FabricKey) -> Int? {
    if case .whole(let value) = statements[key]?.value { value } else { nil }
  }

  public func boolean(_ key: FabricKey) -> Bool? {
    if case .boolean(let value) = statements[key]?.value { value } else { nil }
  }

  public func nanoseconds(_ key: FabricKey) -> Int64? {
    if case .nanoseconds(let value) = statements[key]?.value { value } else { nil }
  }

  private static func parse(_ text: String, as form: FabricKey.Form) -> Value? {
    switch form {
    case .mode: text == "batch" ? .mode : nil
    case .whole(let range): Int(text).flatMap { range.contains($0) ? .whole($0) : nil }
    case .boolean:
      switch text {
      case "true", "True", "TRUE", "t", "T", "1": .boolean(true)
      case "false", "False", "FALSE", "f", "F", "0": .boolean(false)
      default: nil
      }
    case .duration: GoDuration.nanoseconds(text).flatMap { $0 <= 86_400_000_000_000 ? .nanoseconds($0) : nil }
    }
  }
}

/// Durations as Go's `time.ParseDuration` reads them, without negative ones.
public enum GoDuration {
  private static let units: [(name: String, nanoseconds: Int64)] = [
    ("ns", 1), ("us", 1_000), ("µs", 1_000), ("μs", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000),
    ("m", 60_000_000_000), ("h", 3_600_000_000_000),
  ]

  /// The nanoseconds that `text` names, nil when it is no duration: numbers with units, one after the other
  /// (`1m30.5s`), or a plain 0. What is below a nanosecond is cut off.
  public static func nanoseconds(_ text: String) -> Int64? {
    var rest = Substring(text)
    if rest.first == "+" { rest.removeFirst() }
    if rest == "0" { return 0 }
    guard !rest.isEmpty else { return nil }
    var sum: Int64 = 0
    while !rest.isEmpty {
      guard let part = component(&rest) else { return nil }
      let (next, overflow) = sum.addingReportingOverflow(part)
      guard !overflow else { return nil }
      sum = next
    }
    return sum
  }

  private static func component(_ rest: inout Substring) -> Int64? {
    let whole = digits(&rest)
    var fraction: Substring = ""
    if rest.first == "." {
      rest.removeFirst()
      fraction = digits(&rest)
    }
    guard !whole.isEmpty || !fraction.isEmpty else { return nil }
    let name = rest.prefix { $0 != "." && !isDigit($0) }
    guard let unit = units.first(where: { $0.name == name }) else { return nil }
    rest = rest[name.endIndex...]
    guard let number = whole.isEmpty ? 0 : Int64(whole) else { return nil }
    let (scaled, overflow) = number.multipliedReportingOverflow(by: unit.nanoseconds)
    guard !overflow else { return nil }
    var extra: Int64 = 0
    var scale = unit.nanoseconds
    for digit in fraction {
      // Twelve digits reach below a nanosecond for every unit.
      scale /= 10
      guard scale > 0 else { break }
      extra += scale * Int64(digit.wholeNumberValue!)
    }
    let (sum, sumOverflow) = scaled.addingReportingOverflow(extra)
    return sumOverflow ? nil : sum
  }

  private static func digits(_ rest: inout Substring) -> Substring {
    let digits = rest.prefix(while: isDigit)
    rest = rest[digits.endIndex...]
    return digits
  }

  private static func isDigit(_ character: Character) -> Bool { character.isASCII && character.isNumber }
}
