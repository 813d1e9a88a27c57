// One replica in the world: the pure replica, its event manager on a reactor, its links, its keys and its log. Whatever a
// turn of the loop brings is decoded and verified, given to the replica as events, and its effects are run in order; links
// are flushed once, at the end of the turn. Kept true under `sync`: no byte leaves before the records that were written
// before it are on disk, and the loop never waits for the disk.

import Channels
import Events
import Hashing
import Logging
import NIOCore
import PBFT
import Replication
import Wire

/// A running replica. Its state belongs to one event loop; the public methods that return futures may be called anywhere.
public final class HostedReplica: @unchecked Sendable {
  public let configuration: HostConfiguration
  public let loop: any EventLoop

  var counters = HostCounters()
  var events: [HostEvent] = []
  let replica: Replica
  var verifier: RequestVerifier
  let notary: StatementNotary
  var notaryLimits: StatementLimits
  /// The replica's client connections. Belong to its loop.
  public internal(set) var clients: ClientChannels!
  /// Beyond what the pure replica takes of a client at once.
  let waiting: WaitingRequests
  let unverified: UnverifiedRequests
  /// Whether a batch has been executed since `waiting` was offered last.
  var hasExecuted = false
  /// Connections that had gone when `waiting` was looked through last.
  var closedConnectionsSeen: UInt64 = 0
  /// Keys of the MACs; nil without.
  let channelKeys: ChannelKeys12?
  /// The configuration's, with the public keys of members added since.
  var secrets: ReplicaSecrets
  /// Of the trusted party.
  let trustedKey: VerifyingKey?
  /// BFT-SMaRt's serialized `View` of the membership in force.
  var viewBytes: [UInt8] = []
  var viewID: Int32 = 0
  /// The members as of the last change seen here, and who was new in it.
  var presentMembers: [ReplicaID] = []
  var lastJoined: [ReplicaID] = []
  /// When the RECONFIG was executed whose membership is not in force yet.
  var membershipDecidedAt: Int64?
  var mesh: PeerMesh!
  let manager: EventManager<Replica>
  let logger: Logger
  var turn: TurnEnd!
  /// Whether the replica is still to be told that a link has come or gone.
  var haveLinksChanged = false
  /// Statements of this turn's effects; emptied right after them.
  var statementsToSign: [StatementHandle] = []

  /// nil when nothing is written.
  private(set) var files: DurableFiles?
  /// Replies that wait for the disk; nil when none ever does.
  private(set) var heldReplies: HeldReplies?
  /// What the commit under way covers: bodies and replies.
  private var covered = (bodies: 0, replies: 0)
  /// Whether the replica abstains because it may have promised what it does not know.
  var isRecovering: Bool
  /// Peers that abstain for the same reason, by what they said last.
  private var recoveringPeers: Set<ReplicaID> = []
  private var hasToldLoss = false

  private let boss: any EventLoopGroup
  private let timers: TimerFactory<Replica.Event>
  private let meter: LoopMeter
  private let meterOwner: Int
  private var armed: (instant: Instant, callback: NIOScheduledCallback)?
  private var listeners: [Listener] = []
  private var quorumPromise: EventLoopPromise<Void>?
  private var allPromise: EventLoopPromise<Void>?
  private var failurePromise: EventLoopPromise<String>?
  private var failure: String?
  private(set) var isStopped = false

  /// Reads what an earlier life has left in the data folder; blocks for as long as that takes.
  ///
  /// - Parameters:
  ///   - loop: where the replica and all its links live.
  ///   - boss: accepts connections.
  ///   - meter: of the loop; several replicas of one loop share it, each as another `meterOwner`.
  /// - Throws: `HostError` for a configuration that cannot run, `DataFolderError` for a folder that is not as it must be.
  public init(
    configuration: HostConfiguration, loop: any EventLoop, boss: any EventLoopGroup, meter: LoopMeter,
    meterOwner: Int, logger: Logger
  ) throws {
    var configuration = configuration
    configuration.replica.cluster = configuration.secrets.cluster.withUnsafeBytes {
      ClusterIdentity(bytes: $0)
    }
    self.configuration = configuration
    self.loop = loop
    self.boss = boss
    self.meter = meter
    self.logger = logger
    self.meterOwner = meterOwner
    timers = TimerFactory()
    manager = EventManager(queueCapacity: 1024, timers: timers)
    var problems = configuration.replica.validate()
    if configuration.replica.durability != .none, configuration.dataFolder == nil {
      problems.append("durability \(configuration.replica.durability): expected a data folder")
    }
    if (configuration.replicaAuthentication == .tls) != (configuration.linkTLS != nil) {
      problems.append(
        "replica authentication \(configuration.replicaAuthentication): expected certificates with tls only")
    }
    guard problems.isEmpty else { throw HostError.configuration(problems) }
    guard let service = Service.make(name: configuration.service, replyBytes: configuration.replyBytes) else {
      throw HostError.configuration(["service \(configuration.service): expected one of \(Service.names)"])
    }
    guard let notary = StatementNotary(secrets: configuration.secrets) else {
      throw HostError.configuration(["a replica's public signing key is not an Ed25519 key"])
    }
    self.notary = notary
    secrets = configuration.secrets
    channelKeys = configuration.usesMACs ? ChannelKeys12(capacity: configuration.clientCapacity) : nil
    trustedKey = configuration.trustedParty.flatMap { party in
      party.key.withUnsafeBytes { VerifyingKey(party.algorithm, $0) }
    }
    unverified = UnverifiedRequests(dialect: configuration.dialect)
    waiting = WaitingRequests(perClient: configuration.pendingPerClient, dialect: configuration.dialect)
    notaryLimits = Self.limits(configuration.replica, configuration.membership)
    let folder = try configuration.dataFolder.map { path in
      try DataFolder.open(
        path: path, replica: configuration.id, cluster: configuration.secrets.cluster,
        durability: configuration.replica.durability, format: configuration.formats)
    }
    replica = Replica(
      configuration: configuration.replica, id: configuration.id, membership: configuration.membership,
      service: service, timers: timers)
    isRecovering = configuration.startsRecovering
    if folder?.earlier == .lost { isRecovering = true }
    if let folder, folder.earlier != .none, configuration.replica.durability != .none,
      let report = try DurableRecovery.read(folder, into: replica)
    {
      if !report.mayVote { isRecovering = true }
      let found =
        "state at \(report.stable.sequence.rawValue) after \(report.batchesReplayed) batches, view "
        + "\(report.view.rawValue), \(report.claims) claims"
      logger.notice("replica \(configuration.id.rawValue): \(folder.path): \(found)")
    }
    verifier = try Self.verifier(configuration, configuration.secrets, replica.membership)
    manager.setReceiver(replica)
    renewKeys()
    renewView()
    presentMembers = replica.membership.replicas
    clients = ClientChannels(configuration: configuration.channels, receiver: self)
    mesh = PeerMesh(
      own: configuration.id, membership: replica.membership, secrets: secrets,
      authentication: configuration.replicaAuthentication, security: configuration.linkTLS,
      endpoints: replicaEndpoints, loop: loop, logger: logger,
      waitingLimitBytes: configuration.peerWaitingLimitBytes, delegate: self)
    turn = TurnEnd(loop: loop) { [unowned self] in endTurn() }
    if let folder {
      files = DurableFiles(
        path: folder.path, existing: folder.segments, durability: configuration.replica.durability,
        state: Self.runningState(isRecovering, folder.earlier, configuration.replica.durability),
        growthBytes: configuration.segmentGrowthBytes, loop: loop
      ) { [unowned self] in commitEnded() }
    }
    if configuration.replica.durability == .sync { heldReplies = HeldReplies() }
  }

  private static func runningState(
    _ isRecovering: Bool, _ earlier: EarlierLife, _ durability: Durability
  ) -> RunningState {
    if isRecovering { return .lost }
    return earlier == .none && durability == .sync ? .starting : .running(durability)
  }

  static func limits(_ replica: ReplicaConfiguration, _ membership: Membership) -> StatementLimits {
    StatementLimits(
      logSize: replica.logSize, logMultiplier: replica.logMultiplier, replicas: membership.count)
  }

  static func verifier(
    _ configuration: HostConfiguration, _ secrets: ReplicaSecrets, _ membership: Membership
  ) throws -> RequestVerifier {
    var replicas = membership.replicas
    // A replica that is no member takes no request; it has a place all the same.
    if membership.position(of: configuration.id) == nil { replicas.append(configuration.id) }
    return try RequestVerifier(
      mode: configuration.signatureMode, secrets: secrets, replicas: replicas,
      clientCapacity: configuration.clientCapacity)
  }

  // MARK: Life

  /// Listens for replicas and clients and starts connecting. Fails when an address cannot be listened on, or the data
  /// folder cannot be written.
  public func start() -> EventLoopFuture<Void> {
    let replicas = Listener.open(
      configuration.replicaEndpoint, boss: boss, worker: loop, backlog: configuration.backlog,
      security: configuration.linkTLS, refused: { [self] in mesh.refused($0, from: $1) }
    ) { [self] link in mesh.accept(link) }
    return replicas.flatMap { [self] listener in
      clients.listen(
        at: configuration.clientEndpoint, boss: boss, loop: loop, backlog: configuration.backlog
      ).map { [listener, $0] }.flatMapErrorThrowing {
        listener.close()
        throw $0
      }
    }.hop(to: loop).flatMap { [self] opened in
      listeners = opened
      // An earlier life ends here: from now on it counts as having run.
      guard let files else { return loop.makeSucceededFuture(opened) }
      return files.markRunning().map { opened }.flatMapErrorThrowing { error in
        for listener in opened { listener.close() }
        throw error
      }
    }.map { [self] (_: [Listener]) in
      quorumPromise = loop.makePromise()
      allPromise = loop.makePromise()
      manager.start()
      begin()
      if isRecovering {
        say(
          .warning, "may have promised what it does not know: it follows, and abstains until that is history")
      }
      inject(.start(recovering: isRecovering))
      mesh.start()
      if !replica.isMember {
        let ids = replica.membership.replicas.map { "\($0.rawValue)" }.joined(separator: ", ")
        say(
          .notice,
          "is not in membership \(replica.membership.id) (replicas \(ids)): waits until it is added ('muster reconfigure "
            + "add')")
      }
      turn.request()
      meshPeersChanged(mesh)
    }
  }

  /// Succeeds once this replica is a member and a quorum of replicas, this one included, is connected. After `start`.
  public func quorumConnected() -> EventLoopFuture<Void> {
    loop.flatSubmit { [self] in quorumPromise?.futureResult ?? loop.makeSucceededVoidFuture() }
  }

  /// The membership in force at this replica, which may not be in it.
  public func membershipInForce() -> EventLoopFuture<Membership> {
    loop.submit { [self] in replica.membership }
  }

  /// Succeeds once every replica is connected. After `start`.
  public func allConnected() -> EventLoopFuture<Void> {
    loop.flatSubmit { [self] in allPromise?.futureResult ?? loop.makeSucceededVoidFuture() }
  }

  /// The TCP ports in use, also where 0 was asked for; nil in memory. After `start`.
  public func ports() -> EventLoopFuture<(client: Int?, replica: Int?)> {
    loop.submit { [self] in (listeners[1].port, listeners[0].port) }
  }

  /// Succeeds with the reason if the replica has to stop by itself, because its log cannot be written; fails when it is
  /// stopped.
  public func failed() -> EventLoopFuture<String> {
    loop.flatSubmit { [self] in
      if let failure { return loop.makeSucceededFuture(failure) }
      if isStopped { return loop.makeFailedFuture(ChannelError.alreadyClosed) }
      if failurePromise == nil { failurePromise = loop.makePromise() }
      return failurePromise!.futureResult
    }
  }

  /// Tells the replica that its peers are about to stop, so that it does not complain about them.
  public func expectEnd() -> EventLoopFuture<Void> {
    loop.submit { [self] in mesh.expectEnd() }
  }

  /// Closes every link and stops delivering. Idempotent. Once it has succeeded nothing on the loop needs the host.
  ///
  /// - Parameter cleanly: everything decided is on disk and the data folder says that the end was in order. Otherwise
  ///   it ends as a crash of the process would: what was not written yet is lost.
  public func stop(cleanly: Bool = true) -> EventLoopFuture<Void> {
    loop.flatSubmit { [self] () -> EventLoopFuture<Void> in
      let wasRunning = quorumPromise != nil || manager.isRunning
      guard halt() else { return loop.makeSucceededVoidFuture() }
      failurePromise?.fail(ChannelError.alreadyClosed)
      guard let files else { return loop.makeSucceededVoidFuture() }
      return files.close(cleanly: cleanly && wasRunning)
    }.flatMap { [loop] in
      // A requested end of turn and the ends of the links are queued before this.
      loop.submit {}
    }
  }

  /// Ends everything but the files; false when that has been done before.
  private func halt() -> Bool {
    guard !isStopped else { return false }
    isStopped = true
    for listener in listeners { listener.close() }
    armed?.callback.cancel()
    manager.halt()
    mesh.discardOutput()
    heldReplies?.removeAll()
    mesh.stop()
    clients.shutdown()
    quorumPromise?.fail(ChannelError.alreadyClosed)
    allPromise?.fail(ChannelError.alreadyClosed)
    quorumPromise = nil
    allPromise = nil
    return true
  }

  // MARK: Turns

  /// The instant of this turn, which the replica sees as now.
  func begin() {
    meter.enter(meterOwner)
    let now = Instant(nanoseconds: monotonicNanoseconds())
    // One expired timer at a time: a statement it makes is signed before the next event.
    var taken = 0
    while taken < 64, manager.runTurn(at: now, budget: 1) > 0 {
      taken += 1
      runEffects()
    }
  }

  func inject(_ event: Replica.Event) {
    manager.inject(event)
    runEffects()
  }

  private func endTurn() {
    guard !isStopped else { return }
    begin()
    if haveLinksChanged {
      haveLinksChanged = false
      inject(.linksChanged)
      hearPeers()
    }
    if !waiting.isEmpty { offerWaiting() }
    verifyWaiting()
    inject(.endOfTurn)
    sendOutput()
    arm()
  }

  /// Arms one callback of the reactor for the earliest deadline of all timers.
  private func arm() {
    guard let deadline = timers.earliestDeadline else { return }
    if let armed {
      if armed.instant <= deadline { return }
      armed.callback.cancel()
    }
    let due = NIODeadline.uptimeNanoseconds(UInt64(max(0, deadline.nanoseconds)))
    if let callback = try? loop.scheduleCallback(at: due, handler: DeadlineHandler(host: self)) {
      armed = (deadline, callback)
    }
  }

  fileprivate func deadlineReached() {
    armed = nil
    guard !isStopped else { return }
    begin()
    turn.request()
  }

  // MARK: Output and the disk

  /// Whether what is sent waits for the disk.
  var holdsOutput: Bool { heldReplies != nil }

  /// Sends what this turn has to say, as soon as everything it may rest on is on disk.
  private func sendOutput() {
    guard let files else {
      mesh.flush()
      clients.flush()
      return
    }
    // While a commit is under way, what comes meanwhile waits for the next one.
    guard holdsOutput else {
      mesh.flush()
      clients.flush()
      if !files.isBusy, files.hasPending { files.commit() }
      if files.pendingBytes > Self.unwrittenLimitBytes { fail("the disk does not keep up with its log") }
      return
    }
    guard !files.isBusy else {
      if mesh.heldBytes + mesh.openBytes > Self.unwrittenLimitBytes { mesh.hold() }
      return
    }
    guard files.hasPending else {
      release(bodies: mesh.heldCount, replies: heldReplies?.count ?? 0)
      mesh.flush()
      clients.flush()
      return
    }
    mesh.hold()
    covered = (mesh.heldCount, heldReplies?.count ?? 0)
    files.commit()
  }

  /// Records that wait for a disk, in bytes, beyond which the replica gives up.
  private static let unwrittenLimitBytes = 1 << 30

  private func commitEnded() {
    guard !isStopped else { return }
    if let failure = files?.failure { return fail(failure) }
    guard holdsOutput else { return turn.request() }
    meter.enter(meterOwner)
    release(bodies: covered.bodies, replies: covered.replies)
    covered = (0, 0)
    sendOutput()
  }

  private func release(bodies: Int, replies: Int) {
    mesh.release(bodies)
    heldReplies?.release(replies, to: clients)
    clients.flush()
  }

  /// The log cannot be written: nothing more is said, so that nothing that was promised can be lost.
  private func fail(_ reason: String) {
    guard halt() else { return }
    let message =
      "\(reason); replica \(configuration.id.rawValue) has stopped, and nothing it acknowledged is lost: make room or "
      + "repair the disk, then start it again"
    logger.critical("\(message)")
    _ = files?.close(cleanly: false)
    failure = message
    failurePromise?.succeed(message)
  }

  // MARK: Losses of many

  /// Remembers which peers abstain, and says so once when too many do.
  func heard(_ status: Status, from peer: ReplicaID) {
    if status.isRecovering {
      recoveringPeers.insert(peer)
    } else if !recoveringPeers.isEmpty {
      recoveringPeers.remove(peer)
    }
    let abstaining = recoveringPeers.count + (isRecovering ? 1 : 0)
    guard abstaining > 0, !hasToldLoss,
      replica.membership.count - abstaining < replica.membership.quorums.quorum
    else { return }
    hasToldLoss = true
    say(
      .error,
      "\(abstaining) of \(replica.membership.count) replicas have lost what they promised: too few are left to go on. "
        + "Restore their data folders; if the service may begin anew, remove all of them and start with --format"
    )
  }

  /// Processor time the replica has used so far.
  var cpuNanoseconds: Int64 { meter.nanoseconds(of: meterOwner) }

  /// The number of connected members has changed.
  func countPeers() {
    guard replica.isMember else { return }
    let connected = mesh.connectedPeers + 1
    if connected >= replica.membership.quorums.quorum {
      quorumPromise?.succeed()
      quorumPromise = nil
    }
    if connected == replica.membership.count {
      allPromise?.succeed()
      allPromise = nil
    }
  }
}

/// Wakes a replica when its earliest deadline has come.
private final class DeadlineHandler: NIOScheduledCallbackHandler, Sendable {
  private let host: HostedReplica

  init(host: HostedReplica) { self.host = host }

  func handleScheduledCallback(eventLoop: some EventLoop) { host.deadlineReached() }
}

/// Why a host cannot be made.
public enum HostError: Error, CustomStringConvertible {
  case configuration([String])

  public var description: String {
    switch self {
    case .configuration(let problems): problems.joined(separator: "; ")
    }
  }
}
