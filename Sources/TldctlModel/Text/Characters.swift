// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Names in C structures.

/// The bytes of a C array of characters, up to its NUL if it has one.
public func characters<Tuple>(of array: Tuple) -> [UInt8] {
  withUnsafeBytes(of: array) { Array($0.prefix { $0 != 0 }) }
}
