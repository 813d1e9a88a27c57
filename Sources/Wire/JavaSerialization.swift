// The few shapes of Java's object serialization that BFT-SMaRt sends: objects of known classes, each with exactly the
// fields it has there. Nothing is built from what a stream says but values of the types read here; no length is believed
// before it is compared with the bytes at hand; the classes are named, never looked for.
//
// Source: Java Object Serialization Specification, chapter 6; checked byte for byte against OpenJDK 17.

/// What is wrong with serialized bytes.
public struct JavaSerializationError: Error, Hashable, CustomStringConvertible {
  /// Where, counted from the first byte.
  public let offset: Int
  public let expected: String

  public var description: String { "byte \(offset): expected \(expected)" }
}

/// Classes that may occur.
enum JavaClass: UInt8 {
  case view
  case hashMap
  case integer
  case number
  case socketAddress
  case inetSocketAddress
  case inetAddress
  case inet6Address
  case byteArray
  case integerArray
  case reconfigureReply

  /// A field: its type, name, and the type's signature for what is no primitive.
  struct Field {
    var type: UInt8
    var name: StaticString
    var signature: StaticString?

    init(_ type: Unicode.Scalar, _ name: StaticString, _ signature: StaticString? = nil) {
      self.type = UInt8(type.value)
      self.name = name
      self.signature = signature
    }
  }

  var name: StaticString {
    switch self {
    case .view: "bftsmart.reconfiguration.views.View"
    case .hashMap: "java.util.HashMap"
    case .integer: "java.lang.Integer"
    case .number: "java.lang.Number"
    case .socketAddress: "java.net.SocketAddress"
    case .inetSocketAddress: "java.net.InetSocketAddress"
    case .inetAddress: "java.net.InetAddress"
    case .inet6Address: "java.net.Inet6Address"
    case .byteArray: "[B"
    case .integerArray: "[I"
    case .reconfigureReply: "bftsmart.reconfiguration.ReconfigureReply"
    }
  }

  /// `serialVersionUID`; that of `ReconfigureReply` is the one Java computes from its members.
  var version: Int64 {
    switch self {
    case .view: 4_052_550_874_674_512_359
    case .hashMap: 0x0507_dac1_c316_60d1
    case .integer: 0x12e2_a0a4_f781_8738
    case .number: Int64(bitPattern: 0x86ac_951d_0b94_e08b)
    case .socketAddress: 0x4861_f662_f497_9d6a
    case .inetSocketAddress: 0x4671_9461_6ff9_aa45
    case .inetAddress: 0x2d9b_57af_9fe3_ebdb
    case .inet6Address: 0x5f7c_2081_522c_8021
    case .byteArray: Int64(bitPattern: 0xacf3_17f8_0608_54e0)
    case .integerArray: 0x4dba_6026_76ea_b2a5
    case .reconfigureReply: -2_069_114_780_709_479_363
    }
  }

  /// 2 = serializable, 1 = writes more than its fields, 4 = externalizable, 8 = in blocks.
  var flags: UInt8 {
    switch self {
    case .view, .integer, .number, .socketAddress, .byteArray, .integerArray: 0x02
    case .hashMap, .inetSocketAddress, .inetAddress, .inet6Address: 0x03
    case .reconfigureReply: 0x0c
    }
  }

  /// In Java's order: primitives before others, by name.
  var fields: [Field] {
    switch self {
    case .view:
      [
        Field("I", "f"), Field("I", "id"), Field("L", "addresses", "Ljava/util/Map;"),
        Field("[", "processes", "[I"),
      ]
    case .hashMap: [Field("F", "loadFactor"), Field("I", "threshold")]
    case .integer: [Field("I", "value")]
    case .inetSocketAddress:
      [
        Field("I", "port"), Field("L", "addr", "Ljava/net/InetAddress;"),
        Field("L", "hostname", "Ljava/lang/String;"),
      ]
    case .inetAddress:
      [Field("I", "address"), Field("I", "family"), Field("L", "hostName", "Ljava/lang/String;")]
    case .inet6Address:
      [
        Field("I", "scope_id"), Field("Z", "scope_id_set"), Field("Z", "scope_ifname_set"),
        Field("L", "ifname", "Ljava/lang/String;"), Field("[", "ipaddress", "[B"),
      ]
    case .number, .socketAddress, .byteArray, .integerArray, .reconfigureReply: []
    }
  }

  var parent: JavaClass? {
    switch self {
    case .integer: .number
    case .inetSocketAddress: .socketAddress
    case .inet6Address: .inetAddress
    default: nil
    }
  }
}

/// The bytes that announce what follows.
enum JavaMark {
  static let header: UInt32 = 0xaced_0005
  static let null: UInt8 = 0x70
  static let reference: UInt8 = 0x71
  static let classDescription: UInt8 = 0x72
  static let object: UInt8 = 0x73
  static let string: UInt8 = 0x74
  static let array: UInt8 = 0x75
  static let block: UInt8 = 0x77
  static let end: UInt8 = 0x78
  static let longBlock: UInt8 = 0x7a
  /// Number of the first thing that may be referred to.
  static let firstHandle: UInt32 = 0x7e_0000
  /// Java cuts block data into pieces of so many bytes.
  static let blockByteCount = 1024
}

/// Reads a stream from its beginning. Everything that may be referred to later is remembered, at most `maximumHandles`.
struct JavaReader {
  enum Handle: Equatable {
    case description(JavaClass)
    case string(Range<Int>)
    /// The text of an internet address.
    case address(String)
    case other
  }

  static let maximumHandles = 1_024

  let bytes: UnsafeRawBufferPointer
  private(set) var offset = 0
  private(set) var handles: [Handle] = []

  init(_ bytes: UnsafeRawBufferPointer) throws(JavaSerializationError) {
    self.bytes = bytes
    guard try unsigned32("a stream of Java objects") == JavaMark.header else {
      throw JavaSerializationError(offset: 0, expected: "a stream of Java objects")
    }
  }

  func failure(_ expected: String, at offset: Int? = nil) -> JavaSerializationError {
    JavaSerializationError(offset: offset ?? self.offset, expected: expected)
  }

  var isAtEnd: Bool { offset == bytes.count }

  mutating func expectEnd() throws(JavaSerializationError) {
    if !isAtEnd { throw failure("the end of the stream") }
  }

  // MARK: Values

  mutating func byte(_ expected: String) throws(JavaSerializationError) -> UInt8 {
    guard offset < bytes.count else { throw failure(expected) }
    defer { offset += 1 }
    return bytes[offset]
  }

  mutating func expect(_ value: UInt8, _ expected: String) throws(JavaSerializationError) {
    guard offset < bytes.count, bytes[offset] == value else { throw failure(expected) }
    offset += 1
  }

  private mutating func integer<Value: FixedWidthInteger>(
    _ expected: String
  ) throws(JavaSerializationError) -> Value {
    let size = MemoryLayout<Value>.size
    guard bytes.count - offset >= size else { throw failure(expected) }
    defer { offset += size }
    return Value(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Value.self))
  }

  mutating func unsigned32(_ expected: String) throws(JavaSerializationError) -> UInt32 {
    try integer(expected)
  }

  mutating func unsigned64(_ expected: String) throws(JavaSerializationError) -> UInt64 {
    try integer(expected)
  }

  /// A byte that is 0 or 1.
  mutating func boolean(_ expected: String) throws(JavaSerializationError) -> Bool {
    let start = offset
    let value = try byte(expected)
    guard value <= 1 else { throw failure(expected, at: start) }
    return value == 1
  }

  mutating func signed32(_ expected: String) throws(JavaSerializationError) -> Int32 {
    try integer(expected)
  }

  /// Bytes behind a length of 16 bits.
  private mutating func shortBytes(_ expected: String) throws(JavaSerializationError) -> Range<Int> {
    let count = Int(try integer(expected) as UInt16)
    guard bytes.count - offset >= count else { throw failure(expected) }
    defer { offset += count }
    return offset..<offset + count
  }

  private mutating func expectText(_ text: StaticString, _ expected: String) throws(JavaSerializationError) {
    let start = offset
    let found = try shortBytes(expected)
    guard isEqual(found, text) else { throw failure(expected, at: start) }
  }

  private func isEqual(_ range: Range<Int>, _ text: StaticString) -> Bool {
    range.count == text.utf8CodeUnitCount
      && bytes[range].elementsEqual(UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  // MARK: References

  private mutating func remember(_ handle: Handle) throws(JavaSerializationError) {
    guard handles.count < Self.maximumHandles else { throw failure("at most \(Self.maximumHandles) objects") }
    handles.append(handle)
  }

  mutating func rememberObject() throws(JavaSerializationError) { try remember(.other) }

  mutating func rememberAddress(at place: Int, _ address: String) { handles[place] = .address(address) }

  mutating func referred(_ expected: String) throws(JavaSerializationError) -> Handle {
    let start = offset
    let number = try unsigned32(expected)
    guard number >= JavaMark.firstHandle, number - JavaMark.firstHandle < UInt32(handles.count) else {
      throw failure(expected, at: start)
    }
    return handles[Int(number - JavaMark.firstHandle)]
  }

  // MARK: Shapes

  /// The mark of a new object and its class, which must be this one.
  mutating func beginObject(_ type: JavaClass) throws(JavaSerializationError) {
    _ = try beginObject(oneOf: [type], "an object of \(type.name)")
  }

  /// The mark of a new object and its class, which must be one of these.
  mutating func beginObject(
    oneOf types: [JavaClass], _ expected: String
  ) throws(JavaSerializationError) -> JavaClass {
    try expect(JavaMark.object, expected)
    let type = try expectClass(oneOf: types)
    try rememberObject()
    return type
  }

  mutating func beginArray(_ type: JavaClass) throws(JavaSerializationError) -> Int32 {
    try expect(JavaMark.array, "an array \(type.name)")
    try expectClass(type)
    try rememberObject()
    return try signed32("the length of an array")
  }

  private mutating func expectClass(_ type: JavaClass) throws(JavaSerializationError) {
    _ = try expectClass(oneOf: [type])
  }

  private mutating func expectClass(oneOf types: [JavaClass]) throws(JavaSerializationError) -> JavaClass {
    let expected = "the class \(types.map { "\($0.name)" }.joined(separator: " or ")) as BFT-SMaRt's"
    let start = offset
    switch try byte(expected) {
    case JavaMark.reference:
      guard case .description(let type) = try referred(expected), types.contains(type) else {
        throw failure(expected, at: start)
      }
      return type
    case JavaMark.classDescription: break
    default: throw failure(expected, at: start)
    }
    let name = try shortBytes(expected)
    guard let type = types.first(where: { isEqual(name, $0.name) }) else {
      throw failure(expected, at: start + 1)
    }
    guard try integer(expected) == type.version else { throw failure(expected, at: start) }
    try remember(.description(type))
    let fields = type.fields
    guard try byte(expected) == type.flags, try integer(expected) == UInt16(fields.count) else {
      throw failure(expected, at: start)
    }
    for field in fields {
      try expect(field.type, expected)
      try expectText(field.name, expected)
      if let signature = field.signature {
        guard let range = try string(expected), isEqual(range, signature) else {
          throw failure(expected, at: start)
        }
      }
    }
    try expect(JavaMark.end, expected)
    if let parent = type.parent {
      try expectClass(parent)
    } else {
      try expect(JavaMark.null, expected)
    }
    return type
  }

  /// A string, new or referred to; nil for null.
  mutating func string(_ expected: String) throws(JavaSerializationError) -> Range<Int>? {
    let start = offset
    switch try byte(expected) {
    case JavaMark.null: return nil
    case JavaMark.string:
      let range = try shortBytes(expected)
      try remember(.string(range))
      return range
    case JavaMark.reference:
      guard case .string(let range) = try referred(expected) else { throw failure(expected, at: start) }
      return range
    default: throw failure(expected, at: start)
    }
  }

  /// The text of printable ASCII in these bytes, 1...255 of them.
  func host(_ range: Range<Int>) throws(JavaSerializationError) -> String {
    guard (1...255).contains(range.count), bytes[range].allSatisfy({ (0x21...0x7e).contains($0) }) else {
      throw failure("a host name of 1...255 printable characters", at: range.lowerBound)
    }
    return String(decoding: bytes[range], as: UTF8.self)
  }

  /// All block data up to the end of an object, joined; at most `limit` bytes.
  mutating func blocks(limit: Int) throws(JavaSerializationError) -> [UInt8] {
    var joined: [UInt8] = []
    while true {
      let count: Int
      switch try byte("block data") {
      case JavaMark.end: return joined
      case JavaMark.block: count = Int(try byte("block data"))
      case JavaMark.longBlock: count = Int(try unsigned32("block data"))
      default: throw failure("block data", at: offset - 1)
      }
      guard count <= bytes.count - offset, joined.count + count <= limit else {
        throw failure("at most \(limit) bytes of block data")
      }
      joined.append(contentsOf: bytes[offset..<offset + count])
      offset += count
    }
  }
}

/// Writes a stream as Java does: classes and their type names once, then by reference.
struct JavaWriter {
  private(set) var bytes: [UInt8] = []
  private var handleCount: UInt32 = 0
  private var classes: [(type: JavaClass, handle: UInt32)] = []
  private var signatures: [(text: String, handle: UInt32)] = []

  init() { put(JavaMark.header) }

  mutating func put<Value: FixedWidthInteger>(_ value: Value) {
    withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
  }

  private mutating func put(text: String) {
    put(UInt16(text.utf8.count))
    bytes.append(contentsOf: text.utf8)
  }

  private mutating func newHandle() -> UInt32 {
    defer { handleCount += 1 }
    return JavaMark.firstHandle + handleCount
  }

  mutating func beginObject(_ type: JavaClass) {
    put(JavaMark.object)
    put(type)
    _ = newHandle()
  }

  mutating func beginArray(_ type: JavaClass, count: Int) {
    put(JavaMark.array)
    put(type)
    _ = newHandle()
    put(Int32(count))
  }

  private mutating func put(_ type: JavaClass) {
    if let known = classes.first(where: { $0.type == type }) {
      put(JavaMark.reference)
      return put(known.handle)
    }
    put(JavaMark.classDescription)
    put(text: "\(type.name)")
    put(type.version)
    classes.append((type, newHandle()))
    put(type.flags)
    put(UInt16(type.fields.count))
    for field in type.fields {
      put(field.type)
      put(text: "\(field.name)")
      if let signature = field.signature { put(signature: "\(signature)") }
    }
    put(JavaMark.end)
    if let parent = type.parent { put(parent) } else { put(JavaMark.null) }
  }

  private mutating func put(signature: String) {
    if let known = signatures.first(where: { $0.text == signature }) {
      put(JavaMark.reference)
      return put(known.handle)
    }
    signatures.append((signature, newHandle()))
    put(JavaMark.string)
    put(text: signature)
  }

  /// A string of its own. Precondition: less than 64 KiB of ASCII.
  mutating func put(string: String) {
    _ = newHandle()
    put(JavaMark.string)
    put(text: string)
  }

  /// Block data in Java's pieces, and the end of its object.
  mutating func put(blocks data: [UInt8]) {
    var rest = data[...]
    while !rest.isEmpty {
      let piece = rest.prefix(JavaMark.blockByteCount)
      if piece.count <= 255 {
        put(JavaMark.block)
        put(UInt8(piece.count))
      } else {
        put(JavaMark.longBlock)
        put(UInt32(piece.count))
      }
      bytes.append(contentsOf: piece)
      rest = rest.dropFirst(piece.count)
    }
    put(JavaMark.end)
  }
}
