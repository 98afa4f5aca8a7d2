// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// tldctl map create, tldctl map remove: a map for programs to publish in before the scheduler
// that reads it is there.

import ArgumentParser
import TldctlKernel
import Glibc
import TldctlModel

struct MapCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "map", abstract: "Make a task local data map, or remove its pin.",
    subcommands: [Create.self, Remove.self])
}

extension MapFormat: ExpressibleByArgument {}

/// A mode in octal digits.
struct Mode: ExpressibleByArgument {
  let bits: UInt32

  init(bits: UInt32) { self.bits = bits }

  init?(argument: String) {
    guard let bits = UInt32(argument, radix: 8), bits <= 0o777 else { return nil }
    self.bits = bits
  }
}

extension MapCommand {
  struct Create: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a map and pin it, in a directory of its own.",
      discussion: """
        The directory is made if need be, with mode 0755 and its maker as the owner. Whoever may \
        write the pin may forge everybody's data: give it to the group of those who may publish \
        (docs/guide/trust.md).
        """)

    @Argument(help: "Where to pin it, as /sys/fs/bpf/hints/tld_data_map.")
    var pin: String

    @Option(help: "v1 (Linux 6.18 to 7.0), v2 (7.1 and later) or native (tld.bpf.h).")
    var format = MapFormat.v2

    @Option(help: "How many names the BPF program's TLD_KEYS() has; for native only.")
    var keys = 1

    @Option(help: "The group that the pin is given to, by name or number.")
    var group: String?

    @Option(help: "The pin's mode in octal. Default: 0600, with --group 0660.")
    var mode: Mode?

    func validate() throws {
      guard (1...63).contains(keys) else { throw ValidationError("--keys takes 1 to 63, as TLD_KEYS() does.") }
      guard (mode?.bits ?? 0) & 0o002 == 0 else {
        throw ValidationError("A pin that all may write is refused by tld_follow(): give it to a group.")
      }
    }

    func run() throws {
      let place = try PinPlace(pin)
      let gid = try group.map { try groupID($0) }
      let bits = mode?.bits ?? (group == nil ? 0o600 : 0o660)
      let what = "a \(format.rawValue) map cannot be made"
      // An old kernel makes one without a word, of numbers that lead nowhere.
      guard ctldctl_kernel_has_uptr() != 0, ctldctl_try_uptr() != -EOPNOTSUPP else { throw loadFailure(what, EOPNOTSUPP) }
      let fd = ctldctl_map_create(lastName, UInt32(format.valueSize(names: keys)))
      guard fd >= 0 else { throw loadFailure(what, -fd) }
      let map = Descriptor(fd)
      try place.make(map, group: gid, mode: bits)
      if bits & 0o077 != 0 { place.warnIfHidden() }
    }

    /// A map's name: the kernel takes 15 letters, digits, "_" and ".".
    private var lastName: String {
      let name = pin.split(separator: "/").last ?? "tld_data_map"
      return String(name.prefix(15).map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" })
    }
  }

  struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Remove the pin of a task local data map, and its directory if that is empty then.",
      discussion: "The map itself ends when nobody holds or uses it any more.")

    @Argument(help: "The pin.")
    var pin: String

    func run() throws {
      // Nothing but a data map is removed.
      let map = try FoundMap.pinned(at: pin)
      try PinPlace(pin).remove(map)
    }
  }
}

private func groupID(_ word: String) throws(Failure) -> UInt32 {
  if let number = UInt32(word) { return number }
  guard let group = getgrnam(word) else {
    throw Failure(.notFound, "there is no group '\(escaped(word))'", advice: "groupadd --system makes one")
  }
  return group.pointee.gr_gid
}
