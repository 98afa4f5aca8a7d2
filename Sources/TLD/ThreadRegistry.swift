// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Which thread owns which block, and through which data maps it is published. One
// lock for all of it, held over the few system calls of a thread's first use and of
// its end; no access to a TLD after the first takes it. ThreadRegistry+Maps.swift has what
// concerns the maps, ThreadRegistry+Fork.swift what becomes of it all in a child.

import CTLD

/// Some of the registry's data maps: bit i for place i.
typealias MapSet = UInt8

/// One thread that has a block. Lives in memory that is never unmapped: 56 bytes.
struct ThreadRecord {
  var task: TaskID
  /// How many `tld_thread_ref` there are to it.
  var references: Int32 = 0
  /// Unknown until the thread's descriptor was opened once; then nobody but the thread
  /// itself opens it, because its id may be another's by now.
  var life: Life
  let block: Block
  /// The thread will not use the block any more; an element that could not be removed,
  /// or a reference, still keeps it.
  var hasEnded = false
  /// BPF is to see it: not after `tld_free`.
  var isSharing = false
  /// The maps that have an element of it.
  var published: MapSet = 0
  /// The maps that the thread passed to `tld_get_data`.
  var wanted: MapSet = 0
  /// The registry's when it was made: see `ThreadRegistry+Fork.swift`.
  var generation: UInt16 = 0
  /// The thread's own state. nil: the thread has not come for the block that a reference
  /// had made for it, or has ended.
  var shared: UnsafeMutablePointer<tld_thread>?
  var next: UnsafeMutablePointer<ThreadRecord>?
  var previous: UnsafeMutablePointer<ThreadRecord>?

  var isUnclaimed: Bool { shared == nil && !hasEnded }

  func fits(_ format: MapFormat) -> Bool { block.isUniversal || format.hasStartField }
}

typealias Record = UnsafeMutablePointer<ThreadRecord>

/// The thread that calls: where its state and its record are found.
struct CallingThread {
  let shared: UnsafeMutablePointer<tld_thread>
  let record: UnsafeMutablePointer<UnsafeMutableRawPointer?>

  var registered: Record? {
    record.pointee?.assumingMemoryBound(to: ThreadRecord.self)
  }

  /// Whether it used a TLD since it was last withdrawn.
  var isSharing: Bool { registered?.pointee.isSharing ?? false }
}

struct ThreadRegistry<K: Kernel> {
  static var mapLimit: Int { 8 }
  private static var recordBytesPerChunk: ByteCount { 1 << 16 }

  /// All zero at first, but for what `DataMap()` says of a place not taken.
  struct State: ~Copyable {
    var arena = BlockArena.State()
    /// Not first: the thread sanitizer takes a change of any member for one of the word at
    /// the beginning.
    let lock = Lock()
    var maps = InlineArray<8, DataMap>(repeating: DataMap())
    var admissions: UInt64 = 0
    /// Every record in use, the latest first.
    var first: Record?
    var free: Record?
    var recordsInUse = 0
    /// From how many on it is worth while to ask for each whether its thread is gone.
    var sweepAt = 0
    /// How many records wait for their thread.
    var unclaimed = 0
    /// Where a map's value is put together.
    var scratch: UnsafeMutableRawPointer?
    var generation: UInt16 = 0
    /// This is a child whose parent was forked in the middle of a call.
    var isCutOff = false
    /// The descriptor of a map that is being confirmed; 0: none.
    var candidate: Int32 = 0
  }

  let state: UnsafeMutablePointer<State>
  let keys: KeyTable
  let kernel: K

  private var arena: BlockArena {
    unsafe withUnsafeMutablePointer(to: &state.pointee.arena) {
      BlockArena(state: $0, pageSize: keys.pageSize)
    }
  }

  // MARK: What a thread asks for

  /// Publish the calling thread in the map of `fd`, so that a following
  /// `tld_get_data` for `entry` takes the fast path. True if the thread was not
  /// registered before: the caller then arranges for `retireCaller`. Throws what
  /// `tld_get_data` documents; nothing has changed then.
  func publishCaller(_ thread: CallingThread, in fd: FileDescriptor, for entry: TLDEntry) throws(Errno) -> Bool {
    state.pointee.lock.acquire()
    defer { state.pointee.lock.release() }
    defer { dropIdleMaps() }

    let info = try kernel.info(of: fd)
    let format = try DataMap.format(info)
    let (record, origin) = try ownRecord(thread, for: format)
    do throws(Errno) {
      guard entry.end <= record.pointee.block.dataSize else { throw Errno(E2BIG) }
      guard record.pointee.fits(format) else { throw Errno(EXDEV) }
      let place = try admit(fd, info, format)
      let map: MapSet = 1 << place
      var failure = publish(record, through: map)
      if failure != nil, try reopenDescriptor(place, from: fd) { failure = publish(record, through: map) }
      if let failure { throw failure }
      note(record, wanted: record.pointee.wanted | map)
    } catch {
      giveBack(record, origin)
      throw error
    }
    let isComplete = publishEverywhere(record) == nil
    openFastPath(thread, record, through: fd, isComplete)
    return origin != .known
  }

  /// The same in the attached maps: what fails in one of them keeps nobody from storing.
  func publishCaller(_ thread: CallingThread, for entry: TLDEntry) throws(Errno) -> Bool {
    state.pointee.lock.acquire()
    defer { state.pointee.lock.release() }
    defer { dropIdleMaps() }

    let (record, origin) = try ownRecord(thread, for: nil)
    guard entry.end <= record.pointee.block.dataSize else {
      giveBack(record, origin)
      throw Errno(E2BIG)
    }
    let isComplete = publishEverywhere(record) == nil
    openFastPath(thread, record, through: nil, isComplete)
    return origin != .known
  }

  /// Publish the calling thread wherever it should be. Gives the first error; of
  /// the record, as `publishCaller`.
  func publish(_ thread: CallingThread) throws(Errno) -> (isNew: Bool, failure: Errno?) {
    state.pointee.lock.acquire()
    defer { state.pointee.lock.release() }
    defer { dropIdleMaps() }

    guard keys.page?.count ?? 0 > 0 else { throw Errno(EINVAL) }
    let (record, origin) = try ownRecord(thread, for: nil)
    let failure = publishEverywhere(record)
    openFastPath(thread, record, through: nil, failure == nil)
    let unfit = (attached | record.pointee.wanted) & ~maps(that: record)
    return (origin != .known, failure ?? (unfit == 0 ? nil : Errno(EXDEV)))
  }

  /// Withdraw the calling thread's block everywhere and clear it; the thread keeps it,
  /// because its offset in the page, which BPF caches, must stay the same.
  func withdrawAndClear(_ thread: CallingThread) {
    state.pointee.lock.acquire()
    defer { state.pointee.lock.release() }
    guard let record = thread.registered ?? (try? recordInWaiting()) else { return }
    closeFastPath(thread)
    stopSharing(record)
    let block = record.pointee.block
    block.data.initializeMemory(as: UInt8.self, repeating: 0, count: block.dataSize)
    dropIdleMaps()
  }

  /// The calling thread will not use TLDs any more: withdraw its block everywhere and
  /// take it back.
  func retireCaller(_ thread: CallingThread) {
    guard let record = thread.registered else { return }
    state.pointee.lock.acquire()
    defer { state.pointee.lock.release() }
    closeFastPath(thread)
    thread.record.pointee = nil
    stopSharing(record)
    retire(record)
    dropIdleMaps()
  }

  private func stopSharing(_ record: Record) {
    record.pointee.isSharing = false
    note(record, wanted: 0)
    _ = withdraw(record, from: MapSet.max)
  }

  // MARK: References

  /// The record of any thread of this process, made if there is none, with one reference
  /// more. Throws what `tld_ref_thread` documents.
  func reference(_ task: TaskID) throws(Errno) -> Record {
    state.pointee.lock.acquire()
    defer { state.pointee.lock.release() }
    defer { dropIdleMaps() }

    guard task.number > 0, keys.page?.count ?? 0 > 0 else { throw Errno(EINVAL) }
    let life = try life(of: task)
    if let record = try find(task, life) {
      record.pointee.references += 1
      return record
    }
    let record = try makeRecord(task, life, universal: needsUniversalBlock(for: nil))
    state.pointee.unclaimed += 1
    record.pointee.isSharing = true
    record.pointee.references = 1
    _ = publish(record, through: attached & maps(that: record))
    return record
  }

  func unreference(_ record: Record) {
    state.pointee.lock.acquire()
    defer { state.pointee.lock.release() }
    record.pointee.references -= 1
    // Made before a fork that left the parent's state unusable: it is in no list.
    guard record.pointee.generation == state.pointee.generation else { return }
    if record.pointee.hasEnded { retire(record) }
  }

  /// The life of a thread of this process. Throws ESRCH.
  private func life(of task: TaskID) throws(Errno) -> Life {
    let fd = try openExisting(task)
    defer { kernel.close(fd) }
    // Asked after the id was turned into a descriptor: it is this process's thread, or one
    // that is gone.
    guard kernel.exists(task) else { throw Errno(ESRCH) }
    return try kernel.life(of: fd)
  }

  /// Throws EAGAIN where a record may be the thread's but was never identified.
  private func find(_ task: TaskID, _ life: Life) throws(Errno) -> Record? {
    var next = state.pointee.first
    while let record = next {
      next = record.pointee.next
      guard record.pointee.task == task, !record.pointee.hasEnded else { continue }
      if record.pointee.life == life { return record }
      if record.pointee.life == .unknown { throw Errno(EAGAIN) }
    }
    return nil
  }

  // MARK: The thread's own state

  /// Upwards base and map first, so that a signal handler that sees `limit` sees them.
  /// Where something could not be published, the next call is to try again.
  private func openFastPath(_ thread: CallingThread, _ record: Record, through fd: FileDescriptor?,
                        _ isComplete: Bool) {
    let block = record.pointee.block
    let shared = thread.shared
    let isIdentified = record.pointee.life != .unknown || identify(record)
    record.pointee.isSharing = true
    thread.record.pointee = UnsafeMutableRawPointer(record)
    shared.pointee.base = block.data.assumingMemoryBound(to: CChar.self)
    if let fd { shared.pointee.map_fd = fd.number }
    ctld_signal_fence()
    let limit = isComplete && isIdentified ? UInt16(keys.limit(within: block.dataSize)) : 0
    shared.pointee.limit = max(shared.pointee.limit, limit)
  }

  /// So that others can publish the thread, also where that was not needed so far. False if
  /// it is worth while to try again: where pidfds are refused, nobody publishes anything.
  func identify(_ record: Record) -> Bool {
    do {
      kernel.close(try open(record))
      return true
    } catch {
      return error.code == EOPNOTSUPP || error.code == ENOSYS || error.code == EPERM
    }
  }

  func closeFastPath(_ thread: CallingThread) {
    thread.shared.pointee.limit = 0
    ctld_signal_fence()
    thread.shared.pointee.map_fd = Int32.min
  }

  // MARK: Records

  private enum Origin { case known, claimed, made }

  /// The calling thread's record: the one it has, the one that a reference made for it, or
  /// a new one, with a block that suits `format`.
  private func ownRecord(_ thread: CallingThread,
                         for format: MapFormat?) throws(Errno) -> (Record, Origin) {
    let (record, origin) = try findOrMakeRecord(thread, for: format)
    record.pointee.shared = thread.shared
    return (record, origin)
  }

  private func findOrMakeRecord(_ thread: CallingThread,
                                for format: MapFormat?) throws(Errno) -> (Record, Origin) {
    if let record = thread.registered { return (record, .known) }
    if let record = try recordInWaiting() {
      state.pointee.unclaimed -= 1
      return (record, .claimed)
    }
    return (try makeRecord(kernel.currentTask, .unknown, universal: needsUniversalBlock(for: format)), .made)
  }

  /// The record that waits for the calling thread.
  private func recordInWaiting() throws(Errno) -> Record? {
    guard state.pointee.unclaimed > 0 else { return nil }
    let task = kernel.currentTask
    var isWaiting = false
    forEachRecord { isWaiting = isWaiting || $0.pointee.isUnclaimed && $0.pointee.task == task }
    guard isWaiting else { return nil }
    do throws(Errno) {
      let life = try life(of: task)
      var found: Record?
      forEachRecord { record in
        let isMine = record.pointee.isUnclaimed && record.pointee.task == task && record.pointee.life == life
        if isMine { found = record }
      }
      return found
    } catch {
      throw Errno(EAGAIN)  // whether it is this thread's cannot be told for now
    }
  }

  /// As it was before `ownRecord`, whose call failed.
  private func giveBack(_ record: Record, _ origin: Origin) {
    switch origin {
    case .known: break
    case .claimed:
      record.pointee.shared = nil
      state.pointee.unclaimed += 1
    case .made:
      stopSharing(record)
      retire(record)
    }
  }

  private func makeRecord(_ task: TaskID, _ life: Life, universal: Bool) throws(Errno) -> Record {
    let bytes = keys.bytesPerThread
    let isFree = state.pointee.free != nil && arena.hasFreeBlock(for: bytes, universal: universal)
    if !isFree && state.pointee.recordsInUse >= state.pointee.sweepAt { sweep(for: task) }
    if state.pointee.free == nil { try mapRecords() }
    let block = try arena.allocate(bytes, universal: universal)

    let record = state.pointee.free!
    state.pointee.free = record.pointee.next
    record.initialize(to: ThreadRecord(task: task, life: life, block: block,
                                       generation: state.pointee.generation, next: state.pointee.first))
    state.pointee.first?.pointee.previous = record
    state.pointee.first = record
    state.pointee.recordsInUse += 1
    return record
  }

  /// Forget a record and take its block back, unless BPF or a reference may still find it.
  func retire(_ record: Record) {
    if record.pointee.isUnclaimed { state.pointee.unclaimed -= 1 }
    record.pointee.shared = nil
    record.pointee.hasEnded = true
    record.pointee.isSharing = false
    guard record.pointee.published == 0, record.pointee.references == 0 else { return }
    arena.release(record.pointee.block)
    if let previous = record.pointee.previous {
      previous.pointee.next = record.pointee.next
    } else {
      state.pointee.first = record.pointee.next
    }
    record.pointee.next?.pointee.previous = record.pointee.previous
    record.pointee.next = state.pointee.free
    state.pointee.free = record
    state.pointee.recordsInUse -= 1
  }

  /// Before new memory is asked for: take back what belongs to threads that are gone.
  /// They ended without pthread destructors, or their element could not be removed;
  /// with the task its elements went too. A record with the id of `newcomer`, who has
  /// none, is a former thread's. Not again before there are twice as many, so that each
  /// new thread pays for few others.
  private func sweep(for newcomer: TaskID) {
    defer { state.pointee.sweepAt = 2 * state.pointee.recordsInUse }
    forEachRecord { record in
      if record.pointee.hasEnded {
        _ = withdraw(record, from: MapSet.max)
        retire(record)
      } else if record.pointee.task == newcomer || !kernel.exists(record.pointee.task) {
        retireGone(record)
      }
    }
  }

  /// A record's thread is gone, and with it its elements.
  func retireGone(_ record: Record) {
    note(record, published: 0, wanted: 0)
    retire(record)
  }

  /// `body` may retire the record.
  func forEachRecord(_ body: (Record) -> Void) {
    var next = state.pointee.first
    while let record = next {
      next = record.pointee.next
      body(record)
    }
  }

  private func mapRecords() throws(Errno) {
    let bytes = Self.recordBytesPerChunk
    guard let chunk = ctld_map(bytes) else { throw Errno(ENOMEM) }
    let count = bytes / MemoryLayout<ThreadRecord>.stride
    let records = chunk.bindMemory(to: ThreadRecord.self, capacity: count)
    for i in 0..<count {
      (records + i).pointee.next = state.pointee.free
      state.pointee.free = records + i
    }
  }
}
