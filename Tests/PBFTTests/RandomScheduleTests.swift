import Testing

#if canImport(Glibc)
  import Glibc
#endif

@Suite("Random schedules of the ordering core")
struct RandomScheduleTests {
  @Test("agreement whatever happens, progress once it is over", arguments: [4, 5, 7])
  func seeds(replicas: Int) {
    for seed in RandomScheduleTests.range {
      let schedule = RandomSchedule(seed: seed, replicas: replicas)
      let failure = schedule.run()
      #expect(failure == nil, "\(failure ?? "")")
      if failure != nil, RandomScheduleTests.range.count < 10_000 { break }
    }
  }

  /// `PBFT_SEEDS=A-B` searches more than every test run does.
  static var range: Range<UInt64> {
    guard let text = getenv("PBFT_SEEDS").map({ String(cString: $0) }) else { return 0..<20 }
    let parts = text.split(separator: "-").compactMap { UInt64($0) }
    guard parts.count == 2 else { return 0..<20 }
    return parts[0]..<parts[1]
  }
}
