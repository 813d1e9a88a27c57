// Numeric internet addresses as texts and as bytes, read as Java reads them: what a replica's hosts.config says, what a
// serialized view says and what a link connects to are then the same text for the same address.

import Foundation

/// A numeric address, IPv4 or IPv6.
public enum InternetAddress: Hashable, Sendable, CustomStringConvertible {
  case v4(UInt32)
  /// The 16 bytes as two numbers; `zone` is the number of the interface through which a link-local address is reached, nil
  /// where none is stated.
  case v6(high: UInt64, low: UInt64, zone: UInt32?)

  /// Reads four decimal numbers, or IPv6 (RFC 4291), which may stand in brackets and have a zone that is a number (`%2`). An
  /// IPv4 address written as IPv6 (`::ffff:10.0.0.1`) is IPv4. nil for everything else: a name, and an address whose zone is
  /// the name of an interface, since that means something on one host only.
  public init?(_ text: some StringProtocol) {
    if let address = Self.dottedQuad(text) {
      self = .v4(address)
      return
    }
    let isBracketed = text.hasPrefix("[") && text.hasSuffix("]")
    let parts = (isBracketed ? String(text.dropFirst().dropLast()) : String(text))
      .split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)
    guard let first = parts.first, let (high, low) = Self.parse(String(first)) else { return nil }
    var zone: UInt32?
    if parts.count == 2 {
      guard parts[1].utf8.allSatisfy({ (48...57).contains($0) }), let number = Int32(parts[1]) else {
        return nil
      }
      zone = UInt32(number)
    }
    if high == 0, low >> 32 == 0xffff {
      guard zone == nil else { return nil }
      self = .v4(UInt32(truncatingIfNeeded: low))
    } else {
      self = .v6(high: high, low: low, zone: zone)
    }
  }

  /// `text` as every address is written here; a name as it is.
  public static func canonical(_ text: some StringProtocol) -> String {
    InternetAddress(text).map(\.description) ?? String(text)
  }

  /// Four decimal numbers, or the shortest form of IPv6 (RFC 5952) and the zone.
  public var description: String {
    switch self {
    case .v4(let address):
      return "\(address >> 24).\(address >> 16 & 255).\(address >> 8 & 255).\(address & 255)"
    case .v6(let high, let low, let zone):
      return Self.text(high, low) + (zone.map { "%\($0)" } ?? "")
    }
  }

  /// nil unless `text` is four decimal numbers in 0...255.
  private static func dottedQuad(_ text: some StringProtocol) -> UInt32? {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 4 else { return nil }
    var address: UInt32 = 0
    for part in parts {
      guard (1...3).contains(part.utf8.count), part.utf8.allSatisfy({ (48...57).contains($0) }),
        let number = UInt32(part), number <= 255
      else { return nil }
      address = address << 8 | number
    }
    return address
  }

  private static func parse(_ text: String) -> (high: UInt64, low: UInt64)? {
    var words: (UInt64, UInt64) = (0, 0)
    // C would read up to a null.
    guard !text.utf8.contains(0), inet_pton(AF_INET6, text, &words) == 1 else { return nil }
    return (UInt64(bigEndian: words.0), UInt64(bigEndian: words.1))
  }

  static func text(_ high: UInt64, _ low: UInt64) -> String {
    var words = (high.bigEndian, low.bigEndian)
    return withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) { buffer in
      // Fails for want of room only.
      String(
        cString: inet_ntop(AF_INET6, &words, buffer.baseAddress!, socklen_t(INET6_ADDRSTRLEN)))
    }
  }
}
