// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// What becomes of the registry in a forked child. Only the calling thread lives there,
// under a new id, and nothing of it is published; its pointers and values stay, and so
// do the maps that were attached. What other threads had is free.

import CTLD

extension ThreadRegistry {
  func lockForFork() { state.pointee.lock.acquire() }
  func unlockAfterFork() { state.pointee.lock.release() }

  /// After fork(2), whose handlers held the lock.
  func resetInChild(_ thread: CallingThread) {
    forgetParent(thread)
    state.pointee.lock.reset()
  }

  /// After `_Fork`, a bare clone(2), or a fork by a signal handler that interrupted a call:
  /// nobody held the lock for the child. If some other thread did, the registry is in
  /// whatever state that thread had brought it into.
  func resetInUnpreparedChild(_ thread: CallingThread) {
    disownReplacedDescriptors()
    if state.pointee.lock.isFree { forgetParent(thread) } else { keepOnlyCaller(thread) }
    state.pointee.lock.reset()
  }

  /// In a child of a handler that interrupted a call of this thread which holds the lock:
  /// the call goes on here, with a descriptor of the parent's thread, and must not touch
  /// its elements. Whatever number of a map it has read already is closed.
  func cutOffInterruptedCall() {
    state.pointee.isCutOff = true
    var old = InlineArray<8, FileDescriptor>(repeating: FileDescriptor(number: -1))
    for i in 0..<Self.mapLimit where slot(i).pointee.id != 0 {
      old[i] = slot(i).pointee.fd
      slot(i).pointee.fd = (try? kernel.duplicate(old[i])) ?? FileDescriptor(number: -1)
    }
    // Only now, so that no number is used again for another map.
    for i in 0..<Self.mapLimit where old[i].number >= 0 { kernel.close(old[i]) }
    if state.pointee.candidate != 0 { kernel.close(FileDescriptor(number: state.pointee.candidate)) }
    state.pointee.candidate = 0
  }

  private func forgetParent(_ thread: CallingThread) {
    closeFastPath(thread)
    let own = thread.registered
    forEachRecord { record in
      if record != own { retireGone(record) }
    }
    if let own { makeOwn(own) }
    // A map may have lost its descriptor, to a call that was cut off, too.
    for i in 0..<Self.mapLimit where slot(i).pointee.id != 0 && slot(i).pointee.fd.number < 0 {
      if let own { note(own, wanted: own.pointee.wanted & ~(1 << i)) }
      slot(i).pointee = DataMap()
    }
    state.pointee.isCutOff = false
    dropIdleMaps()
  }

  /// Nothing is trusted but the calling thread's own record and what can be asked of the
  /// kernel. The memory of the others is lost.
  private func keepOnlyCaller(_ thread: CallingThread) {
    closeFastPath(thread)
    state.pointee.generation &+= 1
    state.pointee.arena = BlockArena.State()
    state.pointee.first = nil
    state.pointee.free = nil
    state.pointee.unclaimed = 0
    state.pointee.sweepAt = 0
    state.pointee.recordsInUse = thread.registered == nil ? 0 : 1
    state.pointee.candidate = 0
    for i in 0..<Self.mapLimit {
      slot(i).pointee.threads = 0
      if slot(i).pointee.fd.number < 0 { slot(i).pointee = DataMap() }
    }
    if let own = thread.registered {
      own.pointee.generation = state.pointee.generation
      own.pointee.next = nil
      own.pointee.previous = nil
      state.pointee.first = own
      let wanted = own.pointee.wanted & maps(that: own)
      own.pointee.published = 0
      own.pointee.wanted = 0
      note(own, wanted: wanted)
      makeOwn(own)
    }
    state.pointee.isCutOff = false
    dropIdleMaps()
  }

  private func makeOwn(_ record: Record) {
    note(record, published: 0)
    record.pointee.task = kernel.currentTask
    record.pointee.life = .unknown
    _ = identify(record)
  }

  /// The kernel copies descriptors before memory: of a map that another thread took in in
  /// between this child has the number only. And whatever it did before it called the
  /// library, like closing all descriptors to open its own, must not have us close those.
  private func disownReplacedDescriptors() {
    for i in 0..<Self.mapLimit where slot(i).pointee.id != 0 {
      let map = slot(i).pointee
      if !kernel.isOpen(map.fd, as: map.id) { slot(i).pointee.fd = FileDescriptor(number: -1) }
    }
  }
}
