// hosts.config: where the replicas are. BFT-SMaRt's file, read strictly: it ignores a line it does not understand and
// then hangs; here such a line is an error with its number.

import PBFT

/// The replicas' addresses: lines of `id host clientPort replicaPort`.
public struct HostsConfiguration: Sendable {
  /// A replica's line.
  public struct Host: Hashable, Sendable {
    public let replica: ReplicaID
    /// A name or an address; resolved by whoever connects.
    public let host: String
    /// Where clients connect.
    public let clientPort: Int
    /// Where other replicas connect.
    public let replicaPort: Int
  }

  /// What errors call the file.
  public let path: String
  /// In ascending order of ids.
  public let hosts: [Host]
  /// Lines that say nothing about a replica.
  public let warnings: [ConfigurationWarning]
  private let lineCount: Int

  /// Reads `hosts.config`.
  public init(path: String) throws(ConfigurationError) {
    try self.init(ConfigurationFile(path: path))
  }

  /// Reads the text of a file that errors call `path`.
  public init(text: String, path: String = "hosts.config") throws(ConfigurationError) {
    try self.init(ConfigurationFile(text: text, path: path))
  }

  private init(_ file: ConfigurationFile) throws(ConfigurationError) {
    var hosts: [Host] = []
    var warnings: [ConfigurationWarning] = []
    /// Line of each address in use, `host:port`.
    var addresses: [String: Int] = [:]
    for line in file.lines {
      let columns = line.text.split(whereSeparator: \.isWhitespace)
      if let warning = Self.trustedPartyWarning(columns, line, file) {
        warnings.append(warning)
        continue
      }
      guard columns.count == 4 else {
        throw file.malformed(line, "'id host clientPort replicaPort'", found: line.text)
      }
      guard let id = Int32(columns[0]), id >= 0 else {
        throw file.malformed(line, "a replica id in 0...\(Int32.max)", found: columns[0])
      }
      guard !hosts.contains(where: { $0.replica.rawValue == id }) else {
        throw file.malformed(line, "each replica id once", found: columns[0])
      }
      var ports: [Int] = []
      for column in columns[2...] {
        guard let port = Int(column), (1...65_535).contains(port) else {
          throw file.malformed(line, "a port in 1...65535", found: column)
        }
        let address = "\(columns[1]):\(port)"
        if let other = addresses.updateValue(line.number, forKey: address) {
          throw file.malformed(line, "an address other than line \(other)'s", found: address)
        }
        ports.append(port)
      }
      hosts.append(
        Host(
          replica: ReplicaID(rawValue: id), host: String(columns[1]), clientPort: ports[0],
          replicaPort: ports[1]))
    }
    self.path = file.path
    self.hosts = hosts.sorted { $0.replica < $1.replica }
    self.warnings = warnings
    lineCount = file.lineCount
  }

  /// The line of `replica`; nil if there is none.
  public subscript(replica: ReplicaID) -> Host? {
    hosts.first { $0.replica == replica }
  }

  /// The lines of all `replicas`, in their order.
  public func hosts(of replicas: [ReplicaID]) throws(ConfigurationError) -> [Host] {
    var found: [Host] = []
    for replica in replicas {
      guard let host = self[replica] else {
        throw .malformed(
          path: path, line: lineCount, expected: "a line for replica \(replica.rawValue)",
          found: "the end of the file")
      }
      found.append(host)
    }
    return found
  }

  /// BFT-SMaRt ships a line of three columns for its trusted party, which has no port for replicas.
  private static func trustedPartyWarning(
    _ columns: [Substring], _ line: ConfigurationFile.Line, _ file: ConfigurationFile
  ) -> ConfigurationWarning? {
    guard columns.count == 3, let id = Int32(columns[0]), id >= 0, let port = Int(columns[2]),
      (1...65_535).contains(port)
    else { return nil }
    return ConfigurationWarning(
      path: file.path, line: line.number,
      message: "process \(id) has no replica port: ignored, as BFT-SMaRt does")
  }
}
