// BFT-SMaRt's key loaders: where `system.communication.defaultKeyLoader` looks for keys, and what it finds there. A file
// `publickey<id>` or `privatekey<id>` is base64 of DER (SubjectPublicKeyInfo, PKCS #8) on one line, without a header.
//
// All files of a folder are read at the start and must be of one kind; a client without a public key is refused later, one
// without a private key cannot be acted for. BFT-SMaRt reads a file when it first meets an id, and logs a stack trace.

import Foundation
import PBFT

/// A loader by its name in `system.config`.
public enum KeyLoader: String, CaseIterable, Sendable {
  case ecdsa = "ECDSA"
  case rsa = "RSA"
  case sunEC = "SunEC"

  /// Folders of the configuration folder that it may read, the first one there counts: master's, then v1.2's.
  public var folders: [String] {
    switch self {
    case .ecdsa: ["keysECDSA", "ecdsakeys"]
    case .rsa: ["keysRSA", "keys"]
    case .sunEC: ["keysSunEC"]
    }
  }

  /// The kind of its built-in pair.
  public var builtInKind: KeyKind {
    switch self {
    case .ecdsa: .ecdsaSecp256k1
    case .rsa: .rsa(bits: 2048)
    case .sunEC: .ecdsaP256
    }
  }

  /// Whether it reads keys of `kind`.
  public func accepts(_ kind: KeyKind) -> Bool {
    switch kind {
    case .ed25519: false
    case .ecdsaP256, .ecdsaSecp256k1: self != .rsa
    case .rsa: self == .rsa
    }
  }

  /// What it reads, as errors say it.
  var expectedKeys: String {
    self == .rsa ? "an RSA key of 1024 or 2048 bits" : "a key on P-256 or secp256k1"
  }

  /// The algorithm that it signs with: the kind of the keys with the hash of `signatureAlgorithm`.
  ///
  /// - Parameters:
  ///   - kind: of the keys in force.
  ///   - signatureAlgorithm: Java's name in `system.config`; nil where it says nothing.
  ///   - dialect: whose default holds then: SHA512withRSA in v1.2, SHA-256 in master.
  /// - Throws: what was expected instead of `signatureAlgorithm`.
  public func algorithm(
    _ kind: KeyKind, signatureAlgorithm: String?, dialect: ClientDialect
  ) throws(UnsupportedSignatureAlgorithm) -> SignatureAlgorithm {
    let expected = self == .rsa ? ["SHA256withRSA", "SHA512withRSA"] : ["SHA256withECDSA"]
    guard let name = signatureAlgorithm else {
      return SignatureAlgorithm(kind, usesSHA512: self == .rsa && dialect == .v12)
    }
    guard let match = expected.first(where: { $0.lowercased() == name.lowercased() }) else {
      throw UnsupportedSignatureAlgorithm(loader: self, found: name, expected: expected)
    }
    return SignatureAlgorithm(kind, usesSHA512: match == "SHA512withRSA")
  }

  /// The folder that it reads below a configuration folder: the first of `folders` with a file `publickey<id>`; nil if
  /// there is none.
  public func folder(in configurationDirectory: String) -> String? {
    folders.map { configurationDirectory + "/" + $0 }.first { folder in
      let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
      return names.contains { Self.id(in: $0, after: "publickey") != nil }
    }
  }

  /// Reads every public key of a folder, and if asked for every private one.
  ///
  /// - Throws: which file, and what was expected in it.
  public func read(_ folder: String, privateKeys: Bool) throws(KeyFileError) -> LoadedKeys {
    let names: [String]
    do {
      names = try FileManager.default.contentsOfDirectory(atPath: folder)
    } catch {
      throw .missing(path: folder)
    }
    func ids(_ prefix: String) -> [Int32] { names.compactMap { Self.id(in: $0, after: prefix) }.sorted() }
    var keys = LoadedKeys(loader: self, folder: folder)
    for id in ids("publickey") {
      let path = keys.path(ofPublicKey: id)
      let key = try readKey(path) { der throws(KeyEncodingError) in try KeyEncoding.publicKey(der) }
      try check(key.kind, path, against: &keys)
      keys.publicKeys[id] = key.bytes
    }
    if privateKeys {
      for id in ids("privatekey") {
        let path = keys.path(ofPrivateKey: id)
        let pair = try readKey(path) { der throws(KeyEncodingError) in try KeyEncoding.privateKey(der) }
        try check(pair.kind, path, against: &keys)
        if let publicKey = keys.publicKeys[id], publicKey != [UInt8](pair.publicKey) {
          throw .malformed(path: path, line: 1, expected: "the private key that belongs to publickey\(id)")
        }
        keys.pairs[id] = pair
        if Self.isExposed(path) { keys.exposed.append(path) }
      }
    }
    guard keys.kind != nil else { throw .missing(path: folder + "/publickey<id>") }
    return keys
  }

  /// Keys of one folder sign with one algorithm.
  private func check(_ kind: KeyKind, _ path: String, against keys: inout LoadedKeys) throws(KeyFileError) {
    guard accepts(kind) else {
      throw .malformed(
        path: path, line: 1, expected: "\(expectedKeys) for the loader \(rawValue), not \(kind)")
    }
    guard keys.kind == nil || keys.kind == kind else {
      throw .malformed(
        path: path, line: 1, expected: "a \(keys.kind!) key like the others in the folder, not \(kind)")
    }
    keys.kind = kind
  }

  private func readKey<Key>(
    _ path: String, _ decode: ([UInt8]) throws(KeyEncodingError) -> Key
  ) throws(KeyFileError) -> Key {
    let file = try KeyFile(path: path, isSecret: false)
    var text: [UInt8] = []
    for line in file.lines {
      guard line.fields.count == 1, line.fields[0].allSatisfy(Self.isBase64) else {
        throw file.malformed(line, "base64 of a key in DER, without a header")
      }
      text += line.fields[0]
    }
    guard let der = Data(base64Encoded: Data(text)), !der.isEmpty else {
      throw file.malformed(file.lines.last, "base64 of a key in DER, without a header")
    }
    do {
      return try decode([UInt8](der))
    } catch {
      throw file.malformed(file.lines.first, "\(expectedKeys) for the loader \(rawValue), not \(error.found)")
    }
  }

  private static func isBase64(_ character: UInt8) -> Bool {
    switch character {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "/"), UInt8(ascii: "="):
      true
    default: false
    }
  }

  private static func id(in name: String, after prefix: String) -> Int32? {
    guard name.hasPrefix(prefix) else { return nil }
    let digits = name.dropFirst(prefix.count)
    guard let id = Int32(digits), id >= 0, String(id) == digits else { return nil }
    return id
  }

  private static func isExposed(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & 0o077 != 0
  }
}

/// Keys from files of BFT-SMaRt's layout. A value; prints no private key.
public struct LoadedKeys: Sendable {
  public let loader: KeyLoader
  /// Where they were read.
  public let folder: String
  /// The kind of all of them; set when the first one has been read.
  public fileprivate(set) var kind: KeyKind?
  /// As `VerifyingKey` takes them, by id.
  public fileprivate(set) var publicKeys: [Int32: [UInt8]] = [:]
  /// By id; empty where they were not asked for.
  public fileprivate(set) var pairs: [Int32: ClientKeyPair] = [:]
  /// Private keys that others than their owner may read, as those are that BFT-SMaRt ships.
  public fileprivate(set) var exposed: [String] = []

  fileprivate init(loader: KeyLoader, folder: String) {
    self.loader = loader
    self.folder = folder
  }

  /// Whether they are the keys for `algorithm`.
  public func covers(_ algorithm: SignatureAlgorithm) -> Bool { kind == algorithm.kind }

  func path(ofPublicKey id: Int32) -> String { "\(folder)/publickey\(id)" }
  func path(ofPrivateKey id: Int32) -> String { "\(folder)/privatekey\(id)" }

  /// Writes a pair for each id into a folder of BFT-SMaRt's layout; for RSA one pair for all ids, since each takes a tenth of
  /// a second to make. Files have mode 0600; none is overwritten.
  public static func write(
    _ loader: KeyLoader, _ kind: KeyKind, ids: [Int32], configurationDirectory: String
  ) throws(KeyFileError) -> String {
    precondition(loader.accepts(kind), "the loader reads what is written")
    let keys = LoadedKeys(loader: loader, folder: configurationDirectory + "/" + loader.folders[0])
    for id in ids {
      for path in [keys.path(ofPublicKey: id), keys.path(ofPrivateKey: id)] where access(path, F_OK) == 0 {
        throw .exists(path: path)
      }
    }
    if mkdir(keys.folder, 0o700) != 0 && errno != EEXIST {
      throw .notWritable(path: keys.folder, reason: systemMessage())
    }
    var shared: ClientKeyPair?
    if case .rsa = kind { shared = .generate(kind) }
    for id in ids {
      let der = KeyEncoding.der(of: shared ?? .generate(kind))
      try KeyFiles.replace(keys.path(ofPrivateKey: id), with: line(der.privateKey))
      try KeyFiles.replace(keys.path(ofPublicKey: id), with: line(der.publicKey))
    }
    return keys.folder
  }

  private static func line(_ der: [UInt8]) -> [UInt8] { [UInt8](Data(der).base64EncodedData()) + [10] }
}

/// A `system.communication.signatureAlgorithm` that does not go with its loader, or not with us.
public struct UnsupportedSignatureAlgorithm: Error, Hashable, Sendable, CustomStringConvertible {
  public let loader: KeyLoader
  public let found: String
  public let expected: [String]

  public var description: String {
    "expected \(expected.joined(separator: " or ")) with the key loader \(loader.rawValue), found '\(found)'"
  }
}
