// Signatures of statements by keyed hash, in place of Ed25519: a seal is a function of the signer's secret and every
// field. Adversaries seal only with their own secrets, so a seal that verifies is the signer's.

import PBFT

enum StatementSeals {
  /// What `replica` signs this statement with.
  static func seal(_ statement: Statement, by replica: ReplicaID) -> StatementSignature {
    var digest = mixed(0x6D75_7374_6572_0001, UInt64(UInt32(bitPattern: replica.rawValue)))
    switch statement {
    case .viewChange(let viewChange): absorb(viewChange, &digest)
    case .newView(let newView): absorb(newView, &digest)
    }
    var signature = StatementSignature.none
    signature.low.words = (digest, mixed(digest, 1), mixed(digest, 2), mixed(digest, 3))
    signature.high.words = (mixed(digest, 4), mixed(digest, 5), mixed(digest, 6), mixed(digest, 7))
    return signature
  }

  /// Whether every signature of the statement is that of whom it names; `signer` is the sender of the statement.
  static func isAuthentic(_ statement: SignedStatement, signer: ReplicaID) -> Bool {
    guard seal(statement.statement, by: signer) == statement.signature else { return false }
    switch statement.statement {
    case .viewChange(let viewChange): return viewChange.replica == signer
    case .newView(let newView):
      for signed in newView.viewChanges {
        let own = seal(.viewChange(signed.content), by: signed.content.replica)
        guard own == signed.signature else { return false }
      }
      return true
    }
  }

  private static func absorb(_ value: Digest, _ digest: inout UInt64) {
    digest = mixed(digest, value.words.0)
    digest = mixed(digest, value.words.1)
    digest = mixed(digest, value.words.2)
    digest = mixed(digest, value.words.3)
  }

  private static func absorb(_ checkpoint: Checkpoint, _ digest: inout UInt64) {
    digest = mixed(digest, checkpoint.sequence.rawValue)
    absorb(checkpoint.digest, &digest)
  }

  private static func absorb(_ claims: [Claim], _ digest: inout UInt64) {
    digest = mixed(digest, UInt64(claims.count))
    for claim in claims {
      digest = mixed(digest, claim.sequence.rawValue)
      digest = mixed(digest, claim.view.rawValue)
      absorb(claim.digest, &digest)
    }
  }

  private static func absorb(_ viewChange: ViewChange, _ digest: inout UInt64) {
    digest = mixed(digest, 1)
    digest = mixed(digest, viewChange.view.rawValue)
    digest = mixed(digest, UInt64(UInt32(bitPattern: viewChange.membershipID)))
    digest = mixed(digest, UInt64(UInt32(bitPattern: viewChange.replica.rawValue)))
    absorb(viewChange.stable, &digest)
    digest = mixed(digest, UInt64(viewChange.checkpoints.count))
    for checkpoint in viewChange.checkpoints { absorb(checkpoint, &digest) }
    absorb(viewChange.prepared, &digest)
    absorb(viewChange.prePrepared, &digest)
    digest = mixed(digest, UInt64(viewChange.accused.count))
    for client in viewChange.accused { digest = mixed(digest, UInt64(UInt32(bitPattern: client))) }
  }

  private static func absorb(_ newView: NewView, _ digest: inout UInt64) {
    digest = mixed(digest, 2)
    digest = mixed(digest, newView.view.rawValue)
    digest = mixed(digest, UInt64(UInt32(bitPattern: newView.membershipID)))
    digest = mixed(digest, UInt64(newView.viewChanges.count))
    for signed in newView.viewChanges {
      absorb(signed.content, &digest)
      absorb(signed.signature.low, &digest)
      absorb(signed.signature.high, &digest)
    }
    absorb(newView.start, &digest)
    digest = mixed(digest, UInt64(newView.digests.count))
    for chosen in newView.digests { absorb(chosen, &digest) }
  }
}
