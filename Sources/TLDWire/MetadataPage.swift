// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The metadata page: where its fields lie.

import Synchronization

/// The metadata page of a process: which TLDs there are, in order. The program,
/// and with it any fault of the program, may write all of it at any time; what is
/// read here is bounded before it is used.
public struct MetadataPage {
  public static let entriesOffset: ByteCount = 4
  public static let entryBytes: ByteCount = 64
  /// A name with its NUL; the entry's size follows.
  public static let nameBytes: ByteCount = 62
  private static let sizeOffset: ByteCount = 62
  private static let magic: UInt32 = 0x3144_4C54  // "TLD1", little-endian

  public let base: UnsafeMutableRawPointer
  public let pageSize: ByteCount

  public init(base: UnsafeMutableRawPointer, pageSize: ByteCount) {
    self.base = base
    self.pageSize = pageSize
  }

  public var capacity: Int { pageSize / Self.entryBytes - 1 }

  /// The number of TLDs. A TLD's entry is complete before it is counted.
  public var count: Int {
    get { min(Int(field(at: 0).pointee.load(ordering: .acquiring)), capacity) }
    nonmutating set { field(at: 0).pointee.store(UInt16(newValue), ordering: .releasing) }
  }

  /// The bytes that a thread's data may take.
  public var size: ByteCount {
    get { ByteCount(field(at: 2).pointee.load(ordering: .relaxed)) }
    nonmutating set { field(at: 2).pointee.store(UInt16(newValue), ordering: .relaxed) }
  }

  public func name(at index: Int) -> UnsafeMutablePointer<CChar> {
    entry(index).assumingMemoryBound(to: CChar.self)
  }

  public func entrySize(at index: Int) -> ByteCount {
    ByteCount(sizeField(index).pointee.load(ordering: .relaxed))
  }

  /// Fill an entry that is not counted yet.
  public func fill(_ index: Int, name source: Name, size: ByteCount) {
    let target = name(at: index)
    target.update(from: source.bytes, count: source.length)
    (target + source.length).update(repeating: 0, count: Self.nameBytes - source.length)
    sizeField(index).pointee.store(UInt16(size), ordering: .relaxed)
  }

  /// Tell BPF which program image the page belongs to.
  public func stamp(_ image: UInt64) {
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
