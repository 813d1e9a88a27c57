// The in-process transport: the same encoded frames and per-connection byte queues as over sockets, handed between event
// loops. Only the kernel is left out. Each direction is one queue behind a lock that is held for a copy or a swap.

import NIOConcurrencyHelpers
import NIOCore

/// One direction of a memory connection.
final class MemoryPipe: @unchecked Sendable {
  private let lock = NIOLock()
  private var queue = ByteQueue()
  private var isScheduled = false
  private var isEnded = false
  private var isAbandoned = false
  private let loop: any EventLoop
  private unowned(unsafe) var receiver: MemoryLink
  private var wake: (@Sendable () -> Void)!

  init(to receiver: MemoryLink) {
    self.receiver = receiver
    loop = receiver.loop
    // Made once: handing the same closure to the loop again allocates nothing.
    wake = { [unowned self] in self.receiver.drain() }
  }

  /// Copies `bytes` to the other end; false when more than `limit` bytes wait there.
  func push(_ bytes: UnsafeRawBufferPointer, limit: Int) -> Bool {
    lock.lock()
    if isEnded || isAbandoned {
      lock.unlock()
      return true
    }
    let fits = queue.count + bytes.count <= limit
    if fits { queue.append(bytes) }
    let mustWake = fits && !isScheduled
    if mustWake { isScheduled = true }
    lock.unlock()
    if mustWake { loop.execute(wake) }
    return fits
  }

  /// Ends the direction: the receiver sees what was pushed before, then the end.
  func end() {
    lock.lock()
    isEnded = true
    let mustWake = !isScheduled && !isAbandoned
    if mustWake { isScheduled = true }
    lock.unlock()
    if mustWake { loop.execute(wake) }
  }

  /// The receiver wants no more and is woken no more: its loop may be gone when the sender ends. Tells whether it will be
  /// woken once more, having been called before.
  func abandon() -> Bool {
    lock.lock()
    defer { lock.unlock() }
    isAbandoned = true
    return isScheduled
  }

  /// Moves what waits into `incoming`; tells whether the sender has ended.
  func take(into incoming: inout ByteQueue) -> Bool {
    lock.lock()
    defer { lock.unlock() }
    isScheduled = false
    if incoming.isEmpty {
      swap(&incoming, &queue)
    } else {
      incoming.append(queue.readableBytes)
      queue.removeAll()
    }
    return isEnded
  }
}

/// One end of a memory connection.
final class MemoryLink: Link, @unchecked Sendable {
  private var inbound: MemoryPipe!
  private var outbound: MemoryPipe?
  private var incoming = ByteQueue()
  private var selfHold: MemoryLink?

  /// Joins two ends. Each stays alive until it is closed.
  static func join(_ left: MemoryLink, _ right: MemoryLink) {
    let toLeft = MemoryPipe(to: left)
    let toRight = MemoryPipe(to: right)
    left.inbound = toLeft
    left.outbound = toRight
    right.inbound = toRight
    right.outbound = toLeft
    left.selfHold = left
    right.selfHold = right
  }

  func drain() {
    // Woken before it was closed, for the last time.
    guard !isClosed else { return release() }
    let before = incoming.count
    let ended = inbound.take(into: &incoming)
    countReceived(incoming.count - before)
    if !incoming.isEmpty {
      let consumed = deliver(incoming.readableBytes)
      if !isClosed { incoming.consume(consumed) }
    }
    if ended {
      if !isClosed {
        outbound?.end()
        finish(.peer)
      }
      release()
    }
  }

  override func transmit() {
    let fits = outbound?.push(output.readableBytes, limit: queueLimitBytes) ?? true
    output.removeAll()
    if !fits { close(.overflow) }
  }

  override func close(_ closure: LinkClosure = .local) {
    guard !isClosed else { return }
    outbound?.end()
    let wakesAgain = inbound.abandon()
    // Told on a later turn, as sockets do: the caller may be in the middle of its own tables.
    isClosed = true
    loop.execute { [self] in
      tellOwner(closure)
      if !wakesAgain { selfHold = nil }
    }
  }

  private func release() {
    loop.execute { [self] in selfHold = nil }
  }
}

/// A listening place in memory. Connecting to it makes a pair of links.
public final class MemoryPort: @unchecked Sendable {
  private let lock = NIOLock()
  private var acceptor: Acceptor?

  struct Acceptor {
    let loop: any EventLoop
    let accept: @Sendable (Link) -> any LinkOwner
  }

  public init() {}

  func listen(_ acceptor: Acceptor?) {
    lock.withLock { self.acceptor = acceptor }
  }

  /// Connects from `loop`; nil when nobody listens.
  func connect(loop: any EventLoop, owner: any LinkOwner) -> MemoryLink? {
    guard let acceptor = lock.withLock({ acceptor }) else { return nil }
    let near = MemoryLink(loop: loop, owner: owner)
    let far = MemoryLink(loop: acceptor.loop, owner: UnclaimedLinkOwner.shared)
    MemoryLink.join(near, far)
    acceptor.loop.execute { far.owner = acceptor.accept(far) }
    return near
  }
}

/// Owner of a link between its creation and the acceptor's decision; sees nothing in practice because the acceptor's task
/// is queued before any byte can be.
final class UnclaimedLinkOwner: LinkOwner, Sendable {
  static let shared = UnclaimedLinkOwner()
  func link(_ link: Link, received bytes: UnsafeRawBufferPointer) -> Int { 0 }
  func linkClosed(_ link: Link, _ closure: LinkClosure) {}
}
