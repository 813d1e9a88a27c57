// What an adversary does with each message, by its behaviour; no links, no clock of its own.

import Hashing
import PBFT
import Wire

/// Decides message by message.
struct AdversarialPolicy {
  /// What becomes of a message.
  enum Decision {
    case pass
    case drop
    /// Sent at this instant.
    case hold(until: Int64)
    case replacePrePrepare(PrePrepare, [LinkRequest])
    case replacePrepare(Prepare)
    case replaceCommit(Commit)
  }

  /// A proposal of ours that others got in another form.
  private struct Variant {
    var view: View
    var digest: Digest
    var other: Digest
  }

  private let behaviour: AdversarialBehaviour
  private let peers: [ReplicaID]
  private let timeoutNanoseconds: Int64
  private var variants: [SequenceNumber: Variant] = [:]
  /// When each of the last proposals leaves; to all peers at the same instant.
  private var departures: [SequenceNumber: Int64] = [:]
  private var lastDeparture: Int64 = 0
  private var entropy = SystemRandomNumberGenerator()

  /// Proposals remembered; a log window has far fewer.
  private static let mostRemembered = 8_192

  init(
    _ behaviour: AdversarialBehaviour, id: ReplicaID, membership: Membership, requestTimeoutNanoseconds: Int64
  ) {
    self.behaviour = behaviour
    peers = membership.replicas.filter { $0 != id }
    timeoutNanoseconds = requestTimeoutNanoseconds
  }

  /// Whether a message from a peer reaches the replica inside.
  func lets(_ message: LinkMessage) -> Bool {
    guard case .censor(let client) = behaviour, case .forward(let request) = message else { return true }
    return request.message.client != client
  }

  /// Whether everything that is said to one peer now is lost: Fabric's byzantine flag leaves one replica out of a third of
  /// its broadcasts.
  mutating func dropsBody() -> Bool {
    guard behaviour == .omit else { return false }
    return Int.random(in: 0..<3 * max(1, peers.count), using: &entropy) == 0
  }

  mutating func decide(_ message: LinkMessage, for peer: ReplicaID, at now: Int64) -> Decision {
    switch behaviour {
    case .omit, .censor: return .pass
    case .silent: return .drop
    case .delay(let fraction): return .hold(until: now + nanoseconds(fraction))
    case .pace(let fraction):
      guard case .prePrepare(let proposal) = message else { return .pass }
      return .hold(until: departure(of: proposal.sequence, nanoseconds(fraction), now))
    case .equivocate: return equivocate(message, for: peer)
    }
  }

  private func nanoseconds(_ fraction: Double) -> Int64 { Int64(Double(timeoutNanoseconds) * fraction) }

  private mutating func departure(of sequence: SequenceNumber, _ pause: Int64, _ now: Int64) -> Int64 {
    if let instant = departures[sequence] { return instant }
    lastDeparture = max(now, lastDeparture + pause)
    if departures.count >= Self.mostRemembered { departures.removeAll() }
    departures[sequence] = lastDeparture
    return lastDeparture
  }

  /// The second half of the peers gets the batch without its last request, or with its only one twice, and our votes for
  /// that.
  private mutating func equivocate(_ message: LinkMessage, for peer: ReplicaID) -> Decision {
    guard let position = peers.firstIndex(of: peer), position >= peers.count / 2 else { return .pass }
    switch message {
    case .prePrepare(let proposal):
      var requests: [LinkRequest] = []
      for request in proposal.requests { requests.append(request) }
      guard let last = requests.last else { return .pass }
      if requests.count > 1 { requests.removeLast() } else { requests.append(last) }
      let other = Self.digest(of: requests)
      if variants.count >= Self.mostRemembered { variants.removeAll() }
      variants[proposal.sequence] = Variant(view: proposal.view, digest: proposal.digest, other: other)
      return .replacePrePrepare(
        PrePrepare(view: proposal.view, sequence: proposal.sequence, digest: other, batch: .none), requests)
    case .prepare(let vote):
      guard let other = other(vote.view, vote.sequence, vote.digest) else { return .pass }
      return .replacePrepare(Prepare(view: vote.view, sequence: vote.sequence, digest: other))
    case .commit(let vote):
      guard let other = other(vote.view, vote.sequence, vote.digest) else { return .pass }
      return .replaceCommit(Commit(view: vote.view, sequence: vote.sequence, digest: other))
    default: return .pass
    }
  }

  private func other(_ view: View, _ sequence: SequenceNumber, _ digest: Digest) -> Digest? {
    guard let variant = variants[sequence], variant.view == view, variant.digest == digest else { return nil }
    return variant.other
  }

  /// SHA-256(count, big-endian ‖ request digests in order), as every replica computes it.
  private static func digest(of requests: [LinkRequest]) -> Digest {
    var preimage: [UInt8] = []
    withUnsafeBytes(of: UInt32(requests.count).bigEndian) { preimage.append(contentsOf: $0) }
    for request in requests {
      Digest.sha256(request.data).withUnsafeBytes { preimage.append(contentsOf: $0) }
    }
    return preimage.withUnsafeBytes { Digest.sha256($0) }
  }
}
