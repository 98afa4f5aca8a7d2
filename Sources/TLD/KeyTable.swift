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
    var walk = EntryWalk(page)
    if let existing = walk.find(name) {
      guard origin == .static, existing.size == size else { throw Errno(EEXIST) }
      return existing.offset
    }
    return try append(name, size, budget, origin, behind: walk, to: page)
  }

  /// Throws EINVAL, ENAMETOOLONG.
  private static func check(_ name: UnsafePointer<CChar>?) throws(Errno) -> Name {
    guard let name, name[0] != 0 else { throw Errno(EINVAL) }
    guard let name = Name(name) else { throw Errno(ENAMETOOLONG) }
    return name
  }

  /// Throws EBUSY where the kernel's user header is writing an entry, and E2BIG also where
  /// the sizes in the page, which the program may have overwritten, lead out of reach:
  /// nobody would find the TLD.
  private func append(_ name: Name, _ size: ByteCount, _ budget: ByteCount, _ origin: Origin,
                      behind walk: EntryWalk, to page: MetadataPage) throws(Errno) -> ByteCount {
    let index = page.count
    guard index < page.capacity else { throw Errno(ENOSPC) }
    switch walk.end {
    case .complete: break
    case .unfinishedEntry: throw Errno(EBUSY)
    case .outOfReach: throw Errno(E2BIG)
    }
    let limit = Wire.dataLimit(pageSize: pageSize)
    let offset = walk.offset
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
    guard let page, let name = Name(name) else { throw Errno(ENOENT) }
    var walk = EntryWalk(page)
    guard let entry = walk.find(name) else { throw Errno(ENOENT) }
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
}
