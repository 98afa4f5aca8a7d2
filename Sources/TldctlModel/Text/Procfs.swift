// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Files of /proc, taken apart.

/// Where a BPF file system is mounted, of /proc/self/mountinfo. Not by getmntent(3), which reads
/// only /proc/self/mounts, where the fields of a mount without a source are others.
public struct BPFMount: Equatable, Sendable {
  public let path: [UInt8]

  /// The mounts of type bpf; each place once, the last mount on it.
  public static func parse(mountinfo: [UInt8]) -> [BPFMount] {
    var found: [BPFMount] = []
    for line in mountinfo.split(separator: UInt8(ascii: "\n")) {
      let fields = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false).map(Array.init)
      // Optional fields end with "-"; behind it the type.
      guard fields.count > 6, let dash = fields[6...].firstIndex(of: [UInt8(ascii: "-")]),
        dash + 1 < fields.count, fields[dash + 1] == Array("bpf".utf8)
      else { continue }
      let mount = BPFMount(path: unoctal(fields[4]))
      if !found.contains(mount) { found.append(mount) }
    }
    return found
  }

  /// The kernel writes space, tab, newline and backslash as \ooo.
  private static func unoctal(_ text: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = [], at = 0
    while at < text.count {
      let digits = text[(at + 1 < text.count ? at + 1 : at)...].prefix(3)
      if text[at] == UInt8(ascii: "\\"), digits.count == 3, digits.allSatisfy({ (48...55).contains($0) }) {
        bytes.append(digits.reduce(UInt8(0)) { ($0 << 3) | ($1 - 48) })
        at += 4
      } else {
        bytes.append(text[at])
        at += 1
      }
    }
    return bytes
  }
}

/// The number behind a field of a file of /proc, like "map_id:\t7".
public func procField(_ name: String, in text: [UInt8]) -> UInt64? {
  let prefix = Array(name.utf8) + [UInt8(ascii: ":")]
  for line in text.split(separator: UInt8(ascii: "\n")) where line.starts(with: prefix) {
    let digits = line.dropFirst(prefix.count).drop { $0 == 9 || $0 == 32 }.prefix { (48...57).contains($0) }
    return UInt64(String(decoding: digits, as: UTF8.self))
  }
  return nil
}
