// The messages between replicas as bytes: a body is any number of them, each a type byte and its fields.
//
//   prePrepare  view u64 | sequence u64 | digest 32 | count u32 | count requests
//   prepare     view u64 | sequence u64 | digest 32          commit  the same
//   checkpoint  sequence u64 | digest 32
//   suspect     view u64 | 1 u8 and client i32 accused, or five zero bytes
//   forward     one request
//   viewChange  length u32 | signed statement (`StatementCoding`)          newView  the same
//   status      view u64 | flags u8 (1 active, 2 recovering, 4 asks) | stable u64 | prepared u64 | executed u64
//   executed    sequence u64 | digest 32
//   fetchBatch  digest 32
//   fetchState  checkpoint sequence u64 | checkpoint digest 32 | position u64
//   batch       digest 32 | count u32 | count requests
//   statePart   checkpoint sequence u64 | checkpoint digest 32 | position u64 | next u64 | length u32 | bytes
//   membership  id i32: what follows on this link is of this membership, until another is named
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
  case viewChange = 7
  case newView = 8
  case status = 9
  case executed = 10
  case fetchBatch = 11
  case fetchState = 12
  case batch = 13
  case statePart = 14
  case membership = 15

  /// Bytes of the fields after the type byte, without requests, statement or state.
  @usableFromInline var fixedByteCount: Int {
    switch self {
    case .prePrepare: 52
    case .prepare, .commit: 48
    case .checkpoint, .executed: 40
    case .suspect: 13
    case .forward: 0
    case .viewChange, .newView, .membership: 4
    case .status: 33
    case .fetchBatch: 32
    case .fetchState: 48
    case .batch: 36
    case .statePart: 60
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
  private let dialect: ClientDialect

  init(count: Int, checkedBytes: UnsafeRawBufferPointer, dialect: ClientDialect) {
    self.count = count
    rest = checkedBytes
    self.dialect = dialect
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
    return LinkRequest(
      message: ClientFrameView(checkedData: data, signature: authenticator, dialect: dialect))
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

/// A statement as it arrived: its bytes are there, and nothing about them has been believed yet.
public struct LinkStatement {
  /// A view change or a new view.
  public let type: LinkMessageType
  /// What `StatementCoding.decode` reads.
  public let bytes: UnsafeRawBufferPointer
}

/// A batch that was asked for by its digest, as it arrived.
public struct LinkBatch {
  /// What the sender says it is; decided by the requests.
  public let digest: Digest
  public let requests: LinkRequests
}

/// A part of a donor's state, as it arrived.
public struct LinkStatePart {
  public let checkpoint: Checkpoint
  public let position: UInt64
  /// Where the next part begins; 0 after the last.
  public let next: UInt64
  public let bytes: UnsafeRawBufferPointer

  /// The largest part that is sent, in bytes; the reader takes up to four times as many.
  public static let maximumByteCount = 256 << 10
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
  /// A view change or a new view, to be decoded and verified.
  case statement(LinkStatement)
  case status(Status)
  case executed(Executed)
  case fetchBatch(Digest)
  case fetchState(StateQuery)
  case batch(LinkBatch)
  case statePart(LinkStatePart)
  /// What follows is of the membership with this id.
  case membership(Int32)
}

/// Reads the messages of a body in place, each checked before it is handed out. After a malformed one the reader
/// stays there: nothing after it can be trusted.
public struct LinkBodyReader {
  private var rest: UnsafeRawBufferPointer
  private let dialect: ClientDialect

  /// - Parameter dialect: of the cluster's clients; requests travel between replicas as their clients wrote them.
  public init(_ body: UnsafeRawBufferPointer, dialect: ClientDialect = .master) {
    rest = body
    self.dialect = dialect
  }

  /// Bytes that have not been read.
  public var remainingByteCount: Int { rest.count }

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
              count: count, checkedBytes: UnsafeRawBufferPointer(rebasing: requests[..<byteCount]),
              dialect: dialect)))
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
      let hasAccused = fields.load(fromByteOffset: 8, as: UInt8.self)
      let client: Int32 = fields.bigEndian(9)
      guard hasAccused == 1 || (hasAccused == 0 && client == 0) else { return .malformed(.field(type)) }
      message = .suspect(
        Suspect(view: View(rawValue: fields.bigEndian(0)), accused: hasAccused == 1 ? client : nil))
    case .forward:
      let bytes = UnsafeRawBufferPointer(rebasing: rest[taken...])
      switch byteCount(ofRequests: 1, in: bytes, type: type) {
      case .failure(let error): return .malformed(error)
      case .success(let byteCount):
        taken += byteCount
        var requests = LinkRequests(count: 1, checkedBytes: bytes, dialect: dialect)
        guard let request = requests.next() else { return .malformed(.truncated(type)) }
        message = .forward(request)
      }
    case .viewChange, .newView:
      let byteCount = Int(fields.bigEndian(0, as: UInt32.self))
      guard rest.count - taken >= byteCount else { return .malformed(.truncated(type)) }
      message = .statement(
        LinkStatement(
          type: type, bytes: UnsafeRawBufferPointer(rebasing: rest[taken..<taken + byteCount])))
      taken += byteCount
    case .status:
      let flags = fields.load(fromByteOffset: 8, as: UInt8.self)
      guard flags < 8 else { return .malformed(.field(type)) }
      message = .status(
        Status(
          view: View(rawValue: fields.bigEndian(0)), isActive: flags & 1 != 0, isRecovering: flags & 2 != 0,
          asks: flags & 4 != 0, stable: SequenceNumber(rawValue: fields.bigEndian(9)),
          prepared: SequenceNumber(rawValue: fields.bigEndian(17)),
          executed: SequenceNumber(rawValue: fields.bigEndian(25))))
    case .executed:
      message = .executed(
        Executed(sequence: SequenceNumber(rawValue: fields.bigEndian(0)), digest: fields.digest(8)))
    case .fetchBatch:
      message = .fetchBatch(fields.digest(0))
    case .fetchState:
      message = .fetchState(
        StateQuery(checkpoint: fields.checkpoint(0), position: fields.bigEndian(40)))
    case .batch:
      let count = Int(fields.bigEndian(32, as: UInt32.self))
      let requests = UnsafeRawBufferPointer(rebasing: rest[taken...])
      switch byteCount(ofRequests: count, in: requests, type: type) {
      case .failure(let error): return .malformed(error)
      case .success(let byteCount):
        taken += byteCount
        message = .batch(
          LinkBatch(
            digest: fields.digest(0),
            requests: LinkRequests(
              count: count, checkedBytes: UnsafeRawBufferPointer(rebasing: requests[..<byteCount]),
              dialect: dialect)))
      }
    case .statePart:
      let byteCount = Int(fields.bigEndian(56, as: UInt32.self))
      guard byteCount <= 4 * LinkStatePart.maximumByteCount else { return .malformed(.field(type)) }
      guard rest.count - taken >= byteCount else { return .malformed(.truncated(type)) }
      message = .statePart(
        LinkStatePart(
          checkpoint: fields.checkpoint(0), position: fields.bigEndian(40), next: fields.bigEndian(48),
          bytes: UnsafeRawBufferPointer(rebasing: rest[taken..<taken + byteCount])))
      taken += byteCount
    case .membership:
      message = .membership(fields.bigEndian(0))
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
      if let fault = ClientFrame.fault(inData: data, dialect) { return .failure(.request(type, fault)) }
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

  /// The 40 bytes of a checkpoint `offset` bytes further. Precondition, unchecked: they are readable.
  func checkpoint(_ offset: Int) -> Checkpoint {
    Checkpoint(sequence: SequenceNumber(rawValue: bigEndian(offset)), digest: digest(offset + 8))
  }
}
