// The network between hosts: delay, loss, duplication, reordering, one-way and partial cuts, clogged links. It decides
// from the schedule's chance and knows nothing of what it carries.

/// What every link does; shares are of 1,024.
struct LinkQuality: Sendable {
  var leastDelayNanoseconds: Int64 = 50_000
  var delaySpreadNanoseconds: Int64 = 400_000
  var lossShare = 0
  var duplicateShare = 0
  /// Packets that take `tailFactor` times as long.
  var tailShare = 0
  var tailFactor: Int64 = 20
  /// Whether a packet never overtakes an earlier one of the same link.
  var isInOrder = true
}

/// What becomes of one packet: up to two arrivals.
struct Passage {
  var first: Int64 = -1
  var second: Int64 = -1
}

final class Network {
  static let mostHosts = 24

  var quality = LinkQuality()
  /// Links on which nothing passes at the moment, [from × mostHosts + to].
  @exclusivity(unchecked) private var cuts: ContiguousArray<Bool>
  /// Until when a link holds everything back.
  @exclusivity(unchecked) private var cloggedUntil: ContiguousArray<Int64>
  @exclusivity(unchecked) private var lastArrival: ContiguousArray<Int64>
  @exclusivity(unchecked) private(set) var lost = 0

  init() {
    let links = Network.mostHosts * Network.mostHosts
    cuts = ContiguousArray(repeating: false, count: links)
    cloggedUntil = ContiguousArray(repeating: 0, count: links)
    lastArrival = ContiguousArray(repeating: 0, count: links)
  }

  func reset(_ quality: LinkQuality) {
    self.quality = quality
    heal()
    for index in lastArrival.indices { lastArrival[index] = 0 }
    lost = 0
  }

  /// Ends all cuts and clogs.
  func heal() {
    for index in cuts.indices {
      cuts[index] = false
      cloggedUntil[index] = 0
    }
  }

  func cut(from: Int, to: Int, _ isCut: Bool) { cuts[from * Network.mostHosts + to] = isCut }

  /// Everything sent on the link arrives after `time`, in a heap.
  func clog(from: Int, to: Int, until time: Int64) { cloggedUntil[from * Network.mostHosts + to] = time }

  /// When a packet sent now arrives on the link between two hosts, if at all.
  @inline(__always)
  func passage(from: Int32, to: Int32, at now: Int64, _ chance: inout Chance) -> Passage {
    let link = Int(from) &* Network.mostHosts &+ Int(to)
    let bits = chance.bits()
    guard !cuts[link], Int(bits & 1_023) >= quality.lossShare else {
      lost &+= 1
      return Passage()
    }
    var arrival = now &+ delay(bits)
    if cloggedUntil[link] > arrival {
      arrival = cloggedUntil[link] &+ Int64((bits &>> 20) & 0xFFFF)
    }
    if quality.isInOrder {
      if arrival <= lastArrival[link] { arrival = lastArrival[link] &+ 1 }
      lastArrival[link] = arrival
    }
    var passage = Passage(first: arrival)
    if quality.duplicateShare > 0, Int((bits &>> 10) & 1_023) < quality.duplicateShare {
      passage.second = arrival &+ delay(chance.bits())
    }
    return passage
  }

  /// When a packet between a client and a host arrives; -1 = never. Such links are never cut, only bad.
  @inline(__always)
  func clientPassage(at now: Int64, _ chance: inout Chance) -> Int64 {
    let bits = chance.bits()
    guard Int(bits & 1_023) >= quality.lossShare else { return -1 }
    return now &+ delay(bits)
  }

  @inline(__always)
  private func delay(_ bits: UInt64) -> Int64 {
    var delay = quality.leastDelayNanoseconds
    if quality.delaySpreadNanoseconds > 0 {
      delay &+= Int64(((bits &>> 32) &* UInt64(quality.delaySpreadNanoseconds)) &>> 32)
    }
    if quality.tailShare > 0, Int((bits &>> 22) & 1_023) < quality.tailShare { delay &*= quality.tailFactor }
    return delay
  }
}
