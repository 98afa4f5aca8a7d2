// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// What tldctl ends with when it cannot do what was asked, and how it says so.

import Glibc

/// The exit status, the same for every command.
public enum ExitStatus: Int32, Sendable, CaseIterable {
  case good = 0
  case other = 1
  case notFound = 3
  case noPermission = 4
  case kernelCannot = 5
  case usage = 64
}

/// What went wrong, why, and what to do about it: three parts of one sentence.
public struct Failure: Error, Equatable, Sendable {
  public let status: ExitStatus
  public let what: String
  public let why: String
  public let advice: String

  public init(_ status: ExitStatus, _ what: String, why: String = "", advice: String = "") {
    self.status = status
    self.what = what
    self.why = why
    self.advice = advice
  }

  public var message: String {
    var text = what
    if !why.isEmpty { text += ": \(why)" }
    if !advice.isEmpty { text += "; \(advice)" }
    return text
  }

  /// A refusal of the kernel, whose errno tells the exit status.
  public static func system(_ what: String, errno code: Int32, advice: String = "") -> Failure {
    switch code {
    case EPERM, EACCES:
      Failure(
        .noPermission, what, why: describe(errno: code),
        advice: advice.isEmpty ? "run it as root, or with CAP_SYS_ADMIN (CAP_BPF and CAP_PERFMON for a pinned map)" : advice)
    case ENOSYS, EOPNOTSUPP:
      Failure(.kernelCannot, what, why: describe(errno: code), advice: advice.isEmpty ? "'tldctl doctor' says what is missing" : advice)
    case ENOENT, ESRCH:
      Failure(.notFound, what, why: describe(errno: code), advice: advice)
    default:
      Failure(.other, what, why: describe(errno: code), advice: advice)
    }
  }
}

/// The C library's words for an errno.
public func describe(errno code: Int32) -> String {
  String(cString: strerror(code))
}
