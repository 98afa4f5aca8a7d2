// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// What a person is told: processes, their TLDs, threads, values, out of the records.

/// A thread's copy of one TLD, or why there is none.
public enum Reading: Equatable, Sendable {
  /// `isTorn`: it changed while it was read and is larger than what is read at once, so that
  /// it may be a mixture of two values.
  case bytes(ArraySlice<UInt8>, isTorn: Bool)
  /// The thread's memory was laid out before the TLD was created, or the page lies.
  case absent
}

extension TaskRecord {
  public func reading(of tld: TLD) -> Reading {
    let end = tld.offset + tld.size
    guard end <= data.count, end <= capacity ?? Int.max else { return .absent }
    return .bytes(data[tld.offset..<end], isTorn: isTorn(tld))
  }

  /// A word is read at once where it is aligned, so that only a change of more than one word
  /// may have been seen by half.
  private func isTorn(_ tld: TLD) -> Bool {
    guard flags.contains(.changed) else { return false }
    let first = tld.offset / 8, last = (tld.offset + tld.size - 1) / 8
    let isOneWord = tld.size <= 8 && start % 8 == 0
    return !isOneWord && (first...last).contains { word in
      word / 64 < changed.count && changed[word / 64] >> UInt64(word % 64) & 1 == 1
    }
  }

  public var state: ThreadState {
    if flags.contains(.stale) { return .stale }
    if flags.contains(.ended) { return .ended }
    if flags.contains(.noMeta) || flags.contains(.noData) || flags.contains(.badStart) { return .unreadable }
    return .current
  }
}

/// How far a thread's values are to be believed.
public enum ThreadState: String, Sendable, CaseIterable {
  case current
  /// Of an image that it no longer executes.
  case stale
  /// It is ending, or a zombie.
  case ended
  /// What it published leads nowhere.
  case unreadable
}

/// The threads of one process that publish in one map by one metadata page.
public struct ProcessReading: Sendable {
  public let pid: UInt32
  public let comm: [UInt8]
  public let page: MetadataPage
  public let threads: [TaskRecord]

  public var tlds: [TLD] { page.tlds }
  public var uid: UInt32 { threads.first?.uid ?? 0 }
}

extension Snapshot {
  /// By process, in the order of their ids. A process that had two metadata pages that do not
  /// agree while it was read, before and after an execve() for instance, is there twice.
  public var processes: [ProcessReading] {
    var groups: [UInt32: [Group]] = [:]
    for (index, record) in records.enumerated() {
      let page = record.page.map { pages[$0] } ?? MetadataPage(bytes: [])
      var own = groups[record.tgid] ?? []
      groups[record.tgid] = nil
      if let at = own.firstIndex(where: { $0.takes(page) }) {
        own[at].add(index, page)
      } else {
        own.append(Group(page: page, records: [index]))
      }
      groups[record.tgid] = own
    }
    return groups.keys.sorted().flatMap { pid in
      (groups[pid] ?? []).map { group in
        let threads = group.records.map { records[$0] }
        return ProcessReading(pid: pid, comm: threads.first?.leaderComm ?? [], page: group.page, threads: threads)
      }
    }
  }

  /// Threads whose pages agree: a process that creates TLDs meanwhile has more of them later.
  private struct Group {
    var page: MetadataPage
    var records: [Int]

    func takes(_ other: MetadataPage) -> Bool {
      let (short, long) = other.tlds.count < page.tlds.count ? (other, page) : (page, other)
      return long.tlds.starts(with: short.tlds)
    }

    mutating func add(_ record: Int, _ other: MetadataPage) {
      records.append(record)
      if other.tlds.count > page.tlds.count { page = other }
    }
  }
}
