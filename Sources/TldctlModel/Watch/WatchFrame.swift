// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// The watched threads as lines: as many and as wide as a screen has, or all of them. Only
// rows that are seen are formatted.

public enum LineKind: Equatable, Sendable { case plain, status, header, hint }

public struct WatchLine: Equatable, Sendable {
  public let text: String
  public let kind: LineKind
}

extension WatchView {
  static let help = [
    "Keys",
    "  q         quit (as Ctrl-C does)",
    "  < >       sort by the column to the left or right; s as >",
    "  r         reverse the order",
    "  / or f    filter: type a part of a PID, TID or command name; Enter keeps it,",
    "            Esc gives back what was there; Esc in the table ends filtering",
    "  p, space  pause, and go on",
    "  up down PgUp PgDn Home End j k g G    scroll",
    "  left right    scroll through the TLDs",
    "  Ctrl-L    draw anew      h, ?  this text",
    "",
    "CHG/S and, behind each value, /S are changes per second, over the last 10",
    "readings. Values are compared between readings: what changes faster than the",
    "interval counts as one change a reading.  '-' is no value, or no rate yet.",
    "(torn) may be a mixture of two values.  STATE: stale, of a program that it no",
    "longer executes; ended; unreadable.",
  ]

  /// A whole screen: exactly `height` lines, none wider than `width`.
  public mutating func screen(_ table: WatchTable, _ types: ValueTypes, width: Int, height: Int, note: String) -> [WatchLine] {
    let order = self.order(table, types)
    rows = order.count
    page = max(height - 4, 1)
    top = max(0, min(top, rows - page))
    let seen = Array(order.dropFirst(top).prefix(page))
    chooseColumns(table, order)
    var lines = [
      WatchLine(text: title(table, order), kind: .plain),
      WatchLine(text: status(note), kind: .status),
    ]
    lines += mode == .help ? Self.help.map { WatchLine(text: $0, kind: .plain) } : body(table, types, seen)
    let blank = WatchLine(text: "", kind: .plain)
    lines = Array(lines.prefix(height - 1))
    lines += Array(repeating: blank, count: max(height - 1 - lines.count, 0))
    lines.append(WatchLine(text: hint, kind: .hint))
    return lines.map { WatchLine(text: cut($0.text, to: width), kind: $0.kind) }
  }

  /// All rows, for a pipe or a file.
  public mutating func lines(_ table: WatchTable, _ types: ValueTypes, width: Int?) -> [String] {
    let order = self.order(table, types)
    chooseColumns(table, order)
    let lines = [title(table, order)] + body(table, types, order).map(\.text)
    return lines.map { cut($0, to: width) }
  }

  // MARK: Lines above and below

  private func title(_ table: WatchTable, _ order: [Int]) -> String {
    let threads = order.map { table.threads[$0] }
    let processes = Set(threads.map(\.record.tgid)).count
    let rate = threads.reduce(0) { $0 + ($1.rate ?? 0) }
    var text = "\(count(order.count, "thread")) of \(count(processes, "process"))"
    if order.count < table.threads.count { text += " (of \(table.threads.count) threads)" }
    if table.elapsed != nil { text += ", \(WatchView.text(ofRate: rate)) changes/s" }
    return text
  }

  private func status(_ note: String) -> String {
    var parts = ["sorted by \(sort.title), \(sort.falls != isReversed ? "falling" : "rising")"]
    if isPaused { parts.insert("PAUSED", at: 0) }
    if !filter.isEmpty, mode != .filtering { parts.append("filter: \(escaped(filter))") }
    if rows > page { parts.append("rows \(top + 1) to \(min(top + page, rows))") }
    if firstTLD > 0 { parts.append("TLDs from \(firstTLD + 1)") }
    if !note.isEmpty { parts.append(note) }
    return parts.joined(separator: "; ")
  }

  private var hint: String {
    switch mode {
    case .table: "q quit  < > sort  r reverse  / filter  p pause  arrows scroll  h help"
    case .filtering: "filter: \(escaped(filter))_   (Enter keeps it, Esc does not)"
    case .help: "any key: back to the table"
    }
  }

  // MARK: The table

  /// The names of the rows' TLDs in the order in which they are met, and what else there is
  /// something to say of.
  private mutating func chooseColumns(_ table: WatchTable, _ order: [Int]) {
    var names: [[UInt8]] = [], known: Set<[UInt8]> = [], last: [TLD] = []
    var hasState = false
    let maps = Set(order.map { table.threads[$0].map })
    for place in order.sorted() {
      let thread = table.threads[place]
      hasState = hasState || thread.record.state != .current
      guard thread.tlds != last else { continue }
      last = thread.tlds
      for tld in last where known.insert(tld.name).inserted { names.append(tld.name) }
    }
    names = table.selection.sorted(names)
    firstTLD = max(0, min(firstTLD, names.count - 1))
    var left: [WatchColumn] = [.pid, .tid, .comm]
    if maps.count > 1 { left.insert(.map, at: 0) }
    if hasState { left.append(.state) }
    if names.count > 1 { left.append(.changes) }
    columns = left + names.dropFirst(firstTLD).flatMap { [.value($0), .rate($0)] }
  }

  private mutating func body(_ table: WatchTable, _ types: ValueTypes, _ seen: [Int]) -> [WatchLine] {
    let cells = seen.map { place in columns.map { cell(table.threads[place], $0, types) } }
    for (at, column) in columns.enumerated() {
      // Never narrower than before, so that columns do not jump.
      let widest = cells.reduce(width(column.heading)) { max($0, width($1[at])) }
      widths[column] = max(widths[column] ?? 0, widest)
    }
    let header = WatchLine(text: line(columns.map(\.heading)), kind: .header)
    return [header] + cells.map { WatchLine(text: line($0), kind: .plain) }
  }

  private func line(_ cells: [String]) -> String {
    var line = ""
    for (column, cell) in zip(columns, cells) {
      let padding = String(repeating: " ", count: max((widths[column] ?? 0) - width(cell), 0))
      if !line.isEmpty { line += "  " }
      line += column.isText ? cell + padding : padding + cell
    }
    return line
  }

  private func cell(_ thread: WatchedThread, _ column: WatchColumn, _ types: ValueTypes) -> String {
    switch column {
    case .map: "\(thread.map)"
    case .pid: "\(thread.record.tgid)"
    case .tid: "\(thread.record.tid)"
    case .comm: cut(escaped(thread.record.comm), to: WatchColumn.limit)
    case .state: thread.record.state.rawValue
    case .changes: WatchView.text(ofRate: thread.rate)
    case .value(let name): value(thread, name, types)
    case .rate(let name): WatchView.text(ofRate: thread.place(of: name).flatMap { thread.rates[$0] })
    }
  }

  private func value(_ thread: WatchedThread, _ name: [UInt8], _ types: ValueTypes) -> String {
    guard let place = thread.place(of: name) else { return "-" }
    let tld = thread.tlds[place]
    guard case .bytes(let bytes, let isTorn) = thread.record.reading(of: tld) else { return "-" }
    let text = Value(bytes, as: types.type(of: tld.name, size: tld.size)).text
    return cut(text, to: WatchColumn.limit) + (isTorn ? " (torn)" : "")
  }

  /// Three digits or more.
  static func text(ofRate rate: Double?) -> String {
    guard let rate else { return "-" }
    if rate >= 100 { return "\(Int64(rate.rounded()))" }
    let hundredths = Int64((rate * 100).rounded())
    let fraction = hundredths % 100
    return "\(hundredths / 100).\(fraction < 10 ? "0" : "")\(fraction)"
  }
}

extension WatchColumn {
  fileprivate var isText: Bool {
    switch self {
    case .comm, .state: true
    default: false
    }
  }
}
