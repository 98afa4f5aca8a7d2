// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// How bytes of others become text: the one function through which every name, comm and
// string of a watched program, map or pin goes, on its way to a terminal or into JSON.

private let hexDigits = Array("0123456789abcdef".utf8)

/// Bytes as text that no terminal acts upon, without loss.
///
/// Control characters (C0, DEL, C1), what is not UTF-8, and format characters that change the
/// order of what surrounds them become `\xNN`, byte by byte; a backslash is doubled. All else
/// stays.
public func escaped(_ bytes: some Collection<UInt8>) -> String {
  if bytes.allSatisfy({ $0 >= 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "\\") }) {
    return String(decoding: bytes, as: UTF8.self)
  }
  var text: [UInt8] = []
  var rest = Array(bytes)[...]
  while let first = rest.first {
    let length = scalarLength(rest)
    if length == 0 {
      appendHex(first, to: &text)
      rest = rest.dropFirst()
      continue
    }
    let scalar = rest.prefix(length)
    if first == UInt8(ascii: "\\") {
      text += [first, first]
    } else if isShown(scalar) {
      text += scalar
    } else {
      for byte in scalar { appendHex(byte, to: &text) }
    }
    rest = rest.dropFirst(length)
  }
  return String(decoding: text, as: UTF8.self)
}

public func escaped(_ text: String) -> String {
  escaped(Array(text.utf8))
}

/// The bytes that `escaped` made this of; nil if it did not. It is its inverse.
public func unescaped(_ text: String) -> [UInt8]? {
  var bytes: [UInt8] = []
  var rest = Array(text.utf8)[...]
  while let first = rest.popFirst() {
    guard first == UInt8(ascii: "\\") else {
      bytes.append(first)
      continue
    }
    switch rest.popFirst() {
    case UInt8(ascii: "\\"): bytes.append(first)
    case UInt8(ascii: "x"):
      guard let high = rest.popFirst().flatMap(hexValue), let low = rest.popFirst().flatMap(hexValue)
      else { return nil }
      bytes.append(high << 4 | low)
    default: return nil
    }
  }
  return bytes
}

/// Bytes as hexadecimal digits, two each.
public func hex(_ bytes: some Sequence<UInt8>) -> String {
  var text: [UInt8] = []
  for byte in bytes {
    text.append(hexDigits[Int(byte >> 4)])
    text.append(hexDigits[Int(byte & 15)])
  }
  return String(decoding: text, as: UTF8.self)
}

/// A hexadecimal digit's value.
public func hexValue(_ digit: UInt8) -> UInt8? {
  switch digit {
  case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
  case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
  case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
  default: nil
  }
}

private func appendHex(_ byte: UInt8, to text: inout [UInt8]) {
  text += [UInt8(ascii: "\\"), UInt8(ascii: "x"), hexDigits[Int(byte >> 4)], hexDigits[Int(byte & 15)]]
}

/// Bytes of the well-formed UTF-8 scalar at the beginning; 0 if there is none.
private func scalarLength(_ bytes: ArraySlice<UInt8>) -> Int {
  guard let first = bytes.first else { return 0 }
  let length =
    switch first {
    case 0..<0x80: 1
    case 0xc2..<0xe0: 2
    case 0xe0..<0xf0: 3
    case 0xf0..<0xf5: 4
    default: 0
    }
  let candidate = bytes.prefix(length)
  guard length > 0, candidate.count == length, String(validating: candidate, as: UTF8.self) != nil
  else { return 0 }
  return length
}

/// C1 controls, line separators, and what turns the direction of text.
private func isShown(_ scalar: ArraySlice<UInt8>) -> Bool {
  guard let value = String(decoding: scalar, as: UTF8.self).unicodeScalars.first?.value else { return false }
  switch value {
  case 0..<0x20, 0x7f..<0xa0: return false
  case 0x061c, 0x200b...0x200f, 0x2028...0x202e, 0x2060...0x206f, 0xfeff, 0xfff9...0xfffb: return false
  default: return true
  }
}
