// Names of signature modes, and what BFT-SMaRt's settings mean in them.

import Testing
import Wire

@Suite("Signature modes")
struct SignatureModeTests {
  @Test(
    "each mode has the name that files and flags use",
    arguments: [
      ("none", SignatureMode.none), ("hmac", .hmac), ("sign:ed25519", .sign(.ed25519)),
      ("sign:ecdsa-p256", .sign(.ecdsaP256)), ("verify-only:ecdsa-p256", .verifyOnly(.ecdsaP256)),
      ("sign:ecdsa-secp256k1", .sign(.ecdsaSecp256k1)), ("sign:rsa-1024", .sign(.rsa1024)),
      ("sign:rsa-2048-sha512", .sign(.rsa2048SHA512)), ("verify-only:ed25519", .verifyOnly(.ed25519)),
      ("verify-only:rsa-2048", .verifyOnly(.rsa2048)),
    ])
  func names(name: String, mode: SignatureMode) throws {
    #expect(try SignatureMode(name: name) == mode)
    #expect(mode.description == name)
    #expect(SignatureMode.allCases.contains(mode))
  }

  @Test(
    "an unknown name is refused with the names there are",
    arguments: ["", "None", "sign", "sign:", "sign:rsa-4096", "verify-only:hmac"])
  func unknownName(name: String) {
    #expect(throws: SignatureModeError.unknownName(name)) { try SignatureMode(name: name) }
    #expect(
      SignatureModeError.unknownName(name).description
        == "unknown signature mode '\(name)', expected none, hmac, sign:<algorithm> or verify-only:<algorithm>, where the"
        + " algorithm is one of ed25519, ecdsa-p256, ecdsa-secp256k1, rsa-1024, rsa-2048, rsa-1024-sha512,"
        + " rsa-2048-sha512")
  }

  @Test("BFT-SMaRt's useSignatures says none, sign or verify-only")
  func useSignatures() throws {
    #expect(try SignatureMode(useSignatures: 0, algorithm: .rsa2048) == .none)
    #expect(try SignatureMode(useSignatures: 1, algorithm: .ecdsaSecp256k1) == .sign(.ecdsaSecp256k1))
    #expect(try SignatureMode(useSignatures: 2, algorithm: .ecdsaP256) == .verifyOnly(.ecdsaP256))
    #expect(throws: SignatureModeError.unknownUseSignatures(3)) {
      try SignatureMode(useSignatures: 3, algorithm: .ecdsaP256)
    }
  }

  @Test("only signing modes need clients' key pairs")
  func clientAlgorithm() {
    #expect(SignatureMode.allCases.compactMap(\.clientAlgorithm) == SignatureAlgorithm.allCases)
    #expect(SignatureMode.allCases.count == 2 + 2 * SignatureAlgorithm.allCases.count)
  }

  @Test("an algorithm is a kind of key and a hash", arguments: SignatureAlgorithm.allCases)
  func kinds(algorithm: SignatureAlgorithm) {
    #expect(SignatureAlgorithm(algorithm.kind, usesSHA512: algorithm.usesSHA512) == algorithm)
  }
}
