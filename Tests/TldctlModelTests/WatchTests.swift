// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause

import Testing

@testable import TldctlModel

/// A metadata page of TLDs with so many bytes.
private func page(_ tlds: [(String, Int)]) -> [UInt8] {
  let entries = tlds.flatMap { name, size -> [UInt8] in
    Array(name.utf8) + [UInt8](repeating: 0, count: 62 - name.utf8.count) + little(UInt16(size))
  }
  return [UInt8(tlds.count), 0, 64, 0] + entries
}

private func little<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
  withUnsafeBytes(of: number.littleEndian) { Array($0) }
}

private func name(_ text: String) -> [UInt8] {
  Array(text.utf8.prefix(16)) + [UInt8](repeating: 0, count: max(16 - text.utf8.count, 0))
}

private func padded(_ bytes: [UInt8]) -> [UInt8] {
  bytes + [UInt8](repeating: 0, count: (8 - bytes.count % 8) % 8)
}

/// A thread as the BPF program writes it.
private struct Thread {
  var tid: UInt32
  var tgid: UInt32 = 1
  var started: UInt64 = 1
  var comm = "worker"
  var leader = "server"
  var flags: RecordFlags = []
  var tlds: [(String, Int)] = [("a", 8), ("b", 8)]
  var data: [UInt8] = []
  var changed: [UInt64] = []

  init(_ tid: UInt32, _ values: UInt64...) {
    self.tid = tid
    data = values.flatMap { little($0) }
  }

  func with(_ change: (inout Thread) -> Void) -> Thread {
    var copy = self
    change(&copy)
    return copy
  }

  var bytes: [UInt8] {
    let meta = page(tlds)
    var bytes = little(flags.rawValue) + little(tid) + little(tgid) + little(UInt32(0)) + little(started)
    bytes += little(UInt64(4096)) + little(UInt64(8192)) + little(UInt32(8)) + little(UInt32(0))
    bytes += little(UInt32(data.count)) + little(UInt32(meta.count)) + name(comm) + name(leader)
    return bytes + padded(data) + changed.flatMap { little($0) } + padded([0, 0, 0, 0] + meta)
  }
}

extension WatchTable {
  fileprivate mutating func take(_ threads: [Thread], at time: Double, map: UInt32 = 1) throws {
    let stream = threads.flatMap(\.bytes)
    take([(map, try stream.withUnsafeBytes { try Snapshot(stream: $0) })], at: time)
  }

  fileprivate func rates(_ tid: UInt32) -> [Double?] {
    threads.first { $0.record.tid == tid }?.rates ?? []
  }
}

@Suite struct WatchTableTests {
  @Test("A rate is differences between readings by seconds, and nothing after one reading")
  func rates() throws {
    var table = WatchTable()
    try table.take([Thread(5, 1, 1)], at: 100)
    #expect(table.rates(5) == [nil, nil])
    #expect(table.elapsed == nil)
    try table.take([Thread(5, 2, 1)], at: 102)
    #expect(table.rates(5) == [0.5, 0])
    #expect(table.elapsed == 2)
    try table.take([Thread(5, 2, 1)], at: 104)
    #expect(table.rates(5) == [0.25, 0])
    #expect(table.threads[0].rate == 0.25)
  }

  @Test("A value that changes and changes back between readings has not changed")
  func unseen() throws {
    var table = WatchTable()
    for time in 0..<5 { try table.take([Thread(5, 1, 1)], at: Double(time)) }
    #expect(table.rates(5) == [0, 0])
  }

  @Test("Rates are over the last 10 readings")
  func window() throws {
    var table = WatchTable()
    for time in 0...30 { try table.take([Thread(5, UInt64(time), 0)], at: Double(time)) }
    #expect(table.rates(5) == [1, 0])
    for time in 31...35 { try table.take([Thread(5, 30, 0)], at: Double(time)) }
    #expect(table.rates(5) == [0.5, 0])
    for time in 36...40 { try table.take([Thread(5, 30, 0)], at: Double(time)) }
    #expect(table.rates(5) == [0, 0])
  }

  @Test("A thread that has another's id begins anew, and so does one that was away")
  func identity() throws {
    var table = WatchTable()
    try table.take([Thread(5, 1, 1), Thread(6, 1, 1)], at: 0)
    try table.take([Thread(5, 2, 2).with { $0.started = 2 }], at: 1)
    #expect(table.rates(5) == [nil, nil])
    try table.take([Thread(5, 2, 2).with { $0.started = 2 }, Thread(6, 3, 3)], at: 2)
    #expect(table.rates(5) == [0, 0])
    #expect(table.rates(6) == [nil, nil])
    try table.take([Thread(5, 9, 9).with { $0.started = 2 }], at: 3, map: 2)
    #expect(table.rates(5) == [nil, nil])
  }

  @Test("A TLD that is new, or lies elsewhere now, has no rate at first")
  func layouts() throws {
    var table = WatchTable()
    try table.take([Thread(5, 1).with { $0.tlds = [("a", 8)] }], at: 0)
    try table.take([Thread(5, 2, 1)], at: 1)
    #expect(table.rates(5) == [1, nil])
    try table.take([Thread(5, 2, 1).with { $0.tlds = [("a", 8), ("c", 8)] }], at: 2)
    #expect(table.rates(5) == [0.5, nil])
  }

  @Test("Nor has one for which the thread has no capacity")
  func capacity() throws {
    var table = WatchTable()
    try table.take([Thread(5, 1)], at: 0)
    try table.take([Thread(5, 1)], at: 1)
    #expect(table.rates(5) == [0, nil])
  }

  @Test("After a pause rates begin anew")
  func forgetting() throws {
    var table = WatchTable()
    try table.take([Thread(5, 1, 1)], at: 0)
    table.forgetChanges()
    try table.take([Thread(5, 2, 2)], at: 60)
    #expect(table.rates(5) == [nil, nil])
    try table.take([Thread(5, 3, 2)], at: 61)
    #expect(table.rates(5) == [1, 0])
  }

  @Test("Names choose TLDs and the threads that have one; a pattern chooses processes")
  func selection() throws {
    var table = WatchTable(WatchSelection(names: ["b", "\\x1b"], comm: "ser*"))
    let other = Thread(7, 1).with { $0.tlds = [("x", 8)] }
    let odd = Thread(8, 3).with { $0.tlds = [("\u{1b}", 8)] }
    try table.take([Thread(5, 1, 2), Thread(6, 1, 2).with { $0.leader = "client" }, other, odd], at: 0)
    #expect(table.threads.map(\.record.tid) == [5, 8])
    #expect(table.threads.map { $0.tlds.map(\.offset) } == [[8], [0]])
  }

  @Test("Of two TLDs of one name only the first counts")
  func twice() throws {
    var table = WatchTable()
    try table.take([Thread(5, 1, 2).with { $0.tlds = [("a", 8), ("a", 4)] }], at: 0)
    #expect(table.threads[0].tlds.map(\.size) == [8])
  }
}

@Suite struct WatchViewTests {
  /// Threads with a = 3, 1, 2 in the order of their ids; that of 6 changed between readings.
  private func table(_ change: (inout Thread) -> Void = { _ in }) throws -> WatchTable {
    var table = WatchTable()
    try table.take([Thread(5, 3, 0), Thread(6, 9, 0), Thread(7, 2, 0).with(change)], at: 0)
    try table.take([Thread(5, 3, 0), Thread(6, 1, 0), Thread(7, 2, 0).with(change)], at: 1)
    return table
  }

  private func order(_ view: WatchView, _ table: WatchTable, _ types: [String] = []) throws -> [UInt32] {
    view.order(table, try ValueTypes(parsing: types)).map { table.threads[$0].record.tid }
  }

  private func press(_ view: inout WatchView, _ text: String) {
    for byte in text.utf8 { view.press(.byte(byte)) }
  }

  @Test("What changes most is first, what is equal by thread id")
  func standard() throws {
    #expect(try order(WatchView(), table()) == [6, 5, 7])
  }

  @Test("Each column sorts, and backwards", arguments: [
    ("tid", [5, 6, 7], [7, 6, 5]), ("a", [5, 7, 6], [6, 7, 5]), ("a/s", [6, 5, 7], [5, 7, 6]),
    ("comm", [5, 6, 7], [5, 6, 7]), ("pid", [5, 6, 7], [5, 6, 7]), ("nosuch", [5, 6, 7], [5, 6, 7]),
  ] as [(String, [UInt32], [UInt32])])
  func sorting(column: String, forward: [UInt32], backward: [UInt32]) throws {
    var view = WatchView()
    view.sort = WatchColumn(column)
    #expect(try order(view, table()) == forward)
    view.isReversed = true
    #expect(try order(view, table()) == backward)
  }

  @Test("Values are sorted as what they are: signed, real, beyond 2^53; no value is last either way")
  func values() throws {
    var table = WatchTable()
    let big: UInt64 = 1 << 63
    try table.take([Thread(5, big), Thread(6, big + 1), Thread(7), Thread(8, 1)], at: 0)
    var view = WatchView()
    view.sort = .value(Array("a".utf8))
    #expect(try order(view, table) == [6, 5, 8, 7])
    view.isReversed = true
    #expect(try order(view, table) == [8, 5, 6, 7])
    #expect(try order(view, table, ["a=i64"]) == [5, 6, 8, 7])
    var reals = WatchTable()
    try reals.take([Thread(5, 2.5.bitPattern), Thread(6, (-1.0).bitPattern), Thread(7, Double.nan.bitPattern)], at: 0)
    #expect(try order(view, reals, ["a=f64"]) == [6, 5, 7])
  }

  @Test("Of one name with several types integers come first, then reals, then bytes")
  func types() {
    let keys: [SortKey] = [.number(9), .real(5), .bytes([1])]
    for (index, key) in keys.enumerated() {
      for other in keys[(index + 1)...] {
        #expect(SortKey.precedes(key, other, falling: false) && !SortKey.precedes(other, key, falling: false))
        #expect(SortKey.precedes(other, key, falling: true) && !SortKey.precedes(key, other, falling: true))
      }
      #expect(SortKey.precedes(key, .none, falling: true) && !SortKey.precedes(.none, key, falling: true))
    }
  }

  @Test("A filter is part of an id or name as they are shown, whatever the case")
  func filtering() throws {
    let table = try table { $0.comm = "Evil\u{1b}"; $0.tgid = 4711 }
    for (text, found) in [("evil\\x1b", [7]), ("SERVER", [6, 5, 7]), ("471", [7]), ("6", [6]), ("nobody", [])] as [(String, [UInt32])] {
      var view = WatchView()
      view.press(.byte(UInt8(ascii: "/")))
      // A backslash that is typed is shown as two, and so is one in a name.
      view.filter = unescaped(text) ?? []
      view.press(.enter)
      #expect(try order(view, table) == found, "\(text)")
    }
  }

  @Test("Keys: sort goes round the columns, filter is typed, the rest are switches")
  func keys() throws {
    var view = WatchView()
    let table = try table()
    _ = view.screen(table, ValueTypes(), width: 80, height: 24, note: "")
    #expect(view.columns.map(\.title) == ["PID", "TID", "COMM", "CHG/S", "a", "a/S", "b", "b/S"])
    press(&view, "<")
    #expect(view.sort == .comm)
    press(&view, ">>")
    #expect(view.sort == .value(Array("a".utf8)))
    press(&view, "sss>")
    #expect(view.sort == .pid)
    press(&view, "<")
    #expect(view.sort == .rate(Array("b".utf8)))
    press(&view, "rp")
    #expect(view.isReversed && view.isPaused)
    press(&view, " ")
    #expect(!view.isPaused)
    press(&view, "/qr\u{e9}")
    #expect(view.filter == Array("qr\u{e9}".utf8) && !view.isDone && view.isReversed)
    view.press(.backspace)
    #expect(view.filter == Array("qr".utf8))
    view.press(.enter)
    press(&view, "/x")
    view.press(.escape)
    #expect(view.filter == Array("qr".utf8) && view.mode == .table)
    view.press(.escape)
    #expect(view.filter.isEmpty)
    press(&view, ">")
    #expect(!view.isReversed)
    press(&view, "hq")
    #expect(!view.isDone && view.mode == .table)
    press(&view, "q")
    #expect(view.isDone)
  }

  @Test("A frame has exactly the lines of the screen, none wider", arguments: [1, 2, 3, 5, 10, 24, 60], [1, 2, 7, 20, 80, 200])
  func size(height: Int, width: Int) throws {
    var wide = try table { $0.comm = "\u{5927}\u{1b}\u{85}\u{202e}"; $0.tlds = [("\u{5927}\u{5927}\u{9b}" + String(repeating: "x", count: 40), 8)] }
    for reading in 0..<2 {
      for keys in ["", "h", "/\u{1b}x", "p"] {
        var view = WatchView()
        press(&view, keys)
        let lines = view.screen(wide, ValueTypes(), width: width, height: height, note: "")
        #expect(lines.count == height)
        #expect(lines.allSatisfy { TldctlModel.width($0.text) <= width })
        #expect(lines.allSatisfy { $0.text.unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7f..<0xa0).contains($0.value) && $0.value != 0x202e } })
      }
      wide.take([], at: Double(10 + reading))
    }
  }

  @Test("Scrolling stays within the rows, and within what is left of them")
  func scrolling() throws {
    var table = WatchTable()
    try table.take((1...100).map { Thread($0, UInt64($0)) }, at: 0)
    var view = WatchView()
    func first() -> String {
      let line = view.screen(table, ValueTypes(), width: 80, height: 14, note: "")[3].text
      return String(line.split(separator: " ")[1])
    }
    #expect(first() == "1")
    view.press(.up)
    #expect(first() == "1")
    view.press(.pageDown)
    #expect(first() == "11")
    view.press(.end)
    #expect(first() == "91")
    view.press(.down)
    #expect(first() == "91")
    view.press(.pageUp)
    #expect(first() == "81")
    try table.take((1...20).map { Thread($0, UInt64($0)) }, at: 1)
    #expect(first() == "11")
    view.press(.home)
    #expect(first() == "1")
    for _ in 0..<9 { view.press(.right) }
    let lines = view.screen(table, ValueTypes(), width: 80, height: 14, note: "")
    #expect(lines[2].text.split(separator: " ") == ["PID", "TID", "COMM", "CHG/S", "b", "/S"])
    #expect(lines[1].text.contains("TLDs from 2"))
  }

  @Test("Values as they are shown: absent, torn, stale; a state is told where there is one")
  func cells() throws {
    var table = WatchTable()
    let torn = Thread(5).with { $0.tlds = [("s", 12), ("n", 4)]; $0.data = Array("hello world!".utf8) + [0, 0, 0, 0]; $0.flags = [.changed]; $0.changed = [3] }
    try table.take([torn, Thread(6, 1).with { $0.flags = [.stale] }], at: 0)
    var view = WatchView()
    let lines = view.lines(table, try ValueTypes(parsing: ["s=str"]), width: nil).map { $0.split(separator: " ").joined(separator: " ") }
    #expect(lines == [
      "2 threads of 1 process",
      "PID TID COMM STATE CHG/S s /S n /S a /S b /S",
      "1 5 worker current - hello world! (torn) - - - - - - -",
      "1 6 worker stale - - - - - 1 - - -",
    ])
  }

  @Test("Columns do not become narrower while one looks")
  func widths() throws {
    var table = WatchTable(), view = WatchView()
    for time in [0.0, 1] { try table.take([Thread(5, 123_456_789)], at: time) }
    let before = view.screen(table, ValueTypes(), width: 80, height: 10, note: "")[2].text
    try table.take([Thread(5, 1)], at: 2)
    #expect(view.screen(table, ValueTypes(), width: 80, height: 10, note: "")[2].text == before)
  }

  @Test("Two maps are told apart by a column")
  func maps() throws {
    var table = WatchTable(), view = WatchView()
    let one = try Thread(5, 1).bytes.withUnsafeBytes { try Snapshot(stream: $0) }
    table.take([(3, one), (4, one)], at: 0)
    #expect(view.lines(table, ValueTypes(), width: nil).map { $0.split(separator: " ").first } == ["2", "MAP", "3", "4"])
  }

  @Test("Rates have three digits or more", arguments: [
    (0, "0.00"), (0.016, "0.02"), (0.996, "1.00"), (9.99, "9.99"), (99.5, "99.50"), (100.4, "100"), (12345.6, "12346"),
  ] as [(Double, String)])
  func rateText(rate: Double, text: String) {
    #expect(WatchView.text(ofRate: rate) == text)
  }
}

@Suite struct KeyDecoderTests {
  private func keys(_ chunks: [UInt8]...) -> [WatchKey] {
    var decoder = KeyDecoder()
    return chunks.flatMap { decoder.take($0) } + decoder.flush()
  }

  @Test("Arrows and their kin, in all their dialects")
  func sequences() {
    #expect(keys(Array("\u{1b}[A\u{1b}OB\u{1b}[5~\u{1b}[6~\u{1b}[1~\u{1b}OF".utf8)) == [.up, .down, .pageUp, .pageDown, .home, .end])
  }

  @Test("A sequence may come in pieces; an escape character alone is that key")
  func pieces() {
    #expect(keys([0x1b], [0x5b], [0x41], [0x71]) == [.up, .byte(0x71)])
    #expect(keys([0x1b]) == [.escape])
    #expect(keys([0x1b, 0x1b, 0x5b, 0x42]) == [.escape, .down])
  }

  @Test("What is not known is left out whole, however long")
  func unknown() {
    #expect(keys(Array("\u{1b}[200~x\u{1b}[1;5Ay\u{1b}fz".utf8)) == [.byte(0x78), .byte(0x79), .byte(0x7a)])
    #expect(keys([0x1b, 0x5b] + [UInt8](repeating: 0x30, count: 100)).isEmpty)
    #expect(keys([0x0d, 0x7f, 0x15, 0x0c, 0x01]) == [.enter, .backspace, .erase, .redraw])
  }
}
