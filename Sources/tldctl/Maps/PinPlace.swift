// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Where a map is pinned: a directory of its own in a BPF file system (docs/guide/trust.md). What makes
// and removes pins is include/tld_pin.h; here is what a person is told.

import TldctlKernel
import Glibc
import TldctlModel

struct PinPlace {
  private let pin: String
  private let directory: String

  /// A BPF file system's root has others' names in it.
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
  }

  func make(_ map: borrowing Descriptor, group: UInt32?, mode: UInt32) throws(Failure) {
    var why: UnsafePointer<CChar>?
    let error = ctldctl_pin_make(map.number, pin, group ?? gid_t.max, mode, &why)
    guard error != 0 else { return }
    guard error != -EEXIST else {
      throw Failure(.other, "there is something at \(escaped(pin)) already", advice: "'tldctl map remove' removes a map's pin")
    }
    throw failure("the map cannot be pinned at \(escaped(pin))", error, why)
  }

  func remove(_ map: FoundMap) throws(Failure) {
    var why: UnsafePointer<CChar>?
    let error = ctldctl_pin_remove(pin, map.id, &why)
    guard error == 0 else { throw failure("\(escaped(pin)) cannot be removed", error, why) }
  }

  private func failure(_ what: String, _ error: Int32, _ why: UnsafePointer<CChar>?) -> Failure {
    guard let why else { return Failure.system(what, errno: -error) }
    let advice = bpfMounts().isEmpty
      ? "mount one: mount -t bpf -o mode=0755 bpf /sys/fs/bpf"
      : "use a directory of a BPF file system that root owns and nobody else may write (docs/guide/trust.md)"
    return Failure(error == -EPERM ? .noPermission : .other, what, why: String(cString: why), advice: advice)
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
