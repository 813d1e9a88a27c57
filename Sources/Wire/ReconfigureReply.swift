// What replicas answer to a RECONFIG: the Java object `bftsmart.reconfiguration.ReconfigureReply`.

import PBFT

/// BFT-SMaRt's `ReconfigureReply`: the new view, the number of the batch that made it, its leader, and who has joined.
public struct ReconfigureReply: Hashable, Sendable {
  /// In force after the change; the present one, unchanged, when the change was refused.
  public let view: SerializedView
  /// The number of the batch, truncated to 32 bits (BFT-SMaRt's consensus id).
  public let sequence: Int32
  /// The primary then.
  public let leader: Int32
  /// `id:host:clientPort:replicaPort` of each new member.
  public let joined: [String]

  static let maximumBlockByteCount = 64 << 10

  public init(view: SerializedView, sequence: Int32, leader: Int32, joined: [String]) {
    self.view = view
    self.sequence = sequence
    self.leader = leader
    self.joined = joined
  }

  /// Reads exactly one serialized reply.
  public init(decoding bytes: UnsafeRawBufferPointer) throws(JavaSerializationError) {
    var reader = try JavaReader(bytes)
    try reader.beginObject(.reconfigureReply)
    view = try SerializedView(&reader)
    let start = reader.offset
    let data = try reader.blocks(limit: Self.maximumBlockByteCount)
    try reader.expectEnd()
    let fields = data.withUnsafeBytes { Self.readFields($0) }
    guard let fields else {
      throw reader.failure("number, leader and the addresses of who has joined", at: start)
    }
    (sequence, leader, joined) = fields
  }

  /// As `init(decoding:)` of a buffer.
  public init(decoding bytes: [UInt8]) throws(JavaSerializationError) {
    self = try bytes.withUnsafeBufferPointer { buffer throws(JavaSerializationError) in
      try ReconfigureReply(decoding: UnsafeRawBufferPointer(buffer))
    }
  }

  private static func readFields(
    _ bytes: UnsafeRawBufferPointer
  ) -> (Int32, Int32, [String])? {
    guard bytes.count >= 12, let base = bytes.baseAddress else { return nil }
    let count: Int32 = base.bigEndian(8)
    guard (0...Int32(Quorums.maximumReplicas)).contains(count) else { return nil }
    var joined: [String] = []
    var offset = 12
    for _ in 0..<count {
      guard bytes.count - offset >= 2 else { return nil }
      let length = Int(bytes[offset]) << 8 | Int(bytes[offset + 1])
      offset += 2
      guard bytes.count - offset >= length else { return nil }
      let text = bytes[offset..<offset + length]
      guard text.allSatisfy({ (0x21...0x7e).contains($0) }) else { return nil }
      joined.append(String(decoding: text, as: UTF8.self))
      offset += length
    }
    return offset == bytes.count ? (base.bigEndian(0), base.bigEndian(4), joined) : nil
  }

  /// The bytes that Java writes for it. Precondition: every text of `joined` is ASCII of less than 64 KiB.
  public var encoded: [UInt8] {
    var writer = JavaWriter()
    writer.beginObject(.reconfigureReply)
    view.write(to: &writer)
    var data: [UInt8] = []
    func put<Value: FixedWidthInteger>(_ value: Value) {
      withUnsafeBytes(of: value.bigEndian) { data.append(contentsOf: $0) }
    }
    put(sequence)
    put(leader)
    put(Int32(joined.count))
    for text in joined {
      put(UInt16(text.utf8.count))
      data.append(contentsOf: text.utf8)
    }
    writer.put(blocks: data)
    return writer.bytes
  }
}
