// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The three formats of a data map, told by the size of its value (docs/reference/wire.md).

public enum MapFormat: String, CaseIterable, Sendable {
  case v1, v2, native

  public init?(valueSize: Int) {
    switch valueSize {
    case 16: self = .v1
    case 24: self = .v2
    case 25...: self = .native
    default: return nil
    }
  }

  /// The value of a map that tldctl makes. A native map's area is for the BPF program that
  /// takes it over: 32 bytes of notes and, in tld.bpf.h, 8 for each of at most 63 names.
  public func valueSize(names: Int) -> Int {
    switch self {
    case .v1: 16
    case .v2: 24
    case .native: 32 + 8 * names
    }
  }
}
