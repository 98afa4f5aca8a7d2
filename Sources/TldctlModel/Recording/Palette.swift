// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Fills that are told apart with any eyes, and without colour: those of Okabe and Ito, each
// with a pattern of its own.

enum Palette {
  struct Fill {
    let color: String
    /// Over a square of 8.
    let pattern: String
  }

  /// For values, most time first.
  static let fills = [
    Fill(color: "#0072B2", pattern: ""),
    Fill(color: "#E69F00", pattern: "<path d=\"M-2 2L2 -2M0 8L8 0M6 10L10 6\" stroke=\"#000000\" stroke-width=\"1.4\"/>"),
    Fill(color: "#009E73", pattern: "<circle cx=\"2\" cy=\"2\" r=\"1.4\" fill=\"#ffffff\"/><circle cx=\"6\" cy=\"6\" r=\"1.4\" fill=\"#ffffff\"/>"),
    Fill(color: "#F0E442", pattern: "<path d=\"M0 2H8M0 6H8\" stroke=\"#000000\" stroke-width=\"1\"/>"),
    Fill(color: "#D55E00", pattern: "<path d=\"M-2 6L2 10M0 0L8 8M6 -2L10 2\" stroke=\"#ffffff\" stroke-width=\"1.6\"/>"),
    Fill(color: "#56B4E9", pattern: "<path d=\"M0 4H8M4 0V8\" stroke=\"#000000\" stroke-width=\"1\"/>"),
    Fill(color: "#CC79A7", pattern: "<path d=\"M2 0V8M6 0V8\" stroke=\"#ffffff\" stroke-width=\"1.4\"/>"),
  ]
  /// For all others together.
  static let rest = Fill(color: "#404040", pattern: "<rect x=\"3\" y=\"3\" width=\"2\" height=\"2\" fill=\"#ffffff\"/>")

  static var slots: Int { fills.count + 1 }

  static func fill(_ slot: Int) -> String { "url(#value\(slot))" }

  static func define(in drawing: inout Drawing) {
    for (slot, fill) in (fills + [rest]).enumerated() {
      drawing.define(
        "<pattern id=\"value\(slot)\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\">"
          + "<rect width=\"8\" height=\"8\" fill=\"\(fill.color)\"/>\(fill.pattern)</pattern>")
    }
  }
}
