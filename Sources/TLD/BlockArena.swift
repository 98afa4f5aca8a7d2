// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Memory for blocks: whole pages that hold nothing else, because BPF sees, and may
// write, all of a page that is pinned.
//
//   chunk: | page records | data page | data page | ...   one mmap
//   data page: | 8 bytes, data | data | data | ... | (beyond 32 KiB: unused)
//
// A page's blocks are handed out once each, from low to high. BPF programs that
// run may use a block for a while after it was withdrawn, so its bytes are given to
// another thread only with the whole page, when all of it came back, and after the
// process got a fresh page at that address: the old one is then nobody's but the
// kernel's. A page with blocks that nobody had yet is not replaced before they are
// used up. The caller excludes other threads.

import CTLD

/// A data page. Lives in its chunk's first pages, which BPF never sees.
struct PageRecord {
  var address: UnsafeMutableRawPointer
  var next: UnsafeMutablePointer<PageRecord>?
  /// Bytes of each of its blocks; meaningless, as what follows, while the page is free.
  var blockSize: ByteCount = 0
  /// It has one block, at offset 0, that is readable in every format.
  var isUniversal = false
  /// Which of its blocks is handed out next. Those before it were, or are left out.
  var nextBlock = 0
  /// How many of those handed out have not come back.
  var live = 0
}

/// One thread's memory: a page's `index`th block, zero when new.
struct Block {
  let page: UnsafeMutablePointer<PageRecord>
  let index: UInt16

  var pageAddress: UnsafeMutableRawPointer { page.pointee.address }
  var size: ByteCount { page.pointee.blockSize }
  var offset: ByteCount { ByteCount(index) * size }
  /// Where the data start in the page, as the formats say it: never at 0.
  var start: ByteCount { max(offset, Wire.dataHeader) }
  var data: UnsafeMutableRawPointer { pageAddress + start }
  var dataSize: ByteCount { offset + size - start }
  var isUniversal: Bool { page.pointee.isUniversal }
}

struct BlockArena {
  /// No two threads share a cache line.
  static let smallestBlock: ByteCount = 64
  static let pagesPerChunk = 64
  private static let sizeClasses = 10  // 64 bytes to 32 KiB

  /// All zero at first.
  struct State: ~Copyable {
    /// The page from which blocks of a size are handed out, by size class.
    var open = InlineArray<10, UnsafeMutablePointer<PageRecord>?>(repeating: nil)
    var free: UnsafeMutablePointer<PageRecord>?
    /// Data pages in existence, for the tests: memory is bounded by live threads.
    var pages = 0
  }

  let state: UnsafeMutablePointer<State>
  let pageSize: ByteCount

  /// The part of a page that blocks may lie in.
  private var usable: ByteCount { min(pageSize, Wire.reachable) }

  /// Whether the next block costs no new memory.
  func hasFreeBlock(for dataSize: ByteCount, universal: Bool) -> Bool {
    state.pointee.free != nil || !universal && openPage(for: dataSize) != nil
  }

  /// A zero-filled block for `dataSize` bytes of data, at most
  /// `Wire.dataLimit`. A universal block has a page to itself. Throws ENOMEM.
  func allocate(_ dataSize: ByteCount, universal: Bool) throws(Errno) -> Block {
    if universal {
      let page = try takeFreePage(blockSize: usable)
      page.pointee.isUniversal = true
      // Where a v1 reader looks for the start.
      page.pointee.address.storeBytes(of: UInt64(Wire.dataHeader), as: UInt64.self)
      return handOut(page)
    }
    var page = openPage(for: dataSize)
    if page == nil { page = try openNewPage(for: dataSize) }
    let block = handOut(page!)
    if block.page.pointee.nextBlock == blocks(for: dataSize).upperBound { close(block.page) }
    return block
  }

  /// Take a block back. No map may have it any more.
  func release(_ block: Block) {
    block.page.pointee.live -= 1
    if !isOpen(block.page) { replaceIfUnused(block.page) }
  }

  // MARK: Open pages

  /// The page whose next block can hold that much data.
  private func openPage(for dataSize: ByteCount) -> UnsafeMutablePointer<PageRecord>? {
    guard let page = state.pointee.open[sizeClass(blockSize(dataSize))] else { return nil }
    return blocks(for: dataSize).contains(page.pointee.nextBlock) ? page : nil
  }

  private func openNewPage(
    for dataSize: ByteCount
  ) throws(Errno) -> UnsafeMutablePointer<PageRecord> {
    let page = try takeFreePage(blockSize: blockSize(dataSize))
    page.pointee.nextBlock = blocks(for: dataSize).lowerBound
    let sizeClass = sizeClass(page.pointee.blockSize)
    if let former = state.pointee.open[sizeClass] { close(former) }
    state.pointee.open[sizeClass] = page
    return page
  }

  private func isOpen(_ page: UnsafeMutablePointer<PageRecord>) -> Bool {
    state.pointee.open[sizeClass(page.pointee.blockSize)] == page
  }

  private func close(_ page: UnsafeMutablePointer<PageRecord>) {
    state.pointee.open[sizeClass(page.pointee.blockSize)] = nil
    replaceIfUnused(page)
  }

  // MARK: Pages

  private func handOut(_ page: UnsafeMutablePointer<PageRecord>) -> Block {
    let block = Block(page: page, index: UInt16(page.pointee.nextBlock))
    page.pointee.nextBlock += 1
    page.pointee.live += 1
    return block
  }

  private func replaceIfUnused(_ page: UnsafeMutablePointer<PageRecord>) {
    guard page.pointee.live == 0 else { return }
    // A page that the kernel will not replace (EINVAL, ENOMEM) is never used again.
    if ctld_discard(page.pointee.address, pageSize) == 0 { putFree(page) }
  }

  private func takeFreePage(blockSize: ByteCount) throws(Errno) -> UnsafeMutablePointer<PageRecord> {
    if state.pointee.free == nil { try mapChunk() }
    guard let page = state.pointee.free else { throw Errno(ENOMEM) }
    state.pointee.free = page.pointee.next
    page.initialize(to: PageRecord(address: page.pointee.address, blockSize: blockSize))
    return page
  }

  private func putFree(_ page: UnsafeMutablePointer<PageRecord>) {
    page.pointee.next = state.pointee.free
    state.pointee.free = page
  }

  private func mapChunk() throws(Errno) {
    guard let chunk = ctld_map(Self.pagesPerChunk * pageSize) else { throw Errno(ENOMEM) }
    let recordBytes = Self.pagesPerChunk * MemoryLayout<PageRecord>.stride
    let firstData = (recordBytes + pageSize - 1) / pageSize
    let records = chunk.bindMemory(to: PageRecord.self, capacity: Self.pagesPerChunk)
    var i = Self.pagesPerChunk - 1
    while i >= firstData {  // so that low addresses are taken first
      (records + i).initialize(to: PageRecord(address: chunk + i * pageSize))
      putFree(records + i)
      i -= 1
    }
    state.pointee.pages += Self.pagesPerChunk - firstData
  }

  // MARK: Sizes

  /// Large data, of which a page holds few, have `Wire.dataHeader` to spare.
  private func blockSize(_ dataSize: ByteCount) -> ByteCount {
    let least = max(Self.smallestBlock, dataSize).roundedUpToPowerOfTwo
    return least > usable / 4 ? (dataSize + Wire.dataHeader).roundedUpToPowerOfTwo : least
  }

  /// Which blocks of a page can hold that much data. Data that fill a block are not put in
  /// the first, where something precedes them, nor in the last: the kernel's BPF header
  /// finds no TLD that ends with the page.
  private func blocks(for dataSize: ByteCount) -> Range<Int> {
    let blockSize = blockSize(dataSize), count = usable / blockSize
    return dataSize + Wire.dataHeader <= blockSize ? 0..<count : 1..<count - 1
  }

  private func sizeClass(_ blockSize: ByteCount) -> Int {
    blockSize.trailingZeroBitCount - Self.smallestBlock.trailingZeroBitCount
  }
}
