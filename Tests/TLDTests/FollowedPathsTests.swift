// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Followed paths on the model kernel: a pin appears, is replaced, goes, is not to be trusted,
// cannot be judged; the watching thread starts once and ends with the last path.

import CTLD
import Testing

@testable import TLD

@Suite struct FollowedPathsTests {
  static let path = "/sys/fs/bpf/hints/map"

  @Test("a map that is pinned there is attached at once, one that comes later by an update")
  func appears() throws {
    let follower = Follower()
    try follower.thread.enter()
    try follower.follow()
    #expect(follower.status == ENOENT)
    #expect(follower.update() == 1000, "there is something to wait for")

    let map = follower.pinMap()
    #expect(follower.update() == 10_000, "the path is watched, and nothing is missing")
    #expect(follower.status == 0)
    #expect(follower.mapsOfThread == [map])
    #expect(follower.process.kernel.pins.watched.values.sorted() == ["/sys/fs/bpf/hints"])

    let early = Follower()
    try early.thread.enter()
    let first = early.pinMap()
    try early.follow()
    #expect(early.status == 0)
    #expect(early.mapsOfThread == [first])
  }

  @Test("a pin that is replaced: the old map is detached, the new one attached")
  func replaced() throws {
    let follower = Follower()
    try follower.thread.enter()
    let old = follower.pinMap()
    try follower.follow()
    #expect(follower.mapsOfThread == [old])
    let new = follower.pinMap()
    _ = follower.update()
    #expect(follower.mapsOfThread == [new])
    #expect(follower.status == 0)
    #expect(follower.process.kernel.heldMaps == [new])
  }

  @Test("a pin that goes, and the last tld_unfollow(), detach the map")
  func goes() throws {
    let follower = Follower()
    try follower.thread.enter()
    _ = follower.pinMap()
    try follower.follow()
    follower.process.kernel.pins.pins = [:]
    #expect(follower.update() == 1000)
    #expect(follower.status == ENOENT)
    #expect(follower.mapsOfThread.isEmpty)

    let again = follower.pinMap()
    try follower.follow()  // counts
    #expect(follower.mapsOfThread == [again])
    try follower.unfollow()
    #expect(follower.mapsOfThread == [again])
    follower.letThreadEnd()
    try follower.unfollow()
    #expect(follower.mapsOfThread.isEmpty)
    #expect(follower.status == ENOENT)
    #expect(follower.process.kernel.openOthers.isEmpty)
  }

  @Test("a pin that cannot be trusted is not attached, and one that changes so is detached",
        arguments: [EPERM, EPERM, EPERM, ELOOP, EINVAL].enumerated().map { ($0.offset, $0.element) })
  func untrusted(kind: Int, code: Int32) throws {
    let follower = Follower()
    try follower.thread.enter()
    let good = follower.pinMap()
    try follower.follow()
    #expect(follower.mapsOfThread == [good])
    _ = follower.pinMap { pin in
      switch kind {
      case 0: pin.hasTrustedOwner = false
      case 1: pin.isWritableByOthers = true
      case 2: pin.isInBPFFileSystem = false
      case 3: (pin.isLink, pin.isInBPFFileSystem) = (true, false)
      default: pin.isFile = false
      }
    }
    #expect(follower.update() == 1000)
    #expect(follower.status == code)
    #expect(follower.mapsOfThread.isEmpty)
    #expect(!follower.process.kernel.openOthers.contains { $0.hasPrefix("pin") }, "what was opened is closed")
  }

  @Test("an error that says nothing about a pin leaves attached what is, as long as the pin is the same",
        arguments: [EACCES, EMFILE, ENFILE, ENOMEM, ENOSYS, EIO, ENOENT, ENOTDIR, EPERM], [false, true])
  func saysNothing(code: Int32, isReplaced: Bool) throws {
    let follower = Follower()
    try follower.thread.enter()
    let map = follower.pinMap()
    try follower.follow()
    if isReplaced { _ = follower.pinMap() }
    follower.process.kernel.pins.objectError = code
    _ = follower.update()
    let says = [ENOENT, ENOTDIR, EPERM].contains(code)
    #expect(follower.status == (code == EIO ? EAGAIN : code == ENOTDIR ? ENOENT : code))
    #expect(follower.mapsOfThread == (says || isReplaced ? [] : [map]))

    follower.process.kernel.pins.objectError = nil
    _ = follower.update()
    #expect(follower.status == 0)
    #expect(follower.mapsOfThread.count == 1)
  }

  @Test("a path's status is ECANCELED after tld_detach(), and the map stays detached")
  func detached() throws {
    let follower = Follower()
    try follower.thread.enter()
    let map = follower.pinMap()
    try follower.follow()
    try follower.process.registry.detach(map)
    #expect(follower.status == ECANCELED)
    _ = follower.update()
    #expect(follower.status == ECANCELED)
    #expect(follower.mapsOfThread.isEmpty)
  }

  @Test("one thread is started, whatever is followed; where none can be, nothing is followed")
  func thread() throws {
    let follower = Follower()
    for (code, thrown) in [(EAGAIN, EAGAIN), (ENOMEM, ENOMEM), (EINVAL, EAGAIN)] {
      follower.process.kernel.pins.threadError = code
      #expect(errno { () throws(Errno) in try follower.follow() } == thrown)
      #expect(follower.status == ENOENT)
      #expect(follower.process.kernel.openOthers.isEmpty)
    }
    follower.process.kernel.pins.threadError = nil
    for i in 0..<8 { try follower.follow("/sys/fs/bpf/\(i)") }
    #expect(errno { () throws(Errno) in try follower.follow("/sys/fs/bpf/8") } == ENOSPC)
    #expect(follower.process.kernel.pins.threads == 1)
    #expect(follower.process.kernel.openOthers == ["events", "sleeper", "waker"])
  }

  @Test("paths that are refused: relative, or of 4096 bytes")
  func paths() {
    let follower = Follower()
    for (path, code) in [("", EINVAL), ("a/b", EINVAL), ("/" + String(repeating: "n", count: 4095), ENAMETOOLONG)] {
      #expect(errno { () throws(Errno) in try follower.follow(path) } == code)
      #expect(errno { () throws(Errno) in try follower.unfollow(path) } == code)
    }
    #expect(errno { () throws(Errno) in try follower.unfollow() } == ENOENT)
    #expect(throws: Never.self) { try follower.follow("/" + String(repeating: "n", count: 4094)) }
  }

  @Test("a child watches nothing until it follows the path itself")
  func child() throws {
    let follower = Follower()
    try follower.thread.enter()
    let map = follower.pinMap()
    try follower.follow()
    follower.process.kernel.pins.process += 1
    follower.paths.resetInChild()
    #expect(follower.status == ECHILD)
    #expect(follower.process.kernel.openOthers.isEmpty)
    try follower.follow()
    #expect(follower.status == 0)
    #expect(follower.process.kernel.pins.threads == 2)
    #expect(follower.mapsOfThread == [map])
  }
}

/// A process with one thread that follows paths.
private final class Follower {
  let process = ModelProcess()
  let paths: FollowedPaths<ModelKernel>
  let thread: ModelThread

  init() {
    paths = FollowedPaths(state: zeroedState(of: FollowedPaths<ModelKernel>.State.self), registry: process.registry)
    thread = process.thread(10)
    process.kernel.calling = TaskID(number: 10)
  }

  func follow(_ path: String = FollowedPathsTests.path) throws(Errno) {
    let path = cString(path)
    defer { path.deallocate() }
    try paths.follow(path, by: thread.calling, { $0 }, atExit: {})
  }

  func unfollow(_ path: String = FollowedPathsTests.path) throws(Errno) {
    let path = cString(path)
    defer { path.deallocate() }
    try paths.unfollow(path)
  }

  private func cString(_ text: String) -> UnsafeMutablePointer<CChar> {
    let bytes = text.utf8.map { CChar(bitPattern: $0) } + [0]
    let memory = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count)
    memory.initialize(from: bytes, count: bytes.count)
    return memory
  }

  var status: Int32 { FollowedPathsTests.path.withCString { path in (try? paths.status(path)) ?? -1 } }

  /// What the watching thread does when it is woken.
  func update() -> Int32? { paths.updateAll(paths.state.pointee.watcher!) }

  /// The thread would see, and say so, that it is not the watcher any more.
  func letThreadEnd() { paths.state.pointee.watcher!.pointee.end.open() }

  func pinMap(_ change: (inout Pin) -> Void = { _ in }) -> UInt32 {
    let fd = process.kernel.makeMap(valueSize: 24)
    let map = process.kernel.id(of: fd)
    process.kernel.pins.pin(map, at: FollowedPathsTests.path, change)
    return map
  }

  var mapsOfThread: Set<UInt32> { process.kernel.dataMaps(with: 10) }
}
