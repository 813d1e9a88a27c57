// How client requests are authenticated: the names that flags, files and CSV columns use, from the first day on.
// Ed25519 and ECDSA sign with the client's own key; another algorithm is a new case here, a key in `ClientKeyPair`
// and a column in the key files.

/// A public-key signature algorithm for client requests.
public enum SignatureAlgorithm: String, CaseIterable, Sendable {
  /// RFC 8032, over the data itself; 64 raw bytes.
  case ed25519
  /// ECDSA over SHA-256 of the data on NIST's P-256; DER, as Java writes it.
  case ecdsaP256 = "ecdsa-p256"

  /// The longest signature, in bytes.
  public var maximumSignatureByteCount: Int {
    switch self {
    case .ed25519: 64
    case .ecdsaP256: ECDSASignatureEncoding.maximumByteCount
    }
  }
}

/// The authentication of client requests, the axis `signature_mode`.
public enum SignatureMode: Hashable, Sendable {
  /// Requests carry nothing; one that does is refused, as BFT-SMaRt does with `useSignatures = 0`.
  case none
  /// One truncated HMAC-SHA256 tag per replica, in membership order; replies carry one.
  case hmac
  /// Each request is signed by its client.
  case sign(SignatureAlgorithm)
  /// BFT-SMaRt's `useSignatures = 2`: requests are unsigned; a replica verifies a signature of its own over a
  /// constant once per request, and then accepts it whatever it carries. It shows the cost of verifying alone.
  case verifyOnly(SignatureAlgorithm)
}

extension SignatureMode: CaseIterable, CustomStringConvertible {
  /// The modes that can be asked for, in the order in which help and errors list them.
  public static let allCases: [SignatureMode] = [
    .none, .hmac, .sign(.ed25519), .sign(.ecdsaP256), .verifyOnly(.ecdsaP256),
  ]

  /// The mode's name, as `init(name:)` reads it.
  public var description: String {
    switch self {
    case .none: "none"
    case .hmac: "hmac"
    case .sign(let algorithm): "sign:\(algorithm.rawValue)"
    case .verifyOnly(let algorithm): "verify-only:\(algorithm.rawValue)"
    }
  }

  /// Reads a name of `allCases`; the error lists them.
  public init(name: String) throws(SignatureModeError) {
    guard let mode = Self.allCases.first(where: { $0.description == name }) else { throw .unknownName(name) }
    self = mode
  }

  /// The mode of BFT-SMaRt's `system.communication.useSignatures` with the algorithm of its key loader.
  ///
  /// `muster keys` makes P-256 keys, the curve of the key files that BFT-SMaRt ships, so both its loaders for
  /// elliptic curves mean `ecdsa-p256`.
  ///
  /// - Parameters:
  ///   - useSignatures: 0, 1 or 2.
  ///   - keyLoader: `system.communication.defaultKeyLoader`.
  public init(useSignatures: Int, keyLoader: String) throws(SignatureModeError) {
    switch useSignatures {
    case 0: self = .none
    case 1, 2:
      guard ["ECDSA", "SunEC"].contains(keyLoader) else { throw .unsupportedKeyLoader(keyLoader) }
      self = useSignatures == 1 ? .sign(.ecdsaP256) : .verifyOnly(.ecdsaP256)
    default: throw .unknownUseSignatures(useSignatures)
    }
  }

  /// The algorithm that clients' key pairs are needed for; nil where clients do not sign.
  public var clientAlgorithm: SignatureAlgorithm? {
    if case .sign(let algorithm) = self { algorithm } else { nil }
  }
}

/// A signature mode that cannot be had.
public enum SignatureModeError: Error, Hashable, Sendable, CustomStringConvertible {
  case unknownName(String)
  case unknownUseSignatures(Int)
  case unsupportedKeyLoader(String)

  public var description: String {
    switch self {
    case .unknownName(let name):
      "unknown signature mode '\(name)', expected one of "
        + SignatureMode.allCases.map(\.description).joined(separator: ", ")
    case .unknownUseSignatures(let value): "useSignatures \(value), expected 0, 1 or 2"
    case .unsupportedKeyLoader(let name): "key loader '\(name)' cannot sign here, expected ECDSA or SunEC"
    }
  }
}
