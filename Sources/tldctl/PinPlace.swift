// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Where a map is to be pinned: a directory of its own in a BPF file system (docs/trust.md).

import CTLDCTL
import Glibc
import TLDCTLCore

struct PinPlace {
  private let pin: String
  private let directory: String

  /// The directory must lie in a BPF file system, or its parent if it is still to be made, and
  /// must not be that file system's root, where others' names are.
  init(_ pin: String) throws(Failure) {
    guard pin.hasPrefix("/"), !pin.hasSuffix("/"), let slash = pin.lastIndex(of: "/"), slash != pin.startIndex else {
      throw Failure(.usage, "'\(escaped(pin))' is no absolute path", advice: "write one like /sys/fs/bpf/hints/tld_data_map")
    }
    guard !pin[pin.index(after: slash)...].contains(".") else {
      throw Failure(.usage, "'\(escaped(pin))' has a dot in its name", why: "BPF file systems keep these for themselves")
    }
    self.pin = pin
    directory = String(pin[..<slash])
    guard !bpfMounts().contains(where: { $0.path == Array(directory.utf8) }) else {
      throw Failure(
        .usage, "\(escaped(directory)) is the root of a BPF file system", why: "others have names there",
        advice: "use a directory of its own, as \(escaped(directory))/hints\(escaped(String(pin[slash...])))")
    }
    let above = exists(directory) ? directory : parent(directory)
    let isThere = ctldctl_is_bpffs(above)
    guard isThere >= 0 else { throw Failure.system("\(escaped(above)) cannot be looked at", errno: -isThere) }
    guard isThere == 1 else {
      throw Failure(
        .other, "\(escaped(above)) is not in a BPF file system",
        advice: "mount one: mount -t bpf -o mode=0755 bpf /sys/fs/bpf")
    }
  }

  /// Makes the directory, or judges the one that is there: who may write it may replace the pin.
  func makeDirectory() throws(Failure) {
    if mkdir(directory, 0o755) == 0 {
      // Whatever the umask.
      chmod(directory, 0o755)
      return
    }
    guard errno == EEXIST else { throw Failure.system("\(escaped(directory)) cannot be made", errno: errno) }
    guard let found = status(of: Array(directory.utf8)), found.st_mode & S_IFMT == S_IFDIR else {
      throw Failure(.other, "\(escaped(directory)) is no directory")
    }
    guard found.st_uid == 0 || found.st_uid == geteuid(), found.st_mode & 0o022 == 0 else {
      throw Failure(
        .noPermission, "\(escaped(directory)) can be written by others",
        why: "they could put a map of their own in the place of the pin", advice: "use a directory that root owns, mode 0755")
    }
  }

  /// If it is empty.
  func removeDirectory() {
    rmdir(directory)
  }

  func give(to gid: UInt32?, mode: UInt32) throws(Failure) {
    if let gid, chown(pin, uid_t.max, gid) != 0 {
      throw Failure.system("the pin cannot be given to group \(gid)", errno: errno)
    }
    guard chmod(pin, mode) == 0 else { throw Failure.system("the pin's mode cannot be set", errno: errno) }
  }

  /// systemd mounts /sys/fs/bpf so that only root may search it.
  func warnIfHidden() {
    var path = directory
    while path.count > 1 {
      if let found = status(of: Array(path.utf8)), found.st_mode & 0o001 == 0 {
        complain("others cannot reach the pin, because \(escaped(path)) has mode \(octal(found.st_mode)); chmod 0755, or for a mount's root: mount -o remount,mode=0755 \(escaped(path))")
        return
      }
      path = parent(path)
    }
  }
}

private func parent(_ path: String) -> String {
  guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return "/" }
  return String(path[..<slash])
}
