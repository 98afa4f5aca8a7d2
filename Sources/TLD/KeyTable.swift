// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The metadata page: which TLDs this process has. The page itself is the only
// truth about them; beside it the table knows the largest budget that was asked
// for. Creators exclude each other, readers wait for nobody.

import CTLD
import Synchronization

struct KeyTable {
  /// All zero at first.
  struct State: ~Copyable {
    let lock = Lock()
    /// The page, once a key was created; never taken back.
    let base = Atomic<UnsafeMutableRawPointer?>(nil)
    /// The largest dynamic budget asked for so far, in bytes.
    var largestAsk: ByteCount = 0
  }

  /// From whose budget a new TLD's bytes come.
  enum Origin {
    case dynamic
    /// `TLD_DEFINE_KEY`: the budget grows by it, and a TLD of that name and size
    /// is shared rather than refused.
    case `static`
  }

  let state: UnsafeMutablePointer<State>
  /// `tld_meta_p`, where the whole process finds the page.
  let announced: UnsafeMutablePointer<Atomic<UnsafeMutableRawPointer?>>
  let pageSize: ByteCount

  /// The page, or nil before any key was created.
  var page: MetadataPage? {
    guard let base = state.pointee.base.load(ordering: .acquiring) else { return nil }
    return MetadataPage(base: base, pageSize: pageSize)
  }

  // MARK: Creating

  /// Define a TLD and give its offset. Throws EINVAL, ENAMETOOLONG, EEXIST, ENOSPC,
  /// E2BIG, ENOMEM, EBUSY; no TLD and no budget has changed then.
  func create(_ name: UnsafePointer<CChar>?, size: ByteCount, budget: ByteCount,
              _ origin: Origin) throws(Errno) -> ByteCount {
    let name = try Self.check(name)
    guard size != 0 else { throw Errno(EINVAL) }

    state.pointee.lock.acquire()
    defer { state.pointee.lock.release() }
    let page = try openPage()
    if let existing = find(name, in: page) {
      guard origin == .static, existing.size == size else { throw Errno(EEXIST) }
      return existing.offset
    }
    return try append(name, size, budget, origin, to: page)
  }

  private func append(_ name: UnsafePointer<CChar>, _ size: ByteCount, _ budget: ByteCount,
                      _ origin: Origin, to page: MetadataPage) throws(Errno) -> ByteCount {
    let index = page.count
    guard index < page.capacity else { throw Errno(ENOSPC) }
    let limit = Wire.dataLimit(pageSize: pageSize)
    let offset = try endOfData(in: page)
    // Compared before it is rounded up, which SIZE_MAX would not survive.
    guard size > 0, size <= limit, offset + size.roundedUpTo8 <= limit else { throw Errno(E2BIG) }

    // A larger ask adds the difference, once.
    let ask = min(budget < 0 ? limit : budget, limit)
    var allowed = page.size + max(0, ask - state.pointee.largestAsk)
    if origin == .static { allowed += size.roundedUpTo8 }
    allowed = min(allowed, limit)
    guard origin == .static || offset + size.roundedUpTo8 <= allowed else { throw Errno(E2BIG) }

    page.fill(index, name: name, size: size)
    page.size = allowed
    state.pointee.largestAsk = max(ask, state.pointee.largestAsk)
    page.count = index + 1  // releases the entry: nobody sees half of it
    return offset
  }

  /// The page, made at the first use. Throws EBUSY where the kernel's user header,
  /// compiled into this process, has announced a page of its own.
  private func openPage() throws(Errno) -> MetadataPage {
    if let page {
      guard announced.pointee.load(ordering: .relaxed) == page.base else { throw Errno(EBUSY) }
      return page
    }
    guard let base = ctld_map(pageSize) else { throw Errno(ENOMEM) }
    let page = MetadataPage(base: base, pageSize: pageSize)
    page.stamp(ctld_image_stamp())
    guard announced.pointee.compareExchange(expected: nil, desired: base, ordering: .releasing).exchanged
    else {
      ctld_unmap(base, pageSize)
      throw Errno(EBUSY)
    }
    state.pointee.base.store(base, ordering: .releasing)
    return page
  }

  // MARK: Finding

  /// The offset of the TLD of that name. Throws EINVAL, ENOENT. Takes no lock.
  func find(_ name: UnsafePointer<CChar>?) throws(Errno) -> ByteCount {
    guard let name, name[0] != 0 else { throw Errno(EINVAL) }
    guard let page, let entry = find(name, in: page) else { throw Errno(ENOENT) }
    return entry.offset
  }

  /// The TLD that starts at `offset`. Throws EINVAL. Takes no lock.
  func entry(at offset: ByteCount) throws(Errno) -> TLDEntry {
    guard let page else { throw Errno(EINVAL) }
    var walk = EntryWalk(page)
    while let entry = walk.next(), entry.offset <= offset {
      if entry.offset == offset { return entry }
    }
    throw Errno(EINVAL)
  }

  /// The end of the last TLD that lies, with all before it, in the first `bytes`
  /// bytes of a block: every key below it may be used there. Takes no lock.
  func limit(within bytes: ByteCount) -> ByteCount {
    guard let page else { return 0 }
    var limit = 0
    var walk = EntryWalk(page)
    while let entry = walk.next(), entry.end <= bytes { limit = entry.end }
    return limit
  }

  /// The bytes that a new block must offer for data.
  var bytesPerThread: ByteCount {
    min(page?.size ?? 0, Wire.dataLimit(pageSize: pageSize))
  }

  private func find(_ name: UnsafePointer<CChar>, in page: MetadataPage) -> TLDEntry? {
    var walk = EntryWalk(page)
    while let entry = walk.next() {
      if Self.equal(page.name(at: entry.index), name) { return entry }
    }
    return nil
  }

  /// Where the next TLD starts. Throws EBUSY where the kernel's user header is writing
  /// an entry, and E2BIG where the sizes in the page, which the program may have
  /// overwritten, lead out of reach: nobody would find the TLD.
  private func endOfData(in page: MetadataPage) throws(Errno) -> ByteCount {
    var end = 0
    var walk = EntryWalk(page)
    while let entry = walk.next() { end = entry.end.roundedUpTo8 }
    guard walk.isComplete else { throw Errno(page.entrySize(at: walk.index) == 0 ? EBUSY : E2BIG) }
    return end
  }

  // MARK: Names

  private static func check(_ name: UnsafePointer<CChar>?) throws(Errno) -> UnsafePointer<CChar> {
    guard let name, name[0] != 0 else { throw Errno(EINVAL) }
    for i in 1..<MetadataPage.nameBytes where name[i] == 0 { return name }
    throw Errno(ENAMETOOLONG)
  }

  /// `stored` may lack its NUL: the page is the program's to write.
  private static func equal(_ stored: UnsafePointer<CChar>, _ name: UnsafePointer<CChar>) -> Bool {
    for i in 0..<MetadataPage.nameBytes {
      if stored[i] != name[i] { return false }
      if name[i] == 0 { return true }
    }
    return false
  }
}
