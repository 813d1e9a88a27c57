// A file that only grows, by whole records. A write that fails half way is cut back to the last whole record
// before the error is thrown; a tail torn by a killed process is cut when the file is opened again. An
// advisory lock keeps a second process out.

import Foundation

/// An append-only file of records; confined to one thread of control.
final class AppendFile {
  let path: String
  private var descriptor: Int32
  /// Length of the file: a whole number of records.
  private(set) var committedByteCount: Int
  /// Whole records not yet handed to the system.
  private var pending: [UInt8] = []

  /// Makes a new, empty file. Throws `occupied` when the path is taken.
  init(creating path: String) throws(ResultFileError) {
    self.path = path
    committedByteCount = 0
    descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    if descriptor < 0 {
      let code = errno
      throw code == EEXIST ? .occupied(path: path) : .cannotCreate(path: path, reason: systemReason(code))
    }
    try lock()
    synchronizeFolder(of: path)
  }

  /// Opens an existing file for appending, after cutting it to the length `wholeRecords` finds in its bytes.
  init(
    reopening path: String, wholeRecords: ([UInt8]) throws(ResultFileError) -> Int
  ) throws(ResultFileError) {
    self.path = path
    committedByteCount = 0
    descriptor = open(path, O_WRONLY | O_CLOEXEC)
    if descriptor < 0 {
      let code = errno
      throw code == ENOENT ? .missing(path: path) : .cannotWrite(path: path, reason: systemReason(code))
    }
    try lock()
    let bytes = try readBytes(at: path)
    committedByteCount = try wholeRecords(bytes)
    precondition(committedByteCount <= bytes.count)
    if committedByteCount < bytes.count, ftruncate(descriptor, off_t(committedByteCount)) != 0 {
      throw .cannotWrite(path: path, reason: systemReason(errno))
    }
    lseek(descriptor, off_t(committedByteCount), SEEK_SET)
  }

  deinit {
    if descriptor >= 0 { _ = Foundation.close(descriptor) }
  }

  /// Adds one or more whole records to what the next flush writes.
  func append(_ records: some Sequence<UInt8>) {
    pending.append(contentsOf: records)
  }

  /// Hands pending records to the system. On an error the file ends at its last whole record and nothing
  /// pending is lost, so that a later flush may succeed.
  func flush() throws(ResultFileError) {
    guard descriptor >= 0 else { throw .cannotWrite(path: path, reason: "the file is closed") }
    var written = 0
    while written < pending.count {
      let count = pending.withUnsafeBytes { write(descriptor, $0.baseAddress! + written, $0.count - written) }
      if count > 0 {
        written += count
      } else if count == 0 || errno != EINTR {
        let reason = count == 0 ? "nothing was written" : systemReason(errno)
        ftruncate(descriptor, off_t(committedByteCount))
        lseek(descriptor, off_t(committedByteCount), SEEK_SET)
        throw .cannotWrite(path: path, reason: reason)
      }
    }
    committedByteCount += written
    pending.removeAll(keepingCapacity: true)
  }

  /// Flushes and waits until the records are on the disk.
  func synchronize() throws(ResultFileError) {
    try flush()
    // A pipe or a device has nothing to wait for and says EINVAL.
    guard fsync(descriptor) == 0 || errno == EINVAL else {
      throw .cannotWrite(path: path, reason: systemReason(errno))
    }
  }

  /// Flushes and closes. Closing twice does nothing.
  func close() throws(ResultFileError) {
    guard descriptor >= 0 else { return }
    try flush()
    let result = Foundation.close(descriptor)
    descriptor = -1
    guard result == 0 else { throw .cannotWrite(path: path, reason: systemReason(errno)) }
  }

  private func lock() throws(ResultFileError) {
    if flock(descriptor, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK { throw .busy(path: path) }
  }
}
