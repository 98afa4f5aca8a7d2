// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Whether what is pinned at a path can be trusted: who could put another map there, or write
// in that map, is root or the program's own user.

import CTLD

struct PinCheck<K: PinKernel> {
  let kernel: K

  /// The pin's object. It is opened once, and what was opened is what is judged. `inode` is set
  /// as soon as there is a pin, also where it is refused. Throws ENOENT, EACCES, EPERM, ELOOP,
  /// EINVAL, ENOMEM, EMFILE, ENFILE, ENOSYS, EAGAIN.
  func open(_ path: UnsafePointer<CChar>, _ inode: inout UInt64) throws(Errno) -> FileDescriptor {
    do throws(Errno) {
      let (file, pin) = try kernel.openPin(path)
      defer { kernel.close(file) }
      inode = pin.inode
      if let refusal = Self.refusal(of: pin) { throw refusal }
      return try kernel.openObject(pinnedAt: file)
    } catch {
      throw Self.documented(error)
    }
  }

  /// nil: it can be trusted, and may be a map.
  static func refusal(of pin: Pin) -> Errno? {
    if pin.isLink { return Errno(ELOOP) }
    guard pin.isInBPFFileSystem, pin.hasTrustedOwner, !pin.isWritableByOthers else { return Errno(EPERM) }
    return pin.isFile ? nil : Errno(EINVAL)
  }

  /// Errors that do not say whether a pin, still the same, is what it was: nothing could be
  /// opened for now, or this process has given up the right to open it.
  static func saysNothing(_ error: Errno) -> Bool {
    switch error.code {
    case EACCES, EMFILE, ENFILE, ENOMEM, EAGAIN, ENOSYS: true
    default: false
    }
  }

  private static func documented(_ error: Errno) -> Errno {
    switch error.code {
    case ENOENT, ENOTDIR, ENAMETOOLONG, ENXIO, ENODEV: Errno(ENOENT)
    case EACCES, EPERM, EINVAL, ELOOP, ENOMEM, EMFILE, ENFILE, ENOSYS: error
    default: Errno(EAGAIN)
    }
  }
}
