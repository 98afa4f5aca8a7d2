// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Which thread owns which block, and through which data maps it is published. One
// lock for all of it, held over the few system calls of a thread's first use and of
// its end; no access to a TLD after the first takes it.

import CTLD

/// One thread that has a block. Lives in memory that is never unmapped.
struct ThreadRecord {
  let task: TaskID
  let block: Block
  /// The thread's own state; nil once it ended, or gave up its record, while an
  /// element that could not be removed still keeps the block.
  var shared: UnsafeMutablePointer<tld_thread>?
  /// Bit i: published through map i.
  var published: UInt8 = 0
  var next: UnsafeMutablePointer<ThreadRecord>?
  var previous: UnsafeMutablePointer<ThreadRecord>?
}

/// The thread that calls: where its state and its record are found.
struct CallingThread {
  let shared: UnsafeMutablePointer<tld_thread>
  let record: UnsafeMutablePointer<UnsafeMutableRawPointer?>

  var registered: UnsafeMutablePointer<ThreadRecord>? {
    record.pointee?.assumingMemoryBound(to: ThreadRecord.self)
  }

  /// Whether it used a TLD since it was last withdrawn.
  var isSharing: Bool { shared.pointee.limit != 0 }
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
    /// Every record in use.
    var first: UnsafeMutablePointer<ThreadRecord>?
    var free: UnsafeMutablePointer<ThreadRecord>?
    /// Where a map's value is put together.
    var scratch: UnsafeMutableRawPointer?
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
  /// registered before: the caller then arranges for `leave`. Throws what
  /// `tld_get_data` documents; nothing has changed then.
  func enter(_ entry: TLDEntry, through fd: FileDescriptor, _ thread: CallingThread) throws(Errno) -> Bool {
    state.pointee.lock.acquire()
    defer { state.pointee.lock.release() }
    defer { dropIdleMaps() }

    noticeBareFork(thread)
    let info = try kernel.info(of: fd)
    let format = try DataMap.format(info)
    if let record = thread.registered {
      try serve(entry, through: fd, info, format, record)
      activate(thread, record, fd)
      return false
    }
    let record = try register(thread, for: format)
    do throws(Errno) {
      try serve(entry, through: fd, info, format, record)
    } catch {
      retire(record)
      throw error
    }
    thread.record.pointee = UnsafeMutableRawPointer(record)
    activate(thread, record, fd)
    return true
  }

  private func serve(_ entry: TLDEntry, through fd: FileDescriptor, _ info: MapInfo, _ format: MapFormat,
                     _ record: UnsafeMutablePointer<ThreadRecord>) throws(Errno) {
    let block = record.pointee.block
    guard entry.end <= block.dataSize else { throw Errno(E2BIG) }
    guard block.isUniversal || format.hasStartField else { throw Errno(EXDEV) }
    try publish(record, through: try admit(fd, info, format, record.pointee.task))
  }

  /// Withdraw the calling thread's block everywhere and clear it; the thread keeps it,
  /// because its offset in the page, which BPF caches, must stay the same.
  func withdrawAndClear(_ thread: CallingThread) {
    guard let record = thread.registered else { return }
    state.pointee.lock.acquire()
    defer { state.pointee.lock.release() }
    noticeBareFork(thread)
    deactivate(thread)
    withdraw(record)
    let block = record.pointee.block
    block.data.initializeMemory(as: UInt8.self, repeating: 0, count: block.dataSize)
    dropIdleMaps()
  }

  /// The calling thread will not use TLDs any more: withdraw its block everywhere and
  /// take it back.
  func leave(_ thread: CallingThread) {
    guard let record = thread.registered else { return }
    state.pointee.lock.acquire()
    defer { state.pointee.lock.release() }
    noticeBareFork(thread)
    deactivate(thread)
    thread.record.pointee = nil
    withdraw(record)
    retire(record)
    dropIdleMaps()
  }

  // MARK: Fork

  func lockForFork() { state.pointee.lock.acquire() }
  func unlockAfterFork() { state.pointee.lock.release() }

  func resetInChild(_ thread: CallingThread) {
    forgetParent(thread)
    state.pointee.lock.reset()
  }

  /// `_Fork` and the like run no handlers: the child finds its thread under another id.
  private func noticeBareFork(_ thread: CallingThread) {
    if let record = thread.registered, record.pointee.task != kernel.currentTask { forgetParent(thread) }
  }

  /// In a child only the calling thread lives, under a new id, and nothing of it is
  /// published; its pointers and values stay. What other threads had is free.
  private func forgetParent(_ thread: CallingThread) {
    deactivate(thread)
    for i in 0..<Self.mapLimit { state.pointee.maps[i].threads = 0 }
    var next = state.pointee.first
    while let record = next {
      next = record.pointee.next
      record.pointee.published = 0
      if record != thread.registered { retire(record) }
    }
    if let own = thread.registered {
      own.pointee = ThreadRecord(task: kernel.currentTask, block: own.pointee.block, shared: thread.shared)
      state.pointee.first = own
    }
    dropIdleMaps()
  }

  // MARK: The thread's own state

  /// Upwards base and map first, so that a signal handler that sees `limit` sees them.
  private func activate(_ thread: CallingThread, _ record: UnsafeMutablePointer<ThreadRecord>,
                        _ fd: FileDescriptor) {
    let block = record.pointee.block
    let shared = thread.shared
    shared.pointee.base = block.data.assumingMemoryBound(to: CChar.self)
    shared.pointee.map_fd = fd.number
    ctld_signal_fence()
    shared.pointee.limit = max(shared.pointee.limit, UInt16(keys.limit(within: block.dataSize)))
  }

  private func deactivate(_ thread: CallingThread) {
    thread.shared.pointee.limit = 0
    ctld_signal_fence()
    thread.shared.pointee.map_fd = Int32.min
  }

  // MARK: Records

  /// Whether a new block must be one that every format can describe, because a map needs
  /// it: one known, or the one of `format`, for which the block is made.
  private func needsUniversalBlock(for format: MapFormat) -> Bool {
    for i in 0..<Self.mapLimit where state.pointee.maps[i].id != 0 {
      if !state.pointee.maps[i].format.hasStartField { return true }
    }
    return !format.hasStartField
  }

  private func register(_ thread: CallingThread,
                        for format: MapFormat) throws(Errno) -> UnsafeMutablePointer<ThreadRecord> {
    let universal = needsUniversalBlock(for: format)
    let bytes = keys.bytesPerThread
    if state.pointee.free == nil || !arena.hasRoom(for: bytes, universal: universal) { sweep() }
    if state.pointee.free == nil { try mapRecords() }
    let block = try arena.allocate(bytes, universal: universal)

    let record = state.pointee.free!
    state.pointee.free = record.pointee.next
    record.initialize(to: ThreadRecord(task: kernel.currentTask, block: block, shared: thread.shared,
                                       next: state.pointee.first))
    state.pointee.first?.pointee.previous = record
    state.pointee.first = record
    return record
  }

  /// Forget a record and take its block back, unless BPF may still find it.
  private func retire(_ record: UnsafeMutablePointer<ThreadRecord>) {
    record.pointee.shared = nil
    guard record.pointee.published == 0 else { return }
    arena.release(record.pointee.block)
    if let previous = record.pointee.previous {
      previous.pointee.next = record.pointee.next
    } else {
      state.pointee.first = record.pointee.next
    }
    record.pointee.next?.pointee.previous = record.pointee.previous
    record.pointee.next = state.pointee.free
    state.pointee.free = record
  }

  /// Before new memory is asked for: take back what belongs to threads that are gone.
  /// They ended without pthread destructors, or their element could not be removed;
  /// with the task its elements went too. One with the caller's own id is a former
  /// thread's, or the caller's own that could not be withdrawn: to try again suits both.
  private func sweep() {
    let own = kernel.currentTask
    var next = state.pointee.first
    while let record = next {
      next = record.pointee.next
      if record.pointee.task == own {
        withdraw(record)
        retire(record)
      } else if !kernel.exists(record.pointee.task) {
        forget(record.pointee.published)
        record.pointee.published = 0
        retire(record)
      }
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

  // MARK: Maps

  /// The place of the map of `fd`, taken in if it is new; it is confirmed with an
  /// element of the calling thread first, so that no other map gives way for nothing.
  private func admit(_ fd: FileDescriptor, _ info: MapInfo, _ format: MapFormat,
                     _ caller: TaskID) throws(Errno) -> Int {
    for i in 0..<Self.mapLimit where state.pointee.maps[i].id == info.id { return i }
    let map = DataMap(id: info.id, fd: try kernel.duplicate(fd), format: format,
                      valueSize: info.valueSize, admitted: state.pointee.admissions + 1)
    do throws(Errno) {
      try confirm(map, caller)
      let place = try vacantPlace()
      state.pointee.admissions += 1
      state.pointee.maps[place] = map
      return place
    } catch {
      kernel.close(map.fd)
      throw error
    }
  }

  private func confirm(_ map: DataMap, _ caller: TaskID) throws(Errno) {
    let scratch = try valueBuffer()
    let task = try kernel.open(caller)
    defer { kernel.close(task) }
    try map.confirm(task, scratch: scratch, kernel)
  }

  /// A free place in the table; when it is full, the oldest map's, from which every
  /// thread is withdrawn.
  private func vacantPlace() throws(Errno) -> Int {
    var oldest = 0
    for i in 0..<Self.mapLimit {
      if state.pointee.maps[i].id == 0 { return i }
      if state.pointee.maps[i].admitted < state.pointee.maps[oldest].admitted { oldest = i }
    }
    var next = state.pointee.first
    while let record = next {
      next = record.pointee.next
      try withdraw(record, from: oldest)
    }
    dropIdleMaps()
    return oldest
  }

  /// A map through which nobody is published is let go.
  private func dropIdleMaps() {
    for i in 0..<Self.mapLimit where state.pointee.maps[i].id != 0 && state.pointee.maps[i].threads == 0 {
      kernel.close(state.pointee.maps[i].fd)
      state.pointee.maps[i] = DataMap()
    }
  }

  private func publish(_ record: UnsafeMutablePointer<ThreadRecord>, through map: Int) throws(Errno) {
    guard record.pointee.published & 1 << map == 0 else { return }
    guard let meta = keys.page?.base else { throw Errno(EINVAL) }
    let scratch = try valueBuffer()
    let task = try kernel.open(record.pointee.task)
    defer { kernel.close(task) }
    try state.pointee.maps[map].publish(record.pointee.block, meta: meta, as: task, scratch: scratch, kernel)
    record.pointee.published |= 1 << map
    state.pointee.maps[map].threads += 1
  }

  private func valueBuffer() throws(Errno) -> UnsafeMutableRawPointer {
    if state.pointee.scratch == nil { state.pointee.scratch = ctld_map(MapFormat.largestValue) }
    guard let scratch = state.pointee.scratch else { throw Errno(ENOMEM) }
    return scratch
  }

  /// Remove a thread's elements. What cannot be removed stays marked as published.
  private func withdraw(_ record: UnsafeMutablePointer<ThreadRecord>) {
    guard record.pointee.published != 0, let task = try? kernel.open(record.pointee.task) else { return }
    defer { kernel.close(task) }
    for i in 0..<Self.mapLimit where record.pointee.published & 1 << i != 0 {
      if (try? state.pointee.maps[i].withdraw(task, kernel)) != nil {
        forget(1 << i)
        record.pointee.published &= ~(1 << i)
      }
    }
  }

  /// Remove a thread's element from one map, with the thread's fast path to it.
  private func withdraw(_ record: UnsafeMutablePointer<ThreadRecord>, from map: Int) throws(Errno) {
    guard record.pointee.published & 1 << map != 0 else { return }
    do throws(Errno) {
      let task = try kernel.open(record.pointee.task)
      defer { kernel.close(task) }
      // Asked after the id was turned into a descriptor: it is not another process's by now.
      if kernel.exists(record.pointee.task) {
        try state.pointee.maps[map].withdraw(task, kernel)
        if let shared = record.pointee.shared, !isSuperseded(record) { ctld_reset_map(shared) }
      }
    } catch {
      if error.code != ESRCH { throw error }  // the thread is gone, and its element with it
    }
    forget(1 << map)
    record.pointee.published &= ~(1 << map)
  }

  /// Whether a thread that registered later has the same id: then the record's is gone,
  /// and its state may be anybody's memory. Later records come first.
  private func isSuperseded(_ record: UnsafeMutablePointer<ThreadRecord>) -> Bool {
    var next = state.pointee.first
    while let later = next, later != record {
      if later.pointee.task == record.pointee.task { return true }
      next = later.pointee.next
    }
    return false
  }

  /// A thread is no longer published through these maps.
  private func forget(_ published: UInt8) {
    for i in 0..<Self.mapLimit where published & 1 << i != 0 { state.pointee.maps[i].threads -= 1 }
  }
}
