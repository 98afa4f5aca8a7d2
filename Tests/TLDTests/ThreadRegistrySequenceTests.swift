// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Threads, maps and references that come and go at random, on a kernel that fails at
// random, against a model that knows only who should be published where.

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
  /// The maps that it is published in, of which it passed some itself.
  var maps: Set<UInt32> = []
  /// The data that a reference had made, for which the thread has not come yet.
  var waiting: Record?
  var isSharing = false
  /// The maps with an element that could not be removed when it left.
  var stuck: Set<UInt32> = []
  var base: UnsafeMutableRawPointer?

  var block: Block? { waiting?.pointee.block ?? (thread.isRegistered ? thread.block : nil) }
}

/// A reference, and the word that it leads to. nil: cleared.
private struct Reference {
  let record: Record
  let task: Int32
  var word: UInt64?
  var hasEnded = false
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

  /// A kind of call that every one of `calls` may be.
  static func perhaps(_ kernel: ModelKernel, _ calls: [ModelKernel.Call] = ModelKernel.Call.allCases,
                      random: inout SeededGenerator) -> Weather? {
    random.oneIn(5) ? Weather(kernel, calls, &random) : nil
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
  /// Who attached which map.
  private var keepers: [UInt32: UInt16] = [:]
  private var references: [Reference] = []
  /// What other processes have in maps, under ids that were threads'.
  private var strangers: [(task: Int32, map: UInt32, bytes: [UInt8])] = []
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
    case 0..<13: begin()
    case 13..<40: try enter()
    case 40..<50: try enterAnywhere()
    case 50..<56: try leave(andEnd: false)
    case 56..<63: try leave(andEnd: true)
    case 63..<69: vanish()
    case 69..<74: try withdrawAndClear()
    case 74..<79: openMap()
    case 79..<82: closeMap()
    case 82..<87: try attach()
    case 87..<91: try detach()
    case 91..<96: try refer()
    case 96..<99: unrefer()
    default: try createKey()
    }
    if let breach = process.kernel.rulesBroken.first { throw Wrong(breach) }
    let served = process.servedMaps.map(\.id)
    try expect(Set(keepers.keys).isSubset(of: served), "an attached map is gone")
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
    let weather = Weather.perhaps(process.kernel, random: &random)
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
      try entered(index, map, entry, isNew, before, isComplete: weather?.hasStruck != true)
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
      if before.count == 8 && weather?.hasStruck == true, let oldest { noticeEviction(of: oldest) }
    }
  }

  /// tld_get() or tld_publish().
  private mutating func enterAnywhere() throws {
    guard !threads.isEmpty else { return }
    let index = random.below(threads.count)
    let old = threads[index]
    let thread = old.thread
    let entry = entries[random.below(entries.count)]
    let publishes = random.oneIn(3)
    action = "\(publishes ? "publish" : "get") \(thread.task)"
    let weather = Weather.perhaps(process.kernel, random: &random)
    let wasRegistered = thread.isRegistered
    let before = process.servedMaps
    // Its own, or those of one with its id before.
    let dataWait = process.records.contains { $0.isUnclaimed && $0.task.number == thread.task }
    let isTooBig = !publishes && (old.block.map { entry.end > $0.dataSize } ?? false)
    var failure: Int32?
    let result = Result { () throws(Errno) in
      if !publishes { return try thread.enter(entry) }
      let (isNew, first) = try thread.publish()
      failure = first
      return isNew
    }
    process.kernel.failNoMore()
    switch result {
    case .success(let isNew):
      try expect(!isTooBig, "accepted what is too big")
      try expect(isNew != wasRegistered, "said it was \(isNew ? "new" : "known")")
    case .failure(let error):
      // Without data that wait for it, nothing that fails keeps a thread from its own.
      let allowed = (isTooBig ? [E2BIG] : []) + (dataWait ? weather?.errnos ?? [] : [])
      try expect(allowed.contains(error.code), "errno \(error.code), not one of \(allowed)")
      return try expect(thread.isRegistered == wasRegistered, "a refused call changed who is registered")
    }
    if !wasRegistered && old.waiting == nil { try expectFresh(thread, before: before, nil) }
    try settle(index, passing: nil, isComplete: weather?.hasStruck != true)
    let isUnfit = attachedMaps(describing: thread.block) != Set(keepers.keys)
    if publishes && weather?.hasStruck != true {
      try expect(failure == (isUnfit ? EXDEV : nil), "publishing gave \(failure ?? 0)")
    }
    let limit = process.keys.limit(within: thread.block.dataSize)
    try expect(weather?.hasStruck == true || Int(thread.shared.pointee.limit) == limit, "no fast path")
  }

  /// The thread has data, and is published wherever it should be; with failures, at
  /// least where it was.
  private mutating func settle(_ index: Int, passing map: UInt32?, isComplete: Bool) throws {
    let thread = threads[index].thread
    if let waiting = threads[index].waiting {
      try expect(thread.base == waiting.pointee.block.data, "did not find the data that waited")
      threads[index].base = thread.base
    } else if threads[index].base == nil {
      threads[index].base = thread.base
      threads[index].maps = []
    }
    threads[index].waiting = nil
    threads[index].isSharing = true
    try expect(thread.base == threads[index].base, "a thread's data moved")
    let attached = attachedMaps(describing: thread.block)
    threads[index].maps.formUnion(isComplete ? attached : attached.filter { isPublished(index, in: $0) })
    if let map { threads[index].maps.insert(map) }
    threads[index].stuck.subtract(threads[index].maps)
    write(index)
  }

  private mutating func write(_ index: Int) {
    threads[index].thread.write(threads[index].word)
    noteWord(of: threads[index].thread.task, threads[index].word)
  }

  private mutating func noteWord(of task: Int32, _ word: UInt64?) {
    for i in references.indices where references[i].task == task && !references[i].hasEnded { references[i].word = word }
  }

  private func isPublished(_ index: Int, in map: UInt32) -> Bool {
    threads[index].thread.unpublished(in: map, base: threads[index].block?.data) == nil
  }

  private func attachedMaps(describing block: Block) -> Set<UInt32> {
    Set(process.servedMaps.filter { keepers[$0.id] != nil && (block.isUniversal || $0.format.hasStartField) }.map(\.id))
  }

  /// Which map gives way to a ninth.
  private var oldest: UInt32? { order.first { keepers[$0] == nil } }

  /// A map that is not known yet finds no place.
  private func isFull(for map: MapModel) -> Bool {
    process.servedMaps.count == 8 && oldest == nil && !order.contains(map.id)
  }

  /// Why the call must fail; any of these may be what it says.
  private func refusals(of model: ThreadModel, _ map: MapModel, _ entry: TLDEntry) -> [Int32] {
    if map.id == 0 { return [EBADF] + (model.block.map { entry.end > $0.dataSize } == true ? [E2BIG] : []) }
    var errnos: [Int32] = map.isDataMap ? [] : [EINVAL]
    if isFull(for: map) && map.isDataMap { errnos.append(ENOSPC) }
    guard let block = model.block else { return errnos }
    if entry.end > block.dataSize { errnos.append(E2BIG) }
    if map.valueSize == 16 && !block.isUniversal { errnos.append(EXDEV) }
    return errnos
  }

  private mutating func entered(_ index: Int, _ map: MapModel, _ entry: TLDEntry, _ isNew: Bool,
                                _ before: [DataMap], isComplete: Bool) throws {
    let thread = threads[index].thread
    if isNew && threads[index].waiting == nil { try expectFresh(thread, before: before, map) }
    if !before.contains(where: { $0.id == map.id }) {
      if before.count == 8 { try evicted(oldest!, keeping: thread) }
      order.append(map.id)
    }
    try settle(index, passing: map.id, isComplete: isComplete)
    try expect(thread.mapFD == map.fd.number, "the fast path is for another map")
    if isComplete {
      try expect(thread.fastPath(map.fd, Int16(entry.offset)) == thread.base + entry.offset, "no fast path")
    }
  }

  /// The memory is zero, and shared where, and only where, all maps allow it.
  private func expectFresh(_ thread: ModelThread, before: [DataMap], _ map: MapModel?) throws {
    let block = thread.block
    try expect(thread.base.isZero(block.dataSize), "memory with somebody's data")
    // A map that gives way in this very call may count, or not.
    let isGivingWay = map != nil && before.count == 8 && !before.contains { $0.id == map!.id }
    let staying = isGivingWay ? before.filter { $0.id != oldest } : before
    let isAny = map == nil && before.isEmpty
    let isNeeded = isAny || (staying.map(\.valueSize) + (map.map { [$0.valueSize] } ?? [])).contains(16)
    let isAllowed = isNeeded || before.contains { $0.valueSize == 16 }
    try expect(block.isUniversal ? isAllowed : !isNeeded, "\(block.isUniversal ? "a universal" : "a packed") block")
    try expect(block.dataSize >= process.keys.bytesPerThread, "a block of \(block.dataSize) bytes")
  }

  /// All threads are withdrawn from the map, and must notice.
  private mutating func evicted(_ map: UInt32, keeping caller: ModelThread?) throws {
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
    let mayStay = weather?.hasStruck == true || threads[index].waiting != nil
    let known = threads[index].stuck.union(mayStay ? threads[index].maps : [])
    try expect(left.isSubset(of: known), "left elements in \(left) behind")
    try expect(!thread.isRegistered && thread.shared.pointee.limit == 0 && thread.mapFD == .min,
               "the fast path is open")
    if threads[index].waiting == nil {
      threads[index].stuck = left
      threads[index].maps = []
      threads[index].base = nil
      threads[index].isSharing = false
      for i in references.indices where references[i].task == thread.task { references[i].hasEnded = true }
    }
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
    for i in references.indices where references[i].task == thread.task { references[i].hasEnded = true }
    if random.oneIn(6) { beginStranger(thread.task) } else { freeIDs.append(thread.task) }
    graves.append((thread, thread.mapFD, thread.shared.pointee.limit))
  }

  /// Another process has a thread's former id, and something in the same maps.
  private mutating func beginStranger(_ task: Int32) {
    process.kernel.beginStranger(task)
    for map in maps where map.isDataMap && process.servedMaps.contains(where: { $0.id == map.id }) {
      if strangers.contains(where: { $0.task == task && $0.map == map.id }) { continue }
      let bytes = random.bytes(map.valueSize)
      process.kernel.putForeign(bytes, in: map.fd, for: task)
      strangers.append((task, map.id, bytes))
    }
  }

  private mutating func withdrawAndClear() throws {
    guard !threads.isEmpty else { return }
    let index = random.below(threads.count)
    let thread = threads[index].thread
    action = "free \(thread.task)"
    guard let block = threads[index].block else { return thread.withdrawAndClear() }
    let weather = random.oneIn(4) ? Weather(process.kernel, [.open, .life, .delete], &random) : nil
    process.kernel.forgetWord(of: thread.task)
    thread.withdrawAndClear()
    process.kernel.failNoMore()
    // Whether data wait for the thread cannot be told without a descriptor.
    if threads[index].waiting != nil && weather?.hasStruck == true && !block.data.isZero(8) {
      return process.kernel.remember(threads[index].word, of: thread.task)
    }
    try expect(block.data.isZero(block.dataSize), "data are not cleared")
    noteWord(of: thread.task, nil)
    threads[index].isSharing = false
    let left = process.kernel.dataMaps(with: thread.task)
    try expect(weather?.hasStruck == true || left.isSubset(of: threads[index].stuck), "still in \(left)")
    threads[index].maps.formIntersection(left)
    if threads[index].waiting == nil && !left.isEmpty { write(index) }
  }

  // MARK: Attaching

  private mutating func attach() throws {
    guard !threads.isEmpty, !maps.isEmpty else { return }
    let thread = threads[random.below(threads.count)].thread
    let map = maps[random.below(maps.count)]
    let keeper = [Keepers.caller, .follower(0), .follower(7)][random.below(3)]
    action = "attach map \(map.id) of \(map.valueSize) bytes in \(thread.task)"
    let weather = Weather.perhaps(process.kernel, random: &random)
    let before = process.servedMaps
    var refusals = map.isDataMap ? [] : [EINVAL]
    if map.isDataMap && isFull(for: map) { refusals.append(ENOSPC) }
    let result = Result { () throws(Errno) in try thread.attach(map.fd, for: keeper) }
    process.kernel.failNoMore()
    switch result {
    case .success(let failure):
      try expect(refusals.isEmpty, "attached what should give \(refusals)")
      if !before.contains(where: { $0.id == map.id }) {
        if before.count == 8 { try evicted(oldest!, keeping: nil) }
        order.append(map.id)
      }
      keepers[map.id, default: 0] |= keeper.bits
      try attached(map, failure, weather, by: thread)
    case .failure(let error):
      let allowed = refusals + (weather?.errnos ?? [])
      try expect(allowed.contains(error.code), "errno \(error.code), not one of \(allowed)")
      if before.count == 8 && weather?.hasStruck == true, let oldest { noticeEviction(of: oldest) }
      let left = process.kernel.element(map.id, thread.task)
      if !map.isDataMap && left != nil { leftovers.insert(map.id) }
    }
  }

  private mutating func attached(_ map: MapModel, _ failure: Int32?, _ weather: Weather?, by caller: ModelThread) throws {
    var reasons = weather?.errnos ?? []
    for i in threads.indices where threads[i].isSharing {
      let block = threads[i].block!
      let record = threads[i].waiting ?? threads[i].thread.calling.registered!
      if !block.isUniversal && map.valueSize == 16 {
        reasons.append(EXDEV)
      } else if record.pointee.life == .unknown && threads[i].thread !== caller {
        reasons.append(EAGAIN)
      } else if weather?.hasStruck != true || isPublished(i, in: map.id) {
        threads[i].maps.insert(map.id)
        threads[i].stuck.remove(map.id)
      }
    }
    // One that was never identified, and whose id a new thread has.
    let isAmbiguous = process.records.contains { $0.isSharing && $0.life == .unknown && process.kernel.exists($0.task) }
    if isAmbiguous { reasons.append(EAGAIN) }
    let expectsUnfit = reasons.contains(EXDEV)
    // Of one whose block it cannot describe it may be unknown whether it is still there.
    if isAmbiguous || weather?.hasStruck == true { reasons.append(EXDEV) }
    if let failure {
      try expect(reasons.contains(failure), "\(failure), not one of \(reasons)")
    } else {
      try expect(!expectsUnfit, "nothing failed, though it cannot describe some thread's data")
    }
  }

  private mutating func detach() throws {
    let id = order.isEmpty || random.oneIn(8) ? UInt32(random.below(60)) : order[random.below(order.count)]
    let weather = random.oneIn(4) ? Weather(process.kernel, [.open, .life, .delete], &random) : nil
    defer { process.kernel.failNoMore() }
    let isServed = order.contains(id)
    if random.oneIn(2) {
      let keeper = [Keepers.caller, .follower(0), .follower(7)][random.below(3)]
      action = "detach for \(keeper.bits), except map \(id)"
      let theirs = keepers.filter { $0.key != id && $0.value & keeper.bits != 0 }
      process.registry.detach(for: keeper, except: id)
      for (map, bits) in theirs {
        keepers[map] = bits == keeper.bits ? nil : bits & ~keeper.bits
        if bits == keeper.bits { try detached(map, weather) }
      }
    } else {
      action = "detach map \(id)"
      switch Result(catching: { () throws(Errno) in try process.registry.detach(id) }) {
      case .success: try expect(isServed, "detached what is not known")
      case .failure(let error):
        let allowed = isServed ? weather?.errnos ?? [] : [ENOENT]
        try expect(allowed.contains(error.code), "errno \(error.code), not one of \(allowed)")
      }
      keepers[id] = nil
      if isServed { try detached(id, weather) }
    }
  }

  private mutating func detached(_ map: UInt32, _ weather: Weather?) throws {
    if weather?.hasStruck == true { noticeEviction(of: map) } else { try evicted(map, keeping: nil) }
  }

  // MARK: References

  private mutating func refer() throws {
    guard !threads.isEmpty, references.count < 30 else { return }
    let index = random.below(threads.count)
    let isThere = !random.oneIn(8)
    let target = isThere ? threads[index].thread.task
      : random.oneIn(2) ? strangers.last?.task ?? 7 : freeIDs.last ?? 8
    action = "refer to \(target)"
    let weather = Weather.perhaps(process.kernel, [.open, .life, .update], random: &random)
    let caller = threads[random.below(threads.count)].thread
    let before = process.servedMaps
    let result = Result { () throws(Errno) in try caller.reference(target) }
    process.kernel.failNoMore()
    switch result {
    case .failure(let error):
      let isAmbiguous = process.records.contains { $0.task.number == target && $0.life == .unknown && !$0.hasEnded }
      let allowed = (isThere ? isAmbiguous ? [EAGAIN] : [] : [ESRCH]) + (weather?.errnos ?? [])
      try expect(allowed.contains(error.code), "errno \(error.code), not one of \(allowed)")
    case .success(let record):
      try expect(isThere, "a reference to nobody")
      try referred(index, record, before, isComplete: weather?.hasStruck != true)
    }
  }

  private mutating func referred(_ index: Int, _ record: Record, _ before: [DataMap], isComplete: Bool) throws {
    let block = record.pointee.block
    let thread = threads[index].thread
    references.append(Reference(record: record, task: thread.task))
    if let known = threads[index].block {
      try expect(known.data == block.data, "leads to other data")
      let found = block.data.word(at: 0, as: UInt64.self)
      try expect([0, threads[index].word].contains(found), "leads to \(found)")
      references[references.count - 1].word = found == 0 ? nil : found
      return
    }
    try expect(block.data.isZero(block.dataSize), "memory with somebody's data")
    let isNeeded = before.isEmpty || before.contains { $0.valueSize == 16 }
    try expect(block.isUniversal == isNeeded, "\(block.isUniversal ? "a universal" : "a packed") block")
    threads[index].waiting = record
    threads[index].isSharing = true
    let attached = attachedMaps(describing: block)
    threads[index].maps = isComplete ? attached : attached.filter { isPublished(index, in: $0) }
    threads[index].stuck.subtract(threads[index].maps)
    block.data.storeBytes(of: threads[index].word, as: UInt64.self)
    process.kernel.remember(threads[index].word, of: thread.task)
    noteWord(of: thread.task, threads[index].word)
  }

  private mutating func unrefer() {
    action = "give a reference back"
    guard !references.isEmpty else { return }
    process.registry.unreference(references.remove(at: random.below(references.count)).record)
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
    // Those who vanished are looked for when there are twice as many.
    let most = 2 * (mostThreads + 30)
    try expect(process.records.count <= most + 200, "\(process.records.count) records for \(threads.count) threads")
    try expect(process.pages <= 63 * (most / 63 + 4), "\(process.pages) pages for \(threads.count) threads")
    for reference in references {
      let found = reference.record.pointee.block.data.word(at: 0, as: UInt64.self)
      try expect(found == reference.word ?? 0, "a reference to \(reference.task) leads to \(found)")
    }
    for (task, map, bytes) in strangers where process.kernel.exists(map: map) {
      try expect(process.kernel.element(map, task)?.bytes == bytes, "another process's element was touched")
    }
    for model in threads {
      let thread = model.thread
      for map in model.maps {
        let fault = thread.unpublished(in: map, base: model.block?.data)
        if let fault { throw Wrong(fault) }
      }
      let seen = process.kernel.dataMaps(with: thread.task)
      try expect(seen.isSubset(of: model.maps.union(model.stuck)), "task \(thread.task) is in \(seen)")
      if !model.maps.isEmpty && model.waiting == nil { try expect(thread.word == model.word, "somebody wrote to task \(thread.task)'s data") }
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
    while !references.isEmpty { unrefer() }
    for map in keepers.keys { try process.registry.detach(map) }
    let map = process.kernel.makeMap(valueSize: 16)
    let crowd = (0..<600).map { process.thread(Int32(1_000_000 + $0)) }
    for thread in crowd { try thread.enter(map) }
    try expect(process.records.count == 600, "\(process.records.count - 600) records of threads that are gone")
    for thread in crowd { thread.exit() }
    try expect(process.records.isEmpty && process.usedPages == 0, "\(process.usedPages) pages not given back")
    try expect(process.kernel.heldMaps.isEmpty && process.kernel.ownElementCount == 0, "something is still published")
    if let fault = process.firstUnsoundness() { throw Wrong(fault) }
  }
}
