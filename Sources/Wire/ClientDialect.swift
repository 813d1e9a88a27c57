// The two formats in which BFT-SMaRt's clients and replicas speak to each other. They differ in the width of the type field
// and in v1.2's MAC block; everything else of a frame is the same, three bytes further on.

import Hashing
import PBFT

/// A series of BFT-SMaRt, by its client frames. One per cluster, and one per set of sessions.
public enum ClientDialect: String, Sendable, CaseIterable {
  /// The master branch, self-declared 2.0: the type is one byte, a frame carries no MAC.
  case master
  /// v1.2 of 2018: the type is four bytes, and with `useMACs` an HmacSHA512 follows the data.
  case v12 = "1.2"

  /// Bytes by which the fields behind the type are further on than in the master dialect.
  @inlinable public var shift: Int { self == .master ? 0 : 3 }

  /// Where the content begins in `data`; at the same time the size of a message without content.
  @inlinable public var contentOffset: Int { 29 + shift }

  /// The largest type a replica of this series knows (`ClientMessageKind`): v1.2 has no ordered hashed requests.
  @inlinable public var knowsOrderedHashed: Bool { self == .master }

  /// The algorithm of the hashes in hashed replies, unless `system.communication.hashAlgorithm` says otherwise.
  public var replyHash: ReplyHash { self == .master ? .sha256 : .sha512 }
}

/// The hash that a replica sends instead of its reply when another one is to send it whole.
public enum ReplyHash: String, Sendable, CaseIterable {
  case sha256 = "SHA-256"
  case sha512 = "SHA-512"

  /// Bytes of a hash.
  @inlinable public var byteCount: Int { self == .sha256 ? 32 : 64 }

  /// Writes the hash of `content`; nothing allocates.
  ///
  /// - Returns: the bytes written, `byteCount`.
  /// - Precondition: `output` holds that many.
  @discardableResult
  public func write(hashOf content: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Int
  {
    precondition(output.count >= byteCount, "no room for a hash")
    switch self {
    case .sha256: Digest.sha256(content).withUnsafeBytes { output.copyMemory(from: $0) }
    case .sha512: SHA512Hasher.hash(content, into: output.baseAddress.unsafelyUnwrapped)
    }
    return byteCount
  }
}
