import PBFT
import Testing

@testable import Replication

/// What OpenJDK has written for BFT-SMaRt's class with sender 7002, the properties 0 = "4:127.0.0.1:12040:12041", 1 = "0",
/// 2 = "1", and the signature 1, 2, 3, 4, 5.
private let recorded: [UInt8] = {
  let text = """
    aced00057372002b626674736d6172742e7265636f6e66696775726174696f6e2e5265636f6e66696775726552657175657374a58a9a0a57
    ed71b40c00007870773c00001b5a00000003000000020001310000000100013000000000001 7343a3132372e302e302e313a31323034303a
    3132303431000000050102030405 78
    """
  let digits = text.filter(\.isHexDigit).map { UInt8($0.hexDigitValue!) }
  return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}()

private func address(_ id: Int32, _ host: String = "127.0.0.1", _ port: UInt16 = 12040) -> MemberAddress {
  MemberAddress(replica: ReplicaID(id), host: host, clientPort: port, replicaPort: port + 1)!
}

private func decode(_ bytes: [UInt8]) -> ReconfigureRequest? {
  bytes.withUnsafeBytes { ReconfigureRequest(decoding: $0) }
}

@Suite("RECONFIG's content (BFT-SMaRt's ReconfigureRequest)")
struct ReconfigureRequestTests {
  private func request(_ values: [ReconfigureRequest.Property: String]) -> ReconfigureRequest {
    var data: [UInt8] = []
    data.put(Int32(7002))
    data.put(Int32(values.count))
    for property in ReconfigureRequest.Property.allCases {
      guard let value = values[property] else { continue }
      data.put(property.rawValue)
      data.put(UInt16(value.utf8.count))
      data.append(contentsOf: value.utf8)
    }
    data.put(Int32(0))
    return decode(Array(recorded[..<64]) + [0x77, UInt8(data.count)] + data + [0x78])!
  }

  private let four = Membership(count: 4)

  @Test("what Java has written is read, and written to the same bytes")
  func recording() {
    let request = decode(recorded)!
    #expect(request.sender == 7002 && request.signature == [1, 2, 3, 4, 5])
    #expect(request.values == [.add: "4:127.0.0.1:12040:12041", .remove: "0", .faults: "1"])
    #expect(
      String(decoding: request.signedText, as: UTF8.self) == "Sender :7002;211004:127.0.0.1:12040:12041")
    var own = ReconfigureRequest(
      sender: 7002, adding: [address(4)], removing: [ReplicaID(0)], faults: 1, membership: nil)
    own.signature = [1, 2, 3, 4, 5]
    #expect(own == request && own.encoded == recorded)
  }

  @Test("a long signature and many members travel in several blocks")
  func long() {
    var own = ReconfigureRequest(
      sender: 1, adding: (10..<60).map { address($0, "host\($0).example.org") }, membership: 3)
    own.signature = [UInt8](repeating: 7, count: 256)
    #expect(own.encoded.count > 1_400)
    #expect(decode(own.encoded) == own)
    #expect(String(decoding: own.signedText, as: UTF8.self).hasPrefix("Sender :1;33010:host10.example.org:"))
  }

  @Test("cut short, lengthened or changed bytes are refused or another request, and never a trap")
  func damaged() {
    for count in 0..<recorded.count { #expect(decode(Array(recorded[..<count])) == nil) }
    #expect(decode(recorded + [0]) == nil)
    for index in recorded.indices {
      for change in [0x01, 0x30, 0x80, 0xff] as [UInt8] {
        var other = recorded
        other[index] ^= change
        guard let read = decode(other) else { continue }
        #expect(index > 64 && read != decode(recorded)!)
        _ = try? read.outcome(after: four, [])
      }
    }
  }

  @Test("adding, removing and a new f at once make one new membership")
  func change() throws {
    let outcome = try decode(recorded)!.outcome(after: four, [])
    #expect(
      outcome.membership
        == Membership(id: 1, replicas: [1, 2, 3, 4].map { ReplicaID($0) }, faults: 1))
    #expect(outcome.addresses == [address(4)])
    let more = try request([.add: "5:a:1:2,7:b:1:2,6:c:1:2", .faults: "2"]).outcome(after: four, [])
    #expect(more.membership.count == 7 && more.membership.faults == 2)
    #expect(more.addresses.map(\.host) == ["a", "c", "b"])
    let fewer = try request([.remove: "6,5", .faults: "1"]).outcome(after: more.membership, more.addresses)
    #expect(fewer.membership.count == 5 && fewer.addresses.map(\.host) == ["b"])
    #expect(try request([.faults: "1"]).outcome(after: four, []).membership.id == 1)
  }

  @Test("what cannot be is refused with its reason")
  func refusals() {
    typealias Refusal = ReconfigureRequest.Refusal
    let known = [address(3, "h", 100)]
    let cases: [([ReconfigureRequest.Property: String], Refusal)] = [
      ([:], .nothing), ([.membership: "0"], .nothing),
      ([.membership: "1", .faults: "1"], .otherMembership),
      ([.membership: "x", .faults: "1"], .malformed(.membership)),
      ([.add: "4:h:1"], .malformed(.add)), ([.add: "4:h:1:1"], .malformed(.add)),
      ([.add: "4:h:0:1"], .malformed(.add)), ([.add: "-4:h:1:2"], .malformed(.add)),
      ([.add: "4::1:2"], .malformed(.add)), ([.add: "4:h:1:2,"], .malformed(.add)),
      ([.remove: "x"], .malformed(.remove)), ([.remove: "-1"], .malformed(.remove)),
      ([.faults: "-1"], .malformed(.faults)), ([.faults: "64"], .malformed(.faults)),
      ([.add: "3:h:1:2"], .isMember(ReplicaID(3))), ([.add: "4:h:1:2,4:i:1:2"], .isMember(ReplicaID(4))),
      ([.remove: "3", .add: "3:i:1:2"], .isMember(ReplicaID(3))),
      ([.remove: "4"], .isNoMember(ReplicaID(4))), ([.remove: "3,3"], .isNoMember(ReplicaID(3))),
      ([.add: "4:h:100:7"], .addressTaken(ReplicaID(3))),
      ([.remove: "3"], .quorums(replicas: 3, faults: 1)), ([.faults: "2"], .quorums(replicas: 4, faults: 2)),
    ]
    for (values, refusal) in cases {
      #expect(throws: refusal, "\(values)") { try request(values).outcome(after: four, known) }
    }
    let last = Membership(id: .max, replicas: four.replicas, faults: 1)!
    #expect(throws: Refusal.exhausted) { try request([.faults: "1"]).outcome(after: last, []) }
  }

  @Test("a crash membership stays one")
  func crash() throws {
    let three = Membership(count: 3, model: .crash)
    let outcome = try request([.add: "3:h:1:2,4:h:3:4", .faults: "2"]).outcome(after: three, [])
    #expect(outcome.membership.quorums.model == .crash && outcome.membership.quorums.quorum == 3)
    #expect(throws: ReconfigureRequest.Refusal.quorums(replicas: 2, faults: 1)) {
      try request([.remove: "0"]).outcome(after: three, [])
    }
  }

  @Test("a result is read as it was written, and nothing else")
  func result() {
    let outcome = MembershipOutcome(membership: four, addresses: [address(2)])
    let result = ReconfigurationResult(
      outcome, joined: [ReplicaID(2)], isAccepted: true, sequence: SequenceNumber(77))
    let bytes = result.encoded
    #expect(bytes.withUnsafeBytes { ReconfigurationResult($0) } == result)
    #expect(bytes.count <= ReconfigurationResult.maximumByteCount)
    for count in 0..<bytes.count {
      #expect(bytes[..<count].withUnsafeBytes { ReconfigurationResult($0) } == nil)
    }
    #expect((bytes + [0]).withUnsafeBytes { ReconfigurationResult($0) } == nil)
  }
}
