// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// JSON of which there is one after the other: each on a line of its own.

extension JSON {
  /// Without newlines but the last: strings have none, and every line of `serialized` begins
  /// with nothing but its indentation.
  public var line: [UInt8] {
    var line: [UInt8] = [], isIndentation = false
    for byte in serialized {
      if byte == UInt8(ascii: "\n") {
        isIndentation = true
      } else if !isIndentation || byte != UInt8(ascii: " ") {
        isIndentation = false
        line.append(byte)
      }
    }
    return line + [UInt8(ascii: "\n")]
  }
}
