// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// What guards a call against signal handlers, forks and cancellation. The thread's `flags` say
// where it is:
//
//   0          outside the library
//   1          in a call: a handler's own call gets EAGAIN
//   2 n        n forks are under way, from before each until after it: as in a call
//   1 + 2 n    the same, by handlers that interrupted a call
//
// A call asks at its begin and its end whose memory this is: a child's that no fork handler
// prepared (then the components are reset), a parent's that vfork() lent (then the call is
// refused), or the process's own.

import CTLD

extension CallingThread {
  static var current: CallingThread {
    CallingThread(shared: ctld_self(), record: ctld_thread_record())
  }
}

/// One call into the library that takes locks: not from a signal handler that
/// interrupted another one in the same thread, not in memory that is another process's,
/// not cancelled midway, and errno as it was unless it fails.
struct CallGuard: ~Copyable {
  private static let busy: UInt16 = 1
  /// Counts the forks under way, of which one may be by a handler that interrupted another.
  private static let forking: UInt16 = 2

  let thread: CallingThread
  let runtime: Runtime
  private let errno: Int32
  private let cancellation: Int32

  /// `inLentMemory`: what touches memory alone, a child of vfork() does for its parent.
  init?(inLentMemory: Bool = false) {
    let thread = CallingThread.current
    let runtime = Runtime.shared
    guard thread.shared.pointee.flags == 0 else { return nil }
    let errno = ctld_errno()
    let cancellation = ctld_defer_cancellation()
    thread.shared.pointee.flags = Self.busy
    ctld_signal_fence()
    if ctld_is_copy() != 0 {
      runtime.resetInUnpreparedChild()
    } else if !inLentMemory && ctld_is_lent() != 0 {
      Self.leave(thread, errno, cancellation)
      return nil
    }
    self.thread = thread
    self.runtime = runtime
    self.errno = errno
    self.cancellation = cancellation
  }

  /// Gives the error to report: a call that a fork cut off in the child can be made again.
  @discardableResult
  consuming func end(_ error: Errno? = nil, reportingByErrno: Bool = false) -> Errno? {
    var error = error
    if ctld_is_copy() != 0 {
      runtime.resetInUnpreparedChild()
      if error != nil { error = Errno(EAGAIN) }
    }
    Self.leave(thread, reportingByErrno ? error?.code ?? errno : errno, cancellation)
    return error
  }

  private static func leave(_ thread: CallingThread, _ errno: Int32, _ cancellation: Int32) {
    ctld_signal_fence()
    thread.shared.pointee.flags = 0
    ctld_set_errno(errno)
    ctld_restore_cancellation(cancellation)
  }

  /// From before a fork until after it the library counts as busy. False in a thread that was
  /// busy already.
  static func beginFork() -> Bool {
    let thread = ctld_self().unsafelyUnwrapped
    thread.pointee.flags += forking
    return isForking
  }

  static func endFork() { ctld_self().pointee.flags -= forking }

  /// Whether the library is busy with one fork, and with nothing else.
  static var isForking: Bool { ctld_self().pointee.flags == forking }
}

/// A call that gives a pointer, or nil with errno.
func fetch(_ body: (borrowing CallGuard) throws(Errno) -> UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
  guard let call = CallGuard() else {
    ctld_set_errno(EAGAIN)
    return nil
  }
  do throws(Errno) {
    let pointer = try body(call)
    call.end()
    return pointer
  } catch {
    call.end(error, reportingByErrno: true)
    return nil
  }
}

/// A call that gives 0 or a negative errno, and leaves errno alone.
func perform(_ body: (borrowing CallGuard) throws(Errno) -> Errno?) -> Int32 {
  guard let call = CallGuard() else { return -EAGAIN }
  var failure: Errno?
  do throws(Errno) { failure = try body(call) } catch { failure = error }
  return -(call.end(failure)?.code ?? 0)
}

extension CallGuard {
  /// A thread that was registered just now is to be cleaned up after.
  func watchThreadEnd(ifNew isNew: Bool) throws(Errno) {
    guard isNew else { return }
    do throws(Errno) { try runtime.lifecycle.watchCallingThread() } catch {
      runtime.registry.retireCaller(thread)
      throw error
    }
  }
}
