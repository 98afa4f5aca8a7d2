// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The threads that are watched: what they say now, and how often that changed.
//
// A change is a difference between two readings. What changes more often than it is read
// counts once a reading, and what changes and changes back counts not at all.

/// Which threads and TLDs are watched.
public struct WatchSelection: Sendable {
  private let names: [[UInt8]]
  private let comm: Pattern?

  /// Without names all TLDs; `comm` is for the command name of processes.
  public init(names: [String] = [], comm: String? = nil) {
    self.names = names.map { unescaped($0) ?? Array($0.utf8) }
    self.comm = comm.map { Pattern($0) }
  }

  /// The TLDs of a process that are watched, in the order of its page; the first of each name.
  fileprivate func tlds(of page: MetadataPage) -> [TLD] {
    page.tlds.filter { tld in
      (names.isEmpty || names.contains(tld.name)) && page.tld(named: tld.name) == tld
    }
  }

  fileprivate func takes(_ record: TaskRecord, _ tlds: [TLD]) -> Bool {
    (names.isEmpty || !tlds.isEmpty) && (comm?.matches(record.leaderComm) ?? true)
  }

  /// In the order in which they were named.
  func sorted(_ found: [[UInt8]]) -> [[UInt8]] {
    names.isEmpty ? found : names.filter(found.contains)
  }
}

/// One thread's element of one map. A thread's id is used again, but not with its start.
struct ElementIdentity: Hashable, Sendable {
  let map: UInt32
  let tid: UInt32
  let startBoottime: UInt64
}

/// Which of the last comparisons of one value with the reading before found a difference.
struct ChangeHistory: Equatable, Sendable {
  static let window = 10
  private(set) var comparisons = 0
  private var changes: UInt16 = 0

  mutating func note(changed: Bool) {
    changes = (changes << 1 | (changed ? 1 : 0)) & (1 << UInt16(Self.window) - 1)
    comparisons = min(comparisons + 1, Self.window)
  }

  var count: Int { changes.nonzeroBitCount }
}

/// One row: a thread as it was read last.
public struct WatchedThread: Sendable {
  public let map: UInt32
  public let record: TaskRecord
  /// Those that are watched.
  public let tlds: [TLD]
  /// By TLD; nil as long as there is nothing to compare with.
  public fileprivate(set) var rates: [Double?] = []
  fileprivate var histories: [ChangeHistory] = []

  /// Changes per second of all TLDs together.
  public var rate: Double? {
    let known = rates.compactMap { $0 }
    return known.isEmpty ? nil : known.reduce(0, +)
  }

  public func place(of name: [UInt8]) -> Int? { tlds.firstIndex { $0.name == name } }

  fileprivate var identity: ElementIdentity {
    ElementIdentity(map: map, tid: record.tid, startBoottime: record.startBoottime)
  }
}

public struct WatchTable: Sendable {
  public let selection: WatchSelection
  /// By map, then by thread id.
  public private(set) var threads: [WatchedThread] = []
  public private(set) var readings = 0
  /// Seconds from the reading before to the last; nil after the first.
  public var elapsed: Double? { times.count < 2 ? nil : times[times.count - 1] - times[times.count - 2] }

  private var index: [ElementIdentity: Int] = [:]
  /// When it was read, in seconds, as often as a history reaches back.
  private var times: [Double] = []
  /// The watched TLDs of each page of the last reading. A page that has not changed has the
  /// same array, which makes comparing them cheap.
  private var layouts: [[UInt8]: [TLD]] = [:]

  public init(_ selection: WatchSelection = WatchSelection()) { self.selection = selection }

  /// What all maps had at a time, in seconds of a clock that only goes forward.
  public mutating func take(_ snapshots: [(map: UInt32, snapshot: Snapshot)], at time: Double) {
    times = times.suffix(ChangeHistory.window) + [time]
    readings += 1
    var found: [WatchedThread] = [], used: [[UInt8]: [TLD]] = [:], newIndex: [ElementIdentity: Int] = [:]
    let count = snapshots.reduce(0) { $0 + $1.snapshot.records.count }
    found.reserveCapacity(count)
    newIndex.reserveCapacity(count)
    for (map, snapshot) in snapshots {
      let tlds = snapshot.pages.map { page in
        let tlds = used[page.bytes] ?? layouts[page.bytes] ?? selection.tlds(of: page)
        used[page.bytes] = tlds
        return tlds
      }
      for record in snapshot.records {
        let own = record.page.map { tlds[$0] } ?? []
        guard selection.takes(record, own) else { continue }
        var thread = WatchedThread(map: map, record: record, tlds: own)
        compare(&thread, with: index[thread.identity].map { threads[$0] })
        newIndex[thread.identity] = found.count
        found.append(thread)
      }
    }
    (threads, layouts, index) = (found, used, newIndex)
  }

  /// Rates begin anew, as after a pause.
  public mutating func forgetChanges() {
    index = [:]
    times = []
  }

  private func compare(_ thread: inout WatchedThread, with before: WatchedThread?) {
    let isSame = before.map { $0.tlds == thread.tlds } ?? false
    thread.histories.reserveCapacity(thread.tlds.count)
    for (place, tld) in thread.tlds.enumerated() {
      var history = ChangeHistory()
      if let before, isSame || place < before.tlds.count && before.tlds[place] == tld,
        let changed = thread.record.differs(from: before.record, in: tld)
      {
        history = before.histories[place]
        history.note(changed: changed)
      }
      thread.histories.append(history)
    }
    thread.rates = thread.histories.map(rate)
  }

  private func rate(_ history: ChangeHistory) -> Double? {
    guard history.comparisons > 0, let now = times.last else { return nil }
    let span = now - times[times.count - 1 - history.comparisons]
    return span > 0 ? Double(history.count) / span : nil
  }
}

extension TaskRecord {
  /// Nil where one of them has no such value.
  fileprivate func differs(from other: TaskRecord, in tld: TLD) -> Bool? {
    guard case .bytes(let now, _) = reading(of: tld), case .bytes(let before, _) = other.reading(of: tld)
    else { return nil }
    return now != before
  }
}
