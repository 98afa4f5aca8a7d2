// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The bytes that a terminal sends, as keys.

public enum WatchKey: Equatable, Sendable {
  case up, down, left, right, pageUp, pageDown, home, end
  case enter, escape, backspace
  /// Ctrl-U and Ctrl-L.
  case erase, redraw
  /// All others; a character outside of ASCII is several.
  case byte(UInt8)
}

public struct KeyDecoder: Sendable {
  private var rest: [UInt8] = []

  public init() {}

  /// Whether the bytes end where a sequence may go on: with what comes soon, or `flush`.
  public var isWaiting: Bool { !rest.isEmpty }

  public mutating func take(_ bytes: some Sequence<UInt8>) -> [WatchKey] {
    rest += bytes
    var keys: [WatchKey] = []
    while let (length, key) = next() {
      rest.removeFirst(length)
      if let key { keys.append(key) }
    }
    return keys
  }

  /// Nothing came: an escape character was the key of that name.
  public mutating func flush() -> [WatchKey] {
    defer { rest = [] }
    return rest == [0x1b] ? [.escape] : []
  }

  /// The first key's length, and what it is if it is known; nil if it is not complete.
  private func next() -> (Int, WatchKey?)? {
    guard let first = rest.first else { return nil }
    guard first == 0x1b else { return (1, KeyDecoder.plain(first)) }
    guard rest.count > 1 else { return nil }
    switch rest[1] {
    case UInt8(ascii: "["), UInt8(ascii: "O"):
      let isControl = rest[1] == UInt8(ascii: "[")
      guard let end = rest.dropFirst(2).firstIndex(where: { !isControl || (0x40...0x7e).contains($0) }) else {
        return rest.count > 32 ? (rest.count, nil) : nil
      }
      return (end + 1, KeyDecoder.sequence(rest[2...end]))
    case 0x1b: return (1, .escape)
    default: return (2, nil) // Alt with a key
    }
  }

  private static func plain(_ byte: UInt8) -> WatchKey? {
    switch byte {
    case 0x0d, 0x0a: .enter
    case 0x08, 0x7f: .backspace
    case 0x15: .erase
    case 0x0c: .redraw
    case 0..<0x20: nil
    default: .byte(byte)
    }
  }

  private static func sequence(_ bytes: ArraySlice<UInt8>) -> WatchKey? {
    switch String(decoding: bytes, as: UTF8.self) {
    case "A": .up
    case "B": .down
    case "C": .right
    case "D": .left
    case "H", "1~", "7~": .home
    case "F", "4~", "8~": .end
    case "5~": .pageUp
    case "6~": .pageDown
    default: nil
    }
  }
}
