// What can be wrong with bytes from a peer, as values: a malformed input is an answer, never a trap and never text.

import Hashing

/// Why a client frame is malformed: its connection is closed, since the start of the next frame cannot be trusted.
public enum WireError: Error, Hashable, Sendable {
  /// `len` is negative, too small for the smallest message, or above `ClientFrame.hardLimit`.
  case frameLength(Int32)
  /// `dlen` is too small for a message or does not fit into a frame of `frame` bytes.
  case dataLength(Int32, frame: Int32)
  /// `slen` is not what is left of the frame after the data, `expected` bytes.
  case signatureLength(Int32, expected: Int32)
  /// The content's length is neither -1 (null content) nor what is left of the data, `expected` bytes.
  case contentLength(Int32, expected: Int32)
  /// v1.2: the MAC's length is not that of an HmacSHA512.
  case macLength(Int32, expected: Int32)
  /// v1.2: the type's value is above the one byte that all types fit in.
  case messageType(Int32)
}

extension WireError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .frameLength(let length):
      "frame length \(length), expected \(ClientFrame.minimumLength)...\(ClientFrame.hardLimit)"
    case .dataLength(let length, let frame):
      "data length \(length) in a frame of \(frame) bytes, expected at least "
        + "\(ClientFrame.minimumDataByteCount) and at most 8 less than the frame"
    case .signatureLength(let length, let expected):
      "signature length \(length), expected \(expected)"
    case .contentLength(let length, let expected):
      "content length \(length), expected \(expected)" + (expected == 0 ? " or -1" : "")
    case .macLength(let length, let expected): "MAC length \(length), expected \(expected)"
    case .messageType(let type): "message type \(type), expected 0...255"
    }
  }
}

/// Why bytes from another replica are refused. Each closes the link: its two ends no longer agree on the stream.
public enum LinkError: Error, Hashable, Sendable {
  /// A frame's length is too small for counter and tag, or above `LinkFrame.hardLimit`.
  case frameLength(UInt32)
  /// The frame's counter is not the next one: replayed, reordered or lost.
  case counter(UInt64, expected: UInt64)
  /// The tag is not that of these bytes under the link's key.
  case tag
  /// A message of a type that this build does not know.
  case messageType(UInt8)
  /// A message of this type ends after the end of its body, or says lengths that do.
  case truncated(LinkMessageType)
  /// A request inside a message of this type has data that is not a client's message.
  case request(LinkMessageType, WireError)
  /// A message of this type has a field with a value that nothing means.
  case field(LinkMessageType)
  /// A statement whose bytes are none.
  case statement(StatementError)
  /// The hello does not begin with Muster's mark.
  case helloMark(UInt32)
  /// The peer speaks another version of the link protocol.
  case helloVersion(UInt16)
  /// The peer belongs to another cluster.
  case helloCluster
  /// The peer's id is not the one expected, not a replica of the cluster, or our own.
  case helloReplica(Int32)
  /// The peer authenticates its frames in another way than we do; the byte it said.
  case helloAuthentication(UInt8)
  /// The peer says to be another replica than its certificate names.
  case helloCertificate(Int32, named: Int32)
  /// The peer's public key gives no shared secret (a point of small order).
  case keyAgreement
}

extension LinkError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .frameLength(let length): "link frame length \(length), limit \(LinkFrame.hardLimit)"
    case .counter(let counter, let expected): "link frame counter \(counter), expected \(expected)"
    case .tag: "link frame with a wrong tag"
    case .messageType(let type): "message of unknown type \(type)"
    case .truncated(let type): "truncated \(type) message"
    case .request(let type, let error): "\(type) message with a bad request: \(error)"
    case .field(let type): "\(type) message with a field that means nothing"
    case .statement(let error): "\(error)"
    // A handshake or an alert, of any version.
    case .helloMark(let mark) where mark >> 16 == 0x1603 || mark >> 16 == 0x1503:
      "TLS where it is not spoken (is the peer's --replica-auth another?)"
    case .helloMark(let mark): "hello begins with \(String(mark, radix: 16)): not a replica of Muster"
    case .helloVersion(let version): "hello of link version \(version), expected \(LinkHello.version)"
    case .helloCluster: "hello of another cluster"
    case .helloReplica(let id): "hello of an unexpected replica \(id)"
    case .helloAuthentication(let byte): "hello with another replica authentication (\(byte))"
    case .helloCertificate(let id, let named):
      "hello of replica \(id) with the certificate of replica \(named)"
    case .keyAgreement: "the peer's X25519 key gives no shared secret"
    }
  }
}
