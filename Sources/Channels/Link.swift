// One end of a byte stream between two parties. A link belongs to one event loop; everything here is called there.
// Bytes appended during a turn leave together in one flush; bytes received are handed over as whole bursts, in place.

import NIOCore
import PBFT

/// Why a link ended.
public enum LinkClosure: Equatable, Sendable {
  /// We closed it in good order.
  case local
  /// The other end closed it.
  case peer
  /// What the peer sent cannot be a frame; nothing after it in the stream can be trusted.
  case malformed(String)
  /// The peer does not read: more than the link's limit of bytes were waiting.
  case overflow
  /// The operating system reported an error.
  case failed(String)
  /// TLS ended it, at the peer's wish or ours.
  case refused(LinkRefusal)
}

/// Receives what happens on a link. All calls come on the link's event loop.
public protocol LinkOwner: AnyObject {
  /// Handles whole frames at the front of `bytes` and returns how many bytes they took. What is left is presented again,
  /// with more behind it. The memory is valid during the call only.
  func link(_ link: Link, received bytes: UnsafeRawBufferPointer) -> Int
  /// The link is gone; no further call follows.
  func linkClosed(_ link: Link, _ closure: LinkClosure)
}

/// One end of a stream of bytes; sockets and the in-memory transport differ only in `transmit`.
public class Link: @unchecked Sendable {
  /// The event loop this end belongs to.
  public let loop: any EventLoop
  /// Who is told of bursts and of the end.
  public internal(set) var owner: any LinkOwner
  /// A number the owner gives the link, so that it finds its own tables without a look-up.
  public var number: UInt32 = 0
  /// The replica that the other end has proved to be before its first byte; nil on links that prove nothing themselves.
  public internal(set) var peer: ReplicaID?
  /// Bytes waiting for the peer beyond which the link is closed as `overflow`.
  public var queueLimitBytes = 64 << 20
  /// Bytes handed over and bytes received, for the counters of a run.
  public private(set) var sentBytes: UInt64 = 0
  public private(set) var receivedBytes: UInt64 = 0
  /// Number of flushes that carried at least one byte.
  public private(set) var flushes: UInt64 = 0
  public internal(set) var isClosed = false

  @usableFromInline var output = ByteQueue()
  private var bytesToSkip = 0

  init(loop: any EventLoop, owner: any LinkOwner) {
    self.loop = loop
    self.owner = owner
  }

  /// Space for `byteCount` bytes of the next flush; counts only after `commit`.
  @inlinable
  public final func reserve(_ byteCount: Int) -> UnsafeMutableRawBufferPointer { output.reserve(byteCount) }

  @inlinable
  public final func commit(_ byteCount: Int) { output.commit(byteCount) }

  @inlinable
  public final func append(_ bytes: UnsafeRawBufferPointer) { output.append(bytes) }

  /// Whether bytes were appended since the last flush.
  @inlinable
  public final var needsFlush: Bool { !output.isEmpty }

  /// Sends what was appended.
  public final func flush() {
    guard !output.isEmpty else { return }
    if isClosed {
      output.removeAll()
      return
    }
    sentBytes += UInt64(output.count)
    flushes += 1
    transmit()
  }

  /// The next `byteCount` bytes of the stream are dropped as they come, without being buffered.
  public final func skip(_ byteCount: Int) { bytesToSkip += byteCount }

  /// Ends the link; the owner is told once, with `closure`.
  public func close(_ closure: LinkClosure = .local) { preconditionFailure("a transport ends its own links") }

  func transmit() { preconditionFailure("a transport sends its own bytes") }

  /// Hands a burst to the owner; returns the bytes consumed.
  final func deliver(_ bytes: UnsafeRawBufferPointer) -> Int {
    var offset = 0
    while true {
      if bytesToSkip > 0 {
        let skipped = min(bytesToSkip, bytes.count - offset)
        bytesToSkip -= skipped
        offset += skipped
        if bytesToSkip > 0 { return bytes.count }
      }
      if offset == bytes.count || isClosed { return bytes.count }
      offset += owner.link(self, received: UnsafeRawBufferPointer(rebasing: bytes[offset...]))
      if bytesToSkip == 0 { return offset }
    }
  }

  final func countReceived(_ byteCount: Int) { receivedBytes += UInt64(byteCount) }

  /// Tells the owner of the end, once.
  final func finish(_ closure: LinkClosure) {
    guard !isClosed else { return }
    isClosed = true
    tellOwner(closure)
  }

  /// Tells the owner of the end and lets go of it, which breaks the cycle between the two.
  final func tellOwner(_ closure: LinkClosure) {
    let owner = owner
    self.owner = UnclaimedLinkOwner.shared
    owner.linkClosed(self, closure)
  }
}
