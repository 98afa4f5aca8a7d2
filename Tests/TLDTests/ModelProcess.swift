// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// A process on the model kernel: its components, and threads that exist as far as the
// registry can tell. What must hold between any two calls is checked here.

import CTLD
import Synchronization
import Testing

@testable import TLD

final class ModelProcess: @unchecked Sendable {
  let kernel = ModelKernel()
  let keys: KeyTable
  let registry: ThreadRegistry<ModelKernel>
  /// The TLD that a process starts with: 8 bytes at offset 0.
  private(set) var first = TLDEntry(index: 0, offset: 0, size: 8)
  /// Whether threads are the machine's, with its ids, rather than this one in turns.
  var hasRealThreads: Bool
  private let mutex = PosixMutex()
  private var lives: [UnsafeMutablePointer<tld_thread>: ModelKernel.Life] = [:]

  init(pageSize: Int = 4096, budget: Int = 48, hasRealThreads: Bool = false, withoutTLD: Bool = false) {
    self.hasRealThreads = hasRealThreads
    let announced = zeroedMemory(64).assumingMemoryBound(to: Atomic<UnsafeMutableRawPointer?>.self)
    keys = KeyTable(state: zeroedState(of: KeyTable.State.self), announced: announced, pageSize: pageSize)
    registry = ThreadRegistry(state: zeroedState(of: ThreadRegistry<ModelKernel>.State.self), keys: keys,
                              kernel: kernel)
    if !withoutTLD { first = try! keys.entry(at: keys.create("first", size: 8, budget: budget, .dynamic)) }
    kernel.askOwner { [unowned self] page, start in owner(ofBytesAt: page, start) }
  }

  /// The life for which the registry keeps a block, asked while it holds its lock. Of a
  /// thread that came for its block, by the thread's memory, whatever its record says.
  private func owner(ofBytesAt page: UInt, _ start: Int) -> (life: ModelKernel.Life?, size: Int)? {
    var next = registry.state.pointee.first
    while let record = next {
      let block = record.pointee.block
      if block.pageAddress.address == page && block.start == start {
        return (life(of: record.pointee), block.dataSize)
      }
      next = record.pointee.next
    }
    return nil
  }

  private func life(of shared: UnsafeMutablePointer<tld_thread>) -> ModelKernel.Life? {
    mutex.locked { lives[shared] }
  }

  fileprivate func note(_ shared: UnsafeMutablePointer<tld_thread>, livesAs task: Int32) {
    let life = kernel.life(task)
    mutex.locked { lives[shared] = life }
  }

  func createKey(_ name: String, size: Int, budget: Int, _ origin: KeyTable.Origin = .dynamic) throws -> TLDEntry {
    try keys.entry(at: keys.create(name, size: size, budget: budget, origin))
  }

  func thread(_ task: Int32) -> ModelThread {
    kernel.begin(task)
    let thread = ModelThread(task, of: self)
    note(thread.shared, livesAs: task)
    return thread
  }

  /// fork(2) by a thread, whose memory the child has under the new id. The registry's
  /// part is left to the caller.
  func fork(_ parent: ModelThread, childTask: Int32) -> ModelThread {
    kernel.fork(childTask: childTask)
    kernel.calling = TaskID(number: childTask)
    note(parent.shared, livesAs: childTask)
    return ModelThread(childTask, forkedBy: parent)
  }

  var lockIsFree: Bool { registry.state.pointee.lock.isFree }
  var lockIsMine: Bool { registry.state.pointee.lock.isMine }

  // MARK: What the registry holds: lists are read up to a bound, should they have no end

  var records: [ThreadRecord] {
    var records: [ThreadRecord] = []
    var next = registry.state.pointee.first
    while let record = next, records.count < 10_000 {
      records.append(record.pointee)
      next = record.pointee.next
    }
    return records
  }

  /// Whether a reference has made data for a thread that has none. Other threads may run.
  func isWaitedFor(_ thread: ModelThread) -> Bool {
    registry.lockForFork()
    defer { registry.unlockAfterFork() }
    return records.contains { $0.task.number == thread.task && $0.isUnclaimed }
  }

  var servedMaps: [DataMap] {
    (0..<8).map { registry.state.pointee.maps[$0] }.filter { $0.id != 0 }
  }

  /// Data pages that exist, and how many of them hold something.
  var pages: Int { registry.state.pointee.arena.pages }

  var usedPages: Int {
    var free = 0
    var next = registry.state.pointee.arena.free
    while let page = next, free <= pages {
      free += 1
      next = page.pointee.next
    }
    return pages - free - openPagesOfNobody
  }

  /// Their blocks came back, but some were never handed out: there is one of a size at most.
  private var openPagesOfNobody: Int {
    (0..<10).count { registry.state.pointee.arena.open[$0]?.pointee.live == 0 }
  }

  // MARK: What must hold between calls

  /// Everything that is true of a registry at rest, given the threads that should be
  /// published, and in which maps.
  func expectSound(_ sourceLocation: SourceLocation = #_sourceLocation) {
    let fault = firstUnsoundness()
    #expect(fault == nil, sourceLocation: sourceLocation)
  }

  /// `descriptorsOfParent`: a fork came in the middle of a call, which had some that were
  /// not noted anywhere yet.
  func firstUnsoundness(descriptorsOfParent: Bool = false) -> String? {
    if let breach = kernel.rulesBroken.first { return breach }
    if kernel.heldTaskDescriptors > 0 { return "\(kernel.heldTaskDescriptors) pidfds left open" }
    let served = servedMaps
    if kernel.heldMaps != served.map(\.id).sorted() && !descriptorsOfParent {
      return "holds descriptors of maps \(kernel.heldMaps), serves \(served.map(\.id))"
    }
    let records = records
    let unclaimed = records.count { $0.isUnclaimed }
    if registry.state.pointee.unclaimed != unclaimed {
      return "counts \(registry.state.pointee.unclaimed) records that wait for their thread, of \(unclaimed)"
    }
    if registry.state.pointee.recordsInUse != records.count {
      return "counts \(registry.state.pointee.recordsInUse) records of \(records.count)"
    }
    return unsoundMap(records) ?? unsoundRecord(records) ?? unsoundPage(records)
  }

  private func unsoundMap(_ records: [ThreadRecord]) -> String? {
    for i in 0..<8 where registry.state.pointee.maps[i].id != 0 {
      let map = registry.state.pointee.maps[i]
      let users = records.count { ($0.published | $0.wanted) & 1 << i != 0 }
      if map.threads != users { return "map \(map.id) counts \(map.threads) threads of \(users)" }
      if users == 0 && map.keepers == .none { return "map \(map.id) is idle and still held" }
    }
    return nil
  }

  private func unsoundRecord(_ records: [ThreadRecord]) -> String? {
    let all = Dictionary(records.map { ($0.task.number, maps(of: $0)) }) { $0.union($1) }
    for record in records {
      let task = record.task.number
      let ids = maps(of: record)
      if ids.contains(0) { return "task \(task) is published through no map" }
      if record.hasEnded && ids.isEmpty && record.references == 0 { return "task \(task) has ended, and is kept" }
      // Of a thread that vanished, and whose id another has by now, nothing is there.
      guard let life = life(of: record), kernel.life(task) == life else { continue }
      // One that left elements behind, and came back, has another record for those.
      let seen = kernel.dataMaps(with: task)
      if !seen.isSuperset(of: ids) || !seen.isSubset(of: all[task]!) {
        return "task \(task) is in maps \(seen), its record says \(ids)"
      }
    }
    return nil
  }

  private func life(of record: ThreadRecord) -> ModelKernel.Life? {
    if let shared = record.shared { return life(of: shared) }
    return record.isUnclaimed ? Int(record.life.number) : nil
  }

  private func maps(of record: ThreadRecord) -> Set<UInt32> {
    Set((0..<8).filter { record.published & 1 << $0 != 0 }.map { registry.state.pointee.maps[$0].id })
  }

  private func unsoundPage(_ records: [ThreadRecord]) -> String? {
    for (page, neighbours) in Dictionary(grouping: records, by: \.block.page) {
      if page.pointee.live != neighbours.count {
        return "a page counts \(page.pointee.live) blocks of \(neighbours.count)"
      }
      let blocks = neighbours.map(\.block).sorted { $0.offset < $1.offset }
      for (a, b) in zip(blocks, blocks.dropFirst()) where a.offset + a.size > b.offset {
        return "two threads have byte \(b.offset) of a page"
      }
    }
    return nil
  }
}

/// A thread: its memory, as the C library would have it, and what it can do. The memory
/// stays when the thread is gone, so that writing into it can be seen.
final class ModelThread: @unchecked Sendable {
  let task: Int32
  let process: ModelProcess
  let shared: UnsafeMutablePointer<tld_thread>
  private let record: UnsafeMutablePointer<UnsafeMutableRawPointer?>

  /// In a forked child: the memory of the thread that forked, under the child's id.
  init(_ task: Int32, forkedBy parent: ModelThread) {
    self.task = task
    process = parent.process
    shared = parent.shared
    record = parent.record
  }

  /// `task` is begun already.
  init(_ task: Int32, of process: ModelProcess) {
    self.task = task
    self.process = process
    shared = zeroedMemory(MemoryLayout<tld_thread>.stride).assumingMemoryBound(to: tld_thread.self)
    shared.pointee.map_fd = .min
    record = zeroedMemory(8).assumingMemoryBound(to: UnsafeMutableRawPointer?.self)
  }

  var calling: CallingThread { CallingThread(shared: shared, record: record) }
  var isRegistered: Bool { calling.registered != nil }
  var base: UnsafeMutableRawPointer { UnsafeMutableRawPointer(shared.pointee.base!) }
  var block: Block { calling.registered!.pointee.block }

  /// As the inline function reads it, while others may reset it.
  var mapFD: Int32 {
    UnsafeMutableRawPointer(shared).advanced(by: 8).assumingMemoryBound(to: Atomic<Int32>.self)
      .pointee.load(ordering: .relaxed)
  }

  /// The inline part of tld_get_data().
  func fastPath(_ fd: FileDescriptor, _ key: Int16) -> UnsafeMutableRawPointer? {
    UInt16(bitPattern: key) < shared.pointee.limit && fd.number == mapFD ? base + Int(key) : nil
  }

  /// The rest of it, for the first TLD unless another is given.
  @discardableResult
  func enter(_ fd: FileDescriptor, _ entry: TLDEntry? = nil) throws(Errno) -> Bool {
    becomeCaller()
    return try process.registry.publishCaller(calling, in: fd, for: entry ?? process.first)
  }

  /// tld_get(): its inline part, and the rest.
  func fastPath(_ key: Int16) -> UnsafeMutableRawPointer? {
    UInt16(bitPattern: key) < shared.pointee.limit ? base + Int(key) : nil
  }

  @discardableResult
  func enter(_ entry: TLDEntry? = nil) throws(Errno) -> Bool {
    becomeCaller()
    return try process.registry.publishCaller(calling, for: entry ?? process.first)
  }

  /// tld_publish(): whether the thread was registered just now, and the first error.
  @discardableResult
  func publish() throws(Errno) -> (isNew: Bool, failure: Int32?) {
    becomeCaller()
    let (isNew, failure) = try process.registry.publish(calling)
    return (isNew, failure?.code)
  }

  /// tld_attach() in this thread: what failed for some thread, or nil.
  @discardableResult
  func attach(_ fd: FileDescriptor, for keeper: Keepers = .caller) throws(Errno) -> Int32? {
    becomeCaller()
    return try process.registry.attach(fd, for: keeper, by: calling).failure?.code
  }

  func detach(_ fd: FileDescriptor) throws(Errno) {
    becomeCaller()
    try process.registry.detach(try process.registry.map(of: fd))
  }

  func detach(for keeper: Keepers, except map: UInt32 = 0) {
    becomeCaller()
    process.registry.detach(for: keeper, except: map)
  }

  /// tld_ref_thread() in this thread.
  func reference(_ task: Int32) throws(Errno) -> Record {
    becomeCaller()
    return try process.registry.reference(TaskID(number: task))
  }

  func unreference(_ record: Record) {
    becomeCaller()
    process.registry.unreference(record)
  }

  func leave() {
    becomeCaller()
    process.registry.retireCaller(calling)
    forgetWordIfWithdrawn()
  }

  func withdrawAndClear() {
    becomeCaller()
    process.registry.withdrawAndClear(calling)
    forgetWordIfWithdrawn()
  }

  private func forgetWordIfWithdrawn() {
    if process.kernel.dataMaps(with: task).isEmpty { process.kernel.forgetWord(of: task) }
  }

  /// What the pthread key's destructor does, once in each round of destructors.
  func endRound() { if calling.isSharing { withdrawAndClear() } else { leave() } }

  /// The end of a thread that did not say so.
  func vanish() { process.kernel.end(task) }

  /// The end of a thread whose destructors ran.
  func exit() {
    leave()
    process.kernel.end(task)
  }

  /// Put a number that no other thread has where the first TLD is.
  func write(_ word: UInt64) {
    base.assumingMemoryBound(to: Atomic<UInt64>.self).pointee.store(word, ordering: .relaxed)
    process.kernel.remember(word, of: task)
  }

  var word: UInt64 {
    base.assumingMemoryBound(to: Atomic<UInt64>.self).pointee.load(ordering: .relaxed)
  }

  func becomeCaller() {
    if !process.hasRealThreads { process.kernel.calling = TaskID(number: task) }
  }

  // MARK: What BPF sees

  func expectPublished(in fds: FileDescriptor..., sourceLocation: SourceLocation = #_sourceLocation) {
    for fd in fds {
      let fault = unpublished(in: process.kernel.id(of: fd))
      #expect(fault == nil, sourceLocation: sourceLocation)
    }
  }

  func expectAbsent(from fds: FileDescriptor..., sourceLocation: SourceLocation = #_sourceLocation) {
    for fd in fds {
      #expect(process.kernel.element(process.kernel.id(of: fd), task) == nil, sourceLocation: sourceLocation)
    }
  }

  /// What is wrong with the thread's element of a map, by docs/reference/wire.md.
  /// BPF finds no TLD behind what is said to be the thread's own, and all that the thread uses before.
  private func misstatedRoom(_ element: ModelKernel.Element, from start: Int) -> String? {
    let room = Int(element.bytes[18]) | Int(element.bytes[19]) << 8
    if Array(element.bytes[20..<24]) != Array("TLDR".utf8) { return "the value does not say what room there is" }
    if room < Int(shared.pointee.limit) || start + room > process.keys.pageSize { return "room for \(room) bytes from \(start) on" }
    return nil
  }

  func unpublished(in map: UInt32, base: UnsafeMutableRawPointer? = nil) -> String? {
    guard let element = process.kernel.element(map, task) else { return "task \(task) is not in map \(map)" }
    let page = UnsafeMutableRawPointer(bitPattern: element.data)!
    let start = (base ?? self.base) - page
    if element.data % 4096 != 0 { return "data at \(element.data), in the middle of a page" }
    if start < 8 || start % 8 != 0 || start >= 32_768 { return "data \(start) bytes into the page" }
    if element.meta != process.keys.page?.base.address { return "metadata at \(element.meta)" }
    if element.bytes.count == 16 {
      if page.word(at: 0, as: UInt64.self) != UInt64(start) { return "v1: start is not where the page begins" }
    } else if Array(element.bytes[16..<18]) != bytes(of: UInt16(start)) {
      return "start is \(element.bytes[16..<18]), not \(start)"
    } else if let fault = misstatedRoom(element, from: start) {
      return fault
    } else if !element.bytes.withUnsafeBytes({ ($0.baseAddress! + 24).isZero(element.bytes.count - 24) }) {
      return "the rest of the value is not zero"
    }
    return nil
  }
}
