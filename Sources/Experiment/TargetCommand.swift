// The user's own command that starts, or restarts, foreign replicas before a point. It runs in a process group of its own,
// which is ended after the point with everything in it; a command that has done its work and left is fine, too.

import CProcess
import Foundation

/// One run of a target command. Ended by `stop`, whatever happened before.
final class TargetCommand: Sendable {
  /// Pause between SIGTERM and SIGKILL, in seconds.
  static let graceSeconds = 10.0

  private let process: pid_t
  private let log: String
  private let text: String
  private let status = Status()

  /// What `waitpid` said, once.
  private final class Status: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Int32?

    /// The exit status of `process` if it has ended; never waits.
    func poll(_ process: pid_t) -> Int32? {
      lock.withLock {
        if let value { return value }
        var status: Int32 = 0
        let found = waitpid(process, &status, WNOHANG)
        if found == process { value = status }
        // Somebody else has taken the status: as good as an end without fault.
        if found < 0, errno == ECHILD { value = 0 }
        return value
      }
    }
  }

  /// Starts `text` in a shell.
  ///
  /// - Parameter values: for the placeholders in it, and for the environment as `MUSTER_<NAME>`.
  /// - Throws: `CommandFailure` 69 when no process can be made.
  init(_ text: String, values: [(name: String, value: String)]) throws(CommandFailure) {
    _ = muster_adopt_orphans()
    self.text = Self.filled(text, values)
    log = FileManager.default.temporaryDirectory.path + "/muster-target-\(UUID().uuidString).log"
    process = try Self.spawn(self.text, values, log: log)
  }

  /// Replaces `{name}` by its value, but not where a `$` makes it the shell's own.
  static func filled(_ text: String, _ values: [(name: String, value: String)]) -> String {
    var output = ""
    var rest = Substring(text)
    while let brace = rest.firstIndex(of: "{") {
      output += rest[..<brace]
      let after = rest[rest.index(after: brace)...]
      if output.last != "$", let (name, value) = values.first(where: { after.hasPrefix($0.name + "}") }) {
        output += value
        rest = after.dropFirst(name.count + 1)
      } else {
        output += "{"
        rest = after
      }
    }
    return output + rest
  }

  private static func spawn(
    _ text: String, _ values: [(name: String, value: String)], log: String
  ) throws(CommandFailure) -> pid_t {
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // What this process ignores or blocks is no business of the command: an ignored signal can never be trapped there.
    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGPIPE] { sigaddset(&signals, signal) }
    posix_spawnattr_setsigdefault(&attributes, &signals)
    let flags = POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK
    posix_spawnattr_setflags(&attributes, Int16(flags))
    posix_spawnattr_setpgroup(&attributes, 0)
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    posix_spawn_file_actions_adddup2(&actions, 1, 2)
    // Our sockets are not the command's: a listener it held would stay open when ours is closed.
    muster_close_from(&actions, 3)
    var environment = ProcessInfo.processInfo.environment
    for (name, value) in values { environment["MUSTER_" + name.uppercased()] = value }
    /// Copies for C, with the null at their end.
    func copies(_ texts: [String]) -> [UnsafeMutablePointer<CChar>?] {
      texts.map { (text: String) -> UnsafeMutablePointer<CChar>? in strdup(text) } + [nil]
    }
    var arguments = copies(["/bin/sh", "-c", text])
    var variables = copies(environment.map { "\($0.key)=\($0.value)" })
    defer { for pointer in arguments + variables { free(pointer) } }
    var process = pid_t()
    let error = posix_spawn(&process, "/bin/sh", &actions, &attributes, &arguments, &variables)
    guard error == 0 else {
      throw CommandFailure(
        .unavailable, "--target-command: /bin/sh cannot be started: \(String(cString: strerror(error)))")
    }
    return process
  }

  /// The exit code of the command if it has ended: 0 ... 255, 128 + the number of a signal; nil while it runs.
  var exitCode: Int? {
    guard let status = status.poll(process) else { return nil }
    return status & 0x7f == 0 ? Int(status >> 8) & 0xff : 128 + Int(status & 0x7f)
  }

  /// - Throws: `TargetFailure` when the command has ended with another code than 0.
  func check() throws(TargetFailure) {
    guard let code = exitCode, code != 0 else { return }
    throw TargetFailure("--target-command ended with exit code \(code)\(saying)")
  }

  /// What the command wrote last, for a message.
  var saying: String {
    guard let data = FileManager.default.contents(atPath: log) else { return "" }
    let lines = String(decoding: data.suffix(4096), as: UTF8.self).split(whereSeparator: \.isNewline)
    return lines.isEmpty
      ? " and wrote nothing" : ", its last lines: " + lines.suffix(3).joined(separator: " | ")
  }

  /// Ends the command and all it has started that is still in its process group.
  func stop() async {
    kill(-process, SIGTERM)
    let deadline = Date(timeIntervalSinceNow: Self.graceSeconds)
    while Date() < deadline, isAlive { try? await Self.pause() }
    if isAlive {
      kill(-process, SIGKILL)
      while isAlive { try? await Self.pause() }
    }
    unlink(log)
  }

  /// Whether anything of the group runs still. What has ended is reaped: a process whose parent has left is ours.
  private var isAlive: Bool {
    _ = status.poll(process)
    while waitpid(-process, nil, WNOHANG) > 0 {}
    return kill(-process, 0) == 0
  }

  /// Goes on after a cancellation: what was started must end.
  private static func pause() async throws {
    await Task.detached { try? await Task.sleep(for: .milliseconds(20)) }.value
  }
}
