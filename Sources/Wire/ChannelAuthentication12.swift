// The MACs of BFT-SMaRt v1.2 between a client and a replica. Their keys follow from the two ids by a published rule, so
// they keep nobody out: they are here because a v1.2 replica drops what has none, and because they cost what they cost.

import Foundation
import Hashing

/// The keys of (client, replica) pairs, derived once and kept while there is room. Confined to one thread.
///
/// Source: v1.2, `NettyClientServerCommunicationSystemClientSide` and `…ServerSide`: PBKDF2WithHmacSHA1 over
/// `"<client>:<replica>"`, a fixed salt, 1000 iterations, 64 bits; HmacSHA512 over `data`, one key for both directions.
public final class ChannelKeys12 {
  /// Bytes of a tag.
  public static let tagByteCount = HMACSHA512Key.tagByteCount
  /// `new java.util.Random(509).nextBytes(64)`.
  private static let salt: [UInt8] = [
    0xa9, 0x1b, 0xcd, 0xc1, 0x64, 0x5a, 0x06, 0x8b, 0xb8, 0xae, 0x32, 0xe7, 0x2e, 0xe8, 0xe1, 0x7c,
    0xdc, 0x59, 0x4d, 0xae, 0xf4, 0xc8, 0xc1, 0xb2, 0xb1, 0x99, 0x2d, 0xe8, 0xc7, 0x0c, 0x81, 0x6f,
    0xeb, 0xd0, 0xc2, 0xdd, 0xbe, 0x6a, 0x04, 0x62, 0x34, 0x34, 0x09, 0x85, 0xe0, 0xd8, 0x49, 0x5d,
    0x1d, 0x2b, 0x82, 0x09, 0xf3, 0xdb, 0xb8, 0x91, 0xad, 0x88, 0xa9, 0x12, 0x37, 0xb3, 0x8d, 0xbf,
  ]

  private let capacity: Int
  private var slots: [UInt64: Int32] = [:]
  private let keys: UnsafeMutablePointer<HMACSHA512Key>

  /// - Parameter capacity: pairs whose keys are kept, at about 450 bytes each; when there are more, all are forgotten and
  ///   derived again as they come, at about a third of a millisecond each.
  public init(capacity: Int) {
    self.capacity = max(1, capacity)
    keys = .allocate(capacity: self.capacity)
    slots.reserveCapacity(min(self.capacity, 1 << 20))
  }

  deinit { keys.deallocate() }

  /// The eight bytes of the key that `client` and `replica` share.
  public static func key(client: Int32, replica: Int32) -> [UInt8] {
    let password = Array("\(client):\(replica)".utf8)
    return Array(unsafeUninitializedCapacity: 8) { buffer, count in
      password.withUnsafeBytes { password in
        salt.withUnsafeBytes { salt in
          PBKDF2.hmacSHA1(
            password: password, salt: salt, iterations: 1000, into: UnsafeMutableRawBufferPointer(buffer))
        }
      }
      count = 8
    }
  }

  /// Derives the key of a pair now, so that its first message does not pay for it.
  public func prepare(client: Int32, replica: Int32) { _ = slot(client, replica) }

  /// Writes the 64 bytes of the tag of `data`. Nothing allocates once the pair is known.
  public func tag(
    _ data: UnsafeRawBufferPointer, client: Int32, replica: Int32, into output: UnsafeMutableRawPointer
  ) {
    keys[slot(client, replica)].tag(of: data, into: output)
  }

  /// Writes the tag into the MAC block of a frame that `ClientFrame.encode` wrote with `useMACs`.
  public func seal(_ frame: UnsafeMutableRawBufferPointer, client: Int32, replica: Int32) {
    guard let offset = ClientFrame.macOffset(ofEncoded: frame) else {
      preconditionFailure("the frame has no MAC block")
    }
    tag(
      ClientFrame.data(ofEncoded: frame), client: client, replica: replica,
      into: frame.baseAddress.unsafelyUnwrapped + offset)
  }

  /// Whether `mac` is the tag of `data`; compared in time independent of where they differ.
  public func isAuthentic(
    _ mac: UnsafeRawBufferPointer, of data: UnsafeRawBufferPointer, client: Int32, replica: Int32
  ) -> Bool {
    guard mac.count == Self.tagByteCount else { return false }
    return withUnsafeTemporaryAllocation(byteCount: Self.tagByteCount, alignment: 8) { expected in
      tag(data, client: client, replica: replica, into: expected.baseAddress.unsafelyUnwrapped)
      var difference: UInt64 = 0
      for offset in stride(from: 0, to: Self.tagByteCount, by: 8) {
        difference |=
          expected.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
          ^ mac.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
      }
      return difference == 0
    }
  }

  private func slot(_ client: Int32, _ replica: Int32) -> Int {
    let pair = UInt64(UInt32(bitPattern: client)) << 32 | UInt64(UInt32(bitPattern: replica))
    if let slot = slots[pair] { return Int(slot) }
    if slots.count == capacity { slots.removeAll(keepingCapacity: true) }
    let slot = slots.count
    Self.key(client: client, replica: replica).withUnsafeBytes {
      (keys + slot).initialize(to: HMACSHA512Key($0))
    }
    slots[pair] = Int32(slot)
    return slot
  }
}
