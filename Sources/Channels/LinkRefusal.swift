// Why a secured connection did not become a link, or ceased to be one. The TLS library says it in words of its own; here
// they become the few reasons that a person can act upon.

import NIOSSL
import Wire

/// Why TLS has refused a connection.
public enum LinkRefusal: Error, Hashable, Sendable {
  /// The peer's certificate does not admit it.
  case certificate(CertificateRefusal)
  /// What the peer sends is not TLS.
  case notTLS
  /// The two have no version or cipher suite in common.
  case nothingInCommon
  /// The peer does not accept us; what it says of the reason.
  case byPeer(String)
  /// The peer did not finish the handshake in time.
  case silent
  /// The peer ended the connection in the middle of the handshake.
  case ended
  /// Too many connections were proving who they are.
  case tooMany
  /// Bytes that TLS does not allow: what the library calls it.
  case violation(String)

  init(_ error: any Error) {
    if let refusal = error as? LinkRefusal {
      self = refusal
      return
    }
    switch error {
    case NIOSSLError.uncleanShutdown: self = .ended
    case NIOSSLError.handshakeFailed(let inner): self.init(library: inner)
    case let inner as BoringSSLError: self.init(library: inner)
    default: self = .violation("\(error)")
    }
  }

  private init(library error: BoringSSLError) {
    let text = "\(error)"
    guard let mark = text.range(of: "OPENSSL_internal:") else {
      self = text.contains("eof") || text.contains("EOF") ? .ended : .violation("\(error)")
      return
    }
    let name = String(
      text[mark.upperBound...].prefix { $0 == "_" || $0.isASCII && ($0.isUppercase || $0.isNumber) })
    switch name {
    case "WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST": self = .notTLS
    case "NO_SHARED_CIPHER", "UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION",
      "SSLV3_ALERT_HANDSHAKE_FAILURE", "TLSV1_ALERT_INSUFFICIENT_SECURITY", "WRONG_CIPHER_RETURNED",
      "UNKNOWN_CIPHER_RETURNED":
      self = .nothingInCommon
    case "PEER_DID_NOT_RETURN_A_CERTIFICATE": self = .certificate(.count(0))
    case _ where name.contains("_ALERT_"):
      let reason = name.drop { $0 != "_" }.dropFirst("_ALERT_".count)
      self = .byPeer(reason.lowercased().replacing("_", with: " "))
    default: self = .violation(name)
    }
  }
}

extension LinkRefusal: CustomStringConvertible {
  public var description: String {
    switch self {
    case .certificate(let refusal): "\(refusal)"
    case .notTLS: "it does not speak TLS (is its --replica-auth another?)"
    case .nothingInCommon: "it has no TLS version or cipher suite in common with us"
    case .byPeer(let reason): "it does not accept us: \(reason)"
    case .silent:
      "it did not prove who it is in time"
    case .ended: "it ended the connection during the TLS handshake"
    case .tooMany: "more than \(LinkTLS.handshakesLimit) connections were proving who they are"
    case .violation(let name): "TLS error \(name)"
    }
  }
}
