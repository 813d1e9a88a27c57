// A service proxy, or sessions for load, in front of four stub replicas.

import Channels
import NIOCore
import PBFT
import ServiceClient
import TestSupport
import Wire

/// Four stubs and how clients reach them.
struct Stage: Sendable {
  let stubs: [StubReplica]
  let endpoints: [Endpoint]
  /// Where clients live.
  let loop: any EventLoop
  /// How clients and stubs speak.
  var dialect = ClientDialect.master
  var useMACs = false

  /// Runs `body` before stubs that do as `script` says; by default there are four, and they keep silent.
  static func with(
    transport: Transport = .memory, replicas: Int32 = 4, dialect: ClientDialect = .master,
    useMACs: Bool = false, script: @escaping StubReplica.Script = { _, _ in },
    _ body: (Stage) async throws -> Void
  ) async throws {
    try await withLoops(2) { loops in
      let stubs = (0..<replicas).map {
        StubReplica(id: $0, loop: loops[1], dialect: dialect, useMACs: useMACs, script: script)
      }
      var endpoints: [Endpoint] = []
      for stub in stubs { endpoints.append(try await stub.start(transport.place())) }
      let stage = Stage(
        stubs: stubs, endpoints: endpoints, loop: loops[0], dialect: dialect, useMACs: useMACs)
      do {
        try await body(stage)
      } catch {
        for stub in stubs { await stub.stop() }
        throw error
      }
      for stub in stubs { await stub.stop() }
    }
  }

  /// What a client of these stubs is told.
  var configuration: SessionConfiguration {
    var configuration = SessionConfiguration(
      replicas: Array(endpoints.prefix(4)), quorums: Quorums(replicas: 4, faults: 1)!)
    configuration.dialect = dialect
    configuration.useMACs = useMACs
    return configuration
  }

  static func signer(_ mode: SignatureMode = .none) throws -> RequestSigner {
    let ids = (0..<4).map { ReplicaID($0) }
    let keys = ClusterKeys.publiclyKnown(replicas: ids)
    return try RequestSigner(mode: mode, secrets: keys.generatorSecrets, replicas: ids, clientCapacity: 16)
  }

  /// Runs `body` with a connected proxy, which is closed afterwards.
  func withProxy(
    mode: SignatureMode = .none, timeoutSeconds: Double = 120,
    adjust: (inout SessionConfiguration) -> Void = { _ in }, _ body: (ServiceProxy) async throws -> Void
  ) async throws {
    var configuration = configuration
    adjust(&configuration)
    nonisolated(unsafe) let signer = try Self.signer(mode)
    let proxy = ServiceProxy(
      configuration: configuration, signer: signer, loop: loop,
      timeoutNanoseconds: Int64(timeoutSeconds * 1_000_000_000))
    do {
      try await proxy.connect(forAll: true)
      try await body(proxy)
    } catch {
      await proxy.close()
      throw error
    }
    await proxy.close()
  }
}

/// Scripts of several tests.
enum Scripts {
  /// Answers with the request's own content.
  static let echo: StubReplica.Script = { stub, request in stub.answer(request, request.content) }

  /// Answers with the stub's id and the request's content: no two agree.
  static let disagree: StubReplica.Script = { stub, request in
    stub.answer(request, [UInt8(stub.id)] + (request.content ?? []))
  }
}
