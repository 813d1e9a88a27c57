// The scenario of `muster sweep` without a file: the newcomer's three minutes.
// Kept true: this text is what `--print-scenario` prints and what is run; there is no other copy of it.

extension Scenario {
  /// The file name that errors in the embedded text would show.
  public static let defaultName = "default scenario"

  /// Throughput and latency per signature mode and batch size, and what the request timeout changes.
  public static let defaultText = """
    # Muster's default scenario: throughput and latency of a four-replica PBFT cluster on this machine,
    # under an open loop, per signature mode and batch size; then two other request timeouts at one of
    # these settings.
    # Print it with `muster sweep --print-scenario`, change a copy, run the copy with `muster sweep copy.yml`.
    name: default
    seed: 1
    repeats: 1

    # Phases of each point. Numbers carry their unit: ms, s, min.
    warmup: 1s
    duration: 3s
    drain: 5s            # ends early when nothing is outstanding

    target:
      protocol: pbft
      service: log       # append log with a counter: every reply is audited
      transport: loopback
      replicas: 4
      faults: 1
      batch_timeout: 2ms
      request_timeout: 2s

    workload:
      arrival: poisson
      sessions: 256
      connections: 16    # per replica; equal to sessions means dedicated connections
      outstanding: 32    # per session at most, so that a short stall does not keep requests waiting for sessions
      payload: 0
      reply: 0

    # Each entry is crossed within itself; entries are listed one after the other; the seed shuffles the
    # order of the run. rate_share is a share of the capacity that a closed-loop probe of the same signature
    # mode and batch size finds.
    axes:
      - signatures: [none, hmac, sign:ecdsa-p256]
        batch_size: [1, 100]
        rate_share: [0.10, 0.25, 0.45, 0.65, 0.80]
      - signatures: none
        batch_size: 100
        rate_share: 0.45
        request_timeout: [500ms, 5s]

    """

  /// The embedded default scenario.
  public static func embedded() throws -> Scenario {
    try Scenario(yaml: defaultText, fileName: defaultName)
  }
}
