// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause

import Testing
import TldctlModel

/// An entry of a metadata page.
private func entry(_ name: String, _ size: Int) -> [UInt8] {
  let bytes = Array(name.utf8.prefix(62))
  return bytes + [UInt8](repeating: 0, count: 62 - bytes.count) + [UInt8(size & 255), UInt8(size >> 8)]
}

private func page(_ entries: [[UInt8]]) -> [UInt8] {
  [UInt8(entries.count), 0, 64, 0] + entries.flatMap { $0 }
}

private func little<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
  withUnsafeBytes(of: number.littleEndian) { Array($0) }
}

private func padded(_ bytes: [UInt8]) -> [UInt8] {
  bytes + [UInt8](repeating: 0, count: (8 - bytes.count % 8) % 8)
}

/// A record as the BPF program writes it.
private func record(
  tid: UInt32, tgid: UInt32 = 1, flags: RecordFlags = [], start: UInt32 = 8, capacity: UInt32 = 0,
  data: [UInt8] = [], changed: [UInt64] = [], meta: [UInt8] = []
) -> [UInt8] {
  var bytes = little(flags.rawValue) + little(tid) + little(tgid) + little(UInt32(1000))
  bytes += little(UInt64(123)) + little(UInt64(tid) << 12) + little(UInt64(tgid) << 12) + little(start) + little(capacity)
  bytes += little(UInt32(data.count)) + little(UInt32(meta.count))
  bytes += Array("comm\0garbage....".utf8.prefix(16)) + Array("leader\0.........".utf8.prefix(16))
  bytes += padded(data) + changed.flatMap { little($0) } + (meta.isEmpty ? [] : padded([0, 0, 0, 0] + meta))
  return bytes
}

private func snapshot(_ records: [UInt8]...) throws -> Snapshot {
  try Array(records.joined()).withUnsafeBytes { try Snapshot(stream: $0) }
}

@Suite struct SnapshotTests {
  @Test("Offsets of TLDs are the sums of the sizes before, each rounded up to 8")
  func offsets() {
    let tlds = MetadataPage(bytes: page([entry("a", 1), entry("b", 12), entry("c", 8)])).tlds
    #expect(tlds.map(\.offset) == [0, 8, 24])
    #expect(tlds.map(\.size) == [1, 12, 8])
    #expect(tlds.map(\.index) == [0, 1, 2])
  }

  @Test("An entry that is being written ends the table")
  func unready() {
    #expect(MetadataPage(bytes: page([entry("a", 4), entry("b", 0), entry("c", 8)])).tlds.count == 1)
  }

  @Test("A page may hold anything: nothing of it leads out of it, and what is odd is said")
  func hostile() {
    for count in [0, 1, 3, 4, 5, 67, 68, 69, 4096] {
      for _ in 0..<50 {
        let bytes = (0..<count).map { _ in UInt8.random(in: 0...255) }
        #expect(MetadataPage(bytes: bytes).tlds.count <= count / 64)
      }
    }
    #expect(MetadataPage(bytes: page([entry(String(repeating: "x", count: 62), 4)])).oddity != nil)
    #expect(MetadataPage(bytes: page([entry("a", 4), entry("a", 4)])).oddity != nil)
    #expect(MetadataPage(bytes: page([entry("", 4)])).oddity != nil)
    #expect(MetadataPage(bytes: page([entry("a", 4), entry("b", 4)])).oddity == nil)
  }

  @Test("Records are taken apart, and share the page that was written before them")
  func records() throws {
    let meta = page([entry("a", 4), entry("b", 8)])
    let found = try snapshot(
      record(tid: 5, data: Array(0..<16), meta: meta),
      record(tid: 6, flags: .sameMeta, capacity: 16, data: Array(16..<32)),
      record(tid: 9, tgid: 9, data: Array(0..<13), meta: page([entry("z", 13)])),
      record(tid: 10, tgid: 10, flags: .noMeta))
    #expect(found.records.map(\.tid) == [5, 6, 9, 10])
    #expect(found.records.map(\.page) == [0, 0, 1, nil])
    #expect(found.records[0].comm == Array("comm".utf8))
    #expect(found.records[0].leaderComm == Array("leader".utf8))
    #expect(found.records[1].capacity == 16)
    #expect(found.records[2].data == Array(0..<13))
    #expect(found.records[3].state == .unreadable)
    let processes = found.processes
    #expect(processes.map(\.pid) == [1, 9, 10])
    #expect(processes[0].threads.map(\.tid) == [5, 6])
    let tld = try #require(processes[0].page.tld(named: Array("b".utf8)))
    #expect(processes[0].threads[1].reading(of: tld) == .bytes([24, 25, 26, 27, 28, 29, 30, 31], isTorn: false))
  }

  @Test("A stream that ends in the middle of a record is an error, wherever it does")
  func cutStream() {
    let bytes = record(tid: 5, flags: .changed, data: Array(0..<16), changed: [1], meta: page([entry("a", 4)]))
    for length in 1..<bytes.count {
      #expect(throws: Failure.self) {
        try Array(bytes.prefix(length)).withUnsafeBytes { try Snapshot(stream: $0) }
      }
    }
  }

  @Test("A TLD beyond the thread's capacity, or its page, is absent")
  func absent() throws {
    let meta = page([entry("a", 4), entry("b", 4)])
    let found = try snapshot(
      record(tid: 1, capacity: 8, data: Array(0..<8), meta: meta), record(tid: 2, flags: .sameMeta, data: [1, 2, 3]))
    let tlds = found.pages[0].tlds
    #expect(found.records[0].reading(of: tlds[0]) == .bytes([0, 1, 2, 3], isTorn: false))
    #expect(found.records[0].reading(of: tlds[1]) == .absent)
    #expect(found.records[1].reading(of: tlds[0]) == .absent)
  }

  @Test("A value of several words that changed is torn; one of a word is not, unless it is not aligned")
  func torn() throws {
    let meta = page([entry("word", 8), entry("long", 16), entry("still", 16)])
    let found = try snapshot(
      record(tid: 1, flags: .changed, data: Array(0..<40), changed: [0b00101], meta: meta),
      record(tid: 2, flags: [.changed, .sameMeta], start: 12, data: Array(0..<40), changed: [0b00001]))
    func isTorn(_ thread: Int, _ tld: Int) -> Bool {
      if case .bytes(_, let isTorn) = found.records[thread].reading(of: found.pages[0].tlds[tld]) { isTorn } else { false }
    }
    #expect([0, 1, 2].map { isTorn(0, $0) } == [false, true, false])
    #expect(isTorn(1, 0))
  }

  @Test("A process that creates TLDs while it is read is there once, one that executes twice")
  func growing() throws {
    let small = page([entry("a", 4)]), large = page([entry("a", 4), entry("b", 4)]), other = page([entry("z", 4)])
    let grown = try snapshot(
      record(tid: 1, data: [1, 0, 0, 0, 0, 0, 0, 0], meta: small), record(tid: 2, data: Array(0..<16), meta: large))
    #expect(grown.processes.map { $0.tlds.count } == [2])
    let executed = try snapshot(record(tid: 1, meta: small), record(tid: 2, meta: other))
    #expect(executed.processes.count == 2)
  }

  @Test("States say how far values are to be believed")
  func states() throws {
    let found = try snapshot(
      record(tid: 1), record(tid: 2, flags: .stale), record(tid: 3, flags: .ended), record(tid: 4, flags: .badStart),
      record(tid: 5, flags: [.stale, .ended]))
    #expect(found.records.map(\.state) == [.current, .stale, .ended, .unreadable, .stale])
  }
}
