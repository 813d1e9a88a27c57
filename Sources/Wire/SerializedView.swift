// A membership with its addresses as BFT-SMaRt writes it: the Java object `bftsmart.reconfiguration.views.View`. It is the
// content of a reply to a request that names an older membership, and of the file `currentView`.

import PBFT

/// BFT-SMaRt's `View`.
public struct SerializedView: Hashable, Sendable {
  /// Where clients reach one replica.
  public struct Address: Hashable, Sendable {
    public let replica: ReplicaID
    /// A name or address of 1...255 printable ASCII characters; an address as `InternetAddress` writes it.
    public let host: String
    public let port: UInt16

    /// nil when `host` is not 1...255 printable ASCII characters, or the id is negative.
    public init?(replica: ReplicaID, host: String, port: UInt16) {
      guard replica.rawValue >= 0, (1...255).contains(host.utf8.count),
        host.utf8.allSatisfy({ (0x21...0x7e).contains($0) })
      else { return nil }
      self.replica = replica
      self.host = InternetAddress.canonical(host)
      self.port = port
    }
  }

  /// The membership's id, BFT-SMaRt's `viewID`.
  public let id: Int32
  /// f.
  public let faults: Int32
  /// One for each member, ascending by replica.
  public let addresses: [Address]

  /// Sorts `addresses`. nil when there are none or more than 64, one replica has two, or `faults` is negative.
  public init?(id: Int32, faults: Int32, addresses: [Address]) {
    let sorted = addresses.sorted { $0.replica < $1.replica }
    guard (1...Quorums.maximumReplicas).contains(sorted.count), faults >= 0 else { return nil }
    for index in sorted.indices.dropFirst() where sorted[index].replica == sorted[index - 1].replica {
      return nil
    }
    self.id = id
    self.faults = faults
    self.addresses = sorted
  }

  /// The members, ascending.
  public var replicas: [ReplicaID] { addresses.map(\.replica) }

  /// Where clients reach `replica`; nil when it is no member.
  public func address(of replica: ReplicaID) -> Address? { addresses.first { $0.replica == replica } }

  /// The membership it describes; nil when its quorums do not exist.
  public func membership(model: FaultModel = .byzantine) -> Membership? {
    Membership(id: id, replicas: replicas, faults: Int(faults), model: model)
  }

  // MARK: Reading

  /// The longest serialized view that is read.
  public static let maximumByteCount = 64 << 10

  /// Reads exactly one serialized view.
  ///
  /// - Throws: `JavaSerializationError` for anything that BFT-SMaRt would not have written: another class or field, an
  ///   address that is neither a name nor a number, processes that are not ascending or not those of the addresses.
  public init(decoding bytes: UnsafeRawBufferPointer) throws(JavaSerializationError) {
    guard bytes.count <= Self.maximumByteCount else {
      throw JavaSerializationError(
        offset: Self.maximumByteCount, expected: "at most \(Self.maximumByteCount) bytes")
    }
    var reader = try JavaReader(bytes)
    try self.init(&reader)
    try reader.expectEnd()
  }

  /// As `init(decoding:)` of a buffer.
  public init(decoding bytes: [UInt8]) throws(JavaSerializationError) {
    self = try bytes.withUnsafeBufferPointer { buffer throws(JavaSerializationError) in
      try SerializedView(decoding: UnsafeRawBufferPointer(buffer))
    }
  }

  init(_ reader: inout JavaReader) throws(JavaSerializationError) {
    try reader.beginObject(.view)
    let faults = try reader.signed32("f")
    let id = try reader.signed32("the view's id")
    var addresses = try Self.readAddresses(&reader)
    let start = reader.offset
    let expected = "the ids of the replicas with addresses, ascending"
    guard try reader.beginArray(.integerArray) == Int32(addresses.count) else {
      throw reader.failure(expected, at: start)
    }
    addresses.sort { $0.replica < $1.replica }
    for address in addresses where try reader.signed32(expected) != address.replica.rawValue {
      throw reader.failure(expected, at: start)
    }
    guard let view = SerializedView(id: id, faults: faults, addresses: addresses) else {
      throw reader.failure("each replica once, and f not negative", at: start)
    }
    self = view
  }

  private static func readAddresses(_ reader: inout JavaReader) throws(JavaSerializationError) -> [Address] {
    try reader.beginObject(.hashMap)
    _ = try reader.unsigned32("a load factor")
    _ = try reader.unsigned32("a threshold")
    try reader.expect(JavaMark.block, "the size of a map")
    try reader.expect(8, "the size of a map")
    _ = try reader.unsigned32("the buckets of a map")
    let start = reader.offset
    let count = try reader.signed32("the size of a map")
    guard (1...Int32(Quorums.maximumReplicas)).contains(count) else {
      throw reader.failure("1...\(Quorums.maximumReplicas) addresses", at: start)
    }
    var addresses: [Address] = []
    for _ in 0..<count {
      let start = reader.offset
      try reader.beginObject(.integer)
      let replica = ReplicaID(rawValue: try reader.signed32("a replica id"))
      let (host, port) = try readSocketAddress(&reader)
      guard let address = Address(replica: replica, host: host, port: port) else {
        throw reader.failure("a replica id that is not negative", at: start)
      }
      addresses.append(address)
    }
    try reader.expect(JavaMark.end, "the end of a map")
    return addresses
  }

  private static func readSocketAddress(
    _ reader: inout JavaReader
  ) throws(JavaSerializationError) -> (host: String, port: UInt16) {
    try reader.beginObject(.inetSocketAddress)
    let start = reader.offset
    let port = try reader.signed32("a port")
    guard let port = UInt16(exactly: port) else { throw reader.failure("a port in 0...65535", at: start) }
    let address = try readInetAddress(&reader)
    let name = try reader.string("a host name or null")
    try reader.expect(JavaMark.end, "the end of an address")
    if let name {
      let host = try reader.host(name)
      return (address ?? host, port)
    }
    guard let address else { throw reader.failure("a host name where there is no address", at: start) }
    return (address, port)
  }

  /// The text of an address; nil for null.
  private static func readInetAddress(
    _ reader: inout JavaReader
  ) throws(JavaSerializationError) -> String? {
    let expected = "an internet address"
    let start = reader.offset
    guard start < reader.bytes.count else { throw reader.failure(expected) }
    switch reader.bytes[start] {
    case JavaMark.null:
      _ = try reader.byte("null")
      return nil
    case JavaMark.reference:
      _ = try reader.byte("a reference")
      guard case .address(let address) = try reader.referred(expected) else {
        throw reader.failure(expected, at: start)
      }
      return address
    default: break
    }
    let type = try reader.beginObject(oneOf: [.inetAddress, .inet6Address], expected)
    let place = reader.handles.count - 1
    var address = InternetAddress.v4(try reader.unsigned32("an IPv4 address")).description
    let family = try reader.signed32("an address family")
    guard (1...2).contains(family) else { throw reader.failure("an address family", at: start) }
    if let name = try reader.string("a host name or null") { _ = try reader.host(name) }
    try reader.expect(JavaMark.end, "the end of an address")
    if type == .inet6Address { address = try readInet6Address(&reader) }
    reader.rememberAddress(at: place, address)
    return address
  }

  /// What an `Inet6Address` has beyond an `InetAddress`, whose number says nothing then.
  private static func readInet6Address(_ reader: inout JavaReader) throws(JavaSerializationError) -> String {
    let number = try reader.unsigned32("a zone's number")
    let hasNumber = try reader.boolean("whether a zone has a number")
    let hasName = try reader.boolean("whether a zone has a name")
    let name = try reader.string("a zone's name or null")
    guard try reader.beginArray(.byteArray) == 16 else { throw reader.failure("16 bytes of an IPv6 address") }
    let high = try reader.unsigned64("an IPv6 address")
    let low = try reader.unsigned64("an IPv6 address")
    try reader.expect(JavaMark.end, "the end of an address")
    if hasName, let name {
      // Of its writer's host; whoever has an interface of that name may reach it.
      return "\(InternetAddress.v6(high: high, low: low, zone: nil))%\(try reader.host(name))"
    }
    return InternetAddress.v6(high: high, low: low, zone: hasNumber ? number : nil).description
  }

  // MARK: Writing

  /// The bytes that Java's `ObjectOutputStream` writes for this view: numeric addresses as such, everything else as a name
  /// that is resolved by whoever connects.
  public var encoded: [UInt8] {
    var writer = JavaWriter()
    write(to: &writer)
    return writer.bytes
  }

  func write(to writer: inout JavaWriter) {
    writer.beginObject(.view)
    writer.put(faults)
    writer.put(id)
    writer.beginObject(.hashMap)
    // A table grows when it is three quarters full.
    var buckets = 16
    while addresses.count > buckets / 4 * 3 { buckets *= 2 }
    writer.put(Float(0.75).bitPattern)
    writer.put(Int32(buckets / 4 * 3))
    writer.put(JavaMark.block)
    writer.put(UInt8(8))
    writer.put(Int32(buckets))
    writer.put(Int32(addresses.count))
    for address in inMapOrder(buckets: buckets) {
      writer.beginObject(.integer)
      writer.put(address.replica.rawValue)
      write(address, to: &writer)
    }
    writer.put(JavaMark.end)
    writer.beginArray(.integerArray, count: addresses.count)
    for address in addresses { writer.put(address.replica.rawValue) }
  }

  /// By bucket, ascending within one.
  private func inMapOrder(buckets: Int) -> [Address] {
    func bucket(_ address: Address) -> UInt32 {
      let hash = UInt32(bitPattern: address.replica.rawValue)
      return (hash ^ (hash >> 16)) & UInt32(buckets - 1)
    }
    let order = addresses.enumerated().sorted {
      (bucket($0.element), $0.offset) < (bucket($1.element), $1.offset)
    }
    return order.map(\.element)
  }

  private func write(_ address: Address, to writer: inout JavaWriter) {
    writer.beginObject(.inetSocketAddress)
    writer.put(Int32(address.port))
    if let numeric = InternetAddress(address.host) {
      write(numeric, to: &writer)
      writer.put(JavaMark.null)
    } else {
      writer.put(JavaMark.null)
      writer.put(string: address.host)
    }
    writer.put(JavaMark.end)
  }

  private func write(_ address: InternetAddress, to writer: inout JavaWriter) {
    func begin(_ type: JavaClass, _ number: UInt32) {
      writer.beginObject(type)
      writer.put(number)
      // IPv6 in either case: so Java has it for the sake of its earlier versions.
      writer.put(Int32(2))
      writer.put(JavaMark.null)
      writer.put(JavaMark.end)
    }
    switch address {
    case .v4(let number): begin(.inetAddress, number)
    case .v6(let high, let low, let zone):
      begin(.inet6Address, 0)
      writer.put(zone ?? 0)
      writer.put(UInt8(zone == nil ? 0 : 1))
      writer.put(UInt8(0))
      writer.put(JavaMark.null)
      writer.beginArray(.byteArray, count: 16)
      writer.put(high)
      writer.put(low)
      writer.put(JavaMark.end)
    }
  }
}
