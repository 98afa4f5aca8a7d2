// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The library and tldctl on the same hostile pages: tables that a program made, with a few
// fields overwritten. Both find what docs/reference/wire.md says is there, and nothing outside the page.

import Testing
import TldctlModel

@testable import TLD

@Suite struct HostilePageTests {
  @Test("the library and tldctl find the same TLDs in a page with fields overwritten, but that tldctl shows those out of reach",
        arguments: pageSizes)
  func sameTLDs(pageSize: Int) {
    var random = SeededGenerator(round: pageSize + 1)
    let page = TestPage(pageSize)
    var ends: [EntryWalk.End: Int] = [:]
    for round in 0..<400 * 4096 / pageSize {
      page.makeTable(&random)
      for _ in 0..<random.below(4) { page.overwriteField(&random) }
      page.expectWalkAsModelled()
      let end = page.end
      ends[end, default: 0] += 1

      let read = page.readByTldctl
      let found = page.entries
      let all = read.tlds.map { TLDEntry(index: $0.index, offset: $0.offset, size: $0.size) }
      let isSame = Array(all.prefix(found.count)) == found && (all.count > found.count) == (end == .outOfReach)
      #expect(isSame, "round \(round): \(all.count) TLDs, not \(found.count)")
      if end == .outOfReach { #expect(all[found.count].end > Wire.dataLimit(pageSize: pageSize)) }
      let names = all.map { page.nameBytes(at: $0.index) }
      let isNamedSame = read.tlds.map(\.name) == names
      #expect(isNamedSame, "round \(round): other names")
      let isOdd = end == .outOfReach || Set(names).count < names.count || names.contains { $0.isEmpty || $0.count == 62 }
      #expect((read.oddity != nil) == isOdd, "round \(round): \(read.oddity ?? "nothing odd")")
      for _ in 0..<min(names.count, 8) {
        let name = names[random.below(names.count)]
        if name.isEmpty || name.count == 62 { continue }
        guard let tld = read.tld(named: name), tld.index < found.count || page.find(name) != nil else { continue }
        let isFoundSame = page.find(name) == tld.offset
        #expect(isFoundSame, "round \(round): another TLD of the name \(name)")
      }
    }
    #expect(pageSize > 4096 || ends.count == 3 && ends.values.min()! > 20, "each end is tried: \(ends)")
  }

  @Test("a copy that ends within an entry, or the header, has the TLDs before it")
  func shortCopies() {
    var random = SeededGenerator(round: 3)
    let page = TestPage(4096)
    page.makeTable(&random)
    let whole = page.base.bytes(0..<4096)
    // tldctl lists those out of reach, too.
    let entries = Array(0..<Int(page.base.loadUnaligned(as: UInt16.self)))
    for bytes in 0..<4096 {
      let tlds = MetadataPage(bytes: Array(whole.prefix(bytes)), pageSize: 4096).tlds
      let isPrefix = tlds.map(\.index) == Array(entries.prefix(max(0, bytes - 4) / 64))
      #expect(isPrefix, "\(bytes) bytes")
    }
  }
}

/// tldctl's, not the library's.
private typealias MetadataPage = TldctlModel.MetadataPage

extension TestPage {
  /// As many TLDs as fit, of small sizes or large ones.
  fileprivate func makeTable(_ random: inout SeededGenerator) {
    base.initializeMemory(as: UInt8.self, repeating: 0, count: pageSize)
    let largest = [8, 30, 100, 3000][random.below(4)]
    let capacity = pageSize / 64 - 1
    let count = random.oneIn(3) ? capacity : 1 + random.below(capacity)
    for index in 0..<count { fill(index, name: "name \(index)", size: 1 + random.below(largest)) }
    base.storeBytes(of: UInt16(count), as: UInt16.self)
  }

  /// A field of the header or of an entry, most often one that counts.
  fileprivate func overwriteField(_ random: inout SeededGenerator) {
    let capacity = pageSize / 64 - 1
    let counted = min(Int(base.word(at: 0, as: UInt16.self)), capacity)
    let entry = 4 + 64 * random.below(random.oneIn(4) ? capacity : max(1, counted))
    switch random.below(8) {
    case 0: base.storeBytes(of: UInt16([0, 1, capacity, capacity + 1, 0x8000, 0xFFFF][random.below(6)]), as: UInt16.self)
    case 1: base.storeBytes(of: UInt16(random.below(65_536)), toByteOffset: 2, as: UInt16.self)
    case 2: base.storeBytes(of: 0, toByteOffset: entry + 62, as: UInt16.self)
    case 3:
      let size = [1, 7, 9, pageSize / 2, pageSize - 8, pageSize - 7, 32_760, 32_761, 0xFFFF][random.below(9)]
      base.storeBytes(of: UInt16(clamping: size), toByteOffset: entry + 62, as: UInt16.self)
    case 4: (base + entry).initializeMemory(as: UInt8.self, repeating: UInt8(ascii: "x"), count: 62)
    case 5: base.storeBytes(of: 0, toByteOffset: entry, as: UInt8.self)
    case 6: (base + entry).copyMemory(from: base + 4, byteCount: 62)
    default:
      for _ in 0..<64 {
        base.storeBytes(of: UInt8(random.below(256)), toByteOffset: random.below(pageSize), as: UInt8.self)
      }
    }
  }

  fileprivate var end: EntryWalk.End {
    var walk = EntryWalk(page)
    while walk.next() != nil {}
    return walk.end
  }

  /// The beginning of the page, as tldctl's BPF program copies it.
  fileprivate var readByTldctl: MetadataPage {
    let count = min(Int(base.word(at: 0, as: UInt16.self)), pageSize / 64 - 1)
    return MetadataPage(bytes: base.bytes(0..<4 + 64 * count), pageSize: pageSize)
  }

  fileprivate func nameBytes(at index: Int) -> [UInt8] {
    Array(base.bytes(4 + 64 * index..<4 + 64 * index + 62).prefix { $0 != 0 })
  }

  fileprivate func find(_ name: [UInt8]) -> Int? {
    (name.map { CChar(bitPattern: $0) } + [0]).withUnsafeBufferPointer {
      var walk = EntryWalk(page)
      return walk.find(Name($0.baseAddress!)!)?.offset
    }
  }
}
