// `muster counter`: BFT-SMaRt's CounterClient against any replica that runs its counter.

import Foundation
import ServiceClient

/// What `muster counter` is told, as BFT-SMaRt's CounterClient is.
public struct CounterOptions: Equatable, Sendable {
  /// The client id.
  public var id: Int
  /// What each operation adds; 0 reads unordered.
  public var increment: Int32
  public var operations: Int
  /// How each operation is asked for; nil for ordered, and unordered where the increment is 0.
  public var kind: InvocationKind?
  public var client: ClientOptions

  /// The kinds of invocation that may be asked for, for error messages and help.
  public static let kinds: [InvocationKind] = [.ordered, .unordered, .orderedHashed, .unorderedHashed]

  public init(
    id: Int, increment: Int32, operations: Int = 1000, kind: InvocationKind? = nil, client: ClientOptions
  ) {
    self.id = id
    self.increment = increment
    self.operations = operations
    self.kind = kind
    self.client = client
  }

  /// Reads the name of a kind.
  /// - Throws: `CommandFailure` with code 64.
  public static func kind(_ text: String) throws(CommandFailure) -> InvocationKind {
    guard let kind = kinds.first(where: { $0.rawValue == text }) else {
      throw .usage("--kind \(text): expected one of \(kinds.map(\.rawValue).joined(separator: ", "))")
    }
    return kind
  }
}

/// A client that increments a replicated counter and prints what comes back.
public enum CounterClient {
  /// Invokes `options.operations` times; one line per reply, as BFT-SMaRt's demonstration prints it.
  public static func run(_ options: CounterOptions) async throws {
    try await ClusterFolder(options.client).withClient(Int32(options.id), options.client) { proxy in
      try await invoke(options, proxy)
    }
  }

  private static func invoke(_ options: CounterOptions, _ proxy: ServiceProxy) async throws {
    let content = withUnsafeBytes(of: options.increment.bigEndian) { Array($0) }
    let kind = options.kind ?? (options.increment == 0 ? .unordered : .ordered)
    if kind.isUnordered, !proxy.servesUnordered {
      say("unordered requests are off (system.optimizations.readonly_requests): the reads are sent ordered")
    }
    for operation in 0..<options.operations {
      print("Invocation \(operation)", terminator: "")
      let reply = try await proxy.invoke(content, kind: kind)
      guard reply.count == 4 else {
        throw CommandFailure(
          .unavailable, "the reply has \(reply.count) bytes; expected 4, as the counter service sends")
      }
      let value = reply.withUnsafeBytes { Int32(bigEndian: $0.loadUnaligned(as: Int32.self)) }
      print(", returned value: \(value)")
    }
  }

  private static func say(_ line: String) {
    FileHandle.standardError.write(Data((line + "\n").utf8))
  }
}
