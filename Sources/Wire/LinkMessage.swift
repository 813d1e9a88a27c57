// The messages between replicas as bytes: a body is any number of them, each a type byte and its fields.
//
//   prePrepare  view u64 | sequence u64 | digest 32 | count u32 | count requests
//   prepare     view u64 | sequence u64 | digest 32          commit  the same
//   checkpoint  sequence u64 | digest 32                     suspect view u64
//   forward     one request
//   request     data length u32 | authenticator length u32 | data | authenticator
//
// All integers are big-endian. The batch handle of a pre-prepare is local and never written.

import PBFT

/// The type byte of a message between replicas. Later messages are new cases; every switch over them is exhaustive.
public enum LinkMessageType: UInt8, CaseIterable, Sendable {
  case prePrepare = 1
  case prepare = 2
  case commit = 3
  case checkpoint = 4
  case suspect = 5
  case forward = 6

  /// Bytes of the fields after the type byte, without the requests.
  @usableFromInline var fixedByteCount: Int {
    switch self {
    case .prePrepare: 52
    case .prepare, .commit: 48
    case .checkpoint: 40
    case .suspect: 8
    case .forward: 0
    }
  }
}

/// One client request inside a link message, in the memory it arrived in.
public struct LinkRequest {
  /// The client's message as in its own frame, its lengths checked.
  public let message: ClientFrameView

  @inlinable
  init(message: ClientFrameView) { self.message = message }

  /// The whole serialized message.
  @inlinable public var data: UnsafeRawBufferPointer { message.data }
  /// The signature or tags the client sent with it.
  @inlinable public var authenticator: UnsafeRawBufferPointer { message.signature }
}

/// The requests of a pre-prepare in order, read in place. All their lengths are checked before this value exists.
public struct LinkRequests: Sequence, IteratorProtocol {
  /// Requests not yet taken by `next()`.
  public private(set) var count: Int
  @usableFromInline var rest: UnsafeRawBufferPointer

  init(count: Int, checkedBytes: UnsafeRawBufferPointer) {
    self.count = count
    rest = checkedBytes
  }

  /// The next request; nil after the last.
  public mutating func next() -> LinkRequest? {
    guard count > 0, let base = rest.baseAddress else { return nil }
    count -= 1
    let dataCount = Int(base.bigEndian(0, as: UInt32.self))
    let authenticatorCount = Int(base.bigEndian(4, as: UInt32.self))
    let data = UnsafeRawBufferPointer(start: base + 8, count: dataCount)
    let authenticator = UnsafeRawBufferPointer(start: base + (8 + dataCount), count: authenticatorCount)
    rest = UnsafeRawBufferPointer(rebasing: rest[(8 + dataCount + authenticatorCount)...])
    return LinkRequest(message: ClientFrameView(checkedData: data, signature: authenticator))
  }
}

/// A pre-prepare as it arrived: its batch has no handle yet.
public struct LinkPrePrepare {
  public let view: View
  public let sequence: SequenceNumber
  public let digest: Digest
  public let requests: LinkRequests

  /// The value for the core, once the requests are interned under `batch`.
  public func prePrepare(batch: BatchHandle) -> PrePrepare {
    PrePrepare(view: view, sequence: sequence, digest: digest, batch: batch)
  }
}

/// A message of a link body.
public enum LinkMessage {
  case prePrepare(LinkPrePrepare)
  case prepare(Prepare)
  case commit(Commit)
  case checkpoint(Checkpoint)
  case suspect(Suspect)
  /// A request that a backup passes on to all replicas when half of its timeout is over.
  case forward(LinkRequest)
}

/// Reads the messages of a body in place, each checked before it is handed out. After a malformed one the reader
/// stays there: nothing after it can be trusted.
public struct LinkBodyReader {
  private var rest: UnsafeRawBufferPointer

  public init(_ body: UnsafeRawBufferPointer) { rest = body }

  /// What comes next in the body.
  public enum Step {
    case message(LinkMessage)
    case end
    case malformed(LinkError)
  }

  /// The next message, without copying or allocating.
  public mutating func next() -> Step {
    guard let base = rest.baseAddress, !rest.isEmpty else { return .end }
    let byte = rest[0]
    guard let type = LinkMessageType(rawValue: byte) else { return .malformed(.messageType(byte)) }
    let fieldCount = type.fixedByteCount
    guard rest.count > fieldCount else { return .malformed(.truncated(type)) }
    let fields = base + 1
    var taken = 1 + fieldCount
    let message: LinkMessage
    switch type {
    case .prePrepare:
      let count = Int(fields.bigEndian(48, as: UInt32.self))
      let requests = UnsafeRawBufferPointer(rebasing: rest[taken...])
      switch byteCount(ofRequests: count, in: requests, type: type) {
      case .failure(let error): return .malformed(error)
      case .success(let byteCount):
        taken += byteCount
        message = .prePrepare(
          LinkPrePrepare(
            view: View(rawValue: fields.bigEndian(0)),
            sequence: SequenceNumber(rawValue: fields.bigEndian(8)),
            digest: fields.digest(16),
            requests: LinkRequests(
              count: count, checkedBytes: UnsafeRawBufferPointer(rebasing: requests[..<byteCount]))))
      }
    case .prepare:
      message = .prepare(
        Prepare(
          view: View(rawValue: fields.bigEndian(0)), sequence: SequenceNumber(rawValue: fields.bigEndian(8)),
          digest: fields.digest(16)))
    case .commit:
      message = .commit(
        Commit(
          view: View(rawValue: fields.bigEndian(0)), sequence: SequenceNumber(rawValue: fields.bigEndian(8)),
          digest: fields.digest(16)))
    case .checkpoint:
      message = .checkpoint(
        Checkpoint(sequence: SequenceNumber(rawValue: fields.bigEndian(0)), digest: fields.digest(8)))
    case .suspect:
      message = .suspect(Suspect(view: View(rawValue: fields.bigEndian(0))))
    case .forward:
      let bytes = UnsafeRawBufferPointer(rebasing: rest[taken...])
      switch byteCount(ofRequests: 1, in: bytes, type: type) {
      case .failure(let error): return .malformed(error)
      case .success(let byteCount):
        taken += byteCount
        var requests = LinkRequests(count: 1, checkedBytes: bytes)
        guard let request = requests.next() else { return .malformed(.truncated(type)) }
        message = .forward(request)
      }
    }
    rest = UnsafeRawBufferPointer(rebasing: rest[taken...])
    return .message(message)
  }

  /// Walks over `count` requests, checking all their lengths, and returns the bytes they take.
  private func byteCount(
    ofRequests count: Int, in bytes: UnsafeRawBufferPointer, type: LinkMessageType
  ) -> Result<Int, LinkError> {
    var offset = 0
    for _ in 0..<count {
      guard bytes.count - offset >= 8, let base = bytes.baseAddress else { return .failure(.truncated(type)) }
      let dataCount = Int(base.bigEndian(offset, as: UInt32.self))
      let authenticatorCount = Int(base.bigEndian(offset + 4, as: UInt32.self))
      guard bytes.count - offset - 8 >= dataCount + authenticatorCount else {
        return .failure(.truncated(type))
      }
      let data = UnsafeRawBufferPointer(start: base + (offset + 8), count: dataCount)
      if let fault = ClientFrame.fault(inData: data) { return .failure(.request(type, fault)) }
      offset += 8 + dataCount + authenticatorCount
    }
    return .success(offset)
  }
}

extension UnsafeRawPointer {
  /// The 32 bytes `offset` bytes further. Precondition, unchecked: they are readable.
  func digest(_ offset: Int) -> Digest {
    Digest(bytes: UnsafeRawBufferPointer(start: self + offset, count: Digest.byteCount))
  }
}
