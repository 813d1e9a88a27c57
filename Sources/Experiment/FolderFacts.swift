// What the files beside system.config say about a replica: hosts.config its address and the dialect, key files the algorithm.

import Channels
import Foundation
import PBFT
import Replication
import Wire

/// What a replica's configuration folder says besides system.config and Fabric's file.
public struct FolderFacts: Sendable {
  /// Stated, or implied by the columns of hosts.config.
  public var dialect: ClientDialect
  /// Of the keys in force, for `useSignatures`.
  public var keyAlgorithm: SignatureAlgorithm
  /// The replica's host in hosts.config.
  public var host: String

  public init(
    dialect: ClientDialect = .master, keyAlgorithm: SignatureAlgorithm = .ecdsaP256,
    host: String = "127.0.0.1"
  ) {
    self.dialect = dialect
    self.keyAlgorithm = keyAlgorithm
    self.host = host
  }

  func dialectSetting(_ flag: ClientDialect?) -> ReplicaSetting<ClientDialect> {
    let place = flag != nil ? "--dialect" : dialect == .v12 ? "hosts.config, three columns" : "default"
    return ReplicaSetting(
      name: "dialect", value: dialect, text: dialect.rawValue, source: flag != nil ? .flag : .standard,
      at: place)
  }

  /// The address to listen on, as BFT-SMaRt chooses it: `bindaddress` if it is an IPv4 address; else loopback for a host that is
  /// loopback in hosts.config; else the host's address there.
  func bindSetting(_ system: SystemConfiguration, _ systemPath: String) -> ReplicaSetting<String> {
    if let address = system.bindAddress {
      return ReplicaSetting(
        name: "bind", value: address, text: address, source: .systemConfig,
        at: "\(systemPath) system.communication.bindaddress")
    }
    let address = host.lowercased() == "localhost" ? "127.0.0.1" : host
    return ReplicaSetting(
      name: "bind", value: address, text: address, source: .standard,
      at: FolderFacts.isLoopback(address) ? "hosts.config, loopback" : "hosts.config")
  }

  private static func isLoopback(_ host: String) -> Bool { host.hasPrefix("127.") || host == "::1" }
}

extension ClusterFolder {
  /// What this folder says about one of its replicas.
  func facts(of replica: ReplicaID) throws(CommandFailure) -> FolderFacts {
    var facts = FolderFacts(dialect: dialect)
    if let use = system.useSignatures, use > 0 { facts.keyAlgorithm = try keyAlgorithm() }
    if let host = host(of: replica) { facts.host = host.host }
    return facts
  }
}

extension SystemConfiguration {
  /// What the log's keys come to here; nil when they say nothing. BFT-SMaRt keeps its log in memory unless `log_to_disk`.
  var durability: Durability? {
    guard let logToDisk else { return nil }
    return logToDisk ? (syncLog == true ? .sync : .async) : Durability.none
  }
}
