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
  }

  let state: UnsafeMutablePointer<State>

  /// Have the key and the fork handlers. Throws EAGAIN where the process has used up
  /// its pthread keys, or memory.
  func prepare() throws(Errno) {
    if state.pointee.key.load(ordering: .acquiring) != 0 { return }
    var handlers = ctld_fork_handlers(before: beforeFork, in_parent: afterForkInParent,
                                      in_child: afterForkInChild)
    _ = try checked(ctld_handle_forks(&handlers))
    try makeKey()
  }

  private func makeKey() throws(Errno) {
    var key: pthread_key_t = 0
    guard pthread_key_create(&key, threadEnds) == 0 else { throw Errno(EAGAIN) }
    // Whoever comes second uses the first one's.
    if !state.pointee.key.compareExchange(expected: 0, desired: key + 1, ordering: .releasing).exchanged {
      pthread_key_delete(key)
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
  guard let call = CallGuard() else { return }
  if call.thread.isSharing, (try? call.runtime.lifecycle.watchCallingThread()) != nil {
    call.runtime.registry.withdrawAndClear(call.thread)
  } else {
    call.runtime.registry.retireCaller(call.thread)
  }
  call.end()
}

// A handler that forks while its thread is inside the library finds locks that the thread
// itself holds, and others. The parent's handlers then leave everything alone.

private func beforeFork() {
  guard CallGuard.beginFork() else { return }
  let runtime = Runtime.shared
  runtime.followedPaths.lockForFork()
  runtime.registry.lockForFork()
  runtime.keys.state.pointee.lock.acquire()
}

private func afterForkInParent() {
  if CallGuard.isForking {
    let runtime = Runtime.shared
    runtime.keys.state.pointee.lock.release()
    runtime.registry.unlockAfterFork()
    runtime.followedPaths.unlockAfterFork()
  }
  CallGuard.endFork()
}

private func afterForkInChild() {
  let runtime = Runtime.shared
  if CallGuard.isForking {
    // First, so that a child of a handler that forks in here is noticed.
    ctld_take_possession()
    runtime.keys.state.pointee.lock.reset()
    runtime.registry.resetInChild(CallingThread.current)
    runtime.followedPaths.resetInChild()
  } else {
    runtime.resetInInterruptedChild()
  }
  CallGuard.endFork()
}

extension Runtime {
  /// In a child that was forked without the handlers' preparation.
  func resetInUnpreparedChild() {
    ctld_take_possession()
    keys.state.pointee.lock.reset()
    registry.resetInUnpreparedChild(CallingThread.current)
    followedPaths.resetInUnpreparedChild()
  }

  /// In a child of a handler that interrupted a call, or a fork, which goes on here when the
  /// handler returns. At the end of the next call the child is reset as an unprepared one;
  /// until then it needs the locks that it holds, and must not wait for those that others held.
  fileprivate func resetInInterruptedChild() {
    if !keys.state.pointee.lock.isMine { keys.state.pointee.lock.reset() }
    if registry.state.pointee.lock.isMine {
      registry.cutOffInterruptedCall()
    } else {
      registry.resetInUnpreparedChild(CallingThread.current)
    }
    if !followedPaths.state.pointee.lock.isMine { followedPaths.resetInUnpreparedChild() }
  }
}
