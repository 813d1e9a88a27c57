// Ports for tests that have to know theirs before somebody listens, or rely on nobody listening. They lie below the range
// from which the system gives ports to whoever asks for any: none is taken by chance between two uses.

import Glibc
import Synchronization

/// TCP ports of the loopback, each given out once by this process.
public enum LoopbackPorts {
  private static let range = 12_000..<32_000
  // Two processes of tests begin at different places.
  private static let next = Mutex(range.lowerBound + Int(getpid()) * 97 % range.count)

  /// A port on which nobody listens.
  public static func take() -> Int {
    next.withLock { next in
      for _ in range {
        let port = next
        next = next + 1 == range.upperBound ? range.lowerBound : next + 1
        if isFree(port) { return port }
      }
      preconditionFailure("all ports of \(range) are taken")
    }
  }

  private static func isFree(_ port: Int) -> Bool {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
    return withUnsafePointer(to: &address) { place in
      place.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
  }
}

/// The loopback's other address.
public enum IPv6Loopback {
  /// Whether this machine has it.
  public static let isThere: Bool = {
    let descriptor = socket(AF_INET6, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    var address = sockaddr_in6()
    address.sin6_family = sa_family_t(AF_INET6)
    address.sin6_addr = in6addr_loopback
    return withUnsafePointer(to: &address) { place in
      place.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in6>.size)) == 0
      }
    }
  }()
}
