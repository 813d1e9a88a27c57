// BFT-SMaRt's client frame (master dialect), byte for byte in both directions, read and written in place.
// No length is believed before it is compared with the frame around it, and the frame's own with the limit.
//
//   len i32 | dlen i32 | data | slen i32 | signature          len = 8 + dlen + slen, all integers big-endian
//   data = sender i32 | viewID i32 | type u8 | session i32 | sequence i32 | operationId i32 | replyServer i32
//          | content length i32 (-1 = null) | content
//
// Source: bft-smart/library, TOMMessage.wExternal and communication/client/netty.

/// The type byte of a message as BFT-SMaRt's master dialect numbers it; replies echo that of their request.
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
  /// The whole serialized message: what digests and signatures are computed over.
  public let data: UnsafeRawBufferPointer
  /// Signature or tags over `data`; empty in unsigned modes.
  public let signature: UnsafeRawBufferPointer
  @usableFromInline let base: UnsafeRawPointer

  /// Precondition, unchecked: `data` has passed `ClientFrame.fault(inData:)`.
  @inlinable
  init(checkedData data: UnsafeRawBufferPointer, signature: UnsafeRawBufferPointer) {
    self.data = data
    self.signature = signature
    base = data.baseAddress.unsafelyUnwrapped
  }

  /// Client id in requests, replica id in replies.
  @inlinable public var sender: Int32 { base.bigEndian(0) }
  /// The sender, read as the client of a request.
  @inlinable public var client: Int32 { base.bigEndian(0) }
  /// BFT-SMaRt's `viewID`.
  @inlinable public var membershipID: Int32 { base.bigEndian(4) }
  /// Type byte as it came; whether it is known and allowed is the caller's business.
  @inlinable public var kind: UInt8 { base.load(fromByteOffset: 8, as: UInt8.self) }
  @inlinable public var session: Int32 { base.bigEndian(9) }
  @inlinable public var sequence: Int32 { base.bigEndian(13) }
  @inlinable public var operationID: Int32 { base.bigEndian(17) }
  @inlinable public var replyServer: Int32 { base.bigEndian(21) }

  /// The operation or its result; nil is BFT-SMaRt's null content, which is not the empty one.
  @inlinable public var content: UnsafeRawBufferPointer? {
    base.bigEndian(25, as: Int32.self) < 0
      ? nil : UnsafeRawBufferPointer(rebasing: data[ClientFrame.contentOffset...])
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
  /// Bytes before the content: `len`, `dlen` and the fixed fields of the message.
  public static let headerByteCount = 37
  /// Where `data` begins in a frame.
  public static let dataOffset = 8
  /// Where the content begins in `data`; at the same time the size of a message without content.
  public static let contentOffset = 29
  /// Bytes of the smallest `data`.
  public static let minimumDataByteCount = 29
  /// The smallest `len`: empty content, no signature.
  public static let minimumLength = 37
  /// No frame of more than 64 MiB is skipped, let alone read: such a length closes the connection.
  public static let hardLimit = 64 << 20

  /// Bytes of a whole frame with `content` bytes of content and `signature` bytes of signature.
  @inlinable
  public static func byteCount(content: Int, signature: Int) -> Int {
    headerByteCount + content + 4 + signature
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
  /// - Parameter maximumLength: the largest `len` (bytes after `len` itself) that is not skipped; BFT-SMaRt's
  ///   `system.communication.maxRequestSize`. Values above `hardLimit` mean `hardLimit`.
  @inlinable
  public static func decode(_ bytes: UnsafeRawBufferPointer, maximumLength: Int) -> Step {
    guard bytes.count >= 4, let base = bytes.baseAddress else { return .incomplete(needed: 4) }
    let length: Int32 = base.bigEndian(0)
    guard length >= Int32(minimumLength), length <= Int32(hardLimit) else {
      return .malformed(.frameLength(length))
    }
    let byteCount = Int(length) + 4
    guard Int(length) <= maximumLength else { return .skip(byteCount: byteCount) }
    // A length that cannot be right is refused as soon as it is seen, before its frame is waited for.
    guard bytes.count >= 8 else { return .incomplete(needed: byteCount) }
    let dataLength: Int32 = base.bigEndian(4)
    guard dataLength >= Int32(minimumDataByteCount), dataLength <= length - 8 else {
      return .malformed(.dataLength(dataLength, frame: length))
    }
    guard bytes.count >= byteCount else { return .incomplete(needed: byteCount) }
    let signatureOffset = dataOffset + Int(dataLength) + 4
    let signatureLength: Int32 = base.bigEndian(signatureOffset - 4)
    guard signatureLength == length - 8 - dataLength else {
      return .malformed(.signatureLength(signatureLength, expected: length - 8 - dataLength))
    }
    let data = UnsafeRawBufferPointer(start: base + dataOffset, count: Int(dataLength))
    if let fault = fault(inData: data) { return .malformed(fault) }
    let signature = UnsafeRawBufferPointer(start: base + signatureOffset, count: Int(signatureLength))
    return .frame(ClientFrameView(checkedData: data, signature: signature), byteCount: byteCount)
  }

  /// Reads a message that travels without its frame, as inside a pre-prepare.
  @inlinable
  public static func view(
    data: UnsafeRawBufferPointer, signature: UnsafeRawBufferPointer
  ) -> Result<ClientFrameView, WireError> {
    if let fault = fault(inData: data) { return .failure(fault) }
    return .success(ClientFrameView(checkedData: data, signature: signature))
  }

  /// What is wrong with the lengths inside a serialized message; nil when they agree.
  @inlinable
  static func fault(inData data: UnsafeRawBufferPointer) -> WireError? {
    guard data.count >= minimumDataByteCount, data.count <= hardLimit, let base = data.baseAddress else {
      return .dataLength(Int32(clamping: data.count), frame: Int32(clamping: data.count &+ 8))
    }
    let contentLength: Int32 = base.bigEndian(25)
    let left = Int32(truncatingIfNeeded: data.count - contentOffset)
    guard contentLength == left || (contentLength == -1 && left == 0) else {
      return .contentLength(contentLength, expected: left)
    }
    return nil
  }

  /// Writes a frame but for its signature, whose `signatureByteCount` bytes the caller fills in place, at the end.
  ///
  /// - Parameters:
  ///   - content: nil is BFT-SMaRt's null content.
  ///   - signatureByteCount: 0 where a `RequestSigner` or `RequestVerifier` appends it afterwards.
  /// - Returns: the bytes of the frame, signature included.
  /// - Precondition: `output` holds `byteCount(content:signature:)` bytes, and these are within `hardLimit`.
  @inlinable
  @discardableResult
  public static func encode(
    into output: UnsafeMutableRawBufferPointer, header: ClientFrameHeader, content: UnsafeRawBufferPointer?,
    signatureByteCount: Int = 0
  ) -> Int {
    let contentCount = content?.count ?? 0
    let total = byteCount(content: contentCount, signature: signatureByteCount)
    precondition(
      signatureByteCount >= 0 && total <= output.count && total <= hardLimit + 4, "frame does not fit")
    let base = output.baseAddress.unsafelyUnwrapped
    base.storeBigEndian(Int32(truncatingIfNeeded: total - 4), at: 0)
    base.storeBigEndian(Int32(truncatingIfNeeded: contentOffset + contentCount), at: 4)
    base.storeBigEndian(header.sender, at: 8)
    base.storeBigEndian(header.membershipID, at: 12)
    base.storeBytes(of: header.kind, toByteOffset: 16, as: UInt8.self)
    base.storeBigEndian(header.session, at: 17)
    base.storeBigEndian(header.sequence, at: 21)
    base.storeBigEndian(header.operationID, at: 25)
    base.storeBigEndian(header.replyServer, at: 29)
    base.storeBigEndian(content == nil ? -1 : Int32(truncatingIfNeeded: contentCount), at: 33)
    if let content { base.copy(content, to: headerByteCount) }
    base.storeBigEndian(Int32(truncatingIfNeeded: signatureByteCount), at: headerByteCount + contentCount)
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

  /// Where the signature of a frame that `encode` wrote begins.
  @inlinable
  public static func signatureOffset(ofEncoded frame: UnsafeMutableRawBufferPointer) -> Int {
    data(ofEncoded: frame).count + 12
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
