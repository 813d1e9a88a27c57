// What the host does about memberships: it says to clients who the members are, follows a new one with links and keys,
// stores it, and judges who may ask for one.
//
// Kept true here: every replica writes the same bytes for the same membership, as long as their hosts.config name the
// members alike, because clients compare them; a RECONFIG reaches the pure replica only with the trusted party's signature.

import Channels
import Logging
import NIOCore
import PBFT
import Replication
import Wire

/// Who may change the membership, and how that is proved (BFT-SMaRt's TTP, `system.ttp.id`).
public struct TrustedParty: Sendable {
  public var id: Int32
  public var algorithm: SignatureAlgorithm
  /// As `VerifyingKey` takes it.
  public var key: [UInt8]

  public init(id: Int32, algorithm: SignatureAlgorithm, key: [UInt8]) {
    self.id = id
    self.algorithm = algorithm
    self.key = key
  }
}

/// What a replica knows of the membership in force (BFT-SMaRt's `ServerViewController`).
public struct CurrentView: Sendable {
  /// Ids, f and quorums.
  public let membership: Membership
  /// The members but this replica.
  public let others: [ReplicaID]
  /// Who was new in it; empty for one that was there when this process began.
  public let lastJoined: [ReplicaID]
  /// Whether this replica is in it.
  public let isMember: Bool
  /// As clients are told it.
  public let view: SerializedView
}

extension HostedReplica {
  /// What is known of the membership in force.
  public func currentView() -> EventLoopFuture<CurrentView> {
    loop.submit { [self] in
      CurrentView(
        membership: replica.membership,
        others: replica.membership.replicas.filter { $0 != configuration.id }, lastJoined: lastJoined,
        isMember: replica.isMember, view: presentView())
    }
  }

  // MARK: Views for clients

  /// The membership in force with its addresses: what a RECONFIG has stated, else what the configuration says. A member of
  /// whom neither says anything is at `unknown`, port 0.
  func serializedView(
    id: Int32, faults: Int, replicas: [ReplicaID], stated: [MemberAddress]
  ) -> SerializedView {
    let addresses = replicas.map { replica -> SerializedView.Address in
      let known = address(of: replica, stated: stated)
      return SerializedView.Address(
        replica: replica, host: known?.host ?? "unknown", port: known?.clientPort ?? 0)!
    }
    return SerializedView(id: id, faults: Int32(faults), addresses: addresses)!
  }

  private func address(of replica: ReplicaID, stated: [MemberAddress]) -> MemberAddress? {
    stated.first { $0.replica == replica }
      ?? configuration.memberAddresses.first { $0.replica == replica }
  }

  func renewView() {
    viewBytes = presentView().encoded
    viewID = replica.membership.id
  }

  func presentView() -> SerializedView {
    serializedView(
      id: replica.membership.id, faults: replica.membership.faults, replicas: replica.membership.replicas,
      stated: replica.addresses)
  }

  /// BFT-SMaRt's answer to a RECONFIG. The leader is the first of the members, who is primary of the first view of a
  /// membership; so all replicas answer alike.
  func reconfigurationReply(_ content: UnsafeRawBufferPointer) -> [UInt8] {
    guard let result = ReconfigurationResult(content) else {
      preconditionFailure("the pure replica has encoded the result")
    }
    let view = serializedView(
      id: result.id, faults: result.faults, replicas: result.replicas, stated: result.addresses)
    return ReconfigureReply(
      view: view, sequence: Int32(truncatingIfNeeded: result.sequence.rawValue),
      leader: result.replicas[0].rawValue,
      joined: result.joined.compactMap { joined in
        result.addresses.first { $0.replica == joined }?.text
      }
    ).encoded
  }

  // MARK: Who may reconfigure

  /// Whether a RECONFIG carries the trusted party's signature. One that names the membership it changes cannot be sent
  /// again by somebody else, and needs nothing besides; BFT-SMaRt's own names none, and is authenticated like any request
  /// as well.
  func isFromTrustedParty(_ frame: ClientFrameView) -> (isSigned: Bool, isBound: Bool) {
    guard let party = configuration.trustedParty, frame.client == party.id, let key = trustedKey,
      let content = frame.content, let request = ReconfigureRequest(decoding: content),
      request.sender == party.id, key.isAuthentic(request.signature, of: request.signedText)
    else { return (false, false) }
    return (true, request.values[.membership] != nil)
  }

  // MARK: A new membership

  func membershipDecided() { membershipDecidedAt = monotonicNanoseconds() }

  func membershipChanged() {
    let membership = replica.membership
    let decided = membershipDecidedAt
    membershipDecidedAt = nil
    let now = monotonicNanoseconds()
    lastJoined = membership.replicas.filter { !presentMembers.contains($0) }
    presentMembers = membership.replicas
    note(.membershipChanged(membership, tookNanoseconds: decided.map { now - $0 }))
    let ids = membership.replicas.map { "\($0.rawValue)" }.joined(separator: ", ")
    let role = replica.isMember ? "" : "; this replica is no member"
    say(.notice, "membership \(membership.id): replicas \(ids), f = \(membership.faults)\(role)")
    // What was said before is of the membership before.
    if holdsOutput { mesh.hold() } else { mesh.flush() }
    renewKeys()
    mesh.adopt(membership, endpoints: replicaEndpoints, secrets: secrets)
    notaryLimits = Self.limits(configuration.replica, membership)
    // The tags of a request are in the order of the membership.
    if let renewed = try? Self.verifier(configuration, secrets, membership) { verifier = renewed }
    renewView()
    storeView()
    // What waits for this membership has its turn, and peers are heard, at the end of the turn.
    hasExecuted = true
    meshPeersChanged(mesh)
  }

  /// The replica ports of everybody known; what RECONFIGs have stated wins, but over memory.
  var replicaEndpoints: [ReplicaID: Endpoint] {
    var endpoints = configuration.replicaEndpoints
    for address in replica.addresses {
      if case .memory = endpoints[address.replica] { continue }
      endpoints[address.replica] = .socket(host: address.host, port: Int(address.replicaPort))
    }
    return endpoints
  }

  /// Reads the public keys again if a member has none.
  func renewKeys() {
    let strangers = replica.membership.replicas.filter { secrets.publicKeys(of: $0) == nil }
    guard !strangers.isEmpty else { return }
    do {
      if let keys = try configuration.renewedKeys?(strangers) { secrets = secrets.with(replicas: keys) }
    } catch {
      say(.error, "\(error)")
    }
    notary.renew(secrets)
    for stranger in strangers where secrets.publicKeys(of: stranger) == nil {
      say(
        .error,
        "knows no public keys of replica \(stranger.rawValue), a member now, and hears nothing of it: give this replica "
          + "a keys/replicas.pub with it ('muster keys --add \(stranger.rawValue)') and start it again")
    }
  }

  func storeView() {
    guard let storage = configuration.viewStorage, replica.membership.id > 0 else { return }
    do throws(ViewStorageError) {
      try storage.write(presentView(), writer: configuration.id.rawValue)
    } catch {
      say(.warning, "\(error); clients of BFT-SMaRt cannot be given the view from there")
    }
  }

  /// A replica that is no member learns from its peers that there is a newer membership.
  func hearPeers() {
    guard !replica.isMember else { return }
    for (peer, id) in mesh.memberships { inject(.peerMembership(id, from: peer)) }
  }
}
