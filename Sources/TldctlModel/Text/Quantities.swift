// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Times, shares and counts as people read them.

import Glibc

/// A number with so many digits behind the point.
public func fixed(_ number: Double, _ digits: Int) -> String {
  let scale = (0..<digits).reduce(1.0) { power, _ in power * 10 }
  let scaled = (number.magnitude * scale).rounded()
  guard scaled < 1e18 else { return "\(number)" }
  let whole = UInt64(scaled), unit = UInt64(scale)
  let sign = number < 0 && whole > 0 ? "-" : ""
  guard digits > 0 else { return sign + String(whole) }
  let rest = String(whole % unit)
  return "\(sign)\(whole / unit)." + String(repeating: "0", count: digits - rest.count) + rest
}

/// Nanoseconds with three digits that count.
public func duration(_ nanoseconds: UInt64) -> String {
  let units: [(String, Double)] = [("ns", 1), ("us", 1e3), ("ms", 1e6), ("s", 1e9)]
  let number = Double(nanoseconds)
  // What would be rounded to 1000 is 1 of the next unit.
  guard let (name, unit) = units.first(where: { number / $0.1 < 999.5 || $0.0 == "s" }) else { return "" }
  let scaled = number / unit
  if unit == 1 { return "\(nanoseconds) ns" }
  return "\(fixed(scaled, scaled < 9.995 ? 2 : scaled < 99.95 ? 1 : 0)) \(name)"
}

/// A part of a whole, in percent.
public func share(_ part: UInt64, of whole: UInt64) -> String {
  whole == 0 ? "-" : fixed(100 * Double(part) / Double(whole), 1) + " %"
}

/// A count with its thousands apart.
public func grouped(_ number: some BinaryInteger) -> String {
  let digits = String(number)
  var text = ""
  for (index, digit) in digits.enumerated() {
    if index > 0, (digits.count - index) % 3 == 0, text != "-" { text.append(",") }
    text.append(digit)
  }
  return text
}

/// Seconds since 1970 as UTC, "2026-01-31 12:34:56".
public func utc(seconds: UInt64) -> String {
  var time = time_t(clamping: seconds), parts = tm()
  guard gmtime_r(&time, &parts) != nil else { return "\(seconds) s after 1970" }
  return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 32) { text in
    let length = strftime(text.baseAddress!, text.count, "%Y-%m-%d %H:%M:%S", &parts)
    return String(decoding: text.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
