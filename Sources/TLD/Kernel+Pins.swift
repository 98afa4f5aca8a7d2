// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// What following a pin asks of the kernel besides: paths, events in directories, a thread
// that sleeps until one comes. The tests' model kernel has them, too.

import CTLD

/// What is at a path, as it was opened: a last symbolic link is not followed.
struct Pin {
  var inode: UInt64
  var isInBPFFileSystem = true
  var isFile = true
  var isLink = false
  /// Root's or the caller's.
  var hasTrustedOwner = true
  var isWritableByOthers = false
}

protocol PinKernel: Kernel {
  var process: Int32 { get }

  func openPin(_ path: UnsafePointer<CChar>) throws(Errno) -> (file: FileDescriptor, pin: Pin)
  /// The object that is pinned at what `openPin` opened, whatever its path leads to by now.
  func openObject(pinnedAt file: FileDescriptor) throws(Errno) -> FileDescriptor

  /// A descriptor for events in directories; -1: none can be had.
  func openEvents() -> FileDescriptor
  /// The number of a directory among those watched; 0: it cannot be watched.
  func addWatch(_ directory: UnsafePointer<CChar>, to events: FileDescriptor) -> Int32
  func removeWatch(_ watch: Int32, from events: FileDescriptor)

  func openWake() throws(Errno) -> ctld_wake
  func isOpen(_ wake: UnsafePointer<ctld_wake>) -> Bool
  func wakeUp(_ wake: UnsafePointer<ctld_wake>)
  /// Until an event, a wake-up, or the end of so many milliseconds.
  func sleep(_ events: FileDescriptor, _ wake: UnsafePointer<ctld_wake>, milliseconds: Int32)

  typealias ThreadBody = @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer?
  func startThread(_ body: ThreadBody, _ argument: UnsafeMutableRawPointer) throws(Errno)
  func callAtExit(_ handler: @convention(c) () -> Void)
}

extension Linux: PinKernel {
  var process: Int32 { ctld_getpid() }

  func openPin(_ path: UnsafePointer<CChar>) throws(Errno) -> (file: FileDescriptor, pin: Pin) {
    var pin = ctld_pin()
    let file = FileDescriptor(number: try checked(ctld_open_pin(path, &pin)))
    return (file, Pin(inode: pin.inode, isInBPFFileSystem: pin.is_bpffs != 0, isFile: pin.is_file != 0,
                      isLink: pin.is_link != 0, hasTrustedOwner: pin.is_trusted_owner != 0,
                      isWritableByOthers: pin.others_may_write != 0))
  }

  func openObject(pinnedAt file: FileDescriptor) throws(Errno) -> FileDescriptor {
    FileDescriptor(number: try checked(ctld_bpf_obj_get(file.number)))
  }

  func openEvents() -> FileDescriptor { FileDescriptor(number: max(ctld_inotify_open(), -1)) }

  func addWatch(_ directory: UnsafePointer<CChar>, to events: FileDescriptor) -> Int32 {
    max(ctld_inotify_add(events.number, directory), 0)
  }

  func removeWatch(_ watch: Int32, from events: FileDescriptor) { ctld_inotify_remove(events.number, watch) }

  func openWake() throws(Errno) -> ctld_wake {
    var wake = ctld_wake()
    _ = try checked(ctld_wake_open(&wake))
    return wake
  }

  func isOpen(_ wake: UnsafePointer<ctld_wake>) -> Bool { ctld_wake_is_open(wake) != 0 }
  func wakeUp(_ wake: UnsafePointer<ctld_wake>) { ctld_wake_up(wake) }

  func sleep(_ events: FileDescriptor, _ wake: UnsafePointer<ctld_wake>, milliseconds: Int32) {
    ctld_wait_events(events.number, wake, milliseconds)
  }

  func startThread(_ body: ThreadBody, _ argument: UnsafeMutableRawPointer) throws(Errno) {
    _ = try checked(ctld_start_thread(body, argument))
  }

  func callAtExit(_ handler: @convention(c) () -> Void) { ctld_at_exit(handler) }
}
