// Bytes allocated as a metric: jemalloc counts, for each thread, every byte it hands out, so the difference
// of two readings is exact, costs two loads, and is the same in every run. What the clock says is reported
// beside it and judged by nobody.

import Benchmark
import CJemalloc

extension BenchmarkMetric {
  /// Bytes the measuring thread has allocated; divided by the scaling factor only for display.
  static var allocatedBytes: BenchmarkMetric { .custom("allocatedBytes") }
}

/// Reads one thread's counter. Good only on the thread that made it.
struct AllocationMeter {
  private let counter: UnsafePointer<UInt64>

  /// A meter of the calling thread. Stops the process when the allocator is not jemalloc: a count that is
  /// always 0 would pass every threshold.
  init() {
    var counter: UnsafePointer<UInt64>?
    var byteCount = MemoryLayout<UnsafePointer<UInt64>?>.size
    guard mallctl("thread.allocatedp", &counter, &byteCount, nil, 0) == 0, let counter else {
      fatalError("the allocator does not count: it is not jemalloc, or was built without statistics")
    }
    let before = counter.pointee
    let probe = UnsafeMutableRawPointer.allocate(byteCount: 4_096, alignment: 16)
    blackHole(probe)
    probe.deallocate()
    guard counter.pointee &- before >= 4_096 else {
      fatalError("jemalloc is linked, but malloc is not its own")
    }
    self.counter = counter
  }

  /// Bytes allocated so far in the thread's life.
  @inline(__always)
  var bytes: UInt64 { counter.pointee }
}

extension Benchmark {
  /// Measures `body`, called once for each scaled iteration, and nothing else.
  @inline(__always)
  func measure(_ body: (Int) -> Void) {
    let meter = AllocationMeter()
    startMeasurement()
    let before = meter.bytes
    for index in scaledIterations { body(index) }
    let after = meter.bytes
    stopMeasurement()
    measurement(.allocatedBytes, Int(after &- before))
  }
}
