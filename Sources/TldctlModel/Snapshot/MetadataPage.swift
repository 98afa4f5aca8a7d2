// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The metadata page of a process, as its TLDs. Every byte of it is hostile.

/// One TLD of a process.
public struct TLD: Hashable, Sendable {
  /// Its place in the page.
  public let index: Int
  public let name: [UInt8]
  public let size: Int
  /// Its key: where it begins in a thread's data.
  public let offset: Int

  public init(index: Int, name: [UInt8], size: Int, offset: Int) {
    self.index = index
    self.name = name
    self.size = size
    self.offset = offset
  }
}

public struct MetadataPage: Equatable, Sendable {
  public static let headerSize = 4
  public static let entrySize = 64
  public static let nameSize = 62

  /// The used part of the page: count, size, entries.
  public let bytes: [UInt8]
  public let tlds: [TLD]
  /// What is odd about the page, in words; nil if nothing is.
  public let oddity: String?

  /// `bytes` are as many as there are entries; an incomplete entry does not count.
  public init(bytes: [UInt8]) {
    var tlds: [TLD] = [], offset = 0, oddity: String?
    let entries = max(bytes.count - Self.headerSize, 0) / Self.entrySize
    for index in 0..<entries {
      let at = Self.headerSize + index * Self.entrySize
      let size = Int(bytes[at + Self.nameSize]) | Int(bytes[at + Self.nameSize + 1]) << 8
      // Being written: where those behind it begin is not known yet.
      if size == 0 { break }
      let field = bytes[at..<at + Self.nameSize]
      let name = Array(field.prefix { $0 != 0 })
      if name.count == Self.nameSize { oddity = "a name without an end" }
      if name.isEmpty { oddity = "a TLD without a name" }
      if tlds.contains(where: { $0.name == name }) { oddity = "two TLDs of one name" }
      tlds.append(TLD(index: index, name: name, size: size, offset: offset))
      offset += (size + 7) / 8 * 8
    }
    if offset > 1 << 16 { oddity = "TLDs larger than a page" }
    self.bytes = bytes
    self.tlds = tlds
    self.oddity = oddity
  }

  /// The first of that name, as BPF finds it.
  public func tld(named name: [UInt8]) -> TLD? {
    tlds.first { $0.name == name }
  }

  /// An entry as it stands in the page.
  public func entry(_ index: Int) -> ArraySlice<UInt8> {
    let at = Self.headerSize + index * Self.entrySize
    return bytes[at..<at + Self.entrySize]
  }
}
