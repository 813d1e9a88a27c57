// TLS under a link: what a replica shows, what it accepts, and how a connection becomes a link only once its other end has
// proved which replica it is. Kept true: no byte of a peer reaches an owner before that, no connection waits for proof
// without a bound in number and time, and every refusal is a value with a reason.

import Foundation
import NIOCore
import NIOSSL
import NIOTLS
import PBFT
import Wire

/// Versions and cipher suites of TLS links, as `system.ssltls.protocol_version` and `system.ssltls.enabled_ciphers` say
/// them.
public struct LinkProtocol: Sendable, Hashable {
  /// TLS 1.2 and 1.3, every suite below.
  public static let standard = LinkProtocol(minimum: .tlsv12, maximum: .tlsv13, suites: Suite.allCases)

  /// Suites that a P-256 certificate allows and that keep earlier traffic secret when a key is lost, by their names in
  /// the registry.
  enum Suite: String, CaseIterable, Sendable {
    case aes128 = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
    case aes256 = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
    case chaCha20 = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"

    var cipher: NIOTLSCipher {
      switch self {
      case .aes128: .TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
      case .aes256: .TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
      case .chaCha20: .TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
      }
    }
  }

  let minimum: TLSVersion
  let maximum: TLSVersion
  /// Of TLS 1.2; those of TLS 1.3 are not chosen.
  let suites: [Suite]

  private init(minimum: TLSVersion, maximum: TLSVersion, suites: [Suite]) {
    self.minimum = minimum
    self.maximum = maximum
    self.suites = suites
  }

  /// What is wrong with a version or a list of suites.
  public struct Problem: Error, Hashable, Sendable, CustomStringConvertible {
    public let description: String
  }

  /// - Parameters:
  ///   - version: `TLSv1.2` or `TLSv1.3`, then no other; nil for both.
  ///   - suites: names of the registry, separated by commas; an empty one at the end is ignored as BFT-SMaRt does. nil for
  ///     all that are known. Those of TLS 1.3 may be named and change nothing, since TLS 1.3 has no weak ones.
  public init(version: String?, suites: String?) throws(Problem) {
    let standard = Self.standard
    switch version?.lowercased() {
    case nil: (minimum, maximum) = (standard.minimum, standard.maximum)
    case "tlsv1.2": (minimum, maximum) = (.tlsv12, .tlsv12)
    case "tlsv1.3": (minimum, maximum) = (.tlsv13, .tlsv13)
    case .some: throw Problem(description: "expected TLSv1.2 or TLSv1.3")
    }
    guard let suites else {
      self.suites = standard.suites
      return
    }
    var named: [Suite] = []
    for name in suites.split(separator: ",").map({ $0.trimmingCharacters(in: .whitespaces) })
    where !name.isEmpty && !Self.suitesOfTLS13.contains(name) {
      guard let suite = Suite(rawValue: name) else {
        let known = (Suite.allCases.map(\.rawValue) + Self.suitesOfTLS13).joined(separator: ", ")
        throw Problem(description: "\(name): expected some of \(known)")
      }
      named.append(suite)
    }
    self.suites = named.isEmpty ? standard.suites : named
  }

  private static let suitesOfTLS13 = [
    "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
  ]
}

/// What a replica needs for TLS links: its certificate and key, and the judge of others'. Made once for all its links.
public final class LinkTLS: Sendable {
  /// How long a connection may take to prove who it is, where nothing else is asked for.
  public static let handshakeTimeout = TimeAmount.seconds(5)
  /// Connections to one listener that may be at it at the same time.
  static let handshakesLimit = 64

  /// Credentials that cannot be used.
  public struct Problem: Error, Sendable, CustomStringConvertible {
    public let description: String
  }

  private let judge: LinkCertificateJudge
  private let clients: NIOSSLContext
  private let servers: NIOSSLContext
  private let handshakeTimeout: TimeAmount

  public init(
    credentials: LinkCredentials, cluster: ClusterID, protocol: LinkProtocol = .standard,
    handshakeTimeout: TimeAmount = LinkTLS.handshakeTimeout
  ) throws(Problem) {
    self.handshakeTimeout = handshakeTimeout
    do {
      judge = try LinkCertificateJudge(authorityPEM: credentials.authorityPEM, cluster: cluster)
      let authority = try NIOSSLCertificate(bytes: Array(credentials.authorityPEM.utf8), format: .pem)
      let own = try NIOSSLCertificate(bytes: Array(credentials.certificatePEM.utf8), format: .pem)
      let key = try NIOSSLPrivateKey(bytes: Array(credentials.privateKeyPEM.utf8), format: .pem)
      var server = TLSConfiguration.makeServerConfiguration(
        certificateChain: [.certificate(own)], privateKey: .privateKey(key))
      var client = TLSConfiguration.makeClientConfiguration()
      client.certificateChain = [.certificate(own)]
      client.privateKey = .privateKey(key)
      func complete(_ configuration: inout TLSConfiguration) {
        configuration.minimumTLSVersion = `protocol`.minimum
        configuration.maximumTLSVersion = `protocol`.maximum
        configuration.cipherSuiteValues = `protocol`.suites.map(\.cipher)
        configuration.trustRoots = .certificates([authority])
        // Both ends show a certificate, and our judge looks at it: replicas are known by their ids, not by host names.
        configuration.certificateVerification = .noHostnameVerification
      }
      complete(&server)
      complete(&client)
      servers = try NIOSSLContext(configuration: server)
      clients = try NIOSSLContext(configuration: client)
    } catch {
      throw Problem(description: "TLS cannot be set up with these certificates: \(error)")
    }
  }

  /// Puts TLS into a new channel: `link` joins it once the peer has proved who it is. `decided` is told that, or why not;
  /// then the channel is closed.
  ///
  /// - Parameter isDialling: whether we have connected, and not the peer.
  func install(
    in channel: any Channel, link: SocketLink, isDialling: Bool,
    decided: @escaping (Result<SocketLink, LinkRefusal>) -> Void
  ) throws {
    let gate = TLSGate(link: link, timeout: handshakeTimeout, decided: decided)
    let judging: NIOSSLCustomVerificationCallback = { [judge] chain, promise in
      gate.judge(chain, by: judge)
      promise.succeed(gate.isRefused ? .failed : .certificateVerified)
    }
    let handler: NIOSSLHandler =
      isDialling
      ? try NIOSSLClientHandler(
        context: clients, serverHostname: nil, customVerificationCallback: judging)
      : NIOSSLServerHandler(context: servers, customVerificationCallback: judging)
    gate.handler = handler
    try channel.pipeline.syncOperations.addHandlers(handler, gate)
  }
}

/// Holds a connection back from its link until the handshake is over.
private final class TLSGate: ChannelInboundHandler, RemovableChannelHandler, @unchecked Sendable {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer

  var handler: NIOSSLHandler!
  private var link: SocketLink?
  private var decided: ((Result<SocketLink, LinkRefusal>) -> Void)?
  /// What the certificate says.
  private var judgement: Result<ReplicaID, CertificateRefusal>?
  private let limit: TimeAmount
  private var timeout: Scheduled<Void>?

  init(
    link: SocketLink, timeout: TimeAmount, decided: @escaping (Result<SocketLink, LinkRefusal>) -> Void
  ) {
    self.link = link
    limit = timeout
    self.decided = decided
  }

  func judge(_ chain: [NIOSSLCertificate], by judge: LinkCertificateJudge) {
    do throws(CertificateRefusal) {
      var bytes: [[UInt8]] = []
      for certificate in chain {
        do { bytes.append(try certificate.toDERBytes()) } catch { throw .unreadable }
      }
      judgement = .success(try judge.replica(shownBy: bytes, now: Date()))
    } catch {
      judgement = .failure(error)
    }
  }

  var isRefused: Bool {
    if case .success? = judgement { return false }
    return true
  }

  func handlerAdded(context: ChannelHandlerContext) {
    timeout = context.eventLoop.assumeIsolated().scheduleTask(in: limit) { [self] in
      refuse(.silent, context)
    }
  }

  /// The link becomes active once the peer is known.
  func channelActive(context: ChannelHandlerContext) {}

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    guard case .handshakeCompleted? = event as? TLSUserEvent, let link else {
      return context.fireUserInboundEventTriggered(event)
    }
    guard case .success(let replica)? = judgement else { return refuse(.certificate(.count(0)), context) }
    link.securedBy(handler, peer: replica)
    do {
      try context.pipeline.syncOperations.addHandler(link, position: .after(self))
    } catch {
      return refuse(.ended, context)
    }
    decide(.success(link))
    context.fireChannelActive()
    context.pipeline.syncOperations.removeHandler(self, promise: nil)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    guard decided != nil else { return context.fireErrorCaught(error) }
    if case .failure(let refusal)? = judgement {
      refuse(.certificate(refusal), context)
    } else {
      refuse(LinkRefusal(error), context)
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    decide(.failure(.ended))
    context.fireChannelInactive()
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    decide(.failure(.ended))
    handler = nil
  }

  private func refuse(_ refusal: LinkRefusal, _ context: ChannelHandlerContext) {
    guard decided != nil else { return }
    decide(.failure(refusal))
    // An alert that says why is on its way already.
    context.closeBelow(handler)
  }

  private func decide(_ result: Result<SocketLink, LinkRefusal>) {
    timeout?.cancel()
    timeout = nil
    link = nil
    guard let decided else { return }
    self.decided = nil
    decided(result)
  }
}

extension ChannelHandlerContext {
  /// Closes the connection at once, without TLS's words of farewell and the wait for their answer: frames say
  /// themselves how long they are and which comes next, so that a stream cut short is never taken for a whole one.
  func closeBelow(_ handler: NIOSSLHandler) {
    if let below = try? pipeline.syncOperations.context(handler: handler) {
      below.close(promise: nil)
    } else {
      close(promise: nil)
    }
  }
}
