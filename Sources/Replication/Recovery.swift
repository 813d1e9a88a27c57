// Beginning again from the durable log (decision record 18): the base's state, the batches executed since,
// and the claims above the last stable checkpoint.
//
// Kept true here: whatever the log's bytes are, the state installed has a certified digest, and a replica
// whose log is not known to be whole starts as recovering; so it never gives a second, different vote.

import Hashing
import PBFT

/// What `recover` found.
public struct RecoveryReport: Hashable, Sendable {
  /// Whether all of the own votes are known; else the replica starts with `recovering`.
  public var mayVote: Bool
  /// The state at hand.
  public var stable: Checkpoint
  public var view: View
  /// Batches executed again, and claims above the stable checkpoint.
  public var batchesReplayed: Int
  public var claims: Int
}

/// What the records of a segment say.
private struct DurableContent {
  var isRecovering = false
  var checkpoint = Checkpoint(sequence: .zero, digest: .zero)
  var view = View.zero
  var isActive = true
  var newView: SignedStatement?
  var state: [UInt8] = []
  /// Where the batch with this digest is.
  var batches: [Digest: (offset: Int, count: Int)] = [:]
  var claims: [(claim: Claim, isPrepared: Bool)] = []
  var executed: [SequenceNumber: Digest] = [:]
  var stable: [Checkpoint] = []
  var checkpoints: [Checkpoint] = []
}

/// What was executed again.
private struct ReplayedLog {
  var count = 0
  /// Above the last stable checkpoint.
  var decisions: [OrderingState.Decision] = []
  var checkpoints: [Checkpoint] = []
}

extension Replica {
  /// Takes up what the log says. Before `.start`, which is given `recovering: !report.mayVote` or true.
  /// Precondition: the replica is fresh and not started.
  public func recover(from scan: DurableScan) -> RecoveryReport {
    precondition(!isStarted && lastExecuted == .zero, "a fresh replica recovers")
    log.continueAfter(segment: scan.highestSegment)
    var mayVote = scan.verdict == .clean
    var replayed = 0
    var claims = 0
    scan.bytes.withUnsafeBytes { bytes in
      guard let content = read(scan, bytes) else {
        if scan.verdict != .empty { mayVote = false }
        return
      }
      if content.isRecovering { mayVote = false }
      guard installBase(content) else {
        mayVote = false
        return
      }
      let membershipOfBase = membership.id
      var replayedLog = replay(content, bytes)
      if replayedLog == nil {
        mayVote = false
        for handle in batches.handles { discard(handle) }
        guard installBase(content) else { preconditionFailure("a base is read twice alike") }
      }
      // A membership that has just begun has nothing of the one before.
      if membership.id != membershipOfBase {
        replayedLog = nil
      } else {
        claims = restore(content, replayedLog ?? ReplayedLog(), bytes)
      }
      replayed = replayedLog?.count ?? 0
    }
    if scan.verdict == .empty { mayVote = true }
    outbox.removeAll()
    arena.removeAll()
    log.continueAfter(segment: scan.highestSegment)
    return RecoveryReport(
      mayVote: mayVote, stable: snapshots.checkpoint, view: core.view, batchesReplayed: replayed,
      claims: claims)
  }

  /// nil when there is no base of this replica and cluster.
  private func read(_ scan: DurableScan, _ bytes: UnsafeRawBufferPointer) -> DurableContent? {
    var content = DurableContent()
    let limits = StatementLimits(
      logSize: configuration.logSize, logMultiplier: configuration.logMultiplier,
      replicas: Quorums.maximumReplicas)
    for record in scan.records {
      let payload = UnsafeRawBufferPointer(rebasing: bytes[record.offset..<(record.offset + record.count)])
      var reader = ByteReader(payload)
      switch record.kind {
      case .base:
        guard reader.integer(UInt64.self) == configuration.cluster.high,
          reader.integer(UInt64.self) == configuration.cluster.low,
          reader.integer(Int32.self) == id.rawValue, let recovering = reader.integer(UInt8.self),
          let checkpoint = reader.checkpoint(), let view = reader.integer(UInt64.self),
          let isActive = reader.integer(UInt8.self), let count = reader.integer(UInt32.self),
          let newView = reader.take(Int(count)), reader.isAtEnd
        else { return nil }
        content.isRecovering = recovering != 0
        content.checkpoint = checkpoint
        content.view = View(view)
        content.isActive = isActive != 0
        if count > 0 {
          guard let statement = try? StatementCoding.decode(newView, limits: limits) else { return nil }
          content.newView = statement
        }
      case .state: content.state.append(contentsOf: payload)
      case .baseEnd, .rotated: break
      case .batch:
        guard let digest = reader.digest() else { return nil }
        content.batches[digest] = (record.offset, record.count)
      case .prePrepared, .prepared:
        guard let sequence = reader.integer(UInt64.self), let view = reader.integer(UInt64.self),
          let digest = reader.digest()
        else { return nil }
        let claim = Claim(sequence: SequenceNumber(sequence), digest: digest, view: View(view))
        content.claims.append((claim, record.kind == .prepared))
      case .viewLeft:
        guard let view = reader.integer(UInt64.self) else { return nil }
        content.view = View(view)
        content.isActive = false
      case .viewEntered:
        guard let statement = try? StatementCoding.decode(payload, limits: limits),
          case .newView(let newView) = statement.statement
        else { return nil }
        content.view = newView.view
        content.isActive = true
        content.newView = statement
      case .executed:
        guard let sequence = reader.integer(UInt64.self), let digest = reader.digest() else { return nil }
        content.executed[SequenceNumber(sequence)] = digest
      case .stable:
        guard let checkpoint = reader.checkpoint() else { return nil }
        content.stable.append(checkpoint)
      case .checkpoint:
        guard let checkpoint = reader.checkpoint() else { return nil }
        content.checkpoints.append(checkpoint)
      case .recovered: content.isRecovering = false
      }
    }
    return scan.records.isEmpty ? nil : content
  }

  private func installBase(_ content: DurableContent) -> Bool {
    let read = content.state.withUnsafeBytes { bytes -> (StateHeader, ClientTable)? in
      guard let (header, byteCount) = StateCoding.header(bytes, service: service),
        header.checkpoint == content.checkpoint,
        let table = StateCoding.table(
          bytes, from: byteCount, header, maximumClients: configuration.maximumClients)
      else { return nil }
      return (header, table)
    }
    guard let (header, table) = read else { return false }
    install(header, table)
    if header.membership != membership { adopt(header.outcome) }
    return true
  }

  /// The membership of a state at hand, before anything has started.
  private func adopt(_ outcome: MembershipOutcome) {
    let other = outcome.membership
    membership = other
    addresses = outcome.addresses
    vouched = Array(repeating: Checkpoint(sequence: .zero, digest: .zero), count: other.count)
    isMember = other.position(of: id) != nil
    guard isMember else { return }
    core = OrderingCore(
      configuration: configuration.ordering, id: id, membership: other, stable: snapshots.checkpoint)
  }

  /// Executes again what was executed, as far as it is known without gaps; nil when the last stable
  /// checkpoint is not reached, or has another state, or an own one above it has.
  private func replay(_ content: DurableContent, _ bytes: UnsafeRawBufferPointer) -> ReplayedLog? {
    var log = ReplayedLog()
    let target = content.stable.last ?? content.checkpoint
    var own: [SequenceNumber: Digest] = [:]
    for checkpoint in content.checkpoints { own[checkpoint.sequence] = checkpoint.digest }
    let bound =
      max(target.sequence.rawValue, content.checkpoint.sequence.rawValue) + UInt64(configuration.logSize)
    while nextMembership == nil, lastExecuted.rawValue < bound {
      let next = SequenceNumber(lastExecuted.rawValue + 1)
      guard let digest = content.executed[next] else { break }
      var batch = BatchHandle.none
      if digest != .zero {
        guard let place = content.batches[digest], let held = intern(place, bytes, digest) else { break }
        batch = held
      }
      execute(next, view: .zero, digest: digest, batch: batch)
      outbox.removeAll()
      arena.removeAll()
      log.count += 1
      if next > target.sequence {
        log.decisions.append(
          OrderingState.Decision(
            sequence: next, digest: digest, batch: batch,
            isReconfiguration: batch != .none && isReconfiguration(batch)))
        // A checkpoint was taken here, whether or not its record is there.
        guard
          next.rawValue % UInt64(configuration.checkpointPeriod) == 0
            || batch != .none && isReconfiguration(batch)
        else { continue }
        let header = presentHeader(changes: snapshots.changes)
        let checkpoint = header.checkpoint
        guard own[next] ?? checkpoint.digest == checkpoint.digest else { return nil }
        snapshots.taken(header, checkpoint)
        log.checkpoints.append(checkpoint)
        continue
      }
      if batch != .none { discard(batch) }
      if next == target.sequence, !beginImage(at: target) { return nil }
    }
    return lastExecuted >= target.sequence ? log : nil
  }

  /// The present state becomes the stable one, if it is that of the checkpoint.
  private func beginImage(at target: Checkpoint) -> Bool {
    let header = presentHeader(changes: nil)
    guard header.checkpoint == target else { return false }
    table.forgetChanges()
    install(header, table)
    if header.membership != membership { adopt(header.outcome) }
    return true
  }

  /// A batch of the log into the pool; nil when it is not what its digest says.
  private func intern(
    _ place: (offset: Int, count: Int), _ bytes: UnsafeRawBufferPointer, _ digest: Digest
  ) -> BatchHandle? {
    var reader = ByteReader(
      UnsafeRawBufferPointer(rebasing: bytes[place.offset..<(place.offset + place.count)]))
    guard reader.digest() == digest, let count = reader.integer(UInt32.self) else { return nil }
    beginBatch(fetched: true)
    for _ in 0..<count {
      guard let client = reader.integer(Int32.self), let session = reader.integer(Int32.self),
        let sequence = reader.integer(Int32.self), let operationID = reader.integer(Int32.self),
        let replyServer = reader.integer(Int32.self), let membershipID = reader.integer(Int32.self),
        let contentOffset = reader.integer(Int32.self),
        let kind = reader.integer(UInt8.self).flatMap(RequestKind.init(rawValue:)),
        let dataCount = reader.integer(UInt32.self), let authenticatorCount = reader.integer(UInt32.self),
        let data = reader.take(Int(dataCount)), let authenticator = reader.take(Int(authenticatorCount)),
        contentOffset >= 0, Int(contentOffset) <= data.count,
        appendToBatch(
          ArrivedRequest(
            client: client, session: session, sequence: sequence, operationID: operationID, kind: kind,
            replyServer: replyServer, membershipID: membershipID, digest: .sha256(data), data: data,
            contentOffset: Int(contentOffset), authenticator: authenticator, connection: .none))
      else {
        abandonBatch()
        return nil
      }
    }
    let batch = finishBatch()
    guard batch.digest == digest else {
      discard(batch.handle)
      return nil
    }
    return batch.handle
  }

  /// Gives the core its view and its claims above the stable checkpoint.
  private func restore(
    _ content: DurableContent, _ replayed: ReplayedLog, _ bytes: UnsafeRawBufferPointer
  ) -> Int {
    guard isMember else { return 0 }
    let stable = snapshots.checkpoint
    var state = OrderingState(
      view: content.view, isActive: content.isActive, newView: content.newView, stable: stable,
      decisions: replayed.decisions, checkpoints: replayed.checkpoints)
    var carried: Set<Claim> = []
    for (claim, isPrepared) in content.claims where claim.sequence > stable.sequence {
      guard claim.sequence.rawValue - stable.sequence.rawValue <= UInt64(configuration.logSize),
        claim.view <= content.view
      else { continue }
      var batch = BatchHandle.none
      let key = Claim(sequence: claim.sequence, digest: claim.digest, view: .zero)
      if claim.digest != .zero, !carried.contains(key), let place = content.batches[claim.digest],
        let held = intern(place, bytes, claim.digest)
      {
        batch = held
        carried.insert(key)
      }
      state.entries.append(
        OrderingState.Entry(
          claim: claim, isPrepared: isPrepared, batch: batch,
          isReconfiguration: batch != .none && isReconfiguration(batch)))
    }
    core.restore(state)
    runOrdering()
    return state.entries.count
  }
}
