// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// A file that is there as a whole or not at all: written beside the place where it will be, and
// moved there when it is complete. What was there before stays until then.

import Glibc
import TLDCTLCore

struct ReplacedFile: ~Copyable {
  /// As it was asked for; "-" is standard output.
  let path: String
  private let fd: Int32
  /// Where it is written; nil where it is written at its place: pipes, devices, standard output.
  private var temporary: String?
  private let place: String

  init(_ path: String) throws(Failure) {
    self.path = path
    var status = stat()
    if path == "-" {
      (fd, place) = (dup(1), path)
    } else if stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG {
      (fd, place) = (open(path, O_WRONLY | O_CLOEXEC), path)
    } else {
      place = Self.real(path)
      var template = Array("\(place).tmp.XXXXXX".utf8CString)
      fd = mkstemp(&template)
      temporary = template.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } }
    }
    guard fd >= 0 else {
      temporary = nil
      throw Self.failure(path, errno)
    }
    _ = fcntl(fd, F_SETFD, FD_CLOEXEC)
    if temporary != nil { _ = fchmod(fd, Self.mode(of: place)) }
  }

  deinit {
    close(fd)
    if let temporary { unlink(temporary) }
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
    guard fsync(fd) == 0, rename(temporary, place) == 0 else { throw Self.failure(path, errno) }
    self.temporary = nil
  }

  private static func failure(_ path: String, _ code: Int32) -> Failure {
    Failure.system(
      "\(escaped(path)) cannot be written", errno: code,
      advice: code == EACCES || code == EPERM ? "choose a directory that you may write" : "")
  }

  /// The file itself where the path is a symbolic link.
  private static func real(_ path: String) -> String {
    guard let found = realpath(path, nil) else { return path }
    defer { free(found) }
    return String(cString: found)
  }

  /// That of the file that is replaced, or what the umask lets a new one have.
  private static func mode(of path: String) -> mode_t {
    var status = stat()
    if stat(path, &status) == 0 { return status.st_mode & 0o777 }
    let mask = umask(0)
    umask(mask)
    return 0o666 & ~mask
  }
}
