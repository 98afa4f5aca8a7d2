// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// A file that is there as a whole or not at all: written beside the place where it will be, and
// moved there when it is complete. What was there before stays until then.
//
// Root writes it, and a person may name a place in a directory that others write. So all names
// are names in the directory that was opened first, the file beside is a new one, and no link is
// followed to a file (docs/guide/trust.md).

import TldctlKernel
import Glibc
import TldctlModel

struct ReplacedFile: ~Copyable {
  /// As it was asked for; "-" is standard output.
  let path: String
  private let name: String
  /// -1: none, for standard output.
  private let directory: Int32
  private let fd: Int32
  /// The name under which it is written; nil where it is written at its place: pipes, devices,
  /// standard output.
  private var temporary: String?

  init(_ path: String) throws(Failure) {
    let parts = Self.split(path)
    let opened = path == "-" ? try Self.standardOutput() : try Self.opened(path, in: parts.directory, parts.name)
    self.path = path
    name = parts.name
    (directory, fd, temporary) = opened
  }

  deinit {
    close(fd)
    if let temporary { unlinkat(directory, temporary, 0) }
    if directory >= 0 { close(directory) }
  }

  func write(_ bytes: [UInt8]) throws(Failure) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let written = rest.withUnsafeBytes { Glibc.write(fd, $0.baseAddress, $0.count) }
      if written >= 0 {
        rest = rest.dropFirst(written)
      } else if errno != EINTR && errno != EAGAIN {
        throw Self.failure(path, errno)
      }
    }
  }

  /// It is complete.
  mutating func finish() throws(Failure) {
    guard let temporary else { return }
    guard fsync(fd) == 0, renameat(directory, temporary, directory, name) == 0 else { throw Self.failure(path, errno) }
    self.temporary = nil
  }

  // MARK: Opening

  private typealias Opened = (directory: Int32, fd: Int32, temporary: String?)

  private static func standardOutput() throws(Failure) -> Opened {
    let fd = fcntl(1, F_DUPFD_CLOEXEC, 0)
    guard fd >= 0 else { throw failure("-", errno) }
    return (-1, fd, nil)
  }

  private static func opened(_ path: String, in directory: String, _ name: String) throws(Failure) -> Opened {
    let place = ctldctl_directory_open(directory)
    guard place >= 0 else { throw place == -EPERM ? strangers(path) : failure(path, -place) }
    do throws(Failure) {
      guard !name.isEmpty else { throw failure(path, path.isEmpty ? ENOENT : EISDIR) }
      let found = try look(path, place, name)
      guard let found, found.st_mode & S_IFMT != S_IFREG else {
        let temporary = temporaryName(name)
        // No more open than the file that is replaced; a new one is as the umask lets it be.
        let mode = found.map { $0.st_mode & 0o777 } ?? 0o666
        let fd = openat(place, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        guard fd >= 0 else { throw failure(path, errno) }
        if found != nil { _ = fchmod(fd, mode) }
        return (place, fd, temporary)
      }
      let fd = ctldctl_stream_open(place, name)
      guard fd >= 0 else { throw fd == -EPERM ? strangers(path) : failure(path, -fd) }
      return (place, fd, nil)
    } catch {
      close(place)
      throw error
    }
  }

  /// What is at the place; nil: nothing. Throws where it must not be touched:
  /// - a link of another user; a link to a file, whoever owns it;
  /// - a file of another user in a directory such as /tmp, sticky and written by others, as the
  ///   kernel has it where fs.protected_regular is set.
  private static func look(_ path: String, _ directory: Int32, _ name: String) throws(Failure) -> stat? {
    var found = stat(), around = stat(), target = stat()
    guard fstatat(directory, name, &found, AT_SYMLINK_NOFOLLOW) == 0 else {
      guard errno == ENOENT else { throw failure(path, errno) }
      return nil
    }
    guard fstat(directory, &around) == 0 else { throw failure(path, errno) }
    switch found.st_mode & S_IFMT {
    case S_IFREG:
      let isShared = around.st_mode & S_ISVTX != 0 && around.st_mode & 0o022 != 0
      guard !isShared || found.st_uid == geteuid() || found.st_uid == around.st_uid && geteuid() == 0 else { throw strangers(path) }
    case S_IFLNK:
      guard found.st_uid == geteuid() || found.st_uid == 0 else { throw strangers(path) }
      guard fstatat(directory, name, &target, 0) == 0, target.st_mode & S_IFMT != S_IFREG else {
        throw Failure(
          .other, "\(escaped(path)) is a symbolic link", why: "what a link leads to is not replaced",
          advice: "name the file itself, or - for standard output")
      }
    default: break
    }
    return found
  }

  private static func split(_ path: String) -> (directory: String, name: String) {
    guard let slash = path.lastIndex(of: "/") else { return (".", path) }
    return (slash == path.startIndex ? "/" : String(path[..<slash]), String(path[path.index(after: slash)...]))
  }

  /// Beside it; a name has 255 bytes at most.
  private static func temporaryName(_ name: String) -> String {
    let letters = String((0..<6).map { _ in "abcdefghijklmnopqrstuvwxyz0123456789".randomElement()! })
    return "\(name.utf8.count < 240 ? name : "tldctl").tmp.\(letters)"
  }

  private static func strangers(_ path: String) -> Failure {
    Failure(
      .noPermission, "\(escaped(path)) belongs to another user, or a link of another user leads there",
      advice: "choose a directory that only you may write")
  }

  private static func failure(_ path: String, _ code: Int32) -> Failure {
    Failure.system(
      "\(escaped(path)) cannot be written", errno: code,
      advice: code == EACCES || code == EPERM ? "choose a directory that you may write" : "")
  }
}
