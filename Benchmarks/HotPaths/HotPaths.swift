// The paths every request takes, one benchmark each. Kept true: set-up is outside the measurement, inputs
// change from iteration to iteration where a cache could know them, and every result is used.

import Benchmark
import Foundation
import Hashing
import PBFT
import Results
import Wire
import Workload

/// Only what repeats exactly: with it `thresholds update` writes no clock's word into the thresholds.
private let exactOnly = ProcessInfo.processInfo.environment["MUSTER_BENCHMARK_EXACT"] != nil
private let timed: [BenchmarkMetric] = exactOnly ? [] : [.wallClock, .throughput]

/// Retains and releases beside the bytes, where counting them is possible: under Swift 6.3 the runtime hooks
/// that count end the process (https://github.com/ordo-one/benchmark/issues/349). An object allocated is in the
/// bytes anyway.
#if compiler(>=6.4)
  private let counted: [BenchmarkMetric] = [.allocatedBytes, .objectAllocCount, .retainCount, .releaseCount]
#else
  private let counted: [BenchmarkMetric] = [.allocatedBytes]
#endif

let benchmarks: @Sendable () -> Void = {
  Benchmark.defaultConfiguration = .init(
    metrics: counted + timed, warmupIterations: 10, scalingFactor: .kilo, maxDuration: .seconds(1),
    maxIterations: 2_000)
  frames()
  links()
  batches()
  sessions()
  generator()
}

/// Client frames: 1,000 requests without content, as a session writes and a replica reads them.
private func frames() {
  let output = UnsafeMutableRawBufferPointer.allocate(
    byteCount: ClientFrame.byteCount(content: 0, signature: 0), alignment: 16)
  let empty = UnsafeRawBufferPointer(start: nil, count: 0)
  func header(_ index: Int) -> ClientFrameHeader {
    ClientFrameHeader(
      sender: 10_000, membershipID: 0, kind: 0, session: 7, sequence: Int32(truncatingIfNeeded: index),
      operationID: Int32(truncatingIfNeeded: index))
  }
  Benchmark("client-frame-encode") { benchmark in
    var bytes = 0
    benchmark.measure { bytes &+= ClientFrame.encode(into: output, header: header($0), content: empty) }
    blackHole(bytes)
  }
  Benchmark("client-frame-decode") { benchmark in
    ClientFrame.encode(into: output, header: header(1), content: empty)
    let input = UnsafeRawBufferPointer(output)
    var sum: Int32 = 0
    benchmark.measure { _ in
      guard case .frame(let frame, _) = ClientFrame.decode(input, maximumLength: 1 << 20) else {
        fatalError("a frame of our own is not read")
      }
      sum &+= frame.sequence &+ frame.client
    }
    blackHole(sum)
  }
  tags(header)
}

/// `hmac` mode: a client's tags for four replicas, and one replica's check of its own.
private func tags(_ header: @escaping (Int) -> ClientFrameHeader) {
  let keys = BenchmarkKeys()
  let signer = try! RequestSigner(
    mode: .hmac, secrets: keys.cluster.generatorSecrets, replicas: keys.replicas, clientCapacity: 16)
  let verifier = try! RequestVerifier(
    mode: .hmac, secrets: keys.secrets(of: 1), replicas: keys.replicas, clientCapacity: 16)
  let frame = UnsafeMutableRawBufferPointer.allocate(
    byteCount: ClientFrame.byteCount(content: 0, signature: signer.maximumSignatureByteCount), alignment: 16)
  let empty = UnsafeRawBufferPointer(start: nil, count: 0)
  Benchmark("request-hmac-sign-verify") { benchmark in
    benchmark.measure { index in
      ClientFrame.encode(into: frame, header: header(index), content: empty)
      let count = signer.sign(frame)
      let bytes = UnsafeRawBufferPointer(rebasing: frame[..<count])
      guard case .frame(let view, _) = ClientFrame.decode(bytes, maximumLength: 1 << 20),
        verifier.verify(
          data: view.data, digest: .sha256(view.data), authenticator: view.signature, client: view.client)
          == .authentic
      else { fatalError("a request of our own is refused") }
    }
  }
}

/// A replica link: the votes of one turn (four prepares, four commits) sealed, opened and read.
private func links() {
  let keys = BenchmarkKeys()
  let (near, far) = keys.link(0, 1)
  var sealer = LinkSealer(keys: near)
  var opener = LinkOpener(keys: far)
  let writer = LinkBodyWriter()
  let output = UnsafeMutableRawBufferPointer.allocate(byteCount: 4_096, alignment: 16)
  let digest = Digest.sha256(UnsafeRawBufferPointer(start: nil, count: 0))
  var sequence: UInt64 = 0
  Benchmark("link-votes-seal-open") { benchmark in
    var votes = 0
    benchmark.measure { _ in
      writer.removeAll()
      for _ in 0..<4 {
        sequence &+= 1
        writer.append(Prepare(view: .zero, sequence: SequenceNumber(sequence), digest: digest))
        writer.append(Commit(view: .zero, sequence: SequenceNumber(sequence), digest: digest))
      }
      let count = sealer.seal(writer, into: output)
      guard case .body(let body, _) = opener.open(UnsafeRawBufferPointer(rebasing: output[..<count])) else {
        fatalError("a link frame of our own is refused")
      }
      var reader = LinkBodyReader(body)
      while case .message = reader.next() { votes &+= 1 }
    }
    precondition(votes == 8 * benchmark.scaledIterations.count)
  }
}

/// One batch of 100 requests through four pure replicas: arrival, agreement, execution, replies; without
/// codec, verification and hashing of requests, which are measured above.
private func batches() {
  let cluster = MadeOnce {
    let cluster = PureCluster(requestsPerBatch: 100)
    // Several checkpoints and twice through the log: from here on everything is a reuse.
    for _ in 0..<1_300 {
      cluster.prepareBatch()
      cluster.runBatch()
    }
    return cluster
  }
  Benchmark(
    "replicas-batch-of-100",
    configuration: .init(warmupIterations: 10, scalingFactor: .one, maxDuration: .seconds(2))
  ) { benchmark in
    let cluster = cluster.value
    cluster.prepareBatch()
    benchmark.measure { _ in cluster.runBatch() }
  }
  // What happens once per checkpoint is beyond the 90th percentile of single batches; here it is in every
  // sample.
  Benchmark(
    "replicas-checkpoint-period",
    configuration: .init(
      metrics: [.allocatedBytes], warmupIterations: 1, scalingFactor: .one, maxDuration: .seconds(2))
  ) { benchmark in
    let cluster = cluster.value
    benchmark.measure { _ in
      for _ in 0..<cluster.checkpointPeriod {
        cluster.prepareBatch()
        cluster.runBatch()
      }
    }
  }
}

/// 100 sessions that send once and hear from four stub replicas, through the memory transport: submission,
/// frames, one flush per turn, reply quorum, completion. References are not counted: two threads take part.
private func sessions() {
  let round = MadeOnce { SessionRound(sessions: 100) }
  Benchmark(
    "client-sessions-round-of-100",
    configuration: .init(
      metrics: [.allocatedBytes] + timed, warmupIterations: 100, scalingFactor: .one, maxDuration: .seconds(2)
    )
  ) { benchmark in
    let round = round.value
    benchmark.startMeasurement()
    let allocated = round.run()
    benchmark.stopMeasurement()
    benchmark.measurement(.allocatedBytes, allocated)
  }
}

/// What the generator does for each request besides sending it.
private func generator() {
  var constant = Schedule(arrival: .constant, ratePerSecond: 123_456.7, seed: 1)
  Benchmark("schedule-next-constant") { benchmark in
    var last: Int64 = 0
    benchmark.measure { _ in last = constant.next() }
    blackHole(last)
  }
  var poisson = Schedule(arrival: .poisson, ratePerSecond: 123_456.7, seed: 1)
  Benchmark("schedule-next-poisson") { benchmark in
    var last: Int64 = 0
    benchmark.measure { _ in last = poisson.next() }
    blackHole(last)
  }
  let histogram = HistogramBox()
  Benchmark("histogram-record") { benchmark in
    benchmark.measure { histogram.values.record(UInt64(1_000 &+ $0 &* 7_919)) }
  }
}

/// Something that takes a while to make, made by the first warm-up: a process is started for each benchmark,
/// and another one only lists them.
private final class MadeOnce<Value> {
  private let make: () -> Value
  private(set) lazy var value = make()

  init(_ make: @escaping () -> Value) { self.make = make }
}

private final class HistogramBox {
  var values = LatencyHistogram.nanoseconds()
}
