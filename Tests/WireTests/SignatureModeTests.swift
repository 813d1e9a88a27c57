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
    ])
  func names(name: String, mode: SignatureMode) throws {
    #expect(try SignatureMode(name: name) == mode)
    #expect(mode.description == name)
    #expect(SignatureMode.allCases.contains(mode))
  }

  @Test(
    "an unknown name is refused with the names there are",
    arguments: ["", "None", "sign", "sign:", "sign:rsa-2048", "verify-only:ed25519"])
  func unknownName(name: String) {
    #expect(throws: SignatureModeError.unknownName(name)) { try SignatureMode(name: name) }
    #expect(
      SignatureModeError.unknownName(name).description
        == "unknown signature mode '\(name)', expected one of none, hmac, sign:ed25519, sign:ecdsa-p256,"
        + " verify-only:ecdsa-p256")
  }

  @Test("BFT-SMaRt's useSignatures says none, sign or verify-only")
  func useSignatures() throws {
    #expect(try SignatureMode(useSignatures: 0, keyLoader: "RSA") == .none)
    #expect(try SignatureMode(useSignatures: 1, keyLoader: "ECDSA") == .sign(.ecdsaP256))
    #expect(try SignatureMode(useSignatures: 1, keyLoader: "SunEC") == .sign(.ecdsaP256))
    #expect(try SignatureMode(useSignatures: 2, keyLoader: "ECDSA") == .verifyOnly(.ecdsaP256))
    #expect(throws: SignatureModeError.unsupportedKeyLoader("RSA")) {
      try SignatureMode(useSignatures: 1, keyLoader: "RSA")
    }
    #expect(throws: SignatureModeError.unknownUseSignatures(3)) {
      try SignatureMode(useSignatures: 3, keyLoader: "ECDSA")
    }
  }

  @Test("only signing modes need clients' key pairs")
  func clientAlgorithm() {
    #expect(SignatureMode.allCases.compactMap(\.clientAlgorithm) == [.ed25519, .ecdsaP256])
  }
}
