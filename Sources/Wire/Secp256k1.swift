// ECDSA on secp256k1 by libsecp256k1. Its contexts are read-only after they are made, and its keys and signatures are plain
// values: nothing here allocates.

import CSecp256k1

/// A secret scalar of secp256k1, 32 big-endian bytes. Prints nothing of it.
public struct Secp256k1PrivateKey: Sendable, CustomStringConvertible {
  private let scalar: (UInt64, UInt64, UInt64, UInt64)

  /// Reads 32 bytes; nil unless they are a number above 0 and below the order of the curve.
  init?(scalar bytes: UnsafeRawBufferPointer) {
    guard bytes.count == 32,
      secp256k1_ec_seckey_verify(secp256k1Context, bytes.bindMemory(to: UInt8.self).baseAddress!) == 1
    else { return nil }
    scalar = bytes.loadUnaligned(as: (UInt64, UInt64, UInt64, UInt64).self)
  }

  public var description: String { "<secp256k1 private key>" }

  /// The scalar, 32 bytes.
  func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    try Swift.withUnsafeBytes(of: scalar, body)
  }

  var publicKey: Secp256k1PublicKey {
    var key = secp256k1_pubkey()
    let made = withUnsafeBytes {
      secp256k1_ec_pubkey_create(secp256k1Context, &key, $0.bindMemory(to: UInt8.self).baseAddress!)
    }
    precondition(made == 1, "a valid scalar has a public key")
    return Secp256k1PublicKey(key)
  }

  /// Signs SHA-256 of the data (RFC 6979 nonce, s in the lower half) and writes DER.
  ///
  /// - Returns: the bytes written.
  /// - Precondition: `digest` has 32 bytes and `output` holds `ECDSASignatureEncoding.maximumByteCount`.
  func sign(digest: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Int {
    precondition(digest.count == 32, "ECDSA signs a digest of 32 bytes")
    var signature = secp256k1_ecdsa_signature()
    let signed = withUnsafeBytes { scalar in
      secp256k1_ecdsa_sign(
        secp256k1Context, &signature, digest.bindMemory(to: UInt8.self).baseAddress!,
        scalar.bindMemory(to: UInt8.self).baseAddress!, nil, nil)
    }
    precondition(signed == 1, "a valid key signs")
    return withUnsafeTemporaryAllocation(byteCount: ECDSASignatureEncoding.rawByteCount, alignment: 8) {
      raw in
      secp256k1_ecdsa_signature_serialize_compact(
        secp256k1Context, raw.bindMemory(to: UInt8.self).baseAddress!, &signature)
      return ECDSASignatureEncoding.encode(raw: UnsafeRawBufferPointer(raw), into: output)
    }
  }
}

/// A point of secp256k1.
public struct Secp256k1PublicKey: Sendable {
  private let key: secp256k1_pubkey

  fileprivate init(_ key: secp256k1_pubkey) { self.key = key }

  /// Reads x ‖ y, 64 bytes; nil if that is no point of the curve.
  init?(rawRepresentation bytes: UnsafeRawBufferPointer) {
    guard bytes.count == 64 else { return nil }
    var key = secp256k1_pubkey()
    let isPoint = withUnsafeTemporaryAllocation(byteCount: 65, alignment: 8) { point in
      point[0] = 4
      UnsafeMutableRawBufferPointer(rebasing: point[1...]).copyMemory(from: bytes)
      return secp256k1_ec_pubkey_parse(
        secp256k1Context, &key, point.bindMemory(to: UInt8.self).baseAddress!, point.count) == 1
    }
    guard isPoint else { return nil }
    self.key = key
  }

  /// x ‖ y, 64 bytes.
  var rawRepresentation: [UInt8] {
    var point = [UInt8](repeating: 0, count: 65)
    var count = point.count
    withUnsafePointer(to: key) {
      _ = secp256k1_ec_pubkey_serialize(
        secp256k1Context, &point, &count, $0, muster_secp256k1_uncompressed)
    }
    return Array(point[1...])
  }

  /// Judges a DER signature over a digest of 32 bytes. Java does not care in which half s is and libsecp256k1 does, so s is
  /// brought to the lower half first.
  func verify(digest: UnsafeRawBufferPointer, signature der: UnsafeRawBufferPointer) -> RequestVerdict {
    precondition(digest.count == 32, "ECDSA signs a digest of 32 bytes")
    var signature = secp256k1_ecdsa_signature()
    let isParsed = withUnsafeTemporaryAllocation(
      byteCount: ECDSASignatureEncoding.rawByteCount, alignment: 8
    ) { raw in
      ECDSASignatureEncoding.decode(der, into: raw)
        && secp256k1_ecdsa_signature_parse_compact(
          secp256k1Context, &signature, raw.bindMemory(to: UInt8.self).baseAddress!) == 1
    }
    guard isParsed else { return .wrongFormat }
    var lower = secp256k1_ecdsa_signature()
    _ = secp256k1_ecdsa_signature_normalize(secp256k1Context, &lower, &signature)
    let isValid = withUnsafePointer(to: key) {
      secp256k1_ecdsa_verify(
        secp256k1Context, &lower, digest.bindMemory(to: UInt8.self).baseAddress!, $0)
    }
    return isValid == 1 ? .authentic : .forged
  }
}

/// One for the process: only making and randomising a context writes to it.
nonisolated(unsafe) private let secp256k1Context: OpaquePointer = {
  guard let context = secp256k1_context_create(muster_secp256k1_context_flags) else {
    preconditionFailure("out of memory")
  }
  // Blinds signing against side channels; the library says to do it once where there is entropy.
  let seed = Secret.random().bytes
  _ = seed.withUnsafeBytes {
    secp256k1_context_randomize(context, $0.bindMemory(to: UInt8.self).baseAddress!)
  }
  return context
}()
