// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// A TLD's name, and whether an entry has it.

/// A TLD's name, from outside: 1 to 61 bytes and a NUL.
public struct Name {
  public let bytes: UnsafePointer<CChar>
  public let length: Int
  /// Its first bytes, with the NUL if that is one of them, and which bytes that are: enough
  /// to tell most names apart.
  private let head: UInt64
  private let mask: UInt64

  /// nil: it is empty, or too long.
  public init?(_ bytes: UnsafePointer<CChar>) {
    guard bytes[0] != 0 else { return nil }
    var length = 0
    var head: UInt64 = 0
    while bytes[length] != 0 {
      if length < 8 { head |= UInt64(UInt8(bitPattern: bytes[length])) << (8 * length) }
      length += 1
      guard length < MetadataPage.nameBytes else { return nil }
    }
    self.bytes = bytes
    self.length = length
    self.head = head
    mask = length < 7 ? 1 << (8 * (length + 1)) - 1 : UInt64.max
  }

  /// `stored` may lack its NUL: the page is the program's to write.
  public func equals(_ stored: UnsafePointer<CChar>) -> Bool {
    let storedHead = UnsafeRawPointer(stored).loadUnaligned(as: UInt64.self)
    guard (storedHead ^ head) & mask == 0 else { return false }
    var i = 8
    while i <= length {
      if stored[i] != bytes[i] { return false }
      i += 1
    }
    return true
  }
}
