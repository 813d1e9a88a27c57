// A key that is ready to sign or to verify, whatever its algorithm. Both belong to one thread: RSA keeps a context of
// libcrypto's with each, so that a request pays for the arithmetic only.

import Crypto
import Foundation
import Hashing
import PBFT

/// A private key ready to sign with one algorithm. Confined to one thread.
public struct SigningKey {
  private enum Form {
    case ed25519(Curve25519.Signing.PrivateKey)
    case ecdsaP256(P256.Signing.PrivateKey)
    case ecdsaSecp256k1(Secp256k1PrivateKey)
    case rsa(RSASigner)
  }

  private let form: Form

  /// Precondition: `pair` is of the algorithm's kind.
  public init(_ algorithm: SignatureAlgorithm, _ pair: ClientKeyPair) {
    precondition(pair.kind == algorithm.kind, "a \(pair.kind) key cannot sign \(algorithm.rawValue)")
    form =
      switch pair {
      case .ed25519(let key): .ed25519(key)
      case .ecdsaP256(let key): .ecdsaP256(key)
      case .ecdsaSecp256k1(let key): .ecdsaSecp256k1(key)
      case .rsa(let key): .rsa(RSASigner(key, usesSHA512: algorithm.usesSHA512))
      }
  }

  /// Signs `data` and returns the bytes written. secp256k1 allocates nothing; what the others allocate is their library's.
  ///
  /// - Precondition: `output` holds the algorithm's `maximumSignatureByteCount`.
  public func sign(_ data: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Int {
    // With a valid key signing fails only for want of memory or entropy.
    switch form {
    case .ed25519(let key):
      let signature = try! key.signature(for: data)
      signature.withUnsafeBytes { output.copyMemory(from: $0) }
      return signature.count
    case .ecdsaP256(let key):
      let signature = try! key.signature(for: SHA256Value(PBFT.Digest.sha256(data)))
      return signature.withUnsafeBytes { ECDSASignatureEncoding.encode(raw: $0, into: output) }
    case .ecdsaSecp256k1(let key):
      return PBFT.Digest.sha256(data).withUnsafeBytes { key.sign(digest: $0, into: output) }
    case .rsa(let signer): return signer.sign(data, into: output)
    }
  }

  /// The signature of `data` as bytes of their own.
  public func signature(of data: [UInt8]) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: 256) { buffer, count in
      count = data.withUnsafeBytes { sign($0, into: UnsafeMutableRawBufferPointer(buffer)) }
    }
  }
}

/// A public key ready to verify with one algorithm. Confined to one thread.
public struct VerifyingKey {
  private enum Form {
    case ed25519(Curve25519.Signing.PublicKey)
    case ecdsaP256(P256.Signing.PublicKey)
    case ecdsaSecp256k1(Secp256k1PublicKey)
    case rsa(RSAVerifier)
  }

  private let form: Form

  /// Parses a key as `ClientKeyPair.publicKey` gives it; nil if it is none, such as a point off the curve.
  public init?(_ algorithm: SignatureAlgorithm, _ bytes: UnsafeRawBufferPointer) {
    switch algorithm.kind {
    case .ed25519:
      guard let key = try? Curve25519.Signing.PublicKey(rawRepresentation: bytes) else { return nil }
      form = .ed25519(key)
    case .ecdsaP256:
      guard let key = try? P256.Signing.PublicKey(rawRepresentation: bytes) else { return nil }
      form = .ecdsaP256(key)
    case .ecdsaSecp256k1:
      guard let key = Secp256k1PublicKey(rawRepresentation: bytes) else { return nil }
      form = .ecdsaSecp256k1(key)
    case .rsa(let bits):
      guard let key = RSAVerifier(publicKeyInfo: bytes, usesSHA512: algorithm.usesSHA512), key.bits == bits
      else { return nil }
      form = .rsa(key)
    }
  }

  /// Judges a signature. secp256k1 allocates nothing; what the others allocate is their library's.
  ///
  /// - Parameter digest: SHA-256 of `data`.
  func verify(
    data: UnsafeRawBufferPointer, digest: PBFT.Digest, signature: UnsafeRawBufferPointer
  ) -> RequestVerdict {
    switch form {
    case .ed25519(let key):
      guard signature.count == 64 else { return .wrongFormat }
      return key.isValidSignature(signature, for: data) ? .authentic : .forged
    case .ecdsaP256(let key):
      return withUnsafeTemporaryAllocation(byteCount: ECDSASignatureEncoding.rawByteCount, alignment: 8) {
        raw in
        guard ECDSASignatureEncoding.decode(signature, into: raw),
          let signature = try? P256.Signing.ECDSASignature(rawRepresentation: UnsafeRawBufferPointer(raw))
        else { return .wrongFormat }
        return key.isValidSignature(signature, for: SHA256Value(digest)) ? .authentic : .forged
      }
    case .ecdsaSecp256k1(let key):
      return digest.withUnsafeBytes { key.verify(digest: $0, signature: signature) }
    case .rsa(let verifier): return verifier.verify(data: data, digest: digest, signature: signature)
    }
  }

  /// Whether `signature` is one over `data`.
  public func isAuthentic(_ signature: [UInt8], of data: [UInt8]) -> Bool {
    data.withUnsafeBytes { data in
      signature.withUnsafeBytes { verify(data: data, digest: .sha256(data), signature: $0) } == .authentic
    }
  }
}

/// One of our digests as swift-crypto's signatures want it, so that data is hashed once and by one implementation.
struct SHA256Value: Crypto.Digest {
  private let digest: PBFT.Digest

  static let byteCount = PBFT.Digest.byteCount

  init(_ digest: PBFT.Digest) { self.digest = digest }

  func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    try digest.withUnsafeBytes(body)
  }
}
