// What machine a result was measured on. Everything is read once, from the places where Linux states it; what
// is not there stays nil, so the probe cannot fail.

import Foundation

/// The machine as a manifest states it.
public struct HostEnvironment: Codable, Equatable, Sendable {
  /// Name and release of the kernel.
  public var kernel: String
  public var architecture: String
  /// The distribution's own name.
  public var operatingSystem: String
  public var cpuModel: String?
  /// Cores this process may use.
  public var cores: Int
  public var memoryBytes: Int
  /// The default TCP congestion control.
  public var congestionControl: String?
  /// The frequency governor of the first core.
  public var cpuGovernor: String?
  public var clockSource: String?
  /// The soft limit on open descriptors.
  public var openFileLimit: Int?

  public init(
    kernel: String, architecture: String, operatingSystem: String, cpuModel: String? = nil, cores: Int,
    memoryBytes: Int, congestionControl: String? = nil, cpuGovernor: String? = nil,
    clockSource: String? = nil,
    openFileLimit: Int? = nil
  ) {
    self.kernel = kernel
    self.architecture = architecture
    self.operatingSystem = operatingSystem
    self.cpuModel = cpuModel
    self.cores = cores
    self.memoryBytes = memoryBytes
    self.congestionControl = congestionControl
    self.cpuGovernor = cpuGovernor
    self.clockSource = clockSource
    self.openFileLimit = openFileLimit
  }
}

/// Reads the environment of this process.
public struct EnvironmentProbe: Sendable {
  private let root: String

  /// Reads below `root`, `/` but in tests.
  public init(root: String = "/") {
    self.root = root.hasSuffix("/") ? root : root + "/"
  }

  /// The machine as it is now.
  public func read() -> HostEnvironment {
    var names = utsname()
    uname(&names)
    var limit = rlimit()
    #if os(Linux)
      let limitKnown = getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0
    #else
      let limitKnown = getrlimit(RLIMIT_NOFILE, &limit) == 0
    #endif
    return HostEnvironment(
      kernel: text(&names.sysname) + " " + text(&names.release),
      architecture: text(&names.machine),
      operatingSystem: value("PRETTY_NAME", separator: "=", in: "etc/os-release")
        ?? ProcessInfo.processInfo.operatingSystemVersionString,
      cpuModel: value("model name", separator: ":", in: "proc/cpuinfo"),
      cores: usableCores(),
      memoryBytes: Int(clamping: ProcessInfo.processInfo.physicalMemory),
      congestionControl: line("proc/sys/net/ipv4/tcp_congestion_control"),
      cpuGovernor: line("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
      clockSource: line("sys/devices/system/clocksource/clocksource0/current_clocksource"),
      openFileLimit: limitKnown ? Int(clamping: limit.rlim_cur) : nil)
  }

  /// Cores this process may be scheduled on, which an affinity mask can make fewer than the machine has.
  private func usableCores() -> Int {
    let mask = value("Cpus_allowed", separator: ":", in: "proc/self/status") ?? ""
    let allowed = mask.reduce(0) { $0 + ($1.hexDigitValue ?? 0).nonzeroBitCount }
    if allowed > 0 { return allowed }
    return ProcessInfo.processInfo.activeProcessorCount
  }

  /// The first line of a file that holds one.
  private func line(_ file: String) -> String? {
    content(file)?.split(separator: "\n").first.map { $0.trimmingCharacters(in: .whitespaces) }
  }

  /// What follows the first `key` in a file of `key separator value` lines, without quotes.
  private func value(_ key: String, separator: Character, in file: String) -> String? {
    for line in (content(file) ?? "").split(separator: "\n") {
      let parts = line.split(separator: separator, maxSplits: 1)
      guard parts.count == 2, parts[0].trimmingCharacters(in: .whitespaces) == key else { continue }
      return parts[1].trimmingCharacters(in: CharacterSet(charactersIn: " \t\""))
    }
    return nil
  }

  private func content(_ file: String) -> String? {
    (try? readBytes(at: root + file)).map { String(decoding: $0, as: UTF8.self) }
  }

  /// The text of a fixed-size field of `utsname`, which C imports as a tuple.
  private func text<Field>(_ field: inout Field) -> String {
    withUnsafeBytes(of: &field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }
}
