// Requests made and signed before they are due, so that a point can leave the signature out of what it measures.

/// The first requests of each session as finished frames, in one block of memory.
struct SignedAhead: ~Copyable {
  private let bytes: UnsafeMutableRawPointer
  private let counts: UnsafeMutablePointer<Int32>
  /// The sequence of each session's first request here.
  private let firsts: UnsafeMutablePointer<Int32>
  private let requests: Int
  private let frameCapacity: Int

  init(sessions: Int, requests: Int, frameCapacity: Int) {
    self.requests = requests
    self.frameCapacity = frameCapacity
    bytes = .allocate(byteCount: max(1, sessions * requests * frameCapacity), alignment: 8)
    counts = .allocate(capacity: max(1, sessions * requests))
    firsts = .allocate(capacity: sessions)
    firsts.initialize(repeating: 0, count: sessions)
  }

  deinit {
    bytes.deallocate()
    counts.deallocate()
    firsts.deallocate()
  }

  mutating func setFirst(_ sequence: Int32, _ session: Int) { firsts[session] = sequence }

  /// Room for one frame.
  func frame(_ session: Int, _ request: Int) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(
      start: bytes + (session * requests + request) * frameCapacity, count: frameCapacity)
  }

  mutating func setByteCount(_ count: Int, _ session: Int, _ request: Int) {
    counts[session * requests + request] = Int32(count)
  }

  /// The frame of a session's request; nil beyond those made, and once the session goes by another value.
  func take(_ session: Int, _ sequence: Int32, renewed: Bool) -> UnsafeRawBufferPointer? {
    let request = Int(sequence &- firsts[session])
    guard !renewed, (0..<requests).contains(request) else { return nil }
    return UnsafeRawBufferPointer(
      start: frame(session, request).baseAddress, count: Int(counts[session * requests + request]))
  }
}
