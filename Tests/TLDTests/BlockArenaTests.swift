// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause

import CTLD
import Glibc
import Testing

@testable import TLD

@Suite struct BlockArenaTests {
  // MARK: One block

  @Test("a block is a power of two, at least 64 bytes, aligned to its size, in the page's first 32 KiB",
        arguments: pageSizes)
  func shape(pageSize: Int) throws {
    let arena = Arena(pageSize)
    let usable = min(pageSize, 32_768)
    for dataSize in [0, 1, 8, 55, 56, 57, 64, 65, 120, 128, 129, 1000, 1017, 1024, 1025, 2040, 2041, 2048,
                     usable / 2, usable - 9, usable - 8] where dataSize <= usable - 8 {
      let block = try arena.allocate(dataSize)
      let needed = block.size > usable / 4 ? dataSize + 8 : dataSize
      #expect(block.size >= 64 && block.size.nonzeroBitCount == 1)
      #expect(block.size >= needed && (block.size == 64 || block.size <= usable / 4 || block.size / 2 < needed))
      #expect(block.size <= usable / 2 || block.size / 2 < dataSize + 8, "so much memory for \(dataSize) bytes")
      #expect(block.offset % block.size == 0)
      #expect(block.offset + block.size <= usable)
      #expect(block.start == (block.offset == 0 ? 8 : block.offset))
      #expect(block.data == block.pageAddress + block.start)
      #expect(block.dataSize == block.offset + block.size - block.start && block.dataSize >= dataSize)
      #expect(block.pageAddress.address % 4096 == 0)
      #expect(!block.isUniversal)
    }
  }

  @Test("a word more or less of data takes a larger or smaller block where it must", arguments: [
    (0, 64), (56, 64), (64, 64), (65, 128), (128, 128), (1017, 1024), (1024, 1024), (1025, 2048),
    (2040, 2048), (2041, 4096), (4088, 4096),
  ])
  func sizes(dataSize: Int, size: Int) throws {
    #expect(try Arena(4096).allocate(dataSize).size == size)
  }

  @Test("data that fill a block begin beyond the page's beginning, and end before the page does",
        arguments: pageSizes)
  func fullBlocks(pageSize: Int) throws {
    let arena = Arena(pageSize)
    let usable = min(pageSize, 32_768)
    for size in [64, 128, 256, 512, 1024] {
      let count = usable / size
      for dataSize in [size, size - 7] {
        let offsets = try (1..<count - 1).map { _ in try arena.allocate(dataSize).offset }
        #expect(offsets == (1..<count - 1).map { size * $0 })
      }
      let offsets = try (0..<count).map { _ in try arena.allocate(size - 8).offset }
      #expect(offsets == (0..<count).map { size * $0 }, "room that there is was not used")
    }
  }

  @Test("a universal block begins its page with the number 8, has data at 8 and nobody behind it",
        arguments: pageSizes)
  func universal(pageSize: Int) throws {
    let arena = Arena(pageSize)
    var pages: Set<UnsafeMutableRawPointer> = []
    for dataSize in [0, 8, 64, 1000] {
      let block = try arena.allocate(dataSize, universal: true)
      #expect(block.isUniversal && block.offset == 0 && block.start == 8)
      #expect(block.data == block.pageAddress + 8)
      #expect(block.pageAddress.bytes(0..<8) == [8, 0, 0, 0, 0, 0, 0, 0])
      #expect(block.dataSize == min(pageSize, 32_768) - 8, "it holds whatever a table may hold")
      #expect(pages.insert(block.pageAddress).inserted)
      let packed = try arena.allocate(dataSize)
      #expect(pages.insert(packed.pageAddress).inserted || packed.page.pointee.live > 1)
      #expect(packed.pageAddress != block.pageAddress)
    }
  }

  @Test("blocks of a size share pages, those of different sizes do not", arguments: pageSizes)
  func packing(pageSize: Int) throws {
    let arena = Arena(pageSize)
    let usable = min(pageSize, 32_768)
    let small = try (0..<usable / 64).map { try arena.allocate([56, 64, 0][$0 % 4 % 3]) }
    #expect(Set(small.map(\.pageAddress)).count == 1, "a page was left before it was full")
    #expect(small.map(\.offset) == (0..<usable / 64).map { 64 * $0 })
    let large = try arena.allocate(100)
    #expect(large.pageAddress != small[0].pageAddress)
    #expect(try arena.allocate(56).pageAddress != large.pageAddress)
    #expect(try arena.allocate(100).pageAddress == large.pageAddress)
  }

  @Test("whether the next block costs memory is known before", arguments: pageSizes)
  func room(pageSize: Int) throws {
    let arena = Arena(pageSize)
    for i in 0..<400 {
      let universal = i % 3 == 0
      let dataSize = [0, 100, 3000, 64][i % 4]
      let hadRoom = arena.arena.hasFreeBlock(for: dataSize, universal: universal)
      let pages = arena.pages
      _ = try arena.allocate(dataSize, universal: universal)
      #expect((arena.pages == pages) == hadRoom)
    }
  }

  // MARK: Reuse

  @Test("no byte is given out again before all of its page came back", arguments: pageSizes)
  func wholePages(pageSize: Int) throws {
    let arena = Arena(pageSize)
    let slots = min(pageSize, 32_768) / 64
    var blocks = try (0..<slots).map { _ in try arena.allocate(56) }
    let page = blocks[0].pageAddress
    let last = blocks.removeLast()
    for block in blocks { arena.release(block) }
    for _ in 0..<slots { #expect(try arena.allocate(56).pageAddress != page) }
    arena.release(last)
    #expect(try arena.allocate(0, universal: true).pageAddress == page, "and then it is used again")
  }

  @Test("a page that was handed out in part is used on after some or all of it came back, each block once",
        arguments: [56, 64])
  func openPage(dataSize: Int) throws {
    let arena = Arena(4096)
    let first = try arena.allocate(dataSize)
    memset(first.data, 0xFF, first.dataSize)
    arena.release(first)
    for i in 1..<(dataSize == 64 ? 62 : 64) {
      let block = try arena.allocate(dataSize)
      #expect(block.pageAddress == first.pageAddress && block.offset == first.offset + 64 * i)
      #expect(arena.isZero(block))
      memset(block.data, 0xFF, block.dataSize)
      #expect(!arena.freePages.contains(first.pageAddress), "a page was replaced that has unused blocks")
      arena.release(block)
    }
    #expect(arena.freePages.contains(first.pageAddress), "a page without unused blocks was not replaced")
    let again = try arena.allocate(dataSize)
    #expect(again.pageAddress == first.pageAddress && again.offset == first.offset && arena.isZero(again))
  }

  @Test("a page of which all came back, and whose last block is too small, is replaced for one that is not")
  func openPageWithoutRoom() throws {
    let arena = Arena(4096)
    for _ in 0..<63 { arena.release(try arena.allocate(56)) }
    let page = try #require(arena.openPages.first)
    #expect(try arena.allocate(64).pageAddress != page)
    #expect(arena.freePages.contains(page))
    let last = try arena.allocate(64)
    #expect(last.offset == 128, "the page that was opened is not used on")
  }

  @Test("memory is zero when it is handed out, whatever its last user, or BPF, left in the page",
        arguments: pageSizes)
  func zeroFilled(pageSize: Int) throws {
    let arena = Arena(pageSize)
    var times: [UnsafeMutableRawPointer: Int] = [:]
    for round in 0..<2000 {
      let block = try arena.allocate(56, universal: round % 2 == 0)
      if block.isUniversal || block.offset == 0 { times[block.pageAddress, default: 0] += 1 }
      #expect(arena.isZero(block))
      memset(block.data, 0xFF, block.dataSize)
      // The last block's, too, is one that nobody else gets without a fresh page.
      if block.isUniversal || block.offset + block.size == min(pageSize, 32_768) {
        memset(block.pageAddress, 0xFF, pageSize)
      }
      arena.release(block)
    }
    #expect(times.count == 2 && times.values.allSatisfy { $0 > 2 }, "the pages were not reused, so this showed nothing")
  }

  @Test("a page that the program has locked in memory is made fresh too")
  func lockedPage() throws {
    let arena = Arena(4096)
    let block = try arena.allocate(56, universal: true)
    try #require(mlock(block.pageAddress, 4096) == 0)
    memset(block.pageAddress, 0xFF, 4096)
    arena.release(block)
    let again = try arena.allocate(56, universal: true)
    #expect(again.pageAddress == block.pageAddress)
    #expect(arena.isZero(again))
    munlock(block.pageAddress, 4096)
  }

  @Test("a page that the kernel will not make fresh is never handed out again")
  func sealedPage() throws {
    let arena = Arena(4096)
    let block = try arena.allocate(56, universal: true)
    memset(block.pageAddress, 0xFF, 4096)
    guard seal(block.pageAddress, 4096) else { return }  // before Linux 6.10
    arena.release(block)
    // Looked for before it could be handed out, which would be the end of this process.
    try #require(!arena.freePages.contains(block.pageAddress))
    for _ in 0..<200 { #expect(try arena.allocate(56, universal: true).pageAddress != block.pageAddress) }
  }

  @Test("a thousand pages in use, then none, then a thousand again cost a thousand pages")
  func memoryComesBack() throws {
    let arena = Arena(4096)
    for _ in 0..<3 {
      let blocks = try (0..<1000).map { _ in try arena.allocate(0, universal: true) }
      for block in blocks { arena.release(block) }
    }
    #expect(arena.pages <= 1000 + BlockArena.pagesPerChunk)
  }

  // MARK: Random sequences

  @Test("in random sequences no two live blocks share a byte, every block is fresh, and pages are few",
        arguments: pageSizes, 0..<4)
  func sequence(pageSize: Int, round: Int) throws {
    var random = SeededGenerator(round: pageSize + round)
    let arena = Arena(pageSize)
    var model = Model()
    let mostLive = [5, 60, 300, 300][round]
    let most = min(pageSize, 32_768) - 8
    for step in 0..<2000 {
      // Up to a crowd, down to nobody, and so on.
      let target = step / 400 % 2 == 0 ? mostLive : 0
      if model.live.count < target ? !random.oneIn(4) : random.oneIn(4), model.live.count < mostLive {
        let universal = random.oneIn(3)
        let dataSize = random.oneIn(4) ? random.below(most + 1) : random.below(200)
        let block = try arena.allocate(dataSize, universal: universal)
        #expect(block.isUniversal == universal && block.dataSize >= dataSize)
        #expect(arena.isZero(block), "step \(step)")
        model.add(block, step: step)
        memset(block.pageAddress + block.offset, 0xFF, block.size)
        // BPF programs that still have what was there before write into the old page,
        // and a program that runs wild into this one.
        if universal && random.oneIn(4) { memset(block.pageAddress, 0xEE, pageSize) }
      } else if !model.live.isEmpty {
        arena.release(model.remove(at: random.below(model.live.count)))
      }
      model.peak = max(model.peak, model.live.count)
    }
    let chunk = BlockArena.pagesPerChunk
    #expect(arena.pages <= (model.peak / (chunk - 1) + 1) * chunk, "more pages than blocks ever lived")
    while !model.live.isEmpty { arena.release(model.remove(at: 0)) }
    #expect(Set(arena.freePages).count == arena.freePages.count)
    #expect(Set(arena.freePages + arena.openPages).count == arena.pages, "a page was lost")
    #expect(arena.openPages.count <= 9, "more than one of each size is kept")
  }
}

// MARK: - The arena under test

private final class Arena {
  let arena: BlockArena

  init(_ pageSize: Int) {
    arena = BlockArena(state: zeroedState(of: BlockArena.State.self), pageSize: pageSize)
  }

  var pages: Int { arena.state.pointee.pages }

  /// Bounded, for a list that is broken may have no end.
  var freePages: [UnsafeMutableRawPointer] {
    var free: [UnsafeMutableRawPointer] = []
    var next = arena.state.pointee.free
    while let page = next, free.count <= pages {
      free.append(page.pointee.address)
      next = page.pointee.next
    }
    return free
  }

  var openPages: [UnsafeMutableRawPointer] {
    (0..<10).compactMap { arena.state.pointee.open[$0]?.pointee.address }
  }

  func allocate(_ dataSize: Int, universal: Bool = false) throws -> Block {
    try arena.allocate(dataSize, universal: universal)
  }

  func release(_ block: Block) { arena.release(block) }

  /// All of the data; for a universal block, all of its page but the first word.
  func isZero(_ block: Block) -> Bool {
    let end = block.isUniversal ? arena.pageSize : block.offset + block.size
    return block.data.isZero(end - block.start)
  }
}

/// Which bytes of which page somebody has.
private struct Model {
  var live: [Block] = []
  var peak = 0
  /// Bytes of a page that were given out since last nobody had any of it.
  private var used: [UnsafeMutableRawPointer: [Range<Int>]] = [:]

  mutating func add(_ block: Block, step: Int) {
    let bytes = block.offset..<block.offset + block.size
    let others = used[block.pageAddress, default: []]
    #expect(!others.contains { $0.overlaps(bytes) }, "step \(step): bytes given out twice")
    #expect(!block.isUniversal || others.isEmpty, "step \(step): a universal block has a neighbour")
    used[block.pageAddress] = others + [bytes]
    live.append(block)
  }

  mutating func remove(at index: Int) -> Block {
    let block = live.remove(at: index)
    if !live.contains(where: { $0.pageAddress == block.pageAddress }) { used[block.pageAddress] = nil }
    return block
  }
}

/// mseal(2): the page can be neither written, replaced nor unmapped any more.
private func seal(_ page: UnsafeMutableRawPointer, _ bytes: Int) -> Bool {
  typealias SystemCall = @convention(c) (Int, UInt, Int, UInt) -> Int
  guard let symbol = dlsym(nil, "syscall") else { return false }
  let call = unsafeBitCast(symbol, to: SystemCall.self)
  let mseal = 462
  return mprotect(page, bytes, PROT_READ) == 0 && call(mseal, page.address, bytes, 0) == 0
}
