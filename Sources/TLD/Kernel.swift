// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// What the runtime asks of the kernel. The components are generic over it, so that
// their tests run against a model of it.

import CTLD
// For the whole module. The library is one module, to which these files belong: see Makefile.
#if canImport(TLDWire)
@_exported import TLDWire
#endif

/// A positive errno value.
struct Errno: Error, Equatable {
  let code: Int32

  init(_ code: Int32) { self.code = code }
}

/// A thread's id (a task's, as the kernel says).
struct TaskID: Equatable {
  let number: Int32
}

/// One thread from its beginning to its end: unlike its id, never given to another. The
/// inode number of its pidfd (pidfs, since Linux 6.9).
struct Life: Equatable {
  let number: UInt64

  static let unknown = Life(number: 0)
}

struct FileDescriptor: Equatable {
  let number: Int32
}

/// What the kernel tells about a map, also to the unprivileged.
struct MapInfo {
  var id: UInt32
  var isTaskStorage: Bool
  var keySize: ByteCount
  var valueSize: ByteCount
}

enum UpdateMode {
  case replaceOrInsert, insertOnly
}

protocol Kernel {
  var currentTask: TaskID { get }
  /// Linux before 6.13, which knows no UPTR.
  var predatesUPTR: Bool { get }
  /// Whether a thread of this process has that id.
  func exists(_ task: TaskID) -> Bool
  func yield()

  /// A descriptor of a thread, the key of task storage.
  func open(_ task: TaskID) throws(Errno) -> FileDescriptor
  /// Whose descriptor that is.
  func life(of task: FileDescriptor) throws(Errno) -> Life
  func close(_ fd: FileDescriptor)
  func duplicate(_ fd: FileDescriptor) throws(Errno) -> FileDescriptor

  func info(of map: FileDescriptor) throws(Errno) -> MapInfo
  /// Whether a descriptor is that of the map with this id. False only where it is certain.
  func isOpen(_ map: FileDescriptor, as id: UInt32) -> Bool
  func update(_ map: FileDescriptor, _ task: FileDescriptor, _ value: UnsafeRawPointer,
              _ mode: UpdateMode) throws(Errno)
  func delete(_ map: FileDescriptor, _ task: FileDescriptor) throws(Errno)
}

struct Linux: Kernel {
  var currentTask: TaskID { TaskID(number: ctld_gettid()) }
  var predatesUPTR: Bool { ctld_kernel_predates_uptr() != 0 }

  func exists(_ task: TaskID) -> Bool { ctld_thread_exists(task.number) != 0 }
  func yield() { ctld_yield() }

  func open(_ task: TaskID) throws(Errno) -> FileDescriptor {
    let result = ctld_pidfd_open_thread(task.number)
    // PIDFD_THREAD is unknown before Linux 6.9, which had no UPTR either.
    if result == -EINVAL { throw Errno(EOPNOTSUPP) }
    return FileDescriptor(number: try understood(result))
  }

  func life(of task: FileDescriptor) throws(Errno) -> Life {
    var inode: UInt64 = 0
    _ = try understood(ctld_inode(task.number, &inode))
    return Life(number: inode)
  }

  func close(_ fd: FileDescriptor) { _ = ctld_close(fd.number) }

  func duplicate(_ fd: FileDescriptor) throws(Errno) -> FileDescriptor {
    let result = ctld_duplicate(fd.number)
    // The lowest number that it asks for is beyond the process's limit.
    if result == -EINVAL { throw Errno(EMFILE) }
    return FileDescriptor(number: try understood(result))
  }

  func info(of map: FileDescriptor) throws(Errno) -> MapInfo {
    var info = ctld_map_info()
    let result = ctld_bpf_map_info(map.number, &info)
    // What this command of bpf(2), unlike the others, says of a descriptor not open.
    if result == -EBADFD { throw Errno(EBADF) }
    _ = try understood(result)
    return MapInfo(id: info.id, isTaskStorage: info.type == UInt32(CTLD_MAP_TYPE_TASK_STORAGE),
                   keySize: ByteCount(info.key_size), valueSize: ByteCount(info.value_size))
  }

  func isOpen(_ map: FileDescriptor, as id: UInt32) -> Bool {
    let found = ctld_bpf_map_id(map.number)
    switch -found {
    case Int64(EBADF), Int64(EBADFD), Int64(EINVAL): return false
    default: return found < 0 || found == id
    }
  }

  func update(_ map: FileDescriptor, _ task: FileDescriptor, _ value: UnsafeRawPointer,
              _ mode: UpdateMode) throws(Errno) {
    let flags = mode == .insertOnly ? CTLD_UPDATE_NO_EXIST : CTLD_UPDATE_ANY
    _ = try understood(ctld_bpf_map_update(map.number, task.number, value, UInt64(flags)))
  }

  func delete(_ map: FileDescriptor, _ task: FileDescriptor) throws(Errno) {
    _ = try understood(ctld_bpf_map_delete(map.number, task.number))
  }

  /// With the errnos that tld.h documents, and those that the components make something of.
  private func understood(_ result: Int32) throws(Errno) -> Int32 {
    if result >= 0 { return result }
    switch -result {
    case EPERM, ENOSYS, EOPNOTSUPP, EINVAL, EBADF, EFAULT, ENOENT, EEXIST, ESRCH, ENOMEM, EMFILE, ENFILE,
         EAGAIN, ETIMEDOUT, EDEADLK, EINTR, EBUSY:
      throw Errno(-result)
    case EACCES: throw Errno(EPERM)  // a security module's
    case ENODEV: throw Errno(ENOSYS)  // a kernel without pidfds
    case E2BIG: throw Errno(EOPNOTSUPP)  // one that knows less of bpf(2)
    default: throw Errno(EAGAIN)
    }
  }
}

/// What CTLD gives: a value, or a negative errno.
func checked(_ result: Int32) throws(Errno) -> Int32 {
  if result < 0 { throw Errno(-result) }
  return result
}
