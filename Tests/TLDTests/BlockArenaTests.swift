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
    let most = min(pageSize, 32_768) - 8
    for dataSize in [0, 1, 8, 55, 56, 57, 64, 120, 121, 1000, 1016, 1017, 2040, 2041, most - 1, most]
    where dataSize <= most {
      let block = try arena.allocate(dataSize)
      #expect(block.size >= 64 && block.size.nonzeroBitCount == 1)
      #expect(block.size >= dataSize + 8 && (block.size == 64 || block.size / 2 < dataSize + 8))
      #expect(block.offset % block.size == 0)
      #expect(block.offset + block.size <= min(pageSize, 32_768))
      #expect(block.start == block.offset + 8)
      #expect(block.data == block.pageAddress + block.start)
      #expect(block.dataSize == block.size - 8)
      #expect(block.pageAddress.address % 4096 == 0)
      #expect(!block.isUniversal)
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
    let small = try (0..<usable / 64).map { _ in try arena.allocate(56) }
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
      let dataSize = [0, 100, 3000][i % 4 % 3]
      let hadRoom = arena.arena.hasRoom(for: dataSize, universal: universal)
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

  @Test("a page that was handed out in part is used on after some of it came back, never twice")
  func openPage() throws {
    let arena = Arena(4096)
    let first = try arena.allocate(56)
    let second = try arena.allocate(56)
    arena.release(first)
    let third = try arena.allocate(56)
    #expect(third.pageAddress == second.pageAddress && third.offset == 128)
    arena.release(second)
    arena.release(third)
    let fresh = try arena.allocate(56)
    #expect(fresh.offset == 0)
  }

  @Test("memory is zero when it is handed out, whatever its last user, or BPF, left in the page",
        arguments: pageSizes)
  func zeroFilled(pageSize: Int) throws {
    let arena = Arena(pageSize)
    var seen: Set<UnsafeMutableRawPointer> = []
    for round in 0..<200 {
      let block = try arena.allocate(56, universal: round % 2 == 0)
      seen.insert(block.pageAddress)
      #expect(arena.isZero(block))
      memset(block.pageAddress, 0xFF, pageSize)
      arena.release(block)
    }
    #expect(seen.count <= 2, "the pages were not reused, so this showed nothing")
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
    #expect(arena.freePages.count == arena.pages && Set(arena.freePages).count == arena.pages, "a page was lost")
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

  func allocate(_ dataSize: Int, universal: Bool = false) throws -> Block {
    try arena.allocate(dataSize, universal: universal)
  }

  func release(_ block: Block) { arena.release(block) }

  /// All of the block but the first word; for a universal block, all of its page.
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
