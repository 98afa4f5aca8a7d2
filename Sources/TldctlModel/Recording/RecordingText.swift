// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// A recording in words and tables.

/// What values are called: their numbers, or what --as asks for.
public struct ValueNames: Sendable {
  private let names: [String]

  public init(_ recording: Recording, _ types: ValueTypes) {
    let isOneSize = Set(recording.values.map(\.size)).count <= 1
    names = recording.values.map { value in
      let type = types.type(of: recording.header.name, size: value.size)
      let fits = !value.isCut || type == .hex || type == .str
      let text = Value(value.bytes, as: fits ? type : .hex).text + (value.isCut ? "…" : "")
      return isOneSize ? text : "\(text) (\(count(value.size, "byte")))"
    }
  }

  public func text(_ value: Int) -> String {
    guard value < names.count else { return "others" }
    return names[value].isEmpty ? "\"\"" : names[value]
  }
}

public enum RecordingText {
  /// Lines about the whole, and whether they are a warning.
  public static func head(_ recording: Recording, _ summary: OnCPU) -> [(String, Bool)] {
    let header = recording.header
    var line = "\(escaped(header.name))"
    if header.began > 0 { line += " on \(utc(seconds: header.began / 1_000_000_000)) UTC" }
    line += ", \(duration(recording.end.duration)), \(count(header.cpus.count, "processor"))"
    if let pid = header.pid { line += ", process \(pid) only" }
    let capacity = recording.end.duration.multipliedReportingOverflow(by: UInt64(max(header.cpus.count, 1)))
    let second =
      "\(duration(summary.all.ran)) on processors (\(share(summary.all.ran, of: capacity.overflow ? 0 : capacity.partialValue)) "
      + "of them), \(grouped(summary.all.switches)) switches, "
      + processes(summary)
    return [(line, false), (second, false)] + lost(recording).map { ($0, true) }
  }

  private static func processes(_ summary: OnCPU) -> String {
    let known = summary.processes.filter { $0.pid != RecordedTask.others.pid }.count
    return count(known, "process") + (known < summary.processes.count ? " and others" : "")
  }

  private static func lost(_ recording: Recording) -> [String] {
    var lines: [String] = []
    if recording.end.lostStretches > 0 {
      let cpus = recording.end.lost.filter { $0.stretches > 0 }.map { String($0.cpu) }.joined(separator: ", ")
      lines.append(
        "LOST: \(grouped(recording.end.lostStretches)) stretches with \(duration(recording.end.lostTime)) on processors are "
          + "missing here (CPU \(cpus)): the ring buffer was full; record with a larger --buffer")
    }
    if recording.end.lostWakeups > 0 {
      lines.append(
        "LOST: the latencies of \(grouped(recording.end.lostWakeups)) wake-ups: the kernel had no memory at hand to note them")
    }
    if recording.end.missed > 0 {
      lines.append("LOST: the kernel skipped \(grouped(recording.end.missed)) events")
    }
    return lines
  }

  /// How the numbers came to be, where that matters.
  public static func notes(_ recording: Recording, _ summary: OnCPU) -> [String] {
    var notes: [String] = []
    if summary.others != nil {
      notes.append("Only the \(grouped(recording.values.count)) values with the most time are told apart: the others are together.")
    }
    if summary.processes.contains(where: { $0.pid == RecordedTask.others.pid }) {
      notes.append("Only the \(grouped(recording.tasks.count)) threads with the most time are told apart: the others are process 0.")
    }
    if summary.all.mixed > 0 {
      notes.append(
        "The value changed during stretches of \(duration(summary.all.mixed)) (\(share(summary.all.mixed, of: summary.all.ran)) "
          + "of the time): they count for the value at their end.")
    }
    if summary.all.latencies.count > 0 {
      notes.append(
        "Wake-up latency: from the wake-up to the processor, of \(grouped(summary.all.latencies.count)) wake-ups. "
          + "pN is the smallest latency that N % of them did not exceed (nearest rank).")
    }
    return notes
  }

  public static func lines(_ recording: Recording, _ summary: OnCPU, _ naming: ValueNames, most: Int, limit: Int?) -> [String] {
    var lines = head(recording, summary).map { cut($0.0, to: limit) }
    guard !recording.stretches.isEmpty else { return lines }
    lines += [""] + values(recording, summary, naming, most: most).lines(limit: limit)
    lines += [""] + processes(summary, naming, most: most).lines(limit: limit)
    let notes = notes(recording, summary)
    if !notes.isEmpty { lines += [""] + notes.flatMap { wrapped($0, to: limit ?? 100) } }
    return lines
  }

  private static let columns: [(String, Table.Alignment)] = [
    ("ON-CPU", .right), ("SHARE", .right), ("SWITCHES", .right), ("WAKE-UPS", .right), ("P50", .right), ("P99", .right),
    ("MIXED", .right),
  ]

  private static func cells(_ use: Use, of all: UInt64) -> [String] {
    func time(_ percent: Int) -> String { use.latencies.percentile(percent).map(duration) ?? "-" }
    return [
      duration(use.ran), share(use.ran, of: all), grouped(use.switches), grouped(use.latencies.count), time(50), time(99),
      share(use.mixed, of: use.ran),
    ]
  }

  private static func values(_ recording: Recording, _ summary: OnCPU, _ naming: ValueNames, most: Int) -> Table {
    var table = Table([("VALUE", .right)] + columns)
    for use in summary.values.prefix(most) { table.add([naming.text(use.value)] + cells(use.use, of: summary.all.ran)) }
    if let rest = summary.rest(after: most) {
      table.add([summary.others(after: most)] + cells(rest, of: summary.all.ran))
    }
    return table
  }

  private static func processes(_ summary: OnCPU, _ naming: ValueNames, most: Int) -> Table {
    var table = Table([("PID", .right), ("COMMAND", .left), ("VALUE", .right)] + columns)
    for process in summary.processes.prefix(most) {
      table.add([String(process.pid), escaped(process.name), "all"] + cells(process.use, of: summary.all.ran))
      for use in process.values.prefix(most) {
        table.add(["", "", naming.text(use.value)] + cells(use.use, of: summary.all.ran))
      }
      let left = process.values.count - most
      if process.others != nil, let rest = process.rest(after: most) {
        table.add(["", "", "others"] + cells(rest, of: summary.all.ran))
      } else if left > 0 {
        table.add(["", "", "and \(left) others"])
      }
    }
    let left = summary.processes.count - most
    if left > 0 { table.add(["", "and \(left) others"]) }
    return table
  }
}

extension OnCPU {
  /// What the values without a row of their own are called. Their number is not always known.
  func others(after first: Int) -> String {
    others == nil ? "\(values.count - first) others" : "others"
  }
}
