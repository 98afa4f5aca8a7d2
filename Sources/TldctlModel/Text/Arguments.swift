// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// What is done to the arguments before swift-argument-parser sees them.

/// `set PID NAME -5`: the parser would take -5 for an option. Behind "--", where the value,
/// which is the last argument of all, may as well stand, it does not.
public func withNegativeNumberLast(_ arguments: [String]) -> [String] {
  guard arguments.first == "set", !arguments.contains("--"),
    let index = arguments.lastIndex(where: isNegativeNumber)
  else { return arguments }
  var moved = arguments
  let number = moved.remove(at: index)
  return moved + ["--", number]
}

private func isNegativeNumber(_ argument: String) -> Bool {
  let bytes = Array(argument.utf8.prefix(2))
  return bytes.count == 2 && bytes[0] == UInt8(ascii: "-")
    && (bytes[1] == UInt8(ascii: ".") || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[1]))
}
