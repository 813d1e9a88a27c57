import Testing

#if canImport(Glibc)
  import Glibc
#endif

@Suite("Random schedules of the ordering core")
struct RandomScheduleTests {
  @Test("agreement whatever happens, progress once it is over", arguments: [4, 5, 7])
  func seeds(replicas: Int) {
    var views = 0
    var transfers = 0
    var recoveries = 0
    for seed in RandomScheduleTests.range {
      let schedule = RandomSchedule(seed: seed, replicas: replicas)
      let failure = schedule.run()
      #expect(failure == nil, "\(failure ?? "")")
      if failure != nil { break }
      views += schedule.cluster.entered.reduce(0) { $0 + $1.count }
      transfers += schedule.cluster.transfers.reduce(0) { $0 + $1.count }
      recoveries += schedule.cluster.recovered.reduce(0, +)
    }
    // The schedules reach what they are for.
    #expect(views > 100 && transfers > 10 && recoveries > 0, "\(views) \(transfers) \(recoveries)")
    if getenv("PBFT_SEEDS") != nil {
      print("n \(replicas): \(views) views, \(transfers) transfers, \(recoveries) recoveries")
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
