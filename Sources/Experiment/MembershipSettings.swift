// What a replica of a configuration folder is told about memberships: addresses, who may change them, where they are stored,
// and how the keys of a replica that is added are found.

import Channels
import Foundation
import PBFT
import ReplicaHost
import Replication
import Wire

extension ClusterFolder {
  /// Completes the configuration of one of the folder's replicas.
  func addMembershipSettings(to configuration: inout HostConfiguration) throws(CommandFailure) {
    configuration.memberAddresses = memberAddresses
    configuration.viewStorage = ViewStorage(configurationDirectory: directory)
    configuration.trustedParty = try trustedPartyKey().map {
      TrustedParty(id: $0.id, algorithm: $0.algorithm, key: $0.key)
    }
    let files = KeyFiles(configurationDirectory: directory)
    let dialect = dialect
    let isPublic = usesDefaultKeys && !files.isPresent
    configuration.renewedKeys = { replicas in
      if isPublic {
        return ClusterKeys.publiclyKnown(replicas: replicas, dialect: dialect).replicas.map(\.publicKeys)
      }
      return try files.readReplicaPublicKeys()
    }
  }

  /// What people should know of who may reconfigure.
  func trustedPartyWarnings(_ configuration: HostConfiguration) -> [String] {
    guard let id = configuration.replica.administrator else { return [] }
    if configuration.trustedParty == nil {
      return [
        "\(directory)/system.config: system.ttp.id = \(id): no public key of it, so nobody may reconfigure"
      ]
    }
    guard usesDefaultKeys else { return [] }
    return [
      "\(directory)/system.config: system.communication.defaultkeys = true: everybody has the key of client \(id), and "
        + "may reconfigure"
    ]
  }
}
