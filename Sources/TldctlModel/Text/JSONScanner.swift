// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// JSON, read from one end to the other without a tree of it: recordings have millions of
// numbers. Files come from anybody, so nothing in them is believed.

public struct JSONFault: Error, Equatable, Sendable {
  public let line: Int
  public let words: String
}

public struct JSONScanner {
  private let bytes: [UInt8]
  private var at = 0
  private var depth = 0
  private static let deepest = 64

  public init(_ bytes: [UInt8]) { self.bytes = bytes }

  public func fault(_ words: String) -> JSONFault {
    let line = bytes.prefix(at).reduce(1) { $1 == UInt8(ascii: "\n") ? $0 + 1 : $0 }
    return JSONFault(line: line, words: at >= bytes.count ? "it ends too early" : words)
  }

  /// Calls `field` with each name; it must take the value.
  public mutating func object(_ field: (inout JSONScanner, String) throws -> Void) throws {
    try list(open: "{", close: "}") { scanner in
      let name = try scanner.string()
      try scanner.expect(":")
      try field(&scanner, name)
    }
  }

  /// Calls `item` for each; it must take it.
  public mutating func array(_ item: (inout JSONScanner) throws -> Void) throws {
    try list(open: "[", close: "]", item)
  }

  /// Nothing but space may follow.
  public mutating func end() throws {
    skipSpace()
    guard at == bytes.count else { throw fault("something stands behind the end") }
  }

  public mutating func isNull() -> Bool {
    skipSpace()
    guard bytes[at...].starts(with: "null".utf8) else { return false }
    at += 4
    return true
  }

  /// An integer, or a string that is one.
  public mutating func integer<Number: FixedWidthInteger>() throws -> Number {
    skipSpace()
    let isQuoted = peek() == UInt8(ascii: "\"")
    if isQuoted { at += 1 }
    let isNegative = peek() == UInt8(ascii: "-")
    if isNegative { at += 1 }
    let first = at
    var number: Number = 0, overflow = false
    while let digit = peek(), digit >= UInt8(ascii: "0"), digit <= UInt8(ascii: "9") {
      let (tens, overflowed) = number.multipliedReportingOverflow(by: 10)
      let (next, overflowedAgain) = isNegative
        ? tens.subtractingReportingOverflow(Number(digit - 48)) : tens.addingReportingOverflow(Number(digit - 48))
      overflow = overflow || overflowed || overflowedAgain
      number = next
      at += 1
    }
    guard at > first else { throw fault("a number should be here") }
    guard !overflow else { throw fault("a number is too large") }
    if let next = peek(), next == UInt8(ascii: ".") || next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
      throw fault("a whole number should be here")
    }
    if isQuoted {
      guard peek() == UInt8(ascii: "\"") else { throw fault("a number should be here") }
      at += 1
    }
    return number
  }

  public mutating func string() throws -> String {
    try expect("\"")
    var text: [UInt8] = []
    while let byte = peek() {
      at += 1
      switch byte {
      case UInt8(ascii: "\""):
        guard let valid = String(validating: text, as: UTF8.self) else { throw fault("text is not UTF-8") }
        return valid
      case UInt8(ascii: "\\"): try appendEscape(to: &text)
      case 0..<0x20: throw fault("a control character in a text")
      default: text.append(byte)
      }
    }
    throw fault("a text does not end")
  }

  /// Any value, which nobody wants.
  public mutating func skip() throws {
    skipSpace()
    switch peek() {
    case UInt8(ascii: "{"): try object { scanner, _ in try scanner.skip() }
    case UInt8(ascii: "["): try array { scanner in try scanner.skip() }
    case UInt8(ascii: "\""): _ = try string()
    default: try skipWord()
    }
  }

  private mutating func skipWord() throws {
    let first = at
    while let byte = peek(), isOfWord(byte) { at += 1 }
    guard at > first else { throw fault("this is no JSON") }
  }

  private func isOfWord(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "-"),
      UInt8(ascii: "."), UInt8(ascii: "E"):
      true
    default: false
    }
  }

  private mutating func list(
    open: Unicode.Scalar, close: Unicode.Scalar, _ item: (inout JSONScanner) throws -> Void
  ) throws {
    try expect(open)
    depth += 1
    defer { depth -= 1 }
    guard depth < Self.deepest else { throw fault("it is nested too deeply") }
    skipSpace()
    if peek() == UInt8(ascii: close) {
      at += 1
      return
    }
    while true {
      try item(&self)
      skipSpace()
      if peek() == UInt8(ascii: close) {
        at += 1
        return
      }
      try expect(",")
    }
  }

  private mutating func expect(_ character: Unicode.Scalar) throws {
    skipSpace()
    guard peek() == UInt8(ascii: character) else { throw fault("'\(character)' should be here") }
    at += 1
  }

  private func peek() -> UInt8? { at < bytes.count ? bytes[at] : nil }

  private mutating func skipSpace() {
    while let byte = peek(), byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { at += 1 }
  }

  private mutating func appendEscape(to text: inout [UInt8]) throws {
    guard let byte = peek() else { throw fault("a text does not end") }
    at += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
    case UInt8(ascii: "b"): text.append(8)
    case UInt8(ascii: "f"): text.append(12)
    case UInt8(ascii: "n"): text.append(10)
    case UInt8(ascii: "r"): text.append(13)
    case UInt8(ascii: "t"): text.append(9)
    case UInt8(ascii: "u"): text += String(try escapedScalar()).utf8
    default: throw fault("an unknown escape in a text")
    }
  }

  /// What is behind "\u", and the second half of a pair.
  private mutating func escapedScalar() throws -> Character {
    let first = try fourDigits()
    if let scalar = Unicode.Scalar(first) { return Character(scalar) }
    guard first < 0xdc00, bytes[at...].starts(with: "\\u".utf8) else { throw fault("half a character in a text") }
    at += 2
    let second = try fourDigits()
    guard (0xdc00..<0xe000).contains(second),
      let scalar = Unicode.Scalar(0x10000 + (first - 0xd800) << 10 + (second - 0xdc00))
    else { throw fault("half a character in a text") }
    return Character(scalar)
  }

  private mutating func fourDigits() throws -> UInt32 {
    var number: UInt32 = 0
    for _ in 0..<4 {
      guard let digit = peek().flatMap(hexValue) else { throw fault("four digits should be here") }
      number = number << 4 | UInt32(digit)
      at += 1
    }
    return number
  }
}
