// Keeps one outgoing link alive: connects, and after a loss or a refusal connects again with growing pauses.

import NIOCore

/// A link that is wanted for as long as the dialer lives. Belongs to one event loop.
public final class Dialer: LinkOwner, @unchecked Sendable {
  /// First and longest pause between attempts, in milliseconds.
  public static let firstPauseMilliseconds: Int64 = 20
  public static let longestPauseMilliseconds: Int64 = 2_000

  public let endpoint: Endpoint
  public let loop: any EventLoop
  /// The link while it is up.
  public private(set) var link: Link?
  /// Attempts that failed and links that were lost.
  public private(set) var failures: UInt64 = 0
  /// What went wrong last, for messages to people.
  public private(set) var lastFailure: String?

  private unowned let client: any DialerClient
  /// The client from `stop` until the link has ended: it is told of the end even if nobody else holds it any more.
  private var departing: (any DialerClient)?
  /// The number of each link made.
  public let number: UInt32
  private let security: LinkTLS?
  private var pause = Dialer.firstPauseMilliseconds
  private var isStopped = false

  /// `number` is given to each link made; `security` is its TLS.
  public init(
    endpoint: Endpoint, loop: any EventLoop, number: UInt32, security: LinkTLS? = nil,
    client: any DialerClient
  ) {
    self.endpoint = endpoint
    self.loop = loop
    self.number = number
    self.security = security
    self.client = client
  }

  /// Starts the first attempt.
  public func start() {
    guard !isStopped, link == nil else { return }
    endpoint.connect(on: loop, owner: self, security: security).whenComplete { [self] result in
      switch result {
      case .success(let link):
        guard !isStopped else { return link.close() }
        guard !link.isClosed else { return retry("closed at once") }
        self.link = link
        link.number = number
        client.dialer(self, opened: link)
      case .failure(let error):
        if !isStopped { client.dialer(self, failed: error) }
        retry("\(error)")
      }
    }
  }

  /// Closes the link and makes no other.
  public func stop() {
    isStopped = true
    guard let link else { return }
    departing = client
    link.close()
  }

  /// Called by the client when the peer has proved to be the right one: the next pause is short again.
  public func peerIsGood() { pause = Dialer.firstPauseMilliseconds }

  public func link(_ link: Link, received bytes: UnsafeRawBufferPointer) -> Int {
    client.dialer(self, received: bytes)
  }

  public func linkClosed(_ link: Link, _ closure: LinkClosure) {
    guard link === self.link else { return }
    self.link = nil
    client.dialer(self, lost: link, closure)
    departing = nil
    retry("\(closure)")
  }

  private func retry(_ reason: String) {
    failures += 1
    lastFailure = reason
    guard !isStopped else { return }
    let wait = TimeAmount.milliseconds(pause)
    pause = min(pause * 2, Dialer.longestPauseMilliseconds)
    loop.scheduleTask(in: wait) { [self] in start() }
  }
}

/// Uses a dialer's link. Calls come on the dialer's loop.
public protocol DialerClient: AnyObject {
  func dialer(_ dialer: Dialer, opened link: Link)
  func dialer(_ dialer: Dialer, received bytes: UnsafeRawBufferPointer) -> Int
  func dialer(_ dialer: Dialer, lost link: Link, _ closure: LinkClosure)
  /// An attempt came to nothing; another follows.
  func dialer(_ dialer: Dialer, failed error: any Error)
}

extension DialerClient {
  /// Nobody needs to know: it is counted, and tried again.
  public func dialer(_ dialer: Dialer, failed error: any Error) {}
}
