// RSA by the system's libcrypto: keys of 1024 bits are what BFT-SMaRt's users still have, and swift-crypto refuses them.
// A key is made once; a context that signs or verifies with it belongs to one thread and is used again for every request.

import CLibcrypto
import Hashing
import PBFT

/// An RSA key pair of 1024 or 2048 bits. Prints nothing of it. Immutable, and libcrypto locks what it caches in it.
public final class RSAPrivateKey: @unchecked Sendable, CustomStringConvertible {
  /// 1024 or 2048.
  public let bits: Int
  fileprivate let key: OpaquePointer

  /// A new key from the system's entropy; takes about 20 ms with 1024 bits and 100 ms with 2048.
  public static func generate(bits: Int) -> RSAPrivateKey {
    guard let key = muster_rsa_generate(Int32(bits)), let made = RSAPrivateKey(owning: key) else {
      preconditionFailure("libcrypto cannot make an RSA key")
    }
    return made
  }

  /// Reads PKCS #8; nil unless it is an RSA key of 1024 or 2048 bits and nothing else.
  convenience init?(pkcs8 der: UnsafeRawBufferPointer) {
    guard let bytes = der.bindMemory(to: UInt8.self).baseAddress,
      let key = muster_pkcs8_key(bytes, der.count)
    else { return nil }
    self.init(owning: key)
  }

  private init?(owning key: OpaquePointer) {
    guard let bits = rsaBits(of: key) else {
      EVP_PKEY_free(key)
      return nil
    }
    self.bits = bits
    self.key = key
  }

  deinit { EVP_PKEY_free(key) }

  public var description: String { "<RSA private key>" }

  /// PKCS #8 in DER.
  var pkcs8: [UInt8] { der { muster_pkcs8_der(key, &$0) } }

  /// SubjectPublicKeyInfo in DER.
  var publicKeyInfo: [UInt8] { der { i2d_PUBKEY(key, &$0) } }

  private func der(_ encode: (inout UnsafeMutablePointer<UInt8>?) -> Int32) -> [UInt8] {
    var buffer: UnsafeMutablePointer<UInt8>?
    let count = encode(&buffer)
    guard count > 0, let buffer else { preconditionFailure("libcrypto cannot encode its own key") }
    defer { muster_openssl_free(buffer) }
    return Array(UnsafeBufferPointer(start: buffer, count: Int(count)))
  }
}

/// Signs with one RSA key and one hash. Confined to one thread.
final class RSASigner {
  private let key: RSAPrivateKey
  private let usesSHA512: Bool
  private let context: OpaquePointer

  init(_ key: RSAPrivateKey, usesSHA512: Bool) {
    self.key = key
    self.usesSHA512 = usesSHA512
    guard let context = EVP_PKEY_CTX_new(key.key, nil), EVP_PKEY_sign_init(context) == 1 else {
      preconditionFailure("libcrypto cannot sign with an RSA key")
    }
    self.context = context
    setScheme(of: context, usesSHA512: usesSHA512)
  }

  deinit { EVP_PKEY_CTX_free(context) }

  /// Signs `data` and returns the bytes written, an eighth of the key's bits.
  func sign(_ data: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Int {
    if usesSHA512 { return withSHA512(of: data) { sign(digest: $0, into: output) } }
    return Digest.sha256(data).withUnsafeBytes { sign(digest: $0, into: output) }
  }

  private func sign(digest: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Int {
    precondition(output.count >= key.bits / 8, "no room for an RSA signature")
    var count = output.count
    let signed = EVP_PKEY_sign(
      context, output.bindMemory(to: UInt8.self).baseAddress, &count,
      digest.bindMemory(to: UInt8.self).baseAddress, digest.count)
    precondition(signed == 1, "a valid RSA key signs")
    return count
  }
}

/// Verifies with one RSA key and one hash. Confined to one thread.
final class RSAVerifier {
  let bits: Int
  private let key: OpaquePointer
  private let usesSHA512: Bool
  private let context: OpaquePointer

  /// Reads SubjectPublicKeyInfo; nil unless it is an RSA key of 1024 or 2048 bits and nothing else.
  init?(publicKeyInfo der: UnsafeRawBufferPointer, usesSHA512: Bool) {
    var end = der.bindMemory(to: UInt8.self).baseAddress
    guard let start = end, let key = d2i_PUBKEY(nil, &end, der.count) else { return nil }
    guard end == start + der.count, let bits = rsaBits(of: key) else {
      EVP_PKEY_free(key)
      return nil
    }
    guard let context = EVP_PKEY_CTX_new(key, nil), EVP_PKEY_verify_init(context) == 1 else {
      preconditionFailure("libcrypto cannot verify with an RSA key")
    }
    self.bits = bits
    self.key = key
    self.usesSHA512 = usesSHA512
    self.context = context
    setScheme(of: context, usesSHA512: usesSHA512)
  }

  deinit {
    EVP_PKEY_CTX_free(context)
    EVP_PKEY_free(key)
  }

  /// Judges a signature over `data`.
  ///
  /// - Parameter digest: SHA-256 of `data`.
  func verify(
    data: UnsafeRawBufferPointer, digest: Digest, signature: UnsafeRawBufferPointer
  ) -> RequestVerdict {
    if usesSHA512 { return withSHA512(of: data) { verify(digest: $0, signature: signature) } }
    return digest.withUnsafeBytes { verify(digest: $0, signature: signature) }
  }

  private func verify(
    digest: UnsafeRawBufferPointer, signature: UnsafeRawBufferPointer
  ) -> RequestVerdict {
    guard signature.count == bits / 8 else { return .wrongFormat }
    let isValid = EVP_PKEY_verify(
      context, signature.bindMemory(to: UInt8.self).baseAddress, signature.count,
      digest.bindMemory(to: UInt8.self).baseAddress, digest.count)
    if isValid == 1 { return .authentic }
    // What a failed verification leaves in the thread's error queue says nothing more.
    ERR_clear_error()
    return .forged
  }
}

/// The size of an RSA key; nil for another kind of key, and for another size.
private func rsaBits(of key: OpaquePointer) -> Int? {
  guard EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA else { return nil }
  let bits = Int(EVP_PKEY_get_bits(key))
  return KeyKind.rsaBits.contains(bits) ? bits : nil
}

private func setScheme(of context: OpaquePointer, usesSHA512: Bool) {
  let isSet =
    EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1
    && EVP_PKEY_CTX_set_signature_md(context, usesSHA512 ? EVP_sha512() : EVP_sha256()) == 1
  precondition(isSet, "libcrypto has RSASSA-PKCS1-v1_5 with SHA-2")
}

private func withSHA512<Result>(
  of data: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) -> Result
) -> Result {
  withUnsafeTemporaryAllocation(byteCount: SHA512Hasher.byteCount, alignment: 8) { digest in
    SHA512Hasher.hash(data, into: digest.baseAddress!)
    return body(UnsafeRawBufferPointer(digest))
  }
}
