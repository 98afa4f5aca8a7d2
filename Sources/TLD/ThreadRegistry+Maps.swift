// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The registry's data maps: which are served, for whom, and the threads' elements in
// them.

import CTLD

extension ThreadRegistry {
  /// What became of `attach`: the map's id, and the first thing that failed.
  struct Attachment {
    let map: UInt32
    let failure: Errno?
  }

  // MARK: Attaching

  /// Publish every thread in the map of `fd`, now and from now on. Throws what
  /// `tld_attach` documents for a map that is not attached.
  func attach(_ fd: FileDescriptor, for keeper: Keepers,
              by thread: CallingThread? = nil) throws(Errno) -> Attachment {
    state.pointee.lock.acquire()
    defer { state.pointee.lock.release() }
    defer { dropIdleMaps() }

    let info = try kernel.info(of: fd)
    let place = try admit(fd, info, try DataMap.format(info))
    _ = try reopenDescriptor(place, from: fd)
    slot(place).pointee.keepers.bits |= keeper.bits
    slot(place).pointee.isLeaving = false
    return Attachment(map: info.id, failure: publishAll(through: place, thread))
  }

  /// Withdraw every thread from a map, whoever wanted it. Throws ENOENT, or what failed
  /// first; what failed is tried again by the next call.
  func detach(_ map: UInt32) throws(Errno) {
    state.pointee.lock.acquire()
    defer { state.pointee.lock.release() }
    defer { dropIdleMaps() }

    guard let place = place(of: map) else { throw Errno(ENOENT) }
    if let error = withdrawAll(from: place) { throw error }
  }

  /// `keeper` wants no map any more, except this one if it had; the last one's going detaches a map.
  func detach(for keeper: Keepers, except map: UInt32 = 0) {
    state.pointee.lock.acquire()
    defer { state.pointee.lock.release() }
    defer { dropIdleMaps() }

    for i in 0..<Self.mapLimit where slot(i).pointee.id != map {
      let keepers = slot(i).pointee.keepers.bits
      slot(i).pointee.keepers.bits = keepers & ~keeper.bits
      if keepers != 0 && keepers == keeper.bits { _ = withdrawAll(from: i) }
    }
  }

  /// Try again what failed when maps were detached. Gives what fails now.
  func finishDetaching() -> Errno? {
    state.pointee.lock.acquire()
    defer { state.pointee.lock.release() }
    defer { dropIdleMaps() }

    var failure: Errno?
    for i in 0..<Self.mapLimit where slot(i).pointee.isLeaving {
      let error = withdrawRest(from: i)
      failure = failure ?? error
    }
    return failure
  }

  /// Whether `keeper` has the map attached.
  func isAttached(_ map: UInt32, for keeper: Keepers) -> Bool {
    state.pointee.lock.acquire()
    defer { state.pointee.lock.release() }
    guard let place = place(of: map) else { return false }
    return slot(place).pointee.keepers.bits & keeper.bits != 0
  }

  /// The id of a descriptor's map. Throws EBADF, EINVAL: programs have ids of their own.
  func map(of fd: FileDescriptor) throws(Errno) -> UInt32 {
    let info = try kernel.info(of: fd)
    _ = try DataMap.format(info)
    return info.id
  }

  /// Gives the first thing that failed. A thread that has ended is not a failure.
  private func publishAll(through place: Int, _ caller: CallingThread?) -> Errno? {
    let format = slot(place).pointee.format
    var failure: Errno?
    forEachRecord { record in
      guard record.pointee.isSharing else { return }
      var error: Errno?
      if !record.pointee.fits(format) {
        error = Errno(isGone(record) ? ESRCH : EXDEV)
      } else if record.pointee.life == .unknown, record != caller?.registered {
        error = Errno(kernel.exists(record.pointee.task) ? EAGAIN : ESRCH)
      } else {
        error = publish(record, through: 1 << place)
      }
      if error?.code == ESRCH { retireGone(record) } else { failure = failure ?? error }
    }
    return failure
  }

  private func withdrawAll(from place: Int) -> Errno? {
    let map: MapSet = 1 << place
    slot(place).pointee.keepers = .none
    forEachRecord { note($0, wanted: $0.pointee.wanted & ~map) }
    return withdrawRest(from: place)
  }

  /// Withdraw whoever has not asked for the map since it was detached.
  private func withdrawRest(from place: Int) -> Errno? {
    let map: MapSet = 1 << place
    var failure: Errno?
    forEachRecord { record in
      let error = withdraw(record, from: map & ~record.pointee.wanted)
      if record.pointee.hasEnded { retire(record) }
      failure = failure ?? error
    }
    slot(place).pointee.isLeaving = failure != nil
    return failure
  }

  // MARK: The table

  /// In place: a copy that is changed and written back would bring back a descriptor that
  /// `cutOffInterruptedCall` replaced in between.
  func slot(_ place: Int) -> UnsafeMutablePointer<DataMap> {
    unsafe withUnsafeMutablePointer(to: &state.pointee.maps) {
      UnsafeMutableRawPointer($0).assumingMemoryBound(to: DataMap.self) + place
    }
  }

  var attached: MapSet {
    maps { $0.keepers != .none }
  }

  /// The maps that can describe a record's block.
  func maps(that record: Record) -> MapSet {
    maps { record.pointee.fits($0.format) }
  }

  private func maps(_ condition: (DataMap) -> Bool) -> MapSet {
    var set: MapSet = 0
    for i in 0..<Self.mapLimit where slot(i).pointee.id != 0 && condition(slot(i).pointee) {
      set |= 1 << i
    }
    return set
  }

  private func place(of map: UInt32) -> Int? {
    for i in 0..<Self.mapLimit where slot(i).pointee.id == map { return map == 0 ? nil : i }
    return nil
  }

  /// Whether a new block must be one that every format can describe: because a map needs
  /// it, one known or the one of `format`, for which the block is made; or because none is
  /// known, and any may come.
  func needsUniversalBlock(for format: MapFormat?) -> Bool {
    let known = maps { _ in true }
    let v1 = maps { !$0.format.hasStartField }
    guard let format else { return known == 0 || v1 != 0 }
    return v1 != 0 || !format.hasStartField
  }

  /// The place of the map of `fd`, taken in if it is new; it is confirmed with an
  /// element of the calling thread first, so that no other map gives way for nothing.
  func admit(_ fd: FileDescriptor, _ info: MapInfo, _ format: MapFormat) throws(Errno) -> Int {
    if let place = place(of: info.id) { return place }
    var map = DataMap(id: info.id, fd: try kernel.duplicate(fd), format: format,
                      valueSize: info.valueSize, admitted: state.pointee.admissions + 1)
    do throws(Errno) {
      try confirm(map)
      if state.pointee.isCutOff { throw Errno(EAGAIN) }
      let place = try vacantPlace()
      state.pointee.admissions += 1
      // The id last: a place with one has its descriptor.
      map.id = 0
      slot(place).pointee = map
      ctld_signal_fence()
      slot(place).pointee.id = info.id
      return place
    } catch {
      kernel.close(map.fd)
      throw error
    }
  }

  /// A program may have closed our descriptor, like a daemon that closes all: have one again.
  /// False if it is open.
  func reopenDescriptor(_ place: Int, from fd: FileDescriptor) throws(Errno) -> Bool {
    let map = slot(place).pointee
    if state.pointee.isCutOff || kernel.isOpen(map.fd, as: map.id) { return false }
    slot(place).pointee.fd = try kernel.duplicate(fd)
    return true
  }

  private func confirm(_ map: DataMap) throws(Errno) {
    let scratch = try valueBuffer()
    state.pointee.candidate = map.fd.number
    defer { state.pointee.candidate = 0 }
    let task = try kernel.open(kernel.currentTask)
    defer { kernel.close(task) }
    try map.confirm(task, scratch: scratch, kernel)
  }

  /// A free place in the table; when it is full, the place of the oldest map that nobody
  /// attached, from which every thread is withdrawn. Throws ENOSPC.
  private func vacantPlace() throws(Errno) -> Int {
    var oldest: Int?
    for i in 0..<Self.mapLimit {
      let map = slot(i).pointee
      if map.id == 0 { return i }
      if map.keepers != .none { continue }
      if oldest == nil || map.admitted < slot(oldest!).pointee.admitted { oldest = i }
    }
    guard let oldest else { throw Errno(ENOSPC) }
    if let error = withdrawAll(from: oldest) { throw error }
    dropIdleMaps()
    return oldest
  }

  /// A map that nobody attached and no thread uses is let go.
  func dropIdleMaps() {
    for i in 0..<Self.mapLimit {
      let map = slot(i).pointee
      if map.id == 0 || map.threads > 0 || map.keepers != .none { continue }
      // Out of the table first: whichever number is there then is this process's to close.
      slot(i).pointee.id = 0
      ctld_signal_fence()
      if kernel.isOpen(map.fd, as: map.id) { kernel.close(map.fd) }
      slot(i).pointee = DataMap()
    }
  }

  private func valueBuffer() throws(Errno) -> UnsafeMutableRawPointer {
    if state.pointee.scratch == nil { state.pointee.scratch = ctld_map(MapFormat.largestValue) }
    guard let scratch = state.pointee.scratch else { throw Errno(ENOMEM) }
    return scratch
  }

  // MARK: One thread's elements

  /// Publish a record where it should be and can be. Gives the first error.
  func publishEverywhere(_ record: Record) -> Errno? {
    publish(record, through: (attached | record.pointee.wanted) & maps(that: record))
  }

  /// Gives the first error; every map is tried.
  func publish(_ record: Record, through maps: MapSet) -> Errno? {
    let missing = maps & ~record.pointee.published
    guard missing != 0, let meta = keys.page?.base else { return nil }
    var failure: Errno?
    do throws(Errno) {
      let scratch = try valueBuffer()
      let task = try open(record)
      defer { kernel.close(task) }
      for i in 0..<Self.mapLimit where missing & 1 << i != 0 {
        do throws(Errno) {
          try usable(i).publish(record.pointee.block, meta: meta, as: task, scratch: scratch, kernel)
          note(record, published: record.pointee.published | 1 << i)
        } catch {
          failure = failure ?? error
        }
      }
    } catch {
      failure = error
    }
    return failure
  }

  /// Remove a record's elements from these maps, and its thread's fast path to them.
  /// What cannot be removed stays noted as published. Gives the first error.
  func withdraw(_ record: Record, from maps: MapSet) -> Errno? {
    if record.pointee.hasEnded && record.pointee.published != 0 { forgetReplaced(record) }
    let present = maps & record.pointee.published
    guard present != 0 else { return nil }
    var failure: Errno?
    do throws(Errno) {
      let task = try open(record)
      defer { kernel.close(task) }
      for i in 0..<Self.mapLimit where present & 1 << i != 0 {
        do throws(Errno) {
          try usable(i).withdraw(task, kernel)
          note(record, published: record.pointee.published & ~(1 << i))
        } catch {
          failure = failure ?? error
        }
      }
      if let shared = record.pointee.shared { ctld_reset_map(shared) }
    } catch {
      // The thread is gone, and its elements with it.
      if error.code == ESRCH { note(record, published: record.pointee.published & ~present) } else { failure = error }
    }
    return failure
  }

  /// A thread that left elements behind, which could not be removed, and came back, has
  /// replaced them by those of its new record. Later records come first; an earlier one, of
  /// which the same is true, has replaced nothing.
  private func forgetReplaced(_ ended: Record) {
    var next = state.pointee.first
    while let record = next, record != ended {
      next = record.pointee.next
      guard record.pointee.life == ended.pointee.life else { continue }
      note(ended, published: ended.pointee.published & ~record.pointee.published)
    }
  }

  private func isGone(_ record: Record) -> Bool {
    if record.pointee.life == .unknown { return !kernel.exists(record.pointee.task) }
    do {
      kernel.close(try open(record))
      return false
    } catch {
      return error.code == ESRCH
    }
  }

  /// A descriptor of a record's thread. Throws ESRCH if it is gone: its id may be
  /// a stranger's by now, or that of a new thread of this process.
  func open(_ record: Record) throws(Errno) -> FileDescriptor {
    let task = try openExisting(record.pointee.task)
    do throws(Errno) {
      let life = try kernel.life(of: task)
      guard record.pointee.life == .unknown || record.pointee.life == life else { throw Errno(ESRCH) }
      record.pointee.life = life
      return task
    } catch {
      kernel.close(task)
      throw error
    }
  }

  /// Throws ESRCH if the thread is gone, of which kernels say different things.
  func openExisting(_ task: TaskID) throws(Errno) -> FileDescriptor {
    do { return try kernel.open(task) } catch { throw kernel.exists(task) ? error : Errno(ESRCH) }
  }

  /// A map for a system call that is about to be made. Its descriptor's number is read
  /// before it is asked whether this is a child, forked by a signal handler in the middle
  /// of the call: there the number was closed, so that no element of the parent is touched.
  private func usable(_ place: Int) throws(Errno) -> DataMap {
    let map = slot(place).pointee
    ctld_signal_fence()
    if state.pointee.isCutOff { throw Errno(EAGAIN) }
    return map
  }

  /// Keep a record's sets, and the count of those who use a map.
  func note(_ record: Record, published: MapSet? = nil, wanted: MapSet? = nil) {
    let before = record.pointee.published | record.pointee.wanted
    record.pointee.published = published ?? record.pointee.published
    record.pointee.wanted = wanted ?? record.pointee.wanted
    let after = record.pointee.published | record.pointee.wanted
    for i in 0..<Self.mapLimit where (before ^ after) & 1 << i != 0 {
      slot(i).pointee.threads += after & 1 << i != 0 ? 1 : -1
    }
  }
}
