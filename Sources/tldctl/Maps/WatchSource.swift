// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// What watch reads: all chosen maps, those that come and go as well.

import TldctlKernel
import Glibc
import TldctlModel

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
  private var isFirst = true

  private final class Reader {
    let reader: MapReader
    init(_ map: FoundMap) throws(Failure) { reader = try MapReader(map) }
  }

  init(word: String?, selection: Selection, table: WatchTable) {
    self.word = word
    self.selection = selection
    self.table = table
  }

  /// Those of the last reading.
  private(set) var maps: [FoundMap] = []

  func forgetChanges() { table.forgetChanges() }

  func read() throws(Failure) {
    let begin = processorSeconds()
    try refresh()
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
    took = processorSeconds() - begin
  }

  /// A reader keeps its map, whose owner may have gone: without readers none is kept. The next
  /// reading makes them anew for the maps that are still there.
  func letGo() { readers = [:] }

  /// A map that was asked for by name must be there at first; later it may come and go.
  private func refresh() throws(Failure) {
    var chosen: [FoundMap] = []
    do {
      chosen = try FoundMap.chosen(by: word)
      note = chosen.isEmpty ? "there is no task local data map" : ""
    } catch {
      if isFirst || error.status != .notFound { throw error }
      note = "the map has gone"
    }
    isFirst = false
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
