// BFT-SMaRt's key loaders: their folders, what is read from them, and every way in which a file can be wrong.

import Foundation
import PBFT
import Testing

@testable import Wire

@Suite("BFT-SMaRt's key loaders")
final class KeyLoaderTests {
  private let configuration = NSTemporaryDirectory() + "muster-loaders-\(UUID())"

  init() throws {
    try FileManager.default.createDirectory(atPath: configuration, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: configuration) }

  private func write(_ text: String, _ folder: String, _ name: String) throws -> String {
    let directory = configuration + "/" + folder
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    let path = directory + "/" + name
    try text.write(toFile: path, atomically: true, encoding: .utf8)
    return path
  }

  private func base64(_ bytes: [UInt8]) -> String { Data(bytes).base64EncodedString() }

  private func error(_ loader: KeyLoader, privateKeys: Bool = true) -> String {
    do {
      _ = try loader.read(
        loader.folder(in: configuration) ?? configuration + "/none", privateKeys: privateKeys)
      return "read"
    } catch { return "\(error)" }
  }

  @Test(
    "a set that is written reads back, mode 0600, a line of base64 in each file",
    arguments: [
      (KeyLoader.ecdsa, KeyKind.ecdsaP256), (.ecdsa, .ecdsaSecp256k1), (.sunEC, .ecdsaP256),
      (.rsa, .rsa(bits: 1024)), (.rsa, .rsa(bits: 2048)),
    ])
  func roundTrip(loader: KeyLoader, kind: KeyKind) throws {
    let folder = try LoadedKeys.write(
      loader, kind, ids: [0, 1, 7002, 1001], configurationDirectory: configuration)
    #expect(folder == configuration + "/keys" + loader.rawValue && loader.folder(in: configuration) == folder)
    for name in try FileManager.default.contentsOfDirectory(atPath: folder) {
      let attributes = try FileManager.default.attributesOfItem(atPath: folder + "/" + name)
      #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o600)
      let text = try String(contentsOfFile: folder + "/" + name, encoding: .utf8)
      #expect(text.split(separator: "\n").count == 1 && text.hasPrefix("M"))
    }
    let keys = try loader.read(folder, privateKeys: true)
    #expect(keys.kind == kind && keys.exposed.isEmpty)
    #expect(keys.publicKeys.keys.sorted() == [0, 1, 1001, 7002] && keys.pairs.count == 4)
    #expect(keys.pairs[1001].map { [UInt8]($0.publicKey) } == keys.publicKeys[1001])
    // Each has its own pair, but for RSA.
    #expect((Set(keys.publicKeys.values).count == 1) == (loader == .rsa))
    #expect(try loader.read(folder, privateKeys: false).pairs.isEmpty)
    #expect(throws: KeyFileError.exists(path: folder + "/publickey1")) {
      try LoadedKeys.write(loader, kind, ids: [9, 1], configurationDirectory: configuration)
    }
  }

  @Test("v1.2's folders are read where master's are not there")
  func earlierFolders() throws {
    let key = base64(KeyEncoding.der(of: .generate(.ecdsaP256)).publicKey)
    #expect(KeyLoader.ecdsa.folder(in: configuration) == nil)
    _ = try write(key, "ecdsakeys", "publickey0")
    #expect(KeyLoader.ecdsa.folder(in: configuration) == configuration + "/ecdsakeys")
    _ = try write("", "keysECDSA", "README")
    #expect(KeyLoader.ecdsa.folder(in: configuration) == configuration + "/ecdsakeys")
    _ = try write(key, "keysECDSA", "publickey0")
    #expect(KeyLoader.ecdsa.folder(in: configuration) == configuration + "/keysECDSA")
    // Our own keys/ is no RSA loader's.
    try KeyFiles(configurationDirectory: configuration).write(
      .generate(replicas: [ReplicaID(rawValue: 0)]), clients: 0...0)
    #expect(KeyLoader.rsa.folder(in: configuration) == nil)
  }

  @Test("a key on several lines and one that others may read are taken, the latter is told")
  func lenience() throws {
    let pair = ClientKeyPair.generate(.ecdsaP256)
    let der = KeyEncoding.der(of: pair)
    let text = base64(der.publicKey)
    _ = try write(text.prefix(64) + "\r\n" + text.dropFirst(64) + "\n", "keysECDSA", "publickey3")
    let path = try write(base64(der.privateKey), "keysECDSA", "privatekey3")
    _ = try write("not a key", "keysECDSA", "publickey03")
    let keys = try KeyLoader.ecdsa.read(configuration + "/keysECDSA", privateKeys: true)
    #expect(keys.publicKeys == [3: [UInt8](pair.publicKey)] && keys.exposed == [path])
  }

  @Test("a file that is not base64 of DER is named with its line")
  func notBase64() throws {
    let good = base64(KeyEncoding.der(of: .generate(.ecdsaP256)).publicKey)
    var path = try write("-----BEGIN PUBLIC KEY-----\n\(good)", "keysECDSA", "publickey0")
    #expect(error(.ecdsa) == "\(path):1: expected base64 of a key in DER, without a header")
    path = try write("\(good.prefix(60))\n\(good.dropFirst(60))?", "keysECDSA", "publickey0")
    #expect(error(.ecdsa) == "\(path):2: expected base64 of a key in DER, without a header")
    path = try write("\n\n", "keysECDSA", "publickey0")
    #expect(error(.ecdsa).hasPrefix("\(path):3: expected base64 of a key in DER"))
    path = try write("AAAA", "keysECDSA", "publickey0")
    #expect(
      error(.ecdsa)
        == "\(path):1: expected a key on P-256 or secp256k1 for the loader ECDSA, not bytes that are no DER")
  }

  @Test("a key of another kind is named with what it is")
  func otherKinds() throws {
    let rsa = KeyEncoding.der(of: .generate(.rsa(bits: 1024))).publicKey
    var path = try write(base64(rsa), "keysECDSA", "publickey0")
    #expect(
      error(.ecdsa) == "\(path):1: expected a key on P-256 or secp256k1 for the loader ECDSA, not RSA-1024")
    path = try write(base64(KeyEncoding.der(of: .generate(.ecdsaP256)).publicKey), "keysRSA", "publickey0")
    #expect(
      error(.rsa) == "\(path):1: expected an RSA key of 1024 or 2048 bits for the loader RSA, not P-256")
    // secp384r1, as the SunEC loader has it in a comment.
    path = try write(
      "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEFFMlwova3OBpWS9YsZvjnQAuoLGwZjAGpNKFspZAskB2vTnkBOAmgm1I9UTM45rT5OzLPdrv9p+R"
        + "y76ZkEx7MK4s2eCj1U7RsLInZ1fFkgCleTDVYx/1JHBMf0wcscKR", "keysSunEC", "publickey0")
    #expect(
      error(.sunEC)
        == "\(path):1: expected a key on P-256 or secp256k1 for the loader SunEC, not a key on another curve")
  }

  @Test("keys of one folder are of one kind, and a private key belongs to its public one")
  func mixed() throws {
    let one = KeyEncoding.der(of: .generate(.ecdsaP256))
    let other = KeyEncoding.der(of: .generate(.ecdsaSecp256k1))
    _ = try write(base64(one.publicKey), "keysECDSA", "publickey0")
    let path = try write(base64(other.publicKey), "keysECDSA", "publickey1")
    #expect(error(.ecdsa) == "\(path):1: expected a P-256 key like the others in the folder, not secp256k1")
    try FileManager.default.removeItem(atPath: path)
    let secret = try write(
      base64(KeyEncoding.der(of: .generate(.ecdsaP256)).privateKey), "keysECDSA", "privatekey0")
    #expect(error(.ecdsa) == "\(secret):1: expected the private key that belongs to publickey0")
    #expect(error(.ecdsa, privateKeys: false) == "read")
    #expect(throws: KeyFileError.missing(path: configuration + "/none")) {
      try KeyLoader.rsa.read(configuration + "/none", privateKeys: false)
    }
    _ = try write("", "keysSunEC", "notes")
    #expect(throws: KeyFileError.missing(path: configuration + "/keysSunEC/publickey<id>")) {
      try KeyLoader.sunEC.read(configuration + "/keysSunEC", privateKeys: true)
    }
    let elsewhere = configuration + "/notes/config"
    #expect {
      try LoadedKeys.write(.ecdsa, .ecdsaP256, ids: [0], configurationDirectory: elsewhere)
    } throws: { error in
      guard case .notWritable(let path, _) = error as? KeyFileError else { return false }
      return path == elsewhere + "/keysECDSA"
    }
  }

  @Test("the signature algorithm follows from the keys and Java's name of the hash")
  func algorithms() throws {
    func name(_ loader: KeyLoader, _ kind: KeyKind, _ text: String?, _ dialect: ClientDialect = .master)
      -> String
    {
      do {
        return try loader.algorithm(kind, signatureAlgorithm: text, dialect: dialect).rawValue
      } catch { return "\(error)" }
    }
    #expect(name(.ecdsa, .ecdsaSecp256k1, "SHA256withECDSA") == "ecdsa-secp256k1")
    #expect(name(.sunEC, .ecdsaP256, nil) == "ecdsa-p256")
    #expect(name(.rsa, .rsa(bits: 1024), "SHA256withRSA", .v12) == "rsa-1024")
    #expect(name(.rsa, .rsa(bits: 2048), "SHA512withRSA") == "rsa-2048-sha512")
    #expect(
      name(.rsa, .rsa(bits: 2048), nil) == "rsa-2048"
        && name(.rsa, .rsa(bits: 2048), nil, .v12) == "rsa-2048-sha512")
    #expect(
      name(.ecdsa, .ecdsaP256, "SHA512withECDSA")
        == "expected SHA256withECDSA with the key loader ECDSA, found 'SHA512withECDSA'")
    #expect(
      name(.rsa, .rsa(bits: 2048), "SHA256withECDSA")
        == "expected SHA256withRSA or SHA512withRSA with the key loader RSA, found 'SHA256withECDSA'")
  }

  @Test(
    "with key files a client signs with its file and is verified with its file; without one it is unknown")
  func requests() throws {
    let folder = try LoadedKeys.write(
      .ecdsa, .ecdsaSecp256k1, ids: [0, 100, 102], configurationDirectory: configuration)
    try FileManager.default.removeItem(atPath: folder + "/publickey102")
    let mode = SignatureMode.sign(.ecdsaSecp256k1)
    let signer = try RequestSigner(
      mode: mode, secrets: testKeys.generatorSecrets.reading(KeyLoader.ecdsa.read(folder, privateKeys: true)),
      replicas: testReplicas, clientCapacity: 8)
    let own = secrets(of: 1)
    let verifier = try RequestVerifier(
      mode: mode,
      secrets: own.with(clients: own.clients.reading(KeyLoader.ecdsa.read(folder, privateKeys: false))),
      replicas: testReplicas)
    func verdict(_ client: Int32, _ sender: Int32? = nil) throws -> RequestVerdict {
      try RequestAuthenticationTests.verdict(
        verifier, requestFrame(client: client, content: [1], signer: signer), client: sender)
    }
    #expect(try verdict(100) == .authentic && verdict(0) == .authentic)
    #expect(try verdict(100, 0) == .forged)
    #expect(try verdict(102) == .unknownClient)
    // Without a private key nothing can be signed; whoever asks beforehand is told which file is missing.
    #expect(try verdict(101) == .unsigned)
    let pairs = try testKeys.generatorSecrets.reading(KeyLoader.ecdsa.read(folder, privateKeys: true)).pairs
    #expect(pairs.missing(.ecdsaSecp256k1, clients: 100...100) == nil)
    #expect(pairs.missing(.ecdsaSecp256k1, clients: 100...102)?.path == folder + "/privatekey101")
    // Another algorithm is not the loader's business.
    #expect(pairs.missing(.ed25519, clients: 100...102) == nil && pairs.pair(.ed25519, of: 101) != nil)
  }
}
