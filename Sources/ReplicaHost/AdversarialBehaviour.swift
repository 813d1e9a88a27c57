// What a replica that was started as an adversary does. Kept true: nothing of it is in the types that honest replicas are
// made of; an adversary is an honest replica behind links that lie.

/// How an adversarial replica behaves.
public enum AdversarialBehaviour: Hashable, Sendable, CustomStringConvertible {
  /// Fabric's `general.byzantine`: about one body in three is kept from one replica.
  case omit
  /// Says nothing to replicas or clients, but keeps its links.
  case silent
  /// As primary proposes different batches under one number to the two halves of the others, and votes for both.
  case equivocate
  /// Ignores the requests of one client.
  case censor(client: Int32)
  /// Holds back what it sends by this fraction of the request timeout.
  case delay(fraction: Double)
  /// As primary makes one proposal per this fraction of the request timeout.
  case pace(fraction: Double)

  /// What a text must be, as errors say it.
  public static let expected =
    "omit, silent, equivocate, censor:<client>, delay:<fraction> or pace:<fraction>"

  /// Reads `silent`, `censor:10000`, `delay:0.9` and the like; nil when the text is none of them.
  public init?(_ text: String) {
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    switch (parts[0], parts.count) {
    case ("omit", 1): self = .omit
    case ("silent", 1): self = .silent
    case ("equivocate", 1): self = .equivocate
    case ("censor", 2):
      guard let client = Int32(parts[1]), client >= 0 else { return nil }
      self = .censor(client: client)
    case ("delay", 2), ("pace", 2):
      guard let fraction = Double(parts[1]), fraction > 0, fraction <= 10 else { return nil }
      self = parts[0] == "delay" ? .delay(fraction: fraction) : .pace(fraction: fraction)
    default: return nil
    }
  }

  public var description: String {
    switch self {
    case .omit: "omit"
    case .silent: "silent"
    case .equivocate: "equivocate"
    case .censor(let client): "censor:\(client)"
    case .delay(let fraction): "delay:\(fraction)"
    case .pace(let fraction): "pace:\(fraction)"
    }
  }
}
