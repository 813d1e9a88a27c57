// Replicas that recover, and inputs to begin with: what a fresh one writes.

import Events
@testable import Hashing
import PBFT
@testable import Replication

/// One with small tables: it is made for every input.
func makeReplica() -> Replica {
  var configuration = ReplicaConfiguration()
  configuration.batchSize = 4
  configuration.maximumBatchRequests = 4
  configuration.checkpointPeriod = 2
  configuration.logMultiplier = 2
  configuration.maximumRequestBytes = 1 << 10
  configuration.maximumBatchBytes = 4 << 10
  configuration.maximumHeldBytes = 1 << 16
  configuration.maximumStoredRequests = 16
  configuration.maximumHeldRequests = 64
  configuration.maximumClients = 16
  configuration.durability = .async
  return Replica(
    configuration: configuration, id: ReplicaID(0), membership: four,
    service: Service.make(name: "counter", replyBytes: 0)!, timers: TimerFactory<Replica.Event>())
}

/// What a fresh replica writes to its log first: kind, length u16 and payload of each record.
func recordsOfAFreshReplica() -> [UInt8] {
  let timers = TimerFactory<Replica.Event>()
  let replica = Replica(
    configuration: makeReplica().configuration, id: ReplicaID(0), membership: four,
    service: Service.make(name: "counter", replyBytes: 0)!, timers: timers)
  let manager = EventManager<Replica>(queueCapacity: 64, timers: timers)
  manager.setReceiver(replica)
  manager.start()
  manager.inject(.start(recovering: false))
  var bytes: [UInt8] = []
  for case .persist(let offset, let count) in replica.effects {
    bytes.append(contentsOf: replica.durableBytes(offset: offset, count: count))
  }
  replica.effectsDone()
  manager.halt()
  let scan = DurableScan([DurableSegment(number: 1, bytes: bytes + [UInt8](repeating: 0, count: 64))])
  var records: [UInt8] = []
  for record in scan.records {
    records.put(record.kind.rawValue)
    records.put(UInt16(record.count))
    records.append(contentsOf: scan.bytes[record.offset..<record.offset + record.count])
  }
  return records
}

var stateOfNothing: [UInt8] {
  let records = recordsOfAFreshReplica()
  var offset = 0
  while records.count - offset >= 3 {
    let count = Int(records[offset + 1]) << 8 | Int(records[offset + 2])
    if records[offset] == DurableKind.state.rawValue {
      return Array(records[offset + 3..<offset + 3 + count])
    }
    offset += 3 + count
  }
  return []
}

var reconfigureRequest: [UInt8] {
  let prefix: [UInt8] =
    [0xac, 0xed, 0x00, 0x05, 0x73, 0x72, 0x00, 0x2b]
    + Array("bftsmart.reconfiguration.ReconfigureRequest".utf8)
    + [0xa5, 0x8a, 0x9a, 0x0a, 0x57, 0xed, 0x71, 0xb4, 0x0c, 0x00, 0x00, 0x78, 0x70]
  var data: [UInt8] = []
  data.put(Int32(7_002))
  data.put(Int32(2))
  data.put(Int32(2))
  data.put(UInt16(1))
  data += Array("1".utf8)
  data.put(Int32(0))
  data.put(UInt16(20))
  data += Array("4:10.0.0.5:110:11011".utf8)
  data.put(Int32(4))
  data += [1, 2, 3, 4]
  return prefix + [0x77, UInt8(data.count)] + data + [0x78]
}
