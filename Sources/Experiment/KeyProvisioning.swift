// `muster keys`: new keys for the replicas of a configuration folder and for its clients.

import PBFT
import Wire

/// Writing key files.
public enum KeyProvisioning {
  /// Makes new keys for every replica that the folder's configuration names, for the clients and for the trusted party, and
  /// writes them into it in the layout that is asked for. Existing keys are never overwritten.
  ///
  /// - Returns: what was written, for people.
  /// - Throws: `CommandFailure`: 66 without `hosts.config`, 64 for a bad line in it, 73 when the files cannot
  ///   be made.
  public static func write(_ options: KeyOptions) throws(CommandFailure) -> String {
    let folder = try ClusterFolder(options.configDirectory)
    switch options.layout {
    case .muster: return try writeOwn(options, folder)
    case .bftsmart: return try writeLoaderFiles(options, folder)
    }
  }

  private static func writeOwn(
    _ options: KeyOptions, _ folder: ClusterFolder
  ) throws(CommandFailure) -> String {
    let files = KeyFiles(configurationDirectory: folder.directory)
    let keys = ClusterKeys.generate(replicas: folder.membership.replicas)
    do {
      try files.write(keys, clients: options.clients, trustedParty: folder.trustedPartyID)
      try files.writeLinkCertificates(cluster: keys.cluster, replicas: folder.membership.replicas)
    } catch {
      throw CommandFailure(keys: error)
    }
    return "\(files.directory): cluster \(keys.cluster), \(names(options, folder))"
  }

  private static func writeLoaderFiles(
    _ options: KeyOptions, _ folder: ClusterFolder
  ) throws(CommandFailure) -> String {
    let loader = options.loader ?? folder.keyLoader
    let kind = options.kind ?? (loader == .rsa ? .rsa(bits: 2048) : .ecdsaP256)
    guard loader.accepts(kind) else {
      throw .usage(
        "--algorithm: expected \(loader == .rsa ? "rsa-1024 or rsa-2048" : "ecdsa-p256 or ecdsa-secp256k1") with "
          + "the loader \(loader.rawValue)")
    }
    var ids = folder.membership.replicas.map(\.rawValue)
    if let id = folder.trustedPartyID, !ids.contains(id) { ids.append(id) }
    ids += options.clients.filter { !ids.contains($0) }
    let written: String
    do {
      written = try LoadedKeys.write(loader, kind, ids: ids, configurationDirectory: folder.directory)
    } catch {
      throw CommandFailure(keys: error)
    }
    let remark =
      folder.usesDefaultKeys
      ? "; without effect while system.config says system.communication.defaultkeys = true" : ""
    return "\(written): \(kind) keys, \(names(options, folder))\(remark)"
  }

  /// Reads the value of `--add`: ids of replicas, separated by commas.
  /// - Throws: `CommandFailure` with code 64.
  public static func replicas(_ text: String) throws(CommandFailure) -> [ReplicaID] {
    var replicas: [ReplicaID] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      guard let id = Int32(part), id >= 0, !replicas.contains(ReplicaID(rawValue: id)) else {
        throw .usage("--add \(text): expected replica ids, each once, separated by commas")
      }
      replicas.append(ReplicaID(rawValue: id))
    }
    return replicas
  }

  /// Makes keys for replicas that are to join the folder's cluster, and leaves what is there as it is.
  ///
  /// - Returns: what was written, for people.
  /// - Throws: `CommandFailure`: 66 without keys there, 73 when one of them has keys already or nothing can be written.
  public static func add(_ replicas: [ReplicaID], configDirectory: String) throws(CommandFailure) -> String {
    let files = KeyFiles(configurationDirectory: ClusterFolder.locate(configDirectory))
    do {
      try files.add(replicas)
      try files.writeLinkCertificates(cluster: files.readClusterID(), replicas: replicas)
    } catch {
      throw CommandFailure(keys: error)
    }
    let names = replicas.map { "\($0.rawValue)" }.joined(separator: ", ")
    return
      "\(files.directory): keys of replica \(names); give replicas.pub to all replicas of the cluster, and each its own "
      + "files"
  }

  private static func names(_ options: KeyOptions, _ folder: ClusterFolder) -> String {
    let replicas = folder.membership.replicas.map { String($0.rawValue) }.joined(separator: ", ")
    return "replicas \(replicas), clients \(options.clients.lowerBound)..\(options.clients.upperBound)"
      + (folder.trustedPartyID.map { ", trusted party \($0)" } ?? "")
  }
}
