// A configuration folder as BFT-SMaRt's users have it: hosts.config, system.config, and our keys beside them. Everything
// that runs replicas or talks to remote ones reads it here.

import Channels
import Foundation
import PBFT
import ReplicaHost
import Replication
import Wire

/// What a configuration folder says.
struct ClusterFolder {
  /// The folder that holds hosts.config: the one that was named, or its `config` for the root of an installation.
  let directory: String
  /// The members' lines of hosts.config; a member that only the stored view knows has none.
  let hosts: [HostsConfiguration.Host]
  /// Every line of hosts.config: of members, and of replicas that are to join or have left.
  let allHosts: [HostsConfiguration.Host]
  /// The membership that was stored last (BFT-SMaRt's `currentView`), which wins over what the other files say; nil when
  /// none is stored.
  let storedView: SerializedView?
  let system: SystemConfiguration
  let membership: Membership
  /// The client frames that are spoken: as stated, or v1.2's for a hosts.config of three columns.
  let dialect: ClientDialect
  /// Lines that have no effect, for people.
  let warnings: [String]

  /// Reads the folder. Without a system.config, the replicas are those of hosts.config and all else has its default.
  ///
  /// - Parameters:
  ///   - replicas: n where something stronger than system.config states it: the ids are then 0..<n.
  ///   - faults: f where something stronger than system.config states it.
  ///   - model: where something stronger than system.config states it.
  ///   - dialect: nil lets hosts.config decide.
  init(
    _ directory: String, replicas: Int? = nil, faults statedFaults: Int? = nil,
    model statedModel: FaultModel? = nil, dialect: ClientDialect? = nil
  ) throws(CommandFailure) {
    let directory = Self.locate(directory)
    self.directory = directory
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: directory, isDirectory: &isDirectory), isDirectory.boolValue
    else {
      throw CommandFailure(.missingInput, "\(directory): no such folder; expected one with hosts.config")
    }
    do {
      let hostsFile = try HostsConfiguration(path: directory + "/hosts.config", dialect: dialect)
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
      allHosts = hostsFile.hosts
      self.system = system
      storedView = try ViewStorage(configurationDirectory: directory).read()
      self.dialect = hostsFile.dialect
      let model = statedModel ?? (system.isByzantine == false ? .crash : .byzantine)
      let faults = statedFaults ?? system.faults ?? model.maximumFaults(replicas: ids.count)
      if let storedView {
        let path = ViewStorage(configurationDirectory: directory).path
        guard let membership = storedView.membership(model: model) else {
          throw CommandFailure.usage(
            "\(path): \(storedView.replicas.count) replicas do not tolerate f = \(storedView.faults); remove the file to "
              + "begin with hosts.config")
        }
        self.membership = membership
        hosts = membership.replicas.compactMap { hostsFile[$0] }
        let names = membership.replicas.map { "\($0.rawValue)" }.joined(separator: ", ")
        warnings =
          (hostsFile.warnings + system.warnings).map(\.description)
          + [
            "\(path): begins with membership \(membership.id) as stored there: replicas \(names), f = "
              + "\(membership.faults); remove the file to begin with hosts.config"
          ]
        return
      }
      hosts = try hostsFile.hosts(of: ids)
      guard let membership = Membership(replicas: ids.sorted(), faults: faults, model: model) else {
        throw CommandFailure.usage(
          "\(FileManager.default.fileExists(atPath: path) ? path : hostsFile.path): \(ids.count) replicas do not "
            + "tolerate f = \(faults)\(model == .crash ? " crashes" : ""); expected n >= "
            + (model == .crash ? "2f + 1" : "3f + 1"))
      }
      self.membership = membership
      warnings = (hostsFile.warnings + system.warnings).map(\.description)
    } catch let error as ConfigurationError {
      throw CommandFailure(configuration: error)
    } catch let error as CommandFailure {
      throw error
    } catch let error as ViewStorageError {
      throw CommandFailure(.missingInput, "\(error)")
    } catch {
      throw CommandFailure(.missingInput, "\(directory): \(error)")
    }
  }

  /// The folder of hosts.config for what a flag names: that folder, or `config` in it, as in an installation of BFT-SMaRt.
  static func locate(_ directory: String) -> String {
    func holdsHosts(_ folder: String) -> Bool {
      FileManager.default.fileExists(atPath: folder + "/hosts.config")
    }
    let inner = directory + "/config"
    return !holdsHosts(directory) && holdsHosts(inner) ? inner : directory
  }

  private static func members(
    _ hosts: HostsConfiguration, _ system: SystemConfiguration
  ) throws(CommandFailure) -> [ReplicaID] {
    if let initial = system.initialView { return initial.sorted() }
    guard let count = system.servers else { return hosts.hosts.map(\.replica) }
    return (0..<Int32(count)).map { ReplicaID(rawValue: $0) }
  }

  /// The line of a replica, member or not.
  func host(of replica: ReplicaID) -> HostsConfiguration.Host? { allHosts.first { $0.replica == replica } }

  /// Where replicas are, as the files say.
  var memberAddresses: [MemberAddress] {
    var addresses = allHosts.compactMap {
      MemberAddress(
        replica: $0.replica, host: $0.host, clientPort: UInt16($0.clientPort),
        replicaPort: UInt16($0.replicaPort))
    }
    // A view says nothing about replica ports.
    for address in storedView?.addresses ?? [] where host(of: address.replica) == nil {
      addresses.append(
        MemberAddress(replica: address.replica, host: address.host, clientPort: address.port, replicaPort: 0)!
      )
    }
    return addresses
  }

  /// Where clients reach the replicas, by position.
  var clientEndpoints: [Endpoint] {
    guard let storedView else { return hosts.map { .socket(host: $0.host, port: $0.clientPort) } }
    return storedView.addresses.map { .socket(host: $0.host, port: Int($0.port)) }
  }

  /// Where a replica of this folder keeps what it has promised.
  func dataFolder(of replica: ReplicaID) -> String { "\(directory)/data/replica\(replica.rawValue)" }

  /// Whether client frames carry MACs: `useMACs` of v1.2, where they are on unless that says otherwise, as in the file that it
  /// ships.
  var usesMACs: Bool { dialect == .v12 && system.usesMACs ?? true }
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
