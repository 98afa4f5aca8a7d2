// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The formats, against numbers copied from docs/reference/wire.md rather than from the code.

import CTLD
import Glibc
import Testing

@testable import TLD

@Suite struct WireTests {
  // MARK: Sizes

  @Test("sizes round up to 8 bytes and to powers of two")
  func rounding() {
    #expect([0, 1, 7, 8, 9, 4081].map(\.roundedUpTo8) == [0, 8, 8, 8, 16, 4088])
    #expect([1, 2, 3, 64, 65, 4096].map(\.roundedUpToPowerOfTwo) == [1, 2, 4, 64, 128, 4096])
    let wrong = (1...70_000).first { n in
      let power = n.roundedUpToPowerOfTwo
      return n.roundedUpTo8 % 8 != 0 || n.roundedUpTo8 < n || n.roundedUpTo8 - n >= 8
        || power.nonzeroBitCount != 1 || power < n || power / 2 >= n
    }
    #expect(wrong == nil)
  }

  @Test("a thread's data end before the page does, and where a signed 16-bit number does",
        arguments: [(4096, 4088), (16_384, 16_376), (65_536, 32_760)])
  func dataLimit(pageSize: Int, limit: Int) {
    #expect(Wire.dataLimit(pageSize: pageSize) == limit)
  }

  @Test("a map's format is told by its value size")
  func formats() {
    let wrong = (0...70_000).first { size in
      MapFormat(valueSize: size) != (size == 16 ? .v1 : size == 24 ? .v2 : (25...65_536).contains(size) ? .native : nil)
    }
    #expect(wrong == nil)
    #expect(!MapFormat.v1.hasStartField)
    #expect(MapFormat.v2.hasStartField)
    #expect(MapFormat.native.hasStartField)
  }

  // MARK: Values

  @Test("a map's value has data, metadata, start and room at 0, 8, 16 and 18, and nothing else is written",
        arguments: [(MapFormat.v1, 16), (.v2, 24), (.native, 24)])
  func mapValue(format: MapFormat, written: Int) {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 8)
    defer { memory.deallocate() }
    memory.initializeMemory(as: UInt8.self, repeating: 0xA5, count: 64)

    MapValue(bytes: memory).set(data: UnsafeMutableRawPointer(bitPattern: 0x1122_3344_5566_7000)!,
                                meta: UnsafeMutableRawPointer(bitPattern: 0x0102_0304_0506_0000)!,
                                start: 0x7F08, room: 0x0348, format: format)
    let fields: [UInt8] = [0x00, 0x70, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
                           0x00, 0x00, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01,
                           0x08, 0x7F, 0x48, 0x03, 0x54, 0x4C, 0x44, 0x52]
    #expect(memory.bytes(0..<written) == Array(fields[0..<written]))
    #expect(memory.bytes(written..<64).allSatisfy { $0 == 0xA5 })
  }

  // MARK: The metadata page

  @Test("the count is at byte 0 and the size at byte 2", arguments: pageSizes)
  func header(pageSize: Int) {
    let page = TestPage(pageSize)
    page.page.count = 0x0021
    page.page.size = 0x0FF8
    #expect(page.base.bytes(0..<8) == [0x21, 0x00, 0xF8, 0x0F, 0, 0, 0, 0])
    #expect(page.page.count == 0x21)
    #expect(page.page.size == 0xFF8)
  }

  @Test("entry i is 62 bytes of name and a 16-bit size at 4 + 64 i",
        arguments: [(4096, 63), (16_384, 255), (65_536, 1023)])
  func entries(pageSize: Int, capacity: Int) {
    let page = TestPage(pageSize)
    #expect(page.page.capacity == capacity)
    for index in [0, 1, capacity / 2, capacity - 1] {
      page.base.initializeMemory(as: UInt8.self, repeating: 0xA5, count: pageSize)
      page.fill(index, name: "queue", size: 0x0102)
      let at = 4 + 64 * index
      #expect(page.base.bytes(at..<at + 5) == Array("queue".utf8))
      #expect(page.base.bytes(at + 5..<at + 62).allSatisfy { $0 == 0 }, "no old bytes behind a name")
      #expect(page.base.bytes(at + 62..<at + 64) == [0x02, 0x01])
      #expect(page.base.bytes(0..<at).allSatisfy { $0 == 0xA5 })
      #expect(page.base.bytes(at + 64..<pageSize).allSatisfy { $0 == 0xA5 })
      #expect(page.page.entrySize(at: index) == 0x102)
      #expect(UnsafeMutableRawPointer(page.page.name(at: index)) == page.base + at)
    }
  }

  @Test("the longest name fills 61 bytes and keeps its NUL")
  func longestName() {
    let page = TestPage(4096)
    page.base.initializeMemory(as: UInt8.self, repeating: 0xA5, count: 4096)
    page.fill(0, name: String(repeating: "n", count: 61), size: 1)
    #expect(page.base.bytes(4..<65).allSatisfy { $0 == UInt8(ascii: "n") })
    #expect(page.base.bytes(65..<68) == [0, 1, 0])
  }

  @Test("names are the same up to their NUL, whatever is behind that, and different in any byte before")
  func names() {
    let page = TestPage(4096)
    for length in 1...61 {
      let name = String(repeating: "n", count: length)
      page.base.initializeMemory(as: UInt8.self, repeating: 0xA5, count: 4096)
      page.fill(0, name: name, size: 1)
      let stored = page.page.name(at: 0)
      for i in length + 1..<62 { stored[i] = 7 }
      #expect(page.isNamed(name))
      #expect(!page.isNamed(name + "n") && (length == 1 || !page.isNamed(String(name.dropLast()))))
      for i in 0...length {
        let byte = stored[i]
        stored[i] = 7
        #expect(!page.isNamed(name), "byte \(i) of \(length)")
        stored[i] = byte
      }
    }
  }

  @Test("the image stamp is at page - 52, behind the magic TLD1 at page - 60", arguments: pageSizes)
  func stamp(pageSize: Int) {
    let page = TestPage(pageSize)
    page.base.initializeMemory(as: UInt8.self, repeating: 0, count: pageSize)
    page.page.stamp(0x0807_0605_0403_0201)
    #expect(page.base.bytes(pageSize - 60..<pageSize)
      == Array("TLD1".utf8) + [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8] + Array(repeating: 0, count: 44))
    #expect(page.base.bytes(0..<pageSize - 60).allSatisfy { $0 == 0 })
  }

  // MARK: Walking over entries

  @Test("offsets are the sums of the sizes before, each rounded up to 8")
  func walk() {
    let page = TestPage(4096)
    page.set(count: 5, sizes: [1, 8, 13, 4, 3000])
    #expect(page.entries == [
      TLDEntry(index: 0, offset: 0, size: 1), TLDEntry(index: 1, offset: 8, size: 8),
      TLDEntry(index: 2, offset: 16, size: 13), TLDEntry(index: 3, offset: 32, size: 4),
      TLDEntry(index: 4, offset: 40, size: 3000),
    ])
  }

  @Test("an entry that is being written hides itself and those behind it, whose offsets depend on it")
  func unfinishedEntry() {
    let page = TestPage(4096)
    page.set(count: 3, sizes: [4, 0, 4])
    #expect(page.entries.map(\.index) == [0])
    page.set(count: 3, sizes: [0, 4, 4])
    #expect(page.entries.isEmpty)
  }

  @Test("a TLD may end exactly where a thread's data must, and not a byte later",
        arguments: [(4096, 4088), (16_384, 16_376), (65_536, 32_760)])
  func lastByte(pageSize: Int, limit: Int) {
    let page = TestPage(pageSize)
    page.set(count: 1, sizes: [UInt16(limit)])
    #expect(page.entries.map(\.end) == [limit])
    page.set(count: 1, sizes: [UInt16(limit) + 1])
    #expect(page.entries.isEmpty)
    page.set(count: 2, sizes: [8, UInt16(limit) - 8])
    #expect(page.entries.map(\.end) == [8, limit])
    page.set(count: 2, sizes: [8, UInt16(limit) - 7])
    #expect(page.entries.map(\.end) == [8])
  }

  @Test("a hostile page leads nowhere outside the data, and to an end", arguments: pageSizes)
  func hostileWalk(pageSize: Int) {
    let page = TestPage(pageSize)
    for size in [0, 1, 7, 8, 0x7FFF, 0x8000, 0xFFF8, 0xFFFF] as [UInt16] {
      for count in [0, 1, 62, 63, 64, 255, 1023, 1024, 0x8000, 0xFFFF] as [UInt16] {
        page.set(count: count, sizes: Array(repeating: size, count: pageSize / 64 - 1))
        page.expectWalkAsModelled()
      }
    }
  }

  @Test("a walk over random bytes finds what docs/reference/wire.md says", arguments: pageSizes)
  func randomWalk(pageSize: Int) {
    var random = SeededGenerator(round: pageSize)
    let page = TestPage(pageSize)
    for _ in 0..<300 {
      let bound = [9, 100, 1000, 65_536][random.below(4)]
      let count = random.oneIn(2) ? random.below(65_536) : random.below(pageSize / 64 + 2)
      page.set(count: UInt16(count),
               sizes: (1..<pageSize / 64).map { _ in random.oneIn(200) ? 0 : UInt16(random.below(bound)) })
      page.expectWalkAsModelled()
    }
  }
}

/// A metadata page with nothing behind it: reading beyond its end is a fault.
final class TestPage {
  let base: UnsafeMutableRawPointer
  let pageSize: Int

  var page: MetadataPage { MetadataPage(base: base, pageSize: pageSize) }

  init(_ pageSize: Int) {
    self.pageSize = pageSize
    base = mmap(nil, pageSize + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)!
    precondition(base != MAP_FAILED && mprotect(base + pageSize, 4096, PROT_NONE) == 0)
  }

  deinit { munmap(base, pageSize + 4096) }

  /// Whether entry 0 has that name; false for one of 62 bytes, which nothing can have.
  func isNamed(_ name: String) -> Bool {
    name.withCString { Name($0)?.equals(page.name(at: 0)) ?? false }
  }

  func fill(_ index: Int, name: String, size: Int) {
    name.withCString { page.fill(index, name: Name($0)!, size: size) }
  }

  /// Written by offset, as a program that overwrites its page would.
  func set(count: UInt16, sizes: [UInt16]) {
    base.storeBytes(of: count, as: UInt16.self)
    for (i, size) in sizes.enumerated() {
      base.storeBytes(of: size, toByteOffset: 4 + 64 * i + 62, as: UInt16.self)
    }
  }

  var entries: [TLDEntry] {
    var walk = EntryWalk(page)
    var entries: [TLDEntry] = []
    while let entry = walk.next(), entries.count < 2000 { entries.append(entry) }
    return entries
  }

  func expectWalkAsModelled(sourceLocation: SourceLocation = #_sourceLocation) {
    let limit = [4096: 4088, 16_384: 16_376, 65_536: 32_760][pageSize]!
    var expected: [TLDEntry] = []
    var offset = 0
    for i in 0..<min(Int(base.word(at: 0, as: UInt16.self)), pageSize / 64 - 1) {
      let size = Int(base.word(at: 4 + 64 * i + 62, as: UInt16.self))
      if size == 0 || offset + size > limit { break }
      expected.append(TLDEntry(index: i, offset: offset, size: size))
      offset = (offset + size + 7) / 8 * 8
    }
    let found = entries
    let isAsModelled = found == expected  // apart, because both may be a thousand long
    #expect(isAsModelled, "\(found.count) entries, not \(expected.count)", sourceLocation: sourceLocation)
  }
}
