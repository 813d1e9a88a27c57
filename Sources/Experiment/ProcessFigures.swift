// What this process and this machine have used: processor time, memory, allocations, stolen time.

import CJemalloc
import Foundation
import NIOCore

/// Readings of the operating system and of the allocator.
enum ProcessFigures {
  /// Processor time of the whole process, user and system, in nanoseconds.
  static func cpuNanoseconds() -> Int64 {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    func nanoseconds(_ time: timeval) -> Int64 {
      Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_usec) * 1_000
    }
    return nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime)
  }

  /// Forgets the highest resident size so far, so that a later reading is of this point only.
  static func resetPeakResidentBytes() {
    // Refused in some containers; then the peak of the process's whole life is what there is.
    guard let file = fopen("/proc/self/clear_refs", "w") else { return }
    fputs("5", file)
    fclose(file)
  }

  /// The highest resident size since the last reset.
  static func peakResidentBytes() -> Int? {
    guard let text = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8) else { return nil }
    for line in text.split(separator: "\n") where line.hasPrefix("VmHWM:") {
      return line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap { Int($0) }.map
      { $0 * 1024 }
    }
    return nil
  }

  /// Ticks of all processors: all of them, and those that the host gave to others.
  static func processorTicks() -> (all: UInt64, stolen: UInt64)? {
    guard let text = try? String(contentsOfFile: "/proc/stat", encoding: .utf8),
      let line = text.split(separator: "\n").first
    else { return nil }
    let ticks = line.split(separator: " ").dropFirst().compactMap { UInt64($0) }
    guard ticks.count >= 8 else { return nil }
    return (ticks.prefix(8).reduce(0, +), ticks[7])
  }

  /// Bytes the calling thread has allocated in its life; nil without jemalloc.
  static func threadAllocatedBytes() -> UInt64? {
    var value: UInt64 = 0
    var size = MemoryLayout<UInt64>.size
    guard mallctl("thread.allocated", &value, &size, nil, 0) == 0 else { return nil }
    return value
  }

  /// Name and version of the allocator in use.
  static func allocator() -> String {
    var pointer: UnsafePointer<CChar>?
    var size = MemoryLayout<UnsafePointer<CChar>?>.size
    guard mallctl("version", &pointer, &size, nil, 0) == 0, let pointer else { return "system" }
    return "jemalloc \(String(cString: pointer))"
  }
}

/// One reading of everything that is taken before and after a measurement.
struct ProcessReading: Sendable {
  var cpuNanoseconds: Int64
  var ticks: (all: UInt64, stolen: UInt64)?
  /// Bytes allocated by the loops' threads.
  var allocatedBytes: UInt64?

  static func take(loops: [any EventLoop]) async -> ProcessReading {
    var reading = ProcessReading(
      cpuNanoseconds: ProcessFigures.cpuNanoseconds(), ticks: ProcessFigures.processorTicks(),
      allocatedBytes: 0)
    for loop in loops {
      let bytes = try? await loop.submit { ProcessFigures.threadAllocatedBytes() }.get()
      if let bytes = bytes ?? nil {
        reading.allocatedBytes = reading.allocatedBytes.map { $0 + bytes }
      } else {
        reading.allocatedBytes = nil
      }
    }
    return reading
  }

  func stealShare(until later: ProcessReading) -> Double? {
    guard let before = ticks, let after = later.ticks, after.all > before.all else { return nil }
    return Double(after.stolen - before.stolen) / Double(after.all - before.all)
  }
}

/// File descriptors of this process.
enum Descriptors {
  /// Raises the soft limit to the hard one, once: every connection is a descriptor at each of its ends.
  static let limit: UInt64 = {
    var limits = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limits) == 0 else { return 0 }
    limits.rlim_cur = limits.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limits)
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limits)
    return UInt64(limits.rlim_cur)
  }()

  /// Says so, before anything is opened, when `needed` connections' ends cannot fit.
  static func require(_ needed: Int, for what: String) throws(CommandFailure) {
    // Loops, files and listeners take some of their own.
    guard limit == 0 || UInt64(needed) + 256 <= limit else {
      throw .usage(
        "\(what) need \(needed) file descriptors, and this process may have \(limit) (ulimit -n); "
          + "expected fewer connections, or replicas in processes of their own (--hosts)")
    }
  }
}
