// Frames on a replica link: a running counter and a tag make the stream of each direction authentic and ordered.
// The body of a turn is the same bytes for all peers: it is hashed once, and each link's tag covers its digest.
//
//   length u32 (bytes that follow) | counter u64 | body | tag (16 bytes; with `hmac` only)
//   tag = first 16 bytes of HMAC-SHA256(channel key, counter | SHA-256(body))
//
// All integers are big-endian. An empty body is a frame like any other: the one sent right after the hello proves
// that its sender holds the keys.

import Hashing
import PBFT

/// How replicas authenticate the frames between them; the axis `replica_auth`.
public enum ReplicaAuthentication: String, CaseIterable, Sendable {
  /// Counters only: for trusted networks and comparisons.
  case none
  /// A truncated HMAC-SHA256 tag on each frame, under keys of the link and direction.
  case hmac
  /// TLS with a certificate for each replica: it authenticates and encrypts the stream, and frames carry no tags.
  case tls

  /// The byte that says it in a hello.
  var byte: UInt8 {
    switch self {
    case .none: 0
    case .hmac: 1
    case .tls: 2
    }
  }
}

/// Sizes of link frames.
public enum LinkFrame {
  /// Bytes before the body: length and counter.
  public static let headerByteCount = 12
  /// A frame's length may be at most 64 MiB.
  public static let hardLimit: UInt32 = 64 << 20
  /// The largest body a frame carries.
  public static let maximumBodyByteCount = Int(hardLimit) - 8 - HMACKey.tagByteCount

  /// Bytes of a frame with `body` bytes of body.
  @inlinable
  public static func byteCount(body: Int, authentication: ReplicaAuthentication) -> Int {
    headerByteCount + body + (authentication == .hmac ? HMACKey.tagByteCount : 0)
  }
}

/// Writes the frames of one direction of one link.
public struct LinkSealer {
  let key: HMACKey?
  /// The counter of the next frame.
  public private(set) var counter: UInt64 = 0

  /// Without keys frames carry no tags (`ReplicaAuthentication.none` and `.tls`).
  public init(keys: LinkKeys?) { key = keys?.sending }

  /// Bytes that `seal` writes for `body` bytes of body.
  public func byteCount(body: Int) -> Int {
    LinkFrame.byteCount(body: body, authentication: key == nil ? .none : .hmac)
  }

  /// Writes one frame with the writer's messages. The writer hashes its bytes once for all links.
  ///
  /// - Returns: the bytes written.
  /// - Precondition: `output` holds `byteCount(body:)` bytes, and the body is within `maximumBodyByteCount`.
  public mutating func seal(_ body: LinkBodyWriter, into output: UnsafeMutableRawBufferPointer) -> Int {
    write(body.bytes, digest: key == nil ? nil : body.digest(), into: output)
  }

  /// Writes one frame around `body`, which is hashed here.
  ///
  /// - Returns: the bytes written.
  /// - Precondition: as for `seal(_:into:)`.
  public mutating func seal(
    bytes body: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
  ) -> Int {
    write(body, digest: key == nil ? nil : Digest.sha256(body), into: output)
  }

  private mutating func write(
    _ body: UnsafeRawBufferPointer, digest: Digest?, into output: UnsafeMutableRawBufferPointer
  ) -> Int {
    let total = byteCount(body: body.count)
    precondition(body.count <= LinkFrame.maximumBodyByteCount && total <= output.count, "frame does not fit")
    let base = output.baseAddress.unsafelyUnwrapped
    base.storeBigEndian(UInt32(truncatingIfNeeded: total - 4), at: 0)
    base.storeBigEndian(counter, at: 4)
    base.copy(body, to: LinkFrame.headerByteCount)
    if let key, let digest {
      let tag = key.linkTag(counter: counter, digest: digest)
      tag.withUnsafeBytes {
        base.copy(
          UnsafeRawBufferPointer(rebasing: $0[..<HMACKey.tagByteCount]), to: total - HMACKey.tagByteCount)
      }
    }
    counter += 1
    return total
  }
}

/// Reads and checks the frames of one direction of one link.
public struct LinkOpener {
  let key: HMACKey?
  /// The counter that the next frame must carry.
  public private(set) var expectedCounter: UInt64 = 0
  /// Bytes that a frame's length counts besides its body.
  private let overhead: UInt32

  /// Without keys frames carry no tags (`ReplicaAuthentication.none` and `.tls`).
  public init(keys: LinkKeys?) {
    key = keys?.receiving
    overhead = 8 + (keys == nil ? 0 : UInt32(HMACKey.tagByteCount))
  }

  /// What the bytes at the read cursor are.
  public enum Step {
    /// Nothing is wrong so far; a decision needs `needed` bytes in all, counted from the cursor.
    case incomplete(needed: Int)
    /// The body of an authentic frame of `byteCount` bytes, inside the bytes given.
    case body(UnsafeRawBufferPointer, byteCount: Int)
    /// The link is to be closed.
    case malformed(LinkError)
  }

  /// Opens the frame at the start of `bytes` without copying or allocating. The tag is compared in constant time.
  public mutating func open(_ bytes: UnsafeRawBufferPointer) -> Step {
    guard bytes.count >= 4, let base = bytes.baseAddress else { return .incomplete(needed: 4) }
    let length: UInt32 = base.bigEndian(0)
    guard length >= overhead, length <= LinkFrame.hardLimit else { return .malformed(.frameLength(length)) }
    let byteCount = Int(length) + 4
    guard bytes.count >= LinkFrame.headerByteCount else { return .incomplete(needed: byteCount) }
    // A wrong counter is known before the frame is whole; nobody can make us buffer 64 MiB of replay.
    let counter: UInt64 = base.bigEndian(4)
    guard counter == expectedCounter else {
      return .malformed(.counter(counter, expected: expectedCounter))
    }
    guard bytes.count >= byteCount else { return .incomplete(needed: byteCount) }
    let body = UnsafeRawBufferPointer(
      start: base + LinkFrame.headerByteCount, count: Int(length - overhead))
    if let key {
      let tag = key.linkTag(counter: counter, digest: Digest.sha256(body))
      guard tag.matchesTag(base + (byteCount - HMACKey.tagByteCount)) else { return .malformed(.tag) }
    }
    expectedCounter += 1
    return .body(body, byteCount: byteCount)
  }
}

extension HMACKey {
  /// The tag of a link frame, of which the first 16 bytes are sent.
  func linkTag(counter: UInt64, digest: Digest) -> Digest {
    tag { hasher in
      hasher.update(bigEndian: counter)
      hasher.update(digest)
    }
  }
}
