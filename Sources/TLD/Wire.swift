// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The formats that user space and BPF share, and nothing else: where each field
// lies in the metadata page, in a block and in a data map's value.

import CTLD
import Synchronization

/// An offset into a page, or a size, in bytes.
typealias ByteCount = Int

extension ByteCount {
  /// Rounded up to the 8 bytes to which every TLD is aligned.
  var roundedUpTo8: ByteCount { (self + 7) & ~7 }

  /// Rounded up to a power of two; `self` must be positive.
  var roundedUpToPowerOfTwo: ByteCount {
    1 << (ByteCount.bitWidth - (self - 1).leadingZeroBitCount)
  }
}

enum Wire {
  /// The bytes at a page's beginning that are no data; they hold `start` where a v1 reader looks.
  static let dataHeader: ByteCount = 8
  /// BPF caches `start + key` as a signed 16-bit number.
  static let reachable: ByteCount = 32_768

  /// The end of what one thread's data can take on pages of `pageSize` bytes.
  static func dataLimit(pageSize: ByteCount) -> ByteCount {
    min(pageSize, reachable) - dataHeader
  }
}

/// How a data map's value is laid out, judged by its size alone because an
/// unprivileged caller cannot see the map's BTF.
enum MapFormat {
  case v1, v2, native

  /// No task storage value is larger as of Linux 7.3. More would have the kernel read
  /// beyond what was put together for it.
  static let largestValue: ByteCount = 1 << 16

  init?(valueSize: ByteCount) {
    switch valueSize {
    case 16: self = .v1
    case 24: self = .v2
    case 25...Self.largestValue: self = .native
    default: return nil
    }
  }

  /// Whether the value says where in the page the data starts; v1 reads that
  /// from the page's first 8 bytes, so a page serves one thread only.
  var hasStartField: Bool { self != .v1 }
}

/// A data map's value in memory: `data` and `meta`, the two UPTRs, then `start` and, in what is
/// padding to the kernel's headers, for how many bytes there is room from there on; the rest,
/// as far as the map has any, stays zero.
struct MapValue {
  /// "TLDR": the kernel's user header leaves garbage in the padding.
  private static let roomMagic: UInt32 = 0x5244_4C54

  let bytes: UnsafeMutableRawPointer

  /// `bytes` must be zero from the fourth word on. Of no room nothing is said.
  func set(data: UnsafeMutableRawPointer?, meta: UnsafeMutableRawPointer?, start: ByteCount,
           room: ByteCount, format: MapFormat) {
    bytes.storeBytes(of: UInt(bitPattern: data), as: UInt.self)
    bytes.storeBytes(of: UInt(bitPattern: meta), toByteOffset: 8, as: UInt.self)
    if format.hasStartField {
      bytes.storeBytes(of: UInt16(start), toByteOffset: 16, as: UInt16.self)
      bytes.storeBytes(of: UInt16(room), toByteOffset: 18, as: UInt16.self)
      bytes.storeBytes(of: room == 0 ? 0 : Self.roomMagic, toByteOffset: 20, as: UInt32.self)
    }
  }
}

/// The metadata page of a process: which TLDs there are, in order. The program,
/// and with it any fault of the program, may write all of it at any time; what is
/// read here is bounded before it is used.
struct MetadataPage {
  static let entriesOffset: ByteCount = 4
  static let entryBytes: ByteCount = 64
  /// A name with its NUL; the entry's size follows.
  static let nameBytes: ByteCount = 62
  private static let sizeOffset: ByteCount = 62
  private static let magic: UInt32 = 0x3144_4C54  // "TLD1", little-endian

  let base: UnsafeMutableRawPointer
  let pageSize: ByteCount

  var capacity: Int { pageSize / Self.entryBytes - 1 }

  /// The number of TLDs. A TLD's entry is complete before it is counted.
  var count: Int {
    get { min(Int(field(at: 0).pointee.load(ordering: .acquiring)), capacity) }
    nonmutating set { field(at: 0).pointee.store(UInt16(newValue), ordering: .releasing) }
  }

  /// The bytes that a thread's data may take.
  var size: ByteCount {
    get { ByteCount(field(at: 2).pointee.load(ordering: .relaxed)) }
    nonmutating set { field(at: 2).pointee.store(UInt16(newValue), ordering: .relaxed) }
  }

  func name(at index: Int) -> UnsafeMutablePointer<CChar> {
    entry(index).assumingMemoryBound(to: CChar.self)
  }

  func entrySize(at index: Int) -> ByteCount {
    ByteCount(sizeField(index).pointee.load(ordering: .relaxed))
  }

  /// Fill an entry that is not counted yet.
  func fill(_ index: Int, name source: Name, size: ByteCount) {
    let target = name(at: index)
    target.update(from: source.bytes, count: source.length)
    (target + source.length).update(repeating: 0, count: Self.nameBytes - source.length)
    sizeField(index).pointee.store(UInt16(size), ordering: .relaxed)
  }

  /// Tell BPF which program image the page belongs to.
  func stamp(_ image: UInt64) {
    base.storeBytes(of: Self.magic, toByteOffset: pageSize - 60, as: UInt32.self)
    base.storeBytes(of: image, toByteOffset: pageSize - 52, as: UInt64.self)
  }

  private func entry(_ index: Int) -> UnsafeMutableRawPointer {
    base + Self.entriesOffset + index * Self.entryBytes
  }

  private func sizeField(_ index: Int) -> UnsafeMutablePointer<Atomic<UInt16>> {
    (entry(index) + Self.sizeOffset).assumingMemoryBound(to: Atomic<UInt16>.self)
  }

  private func field(at offset: ByteCount) -> UnsafeMutablePointer<Atomic<UInt16>> {
    (base + offset).assumingMemoryBound(to: Atomic<UInt16>.self)
  }
}

/// One TLD as the table has it. Its data are the bytes `offset..<end` of a block.
struct TLDEntry: Equatable {
  let index: Int
  let offset: ByteCount
  let size: ByteCount

  var end: ByteCount { offset + size }
}

/// The TLDs in table order. An offset is the sum of the sizes before it, so the walk
/// ends where a size is not there yet (0: the kernel's user header, in a plugin say, is
/// writing the entry) or leads out of reach (hostile, or of more than a page).
struct EntryWalk {
  private let page: MetadataPage
  private let count: Int
  private let limit: ByteCount
  /// The entry that `next` looks at.
  private(set) var index = 0
  /// Where that one's data start.
  private(set) var offset: ByteCount = 0

  init(_ page: MetadataPage) {
    self.page = page
    count = page.count
    limit = Wire.dataLimit(pageSize: page.pageSize)
  }

  /// Whether every counted entry was passed.
  var isComplete: Bool { index == count }

  mutating func next() -> TLDEntry? {
    guard index < count else { return nil }
    let entry = TLDEntry(index: index, offset: offset, size: page.entrySize(at: index))
    guard entry.size > 0, entry.end <= limit else { return nil }
    index += 1
    offset = entry.end.roundedUpTo8
    return entry
  }

  /// The next entry of that name; if there is none, the walk has ended.
  mutating func find(_ name: Name) -> TLDEntry? {
    while let entry = next() {
      if name.equals(page.name(at: entry.index)) { return entry }
    }
    return nil
  }
}

/// A TLD's name, from outside: 1 to 61 bytes and a NUL.
struct Name {
  let bytes: UnsafePointer<CChar>
  let length: Int
  /// Its first bytes, with the NUL if that is one of them, and which bytes that are: enough
  /// to tell most names apart.
  private let head: UInt64
  private let mask: UInt64

  /// Throws EINVAL, ENAMETOOLONG.
  init(_ bytes: UnsafePointer<CChar>?) throws(Errno) {
    guard let bytes, bytes[0] != 0 else { throw Errno(EINVAL) }
    var length = 0
    var head: UInt64 = 0
    while bytes[length] != 0 {
      if length < 8 { head |= UInt64(UInt8(bitPattern: bytes[length])) << (8 * length) }
      length += 1
      guard length < MetadataPage.nameBytes else { throw Errno(ENAMETOOLONG) }
    }
    self.bytes = bytes
    self.length = length
    self.head = head
    mask = length < 7 ? 1 << (8 * (length + 1)) - 1 : UInt64.max
  }

  /// `stored` may lack its NUL: the page is the program's to write.
  func equals(_ stored: UnsafePointer<CChar>) -> Bool {
    let storedHead = UnsafeRawPointer(stored).loadUnaligned(as: UInt64.self)
    guard (storedHead ^ head) & mask == 0 else { return false }
    var i = 8
    while i <= length {
      if stored[i] != bytes[i] { return false }
      i += 1
    }
    return true
  }
}
