// Requests and batches as they come: judged once for authenticity, and given to the pure replica. A batch that the replica
// asked for by its digest is not judged at all: its digest has been agreed on.

import Channels
import Glibc
import Hashing
import PBFT
import Replication
import Wire

extension HostedReplica {
  /// Judges a request's authenticity once and gives it to the replica. `forwarder`: the peer that has passed it on;
  /// `isItsTurn`: it has waited for its signature to be verified.
  func accept(
    _ frame: ClientFrameView, kind: RequestKind, connection: ConnectionID, forwarder: ReplicaID? = nil,
    isItsTurn: Bool = false
  ) {
    let screening = replica.screen(
      client: frame.client, session: frame.session, sequence: frame.sequence, kind: kind,
      forwarded: forwarder != nil, countsLimits: false)
    switch screening {
    case .executed:
      inject(.request(arrived(frame, kind: kind, digest: .zero, connection: connection)))
    case .stored(let slot) where isSame(replica.data(of: slot), frame.data):
      inject(.resent(slot, connection: connection))
    case .refused(let refusal) where refusal == .clientQuota || refusal == .tooFarAhead:
      wait(frame, connection, otherwise: refusal)
    case .unknown where isAhead(frame, kind) && connection != .none:
      wait(frame, connection, otherwise: .membershipAhead)
    case .stored, .refused:
      // Held under this sequence is another request, or none is taken: counted, and told by nothing but that.
      counters.refusedRequests += 1
    case .unknown:
      if forwarder == nil, configuration.signatureMode.isSlowToVerify {
        guard isItsTurn || unverified.isEmpty && unverified.share > 0 else {
          return waitForVerification(frame, connection)
        }
        unverified.share -= 1
      }
      guard let digest = verified(frame) ?? vouched(frame, forwarder) else { return }
      inject(.request(arrived(frame, kind: kind, digest: digest, connection: connection)))
    }
  }

  private func waitForVerification(_ frame: ClientFrameView, _ connection: ConnectionID) {
    if !unverified.append(frame, connection, now: monotonicNanoseconds()) { counters.shedRequests += 1 }
  }

  /// Verifies a turn's share of what waits for it. What is older than the request timeout, nobody waits for.
  func verifyWaiting() {
    let timeout = configuration.replica.requestTimeoutNanoseconds
    let oldest = timeout > 0 ? monotonicNanoseconds() - timeout : .min
    while !unverified.isEmpty, unverified.share > 0 {
      let dropped = unverified.takeNext(notBefore: oldest) { frame, connection in
        guard let kind = RequestKind(rawValue: frame.kind) else { return }
        accept(frame, kind: kind, connection: connection, isItsTurn: true)
      }
      counters.shedRequests += UInt64(dropped)
    }
    unverified.share = UnverifiedRequests.perTurn
    if !unverified.isEmpty { turn.request() }
  }

  /// Whether the client knows a newer membership than this replica, which may be about to change to it.
  private func isAhead(_ frame: ClientFrameView, _ kind: RequestKind) -> Bool {
    kind.isOrdered && frame.membershipID > replica.membership.id
  }

  private func wait(_ frame: ClientFrameView, _ connection: ConnectionID, otherwise refusal: Refusal) {
    guard connection != .none, waiting.keep(frame, connection) else {
      counters.refusedRequests += 1
      return replica.count(refusal)
    }
    counters.waitingRequests += 1
  }

  /// Gives the replica what waits, as far as it takes it now.
  func offerWaiting() {
    if clients.closedConnections != closedConnectionsSeen {
      closedConnectionsSeen = clients.closedConnections
      waiting.forget { clients.isOpen($0) }
    }
    guard hasExecuted else { return }
    hasExecuted = false
    waiting.offer { frame, connection, isInBatch in
      guard let kind = RequestKind(rawValue: frame.kind) else { return true }
      let screening = replica.screen(
        client: frame.client, session: frame.session, sequence: frame.sequence, kind: kind,
        countsLimits: false)
      switch screening {
      case .refused(.clientQuota), .refused(.tooFarAhead): return false
      case .refused: counters.refusedRequests += 1
      case .executed where isInBatch: break
      case .unknown where isAhead(frame, kind): return false
      case .unknown, .stored, .executed: accept(frame, kind: kind, connection: connection)
      }
      return true
    }
  }

  /// Whether the request carries the MAC of its client and this replica, where the dialect has such; counted if not.
  func hasAuthenticMAC(_ frame: ClientFrameView) -> Bool {
    guard let channelKeys else { return true }
    if channelKeys.isAuthentic(
      frame.mac, of: frame.data, client: frame.client, replica: configuration.id.rawValue)
    {
      return true
    }
    counters.rejectedMACs += 1
    return false
  }

  /// The digest of a request whose tag is not valid here, if f+1 peers have passed it on: one of them is correct and has
  /// found its own tag valid (decision record 57).
  private func vouched(_ frame: ClientFrameView, _ forwarder: ReplicaID?) -> Digest? {
    guard let forwarder, configuration.signatureMode == .hmac else { return nil }
    let digest = Digest.sha256(frame.data)
    return replica.isVouched(digest, by: forwarder) ? digest : nil
  }

  @inline(__always)
  private func isSame(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
    left.count == right.count && memcmp(left.baseAddress!, right.baseAddress!, left.count) == 0
  }

  /// The request's digest, if what it carries proves its client.
  private func verified(_ frame: ClientFrameView) -> Digest? {
    let digest = Digest.sha256(frame.data)
    counters.verifications += 1
    if frame.kind == RequestKind.reconfigure.rawValue {
      let trusted = isFromTrustedParty(frame)
      if !trusted.isSigned { counters.rejectedAuthenticators += 1 }
      guard trusted.isSigned, !trusted.isBound else { return trusted.isSigned ? digest : nil }
    }
    let verdict = counters.verification.measure {
      verifier.verify(
        data: frame.data, digest: digest, authenticator: frame.signature, client: frame.client)
    }
    guard verdict == .authentic else {
      counters.rejectedAuthenticators += 1
      return nil
    }
    return digest
  }

  @inline(__always)
  private func arrived(
    _ frame: ClientFrameView, kind: RequestKind, digest: Digest, connection: ConnectionID
  ) -> ArrivedRequest {
    ArrivedRequest(
      client: frame.client, session: frame.session, sequence: frame.sequence, operationID: frame.operationID,
      kind: kind, replyServer: frame.replyServer, membershipID: frame.membershipID, digest: digest,
      data: frame.data, contentOffset: frame.contentOffset, authenticator: frame.signature,
      connection: connection)
  }

  /// Interns the batch of a pre-prepare, verifying what is not already held byte for byte, and processes it.
  func accept(_ message: LinkPrePrepare, from peer: ReplicaID) {
    replica.beginBatch()
    var requests = message.requests
    while let request = requests.next() {
      let frame = request.message
      let isAppended: Bool
      if let slot = heldSlot(frame) {
        isAppended = replica.appendToBatch(slot)
      } else {
        guard let kind = RequestKind(rawValue: frame.kind) else { return rejectBatch(.malformed, peer) }
        guard let digest = verified(frame) else {
          replica.abandonBatch()
          counters.rejectedBatches += 1
          return refuse(message, accusing: frame.client, others: requests, from: peer)
        }
        isAppended = replica.appendToBatch(
          arrived(frame, kind: kind, digest: digest, connection: waiting.connection(of: frame)))
      }
      guard isAppended else { return rejectBatch(.batchTooLarge, peer) }
    }
    let batch = replica.finishBatch()
    inject(.prePrepare(message.prePrepare(batch: batch.handle), from: peer))
  }

  /// The request with exactly these bytes that waits here.
  @inline(__always)
  private func heldSlot(_ frame: ClientFrameView) -> RequestSlot? {
    guard
      let slot = replica.storedRequest(
        client: frame.client, session: frame.session, sequence: frame.sequence),
      isSame(replica.data(of: slot), frame.data)
    else { return nil }
    return slot
  }

  /// The primary has proposed what a client cannot be shown to have sent. A signature is valid for all or for nobody, so
  /// only the primary can be at fault; tags may be good elsewhere and bad here: then the batch is kept aside, for f+1
  /// replicas may stand by it, and every client of it with such a tag is named (decision records 10 and 57).
  private func refuse(
    _ message: LinkPrePrepare, accusing client: Int32, others: LinkRequests, from peer: ReplicaID
  ) {
    guard configuration.signatureMode == .hmac else { return inject(.invalid(.badAuthenticator, from: peer)) }
    var accused = [client]
    for request in others where heldSlot(request.message) == nil {
      let frame = request.message
      if !accused.contains(frame.client), verified(frame) == nil { accused.append(frame.client) }
    }
    if let batch = intern(message.requests, from: peer) {
      inject(.prePrepareRefused(message.prePrepare(batch: batch), from: peer))
    }
    for client in accused {
      inject(.accuse(client: client, view: message.view, sequence: message.sequence, from: peer))
    }
  }

  /// A batch of requests that nobody here need have found authentic; nil when it is no batch or too large.
  private func intern(_ requests: LinkRequests, from peer: ReplicaID) -> BatchHandle? {
    replica.beginBatch(fetched: true)
    for request in requests {
      let frame = request.message
      guard let kind = RequestKind(rawValue: frame.kind) else {
        rejectBatch(.malformed, peer)
        return nil
      }
      let isAppended: Bool
      if let slot = heldSlot(frame) {
        isAppended = replica.appendToBatch(slot)
      } else {
        let digest = Digest.sha256(frame.data)
        isAppended = replica.appendToBatch(
          arrived(frame, kind: kind, digest: digest, connection: waiting.connection(of: frame)))
      }
      guard isAppended else {
        rejectBatch(.batchTooLarge, peer)
        return nil
      }
    }
    return replica.finishBatch().handle
  }

  /// Interns a batch that was asked for by its digest; whose requests they are has been agreed on.
  func accept(_ message: LinkBatch, from peer: ReplicaID) {
    guard let batch = intern(message.requests, from: peer) else { return }
    inject(.fetchedBatch(message.digest, batch, from: peer))
  }

  private func rejectBatch(_ rejection: Rejection, _ peer: ReplicaID) {
    replica.abandonBatch()
    counters.rejectedBatches += 1
    inject(.invalid(rejection, from: peer))
  }
}
