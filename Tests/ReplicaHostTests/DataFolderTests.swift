// The data folder: made once, owned by one replica of one cluster, and honest about how the last life ended. And the
// segments in it.

import Foundation
import NIOCore
import NIOPosix
import PBFT
import Replication
import TestSupport
import Testing
import Wire

@testable import ReplicaHost

@Suite("Data folders")
struct DataFolderTests {
  static let cluster = ClusterID(hexadecimal: "000102030405060708090a0b0c0d0e0f")!

  private func open(
    _ path: String, _ durability: Durability = .sync, format: Bool = false, replica: Int32 = 2,
    cluster: ClusterID = cluster
  ) throws -> DataFolder {
    try DataFolder.open(
      path: path, replica: ReplicaID(replica), cluster: cluster, durability: durability, format: format)
  }

  private func error(_ body: () throws -> DataFolder) -> DataFolderError? {
    do {
      _ = try body()
      return nil
    } catch { return error as? DataFolderError }
  }

  @Test("under sync a folder must be made once, and every refusal says what to do")
  func formatsOnce() async throws {
    try await withFolder { folder in
      let path = folder + "/data/replica2"
      let missing = try #require(error { try open(path) })
      #expect(missing.reason == .missing)
      #expect(missing.description.contains("start it once with --format --cluster \(Self.cluster)"))
      #expect(try open(path, format: true).earlier == .none)
      #expect(try open(path).earlier == .none)
      let again = try #require(error { try open(path, format: true) })
      #expect(again.reason == .refused && again.description.contains("start without --format"))
      let stranger = try #require(error { try open(path, cluster: .random()) })
      #expect(
        stranger.reason == .refused && stranger.description.contains("cluster \(Self.cluster) replica 2"))
      #expect(stranger.description.contains("--format --cluster"))
      #expect(error { try open(path, replica: 1) }?.reason == .refused)
    }
  }

  @Test("without sync a missing folder is made", arguments: [Durability.none, .async])
  func makesItself(durability: Durability) async throws {
    try await withFolder { folder in
      let found = try open(folder + "/replica2", durability)
      #expect(found.earlier == .none)
      #expect(FileManager.default.fileExists(atPath: folder + "/replica2/formatted"))
    }
  }

  @Test(
    "how the last life ended decides whether its promises are known",
    arguments: [
      // Marker, its text, whether there is a segment, durability now, what is known.
      ("running", "sync", true, Durability.sync, EarlierLife.logged),
      ("stopped", "sync", true, .sync, .logged),
      ("running", "sync", false, .sync, .lost), ("stopped", "sync", false, .sync, .lost),
      ("running", "starting", true, .sync, .none), ("running", "starting", false, .sync, .none),
      ("running", "lost", true, .sync, .lost), ("stopped", "lost", true, .sync, .lost),
      ("running", "async", true, .sync, .lost), ("stopped", "async", true, .async, .logged),
      ("running", "async", true, .async, .lost), ("running", "none", false, .none, .lost),
      ("stopped", "none", false, .none, .none), ("stopped", "none", false, .sync, .lost),
      ("stopped", "sync", true, .none, .lost), ("running", "garbage", true, .sync, .lost),
    ])
  func earlierLives(
    marker: String, text: String, segment: Bool, durability: Durability, expected: EarlierLife
  )
    async throws
  {
    try await withFolder { folder in
      let path = folder + "/replica2"
      _ = try open(path, format: true)
      try (text + "\n").write(toFile: path + "/" + marker, atomically: true, encoding: .utf8)
      if segment {
        try Data(count: 64).write(to: URL(fileURLWithPath: path + "/" + DataFolder.segmentName(3)))
      }
      let found = try open(path, durability)
      #expect(found.earlier == expected)
      #expect(found.segments == (segment ? [3] : []))
    }
  }

  @Test("the names of segments are read as they are written, and no other file is one")
  func segmentNames() {
    for number: UInt64 in [0, 1, 0xabcdef, .max] {
      #expect(DataFolder.segmentNumber(DataFolder.segmentName(number)) == number)
    }
    for name in [
      "log-1", "log-00000000000000FF", "log-00000000000000zz", "formatted", "log-0000000000000001x",
    ] {
      #expect(DataFolder.segmentNumber(name) == nil)
    }
  }
}

@Suite("Durable files")
struct DurableFilesTests {
  /// Files in a fresh folder, on their own loop.
  private func with(
    _ durability: Durability, existing: [UInt64] = [], growth: Int = 4096, state: RunningState? = nil,
    _ body: (String, any EventLoop, DurableFiles, Watch) async throws -> Void
  ) async throws {
    try await withFolder { path in
      try await withLoops(1) { loops in
        let watch = Watch(loop: loops[0])
        let files = DurableFiles(
          path: path, existing: existing, durability: durability,
          state: state ?? .running(durability), growthBytes: growth, loop: loops[0]
        ) { watch.changed() }
        try await body(path, loops[0], files, watch)
        try await loops[0].flatSubmit { files.close(cleanly: false) }.get()
      }
    }
  }

  private func append(_ files: DurableFiles, _ bytes: [UInt8]) { bytes.withUnsafeBytes { files.append($0) } }

  @Test("what a commit covers is in the file, followed by zeros; what comes meanwhile is the next commit")
  func commits() async throws {
    try await with(.sync) { path, loop, files, watch in
      try await loop.submit {
        files.rotate(to: 1)
        append(files, [UInt8](repeating: 1, count: 4090))
        files.commit()
        #expect(files.isBusy && !files.hasPending)
        append(files, [2, 2])
        #expect(files.hasPending)
      }.get()
      try await watch.until("the first commit is over") { files.counters.commits == 1 }
      try await loop.submit { files.commit() }.get()
      try await watch.until("the second commit is over") { files.counters.commits == 2 && !files.isBusy }
      let written = try Data(contentsOf: URL(fileURLWithPath: path + "/" + DataFolder.segmentName(1)))
      #expect(written == Data(repeating: 1, count: 4090) + [2, 2] + Data(count: 8192 - 4092))
      #expect(files.counters.bytesWritten == 4092 && files.counters.segments == 1 && files.failure == nil)
    }
  }

  @Test("a turn before the first records has nothing to commit: the marker waits for them")
  func beforeFirstRecords() async throws {
    try await with(.sync, state: .starting) { path, loop, files, watch in
      try await loop.submit {
        #expect(!files.hasPending)
        files.commit()
        #expect(!files.isBusy)
        files.rotate(to: 1)
        append(files, [1])
        files.commit()
      }.get()
      try await watch.until("it is committed") { files.counters.commits == 1 && !files.isBusy }
      #expect(files.failure == nil && !files.hasPending)
    }
  }

  @Test("an older segment goes when the newer one is on disk", arguments: [Durability.async, .sync])
  func rotates(durability: Durability) async throws {
    try await with(durability, existing: [1, 2]) { path, loop, files, watch in
      for number: UInt64 in 1...2 {
        try Data(count: 16).write(to: URL(fileURLWithPath: path + "/" + DataFolder.segmentName(number)))
      }
      try await loop.submit {
        files.rotate(to: 3)
        append(files, [3])
        files.rotate(to: 4)
        append(files, [4])
        #expect(DataFolder.segments(in: path) == [1, 2])
        files.commit()
      }.get()
      try await watch.until("it is committed") { files.counters.commits == 1 }
      #expect(DataFolder.segments(in: path) == [4])
      let written = try Data(contentsOf: URL(fileURLWithPath: path + "/" + DataFolder.segmentName(4)))
      #expect(written.count == 4096 && written.first == 4)
    }
  }

  @Test("a clean end writes the rest and says so; any other end does neither", arguments: [false, true])
  func ends(cleanly: Bool) async throws {
    try await with(.sync) { path, loop, files, watch in
      try await loop.flatSubmit { files.markRunning() }.get()
      try await loop.flatSubmit {
        files.rotate(to: 1)
        append(files, [5])
        return files.close(cleanly: cleanly)
      }.get()
      let marker = path + (cleanly ? "/stopped" : "/running")
      #expect(try String(contentsOfFile: marker, encoding: .utf8) == "sync\n")
      #expect(DataFolder.segments(in: path) == (cleanly ? [1] : []))
    }
  }

  @Test("a segment that cannot grow fails its commit with a reason, and what is there stays whole")
  func fails() async throws {
    try await with(.sync) { path, loop, files, watch in
      try await loop.submit {
        files.rotate(to: 1)
        append(files, [1])
        files.commit()
      }.get()
      try await watch.until("the first commit is over") { files.counters.commits == 1 }
      try FileManager.default.removeItem(atPath: path)
      try await loop.submit {
        append(files, [2])
        files.rotate(to: 2)
        append(files, [3])
        files.commit()
      }.get()
      try await watch.until("the second commit is over") { files.counters.commits == 2 }
      let failure = try #require(files.failure)
      #expect(failure.contains(DataFolder.segmentName(2)) && failure.contains("No such file or directory"))
      // Nothing is written any more.
      try await loop.submit {
        append(files, [4])
        files.commit()
        #expect(!files.isBusy)
      }.get()
    }
  }
}
