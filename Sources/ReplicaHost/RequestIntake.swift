// Requests and batches as they come: judged once for authenticity, and given to the pure replica. A batch that the replica
// asked for by its digest is not judged at all: its digest has been agreed on.

import Glibc
import Hashing
import PBFT
import Replication
import Wire

extension HostedReplica {
  /// Judges a request's authenticity once and gives it to the replica.
  func accept(_ frame: ClientFrameView, kind: RequestKind, connection: ConnectionID) {
    let isForwarded = connection == .none
    let screening = replica.screen(
      client: frame.client, session: frame.session, sequence: frame.sequence, kind: kind,
      forwarded: isForwarded)
    switch screening {
    case .executed:
      inject(.request(arrived(frame, kind: kind, digest: .zero, connection: connection)))
    case .stored(let slot) where isSame(replica.data(of: slot), frame.data):
      inject(.resent(slot, connection: connection))
    case .stored, .refused:
      // Held under this sequence is another request, or none is taken: counted, and told by nothing but that.
      counters.refusedRequests += 1
    case .unknown:
      guard let digest = verified(frame) else { return }
      inject(.request(arrived(frame, kind: kind, digest: digest, connection: connection)))
    }
  }

  @inline(__always)
  private func isSame(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
    left.count == right.count && memcmp(left.baseAddress!, right.baseAddress!, left.count) == 0
  }

  /// The request's digest, if what it carries proves its client.
  private func verified(_ frame: ClientFrameView) -> Digest? {
    let digest = Digest.sha256(frame.data)
    counters.verifications += 1
    let verdict = verifier.verify(
      data: frame.data, digest: digest, authenticator: frame.signature, client: frame.client)
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
      data: frame.data, contentOffset: ClientFrame.contentOffset, authenticator: frame.signature,
      connection: connection)
  }

  /// Interns the batch of a pre-prepare, verifying what is not already held byte for byte, and processes it.
  func accept(_ message: LinkPrePrepare, from peer: ReplicaID) {
    replica.beginBatch()
    var requests = message.requests
    while let request = requests.next() {
      let frame = request.message
      let isAppended: Bool
      if let slot = replica.storedRequest(
        client: frame.client, session: frame.session, sequence: frame.sequence),
        isSame(replica.data(of: slot), frame.data)
      {
        isAppended = replica.appendToBatch(slot)
      } else {
        guard let kind = RequestKind(rawValue: frame.kind) else { return rejectBatch(.malformed, peer) }
        guard let digest = verified(frame) else {
          return rejectUnauthentic(message, frame.client, others: requests, peer)
        }
        isAppended = replica.appendToBatch(arrived(frame, kind: kind, digest: digest, connection: .none))
      }
      guard isAppended else { return rejectBatch(.batchTooLarge, peer) }
    }
    let batch = replica.finishBatch()
    inject(.prePrepare(message.prePrepare(batch: batch.handle), from: peer))
  }

  /// The primary has proposed what a client cannot be shown to have sent. A signature is valid for all or for nobody, so
  /// only the primary can be at fault; tags may be good at the primary and bad here, and then every client of the batch
  /// with such a request is named (decision record 10).
  private func rejectUnauthentic(
    _ message: LinkPrePrepare, _ client: Int32, others: LinkRequests, _ peer: ReplicaID
  ) {
    rejectBatch(.badAuthenticator, peer)
    guard configuration.signatureMode == .hmac else { return }
    inject(.accuse(client: client, view: message.view, sequence: message.sequence, from: peer))
    for request in others {
      let frame = request.message
      if let slot = replica.storedRequest(
        client: frame.client, session: frame.session, sequence: frame.sequence),
        isSame(replica.data(of: slot), frame.data)
      {
        continue
      }
      if verified(frame) == nil {
        inject(.accuse(client: frame.client, view: message.view, sequence: message.sequence, from: peer))
      }
    }
  }

  /// Interns a batch that was asked for by its digest; whose requests they are has been agreed on.
  func accept(_ message: LinkBatch, from peer: ReplicaID) {
    replica.beginBatch(fetched: true)
    var requests = message.requests
    while let request = requests.next() {
      let frame = request.message
      guard let kind = RequestKind(rawValue: frame.kind) else { return rejectBatch(.malformed, peer) }
      let digest = Digest.sha256(frame.data)
      guard replica.appendToBatch(arrived(frame, kind: kind, digest: digest, connection: .none)) else {
        return rejectBatch(.batchTooLarge, peer)
      }
    }
    let batch = replica.finishBatch()
    inject(.fetchedBatch(message.digest, batch.handle, from: peer))
  }

  private func rejectBatch(_ rejection: Rejection, _ peer: ReplicaID) {
    replica.abandonBatch()
    counters.rejectedBatches += 1
    inject(.invalid(rejection, from: peer))
  }
}
