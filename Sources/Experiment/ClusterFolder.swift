// A configuration folder as BFT-SMaRt's users have it: hosts.config, system.config, and our keys beside them. Everything
// that runs replicas or talks to remote ones reads it here.

import Channels
import Foundation
import PBFT
import ReplicaHost
import Wire

/// What a configuration folder says.
struct ClusterFolder {
  let directory: String
  let hosts: [HostsConfiguration.Host]
  let system: SystemConfiguration
  let membership: Membership
  /// Lines that have no effect, for people.
  let warnings: [String]

  /// Reads the folder. Without a system.config, the replicas are those of hosts.config and all else has its default.
  ///
  /// - Parameters:
  ///   - replicas: n where something stronger than system.config states it: the ids are then 0..<n.
  ///   - faults: f where something stronger than system.config states it.
  init(_ directory: String, replicas: Int? = nil, faults statedFaults: Int? = nil) throws(CommandFailure) {
    self.directory = directory
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: directory, isDirectory: &isDirectory), isDirectory.boolValue
    else {
      throw CommandFailure(.missingInput, "\(directory): no such folder; expected one with hosts.config")
    }
    do {
      let hostsFile = try HostsConfiguration(path: directory + "/hosts.config")
      let path = directory + "/system.config"
      let system =
        FileManager.default.fileExists(atPath: path)
        ? try SystemConfiguration(path: path) : SystemConfiguration()
      let ids =
        try replicas.map { (0..<Int32(clamping: $0)).map { ReplicaID(rawValue: $0) } }
        ?? Self.members(hostsFile, system)
      guard !ids.isEmpty else {
        let remarks = hostsFile.warnings.map { "; \($0)" }.joined()
        throw CommandFailure.usage(
          "\(hostsFile.path): expected a line 'id host clientPort replicaPort' for each replica\(remarks)")
      }
      hosts = try hostsFile.hosts(of: ids)
      self.system = system
      let model: FaultModel = system.isByzantine == false ? .crash : .byzantine
      let faults = statedFaults ?? system.faults ?? model.maximumFaults(replicas: ids.count)
      guard let membership = Membership(replicas: ids.sorted(), faults: faults, model: model) else {
        throw CommandFailure.usage(
          "\(FileManager.default.fileExists(atPath: path) ? path : hostsFile.path): \(ids.count) replicas do not tolerate f = \(faults); expected n >= "
            + (model == .crash ? "2f + 1" : "3f + 1"))
      }
      self.membership = membership
      warnings = (hostsFile.warnings + system.warnings).map(\.description)
    } catch let error as ConfigurationError {
      throw CommandFailure(configuration: error)
    } catch let error as CommandFailure {
      throw error
    } catch {
      throw CommandFailure(.missingInput, "\(directory): \(error)")
    }
  }

  private static func members(
    _ hosts: HostsConfiguration, _ system: SystemConfiguration
  ) throws(CommandFailure) -> [ReplicaID] {
    if let initial = system.initialView { return initial.sorted() }
    guard let count = system.servers else { return hosts.hosts.map(\.replica) }
    return (0..<Int32(count)).map { ReplicaID(rawValue: $0) }
  }

  func host(of replica: ReplicaID) -> HostsConfiguration.Host? { hosts.first { $0.replica == replica } }

  /// Where clients reach the replicas, by position.
  var clientEndpoints: [Endpoint] {
    hosts.map { .socket(host: $0.host, port: $0.clientPort) }
  }

  /// Where a replica of this folder keeps what it has promised.
  func dataFolder(of replica: ReplicaID) -> String { "\(directory)/data/replica\(replica.rawValue)" }

  /// BFT-SMaRt's `defaultkeys`: everybody has the same, publicly known keys.
  var usesDefaultKeys: Bool { system.usesDefaultKeys == true }

  /// What one replica holds.
  func replicaSecrets(of replica: ReplicaID) throws(CommandFailure) -> ReplicaSecrets {
    let files = KeyFiles(configurationDirectory: directory)
    if usesDefaultKeys, !FileManager.default.fileExists(atPath: files.directory) {
      let keys = ClusterKeys.publiclyKnown(replicas: membership.replicas)
      return keys.replicaSecrets(of: replica, clients: keys.clientPublicKeys(0...0, mode: .none))!
    }
    do {
      return try files.readReplica(replica)
    } catch {
      throw CommandFailure(keys: error)
    }
  }

  /// What acts for all clients. Without keys, and in a mode that needs none, there are none.
  func generatorSecrets(mode: SignatureMode) throws(CommandFailure) -> GeneratorSecrets {
    let files = KeyFiles(configurationDirectory: directory)
    if !FileManager.default.fileExists(atPath: files.directory) {
      if usesDefaultKeys { return ClusterKeys.publiclyKnown(replicas: membership.replicas).generatorSecrets }
    }
    do {
      return try files.readGenerator()
    } catch {
      throw CommandFailure(keys: error)
    }
  }

  /// The mode of client requests that system.config asks for; nil when it says nothing.
  func statedSignatureMode() throws(CommandFailure) -> SignatureMode? {
    guard let use = system.useSignatures else { return nil }
    do {
      return try SignatureMode(useSignatures: use, keyLoader: system.keyLoader ?? "ECDSA")
    } catch {
      throw CommandFailure.usage(
        "\(directory)/system.config: system.communication.useSignatures = \(use): \(error)")
    }
  }
}

extension CommandFailure {
  init(configuration error: ConfigurationError) {
    switch error {
    case .missing, .unreadable: self.init(.missingInput, "\(error)")
    case .malformed: self.init(.usage, "\(error)")
    }
  }

  init(data error: DataFolderError) {
    switch error.reason {
    case .missing, .refused: self.init(.missingInput, error.description)
    case .notWritable: self.init(.cannotCreate, error.description)
    }
  }

  init(keys error: KeyFileError) {
    switch error {
    case .missing, .unreadable: self.init(.missingInput, "\(error)")
    case .malformed, .exposed: self.init(.usage, "\(error)")
    case .exists, .notWritable: self.init(.cannotCreate, "\(error)")
    }
  }
}
