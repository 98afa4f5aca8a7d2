// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The metadata page of a process, as its TLDs. Every byte of it is hostile.

import Glibc
import TLDWire

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
  typealias Layout = TLDWire.MetadataPage

  /// The used part of the page: count, size, entries.
  public let bytes: [UInt8]
  public let tlds: [TLD]
  /// What is odd about the page, in words; nil if nothing is.
  public let oddity: String?

  /// `bytes` are as many as there are entries; an incomplete entry does not count. The page is
  /// of this machine's size, unless a test says otherwise.
  public init(bytes: [UInt8], pageSize: Int = Int(getpagesize())) {
    var tlds: [TLD] = [], oddity: String?, end = 0
    Self.walk(bytes, pageSize) { entry in
      let name = Array(Self.field(bytes, entry.index).prefix(Layout.nameBytes).prefix { $0 != 0 })
      if name.count == Layout.nameBytes { oddity = "a name without an end" }
      if name.isEmpty { oddity = "a TLD without a name" }
      if tlds.contains(where: { $0.name == name }) { oddity = "two TLDs of one name" }
      tlds.append(TLD(index: entry.index, name: name, size: entry.size, offset: entry.offset))
      end = entry.end
    }
    if end > Wire.dataLimit(pageSize: pageSize) { oddity = "TLDs larger than a page" }
    self.bytes = bytes
    self.tlds = tlds
    self.oddity = oddity
  }

  /// The library's walk, over a copy of the page; what lies out of reach is shown, without a value.
  private static func walk(_ bytes: [UInt8], _ pageSize: Int, _ body: (TLDEntry) -> Void) {
    bytes.withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress, bytes.count >= Layout.entriesOffset else { return }
      let page = Layout(base: UnsafeMutableRawPointer(mutating: base), pageSize: pageSize)
      let entries = (bytes.count - Layout.entriesOffset) / Layout.entryBytes
      var walk = EntryWalk(page, entries: min(entries, page.capacity), limit: Int.max)
      while let entry = walk.next() { body(entry) }
    }
  }

  private static func field(_ bytes: [UInt8], _ index: Int) -> ArraySlice<UInt8> {
    let at = Layout.entriesOffset + index * Layout.entryBytes
    return bytes[at..<at + Layout.entryBytes]
  }

  /// The first of that name, as BPF finds it.
  public func tld(named name: [UInt8]) -> TLD? {
    tlds.first { $0.name == name }
  }

  /// An entry as it stands in the page.
  public func entry(_ index: Int) -> ArraySlice<UInt8> {
    Self.field(bytes, index)
  }
}
