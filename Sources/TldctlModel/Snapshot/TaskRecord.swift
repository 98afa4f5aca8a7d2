// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The stream of records that the BPF iterator writes (ctldctl_record.h), taken apart. It comes
// from our own BPF program; what is in its payload comes from anybody.

import TldctlRecord

/// What a record says of its thread.
public struct RecordFlags: OptionSet, Hashable, Sendable {
  public let rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }
  private init(_ flag: Int32) { rawValue = UInt32(flag) }

  public static let stale = RecordFlags(CTLDCTL_STALE)
  public static let ended = RecordFlags(CTLDCTL_ENDED)
  public static let noData = RecordFlags(CTLDCTL_NO_DATA)
  public static let noMeta = RecordFlags(CTLDCTL_NO_META)
  public static let badStart = RecordFlags(CTLDCTL_BAD_START)
  public static let changed = RecordFlags(CTLDCTL_CHANGED)
  public static let sameMeta = RecordFlags(CTLDCTL_SAME_META)
  public static let stamped = RecordFlags(CTLDCTL_STAMPED)
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
  public var capacity: Int?
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
    let headerSize = MemoryLayout<ctldctl_record>.size
    guard bytes.count >= headerSize else { return nil }
    let header = bytes.loadUnaligned(as: ctldctl_record.self)
    let flags = RecordFlags(rawValue: header.flags)
    let dataBytes = Int(header.data_bytes), metaBytes = Int(header.meta_bytes)
    let words = (dataBytes + 7) / 8
    let changedWords = flags.contains(.changed) ? (words + 63) / 64 : 0
    let changedAt = headerSize + 8 * words
    let metaAt = changedAt + 8 * changedWords
    let end = metaAt + (metaBytes == 0 ? 0 : (metaBytes + 4 + 7) / 8 * 8)
    guard bytes.count >= end else { return nil }

    if metaBytes > 0 {
      last = intern(Array(bytes[metaAt + 4..<metaAt + 4 + metaBytes]))
    }
    records.append(
      TaskRecord(
        flags: flags, tid: header.tid, tgid: header.tgid, uid: header.uid, startBoottime: header.start_boottime,
        dataPage: header.data, metaPage: header.meta, start: Int(header.start),
        capacity: header.capacity == 0 ? nil : Int(header.capacity),
        comm: characters(of: header.comm), leaderComm: characters(of: header.leader_comm),
        data: Array(bytes[headerSize..<headerSize + dataBytes]),
        changed: (0..<changedWords).map { bytes.loadUnaligned(fromByteOffset: changedAt + 8 * $0, as: UInt64.self) },
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
