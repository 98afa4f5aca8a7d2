// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// What watch reads: all chosen maps, those that come and go as well.

import CTLDCTL
import Glibc
import TLDCTLCore

/// A reader keeps its map: one whose owner has gone would stay for as long as somebody
/// watches. So all are let go so often, in seconds, and made again for the maps still there.
private let renewal = 10.0
/// The kernel takes until the end of an RCU grace period for that; so many seconds at most are
/// waited for it.
private let graceLimit = 0.5

final class WatchSource {
  private(set) var table: WatchTable
  /// How much of a processor the last reading took, in seconds.
  private(set) var took = 0.0
  /// Whether there ever was something to show.
  private(set) var hasSeen = false
  /// The process that was asked for has gone.
  private(set) var hasEnded = false
  /// What is wrong with the maps, if nobody needs to stop for it.
  private(set) var note = ""

  private let word: String?
  private let selection: Selection
  private var readers: [UInt32: Reader] = [:]
  private var opened = 0.0
  private var isFirst = true

  private final class Reader {
    let reader: MapReader
    init(_ map: DataMap) throws(Failure) { reader = try MapReader(map) }
  }

  init(word: String?, selection: Selection, table: WatchTable) {
    self.word = word
    self.selection = selection
    self.table = table
  }

  /// Those of the last reading.
  private(set) var maps: [DataMap] = []

  func forgetChanges() { table.forgetChanges() }

  func read() throws(Failure) {
    let begin = processorSeconds()
    try refresh(at: monotonicSeconds())
    maps = readers.values.map { $0.reader.map }.sorted { $0.id < $1.id }
    var found: [(map: UInt32, snapshot: Snapshot)] = []
    for map in maps {
      guard let reader = readers[map.id] else { continue }
      found.append((map.id, try reader.reader.snapshot(selection)))
    }
    let now = monotonicSeconds()
    table.take(found, at: now)
    hasSeen = hasSeen || !table.threads.isEmpty
    if case .process(let pid) = selection, table.threads.isEmpty { hasEnded = !exists("/proc/\(pid)") }
    if now - opened >= renewal { letGo() }
    took = processorSeconds() - begin
  }

  private func letGo() {
    let own = readers.values.map { $0.reader.ownMap }
    readers = [:]
    let end = monotonicSeconds() + graceLimit
    while monotonicSeconds() < end, own.contains(where: isThere) { usleep(5000) }
  }

  private func isThere(_ map: UInt32) -> Bool {
    let fd = ctldctl_map_open(map)
    guard fd >= 0 else { return false }
    // Closed at once, it does not keep the map.
    return Descriptor(fd).number >= 0
  }

  /// A map that was asked for by name must be there at first; later it may come and go.
  private func refresh(at now: Double) throws(Failure) {
    var chosen: [DataMap] = []
    do {
      chosen = try DataMap.chosen(by: word)
      note = chosen.isEmpty ? "there is no task local data map" : ""
    } catch {
      if isFirst || error.status != .notFound { throw error }
      note = "the map has gone"
    }
    isFirst = false
    if readers.isEmpty { opened = now }
    let ids = Set(chosen.map(\.id))
    readers = readers.filter { ids.contains($0.key) }
    for map in chosen where readers[map.id] == nil {
      do {
        readers[map.id] = try Reader(map)
      } catch {
        // It has gone meanwhile.
        if error.status != .notFound { throw error }
      }
    }
  }
}
