// TLS between replicas as an experiment sets it up: certificates from the cluster's key folder, publicly known ones where
// BFT-SMaRt's `defaultkeys` asks for that, and fresh ones for a cluster in this process.

import Channels
import Foundation
import PBFT
import Wire

extension ClusterFolder {
  /// What one replica needs for TLS links; the versions and cipher suites are system.config's.
  ///
  /// - Throws: `CommandFailure`: 66 when certificates are missing, 64 when they are not this replica's or have expired, or
  ///   when system.config asks for a version or cipher suite that there is not.
  func linkTLS(of replica: ReplicaID, cluster: ClusterID) throws(CommandFailure) -> LinkTLS {
    let files = KeyFiles(configurationDirectory: directory)
    let version = try linkProtocol()
    do {
      let credentials: LinkCredentials
      if usesDefaultKeys, !FileManager.default.fileExists(atPath: files.directory) {
        credentials = LinkAuthority.publiclyKnown(cluster: cluster).issue(for: replica)
      } else {
        credentials = try files.readLinkCredentials(replica, cluster: cluster)
      }
      return try LinkTLS(credentials: credentials, cluster: cluster, protocol: version)
    } catch let error as KeyFileError {
      throw CommandFailure(keys: error)
    } catch {
      throw CommandFailure.usage("\(files.directory)/tls\(replica.rawValue).pem: \(error)")
    }
  }

  private func linkProtocol() throws(CommandFailure) -> LinkProtocol {
    let path = "\(directory)/system.config"
    do {
      _ = try LinkProtocol(version: system.tlsProtocolVersion, suites: nil)
    } catch {
      throw CommandFailure.usage(
        "\(path): system.ssltls.protocol_version = \(system.tlsProtocolVersion ?? ""): \(error)")
    }
    do {
      return try LinkProtocol(version: system.tlsProtocolVersion, suites: system.tlsEnabledCiphers)
    } catch {
      throw CommandFailure.usage("\(path): system.ssltls.enabled_ciphers: \(error)")
    }
  }
}

extension PointParameters {
  /// TLS for the replicas of a cluster in this process, from an authority that nobody else will ever know.
  func linkTLS(of replicas: [ReplicaID], cluster: ClusterID) throws -> [ReplicaID: LinkTLS] {
    guard replicaAuthentication == .tls else { return [:] }
    let authority = LinkAuthority.generate(cluster: cluster)
    var security: [ReplicaID: LinkTLS] = [:]
    for replica in replicas {
      security[replica] = try LinkTLS(credentials: authority.issue(for: replica), cluster: cluster)
    }
    return security
  }
}
