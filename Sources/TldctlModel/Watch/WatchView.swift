// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// What of the watched threads a person looks at: order, filter, place; and what keys do to it.

/// What can be shown, and sorted by.
public enum WatchColumn: Hashable, Sendable {
  case map, pid, tid, comm, state
  /// Changes per second of all TLDs that are watched.
  case changes
  case value([UInt8])
  /// Changes per second of one TLD.
  case rate([UInt8])

  /// The word for it behind `--sort`: a TLD's name, with "/S" behind it for its changes.
  public init(_ word: String) {
    switch word.lowercased() {
    case "map": self = .map
    case "pid": self = .pid
    case "tid": self = .tid
    case "comm": self = .comm
    case "state": self = .state
    case "chg/s", "changes": self = .changes
    default:
      let name = word.hasSuffix("/s") || word.hasSuffix("/S") ? word.dropLast(2) : word[...]
      let bytes = unescaped(String(name)) ?? Array(name.utf8)
      self = name.count < word.count ? .rate(bytes) : .value(bytes)
    }
  }

  /// What it is called where it stands alone. What others named in it is escaped.
  public var title: String {
    switch self {
    case .map: "MAP"
    case .pid: "PID"
    case .tid: "TID"
    case .comm: "COMM"
    case .state: "STATE"
    case .changes: "CHG/S"
    case .value(let name): cut(escaped(name), to: WatchColumn.limit)
    case .rate(let name): cut(escaped(name), to: WatchColumn.limit) + "/S"
    }
  }

  /// Above it: the changes of a TLD stand behind its value.
  var heading: String { if case .rate = self { "/S" } else { title } }

  /// Cells that are wider are cut.
  static let limit = 32

  /// Whether the largest comes first unless that is reversed.
  var falls: Bool {
    switch self {
    case .changes, .value, .rate: true
    case .map, .pid, .tid, .comm, .state: false
    }
  }
}

public struct WatchView: Sendable {
  public enum Mode: Sendable { case table, filtering, help }

  public var sort = WatchColumn.changes
  public var isReversed = false
  /// Typed text; those are shown whose process id, thread id or command name has it.
  public internal(set) var filter: [UInt8] = []
  public internal(set) var mode = Mode.table
  public internal(set) var isPaused = false
  public internal(set) var isDone = false

  /// The first row and the first TLD that are shown.
  var top = 0, firstTLD = 0
  /// As it was drawn last: how many rows there were and fit, which columns, and how wide.
  var rows = 0, page = 1
  var columns: [WatchColumn] = []
  var widths: [WatchColumn: Int] = [:]
  /// The filter before somebody began to type.
  private var oldFilter: [UInt8] = []

  public init() {}

  public mutating func press(_ key: WatchKey) {
    switch mode {
    case .filtering: type(key)
    case .help: mode = .table
    case .table: command(key)
    }
  }

  private mutating func command(_ key: WatchKey) {
    switch key {
    case .up: top -= 1
    case .down: top += 1
    case .pageUp: top -= page
    case .pageDown: top += page
    case .home: top = 0
    case .end: top = rows
    case .left: firstTLD = max(firstTLD - 1, 0)
    case .right: firstTLD += 1
    case .redraw: widths = [:]
    case .escape: filter = []
    case .enter, .backspace, .erase: break
    case .byte(let byte): command(byte)
    }
    top = max(0, min(top, rows - page))
  }

  private mutating func command(_ byte: UInt8) {
    switch Character(Unicode.Scalar(byte)) {
    case "q": isDone = true
    case "<": moveSort(by: -1)
    case ">", "s": moveSort(by: 1)
    case "r": isReversed.toggle()
    case "/", "f":
      oldFilter = filter
      mode = .filtering
    case "p", " ": isPaused.toggle()
    case "h", "?": mode = .help
    case "j": top += 1
    case "k": top -= 1
    case "g": top = 0
    case "G": top = rows
    default: break
    }
  }

  private mutating func type(_ key: WatchKey) {
    switch key {
    case .enter: mode = .table
    case .escape:
      filter = oldFilter
      mode = .table
    case .erase: filter = []
    case .backspace:
      while let last = filter.popLast(), last & 0xc0 == 0x80 {}
    case .byte(let byte): if filter.count < 64 { filter.append(byte) }
    default: break
    }
    top = 0
  }

  /// To the next of the columns as they were drawn, and round.
  private mutating func moveSort(by step: Int) {
    guard !columns.isEmpty else { return }
    let at = columns.firstIndex(of: sort) ?? 0
    sort = columns[(at + step + columns.count) % columns.count]
    isReversed = false
    top = 0
  }
}

// MARK: - Which rows, in which order

extension WatchView {
  /// The threads to show, in order, as places in the table.
  func order(_ table: WatchTable, _ types: ValueTypes) -> [Int] {
    let wanted = lowercase(escaped(filter))
    let shown = table.threads.indices.filter { wanted.isEmpty || table.threads[$0].has(wanted) }
    let keys = shown.map { SortKey(table.threads[$0], sort, types) }
    let falls = sort.falls != isReversed
    // What is equal stays as it is: by map and thread id.
    return shown.indices.sorted { a, b in
      keys[a] == keys[b] ? a < b : SortKey.precedes(keys[a], keys[b], falling: falls)
    }.map { shown[$0] }
  }
}

private func lowercase(_ text: String) -> [UInt8] {
  text.utf8.map { (65...90).contains($0) ? $0 + 32 : $0 }
}

extension WatchedThread {
  /// In one of the names as they are shown.
  fileprivate func has(_ wanted: [UInt8]) -> Bool {
    lowercase("\(record.tgid) \(record.tid) \(escaped(record.comm)) \(escaped(record.leaderComm))").contains(wanted)
  }
}

extension Array where Element == UInt8 {
  fileprivate func contains(_ part: [UInt8]) -> Bool {
    guard let first = part.first, count >= part.count else { return part.isEmpty }
    return (0...count - part.count).contains { at in
      self[at] == first && self[at..<at + part.count].elementsEqual(part)
    }
  }
}

/// What a row is sorted by. Rows that have no such thing come last in either direction.
enum SortKey: Equatable {
  case number(Int128)
  case real(Double)
  case bytes([UInt8])
  case none

  init(_ thread: WatchedThread, _ column: WatchColumn, _ types: ValueTypes) {
    switch column {
    case .map: self = .number(Int128(thread.map))
    case .pid: self = .number(Int128(thread.record.tgid))
    case .tid: self = .number(Int128(thread.record.tid))
    case .comm: self = .bytes(thread.record.comm)
    case .state: self = .bytes(Array(thread.record.state.rawValue.utf8))
    case .changes: self = thread.rate.map { .real($0) } ?? .none
    case .rate(let name): self = thread.place(of: name).flatMap { thread.rates[$0] }.map { .real($0) } ?? .none
    case .value(let name):
      guard let tld = thread.place(of: name).map({ thread.tlds[$0] }),
        case .bytes(let bytes, _) = thread.record.reading(of: tld)
      else { self = .none; return }
      self.init(Value(bytes, as: types.type(of: tld.name, size: tld.size)))
    }
  }

  private init(_ value: Value) {
    switch value {
    case .unsigned(let number): self = .number(Int128(number))
    case .signed(let number): self = .number(Int128(number))
    case .real(let number): self = number.isNaN ? .none : .real(number)
    case .single(let number): self = number.isNaN ? .none : .real(Double(number))
    case .bytes(let bytes), .string(let bytes): self = .bytes(bytes)
    }
  }

  static func precedes(_ a: SortKey, _ b: SortKey, falling: Bool) -> Bool {
    switch (a, b) {
    case (.none, _): false
    case (_, .none): true
    case (.number(let a), .number(let b)): falling ? a > b : a < b
    case (.real(let a), .real(let b)): falling ? a > b : a < b
    case (.bytes(let a), .bytes(let b)): falling ? b.lexicographicallyPrecedes(a) : a.lexicographicallyPrecedes(b)
    // One name with two types: integers, reals, bytes.
    default: falling ? a.rank > b.rank : a.rank < b.rank
    }
  }

  private var rank: Int {
    switch self {
    case .number: 0
    case .real: 1
    case .bytes: 2
    case .none: 3
    }
  }
}
