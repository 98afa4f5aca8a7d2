// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The model kernel's paths: what is pinned where, which directories are watched, whether a
// watching thread was started. The thread itself does not run: a test calls what it would.

import CTLD

@testable import TLD

/// Used by one thread.
final class ModelPins: @unchecked Sendable {
  var pins: [String: (pin: Pin, map: UInt32)] = [:]
  /// What opening a path, or what is pinned there, gives instead.
  var pathError: Int32?
  var objectError: Int32?
  var directories: Set<String> = []
  var watched: [Int32: String] = [:]
  var threads = 0
  var threadError: Int32?
  var wakeUps = 0
  var process: Int32 = 100
  private var nextInode: UInt64 = 1

  /// A new pin at a path; one that is there is replaced. Its directory exists from now on.
  func pin(_ map: UInt32, at path: String, _ change: (inout Pin) -> Void = { _ in }) {
    var pin = Pin(inode: nextInode)
    nextInode += 1
    change(&pin)
    pins[path] = (pin, map)
    directories.insert(String(path[..<path.lastIndex(of: "/")!]))
  }
}

extension ModelKernel: PinKernel {
  var process: Int32 { pins.process }

  func openPin(_ path: UnsafePointer<CChar>) throws(Errno) -> (file: FileDescriptor, pin: Pin) {
    if let error = pins.pathError { throw Errno(error) }
    let path = String(cString: path)
    guard let found = pins.pins[path] else { throw Errno(ENOENT) }
    return (open("pin \(path)"), found.pin)
  }

  func openObject(pinnedAt file: FileDescriptor) throws(Errno) -> FileDescriptor {
    if let error = pins.objectError { throw Errno(error) }
    guard let what = what(file), let found = pins.pins[String(what.dropFirst(4))],
          let object = openObject(found.map) else { throw Errno(ENOENT) }
    return object
  }

  func openEvents() -> FileDescriptor { open("events") }

  func addWatch(_ directory: UnsafePointer<CChar>, to events: FileDescriptor) -> Int32 {
    let directory = String(cString: directory)
    guard what(events) == "events", pins.directories.contains(directory) else { return 0 }
    if let known = pins.watched.first(where: { $0.value == directory }) { return known.key }
    let watch = (pins.watched.keys.max() ?? 0) + 1
    pins.watched[watch] = directory
    return watch
  }

  func removeWatch(_ watch: Int32, from events: FileDescriptor) { pins.watched[watch] = nil }

  func openWake() throws(Errno) -> ctld_wake {
    ctld_wake(sleeper: open("sleeper").number, waker: open("waker").number, inode: 1)
  }

  func isOpen(_ wake: UnsafePointer<ctld_wake>) -> Bool {
    what(FileDescriptor(number: wake.pointee.sleeper)) == "sleeper"
  }

  func wakeUp(_ wake: UnsafePointer<ctld_wake>) { pins.wakeUps += 1 }
  func sleep(_ events: FileDescriptor, _ wake: UnsafePointer<ctld_wake>, milliseconds: Int32) {}

  func startThread(_ body: ThreadBody, _ argument: UnsafeMutableRawPointer) throws(Errno) {
    if let error = pins.threadError { throw Errno(error) }
    pins.threads += 1
  }

  func callAtExit(_ handler: @convention(c) () -> Void) {}
}
