// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// A recording as a file, docs/tldctl-record.schema.json. Rows are written as they come, so that
// a long recording takes little memory; what only the end knows stands behind them.

/// A stretch as the kernel reports it, before tasks and values have their numbers.
public struct ReportedStretch: Sendable {
  public var begin: UInt64
  public var end: UInt64
  public var cpu: Int
  public var task: RecordedTask
  public var before: RecordedValue?
  public var after: RecordedValue?
  public var ran: UInt64
  public var wakeup: UInt64?
  public var isSample: Bool

  public init(
    begin: UInt64, end: UInt64, cpu: Int, task: RecordedTask, before: RecordedValue?,
    after: RecordedValue?, ran: UInt64, wakeup: UInt64?, isSample: Bool
  ) {
    self.begin = begin
    self.end = end
    self.cpu = cpu
    self.task = task
    self.before = before
    self.after = after
    self.ran = ran
    self.wakeup = wakeup
    self.isSample = isSample
  }
}

public struct RecordingWriter: Sendable {
  private struct TaskKey: Hashable {
    let tid: UInt32
    let started: UInt64
  }

  /// The clock's time at which the recording began.
  private let origin: UInt64
  private var tasks: [RecordedTask] = []
  private var values: [RecordedValue] = []
  private var taskNumbers: [TaskKey: Int] = [:]
  private var valueNumbers: [RecordedValue: Int] = [:]
  /// What is to be written next; whoever writes it empties it.
  public var bytes: [UInt8] = []
  public private(set) var stretchCount = 0
  public private(set) var switchCount = 0
  public var valueCount: Int { values.count }

  public init(_ header: RecordingHeader, origin: UInt64) {
    self.origin = origin
    bytes += "{".utf8
    put(first: true, "format", .string(Recording.format))
    put("version", .integer(Recording.version))
    put("tool", .string(header.tool))
    put("kernel", .string(header.kernel))
    put("name", .text(header.name))
    put("pid", header.pid.map { .integer($0) } ?? .null)
    put("began_ns", .integer(header.began))
    put("sample_hz", .integer(header.sampleRate))
    put("cpus", .array(header.cpus.map { .integer($0) }))
    put("maps", .array(header.maps.map(\.json)))
    put("columns", .array(Recording.columns.map { .string($0) }))
    bytes += ",\n\"stretches\": [".utf8
  }

  public mutating func add(_ stretch: ReportedStretch) {
    bytes += (stretchCount == 0 ? "\n[" : ",\n[").utf8
    append(relative(stretch.begin))
    append(relative(max(stretch.end, stretch.begin)))
    append(UInt64(stretch.cpu))
    append(UInt64(number(of: stretch.task)))
    append(stretch.before.map { number(of: $0) })
    append(stretch.after.map { number(of: $0) })
    append(stretch.ran)
    append(stretch.wakeup.map { Int($0) })
    bytes += (stretch.isSample ? "1]" : "0]").utf8
    stretchCount += 1
    if !stretch.isSample { switchCount += 1 }
  }

  public mutating func finish(_ end: RecordingEnd) {
    bytes += "\n]".utf8
    put("tasks", .array(tasks.map(\.json)))
    put("values", .array(values.map(\.json)))
    put("lost", .array(end.lost.map(\.json)))
    put("missed", .integer(end.missed))
    put("duration_ns", .integer(end.duration))
    bytes += "\n}\n".utf8
  }

  private func relative(_ time: UInt64) -> UInt64 { time > origin ? time - origin : 0 }

  private mutating func append(_ number: UInt64) {
    bytes += String(number).utf8
    bytes.append(UInt8(ascii: ","))
  }

  private mutating func append(_ number: Int?) {
    if let number {
      append(UInt64(number))
    } else {
      bytes += "null,".utf8
    }
  }

  private mutating func put(first: Bool = false, _ name: String, _ value: JSON) {
    bytes += (first ? "\n\"\(name)\": " : ",\n\"\(name)\": ").utf8
    bytes += value.serialized.dropLast()
  }

  private mutating func number(of task: RecordedTask) -> Int {
    let key = TaskKey(tid: task.tid, started: task.started)
    if let number = taskNumbers[key] {
      if tasks[number] != task { tasks[number] = task }
      return number
    }
    tasks.append(task)
    taskNumbers[key] = tasks.count - 1
    return tasks.count - 1
  }

  private mutating func number(of value: RecordedValue) -> Int {
    if let number = valueNumbers[value] { return number }
    values.append(value)
    valueNumbers[value] = values.count - 1
    return values.count - 1
  }
}

extension RecordedMap {
  var json: JSON { .object([("id", .integer(id)), ("name", .text(name)), ("format", .string(format))]) }
}

extension RecordedTask {
  var json: JSON {
    .object([
      ("tid", .integer(tid)), ("pid", .integer(pid)), ("started_ns", .integer(started)),
      ("comm", .text(comm)), ("process", .text(process)),
    ])
  }
}

extension RecordedValue {
  /// The value as other commands show it without --as.
  var json: JSON {
    .object([
      ("size", .integer(size)), ("bytes", .string(hex(bytes))),
      ("value", Value(bytes, as: .standard(size: size)).json),
    ])
  }
}

extension Lost {
  var json: JSON {
    .object([
      ("cpu", .integer(cpu)), ("stretches", .integer(stretches)), ("ran_ns", .integer(ran)),
      ("wakeups", .integer(wakeups)),
    ])
  }
}
