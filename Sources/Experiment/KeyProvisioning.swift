// `muster keys`: new keys for the replicas of a configuration folder and for its clients.

import Wire

/// Writing key files.
public enum KeyProvisioning {
  /// Makes new keys for every replica that the folder's configuration names and for the clients, and writes
  /// them to `keys/` in it. Existing keys are never overwritten.
  ///
  /// - Returns: what was written, for people.
  /// - Throws: `CommandFailure`: 66 without `hosts.config`, 64 for a bad line in it, 73 when the files cannot
  ///   be made.
  public static func write(_ options: KeyOptions) throws(CommandFailure) -> String {
    let folder = try ClusterFolder(options.configDirectory)
    let files = KeyFiles(configurationDirectory: options.configDirectory)
    let keys = ClusterKeys.generate(replicas: folder.membership.replicas)
    do {
      try files.write(keys, clients: options.clients)
    } catch {
      throw CommandFailure(keys: error)
    }
    let replicas = folder.membership.replicas.map { String($0.rawValue) }.joined(separator: ", ")
    return "\(files.directory): cluster \(keys.cluster), replicas \(replicas), "
      + "clients \(options.clients.lowerBound)..\(options.clients.upperBound)"
  }
}
