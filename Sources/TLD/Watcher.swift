// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The thread that watches the followed paths, "tld-follow": how it starts, sleeps, is woken and
// ends. FollowedPaths.swift says what it does when it is awake.

import CTLD

/// One watching thread, in a page that outlives the thread.
struct Watcher: ~Copyable {
  /// -1: without events; paths are checked by time.
  let events: FileDescriptor
  var wake: ctld_wake
  /// The process that it runs in. A child has the memory, not the thread.
  let process: Int32
  let end = Latch()
}

struct WatcherThread<K: PinKernel> {
  let kernel: K
  let pageSize: ByteCount

  /// A watcher without its thread. Throws ENOMEM, EAGAIN.
  func make() throws(Errno) -> UnsafeMutablePointer<Watcher> {
    guard let page = ctld_map(pageSize) else { throw Errno(ENOMEM) }
    let watcher = page.bindMemory(to: Watcher.self, capacity: 1)
    do throws(Errno) {
      let wake = try kernel.openWake()
      watcher.initialize(to: Watcher(events: kernel.openEvents(), wake: wake, process: kernel.process))
      return watcher
    } catch {
      ctld_unmap(page, pageSize)
      throw Self.documented(error)
    }
  }

  /// Throws ENOMEM, EAGAIN.
  func start(_ watcher: UnsafeMutablePointer<Watcher>, _ body: K.ThreadBody) throws(Errno) {
    do throws(Errno) { try kernel.startThread(body, watcher) } catch { throw Self.documented(error) }
  }

  func wakeUp(_ watcher: UnsafeMutablePointer<Watcher>) { kernel.wakeUp(&watcher.pointee.wake) }

  func sleep(_ watcher: UnsafeMutablePointer<Watcher>, milliseconds: Int32) {
    kernel.sleep(watcher.pointee.events, &watcher.pointee.wake, milliseconds: milliseconds)
  }

  /// The thread will find that it is not the watcher any more. Not with the lock, which it may
  /// be waiting for.
  func end(_ watcher: UnsafeMutablePointer<Watcher>) {
    if watcher.pointee.process == kernel.process {
      wakeUp(watcher)
      watcher.pointee.end.wait()
    }
    dispose(watcher)
  }

  /// No thread has it.
  func dispose(_ watcher: UnsafeMutablePointer<Watcher>) {
    // Who closed the one, like a daemon that closes all, closed the others, too.
    if kernel.isOpen(&watcher.pointee.wake) {
      kernel.close(watcher.pointee.events)
      kernel.close(FileDescriptor(number: watcher.pointee.wake.sleeper))
      kernel.close(FileDescriptor(number: watcher.pointee.wake.waker))
    }
    ctld_unmap(watcher, pageSize)
  }

  private static func documented(_ error: Errno) -> Errno { error.code == ENOMEM ? error : Errno(EAGAIN) }
}
