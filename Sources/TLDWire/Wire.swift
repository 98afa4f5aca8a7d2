// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The formats that user space and BPF share (docs/reference/wire.md), and nothing else: sizes and limits
// here, the data map's value, the metadata page and the walk over its entries beside it. The
// library compiles these files together with its own; to tldctl and the unit tests they are a module.

/// An offset into a page, or a size, in bytes.
public typealias ByteCount = Int

extension ByteCount {
  /// Rounded up to the 8 bytes to which every TLD is aligned.
  public var roundedUpTo8: ByteCount { (self + 7) & ~7 }

  /// Rounded up to a power of two; `self` must be positive.
  public var roundedUpToPowerOfTwo: ByteCount {
    1 << (ByteCount.bitWidth - (self - 1).leadingZeroBitCount)
  }
}

public enum Wire {
  /// The bytes at a page's beginning that are no data; they hold `start` where a v1 reader looks.
  public static let dataHeader: ByteCount = 8
  /// BPF caches `start + key` as a signed 16-bit number.
  public static let reachable: ByteCount = 32_768

  /// The end of what one thread's data can take on pages of `pageSize` bytes.
  public static func dataLimit(pageSize: ByteCount) -> ByteCount {
    min(pageSize, reachable) - dataHeader
  }
}
