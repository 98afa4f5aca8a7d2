// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// One TLD of one thread, found: what get and set begin with.

import TldctlModel

struct Located {
  let map: FoundMap
  let record: TaskRecord
  let page: MetadataPage
  let tld: TLD
  let bytes: [UInt8]
  let isTorn: Bool

  /// The thread's TLD of that name in the maps that a person chose. It is an error if there is
  /// none, if it is not the running program's, or if maps contradict each other.
  static func find(_ thread: ThreadName, _ name: String, in word: String?) throws(Failure) -> Located {
    try requireProcess(thread.pid)
    let name = unescaped(name) ?? Array(name.utf8)
    var search = Search(thread: thread, name: name)
    let maps = try FoundMap.chosen(by: word)
    for map in maps { try search.look(in: map) }
    return try search.result(maps: maps.count)
  }
}

/// A search through one map after the other, and why each had nothing.
private struct Search {
  let thread: ThreadName
  let name: [UInt8]
  private var found: [Located] = []
  private var reasons: [Failure] = []

  init(thread: ThreadName, name: [UInt8]) {
    self.thread = thread
    self.name = name
  }

  mutating func look(in map: FoundMap) throws(Failure) {
    let snapshot: Snapshot
    do {
      snapshot = try attempt(map)
    } catch {
      if error.status == .notFound, map.pin == nil { return }
      throw error
    }
    guard let record = snapshot.records.first else { return }
    guard record.tgid == thread.pid else {
      reasons.append(Failure(.notFound, "process \(thread.pid) has no thread \(thread.tid)", why: "that is one of process \(record.tgid)"))
      return
    }
    do {
      found.append(try located(map, snapshot, record))
    } catch {
      reasons.append(error)
    }
  }

  /// A value that changed while it was read is read again, a few times.
  private func attempt(_ map: FoundMap) throws(Failure) -> Snapshot {
    let reader = try MapReader(map)
    var snapshot = try reader.snapshot(.thread(thread.tid))
    for _ in 0..<10 {
      guard let record = snapshot.records.first, let page = record.page,
        let tld = snapshot.pages[page].tld(named: name),
        case .bytes(_, isTorn: true) = record.reading(of: tld)
      else { break }
      snapshot = try reader.snapshot(.thread(thread.tid))
    }
    return snapshot
  }

  private func located(_ map: FoundMap, _ snapshot: Snapshot, _ record: TaskRecord) throws(Failure) -> Located {
    let who = "thread \(thread.tid) (\(escaped(record.comm)))"
    switch record.state {
    case .stale:
      throw Failure(
        .notFound, "\(who) publishes nothing since it executed another program",
        why: "what \(map.title) has is the old program's")
    case .ended: throw Failure(.notFound, "\(who) is ending")
    case .unreadable: throw Failure(.notFound, "what \(who) published in \(map.title) leads nowhere")
    case .current: break
    }
    let page = record.page.map { snapshot.pages[$0] } ?? MetadataPage(bytes: [])
    guard let tld = page.tld(named: name) else {
      let names = page.tlds.map { escaped($0.name) }.joined(separator: ", ")
      throw Failure(
        .notFound, "process \(thread.pid) has no TLD '\(escaped(name))' in \(map.title)",
        advice: names.isEmpty ? "it has none at all" : "it has \(names)")
    }
    guard case .bytes(let bytes, let isTorn) = record.reading(of: tld) else {
      throw Failure(.notFound, "\(who) has no room for the TLD '\(escaped(name))'", why: "its memory was laid out before that was created")
    }
    return Located(map: map, record: record, page: page, tld: tld, bytes: Array(bytes), isTorn: isTorn)
  }

  func result(maps: Int) throws(Failure) -> Located {
    guard let first = found.first else {
      if let reason = reasons.first { throw reason }
      guard exists("/proc/\(thread.pid)/task/\(thread.tid)") else {
        throw Failure(.notFound, "process \(thread.pid) has no thread \(thread.tid)")
      }
      throw Failure(
        .notFound, "thread \(thread.tid) of process \(thread.pid) publishes nothing",
        why: maps == 0 ? "there is no task local data map" : "it has no element in any of \(count(maps, "map"))",
        advice: thread.isExplicit ? "" : "'tldctl list --pid \(thread.pid)' shows the threads that do")
    }
    guard found.allSatisfy({ first.agrees(with: $0) }) else {
      throw Failure(
        .other, "'\(escaped(name))' is not the same in all maps",
        why: found.map(\.text).joined(separator: ", "), advice: "choose one by --map")
    }
    return first
  }
}

extension Located {
  /// The same bytes of the same page: published in both maps.
  fileprivate func agrees(with other: Located) -> Bool {
    record.dataPage == other.record.dataPage && record.start == other.record.start && tld == other.tld
  }

  fileprivate var text: String { "\(count(tld.size, "byte")) at \(tld.offset) in map \(map.id)" }
}
