// Profiles: which kinds of faults a schedule may have, by name. Everything else about a schedule is drawn from its
// seed (`SimulationPlan`).

/// What an adversary that owns a replica does to what the replica sends (reliability A3). Several at once are possible.
public struct AdversaryRoles: OptionSet, Hashable, Sendable {
  public let rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// Sends nothing at all, in spells.
  public static let silent = AdversaryRoles(rawValue: 1 << 0)
  /// Sends no proposal and no new view.
  public static let silentPrimary = AdversaryRoles(rawValue: 1 << 1)
  /// Never proposes the requests of some clients.
  public static let censoring = AdversaryRoles(rawValue: 1 << 2)
  /// Two batches under one number, to different replicas.
  public static let equivocating = AdversaryRoles(rawValue: 1 << 3)
  /// Votes for digests nobody proposed.
  public static let wrongDigests = AdversaryRoles(rawValue: 1 << 4)
  /// Sends old messages and old batches again.
  public static let replaying = AdversaryRoles(rawValue: 1 << 5)
  /// View changes with claims that are false, or no claims.
  public static let lyingViewChanges = AdversaryRoles(rawValue: 1 << 6)
  /// View changes and new views that are not well-formed.
  public static let garbageViewChanges = AdversaryRoles(rawValue: 1 << 7)
  /// New views that select something else.
  public static let lyingNewViews = AdversaryRoles(rawValue: 1 << 8)
  public static let lyingCheckpoints = AdversaryRoles(rawValue: 1 << 9)
  /// Wrong, stale, endless or missing parts of a state, wrong batches.
  public static let corruptTransfer = AdversaryRoles(rawValue: 1 << 10)
  /// Leaves one replica out.
  public static let inTheDark = AdversaryRoles(rawValue: 1 << 11)
  /// Proposes just before the others lose patience.
  public static let delaying = AdversaryRoles(rawValue: 1 << 12)
  public static let withholding = AdversaryRoles(rawValue: 1 << 13)
  /// Lies about what it has executed and where it stands.
  public static let lyingStatus = AdversaryRoles(rawValue: 1 << 14)
  /// Proposes requests no client made, or nothing, or the same request twice.
  public static let forgingBatches = AdversaryRoles(rawValue: 1 << 15)
  /// Suspects and asks for views without reason.
  public static let suspicious = AdversaryRoles(rawValue: 1 << 16)
  /// Replies to clients with wrong results.
  public static let lyingReplies = AdversaryRoles(rawValue: 1 << 17)
  /// Votes for whatever it hears of, in any view, for two batches of one number too.
  public static let eager = AdversaryRoles(rawValue: 1 << 18)
  /// View changes and new views that could be true: stale or chosen claims, a selection that follows from them, copies;
  /// and whoever has restarted is told the other batch.
  public static let scheming = AdversaryRoles(rawValue: 1 << 19)

  static let all: [(role: AdversaryRoles, name: String)] = [
    (.silent, "silent"), (.silentPrimary, "silent-primary"), (.censoring, "censoring"),
    (.equivocating, "equivocating"), (.wrongDigests, "wrong-digests"), (.replaying, "replaying"),
    (.lyingViewChanges, "lying-view-changes"), (.garbageViewChanges, "garbage-view-changes"),
    (.lyingNewViews, "lying-new-views"), (.lyingCheckpoints, "lying-checkpoints"),
    (.corruptTransfer, "corrupt-transfer"), (.inTheDark, "in-the-dark"), (.delaying, "delaying"),
    (.withholding, "withholding"), (.lyingStatus, "lying-status"), (.forgingBatches, "forging-batches"),
    (.suspicious, "suspicious"), (.lyingReplies, "lying-replies"), (.eager, "eager"),
    (.scheming, "scheming"),
  ]

  /// Those that need no view change to do harm.
  static let ofAnyView = all.map(\.role).filter { $0 != .eager && $0 != .scheming }

  /// Those that show their worth where views change.
  static let ofEpisodes: [AdversaryRoles] = [
    .scheming, .scheming, .scheming, .eager, .eager, .equivocating, .equivocating, .lyingViewChanges,
    .lyingNewViews, .silentPrimary, .withholding, .silent,
  ]

  /// The names of the roles.
  public var names: [String] { AdversaryRoles.all.filter { contains($0.role) }.map(\.name) }
}

/// What replicas write down before they send.
public enum DiskMode: String, Hashable, Sendable, CaseIterable {
  case none
  case async
  case sync
}

/// The kinds of faults of a schedule.
public struct Profile: Hashable, Sendable {
  public var name: String
  public var summary: String
  /// Shares of 1,024, drawn from 0 to this.
  var mostLossShare = 0
  var mostDuplicateShare = 0
  var mostTailShare = 0
  /// Whether packets of one link may overtake each other.
  var reorders = false
  var mostCuts = 0
  var mostClogs = 0
  var mostPauses = 0
  var mostCrashes = 0
  /// One replica of the faulty ones stays down.
  var staysDown = false
  var disk: [DiskMode] = [.none]
  var damagesDisks = false
  var skewsClocks = false
  /// Roles an adversary of this profile may have; empty = no adversary.
  var roles: [AdversaryRoles] = []
  var twins = false
  var byzantineClients = 0
  /// Some clients cannot reach one of the replicas.
  var cutsClientsOff = false
  var changesMembership = false
  /// Agreement is torn apart by phases, and views change in between (`Episodes.swift`).
  var hasEpisodes = false
  /// In episodes, hosts crash right after having said something.
  var diesInEpisodes = false
  /// In episodes, all hosts crash at once now and then.
  var cutsPower = false
  /// In episodes, correct hosts lose what they had written down; who has forgotten is no danger, but may be no help.
  var damagesInEpisodes = false
  /// More faulty replicas than tolerated: nothing is expected but what decision record 23 says.
  var isBeyondFaults = false

  init(_ name: String, _ summary: String, _ change: (inout Profile) -> Void = { _ in }) {
    self.name = name
    self.summary = summary
    change(&self)
  }

  /// The profiles in the order in which seeds take turns at them.
  public static let all: [Profile] = [
    Profile("calm", "no fault at all"),
    Profile("lossy", "loss, duplication, long delays, reordering, clients that cannot reach a replica") {
      $0.mostLossShare = 120
      $0.mostDuplicateShare = 120
      $0.mostTailShare = 60
      $0.reorders = true
      $0.cutsClientsOff = true
    },
    Profile("partitions", "one-way and partial cuts, clogged links, pauses, clock skew") {
      $0.mostLossShare = 20
      $0.mostCuts = 10
      $0.mostClogs = 6
      $0.mostPauses = 3
      $0.skewsClocks = true
    },
    Profile("crash", "crashes and restarts at any write, everything written down first") {
      $0.mostLossShare = 20
      $0.mostCrashes = 8
      $0.disk = [.sync]
      $0.staysDown = true
    },
    Profile("disk", "crashes with torn, lost, corrupt and missing files, forgetful replicas") {
      $0.mostLossShare = 10
      $0.mostCrashes = 5
      $0.disk = [.sync, .sync, .async, .none]
      $0.damagesDisks = true
    },
    Profile("byzantine-primary", "a primary that is silent, censors, equivocates, forges, delays") {
      $0.mostLossShare = 10
      $0.mostCuts = 2
      $0.roles = [
        .silentPrimary, .censoring, .equivocating, .forgingBatches, .delaying, .inTheDark, .replaying,
        .lyingNewViews, .silent,
      ]
    },
    Profile("byzantine-votes", "wrong, withheld, replayed votes, view changes, new views and checkpoints") {
      $0.mostLossShare = 20
      $0.mostCuts = 4
      $0.reorders = true
      $0.roles = [
        .wrongDigests, .withholding, .replaying, .lyingViewChanges, .garbageViewChanges, .lyingNewViews,
        .lyingCheckpoints, .suspicious, .silentPrimary, .equivocating,
      ]
    },
    Profile("byzantine-transfer", "replicas fall behind; donors lie about states and batches") {
      $0.mostCuts = 6
      $0.mostClogs = 2
      $0.roles = [
        .corruptTransfer, .lyingCheckpoints, .lyingStatus, .inTheDark, .silent, .lyingReplies,
        .forgingBatches,
      ]
    },
    Profile("clients", "clients with partial tags, replays, jumps, several operations of one sequence") {
      $0.mostLossShare = 20
      $0.byzantineClients = 3
    },
    Profile("twins", "two correct copies with one identity") {
      $0.mostLossShare = 10
      $0.mostCuts = 8
      $0.reorders = true
      $0.twins = true
    },
    Profile("membership", "replicas are added and removed, the tolerance changes") {
      $0.mostLossShare = 20
      $0.mostCuts = 4
      $0.changesMembership = true
    },
    Profile("mixed", "everything at once") {
      $0.mostLossShare = 60
      $0.mostDuplicateShare = 60
      $0.mostTailShare = 30
      $0.reorders = true
      $0.mostCuts = 6
      $0.mostClogs = 3
      $0.mostPauses = 2
      $0.mostCrashes = 4
      $0.disk = [.sync]
      $0.skewsClocks = true
      $0.roles = AdversaryRoles.ofAnyView
      $0.byzantineClients = 2
    },
    Profile("view-changes", "phases reach some replicas only, and views change without those they reached") {
      $0.mostLossShare = 10
      $0.hasEpisodes = true
      $0.staysDown = true
      $0.roles = AdversaryRoles.ofEpisodes
    },
    Profile("power", "the same with crashes right after a vote, and power cuts of all replicas") {
      $0.hasEpisodes = true
      $0.disk = [.sync]
      $0.diesInEpisodes = true
      $0.cutsPower = true
      $0.staysDown = true
      $0.roles = AdversaryRoles.ofEpisodes
    },
    Profile("amnesia", "the same beside replicas that lose what they had written down: agreement only") {
      $0.hasEpisodes = true
      $0.disk = [.sync, .sync, .none]
      $0.damagesInEpisodes = true
      $0.roles = AdversaryRoles.ofEpisodes
    },
    Profile(
      "beyond-f", "more crashed or Byzantine replicas than tolerated: may halt, never diverges by crashes"
    ) {
      $0.mostLossShare = 40
      $0.mostCuts = 4
      $0.mostCrashes = 8
      $0.disk = [.sync]
      $0.roles = AdversaryRoles.ofAnyView
      $0.isBeyondFaults = true
    },
  ]

  /// The profile of that name.
  public static func named(_ name: String) -> Profile? { all.first { $0.name == name } }

  /// Which profile a seed has when none is asked for: all take turns.
  public static func turn(of seed: UInt64) -> Profile { all[Int(seed % UInt64(all.count))] }
}
