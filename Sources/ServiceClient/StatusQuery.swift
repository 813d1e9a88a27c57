// Asks one replica for its status over its client port. The answer is that replica's word alone: it is for checking an
// experiment's setting and comparing digest chains, not for deciding anything a client may rely on.

import Channels
import NIOCore
import PBFT
import Wire

/// One question to one replica.
public final class StatusQuery: LinkOwner, @unchecked Sendable {
  /// Why there is no status.
  public struct Failure: Error, CustomStringConvertible {
    public let description: String
  }

  private let endpoint: Endpoint
  private let dialect: ClientDialect
  private let sealedFor: ReplicaID?
  private let promise: EventLoopPromise<StatusReport>
  private var isAnswered = false
  private var link: Link?

  private init(_ endpoint: Endpoint, dialect: ClientDialect, sealedFor: ReplicaID?, loop: any EventLoop) {
    self.endpoint = endpoint
    self.dialect = dialect
    self.sealedFor = sealedFor
    promise = loop.makePromise()
  }

  /// Asks the replica at `endpoint`; fails after `timeout`.
  ///
  /// - Parameters:
  ///   - dialect: of the replica's clients.
  ///   - sealedFor: the replica's id, where its clients' frames have MACs (v1.2); nil where they have none.
  public static func ask(
    _ endpoint: Endpoint, on loop: any EventLoop, dialect: ClientDialect = .master,
    sealedFor: ReplicaID? = nil,
    timeout: TimeAmount = .seconds(5)
  ) -> EventLoopFuture<StatusReport> {
    let query = StatusQuery(endpoint, dialect: dialect, sealedFor: sealedFor, loop: loop)
    let opening = endpoint.connect(on: loop, owner: query, timeout: timeout)
    opening.whenComplete { result in
      switch result {
      case .success(let link): query.send(on: link)
      case .failure(let error): query.finish(.failure(Failure(description: "\(endpoint): \(error)")))
      }
    }
    let limit = loop.scheduleTask(in: timeout) {
      query.finish(
        .failure(
          Failure(description: "\(endpoint): no status within \(timeout.nanoseconds / 1_000_000_000) s")))
    }
    query.promise.futureResult.whenComplete { _ in limit.cancel() }
    return query.promise.futureResult
  }

  private func send(on link: Link) {
    self.link = link
    let useMACs = sealedFor != nil
    let capacity = ClientFrame.byteCount(content: 0, signature: 0, dialect: dialect, useMACs: useMACs)
    let header = ClientFrameHeader(
      sender: 0, membershipID: 0, kind: ClientMessageKind.askStatus.rawValue, session: 0, sequence: 0,
      operationID: 0)
    let room = link.reserve(capacity)
    ClientFrame.encode(into: room, header: header, content: nil, dialect: dialect, useMACs: useMACs)
    if let sealedFor {
      ChannelKeys12(capacity: 1).seal(room, client: header.sender, replica: sealedFor.rawValue)
    }
    link.commit(capacity)
    link.flush()
  }

  private func finish(_ result: Result<StatusReport, any Error>) {
    guard !isAnswered else { return }
    isAnswered = true
    promise.completeWith(result)
    link?.close()
  }

  public func link(_ link: Link, received bytes: UnsafeRawBufferPointer) -> Int {
    switch ClientFrame.decode(bytes, maximumLength: 16 << 20, dialect: dialect, useMACs: sealedFor != nil) {
    case .incomplete:
      return 0
    case .frame(let frame, let byteCount):
      if frame.kind == ClientMessageKind.statusReply.rawValue {
        do {
          finish(
            .success(
              try StatusReport(decoding: frame.content ?? UnsafeRawBufferPointer(start: nil, count: 0))))
        } catch {
          finish(.failure(Failure(description: "\(endpoint): \(error)")))
        }
      }
      return byteCount
    case .skip, .malformed:
      finish(.failure(Failure(description: "\(endpoint): the answer is no status")))
      return bytes.count
    }
  }

  public func linkClosed(_ link: Link, _ closure: LinkClosure) {
    finish(.failure(Failure(description: "\(endpoint): closed without a status (\(closure))")))
  }
}
