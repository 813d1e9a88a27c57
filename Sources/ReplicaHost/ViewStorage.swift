// The membership on disk as BFT-SMaRt keeps it: the file `currentView` of a configuration folder, a serialized `View`. Its
// clients can be given the file, and ours and our replicas begin with it.

import Foundation
import Wire

/// Why a stored view cannot be used.
public enum ViewStorageError: Error, CustomStringConvertible {
  case unreadable(path: String, reason: String)
  case malformed(path: String, JavaSerializationError)
  case notWritable(path: String, reason: String)

  public var description: String {
    switch self {
    case .unreadable(let path, let reason): "\(path): cannot be read: \(reason)"
    case .malformed(let path, let error):
      "\(path): \(error), as in a view that BFT-SMaRt or Muster has stored; remove the file to begin with hosts.config"
    case .notWritable(let path, let reason): "\(path): cannot be written: \(reason)"
    }
  }
}

/// The file of one configuration folder (BFT-SMaRt's `DefaultViewStorage`).
public struct ViewStorage: Sendable {
  public let path: String

  public init(configurationDirectory: String) { path = configurationDirectory + "/currentView" }

  /// The view that was in force last; nil when none is stored.
  public func read() throws(ViewStorageError) -> SerializedView? {
    guard FileManager.default.fileExists(atPath: path) else { return nil }
    let bytes: [UInt8]
    do {
      bytes = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
    } catch {
      throw .unreadable(path: path, reason: "not a readable file")
    }
    do throws(JavaSerializationError) {
      return try SerializedView(decoding: bytes)
    } catch {
      throw .malformed(path: path, error)
    }
  }

  /// Stores `view` unless a newer one is stored already, as another replica of the same folder may have done.
  ///
  /// - Parameter writer: tells apart those who may write at the same time.
  public func write(_ view: SerializedView, writer: Int32) throws(ViewStorageError) {
    if let stored = try? read(), stored.id > view.id || stored == view { return }
    let temporary = "\(path).\(writer).new"
    do {
      try Data(view.encoded).write(to: URL(fileURLWithPath: temporary))
    } catch {
      throw .notWritable(path: path, reason: String(cString: strerror(errno)))
    }
    guard rename(temporary, path) == 0 else {
      let reason = String(cString: strerror(errno))
      unlink(temporary)
      throw .notWritable(path: path, reason: reason)
    }
  }
}
