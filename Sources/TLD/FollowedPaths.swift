// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Paths at which maps are pinned. To update a path is to attach what is pinned there and to
// detach what no longer is. The caller of tld_follow() does it first. From then on the watching
// thread does it: when something happens in the path's directory, and by time, because a mount
// is no event and a directory that is missing cannot be watched. One lock for all of it.

import CTLD

/// One followed path.
struct FollowedPath {
  /// How often it is followed; 0: this place is not taken.
  var follows = 0
  /// Two strings in memory of their own: the path, and its directory.
  var path: UnsafeMutablePointer<CChar>?
  /// What the last update found: 0, or a positive errno.
  var status: Int32 = 0
  /// The id of the map that was attached for it; 0: none.
  var map: UInt32 = 0
  /// The pin that led to it.
  var inode: UInt64 = 0
  /// The directory's number among those watched; 0: none.
  var watch: Int32 = 0
  /// Followed by the parent process, which watches; this child does not.
  var isInherited = false

  static let bytes: ByteCount = 4096

  var directory: UnsafeMutablePointer<CChar> { path! + Self.bytes }
}

struct FollowedPaths<K: PinKernel> {
  static var limit: Int { 8 }

  /// All zero at first.
  struct State: ~Copyable {
    var paths = InlineArray<8, FollowedPath>(repeating: FollowedPath())
    let lock = Lock()
    var watcher: UnsafeMutablePointer<Watcher>?
  }

  /// Milliseconds until the next update: while there is something to wait for, and else.
  private static var soon: Int32 { 1000 }
  private static var late: Int32 { 10_000 }

  let state: UnsafeMutablePointer<State>
  let registry: ThreadRegistry<K>

  private var kernel: K { registry.kernel }
  private var thread: WatcherThread<K> { WatcherThread(kernel: kernel, pageSize: registry.keys.pageSize) }

  // MARK: What a program asks for

  /// Throws EINVAL, ENAMETOOLONG, ENOSPC, ENOMEM, EAGAIN.
  func follow(_ path: UnsafePointer<CChar>?, by thread: CallingThread,
              _ watch: K.ThreadBody, atExit: @convention(c) () -> Void) throws(Errno) {
    let path = try Self.check(path)
    state.pointee.lock.acquire()
    defer { state.pointee.lock.release() }

    let known = place(of: path)
    if let known, !state.pointee.paths[known].isInherited {
      state.pointee.paths[known].follows += 1
      return update(known, by: thread)
    }
    let place = if let known { known } else { try takePlace(path) }
    do throws(Errno) { try startWatcher(watch, atExit) } catch {
      if known == nil { release(place) }
      throw error
    }
    state.pointee.paths[place].follows = 1
    state.pointee.paths[place].isInherited = false
    update(place, by: thread)
    wakeWatcher()
  }

  /// Throws EINVAL, ENAMETOOLONG, ENOENT, or what kept a thread from being withdrawn; the path
  /// is then still followed.
  func unfollow(_ path: UnsafePointer<CChar>?) throws(Errno) {
    let path = try Self.check(path)
    if let watcher = try remove(path) { thread.end(watcher) }
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
    if let watcher { thread.end(watcher) }
  }

  /// The watcher, if that was the last path.
  private func remove(_ path: UnsafePointer<CChar>) throws(Errno) -> UnsafeMutablePointer<Watcher>? {
    state.pointee.lock.acquire()
    defer { state.pointee.lock.release() }
    guard let place = place(of: path) else { throw Errno(ENOENT) }
    if state.pointee.paths[place].follows == 1 {
      registry.detach(for: .follower(place))
      if let error = registry.finishDetaching() {
        state.pointee.paths[place].map = 0  // the next update attaches it again, soon
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

  // MARK: Updating

  /// Attach what is pinned at a path, and detach what no longer is.
  private func update(_ place: Int, by thread: CallingThread?) {
    watchDirectory(place)
    var inode = state.pointee.paths[place].inode
    do throws(Errno) {
      let fd = try PinCheck(kernel: kernel).open(state.pointee.paths[place].path!, &inode)
      defer { kernel.close(fd) }
      state.pointee.paths[place].status = try attach(fd, for: place, by: thread)
      state.pointee.paths[place].inode = inode
    } catch {
      state.pointee.paths[place].status = error.code
      if PinCheck<K>.saysNothing(error) && inode == state.pointee.paths[place].inode { return }
      detachMap(of: place)
    }
  }

  /// What is pinned is this map: 0 or what is still wrong with it.
  private func attach(_ fd: FileDescriptor, for place: Int, by thread: CallingThread?) throws(Errno) -> Int32 {
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

  private func detachMap(of place: Int) {
    state.pointee.paths[place].map = 0
    registry.detach(for: .follower(place))
  }

  /// What is watched is what the path leads to now. Where it cannot be, it is updated by time.
  private func watchDirectory(_ place: Int) {
    guard let watcher = state.pointee.watcher else { return }
    let old = state.pointee.paths[place].watch
    let new = kernel.addWatch(state.pointee.paths[place].directory, to: watcher.pointee.events)
    state.pointee.paths[place].watch = new
    if new != old { unwatch(old) }
  }

  /// Unless another path has the same directory.
  private func unwatch(_ watch: Int32) {
    guard watch > 0, let watcher = state.pointee.watcher else { return }
    for i in 0..<Self.limit where state.pointee.paths[i].watch == watch { return }
    kernel.removeWatch(watch, from: watcher.pointee.events)
  }

  // MARK: The thread

  private var isWatching: Bool {
    for i in 0..<Self.limit {
      let followed = state.pointee.paths[i]
      if followed.follows > 0 && !followed.isInherited { return true }
    }
    return false
  }

  private func startWatcher(_ body: K.ThreadBody, _ atExit: @convention(c) () -> Void) throws(Errno) {
    if state.pointee.watcher != nil { return }
    let watcher = try thread.make()
    // Made known first: the thread ends where it is not.
    state.pointee.watcher = watcher
    do throws(Errno) { try thread.start(watcher, body) } catch {
      state.pointee.watcher = nil
      thread.dispose(watcher)
      throw error
    }
    kernel.callAtExit(atExit)
  }

  /// The thread's body.
  func watch(_ watcher: UnsafeMutablePointer<Watcher>) {
    ctld_name_watcher()
    while let timeout = updateAll(watcher) { thread.sleep(watcher, milliseconds: timeout) }
    watcher.pointee.end.open()
  }

  /// Update every path. Gives after how many milliseconds at the latest to do so again; nil: it
  /// is the watcher no more.
  func updateAll(_ watcher: UnsafeMutablePointer<Watcher>) -> Int32? {
    state.pointee.lock.acquire()
    defer { state.pointee.lock.release() }
    guard state.pointee.watcher == watcher else { return nil }
    var timeout = Self.late
    for i in 0..<Self.limit where state.pointee.paths[i].follows > 0 && !state.pointee.paths[i].isInherited {
      update(i, by: nil)
      let followed = state.pointee.paths[i]
      if followed.status != 0 || followed.watch == 0 { timeout = Self.soon }
    }
    return registry.finishDetaching() == nil ? timeout : Self.soon
  }

  /// It updates every path, and what it finds says when it does so again.
  private func wakeWatcher() {
    guard let watcher = state.pointee.watcher else { return }
    thread.wakeUp(watcher)
  }

  /// The thread will find that it is not the watcher any more.
  private func detachWatcher() -> UnsafeMutablePointer<Watcher>? {
    let watcher = state.pointee.watcher
    state.pointee.watcher = nil
    for i in 0..<Self.limit { state.pointee.paths[i].watch = 0 }
    return watcher
  }

  // MARK: Fork

  func lockForFork() { state.pointee.lock.acquire() }
  func unlockAfterFork() { state.pointee.lock.release() }

  /// A child watches nothing. Its descriptors are the parent's: they are closed, no more.
  func resetInChild() {
    if let watcher = detachWatcher() { thread.dispose(watcher) }
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
    if state.pointee.watcher?.pointee.process != kernel.process { resetInChild() }
  }
}
