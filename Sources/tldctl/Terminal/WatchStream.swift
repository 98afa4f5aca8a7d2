// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// watch without a terminal: what each reading finds, as lines or as one JSON object a line.

import Glibc
import TldctlModel

struct WatchStream {
  let source: WatchSource
  var view: WatchView
  let types: ValueTypes
  var pace: Pace
  let isJSON: Bool

  mutating func run() throws(Failure) {
    while true {
      write()
      if pace.readingEnded(after: source.took) { source.letGo() }
      if pace.isOver || source.hasEnded { return }
      wait()
      try source.read()
    }
  }

  private mutating func write() {
    if isJSON {
      output(source.json(types).line)
    } else {
      output(lines: (source.table.readings > 1 ? [""] : []) + view.lines(source.table, types, width: outputWidth()))
    }
  }

  /// Ends the program when the one who reads has gone.
  private func wait() {
    while true {
      var file = pollfd(fd: 1, events: 0, revents: 0)
      let left = pace.milliseconds
      let ready = poll(&file, 1, left)
      if ready > 0, file.revents & Int16(POLLERR) != 0 { exit(ExitStatus.other.rawValue) }
      if ready == 0 || pace.milliseconds == 0 { return }
      // A terminal or socket that says something else: time goes on without it.
      if ready > 0 { usleep(UInt32(min(pace.milliseconds, 100)) * 1000) }
    }
  }
}

extension WatchSource {
  fileprivate func json(_ types: ValueTypes) -> JSON {
    .object([
      ("command", .string("watch")), ("version", .integer(1)),
      ("reading", .integer(table.readings)), ("elapsed_s", table.elapsed.map { .real($0) } ?? .null),
      ("maps", .array(maps.map(\.json))),
      ("threads", .array(table.threads.map { $0.json(types) })),
    ])
  }
}

extension WatchedThread {
  fileprivate func json(_ types: ValueTypes) -> JSON {
    .object([
      ("map", .integer(map)), ("pid", .integer(record.tgid)), ("tid", .integer(record.tid)),
      ("comm", .text(record.comm)), ("process_comm", .text(record.leaderComm)), ("uid", .integer(record.uid)),
      ("started_ns", .integer(record.startBoottime)), ("state", .string(record.state.rawValue)),
      ("changes_per_s", rate.map { .real($0) } ?? .null),
      ("values", .array(zip(tlds, rates).map { tld, rate in
        record.reading(of: tld).json(tld, types.type(of: tld.name, size: tld.size)).adding("changes_per_s", rate)
      })),
    ])
  }
}

extension JSON {
  fileprivate func adding(_ name: String, _ rate: Double?) -> JSON {
    guard case .object(let fields) = self else { return self }
    return .object(fields + [(name, rate.map { .real($0) } ?? .null)])
  }
}
