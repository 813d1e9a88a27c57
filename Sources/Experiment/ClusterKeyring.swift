// Which keys are in force in a configuration folder. Clients' signature keys and the keys of replicas are decided apart, since
// BFT-SMaRt's files know only the former:
//
//   clients    with `defaultkeys`, BFT-SMaRt's built-in pair of the algorithm; else the loader's folder if there is one
//              (keysECDSA/, …); else keys/, as `muster keys` makes it
//   replicas   keys/; with `defaultkeys` and without keys/, keys that everybody can derive

import Channels
import Foundation
import PBFT
import Wire

extension ClusterFolder {
  /// BFT-SMaRt's `defaultkeys`: everybody has the same, publicly known keys.
  var usesDefaultKeys: Bool { system.usesDefaultKeys == true }

  /// What people should know of the keys in force, for a replica whose clients authenticate themselves in `mode`.
  func keyWarnings(_ mode: SignatureMode) -> [String] {
    guard usesDefaultKeys else { return [] }
    let file = "\(directory)/system.config: system.communication.defaultkeys = true"
    var warnings: [String] = []
    if !files.isPresent {
      warnings.append("\(file): the links between replicas have keys that everybody can derive")
    }
    if let algorithm = mode.clientAlgorithm {
      warnings.append(
        "\(file): everybody has the clients' keys (\(algorithm.rawValue)), and can sign as any client")
    }
    return warnings
  }

  /// The loader that system.config names; v1.2 knows only RSA's.
  var keyLoader: KeyLoader {
    system.keyLoader.flatMap { KeyLoader(rawValue: $0) } ?? (dialect == .v12 ? .rsa : .ecdsa)
  }

  /// `system.ttp.id`; nil for nobody.
  var trustedPartyID: Int32? {
    system.trustedPartyID.flatMap { id in id >= 0 ? Int32(exactly: id) : nil }
  }

  private var files: KeyFiles { KeyFiles(configurationDirectory: directory) }

  /// The keys of `defaultkeys`.
  private var publicKeys: ClusterKeys {
    ClusterKeys.publiclyKnown(replicas: membership.replicas, dialect: dialect)
  }

  /// What one replica holds.
  func replicaSecrets(of replica: ReplicaID) throws(CommandFailure) -> ReplicaSecrets {
    let known = publicKeys
    let knownClients = known.clientPublicKeys(0...0, mode: .none)
    if usesDefaultKeys, !files.isPresent {
      // Members all have keys; one that is to join has them too.
      let keys = ClusterKeys.publiclyKnown(
        replicas: Array(Set(membership.replicas + [replica])), dialect: dialect)
      return keys.replicaSecrets(of: replica, clients: knownClients)!
    }
    let secrets: ReplicaSecrets
    do {
      secrets = try files.readReplica(replica)
    } catch {
      throw CommandFailure(keys: error)
    }
    if usesDefaultKeys { return secrets.with(clients: knownClients) }
    guard let loaded = try loadedKeys(privateKeys: false) else { return secrets }
    return secrets.with(clients: secrets.clients.reading(loaded))
  }

  /// What acts for all clients.
  ///
  /// - Parameter clients: those that will sign in `mode`; nil where nobody will.
  /// - Throws: `CommandFailure`: 66 when a file is missing, for one of `clients` as well; 64 for a bad one.
  func generatorSecrets(
    mode: SignatureMode, clients: ClosedRange<Int32>? = nil
  ) throws(CommandFailure) -> GeneratorSecrets {
    if usesDefaultKeys {
      var secrets = publicKeys.generatorSecrets
      // Tags need the replicas' own secrets, signatures do not.
      guard files.isPresent else { return secrets }
      let own = try readGenerator()
      secrets = GeneratorSecrets(
        cluster: own.cluster, pairs: secrets.pairs, replicaSecrets: own.replicaSecrets)
      return secrets
    }
    let loaded = try loadedKeys(privateKeys: true)
    let covers = mode.clientAlgorithm.flatMap { loaded?.covers($0) } ?? false
    // With a loader's files for the algorithm, nothing of keys/ is needed.
    var secrets = covers && !files.isPresent ? publicKeys.generatorSecrets : try readGenerator()
    if let loaded { secrets = secrets.reading(loaded) }
    if let clients, let algorithm = mode.clientAlgorithm,
      let missing = secrets.pairs.missing(algorithm, clients: clients)
    {
      throw CommandFailure(
        .missingInput,
        "\(missing.path): no such file; client \(missing.client) cannot sign: give client ids that have key files, or "
          + "make some with 'muster keys --layout bftsmart'")
    }
    return secrets
  }

  private func readGenerator() throws(CommandFailure) -> GeneratorSecrets {
    do {
      return try files.readGenerator()
    } catch {
      throw CommandFailure(keys: error)
    }
  }

  /// What the loader's folder holds; nil if there is none, and with `defaultkeys`.
  func loadedKeys(privateKeys: Bool) throws(CommandFailure) -> LoadedKeys? {
    guard !usesDefaultKeys, let folder = keyLoader.folder(in: directory) else { return nil }
    do {
      return try keyLoader.read(folder, privateKeys: privateKeys)
    } catch {
      throw CommandFailure(keys: error)
    }
  }

  /// The mode of client requests that system.config asks for; nil when it says nothing.
  func statedSignatureMode() throws(CommandFailure) -> SignatureMode? {
    guard let use = system.useSignatures else { return nil }
    if use == 0 { return SignatureMode.none }
    do {
      return try SignatureMode(useSignatures: use, algorithm: keyAlgorithm())
    } catch let failure as CommandFailure {
      throw failure
    } catch {
      throw CommandFailure.usage(
        "\(directory)/system.config: system.communication.useSignatures = \(use): \(error)")
    }
  }

  /// The algorithm of the keys in force: of the loader's files, else of its built-in pair with `defaultkeys`; with keys of our
  /// own in keys/, P-256 as in the files that BFT-SMaRt ships, and RSA of 2048 bits for the loader RSA.
  func keyAlgorithm() throws(CommandFailure) -> SignatureAlgorithm {
    let kind: KeyKind
    if usesDefaultKeys {
      kind = keyLoader.builtInKind
    } else if let loaded = try loadedKeys(privateKeys: false)?.kind {
      kind = loaded
    } else {
      kind = keyLoader == .rsa ? .rsa(bits: 2048) : .ecdsaP256
    }
    do {
      return try keyLoader.algorithm(kind, signatureAlgorithm: system.signatureAlgorithm, dialect: dialect)
    } catch {
      throw CommandFailure.usage(
        "\(directory)/system.config: system.communication.signatureAlgorithm: \(error)")
    }
  }

  /// The public key of the trusted party (`system.ttp.id`), from the same place as clients' keys; nil where there is neither a
  /// trusted party nor a key of it.
  func trustedPartyKey() throws(CommandFailure) -> (id: Int32, algorithm: SignatureAlgorithm, key: [UInt8])? {
    guard let id = trustedPartyID else { return nil }
    let algorithm = try keyAlgorithm()
    let clients: ClientPublicKeys
    if usesDefaultKeys {
      clients = publicKeys.clientPublicKeys(0...0, mode: .none)
    } else if let loaded = try loadedKeys(privateKeys: false) {
      clients = ClientPublicKeys.none.reading(loaded)
    } else {
      do {
        clients = try files.readClients()
      } catch {
        throw CommandFailure(keys: error)
      }
    }
    return clients.withPublicKey(algorithm, of: id) { (id, algorithm, Array($0)) }
  }

  /// The trusted party's key pair, for signing a reconfiguration; nil where there is none.
  /// - Throws: `CommandFailure`: 66 without its file.
  func trustedPartyPair() throws(CommandFailure) -> (
    id: Int32, algorithm: SignatureAlgorithm, pair: ClientKeyPair
  )? {
    guard let id = trustedPartyID else { return nil }
    let algorithm = try keyAlgorithm()
    let secrets = try generatorSecrets(mode: .sign(algorithm), clients: id...id)
    return secrets.pairs.pair(algorithm, of: id).map { (id, algorithm, $0) }
  }
}
