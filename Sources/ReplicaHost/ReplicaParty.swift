// What starts and stops a replica needs to know of it, whatever kind it is.

import NIOCore
import PBFT

/// A replica that can be run: an honest or an adversarial one.
public protocol ReplicaParty: AnyObject, Sendable {
  /// Listens for replicas and clients and starts connecting.
  func start() -> EventLoopFuture<Void>
  /// Succeeds once a quorum of replicas, this one included, is connected.
  func quorumConnected() -> EventLoopFuture<Void>
  /// Succeeds with the reason if the replica has stopped by itself; fails when it is stopped.
  func failed() -> EventLoopFuture<String>
  /// The membership in force at this replica.
  func membershipInForce() -> EventLoopFuture<Membership>
  func stop(cleanly: Bool) -> EventLoopFuture<Void>
}

extension HostedReplica: ReplicaParty {}

extension AdversarialReplica: ReplicaParty {
  public func failed() -> EventLoopFuture<String> { honest.failed() }

  public func membershipInForce() -> EventLoopFuture<Membership> { honest.membershipInForce() }
}
