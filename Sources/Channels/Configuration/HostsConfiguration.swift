// hosts.config: where the replicas are. BFT-SMaRt's file, read strictly: it ignores a line it does not understand and
// then hangs; here such a line is an error with its number.
//
// Lines have four columns in master and three in v1.2, where the port for replicas is the next one. Master's shipped file also
// has a line of three, for the trusted party. So a file whose every line has three columns is v1.2's, and in all others such a
// line is the trusted party's.

import PBFT
import Wire

/// The replicas' addresses: lines of `id host clientPort replicaPort`, or of `id host clientPort` in v1.2.
public struct HostsConfiguration: Sendable {
  /// A replica's line.
  public struct Host: Hashable, Sendable {
    public let replica: ReplicaID
    /// A name or an address; resolved by whoever connects. Addresses are as `InternetAddress` writes them, without the
    /// brackets that IPv6 may have in the file.
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
  /// The dialect that was stated, or the one that the columns say.
  public let dialect: ClientDialect
  private let lineCount: Int

  /// Reads `hosts.config`.
  ///
  /// - Parameter dialect: nil lets the number of columns decide. In v1.2's, lines of four columns are taken as they stand.
  public init(path: String, dialect: ClientDialect? = nil) throws(ConfigurationError) {
    try self.init(ConfigurationFile(path: path), dialect)
  }

  /// Reads the text of a file that errors call `path`.
  public init(
    text: String, path: String = "hosts.config", dialect: ClientDialect? = nil
  ) throws(ConfigurationError) {
    try self.init(ConfigurationFile(text: text, path: path), dialect)
  }

  private init(_ file: ConfigurationFile, _ statedDialect: ClientDialect?) throws(ConfigurationError) {
    let dialect = statedDialect ?? Self.impliedDialect(file)
    var hosts: [Host] = []
    var warnings: [ConfigurationWarning] = []
    /// Line of each address in use, `host:port`.
    var addresses: [String: Int] = [:]
    for line in file.lines {
      let columns = line.text.split(whereSeparator: \.isWhitespace)
      if dialect == .master, let warning = Self.trustedPartyWarning(columns, line, file) {
        warnings.append(warning)
        continue
      }
      guard columns.count == 4 || (dialect == .v12 && columns.count == 3) else {
        throw file.malformed(
          line, dialect == .master ? "'id host clientPort replicaPort'" : "'id host clientPort'",
          found: line.text)
      }
      guard let id = Int32(columns[0]), id >= 0 else {
        throw file.malformed(line, "a replica id in 0...\(Int32.max)", found: columns[0])
      }
      guard !hosts.contains(where: { $0.replica.rawValue == id }) else {
        throw file.malformed(line, "each replica id once", found: columns[0])
      }
      var ports: [Int] = []
      for column in columns[2...] {
        // In v1.2 the next port must be one as well.
        let last = columns.count == 3 ? 65_534 : 65_535
        guard let port = Int(column), (1...last).contains(port) else {
          throw file.malformed(line, "a port in 1...\(last)", found: column)
        }
        ports.append(port)
      }
      if ports.count == 1 { ports.append(ports[0] + 1) }
      let host = InternetAddress.canonical(columns[1])
      for port in ports {
        let address = "\(Endpoint.socket(host: host, port: port))"
        if let other = addresses.updateValue(line.number, forKey: address) {
          throw file.malformed(line, "an address other than line \(other)'s", found: address)
        }
      }
      hosts.append(
        Host(
          replica: ReplicaID(rawValue: id), host: host, clientPort: ports[0],
          replicaPort: ports[1]))
    }
    self.path = file.path
    self.hosts = hosts.sorted { $0.replica < $1.replica }
    self.warnings = warnings
    self.dialect = dialect
    lineCount = file.lineCount
  }

  private static func impliedDialect(_ file: ConfigurationFile) -> ClientDialect {
    let counts = file.lines.map { $0.text.split(whereSeparator: \.isWhitespace).count }
    return !counts.isEmpty && counts.allSatisfy { $0 == 3 } ? .v12 : .master
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
