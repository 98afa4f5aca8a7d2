// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// How a person names threads: PID, PID/TID, and a pattern for command names.

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

/// A shell pattern: "*" any bytes, "?" one, "[a-z]" and "[!a-z]" one of a set, "\" takes the
/// next as it is.
public struct Pattern: Sendable {
  private let pattern: [UInt8]

  public init(_ text: String) { pattern = Array(text.utf8) }

  public func matches(_ name: some Collection<UInt8>) -> Bool {
    let name = Array(name)
    // Where to go on if what follows the last "*" does not match here.
    var retry: (pattern: Int, name: Int)?
    var p = 0, n = 0
    while n < name.count {
      if p < pattern.count, pattern[p] == UInt8(ascii: "*") {
        p += 1
        retry = (p, n)
      } else if let next = step(at: p, name[n]) {
        (p, n) = (next, n + 1)
      } else if let (again, from) = retry {
        retry = (again, from + 1)
        (p, n) = (again, from + 1)
      } else {
        return false
      }
    }
    return pattern[p...].allSatisfy { $0 == UInt8(ascii: "*") }
  }

  /// The place behind the part of the pattern that matches one byte; nil if it does not.
  private func step(at p: Int, _ byte: UInt8) -> Int? {
    guard p < pattern.count else { return nil }
    switch pattern[p] {
    case UInt8(ascii: "?"): return p + 1
    case UInt8(ascii: "["): return set(at: p, byte)
    case UInt8(ascii: "\\") where p + 1 < pattern.count: return pattern[p + 1] == byte ? p + 2 : nil
    case let own: return own == byte ? p + 1 : nil
    }
  }

  private func set(at p: Int, _ byte: UInt8) -> Int? {
    let isNegated = p + 1 < pattern.count && pattern[p + 1] == UInt8(ascii: "!")
    let first = p + (isNegated ? 2 : 1)
    // A set that does not end is a plain bracket; "]" in front belongs to it.
    guard first < pattern.count, let end = pattern[(first + 1)...].firstIndex(of: UInt8(ascii: "]")) else {
      return byte == UInt8(ascii: "[") ? p + 1 : nil
    }
    var i = first, isIn = false
    while i < end {
      if i + 2 < end, pattern[i + 1] == UInt8(ascii: "-") {
        isIn = isIn || (pattern[i] <= byte && byte <= pattern[i + 2])
        i += 3
      } else {
        isIn = isIn || pattern[i] == byte
        i += 1
      }
    }
    return isIn != isNegated ? end + 1 : nil
  }
}
