// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Paths at which maps are pinned, and the thread that watches them. A look at a path
// attaches what is there and detaches what is not; whoever follows a path looks first,
// from then on the thread does, when inotify says that something happened, and now and
// then besides, because a mount is no event and a directory that is missing cannot be watched.

import CTLD

/// One followed path.
struct FollowedPath {
  /// How often it is followed; 0: this place is not taken.
  var follows = 0
  /// Two strings in memory of their own: the path, and its directory.
  var path: UnsafeMutablePointer<CChar>?
  /// What the last look found: 0, or a positive errno.
  var status: Int32 = 0
  /// The id of the map that was attached for it; 0: none.
  var map: UInt32 = 0
  /// The pin that led to it.
  var inode: UInt64 = 0
  /// inotify's name for the directory; 0: none.
  var watch: Int32 = 0
  /// Followed by the parent process, which watches; this child does not.
  var isInherited = false

  static let bytes: ByteCount = 4096

  var directory: UnsafeMutablePointer<CChar> { path! + Self.bytes }
}

/// The watching thread, in a page of its own, which outlives the thread.
struct Watcher: ~Copyable {
  let inotify: Int32
  var wake: ctld_wake
  let process: Int32
  let end = Latch()
}

struct Followers<K: Kernel> {
  static var limit: Int { 8 }

  /// All zero at first.
  struct State: ~Copyable {
    var paths = InlineArray<8, FollowedPath>(repeating: FollowedPath())
    let lock = Lock()
    var watcher: UnsafeMutablePointer<Watcher>?
  }

  /// While there is something to wait for, and else.
  private static var soon: Int32 { 1000 }
  private static var late: Int32 { 10_000 }

  let state: UnsafeMutablePointer<State>
  let registry: ThreadRegistry<K>

  // MARK: What a program asks for

  /// Throws EINVAL, ENAMETOOLONG, ENOSPC, ENOMEM, EAGAIN.
  func follow(_ path: UnsafePointer<CChar>?, by thread: CallingThread,
              _ watch: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer?,
              atExit: @convention(c) () -> Void) throws(Errno) {
    let path = try Self.check(path)
    state.pointee.lock.acquire()
    defer { state.pointee.lock.release() }

    let known = place(of: path)
    if let known, !state.pointee.paths[known].isInherited {
      state.pointee.paths[known].follows += 1
      return look(known, by: thread)
    }
    let place = if let known { known } else { try takePlace(path) }
    do throws(Errno) { try startWatcher(watch, atExit) } catch {
      if known == nil { release(place) }
      throw error
    }
    state.pointee.paths[place].follows = 1
    state.pointee.paths[place].isInherited = false
    look(place, by: thread)
    wakeWatcher()
  }

  /// Throws EINVAL, ENAMETOOLONG, ENOENT, or what kept a thread from being withdrawn; the path
  /// is then still followed.
  func unfollow(_ path: UnsafePointer<CChar>?) throws(Errno) {
    let path = try Self.check(path)
    end(try remove(path))
  }

  /// 0 or an errno. Throws EINVAL, ENAMETOOLONG.
  func status(_ path: UnsafePointer<CChar>?) throws(Errno) -> Int32 {
    let path = try Self.check(path)
    state.pointee.lock.acquire()
    defer { state.pointee.lock.release() }
    guard let place = place(of: path) else { return ENOENT }
    let followed = state.pointee.paths[place]
    let isCurrent = followed.map == 0 || registry.isAttached(followed.map, for: .follower(place))
    return isCurrent ? followed.status : ECANCELED
  }

  /// At exit.
  func stop() {
    state.pointee.lock.acquire()
    let watcher = detachWatcher()
    state.pointee.lock.release()
    end(watcher)
  }

  /// The watcher, if that was the last path.
  private func remove(_ path: UnsafePointer<CChar>) throws(Errno) -> UnsafeMutablePointer<Watcher>? {
    state.pointee.lock.acquire()
    defer { state.pointee.lock.release() }
    guard let place = place(of: path) else { throw Errno(ENOENT) }
    if state.pointee.paths[place].follows == 1 {
      registry.detach(for: .follower(place))
      if let error = registry.finishDetaching() {
        state.pointee.paths[place].map = 0  // the next look attaches it again, soon
        state.pointee.paths[place].status = error.code
        wakeWatcher()
        throw error
      }
      release(place)
    } else {
      state.pointee.paths[place].follows -= 1
    }
    return isWatching ? nil : detachWatcher()
  }

  // MARK: Places

  private static func check(_ path: UnsafePointer<CChar>?) throws(Errno) -> UnsafePointer<CChar> {
    guard let path, path[0] == slash else { throw Errno(EINVAL) }
    for i in 1..<FollowedPath.bytes where path[i] == 0 { return path }
    throw Errno(ENAMETOOLONG)
  }

  private static var slash: CChar { 0x2F }

  private func place(of path: UnsafePointer<CChar>) -> Int? {
    for i in 0..<Self.limit where state.pointee.paths[i].follows > 0 {
      if ctld_equal(state.pointee.paths[i].path, path) != 0 { return i }
    }
    return nil
  }

  private func takePlace(_ path: UnsafePointer<CChar>) throws(Errno) -> Int {
    for i in 0..<Self.limit where state.pointee.paths[i].follows == 0 {
      guard let memory = ctld_map(2 * FollowedPath.bytes) else { throw Errno(ENOMEM) }
      let copy = memory.assumingMemoryBound(to: CChar.self)
      state.pointee.paths[i].path = copy
      var length = 0
      var lastSlash = 0
      while path[length] != 0 {
        copy[length] = path[length]
        if path[length] == Self.slash { lastSlash = length }
        length += 1
      }
      let directory = state.pointee.paths[i].directory
      for k in 0..<max(lastSlash, 1) { directory[k] = path[k] }
      return i
    }
    throw Errno(ENOSPC)
  }

  private func release(_ place: Int) {
    let followed = state.pointee.paths[place]
    state.pointee.paths[place] = FollowedPath()
    unwatch(followed.watch)
    ctld_unmap(followed.path, 2 * FollowedPath.bytes)
  }

  // MARK: A look

  /// Attach what is pinned at a path, and detach what no longer is.
  private func look(_ place: Int, by thread: CallingThread?) {
    watchDirectory(place)
    var inode = state.pointee.paths[place].inode
    do throws(Errno) {
      let fd = try openPin(state.pointee.paths[place].path!, &inode)
      defer { registry.kernel.close(fd) }
      state.pointee.paths[place].status = try settle(place, fd, thread)
      state.pointee.paths[place].inode = inode
    } catch {
      state.pointee.paths[place].status = error.code
      if Self.saysNothing(error) && inode == state.pointee.paths[place].inode { return }
      leave(place)
    }
  }

  /// What is pinned is this map: 0 or what is still wrong with it.
  private func settle(_ place: Int, _ fd: FileDescriptor, _ thread: CallingThread?) throws(Errno) -> Int32 {
    let map = try registry.map(of: fd)
    let followed = state.pointee.paths[place]
    if followed.map == map {
      guard registry.isAttached(map, for: .follower(place)) else { return ECANCELED }
      if followed.status == 0 { return 0 }
    }
    // A child may have been forked in the middle of this: not only the map that is noted.
    registry.detach(for: .follower(place), except: map)
    state.pointee.paths[place].map = 0
    let attachment = try registry.attach(fd, for: .follower(place), by: thread)
    state.pointee.paths[place].map = attachment.map
    return attachment.failure?.code ?? 0
  }

  private func leave(_ place: Int) {
    state.pointee.paths[place].map = 0
    registry.detach(for: .follower(place))
  }

  /// Errors that do not say whether a pin, still the same, is what it was: nothing could be
  /// opened for now, or this process has given up the right to open it.
  private static func saysNothing(_ error: Errno) -> Bool {
    switch error.code {
    case EACCES, EMFILE, ENFILE, ENOMEM, EAGAIN, ENOSYS: true
    default: false
    }
  }

  /// The pin's object, if it can be trusted: who could put another map there, or write in
  /// that map, is root or the program's own user. It is opened once, and what was
  /// opened is what is judged.
  private func openPin(_ path: UnsafePointer<CChar>, _ inode: inout UInt64) throws(Errno) -> FileDescriptor {
    var pin = ctld_pin()
    let file: Int32
    do { file = try checked(ctld_open_pin(path, &pin)) } catch { throw Self.documented(error) }
    defer { _ = ctld_close(file) }
    inode = pin.inode
    if pin.is_link != 0 { throw Errno(ELOOP) }
    guard pin.is_bpffs != 0, pin.is_trusted_owner != 0, pin.others_may_write == 0 else { throw Errno(EPERM) }
    guard pin.is_file != 0 else { throw Errno(EINVAL) }
    do { return FileDescriptor(number: try checked(ctld_bpf_obj_get(file))) } catch { throw Self.documented(error) }
  }

  private static func documented(_ error: Errno) -> Errno {
    switch error.code {
    case ENOENT, ENOTDIR, ENAMETOOLONG, ENXIO, ENODEV: Errno(ENOENT)
    case EACCES, EPERM, EINVAL, ELOOP, ENOMEM, EMFILE, ENFILE, ENOSYS: error
    default: Errno(EAGAIN)
    }
  }

  /// What is watched is what the path leads to now. Where it cannot be, looks come by time.
  private func watchDirectory(_ place: Int) {
    guard let watcher = state.pointee.watcher else { return }
    let old = state.pointee.paths[place].watch
    let new = ctld_inotify_add(watcher.pointee.inotify, state.pointee.paths[place].directory)
    state.pointee.paths[place].watch = max(new, 0)
    if new != old { unwatch(old) }
  }

  /// Unless another path has the same directory.
  private func unwatch(_ watch: Int32) {
    guard watch > 0, let watcher = state.pointee.watcher else { return }
    for i in 0..<Self.limit where state.pointee.paths[i].watch == watch { return }
    ctld_inotify_remove(watcher.pointee.inotify, watch)
  }

  // MARK: The thread

  private var isWatching: Bool {
    for i in 0..<Self.limit {
      let followed = state.pointee.paths[i]
      if followed.follows > 0 && !followed.isInherited { return true }
    }
    return false
  }

  private func startWatcher(_ body: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer?,
                            _ atExit: @convention(c) () -> Void) throws(Errno) {
    if state.pointee.watcher != nil { return }
    guard let page = ctld_map(registry.keys.pageSize) else { throw Errno(ENOMEM) }
    let watcher = page.bindMemory(to: Watcher.self, capacity: 1)
    do throws(Errno) {
      var wake = ctld_wake()
      _ = try checked(ctld_wake_open(&wake))
      // Without inotify, looks come by time.
      watcher.initialize(to: Watcher(inotify: max(ctld_inotify_open(), -1), wake: wake, process: ctld_getpid()))
    } catch {
      ctld_unmap(page, registry.keys.pageSize)
      throw error.code == ENOMEM ? error : Errno(EAGAIN)
    }
    do throws(Errno) {
      // Made known first: the thread ends where it is not.
      state.pointee.watcher = watcher
      _ = try checked(ctld_start_thread(body, watcher))
    } catch {
      state.pointee.watcher = nil
      dispose(watcher)
      throw error.code == ENOMEM ? error : Errno(EAGAIN)
    }
    ctld_at_exit(atExit)
  }

  /// The thread's body.
  func watch(_ watcher: UnsafeMutablePointer<Watcher>) {
    ctld_name_watcher()
    while let patience = lookAround(watcher) {
      ctld_wait_events(watcher.pointee.inotify, &watcher.pointee.wake, patience)
    }
    watcher.pointee.end.open()
  }

  /// Look at every path. When to look again at the latest, in ms; nil: never.
  private func lookAround(_ watcher: UnsafeMutablePointer<Watcher>) -> Int32? {
    state.pointee.lock.acquire()
    defer { state.pointee.lock.release() }
    guard state.pointee.watcher == watcher else { return nil }
    var patience = Self.late
    for i in 0..<Self.limit where state.pointee.paths[i].follows > 0 && !state.pointee.paths[i].isInherited {
      look(i, by: nil)
      let followed = state.pointee.paths[i]
      if followed.status != 0 || followed.watch == 0 { patience = Self.soon }
    }
    return registry.finishDetaching() == nil ? patience : Self.soon
  }

  /// It looks at every path, and what it finds says when it looks again.
  private func wakeWatcher() {
    guard let watcher = state.pointee.watcher else { return }
    ctld_wake_up(&watcher.pointee.wake)
  }

  /// The thread will find that it is not the watcher any more.
  private func detachWatcher() -> UnsafeMutablePointer<Watcher>? {
    let watcher = state.pointee.watcher
    state.pointee.watcher = nil
    for i in 0..<Self.limit { state.pointee.paths[i].watch = 0 }
    return watcher
  }

  /// Not with the lock, which the thread may be waiting for.
  private func end(_ watcher: UnsafeMutablePointer<Watcher>?) {
    guard let watcher else { return }
    if watcher.pointee.process == ctld_getpid() {
      ctld_wake_up(&watcher.pointee.wake)
      watcher.pointee.end.wait()
    }
    dispose(watcher)
  }

  private func dispose(_ watcher: UnsafeMutablePointer<Watcher>) {
    // Who closed the one, like a daemon that closes all, closed the others, too.
    let isOpen = ctld_wake_is_open(&watcher.pointee.wake) != 0
    if isOpen {
      _ = ctld_close(watcher.pointee.inotify)
      _ = ctld_close(watcher.pointee.wake.sleeper)
      _ = ctld_close(watcher.pointee.wake.waker)
    }
    ctld_unmap(watcher, registry.keys.pageSize)
  }

  // MARK: Fork

  func lockForFork() { state.pointee.lock.acquire() }
  func unlockAfterFork() { state.pointee.lock.release() }

  /// A child watches nothing. Its descriptors are the parent's: they are closed, no more.
  func resetInChild() {
    if let watcher = detachWatcher() { dispose(watcher) }
    for i in 0..<Self.limit where state.pointee.paths[i].follows > 0 {
      state.pointee.paths[i].isInherited = true
      // The child's thread is not in the map: who follows the path here attaches it again.
      state.pointee.paths[i].status = ECHILD
      state.pointee.paths[i].map = 0
    }
    state.pointee.lock.reset()
  }

  /// The same, whatever another thread was doing with the lock held: a place is filled before
  /// it is counted as taken, and given back before its memory is.
  func resetInUnpreparedChild() {
    if state.pointee.watcher?.pointee.process != ctld_getpid() { resetInChild() }
  }
}
