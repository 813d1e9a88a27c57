// Where members are reached: replicated state, as far as a RECONFIG has stated it (decision record 56).
//
// Kept true here: what an initial member's own configuration says of addresses is no part of the state, so
// two spellings of one host name never make two states.

import Hashing
import PBFT

/// The address of one member (BFT-SMaRt's `View` maps ids to such).
public struct MemberAddress: Hashable, Sendable {
  public let replica: ReplicaID
  /// A host name or address, 1...255 bytes of printable ASCII.
  public let host: String
  /// Where clients connect.
  public let clientPort: UInt16
  /// Where other replicas connect.
  public let replicaPort: UInt16

  static let maximumHostByteCount = 255
  /// The longest encoding.
  static let maximumByteCount = 4 + 1 + maximumHostByteCount + 2 + 2

  /// nil when `host` is not 1...255 bytes of printable ASCII, or the id is negative.
  public init?(replica: ReplicaID, host: String, clientPort: UInt16, replicaPort: UInt16) {
    let bytes = host.utf8
    guard replica.rawValue >= 0, (1...MemberAddress.maximumHostByteCount).contains(bytes.count),
      bytes.allSatisfy({ (0x21...0x7e).contains($0) })
    else { return nil }
    self.replica = replica
    self.host = host
    self.clientPort = clientPort
    self.replicaPort = replicaPort
  }

  /// Id i32 | bytes of the host u8, host | client port u16 | replica port u16, big-endian.
  func encode(into output: inout [UInt8]) {
    output.put(replica.rawValue)
    output.put(UInt8(host.utf8.count))
    output.append(contentsOf: host.utf8)
    output.put(clientPort)
    output.put(replicaPort)
  }

  /// nil when the bytes at hand are no address.
  init?(_ reader: inout ByteReader) {
    guard let id = reader.integer(Int32.self), let count = reader.integer(UInt8.self),
      let bytes = reader.take(Int(count)), let clientPort = reader.integer(UInt16.self),
      let replicaPort = reader.integer(UInt16.self)
    else { return nil }
    self.init(
      replica: ReplicaID(id), host: String(decoding: bytes, as: UTF8.self), clientPort: clientPort,
      replicaPort: replicaPort)
  }
}

/// A list of addresses as states and changes carry it: count u32, then the addresses, ascending by replica.
enum MemberAddresses {
  static let maximumByteCount = 4 + Quorums.maximumReplicas * MemberAddress.maximumByteCount

  static func encode(_ addresses: [MemberAddress], into output: inout [UInt8]) {
    output.put(UInt32(addresses.count))
    for address in addresses { address.encode(into: &output) }
  }

  /// nil unless they are ascending, one for each replica at most, and all of `replicas`.
  static func decode(_ reader: inout ByteReader, of replicas: [ReplicaID]) -> [MemberAddress]? {
    guard let count = reader.integer(UInt32.self), count <= UInt32(replicas.count) else { return nil }
    var addresses: [MemberAddress] = []
    for _ in 0..<count {
      guard let address = MemberAddress(&reader), replicas.contains(address.replica) else { return nil }
      if let last = addresses.last, last.replica >= address.replica { return nil }
      addresses.append(address)
    }
    return addresses
  }

  /// What is known after a change has stated more: of those who are members then, the newest of each.
  static func merge(
    _ known: [MemberAddress], _ stated: [MemberAddress], for membership: Membership
  ) -> [MemberAddress] {
    membership.replicas.compactMap { replica in
      stated.last { $0.replica == replica } ?? known.last { $0.replica == replica }
    }
  }

  static func update(_ hasher: inout SHA256Hasher, _ addresses: [MemberAddress]) {
    // Most memberships have none; a checkpoint allocates nothing then.
    withUnsafeBytes(of: UInt32(addresses.count).bigEndian) { hasher.update($0) }
    guard !addresses.isEmpty else { return }
    var bytes: [UInt8] = []
    for address in addresses { address.encode(into: &bytes) }
    bytes.withUnsafeBytes { hasher.update($0) }
  }
}
