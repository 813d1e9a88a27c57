// What each decoder of `Wire` is given, and what must hold of whatever it accepts.

import Foundation
@testable import Hashing
import PBFT
@testable import Wire

func readClientFrames(_ bytes: UnsafeRawBufferPointer, _ dialect: ClientDialect, useMACs: Bool) {
  var rest = bytes
  while case .frame(let frame, let count) = ClientFrame.decode(
    rest, maximumLength: 4_096, dialect: dialect, useMACs: useMACs)
  {
    precondition(count > 0 && count <= rest.count, "a frame outside its bytes")
    precondition(frame.contentOffset + (frame.content?.count ?? 0) <= frame.data.count)
    withUnsafeTemporaryAllocation(byteCount: count, alignment: 8) { output in
      let written = ClientFrame.encode(
        into: output, header: frame.header, content: frame.content,
        signatureByteCount: frame.signature.count, dialect: dialect, useMACs: useMACs)
      precondition(written == count, "another length when written again")
      let end = ClientFrame.dataOffset + frame.data.count
      precondition(memcmp(output.baseAddress!, rest.baseAddress!, end) == 0, "other bytes when written again")
    }
    rest = UnsafeRawBufferPointer(rebasing: rest[count...])
  }
}

func readLinkStream(_ bytes: UnsafeRawBufferPointer) {
  var rest = bytes
  if let hello = try? LinkHello.decode(rest) {
    withUnsafeTemporaryAllocation(byteCount: LinkHello.byteCount, alignment: 8) { output in
      hello.encode(into: output)
      precondition((try? LinkHello.decode(UnsafeRawBufferPointer(output))) == hello)
    }
    rest = UnsafeRawBufferPointer(rebasing: rest[LinkHello.byteCount...])
  }
  var opener = LinkOpener(keys: nil)
  while !rest.isEmpty, case .body(let body, let count) = opener.open(rest) {
    precondition(count <= rest.count && body.count < count, "a body outside its frame")
    readMessages(body, .master)
    rest = UnsafeRawBufferPointer(rebasing: rest[count...])
  }
}

func readMessages(_ body: UnsafeRawBufferPointer, _ dialect: ClientDialect) {
  var reader = LinkBodyReader(body, dialect: dialect)
  var left = body.count
  while case .message(let message) = reader.next() {
    precondition(reader.remainingByteCount < left, "a message that takes nothing")
    left = reader.remainingByteCount
    switch message {
    case .prePrepare(let prePrepare): readRequests(prePrepare.requests)
    case .batch(let batch): readRequests(batch.requests)
    case .forward(let request): readRequest(request)
    case .statement(let statement): readStatement(statement.bytes)
    case .statePart(let part): precondition(part.bytes.count <= body.count)
    case .prepare, .commit, .checkpoint, .suspect, .status, .executed, .fetchBatch, .fetchState, .membership:
      break
    }
  }
}

private func readRequests(_ requests: LinkRequests) {
  for request in requests { readRequest(request) }
}

private func readRequest(_ request: LinkRequest) {
  let message = request.message
  precondition(message.contentOffset + (message.content?.count ?? 0) <= request.data.count)
  _ = message.header
}

// MARK: Statements

private let limits = StatementLimits(logSize: 512, logMultiplier: 4, replicas: 7)

func readStatement(_ bytes: UnsafeRawBufferPointer) {
  guard let statement = try? StatementCoding.decode(bytes, limits: limits) else { return }
  var output: [UInt8] = []
  StatementCoding.encode(statement, into: &output)
  precondition(output.elementsEqual(bytes), "a statement with two encodings")
}

// MARK: Objects of Java's serialization

func readView(_ bytes: UnsafeRawBufferPointer) {
  if let view = try? SerializedView(decoding: bytes) {
    let again = view.encoded.withUnsafeBytes { try? SerializedView(decoding: $0) }
    precondition(again == view, "a view that is another when written again")
  }
  if let reply = try? ReconfigureReply(decoding: bytes) {
    let again = reply.encoded.withUnsafeBytes { try? ReconfigureReply(decoding: $0) }
    precondition(again == reply, "a reply that is another when written again")
  }
}

// MARK: Keys and certificates

func readKeys(_ bytes: UnsafeRawBufferPointer) {
  let array = Array(bytes)
  let file = KeyFile(bytes: array, path: "keys")
  var values = file.values
  if (try? values.next("secret")) == nil { _ = try? values.nextBase64("rsa-2048") }
  _ = try? KeyEncoding.publicKey(array)
  _ = try? KeyEncoding.privateKey(array)
  withUnsafeTemporaryAllocation(byteCount: 64, alignment: 8) { raw in
    if ECDSASignatureEncoding.decode(bytes, into: raw) {
      precondition(bytes.count >= 8 && bytes.count <= 72, "a signature of an impossible length")
    }
  }
}

private let authority = LinkAuthority.publiclyKnown(cluster: cluster)
private let cluster = ClusterKeys.publiclyKnown(replicas: []).cluster
private let judge = try! LinkCertificateJudge(authorityPEM: authority.certificatePEM, cluster: cluster)
private let now = Date(timeIntervalSince1970: 1_800_000_000)

func readCertificate(_ bytes: UnsafeRawBufferPointer) {
  _ = try? judge.replica(shownBy: [Array(bytes)], now: now)
}
