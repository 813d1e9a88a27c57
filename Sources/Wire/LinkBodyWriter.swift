// Collects the messages of one turn into one body, the same bytes for all peers, in a buffer that is reused.

import Hashing
import PBFT

/// A body under construction; confined to its replica's thread. `removeAll` keeps the capacity, so that a replica
/// in steady state allocates nothing here.
public final class LinkBodyWriter {
  private var buffer: UnsafeMutableRawBufferPointer
  /// Bytes of the body so far; the host seals before it comes near `LinkFrame.maximumBodyByteCount`.
  public private(set) var byteCount = 0
  private var cachedDigest: Digest?
  /// Requests that the pre-prepare or batch begun last still lacks.
  private var missingRequests = 0

  public init(capacity: Int = 64 << 10) {
    buffer = .allocate(byteCount: max(capacity, 64), alignment: 16)
  }

  deinit { buffer.deallocate() }

  public var isEmpty: Bool { byteCount == 0 }

  /// Bytes it holds without growing.
  public var capacity: Int { buffer.count }

  /// The body so far; valid until the next change.
  /// - Precondition: the pre-prepare or batch begun last has all its requests.
  public var bytes: UnsafeRawBufferPointer {
    precondition(missingRequests == 0, "a batch lacks \(missingRequests) requests")
    return UnsafeRawBufferPointer(rebasing: buffer[..<byteCount])
  }

  /// SHA-256 of the body so far, computed once for all links.
  public func digest() -> Digest {
    if let cachedDigest { return cachedDigest }
    let digest = Digest.sha256(bytes)
    cachedDigest = digest
    return digest
  }

  /// Begins the next body.
  public func removeAll() {
    byteCount = 0
    missingRequests = 0
    cachedDigest = nil
  }

  /// Appends messages as another writer wrote them. The buffer may not lie inside the writer's own.
  public func append(body: UnsafeRawBufferPointer) {
    precondition(missingRequests == 0, "a pre-prepare lacks \(missingRequests) requests")
    extend(by: body.count).copy(body, to: 0)
  }

  public func append(_ message: Prepare) {
    appendVote(.prepare, message.view, message.sequence, message.digest)
  }

  public func append(_ message: Commit) {
    appendVote(.commit, message.view, message.sequence, message.digest)
  }

  public func append(_ message: Checkpoint) {
    let base = begin(.checkpoint, extra: 0)
    base.storeBigEndian(message.sequence.rawValue, at: 1)
    message.digest.withUnsafeBytes { base.copy($0, to: 9) }
  }

  public func append(_ message: Suspect) {
    let base = begin(.suspect, extra: 0)
    base.storeBigEndian(message.view.rawValue, at: 1)
    base.storeBytes(of: message.accused == nil ? 0 : 1, toByteOffset: 9, as: UInt8.self)
    base.storeBigEndian(message.accused ?? 0, at: 10)
  }

  public func append(_ message: Status) {
    let base = begin(.status, extra: 0)
    base.storeBigEndian(message.view.rawValue, at: 1)
    let flags: UInt8 = (message.isActive ? 1 : 0) | (message.isRecovering ? 2 : 0) | (message.asks ? 4 : 0)
    base.storeBytes(of: flags, toByteOffset: 9, as: UInt8.self)
    base.storeBigEndian(message.stable.rawValue, at: 10)
    base.storeBigEndian(message.prepared.rawValue, at: 18)
    base.storeBigEndian(message.executed.rawValue, at: 26)
  }

  public func append(_ message: Executed) {
    let base = begin(.executed, extra: 0)
    base.storeBigEndian(message.sequence.rawValue, at: 1)
    message.digest.withUnsafeBytes { base.copy($0, to: 9) }
  }

  /// Asks for the batch of this digest.
  public func appendFetchBatch(_ digest: Digest) {
    let base = begin(.fetchBatch, extra: 0)
    digest.withUnsafeBytes { base.copy($0, to: 1) }
  }

  public func append(_ message: StateQuery) {
    let base = begin(.fetchState, extra: 0)
    base.storeBigEndian(message.checkpoint.sequence.rawValue, at: 1)
    message.checkpoint.digest.withUnsafeBytes { base.copy($0, to: 9) }
    base.storeBigEndian(message.position, at: 41)
  }

  /// What follows is of the membership with this id.
  public func appendMembership(_ id: Int32) {
    begin(.membership, extra: 0).storeBigEndian(id, at: 1)
  }

  /// Appends a statement as it is signed. Allocates: view changes are rare.
  ///
  /// - Returns: false when no frame could carry it; then nothing has been appended.
  public func append(_ statement: SignedStatement) -> Bool {
    let type: LinkMessageType
    switch statement.statement {
    case .viewChange: type = .viewChange
    case .newView: type = .newView
    }
    let byteCount = StatementCoding.byteCount(statement)
    guard byteCount <= LinkFrame.maximumBodyByteCount - 5 else { return false }
    var bytes: [UInt8] = []
    StatementCoding.encode(statement, into: &bytes)
    let base = begin(type, extra: bytes.count)
    base.storeBigEndian(UInt32(bytes.count), at: 1)
    bytes.withUnsafeBytes { base.copy($0, to: 5) }
    return true
  }

  /// Appends a part of the own state. Precondition: at most `LinkStatePart.maximumByteCount` × 4 bytes.
  public func appendStatePart(
    checkpoint: Checkpoint, position: UInt64, next: UInt64, bytes: UnsafeRawBufferPointer
  ) {
    precondition(bytes.count <= 4 * LinkStatePart.maximumByteCount, "parts are small")
    let base = begin(.statePart, extra: bytes.count)
    base.storeBigEndian(checkpoint.sequence.rawValue, at: 1)
    checkpoint.digest.withUnsafeBytes { base.copy($0, to: 9) }
    base.storeBigEndian(position, at: 41)
    base.storeBigEndian(next, at: 49)
    base.storeBigEndian(UInt32(bytes.count), at: 57)
    base.copy(bytes, to: 61)
  }

  /// Appends the head of a batch that was asked for; exactly `requestCount` calls of `appendRequest` must follow.
  public func beginBatch(digest: Digest, requestCount: Int) {
    let base = begin(.batch, extra: 0)
    digest.withUnsafeBytes { base.copy($0, to: 1) }
    base.storeBigEndian(UInt32(requestCount), at: 33)
    missingRequests = requestCount
  }

  /// Appends a pre-prepare without its requests; exactly `requestCount` calls of `appendRequest` must follow.
  public func begin(_ message: PrePrepare, requestCount: Int) {
    let base = begin(.prePrepare, extra: 0)
    base.storeBigEndian(message.view.rawValue, at: 1)
    base.storeBigEndian(message.sequence.rawValue, at: 9)
    message.digest.withUnsafeBytes { base.copy($0, to: 17) }
    base.storeBigEndian(UInt32(requestCount), at: 49)
    missingRequests = requestCount
  }

  /// Appends the next request of the pre-prepare or batch begun last. The buffers may not lie inside the writer's own.
  ///
  /// - Parameters:
  ///   - data: the whole serialized message of a client.
  ///   - authenticator: its signature or tags.
  public func appendRequest(data: UnsafeRawBufferPointer, authenticator: UnsafeRawBufferPointer) {
    precondition(missingRequests > 0, "no batch lacks a request")
    missingRequests -= 1
    writeRequest(data, authenticator, to: extend(by: 8 + data.count + authenticator.count))
  }

  /// Appends a request that is passed on to the other replicas.
  public func appendForward(data: UnsafeRawBufferPointer, authenticator: UnsafeRawBufferPointer) {
    let base = begin(.forward, extra: 8 + data.count + authenticator.count)
    writeRequest(data, authenticator, to: base + 1)
  }

  private func appendVote(
    _ type: LinkMessageType, _ view: View, _ sequence: SequenceNumber, _ digest: Digest
  ) {
    let base = begin(type, extra: 0)
    base.storeBigEndian(view.rawValue, at: 1)
    base.storeBigEndian(sequence.rawValue, at: 9)
    digest.withUnsafeBytes { base.copy($0, to: 17) }
  }

  private func writeRequest(
    _ data: UnsafeRawBufferPointer, _ authenticator: UnsafeRawBufferPointer, to base: UnsafeMutableRawPointer
  ) {
    base.storeBigEndian(UInt32(data.count), at: 0)
    base.storeBigEndian(UInt32(authenticator.count), at: 4)
    base.copy(data, to: 8)
    base.copy(authenticator, to: 8 + data.count)
  }

  /// Makes room for a message of `type` with `extra` bytes after its fixed fields and writes the type byte.
  private func begin(_ type: LinkMessageType, extra: Int) -> UnsafeMutableRawPointer {
    precondition(missingRequests == 0, "a batch lacks \(missingRequests) requests")
    let base = extend(by: 1 + type.fixedByteCount + extra)
    base.storeBytes(of: type.rawValue, as: UInt8.self)
    return base
  }

  /// Makes room for `count` bytes at the end and returns where they begin.
  private func extend(by count: Int) -> UnsafeMutableRawPointer {
    cachedDigest = nil
    if byteCount + count > buffer.count {
      let larger = UnsafeMutableRawBufferPointer.allocate(
        byteCount: max(buffer.count * 2, byteCount + count), alignment: 16)
      larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[..<byteCount]))
      buffer.deallocate()
      buffer = larger
    }
    let start = buffer.baseAddress.unsafelyUnwrapped + byteCount
    byteCount += count
    return start
  }
}
