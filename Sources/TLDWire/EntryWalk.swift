// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The walk over a metadata page, the only one in Swift.

/// One TLD as the table has it. Its data are the bytes `offset..<end` of a block.
public struct TLDEntry: Equatable {
  public let index: Int
  public let offset: ByteCount
  public let size: ByteCount

  public var end: ByteCount { offset + size }

  public init(index: Int, offset: ByteCount, size: ByteCount) {
    self.index = index
    self.offset = offset
    self.size = size
  }
}

/// The TLDs in table order. An offset is the sum of the sizes before it, so the walk
/// ends where a size is not there yet (0: the kernel's user header, in a plugin say, is
/// writing the entry) or leads out of reach (hostile, or of more than a page).
public struct EntryWalk {
  private let page: MetadataPage
  private let count: Int
  private let limit: ByteCount
  /// The entry that `next` looks at.
  public private(set) var index = 0
  /// Where that one's data start.
  public private(set) var offset: ByteCount = 0

  public init(_ page: MetadataPage) {
    self.init(page, entries: page.count, limit: Wire.dataLimit(pageSize: page.pageSize))
  }

  /// Over a copy of a page's beginning, in which so many entries are; at most its capacity. A
  /// reader that shows what lies out of reach, too, sets the limit.
  public init(_ page: MetadataPage, entries: Int, limit: ByteCount) {
    self.page = page
    count = entries
    self.limit = limit
  }

  /// Why the walk has ended.
  public enum End {
    /// Every counted entry was passed.
    case complete
    /// The size of the next one is not there yet.
    case unfinishedEntry
    /// The data of the next one end where no thread's data can.
    case outOfReach
  }

  /// To be asked when `next` has given nil.
  public var end: End {
    if index == count { return .complete }
    return page.entrySize(at: index) == 0 ? .unfinishedEntry : .outOfReach
  }

  public mutating func next() -> TLDEntry? {
    guard index < count else { return nil }
    let entry = TLDEntry(index: index, offset: offset, size: page.entrySize(at: index))
    guard entry.size > 0, entry.end <= limit else { return nil }
    index += 1
    offset = entry.end.roundedUpTo8
    return entry
  }

  /// The next entry of that name; if there is none, the walk has ended.
  public mutating func find(_ name: Name) -> TLDEntry? {
    while let entry = next() {
      if name.equals(page.name(at: entry.index)) { return entry }
    }
    return nil
  }
}
