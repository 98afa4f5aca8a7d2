// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// One processor's time, cut into columns as narrow as a picture can show: who had how much of
// each.

struct TimelineColumn: Equatable, Sendable {
  /// What part of it each fill has, in hundredths.
  var parts: [UInt8]
}

/// A row of columns that look the same.
struct TimelineRun: Equatable, Sendable {
  let first: Int
  let count: Int
  let column: TimelineColumn

  /// The one fill that has all of it.
  var only: Int? {
    guard let slot = column.parts.firstIndex(where: { $0 > 0 }), column.parts[slot] == 100 else { return nil }
    return slot
  }
}

struct Timeline: Sendable {
  private var parts: [Double]
  private let columns: Int
  private let slots: Int
  private let width: Double

  /// Of so many nanoseconds.
  init(duration: UInt64, columns: Int, slots: Int) {
    parts = [Double](repeating: 0, count: columns * slots)
    self.columns = columns
    self.slots = slots
    width = max(Double(duration) / Double(columns), 1e-9)
  }

  mutating func add(from begin: UInt64, to end: UInt64, slot: Int) {
    let from = min(Double(begin) / width, Double(columns)), to = min(Double(end) / width, Double(columns))
    var column = Int(from)
    while column < columns, Double(column) < to {
      parts[column * slots + slot] += min(to, Double(column + 1)) - max(from, Double(column))
      column += 1
    }
  }

  var runs: [TimelineRun] {
    var found: [TimelineRun] = []
    for column in 0..<columns {
      let own = TimelineColumn(parts: rounded(parts[column * slots..<(column + 1) * slots]))
      if let last = found.last, last.column == own {
        found[found.count - 1] = TimelineRun(first: last.first, count: last.count + 1, column: own)
      } else {
        found.append(TimelineRun(first: column, count: 1, column: own))
      }
    }
    return found
  }

  /// In hundredths, no more than all in all; what is as good as all is all.
  private func rounded(_ parts: ArraySlice<Double>) -> [UInt8] {
    var left = 100.0
    return parts.map { part in
      let hundredths = part > 0.97 ? 100 : (part * 50).rounded() * 2
      let taken = min(hundredths, left)
      left -= taken
      return UInt8(max(taken, 0))
    }
  }
}
