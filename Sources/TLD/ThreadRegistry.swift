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
}

struct ThreadRegistry<K: Kernel> {
  static var mapLimit: Int { 8 }
  /// The kernel's limit for a task storage value is below this.
  private static var largestValue: ByteCount { 1 << 16 }
  private static var recordBytesPerChunk: ByteCount { 1 << 16 }

  /// All zero at first, but for what `DataMap()` says of a place not taken.
  struct State: ~Copyable {
    let lock = Lock()
    var arena = BlockArena.State()
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

    if let record = thread.registered {
      try checkFit(entry, record)
      try publish(record, through: try admit(fd))
      activate(thread, record, fd)
      return false
    }
    let map = try admit(fd)
    let record = try register(thread)
    do throws(Errno) {
      try checkFit(entry, record)
      try publish(record, through: map)
    } catch {
      retire(record)
      throw error
    }
    thread.record.pointee = UnsafeMutableRawPointer(record)
    activate(thread, record, fd)
    return true
  }

  /// The calling thread ends, or wants to be forgotten: withdraw its block everywhere
  /// and take it back.
  func leave(_ thread: CallingThread) {
    guard let record = thread.registered else { return }
    state.pointee.lock.acquire()
    defer { state.pointee.lock.release() }
    deactivate(thread)
    thread.record.pointee = nil
    withdraw(record)
    retire(record)
    dropIdleMaps()
  }

  /// Withdraw the calling thread's block everywhere and clear it; the thread keeps it.
  func withdrawAndClear(_ thread: CallingThread) {
    guard let record = thread.registered else { return }
    state.pointee.lock.acquire()
    defer { state.pointee.lock.release() }
    deactivate(thread)
    withdraw(record)
    let block = record.pointee.block
    block.data.initializeMemory(as: UInt8.self, repeating: 0, count: block.dataSize)
    dropIdleMaps()
  }

  // MARK: Fork

  func lockForFork() { state.pointee.lock.acquire() }
  func unlockAfterFork() { state.pointee.lock.release() }

  /// In the child only the calling thread lives, under a new id, and nothing of it is
  /// published; its pointers and values stay. What other threads had is free.
  func resetInChild(_ thread: CallingThread) {
    deactivate(thread)
    for i in 0..<Self.mapLimit { state.pointee.maps[i].threads = 0 }
    var next = state.pointee.first
    while let record = next {
      next = record.pointee.next
      record.pointee.published = 0
      if record != thread.registered { retire(record) }
    }
    if let old = thread.registered {
      old.pointee = ThreadRecord(task: kernel.currentTask, block: old.pointee.block,
                                 shared: thread.shared)
      state.pointee.first = old
    }
    dropIdleMaps()
    state.pointee.lock.reset()
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

  private func checkFit(_ entry: TLDEntry, _ record: UnsafeMutablePointer<ThreadRecord>) throws(Errno) {
    guard entry.end <= record.pointee.block.dataSize else { throw Errno(E2BIG) }
  }

  /// Universal blocks, which every format can describe, while it is not known what
  /// maps will come or one needs them.
  private var needsUniversalBlocks: Bool {
    var known = false
    for i in 0..<Self.mapLimit where state.pointee.maps[i].id != 0 {
      if !state.pointee.maps[i].format.hasStartField { return true }
      known = true
    }
    return !known
  }

  private func register(_ thread: CallingThread) throws(Errno) -> UnsafeMutablePointer<ThreadRecord> {
    let universal = needsUniversalBlocks
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

  /// The place of the map of `fd`, taken in if it is new. Throws EBADF, EINVAL, EMFILE
  /// and what else the kernel says.
  private func admit(_ fd: FileDescriptor) throws(Errno) -> Int {
    let info = try kernel.info(of: fd)
    let format = try DataMap.format(info)
    for i in 0..<Self.mapLimit where state.pointee.maps[i].id == info.id { return i }
    let place = try vacantPlace()
    state.pointee.admissions += 1
    state.pointee.maps[place] = DataMap(id: info.id, fd: try kernel.duplicate(fd), format: format,
                                        valueSize: info.valueSize, admitted: state.pointee.admissions)
    return place
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
    let block = record.pointee.block
    guard block.isUniversal || state.pointee.maps[map].format.hasStartField else { throw Errno(EXDEV) }
    guard let meta = keys.page?.base else { throw Errno(EINVAL) }
    let scratch = try valueBuffer()
    let task = try kernel.open(record.pointee.task)
    defer { kernel.close(task) }
    try state.pointee.maps[map].publish(block, meta: meta, as: task, scratch: scratch, kernel)
    record.pointee.published |= 1 << map
    state.pointee.maps[map].threads += 1
  }

  private func valueBuffer() throws(Errno) -> UnsafeMutableRawPointer {
    if state.pointee.scratch == nil { state.pointee.scratch = ctld_map(Self.largestValue) }
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
    if kernel.exists(record.pointee.task) {
      let task = try kernel.open(record.pointee.task)
      defer { kernel.close(task) }
      try state.pointee.maps[map].withdraw(task, kernel)
      if let shared = record.pointee.shared { ctld_reset_map(shared) }
    }
    forget(1 << map)
    record.pointee.published &= ~(1 << map)
  }

  /// A thread is no longer published through these maps.
  private func forget(_ published: UInt8) {
    for i in 0..<Self.mapLimit where published & 1 << i != 0 { state.pointee.maps[i].threads -= 1 }
  }
}
