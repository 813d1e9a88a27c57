// Inputs to begin with: what our encoders write.

import Foundation
@testable import Hashing
import PBFT
@testable import Wire

private var request: [UInt8] {
  let header = ClientFrameHeader(
    sender: 1_001, membershipID: 0, kind: 0, session: 7, sequence: 3, operationID: 3)
  var frame = [UInt8](repeating: 0, count: ClientFrame.byteCount(content: 4, signature: 0))
  _ = frame.withUnsafeMutableBytes { output in
    ([0, 0, 0, 5] as [UInt8]).withUnsafeBytes {
      ClientFrame.encode(into: output, header: header, content: $0)
    }
  }
  return frame
}

var messages: [UInt8] {
  let writer = LinkBodyWriter()
  let data = Array(request[ClientFrame.dataOffset..<request.count - 4])
  let digest = data.withUnsafeBytes { Digest.sha256($0) }
  writer.begin(
    PrePrepare(view: View(1), sequence: SequenceNumber(2), digest: digest, batch: .none), requestCount: 1)
  data.withUnsafeBytes { writer.appendRequest(data: $0, authenticator: .init(start: nil, count: 0)) }
  writer.append(Prepare(view: View(1), sequence: SequenceNumber(2), digest: digest))
  writer.append(Commit(view: View(1), sequence: SequenceNumber(2), digest: digest))
  writer.append(Checkpoint(sequence: SequenceNumber(128), digest: digest))
  writer.append(Suspect(view: View(1), accused: 1_001))
  writer.appendFetchBatch(digest)
  writer.appendMembership(3)
  return Array(writer.bytes)
}

var linkStream: [UInt8] {
  let hello = LinkHello(
    replica: ReplicaID(3), cluster: ClusterKeys.publiclyKnown(replicas: []).cluster, membershipID: 0,
    nonce: Digest(), authentication: .none)
  var sealer = LinkSealer(keys: nil)
  let body = messages
  var bytes = [UInt8](repeating: 0, count: LinkHello.byteCount + sealer.byteCount(body: body.count))
  bytes.withUnsafeMutableBytes { output in
    hello.encode(into: output)
    body.withUnsafeBytes { body in
      _ = sealer.seal(
        bytes: body, into: UnsafeMutableRawBufferPointer(rebasing: output[LinkHello.byteCount...]))
    }
  }
  return bytes
}

var statements: [[UInt8]] {
  let signature = StatementSignature.none
  var viewChange = ViewChange(
    view: View(2), membershipID: 0, replica: ReplicaID(1),
    stable: Checkpoint(sequence: SequenceNumber(128), digest: Digest()))
  let claim = Claim(sequence: SequenceNumber(129), digest: Digest(), view: View(1))
  viewChange.prepared = [claim]
  viewChange.prePrepared = [claim]
  viewChange.accused = [1_001]
  let newView = NewView(
    view: View(2), membershipID: 0,
    viewChanges: [SignedViewChange(content: viewChange, signature: signature)],
    start: viewChange.stable, digests: [Digest()])
  return [Statement.viewChange(viewChange), .newView(newView)].map { statement in
    var bytes: [UInt8] = []
    StatementCoding.encode(SignedStatement(statement: statement, signature: signature), into: &bytes)
    return bytes
  }
}

var keyFiles: [[UInt8]] {
  [
    Array("cluster 00112233445566778899aabbccddeeff\n".utf8),
    Array("secret 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff # ours\n".utf8),
    Array("rsa-2048 AAECAwQ=\n".utf8),
    [0x30, 0x06, 0x02, 0x01, 0x05, 0x02, 0x01, 0x07],
  ]
}

var certificate: [UInt8] {
  let cluster = ClusterKeys.publiclyKnown(replicas: []).cluster
  let pem = LinkAuthority.publiclyKnown(cluster: cluster).issue(for: ReplicaID(3)).certificatePEM
  let base64 = pem.split(separator: "\n").filter { !$0.hasPrefix("-----") }.joined()
  return [UInt8](Data(base64Encoded: base64) ?? Data())
}
