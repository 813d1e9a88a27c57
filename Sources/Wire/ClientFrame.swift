// BFT-SMaRt's client frame, byte for byte in both directions and both dialects, read and written in place.
// No length is believed before it is compared with the frame around it, and the frame's own with the limit.
//
//   len i32 | dlen i32 | data | [mlen i32 | MAC] | slen i32 | signature     len = what follows, all integers big-endian
//   data = sender i32 | viewID i32 | type u8 | session i32 | sequence i32 | operationId i32 | replyServer i32
//          | content length i32 (-1 = null) | content
//
// v1.2 has the MAC block where `useMACs` is on, and a type of four bytes; the master dialect has neither.
// Source: bft-smart/library, TOMMessage.wExternal and communication/client/netty.

/// The type of a message as BFT-SMaRt numbers it; replies echo that of their request. v1.2 knows those up to 6.
public enum ClientMessageKind: UInt8, Sendable {
  case ordered = 0
  case unordered = 1
  /// Never on the wire: replies echo the request's type.
  case reply = 2
  case reconfigure = 3
  case askStatus = 4
  case statusReply = 5
  case unorderedHashed = 6
  case orderedHashed = 7
}

/// The fixed fields of a client's message or of the reply to it.
public struct ClientFrameHeader: Hashable, Sendable {
  /// Client id in requests, replica id in replies.
  public var sender: Int32
  /// BFT-SMaRt's `viewID`: the membership the sender believes in, 0 at first.
  public var membershipID: Int32
  /// Type byte, `ClientMessageKind` where known.
  public var kind: UInt8
  public var session: Int32
  public var sequence: Int32
  public var operationID: Int32
  /// The replica that must send the full reply of a hashed request, otherwise -1.
  public var replyServer: Int32

  @inlinable
  public init(
    sender: Int32, membershipID: Int32, kind: UInt8, session: Int32, sequence: Int32, operationID: Int32,
    replyServer: Int32 = -1
  ) {
    self.sender = sender
    self.membershipID = membershipID
    self.kind = kind
    self.session = session
    self.sequence = sequence
    self.operationID = operationID
    self.replyServer = replyServer
  }
}

/// A client's message in the memory it arrived in; valid as long as that memory. All its lengths are checked.
public struct ClientFrameView {
  /// The whole serialized message: what digests, signatures and MACs are computed over.
  public let data: UnsafeRawBufferPointer
  /// v1.2's MAC over `data`, 64 bytes where `useMACs` is on; empty otherwise.
  public let mac: UnsafeRawBufferPointer
  /// Signature or tags over `data`; empty in unsigned modes.
  public let signature: UnsafeRawBufferPointer
  @usableFromInline let base: UnsafeRawPointer
  /// `base`, further on by the dialect's shift: the fields behind the type are at the same offsets from here.
  @usableFromInline let tail: UnsafeRawPointer

  /// Precondition, unchecked: `data` has passed `ClientFrame.fault(inData:)` in this dialect.
  @inlinable
  init(
    checkedData data: UnsafeRawBufferPointer, signature: UnsafeRawBufferPointer,
    mac: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0),
    dialect: ClientDialect = .master
  ) {
    self.data = data
    self.mac = mac
    self.signature = signature
    base = data.baseAddress.unsafelyUnwrapped
    tail = base + dialect.shift
  }

  /// Client id in requests, replica id in replies.
  @inlinable public var sender: Int32 { base.bigEndian(0) }
  /// The sender, read as the client of a request.
  @inlinable public var client: Int32 { base.bigEndian(0) }
  /// BFT-SMaRt's `viewID`.
  @inlinable public var membershipID: Int32 { base.bigEndian(4) }
  /// Type as it came (v1.2: its lowest byte, the others are 0); whether it is known and allowed is the caller's business.
  @inlinable public var kind: UInt8 { tail.load(fromByteOffset: 8, as: UInt8.self) }
  @inlinable public var session: Int32 { tail.bigEndian(9) }
  @inlinable public var sequence: Int32 { tail.bigEndian(13) }
  @inlinable public var operationID: Int32 { tail.bigEndian(17) }
  @inlinable public var replyServer: Int32 { tail.bigEndian(21) }

  /// The dialect it was read in.
  @inlinable public var dialect: ClientDialect { tail == base ? .master : .v12 }
  /// Where the content begins in `data`.
  @inlinable public var contentOffset: Int { tail - base + ClientFrame.contentOffset }

  /// The operation or its result; nil is BFT-SMaRt's null content, which is not the empty one.
  @inlinable public var content: UnsafeRawBufferPointer? {
    tail.bigEndian(25, as: Int32.self) < 0
      ? nil : UnsafeRawBufferPointer(rebasing: data[contentOffset...])
  }

  /// All fixed fields as one value.
  @inlinable public var header: ClientFrameHeader {
    ClientFrameHeader(
      sender: sender, membershipID: membershipID, kind: kind, session: session, sequence: sequence,
      operationID: operationID, replyServer: replyServer)
  }
}

/// Reading and writing client frames.
public enum ClientFrame {
  /// Bytes before the content in the master dialect: `len`, `dlen` and the fixed fields of the message.
  public static let headerByteCount = 37
  /// Where `data` begins in a frame.
  public static let dataOffset = 8
  /// Where the content begins in `data` of the master dialect; at the same time the size of a message without content.
  public static let contentOffset = 29
  /// Bytes of the smallest `data`.
  public static let minimumDataByteCount = 29
  /// The smallest `len`: empty content, no signature.
  public static let minimumLength = 37
  /// Bytes of v1.2's MAC and of its length.
  public static let macByteCount = 64
  @usableFromInline static let macBlockByteCount = 68
  /// No frame of more than 64 MiB is skipped, let alone read: such a length closes the connection.
  public static let hardLimit = 64 << 20

  /// Bytes of a whole frame with `content` bytes of content and `signature` bytes of signature.
  @inlinable
  public static func byteCount(
    content: Int, signature: Int, dialect: ClientDialect = .master, useMACs: Bool = false
  ) -> Int {
    headerByteCount + dialect.shift + content + 4 + signature + (useMACs ? macBlockByteCount : 0)
  }

  /// What the bytes at the read cursor are.
  public enum Step {
    /// Nothing is wrong so far; a decision needs `needed` bytes in all, counted from the cursor.
    case incomplete(needed: Int)
    /// A frame of `byteCount` bytes; the view points into the bytes given.
    case frame(ClientFrameView, byteCount: Int)
    /// A frame above the caller's limit: `byteCount` bytes, some of them perhaps not here yet, are to be dropped
    /// from the stream without buffering, counted, and the connection kept.
    case skip(byteCount: Int)
    /// The connection is to be closed.
    case malformed(WireError)
  }

  /// Decodes the frame at the start of `bytes` without copying or allocating.
  ///
  /// - Parameters:
  ///   - maximumLength: the largest `len` (bytes after `len` itself) that is not skipped; BFT-SMaRt's
  ///     `system.communication.maxRequestSize`. Values above `hardLimit` mean `hardLimit`.
  ///   - dialect: of the cluster.
  ///   - useMACs: whether frames of v1.2 carry a MAC; it is not checked here. The master dialect has none.
  @inlinable
  public static func decode(
    _ bytes: UnsafeRawBufferPointer, maximumLength: Int, dialect: ClientDialect = .master,
    useMACs: Bool = false
  ) -> Step {
    guard bytes.count >= 4, let base = bytes.baseAddress else { return .incomplete(needed: 4) }
    let length: Int32 = base.bigEndian(0)
    let shift = Int32(truncatingIfNeeded: dialect.shift)
    let macBlock: Int32 = useMACs ? Int32(truncatingIfNeeded: macBlockByteCount) : 0
    guard length >= Int32(minimumLength) + shift + macBlock, length <= Int32(hardLimit) else {
      return .malformed(.frameLength(length))
    }
    let byteCount = Int(length) + 4
    guard Int(length) <= maximumLength else { return .skip(byteCount: byteCount) }
    // A length that cannot be right is refused as soon as it is seen, before its frame is waited for.
    guard bytes.count >= 8 else { return .incomplete(needed: byteCount) }
    let dataLength: Int32 = base.bigEndian(4)
    guard dataLength >= Int32(minimumDataByteCount) + shift, dataLength <= length - 8 - macBlock else {
      return .malformed(.dataLength(dataLength, frame: length))
    }
    guard bytes.count >= byteCount else { return .incomplete(needed: byteCount) }
    var offset = dataOffset + Int(dataLength)
    var mac = UnsafeRawBufferPointer(start: nil, count: 0)
    if useMACs {
      let macLength: Int32 = base.bigEndian(offset)
      guard macLength == Int32(macByteCount) else {
        return .malformed(.macLength(macLength, expected: Int32(macByteCount)))
      }
      mac = UnsafeRawBufferPointer(start: base + (offset + 4), count: macByteCount)
      offset += macBlockByteCount
    }
    let signatureLength: Int32 = base.bigEndian(offset)
    guard signatureLength == length - 8 - dataLength - macBlock else {
      return .malformed(.signatureLength(signatureLength, expected: length - 8 - dataLength - macBlock))
    }
    let data = UnsafeRawBufferPointer(start: base + dataOffset, count: Int(dataLength))
    if let fault = fault(inData: data, dialect) { return .malformed(fault) }
    let signature = UnsafeRawBufferPointer(start: base + (offset + 4), count: Int(signatureLength))
    return .frame(
      ClientFrameView(checkedData: data, signature: signature, mac: mac, dialect: dialect),
      byteCount: byteCount)
  }

  /// Reads a message that travels without its frame, as inside a pre-prepare.
  @inlinable
  public static func view(
    data: UnsafeRawBufferPointer, signature: UnsafeRawBufferPointer, dialect: ClientDialect = .master
  ) -> Result<ClientFrameView, WireError> {
    if let fault = fault(inData: data, dialect) { return .failure(fault) }
    return .success(ClientFrameView(checkedData: data, signature: signature, dialect: dialect))
  }

  /// What is wrong with a serialized message: lengths that disagree, or a type of v1.2 above one byte; nil when nothing is.
  @inlinable
  static func fault(inData data: UnsafeRawBufferPointer, _ dialect: ClientDialect = .master) -> WireError? {
    let shift = dialect.shift
    guard data.count >= minimumDataByteCount + shift, data.count <= hardLimit, let base = data.baseAddress
    else {
      return .dataLength(Int32(clamping: data.count), frame: Int32(clamping: data.count &+ 8))
    }
    let contentLength: Int32 = base.bigEndian(25 + shift)
    let left = Int32(truncatingIfNeeded: data.count - contentOffset - shift)
    guard contentLength == left || (contentLength == -1 && left == 0) else {
      return .contentLength(contentLength, expected: left)
    }
    if shift != 0 {
      let type: Int32 = base.bigEndian(8)
      guard UInt32(bitPattern: type) <= 0xff else { return .messageType(type) }
    }
    return nil
  }

  /// Writes a frame but for its MAC and its signature, which the caller fills in place: the signature at the end.
  ///
  /// - Parameters:
  ///   - content: nil is BFT-SMaRt's null content.
  ///   - signatureByteCount: 0 where a `RequestSigner` or `RequestVerifier` appends it afterwards.
  ///   - useMACs: leaves room for a MAC of v1.2, for `ChannelKeys12.seal`.
  /// - Returns: the bytes of the frame, signature included.
  /// - Precondition: `output` holds `byteCount(content:signature:dialect:useMACs:)` bytes, and these are within
  ///   `hardLimit`; MACs only in v1.2.
  @inlinable
  @discardableResult
  public static func encode(
    into output: UnsafeMutableRawBufferPointer, header: ClientFrameHeader, content: UnsafeRawBufferPointer?,
    signatureByteCount: Int = 0, dialect: ClientDialect = .master, useMACs: Bool = false
  ) -> Int {
    let contentCount = content?.count ?? 0
    let total = byteCount(
      content: contentCount, signature: signatureByteCount, dialect: dialect, useMACs: useMACs)
    precondition(
      signatureByteCount >= 0 && total <= output.count && total <= hardLimit + 4, "frame does not fit")
    precondition(!useMACs || dialect == .v12, "the master dialect has no MACs")
    let base = output.baseAddress.unsafelyUnwrapped
    let tail = base + dialect.shift
    base.storeBigEndian(Int32(truncatingIfNeeded: total - 4), at: 0)
    base.storeBigEndian(Int32(truncatingIfNeeded: dialect.contentOffset + contentCount), at: 4)
    base.storeBigEndian(header.sender, at: 8)
    base.storeBigEndian(header.membershipID, at: 12)
    if dialect != .master { base.storeBigEndian(Int32(0), at: 16) }
    tail.storeBytes(of: header.kind, toByteOffset: 16, as: UInt8.self)
    tail.storeBigEndian(header.session, at: 17)
    tail.storeBigEndian(header.sequence, at: 21)
    tail.storeBigEndian(header.operationID, at: 25)
    tail.storeBigEndian(header.replyServer, at: 29)
    tail.storeBigEndian(content == nil ? -1 : Int32(truncatingIfNeeded: contentCount), at: 33)
    if let content { tail.copy(content, to: headerByteCount) }
    var end = tail + (headerByteCount + contentCount)
    if useMACs {
      end.storeBigEndian(Int32(truncatingIfNeeded: macByteCount), at: 0)
      end += macBlockByteCount
    }
    end.storeBigEndian(Int32(truncatingIfNeeded: signatureByteCount), at: 0)
    return total
  }

  /// The `data` of a frame that `encode` wrote, in place.
  @inlinable
  public static func data(ofEncoded frame: UnsafeMutableRawBufferPointer) -> UnsafeRawBufferPointer {
    let base = UnsafeRawPointer(frame.baseAddress.unsafelyUnwrapped)
    let dataLength = Int(base.bigEndian(4, as: Int32.self))
    precondition(dataLength >= minimumDataByteCount && dataLength + 12 <= frame.count, "not an encoded frame")
    return UnsafeRawBufferPointer(start: base + dataOffset, count: dataLength)
  }

  /// Where the MAC of a frame that `encode` wrote begins; nil where it has none.
  ///
  /// Behind the data stands either the signature's length, which then is what is left of the frame, or the MAC's.
  @inlinable
  public static func macOffset(ofEncoded frame: UnsafeMutableRawBufferPointer) -> Int? {
    let data = data(ofEncoded: frame)
    let base = UnsafeRawPointer(frame.baseAddress.unsafelyUnwrapped)
    let next = Int(base.bigEndian(dataOffset + data.count, as: Int32.self))
    return Int(base.bigEndian(0, as: Int32.self)) == 8 + data.count + next ? nil : data.count + 12
  }

  /// Where the signature of a frame that `encode` wrote begins.
  @inlinable
  public static func signatureOffset(ofEncoded frame: UnsafeMutableRawBufferPointer) -> Int {
    data(ofEncoded: frame).count + 12 + (macOffset(ofEncoded: frame) == nil ? 0 : macBlockByteCount)
  }

  /// Changes the signature's length of a frame that `encode` wrote: DER signatures say theirs only when made.
  ///
  /// - Returns: the bytes of the whole frame with a signature of `count` bytes.
  @inlinable
  @discardableResult
  public static func setSignatureByteCount(_ count: Int, inEncoded frame: UnsafeMutableRawBufferPointer)
    -> Int
  {
    let offset = signatureOffset(ofEncoded: frame)
    precondition(count >= 0 && offset + count <= frame.count, "signature does not fit")
    let base = frame.baseAddress.unsafelyUnwrapped
    base.storeBigEndian(Int32(truncatingIfNeeded: offset + count - 4), at: 0)
    base.storeBigEndian(Int32(truncatingIfNeeded: count), at: offset - 4)
    return offset + count
  }
}
