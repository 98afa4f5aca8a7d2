// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// A recording as a file, docs/reference/tldctl-record.schema.json. Rows are written as they come, so that
// a long recording takes little memory; what only the end knows stands behind them. Of tasks
// and values it keeps the most used; an id in a row that none of them has is one of the others.

/// A stretch as the kernel reports it, before tasks and values have their ids.
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
  private var tasks: MostUsed<TaskKey, RecordedTask>
  private var values: MostUsed<RecordedValue, Void>
  /// What is to be written next; whoever writes it empties it.
  public var bytes: [UInt8] = []
  public private(set) var stretchCount = 0
  public private(set) var switchCount = 0
  public var hasOtherValues: Bool { values.isMoreThanMost }
  public var hasOtherTasks: Bool { tasks.isMoreThanMost }
  public var taskCount: Int { tasks.count }

  /// More threads than most machines have at a time; a program may begin new ones for ever.
  public static let mostTasks = 1 << 18

  public init(_ header: RecordingHeader, origin: UInt64, mostValues: Int, mostTasks: Int = mostTasks) {
    self.origin = origin
    tasks = MostUsed(most: mostTasks)
    values = MostUsed(most: mostValues)
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
    put("values_max", .integer(mostValues))
    put("tasks_max", .integer(mostTasks))
    put("columns", .array(Recording.columns.map { .string($0) }))
    bytes += ",\n\"stretches\": [".utf8
  }

  /// "4 values", "more than 10,000 values"
  public var valuesInWords: String {
    hasOtherValues ? "more than \(grouped(values.count)) values" : count(values.count, "value")
  }

  public mutating func add(_ stretch: ReportedStretch) {
    let (before, after) = ids(of: stretch)
    let task = TaskKey(tid: stretch.task.tid, started: stretch.task.started)
    bytes += (stretchCount == 0 ? "\n[" : ",\n[").utf8
    append(relative(stretch.begin))
    append(relative(max(stretch.end, stretch.begin)))
    append(UInt64(stretch.cpu))
    append(tasks.use(task, stretch.task, weight: stretch.ran))
    append(before)
    append(after)
    append(stretch.ran)
    append(stretch.wakeup.map { Int($0) })
    bytes += (stretch.isSample ? "1]" : "0]").utf8
    stretchCount += 1
    if !stretch.isSample { switchCount += 1 }
  }

  public mutating func finish(_ end: RecordingEnd) {
    bytes += "\n]".utf8
    put("tasks", list: tasks.finish().lazy.map { $0.value.content.json(id: $0.value.id) })
    put("values", list: values.finish().lazy.map { $0.key.json(id: $0.value.id) })
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

  /// One a line, and one at a time: a tree of all would take more memory than all else.
  private mutating func put(_ name: String, list: some Sequence<JSON>) {
    bytes += ",\n\"\(name)\": [".utf8
    for (index, item) in list.enumerated() {
      bytes += (index == 0 ? "\n" : ",\n").utf8
      bytes += item.serialized.dropLast()
    }
    bytes += "\n]".utf8
  }

  /// The time is the weight of the value that it counts for.
  private mutating func ids(of stretch: ReportedStretch) -> (before: Int?, after: Int?) {
    let after = stretch.after.map { values.use($0, (), weight: stretch.ran) }
    if stretch.before == stretch.after { return (after, after) }
    return (stretch.before.map { values.use($0, (), weight: after == nil ? stretch.ran : 0) }, after)
  }
}

extension RecordedMap {
  var json: JSON { .object([("id", .integer(id)), ("name", .text(name)), ("format", .string(format))]) }
}

extension RecordedTask {
  func json(id: Int) -> JSON {
    .object([
      ("id", .integer(id)), ("tid", .integer(tid)), ("pid", .integer(pid)), ("started_ns", .integer(started)),
      ("comm", .text(comm)), ("process", .text(process)),
    ])
  }
}

extension RecordedValue {
  /// The value as other commands show it without --as.
  func json(id: Int) -> JSON {
    .object([
      ("id", .integer(id)), ("size", .integer(size)), ("bytes", .string(hex(bytes))),
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
