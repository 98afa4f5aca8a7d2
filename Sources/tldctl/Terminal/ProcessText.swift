// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// One process, its TLDs, threads and values, for people and as JSON.

import TldctlModel

/// Longer cells are cut here: all of them is in the JSON, and in what `get` says.
private let cellLimit = 40

struct ProcessText {
  private let process: ProcessReading
  private let map: FoundMap
  private let types: ValueTypes
  private let output: OutputOptions

  init(_ process: ProcessReading, map: FoundMap, types: ValueTypes, output: OutputOptions) {
    self.process = process
    self.map = map
    self.types = types
    self.output = output
  }

  func lines(limit: Int?) -> [String] {
    var lines = [
      output.bold(
        cut(
          "\(process.pid) \(escaped(process.comm)), uid \(process.uid), "
            + "\(count(process.threads.count, "thread")) in \(map.title)", to: limit))
    ]
    for tld in process.tlds {
      lines.append(cut("  \(escaped(tld.name)): \(count(tld.size, "byte")) at \(tld.offset)", to: limit))
    }
    if let oddity = process.page.oddity { lines.append(output.warning("  odd: \(oddity)")) }
    for tld in types.misfits(process.tlds) {
      lines.append(output.warning("  \(escaped(tld.name)) has another size than --as says"))
    }
    return lines + table.lines(indent: 2, limit: limit)
  }

  private var table: Table {
    let shown = process.tlds.map { (tld: $0, type: types.type(of: $0.name, size: $0.size)) }
    let hasState = process.threads.contains { $0.state != .current }
    var table = Table(
      [("TID", .right), ("COMM", .left)] + (hasState ? [("STATE", .left)] : [])
        + shown.map { (cut(escaped($0.tld.name), to: cellLimit), $0.type == .str ? .left : .right) })
    for thread in process.threads {
      var cells = ["\(thread.tid)", escaped(thread.comm)]
      if hasState { cells.append(thread.state.rawValue) }
      for (tld, type) in shown { cells.append(cell(thread.reading(of: tld), type)) }
      table.add(cells)
    }
    return table
  }

  private func cell(_ reading: Reading, _ type: ValueType) -> String {
    switch reading {
    case .absent: "-"
    case .bytes(let bytes, let isTorn): cut(Value(bytes, as: type).text, to: cellLimit) + (isTorn ? " (torn)" : "")
    }
  }
}

extension ProcessReading {
  func json(map: FoundMap, _ types: ValueTypes) -> JSON {
    .object([
      ("pid", .integer(pid)), ("comm", .text(comm)), ("uid", .integer(uid)), ("map", .integer(map.id)),
      ("tlds", .array(tlds.map(\.json))),
      ("odd", page.oddity.map { .string($0) } ?? .null),
      ("threads", .array(threads.map { $0.json(tlds, types) })),
    ])
  }
}

extension TLD {
  var json: JSON {
    .object([("name", .text(name)), ("size", .integer(size)), ("offset", .integer(offset))])
  }
}

extension TaskRecord {
  func json(_ tlds: [TLD], _ types: ValueTypes) -> JSON {
    .object([
      ("tid", .integer(tid)), ("comm", .text(comm)), ("started_ns", .integer(startBoottime)),
      ("state", .string(state.rawValue)),
      ("values", .array(tlds.map { reading(of: $0).json($0, types.type(of: $0.name, size: $0.size)) })),
    ])
  }
}

extension Reading {
  /// An absent value is null, and has no bytes.
  func json(_ tld: TLD, _ type: ValueType) -> JSON {
    switch self {
    case .absent:
      .object([
        ("name", .text(tld.name)), ("type", .string(type.rawValue)), ("value", .null), ("bytes", .null),
        ("torn", .bool(false)),
      ])
    case .bytes(let bytes, let isTorn):
      .object([
        ("name", .text(tld.name)), ("type", .string(type.rawValue)), ("value", Value(bytes, as: type).json),
        ("bytes", .string(hex(bytes))), ("torn", .bool(isTorn)),
      ])
    }
  }
}
