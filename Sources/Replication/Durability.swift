// What a replica writes to its durable log, and when (decision record 18; OSDI '99 §5's stable storage is
// left to the implementation). Kept true here: a record comes before the message it covers in the order of
// effects; a batch is in the segment before the first record that names it; a new segment needs none of the
// older ones.

import Hashing
import PBFT

extension Replica {
  private func end() {
    let (offset, count) = log.end()
    counts.recordsPersisted &+= 1
    counts.bytesPersisted &+= UInt64(count)
    emit(.persist(offset: offset, count: count))
  }

  func persist(_ record: OrderingRecord) {
    guard log.isOn else { return }
    switch record {
    case .prePrepared(let sequence, let view, let digest, let batch):
      persistBatch(batch, digest)
      persistClaim(.prePrepared, Claim(sequence: sequence, digest: digest, view: view))
    case .prepared(let sequence, let view, let digest):
      persistClaim(.prepared, Claim(sequence: sequence, digest: digest, view: view))
    case .executed(let sequence, let digest, let batch):
      persistBatch(batch, digest)
      persistExecution(sequence, digest)
    case .checkpoint(let checkpoint): persistCheckpoint(.checkpoint, checkpoint)
    case .viewLeft(let view):
      log.begin(.viewLeft).put(bigEndian: view.rawValue)
      end()
    case .viewEntered(let handle):
      var bytes: [UInt8] = []
      StatementCoding.encode(core.statement(handle), into: &bytes)
      let output = log.begin(.viewEntered)
      bytes.withUnsafeBytes { output.put($0) }
      end()
    }
  }

  private func persistCheckpoint(_ kind: DurableKind, _ checkpoint: Checkpoint) {
    let output = log.begin(kind)
    output.put(bigEndian: checkpoint.sequence.rawValue)
    output.put(checkpoint.digest)
    end()
  }

  private func persistClaim(_ kind: DurableKind, _ claim: Claim) {
    let output = log.begin(kind)
    output.put(bigEndian: claim.sequence.rawValue)
    output.put(bigEndian: claim.view.rawValue)
    output.put(claim.digest)
    end()
  }

  /// The requests of a batch, once per segment: fields i32 client, session, sequence, operation id, reply
  /// server, membership, content offset; kind u8; data and authenticator with their counts u32.
  private func persistBatch(_ batch: BatchHandle, _ digest: Digest) {
    guard batch != .none, batches.digest(of: batch) == digest, !batches.isLogged(batch) else { return }
    batches.setLogged(batch, true)
    let slots = batches.requests(of: batch)
    let output = log.begin(.batch)
    output.put(digest)
    output.put(bigEndian: UInt32(truncatingIfNeeded: slots.count))
    for slot in slots {
      let record = store.records[slot.index]
      output.put(bigEndian: record.pointee.client)
      output.put(bigEndian: record.pointee.session)
      output.put(bigEndian: record.pointee.sequence)
      output.put(bigEndian: record.pointee.operationID)
      output.put(bigEndian: record.pointee.replyServer)
      output.put(bigEndian: record.pointee.membershipID)
      output.put(bigEndian: record.pointee.contentOffset)
      output.put(record.pointee.kind.rawValue)
      output.put(bigEndian: UInt32(truncatingIfNeeded: record.pointee.dataCount))
      output.put(bigEndian: UInt32(truncatingIfNeeded: record.pointee.authenticatorCount))
      output.put(record.pointee.data)
      output.put(record.pointee.authenticator)
    }
    end()
  }

  private func persistExecution(_ sequence: SequenceNumber, _ digest: Digest) {
    let output = log.begin(.executed)
    output.put(bigEndian: sequence.rawValue)
    output.put(digest)
    end()
  }

  func persistStable(_ checkpoint: Checkpoint) {
    guard log.isOn else { return }
    if isInstalling { return }
    persistCheckpoint(.stable, checkpoint)
    if log.isLong, snapshots.checkpoint == checkpoint { needsSegment = true }
  }

  func persistRecovered() {
    guard log.isOn else { return }
    _ = log.begin(.recovered)
    end()
  }

  /// Begins a segment with a base of the stable state and everything claimed above it.
  func beginSegment() {
    guard log.isOn else { return }
    needsSegment = false
    if log.bytesInSegment > 0 {
      log.begin(.rotated).put(bigEndian: log.segment + 1)
      end()
    }
    log.beginSegment()
    batches.clearLogged()
    counts.segmentsBegun &+= 1
    emit(.rotate(segment: log.segment))
    let state = core.durableState
    let output = log.begin(.base)
    output.put(bigEndian: configuration.cluster.high)
    output.put(bigEndian: configuration.cluster.low)
    output.put(bigEndian: id.rawValue)
    output.put(UInt8(log.isRecovering ? 1 : 0))
    output.put(bigEndian: snapshots.checkpoint.sequence.rawValue)
    output.put(snapshots.checkpoint.digest)
    output.put(bigEndian: state.view.rawValue)
    output.put(UInt8(state.isActive ? 1 : 0))
    var newView: [UInt8] = []
    if let statement = state.newView { StatementCoding.encode(statement, into: &newView) }
    output.put(bigEndian: UInt32(newView.count))
    newView.withUnsafeBytes { output.put($0) }
    end()
    let encoded = snapshots.encodedStable()
    encoded.withUnsafeBytes { bytes in
      var offset = 0
      while offset < bytes.count {
        let count = min(Replica.maximumStatePartBytes, bytes.count - offset)
        log.begin(.state).put(UnsafeRawBufferPointer(rebasing: bytes[offset..<(offset + count)]))
        end()
        offset += count
      }
    }
    for checkpoint in state.checkpoints { persistCheckpoint(.checkpoint, checkpoint) }
    for entry in state.entries {
      persistBatch(entry.batch, entry.claim.digest)
      persistClaim(.prePrepared, entry.claim)
      if entry.isPrepared { persistClaim(.prepared, entry.claim) }
    }
    for decision in state.decisions where decision.sequence > snapshots.checkpoint.sequence {
      persistBatch(decision.batch, decision.digest)
      persistExecution(decision.sequence, decision.digest)
    }
    _ = log.begin(.baseEnd)
    end()
    log.baseEnded()
  }
}
