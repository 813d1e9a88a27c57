// The disk of one simulated replica: segments of bytes, of which a crash leaves what has been synchronised and, of the
// rest, whatever chance leaves. Kept true here: what was synchronised survives unless the plan damages it.

/// What a crash does to bytes that were written and not synchronised.
enum CrashLoss: UInt8, CaseIterable {
  /// All of them are there.
  case keepsAll
  /// None is.
  case losesAll
  /// The first so many writes are there whole.
  case keepsSomeWrites
  /// The last write that is there ends in its middle.
  case tears
  /// Of the last writes some sectors are there and some are not.
  case losesSectors
}

/// Damage to bytes that had been synchronised.
enum DiskDamage: UInt8, CaseIterable {
  case bitFlip
  case truncation
  case zeroedSector
  case missingFile
  case emptyFolder
}

struct DiskSegment {
  var number: UInt64
  var bytes: [UInt8] = []
  /// How many of `bytes` a crash cannot take.
  var synchronised = 0
  /// How many the synchronisation in progress covers.
  var mark = 0
  /// Whether the file is shorter than it was made.
  var isCutShort = false
  /// Ends of the writes above `synchronised`.
  var writeEnds: [Int] = []
}

final class SimulatedDisk {
  /// A file has this many bytes beyond those written, zero until then.
  static let preallocated = 4_096

  private(set) var segments: [DiskSegment] = []
  /// What the data folder's marker `starting` says: nothing has been synchronised since the disk was formatted, so
  /// nothing has been promised yet by a replica that waits for its disk.
  private(set) var isStarting = true
  var isFull = false
  /// Writes since the beginning, for crashes at a certain one.
  private(set) var writes = 0
  /// Writes a full disk has refused.
  private(set) var refused = 0

  func format() {
    segments.removeAll(keepingCapacity: true)
    isStarting = true
    isFull = false
    writes = 0
    refused = 0
  }

  /// Removes all segments.
  func forget() { segments.removeAll(keepingCapacity: true) }

  var newest: DiskSegment? { segments.last }

  /// Begins a new segment; older ones are dropped once what is written to it has been synchronised.
  func beginSegment(_ number: UInt64) { segments.append(DiskSegment(number: number)) }

  /// False when the disk is full; nothing is written then.
  func write(_ bytes: UnsafeRawBufferPointer) -> Bool {
    guard !isFull else {
      refused += 1
      return false
    }
    precondition(!segments.isEmpty, "a replica begins a segment before it writes")
    writes += 1
    let last = segments.count - 1
    segments[last].bytes.append(contentsOf: bytes)
    segments[last].writeEnds.append(segments[last].bytes.count)
    return true
  }

  var hasUnsynchronised: Bool { segments.contains { $0.synchronised < $0.bytes.count } }

  /// What has been written so far is to survive once `endSynchronisation` is called.
  func beginSynchronisation() {
    for index in segments.indices { segments[index].mark = segments[index].bytes.count }
  }

  /// The newest segment that is wholly covered makes older ones superfluous.
  func endSynchronisation() {
    isStarting = false
    for index in segments.indices {
      segments[index].synchronised = max(segments[index].synchronised, segments[index].mark)
      let safe = segments[index].synchronised
      segments[index].writeEnds.removeAll { $0 <= safe }
    }
    if let newest = segments.lastIndex(where: { $0.mark > 0 }), newest > 0 {
      segments.removeFirst(newest)
    }
  }

  /// What is there now is what is on disk.
  private func settle() {
    for index in segments.indices {
      segments[index].synchronised = segments[index].bytes.count
      segments[index].mark = segments[index].bytes.count
      segments[index].writeEnds.removeAll()
    }
  }

  func crash(_ loss: CrashLoss, _ chance: inout Chance) {
    for index in segments.indices where segments[index].synchronised < segments[index].bytes.count {
      let base = segments[index].synchronised
      let all = segments[index].bytes.count
      switch loss {
      case .keepsAll: break
      case .losesAll: truncate(index, to: base)
      case .keepsSomeWrites:
        let ends = [base] + segments[index].writeEnds
        truncate(index, to: chance.pick(ends))
      case .tears:
        truncate(index, to: base + chance.below(all - base + 1))
      case .losesSectors:
        var place = base
        while place < all {
          let end = min(all, (place / 512 + 1) * 512)
          if chance.happens(512) { for byte in place..<end { segments[index].bytes[byte] = 0 } }
          place = end
        }
      }
    }
    settle()
  }

  /// Damages what has been synchronised.
  func damage(_ damage: DiskDamage, _ chance: inout Chance) {
    guard let last = segments.indices.last else { return }
    let count = segments[last].bytes.count
    switch damage {
    case .bitFlip where count > 0:
      segments[last].bytes[chance.below(count)] ^= 1 << UInt8(chance.below(8))
    case .truncation where count > 0:
      truncate(last, to: chance.below(count))
      segments[last].isCutShort = true
    case .zeroedSector where count > 0:
      let start = chance.below(count) / 512 * 512
      for byte in start..<min(count, start + 512) { segments[last].bytes[byte] = 0 }
    case .missingFile: segments.removeLast()
    case .emptyFolder:
      segments.removeAll()
      isStarting = false
    case .bitFlip, .truncation, .zeroedSector: break
    }
    settle()
  }

  private func truncate(_ index: Int, to count: Int) {
    segments[index].bytes.removeLast(segments[index].bytes.count - count)
    segments[index].synchronised = min(segments[index].synchronised, count)
  }
}
