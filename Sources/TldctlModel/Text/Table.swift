// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// Tables of text: columns as wide as what is in them, numbers to the right.

public struct Table: Sendable {
  public enum Alignment: Sendable { case left, right }

  private let header: [String]
  private let alignments: [Alignment]
  private var rows: [[String]] = []
  private var widths: [Int]

  public init(_ columns: [(String, Alignment)]) {
    header = columns.map(\.0)
    alignments = columns.map(\.1)
    widths = columns.map { width($0.0) }
  }

  /// Cells beyond the columns are left out; cells that are missing are empty.
  public mutating func add(_ cells: [String]) {
    let row = Array(cells.prefix(header.count))
    for (index, cell) in row.enumerated() { widths[index] = max(widths[index], width(cell)) }
    rows.append(row)
  }

  public var isEmpty: Bool { rows.isEmpty }

  /// Lines without a newline, each cut at `limit` columns if there is one; cut lines end in "…".
  public func lines(indent: Int = 0, limit: Int? = nil) -> [String] {
    ([header] + rows).map { row in
      var line = String(repeating: " ", count: indent)
      for (index, cell) in row.enumerated() {
        let padding = String(repeating: " ", count: widths[index] - width(cell))
        let isLast = index == row.count - 1
        line += alignments[index] == .right ? padding + cell : isLast ? cell : cell + padding
        if !isLast { line += "  " }
      }
      return cut(line, to: limit)
    }
  }
}

/// A line that is no wider than the terminal; what does not fit is said by "…".
public func cut(_ line: String, to limit: Int?) -> String {
  guard let limit, limit > 0, width(line) > limit else { return line }
  var text = "", used = 0
  for character in line {
    let columns = width(String(character))
    if used + columns > limit - 1 { break }
    text.append(character)
    used += columns
  }
  return text + "…"
}

/// Columns that a text takes in a terminal. Wide are the scripts of East Asia and pictures.
public func width(_ text: String) -> Int {
  if text.utf8.allSatisfy({ $0 < 0x80 }) { return text.utf8.count }
  return text.reduce(0) { sum, character in
    sum + (character.unicodeScalars.contains { isWide($0.value) } ? 2 : 1)
  }
}

private func isWide(_ scalar: UInt32) -> Bool {
  switch scalar {
  case 0x1100...0x115f, 0x2e80...0x303e, 0x3041...0x33ff, 0x3400...0x4dbf, 0x4e00...0x9fff,
    0xa000...0xa4cf, 0xac00...0xd7a3, 0xf900...0xfaff, 0xfe30...0xfe6f, 0xff00...0xff60,
    0xffe0...0xffe6, 0x1f300...0x1f64f, 0x1f900...0x1f9ff, 0x20000...0x3fffd:
    true
  default: false
  }
}
