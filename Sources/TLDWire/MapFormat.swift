// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// A data map's value: which format it has, and where its fields lie.

/// How a data map's value is laid out, judged by its size alone because an
/// unprivileged caller cannot see the map's BTF.
public enum MapFormat: Sendable {
  case v1, v2, native

  /// The kernel makes no task storage map with a larger value, as of Linux 7.3: the limit is
  /// 65,535 bytes less its own bookkeeping. If a later one does, its maps are refused, because
  /// the kernel would read beyond what the library puts together for it.
  public static let largestValue: ByteCount = 1 << 16

  public init?(valueSize: ByteCount) {
    switch valueSize {
    case 16: self = .v1
    case 24: self = .v2
    case 25...Self.largestValue: self = .native
    default: return nil
    }
  }

  /// Whether the value says where in the page the data starts; v1 reads that
  /// from the page's first 8 bytes, so a page serves one thread only.
  public var hasStartField: Bool { self != .v1 }
}

/// A data map's value in memory: `data` and `meta`, the two UPTRs, then `start` and, in what is
/// padding to the kernel's headers, for how many bytes there is room from there on; the rest,
/// as far as the map has any, stays zero.
public struct MapValue {
  /// "TLDR": the kernel's user header leaves garbage in the padding.
  private static let roomMagic: UInt32 = 0x5244_4C54

  public let bytes: UnsafeMutableRawPointer

  /// `bytes` must be zero from the fourth word on.
  public init(bytes: UnsafeMutableRawPointer) { self.bytes = bytes }

  /// Where `room` is 0, the room and its magic are 0, too.
  public func set(data: UnsafeMutableRawPointer?, meta: UnsafeMutableRawPointer?, start: ByteCount,
           room: ByteCount, format: MapFormat) {
    bytes.storeBytes(of: UInt(bitPattern: data), as: UInt.self)
    bytes.storeBytes(of: UInt(bitPattern: meta), toByteOffset: 8, as: UInt.self)
    if format.hasStartField {
      bytes.storeBytes(of: UInt16(start), toByteOffset: 16, as: UInt16.self)
      bytes.storeBytes(of: UInt16(room), toByteOffset: 18, as: UInt16.self)
      bytes.storeBytes(of: room == 0 ? 0 : Self.roomMagic, toByteOffset: 20, as: UInt32.self)
    }
  }
}
