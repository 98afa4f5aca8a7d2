// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// When the library must act by itself: the end of a thread, and fork. One pthread
// key, made once by whoever creates a TLD first, before any thread can need it.

import CTLD
import Synchronization

struct Lifecycle {
  /// All zero at first. No lock, which a fork before the handlers are there could
  /// leave held in the child.
  struct State: ~Copyable {
    /// The pthread key plus 1; 0 while there is none.
    let key = Atomic<UInt32>(0)
    let hasForkHandlers = Atomic<Bool>(false)
  }

  let state: UnsafeMutablePointer<State>

  /// Have the key and the fork handlers. Throws EAGAIN where the process has used up
  /// its pthread keys, or memory.
  func prepare() throws(Errno) {
    if state.pointee.key.load(ordering: .acquiring) == 0 { try makeKey() }
    if !state.pointee.hasForkHandlers.load(ordering: .relaxed) { try handleForks() }
  }

  private func makeKey() throws(Errno) {
    var key: pthread_key_t = 0
    guard pthread_key_create(&key, threadEnds) == 0 else { throw Errno(EAGAIN) }
    // Whoever comes second uses the first one's.
    if !state.pointee.key.compareExchange(expected: 0, desired: key + 1, ordering: .releasing).exchanged {
      pthread_key_delete(key)
    }
  }

  private func handleForks() throws(Errno) {
    if state.pointee.hasForkHandlers.exchange(true, ordering: .relaxed) { return }
    guard pthread_atfork(beforeFork, afterForkInParent, afterForkInChild) == 0 else {
      state.pointee.hasForkHandlers.store(false, ordering: .relaxed)
      throw Errno(EAGAIN)
    }
  }

  /// See to it that `threadEnds` runs in the calling thread. May allocate, in the
  /// program's own allocator, which may use TLDs: hold no lock. Throws ENOMEM.
  func watchCallingThread() throws(Errno) {
    let key = state.pointee.key.load(ordering: .acquiring) - 1
    guard pthread_setspecific(key, UnsafeRawPointer(bitPattern: 1)) == 0 else { throw Errno(ENOMEM) }
  }
}

/// The pthread key's destructor. Other libraries' destructors may come later and use
/// TLDs: the thread then finds its block where it was, and only when a whole round has
/// passed without that is the block taken back.
private func threadEnds(_: UnsafeMutableRawPointer?) {
  guard let call = Call() else { return }
  if call.thread.isSharing, (try? call.runtime.lifecycle.watchCallingThread()) != nil {
    call.runtime.registry.withdrawAndClear(call.thread)
  } else {
    call.runtime.registry.leave(call.thread)
  }
  call.end()
}

/// A handler that forks while its thread is inside the library holds the lock itself.
private var isInsideLibrary: Bool { Call.isUnderWay(ctld_self()) }

private func beforeFork() {
  if isInsideLibrary { return }
  let runtime = Runtime.shared
  runtime.registry.lockForFork()
  runtime.keys.state.pointee.lock.acquire()
}

private func afterForkInParent() {
  if isInsideLibrary { return }
  let runtime = Runtime.shared
  runtime.keys.state.pointee.lock.release()
  runtime.registry.unlockAfterFork()
}

private func afterForkInChild() {
  if isInsideLibrary { return }
  let runtime = Runtime.shared
  runtime.keys.state.pointee.lock.reset()
  runtime.registry.resetInChild(CallingThread.current)
}
