// How client requests are authenticated: the names that flags, files and CSV columns use. A name says everything that
// decides the bytes of a signature: the kind of key, its size, and the hash where there is a choice.
// Another algorithm is a new case here, a key in `SignatureKeys`, and a column in the key files.

/// A public-key signature algorithm for client requests.
public enum SignatureAlgorithm: String, CaseIterable, Sendable {
  /// RFC 8032, over the data itself; 64 raw bytes.
  case ed25519
  /// ECDSA over SHA-256 of the data on NIST's P-256; DER, as Java writes it.
  case ecdsaP256 = "ecdsa-p256"
  /// ECDSA over SHA-256 of the data on secp256k1, the curve of BFT-SMaRt's built-in keys; DER, as Java writes it.
  case ecdsaSecp256k1 = "ecdsa-secp256k1"
  /// RSASSA-PKCS1-v1_5 with SHA-256 and a key of 1024 bits: Java's SHA256withRSA.
  case rsa1024 = "rsa-1024"
  /// The same with 2048 bits.
  case rsa2048 = "rsa-2048"
  /// RSASSA-PKCS1-v1_5 with SHA-512 and a key of 1024 bits: Java's SHA512withRSA.
  case rsa1024SHA512 = "rsa-1024-sha512"
  /// The same with 2048 bits: what BFT-SMaRt v1.2 signs with.
  case rsa2048SHA512 = "rsa-2048-sha512"

  /// The longest signature, in bytes.
  public var maximumSignatureByteCount: Int {
    switch kind {
    case .ed25519: 64
    case .ecdsaP256, .ecdsaSecp256k1: ECDSASignatureEncoding.maximumByteCount
    case .rsa(let bits): bits / 8
    }
  }

  /// The kind of key it signs with.
  public var kind: KeyKind {
    switch self {
    case .ed25519: .ed25519
    case .ecdsaP256: .ecdsaP256
    case .ecdsaSecp256k1: .ecdsaSecp256k1
    case .rsa1024, .rsa1024SHA512: .rsa(bits: 1024)
    case .rsa2048, .rsa2048SHA512: .rsa(bits: 2048)
    }
  }

  /// Whether the data is hashed with SHA-512 instead of SHA-256 (Ed25519 hashes for itself).
  public var usesSHA512: Bool { self == .rsa1024SHA512 || self == .rsa2048SHA512 }

  /// The algorithm that signs with keys of `kind`; SHA-512 is an alternative for RSA only.
  public init(_ kind: KeyKind, usesSHA512: Bool = false) {
    switch kind {
    case .ed25519: self = .ed25519
    case .ecdsaP256: self = .ecdsaP256
    case .ecdsaSecp256k1: self = .ecdsaSecp256k1
    case .rsa(bits: 1024): self = usesSHA512 ? .rsa1024SHA512 : .rsa1024
    case .rsa(bits: 2048): self = usesSHA512 ? .rsa2048SHA512 : .rsa2048
    case .rsa(let bits): preconditionFailure("no algorithm for RSA keys of \(bits) bits")
    }
  }
}

/// What a key is, whatever is hashed before it is used.
public enum KeyKind: Hashable, Sendable, CustomStringConvertible {
  case ed25519
  case ecdsaP256
  case ecdsaSecp256k1
  /// 1024 or 2048 bits.
  case rsa(bits: Int)

  /// The sizes of RSA keys that are taken.
  public static let rsaBits = [1024, 2048]

  /// As messages name it.
  public var description: String {
    switch self {
    case .ed25519: "Ed25519"
    case .ecdsaP256: "P-256"
    case .ecdsaSecp256k1: "secp256k1"
    case .rsa(let bits): "RSA-\(bits)"
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
  public static let allCases: [SignatureMode] =
    [.none, .hmac] + SignatureAlgorithm.allCases.map { .sign($0) }
    + SignatureAlgorithm.allCases.map { .verifyOnly($0) }

  /// The mode's name, as `init(name:)` reads it.
  public var description: String {
    switch self {
    case .none: "none"
    case .hmac: "hmac"
    case .sign(let algorithm): "sign:\(algorithm.rawValue)"
    case .verifyOnly(let algorithm): "verify-only:\(algorithm.rawValue)"
    }
  }

  /// How help and errors list the modes: algorithms once, instead of every combination.
  public static let listing =
    "none, hmac, sign:<algorithm> or verify-only:<algorithm>, where the algorithm is one of "
    + SignatureAlgorithm.allCases.map(\.rawValue).joined(separator: ", ")

  /// Reads a name of `allCases`; the error lists them.
  public init(name: String) throws(SignatureModeError) {
    guard let mode = Self.allCases.first(where: { $0.description == name }) else { throw .unknownName(name) }
    self = mode
  }

  /// The mode of BFT-SMaRt's `system.communication.useSignatures` with the algorithm of its keys.
  ///
  /// - Parameters:
  ///   - useSignatures: 0, 1 or 2.
  ///   - algorithm: of the keys in force, `KeyLoader.algorithm(…)`.
  public init(useSignatures: Int, algorithm: SignatureAlgorithm) throws(SignatureModeError) {
    switch useSignatures {
    case 0: self = .none
    case 1: self = .sign(algorithm)
    case 2: self = .verifyOnly(algorithm)
    default: throw .unknownUseSignatures(useSignatures)
    }
  }

  /// Whether verifying a request costs much more than everything else about it.
  public var isSlowToVerify: Bool {
    switch self {
    case .none, .hmac: false
    case .sign, .verifyOnly: true
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

  public var description: String {
    switch self {
    case .unknownName(let name): "unknown signature mode '\(name)', expected \(SignatureMode.listing)"
    case .unknownUseSignatures(let value): "useSignatures \(value), expected 0, 1 or 2"
    }
  }
}
