// What goes into a replica and what comes out of it.
//
// Kept true here: effects are run in their order. A host runs them after each event, or at the latest before
// it calls `effectsDone()`; a `sign` effect is answered by `signed` right after that, before any other event.

import PBFT

/// A part of a state at a checkpoint, as a donor has sent it; valid during the call only.
public struct StatePart {
  public var checkpoint: Checkpoint
  /// Where in the state these bytes are.
  public var position: UInt64
  /// Where the next part begins; 0 when this is the last one.
  public var next: UInt64
  /// At most `Replica.maximumStatePartBytes`.
  public var bytes: UnsafeRawBufferPointer

  @inlinable
  public init(checkpoint: Checkpoint, position: UInt64, next: UInt64, bytes: UnsafeRawBufferPointer) {
    self.checkpoint = checkpoint
    self.position = position
    self.next = next
    self.bytes = bytes
  }
}

/// A part of the own state, to be sent; its bytes are read with `Replica.stateBytes(_:)`.
public struct StateExcerpt: Hashable, Sendable, BitwiseCopyable {
  public var checkpoint: Checkpoint
  public var position: UInt64
  public var next: UInt64
  public var contentOffset: Int
  public var contentCount: Int
}

extension Replica {
  /// The largest part of a state that is sent or taken.
  public static let maximumStatePartBytes = 256 << 10

  public enum Event {
    /// Takes part from now on. Before it, messages are rejected and requests wait. `recovering`: what this
    /// replica may have voted is not known (decision record 18); it follows and abstains until that is
    /// history.
    case start(recovering: Bool)
    /// A client's request: screened as `.unknown`, then hashed and verified by the host, or as `.executed`.
    case request(ArrivedRequest)
    /// The bytes of a request that is held have come again, on this connection.
    case resent(RequestSlot, connection: ConnectionID)
    /// A pre-prepare with the batch that `finishBatch` gave; the batch is the replica's from now on.
    case prePrepare(PrePrepare, from: ReplicaID)
    /// As `prePrepare`, of a batch built with `beginBatch(fetched: true)` that holds a request whose authenticator is not
    /// valid here though it may be elsewhere: kept aside, and taken as soon as f+1 replicas stand by it (decision record
    /// 57). The clients are named with `accuse`.
    case prePrepareRefused(PrePrepare, from: ReplicaID)
    /// A message of another kind, authenticated by its link; the statement of a VIEW-CHANGE or NEW-VIEW was
    /// admitted with every signature verified. Checkpoints and state queries are delivered whatever the
    /// membership of their sender's link.
    case message(Message, from: ReplicaID)
    /// A batch that was asked for, built with `beginBatch(fetched: true)`. The digest is what the sender
    /// claims.
    case fetchedBatch(Digest, BatchHandle, from: ReplicaID)
    case statePart(StatePart, from: ReplicaID)
    /// The answer to `Effect.sign`.
    case signed(StatementHandle, StatementSignature)
    /// The refused pre-prepare of this number held a request of this client whose authenticator is not valid here
    /// (decision record 10). Once for each such client of the batch.
    case accuse(client: Int32, view: View, sequence: SequenceNumber, from: ReplicaID)
    /// A peer whose membership is this one has sent what only members of the own membership are heard on.
    case otherMembership(Int32, from: ReplicaID)
    /// A peer has said of which membership it is: on connecting, and when that changes.
    case peerMembership(Int32, from: ReplicaID)
    /// A peer has sent what the host could not read or verify: only counted.
    case invalid(Rejection, from: ReplicaID)
    /// A link to another member has come or gone, and with it perhaps what was under way.
    case linksChanged
    /// The host has handed over all of this turn. Batches are formed of what a whole burst has brought; so
    /// every turn must end with it, a turn of nothing but timers as well.
    case endOfTurn
    /// The replica's own timers.
    case batchTimeout
    case requestTimeout
    case orderingTimeout(OrderingTimer)
    case transferTimeout
    case servingTimeout
    case joinTimeout
  }

  public enum Effect: BitwiseCopyable {
    /// To every other replica. After a pre-prepare go its requests: `requests(of:)`; after a VIEW-CHANGE or
    /// NEW-VIEW its signed statement: `statement(_:)`.
    case broadcast(Message)
    case send(Message, to: ReplicaID)
    /// Sign `statement(_:)` with this replica's key and answer with `.signed`.
    case sign(StatementHandle)
    /// The requests of this batch, which was asked for by its digest; empty when they are gone.
    case sendBatch(BatchHandle, digest: Digest, to: ReplicaID)
    case sendState(StateExcerpt, to: ReplicaID)
    /// These bytes of `durableBytes(offset:count:)` go to the end of the durable log. With `Durability.sync`
    /// they are on disk before anything that follows leaves.
    case persist(offset: Int, count: Int)
    /// What is persisted from now on goes into a new segment of this number. Older ones may be dropped as
    /// soon as everything of this turn is on disk, not before.
    case rotate(segment: UInt64)
    case reply(Reply)
    /// The request to every other replica, once per view: the primary may not have it.
    case forward(RequestSlot)
    case executed(SequenceNumber, view: View, requests: Int)
    case stable(SequenceNumber)
    /// A quorum has another state at this checkpoint: this replica's is damaged.
    case diverged(SequenceNumber)
    case suspected(View)
    case viewLeft(View, to: View)
    case viewEntered(View, isPrimary: Bool)
    /// The state is fetched from others up to this number at least; meanwhile it is invalid for reading.
    case transferBegan(SequenceNumber)
    case transferEnded(SequenceNumber)
    /// A replica that had lost its votes takes part fully again.
    case recovered
    /// A RECONFIG has been executed and accepted: the membership of this id begins as soon as the checkpoint is stable.
    case membershipDecided(Int32)
    /// `membership` is another one now; links follow it. This replica may no longer be in it.
    case membershipChanged(Int32)
    /// f+1 replicas accuse this client: its requests are refused from now on.
    case clientRefused(Int32)
    case rejected(Rejection, from: ReplicaID)
  }
}
