// What several suites need: bytes from hexadecimal files, a seeded generator, memory to encode into, a cluster's keys.

import Foundation
import Hashing
import PBFT
import Testing
import Wire

/// SplitMix64: the same sequence for the same seed, on every machine.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  mutating func bytes(_ count: Int) -> [UInt8] {
    (0..<count).map { _ in UInt8.random(in: 0...255, using: &self) }
  }
}

/// The bytes of `text`, hexadecimal digits.
func bytes(hexadecimal text: String) -> [UInt8] {
  let digits = text.filter(\.isHexDigit).map { UInt8($0.hexDigitValue!) }
  return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}

/// A frame recorded from live BFT-SMaRt replicas and clients.
func golden(_ name: String) throws -> [UInt8] {
  let url = try #require(
    Bundle.module.url(forResource: name, withExtension: "hex", subdirectory: "Resources"))
  return bytes(hexadecimal: try String(contentsOf: url, encoding: .utf8))
}

/// Calls `body` with `count` bytes of writable memory and returns those it says it wrote.
func written(_ count: Int, _ body: (UnsafeMutableRawBufferPointer) -> Int) -> [UInt8] {
  var memory = [UInt8](repeating: 0xaa, count: count)
  let written = memory.withUnsafeMutableBytes { body($0) }
  return Array(memory[..<written])
}

/// A request's frame, as a client encodes it before it signs, in `room` bytes more than it needs.
func requestFrame(
  client: Int32, sequence: Int32 = 0, content: [UInt8]?, signer: RequestSigner? = nil
) -> [UInt8] {
  let room = signer?.maximumSignatureByteCount ?? 0
  let header = ClientFrameHeader(
    sender: client, membershipID: 0, kind: ClientMessageKind.ordered.rawValue, session: 77,
    sequence: sequence,
    operationID: sequence)
  return written(ClientFrame.byteCount(content: content?.count ?? 0, signature: room)) { output in
    let count = (content ?? []).withUnsafeBytes {
      ClientFrame.encode(into: output, header: header, content: content == nil ? nil : $0)
    }
    return signer?.sign(output) ?? count
  }
}

/// Decodes `frame`, which must be exactly one good frame, and calls `body` with its view.
func withFrame<Result>(
  _ frame: [UInt8], maximumLength: Int = ClientFrame.hardLimit, _ body: (ClientFrameView) throws -> Result
) throws -> Result {
  try frame.withUnsafeBytes { bytes in
    guard case .frame(let view, let count) = ClientFrame.decode(bytes, maximumLength: maximumLength) else {
      Issue.record("not a frame: \(ClientFrame.decode(bytes, maximumLength: maximumLength))")
      throw WireError.frameLength(0)
    }
    #expect(count == frame.count)
    return try body(view)
  }
}

/// Four replicas' keys.
let testKeys = ClusterKeys.generate(replicas: testReplicas)
/// Keys that everybody has: `defaultkeys`.
let knownKeys = ClusterKeys.publiclyKnown(replicas: testReplicas)
let testReplicas = (0..<4).map { ReplicaID(rawValue: $0) }

func secrets(of replica: Int32, clients: ClosedRange<Int32> = 0...0, mode: SignatureMode = .none)
  -> ReplicaSecrets
{
  testKeys.replicaSecrets(
    of: ReplicaID(rawValue: replica), clients: testKeys.clientPublicKeys(clients, mode: mode))!
}
