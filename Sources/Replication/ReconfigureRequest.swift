// The content of a RECONFIG: the Java object `bftsmart.reconfiguration.ReconfigureRequest`, of which only the class's name
// and its block data matter. It is decoded at execution, so this is part of the pure core.
//
// Kept true here: what a change comes to depends on its bytes, the membership in force and the addresses stated so far,
// and on nothing else; no length is believed before it is compared with the bytes at hand.

import PBFT

/// BFT-SMaRt's `ReconfigureRequest`: properties of the trusted party, and its signature over their text.
public struct ReconfigureRequest: Hashable, Sendable {
  /// What is asked for. BFT-SMaRt has one value of each; several replicas in one value, separated by commas, are
  /// Muster's, and so is `membership`.
  public enum Property: Int32, Hashable, Sendable, CaseIterable {
    /// `id:host:clientPort:replicaPort` (ADD_SERVER).
    case add = 0
    /// `id` (REMOVE_SERVER).
    case remove = 1
    /// `f` (CHANGE_F).
    case faults = 2
    /// The id of the membership that is to be changed: an answer to no other one, so it cannot be replayed.
    case membership = 3
  }

  /// The trusted party's id, `system.ttp.id`.
  public let sender: Int32
  /// By property; nil where nothing is asked for.
  public let values: [Property: String]
  /// Over `signedText`.
  public var signature: [UInt8]

  /// The longest content that is read.
  public static let maximumByteCount = 32 << 10
  private static let maximumSignatureByteCount = 1 << 10

  /// A request without signature.
  ///
  /// - Parameters:
  ///   - added: new members, with where they are reached.
  ///   - faults: f from then on; nil leaves it.
  ///   - membership: the one that is to be changed; nil as BFT-SMaRt's own requests, which name none.
  public init(
    sender: Int32, adding added: [MemberAddress] = [], removing removed: [ReplicaID] = [], faults: Int? = nil,
    membership: Int32?
  ) {
    self.sender = sender
    var values: [Property: String] = [:]
    if !added.isEmpty { values[.add] = added.map(\.text).joined(separator: ",") }
    if !removed.isEmpty { values[.remove] = removed.map { "\($0.rawValue)" }.joined(separator: ",") }
    if let faults { values[.faults] = "\(faults)" }
    if let membership { values[.membership] = "\(membership)" }
    self.values = values
    signature = []
  }

  /// What is signed: BFT-SMaRt's `toString`, with the properties in the order of a Java `Hashtable`.
  public var signedText: [UInt8] {
    var text = "Sender :\(sender);"
    for property in Self.tableOrder {
      if let value = values[property] { text += "\(property.rawValue)\(value)" }
    }
    return Array(text.utf8)
  }

  /// A `Hashtable` of 11 buckets is walked from its last one.
  private static let tableOrder: [Property] = [.membership, .faults, .remove, .add]

  // MARK: Bytes

  /// Stream, class and version, up to the block data.
  private static let prefix: [UInt8] =
    [0xac, 0xed, 0x00, 0x05, 0x73, 0x72, 0x00, 0x2b]
    + Array("bftsmart.reconfiguration.ReconfigureRequest".utf8)
    + [0xa5, 0x8a, 0x9a, 0x0a, 0x57, 0xed, 0x71, 0xb4, 0x0c, 0x00, 0x00, 0x78, 0x70]

  /// The bytes that Java writes for it.
  public var encoded: [UInt8] {
    var data: [UInt8] = []
    data.put(sender)
    data.put(Int32(values.count))
    for property in Self.tableOrder {
      guard let value = values[property] else { continue }
      data.put(property.rawValue)
      data.put(UInt16(value.utf8.count))
      data.append(contentsOf: value.utf8)
    }
    data.put(Int32(signature.count))
    data.append(contentsOf: signature)
    var output = Self.prefix
    var rest = data[...]
    while !rest.isEmpty {
      let piece = rest.prefix(1024)
      if piece.count <= 255 {
        output.put(UInt8(0x77))
        output.put(UInt8(piece.count))
      } else {
        output.put(UInt8(0x7a))
        output.put(UInt32(piece.count))
      }
      output.append(contentsOf: piece)
      rest = rest.dropFirst(piece.count)
    }
    output.put(UInt8(0x78))
    return output
  }

  /// nil unless `bytes` are one such object with known properties of printable ASCII, each at most once.
  public init?(decoding bytes: UnsafeRawBufferPointer) {
    guard bytes.count <= Self.maximumByteCount, bytes.count > Self.prefix.count,
      bytes.prefix(Self.prefix.count).elementsEqual(Self.prefix),
      let data = Self.blockData(UnsafeRawBufferPointer(rebasing: bytes[Self.prefix.count...]))
    else { return nil }
    let fields = data.withUnsafeBytes { Self.fields($0) }
    guard let (sender, values, signature) = fields else { return nil }
    self.sender = sender
    self.values = values
    self.signature = signature
  }

  /// What the blocks hold, joined; nil unless they end with their object, and with `bytes`.
  private static func blockData(_ bytes: UnsafeRawBufferPointer) -> [UInt8]? {
    var reader = ByteReader(bytes)
    var data: [UInt8] = []
    while let mark = reader.integer(UInt8.self) {
      let count: Int?
      switch mark {
      case 0x77: count = reader.integer(UInt8.self).map(Int.init)
      case 0x7a: count = reader.integer(UInt32.self).map(Int.init)
      case 0x78: return reader.isAtEnd ? data : nil
      default: return nil
      }
      guard let count, let piece = reader.take(count) else { return nil }
      data.append(contentsOf: piece)
    }
    return nil
  }

  private static func fields(
    _ data: UnsafeRawBufferPointer
  ) -> (Int32, [Property: String], [UInt8])? {
    var reader = ByteReader(data)
    guard let sender = reader.integer(Int32.self), let count = reader.integer(Int32.self),
      (0...Int32(Property.allCases.count)).contains(count)
    else { return nil }
    var values: [Property: String] = [:]
    for _ in 0..<count {
      guard let property = reader.integer(Int32.self).flatMap(Property.init(rawValue:)),
        let length = reader.integer(UInt16.self), let text = reader.take(Int(length)),
        text.allSatisfy({ (0x21...0x7e).contains($0) }), values[property] == nil
      else { return nil }
      values[property] = String(decoding: text, as: UTF8.self)
    }
    guard let signatureCount = reader.integer(Int32.self), signatureCount <= Int32(maximumSignatureByteCount),
      let signature = reader.take(Int(signatureCount)), reader.isAtEnd
    else { return nil }
    return (sender, values, Array(signature))
  }

  // MARK: Meaning

  /// Why a change cannot be.
  public enum Refusal: Error, Hashable, Sendable, CustomStringConvertible {
    /// It asks for nothing.
    case nothing
    /// It is meant for another membership than the one in force.
    case otherMembership
    /// A value that cannot be read.
    case malformed(Property)
    case isMember(ReplicaID)
    case isNoMember(ReplicaID)
    /// Another replica is reached there.
    case addressTaken(ReplicaID)
    /// Too few or too many replicas for f.
    case quorums(replicas: Int, faults: Int)
    /// There is no further id.
    case exhausted

    public var description: String {
      switch self {
      case .nothing: "nothing is asked for"
      case .otherMembership: "the request names another membership than the one in force"
      case .malformed(.add): "an address is not id:host:clientPort:replicaPort"
      case .malformed(.remove): "what is to be removed is no replica id"
      case .malformed(.faults): "f is no number from 0 to \(Quorums.maximumReplicas - 1)"
      case .malformed(.membership): "the membership's id is no number"
      case .isMember(let replica): "replica \(replica.rawValue) is a member already"
      case .isNoMember(let replica): "replica \(replica.rawValue) is no member"
      case .addressTaken(let replica): "replica \(replica.rawValue) is reached at that address"
      case .quorums(let replicas, let faults): "\(replicas) replicas do not tolerate f = \(faults)"
      case .exhausted: "there is no further membership id"
      }
    }
  }

  /// Why it cannot be done to this membership, as far as that does not depend on addresses; nil when it can.
  public func refusal(after present: Membership) -> Refusal? {
    do throws(Refusal) {
      _ = try outcome(after: present, [])
      return nil
    } catch {
      return error
    }
  }

  /// What it makes of the membership in force.
  func outcome(after present: Membership, _ known: [MemberAddress]) throws(Refusal) -> MembershipOutcome {
    if let text = values[.membership] {
      guard let id = Int32(text) else { throw .malformed(.membership) }
      guard id == present.id else { throw .otherMembership }
    }
    guard values[.add] != nil || values[.remove] != nil || values[.faults] != nil else { throw .nothing }
    guard present.id < .max else { throw .exhausted }
    var replicas = present.replicas
    for replica in try removed() {
      guard let index = replicas.firstIndex(of: replica) else { throw .isNoMember(replica) }
      replicas.remove(at: index)
    }
    let added = try added()
    for address in added {
      guard present.position(of: address.replica) == nil, !replicas.contains(address.replica) else {
        throw .isMember(address.replica)
      }
      if let other = (known + added).first(where: {
        $0.isReachedAsIs(address) && replicas.contains($0.replica)
      }) {
        throw .addressTaken(other.replica)
      }
      replicas.append(address.replica)
    }
    let faults = try statedFaults() ?? present.faults
    guard
      let next = Membership(
        id: present.id + 1, replicas: replicas, faults: faults, model: present.quorums.model)
    else { throw .quorums(replicas: replicas.count, faults: faults) }
    return MembershipOutcome(
      membership: next,
      addresses: MemberAddresses.merge(known, added.sorted { $0.replica < $1.replica }, for: next))
  }

  private func removed() throws(Refusal) -> [ReplicaID] {
    guard let text = values[.remove] else { return [] }
    var replicas: [ReplicaID] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      guard let id = Int32(part), id >= 0 else { throw .malformed(.remove) }
      replicas.append(ReplicaID(id))
    }
    return replicas
  }

  private func added() throws(Refusal) -> [MemberAddress] {
    guard let text = values[.add] else { return [] }
    var addresses: [MemberAddress] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      guard let address = MemberAddress(text: part), addresses.count < Quorums.maximumReplicas else {
        throw .malformed(.add)
      }
      addresses.append(address)
    }
    return addresses
  }

  private func statedFaults() throws(Refusal) -> Int? {
    guard let text = values[.faults] else { return nil }
    guard let faults = Int(text), (0..<Quorums.maximumReplicas).contains(faults) else {
      throw .malformed(.faults)
    }
    return faults
  }
}

extension MemberAddress {
  /// `id:host:clientPort:replicaPort`, as BFT-SMaRt's TTP writes it.
  public var text: String { "\(replica.rawValue):\(host):\(clientPort):\(replicaPort)" }

  /// nil unless `text` is `id:host:clientPort:replicaPort`; a host may hold colons itself, but no commas.
  public init?(text: Substring) {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count >= 4, let id = Int32(parts[0]), let clientPort = UInt16(parts[parts.count - 2]),
      let replicaPort = UInt16(parts[parts.count - 1]), clientPort > 0, replicaPort > 0,
      clientPort != replicaPort
    else { return nil }
    let host = parts[1..<(parts.count - 2)].joined(separator: ":")
    guard !host.utf8.contains(UInt8(ascii: ",")) else { return nil }
    self.init(replica: ReplicaID(id), host: host, clientPort: clientPort, replicaPort: replicaPort)
  }

  /// Whether another replica would be reached at one of these ports.
  func isReachedAsIs(_ other: MemberAddress) -> Bool {
    replica != other.replica && host == other.host
      && (clientPort == other.clientPort || replicaPort == other.replicaPort)
  }
}
