// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// A report as JSON, docs/reference/tldctl-report.schema.json; and as a trace in Chrome's format, which
// Perfetto opens.

public enum RecordingJSON {
  public static func report(_ recording: Recording, _ summary: OnCPU, _ types: ValueTypes) -> JSON {
    let header = recording.header
    return .object([
      ("command", .string("report")), ("version", .integer(1)), ("name", .text(header.name)),
      ("began_ns", .integer(header.began)), ("duration_ns", .integer(recording.end.duration)),
      ("cpus", .array(header.cpus.map { .integer($0) })),
      ("pid", header.pid.map { .integer($0) } ?? .null), ("maps", .array(header.maps.map(\.json))),
      ("lost", .object([
        ("stretches", .integer(recording.end.lostStretches)), ("ran_ns", .integer(recording.end.lostTime)),
        ("wakeups", .integer(recording.end.lostWakeups)), ("missed", .integer(recording.end.missed)),
      ])),
      ("all", .object(summary.all.fields(of: summary.all.ran))),
      ("values", .array(summary.values.map { json($0, recording, summary, types) })),
      ("others", json(summary.others, of: summary.all.ran)),
      ("processes", .array(summary.processes.map { process in
        .object([
          ("pid", .integer(process.pid)), ("process", .text(process.name)), ("threads", .integer(process.threads)),
        ] + process.use.fields(of: summary.all.ran) + [
          ("values", .array(process.values.map { json($0, recording, summary, types) })),
          ("others", json(process.others, of: summary.all.ran)),
        ])
      })),
    ])
  }

  private static func json(_ others: Use?, of all: UInt64) -> JSON { others.map { .object($0.fields(of: all)) } ?? .null }

  private static func json(_ use: ValueUse, _ recording: Recording, _ summary: OnCPU, _ types: ValueTypes) -> JSON {
    let value = recording.values[use.value]
    let wanted = types.type(of: recording.header.name, size: value.size)
    let type = value.isCut && wanted != .str ? .hex : wanted
    return .object([
      ("type", .string(type.rawValue)), ("value", Value(value.bytes, as: type).json), ("size", .integer(value.size)),
      ("bytes", .string(hex(value.bytes))),
    ] + use.use.fields(of: summary.all.ran))
  }
}

extension Use {
  fileprivate func fields(of all: UInt64) -> [(String, JSON)] {
    func time(_ time: UInt64?) -> JSON { time.map { .integer($0) } ?? .null }
    return [
      ("ran_ns", .integer(ran)), ("share", .real(all == 0 ? 0 : Double(ran) / Double(all))),
      ("switches", .integer(switches)), ("mixed_ns", .integer(mixed)), ("wakeups", .integer(latencies.count)),
      ("wakeup_p50_ns", time(latencies.percentile(50))), ("wakeup_p99_ns", time(latencies.percentile(99))),
      ("wakeup_max_ns", time(latencies.largest)),
    ]
  }
}
