// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// One data map: what its format is, whether it is one at all, and a thread's
// element in it.

import CTLD

/// Who wants every thread to be published in a map.
struct Keepers: Equatable {
  var bits: UInt16

  static let none = Keepers(bits: 0)
  /// `tld_attach`.
  static let caller = Keepers(bits: 1)
  /// The `slot`th followed path.
  static func follower(_ slot: Int) -> Keepers { Keepers(bits: 2 << slot) }
}

struct DataMap {
  /// The map's id; 0, which the kernel gives to none: this place is not taken.
  var id: UInt32 = 0
  /// Our own descriptor: the map stays as long as threads are published in it.
  var fd = FileDescriptor(number: -1)
  var format = MapFormat.v1
  var valueSize: ByteCount = 0
  /// How many threads are published through it, or passed it to `tld_get_data`.
  var threads = 0
  /// It was detached, and some thread could not be withdrawn yet.
  var isLeaving = false
  /// Who attached it; nobody: it is known from `tld_get_data` only.
  var keepers = Keepers.none
  /// When it was taken in, as a count of such events: the oldest gives way.
  var admitted: UInt64 = 0

  /// How often the kernel is asked again when it was busy.
  private static let attempts = 16

  /// Throws EINVAL unless the map can be a data map.
  static func format(_ info: MapInfo) throws(Errno) -> MapFormat {
    guard info.isTaskStorage, info.keySize == 4, let format = MapFormat(valueSize: info.valueSize)
    else { throw Errno(EINVAL) }
    return format
  }

  /// Make `block` the element of `task`. `scratch` has `valueSize` zero bytes.
  func publish<K: Kernel>(_ block: Block, meta: UnsafeMutableRawPointer,
                          as task: FileDescriptor, scratch: UnsafeMutableRawPointer,
                          _ kernel: K) throws(Errno) {
    let value = MapValue(bytes: scratch)
    value.set(data: block.pageAddress, meta: meta, start: block.start, room: block.dataSize,
              format: format)
    do { try update(task, scratch, .replaceOrInsert, kernel) } catch {
      // The pages are there; they could not be pinned for now.
      throw error.code == EFAULT ? Errno(EAGAIN) : error
    }
  }

  /// Remove the element of `task`; there need not be one.
  func withdraw<K: Kernel>(_ task: FileDescriptor, _ kernel: K) throws(Errno) {
    var left = Self.attempts
    while true {
      do { return try kernel.delete(fd, task) } catch {
        if error.code == ENOENT { return }
        left -= 1
        try Self.mayRetry(error, left, kernel)
      }
    }
  }

  /// A value of the right size may still hold plain pointers. The kernel pins what
  /// UPTRs point to before it looks at the flags, so an insertion with an address that
  /// no process has fails with EFAULT exactly where that member is a UPTR. It changes
  /// no element: one that exists makes `insertOnly` fail, one that this made is deleted.
  /// Throws EINVAL, or EOPNOTSUPP where no map can have UPTRs. `scratch` as in `publish`.
  func confirm<K: Kernel>(_ task: FileDescriptor, scratch: UnsafeMutableRawPointer,
                          _ kernel: K) throws(Errno) {
    let nowhere = UnsafeMutableRawPointer(bitPattern: UInt.max << 16)!  // in every page size
    let value = MapValue(bytes: scratch)
    value.set(data: nowhere, meta: nil, start: 0, room: 0, format: format)
    if try isRefusedAsUPTR(task, scratch, kernel) {
      value.set(data: nil, meta: nowhere, start: 0, room: 0, format: format)
      if try isRefusedAsUPTR(task, scratch, kernel) { return }
    }
    throw Errno(kernel.predatesUPTR ? EOPNOTSUPP : EINVAL)
  }

  private func isRefusedAsUPTR<K: Kernel>(_ task: FileDescriptor, _ value: UnsafeMutableRawPointer,
                                          _ kernel: K) throws(Errno) -> Bool {
    do {
      try update(task, value, .insertOnly, kernel)
    } catch {
      if error.code == EFAULT { return true }
      if error.code == EEXIST { return false }
      throw error
    }
    try withdraw(task, kernel)
    return false
  }

  private func update<K: Kernel>(_ task: FileDescriptor, _ value: UnsafeMutableRawPointer,
                                 _ mode: UpdateMode, _ kernel: K) throws(Errno) {
    var left = Self.attempts
    while true {
      do { return try kernel.update(fd, task, value, mode) } catch {
        // The thread ended since its descriptor was opened.
        if error.code == ENOENT { throw Errno(ESRCH) }
        left -= 1
        try Self.mayRetry(error, left, kernel)
      }
    }
  }

  /// The storage being freed, or its lock held by a BPF program on this processor,
  /// passes. Throws what cannot pass as it is, and EAGAIN for what did not.
  private static func mayRetry<K: Kernel>(_ error: Errno, _ left: Int, _ kernel: K) throws(Errno) {
    switch error.code {
    case EAGAIN, ETIMEDOUT, EDEADLK, EINTR, EBUSY:
      if left == 0 { throw Errno(EAGAIN) }
      kernel.yield()
    default:
      throw error
    }
  }
}
