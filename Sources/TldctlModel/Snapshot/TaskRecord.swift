// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The stream of records that the BPF iterator writes (Sources/TldctlKernel/include/ctldctl_record.h),
// taken apart. It comes from our own BPF program; what is in its payload comes from anybody.

/// What a record says of its thread; the numbers are the C header's.
public struct RecordFlags: OptionSet, Hashable, Sendable {
  public let rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  public static let stale = RecordFlags(rawValue: 1 << 0)
  public static let ended = RecordFlags(rawValue: 1 << 1)
  public static let noData = RecordFlags(rawValue: 1 << 2)
  public static let noMeta = RecordFlags(rawValue: 1 << 3)
  public static let badStart = RecordFlags(rawValue: 1 << 4)
  public static let changed = RecordFlags(rawValue: 1 << 5)
  public static let sameMeta = RecordFlags(rawValue: 1 << 6)
  public static let stamped = RecordFlags(rawValue: 1 << 7)
}

/// One thread that publishes, as it was read.
public struct TaskRecord: Sendable {
  public var flags: RecordFlags
  public var tid: UInt32
  public var tgid: UInt32
  public var uid: UInt32
  /// Nanoseconds since boot; with `tid` it names a thread for ever.
  public var startBoottime: UInt64
  /// Who has the same has the same page. Kernel addresses: not to be shown.
  public var dataPage: UInt64
  public var metaPage: UInt64
  public var start: Int
  /// Bytes that are the thread's, from `start` on; nil where it is not said.
  public var room: Int?
  public var comm: [UInt8]
  public var leaderComm: [UInt8]
  public var data: [UInt8]
  /// A bit for each 8-byte word of `data` that changed between two readings.
  public var changed: [UInt64]
  /// Index into `Snapshot.pages`; nil if the page could not be read.
  public var page: Int?
}

/// What one iteration found: records in the order of thread ids, and the metadata pages that
/// they refer to.
public struct Snapshot: Sendable {
  public private(set) var records: [TaskRecord] = []
  /// Each once.
  public private(set) var pages: [MetadataPage] = []
  private var known: [[UInt8]: Int] = [:]
  private var last: Int?

  public static let headerSize = 88

  public init() {}

  /// Takes a whole stream apart. A stream that ends in the middle of a record is a fault of
  /// ours or the kernel's, and said.
  public init(stream: UnsafeRawBufferPointer) throws(Failure) {
    var at = 0
    while at < stream.count {
      guard let next = append(UnsafeRawBufferPointer(rebasing: stream[at...])) else {
        throw Failure(.other, "the kernel's iterator ended in the middle of a record")
      }
      at += next
    }
  }

  /// Adds the record at the beginning; its length, or nil if it is not complete.
  private mutating func append(_ bytes: UnsafeRawBufferPointer) -> Int? {
    guard bytes.count >= Self.headerSize else { return nil }
    func u32(_ at: Int) -> UInt32 { bytes.loadUnaligned(fromByteOffset: at, as: UInt32.self) }
    func u64(_ at: Int) -> UInt64 { bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self) }
    func name(_ at: Int) -> [UInt8] { Array(bytes[at..<at + 16].prefix { $0 != 0 }) }

    let flags = RecordFlags(rawValue: u32(0))
    let dataBytes = Int(u32(48)), metaBytes = Int(u32(52))
    let words = (dataBytes + 7) / 8
    let changedWords = flags.contains(.changed) ? (words + 63) / 64 : 0
    let changedAt = Self.headerSize + 8 * words
    let metaAt = changedAt + 8 * changedWords
    let end = metaAt + (metaBytes == 0 ? 0 : (metaBytes + 4 + 7) / 8 * 8)
    guard bytes.count >= end else { return nil }

    if metaBytes > 0 {
      last = intern(Array(bytes[metaAt + 4..<metaAt + 4 + metaBytes]))
    }
    records.append(
      TaskRecord(
        flags: flags, tid: u32(4), tgid: u32(8), uid: u32(12), startBoottime: u64(16),
        dataPage: u64(24), metaPage: u64(32), start: Int(u32(40)),
        room: u32(44) == 0 ? nil : Int(u32(44)), comm: name(56), leaderComm: name(72),
        data: Array(bytes[Self.headerSize..<Self.headerSize + dataBytes]),
        changed: (0..<changedWords).map { u64(changedAt + 8 * $0) },
        page: flags.contains(.noMeta) ? nil : last))
    return end
  }

  private mutating func intern(_ bytes: [UInt8]) -> Int {
    if let index = known[bytes] { return index }
    pages.append(MetadataPage(bytes: bytes))
    known[bytes] = pages.count - 1
    return pages.count - 1
  }
}
