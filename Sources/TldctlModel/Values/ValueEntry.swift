// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// What a person enters as a value, as the bytes of a TLD; what does not fit is said in words.

extension ValueType {
  /// The bytes of an entered value, as many as the TLD has.
  public func bytes(of text: String, size: Int) throws(Failure) -> [UInt8] {
    switch self {
    case .u8, .u16, .u32, .u64: try unsignedBytes(text, size)
    case .i8, .i16, .i32, .i64: try signedBytes(text, size)
    case .f32, .f64: try realBytes(text, size)
    case .hex: try hexBytes(text, size)
    case .str: try stringBytes(text, size)
    }
  }

  private func unsignedBytes(_ text: String, _ size: Int) throws(Failure) -> [UInt8] {
    let most = size == 8 ? UInt64.max : 1 << UInt64(8 * size) - 1
    guard isInteger(text) else { throw noNumber(text, "an integer") }
    guard !text.hasPrefix("-"), let number: UInt64 = parseInteger(text), number <= most else {
      throw outOfRange(text, "0 to \(most)", advice: text.hasPrefix("-") ? "for a signed value use --as NAME=i\(8 * size)" : "")
    }
    return littleEndian(number, size)
  }

  private func signedBytes(_ text: String, _ size: Int) throws(Failure) -> [UInt8] {
    let most = Int64.max >> Int64(64 - 8 * size)
    guard isInteger(text) else { throw noNumber(text, "an integer") }
    guard let number: Int64 = parseInteger(text), number <= most, number >= -most - 1 else {
      throw outOfRange(text, "\(-most - 1) to \(most)")
    }
    return littleEndian(UInt64(bitPattern: number), size)
  }

  private func realBytes(_ text: String, _ size: Int) throws(Failure) -> [UInt8] {
    guard let number = Double(text) else { throw noNumber(text, "a number") }
    let isInfinite = text.lowercased().contains("inf")
    if size == 8 {
      guard number.isFinite || number.isNaN || isInfinite else { throw outOfRange(text, "a double's") }
      return littleEndian(number.bitPattern, 8)
    }
    guard let single = Float(text), single.isFinite || single.isNaN || isInfinite else {
      throw outOfRange(text, "-\(Float.greatestFiniteMagnitude) to \(Float.greatestFiniteMagnitude)")
    }
    return littleEndian(UInt64(single.bitPattern), 4)
  }

  private func hexBytes(_ text: String, _ size: Int) throws(Failure) -> [UInt8] {
    let digits = Array((text.hasPrefix("0x") ? text.dropFirst(2) : text[...]).utf8)
    let values = digits.compactMap(hexValue)
    guard values.count == digits.count, values.count == 2 * size else {
      throw Failure(
        .usage, "'\(escaped(text))' is not \(count(2 * size, "hexadecimal digit"))",
        why: "the TLD has \(count(size, "byte"))")
    }
    return (0..<size).map { values[2 * $0] << 4 | values[2 * $0 + 1] }
  }

  private func stringBytes(_ text: String, _ size: Int) throws(Failure) -> [UInt8] {
    let bytes = Array(text.utf8)
    guard bytes.count <= size else {
      throw Failure(.usage, "'\(escaped(text))' has \(count(bytes.count, "byte"))", why: "the TLD has \(size)")
    }
    return bytes + [UInt8](repeating: 0, count: size - bytes.count)
  }

  private func noNumber(_ text: String, _ wanted: String) -> Failure {
    Failure(.usage, "'\(escaped(text))' is not \(wanted)", advice: "\(rawValue) takes one, decimal or 0x...")
  }

  private func outOfRange(_ text: String, _ range: String, advice: String = "") -> Failure {
    Failure(.usage, "\(escaped(text)) is out of range", why: "\(rawValue) takes \(range)", advice: advice)
  }
}

/// Whether a text is an integer of any length, decimal or hexadecimal.
private func isInteger(_ text: String) -> Bool {
  let digits = text.hasPrefix("-") ? text.dropFirst() : text[...]
  if digits.hasPrefix("0x") { return digits.count > 2 && digits.utf8.dropFirst(2).allSatisfy { hexValue($0) != nil } }
  return !digits.isEmpty && digits.utf8.allSatisfy { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
}

private func parseInteger<Number: FixedWidthInteger>(_ text: String) -> Number? {
  let isNegative = text.hasPrefix("-")
  let digits = isNegative ? text.dropFirst() : text[...]
  let sign = isNegative ? "-" : ""
  return digits.hasPrefix("0x") ? Number(sign + digits.dropFirst(2), radix: 16) : Number(sign + digits, radix: 10)
}

private func littleEndian(_ number: UInt64, _ size: Int) -> [UInt8] {
  (0..<size).map { UInt8(truncatingIfNeeded: number >> UInt64(8 * $0)) }
}
