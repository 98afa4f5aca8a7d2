// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// How a person names threads: PID, PID/TID, and a pattern for command names.

import Glibc

/// "PID" or "PID/TID". PID alone means the process's first thread, whose id is the same.
public struct ThreadName: Equatable, Sendable {
  public let pid: UInt32
  public let tid: UInt32
  public let isExplicit: Bool

  public init(parsing text: String) throws(Failure) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    let numbers = parts.compactMap { part -> UInt32? in
      guard !part.isEmpty, part.utf8.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }) else { return nil }
      return UInt32(part).flatMap { $0 > 0 && $0 <= 1 << 30 ? $0 : nil }
    }
    guard numbers.count == parts.count, (1...2).contains(numbers.count) else {
      throw Failure(.usage, "'\(escaped(text))' names no thread", advice: "write PID or PID/TID")
    }
    pid = numbers[0]
    tid = numbers[numbers.count - 1]
    isExplicit = numbers.count == 2
  }

  public var text: String { isExplicit ? "\(pid)/\(tid)" : "\(pid)" }
}

/// A shell pattern, by fnmatch(3): "*" any bytes, "?" one, "[a-z]" and "[!a-z]" one of a set, "\\"
/// takes the next as it is. Bytes, not characters: tldctl has the C locale.
public struct Pattern: Sendable {
  private let pattern: String

  public init(_ text: String) { pattern = text }

  /// A name ends at its first NUL.
  public func matches(_ name: some Collection<UInt8>) -> Bool {
    (name.map { CChar(bitPattern: $0) } + [0]).withUnsafeBufferPointer { fnmatch(pattern, $0.baseAddress!, 0) == 0 }
  }
}
