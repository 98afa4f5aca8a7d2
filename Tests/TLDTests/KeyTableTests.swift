// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause

import CTLD
import Glibc
import Synchronization
import Testing

@testable import TLD

/// What a thread's data can take: docs/reference/wire.md's numbers.
private let limits = [4096: 4088, 16_384: 16_376, 65_536: 32_760]
private let capacities = [4096: 63, 16_384: 255, 65_536: 1023]

@Suite struct KeyTableTests {
  // MARK: Errors

  @Test("a name must be there, have 1 to 61 bytes, and its TLD at least one byte")
  func arguments() {
    let table = Table()
    #expect(errno { () throws(Errno) in try table.keys.create(nil, size: 4, budget: 64, .dynamic) } == EINVAL)
    #expect(table.create("", 4) == -EINVAL)
    #expect(table.create("a", 0) == -EINVAL)
    #expect(table.create(String(repeating: "n", count: 62), 4) == -ENAMETOOLONG)
    #expect(table.create(String(repeating: "n", count: 5000), 4) == -ENAMETOOLONG)
    #expect(table.keys.page == nil, "a refused call made a page")
    #expect(table.create(String(repeating: "n", count: 61), 4) == 0)
    #expect(table.create("a", 1) == 8)
  }

  @Test("names are bytes: not UTF-8, and different in the last byte only")
  func nameBytes() {
    let table = Table()
    let names: [[UInt8]] = [
      [0xFF, 0xFE], [0x80], [0xC3, 0x28], Array(repeating: 0xE9, count: 61),
      Array(repeating: 0xE9, count: 60), Array(repeating: 0xE9, count: 60) + [0xE8],
    ]
    for (i, name) in names.enumerated() {
      #expect(table.create(name, 3) == Int32(8 * i))
      #expect(table.create(name, 3) == -EEXIST)
    }
    for (i, name) in names.enumerated() { #expect(table.find(name) == Int32(8 * i)) }
  }

  @Test("a name exists once, whatever the size")
  func duplicates() {
    let table = Table()
    #expect(table.create("a", 4) == 0)
    #expect(table.create("a", 4) == -EEXIST)
    #expect(table.create("a", 5000) == -EEXIST)
    #expect(table.create("ab", 4) == 8)
    #expect(table.create("A", 4) == 16)
  }

  @Test("a static TLD is shared by name and size, and refused with another size")
  func sharing() {
    let table = Table()
    #expect(table.create("a", 4, .static) == 0)
    #expect(table.create("b", 12) == 8)
    let before = table.image
    #expect(table.create("a", 4, .static) == 0)
    #expect(table.create("b", 12, .static) == 8)
    #expect(table.create("a", 8, .static) == -EEXIST)
    #expect(table.create("a", 4, .dynamic) == -EEXIST)
    #expect(table.image == before)
  }

  @Test("as many TLDs as the page has entries, then ENOSPC", arguments: pageSizes)
  func capacity(pageSize: Int) {
    let table = Table(pageSize)
    for i in 0..<capacities[pageSize]! {
      #expect(table.create("k\(i)", 1, budget: .max) == Int32(8 * i))
    }
    #expect(table.create("one more", 1, budget: .max) == -ENOSPC)
    #expect(table.create("one more", 1, .static) == -ENOSPC)
    #expect(table.create("k7", 1, .static) == 56, "those that exist are still shared")
    #expect(table.create("k7", 1) == -EEXIST)
  }

  @Test("a TLD that no page could hold is too big", arguments: pageSizes)
  func tooBig(pageSize: Int) {
    let limit = limits[pageSize]!
    for origin in [KeyTable.Origin.dynamic, .static] {
      let table = Table(pageSize)
      for size in [limit + 1, limit + 8, pageSize, 65_535, 65_536, .max, .max - 7, .min, -1, -8] {
        #expect(table.create("a", size, budget: .max, origin) == -E2BIG, "\(size) bytes")
        #expect(table.create("a", size, budget: -1, origin) == -E2BIG, "\(size) bytes, SIZE_MAX asked")
      }
      #expect(table.create("a", limit, budget: .max, origin) == 0)
      #expect(table.create("b", 1, budget: .max, origin) == -E2BIG)
    }
  }

  @Test("the page of the kernel's user header is left alone")
  func foreignPage() {
    let early = Table()
    let foreign = zeroedMemory(4096)
    early.announced.pointee.store(foreign, ordering: .relaxed)
    #expect(early.create("a", 4) == -EBUSY)
    #expect(early.keys.page == nil)
    #expect(early.announced.pointee.load(ordering: .relaxed) == foreign)
    #expect(foreign.bytes(0..<4096).allSatisfy { $0 == 0 })

    let late = Table()
    #expect(late.create("a", 4) == 0)
    late.announced.pointee.store(foreign, ordering: .relaxed)
    #expect(late.create("b", 4) == -EBUSY)
    #expect(late.find("a") == 0, "what was created before stays")
    #expect(foreign.bytes(0..<4096).allSatisfy { $0 == 0 })
  }

  @Test("a refused call changes neither the TLDs nor the budget")
  func refusedChangesNothing() {
    let table = Table()
    #expect(table.create("a", 8, budget: 64) == 0)
    let before = table.image
    #expect(table.create("", 8, budget: 4000) == -EINVAL)
    #expect(table.create("a", 8, budget: 4000) == -EEXIST)
    #expect(table.create("a", 16, budget: 4000, .static) == -EEXIST)
    #expect(table.create("b", 4088, budget: 4000) == -E2BIG)
    #expect(table.create(String(repeating: "n", count: 62), 8, budget: 4000) == -ENAMETOOLONG)
    #expect(table.image == before)
    #expect(table.create("b", 100, budget: 64) == -E2BIG, "a refused call raised the budget")
    #expect(table.create("b", 100, budget: 112) == 8)
    #expect(table.keys.page?.size == 112)
  }

  // MARK: Finding

  @Test("a TLD is found by name once it is created, and by its offset")
  func finding() {
    let table = Table()
    #expect(errno { () throws(Errno) in try table.keys.find(nil) } == EINVAL)
    #expect(table.find("") == -EINVAL)
    #expect(table.find("a") == -ENOENT)
    #expect(errno { () throws(Errno) in try table.keys.entry(at: 0) } == EINVAL)
    #expect(table.create("a", 13) == 0)
    #expect(table.create("b", 4) == 16)
    #expect(table.find("a") == 0)
    #expect(table.find("b") == 16)
    #expect(table.find("") == -EINVAL)
    #expect(table.find("c") == -ENOENT)
    #expect(table.find(String(repeating: "n", count: 100)) == -ENOENT)
    #expect(try! table.keys.entry(at: 16) == TLDEntry(index: 1, offset: 16, size: 4))
    for offset in [-16, -1, 8, 15, 17, 20, 24, 40_000] {
      #expect(errno { () throws(Errno) in try table.keys.entry(at: offset) } == EINVAL)
    }
  }

  @Test("the limit of a block is the end of the last TLD that lies wholly in it")
  func limit() {
    let table = Table()
    #expect(table.keys.limit(within: 4088) == 0)
    for (name, size) in [("a", 4), ("b", 13), ("c", 100)] { _ = table.create(name, size, budget: 4000) }
    // a 0..<4, b 8..<21, c 24..<124
    for (bytes, limit) in [(0, 0), (3, 0), (4, 4), (20, 4), (21, 21), (123, 21), (124, 124), (4088, 124)] {
      #expect(table.keys.limit(within: bytes) == limit, "of \(bytes) bytes")
    }
  }

  // MARK: Budgets

  @Test("the first ask is the page's size, a larger one adds the difference, once")
  func largestAsk() {
    let table = Table()
    #expect(table.create("a", 8, budget: 64) == 0)
    #expect(table.size == 64)
    #expect(table.create("b", 8, budget: 32) == 8)
    #expect(table.size == 64)
    #expect(table.create("c", 8, budget: 100) == 16)
    #expect(table.size == 100)
    #expect(table.create("d", 8, budget: 100) == 24)
    #expect(table.create("e", 8, budget: 64) == 32)
    #expect(table.size == 100)
    #expect(table.create("f", 56, budget: 100) == 40)
    #expect(table.create("g", 1, budget: 100) == -E2BIG, "8 bytes, with its padding, of 4")
  }

  @Test("a dynamic budget of 0 leaves room for static TLDs only")
  func noBudget() {
    let table = Table()
    #expect(table.create("a", 1, budget: 0) == -E2BIG)
    #expect(table.create("s", 12, budget: 0, .static) == 0)
    #expect(table.size == 16)
    #expect(table.create("a", 1, budget: 0) == -E2BIG)
    #expect(table.create("t", 1, budget: 0, .static) == 16)
    #expect(table.size == 24)
  }

  @Test("a static TLD adds its own bytes to the budget")
  func staticGrowth() {
    let table = Table()
    #expect(table.create("s", 20, budget: 64, .static) == 0)
    #expect(table.size == 88)
    #expect(table.create("a", 64, budget: 64) == 24)
    #expect(table.create("b", 1, budget: 64) == -E2BIG)
    #expect(table.create("t", 1, budget: 64, .static) == 88)
    #expect(table.size == 96)
    #expect(table.create("b", 1, budget: 64) == -E2BIG)
  }

  @Test("the size never says more than a page allows", arguments: pageSizes)
  func cap(pageSize: Int) {
    let limit = limits[pageSize]!
    for ask in [limit - 1, limit, limit + 1, 65_535, 65_536, .max, -1, .min] {
      let table = Table(pageSize)
      #expect(table.create("a", 1, budget: ask) == 0)
      #expect(table.size == min(ask < 0 ? .max : ask, limit))
      #expect(table.create("s", 1000, budget: ask, .static) == 8)
      #expect(table.size == limit)
      #expect(table.keys.bytesPerThread == limit)
      #expect(table.create("b", limit - 1008, budget: ask) == 1008)
      #expect(table.create("c", 1, budget: ask, .static) == -E2BIG)
    }
  }

  @Test("no bytes are asked for a thread before there is a TLD")
  func bytesPerThread() {
    let table = Table()
    #expect(table.keys.bytesPerThread == 0)
    #expect(table.create("a", 1, budget: 100) == 0)
    #expect(table.keys.bytesPerThread == 100)
  }

  // MARK: A program that writes its page

  @Test("a program may reset count and size, as the kernel's own test does", arguments: pageSizes)
  func reset(pageSize: Int) {
    let limit = limits[pageSize]!
    let table = Table(pageSize)
    #expect(table.create("value0", 4, budget: limit, .static) == 0)
    for dynamicSize in [64, 0, limit - 8] {
      // Keeps entry 0 and forgets the rest.
      table.poke(1, at: 0)
      table.poke(UInt16(8 + dynamicSize), at: 2)
      memset(table.base + 4 + 64, 0, 62 * 64)
      var used = 0
      while used + 8 <= dynamicSize && used / 8 < 62 {
        #expect(table.create("value\(1 + used / 8)", 4, budget: limit) == Int32(8 + used))
        used += 8
      }
      let next = table.create("one more", 4, budget: limit)
      let isFull = 2 + used / 8 > capacities[pageSize]!
      #expect(next == (isFull ? -ENOSPC : used + 8 <= dynamicSize ? Int32(8 + used) : -E2BIG))
      #expect(table.size == 8 + dynamicSize)
      #expect(table.find("value0") == 0)
    }
  }

  @Test("all TLDs may be forgotten and made anew, as often as one likes")
  func resetToNothing() {
    let table = Table()
    for round in 0..<100 {
      #expect(table.create("a", 4, budget: 64) == 0)
      #expect(table.create("round\(round)", 4, budget: 64) == 8)
      #expect(table.find("round\(round - 1)") == -ENOENT)
      table.poke(0, at: 0)
      table.poke(64, at: 2)
    }
  }

  @Test("while the kernel's user header, in a plugin say, is writing an entry, nobody waits for it")
  func unfinishedEntry() {
    let table = Table()
    #expect(table.create("a", 8, budget: 64) == 0)
    // It raises the count, writes the name, and the size last.
    table.poke(2, at: 0)
    memcpy(table.base + 4 + 64, "theirs", 6)
    #expect(table.find("theirs") == -ENOENT)
    #expect(table.create("b", 8, budget: 64) == -EBUSY)
    #expect(table.create("a", 8, budget: 64) == -EEXIST)
    #expect(table.find("a") == 0)
    table.poke(12, at: 4 + 64 + 62)
    #expect(table.find("theirs") == 8)
    #expect(table.create("b", 8, budget: 64) == 24)
  }

  @Test("a page overwritten at random gives errors or offsets within the data, and never a fault",
        arguments: pageSizes)
  func hostilePage(pageSize: Int) {
    var random = SeededGenerator(round: pageSize)
    let limit = limits[pageSize]!
    let table = Table(pageSize)
    #expect(table.create("a", 4) == 0)
    for round in 0..<max(60, 400 * 4096 / pageSize) {
      table.overwrite(&random)
      let size = [1, 8, 1000, limit][random.below(4)]
      let count = min(Int(table.base.word(at: 0, as: UInt16.self)), capacities[pageSize]!)
      let budget = [0, 64, .max][random.below(3)]
      let result = table.create("new\(round)", size, budget: budget, random.oneIn(2) ? .static : .dynamic)
      if result >= 0 {
        #expect(Int(result) % 8 == 0 && Int(result) + size <= limit)
        #expect(table.find("new\(round)") == result)
        #expect(Int(table.base.word(at: 0, as: UInt16.self)) == count + 1)
      } else {
        #expect([-ENOSPC, -E2BIG, -EBUSY].contains(result))
        #expect(table.find("new\(round)") == -ENOENT)
      }
      let found = table.find(table.randomName(&random))
      #expect([-ENOENT, -EINVAL].contains(found) || (0..<Int32(limit)).contains(found))
      #expect((0...limit).contains(table.keys.limit(within: random.below(limit + 1))))
      #expect((0...limit).contains(table.keys.bytesPerThread))
      let offset = random.below(66_000) - 200
      if let entry = try? table.keys.entry(at: offset) {
        #expect(entry.offset == offset && entry.size > 0 && entry.end <= limit)
      }
    }
  }

  @Test("a stored name without its NUL matches no name, and reading stops at its end")
  func unterminatedName() {
    let table = Table()
    #expect(table.create("a", 4) == 0)
    memset(table.base + 4, Int32(UInt8(ascii: "n")), 62)
    #expect(table.find(String(repeating: "n", count: 61)) == -ENOENT)
    #expect(table.find(String(repeating: "n", count: 62)) == -ENOENT)
    #expect(table.find(String(repeating: "n", count: 64)) == -ENOENT)
  }

  // MARK: Random sequences

  @Test("random creations give what a plain list of TLDs says",
        arguments: pageSizes, 0..<6)
  func sequence(pageSize: Int, round: Int) {
    var random = SeededGenerator(round: pageSize + round)
    let table = Table(pageSize)
    var model = Model(limit: limits[pageSize]!, capacity: capacities[pageSize]!)
    // Some sequences fill the table with small TLDs, some the page with large ones.
    let sizes = [[1, 4, 8, 13, 64, 500], [1, 2, 4, 8], [200, 1000, 4000]][round % 3]
    for step in 0..<(round % 3 == 1 ? capacities[pageSize]! * 3 / 2 : 200) {
      let name = random.oneIn(3) ? "key\(random.below(step + 1))" : "key\(step)"
      if random.oneIn(5) {
        #expect(table.find(name) == model.find(name), "step \(step)")
        continue
      }
      let size = random.oneIn(20) ? [0, 1 << 20, .max, -5][random.below(4)] : sizes[random.below(sizes.count)]
      let budget = random.oneIn(10) ? random.below(40_000) : [0, 64, 300][round % 3]
      let origin = random.oneIn(3) ? KeyTable.Origin.static : .dynamic
      let expected = model.create(name, size, budget, origin)
      #expect(table.create(name, size, budget: budget, origin) == expected,
              "step \(step): \(name), \(size) bytes of \(budget), \(origin)")
      if let page = table.keys.page {
        #expect(page.count == model.tlds.count && page.size == model.size, "step \(step)")
      }
    }
    var entries: [TLDEntry] = []
    var walk = EntryWalk(table.keys.page!)
    while let entry = walk.next() { entries.append(entry) }
    #expect(entries == model.tlds.enumerated().map {
      TLDEntry(index: $0, offset: $1.offset, size: $1.size)
    })
  }

  // MARK: Threads

  @Test("of two threads that create one name exactly one succeeds")
  func oneWinner() {
    for _ in 0..<50 {
      let table = Table()
      let results = Results(count: 4 * 15)
      inThreads(4) { thread in
        for i in 0..<15 { results[thread * 15 + i] = table.create("k\(i)", 4 + i, budget: 4000) }
      }
      for i in 0..<15 {
        let name = (0..<4).map { results[$0 * 15 + i] }
        #expect(name.count { $0 >= 0 } == 1 && name.count { $0 == -EEXIST } == 3, "\(name)")
        #expect(table.find("k\(i)") == name.max())
      }
    }
  }

  @Test("threads that share a static TLD all get its key")
  func sharedByThreads() {
    for _ in 0..<50 {
      let table = Table()
      let results = Results(count: 4 * 15)
      inThreads(4) { thread in
        for i in 0..<15 { results[thread * 15 + i] = table.create("k\(i)", 12, .static) }
      }
      for i in 0..<15 {
        let keys = Set((0..<4).map { results[$0 * 15 + i] })
        #expect(keys.count == 1 && keys.first! >= 0)
      }
      #expect(table.size == 64 + 15 * 16)
    }
  }

  @Test("whoever sees a TLD counted sees all of its entry", arguments: [4096, 65_536])
  func completeEntries(pageSize: Int) {
    let faults = Faults()
    let creators = 2
    for _ in 0..<(pageSize == 4096 ? 30 : 1) {
      let table = Table(pageSize)
      let capacity = capacities[pageSize]!
      let running = Running(creators)
      inThreads(creators + 1) { thread in
        if thread == creators {
          while running.any { table.check(faults) }
          table.check(faults)
        } else {
          for i in 0..<capacity {
            let key = table.create("t\(thread)-\(i)-" + String(repeating: "x", count: 40), 1 + i % 24,
                                   budget: .max)
            faults.add("creation gave \(key)", unless: key >= 0 || key == -ENOSPC)
          }
          running.oneEnds()
        }
      }
      faults.add("\(table.keys.page!.count) entries", unless: table.keys.page!.count == capacity)
    }
    #expect(faults.all.isEmpty)
  }
}

// MARK: - The table under test

private final class Table: @unchecked Sendable {
  let keys: KeyTable
  let announced: UnsafeMutablePointer<Atomic<UnsafeMutableRawPointer?>>

  init(_ pageSize: Int = 4096) {
    announced = zeroedMemory(64).assumingMemoryBound(to: Atomic<UnsafeMutableRawPointer?>.self)
    keys = KeyTable(state: zeroedState(of: KeyTable.State.self), announced: announced, pageSize: pageSize)
  }

  deinit { if let page = keys.page { ctld_unmap(page.base, keys.pageSize) } }

  var base: UnsafeMutableRawPointer { keys.page!.base }
  var size: Int { keys.page!.size }
  var image: [UInt8] { base.bytes(0..<keys.pageSize) }

  /// The offset, or a negative errno, as a key has it.
  func create(_ name: String, _ size: Int, budget: Int = 64, _ origin: KeyTable.Origin = .dynamic) -> Int32 {
    do { return Int32(try keys.create(name, size: size, budget: budget, origin)) } catch { return -error.code }
  }

  func create(_ name: [UInt8], _ size: Int) -> Int32 {
    (name + [0]).withUnsafeBytes { bytes in
      let name = bytes.baseAddress!.assumingMemoryBound(to: CChar.self)
      do throws(Errno) { return Int32(try keys.create(name, size: size, budget: 64, .dynamic)) } catch {
        return -error.code
      }
    }
  }

  func find(_ name: String) -> Int32 { find(Array(name.utf8)) }

  func find(_ name: [UInt8]) -> Int32 {
    (name + [0]).withUnsafeBytes { bytes in
      let name = bytes.baseAddress!.assumingMemoryBound(to: CChar.self)
      do throws(Errno) { return Int32(try keys.find(name)) } catch { return -error.code }
    }
  }

  func poke(_ value: UInt16, at offset: Int) { base.storeBytes(of: value, toByteOffset: offset, as: UInt16.self) }

  /// As a fault of the program would: all of it, a few bytes, or the sizes.
  func overwrite(_ random: inout SeededGenerator) {
    switch random.below(4) {
    case 0: for i in 0..<keys.pageSize { base.storeBytes(of: UInt8(random.below(256)), toByteOffset: i, as: UInt8.self) }
    case 1: for _ in 0..<20 { poke(UInt16(random.below(65_536)), at: random.below(keys.pageSize - 1)) }
    case 2: for i in 1..<keys.pageSize / 64 { poke(UInt16([0, 1, 8, 65_535][random.below(4)]), at: 64 * i + 2) }
    default: memset(base, 0, keys.pageSize)
    }
    if random.oneIn(2) { poke(UInt16(random.below(70)), at: 0) }
    if random.oneIn(2) { poke(UInt16([0, 64, 4088, 65_535][random.below(4)]), at: 2) }
  }

  /// Bytes that stand where a name is stored.
  func randomName(_ random: inout SeededGenerator) -> [UInt8] {
    let at = 4 + 64 * random.below(keys.pageSize / 64 - 1)
    return Array(base.bytes(at..<at + 62).prefix { $0 != 0 })
  }

  /// What a reader may rely on at any time, read as BPF would.
  func check(_ faults: Faults) {
    guard let page = keys.page else { return }
    let count = page.count
    var end = 0
    for i in 0..<count {
      let name = page.name(at: i)
      let size = page.entrySize(at: i)
      let length = strnlen(name, 62)
      faults.add("entry \(i): a name of \(length) bytes", unless: length >= 44 && length < 62)
      guard length >= 44 else { continue }
      faults.add("entry \(i): a name cut short",
                 unless: name[0] == CChar(UInt8(ascii: "t")) && name[length - 1] == CChar(UInt8(ascii: "x")))
      faults.add("entry \(i): \(size) bytes", unless: (1...24).contains(size))
      end += (size + 7) / 8 * 8
    }
    faults.add("the data end at \(end) of \(page.size) bytes", unless: end <= page.size)
    if count > 0 {
      let found = find(String(cString: page.name(at: count - 1)))
      faults.add("the last entry is not found: \(found)", unless: found >= 0)
    }
  }
}

// MARK: - A model of it

/// A list of TLDs and two numbers.
private struct Model {
  let limit: Int
  let capacity: Int
  var tlds: [(name: String, offset: Int, size: Int)] = []
  var size = 0
  var largestAsk = 0

  func find(_ name: String) -> Int32 {
    tlds.first { $0.name == name }.map { Int32($0.offset) } ?? -ENOENT
  }

  mutating func create(_ name: String, _ bytes: Int, _ budget: Int, _ origin: KeyTable.Origin) -> Int32 {
    if bytes == 0 { return -EINVAL }
    if let old = tlds.first(where: { $0.name == name }) {
      return origin == .static && old.size == bytes ? Int32(old.offset) : -EEXIST
    }
    if tlds.count == capacity { return -ENOSPC }
    let offset = tlds.reduce(0) { $0 + ($1.size + 7) / 8 * 8 }
    if bytes < 0 || bytes > limit - offset { return -E2BIG }
    let rounded = (bytes + 7) / 8 * 8
    let ask = min(budget, limit)
    var newSize = size + (ask > largestAsk ? ask - largestAsk : 0)
    if origin == .static { newSize += rounded }
    newSize = min(newSize, limit)
    if offset + rounded > (origin == .static ? limit : newSize) { return -E2BIG }
    size = newSize
    largestAsk = max(largestAsk, ask)
    tlds.append((name, offset, bytes))
    return Int32(offset)
  }
}

// MARK: - Between threads

/// One slot for each result; no two threads share one.
private final class Results: @unchecked Sendable {
  private let slots: UnsafeMutablePointer<Int32>

  init(count: Int) {
    slots = .allocate(capacity: count)
    slots.initialize(repeating: 0, count: count)
  }

  deinit { slots.deallocate() }

  subscript(index: Int) -> Int32 {
    get { slots[index] }
    set { slots[index] = newValue }
  }
}

private final class Running: Sendable {
  private let count: Atomic<Int>

  init(_ count: Int) { self.count = Atomic(count) }

  var any: Bool { count.load(ordering: .acquiring) > 0 }
  func oneEnds() { count.subtract(1, ordering: .releasing) }
}
