// Statements of a view change: one encoding for each value, bounds before memory, and signatures by the right replica.

import Hashing
import PBFT
import Testing
import Wire

@Suite("Statements")
struct StatementTests {
  static let limits = StatementLimits(logSize: 8, logMultiplier: 2, replicas: 4)

  static func digest(_ number: UInt8) -> Digest { [number].withUnsafeBytes { Digest.sha256($0) } }

  static func viewChange(of replica: Int32, view: UInt64 = 3) -> ViewChange {
    ViewChange(
      view: View(view), membershipID: 1, replica: ReplicaID(replica),
      stable: Checkpoint(sequence: SequenceNumber(4), digest: digest(4)),
      checkpoints: [Checkpoint(sequence: SequenceNumber(8), digest: digest(8))],
      prepared: [Claim(sequence: SequenceNumber(9), digest: digest(9), view: View(2))],
      prePrepared: [
        Claim(sequence: SequenceNumber(9), digest: digest(9), view: View(2)),
        Claim(sequence: SequenceNumber(10), digest: .zero, view: View(1)),
      ],
      accused: [-5, 7])
  }

  static let signedViewChange = SignedStatement(
    statement: .viewChange(viewChange(of: 2)),
    signature: StatementSignature(low: digest(1), high: digest(2)))

  static let signedNewView = SignedStatement(
    statement: .newView(
      NewView(
        view: View(3), membershipID: 1,
        viewChanges: (0..<3).map {
          SignedViewChange(
            content: viewChange(of: $0), signature: StatementSignature(low: digest(3), high: digest(4)))
        }, start: Checkpoint(sequence: SequenceNumber(8), digest: digest(8)),
        digests: [digest(9), .zero, digest(11)])),
    signature: StatementSignature(low: digest(5), high: digest(6)))

  static func encode(_ statement: SignedStatement) -> [UInt8] {
    var bytes: [UInt8] = []
    StatementCoding.encode(statement, into: &bytes)
    return bytes
  }

  static func decode(_ bytes: [UInt8], _ limits: StatementLimits = limits) throws -> SignedStatement {
    try bytes.withUnsafeBytes { try StatementCoding.decode($0, limits: limits) }
  }

  @Test("what is encoded is decoded, and encoded again gives the same bytes")
  func roundTrip() throws {
    for statement in [Self.signedViewChange, Self.signedNewView] {
      let bytes = Self.encode(statement)
      #expect(bytes.count == StatementCoding.byteCount(statement))
      let read = try Self.decode(bytes)
      #expect(read == statement)
      #expect(Self.encode(read) == bytes)
    }
  }

  @Test("the layout is the documented one")
  func layout() {
    let empty = ViewChange(
      view: View(1), membershipID: 2, replica: ReplicaID(3),
      stable: Checkpoint(sequence: SequenceNumber(4), digest: .zero), accused: [5])
    let zeros = String(repeating: "00", count: 32)
    let text =
      "01 0000000000000001 00000002 00000003 0000000000000004" + zeros
      + "00000000 00000000 00000000 00000001 00000005"
    #expect(
      Self.encode(SignedStatement(statement: .viewChange(empty), signature: .none))
        == bytes(hexadecimal: text + zeros + zeros))
    let newView = NewView(
      view: View(6), membershipID: 7,
      viewChanges: [SignedViewChange(content: empty, signature: .none)],
      start: Checkpoint(sequence: SequenceNumber(8), digest: .zero), digests: [.zero])
    #expect(
      Self.encode(SignedStatement(statement: .newView(newView), signature: .none))
        == bytes(
          hexadecimal: "02 0000000000000006 00000007 0000000000000008" + zeros + "00000001 00000001" + text
            + zeros + zeros + zeros + zeros + zeros))
  }

  @Test("bytes that end too early or go on are refused, whatever the length")
  func lengths() {
    for statement in [Self.signedViewChange, Self.signedNewView] {
      let bytes = Self.encode(statement)
      for count in 0..<bytes.count {
        #expect(throws: StatementError.self) { try Self.decode(Array(bytes[..<count])) }
      }
      #expect(throws: StatementError.length) { try Self.decode(bytes + [0]) }
    }
    #expect(throws: StatementError.kind(3)) { try Self.decode([3]) }
  }

  @Test("more entries than the log has room for are refused before any memory is taken")
  func bounds() {
    let good = Self.encode(Self.signedViewChange)
    // The four counts of a view change begin after kind, view, membership, replica and stable checkpoint.
    for field in 0..<4 {
      var bytes = good
      bytes.replaceSubrange(57 + 4 * field..<61 + 4 * field, with: [255, 255, 255, 255])
      #expect(throws: StatementError.tooMany) { try Self.decode(bytes) }
    }
    // Within the limits, but not there.
    var bytes = good
    bytes[64] = 8
    #expect(throws: StatementError.length) { try Self.decode(bytes) }
    let newView = Self.encode(Self.signedNewView)
    for field in 0..<2 {
      var bytes = newView
      bytes.replaceSubrange(53 + 4 * field..<57 + 4 * field, with: [0, 0, 0, 200])
      #expect(throws: StatementError.tooMany) { try Self.decode(bytes) }
    }
    #expect(throws: StatementError.tooMany) {
      try Self.decode(newView, StatementLimits(logSize: 8, logMultiplier: 2, replicas: 2))
    }
  }

  @Test("mutated statements are decoded or refused, never trapped on", arguments: [1, 2])
  func mutations(seed: UInt64) {
    var generator = SeededGenerator(state: seed)
    let models = [Self.encode(Self.signedViewChange), Self.encode(Self.signedNewView)]
    for round in 0..<5_000 {
      var bytes = models[round % 2]
      for _ in 0...3 {
        bytes[Int.random(in: 0..<bytes.count, using: &generator)] = .random(in: 0...255, using: &generator)
      }
      guard let statement = try? Self.decode(bytes) else { continue }
      if Self.encode(statement) != bytes { Issue.record("two encodings of one statement") }
    }
  }

  // MARK: Signatures

  static func notary(_ replica: Int32) -> StatementNotary { StatementNotary(secrets: secrets(of: replica))! }

  static func signed(_ statement: Statement, by replica: Int32) -> SignedStatement {
    SignedStatement(statement: statement, signature: notary(replica).sign(statement))
  }

  /// A new view of view 3, whose primary is replica 3, as replica 3 makes it.
  static func newView(_ change: (inout NewView) -> Void = { _ in }, by primary: Int32 = 3) -> SignedStatement
  {
    var newView = NewView(
      view: View(3), membershipID: 1,
      viewChanges: (0..<3).map {
        SignedViewChange(
          content: viewChange(of: $0), signature: notary($0).sign(.viewChange(viewChange(of: $0))))
      }, start: Checkpoint(sequence: SequenceNumber(8), digest: digest(8)), digests: [digest(9)])
    change(&newView)
    return signed(.newView(newView), by: primary)
  }

  @Test("a view change is authentic under its replica's signature and no other")
  func viewChangeSignature() {
    let statement = Statement.viewChange(Self.viewChange(of: 2))
    let notary = Self.notary(0)
    #expect(notary.isAuthentic(Self.signed(statement, by: 2), newViewBy: nil))
    #expect(!notary.isAuthentic(Self.signed(statement, by: 1), newViewBy: nil))
    #expect(!notary.isAuthentic(Self.signedViewChange, newViewBy: nil))
    // A replica nobody knows.
    #expect(!notary.isAuthentic(Self.signed(.viewChange(Self.viewChange(of: 9)), by: 2), newViewBy: nil))
    var changed = Self.signed(statement, by: 2)
    changed.statement = .viewChange(Self.viewChange(of: 2, view: 4))
    #expect(!notary.isAuthentic(changed, newViewBy: nil))
    #expect(notary.counters.verifications == 4 && notary.counters.rejected == 4)
  }

  @Test("a new view is authentic only with all it relays, and what came before is not verified again")
  func newViewSignatures() {
    let notary = Self.notary(1)
    let primary = ReplicaID(3)
    #expect(
      notary.isAuthentic(Self.signed(.viewChange(Self.viewChange(of: 0)), by: 0), newViewBy: nil))
    let good = Self.newView()
    #expect(notary.isAuthentic(good, newViewBy: primary))
    // One view change directly, then the new view's own and two more.
    #expect(notary.counters.verifications == 4 && notary.counters.remembered <= 1)
    #expect(notary.isAuthentic(good, newViewBy: primary))
    #expect(notary.counters.verifications == 4)
    #expect(!notary.isAuthentic(good, newViewBy: nil))
    #expect(!notary.isAuthentic(Self.newView(by: 2), newViewBy: primary))
    // A signature of another replica under one of the view changes.
    let forged = Self.newView { $0.viewChanges[1].signature = $0.viewChanges[0].signature }
    #expect(!notary.isAuthentic(forged, newViewBy: primary))
    let counted = notary.counters.verifications
    // One replica twice, and a view change of another view: told without a single verification.
    #expect(!notary.isAuthentic(Self.newView { $0.viewChanges[1] = $0.viewChanges[0] }, newViewBy: primary))
    #expect(
      !notary.isAuthentic(Self.newView { $0.viewChanges[1].content.view = View(2) }, newViewBy: primary))
    #expect(notary.counters.verifications == counted && notary.counters.rejected == 5)
  }

  @Test("a signature for one cluster says nothing in another")
  func clusters() {
    let statement = Statement.viewChange(Self.viewChange(of: 2))
    let bytes = [ClusterID(hexadecimal: String(repeating: "0", count: 32))!, testKeys.cluster].map {
      $0.withUnsafeBytes { StatementCoding.signedBytes(of: statement, cluster: $0) }
    }
    #expect(bytes[0] != bytes[1])
  }
}
