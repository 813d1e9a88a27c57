// A folder of its own for each test, removed afterwards.

import Foundation

final class TemporaryFolder {
  let path: String

  init() {
    let template = NSTemporaryDirectory() + "muster-results-\(UUID().uuidString)"
    try! FileManager.default.createDirectory(atPath: template, withIntermediateDirectories: true)
    path = template
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func file(_ name: String) -> String { path + "/" + name }

  func write(_ text: String, to name: String) throws -> String {
    try Data(text.utf8).write(to: URL(fileURLWithPath: file(name)))
    return file(name)
  }

  func text(_ name: String) throws -> String {
    String(decoding: try Data(contentsOf: URL(fileURLWithPath: file(name))), as: UTF8.self)
  }
}
