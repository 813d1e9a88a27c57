// The one encoding of the signed statements of a view change: what is signed, what travels between replicas and what
// a durable log keeps are the same bytes.
//
//   view change  1 u8 | view u64 | membership i32 | replica i32 | stable sequence u64 | stable digest 32
//                | checkpoints u32 | prepared u32 | pre-prepared u32 | accused u32
//                | checkpoints (sequence u64 | digest 32) | P claims, Q claims (sequence u64 | digest 32 | view u64)
//                | accused (client i32)
//   new view     2 u8 | view u64 | membership i32 | start sequence u64 | start digest 32
//                | view changes u32 | digests u32 | view changes (view change | signature 64) | digests 32
//   signed       statement | signature 64
//
// All integers are big-endian. Kept true: every value has exactly one encoding, every length is compared with what is
// there before anything is allocated, and no field is believed to be more than a number.

import PBFT

/// How large a statement may be; from the configuration, which all replicas share.
public struct StatementLimits: Hashable, Sendable {
  /// Claims of a P set and digests of a new view: the log size L.
  public var sequences: Int
  /// Own checkpoints above the stable one.
  public var checkpoints: Int
  /// View changes of a new view: the replicas of the membership.
  public var replicas: Int

  /// - Parameters:
  ///   - logSize: L, sequence numbers in the window.
  ///   - logMultiplier: checkpoint periods in the window.
  ///   - replicas: members.
  public init(logSize: Int, logMultiplier: Int, replicas: Int) {
    sequences = logSize
    // Those of the period, and one right after a change of the membership.
    checkpoints = logMultiplier + 2
    self.replicas = replicas
  }

  /// Bytes of the largest view change, without its signature.
  public var maximumViewChangeByteCount: Int {
    StatementCoding.viewChangeHeaderByteCount + checkpoints * 40
      + sequences * 48 * (1 + ViewChange.maximumDigestsPerSequence) + ViewChange.maximumAccused * 4
  }
}

/// What is wrong with the bytes of a statement.
public enum StatementError: Error, Hashable, Sendable {
  /// They end too early, or go on after the end.
  case length
  /// Neither a view change nor a new view.
  case kind(UInt8)
  /// More entries than the limits allow.
  case tooMany
}

extension StatementError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .length: "a statement that ends too early or too late"
    case .kind(let byte): "a statement of unknown kind \(byte)"
    case .tooMany: "a statement with more entries than the log has room for"
    }
  }
}

/// Encoding, decoding, and the bytes that are signed.
public enum StatementCoding {
  static let viewChangeHeaderByteCount = 1 + 8 + 4 + 4 + 40 + 16
  static let newViewHeaderByteCount = 1 + 8 + 4 + 40 + 8
  private static let viewChangeKind: UInt8 = 1
  private static let newViewKind: UInt8 = 2
  /// Before the statement in what is signed: keys that sign anything else sign other first bytes.
  private static let signingContext = Array("muster statement 1".utf8)

  // MARK: Sizes

  public static func byteCount(_ statement: SignedStatement) -> Int {
    byteCount(statement.statement) + StatementSignature.byteCount
  }

  public static func byteCount(_ statement: Statement) -> Int {
    switch statement {
    case .viewChange(let viewChange): return byteCount(viewChange)
    case .newView(let newView):
      return newView.viewChanges.reduce(newViewHeaderByteCount + newView.digests.count * Digest.byteCount) {
        $0 + byteCount($1.content) + StatementSignature.byteCount
      }
    }
  }

  static func byteCount(_ viewChange: ViewChange) -> Int {
    viewChangeHeaderByteCount + viewChange.checkpoints.count * 40
      + (viewChange.prepared.count + viewChange.prePrepared.count) * 48 + viewChange.accused.count * 4
  }

  // MARK: Encoding

  /// Appends the statement and its signature.
  public static func encode(_ statement: SignedStatement, into output: inout [UInt8]) {
    encode(statement.statement, into: &output)
    append(statement.signature, to: &output)
  }

  /// Appends the statement alone.
  public static func encode(_ statement: Statement, into output: inout [UInt8]) {
    output.reserveCapacity(output.count + byteCount(statement) + StatementSignature.byteCount)
    switch statement {
    case .viewChange(let viewChange): encode(viewChange, into: &output)
    case .newView(let newView): encode(newView, into: &output)
    }
  }

  /// The bytes over which a statement is signed: they name the cluster, so that a key used twice lends nothing to
  /// another cluster.
  public static func signedBytes(of statement: Statement, cluster: UnsafeRawBufferPointer) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(signingContext.count + cluster.count + byteCount(statement))
    bytes.append(contentsOf: signingContext)
    bytes.append(contentsOf: cluster)
    encode(statement, into: &bytes)
    return bytes
  }

  private static func encode(_ viewChange: ViewChange, into output: inout [UInt8]) {
    output.append(viewChangeKind)
    append(viewChange.view.rawValue, to: &output)
    append(viewChange.membershipID, to: &output)
    append(viewChange.replica.rawValue, to: &output)
    append(viewChange.stable, to: &output)
    append(UInt32(viewChange.checkpoints.count), to: &output)
    append(UInt32(viewChange.prepared.count), to: &output)
    append(UInt32(viewChange.prePrepared.count), to: &output)
    append(UInt32(viewChange.accused.count), to: &output)
    for checkpoint in viewChange.checkpoints { append(checkpoint, to: &output) }
    for claim in viewChange.prepared { append(claim, to: &output) }
    for claim in viewChange.prePrepared { append(claim, to: &output) }
    for client in viewChange.accused { append(client, to: &output) }
  }

  private static func encode(_ newView: NewView, into output: inout [UInt8]) {
    output.append(newViewKind)
    append(newView.view.rawValue, to: &output)
    append(newView.membershipID, to: &output)
    append(newView.start, to: &output)
    append(UInt32(newView.viewChanges.count), to: &output)
    append(UInt32(newView.digests.count), to: &output)
    for viewChange in newView.viewChanges {
      encode(viewChange.content, into: &output)
      append(viewChange.signature, to: &output)
    }
    for digest in newView.digests { append(digest, to: &output) }
  }

  @inline(__always)
  private static func append(_ value: some FixedWidthInteger, to output: inout [UInt8]) {
    withUnsafeBytes(of: value.bigEndian) { output.append(contentsOf: $0) }
  }

  private static func append(_ digest: Digest, to output: inout [UInt8]) {
    digest.withUnsafeBytes { output.append(contentsOf: $0) }
  }

  private static func append(_ checkpoint: Checkpoint, to output: inout [UInt8]) {
    append(checkpoint.sequence.rawValue, to: &output)
    append(checkpoint.digest, to: &output)
  }

  private static func append(_ claim: Claim, to output: inout [UInt8]) {
    append(claim.sequence.rawValue, to: &output)
    append(claim.digest, to: &output)
    append(claim.view.rawValue, to: &output)
  }

  private static func append(_ signature: StatementSignature, to output: inout [UInt8]) {
    append(signature.low, to: &output)
    append(signature.high, to: &output)
  }

  // MARK: Decoding

  /// Reads a signed statement that takes exactly `bytes`. Allocates no more than a small multiple of their number.
  public static func decode(
    _ bytes: UnsafeRawBufferPointer, limits: StatementLimits
  ) throws(StatementError) -> SignedStatement {
    var reader = StatementReader(bytes: bytes)
    let kind = try reader.integer(UInt8.self)
    let statement: Statement
    switch kind {
    case viewChangeKind: statement = .viewChange(try viewChange(&reader, limits))
    case newViewKind: statement = .newView(try newView(&reader, limits))
    default: throw .kind(kind)
    }
    let signature = try reader.signature()
    guard reader.remaining == 0 else { throw .length }
    return SignedStatement(statement: statement, signature: signature)
  }

  /// The fields after the kind.
  private static func viewChange(
    _ reader: inout StatementReader, _ limits: StatementLimits
  ) throws(StatementError) -> ViewChange {
    var viewChange = ViewChange(
      view: View(try reader.integer()), membershipID: try reader.integer(),
      replica: ReplicaID(try reader.integer() as Int32), stable: try reader.checkpoint())
    let checkpoints = Int(try reader.integer(UInt32.self))
    let prepared = Int(try reader.integer(UInt32.self))
    let prePrepared = Int(try reader.integer(UInt32.self))
    let accused = Int(try reader.integer(UInt32.self))
    guard checkpoints <= limits.checkpoints, prepared <= limits.sequences,
      prePrepared <= limits.sequences * ViewChange.maximumDigestsPerSequence,
      accused <= ViewChange.maximumAccused
    else { throw .tooMany }
    guard reader.remaining >= checkpoints * 40 + (prepared + prePrepared) * 48 + accused * 4 else {
      throw .length
    }
    viewChange.checkpoints.reserveCapacity(checkpoints)
    for _ in 0..<checkpoints { viewChange.checkpoints.append(try reader.checkpoint()) }
    viewChange.prepared.reserveCapacity(prepared)
    for _ in 0..<prepared { viewChange.prepared.append(try reader.claim()) }
    viewChange.prePrepared.reserveCapacity(prePrepared)
    for _ in 0..<prePrepared { viewChange.prePrepared.append(try reader.claim()) }
    viewChange.accused.reserveCapacity(accused)
    for _ in 0..<accused { viewChange.accused.append(try reader.integer()) }
    return viewChange
  }

  private static func newView(
    _ reader: inout StatementReader, _ limits: StatementLimits
  ) throws(StatementError) -> NewView {
    var newView = NewView(
      view: View(try reader.integer()), membershipID: try reader.integer(), viewChanges: [],
      start: try reader.checkpoint(), digests: [])
    let viewChanges = Int(try reader.integer(UInt32.self))
    let digests = Int(try reader.integer(UInt32.self))
    guard viewChanges <= limits.replicas, digests <= limits.sequences else { throw .tooMany }
    let least = viewChanges * (viewChangeHeaderByteCount + StatementSignature.byteCount) + digests * 32
    guard reader.remaining >= least else { throw .length }
    newView.viewChanges.reserveCapacity(viewChanges)
    for _ in 0..<viewChanges {
      let kind = try reader.integer(UInt8.self)
      guard kind == viewChangeKind else { throw .kind(kind) }
      let content = try viewChange(&reader, limits)
      newView.viewChanges.append(SignedViewChange(content: content, signature: try reader.signature()))
    }
    guard reader.remaining >= digests * Digest.byteCount else { throw .length }
    newView.digests.reserveCapacity(digests)
    for _ in 0..<digests { newView.digests.append(try reader.digest()) }
    return newView
  }
}

/// Reads fields from the front; what is not there is an error.
private struct StatementReader {
  let bytes: UnsafeRawBufferPointer
  var offset = 0

  var remaining: Int { bytes.count - offset }

  mutating func integer<Integer: FixedWidthInteger>(
    _ type: Integer.Type = Integer.self
  ) throws(StatementError) -> Integer {
    guard remaining >= MemoryLayout<Integer>.size else { throw .length }
    defer { offset += MemoryLayout<Integer>.size }
    return Integer(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: type))
  }

  mutating func digest() throws(StatementError) -> Digest {
    guard remaining >= Digest.byteCount else { throw .length }
    defer { offset += Digest.byteCount }
    return Digest(bytes: UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + Digest.byteCount]))
  }

  mutating func checkpoint() throws(StatementError) -> Checkpoint {
    Checkpoint(sequence: SequenceNumber(try integer()), digest: try digest())
  }

  mutating func claim() throws(StatementError) -> Claim {
    Claim(sequence: SequenceNumber(try integer()), digest: try digest(), view: View(try integer()))
  }

  mutating func signature() throws(StatementError) -> StatementSignature {
    StatementSignature(low: try digest(), high: try digest())
  }
}
