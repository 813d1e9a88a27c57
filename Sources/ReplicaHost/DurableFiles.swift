// The durable log as files: preallocated segments, written and made durable by a thread of their own, so that the
// replica's loop never waits for a disk. All records of the turns that went by during one write are the next write
// (group commit). Kept true: a segment always leaves zeros behind its last record; an older segment goes only when the
// newer one is on disk; after a failure nothing more is written, and what was written stays.

import Channels
import Dispatch
import Glibc
import NIOCore
import Replication

/// What the files of a replica have cost.
public struct DurableCounters: Hashable, Sendable {
  public var bytesWritten: UInt64 = 0
  /// Writes, each of them followed by one `fdatasync` under `sync`.
  public var commits: UInt64 = 0
  public var segments: UInt64 = 0
  /// From handing over to being on disk, summed over the commits.
  public var waitedNanoseconds: UInt64 = 0

  public init() {}
}

/// The log of one replica. Everything public is called on its loop.
final class DurableFiles: @unchecked Sendable {
  /// What one commit writes; two of them take turns.
  private final class Work: @unchecked Sendable {
    var bytes = ByteQueue(capacity: 64 << 10)
    /// From these offsets on the bytes belong to a new segment.
    var rotations: [(offset: Int, segment: UInt64)] = []
    var isEmpty: Bool { bytes.isEmpty && rotations.isEmpty }
  }

  private(set) var counters = DurableCounters()
  /// Whether a commit is under way.
  private(set) var isBusy = false
  /// Why nothing is written any more.
  private(set) var failure: String?

  private let loop: any EventLoop
  private let queue = DispatchQueue(label: "muster.durable")
  private let writer: SegmentWriter
  private var pending = Work()
  private var underWay = Work()
  private var committedAt: Int64 = 0
  private var task: (@Sendable () -> Void)!
  private var completed: (@Sendable () -> Void)!
  private let whenDone: () -> Void
  private let durability: Durability
  private let state: RunningState
  private var marksAfterCommit = false
  private var hasBegun = false
  /// Of the commit under way.
  private var marksRunning = false
  private var outcome: String?

  /// - Parameters:
  ///   - path: the data folder.
  ///   - existing: numbers of the segments in it; dropped once a newer one is whole.
  ///   - durability: under `sync` a commit is over when its bytes are on disk; under `none` nothing but the markers is
  ///     written.
  ///   - state: what the marker says at first.
  ///   - whenDone: called on `loop` after each commit, also one that failed.
  init(
    path: String, existing: [UInt64], durability: Durability, state: RunningState,
    growthBytes: Int = SegmentWriter.growthBytes, loop: any EventLoop, whenDone: @escaping () -> Void
  ) {
    self.loop = loop
    self.whenDone = whenDone
    self.durability = durability
    self.state = state
    if case .starting = state { marksAfterCommit = true }
    writer = SegmentWriter(
      path: path, existing: existing, syncs: durability == .sync, growthBytes: growthBytes)
    // Made once: handing the same closures over again allocates nothing of ours.
    task = { [unowned self] in
      outcome = writer.write(underWay.bytes.readableBytes, rotations: underWay.rotations)
      if marksRunning, outcome == nil, writer.sync() {
        do throws(DataFolderError) {
          try DataFolder.markRunning(writer.path, .running(durability))
        } catch {
          outcome = error.description
        }
      }
      self.loop.execute(completed)
    }
    completed = { [self] in finish() }
  }

  /// Whether something waits for the next commit.
  var hasPending: Bool { !pending.isEmpty || isMarkDue }

  /// A marker that promises what the log holds follows the log's first segment, where there is a log.
  private var isMarkDue: Bool { marksAfterCommit && (hasBegun || durability == .none) }

  var pendingBytes: Int { pending.bytes.count }

  /// These bytes go to the end of the log.
  func append(_ bytes: UnsafeRawBufferPointer) { pending.bytes.append(bytes) }

  /// What is appended from now on begins a new segment.
  func rotate(to segment: UInt64) {
    hasBegun = true
    pending.rotations.append((pending.bytes.count, segment))
  }

  /// Hands what waits to the disk's thread. Precondition: not busy.
  func commit() {
    precondition(!isBusy, "one commit at a time")
    guard failure == nil, hasPending else { return }
    isBusy = true
    marksRunning = isMarkDue
    if marksRunning { marksAfterCommit = false }
    swap(&pending, &underWay)
    committedAt = monotonicNanoseconds()
    queue.async(execute: task)
  }

  private func finish() {
    isBusy = false
    failure = outcome
    counters.bytesWritten += UInt64(underWay.bytes.count)
    counters.commits += 1
    counters.segments += UInt64(underWay.rotations.count)
    counters.waitedNanoseconds += UInt64(max(0, monotonicNanoseconds() - committedAt))
    underWay.bytes.removeAll()
    underWay.bytes.shrink(to: 16 << 20)
    underWay.rotations.removeAll(keepingCapacity: true)
    whenDone()
  }

  /// Marks the folder as that of a running replica. Under `none` what an earlier life has left is removed.
  func markRunning() -> EventLoopFuture<Void> {
    let promise = loop.makePromise(of: Void.self)
    queue.async { [writer, durability, state] in
      do throws(DataFolderError) {
        try DataFolder.markRunning(writer.path, state)
        if durability == .none { writer.removeExisting() }
        promise.succeed()
      } catch {
        promise.fail(error)
      }
    }
    return promise.futureResult
  }

  /// Nothing is unknown any more: what is promised from now on is in the log, and what came before is history. The
  /// folder says so once the records of this turn are on disk.
  func markRecovered() {
    marksAfterCommit = true
  }

  /// Closes the log. `cleanly`: everything appended is on disk before, and the folder says so.
  func close(cleanly: Bool) -> EventLoopFuture<Void> {
    let promise = loop.makePromise(of: Void.self)
    let last = pending
    pending = Work()
    let mayMark = cleanly && failure == nil
    queue.async { [writer] in
      // A commit that was under way is over: the queue is served in order.
      var isWhole = mayMark
      if mayMark {
        isWhole =
          writer.failure == nil && writer.write(last.bytes.readableBytes, rotations: last.rotations) == nil
        isWhole = writer.close(syncing: true) && isWhole
      } else {
        _ = writer.close(syncing: false)
      }
      if isWhole { DataFolder.markStopped(writer.path) }
      promise.succeed()
    }
    return promise.futureResult
  }
}

/// Writes segments; confined to the thread of its owner's queue.
final class SegmentWriter: @unchecked Sendable {
  /// Segments grow by so much at a time, in advance.
  static let growthBytes = 16 << 20
  /// Zeros that stay behind the last record.
  static let reserveBytes = 16

  let path: String
  private(set) var failure: String?
  private let syncs: Bool
  private let growth: Int
  private var older: [UInt64]
  private var descriptor: Int32 = -1
  private var number: UInt64 = 0
  private var used = 0
  private var capacity = 0

  init(path: String, existing: [UInt64], syncs: Bool, growthBytes: Int) {
    self.path = path
    self.syncs = syncs
    growth = growthBytes
    older = existing
  }

  deinit { if descriptor >= 0 { Glibc.close(descriptor) } }

  /// Writes one commit; nil, or why it failed. After a failure nothing is written any more.
  func write(_ bytes: UnsafeRawBufferPointer, rotations: [(offset: Int, segment: UInt64)]) -> String? {
    if failure != nil { return failure }
    var offset = 0
    var isNew = false
    for rotation in rotations {
      append(bytes, offset..<rotation.offset)
      offset = rotation.offset
      begin(rotation.segment)
      isNew = true
    }
    append(bytes, offset..<bytes.count)
    if failure == nil, descriptor >= 0, syncs || isNew, fdatasync(descriptor) != 0 {
      fail(errno, "cannot be made durable")
    }
    if isNew { dropOlder() }
    return failure
  }

  private func begin(_ segment: UInt64) {
    guard failure == nil else { return }
    if descriptor >= 0 {
      older.append(number)
      // What follows stands on it until the new segment is whole.
      if fdatasync(descriptor) != 0 { return fail(errno, "cannot be made durable") }
      Glibc.close(descriptor)
    }
    number = segment
    used = 0
    capacity = 0
    descriptor = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    if descriptor < 0 { fail(errno, "cannot be made") }
  }

  private var name: String { path + "/" + DataFolder.segmentName(number) }

  private func append(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) {
    guard failure == nil, !range.isEmpty else { return }
    precondition(descriptor >= 0, "records follow the beginning of a segment")
    // Room first: a full disk is found before a record is written in part.
    let needed = used + range.count + Self.reserveBytes
    if needed > capacity {
      let enlarged = (needed + growth - 1) / growth * growth
      let code = posix_fallocate(descriptor, 0, off_t(enlarged))
      guard code == 0 else { return fail(code, "cannot grow to \(enlarged) bytes") }
      capacity = enlarged
    }
    var offset = range.lowerBound
    while offset < range.upperBound {
      let written = pwrite(
        descriptor, bytes.baseAddress! + offset, range.upperBound - offset, off_t(used))
      if written < 0, errno == EINTR { continue }
      guard written > 0 else { return fail(written == 0 ? ENOSPC : errno, "cannot be written") }
      offset += written
      used += written
    }
  }

  /// Removes what an earlier life has left, which is out of date from now on.
  func removeExisting() {
    for segment in older { unlink(path + "/" + DataFolder.segmentName(segment)) }
    older.removeAll()
  }

  /// Whether everything written is on disk.
  func sync() -> Bool { failure == nil && (descriptor < 0 || fdatasync(descriptor) == 0) }

  private func dropOlder() {
    guard failure == nil else { return }
    let code = DataFolder.syncFolder(path)
    guard code == 0 else { return fail(code, "cannot be made durable in its folder") }
    for segment in older where segment != number { unlink(path + "/" + DataFolder.segmentName(segment)) }
    older.removeAll()
  }

  private func fail(_ code: Int32, _ what: String) {
    failure = "\(name): \(what): \(String(cString: strerror(code)))"
  }

  /// Closes the segment; whether everything is on disk.
  func close(syncing: Bool) -> Bool {
    guard descriptor >= 0 else { return failure == nil }
    defer {
      Glibc.close(descriptor)
      descriptor = -1
    }
    return syncing && failure == nil && fdatasync(descriptor) == 0
  }
}
