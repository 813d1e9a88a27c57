// Everything that can go wrong with a file of a result, as one closed type. Each case names the path, and
// where there is one the line, so that the command line can print it as it is and choose the exit code from
// `isOutput`.

import Foundation

/// A file of a result could not be made, written, read or understood.
public enum ResultFileError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The file or folder cannot be made.
  case cannotCreate(path: String, reason: String)
  /// The file exists and cannot be written: disk full, closed, no permission.
  case cannotWrite(path: String, reason: String)
  /// A new result was asked for where one already is.
  case occupied(path: String)
  /// Another process is writing this file.
  case busy(path: String)
  /// The file or folder does not exist.
  case missing(path: String)
  /// The file exists and cannot be read.
  case cannotRead(path: String, reason: String)
  /// The content is not what the format says. `line` is 1-based.
  case malformed(path: String, line: Int, reason: String)

  /// Whether an output could not be made or written (exit code 73), rather than an input be read (66).
  public var isOutput: Bool {
    switch self {
    case .cannotCreate, .cannotWrite, .occupied, .busy: true
    case .missing, .cannotRead, .malformed: false
    }
  }

  public var description: String {
    switch self {
    case .cannotCreate(let path, let reason): "cannot create \(path): \(reason)"
    case .cannotWrite(let path, let reason): "cannot write \(path): \(reason)"
    case .occupied(let path): "\(path) already holds a result; name another folder or resume it"
    case .busy(let path): "\(path) is being written by another process"
    case .missing(let path): "\(path) does not exist"
    case .cannotRead(let path, let reason): "cannot read \(path): \(reason)"
    case .malformed(let path, let line, let reason): "\(path):\(line): \(reason)"
    }
  }
}

/// The system's words for `code`, an `errno` value.
func systemReason(_ code: Int32) -> String {
  String(cString: strerror(code))
}

/// All bytes of the file at `path`.
func readBytes(at path: String) throws(ResultFileError) -> [UInt8] {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else {
    let code = errno
    throw code == ENOENT ? .missing(path: path) : .cannotRead(path: path, reason: systemReason(code))
  }
  defer { close(descriptor) }
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 1 << 16)
  while true {
    let count = read(descriptor, &chunk, chunk.count)
    if count == 0 { return bytes }
    if count > 0 {
      bytes.append(contentsOf: chunk[..<count])
    } else if errno != EINTR {
      throw .cannotRead(path: path, reason: systemReason(errno))
    }
  }
}

/// Replaces the file at `path` with `bytes`, whole or not at all: written beside it, fsynced, renamed over
/// it.
func replaceFile(at path: String, with bytes: [UInt8]) throws(ResultFileError) {
  let temporary = path + ".partial"
  unlink(temporary)
  let file = try AppendFile(creating: temporary)
  file.append(bytes)
  try file.synchronize()
  try file.close()
  guard rename(temporary, path) == 0 else {
    throw .cannotWrite(path: path, reason: systemReason(errno))
  }
  synchronizeFolder(of: path)
}

/// Makes the names in the folder of `path` durable. A file system that cannot is not an error.
func synchronizeFolder(of path: String) {
  let folder = (path as NSString).deletingLastPathComponent
  let descriptor = open(folder.isEmpty ? "." : folder, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { return }
  fsync(descriptor)
  close(descriptor)
}
