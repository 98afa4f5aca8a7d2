// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// A file that is there as a whole or not at all: written beside the place where it will be, and
// moved there when it is complete. What was there before stays until then.
//
// Root writes it, and a person may name a place in a directory that others write. So all names
// are names in the directory that was opened first, the file beside is a new one, and no link is
// followed to a file (docs/trust.md).

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
    guard place >= 0 else { throw failure(path, -place) }
    do throws(Failure) {
      let found = try look(path, place, name)
      guard let found, found.st_mode & S_IFMT != S_IFREG else {
        let temporary = "\(name).tmp.\(sixLetters())"
        // As the umask lets it be, or as the file is that is replaced.
        let fd = openat(place, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        guard fd >= 0 else { throw failure(path, errno) }
        if let found { _ = fchmod(fd, found.st_mode & 0o777) }
        return (place, fd, temporary)
      }
      return (place, try openInPlace(path, place, name, isLink: found.st_mode & S_IFMT == S_IFLNK), nil)
    } catch {
      close(place)
      throw error
    }
  }

  /// A pipe or a device.
  private static func openInPlace(_ path: String, _ directory: Int32, _ name: String, isLink: Bool) throws(Failure) -> Int32 {
    let fd = openat(directory, name, O_WRONLY | O_CLOEXEC | (isLink ? 0 : O_NOFOLLOW))
    guard fd >= 0 else { throw failure(path, errno) }
    var found = stat()
    guard fstat(fd, &found) == 0, found.st_mode & S_IFMT != S_IFREG else {
      close(fd)
      throw failure(path, EEXIST)  // it was another one a moment ago
    }
    return fd
  }

  /// What is at the place; nil: nothing. Throws where it must not be touched: what is somebody
  /// else's in a directory such as /tmp, as the kernel's fs.protected_* rules have it, whatever
  /// they are set to; and a link, unless it is root's or the caller's own and leads to a pipe or a
  /// device, as /dev/stdout does.
  private static func look(_ path: String, _ directory: Int32, _ name: String) throws(Failure) -> stat? {
    var found = stat(), around = stat(), target = stat()
    guard fstatat(directory, name, &found, AT_SYMLINK_NOFOLLOW) == 0 else {
      guard errno == ENOENT else { throw failure(path, errno) }
      return nil
    }
    guard fstat(directory, &around) == 0 else { throw failure(path, errno) }
    let isLink = found.st_mode & S_IFMT == S_IFLNK
    let isShared = around.st_mode & S_ISVTX != 0 && around.st_mode & 0o022 != 0 && found.st_uid != around.st_uid
    guard found.st_uid == geteuid() || found.st_uid == 0 || !(isShared || isLink) else {
      throw Failure(.noPermission, "\(escaped(path)) belongs to another user", advice: "choose a directory that only you may write")
    }
    guard isLink else { return found }
    guard fstatat(directory, name, &target, 0) == 0, target.st_mode & S_IFMT != S_IFREG else {
      throw Failure(
        .other, "\(escaped(path)) is a symbolic link", why: "what a link leads to is not replaced",
        advice: "name the file itself, or - for standard output")
    }
    return found
  }

  private static func split(_ path: String) -> (directory: String, name: String) {
    guard let slash = path.lastIndex(of: "/") else { return (".", path) }
    return (slash == path.startIndex ? "/" : String(path[..<slash]), String(path[path.index(after: slash)...]))
  }

  private static func sixLetters() -> String {
    String((0..<6).map { _ in "abcdefghijklmnopqrstuvwxyz0123456789".randomElement()! })
  }

  private static func failure(_ path: String, _ code: Int32) -> Failure {
    Failure.system(
      "\(escaped(path)) cannot be written", errno: code,
      advice: code == EACCES || code == EPERM ? "choose a directory that you may write" : "")
  }
}
