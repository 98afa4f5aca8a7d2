// SPDX-License-Identifier: LGPL-2.1-only OR BSD-2-Clause
//
// A recording in the Chrome trace event format: a track for each processor, with a slice for
// each stretch named after the value, and one for each thread, where the waiting is, too.

public struct RecordingTrace {
  private let recording: Recording
  private let naming: ValueNames
  private var bytes: [UInt8] = []
  private var isFirst = true

  /// Linux has no thread id as large: the tracks of processors are apart from all threads.
  private static let processors: UInt32 = 1 << 22

  public static func serialized(_ recording: Recording, _ naming: ValueNames) -> [UInt8] {
    var trace = RecordingTrace(recording: recording, naming: naming)
    trace.bytes += "{\"displayTimeUnit\": \"ns\",\n\"otherData\": ".utf8
    trace.bytes += trace.about
    trace.bytes += ",\n\"traceEvents\": [".utf8
    trace.addNames()
    for stretch in recording.stretches.sorted(by: { ($0.begin, $0.end) < ($1.begin, $1.end) }) { trace.add(stretch) }
    trace.bytes += "\n]}\n".utf8
    return trace.bytes
  }

  private init(recording: Recording, naming: ValueNames) {
    self.recording = recording
    self.naming = naming
  }

  private var about: [UInt8] {
    let fields: [(String, JSON)] = [
      ("tool", .string(recording.header.tool)), ("kernel", .string(recording.header.kernel)),
      ("name", .text(recording.header.name)), ("lost_stretches", .string(String(recording.end.lostStretches))),
      ("lost_wakeups", .string(String(recording.end.lostWakeups))),
    ]
    return Array(JSON.object(fields).serialized.dropLast())
  }

  private mutating func addNames() {
    name("process_name", pid: Self.processors, tid: Self.processors, "Processors by \(escaped(recording.header.name))")
    for cpu in recording.header.cpus {
      name("thread_name", pid: Self.processors, tid: Self.processors + UInt32(cpu), "CPU \(cpu)")
    }
    var named = Set<UInt32>()
    for task in recording.tasks {
      if named.insert(task.pid).inserted { name("process_name", pid: task.pid, tid: task.pid, escaped(task.process)) }
      name("thread_name", pid: task.pid, tid: task.tid, escaped(task.comm))
    }
  }

  private mutating func add(_ stretch: Stretch) {
    guard let value = stretch.value else { return }
    let task = recording.tasks[stretch.task], title = text(naming.text(value))
    let length = stretch.end - stretch.begin
    slice(
      title, "on-cpu", pid: Self.processors, tid: Self.processors + UInt32(stretch.cpu), stretch.begin, length,
      "\"pid\":\(task.pid),\"tid\":\(task.tid),\"comm\":\(text(escaped(task.comm))),\"mixed\":\(stretch.isMixed)")
    if let waited = stretch.wakeup, waited <= stretch.begin {
      slice(
        text("woken, waits"), "wake-up", pid: task.pid, tid: task.tid, stretch.begin - waited, waited,
        "\"latency_ns\":\(waited)")
    }
    slice(
      title, "on-cpu", pid: task.pid, tid: task.tid, stretch.begin, length,
      "\"cpu\":\(stretch.cpu),\"ran_ns\":\(stretch.ran),\"mixed\":\(stretch.isMixed)")
  }

  private mutating func name(_ kind: String, pid: UInt32, tid: UInt32, _ name: String) {
    event("{\"ph\":\"M\",\"name\":\"\(kind)\",\"pid\":\(pid),\"tid\":\(tid),\"args\":{\"name\":\(text(name))}}")
  }

  private mutating func slice(
    _ title: String, _ category: String, pid: UInt32, tid: UInt32, _ begin: UInt64, _ length: UInt64, _ args: String
  ) {
    event(
      "{\"ph\":\"X\",\"name\":\(title),\"cat\":\"\(category)\",\"pid\":\(pid),\"tid\":\(tid),"
        + "\"ts\":\(micros(begin)),\"dur\":\(micros(length)),\"args\":{\(args)}}")
  }

  private mutating func event(_ json: String) {
    bytes += (isFirst ? "\n" : ",\n").utf8
    isFirst = false
    bytes += json.utf8
  }

  private func text(_ string: String) -> String {
    String(decoding: JSON.string(string).serialized.dropLast(), as: UTF8.self)
  }

  /// The format's unit is the microsecond.
  private func micros(_ time: UInt64) -> String {
    let rest = String(time % 1000)
    return "\(time / 1000)." + String(repeating: "0", count: 3 - rest.count) + rest
  }
}
