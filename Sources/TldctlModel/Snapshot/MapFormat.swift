// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The three formats of a data map as a person names them, and the maps that tldctl makes.

import TLDWire

public typealias MapFormat = TLDWire.MapFormat

extension MapFormat: RawRepresentable, CaseIterable {
  public static var allCases: [MapFormat] { [.v1, .v2, .native] }

  public init?(rawValue: String) {
    guard let format = Self.allCases.first(where: { $0.rawValue == rawValue }) else { return nil }
    self = format
  }

  public var rawValue: String {
    switch self {
    case .v1: "v1"
    case .v2: "v2"
    case .native: "native"
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
