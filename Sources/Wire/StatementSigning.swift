// Signing and verifying the statements of a view change with the replicas' Ed25519 keys. A new view is authentic only
// with every view change it relays. What has been verified once is not verified again: most view changes inside a new
// view have come directly before.

import Crypto
import Foundation
import Hashing
import PBFT

/// What verification has cost and refused.
public struct StatementCounters: Hashable, Sendable {
  public var signed: UInt64 = 0
  /// Ed25519 verifications made.
  public var verifications: UInt64 = 0
  /// Signatures known to be good from before.
  public var remembered: UInt64 = 0
  public var rejected: UInt64 = 0

  public init() {}
}

/// One replica's hand and eye for statements. Belongs to its replica's thread.
public final class StatementNotary {
  /// Signatures remembered as good.
  static let rememberedCount = 256

  public private(set) var counters = StatementCounters()

  private let cluster: ClusterID
  private let signingKey: Curve25519.Signing.PrivateKey
  private var keys: [(replica: ReplicaID, key: Curve25519.Signing.PublicKey)]
  /// Digests over statement and signature; a ring.
  private var remembered: [PBFT.Digest] = []
  private var nextRemembered = 0

  /// nil when a replica's public signing key is no key.
  public init?(secrets: ReplicaSecrets) {
    cluster = secrets.cluster
    signingKey = secrets.signingKey
    keys = []
    for replica in secrets.replicas {
      guard let key = try? Curve25519.Signing.PublicKey(rawRepresentation: replica.signing) else {
        return nil
      }
      keys.append((replica.replica, key))
    }
  }

  /// Takes the public keys of replicas that are not known yet; what is no key is left out.
  public func renew(_ secrets: ReplicaSecrets) {
    for replica in secrets.replicas where !keys.contains(where: { $0.replica == replica.replica }) {
      guard let key = try? Curve25519.Signing.PublicKey(rawRepresentation: replica.signing) else { continue }
      keys.append((replica.replica, key))
    }
  }

  /// Signs with the own key. Deterministic as Ed25519 is specified; a library may add randomness, which no
  /// verifier sees.
  public func sign(_ statement: Statement) -> StatementSignature {
    counters.signed += 1
    let bytes = cluster.withUnsafeBytes { StatementCoding.signedBytes(of: statement, cluster: $0) }
    // Fails only without memory.
    let signature = try! signingKey.signature(for: bytes)
    return signature.withUnsafeBytes { StatementSignature(bytes: $0) }
  }

  /// Whether every signature in the statement is its replica's: a view change's own, a new view's by `primary`, and
  /// those of all view changes in it. Cheap checks come first: a new view with two view changes of one replica, or
  /// of another view than its own, costs no verification.
  public func isAuthentic(_ statement: SignedStatement, newViewBy primary: ReplicaID?) -> Bool {
    let verdict = judge(statement, primary)
    if !verdict { counters.rejected += 1 }
    return verdict
  }

  private func judge(_ statement: SignedStatement, _ primary: ReplicaID?) -> Bool {
    switch statement.statement {
    case .viewChange(let viewChange):
      return verify(statement.statement, statement.signature, by: viewChange.replica)
    case .newView(let newView):
      guard let primary else { return false }
      for index in newView.viewChanges.indices {
        let content = newView.viewChanges[index].content
        guard content.view == newView.view, content.membershipID == newView.membershipID else { return false }
        guard index == 0 || newView.viewChanges[index - 1].content.replica < content.replica else {
          return false
        }
      }
      guard verify(statement.statement, statement.signature, by: primary) else { return false }
      return newView.viewChanges.allSatisfy {
        verify(.viewChange($0.content), $0.signature, by: $0.content.replica)
      }
    }
  }

  private func verify(_ statement: Statement, _ signature: StatementSignature, by replica: ReplicaID) -> Bool
  {
    guard let key = keys.first(where: { $0.replica == replica })?.key else { return false }
    let bytes = cluster.withUnsafeBytes { StatementCoding.signedBytes(of: statement, cluster: $0) }
    var hasher = SHA256Hasher()
    bytes.withUnsafeBytes { hasher.update($0) }
    hasher.update(signature.low)
    hasher.update(signature.high)
    withUnsafeBytes(of: replica.rawValue) { hasher.update($0) }
    let name = hasher.finalize()
    if remembered.contains(name) {
      counters.remembered += 1
      return true
    }
    counters.verifications += 1
    guard signature.withUnsafeBytes({ key.isValidSignature(Data($0), for: bytes) }) else { return false }
    if remembered.count < Self.rememberedCount {
      remembered.append(name)
    } else {
      remembered[nextRemembered] = name
      nextRemembered = (nextRemembered + 1) % Self.rememberedCount
    }
    return true
  }
}

extension StatementSignature {
  /// Reads 64 bytes. Precondition: they are there.
  public init(bytes: UnsafeRawBufferPointer) {
    self.init(
      low: PBFT.Digest(bytes: UnsafeRawBufferPointer(rebasing: bytes[..<32])),
      high: PBFT.Digest(bytes: UnsafeRawBufferPointer(rebasing: bytes[32..<64])))
  }

  public func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    try Swift.withUnsafeBytes(of: (low.words, high.words), body)
  }
}
