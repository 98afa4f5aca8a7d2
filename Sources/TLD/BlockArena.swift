// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Memory for blocks: whole pages that hold nothing else, because BPF sees, and may
// write, all of a page that is pinned.
//
//   chunk: | page records | data page | data page | ...   one mmap
//   data page of 128-byte blocks: | block | block | ... | (beyond 32 KiB: unused)
//
// A page's blocks are handed out once each, from low to high. BPF programs that
// run may use a block for a while after it was withdrawn, so its bytes are given to
// another thread only with the whole page, when all of it came back, and after the
// process got a fresh page at that address: the old one is then nobody's but the
// kernel's. The caller excludes other threads.

import CTLD

/// A data page. Lives in its chunk's first pages, which BPF never sees.
struct PageRecord {
  var address: UnsafeMutableRawPointer
  var next: UnsafeMutablePointer<PageRecord>?
  /// Bytes of each of its blocks; meaningless while the page is free.
  var blockSize: ByteCount
  /// How many of its blocks were ever handed out since the page was fresh.
  var handedOut: Int
  /// How many of these have not come back.
  var live: Int
}

/// One thread's memory: `size` bytes, zero when new, of which the first
/// `Wire.dataHeader` precede the data.
struct Block {
  let page: UnsafeMutablePointer<PageRecord>
  let offset: ByteCount
  let size: ByteCount

  var pageAddress: UnsafeMutableRawPointer { page.pointee.address }
  /// Where the data start in the page, as the formats say it.
  var start: ByteCount { offset + Wire.dataHeader }
  var data: UnsafeMutableRawPointer { pageAddress + start }
  var dataSize: ByteCount { size - Wire.dataHeader }
  /// At page offset 0 with nobody behind it: readable in every format.
  var isUniversal: Bool
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
  func hasRoom(for dataSize: ByteCount, universal: Bool) -> Bool {
    state.pointee.free != nil
      || !universal && state.pointee.open[sizeClass(blockSize(dataSize))] != nil
  }

  /// A zero-filled block for `dataSize` bytes of data, at most
  /// `Wire.dataLimit`. A universal block has a page to itself. Throws ENOMEM.
  func allocate(_ dataSize: ByteCount, universal: Bool) throws(Errno) -> Block {
    if universal {
      let page = try takeFreePage(blockSize: usable)
      return handOut(page, universal: true)
    }
    let blockSize = blockSize(dataSize)
    let sizeClass = sizeClass(blockSize)
    let page: UnsafeMutablePointer<PageRecord>
    if let open = state.pointee.open[sizeClass] {
      page = open
    } else {
      page = try takeFreePage(blockSize: blockSize)
      state.pointee.open[sizeClass] = page
    }
    let block = handOut(page, universal: false)
    if block.offset + 2 * blockSize > usable { state.pointee.open[sizeClass] = nil }
    return block
  }

  /// Take a block back. No map may have it any more.
  func release(_ block: Block) {
    let page = block.page
    page.pointee.live -= 1
    guard page.pointee.live == 0 else { return }
    if !block.isUniversal {
      let sizeClass = sizeClass(block.size)
      if state.pointee.open[sizeClass] == page { state.pointee.open[sizeClass] = nil }
    }
    // A page that the kernel will not replace (EINVAL, ENOMEM) is never used again.
    if ctld_discard(page.pointee.address, pageSize) == 0 { putFree(page) }
  }

  // MARK: Pages

  private func handOut(_ page: UnsafeMutablePointer<PageRecord>, universal: Bool) -> Block {
    let block = Block(page: page, offset: page.pointee.handedOut * page.pointee.blockSize,
                      size: page.pointee.blockSize, isUniversal: universal)
    page.pointee.handedOut += 1
    page.pointee.live += 1
    // Where a v1 reader looks for it; in the other formats these bytes are unused.
    (block.pageAddress + block.offset).storeBytes(of: UInt64(block.start), as: UInt64.self)
    return block
  }

  private func takeFreePage(blockSize: ByteCount) throws(Errno) -> UnsafeMutablePointer<PageRecord> {
    if state.pointee.free == nil { try mapChunk() }
    guard let page = state.pointee.free else { throw Errno(ENOMEM) }
    state.pointee.free = page.pointee.next
    page.pointee.next = nil
    page.pointee.blockSize = blockSize
    page.pointee.handedOut = 0
    page.pointee.live = 0
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
      (records + i).initialize(to: PageRecord(address: chunk + i * pageSize, next: nil,
                                              blockSize: 0, handedOut: 0, live: 0))
      putFree(records + i)
      i -= 1
    }
    state.pointee.pages += Self.pagesPerChunk - firstData
  }

  // MARK: Sizes

  private func blockSize(_ dataSize: ByteCount) -> ByteCount {
    max(Self.smallestBlock, (dataSize + Wire.dataHeader).roundedUpToPowerOfTwo)
  }

  private func sizeClass(_ blockSize: ByteCount) -> Int {
    blockSize.trailingZeroBitCount - Self.smallestBlock.trailingZeroBitCount
  }
}
