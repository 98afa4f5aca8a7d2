// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Descriptors, files and directories, by the C library.

import Glibc
import TldctlModel

/// A descriptor that is closed when nobody has it any more.
struct Descriptor: ~Copyable {
  let number: Int32

  init(_ number: Int32) { self.number = number }

  deinit { close(number) }
}

/// All of a file, or nil with errno.
func contents(of path: String) -> [UInt8]? {
  let fd = open(path, O_RDONLY | O_CLOEXEC)
  guard fd >= 0 else { return nil }
  let file = Descriptor(fd)
  var all: [UInt8] = [], chunk = [UInt8](repeating: 0, count: 1 << 14)
  while true {
    let length = chunk.withUnsafeMutableBytes { read(file.number, $0.baseAddress, $0.count) }
    if length < 0 && errno == EINTR { continue }
    if length < 0 { return nil }
    if length == 0 { return all }
    all += chunk[..<length]
  }
}

/// One line of a file, without its newline, as text to show.
func line(of path: String) -> String? {
  contents(of: path).map { escaped($0.prefix { $0 != UInt8(ascii: "\n") }) }
}

struct DirectoryEntry {
  let name: [UInt8]
  let type: Int32
}

/// The names in a directory but "." and ".."; nil with errno if it cannot be read.
func entries(of path: [UInt8]) -> [DirectoryEntry]? {
  guard let directory = (path + [0]).withUnsafeBufferPointer({ bytes in
    bytes.withMemoryRebound(to: CChar.self) { opendir($0.baseAddress!) }
  }) else { return nil }
  defer { closedir(directory) }
  var found: [DirectoryEntry] = []
  while let entry = readdir(directory) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
    if name != [46], name != [46, 46] { found.append(DirectoryEntry(name: name, type: Int32(entry.pointee.d_type))) }
  }
  return found
}

func entries(of path: String) -> [DirectoryEntry]? {
  entries(of: Array(path.utf8))
}

/// The numbers among a directory's names: process, thread and descriptor ids.
func numbers(in path: String) -> [UInt32] {
  (entries(of: path) ?? []).compactMap { UInt32(String(decoding: $0.name, as: UTF8.self)) }.sorted()
}

func comm(of pid: UInt32) -> [UInt8] {
  (contents(of: "/proc/\(pid)/comm") ?? []).filter { $0 != UInt8(ascii: "\n") }
}

func exists(_ path: String) -> Bool {
  access(path, F_OK) == 0
}
