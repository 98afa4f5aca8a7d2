// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Threads and maps that come and go at random, on a kernel that fails at random,
// against a model that knows only who should be published where.

import CTLD
import Glibc
import Testing

@testable import TLD

@Suite struct ThreadRegistrySequenceTests {
  @Test("random sequences publish what they should, nothing else, and lose nothing",
        arguments: 0..<8)
  func sequence(round: Int) throws {
    var run = Run(round: round)
    for step in 0..<2500 {
      do { try run.step() } catch let wrong as Wrong {
        throw Wrong("step \(step), \(run.action): \(wrong.text)")
      }
    }
    try run.finish()
  }
}

private struct Wrong: Error, CustomStringConvertible {
  let text: String
  init(_ text: String) { self.text = text }
  var description: String { text }
}

private func expect(_ condition: Bool, _ text: @autoclosure () -> String) throws(Wrong) {
  if !condition { throw Wrong(text()) }
}

// MARK: - What should be

private struct ThreadModel {
  let thread: ModelThread
  /// What it writes to its data: no other thread has the same.
  let word: UInt64
  /// The maps that it is published in.
  var maps: Set<UInt32> = []
  /// The maps with an element that could not be removed when it left.
  var stuck: Set<UInt32> = []
  var base: UnsafeMutableRawPointer?
}

private struct MapModel {
  let fd: FileDescriptor
  let id: UInt32
  let valueSize: Int
  /// Whether it may be served at all.
  let isDataMap: Bool
}

/// A call of the kernel that fails now and then.
private final class Weather {
  private(set) var hasStruck = false
  let code: Int32

  init(_ kernel: ModelKernel, _ calls: [ModelKernel.Call], _ random: inout SeededGenerator) {
    // No EFAULT, which is the answer that a trial of a new map hopes for.
    let codes = [EMFILE, ENFILE, ENOMEM, EPERM, ENOSYS, EAGAIN, EBUSY, EINTR, ETIMEDOUT, EDEADLK]
    let code = codes[random.below(codes.count)]
    self.code = code
    let call = calls[random.below(calls.count)]
    var before = [0, 0, 1, 2][random.below(4)]
    var left = [1, 1, 3, 20, .max][random.below(5)]
    kernel.fail { [self] event in
      guard event.call == call else { return nil }
      if before > 0 {
        before -= 1
        return nil
      }
      guard left > 0 else { return nil }
      left -= 1
      hasStruck = true
      return code
    }
  }

  /// The errno values by which a caller may hear of it.
  var errnos: [Int32] { hasStruck ? [code, EAGAIN] : [] }
}

// MARK: - One run

private struct Run {
  private var random: SeededGenerator
  private let process: ModelProcess
  private var threads: [ThreadModel] = []
  private var maps: [MapModel] = []
  private var entries: [TLDEntry] = []
  /// Served maps, the oldest first.
  private var order: [UInt32] = []
  /// Maps that were refused, and whose trial element the kernel would not delete.
  private var leftovers: Set<UInt32> = []
  private var usedIDs = 0
  private var freeIDs: [Int32] = []
  /// What nobody may write to any more.
  private var graves: [(thread: ModelThread, mapFD: Int32, limit: UInt16)] = []
  private let mostThreads: Int
  /// One map in so many is v1: where there are few, blocks get packed.
  private let v1Rate: Int
  private(set) var action = ""
  private var steps = 0

  init(round: Int) {
    random = SeededGenerator("registry", round: round)
    mostThreads = [6, 40, 80, 15][round % 4]
    v1Rate = [3, 60, 4, 20][round % 4]
    process = ModelProcess(pageSize: round % 4 == 3 ? 16_384 : 4096, budget: [48, 48, 900, 300][round % 4])
    entries = [process.first]
  }

  mutating func step() throws {
    switch random.below(100) {
    case 0..<16: begin()
    case 16..<62: try enter()
    case 62..<70: try leave(andEnd: false)
    case 70..<78: try leave(andEnd: true)
    case 78..<84: vanish()
    case 84..<90: try withdrawAndClear()
    case 90..<96: openMap()
    case 96..<99: closeMap()
    default: try createKey()
    }
    if let breach = process.kernel.rulesBroken.first { throw Wrong(breach) }
    let served = process.servedMaps.map(\.id)
    order.removeAll { !served.contains($0) }
    steps += 1
    if steps % 10 == 0 { try check() }
  }

  // MARK: Threads

  private mutating func begin() {
    action = "begin"
    guard threads.count < mostThreads else { return }
    var id = Int32(100 + usedIDs)
    if !freeIDs.isEmpty && random.oneIn(2) {
      id = freeIDs.remove(at: random.below(freeIDs.count))
      graves.removeAll { $0.thread.task == id }
    }
    usedIDs += 1
    threads.append(ThreadModel(thread: process.thread(id), word: 1_000_000 + UInt64(usedIDs)))
  }

  private mutating func enter() throws {
    guard !threads.isEmpty, !maps.isEmpty else { return }
    let index = random.below(threads.count)
    let old = threads[index]
    let map = random.oneIn(40) ? MapModel(fd: FileDescriptor(number: 900), id: 0, valueSize: 0, isDataMap: false)
      : maps[random.below(maps.count)]
    let entry = entries[random.below(entries.count)]
    let weather = random.oneIn(5) ? Weather(process.kernel, ModelKernel.Call.allCases, &random) : nil
    action = "enter \(old.thread.task), map \(map.id) of \(map.valueSize) bytes"
    let errnos = refusals(of: old, map, entry)
    let wasRegistered = old.thread.isRegistered
    let before = process.servedMaps
    let shared = old.thread.shared.pointee

    let result = Result { () throws(Errno) in try old.thread.enter(map.fd, entry) }
    process.kernel.failNoMore()

    switch result {
    case .success(let isNew):
      try expect(errnos.isEmpty, "accepted what should give \(errnos)")
      try expect(isNew != wasRegistered, "said it was \(isNew ? "new" : "known")")
      try entered(index, map, entry, isNew, before)
    case .failure(let error):
      let allowed = errnos + (weather?.errnos ?? [])
      try expect(allowed.contains(error.code), "errno \(error.code), not one of \(allowed)")
      try expect(old.thread.isRegistered == wasRegistered, "a refused call changed who is registered")
      let left = process.kernel.element(map.id, old.thread.task)
      try expect(map.isDataMap || left?.isForeign != false || weather?.hasStruck == true || leftovers.contains(map.id),
                 "left an element in what is no data map")
      if !map.isDataMap && left != nil { leftovers.insert(map.id) }
      let now = old.thread.shared.pointee
      try expect(shared.base == now.base && shared.limit == now.limit, "a refused call changed the fast path")
      if before.count == 8 && weather?.hasStruck == true { noticeEviction(of: order[0]) }
    }
  }

  /// Why the call must fail; any of these may be what it says.
  private func refusals(of model: ThreadModel, _ map: MapModel, _ entry: TLDEntry) -> [Int32] {
    if map.id == 0 { return [EBADF] + (model.thread.isRegistered && entry.end > model.thread.block.dataSize ? [E2BIG] : []) }
    var errnos: [Int32] = map.isDataMap ? [] : [EINVAL]
    guard model.thread.isRegistered else { return errnos }
    let block = model.thread.block
    if entry.end > block.dataSize { errnos.append(E2BIG) }
    if map.valueSize == 16 && !block.isUniversal { errnos.append(EXDEV) }
    return errnos
  }

  private mutating func entered(_ index: Int, _ map: MapModel, _ entry: TLDEntry, _ isNew: Bool,
                                _ before: [DataMap]) throws {
    let thread = threads[index].thread
    if isNew { try expectFresh(thread, before: before, map) }
    if !before.contains(where: { $0.id == map.id }) {
      if before.count == 8 { try evicted(order[0], keeping: thread) }
      order.append(map.id)
    }
    if isNew {
      threads[index].base = thread.base
      threads[index].maps = []
    }
    threads[index].maps.insert(map.id)
    threads[index].stuck.remove(map.id)
    try expect(thread.base == threads[index].base, "a thread's data moved")
    try expect(thread.fastPath(map.fd, Int16(entry.offset)) == thread.base + entry.offset, "no fast path")
    thread.write(threads[index].word)
  }

  /// The memory is zero, and shared where, and only where, all maps allow it.
  private func expectFresh(_ thread: ModelThread, before: [DataMap], _ map: MapModel) throws {
    let block = thread.block
    try expect(thread.base.isZero(block.dataSize), "memory with somebody's data")
    // A map that gives way in this very call may count, or not.
    let isGivingWay = before.count == 8 && !before.contains { $0.id == map.id }
    let staying = isGivingWay ? before.filter { $0.id != order[0] } : before
    let isNeeded = (staying.map(\.valueSize) + [map.valueSize]).contains(16)
    let isAllowed = isNeeded || before.contains { $0.valueSize == 16 }
    try expect(block.isUniversal ? isAllowed : !isNeeded, "\(block.isUniversal ? "a universal" : "a packed") block")
    try expect(block.dataSize >= process.keys.bytesPerThread, "a block of \(block.dataSize) bytes")
  }

  /// All threads are withdrawn from the map, and must notice.
  private mutating func evicted(_ map: UInt32, keeping caller: ModelThread) throws {
    for i in threads.indices where threads[i].maps.remove(map) != nil {
      let thread = threads[i].thread
      try expect(thread === caller || thread.mapFD == .min, "task \(thread.task) would not notice")
    }
    for i in threads.indices { threads[i].stuck.remove(map) }
  }

  /// A call failed after the oldest map had begun to give way.
  private mutating func noticeEviction(of map: UInt32) {
    for i in threads.indices where process.kernel.element(map, threads[i].thread.task) == nil {
      threads[i].maps.remove(map)
      threads[i].stuck.remove(map)
    }
  }

  private mutating func leave(andEnd: Bool) throws {
    guard !threads.isEmpty else { return }
    let index = random.below(threads.count)
    let thread = threads[index].thread
    action = "\(andEnd ? "exit" : "leave") \(thread.task)"
    let weather = random.oneIn(4) ? Weather(process.kernel, [.open, .delete], &random) : nil
    thread.leave()
    process.kernel.failNoMore()
    let left = process.kernel.dataMaps(with: thread.task)
    let known = threads[index].stuck.union(weather?.hasStruck == true ? threads[index].maps : [])
    try expect(left.isSubset(of: known), "left elements in \(left) behind")
    try expect(!thread.isRegistered && thread.shared.pointee.limit == 0 && thread.mapFD == .min,
               "the fast path is open")
    threads[index].stuck = left
    threads[index].maps = []
    threads[index].base = nil
    if andEnd { end(index) }
  }

  private mutating func vanish() {
    guard !threads.isEmpty else { return }
    let index = random.below(threads.count)
    action = "vanish \(threads[index].thread.task)"
    end(index)
  }

  private mutating func end(_ index: Int) {
    let thread = threads.remove(at: index).thread
    thread.vanish()
    freeIDs.append(thread.task)
    graves.append((thread, thread.mapFD, thread.shared.pointee.limit))
  }

  private mutating func withdrawAndClear() throws {
    guard !threads.isEmpty else { return }
    let index = random.below(threads.count)
    let thread = threads[index].thread
    action = "free \(thread.task)"
    guard thread.isRegistered else { return thread.withdrawAndClear() }
    let weather = random.oneIn(4) ? Weather(process.kernel, [.open, .delete], &random) : nil
    thread.withdrawAndClear()
    process.kernel.failNoMore()
    try expect(thread.base.isZero(thread.block.dataSize), "data are not cleared")
    let left = process.kernel.dataMaps(with: thread.task)
    try expect(weather?.hasStruck == true || left.isSubset(of: threads[index].stuck), "still in \(left)")
    threads[index].maps.formIntersection(left)
    if !left.isEmpty { thread.write(threads[index].word) }
  }

  // MARK: Maps and keys

  private mutating func openMap() {
    action = "open a map"
    guard maps.count < 14 else { return }
    if !maps.isEmpty && random.oneIn(5) {
      let map = maps[random.below(maps.count)]
      maps.append(MapModel(fd: process.kernel.reopen(map.fd), id: map.id, valueSize: map.valueSize,
                           isDataMap: map.isDataMap))
      return
    }
    let isDataMap = !random.oneIn(6)
    let valueSize = random.oneIn(v1Rate) ? 16 : [24, 24, 25, 48, 4000][random.below(5)]
    let isOddType = !isDataMap && random.oneIn(2)
    let fd = process.kernel.makeMap(valueSize: isOddType ? 20 : valueSize, isTaskStorage: !isOddType,
                                    uptrs: isDataMap ? [0, 8] : random.oneIn(2) ? [] : [0])
    let map = MapModel(fd: fd, id: process.kernel.id(of: fd), valueSize: isOddType ? 20 : valueSize,
                       isDataMap: isDataMap)
    maps.append(map)
    // What other programs keep there; the model kernel sees to it that it is left alone.
    for model in threads where !isDataMap && random.oneIn(2) {
      process.kernel.putForeign(random.bytes(map.valueSize), in: fd, for: model.thread.task)
    }
  }

  private mutating func closeMap() {
    action = "close a map"
    guard !maps.isEmpty else { return }
    process.kernel.closeProgrammes(maps.remove(at: random.below(maps.count)).fd)
  }

  private mutating func createKey() throws {
    action = "create a key"
    guard entries.count < 20 else { return }
    entries.append(try process.createKey("key\(entries.count)", size: 1 + random.below(60), budget: 48, .static))
  }

  // MARK: Between steps

  private mutating func check() throws {
    if let fault = process.firstUnsoundness() { throw Wrong(fault) }
    let served = Set(process.servedMaps.map(\.id))
    try expect(Set(order) == served && order.count == served.count, "serves \(served), not \(order)")
    try expect(process.usedPages <= process.records.count, "a page was lost")
    try expect(process.pages <= 63 * (mostThreads / 63 + 2), "\(process.pages) pages for \(threads.count) threads")
    for model in threads {
      let thread = model.thread
      for map in model.maps { if let fault = thread.unpublished(in: map) { throw Wrong(fault) } }
      let seen = process.kernel.dataMaps(with: thread.task)
      try expect(seen.isSubset(of: model.maps.union(model.stuck)), "task \(thread.task) is in \(seen)")
      if !model.maps.isEmpty { try expect(thread.word == model.word, "somebody wrote to task \(thread.task)'s data") }
    }
    for grave in graves {
      try expect(grave.thread.mapFD == grave.mapFD && grave.thread.shared.pointee.limit == grave.limit,
                 "wrote to the memory of task \(grave.thread.task), which is gone")
    }
  }

  /// All ends, and then so many threads come that everything is looked through.
  mutating func finish() throws {
    action = "finish"
    while !threads.isEmpty { try leave(andEnd: true) }
    let map = process.kernel.makeMap(valueSize: 16)
    let crowd = (0..<200).map { process.thread(Int32(1_000_000 + $0)) }
    for thread in crowd { try thread.enter(map) }
    try expect(process.records.count == 200, "\(process.records.count - 200) records of threads that are gone")
    for thread in crowd { thread.exit() }
    try expect(process.records.isEmpty && process.usedPages == 0, "\(process.usedPages) pages not given back")
    try expect(process.kernel.heldMaps.isEmpty && process.kernel.elementCount == 0, "something is still published")
    if let fault = process.firstUnsoundness() { throw Wrong(fault) }
  }
}
