// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// When the library must act by itself: the end of a thread, and fork. One pthread
// key, made once by whoever creates a TLD first, before any thread can need it.

import CTLD
import Synchronization

struct Lifecycle {
  /// All zero at first.
  struct State: ~Copyable {
    let lock = Lock()
    let isReady = Atomic<Bool>(false)
    var key: pthread_key_t = 0
  }

  let state: UnsafeMutablePointer<State>

  /// Have the key and the fork handlers. Throws EAGAIN where the process has used up
  /// its pthread keys, or memory.
  func prepare() throws(Errno) {
    if state.pointee.isReady.load(ordering: .acquiring) { return }
    state.pointee.lock.acquire()
    defer { state.pointee.lock.release() }
    if state.pointee.isReady.load(ordering: .relaxed) { return }

    guard pthread_key_create(&state.pointee.key, threadEnds) == 0 else { throw Errno(EAGAIN) }
    guard pthread_atfork(beforeFork, afterForkInParent, afterForkInChild) == 0 else {
      pthread_key_delete(state.pointee.key)
      throw Errno(EAGAIN)
    }
    state.pointee.isReady.store(true, ordering: .releasing)
  }

  /// See to it that `threadEnds` runs in the calling thread. May allocate, in the
  /// program's own allocator, which may use TLDs: hold no lock. Throws ENOMEM.
  func watchCallingThread() throws(Errno) {
    guard pthread_setspecific(state.pointee.key, UnsafeRawPointer(bitPattern: 1)) == 0 else {
      throw Errno(ENOMEM)
    }
  }
}

/// The pthread key's destructor. A destructor of another library that runs later and
/// uses a TLD registers the thread again, and this one runs again.
private func threadEnds(_: UnsafeMutableRawPointer?) {
  guard let call = Call() else { return }
  call.runtime.registry.leave(call.thread)
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
